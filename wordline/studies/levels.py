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
from wordline.studies.common import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    VERMILION,
    Trained,
    claim,
    difference,
    drawing,
    headline,
    line,
    note,
    over_seeds,
    shown,
)

Fields = dict[str, Any]

UNIFORM, *NONUNIFORM = METHODS

ACCURACY, BITS = "accuracy", "bits"
UNITS = {ACCURACY: "points", BITS: "bits a character"}
GOALS = {ACCURACY: 0.3, BITS: 0.03}
"""What may be lost at 16 levels to float that was trained as long."""

HELD = 10
"""One in so many sequences of the training set is kept out of training: the best of the ways to
place levels is chosen there."""


@dataclass(frozen=True)
class Task(Trained):
    """A data set and how networks are trained on it. measure: ACCURACY in percent, or BITS a
    character. converters: bits of DAC and ADC. fine_rate: learning rate of the quantised network,
    if it is another."""

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
        net = task.network | {"held": HELD}
        fine = task.fit(task.epochs, task.fine_rate)
        first = {"fit": task.fit(task.float_epochs)}
        floats = {
            seed: Job("wordline.studies.runs:train_float", net | first | {"seed": seed})
            for seed in task.seeds
        }
        # What the quantised networks are compared with: it goes on from the same, as they do.
        longer = {
            seed: Job(
                "wordline.studies.runs:train_float",
                net | {"fit": fine, "seed": seed, "start": start},
            )
            for seed, start in floats.items()
        }
        reached = [
            over_seeds([found[task.key] for found in runner.run(f"{task.dataset}: {name}", jobs)])
            for name, jobs in (
                ("float", list(floats.values())),
                ("float, longer", list(longer.values())),
            )
        ]
        programs = {
            (count, method, seed): Job(
                "wordline.studies.runs:train_quantised",
                net
                | {"fit": fine, "seed": seed}
                | {"start": floats[seed], "sections": task.design(count)}
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
                    **{"noise": noise, "seed": place[2], "held": HELD},
                },
            )
            for place, program in programs.items()
            for noise in self.noise
        }
        noisy = runner.run(f"{task.dataset}: program", list(chips.values()))
        found = {(place, "none"): r for place, r in zip(programs, trained, strict=True)}
        found |= dict(zip(chips, noisy, strict=True))
        shown_: list[Fields] = [
            {"method": method, "count": n} for n in self.drawn for method in METHODS
        ]
        designs = [{"levels": how, "sections": task.design(how["count"])} for how in shown_]
        start = {"start": floats[task.seeds[0]], "designs": designs}
        place = Job("wordline.studies.runs:placed", net | start)
        (placed,) = runner.run(f"{task.dataset}: place", [place])
        return {
            **{"dataset": task.dataset, "measure": task.measure},
            "converters": task.converters,
            "float": reached[0],
            "float_longer": reached[1],
            "points": [
                {"levels": count, "method": method, "noise": noise}
                | _point([found[(count, method, seed), noise] for seed in task.seeds], task.key)
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


def _point(seeds: list[Fields], key: str) -> Fields:
    """One network over seeds, on the test set; and where choices are made, the mean."""
    held = over_seeds([found["held"][key] for found in seeds])["mean"]
    return over_seeds([found[key] for found in seeds]) | {"held": held}


def sign(row: Fields) -> int:
    """1 where more is better."""
    return 1 if row["measure"] == ACCURACY else -1


def find(row: Fields, levels: int, method: str, noise: str = "none") -> Fields:
    """The point of a row at that place."""
    place = {"levels": levels, "method": method, "noise": noise}
    return next(point for point in row["points"] if place.items() <= point.items())


def best(row: Fields, levels: int, noise: str = "none") -> Fields:
    """The best of the three ways to place levels, by the mean over seeds of what was kept out of
    training."""
    points = [find(row, levels, method, noise) for method in NONUNIFORM]
    return max(points, key=lambda point: sign(row) * float(point["held"]))


def above(row: Fields, point: Fields, other: Fields) -> Fields:
    """By how much a point is better than another, seed by seed."""
    return difference(point, other) if sign(row) > 0 else difference(other, point)


def words(row: Fields, value: Fields) -> str:
    """A row's value as words."""
    return shown(value, 2 if row["measure"] == ACCURACY else 3)


def _claims(rows: list[Fields]) -> list[Fields]:
    claims, counts = [], sorted({point["levels"] for row in rows for point in row["points"]})
    for row in rows:
        point = best(row, counts[-1])
        change = above(row, point, row["float_longer"])
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
        *("data", "DAC, ADC", "float, at the start", "float, trained as long", "noise"),
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


PLACED = {"color": BLUE, "marker": "o", "linestyle": "-"}
EQUAL = {"color": VERMILION, "marker": "s", "linestyle": "--"}
NOISES = {
    "none": ("ideal devices", {"color": BLACK, "marker": "D", "linestyle": "-"}),
    "pcm": ("phase-change memory", {"color": GREEN, "marker": "^", "linestyle": "--"}),
    "reram": ("resistive memory", {"color": VERMILION, "marker": "s", "linestyle": "-."}),
}
"""What figures call the devices, and how they draw them."""


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: equal spacing and placed levels, and where both are, on the task by bits.
    figure_float.svg: the most levels against float. figure_devices.svg: programming noise."""
    rows, settings = results["rows"], results["settings"]
    row = next((row for row in rows if row["measure"] == BITS), rows[0])
    _spacing(row, settings, folder / "figure.svg")
    _float(rows, max(settings["counts"]), folder / "figure_float.svg")
    _devices(row, settings, folder / "figure_devices.svg")


def _number(row: Fields, value: float) -> str:
    """A value of a row, with the digits that the tables have."""
    return f"{value:.{2 if row['measure'] == ACCURACY else 3}f}"


def _levels_axis(axis: Any, row: Fields, counts: list[int]) -> None:
    """Axes of what is reached against levels, with a band from float to the goal."""
    better, reference = sign(row), row["float_longer"]["mean"]
    goal = reference - better * GOALS[row["measure"]]
    axis.axhspan(reference, goal, color="0.8", linewidth=0)
    axis.axhline(reference, color=GREY, linewidth=0.9)
    low, high = axis.get_ylim()
    room = better * 0.06 * (high - low)
    axis.set_ylim(*((low, high + room) if better > 0 else (low + room, high)))
    words = f"float: {_number(row, reference)}; goal at {counts[-1]}: {_number(row, goal)}"
    note(axis, words, (counts[0], reference), dy=8 * better, color=GREY)
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    axis.set_xlabel("levels of a weight")
    more = better > 0
    axis.set_ylabel(
        "accuracy, test set (%)" if more else "bits a character, test set (low is good)"
    )


def _spacing(row: Fields, settings: Fields, path: Path) -> None:
    """What equal spacing and the best of the other methods reach; where both have their levels."""
    counts, count = settings["counts"], settings["drawn"][-1]
    at = counts.index(count)
    equal = [find(row, n, UNIFORM) for n in counts]
    placed = [best(row, n) for n in counts]
    with drawing(path, 1, 2, (7.2, 3.9)) as axes:
        left, right = axes[0]
        below = {"dx": -5, "dy": -7, "ha": "right"}
        for points, look, name, number in (
            (equal, EQUAL, {"dx": 8, "dy": 10}, {"dx": 5, "dy": 8}),
            (placed, PLACED, below, below),
        ):
            line(left, counts, points, markersize=4, **look)
            colour = {"color": look["color"], "fontweight": "bold"}
            words = "equally spaced" if points is equal else "placed"
            note(left, words, (counts[1], points[1]["mean"]), **colour, **name)
            mean = points[at]["mean"]
            note(left, _number(row, mean), (count, mean), **colour, **number)
        _levels_axis(left, row, counts)
        gain = above(row, placed[at], equal[at])["mean"]
        unit = "points" if row["measure"] == ACCURACY else "bits a character"
        words = f"Placing {count} levels where most weights are\ngains"
        headline(axes, f"{words} {gain:.2f} {unit} on {row['dataset']}")
        _positions(right, row, count, placed[at]["method"])


def _positions(axis: Any, row: Fields, count: int, method: str) -> None:
    """Levels below a histogram of the weights that they are placed for."""
    edges, share = row["histogram"]["edges"], row["histogram"]["share"]
    axis.stairs(share, edges, fill=True, color="0.75")
    note(axis, "weights,\nlayer 0", (edges[0], 0), dy=20, color=GREY)
    for n, (name, look) in enumerate(((UNIFORM, EQUAL), (method, PLACED))):
        where = {"levels": count, "method": name}
        found = next(table for table in row["placed"] if where.items() <= table.items())
        x, at = found["positions"], -max(share) * (0.15 + 0.27 * n)
        axis.plot(x, [at] * len(x), "|", color=look["color"], markersize=11, markeredgewidth=1.8)
        words = f"{len(x)} levels, {'placed' if n else 'equally spaced'}"
        place = {"dy": -13, "ha": "center", "color": look["color"]}
        note(axis, words, (0, at), **place)
    axis.set_ylim(bottom=-0.62 * max(share))
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("weight (standard deviations)")


def _float(rows: list[Fields], count: int, path: Path) -> None:
    """By how much the most levels are above float that was trained as long: a panel a unit."""
    kinds = [kind for kind in UNITS if any(row["measure"] == kind for row in rows)]
    kept = {"placed": 0, "equally spaced": 0}
    with drawing(path, len(kinds), 1, (7.2, 2.0 * len(kinds) + 0.4)) as axes:
        for axis, kind in zip(axes[:, 0], kinds, strict=True):
            mine = [row for row in rows if row["measure"] == kind]
            for at, row in enumerate(mine):
                for name, point, look, shift in (
                    ("placed", best(row, count), PLACED, -0.17),
                    ("equally spaced", find(row, count, UNIFORM), EQUAL, 0.17),
                ):
                    change = above(row, point, row["float_longer"])
                    mean, spread = change["mean"], change["spread"]
                    kept[name] += mean >= -GOALS[kind]
                    draw = {"color": look["color"], "fmt": look["marker"], "markersize": 6}
                    axis.errorbar([mean], [at + shift], xerr=spread, capsize=3, **draw)
                    words = f"{mean:+.2f}" if kind == ACCURACY else f"{mean:+.3f}"
                    if row is rows[0]:
                        words = f"{name}: {words}"
                    place = {"dx": 7, "color": look["color"]}
                    note(axis, words, (mean + spread, at + shift), **place)
            low, high = axis.get_xlim()
            wide = high - low
            axis.set_xlim(low - 0.15 * wide, max(high + 0.35 * wide, 0.2 * wide))
            axis.axvline(0, color=GREY, linewidth=0.9)
            note(axis, "float", (0, -0.37), dx=4, color=GREY)
            goal = -GOALS[kind]
            axis.axvline(goal, color=BLACK, linewidth=1.2, linestyle=":")
            place = {"dx": -4, "ha": "right"}
            note(axis, f"goal: {goal:g}", (goal, len(mine) - 0.62), **place)
            axis.set_yticks(range(len(mine)), [row["dataset"] for row in mine])
            axis.set_ylim(len(mine) - 0.5, -0.5)
            axis.set_xlabel(f"above float, trained as long ({UNITS[kind]})")
        said = f"{count} placed levels meet the goal on {kept['placed']} of {len(rows)} tasks"
        headline(axes, f"{said},\n{count} equally spaced ones on {kept['equally spaced']}")


def _devices(row: Fields, settings: Fields, path: Path) -> None:
    """The best of the three ways at each count of levels, by the noise of programming."""
    counts = settings["counts"]
    with drawing(path, 1, 1, (7.2, 3.8)) as axes:
        axis = axes[0, 0]
        for noise in ("none", *settings["noise"]):
            name, look = NOISES[noise]
            points = [best(row, count, noise) for count in counts]
            line(axis, counts, points, markersize=5, **look)
            words = f"{name}: {_number(row, points[-1]['mean'])}"
            note(axis, words, (counts[-1], points[-1]["mean"]), color=look["color"], dx=16)
        _levels_axis(axis, row, counts)
        few, most = points[-2:]
        gain = above(row, most, few)["mean"]
        means = [_number(row, point["mean"]) for point in (most, few)]
        less = "no better" if gain < GOALS[row["measure"]] else "better"
        said = f"On {name} {counts[-1]} levels are {less} than {counts[-2]}"
        unit = "%" if row["measure"] == ACCURACY else "bits a character"
        headline(axes, f"{said}:\n{means[0]} against {means[1]} {unit} on {row['dataset']}")
