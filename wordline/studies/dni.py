"""Deep Noise Injection: training with noise of one strength, tested with noise of another.

After Qin and Vucinic, arXiv 1807.06555 and 1811.10649 (their strokes of MNIST at 0 dB: 15.5 %
without noise training, 89.6 % with it and votes).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wordline.jobs import Job, Runner
from wordline.studies.common import claim, over_seeds, rtl_claims
from wordline.studies.dni_report import LONGER, PAPER, at, figures, find, moves, tables

__all__ = ["FULL", "STUDY", "figures", "tables"]

Fields = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A data set, a cell, and how networks of it are trained.

    clean, noisy, quantised: Epochs of the float network; of the float network with noise, which
        starts from the former; and of the quantised one (0: there is none), which starts from
        either. A network that goes on without noise, for as many epochs, is there to compare with.
    trained: Ratios in dB to train with, by the placement of the noise. With a placement without
        ratios, plain networks are tested alone.
    activation: That of an RNN.
    passes: Noisy passes of a sequence whose mean scores the loss is of.
    """

    dataset: str
    cell: str
    hidden: int
    clean: int
    noisy: int
    quantised: int
    batch: int
    learning_rate: float
    trained: Mapping[str, tuple[float, ...]]
    activation: str = "tanh"
    passes: int = 1

    @property
    def name(self) -> str:
        """Cell and activation in a word or two."""
        return self.cell if self.activation == "tanh" else f"{self.cell}, {self.activation}"

    def network(self, seed: int, epochs: int | None = None) -> Fields:
        """Arguments that say which network, and how it is trained."""
        cell = {"kind": self.cell}
        cell |= {} if self.activation == "tanh" else {"activation": self.activation}
        given = {"dataset": self.dataset, "cell": cell, "hidden": self.hidden, "seed": seed}
        if epochs is None:
            return given
        fit = {"epochs": epochs, "batch": self.batch, "learning_rate": self.learning_rate}
        return given | {"fit": fit}


Trained = float | str | None
"""What a network was trained with: a ratio in dB, nothing, or nothing for as long as the others."""
Place = tuple[str, str, Trained, int]
"""Bits, placement, training, seed."""

ALL = (10.0, 6.0, 3.0, 0.0, -3.0, -6.0)


@dataclass(frozen=True)
class DniStudy:
    """How do networks that were trained with noise of one strength bear noise of another?

    memory: Tasks that ask how long a state lasts which has noise in each step: they are tested
        without noise and at `voted` alone.
    tested: Ratios in dB, with all of which every network is tested; at `voted` also with votes,
        `votes` passes of a network that was trained at that ratio, `plain_votes` of a plain one,
        and `unit_votes` where the noise is of each unit's own power.
    chip: The data set whose quantised networks also run with the hardware's own noise, in golden
        and, at the ratios of `rtl`, in the Verilog.
    """

    tasks: tuple[Task, ...]
    memory: tuple[Task, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    tested: tuple[float | None, ...] = (None, *ALL)
    voted: float = 0.0
    votes: int = 32
    plain_votes: int = 8
    unit_votes: int = 8
    chip: str = ""
    rtl: tuple[float | None, ...] = (None, 6.0, 0.0)

    @property
    def datasets(self) -> tuple[str, ...]:
        """All data sets that the study reads."""
        return tuple(dict.fromkeys(task.dataset for task in (*self.tasks, *self.memory)))

    def run(self, runner: Runner) -> Fields:
        """Train everything, test everything; returns what results.json holds."""
        rows, chip = [], []
        for task in self.tasks:
            models = self._trained(runner, task)
            rows += self._tested(runner, task, models, self.tested)
            if task.dataset == self.chip and task.quantised:
                chip += self._chip(runner, task, models)
        memory = []
        for task in self.memory:
            models = self._trained(runner, task, longer=False)
            memory += self._tested(runner, task, models, (None, self.voted))
            if task.quantised:
                chip += self._chip(runner, task, models, (None,))
        return {
            "settings": dataclasses.asdict(self),
            "rows": rows,
            "memory": memory,
            "chip": chip,
            "claims": [*self._claims(rows), *self._remembered(memory), *_of_chip(chip)],
        }

    def _trained(self, runner: Runner, task: Task, *, longer: bool = True) -> dict[Place, Job]:
        """Jobs of all networks of a task, done."""
        where = f"{task.dataset} {task.name} {task.hidden}"
        models: dict[Place, Job] = {}
        for seed in self.seeds:
            plain = Job("wordline.studies.runs:train_float", task.network(seed, task.clean))
            for placement, trained in task.trained.items():
                models["float", placement, None, seed] = plain
                given = task.network(seed, task.noisy) | {"start": plain}
                if longer:  # what more epochs alone would give
                    job = Job("wordline.studies.runs:train_float", given)
                    models["float", placement, LONGER, seed] = job
                for ratio in trained:
                    noise = {"snr_db": ratio, "placement": placement, "passes": task.passes}
                    job = Job("wordline.studies.runs:train_float", given | noise)
                    models["float", placement, ratio, seed] = job
        runner.run(f"{where}: train", [job for (*_, snr, _), job in models.items() if snr is None])
        runner.run(f"{where}: inject", list(models.values()))
        if task.quantised:
            quantised = self._quantised(task, models)
            runner.run(f"{where}: quantise", list(quantised.values()))
            models |= quantised
        return models

    def _quantised(self, task: Task, models: dict[Place, Job]) -> dict[Place, Job]:
        """Quantised networks at 4/4/4 bits: plain, and injected at `voted`."""
        found: dict[Place, Job] = {}
        for (_, placement, snr, seed), start in models.items():
            if snr not in (None, self.voted):
                continue
            given = task.network(seed, task.quantised) | {"start": start, "snr_db": snr}
            # A training without noise has no placement: it is done once.
            noise = {"placement": placement, "passes": task.passes}
            given |= {} if snr is None else noise
            found["4/4/4", placement, snr, seed] = Job(
                "wordline.studies.runs:train_quantised", given
            )
        return found

    def _tested(
        self, runner: Runner, task: Task, models: dict[Place, Job], tested: tuple[Any, ...]
    ) -> list[Fields]:
        """Rows of one task: bits, placement, training, and what tests gave.

        The noise is relative to the power of a layer. At `voted`, networks that were trained there
        are also tested with noise relative to each unit's own power.
        """
        tests = []
        for (bits, placement, snr, seed), job in models.items():
            passes = self.plain_votes if snr is None else self.votes if snr == self.voted else 1
            points = [(t, passes if t == self.voted else 1, "layer") for t in tested]
            points += [(self.voted, self.unit_votes, "unit")] if snr == self.voted else []
            given = task.network(seed) | {"model": job, "quantised": bits != "float"}
            given |= {"placement": placement, "points": points}
            tests.append(Job("wordline.studies.runs:evaluate", given))
        where = f"{task.dataset} {task.name} {task.hidden}: test"
        found = dict(zip(models, runner.run(where, tests), strict=True))
        return [
            self._row(task, [found[(*place, seed)] for seed in self.seeds], *place)
            for place in dict.fromkeys(key[:3] for key in models)
        ]

    def _row(
        self, task: Task, seeds: list[list[Fields]], bits: str, placement: str, snr: Trained
    ) -> Fields:
        """One training, over seeds."""
        row: Fields = {"dataset": task.dataset, "cell": task.name, "units": task.hidden}
        row |= {"bits": bits, "placement": placement, "trained_db": snr, "passes": task.passes}
        row |= {"steps": round(seeds[0][0]["steps"], 2), "tests": []}
        for points in zip(*seeds, strict=True):
            test = {"tested_db": points[0]["snr_db"], "power": points[0]["power"]}
            test["one"] = over_seeds([p["one"] for p in points])
            if points[0]["votes"][-1] > 1:
                test["votes"] = points[0]["votes"][-1]
                for by in ("majority", "sum"):
                    test[by] = over_seeds([p[by][-1] for p in points])
            row["tests"].append(test)
        return row

    def _chip(
        self,
        runner: Runner,
        task: Task,
        models: dict[Place, Job],
        tested: tuple[float | None, ...] | None = None,
    ) -> list[Fields]:
        """Quantised networks that were trained at `voted`, with the hardware's own noise: golden at
        all ratios and seeds, the Verilog of the first seed at some ratios, one pass."""
        tested = self.tested if tested is None else tested
        rows = []
        for placement in task.trained:
            programs = {
                seed: models["4/4/4", placement, self.voted, seed]
                for seed in self.seeds
                if ("4/4/4", placement, self.voted, seed) in models
            }
            if not programs:
                continue
            # No macro has noise on every vector.
            tested_here = (None,) if placement == "every" else tested
            given: Fields = {"dataset": task.dataset, "placement": placement}
            golden = [
                Job(
                    "wordline.studies.runs:vote",
                    given | {"program": job, "seed": seed, "votes": [1], "snr_db": snr},
                )
                for snr in tested_here
                for seed, job in programs.items()
            ]
            where = f"{task.dataset} {task.name} {task.hidden}"
            found = iter(runner.run(f"{where}: hardware's noise", golden))
            curve = {
                snr: over_seeds([next(found)[0]["sum"] for _ in programs]) for snr in tested_here
            }
            seed = self.seeds[0]
            wanted = [snr for snr in tested_here if snr in self.rtl]
            jobs = [
                Job(
                    "wordline.studies.chip_runs:chip",
                    given
                    | {"program": programs[seed], "seed": seed, "votes": 1, "by": "sum"}
                    | {"snr_db": snr},
                )
                for snr in wanted
            ]
            # One after the other: they share a build.
            one = dataclasses.replace(runner, workers=1)
            results = dict(zip(wanted, one.run(f"{where}: Verilog", jobs), strict=True))
            for snr, golden_ in curve.items():
                place = {"dataset": task.dataset, "cell": task.name, "placement": placement}
                row = place | {"tested_db": snr, "golden": golden_}
                rows.append(row | ({"verilog": results[snr]} if snr in results else {}))
        return rows

    def _claims(self, rows: list[Fields]) -> list[Fields]:
        """What is asked of networks on strokes at 0 dB."""
        claims = []
        for cell, bits, placement, most, goal in (
            ("lstm", "float", "product", 30.0, 89.6),
            ("lstm", "4/4/4", "product", None, 88.0),
            ("lstm", "float", "pre-activations", None, 94.0),
            ("lstm", "4/4/4", "pre-activations", None, 91.0),
            ("lstm", "float", "every", None, 89.6),
            ("lstm", "4/4/4", "every", None, 89.6),
            ("rnn", "float", "every", None, 89.6),
        ):
            place = {"dataset": "strokes", "cell": cell, "bits": bits, "placement": placement}
            plain, injected = (find(rows, trained_db=t, **place) for t in (None, self.voted))
            if plain is None or injected is None:
                continue
            where = f"strokes, {cell.upper()}, {bits}, noise {PLACED[placement]}, 0 dB"
            first = at(plain, self.voted)["one"]
            ours = {"ours": first["mean"], "spread": first["spread"], "least": False}
            name = f"{where}: plain training"
            claims.append(claim(name, unit="%", goal=most, anchor=PAPER["plain"], **ours))
            claims += self._trained_and_voted(where, injected, goal)
        return claims

    def _trained_and_voted(self, where: str, row: Fields, goal: float | None) -> list[Fields]:
        """Claims of a network that was trained at `voted`: one pass, votes; and with noise relative
        to each unit's own power."""
        claims = []
        for power, words in (("layer", ""), ("unit", ", 0 dB of each unit")):
            test = at(row, self.voted, power)
            for name, value, anchor, asked in (
                ("injected", test["one"], None, None),
                (
                    f"injected, {test['votes']} votes, sum",
                    test["sum"],
                    PAPER["injected, voted"],
                    goal,
                ),
            ):
                asked = asked if power == "layer" else None
                ours = {"ours": value["mean"], "spread": value["spread"]}
                name = f"{where}: {name}{words}"
                claims.append(claim(name, unit="%", goal=asked, anchor=anchor, **ours))
        return claims

    def _remembered(self, rows: list[Fields]) -> list[Fields]:
        """What is asked of a state with noise in each step, with few steps a digit."""
        claims = []
        for row in rows:
            data, each = row["dataset"].partition("-")[0], moves(row["dataset"])
            if row["trained_db"] != self.voted or row["cell"] != "rnn, relu":
                continue
            goal = {16: 90.0, 4: 85.0}.get(each) if row["bits"] == "float" else None
            where = f"{data}, {each} moves a step, ReLU RNN of {row['units']}, {row['bits']}, "
            claims += self._trained_and_voted(f"{where}noise on every, 0 dB", row, goal)
        return claims


PLACED = {
    "pre-activations": "on pre-activations",
    "product": "at the product",
    "every": "on every",
}
"""Placements in words."""


def _of_chip(rows: list[Fields]) -> list[Fields]:
    """What is claimed of the Verilog's points."""
    return rtl_claims(
        [{"golden": r["golden"]["seeds"][0]} | r["verilog"] for r in rows if "verilog" in r]
    )


ONE = (0.0,)
GRID: Mapping[str, tuple[float, ...]] = {"pre-activations": ALL, "product": ONE, "every": ALL}
VOWELS = (
    Task("vowels", "lstm", 32, 60, 60, 60, 30, 0.005, GRID),
    # As many recurrent weights.
    Task("vowels", "rnn", 64, 60, 60, 60, 30, 0.002, GRID),
)
ON_EVERY: Mapping[str, tuple[float, ...]] = {"every": ONE}
STROKES = (
    Task("strokes", "lstm", 128, 3, 7, 2, 128, 0.003, {"product": ONE}),
    Task(
        *("strokes", "lstm", 128, 3, 4, 2, 128, 0.003),
        {"pre-activations": ONE, "every": ONE},
    ),
    Task("strokes", "rnn", 256, 3, 4, 0, 128, 0.001, ON_EVERY),
)
MOVES = ("strokes", "strokes-4", "strokes-8", "strokes-16")
MEMORY = (
    *(Task(moves, "rnn", 256, 3, 4, 0, 128, 0.001, ON_EVERY) for moves in MOVES),
    *(
        Task(moves, "rnn", 512, 1, 7, 2, 128, 0.001, ON_EVERY, activation="relu", passes=4)
        for moves in (MOVES[1], MOVES[3])
    ),
)
STUDY = DniStudy((*VOWELS, *STROKES), MEMORY, chip="strokes")
FULL = DniStudy(
    (
        *VOWELS,
        *(
            dataclasses.replace(task, clean=6, noisy=12, quantised=6, trained=trained)
            for task, trained in zip(
                STROKES,
                ({"product": ALL}, {"pre-activations": ALL, "every": ALL}, {"every": ALL}),
                strict=True,
            )
        ),
    ),
    MEMORY,
    votes=64,
    chip="strokes",
)
