"""Noise: accuracy on vowels against the read noise of the devices, and against votes.

The hardware's own noise, before a 4-bit ADC, in golden and in the Verilog; task, noise model and
numbers are ours.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table

from wordline.jobs import Job, Runner
from wordline.studies.common import drawing, line, over_seeds, rtl_claims, shown

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
        trained = runner.run("train", list(programs.values()))
        unit = trained[0]["lsb_per_sigma"]

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
                str(s): round(s * unit, 4) for s in sorted({*self.read, self.vote_sigma})
            },
            "curve": curve,
            "rtl": rtl,
            "claims": rtl_claims(rtl),
        }

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
        lsb = results["read_noise_lsb"][str(point["read_sigma"])]
        table.add_row(
            *(point["training"], f"{100 * point['read_sigma']:g} %", f"{lsb:.2f}"),
            *(str(point["votes"]), *(shown(point[by]) for by in WAYS)),
            *("" if value is None else f"{value:.2f}" for value in found),
        )
    return [table]


def _place(point: Fields) -> tuple[Any, ...]:
    return point["training"], point["read_sigma"], point["votes"]


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: accuracy against read noise, and against votes; the Verilog as points on golden's
    curve of the same seed."""
    settings = results["settings"]
    sigma, seed = settings["vote_sigma"], settings["seeds"][0]
    with drawing(folder / "figure.svg", 1, 2, (9, 3.8)) as axes:
        left, right = axes[0]
        for n, training in enumerate(settings["trainings"]):
            name = TRAININGS[training]
            mine = [point for point in results["curve"] if point["training"] == training]
            once = sorted((p for p in mine if p["votes"] == 1), key=lambda p: p["read_sigma"])
            _curve(left, once, "read_sigma", "majority", f"C{n}", "-", name)
            at = sorted((p for p in mine if p["read_sigma"] == sigma), key=lambda p: p["votes"])
            for by, style in (("majority", "-"), ("sum", "--")):
                _curve(right, at, "votes", by, f"C{n}", style, f"{name}, {by}")
        for axis, key in ((left, "read_sigma"), (right, "votes")):
            if key == "votes":
                dots = [
                    p
                    for p in results["rtl"]
                    if p["read_sigma"] == sigma and p["training"] == "none"
                ]
            else:
                dots = [p for p in results["rtl"] if p["votes"] == 1]
            label = f"Verilog, seed {seed}"
            axis.plot(_x(dots, key), [p["rtl"] for p in dots], "kx", label=label, zorder=5)
        left.set_xlabel("read noise of a device (% of full-scale conductance)")
        left.set_ylabel("accuracy on vowels, test set (%)")
        noises = [(100 * float(s), value) for s, value in results["read_noise_lsb"].items()]
        scale = noises[-1][1] / noises[-1][0]
        top = left.secondary_xaxis("top", functions=(lambda v: v * scale, lambda v: v / scale))
        top.set_xlabel("read noise of a column (ADC LSB)")
        right.set_xscale("log", base=2)
        right.set_xticks(settings["votes"], [str(k) for k in settings["votes"]])
        right.set_xlabel(f"votes K, at a read noise of {100 * sigma:g} %")
        words = f"lines: golden, mean and spread over seeds; thin: golden, seed {seed}"
        left.figure.supxlabel(words, fontsize=8)
        for axis in (left, right):
            axis.grid(alpha=0.3)
            axis.legend(fontsize=7)


def _x(points: list[Fields], key: str) -> list[float]:
    return [100 * p[key] if key == "read_sigma" else p[key] for p in points]


def _curve(
    axis: Any, points: list[Fields], key: str, by: str, colour: str, style: str, label: str
) -> None:
    """`line`, and the first seed, thin."""
    x = _x(points, key)
    line(axis, x, [p[by] for p in points], color=colour, linestyle=style, label=label)
    axis.plot(x, [p[by]["seeds"][0] for p in points], style, color=colour, linewidth=0.6)
