"""Images: what noise at 0 dB does to a convolutional network, what training and votes give back.

After Qin and Vucinic, arXiv 1811.10649 (0 dB; MNIST 21.1 -> 99.5 %, CIFAR-10 29.9 -> 89.1 %).
"""

import dataclasses
from dataclasses import dataclass
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

PLACEMENTS = ("pre-activations", "every")
PAPER = {"mnist-rows": (21.1, 99.5), "fashion-rows": (29.9, 89.1)}
"""Percent at 0 dB, plain and injected with votes (arXiv 1811.10649, abstract). The second is that
of CIFAR-10, in whose place Fashion-MNIST stands."""
GOALS = {
    ("mnist-rows", "pre-activations"): 99.3,
    ("mnist-rows", "every"): 98.8,
    ("fashion-rows", "pre-activations"): 89.1,
    ("fashion-rows", "every"): 89.1,
}
"""Percent with votes, by data set and placement."""
TITLES = {"mnist-rows": "MNIST", "fashion-rows": "Fashion-MNIST"}
NAMES = TITLES | {"fashion-rows": "Fashion-MNIST (paper: CIFAR-10)"}


MOVED: Fields = {"shift": 1, "average": 0.999, "bfloat16": True}
"""How all are trained: moved by a pixel, weights averaged over some thousand batches, layers in
bfloat16."""


@dataclass(frozen=True)
class ImagesStudy:
    """How well does a convolutional network classify with noise as strong as its signals?

    clean, noisy: epochs of the plain network, and with noise at `voted` from there on, a number for
    each data set. parts: jobs that a training with noise is cut into: after an interruption it goes
    on with the next. more: what `image_runs.train` takes besides, for each data set. tested: ratios
    in dB; at `voted` with `votes` passes, or `plain_votes` of a plain network.
    """

    datasets: tuple[str, ...] = ("mnist-rows", "fashion-rows")
    width: int = 64
    seeds: tuple[int, ...] = (0, 1, 2)
    clean: int = 2
    noisy: tuple[int, ...] = (10, 5)
    parts: int = 1
    batch: int = 128
    learning_rate: float = 0.002
    more: tuple[Fields, ...] = ({}, {})
    tested: tuple[float | None, ...] = (None, 10.0, 6.0, 3.0, 0.0, -3.0, -6.0)
    voted: float = 0.0
    votes: int = 32
    plain_votes: int = 4

    def run(self, runner: Runner) -> Fields:
        """Train and test; returns what results.json holds."""
        plain = {(d, seed): self.train(d, seed) for d in self.datasets for seed in self.seeds}
        runner.run("train", list(plain.values()))
        injected: dict[tuple[str, str, int], Job] = {}
        for part in range(self.parts):
            injected = {
                (dataset, placement, seed): self.inject(
                    dataset, placement, seed, part, injected.get((dataset, placement, seed), job)
                )
                for (dataset, seed), job in plain.items()
                for placement in PLACEMENTS
            }
            runner.run(f"inject, part {part + 1} of {self.parts}", list(injected.values()))
        models: dict[tuple[str, str, bool, int], Job] = {}
        for (dataset, placement, seed), job in injected.items():
            models[dataset, placement, False, seed] = plain[dataset, seed]
            models[dataset, placement, True, seed] = job
        tests = []
        for (dataset, placement, noisy, seed), job in models.items():
            votes = self.votes if noisy else self.plain_votes
            points = [(t, votes if t == self.voted else 1) for t in self.tested]
            given = {"dataset": dataset, "width": self.width, "model": job, "seed": seed}
            given |= {"placement": placement, "points": points}
            tests.append(Job("wordline.studies.image_runs:evaluate", given))
        found = dict(zip(models, runner.run("test", tests), strict=True))
        rows = []
        for dataset, placement, noisy in dict.fromkeys(place[:3] for place in models):
            each = [found[dataset, placement, noisy, seed] for seed in self.seeds]
            row: Fields = {"dataset": dataset, "placement": placement, "injected": noisy}
            row["tests"] = [_over(points) for points in zip(*each, strict=True)]
            rows.append(row)
        settings = dataclasses.asdict(self)
        return {"settings": settings, "rows": rows, "claims": self._claims(rows)}

    def train(self, dataset: str, seed: int) -> Job:
        """The training of a plain network."""
        fit = self._fit(dataset) | {"epochs": self.clean}
        given = {"dataset": dataset, "width": self.width, "fit": fit, "seed": seed}
        return Job("wordline.studies.image_runs:train", given)

    def inject(self, dataset: str, placement: str, seed: int, part: int, start: Job) -> Job:
        """A part of a training with noise, from a plain network or from the part before."""
        epochs = dict(zip(self.datasets, self.noisy, strict=True))[dataset] // self.parts
        fit = {"epochs": epochs, "done": part * epochs, "of": self.parts * epochs}
        fit |= self._fit(dataset)
        given = {"dataset": dataset, "width": self.width, "fit": fit, "seed": seed, "start": start}
        noise = {"snr_db": self.voted, "placement": placement}
        return Job("wordline.studies.image_runs:train", given | noise)

    def _fit(self, dataset: str) -> Fields:
        more = dict(zip(self.datasets, self.more, strict=True))[dataset]
        return {"batch": self.batch, "learning_rate": self.learning_rate} | more

    def _claims(self, rows: list[Fields]) -> list[Fields]:
        claims = []
        for row in rows:
            plain, voted = PAPER[row["dataset"]]
            test = next(t for t in row["tests"] if t["snr_db"] == self.voted)
            where = f"{NAMES[row['dataset']]}, noise on {row['placement']}, 0 dB"
            one = test["one"]
            named: list[tuple[str, Fields, float | None, float | None]] = []
            if not row["injected"]:
                named.append((f"{where}: plain training", one, plain, None))
            else:
                name = f"{where}: injected"
                named.append((name, one, None, None))
                asked = GOALS[row["dataset"], row["placement"]]
                named.append((f"{name}, {self.votes} votes, sum", test["sum"], voted, asked))
            for name, value, anchor, goal in named:
                ours = {"ours": value["mean"], "spread": value["spread"]}
                claims.append(claim(name, unit="%", goal=goal, anchor=anchor, **ours))
        return claims


def _over(points: tuple[Fields, ...]) -> Fields:
    """One point of every seed as one; votes are the most there were."""
    found = {"snr_db": points[0]["snr_db"], "one": over_seeds([p["one"] for p in points])}
    for by in ("majority", "sum"):
        found[by] = over_seeds([p[by][-1] for p in points])
    return found | {"votes": points[0]["votes"][-1]}


STUDY = ImagesStudy()
FULL = ImagesStudy(
    width=128,
    clean=4,
    noisy=(12, 16),
    parts=4,
    more=(MOVED, MOVED | {"mirror": True}),
)


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """Percent of the test set, a row a training, a column a test."""
    tested = results["settings"]["tested"]
    heads = [f"tested: {decibels(snr)}" for snr in tested]
    table = Table("data", "noise on", "trained", *heads, "majority", "sum", box=box)
    for row in results["rows"]:
        values = [shown(test["one"]) for test in row["tests"]]
        voted = next(test for test in row["tests"] if test["votes"] > 1)
        values += [f"{shown(voted[by])} (K = {voted['votes']})" for by in ("majority", "sum")]
        trained = decibels(results["settings"]["voted"] if row["injected"] else None)
        table.add_row(TITLES[row["dataset"]], row["placement"], trained, *values)
    return [table]


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: what noise costs, and what training with it and votes give back.
    figure_votes.svg: votes, and the accuracy without noise."""
    _given_back(results, folder / "figure.svg")
    _votes(results, folder / "figure_votes.svg")


def _at(row: Fields, snr_db: float | None) -> Fields:
    """The test of a row at a ratio."""
    found: Fields = next(test for test in row["tests"] if test["snr_db"] == snr_db)
    return found


def _rows(results: Fields, dataset: str, placement: str) -> tuple[Fields, Fields]:
    """The plain network and that trained with noise, at a place."""
    place = {"dataset": dataset, "placement": placement}
    plain, noisy = (
        next(row for row in results["rows"] if place | {"injected": injected} == _key(row))
        for injected in (False, True)
    )
    return plain, noisy


def _key(row: Fields) -> Fields:
    return {key: row[key] for key in ("dataset", "placement", "injected")}


def _given_back(results: Fields, path: Path) -> None:
    """Noise on pre-activations: both trainings; at one ratio the votes, and the paper's numbers."""
    settings = results["settings"]
    ratio, sets, says = settings["voted"], settings["datasets"], []
    with drawing(path, 1, len(sets), (7.2, 4.0)) as axes:
        for axis, dataset in zip(axes[0], sets, strict=True):
            plain, noisy = _rows(results, dataset, "pre-activations")
            x = snr_axis(axis, settings["tested"])
            there = x[list(settings["tested"]).index(ratio)]
            low, high = PAPER[dataset]
            axis.plot([there, there], [low, high], "_-", color=BLACK, markersize=13, linewidth=1)
            whose = "paper" if dataset == "mnist-rows" else "paper, CIFAR-10,"
            right = {"ha": "right", "dx": -7}
            note(axis, f"{whose} {low:g}\nto {high:g} %", (there, 7), **right)
            look = {"color": VERMILION, "linestyle": "--", "marker": "s", "markersize": 4.5}
            line(axis, x, [test["one"] for test in plain["tests"]], **look)
            look = {"color": BLUE, "marker": "o", "markersize": 4.5}
            line(axis, x, [test["one"] for test in noisy["tests"]], **look)
            first, last = _at(plain, ratio)["one"]["mean"], _at(noisy, ratio)
            one, sums = last["one"]["mean"], last["sum"]["mean"]
            bold = {"fontweight": "bold"}
            before = max(x.index(there) - 1, 0)
            where = x[before], plain["tests"][before]["one"]["mean"]
            note(axis, "plain training", where, color=VERMILION, dy=-4, **right | bold)
            note(axis, f"{first:.2f} %", (there, first), color=VERMILION, dx=7, dy=10, **bold)
            words = f"trained at\n{decibels(ratio)}: {one:.2f} %"
            note(axis, words, (there, one), color=BLUE, dx=14, dy=0, **bold)
            axis.plot(there, sums, "D", color=BLUE, markerfacecolor="white", markersize=7, zorder=5)
            words = f"{settings['votes']} votes: {sums:.2f} %"
            note(axis, words, (there, sums), color=BLUE, dy=13, ha="center", **bold)
            axis.set_title(f"{TITLES[dataset]}, noise on pre-activations", fontsize=10.5)
            axis.set_ylim(0, 113)
            axis.set_yticks(range(0, 101, 20))
            axis.set_xlabel("signal-to-noise ratio of the test (dB)")
            says.append(f"{TITLES[dataset]} from {first:.2f} to {sums:.2f} %")
        axes[0, 0].set_ylabel("accuracy, test set (%)")
        said = f"At {decibels(ratio)}, training with noise and {settings['votes']} votes bring"
        headline(axes, f"{said}\n{' and '.join(says)}")


def _votes(results: Fields, path: Path) -> None:
    """One pass, votes, the same network without noise, the paper's number; a row a placement."""
    settings = results["settings"]
    ratio, sets = settings["voted"], settings["datasets"]
    with drawing(path, 1, len(sets), (7.2, 3.3)) as axes:
        for axis, dataset in zip(axes[0], sets, strict=True):
            for n, placement in enumerate(PLACEMENTS):
                _, noisy = _rows(results, dataset, placement)
                test, quiet = _at(noisy, ratio), _at(noisy, None)["one"]["mean"]
                one, sums = test["one"]["mean"], test["sum"]["mean"]
                axis.plot([one, sums], [n, n], color=BLUE, linewidth=1.2)
                axis.plot(one, n, "s", color=GREY, markersize=6)
                axis.plot(sums, n, "o", color=BLUE, markersize=9, markerfacecolor="white")
                axis.plot(quiet, n, "|", color=VERMILION, markersize=17, markeredgewidth=2)
                first = n == 0
                words = f"one pass:\n{one:.2f}" if first else f"{one:.2f}"
                note(axis, words, (one, n), color=GREY, dy=20 if first else 14, ha="center")
                words = f"{settings['votes']} votes: {sums:.2f}" if first else f"{sums:.2f}"
                note(axis, words, (sums, n), color=BLUE, dx=3, dy=17, ha="right")
                words = f"without noise: {quiet:.2f}" if first else f"{quiet:.2f}"
                note(axis, words, (quiet, n), color=VERMILION, dx=3, dy=-18, ha="right")
            high = PAPER[dataset][1]
            axis.axvline(high, color=BLACK, linewidth=1.2, linestyle=":")
            whose = "paper" if dataset == "mnist-rows" else "paper, CIFAR-10"
            look = {"ha": "right", "dx": -4}
            note(axis, f"{whose}: {high:g}", (high, 1.62), **look)
            axis.set_title(TITLES[dataset], fontsize=10.5)
            names = ["noise on\npre-\nactivations", "noise on\nevery\nvector"]
            axis.set_yticks((0, 1), names if axis is axes[0, 0] else [])
            axis.set_ylim(1.8, -0.65)
            axis.margins(x=0.1)
            axis.locator_params(axis="x", steps=(1, 2, 5, 10))
            axis.set_xlabel("accuracy, test set (%)")
        _, noisy = _rows(results, sets[0], PLACEMENTS[0])
        sums, quiet = _at(noisy, ratio)["sum"]["mean"], _at(noisy, None)["one"]["mean"]
        said = f"At {decibels(ratio)}, {settings['votes']} votes give back a network's accuracy"
        said += f" without noise:\n{sums:.2f} against {quiet:.2f} % on {TITLES[sets[0]]}"
        headline(axes, f"{said} (paper: {PAPER[sets[0]][1]:g} %)")
