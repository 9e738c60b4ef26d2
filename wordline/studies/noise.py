"""Noise: accuracy on vowels against the read noise of the devices, and against votes.

The hardware's own noise, before a 4-bit ADC, in golden and in the Verilog; task, noise model and
numbers are ours.
"""

import dataclasses
import statistics
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table

from wordline.jobs import Job, Runner
from wordline.studies.common import (
    BLUE,
    GREY,
    VERMILION,
    drawing,
    headline,
    line,
    note,
    over_seeds,
    rtl_claims,
    shown,
    verilog,
)

Fields = dict[str, Any]

WAYS = ("majority", "sum")
TRAININGS = {"none": "trained without noise", "hardware": "trained with read noise"}


@dataclass(frozen=True)
class NoiseStudy:
    """How much read noise does a chip bear, and how much do training and votes give back?

    trainings: without noise, and with the read noise `vote_sigma`. read: deviations of a device at
    each read, of full scale. votes: passes, at `vote_sigma`. rtl_*: which of these the Verilog
    computes too, with the first seed.
    """

    dataset: str = "vowels"
    design: str = "vowels-vote"
    seeds: tuple[int, ...] = (0, 1, 2)
    trainings: tuple[str, ...] = ("none", "hardware")
    read: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
    vote_sigma: float = 0.3
    votes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    rtl_read: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4)
    rtl_votes: tuple[int, ...] = (2, 4, 8)

    def run(self, runner: Runner) -> Fields:
        """Compute all points; returns what results.json holds."""
        given = {"dataset": self.dataset, "preset": self.design, "read_sigma": self.vote_sigma}
        programs = {
            (training, seed): Job(
                "wordline.studies.chip_runs:train", given | {"noise": training, "seed": seed}
            )
            for training in self.trainings
            for seed in self.seeds
        }
        trained = dict(zip(programs, runner.run("train", list(programs.values())), strict=True))

        wanted = [(t, sigma, [1]) for t in self.trainings for sigma in self.read]
        wanted += [(t, self.vote_sigma, list(self.votes[1:])) for t in self.trainings]
        tests = [
            Job("wordline.studies.runs:vote", self._place(programs, *place, seed))
            for place in wanted
            for seed in self.seeds
        ]
        found = iter(runner.run("golden", tests))
        curve = []
        for training, sigma, _ in wanted:
            for points in zip(*(next(found) for _ in self.seeds), strict=True):
                place = {"training": training, "read_sigma": sigma, "votes": points[0]["votes"]}
                curve.append(place | {by: over_seeds([p[by] for p in points]) for by in WAYS})

        rtl = self._rtl(runner, programs, curve)
        return {
            "settings": dataclasses.asdict(self),
            "read_noise_lsb": {
                training: self._lsb([trained[training, seed] for seed in self.seeds])
                for training in self.trainings
            },
            "curve": curve,
            "rtl": rtl,
            "claims": rtl_claims(rtl),
        }

    def _lsb(self, trained: list[Fields]) -> dict[str, float]:
        """Read noise of a column in ADC LSB, mean over seeds, for each read noise of a device."""
        unit = statistics.mean(of_seed["lsb_per_sigma"] for of_seed in trained)
        return {str(s): round(s * unit, 4) for s in sorted({*self.read, self.vote_sigma})}

    def _place(
        self,
        programs: dict[tuple[str, int], Job],
        training: str,
        sigma: float,
        votes: Any,
        seed: int,
    ) -> Fields:
        """Arguments of a test."""
        given = {"dataset": self.dataset, "program": programs[training, seed], "seed": seed}
        return given | {"read_sigma": sigma, "votes": votes}

    def _rtl(
        self, runner: Runner, programs: dict[tuple[str, int], Job], curve: list[Fields]
    ) -> list[Fields]:
        """Some of the points through the Verilog, one after the other: they share a build."""
        seed = self.seeds[0]
        wanted = [(t, sigma, 1, "majority") for t in self.trainings for sigma in self.rtl_read]
        wanted += [
            (self.trainings[0], self.vote_sigma, votes, by)
            for votes in self.rtl_votes
            for by in WAYS
        ]
        jobs = []
        for training, sigma, votes, by in wanted:
            given = self._place(programs, training, sigma, votes, seed) | {"by": by}
            jobs.append(Job("wordline.studies.chip_runs:chip", given))
        found = dataclasses.replace(runner, workers=1).run("Verilog", jobs)
        points = []
        for (training, sigma, votes, by), result in zip(wanted, found, strict=True):
            at = {"training": training, "read_sigma": sigma, "votes": votes}
            golden = next(p for p in curve if all(p[k] == v for k, v in at.items()))
            value = golden[by]["seeds"][0]
            points.append({"seed": seed, **at, "by": by, "golden": value, **result})
        return points


STUDY = FULL = NoiseStudy()


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """Accuracies in percent: golden, mean and spread over seeds; the Verilog, of one seed."""
    seed = results["settings"]["seeds"][0]
    heads = [*(f"{by} %" for by in WAYS), *(f"Verilog, seed {seed}, {by}" for by in WAYS)]
    table = Table("training", "read noise", "in LSB", "votes", *heads, box=box)
    rtl = {(*_place(point), point["by"]): point["rtl"] for point in results["rtl"]}
    for point in results["curve"]:
        found = [rtl.get((*_place(point), by)) for by in WAYS]
        lsb = results["read_noise_lsb"][point["training"]][str(point["read_sigma"])]
        table.add_row(
            *(point["training"], f"{100 * point['read_sigma']:g} %", f"{lsb:.2f}"),
            *(str(point["votes"]), *(shown(point[by]) for by in WAYS)),
            *("" if value is None else f"{value:.2f}" for value in found),
        )
    return [table]


def _place(point: Fields) -> tuple[Any, ...]:
    return point["training"], point["read_sigma"], point["votes"]


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: accuracy against read noise, and against votes; the Verilog as crosses on the
    thin line of golden of the same seed."""
    settings = results["settings"]
    sigma, seed = settings["vote_sigma"], settings["seeds"][0]
    looks = dict(zip(TRAININGS, ((BLUE, "o", "-"), (VERMILION, "s", "--")), strict=True))
    with drawing(folder / "figure.svg", 1, 2, (7.2, 3.9)) as axes:
        left, right = axes[0]
        for training in settings["trainings"]:
            mine = [point for point in results["curve"] if point["training"] == training]
            once = sorted((p for p in mine if p["votes"] == 1), key=lambda p: p["read_sigma"])
            at = sorted((p for p in mine if p["read_sigma"] == sigma), key=lambda p: p["votes"])
            _curve(left, once, "read_sigma", looks[training])
            _curve(right, at, "votes", looks[training])
            _labels(left, right, training, looks[training][0], at)
        for axis, key in ((left, "read_sigma"), (right, "votes")):
            dots = [p for p in results["rtl"] if _drawn(p, key, sigma)]
            verilog(axis, _x(dots, key), [p["rtl"] for p in dots])
        headline(axes, _message(results))
        left.set_xlabel("read noise of a device\n(% of full-scale conductance)")
        left.set_ylabel("accuracy on vowels, test set (%)")
        left.axvline(100 * sigma, color=GREY, linewidth=0.9, linestyle=":")
        if results["rtl"]:
            note(left, f"\u00d7 Verilog, seed {seed}\n(golden: thin line)", (0, 55))
        right.set_ylim(top=102)
        right.set_xscale("log", base=2)
        right.set_xticks(settings["votes"], [str(k) for k in settings["votes"]])
        right.set_xlabel(f"votes K, by sum,\nat {100 * sigma:g} % read noise")


def _labels(left: Any, right: Any, training: str, colour: str, at: list[Fields]) -> None:
    """The name of a training beside its line on the left, and numbers of the message."""
    plain = training == "none"
    words = textwrap.fill(TRAININGS[training], 13)
    values = {point["votes"]: point["sum"]["mean"] for point in at}
    if 1 in values:
        place = 100 * at[0]["read_sigma"], values[1]
        shift = {"dx": -9, "dy": -25, "ha": "right"} if plain else {"dx": 4, "dy": -42}
        note(left, f"{words}:\n{values[1]:.1f} %", place, color=colour, **shift)
        up = {"dy": -4} if plain else {"dy": 30}
        note(right, f"one pass: {values[1]:.1f} %", (1, values[1]), color=colour, dx=8, **up)
    if plain and 8 in values:
        note(right, f"8 votes: {values[8]:.1f} %", (8, values[8]), color=colour, dx=4, dy=-22)


def _message(results: Fields) -> str:
    """What the figure says."""
    sigma = results["settings"]["vote_sigma"]
    found = {(p["training"], p["votes"]): p for p in results["curve"] if p["read_sigma"] == sigma}
    plain, trained, voted = (found.get(p) for p in (("none", 1), ("hardware", 1), ("none", 8)))
    where = f"At {100 * sigma:g} % read noise"
    if plain is None or trained is None or voted is None:
        return f"{where}: accuracy and votes"
    ours = [f"{point['sum']['mean']:.1f} %" for point in (plain, trained, voted)]
    return f"{where} accuracy is {ours[0]};\ntraining for it gives {ours[1]}, 8 votes {ours[2]}"


def _drawn(point: Fields, key: str, sigma: float) -> bool:
    """Whether a point of the Verilog belongs into the panel of that key."""
    if key == "read_sigma":
        return bool(point["votes"] == 1)
    return bool(point["read_sigma"] == sigma and (point["by"] == "sum" or point["votes"] == 1))


def _x(points: list[Fields], key: str) -> list[float]:
    return [100 * p[key] if key == "read_sigma" else p[key] for p in points]


def _curve(axis: Any, points: list[Fields], key: str, look: tuple[str, str, str]) -> None:
    """`line` of what the sum of votes reaches, and the first seed, thin."""
    x, (colour, marker, style) = _x(points, key), look
    dots = {"marker": marker, "markersize": 4}
    line(axis, x, [p["sum"] for p in points], color=colour, linestyle=style, **dots)
    axis.plot(x, [p["sum"]["seeds"][0] for p in points], color=colour, linewidth=0.6)
