"""Deep Noise Injection: training with noise of one strength, tested with noise of another.

After Qin and Vucinic, arXiv 1807.06555 and 1811.10649 (their strokes of MNIST at 0 dB: 15.5 %
without noise training, 89.6 % with it and votes).
"""

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.box import SQUARE, Box
from rich.table import Table

from golden.injection import Placement
from wordline.jobs import Job, Runner
from wordline.studies.common import (
    claim,
    decibels,
    drawing,
    legend_below,
    line,
    over_seeds,
    shown,
    snr_axis,
)

Fields = dict[str, Any]

PLACEMENTS = get_args(Placement)
PAPER = {"plain": 15.5, "injected, voted": 89.6}
"""Percent on strokes of MNIST at 0 dB (arXiv 1811.10649, abstract)."""


@dataclass(frozen=True)
class Task:
    """A data set, a cell, and how networks of it are trained.

    clean, noisy, quantised: epochs of the float network, of the float network with noise, which
    starts from the former, and of the quantised one (0: there is none), which starts from either. A
    network that goes on without noise, for as many epochs, is there to compare with.
    trained: ratios in dB to train with, with noise on pre-activations and on every vector.
    """

    dataset: str
    cell: str
    hidden: int
    clean: int
    noisy: int
    quantised: int
    batch: int
    learning_rate: float
    trained: tuple[tuple[float, ...], tuple[float, ...]]

    def network(self, seed: int, epochs: int | None = None) -> Fields:
        """Arguments that say which network, and how it is trained."""
        given = {"dataset": self.dataset, "cell": self.cell, "hidden": self.hidden, "seed": seed}
        if epochs is None:
            return given
        fit = {"epochs": epochs, "batch": self.batch, "learning_rate": self.learning_rate}
        return given | {"fit": fit}


LONGER = "longer"
Trained = float | str | None
"""What a network was trained with: a ratio in dB, nothing, or nothing for as long as the others."""
Place = tuple[str, str, Trained, int]
"""Bits, placement, training, seed."""

ALL = (10.0, 6.0, 3.0, 0.0, -3.0, -6.0)


@dataclass(frozen=True)
class DniStudy:
    """How do networks that were trained with noise of one strength bear noise of another?

    tested: ratios in dB, with all of which every network is tested; at `voted` also with votes,
    `votes` passes of a network that was trained at that ratio, `plain_votes` of a plain one.
    """

    tasks: tuple[Task, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    tested: tuple[float | None, ...] = (None, *ALL)
    voted: float = 0.0
    votes: int = 16
    plain_votes: int = 8

    def run(self, runner: Runner) -> Fields:
        """Train everything, test everything; returns what results.json holds."""
        rows = []
        for task in self.tasks:
            rows += self._task(runner, task)
        settings = dataclasses.asdict(self)
        return {"settings": settings, "rows": rows, "claims": self._claims(rows)}

    def _task(self, runner: Runner, task: Task) -> list[Fields]:
        """Rows of one task: bits, placement, training, and what tests gave."""
        where = f"{task.dataset} {task.cell}"
        models: dict[Place, Job] = {}
        for seed in self.seeds:
            plain = Job("wordline.studies.runs:train_float", task.network(seed, task.clean))
            for placement, trained in zip(PLACEMENTS, task.trained, strict=True):
                models["float", placement, None, seed] = plain
                # What more epochs alone would give.
                given = task.network(seed, task.noisy) | {"start": plain}
                models["float", placement, LONGER, seed] = Job(
                    "wordline.studies.runs:train_float", given
                )
                for ratio in trained:
                    given = task.network(seed, task.noisy) | {"start": plain}
                    given |= {"snr_db": ratio, "placement": placement}
                    job = Job("wordline.studies.runs:train_float", given)
                    models["float", placement, ratio, seed] = job
        runner.run(f"{where}: train", [job for (*_, snr, _), job in models.items() if snr is None])
        runner.run(f"{where}: inject", list(models.values()))

        if task.quantised:
            quantised = self._quantised(task, models)
            runner.run(f"{where}: quantise", list(quantised.values()))
            models |= quantised

        tests = []
        for (bits, placement, snr, seed), job in models.items():
            passes = self.plain_votes if snr is None else self.votes if snr == self.voted else 1
            points = [(t, passes if t == self.voted else 1) for t in self.tested]
            given = task.network(seed) | {"model": job, "quantised": bits != "float"}
            given |= {"placement": placement, "points": points}
            tests.append(Job("wordline.studies.runs:evaluate", given))
        found = dict(zip(models, runner.run(f"{where}: test", tests), strict=True))
        return [
            self._row(task, [found[(*place, seed)] for seed in self.seeds], *place)
            for place in dict.fromkeys(key[:3] for key in models)
        ]

    def _quantised(self, task: Task, models: dict[Place, Job]) -> dict[Place, Job]:
        """Quantised networks at 4/4/4 bits: plain, and injected at `voted`."""
        found: dict[Place, Job] = {}
        for seed in self.seeds:
            for placement in PLACEMENTS:
                for snr in (None, self.voted):
                    start = models["float", placement, snr, seed]
                    given = task.network(seed, task.quantised) | {"start": start, "snr_db": snr}
                    # A training without noise has no placement: it is done once.
                    given |= {} if snr is None else {"placement": placement}
                    job = Job("wordline.studies.runs:train_quantised", given)
                    found["4/4/4", placement, snr, seed] = job
        return found

    def _row(
        self,
        task: Task,
        seeds: list[list[Fields]],
        bits: str,
        placement: str,
        snr: Trained,
    ) -> Fields:
        """One training, over seeds."""
        row: Fields = {"dataset": task.dataset, "cell": task.cell, "bits": bits}
        row |= {"placement": placement, "trained_db": snr, "tests": []}
        for points in zip(*seeds, strict=True):
            test = {"tested_db": points[0]["snr_db"], "one": over_seeds([p["one"] for p in points])}
            if points[0]["votes"][-1] > 1:
                test["votes"] = points[0]["votes"][-1]
                for by in ("majority", "sum"):
                    test[by] = over_seeds([p[by][-1] for p in points])
            row["tests"].append(test)
        return row

    def _claims(self, rows: list[Fields]) -> list[Fields]:
        """What is asked of networks on strokes at 0 dB."""
        claims = []
        for cell, bits, placement, goal in (
            ("lstm", "float", "pre-activations", 94.0),
            ("lstm", "4/4/4", "pre-activations", 91.0),
            ("lstm", "float", "every", 89.6),
            ("lstm", "4/4/4", "every", 89.6),
            ("rnn", "float", "every", 89.6),
        ):
            place = {"dataset": "strokes", "cell": cell, "bits": bits, "placement": placement}
            plain, injected = (find(rows, trained_db=t, **place) for t in (None, self.voted))
            if plain is None or injected is None:
                continue
            where = f"strokes, {cell.upper()}, {bits}, noise on {placement}, 0 dB"
            first, last = at(plain, self.voted), at(injected, self.voted)
            for name, value, anchor in (
                ("plain training", first["one"], PAPER["plain"]),
                ("injected", last["one"], None),
            ):
                ours = {"ours": value["mean"], "spread": value["spread"]}
                claims.append(claim(f"{where}: {name}", unit="%", goal=None, anchor=anchor, **ours))
            claims.append(
                claim(
                    f"{where}: injected, {last['votes']} votes, sum",
                    last["sum"]["mean"],
                    "%",
                    goal=goal,
                    anchor=PAPER["injected, voted"],
                    spread=last["sum"]["spread"],
                )
            )
        return claims


def find(rows: list[Fields], **place: Any) -> Fields | None:
    """The row at a place, if there is one."""
    return next((r for r in rows if all(r[k] == v for k, v in place.items())), None)


def at(row: Fields, snr_db: float | None) -> Fields:
    """The test of a row at a ratio."""
    return next(test for test in row["tests"] if test["tested_db"] == snr_db)


VOWELS = (
    Task("vowels", "lstm", 32, 60, 60, 60, 30, 0.005, (ALL, ALL)),
    # As many recurrent weights.
    Task("vowels", "rnn", 64, 60, 60, 60, 30, 0.002, (ALL, ALL)),
)
STROKES = (
    Task("strokes", "lstm", 128, 3, 4, 2, 128, 0.003, ((6.0, 0.0), (10.0, 0.0))),
    Task("strokes", "rnn", 256, 3, 4, 0, 128, 0.001, ((), (0.0,))),
)
STUDY = DniStudy((*VOWELS, *STROKES))
FULL = DniStudy(
    (
        *VOWELS,
        *(
            dataclasses.replace(task, clean=6, noisy=12, quantised=6, trained=(ALL, ALL))
            for task in STROKES
        ),
    ),
    votes=64,
)


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """A table a data set: percent of the test set, a row a training, a column a test."""
    found = []
    tested = results["settings"]["tested"]
    for dataset in dict.fromkeys(row["dataset"] for row in results["rows"]):
        heads = [f"tested: {decibels(snr)}" for snr in tested]
        votes = ["voted, majority", "voted, sum"]
        table = Table("cell", "bits", "noise on", "trained", *heads, *votes, box=box, title=dataset)
        for row in results["rows"]:
            if row["dataset"] != dataset:
                continue
            values = [shown(test["one"]) for test in row["tests"]]
            voted = next((test for test in row["tests"] if "votes" in test), None)
            ends = ["", ""]
            if voted:
                ends = [f"{shown(voted[by])} (K = {voted['votes']})" for by in ("majority", "sum")]
            place = (row["cell"], row["bits"], row["placement"], decibels(row["trained_db"]))
            table.add_row(*place, *values, *ends)
        found.append(table)
    return found


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: accuracy against the noise of the test, a line a training; votes and the paper's
    numbers at 0 dB."""
    rows, tested = results["rows"], list(results["settings"]["tested"])
    voted = results["settings"]["voted"]
    panels = list(dict.fromkeys((r["dataset"], r["cell"]) for r in rows))
    size = (3.0 * len(panels), 6.8)
    with drawing(folder / "figure.svg", 2, len(panels), size) as axes:
        for axis, (placement, (dataset, cell)) in zip(
            axes.flatten(), itertools.product(PLACEMENTS, panels), strict=True
        ):
            x = snr_axis(axis, tested)
            there = x[tested.index(voted)]
            place = {"dataset": dataset, "cell": cell, "placement": placement}
            for row in (r for r in rows if all(r[k] == v for k, v in place.items())):
                ratio = row["trained_db"]
                if row["bits"] == "float":
                    colour = {None: "black", LONGER: "grey"}.get(ratio)
                    colour = colour or f"C{ALL.index(ratio)}"
                    name = f"float, trained: {decibels(ratio)}"
                    values = [test["one"] for test in row["tests"]]
                    line(axis, x, values, color=colour, label=name, marker=".", linewidth=1.2)
                if ratio == voted:
                    test = at(row, voted)
                    mark = "o" if row["bits"] == "float" else "s"
                    name = f"{row['bits']}, trained: {decibels(voted)}, {test['votes']} votes, sum"
                    look = {"color": "#b5402a", "markerfacecolor": "none", "markersize": 8}
                    axis.plot(there, test["sum"]["mean"], mark, label=name, zorder=5, **look)
            if dataset == "strokes":
                for value in PAPER.values():
                    axis.plot(there, value, "_", color="black", markersize=16, zorder=6)
                    axis.annotate(f"paper {value:g}", (there + 0.35, value + 1), fontsize=7)
            axis.set_ylim(0, 102)
            axis.grid(alpha=0.3)
            where = placement if placement == "pre-activations" else "every vector"
            axis.set_title(f"{dataset}, {cell.upper()}, noise on {where}", fontsize=8)
            axis.set_xlabel("signal-to-noise ratio of the test (dB)")
            axis.set_ylabel("accuracy, test set (%)")
        legend_below(axes, 4)
