"""Deep Noise Injection: training with noise of one strength, tested with noise of another.

After Qin and Vucinic, arXiv 1807.06555 and 1811.10649 (their strokes of MNIST at 0 dB: 15.5 %
without noise training, 89.6 % with it and votes).
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.box import SQUARE, Box
from rich.table import Table

from golden.injection import Placement
from wordline.jobs import Job, Runner
from wordline.studies.common import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    VERMILION,
    claim,
    decibels,
    drawing,
    headline,
    line,
    note,
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
    """figure.svg: training with noise against plain training. figure_strength.svg: noise of several
    strengths in training. figure_every.svg: noise on every vector."""
    _injected(results, folder / "figure.svg")
    _strengths(results, folder / "figure_strength.svg")
    _every(results, folder / "figure_every.svg")


def _place(rows: list[Fields], dataset: str, ratio: float) -> Fields:
    """Where noise on pre-activations is drawn: on that data set, if networks were trained there."""
    found = [row for row in rows if row["trained_db"] == ratio and row["bits"] == "float"]
    row = next((row for row in found if row["dataset"] == dataset), found[0])
    place = {key: row[key] for key in ("dataset", "cell", "bits")}
    return place | {"placement": "pre-activations"}


def _curve(axis: Any, row: Fields, **style: Any) -> list[float]:
    """`line` of one pass against the noise of the test; the places on the axis."""
    x = snr_axis(axis, [test["tested_db"] for test in row["tests"]])
    line(axis, x, [test["one"] for test in row["tests"]], **style)
    axis.set_xlabel("signal-to-noise ratio of the test (dB), noise on pre-activations")
    return x


def _injected(results: Fields, path: Path) -> None:
    """Training with noise and plain training; at one ratio the votes, and the paper's numbers."""
    rows, ratio = results["rows"], results["settings"]["voted"]
    place = _place(rows, "strokes", ratio)
    plain, noisy, longer = (find(rows, trained_db=t, **place) for t in (None, ratio, LONGER))
    coded = find(rows, trained_db=ratio, **place | {"bits": "4/4/4"})
    assert plain and noisy and longer
    with drawing(path, 1, 1, (7.2, 4.2)) as axes:
        axis = axes[0, 0]
        _curve(axis, longer, color=GREY, linestyle=":", linewidth=1.2)
        _curve(axis, plain, color=VERMILION, linestyle="--", marker="s", markersize=5)
        x = _curve(axis, noisy, color=BLUE, marker="o", markersize=5)
        there = x[[test["tested_db"] for test in noisy["tests"]].index(ratio)]
        first, last = at(plain, ratio), at(noisy, ratio)
        low, one, sums = (v["mean"] for v in (first["one"], last["one"], last["sum"]))
        last_plain = longer["tests"][-1]["one"]["mean"]
        words = "plain,\nas long"
        note(axis, words, (x[-1], last_plain), dx=8, dy=-8, color=GREY)
        bold = {"fontweight": "bold", "dx": 9}
        look = bold | {"dx": -20, "dy": -4, "ha": "right"}
        note(axis, f"plain training: {low:.1f} %", (there, low), color=VERMILION, **look)
        words = f"trained at {decibels(ratio)}: {one:.1f} %"
        note(axis, words, (there, one), color=BLUE, **bold)
        axis.plot(there, sums, "D", color=BLUE, markerfacecolor="white", markersize=7, zorder=5)
        words = f"{last['votes']} votes: {sums:.1f} %"
        if coded:
            words += f" (4/4/4: {at(coded, ratio)['sum']['mean']:.1f} %)"
        note(axis, words, (there, sums), color=BLUE, **bold | {"dy": 11})
        if place["dataset"] == "strokes":
            _paper(axis, there)
        axis.set_ylim(0, 108)
        axis.set_xlim(right=x[-1] + 0.85)
        axis.set_ylabel(f"accuracy on {place['dataset']}, {place['cell'].upper()}, test set (%)")
        said = f"At {decibels(ratio)}, training with noise keeps {one:.1f} % on {place['dataset']}"
        said += f" where\nplain training falls to {low:.1f} %;"
        headline(axes, f"{said} {last['votes']} votes reach {sums:.1f} %")


def _paper(axis: Any, there: float) -> None:
    """From the paper's plain training to its votes, as a line with two ends."""
    low, high = PAPER.values()
    axis.plot([there, there], [low, high], "_-", color=BLACK, markersize=15, linewidth=1)
    words = f"paper {low:g} % (plain)\nto {high:g} % (trained, votes)"
    note(axis, words, (there, 35), color=BLACK, dx=-8, ha="right")


STRENGTHS = {6.0: (VERMILION, "^-."), 0.0: (GREEN, "s-"), -6.0: (BLUE, "o-")}
"""Ratios of the training that are drawn."""


def _strengths(results: Fields, path: Path) -> None:
    """Networks of as many epochs, without noise and with noise of three ratios in training."""
    rows = results["rows"]
    place = _place(rows, "vowels", results["settings"]["voted"])
    plain, *noisy = (find(rows, trained_db=t, **place) for t in (LONGER, *STRENGTHS))
    drawn = [(row, *STRENGTHS[row["trained_db"]]) for row in noisy if row]
    assert plain and drawn
    strongest = drawn[-1][0]
    with drawing(path, 1, 1, (7.2, 4.0)) as axes:
        axis = axes[0, 0]
        for row, colour, style in ((plain, BLACK, "D--"), *drawn):
            trained, look = row["trained_db"], {"marker": style[0], "linestyle": style[1:]}
            x = _curve(axis, row, color=colour, markersize=5, **look)
            end = row["tests"][-1]["one"]["mean"]
            how = "plain training" if trained == LONGER else f"trained at {decibels(trained)}"
            note(axis, f"{how}: {end:.1f} %", (x[-1], end), color=colour, dx=9)
            for n, test in zip(x, row["tests"], strict=True):
                if test["tested_db"] == trained:
                    ring = {"markersize": 13, "markerfacecolor": "none", "zorder": 5}
                    axis.plot(n, test["one"]["mean"], "o", color=colour, **ring)
        axis.set_xlim(right=x[-1] + 2.2)
        axis.set_ylabel(f"accuracy on {place['dataset']}, {place['cell'].upper()}, test set (%)")
        means = [r["tests"][n]["one"]["mean"] for n in (-1, 0) for r in (strongest, plain)]
        last, how = (
            decibels(db) for db in (plain["tests"][-1]["tested_db"], strongest["trained_db"])
        )
        said = f"On {place['dataset']}, training at {how} keeps {means[0]:.1f} % at {last}"
        said += f" (plain: {means[1]:.1f} %)\nand reaches {means[2]:.2f} % without noise"
        headline(axes, f"{said} (plain: {means[3]:.2f} %)")


def _every(results: Fields, path: Path) -> None:
    """Noise on every vector: plain training, training with noise, votes; a panel a data set."""
    rows, ratio = results["rows"], results["settings"]["voted"]
    sets = list(dict.fromkeys(row["dataset"] for row in rows))
    looks = {"rnn": (BLUE, "o-"), "lstm": (VERMILION, "s--")}
    votes, says = results["settings"]["votes"], []
    with drawing(path, 1, len(sets), (7.2, 3.9)) as axes:
        for axis, dataset in zip(axes[0], sets, strict=True):
            for cell, (colour, style) in looks.items():
                place = {"dataset": dataset, "cell": cell, "placement": "every"}
                plain, noisy, coded = (
                    find(rows, bits=bits, trained_db=trained, **place)
                    for bits, trained in (("float", None), ("float", ratio), ("4/4/4", ratio))
                )
                if plain is None or noisy is None:
                    continue
                first, last = at(plain, ratio)["one"], at(noisy, ratio)
                means = [value["mean"] for value in (first, last["one"], last["sum"])]
                axis.plot(range(3), means, style, color=colour, markersize=6)
                words = f"{cell.upper()}: {means[-1]:.1f} %"
                if coded:
                    words += f"\n(4/4/4: {at(coded, ratio)['sum']['mean']:.1f} %)"
                look = {"color": colour, "dx": 9, "dy": -6 if coded else 0}
                note(axis, words, (2, means[-1]), **look)
                if cell == "rnn":
                    says.append(f"{means[-1]:.1f} % on {dataset}")
            if dataset == "strokes":
                axis.plot((0, 2), PAPER.values(), "D:", color=BLACK, markersize=6)
                for n, value in zip((0, 2), PAPER.values(), strict=True):
                    look = {"dx": 9} if n else {"dx": -9, "ha": "right"}
                    note(axis, f"paper:\n{value:g} %", (n, value), **look)
            axis.set_title(dataset, fontsize=10.5)
            axis.set_xticks(range(3), ["plain", f"trained\nat {decibels(ratio)}", f"{votes} votes"])
            axis.set_xlim(-1.1, 3.5)
            axis.set_ylim(0, 102)
        axes[0, 0].set_ylabel(f"accuracy at {decibels(ratio)}, test set (%)")
        said = f"With noise on every vector at {decibels(ratio)}, {votes} votes bring the RNN"
        said += f"\nto {' and '.join(says)} (paper: {PAPER['injected, voted']:g} %)"
        headline(axes, said)
