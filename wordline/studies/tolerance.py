"""Tolerance: how much noise of ADCs and weights, and how few bits, an untrained network stands.

After Ma et al., arXiv 2002.10636: 4-bit weights with 4-bit ADCs and DACs perform like float, and
reasonable noise of ADCs and weights is tolerated without any training for it. The paper's own noise
conventions could not be read; those here are ours: N(0, (k LSB)^2) on every conversion, and
N(0, (e w_max)^2) on every weight, drawn once at programming.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table

from wordline.jobs import Job, Runner
from wordline.studies.common import (
    BLACK,
    BLUE,
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

AXES = {"weights": ("device", "weight_bits"), "ADC": ("adc", "bits"), "DAC": ("dac", "bits")}
"""What has bits: the section and the field of the description."""

BASE = 4


@dataclass(frozen=True)
class Task(Trained):
    """A data set and how networks are trained on it, as its preset is. bits: 4 among them."""

    bits: tuple[int, ...]


SQUARES: Mapping[str, int] = {"rows": 128, "columns": 128, "lanes": 8}
"""Crossbars of a text's networks, with 8 ADCs each."""


@dataclass(frozen=True)
class Text(Trained):
    """A text, and how networks are trained to predict its next character: with 4/4/4 bits, and
    with more bits of one part.

    fine_rate: learning rate from the float network on. wide: bits of that part. array: of the
    description.
    """

    fine_rate: float
    wide: int = 8
    array: Mapping[str, int] = field(default_factory=lambda: SQUARES)


@dataclass(frozen=True)
class ToleranceStudy:
    """How much noise of ADCs and weights, and how few bits, does an LSTM stand?

    adc_lsb: deviations of a conversion in LSB. weight: of a weight, fractions of the largest.
    chips: draws of either for each seed. One of weights, ADC and DAC has other than 4 bits.
    """

    tasks: tuple[Task, ...]
    texts: tuple[Text, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    adc_lsb: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
    weight: tuple[float, ...] = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)
    chips: int = 3

    @property
    def datasets(self) -> tuple[str, ...]:
        """All data sets that the study reads."""
        tasks: tuple[Trained, ...] = (*self.tasks, *self.texts)
        return tuple(task.dataset for task in tasks)

    def run(self, runner: Runner) -> Fields:
        """Train and test; returns what results.json holds."""
        rows = [self._task(runner, task) for task in self.tasks]
        texts = [self._text(runner, text) for text in self.texts]
        claims = [claim_ for row in rows for claim_ in _claims(row)]
        claims += [claim_ for row in texts for claim_ in _of_text(row)]
        settings = dataclasses.asdict(self)
        return {"settings": settings, "rows": rows, "texts": texts, "claims": claims}

    def _floats(
        self, runner: Runner, task: Trained, fine: Fields, key: str
    ) -> tuple[dict[int, Job], Fields]:
        """The float network of every seed, which quantised ones start from; and what it reaches,
        at once and (`longer`) when it goes on as they do.

        fine: settings of the second training. key: what is measured.
        """
        train, net, first = (
            "wordline.studies.runs:train_float",
            task.network,
            task.fit(task.float_epochs),
        )
        floats = {seed: Job(train, net | {"fit": first, "seed": seed}) for seed in self.seeds}
        longer = [
            Job(train, net | {"fit": fine, "seed": seed, "start": start})
            for seed, start in floats.items()
        ]
        found = {
            "float": runner.run(f"{task.dataset}: float", list(floats.values())),
            "float_longer": runner.run(f"{task.dataset}: float, longer", longer),
        }
        return floats, {name: over_seeds([r[key] for r in of]) for name, of in found.items()}

    def _text(self, runner: Runner, text: Text) -> Fields:
        net, fine = text.network, text.fit(text.epochs, text.fine_rate)
        floats, row = self._floats(runner, text, fine, "bits")
        sections = {"array": dict(text.array)}
        designs = {"quantised": sections}
        for part, (section, name) in AXES.items():
            designs[part] = sections | {section: {name: text.wide}}
        jobs = {
            (design, seed): Job(
                "wordline.studies.runs:train_quantised",
                net | {"fit": fine, "seed": seed, "start": start, "sections": given},
            )
            for design, given in designs.items()
            for seed, start in floats.items()
        }
        ran = runner.run(f"{text.dataset}: quantise", list(jobs.values()))
        bits = {place: r["bits"] for place, r in zip(jobs, ran, strict=True)}
        found = {design: over_seeds([bits[design, n] for n in self.seeds]) for design in designs}
        cost = Job("wordline.studies.chip_runs:priced", net | {"sections": sections})
        row |= {"dataset": text.dataset, "units": text.hidden, "array": dict(text.array)}
        row |= {"quantised": found.pop("quantised"), "wide": found, "wide_bits": text.wide}
        (row["estimated"],) = runner.run(f"{text.dataset}: estimate", [cost])
        return row

    def _task(self, runner: Runner, task: Task) -> Fields:
        net, fine = task.network, task.fit(task.epochs)
        floats, row = self._floats(runner, task, fine, "clean")
        programs: dict[tuple[str, int, int], Job] = {}
        for axis, (section, name) in AXES.items():
            for bits in task.bits:
                for seed in self.seeds:
                    given = net | {"fit": fine, "seed": seed, "start": floats[seed]}
                    # 4/4/4 bits are on every axis, and are trained once.
                    given |= {} if bits == BASE else {"sections": {section: {name: bits}}}
                    programs[axis, bits, seed] = Job("wordline.studies.runs:train_quantised", given)
        trained = runner.run(f"{task.dataset}: quantise", list(programs.values()))
        clean = {place: r["clean"] for place, r in zip(programs, trained, strict=True)}
        axis = next(iter(AXES))
        tests = [
            Job(
                "wordline.studies.runs:disturb",
                {
                    **{"dataset": task.dataset, "program": programs[axis, BASE, seed]},
                    **{"adc_lsb": self.adc_lsb, "weight": self.weight},
                    **{"chips": self.chips, "seed": seed},
                },
            )
            for seed in self.seeds
        ]
        noise = runner.run(f"{task.dataset}: disturb", tests)
        row["dataset"] = task.dataset
        row["bits"] = {
            axis: [
                {"bits": bits} | over_seeds([clean[axis, bits, seed] for seed in self.seeds])
                for bits in task.bits
            ]
            for axis in AXES
        }
        for name, sigmas in (("adc", self.adc_lsb), ("weight", self.weight)):
            row[name] = [
                {"sigma": sigma} | over_seeds([result[name][n] for result in noise])
                for n, sigma in enumerate(sigmas)
            ]
            row[f"{name}_one_point"] = one_point_lost(row[name])
            # A seed that never loses a point has the last noise that was tried.
            of_seeds = [one_point_lost(row[name], n) or sigmas[-1] for n in range(len(self.seeds))]
            row[f"{name}_one_point_seeds"] = over_seeds(of_seeds)
        return row


def one_point_lost(points: list[Fields], seed: int | None = None) -> float | None:
    """The noise at which the accuracy is one point below that without, between two points of the
    curve; None if it never is.

    seed: Number of the seed whose curve it is; None: the mean curve.
    """
    values = [point["mean"] if seed is None else point["seeds"][seed] for point in points]
    goal, sigmas = values[0] - 1, [point["sigma"] for point in points]
    for n, (before, after) in enumerate(itertools.pairwise(values)):
        if after <= goal:
            part = (before - goal) / (before - after)
            return float(sigmas[n] + part * (sigmas[n + 1] - sigmas[n]))
    return None


def _claims(row: Fields) -> list[Fields]:
    base = next(p for p in row["bits"]["weights"] if p["bits"] == BASE)
    change, where = difference(base, row["float_longer"]), row["dataset"]
    ours = {"ours": change["mean"], "spread": change["spread"]}
    claims = [claim(f"{where}: 4/4/4 bits, above float", unit="points", goal=-0.5, **ours)]
    for name, what, unit, goal in (
        ("adc", "ADC noise", "LSB", 0.5),
        ("weight", "weight noise, of w_max", "%", 5.0),
    ):
        factor, last = 1.0 if name == "adc" else 100.0, row[name][-1]["sigma"]
        at = row[f"{name}_one_point_seeds"]
        words = f"{where}: {what} that costs a point"
        if last in at["seeds"]:
            words += " (more than was tried)"
        ours, spread = factor * at["mean"], factor * at["spread"]
        claims.append(claim(words, ours, unit, goal=goal, spread=spread))
    return claims


def _of_text(row: Fields) -> list[Fields]:
    """Bits a character, fewer than float's; and the estimated efficiency."""
    change = difference(row["float_longer"], row["quantised"])
    array = "{rows} x {columns}".format(**row["array"])
    where = f"{row['dataset']}, crossbars of {array}"
    ours = {"ours": change["mean"], "spread": change["spread"]}
    name = f"{where}: 4/4/4 bits, above float"
    claims = [claim(name, unit="bits a character", goal=-0.03, **ours)]
    for case in ("typical", "silicon"):
        value = row["estimated"][case]["accelerator"]["tops_per_watt"]
        claims.append(claim(f"{where}: estimated, {case} figures", value, "TOPS/W", goal=None))
    return claims


EVERY = (2, 3, 4, 5, 6, 7, 8)
VOWELS = Task("vowels", 32, 60, 60, 30, 0.005, EVERY)
ROWS = Task("mnist-rows", 64, 4, 1, 64, 0.003, (2, 4, 8))
TEXT = Text("kjv-char", 128, 3, 3, 32, 0.005, 0.005)
STUDY = ToleranceStudy((VOWELS, ROWS), (TEXT,))
FULL = ToleranceStudy(
    (VOWELS, dataclasses.replace(ROWS, float_epochs=10, epochs=6, bits=EVERY)),
    (dataclasses.replace(TEXT, float_epochs=10, epochs=10),),
    chips=10,
)


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """Percent of the test set: against bits, then against noise. Bits a character of texts."""
    heads = ("float, at the start", "float, trained as long", "bits", "accuracy")
    bits = Table("data", "what has other bits", *heads, box=box, title="bits")
    noise = Table("data", "noise", "deviation", "accuracy", box=box, title="noise, 4/4/4 bits")
    for row in results["rows"]:
        for axis, points in row["bits"].items():
            for point in points:
                floats = (shown(row[name]) for name in ("float", "float_longer"))
                bits.add_row(row["dataset"], axis, *floats, str(point["bits"]), shown(point))
        for name, unit, factor in (("adc", "LSB", 1.0), ("weight", "% of w_max", 100.0)):
            for point in row[name]:
                size = f"{factor * point['sigma']:g} {unit}"
                noise.add_row(row["dataset"], name, size, shown(point))
    return [bits, noise, *([_texts(results["texts"], box)] if results["texts"] else [])]


def _texts(rows: list[Fields], box: Box) -> Table:
    heads = ("float, at the start", "float, trained as long", "4/4/4 bits")
    costs = ("crossbars", "ADCs", "TOPS/W", "with figures of silicon", "TOPS/mm2", "of silicon")
    title = "bits a character, and efficiency as estimated"
    wide = [f"{part}: {rows[0]['wide_bits']} bits" for part in AXES]
    table = Table("data", "units", *heads, *wide, *costs, box=box, title=title)
    for row in rows:
        values = [shown(row[name], 3) for name in ("float", "float_longer", "quantised")]
        values += [shown(row["wide"][part], 3) for part in AXES]
        cost = row["estimated"]
        size = "{rows} x {columns}".format(**row["array"])
        efficiency = (
            f"{cost[case]['accelerator'][measure]:.3g}"
            for measure in ("tops_per_watt", "tops_per_mm2")
            for case in ("typical", "silicon")
        )
        place = (f"{cost['crossbars']} of {size}", str(cost["adcs"]))
        table.add_row(row["dataset"], str(row["units"]), *values, *place, *efficiency)
    return table


LOOKS: tuple[Fields, ...] = (
    {"color": BLUE, "marker": "o", "linestyle": "-"},
    {"color": VERMILION, "marker": "s", "linestyle": "--"},
)
"""Of the data sets."""


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: where noise costs a point. figure_bits.svg: what fewer bits cost."""
    rows, goals = results["rows"], {}
    for name, words in (("bits", "above float"), ("adc", "ADC noise"), ("weight", "weight noise")):
        goals[name] = next(row["goal"] for row in results["claims"] if words in row["name"])
    _noise(rows, goals, folder / "figure.svg")
    _bits(rows, goals["bits"], folder / "figure_bits.svg")


def _noise(rows: list[Fields], goals: dict[str, float], path: Path) -> None:
    """Points lost to noise of the ADC and of weights, near the loss of one."""
    says = []
    with drawing(path, 1, 2, (7.2, 3.7)) as axes:
        panels = (("adc", 1.0, "LSB", "ADC noise"), ("weight", 100.0, "%", "weight noise"))
        for axis, (name, factor, unit, what) in zip(axes[0], panels, strict=True):
            lost = [factor * row[f"{name}_one_point"] for row in rows if row[f"{name}_one_point"]]
            if lost:
                says.append(f"{min(lost):.2g} {unit} of {what}")
            last = min(2.2 * max([*lost, goals[name]]), factor * rows[0][name][-1]["sigma"])
            for row, look in zip(rows, LOOKS, strict=False):
                x = [factor * point["sigma"] for point in row[name]]
                change = [difference(point, row[name][0]) for point in row[name]]
                line(axis, x, change, markersize=4, **look)
                at = row[f"{name}_one_point"]
                if at is not None:
                    at *= factor
                    axis.plot([at], [-1], "D", color=look["color"], markersize=8, zorder=5)
                    least = at == min(lost)
                    place = {"dx": -12, "dy": -34, "ha": "right"} if least else {"dx": 14, "dy": 12}
                    words = f"{row['dataset']}:\n{at:.2g} {unit}"
                    note(axis, words, (at, -1), color=look["color"], fontweight="bold", **place)
            axis.plot([goals[name]] * 2, [0, -1], color=BLACK, linewidth=1.8)
            note(axis, f"goal: {goals[name]:g} {unit}", (goals[name], 0), dy=9, ha="center")
            axis.axhline(-1, color=GREY, linewidth=0.9, linestyle=":")
            axis.set_xlim(0, last)
            axis.set_ylim(-5, 0.7)
        axes[0, 0].set_xlabel("noise of a conversion (ADC LSB)")
        axes[0, 0].set_ylabel("accuracy above that without noise\n(points, test set)")
        axes[0, 1].set_xlabel("noise of a weight (% of the largest)")
        found = ",\nand at ".join(says) or "more noise than was tried"
        asked = f"goals: {goals['adc']:g} LSB and {goals['weight']:g} %"
        headline(axes, f"A point is lost at no less than {found} ({asked})")


def _bits(rows: list[Fields], above: float, path: Path) -> None:
    """Accuracy in float trained as long, at 4/4/4 bits, and with the fewest bits of one part."""
    costs, met = [], []
    with drawing(path, 1, len(rows), (7.2, 3.1)) as axes:
        for n, (axis, row) in enumerate(zip(axes[0], rows, strict=True)):
            few = min(point["bits"] for point in row["bits"]["DAC"])
            found = {"float": row["float_longer"]}
            found["4/4/4 bits"] = _with(row, "DAC", BASE)
            found |= {f"{part}: {few} bits": _with(row, part, few) for part in AXES}
            costs.append(found["4/4/4 bits"]["mean"] - found[f"DAC: {few} bits"]["mean"])
            for at, value in enumerate(found.values()):
                colour = (GREY, BLUE)[at] if at < 2 else VERMILION
                marker = "Dos"[min(at, 2)]
                bar = {"xerr": value["spread"], "capsize": 3, "markersize": 6}
                axis.errorbar([value["mean"]], [at], fmt=marker, color=colour, **bar)
                place = {"xycoords": axis.get_yaxis_transform(), "dx": 3}
                note(axis, f"{value['mean']:.2f}", (1, at), color=colour, **place)
            goal = row["float_longer"]["mean"] + above
            axis.axvline(goal, color=BLACK, linewidth=1.2, linestyle=":")
            axis.set_yticks(range(len(found)), list(found) if n == 0 else [])
            axis.set_ylim(len(found) - 0.5, -0.8)
            look = {"dx": -4, "dy": -4, "ha": "right"}
            note(axis, f"goal: {goal:.2f}", (goal, len(found) - 1), **look)
            axis.set_xlabel(f"accuracy on {row['dataset']}, test set (%)")
            met.append(found["4/4/4 bits"]["mean"] >= goal)
        lost = ", ".join(
            f"{cost:.1f} points on {row['dataset']}" for cost, row in zip(costs, rows, strict=True)
        )
        less = "less" if all(met) else "more"
        base = f"4/4/4 bits lose {less} than {-above:g} points to float"
        headline(axes, f"{base};\na {few}-bit DAC costs {lost}")


def _with(row: Fields, part: str, bits: int) -> Fields:
    """The point with so many bits of a part."""
    return next(point for point in row["bits"][part] if point["bits"] == bits)
