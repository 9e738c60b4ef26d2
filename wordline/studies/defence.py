"""Defence: whether noise in training and in inference helps against attacks.

After Qin and Vucinic, arXiv 1811.10649: adversarially trained models gain 0.5 % (MNIST) and 1.13 %
(CIFAR-10) against black-box attacks when they compute with noise. Attacks are those of the
Adversarial Robustness Toolbox; Madry et al., ICLR 2018, for the training; McNemar, Psychometrika
12 (1947), for the test of two networks on the same images.
"""

import dataclasses
import math
from collections import Counter
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
    claim,
    decibels,
    drawing,
    headline,
    note,
    over_seeds,
    shown,
)

Fields = dict[str, Any]

PAPER = 0.5
"""Points that MNIST gains (arXiv 1811.10649, abstract)."""
SURE = 0.01
"""A gain counts where chance would give one as large less often (two-sided)."""

ATTACKS = {
    "FGSM": {"kind": "fgsm", "eps": 0.3, "step": 0.3, "steps": 1},
    "PGD": {"kind": "pgd", "eps": 0.3, "step": 0.06, "steps": 10},
}
"""By name, as `wordline.studies.attack_runs.Attack` takes them; eps: of a pixel's whole range."""

SOURCES = {"plain": "a plain", "adversarial": "an adversarial"}
"""Networks that attacks are made through."""

TARGETS = ("without", "with")
"""Adversarial training without and with noise."""

COMPARED = {
    "both": (("with", True), ("without", False)),
    "inference, trained without": (("without", True), ("without", False)),
    "inference, trained with": (("with", True), ("with", False)),
    "training alone": (("with", False), ("without", False)),
}
"""Where the noise is that is compared with its absence: (training, whether inference has it)."""


@dataclass(frozen=True)
class DefenceStudy:
    """Does noise in training and in inference help an adversarially trained network?

    A target of one seed is attacked through a source of the next: a plain network, or one that was
    trained adversarially without noise. Both targets have as many epochs.

    trained: Ratio of the noise in training (dB).
    tested: Ratios in inference; the best on attacked held-out images is taken to the test images.
    white: Test images of the white-box attack; expectation: passes that its attacker averages over.
    """

    dataset: str = "mnist-rows"
    width: int = 16
    seeds: tuple[int, ...] = (0, 1, 2)
    plain: int = 2
    epochs: int = 8
    batch: int = 128
    learning_rate: float = 0.002
    trained: float = 15.0
    training: Fields = field(
        default_factory=lambda: {"kind": "pgd", "eps": 0.3, "step": 0.15, "steps": 3}
    )
    attacks: tuple[str, ...] = ("FGSM", "PGD")
    tested: tuple[float, ...] = (15.0, 20.0, 25.0, 30.0, 40.0)
    placement: str = "pre-activations"
    votes: int = 32
    white: int = 2000
    expectation: int = 4

    def __post_init__(self) -> None:
        if len(self.seeds) < 2:
            raise ValueError("a target of one seed is attacked through another: give two seeds")
        if self.white and "PGD" not in self.attacks:
            raise ValueError("the ratio of the white box is that of PGD: give that attack too")
        if self.votes & (self.votes - 1):
            raise ValueError(f"votes = {self.votes} is no power of 2, as the curves have")

    def run(self, runner: Runner) -> Fields:
        """Train, attack, test; returns what results.json holds."""
        plain = {seed: self._train(seed, self.plain, None) for seed in self.seeds}
        noise = {"without": None, "with": self.trained}
        targets = {
            name: {
                seed: self._train(seed, self.epochs, self.training, snr_db=noise[name])
                for seed in self.seeds
            }
            for name in TARGETS
        }
        trained = [job for models in (plain, *targets.values()) for job in models.values()]
        found = dict(zip(map(id, trained), runner.run("train", trained), strict=True))
        clean = {
            name: over_seeds([found[id(job)]["clean"] for job in models.values()])
            for name, models in {"plain": plain, **targets}.items()
        }
        sources = {"plain": plain, "adversarial": targets["without"]}
        rows = [
            self._row(runner, source, attack, sources[source], targets)
            for source in SOURCES
            for attack in self.attacks
        ]
        settings = dataclasses.asdict(self) | {"how": ATTACKS}
        white = self._white(runner, targets, rows)
        claims = [_claim(row) for row in rows]
        return {"settings": settings, "clean": clean, "rows": rows, "white": white} | {
            "claims": [*_clean_claims(clean), *claims]
        }

    def _train(self, seed: int, epochs: int, attack: Fields | None, **more: Any) -> Job:
        fit = {"epochs": epochs, "batch": self.batch, "learning_rate": self.learning_rate}
        given = {"dataset": self.dataset, "width": self.width, "fit": fit, "seed": seed}
        if self.placement != "pre-activations":
            more["placement"] = self.placement
        return Job("wordline.studies.attack_runs:train", given | {"attack": attack} | more)

    def _row(
        self,
        runner: Runner,
        source: str,
        attack: str,
        sources: dict[int, Job],
        targets: dict[str, dict[int, Job]],
    ) -> Fields:
        """One transferred attack on both targets: chosen on held images, told on test images."""
        where = f"{attack} through {SOURCES[source]} network"
        net = {"dataset": self.dataset, "width": self.width}
        bad = {
            (part, seed): Job(
                "wordline.studies.attack_runs:attacked",
                net
                | {"source": sources[self.seeds[(n + 1) % len(self.seeds)]], "part": part}
                | {"attack": ATTACKS[attack], "seed": seed},
            )
            for part in ("held", "test")
            for n, seed in enumerate(self.seeds)
        }
        made = dict(zip(bad, runner.run(f"{where}: attack", [*bad.values()]), strict=True))

        def answers(part: str, ratios: dict[str, list[float]]) -> dict[str, list[list[Fields]]]:
            jobs = [
                Job(
                    "wordline.studies.attack_runs:answers",
                    net
                    | {"model": targets[target][seed], "attacked": bad[part, seed], "part": part}
                    | {"placement": self.placement, "seed": seed}
                    | {"points": [(None, 1), *((snr, self.votes) for snr in ratios[target])]},
                )
                for target in TARGETS
                for seed in self.seeds
            ]
            found = iter(runner.run(f"{where}: {part} images", jobs))
            return {target: [next(found) for _ in self.seeds] for target in TARGETS}

        held = answers("held", {target: [*self.tested] for target in TARGETS})
        row: Fields = {"source": source, "attack": attack}
        row["source_accuracy"] = over_seeds([made["test", seed]["source"] for seed in self.seeds])
        row["held"], best = {}, {}
        for target, seeds in held.items():
            row["held"][target] = [
                {"snr_db": points[0]["snr_db"]} | over_seeds([p["sum"][-1] for p in points])
                for points in zip(*seeds, strict=True)
            ]
            best[target] = max(row["held"][target][1:], key=lambda p: p["mean"])["snr_db"]
        test = answers("test", {target: [best[target]] for target in TARGETS})
        row["chosen"] = best
        row["test"] = {
            target: {
                "quiet": over_seeds([points[0]["sum"][-1] for points in seeds]),
                "noisy": over_seeds([points[1]["sum"][-1] for points in seeds]),
                "noisy, one pass": over_seeds([points[1]["one"] for points in seeds]),
            }
            for target, seeds in test.items()
        }
        row["compared"] = {
            name: paired(
                [
                    (first[i]["right"], second[j]["right"])
                    for first, second in zip(test[a], test[b], strict=True)
                ]
            )
            for name, ((a, i), (b, j)) in COMPARED.items()
        }
        return row

    def _white(
        self, runner: Runner, targets: dict[str, dict[int, Job]], rows: list[Fields]
    ) -> list[Fields]:
        """Attacks through the target itself as it computes: without noise, and with the noise that
        was best against PGD through an adversarial network."""
        if not self.white:
            return []
        best = next(r for r in rows if (r["source"], r["attack"]) == ("adversarial", "PGD"))
        places = [(target, snr) for target in TARGETS for snr in (None, best["chosen"][target])]
        jobs = [
            Job(
                "wordline.studies.attack_runs:white_box",
                {"dataset": self.dataset, "width": self.width, "model": targets[target][seed]}
                | {"placement": self.placement, "attack": ATTACKS["PGD"], "snr_db": snr}
                | {"expectation": self.expectation, "passes": 1 if snr is None else self.votes}
                | {"count": self.white, "seed": seed},
            )
            for target, snr in places
            for seed in self.seeds
        ]
        found = iter(runner.run("PGD through the target itself", jobs))
        return [
            {"target": target, "snr_db": snr}
            | over_seeds([next(found)["sum"][-1] for _ in self.seeds])
            for target, snr in places
        ]


def paired(answers: list[tuple[str, str]]) -> Fields:
    """Two networks on the same images, a pair a seed: which images each has right, as 0 and 1.

    Returns the gain of the first in points, over seeds, and with McNemar's exact p of each seed
    (`each`). `interval` and `p` are those of Student's t over images, with the mean over seeds of
    each image, as the seeds share the images: how much chance there is in the choice of images, of
    the same networks. `trained` is the 95 % interval over seeds: how much there is in training.
    """
    import numpy as np
    from scipy.stats import binomtest, t  # slow to import

    gains, each, sums = [], [], np.zeros(len(answers[0][0]))
    for first, second in answers:
        pairs = Counter(zip(first, second, strict=True))
        only, other = pairs["1", "0"], pairs["0", "1"]
        gains.append(100 * (only - other) / len(first))
        each.append(float(binomtest(only, only + other).pvalue) if only + other else 1.0)
        sums += [int(a) - int(b) for a, b in zip(first, second, strict=True)]
    over, count = over_seeds(gains), len(gains)
    reach = over["spread"] / count**0.5 * float(t.ppf(0.975, count - 1)) if count > 1 else math.inf
    trained = [round(over["mean"] + sign * reach, 4) for sign in (-1, 1)]
    images = 100 * sums / count
    error = float(images.std(ddof=1)) / len(images) ** 0.5
    wide = error * float(t.ppf(0.975, len(images) - 1))
    p = 2 * float(t.sf(abs(over["mean"]) / error, len(images) - 1)) if error else 1.0
    interval = [round(over["mean"] + sign * wide, 4) for sign in (-1, 1)]
    return over | {"each": each, "interval": interval, "p": p, "trained": trained}


def _clean_claims(clean: dict[str, Fields]) -> list[Fields]:
    """Targets are to be good ones."""
    return [
        claim(
            f"MNIST, adversarial training {name} noise: images without attack",
            clean[name]["mean"],
            "%",
            goal=98.0,
            spread=clean[name]["spread"],
        )
        for name in TARGETS
    ]


def _claim(row: Fields) -> Fields:
    """The gain of noise in training and inference over none, at equal epochs; met where it is not
    chance, and of one sign in all seeds."""
    found = row["compared"]["both"]
    name = f"MNIST, {row['attack']} through {SOURCES[row['source']]} network: gain of noise in "
    name += f"training and inference ({decibels(row['chosen']['with'])})"
    ours = {"ours": found["mean"], "spread": found["spread"]}
    made = claim(name, unit="points", goal=PAPER, anchor=PAPER, **ours)
    sure = found["p"] < SURE and min(found["seeds"]) > 0
    more = {name: found[name] for name in ("p", "interval", "trained")}
    return made | more | {"met": made["met"] and sure}


STUDY = DefenceStudy()
FULL = DefenceStudy(width=32, epochs=16, plain=6, white=10_000, expectation=8)


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """Right answers on attacked test images; gains; the choice on held images; the white box."""
    votes = results["settings"]["votes"]
    heads = ("attack", "source", "target trained", "ratio", "no noise", "noise, one pass")
    test = Table(*heads, f"noise, {votes} votes", box=box, title="attacked test images, %")
    gains = Table(
        *("attack", "source", "noise in", "gain, points"),
        *("95 % interval of images", "p", "McNemar's p of each seed", "95 % interval of seeds"),
        box=box,
        title="gain on the same images",
    )
    tested = results["settings"]["tested"]
    held = Table(
        *("attack", "source", "target trained", "none", *map(decibels, tested)),
        box=box,
        title=f"attacked held-out images, {votes} votes, %",
    )
    for row in results["rows"]:
        place = (row["attack"], row["source"])
        for target in TARGETS:
            of = row["test"][target]
            values = (of[name] for name in ("quiet", "noisy, one pass", "noisy"))
            ratio = decibels(row["chosen"][target])
            test.add_row(*place, f"{target} noise", ratio, *map(shown, values))
            held.add_row(*place, f"{target} noise", *map(shown, row["held"][target]))
        for name, found in row["compared"].items():
            of_images, of_seeds = (
                f"{low:+.2f} to {high:+.2f}" for low, high in (found["interval"], found["trained"])
            )
            ps = ", ".join(f"{p:.2g}" for p in found["each"])
            words = (of_images, f"{found['p']:.2g}", ps, of_seeds)
            gains.add_row(*place, name, shown(found), *words)
    white = Table(
        *("target trained", "inference", "right"),
        box=box,
        title=f"PGD through the target itself, {results['settings']['white']:,} test images, %",
    )
    for row in results["white"]:
        white.add_row(f"{row['target']} noise", decibels(row["snr_db"]), shown(row))
    return [test, gains, held, white]


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: gains with their intervals. figure_targets.svg: what the targets get right."""
    _gains(results, folder / "figure.svg")
    _targets(results, folder / "figure_targets.svg")


LOOKS = {
    "both": ("training and inference", BLUE, "o"),
    "inference, trained without": ("inference alone", VERMILION, "s"),
    "inference, trained with": ("inference, of a target trained with noise", GREY, "D"),
}
"""Of the comparisons that are drawn: where the noise is."""


def _gains(results: Fields, path: Path) -> None:
    """Gain and interval of every attack, beside the paper's."""
    rows = results["rows"]
    with drawing(path, 1, 1, (7.2, 0.95 * len(rows) + 1.8)) as axes:
        axis = axes[0, 0]
        for k, (name, (words, colour, marker)) in enumerate(LOOKS.items()):
            for n, row in enumerate(rows):
                found, y = row["compared"][name], n + 0.24 * (k - 1)
                axis.plot(found["interval"], [y, y], color=colour, linewidth=2)
                look = {"color": colour, "markersize": 6, "linestyle": "none"}
                label = None if n else f"noise in {words}"
                axis.plot(found["mean"], y, marker=marker, label=label, **look)
                place = (found["interval"][1], y)
                note(axis, f"{found['mean']:+.2f}", place, color=colour, dx=6)
        names = [f"{row['attack']} through\n{SOURCES[row['source']]} network" for row in rows]
        axis.set_yticks(range(len(rows)), names)
        axis.set_ylim(len(rows) - 0.5, -0.6)
        axis.axvline(0, color=GREY, linewidth=0.9)
        axis.axvline(PAPER, color=BLACK, linewidth=1.4, linestyle=":")
        note(axis, f"paper: +{PAPER:g}", (PAPER, len(rows) - 0.7), dx=5)
        axis.margins(x=0.1)
        axis.set_xlabel("gain by noise on attacked test images (points), 95 % intervals of images")
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=9, frameon=False, ncols=1)
        gains = [row["compared"]["both"]["mean"] for row in rows]
        lost = f"costs {-max(gains):.2f} to {-min(gains):.2f} points"
        won = f"gains at most {max(gains):.2f} points"
        met = sum(row["met"] for row in map(_claim, rows))
        said = f"Noise in training and inference {won if max(gains) > 0 else lost};"
        headline(axes, f"{said}\n{met} of {len(rows)} attacks reach the paper's +{PAPER:g}")


def _targets(results: Fields, path: Path) -> None:
    """Right answers of both targets against the noise of inference, on held-out images."""
    rows, settings = results["rows"], results["settings"]
    looks = {"without": (VERMILION, "s--"), "with": (BLUE, "o-")}
    with drawing(path, 1, len(rows), (7.6, 3.6)) as axes:
        every = [p["mean"] for row in rows for points in row["held"].values() for p in points]
        for axis, row in zip(axes[0], rows, strict=True):
            for target, (colour, style) in looks.items():
                means = [p["mean"] for p in row["held"][target]]
                axis.plot(range(len(means)), means, style, color=colour, markersize=4)
                up = means[0] == max(row["held"][t][0]["mean"] for t in looks)
                words = f"{means[0]:.1f}"
                note(axis, words, (0, means[0]), color=colour, dx=-2, dy=9 if up else -9)
                if row is rows[0]:
                    place = (1, means[1])
                    note(axis, f"trained\n{target} noise", place, color=colour, dx=7, dy=2)
            ticks = ["none", *(f"{ratio:g}" for ratio in settings["tested"])]
            axis.set_xticks(range(len(ticks)), ticks)
            axis.set_title(f"{row['attack']} through\n{row['source']}", fontsize=9.5)
            axis.set_ylim(min(every) - 1, max(every) + 1.5)
        axes[0, 0].set_ylabel("accuracy (%), held-out images")
        axes[0, 0].set_xlabel("noise of the inference (dB)")
        said = (
            f"After {settings['epochs']} epochs each, a target trained with noise bears more noise,"
        )
        headline(axes, f"{said}\nbut is not right more often ({settings['votes']} votes)")
