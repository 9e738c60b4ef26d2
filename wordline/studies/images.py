"""Images: what noise at 0 dB does to a convolutional network, what training and votes give back.

After Qin and Vucinic, arXiv 1811.10649 (0 dB; MNIST 21.1 -> 99.5 %, CIFAR-10 29.9 -> 89.1 %).
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
PAPER = {"mnist-rows": (21.1, 99.5), "fashion-rows": (29.9, 89.1)}
"""Percent at 0 dB, plain and injected with votes (arXiv 1811.10649, abstract). The second is that
of CIFAR-10, in whose place Fashion-MNIST stands."""
GOALS = {"mnist-rows": 99.3, "fashion-rows": 89.1}
TITLES = {"mnist-rows": "MNIST", "fashion-rows": "Fashion-MNIST"}
NAMES = TITLES | {"fashion-rows": "Fashion-MNIST (paper: CIFAR-10)"}


@dataclass(frozen=True)
class ImagesStudy:
    """How well does a convolutional network classify with noise as strong as its signals?

    clean, noisy: epochs of the plain network, and with noise at `voted` from there on, a number for
    each data set. tested: ratios in dB; at `voted` with `votes` passes, or `plain_votes` of a plain
    network.
    """

    datasets: tuple[str, ...] = ("mnist-rows", "fashion-rows")
    width: int = 64
    seeds: tuple[int, ...] = (0, 1, 2)
    clean: int = 2
    noisy: tuple[int, ...] = (10, 5)
    batch: int = 128
    learning_rate: float = 0.002
    tested: tuple[float | None, ...] = (None, 10.0, 6.0, 3.0, 0.0, -3.0, -6.0)
    voted: float = 0.0
    votes: int = 32
    plain_votes: int = 4

    def run(self, runner: Runner) -> Fields:
        """Train and test; returns what results.json holds."""
        models: dict[tuple[str, str, bool, int], Job] = {}
        for dataset in self.datasets:
            for seed in self.seeds:
                plain = self.train(dataset, seed)
                for placement in PLACEMENTS:
                    models[dataset, placement, False, seed] = plain
                    models[dataset, placement, True, seed] = self.train(
                        dataset, seed, start=plain, snr_db=self.voted, placement=placement
                    )
        runner.run("train", [job for (*_, noisy, _), job in models.items() if not noisy])
        runner.run("inject", [job for (*_, noisy, _), job in models.items() if noisy])
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

    def train(self, dataset: str, seed: int, **more: Any) -> Job:
        """A training of this study: plain, or with noise from a plain one."""
        noisy = dict(zip(self.datasets, self.noisy, strict=True))
        epochs = noisy[dataset] if more else self.clean
        fit = {"epochs": epochs, "batch": self.batch, "learning_rate": self.learning_rate}
        given = {"dataset": dataset, "width": self.width, "fit": fit, "seed": seed}
        return Job("wordline.studies.image_runs:train", given | more)

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
                asked = GOALS[row["dataset"]]
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
FULL = ImagesStudy(width=128, clean=6, noisy=(20, 20), votes=64)


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
    """figure.svg: accuracy against the noise of the test; votes and the paper's numbers at 0 dB."""
    settings = results["settings"]
    tested, sets = settings["tested"], settings["datasets"]
    with drawing(folder / "figure.svg", 1, len(sets), (4.4 * len(sets), 4.4)) as axes:
        for axis, dataset in zip(axes[0], sets, strict=True):
            x = snr_axis(axis, tested)
            at = x[list(tested).index(settings["voted"])]
            mine = [row for row in results["rows"] if row["dataset"] == dataset]
            for row in mine:
                colour = f"C{PLACEMENTS.index(row['placement'])}"
                trained = "trained at 0 dB" if row["injected"] else "plain training"
                style = {"color": colour, "linestyle": "-" if row["injected"] else "--"}
                where = "every vector" if row["placement"] == "every" else row["placement"]
                name = f"{trained}, noise on {where}"
                line(axis, x, [t["one"] for t in row["tests"]], label=name, marker=".", **style)
                if row["injected"]:
                    voted = next(t for t in row["tests"] if t["votes"] > 1)
                    name = f"{voted['votes']} votes, noise on {where}"
                    axis.plot(at, voted["sum"]["mean"], "o", color=colour, label=name)
            whose = "paper" if dataset == "mnist-rows" else "paper, CIFAR-10:"
            for value in PAPER[dataset]:
                axis.plot(at, value, "_", color="black", markersize=18, zorder=6)
                axis.annotate(f"{whose} {value:g}", (at + 0.35, value), fontsize=7, va="center")
            axis.set_ylim(0, 102)
            axis.grid(alpha=0.3)
            axis.set_title(TITLES[dataset])
            axis.set_xlabel("signal-to-noise ratio of the test (dB)")
            axis.set_ylabel("accuracy, test set (%)")
        legend_below(axes, 3)
