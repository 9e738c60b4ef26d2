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


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: what noise in inference adds to the accuracy on attacked images."""
    tested = results["settings"]["tested"]
    targets = list(dict.fromkeys(row["target"] for row in results["rows"]))
    with drawing(folder / "figure.svg", 1, len(targets), (4.6 * len(targets), 4.0)) as axes:
        for axis, target in zip(axes[0], targets, strict=True):
            x = snr_axis(axis, tested)
            mine = [row for row in results["rows"] if row["target"] == target]
            for n, row in enumerate(mine):
                for by, style in (("one", "-"), ("sum", "--")):
                    points = [p for p in row["points"] if p["part"] == "test" and p["by"] == by]
                    gains = [
                        over_seeds(
                            [a - b for a, b in zip(p["seeds"], points[0]["seeds"], strict=True)]
                        )
                        for p in points
                    ]
                    how = "one pass" if by == "one" else "votes"
                    name = f"{row['attack']} through {row['source']}, {how}"
                    look = {"color": f"C{n}", "linestyle": style, "marker": "."}
                    line(axis, x, gains, label=name, **look)
            axis.axhline(0, color="grey", linewidth=0.8)
            axis.axhline(PAPER, color="black", linestyle=":", label=f"paper: +{PAPER:g}")
            axis.grid(alpha=0.3)
            axis.set_title(f"target: {target}")
            axis.set_xlabel("signal-to-noise ratio of the inference (dB)")
            axis.set_ylabel("gain on attacked test images (points)")
        legend_below(axes, 3)
