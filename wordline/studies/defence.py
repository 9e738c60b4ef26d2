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

    Returns the gain of the first in points, over seeds. Over all seeds together its 95 % interval
    and McNemar's exact p: these two say how much chance there is in the choice of images, of the
    same networks. `trained` is the 95 % interval over seeds (Student's t): how much there is in
    training.
    """
    from scipy.stats import binomtest, t  # slow to import

    more = less = images = 0
    gains = []
    for first, second in answers:
        pairs = Counter(zip(first, second, strict=True))
        only, other = pairs["1", "0"], pairs["0", "1"]
        gains.append(100 * (only - other) / len(first))
        more, less, images = more + only, less + other, images + len(first)
    over, count = over_seeds(gains), len(gains)
    reach = over["spread"] / count**0.5 * float(t.ppf(0.975, count - 1)) if count > 1 else math.inf
    trained = [round(over["mean"] + sign * reach, 4) for sign in (-1, 1)]
    differ = more + less
    mean = (more - less) / images
    width = 1.96 * math.sqrt(max(differ - (more - less) ** 2 / images, 0.0)) / images
    p = binomtest(more, differ).pvalue if differ else 1.0
    interval = [round(100 * (mean + sign * width), 4) for sign in (-1, 1)]
    found = {"only": [more, less], "interval": interval, "p": float(p), "trained": trained}
    return over | found


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
        *("95 % interval of images", "McNemar's p", "95 % interval of seeds"),
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
            gains.add_row(*place, name, shown(found), of_images, f"{found['p']:.2g}", of_seeds)
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
    "inference, trained with": ("inference, of a target\ntrained with noise", GREY, "D"),
}
"""Of the comparisons that are drawn."""


def _gains(results: Fields, path: Path) -> None:
    """Gain and interval of every attack, beside the paper's."""
    rows = results["rows"]
    with drawing(path, 1, 1, (7.2, 0.95 * len(rows) + 1.6)) as axes:
        axis = axes[0, 0]
        ends = [end for row in rows for name in LOOKS for end in row["compared"][name]["interval"]]
        for n, row in enumerate(rows):
            for k, (name, (words, colour, marker)) in enumerate(LOOKS.items()):
                found, y = row["compared"][name], n + 0.24 * (k - 1)
                low, high = found["interval"]
                axis.plot([low, high], [y, y], color=colour, linewidth=2)
                axis.plot(found["mean"], y, marker, color=colour, markersize=6)
                label = f"{found['mean']:+.2f}" + (f"  {words}" if n == 0 else "")
                note(axis, label.replace("\n", " "), (high, y), color=colour, dx=6)
        names = [f"{row['attack']} through\n{SOURCES[row['source']]} network" for row in rows]
        axis.set_yticks(range(len(rows)), names)
        axis.set_ylim(len(rows) - 0.5, -0.6)
        left, right = min(*ends, 0.0), max(*ends, PAPER)
        axis.set_xlim(left - 0.1 * (right - left), right + 0.55 * (right - left))
        axis.axvline(0, color=GREY, linewidth=0.9)
        axis.axvline(PAPER, color=BLACK, linewidth=1.4, linestyle=":")
        note(axis, f"paper: +{PAPER:g}", (PAPER, len(rows) - 0.6), dx=5)
        axis.set_xlabel("gain by noise on attacked test images (points), 95 % intervals")
        best = max((row["compared"]["both"] for row in rows), key=lambda found: found["mean"])
        met = sum(row["met"] for row in map(_claim, rows))
        said = f"Noise in training and inference gains {best['mean']:+.2f} points at best;"
        headline(axes, f"{said}\n{met} of {len(rows)} attacks reach the paper's +{PAPER:g}")


def _targets(results: Fields, path: Path) -> None:
    """Right answers of both targets against the noise of inference, on held-out images."""
    rows, settings = results["rows"], results["settings"]
    looks = {"without": (VERMILION, "s--"), "with": (BLUE, "o-")}
    with drawing(path, 1, len(rows), (2.3 * len(rows) + 0.6, 3.6)) as axes:
        for axis, row in zip(axes[0], rows, strict=True):
            for target, (colour, style) in looks.items():
                points = row["held"][target]
                x = range(len(points))
                axis.plot(x, [p["mean"] for p in points], style, color=colour, markersize=5)
                last = points[0]["mean"]
                note(
                    axis,
                    f"{target} noise\n{last:.1f} %",
                    (0, last),
                    color=colour,
                    dx=5,
                    dy=14 if target == "with" else -16,
                )
            axis.set_xticks(range(len(points)), ["none", *(f"{t:g}" for t in settings["tested"])])
            axis.set_title(f"{row['attack']}, {row['source']}", fontsize=10)
            axis.margins(y=0.35)
        axes[0, 0].set_ylabel("accuracy on attacked\nheld-out images (%)")
        axes[0, 0].set_xlabel("noise of the inference (dB)")
        said = f"Targets of {settings['epochs']} epochs, trained with and without noise,"
        headline(axes, f"{said}\nagainst the noise of inference ({settings['votes']} votes)")
