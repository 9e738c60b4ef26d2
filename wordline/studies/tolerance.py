"""Tolerance: how much noise of ADCs and weights, and how few bits, an untrained network stands.

After Ma et al., arXiv 2002.10636: 4-bit weights with 4-bit ADCs and DACs perform like float, and
reasonable noise of ADCs and weights is tolerated without any training for it. The paper's own noise
conventions could not be read; those here are ours: N(0, (k LSB)^2) on every conversion, and
N(0, (e w_max)^2) on every weight, drawn once at programming.
"""

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table

from wordline.jobs import Job, Runner
from wordline.studies.common import claim, drawing, line, over_seeds, shown

Fields = dict[str, Any]

AXES = {"weights": ("device", "weight_bits"), "ADC": ("adc", "bits"), "DAC": ("dac", "bits")}
"""What has bits: the section and the field of the description."""

BASE = 4


@dataclass(frozen=True)
class Task:
    """A data set and how networks are trained on it, as its preset is. bits: 4 among them."""

    dataset: str
    hidden: int
    float_epochs: int
    epochs: int
    batch: int
    learning_rate: float
    bits: tuple[int, ...]


@dataclass(frozen=True)
class ToleranceStudy:
    """How much noise of ADCs and weights, and how few bits, does an LSTM stand?

    adc_lsb: deviations of a conversion in LSB. weight: of a weight, fractions of the largest.
    chips: draws of either for each seed. One of weights, ADC and DAC has other than 4 bits.
    """

    tasks: tuple[Task, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    adc_lsb: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
    weight: tuple[float, ...] = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)
    chips: int = 3

    def run(self, runner: Runner) -> Fields:
        """Train and test; returns what results.json holds."""
        rows = [self._task(runner, task) for task in self.tasks]
        claims = [claim_ for row in rows for claim_ in _claims(row)]
        return {"settings": dataclasses.asdict(self), "rows": rows, "claims": claims}

    def _task(self, runner: Runner, task: Task) -> Fields:
        fit = {"batch": task.batch, "learning_rate": task.learning_rate}
        net = {"dataset": task.dataset, "cell": "lstm", "hidden": task.hidden}
        floats = {
            seed: Job(
                "wordline.studies.runs:train_float",
                net | {"fit": fit | {"epochs": task.float_epochs}, "seed": seed},
            )
            for seed in self.seeds
        }
        found = runner.run(f"{task.dataset}: float", list(floats.values()))
        programs: dict[tuple[str, int, int], Job] = {}
        for axis, (section, field) in AXES.items():
            for bits in task.bits:
                for seed in self.seeds:
                    given = net | {"fit": fit | {"epochs": task.epochs}, "seed": seed}
                    given["start"] = floats[seed]
                    # 4/4/4 bits are on every axis, and are trained once.
                    given |= {} if bits == BASE else {"sections": {section: {field: bits}}}
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
        row: Fields = {"dataset": task.dataset, "float": over_seeds([r["clean"] for r in found])}
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
        return row


def one_point_lost(points: list[Fields]) -> float | None:
    """The noise at which the mean accuracy is one point below that without, between two points of
    the curve; None if it never is."""
    goal = points[0]["mean"] - 1
    for before, after in itertools.pairwise(points):
        if after["mean"] <= goal:
            part = (before["mean"] - goal) / (before["mean"] - after["mean"])
            return float(before["sigma"] + part * (after["sigma"] - before["sigma"]))
    return None


def _claims(row: Fields) -> list[Fields]:
    base = next(p for p in row["bits"]["weights"] if p["bits"] == BASE)
    lost = [a - b for a, b in zip(base["seeds"], row["float"]["seeds"], strict=True)]
    change = over_seeds(lost)
    where = row["dataset"]
    ours = {"ours": change["mean"], "spread": change["spread"]}
    claims = [claim(f"{where}: 4/4/4 bits, above float", unit="points", goal=-0.5, **ours)]
    for name, what, unit, goal in (
        ("adc", "ADC noise", "LSB", 0.5),
        ("weight", "weight noise, of w_max", "%", 5.0),
    ):
        factor, last = 1.0 if name == "adc" else 100.0, row[name][-1]["sigma"]
        at = row[f"{name}_one_point"]
        words = f"{where}: {what} that costs a point"
        if at is None:
            words += " (more than was tried)"
        value = factor * (last if at is None else at)
        claims.append(claim(words, value, unit, goal=goal))
    return claims


EVERY = (2, 3, 4, 5, 6, 7, 8)
VOWELS = Task("vowels", 32, 60, 60, 30, 0.005, EVERY)
ROWS = Task("mnist-rows", 64, 4, 1, 64, 0.003, (2, 4, 8))
STUDY = ToleranceStudy((VOWELS, ROWS))
FULL = ToleranceStudy(
    (VOWELS, dataclasses.replace(ROWS, float_epochs=10, epochs=6, bits=EVERY)), chips=10
)


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """Percent of the test set: against bits, then against noise."""
    bits = Table("data", "what has other bits", "float", "bits", "accuracy", box=box, title="bits")
    noise = Table("data", "noise", "deviation", "accuracy", box=box, title="noise, 4/4/4 bits")
    for row in results["rows"]:
        for axis, points in row["bits"].items():
            for point in points:
                place = (row["dataset"], axis, shown(row["float"]), str(point["bits"]))
                bits.add_row(*place, shown(point))
        for name, unit, factor in (("adc", "LSB", 1.0), ("weight", "% of w_max", 100.0)):
            for point in row[name]:
                size = f"{factor * point['sigma']:g} {unit}"
                noise.add_row(row["dataset"], name, size, shown(point))
    return [bits, noise]


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: accuracy against bits, ADC noise and weight noise, a row a data set."""
    rows = results["rows"]
    with drawing(folder / "figure.svg", len(rows), 3, (11.0, 3.4 * len(rows))) as axes:
        for (left, middle, right), row in zip(axes, rows, strict=True):
            reference = row["float"]["mean"]
            for axis, points in row["bits"].items():
                x = [point["bits"] for point in points]
                line(left, x, points, marker=".", label=f"{axis}, the others 4 bits")
            left.set_xlabel("bits")
            for axis, name, factor in ((middle, "adc", 1.0), (right, "weight", 100.0)):
                x = [factor * point["sigma"] for point in row[name]]
                line(axis, x, row[name], marker=".", color="C0", label="4/4/4 bits, one pass")
                lost = row[f"{name}_one_point"]
                if lost is not None:
                    at = factor * lost
                    axis.axvline(at, color="C3", linewidth=0.9, label=f"a point is lost: {at:.2g}")
            middle.set_xlabel("noise of a conversion (ADC LSB)")
            right.set_xlabel("noise of a weight (% of the largest)")
            for axis in (left, middle, right):
                axis.axhline(reference, color="black", linestyle=":", label="float")
                axis.set_ylabel(f"accuracy on {row['dataset']}, test set (%)")
                axis.grid(alpha=0.3)
                axis.legend(fontsize=7, loc="lower right" if axis is left else "lower left")
