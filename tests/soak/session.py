"""A chip that lives: programs loaded one after the other, with resets at any time in between.

Each episode loads a program, or keeps the one that is there, and runs sequences through it with
stalls. It may begin with a reset or without one, and may be cut short: in the middle of a sequence,
or of loading.
"""

import dataclasses
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from gen.rtl import image, vectors
from golden.program import Program
from golden.ranges import Range
from hw.loadmap import LoadMap
from sim.batch_chip import Chip, Chunk, Words, next_run
from sim.benches.scoreboard import Output, Scoreboard
from sim.stimuli import Stimuli

PROGRAMS: tuple[dict[str, bool], ...] = (
    {"noisy": True},
    {"extreme": True, "on_levels": True},
    {"noisy": True, "extreme": True},
    {"noisy": True, "on_levels": True},
)
"""Options of `Stimuli.random_program`."""

STALLS = (
    *((0.0, 0.0, 1), (0.1, 0.1, 40), (0.4, 0.4, 40)),
    *((0.0, 0.5, 1000), (0.9, 0.9, 3), (0.02, 0.0, 1000)),
)
"""Probabilities of a stall at a transfer and at the output, and the longest stall (cycles)."""


LONGER = 8
"""How much longer long sequences are."""


@dataclass(frozen=True)
class Episode:
    """What a chip does next.

    program: Number of the program.
    reload: Load it; else it is there.
    shuffled: Load its words in a random order.
    reset: Begin with a reset.
    stall, stall_output, pause: Stalls, as for `Chip.run`.
    cut, cut_load: Part of the episode, or of loading, after which it is cut short; 1: whole.
    long: Few long sequences that hold their first x.
    seed: Of stalls, inputs and order.
    """

    program: int
    reload: bool
    shuffled: bool
    reset: bool
    stall: float
    stall_output: float
    pause: int
    cut: float
    cut_load: float
    long: bool
    seed: int


def episodes(programs: int, seed: int) -> Iterator[Episode]:
    """Random episodes without end; each program is loaded in the first ones."""
    draw, there, cut = random.Random(seed), -1, False
    for n in range(10**9):
        program = draw.randrange(programs)
        program = n if n < programs else draw.choice((there, program)) if there >= 0 else program
        stall, stall_output, pause = (
            STALLS[n % len(STALLS)] if n < len(STALLS) else draw.choice(STALLS)
        )
        reload = program != there or draw.random() < 0.2
        kind = draw.choice(("whole", "whole", "whole", "cut", "cut while loading"))
        kind = "cut" if kind != "whole" and not reload else kind if n >= programs else "whole"
        yield Episode(
            **{"program": program, "reload": reload, "shuffled": draw.random() < 0.5},
            **{"reset": n == 0 or cut or draw.random() < 0.5},
            **{"stall": stall, "stall_output": stall_output, "pause": pause},
            cut=draw.random() if kind == "cut" else 1,
            cut_load=draw.random() if kind == "cut while loading" else 1,
            long=draw.random() < 0.3,
            seed=draw.randrange(2**31),
        )
        cut = kind != "whole"
        there = -1 if kind == "cut while loading" else program


@dataclass
class Played:
    """What has been compared: `steps` of them, in episodes of which some were cut short."""

    board: Scoreboard = field(default_factory=Scoreboard)
    steps: int = 0
    episodes: int = 0
    cut: int = 0
    resets: int = 0
    loads: int = 0


class Session:
    """Random programs for a chip, and what it made of them.

    sequences, steps: Sequences of an episode, and their largest number of steps.
    """

    def __init__(self, program: Program, seed: int, *, sequences: int, steps: int) -> None:
        self.description, self.seed = program.description, seed
        self.sequences, self.steps = sequences, steps
        self.programs = [self._drawn(n) for n in range(len(PROGRAMS))]
        for name, part in self.programs[2].arrays.items():  # each bit of a gain is 0 and 1 once
            last = self.programs[3].arrays[name].gain
            last.copy_((2**self.description.adc.gain_bits - 1 - part.gain).clamp(min=1))
        self.words = [image.words(drawn) for drawn in self.programs]
        self.kept: dict[Episode, Chunk] = {}

    def _drawn(self, n: int) -> Program:
        stimuli = Stimuli(self.description, self.seed + n)
        drawn = stimuli.random_program(**PROGRAMS[n])
        if PROGRAMS[n].get("extreme"):
            bits = self.description.adc.gain_bits
            for part in drawn.arrays.values():  # some gains at the ends of their range
                ends = torch.tensor((1, 2**bits - 1))[
                    stimuli.integers(Range(0, 1), *part.gain.shape)
                ]
                chosen = stimuli.integers(Range(0, 3), *part.gain.shape) == 0
                part.gain[...] = torch.where(chosen, ends, part.gain)
        if not self.description.voting.replay_steps:
            return drawn
        most = self.description.voting.max_votes
        votes = (most, 1, 2, most)[n % 4]
        return dataclasses.replace(drawn, votes=votes, vote_by=("sum", "majority")[n // 2 % 2])

    def play(
        self, chip: Chip, *, most: int = 10**9, least_steps: int = 10**12, keep: bool = False
    ) -> Played:
        """Run episodes, and compare every value; a wrong one ends it.

        most: Number of episodes.
        least_steps: Number of compared steps after which it ends.
        keep: Golden values are kept for the next chip.

        Raises WordlineError if the chip hangs, or gives more or fewer values than expected.
        """
        played = Played()
        for episode in itertools.islice(episodes(len(PROGRAMS), self.seed), most):
            chunk = self.kept.get(episode) or self._chunk(chip, episode)
            if keep:
                self.kept[episode] = chunk
            given = chip.run(**self._options(chip, episode, chunk), chunk=chunk)
            if given is not None:
                chunk.compare(played.board, given)
                played.steps += int(chunk.vectors["lengths"].sum()) * chunk.votes
            played.episodes += 1
            played.cut += given is None
            played.resets += episode.reset
            played.loads += episode.reload
            if played.board.mismatches or played.steps >= least_steps:
                break
        return played

    def _chunk(self, chip: Chip, episode: Episode) -> Chunk:
        """Inputs of an episode and what golden makes of them."""
        stimuli, description = Stimuli(self.description, episode.seed), self.description
        # In long sequences that hold their x, c adds up until it saturates. Short ones follow each
        # other fast, which a step's length hides.
        sequences, steps = self.sequences, int(stimuli.integers(Range(1, self.steps), 1))
        if episode.long:
            sequences, steps = -(-sequences // LONGER), steps * LONGER
        if self.programs[episode.program].votes > 1:
            steps = min(steps, description.voting.replay_steps)
        x = stimuli.random_codes(sequences, steps, description.network.inputs)
        x = x[:, :1].expand_as(x) if episode.long else x
        lengths = stimuli.integers(Range(1, steps), sequences)
        made = vectors.make(self.programs[episode.program], x, lengths)
        return Chunk(0, made, Output.of_vectors(chip.sidecar, made))

    def _options(self, chip: Chip, episode: Episode, chunk: Chunk) -> dict[str, object]:
        words = self.words[episode.program]
        draw = random.Random(episode.seed)
        if not episode.reload:  # after a reset, runs are counted from 0
            load = [] if episode.reset else next_run(chip.sidecar, words, 0)
        else:
            beyond = beyond_votes(words, self.programs[episode.program])
            load = shuffled(beyond, self.description, draw) if episode.shuffled else words
        cycles = chip.sidecar["cycles_per_step"] * chunk.vectors["lengths"].sum() * chunk.votes
        cut, cut_load = (
            int(part * whole) if part < 1 else None
            for part, whole in (
                (episode.cut, cycles),
                (episode.cut_load, len(load)),
            )
        )
        return {
            **{"words": load, "reset": episode.reset, "stall": episode.stall},
            **{"stall_output": episode.stall_output, "pause": episode.pause},
            **{"seed": episode.seed, "cut": cut, "cut_load": cut_load},
        }


def beyond_votes(words: Words, program: Program) -> Words:
    """The words with a number of votes out of range that means the same: it is clamped."""
    voting, regions = program.description.voting, LoadMap(program.description).regions
    if not voting.replay_steps or program.votes not in (1, voting.max_votes):
        return words
    region = regions["votes"]
    ((_, bits), *_) = region.data
    votes = 0 if program.votes == 1 else 2**bits - 1
    word = region.word(votes=votes, by_sum=int(program.vote_by == "sum"))
    return [(address, word if region.holds(address) else data) for address, data in words]


def shuffled(words: Words, description: object, draw: random.Random) -> Words:
    """The words of an image in another order, and words that have no effect, with their checksum.

    Cells that are loaded by levels come after the tables of levels.
    """
    *rest, (check, _) = words
    map_ = LoadMap(description)
    late = [region for name, region in map_.regions.items() if name.endswith("cell_levels")]
    draw.shuffle(rest)
    rest.sort(key=lambda word: any(region.holds(word[0]) for region in late))
    rest += unmapped(map_, draw)
    return [*rest, (check, image.checksum(torch.tensor(rest).numpy()))]


UNMAPPED = 32
"""Words to addresses of no region in a load."""


def unmapped(map_: LoadMap, draw: random.Random) -> Words:
    """Words to addresses of no region, each a bit away from one of a region."""
    found: Words = []
    mapped = [*map_.regions.values()]
    for _ in range(UNMAPPED):
        region = draw.choice(mapped)
        near = region.base + draw.randrange(1 << region.bits)
        address = near ^ 1 << draw.randrange(map_.address_bits)
        if not any(own.holds(address) for own in mapped) and address != map_.check:
            found.append((address, draw.getrandbits(map_.data_bits)))
    return found
