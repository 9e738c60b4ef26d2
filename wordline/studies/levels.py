"""Levels: how few levels a cell needs, and where they should be.

After Yan, Ahn and Duan, "Nonuniform data quantization" (CASES 2017): points of quantisation are not
equally important to a model, and points placed nonuniformly give accurate inference with as few as
4 bits a weight. Only the abstract could be read: the three ways to place them are ours
(`golden.levels`), and so are tasks and numbers.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table

from golden.levels import METHODS
from wordline.jobs import Job, Runner
from wordline.studies.common import claim, drawing, legend_below, line, over_seeds, shown

Fields = dict[str, Any]

UNIFORM, *NONUNIFORM = METHODS

ACCURACY, BITS = "accuracy", "bits"
UNITS = {ACCURACY: "points", BITS: "bits a character"}
GOALS = {ACCURACY: 0.3, BITS: 0.03}
"""What may be lost to float at 16 levels."""


@dataclass(frozen=True)
class Task:
    """A data set and how networks are trained on it. measure: ACCURACY in percent, or BITS a
    character. converters: bits of DAC and ADC. fine_rate: learning rate of the quantised network,
    if it is another."""

    dataset: str
    hidden: int
    float_epochs: int
    epochs: int
    batch: int
    learning_rate: float
    seeds: tuple[int, ...] = (0, 1, 2)
    measure: str = ACCURACY
    converters: int = 4
    fine_rate: float | None = None

    @property
    def key(self) -> str:
        """What a run's result calls what is measured."""
        return "clean" if self.measure == ACCURACY else BITS

    def design(self, count: int) -> Fields:
        """The sections of a description with so many levels."""
        bits = {"bits": self.converters}
        device = {"weight_bits": (count - 1).bit_length(), "levels": "trained"}
        return {"device": device, "dac": bits, "adc": bits}


@dataclass(frozen=True)
class LevelsStudy:
    """How few levels does a cell need, and where?

    counts: levels of a weight. noise: device models whose programming noise is tried, one chip a
    seed. drawn: the counts whose levels are drawn.
    """

    tasks: tuple[Task, ...]
    counts: tuple[int, ...] = (3, 4, 8, 16)
    noise: tuple[str, ...] = ("pcm", "reram")
    drawn: tuple[int, ...] = (4, 8)

    def run(self, runner: Runner) -> Fields:
        """Train and test; returns what results.json holds."""
        rows = [self._task(runner, task) for task in self.tasks]
        return {"settings": dataclasses.asdict(self), "rows": rows, "claims": _claims(rows)}

    def _task(self, runner: Runner, task: Task) -> Fields:
        net = {"dataset": task.dataset, "cell": "lstm", "hidden": task.hidden}
        fit = {"batch": task.batch, "learning_rate": task.learning_rate}
        fine = fit | {"epochs": task.epochs}
        fine |= {"learning_rate": task.fine_rate or task.learning_rate}
        longer = task.float_epochs + task.epochs
        floats = {
            (epochs, seed): Job(
                "wordline.studies.runs:train_float",
                net | {"fit": fit | {"epochs": epochs}, "seed": seed},
            )
            for epochs in (task.float_epochs, longer)
            for seed in task.seeds
        }
        found = runner.run(f"{task.dataset}: float", list(floats.values()))
        reached = {place: r[task.key] for place, r in zip(floats, found, strict=True)}
        programs = {
            (count, method, seed): Job(
                "wordline.studies.runs:train_quantised",
                net
                | {"fit": fine, "seed": seed}
                | {"start": floats[task.float_epochs, seed], "sections": task.design(count)}
                | {"levels": {"method": method, "count": count}},
            )
            for count in self.counts
            for method in METHODS
            for seed in task.seeds
        }
        trained = runner.run(f"{task.dataset}: quantise", list(programs.values()))
        chips = {
            (place, noise): Job(
                "wordline.studies.runs:programmed",
                {
                    **{"dataset": task.dataset, "program": program},
                    **{"noise": noise, "seed": place[2]},
                },
            )
            for place, program in programs.items()
            for noise in self.noise
        }
        noisy = runner.run(f"{task.dataset}: program", list(chips.values()))
        values = {(place, "none"): r[task.key] for place, r in zip(programs, trained, strict=True)}
        values |= {place: r[task.key] for place, r in zip(chips, noisy, strict=True)}
        first = net | {"start": floats[task.float_epochs, task.seeds[0]]}
        shown_: list[Fields] = [
            {"method": method, "count": n} for n in self.drawn for method in METHODS
        ]
        designs = [{"levels": how, "sections": task.design(how["count"])} for how in shown_]
        place = Job("wordline.studies.runs:placed", first | {"designs": designs})
        (placed,) = runner.run(f"{task.dataset}: place", [place])
        return {
            **{"dataset": task.dataset, "measure": task.measure},
            "converters": task.converters,
            "float": over_seeds([reached[task.float_epochs, seed] for seed in task.seeds]),
            "float_longer": over_seeds([reached[longer, seed] for seed in task.seeds]),
            "points": [
                {"levels": count, "method": method, "noise": noise}
                | over_seeds([values[(count, method, seed), noise] for seed in task.seeds])
                for count in self.counts
                for method in METHODS
                for noise in ("none", *self.noise)
            ],
            "histogram": placed["histogram"],
            "placed": [
                {"levels": how["count"], "method": how["method"], "positions": positions}
                for how, positions in zip(shown_, placed["positions"], strict=True)
            ],
        }


def sign(row: Fields) -> int:
    """1 where more is better."""
    return 1 if row["measure"] == ACCURACY else -1


def find(row: Fields, levels: int, method: str, noise: str = "none") -> Fields:
    """The point of a row at that place."""
    place = {"levels": levels, "method": method, "noise": noise}
    return next(point for point in row["points"] if place.items() <= point.items())


def best(row: Fields, levels: int, noise: str = "none") -> Fields:
    """The best of the three ways to place levels, by the mean over seeds."""
    points = [find(row, levels, method, noise) for method in NONUNIFORM]
    return max(points, key=lambda point: sign(row) * float(point["mean"]))


def above(row: Fields, point: Fields, other: Fields) -> Fields:
    """By how much a point is better than another, seed by seed."""
    pairs = zip(point["seeds"], other["seeds"], strict=True)
    return over_seeds([sign(row) * (a - b) for a, b in pairs])


def words(row: Fields, value: Fields) -> str:
    """A row's value as words."""
    return shown(value, 2 if row["measure"] == ACCURACY else 3)


def _claims(rows: list[Fields]) -> list[Fields]:
    claims, counts = [], sorted({point["levels"] for row in rows for point in row["points"]})
    for row in rows:
        point = best(row, counts[-1])
        change = above(row, point, row["float"])
        name = f"{row['dataset']}: {counts[-1]} levels ({point['method']}), above float"
        given = {"ours": change["mean"], "spread": change["spread"], "unit": UNITS[row["measure"]]}
        claims.append(claim(name, goal=-GOALS[row["measure"]], **given))
    for count in counts[:-1]:
        better = 0
        for row in rows:
            point = best(row, count)
            change = above(row, point, find(row, count, UNIFORM))
            better += change["mean"] > 0
            name = f"{row['dataset']}: {count} levels ({point['method']}), above uniform"
            given = {"ours": change["mean"], "spread": change["spread"]}
            claims.append(claim(name, unit=UNITS[row["measure"]], goal=None, **given))
        name = f"{count} levels: better than uniform on, of {len(rows)}"
        asked = ASKED if count in ASKED_AT else None
        claims.append(claim(name, better, "tasks", goal=asked))
    return claims


ASKED, ASKED_AT = 2, (4, 8)
"""On so many tasks nonuniform levels are to be better than uniform ones, at 2 and 3 bits."""

VOWELS = Task("vowels", 32, 60, 60, 30, 0.005, tuple(range(8)))
ROWS = Task("mnist-rows", 64, 4, 1, 64, 0.003)
CHARACTERS = Task("kjv-char", 128, 1, 1, 16, 0.01, measure=BITS, converters=8, fine_rate=0.002)
STUDY = LevelsStudy((VOWELS, ROWS, CHARACTERS))
FULL = LevelsStudy(
    (
        VOWELS,
        dataclasses.replace(ROWS, float_epochs=10, epochs=6),
        dataclasses.replace(CHARACTERS, float_epochs=6, epochs=6),
    )
)


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """What each method reaches, without and with programming noise; then what few levels cost."""
    rows, settings = results["rows"], results["settings"]
    counts = settings["counts"]
    methods = Table("data", "noise", "levels", *METHODS, box=box, title=TITLE)
    for row in rows:
        for noise in ("none", *settings["noise"]):
            for count in counts:
                found = [words(row, find(row, count, method, noise)) for method in METHODS]
                methods.add_row(row["dataset"], noise, str(count), *found)
    few = [f"{count} levels" for count in reversed(counts)]
    cost = Table(
        *("data", "DAC, ADC", "float", "float, trained as long", "noise"),
        *(few[0], *(f"{name}, lost to {few[0]}" for name in few[1:])),
        box=box,
        title="what fewer levels cost, the best of the three ways at each",
    )
    for row in rows:
        for noise in ("none", *settings["noise"]):
            most, *others = (best(row, count, noise) for count in reversed(counts))
            lost = [above(row, most, other) for other in others]
            cells = [
                f"{words(row, other)} ({words(row, by)})"
                for other, by in zip(others, lost, strict=True)
            ]
            reference = (words(row, row[name]) for name in ("float", "float_longer"))
            place = (row["dataset"], f"{row['converters']} bits", *reference, noise)
            cost.add_row(*place, words(row, most), *cells)
    return [cost, methods]


TITLE = "test set: accuracy in %, or bits a character"


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: what is reached against levels, without and with noise, and where levels are
    over the weights; a row a data set."""
    rows, settings = results["rows"], results["settings"]
    counts, noises = settings["counts"], ("none", *settings["noise"])
    size = (3.4 * (len(noises) + 1), 3.0 * len(rows) + 0.5)
    with drawing(folder / "figure.svg", len(rows), len(noises) + 1, size) as axes:
        for row, (*left, right) in zip(rows, axes, strict=True):
            unit = "accuracy (%)" if row["measure"] == ACCURACY else "bits a character"
            for axis, noise in zip(left, noises, strict=True):
                for n, method in enumerate(METHODS):
                    found = [find(row, count, method, noise) for count in counts]
                    places = list(range(len(counts)))
                    line(axis, places, found, color=f"C{n}", marker=".", label=method)
                axis.set_xticks(range(len(counts)), [str(count) for count in counts])
                axis.axhline(row["float"]["mean"], color="black", linestyle=":", label="float")
                about = "no noise" if noise == "none" else f"programming noise: {noise}"
                axis.set_title(f"{row['dataset']}, {about}", fontsize=9)
                axis.set_xlabel("levels of a weight")
                axis.set_ylabel(f"{unit}, test set")
                axis.grid(alpha=0.3)
            _positions(right, row)
        legend_below(axes, len(METHODS) + 1)


def _positions(axis: Any, row: Fields) -> None:
    """Levels below a histogram of the weights that they are placed for."""
    edges, share = row["histogram"]["edges"], row["histogram"]["share"]
    axis.stairs(share, edges, fill=True, color="0.8")
    step, names = max(share) / 9, []
    for n, table in enumerate(row["placed"]):
        at = -step * (n + 1 + n // len(METHODS))
        colour = f"C{METHODS.index(table['method'])}"
        axis.plot(table["positions"], [at] * len(table["positions"]), "|", color=colour, ms=7)
        names.append((at, f"{table['levels']} levels" if n % len(METHODS) == 0 else ""))
    axis.set_yticks([at for at, _ in names], [name for _, name in names], fontsize=7)
    axis.tick_params(axis="y", length=0)
    axis.set_title(f"{row['dataset']}: where levels are", fontsize=9)
    axis.set_xlabel("weight (standard deviations)")
