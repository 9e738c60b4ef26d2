"""Defence: whether noise in inference helps against attacks that were made on another network.

After Qin and Vucinic, arXiv 1811.10649: adversarially trained models gain 0.5 % (MNIST) and 1.13 %
(CIFAR-10) against black-box attacks when they compute with noise. Attacks are those of the
Adversarial Robustness Toolbox; Madry et al., ICLR 2018, for the training.
"""

import dataclasses
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
    line,
    note,
    over_seeds,
    shown,
    snr_axis,
)

Fields = dict[str, Any]

PAPER = 0.5
"""Points that MNIST gains (arXiv 1811.10649, abstract)."""

ATTACKS = {
    "FGSM": {"kind": "fgsm", "eps": 0.3, "step": 0.3, "steps": 1},
    "PGD": {"kind": "pgd", "eps": 0.3, "step": 0.06, "steps": 10},
}
"""By name, as `wordline.studies.image_runs.attacker` takes them; eps: of a pixel's whole range."""


@dataclass(frozen=True)
class DefenceStudy:
    """Does noise in inference help an adversarially trained network against transferred attacks?

    A target of one seed is attacked through a source of the next: a plain network, or one that was
    trained adversarially like the target. plain, adversarial, noisy: epochs; the noisy target goes
    on from the adversarial one, with attacks, at `trained` dB.
    """

    dataset: str = "mnist-rows"
    width: int = 32
    seeds: tuple[int, ...] = (0, 1, 2)
    plain: int = 2
    adversarial: int = 3
    noisy: int = 2
    batch: int = 128
    learning_rate: float = 0.002
    trained: float = 10.0
    training: Fields = field(
        default_factory=lambda: {"kind": "pgd", "eps": 0.3, "step": 0.15, "steps": 3}
    )
    attacks: tuple[str, ...] = ("PGD",)
    tested: tuple[float | None, ...] = (None, 20.0, 10.0)
    placement: str = "pre-activations"
    votes: int = 4

    def run(self, runner: Runner) -> Fields:
        """Train, attack, test; returns what results.json holds."""
        plain = {seed: self._train(seed, self.plain) for seed in self.seeds}
        hard = {
            seed: self._train(seed, self.adversarial, start=plain[seed], attack=self.training)
            for seed in self.seeds
        }
        noise = {"snr_db": self.trained, "placement": self.placement}
        noisy = {
            seed: self._train(seed, self.noisy, start=hard[seed], attack=self.training, **noise)
            for seed in self.seeds
        }
        runner.run("train", list(plain.values()))
        trained = {
            "adversarial": runner.run("train adversarially", list(hard.values())),
            "adversarial, noise": runner.run("train with noise", list(noisy.values())),
        }
        targets = {"adversarial": hard, "adversarial, noise": noisy}
        sources = {"plain": plain, "adversarial": hard}
        jobs = {}
        for target, models in targets.items():
            for source, others in sources.items():
                for attack in self.attacks:
                    for n, seed in enumerate(self.seeds):
                        other = others[self.seeds[(n + 1) % len(self.seeds)]]
                        points = [(t, 1 if t is None else self.votes) for t in self.tested]
                        given = {"dataset": self.dataset, "width": self.width, "seed": seed}
                        given |= {"model": models[seed], "source": other, "attack": ATTACKS[attack]}
                        given |= {"placement": self.placement, "points": points}
                        job = Job("wordline.studies.image_runs:transfer", given)
                        jobs[target, source, attack, seed] = job
        found = dict(zip(jobs, runner.run("attack", list(jobs.values())), strict=True))
        rows = [
            self._row([found[(*place, seed)] for seed in self.seeds], *place)
            for place in dict.fromkeys(key[:3] for key in jobs)
        ]
        accuracies = {
            name: over_seeds([result["clean"] for result in values])
            for name, values in trained.items()
        }
        settings = dataclasses.asdict(self) | {"how": ATTACKS}
        return {"settings": settings, "clean": accuracies, "rows": rows, "claims": _claims(rows)}

    def _train(self, seed: int, epochs: int, **more: Any) -> Job:
        fit = {"epochs": epochs, "batch": self.batch, "learning_rate": self.learning_rate}
        given = {"dataset": self.dataset, "width": self.width, "fit": fit, "seed": seed}
        return Job("wordline.studies.image_runs:train", given | more)

    def _row(self, seeds: list[Fields], target: str, source: str, attack: str) -> Fields:
        """One attack on one kind of target: every point, and the gain at the ratio that does best
        on the held images, one ratio a row."""
        row: Fields = {"target": target, "source": source, "attack": attack, "points": []}
        row["source_accuracy"] = over_seeds([s["test"][0]["source"] for s in seeds])
        for part in ("held", "test"):
            for points in zip(*(s[part][1:] for s in seeds), strict=True):
                for by in ("one", "majority", "sum"):
                    values = [p[by] if by == "one" else p[by][-1] for p in points]
                    place = {"part": part, "snr_db": points[0]["snr_db"], "by": by}
                    row["points"].append(place | over_seeds(values))
        for by in ("one", "sum"):
            held = [p for p in row["points"] if p["part"] == "held" and p["by"] == by]
            best = max((p for p in held if p["snr_db"] is not None), key=lambda p: p["mean"])
            quiet, noisy = (
                next(
                    p
                    for p in row["points"]
                    if (p["part"], p["by"], p["snr_db"]) == ("test", by, snr)
                )
                for snr in (None, best["snr_db"])
            )
            gains = [b - a for a, b in zip(quiet["seeds"], noisy["seeds"], strict=True)]
            row[f"gain_{by}"] = {"snr_db": best["snr_db"], **over_seeds(gains)}
        return row


def _claims(rows: list[Fields]) -> list[Fields]:
    """The gain by noise in each setting, in points."""
    claims = []
    for row in rows:
        for by, how in (("one", "one pass"), ("sum", "votes")):
            gain = row[f"gain_{by}"]
            source = {"plain": "a plain", "adversarial": "an adversarial"}[row["source"]]
            name = f"MNIST, {row['attack']} through {source} network, "
            name += f"{row['target']} target: gain at {decibels(gain['snr_db'])}, {how}"
            ours = {"ours": gain["mean"], "spread": gain["spread"]}
            claims.append(claim(name, unit="points", goal=PAPER, anchor=PAPER, **ours))
    return claims


STUDY = DefenceStudy()
FULL = DefenceStudy(width=64, plain=6, adversarial=12, noisy=6, votes=32, attacks=tuple(ATTACKS))


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """Percent of the attacked test images, a row an attack on a target, a column a ratio."""
    tested = results["settings"]["tested"]
    found = []
    for by, title in (("one", "one pass"), ("sum", f"{results['settings']['votes']} votes, sum")):
        heads = [decibels(snr) for snr in tested]
        table = Table("target", "source", "attack", *heads, box=box, title=f"test set, {title}")
        for row in results["rows"]:
            points = [p for p in row["points"] if p["part"] == "test" and p["by"] == by]
            values = [shown(point) for point in points]
            table.add_row(row["target"], row["source"], row["attack"], *values)
        found.append(table)
    return found


LOOKS = {
    "adversarial": ("adversarial target", VERMILION, "s", "--"),
    "adversarial, noise": ("target also trained\nwith noise", BLUE, "o", "-"),
}
"""Of the targets."""
SOURCES = {"plain": "a plain", "adversarial": "an adversarial"}
GAINS = {"gain_one": "one pass", "gain_sum": "votes"}


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: the gain by noise in inference. figure_targets.svg: accuracy of the targets."""
    _gains(results, folder / "figure.svg")
    _targets(results, folder / "figure_targets.svg")


def _gains(results: Fields, path: Path) -> None:
    """Gain and its spread of every setting of the claims, beside the paper's."""
    rows = results["rows"]
    gains: list[Fields] = []
    with drawing(path, 1, 1, (7.2, 0.75 * len(rows) + 1.6)) as axes:
        axis, names = axes[0, 0], {}
        at, left = 0.0, 1.4 * min(row[g]["mean"] - row[g]["spread"] for row in rows for g in GAINS)
        for n, row in enumerate(rows):
            title, colour, marker, _ = LOOKS[row["target"]]
            if n == 0 or row["target"] != rows[n - 1]["target"]:
                at += 0.7
                words = title.replace("\n", " ")
                note(axis, words, (left, at - 0.7), color=colour, fontweight="bold", dx=6)
            names[at] = f"{row['attack']} through\n{SOURCES[row['source']]}\nnetwork"
            for (by, how), shift in zip(GAINS.items(), (-0.17, 0.17), strict=True):
                gain = row[by]
                mean, spread = round(gain["mean"], 4), gain["spread"]
                look = {"color": colour, "fmt": marker, "markersize": 6, "capsize": 3}
                axis.errorbar([mean], [at + shift], xerr=spread, **look)
                words, place = f"{how}: {mean:+.2f}", (mean - spread, at + shift)
                note(axis, words, place, color=colour, dx=-6, ha="right")
                gains.append(gain)
            at += 1
        axis.set_yticks([*names], [*names.values()])
        axis.set_ylim(at - 0.4, -0.4)
        axis.set_xlim(left, PAPER + 1.2)
        axis.axvline(0, color=GREY, linewidth=0.9)
        axis.axvline(PAPER, color=BLACK, linewidth=1.4, linestyle=":")
        note(axis, f"paper: +{PAPER:g}", (PAPER, 0), dx=5)
        ratios = " or ".join(dict.fromkeys(decibels(gain["snr_db"]) for gain in gains))
        axis.set_xlabel(f"gain by noise at {ratios} on attacked test images (points)")
        worst, best = (f(gain["mean"] for gain in gains) for f in (min, max))
        lost = sum(gain["mean"] < 0 for gain in gains)
        said = f"Noise of {ratios} in inference costs accuracy in {lost} of {len(gains)} settings:"
        headline(axes, f"{said}\n{worst:+.2f} to {best:+.2f} points (paper: +{PAPER:g})")


def _targets(results: Fields, path: Path) -> None:
    """Accuracy of both targets in one pass against the noise of inference; a panel a source."""
    settings, rows = results["settings"], results["rows"]
    attack = settings["attacks"][-1]
    sources = list(dict.fromkeys(row["source"] for row in rows))
    says = []
    with drawing(path, 1, len(sources), (7.2, 3.9)) as axes:
        for axis, source in zip(axes[0], sources, strict=True):
            x = snr_axis(axis, settings["tested"])
            for target, (title, colour, marker, style) in LOOKS.items():
                here = target, source, attack
                row = next(r for r in rows if (r["target"], r["source"], r["attack"]) == here)
                points = [p for p in row["points"] if (p["part"], p["by"]) == ("test", "one")]
                look = {"color": colour, "marker": marker, "linestyle": style}
                line(axis, x, points, markersize=5, **look)
                first, last = points[0]["mean"], points[-1]["mean"]
                up = target != "adversarial"
                place = {"dx": -20, "dy": 34} if up else {"dx": -85, "dy": -52}
                note(axis, title, (x[1], first), color=colour, **place)
                for n, mean in ((x[0], first), (x[-1], last)):
                    words, dy = f"{mean:.1f} %", 12 if up else -12
                    note(axis, words, (n, mean), color=colour, dx=7, dy=dy)
                if source == sources[0]:
                    says.append(f"{first:.1f} %")
            axis.set_xlim(-0.2, x[-1] + 0.6)
            axis.set_ylim(35, 115)
            axis.set_yticks(range(40, 101, 10))
            axis.set_title(f"{attack} through {SOURCES[source]} network", fontsize=10.5)
            axis.set_xlabel("signal-to-noise ratio of\nthe inference (dB), one pass")
        axes[0, 0].set_ylabel("accuracy on attacked images,\ntest set (%)")
        said = f"{settings['noisy']} more epochs of adversarial training, with noise, make a target"
        headline(axes, f"{said}\nwithstand more attacks: {says[1]} right instead of {says[0]}")
