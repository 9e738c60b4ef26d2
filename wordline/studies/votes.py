"""Votes: how accuracy grows with the number of noisy passes that vote, at 0 dB.

After Qin and Vucinic, arXiv 1811.10649 (voting; strokes of MNIST at 0 dB: 89.6 %). Noise is of two
kinds: the hardware's own, on every conversion, whose amplitude is that of the clean pre-activations
(one number an array, over the training set), which the Verilog computes too; and noise injected
into every pre-activation at the ratio, as in the study `dni`.
"""

import dataclasses
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
    Trained,
    claim,
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
PAPER = 89.6
"""Percent on strokes of MNIST at 0 dB, with noise training and votes (arXiv 1811.10649)."""
KINDS = {"hardware": "ADC noise, the hardware's own", "injected": "injected into pre-activations"}
TRAININGS = {"plain": "plain training", "injected": "trained with 0 dB"}


@dataclass(frozen=True)
class Task(Trained):
    """A data set and how networks are trained on it. rtl: passes of the first seed that the Verilog
    computes too."""

    replay_steps: int
    rtl: tuple[int, ...]


@dataclass(frozen=True)
class VotesStudy:
    """How does the accuracy at 0 dB grow with the votes, by majority and by summed scores?"""

    tasks: tuple[Task, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    votes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    snr_db: float = 0.0

    def run(self, runner: Runner) -> Fields:
        """Train and test; returns what results.json holds."""
        rows, rtl = [], []
        for task in self.tasks:
            mine, points = self._task(runner, task)
            rows += mine
            rtl += points
        settings = dataclasses.asdict(self)
        claims = self._claims(rows, rtl)
        return {"settings": settings, "rows": rows, "rtl": rtl, "claims": claims}

    def _task(self, runner: Runner, task: Task) -> tuple[list[Fields], list[Fields]]:
        programs: dict[tuple[str, int], Job] = {}
        floats = []
        for seed in self.seeds:
            given = task.network | {"fit": task.fit(task.float_epochs), "seed": seed}
            start = Job("wordline.studies.runs:train_float", given)
            floats.append(start)
            given = given | {"fit": task.fit(task.epochs), "start": start}
            given["sections"] = {"voting": {"replay_steps": task.replay_steps}}
            for training in TRAININGS:
                noise = {} if training == "plain" else {"snr_db": self.snr_db}
                job = Job("wordline.studies.runs:train_quantised", given | noise)
                programs[training, seed] = job
        runner.run(f"{task.dataset}: float", floats)
        runner.run(f"{task.dataset}: quantise", list(programs.values()))

        hardware = [
            Job(
                "wordline.studies.runs:vote",
                {
                    **{"dataset": task.dataset, "program": job, "seed": seed},
                    **{"votes": self.votes, "snr_db": self.snr_db},
                },
            )
            for (_, seed), job in programs.items()
        ]
        points = [(self.snr_db, max(self.votes), "layer")]
        injected = [
            Job(
                "wordline.studies.runs:evaluate",
                task.network
                | {"model": job, "quantised": True, "placement": "pre-activations"}
                | {"seed": seed, "points": points},
            )
            for (_, seed), job in programs.items()
        ]
        found = {
            "hardware": runner.run(f"{task.dataset}: vote, hardware's noise", hardware),
            "injected": [
                [
                    {"votes": k, "majority": m, "sum": s}
                    for k, m, s in zip(r["votes"], r["majority"], r["sum"], strict=True)
                ]
                for (r,) in runner.run(f"{task.dataset}: vote, injected noise", injected)
            ],
        }
        rows = []
        for kind, results in found.items():
            by_program = dict(zip(programs, results, strict=True))
            for training in TRAININGS:
                each = [by_program[training, seed] for seed in self.seeds]
                row: Fields = {"dataset": task.dataset, "noise": kind, "training": training}
                row["points"] = [
                    {"votes": points[0]["votes"]}
                    | {by: over_seeds([p[by] for p in points]) for by in WAYS}
                    for points in zip(*each, strict=True)
                ]
                rows.append(row)
        return rows, self._rtl(runner, task, programs, rows)

    def _rtl(
        self, runner: Runner, task: Task, programs: dict[tuple[str, int], Job], rows: list[Fields]
    ) -> list[Fields]:
        """Points of the first seed through the Verilog, one after the other: they share a build."""
        seed, jobs, places = self.seeds[0], [], []
        for training in TRAININGS:
            for votes in task.rtl:
                for by in WAYS if votes > 1 else WAYS[:1]:
                    given = {"dataset": task.dataset, "program": programs[training, seed]}
                    given |= {"seed": seed, "votes": votes, "by": by, "snr_db": self.snr_db}
                    jobs.append(Job("wordline.studies.chip_runs:chip", given))
                    places.append({"training": training, "votes": votes, "by": by})
        one = dataclasses.replace(runner, workers=1)
        found = one.run(f"{task.dataset}: Verilog", jobs)
        points = []
        for place, result in zip(places, found, strict=True):
            row = next(
                r
                for r in rows
                if (r["noise"], r["training"]) == ("hardware", place["training"])
                and r["dataset"] == task.dataset
            )
            point = next(p for p in row["points"] if p["votes"] == place["votes"])
            golden = point[place["by"]]["seeds"][0]
            points.append(
                {"dataset": task.dataset, "seed": seed, **place, "golden": golden, **result}
            )
        return points

    def _claims(self, rows: list[Fields], rtl: list[Fields]) -> list[Fields]:
        claims = rtl_claims(rtl)
        for row in rows:
            if row["dataset"] != "strokes" or row["training"] != "injected":
                continue
            last = row["points"][-1]
            name = f"strokes, 4/4/4 bits, 0 dB, {KINDS[row['noise']]}: {last['votes']} votes, sum"
            ours = {"ours": last["sum"]["mean"], "spread": last["sum"]["spread"]}
            claims.append(claim(name, unit="%", goal=91.0, anchor=PAPER, **ours))
        return claims


VOWELS = Task("vowels", 32, 60, 60, 30, 0.005, 32, (1, 4, 16))
STROKES = Task("strokes", 128, 8, 6, 128, 0.003, 96, (1, 4))
STUDY = VotesStudy((VOWELS,))
FULL = VotesStudy((VOWELS, STROKES))


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """Percent of the test set by votes: golden over seeds, the Verilog of the first."""
    heads = [*WAYS, *(f"Verilog, seed {results['settings']['seeds'][0]}, {by}" for by in WAYS)]
    table = Table("data", "noise", "training", "votes", *heads, box=box)
    rtl = {(p["dataset"], p["training"], p["votes"], p["by"]): p["rtl"] for p in results["rtl"]}
    for row in results["rows"]:
        for point in row["points"]:
            place = (row["dataset"], row["training"], point["votes"])
            found = [rtl.get((*place, by)) if row["noise"] == "hardware" else None for by in WAYS]
            table.add_row(
                *(row["dataset"], row["noise"], row["training"], str(point["votes"])),
                *(shown(point[by]) for by in WAYS),
                *("" if value is None else f"{value:.2f}" for value in found),
            )
    return [table]


FEW = 4
"""So many votes have a number in the figure."""


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: accuracy against votes by sum, with the hardware's own noise; a panel a data set;
    the Verilog as crosses on the thin line of golden of the same seed."""
    rows = [row for row in results["rows"] if row["noise"] == "hardware"]
    panels = list(dict.fromkeys(row["dataset"] for row in rows))
    votes, seed = results["settings"]["votes"], results["settings"]["seeds"][0]
    with drawing(folder / "figure.svg", len(panels), 1, (7.2, 3.4 * len(panels) + 0.5)) as axes:
        for dataset, axis in zip(panels, axes[:, 0], strict=True):
            for row in rows:
                if row["dataset"] == dataset:
                    _curve(axis, row)
            dots = [
                p
                for p in results["rtl"]
                if p["dataset"] == dataset and (p["by"] == "sum" or p["votes"] == 1)
            ]
            verilog(axis, [p["votes"] for p in dots], [p["rtl"] for p in dots])
            axis.set_xscale("log", base=2)
            axis.set_xticks(votes, [str(k) for k in votes])
            axis.set_xlabel("votes K (passes over the same sequence), by sum")
            axis.set_ylabel(f"accuracy on {dataset}, test set (%)")
            for claimed in results["claims"]:
                if (
                    claimed["name"].startswith(f"{dataset}, ")
                    and KINDS["hardware"] in claimed["name"]
                ):
                    for name, words in (("anchor", "paper"), ("goal", "goal")):
                        axis.axhline(claimed[name], color=GREY, linewidth=0.9, linestyle=":")
                        at = votes[-1], claimed[name]
                        note(axis, f"{words}: {at[1]:g} %", at, ha="right", dy=6)
            if dots:
                words = f"\u00d7 Verilog, seed {seed} (golden of this seed: thin line)"
                look = {"fontsize": 9.5, "ha": "right"}
                axis.text(0.99, 0.03, words, transform=axis.transAxes, **look)
        headline(axes, _message(rows))


def _curve(axis: Any, row: Fields) -> None:
    """The votes by sum of a training, with its name and numbers; the first seed, thin."""
    plain = row["training"] == "plain"
    colour = BLUE if plain else VERMILION
    votes, sums = [p["votes"] for p in row["points"]], [p["sum"] for p in row["points"]]
    marker, style = ("o", "-") if plain else ("s", "--")
    line(axis, votes, sums, color=colour, linestyle=style, marker=marker, markersize=4)
    axis.plot(votes, [value["seeds"][0] for value in sums], color=colour, linewidth=0.6)
    means = {k: value["mean"] for k, value in zip(votes, sums, strict=True)}
    places = {1: ("one pass", {"dx": 30, "dy": -14}), FEW: (f"{FEW} votes", {"dx": -9, "dy": 9})}
    for k, (words, place) in places.items():
        if k in means:
            place = place if plain else {"dx": -4, "dy": 20}
            side = "right" if plain and k == FEW else "left"
            note(axis, f"{words}: {means[k]:.1f} %", (k, means[k]), color=colour, ha=side, **place)
    words = TRAININGS[row["training"]].replace("0 dB", "injected noise")
    end = votes[-1], sums[-1]["mean"]
    look: Fields = {"dy": -26 if plain else 18, "ha": "right", "fontweight": "bold"}
    note(axis, words, end, color=colour, **look)


def _message(rows: list[Fields]) -> str:
    """What the figure says, of the first data set."""
    means = {
        (row["training"], p["votes"]): p["sum"]["mean"]
        for row in rows
        if row["dataset"] == rows[0]["dataset"]
        for p in row["points"]
    }
    if ("plain", FEW) not in means:
        return f"Accuracy on {rows[0]['dataset']} against votes, 0 dB of ADC noise"
    one, few, trained = (means[at] for at in (("plain", 1), ("plain", FEW), ("injected", 1)))
    return (
        f"At 0 dB of ADC noise {FEW} votes lift plain training from {one:.1f} to {few:.1f} %;\n"
        f"trained with noise, one pass has {trained:.1f} %"
    )
