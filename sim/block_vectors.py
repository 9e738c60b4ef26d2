"""Stimuli and golden results for benches of single blocks."""

from typing import get_args

import torch
from torch import Tensor

from golden import adc, dac, gates, head, layer
from golden.description import Description
from golden.geometry import ArrayShape
from golden.noise import WORD
from golden.program import (
    ArrayProgram,
    VoteBy,
    ideal_macro,
)
from golden.ranges import Range, signed_range, symmetric_range
from sim.stimuli import Stimuli

SEQUENCES, STEPS = 16, 5
"""Default number of sequences of a bench, and the number of steps of the longest."""


class BlockStimuli(Stimuli):
    """Stimuli of a block's bench.

    program: Program that the block is loaded with.
    other: A second program, loaded later.
    sequences: Number of sequences.
    lengths: Lengths of the sequences, the shortest and the longest possible among them.
    runs: Run number of each sequence, if they are sent in order after reset.
    """

    def __init__(
        self, description: Description, seed: int, sequences: int, *, on_levels: bool = False
    ) -> None:
        super().__init__(description, seed)
        self.program, self.other = (
            self.random_program(noisy=True, extreme=True, on_levels=on_levels) for _ in range(2)
        )
        self.sequences = sequences
        self.lengths = self.integers(Range(1, STEPS), sequences)
        self.lengths[:2] = torch.tensor([1, STEPS])
        self.runs = torch.arange(sequences)


def first_layer(description: Description) -> ArrayShape:
    """The array for which a block of a layer is built."""
    return description.layers[0]


def _ideal(program: ArrayProgram, shape: ArrayShape) -> ArrayProgram:
    """The same array without errors of its macro."""
    return program.of(program.tensors() | ideal_macro(shape))


def dac_vectors(stimuli: BlockStimuli) -> dict[str, Tensor]:
    """x and h in; out `rows`: x_t, then h_{t-1}, which is the DAC's code of 0 in the first step."""
    description = stimuli.description
    cell, units = description.cell, first_layer(description).units
    x = stimuli.encoded(stimuli.sequences, STEPS, description.network.inputs)
    most = symmetric_range(cell.hidden_bits).high << cell.product_shift
    products = stimuli.integers(Range(-most, most), stimuli.sequences, STEPS, units)
    h = dac.feed_back(products, description)
    before = torch.full_like(h, description.dac.zero)
    before[:, 1:] = h[:, :-1]
    return {"x": x, "h": h, "rows": torch.cat([x, before], dim=-1)}


def _codes(program: ArrayProgram, rows: Tensor, shape: ArrayShape, runs: Tensor) -> Tensor:
    """ADC codes of rows (sequences, steps, rows)."""
    steps = [adc.codes(rows[:, t], program, shape, runs, t) for t in range(rows.shape[1])]
    return torch.stack(steps, dim=1)


def adc_vectors(stimuli: BlockStimuli) -> dict[str, Tensor]:
    """Rows and ADC codes of the layer's array, whose macro is ideal in the bench."""
    shape = first_layer(stimuli.description)
    rows = stimuli.encoded(stimuli.sequences, STEPS, shape.rows)
    program = _ideal(stimuli.program.layers[0], shape)
    return {
        "rows": rows,
        "differential": program.positive - program.negative,
        "codes": _codes(program, rows, shape, stimuli.runs),
    }


def crossbar_vectors(stimuli: BlockStimuli) -> dict[str, Tensor]:
    """Rows and ADC codes of two programs, and of the first without errors and in later runs.

    The later runs start with the numbers in `later`.
    """
    shape = first_layer(stimuli.description)
    rows = stimuli.encoded(stimuli.sequences, STEPS, shape.rows)
    program, other = stimuli.program.layers[0], stimuli.other.layers[0]
    ideal = _ideal(program, shape)
    first = stimuli.integers(Range(stimuli.sequences, WORD - 1), 2)
    first[1] = WORD - 2  # the third run wraps to 0
    later = first[:, None] + stimuli.runs
    return {
        "rows": rows,
        "gain": program.gain[0],
        "codes": _codes(program, rows, shape, stimuli.runs),
        "ideal_codes": _codes(ideal, rows, shape, stimuli.runs),
        "later": first,
        **{f"later_codes_{n}": _codes(program, rows, shape, runs) for n, runs in enumerate(later)},
        "other_gain": other.gain[0],
        "other_codes": _codes(other, rows, shape, stimuli.runs),
    }


def gates_vectors(stimuli: BlockStimuli) -> dict[str, Tensor]:
    """Codes in; h, and c of an LSTM, of the golden cell."""
    shape, cell = first_layer(stimuli.description), stimuli.description.cell
    program = stimuli.program.layers[0]
    codes = stimuli.extremes(shape.code_range, stimuli.sequences, STEPS, shape.gates, shape.units)
    state = torch.zeros(stimuli.sequences, shape.units, dtype=torch.int64)
    c, h = torch.empty_like(codes[:, :, 0]), torch.empty_like(codes[:, :, 0])
    for t in range(STEPS):
        index = gates.pre_activation(codes[:, t], program.bias, shape)
        state, h[:, t], _ = cell.step(index, state, program, shape)
        c[:, t] = state
    return {"codes": codes, "h": h} | ({} if cell.state_range is None else {"c": c})


def layer_vectors(stimuli: BlockStimuli) -> dict[str, Tensor]:
    """x in; everything the golden layer computes."""
    description = stimuli.description
    x = stimuli.encoded(stimuli.sequences, STEPS, description.network.inputs)
    trace = layer.run(stimuli.program.layers[0], x, first_layer(description), stimuli.runs)
    return {"x": x, **trace.quantities()}


def head_vectors(stimuli: BlockStimuli) -> dict[str, Tensor]:
    """h of each pass in; scores of the last step or of all steps, and labels."""
    shape, program = stimuli.description.head, stimuli.program.head
    assert program is not None
    h = stimuli.encoded(stimuli.sequences, STEPS, shape.rows)
    if stimuli.description.output.every_step:
        steps = [head.scores(program, h[:, t], shape, stimuli.runs, t) for t in range(STEPS)]
        scores = torch.stack(steps, 1)
    else:
        last = h[torch.arange(stimuli.sequences), stimuli.lengths - 1]
        scores = head.scores(program, last, shape, stimuli.runs)
    return {"h": h, "scores": scores, **_labels(scores, stimuli.description)}


def _labels(scores: Tensor, description: Description) -> dict[str, Tensor]:
    """Class of every `votes` passes, as `label_<by>_<votes>`, for each possible number of votes."""
    labels: dict[str, Tensor] = {}
    for votes in range(1, most_votes(description) + 1):
        ballots = scores[: len(scores) // votes * votes].unflatten(0, (-1, votes))
        labels |= {f"label_{by}_{votes}": head.vote(ballots, by) for by in get_args(VoteBy)}
    return labels


def most_votes(description: Description) -> int:
    """Maximum number of passes; 1 without a voter."""
    return description.voting.max_votes if description.voting.replay_steps else 1


def replay_vectors(stimuli: BlockStimuli) -> dict[str, Tensor]:
    """x, with as many additional steps as fit into the buffer."""
    description = stimuli.description
    steps = STEPS + description.voting.replay_steps
    return {"x": stimuli.encoded(stimuli.sequences, steps, description.network.inputs)}


def voter_vectors(stimuli: BlockStimuli) -> dict[str, Tensor]:
    """Scores of passes, and labels. Many scores are equal; some sums are the largest possible."""
    description = stimuli.description
    whole = signed_range(description.score_bits)
    size = (3 * stimuli.sequences // 4, description.network.classes)
    parts = [
        stimuli.integers(Range(0, 1), *size),
        stimuli.integers(Range(-1, 1), *size),
        stimuli.extremes(whole, *size),
        *(torch.full(size, end) for end in whole),
    ]
    scores = torch.cat(parts)
    return {"scores": scores, **_labels(scores, description)}
