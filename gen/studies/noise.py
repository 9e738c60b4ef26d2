"""Studies: questions about a network on real hardware, answered by golden and by RTL.

A study keeps every point that it has computed in build/studies/NAME/points.json, so that one that
was interrupted goes on where it stopped. It ends in results.json, a table and a figure.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.box import SQUARE, Box
from rich.table import Table
from torch import Tensor

from gen import stages
from golden import datasets, effects, files, head, network, presets
from golden.description import replaced
from golden.effects import Effects
from golden.presets import Recipe
from golden.program import Program

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass
class Points:
    """Computed points by what they depend on, kept in a file."""

    path: Path
    known: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # What was damaged is computed again.
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(self.path.read_text())
            self.known = known if isinstance(known, dict) else {}

    def get(self, what: dict[str, Any], compute: Callable[[], Any]) -> Any:
        """The point, from the file if it is there."""
        text = json.dumps(what, sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()
        if key not in self.known:
            self.known[key] = compute()
            files.write_text(self.path, json.dumps(self.known))
        return self.known[key]


@dataclass(frozen=True)
class NoiseStudy:
    """Accuracy on vowels against read noise, and against the number of votes.

    trainings: without noise, and with the read noise `vote_sigma`. read: deviations of a device at
    each read, of full scale. votes: passes, at `vote_sigma`. rtl_*: which of these the Verilog
    computes too, with the first seed.
    """

    design: str = "vowels-vote"
    seeds: tuple[int, ...] = (0, 1, 2)
    trainings: tuple[str, ...] = ("none", "hardware")
    read: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
    vote_sigma: float = 0.3
    votes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    rtl_read: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4)
    rtl_votes: tuple[int, ...] = (2, 4, 8)

    def run(self, folder: Path, progress: Progress) -> dict[str, Any]:
        """Compute all points; returns what results.json holds."""
        points = Points(folder / "points.json")
        programs = self._train(folder, progress)
        data = datasets.load("vowels").test

        def golden(training: str, seed: int, sigma: float, votes: int) -> dict[str, float]:
            """Accuracy in percent by either way to vote."""
            ideal = programs[training, seed]
            program = effects.apply(ideal, Effects(seed=seed, read_sigma=sigma))
            what = {"golden": ideal.about["key"], "read": sigma, "votes": votes}
            return points.get(what, lambda: _golden(program, votes, data))

        def all_seeds(training: str, sigma: float, votes: int) -> dict[str, Any]:
            found = [golden(training, seed, sigma, votes) for seed in self.seeds]
            point: dict[str, Any] = {"training": training, "read_sigma": sigma, "votes": votes}
            for by in ("majority", "sum"):
                values = [value[by] for value in found]
                point[by] = {
                    "mean": statistics.mean(values),
                    "spread": statistics.stdev(values) if len(values) > 1 else 0.0,
                    "seeds": values,
                }
            return point

        wanted = [(t, sigma, 1) for t in self.trainings for sigma in self.read]
        wanted += [(t, self.vote_sigma, k) for t in self.trainings for k in self.votes[1:]]
        curve = []
        for n, (training, sigma, votes) in enumerate(wanted):
            progress("golden", n, len(wanted))
            curve.append(all_seeds(training, sigma, votes))
        progress("golden", len(wanted), len(wanted))

        rtl = self._rtl(folder, points, programs, data, progress)
        for point in rtl:
            found = golden(point["training"], point["seed"], point["read_sigma"], point["votes"])
            point["golden"] = found[point["by"]]
        lsb = _charge_per_lsb(programs[self.trainings[0], self.seeds[0]])
        unit = _charge_per_sigma(programs[self.trainings[0], self.seeds[0]])
        return {
            "study": "noise",
            "settings": json.loads(json.dumps(dataclasses.asdict(self))),
            "read_noise_lsb": {
                str(s): round(s * unit / lsb, 4) for s in sorted({*self.read, self.vote_sigma})
            },
            "curve": curve,
            "rtl": rtl,
            "claims": _claims(rtl),
            "versions": stages.versions(),
        }

    def _train(self, folder: Path, progress: Progress) -> dict[tuple[str, int], Program]:
        base = presets.load(self.design)
        wanted = [(training, seed) for training in self.trainings for seed in self.seeds]
        programs = {}
        for n, (training, seed) in enumerate(wanted):
            progress("train", n, len(wanted))
            settings = replaced(base.training, seed=seed, noise=training)
            recipe = Recipe(base.description, settings, Effects(read_sigma=self.vote_sigma))
            programs[training, seed] = stages.train(recipe, folder / f"{training}-{seed}").program
        progress("train", len(wanted), len(wanted))
        return programs

    def _rtl(
        self,
        folder: Path,
        points: Points,
        programs: dict[tuple[str, int], Program],
        data: datasets.Sequences,
        progress: Progress,
    ) -> list[dict[str, Any]]:
        """Some of the points through the Verilog, everything compared."""
        seed = self.seeds[0]
        wanted = [(t, sigma, 1, "majority") for t in self.trainings for sigma in self.rtl_read]
        wanted += [
            (self.trainings[0], self.vote_sigma, votes, by)
            for votes in self.rtl_votes
            for by in ("majority", "sum")
        ]
        found = []
        for n, (training, sigma, votes, by) in enumerate(wanted):
            progress("RTL", n, len(wanted))
            ideal = programs[training, seed]
            program = effects.apply(ideal, Effects(seed=seed, read_sigma=sigma))
            program = dataclasses.replace(program, votes=votes, vote_by=by)  # type: ignore[arg-type]
            what = {"rtl": ideal.about["key"], "read": sigma, "votes": votes, "by": by}
            what |= {"source": stages.sources()}
            point = points.get(what, functools.partial(_chip, program, data, folder / "rtl"))
            what = {"training": training, "seed": seed, "read_sigma": sigma}
            found.append(what | {"votes": votes, "by": by} | point)
        progress("RTL", len(wanted), len(wanted))
        return found


def _golden(program: Program, votes: int, data: datasets.Sequences) -> dict[str, float]:
    """Accuracy in percent by majority and by summed scores, of the same passes."""
    program = dataclasses.replace(program, votes=votes)
    codes = stages.encode(program, data)
    parts = network.in_parts(program, codes, data.lengths)
    scores = [trace.scores.unflatten(0, (-1, votes)) for _, trace in parts]
    return {
        by: _percent(head.vote(torch.cat(scores), by), data.labels) for by in ("majority", "sum")
    }


def _chip(program: Program, data: datasets.Sequences, folder: Path) -> dict[str, Any]:
    """Accuracy of the Verilog in percent, and how many values were compared and differ."""
    from sim import batch  # cocotb is slow to import

    stages.emit_all(program, stages.encode(program, data), data.lengths, folder)
    result = batch.simulate(batch.prepare(folder, program.description.name))
    return {
        "rtl": _percent(torch.tensor(result["labels"]), data.labels),
        "values_compared": result["values_compared"],
        "mismatches": result["mismatches"],
    }


def _percent(label: Tensor, truth: Tensor) -> float:
    return round(100.0 * (label == truth).double().mean().item(), 4)


def _charge_per_lsb(program: Program) -> float:
    """Charge of one ADC LSB, the mean over a layer's gates."""
    layer, shape = program.layers[0], program.description.layers[0]
    return float((2**shape.adc_shift / layer.gain.double()).mean())


def _charge_per_sigma(program: Program) -> float:
    """Deviation of a column's charge for a read noise of full scale."""
    sigma = 0.01
    noisy = effects.apply(program, Effects(read_sigma=sigma))
    return float(noisy.layers[0].read_noise) / 16 / sigma


def _claims(rtl: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is claimed, in the shape that every study has."""
    rtl = list(rtl)
    off = sum(point["rtl"] != point["golden"] for point in rtl)
    differ = sum(point["mismatches"] for point in rtl)
    claims = (
        ("RTL points off the golden curve", off, "points"),
        ("RTL values that differ", differ, "values"),
    )
    return [
        {"name": name, "goal": 0, "ours": ours, "anchor": None, "unit": unit, "met": ours == 0}
        for name, ours, unit in claims
    ]


def table(results: dict[str, Any], *, box: Box = SQUARE) -> Table:
    """Accuracies in percent: golden, mean and spread over seeds; the Verilog, of one seed."""
    ways = ("majority", "sum")
    seed = results["settings"]["seeds"][0]
    heads = [*(f"{by} %" for by in ways), *(f"Verilog, seed {seed}, {by}" for by in ways)]
    shown = Table("training", "read noise", "in LSB", "votes", *heads, box=box)
    rtl = {(*_place(point), point["by"]): point["rtl"] for point in results["rtl"]}
    for point in results["curve"]:
        values = [f"{point[by]['mean']:.2f} ± {point[by]['spread']:.2f}" for by in ways]
        found = [rtl.get((*_place(point), by)) for by in ways]
        values += ["" if value is None else f"{value:.2f}" for value in found]
        lsb = results["read_noise_lsb"][str(point["read_sigma"])]
        row = (f"{100 * point['read_sigma']:g} %", f"{lsb:.2f}", str(point["votes"]))
        shown.add_row(point["training"], *row, *values)
    return shown


def _place(point: dict[str, Any]) -> tuple[Any, ...]:
    return point["training"], point["read_sigma"], point["votes"]


def figure(results: dict[str, Any], path: Path) -> None:
    """Accuracy against read noise, and against votes; the Verilog as points on golden's curve of
    the same seed."""
    import matplotlib  # slow to import

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "wordline", "svg.fonttype": "none", "font.size": 9}
    figure_, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    named = {"none": "trained without noise", "hardware": "trained with read noise"}
    sigma = results["settings"]["vote_sigma"]
    for n, training in enumerate(results["settings"]["trainings"]):
        name = named[training]
        mine = [point for point in results["curve"] if point["training"] == training]
        once = sorted((p for p in mine if p["votes"] == 1), key=lambda p: p["read_sigma"])
        _curve(left, once, "read_sigma", "majority", f"C{n}", "-", name)
        at = sorted((p for p in mine if p["read_sigma"] == sigma), key=lambda p: p["votes"])
        for by, style in (("majority", "-"), ("sum", "--")):
            _curve(right, at, "votes", by, f"C{n}", style, f"{name}, {by}")
    for axis, key in ((left, "read_sigma"), (right, "votes")):
        if key == "votes":
            dots = [
                p for p in results["rtl"] if p["read_sigma"] == sigma and p["training"] == "none"
            ]
        else:
            dots = [p for p in results["rtl"] if p["votes"] == 1]
        label = f"Verilog, seed {results['settings']['seeds'][0]}"
        axis.plot(_x(dots, key), [p["rtl"] for p in dots], "kx", label=label, zorder=5)
    left.set_xlabel("read noise of a device (% of full-scale conductance)")
    left.set_ylabel("accuracy on vowels, test set (%)")
    noises = [(100 * float(s), value) for s, value in results["read_noise_lsb"].items()]
    scale = noises[-1][1] / noises[-1][0]
    top = left.secondary_xaxis("top", functions=(lambda v: v * scale, lambda v: v / scale))
    top.set_xlabel("read noise of a column (ADC LSB)")
    right.set_xscale("log", base=2)
    right.set_xticks(results["settings"]["votes"], [str(k) for k in results["settings"]["votes"]])
    right.set_xlabel(f"votes K, at a read noise of {100 * sigma:g} %")
    figure_.supxlabel("lines: golden, mean and spread over seeds; thin: golden, seed 0", fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    with files.atomic(path) as beside:
        figure_.savefig(beside, format="svg", metadata={"Date": None})
    plt.close(figure_)


def _x(points: list[dict[str, Any]], key: str) -> list[float]:
    return [100 * p[key] if key == "read_sigma" else p[key] for p in points]


def _curve(
    axis: Any, points: list[dict[str, Any]], key: str, by: str, colour: str, style: str, label: str
) -> None:
    """A line through the means, a band of the spread over seeds, and the first seed, thin."""
    x, mean = _x(points, key), [p[by]["mean"] for p in points]
    spread = [p[by]["spread"] for p in points]
    axis.plot(x, mean, style, color=colour, label=label)
    axis.plot(x, [p[by]["seeds"][0] for p in points], style, color=colour, linewidth=0.6)
    low, high = ([m + sign * s for m, s in zip(mean, spread, strict=True)] for sign in (-1, 1))
    axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


STUDIES = {"noise": (NoiseStudy(), "2 minutes")}
"""Each study, and what it costs on two cores."""
