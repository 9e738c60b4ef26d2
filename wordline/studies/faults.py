"""Faults: accuracy after a part of a chip has failed, or after a bit has flipped.

One fault at a time, drawn from all places where it can be; and shares of stuck devices. What each
fault is in the model is in `golden.faults`.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table

from golden.faults import FAULTS
from wordline.jobs import Job, Runner
from wordline.studies.common import (
    BLUE,
    GREY,
    VERMILION,
    drawing,
    headline,
    note,
    over_seeds,
    rtl_claims,
    shown,
)

Fields = dict[str, Any]

NAMES = {
    "row": "dead row",
    "column": "open column",
    "lane": "lane stuck at a code",
    "device on": "device stuck on",
    "device off": "device stuck off",
    "device": "bit of a conductance",
    "table": "bit of a table",
    "bias": "bit of a bias",
    "gain": "bit of a gain",
    "c": "bit of c, once a sequence",
    "h": "bit of h, once a sequence",
}
"""What is shown of each kind."""

HARM = 1.0
"""A fault is harmful if it costs more than so many points."""

NORMAL = 1.959964
"""Of a normal distribution, 95 % are within so many standard deviations."""


@dataclass(frozen=True)
class FaultsStudy:
    """What does one failed part or one flipped bit cost?

    designs: presets. draws: chips with one fault for each design, seed and kind. shares: of devices
    that are stuck. chips: draws of each share. flips: runs over the test set with a flip in each
    sequence. rtl: kinds of which one chip runs through the Verilog, with the first seed and design.
    """

    dataset: str = "vowels"
    designs: tuple[str, ...] = ("vowels", "vowels-rnn")
    seeds: tuple[int, ...] = (0, 1, 2)
    kinds: tuple[str, ...] = tuple(FAULTS)
    draws: int = 200
    shares: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    chips: int = 50
    flips: int = 100
    rtl: tuple[str, ...] = tuple(FAULTS)

    def run(self, runner: Runner) -> Fields:
        """Train and test; returns what results.json holds."""
        programs = {
            (design, seed): Job(
                "wordline.studies.chip_runs:train_preset",
                {"dataset": self.dataset, "preset": design, "seed": seed},
            )
            for design in self.designs
            for seed in self.seeds
        }
        trained = runner.run("train", list(programs.values()))
        clean = {place: found["clean"] for place, found in zip(programs, trained, strict=True)}
        wanted: list[tuple[str, str, Fields]] = []  # design, function, its arguments
        for design in self.designs:
            wanted += [(design, "faulty", {"kind": k, "draws": self.draws}) for k in self.kinds]
            wanted += [
                (design, "stuck", {"at": at, "share": share, "draws": self.chips})
                for at in ("on", "off")
                for share in self.shares
            ]
            wanted += [
                (design, "flipped", {"of": of, "draws": self.flips})
                for of in ("c", "h")
                if of == "h" or "rnn" not in design
            ]
        jobs = [
            Job(
                f"wordline.studies.fault_runs:{function}",
                {"dataset": self.dataset, "program": programs[design, seed], "seed": seed} | given,
            )
            for design, function, given in wanted
            for seed in self.seeds
        ]
        results = iter(runner.run("faults", jobs))
        found: dict[str, list[Fields]] = {"faulty": [], "stuck": [], "flipped": []}
        first: dict[tuple[str, str], float] = {}
        for design, function, given in wanted:
            own = [next(results) for _ in self.seeds]
            if function == "faulty":
                first[design, given["kind"]] = own[0]["accuracy"][0]
            base = [clean[design, seed] for seed in self.seeds]
            found[function].append({"design": design} | given | _measured(own, base))
        rtl = self._verilog(runner, programs, first)
        return {
            "settings": dataclasses.asdict(self),
            "clean": {
                design: over_seeds([clean[design, seed] for seed in self.seeds])
                for design in self.designs
            },
            "faults": found["faulty"],
            "stuck": found["stuck"],
            "flips": found["flipped"],
            "rtl": rtl,
            "claims": rtl_claims(rtl),
        }

    def _verilog(
        self,
        runner: Runner,
        programs: dict[tuple[str, int], Job],
        golden: dict[tuple[str, str], float],
    ) -> list[Fields]:
        """One chip of each kind through the Verilog, one after the other: they share a build."""
        design, seed = self.designs[0], self.seeds[0]
        given = {"dataset": self.dataset, "program": programs[design, seed], "seed": seed}
        jobs = [Job("wordline.studies.fault_runs:verilog", given | {"kind": k}) for k in self.rtl]
        results = dataclasses.replace(runner, workers=1).run("Verilog", jobs)
        return [
            {"design": design, "seed": seed, "kind": kind}
            | {"golden": round(golden[design, kind], 4)}
            | result
            for kind, result in zip(self.rtl, results, strict=True)
        ]


def _measured(own: list[Fields], clean: list[float]) -> Fields:
    """Points lost over the draws of all seeds; by array, where faults are drawn from several; of
    flips, the share of changed classes."""
    lost = [base - a for base, r in zip(clean, own, strict=True) for a in r["accuracy"]]
    mean, half = interval(lost)
    found: Fields = {
        "chips": len(lost),
        "lost": round(mean, 4),
        "interval": [round(mean - half, 4), round(mean + half, 4)],
        "worst": round(max(lost), 4),
    }
    if "changed" in own[0]:
        changed = sum(sum(r["changed"]) for r in own)
        count = sum(len(r["changed"]) * r["sequences"] for r in own)
        return found | {"changed": _share(changed, count), "sequences": count}
    if "arrays" in own[0]:
        arrays = [array for of_seed in own for array in of_seed["arrays"]]
        found["arrays"] = {
            name: {"possible": count}
            | _lost_in([v for v, a in zip(lost, arrays, strict=True) if a == name])
            for name, count in own[0]["possible"].items()
        }
    return found | {"harmful": _share(sum(value > HARM for value in lost), len(lost))}


def _lost_in(lost: list[float]) -> Fields:
    """Mean and worst loss of the chips whose fault is in one array."""
    if not lost:
        return {"chips": 0, "lost": None, "worst": None}
    mean = round(sum(lost) / len(lost), 4)
    return {"chips": len(lost), "lost": mean, "worst": round(max(lost), 4)}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of a sample, and half of its 95 % confidence interval, by the normal distribution."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return mean, NORMAL * math.sqrt(variance / len(values))


def wilson(count: int, of: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, by Wilson."""
    share, square = count / of, NORMAL**2
    centre = (share + square / (2 * of)) / (1 + square / of)
    half = NORMAL * math.sqrt(share * (1 - share) / of + square / (4 * of**2)) / (1 + square / of)
    return max(0.0, centre - half), min(1.0, centre + half)


def _share(count: int, of: int) -> Fields:
    """A share in percent, with its interval."""
    low, high = wilson(count, of)
    return {
        "share": round(100 * count / of, 4),
        "low": round(100 * low, 4),
        "high": round(100 * high, 4),
    }


STUDY = FaultsStudy()
FULL = FaultsStudy(draws=2000, chips=500, flips=1000)


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """Points lost, with 95 % confidence intervals: by one fault, by stuck devices, by flips."""
    heads = ("points lost (95 %)", "worst")
    one = Table("design", "one fault", "possible", *heads, box=box, title="one fault")
    for head in ("chips that lose > 1", "lost in layer, head", ""):
        one.add_column(head)
    rtl = {(p["design"], p["kind"]): p["mismatches"] for p in results["rtl"]}
    for row in results["faults"]:
        differ = rtl.get((row["design"], row["kind"]))
        said = "" if differ is None else "Verilog equal"
        if differ:
            said = f"Verilog: {differ:,} values differ"
        arrays = row["arrays"].values()
        possible = sum(of["possible"] for of in arrays)
        each = ", ".join("-" if of["lost"] is None else f"{of['lost']:.2f}" for of in arrays)
        one.add_row(
            *(row["design"], NAMES[row["kind"]], f"{possible:,}", _lost(row)),
            *(f"{row['worst']:.2f}", _percent(row["harmful"]), each, said),
        )
    flips = Table("design", "flip", *heads, "classes changed", box=box, title="flipped state")
    for row in results["flips"]:
        flips.add_row(
            *(row["design"], NAMES[row["of"]], _lost(row)),
            *(f"{row['worst']:.2f}", _percent(row["changed"])),
        )
    stuck = Table("design", "stuck", "devices", *heads, box=box, title="stuck devices")
    for row in results["stuck"]:
        stuck.add_row(
            *(row["design"], row["at"], f"{100 * row['share']:g} %"),
            *(_lost(row), f"{row['worst']:.2f}"),
        )
    clean = Table("design", "accuracy without faults", box=box, title="without faults")
    for design, value in results["clean"].items():
        clean.add_row(design, shown(value))
    return [clean, one, flips, stuck]


def _lost(row: Fields) -> str:
    low, high = row["interval"]
    return f"{row['lost']:.2f} ({low:.2f} to {high:.2f})"


def _percent(share: Fields) -> str:
    return f"{share['share']:.2f} % ({share['low']:.2f} to {share['high']:.2f})"


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: points lost by one fault of each kind, and by stuck devices."""
    designs = results["settings"]["designs"]
    looks = dict(zip(designs, ((BLUE, "o", "-"), (VERMILION, "s", "--")), strict=False))
    rows = results["faults"] + [row | {"kind": row["of"]} for row in results["flips"]]
    kinds = [kind for kind in NAMES if any(row["kind"] == kind for row in rows)]
    with drawing(folder / "figure.svg", 1, 2, (7.2, 3.9)) as axes:
        left, right = axes[0]
        for n, design in enumerate(designs):
            colour, marker, style = looks[design]
            mine = {row["kind"]: row for row in rows if row["design"] == design}
            places = [kinds.index(kind) + 0.24 * n - 0.12 for kind in mine]
            _errors(
                left,
                [row["lost"] for row in mine.values()],
                places,
                [*mine.values()],
                look=(colour, marker),
            )
            for at in ("on", "off"):
                own = [r for r in results["stuck"] if (r["design"], r["at"]) == (design, at)]
                x = [100 * row["share"] for row in own]
                filled = colour if at == "on" else "white"
                right.errorbar(
                    *(x, [row["lost"] for row in own]),
                    yerr=[(row["interval"][1] - row["interval"][0]) / 2 for row in own],
                    **{"color": colour, "marker": marker, "linestyle": style},
                    **{"markerfacecolor": filled, "markersize": 5, "capsize": 2},
                )
                up = 0 if at == "on" else 12 * n - 5
                place = (x[-1], own[-1]["lost"])
                note(right, f"{design}, {at}", place, dx=6, dy=up, color=colour)
        left.set_yticks(range(len(kinds)), [NAMES[kind] for kind in kinds])
        left.set_ylim(len(kinds) - 0.5, -0.5)
        left.set_xscale("symlog", linthresh=0.1)
        left.set_xlim(-0.04, 60)
        left.set_xticks(*_ticks(0, 0.1, 1, 10))
        left.axvline(0, color=GREY, linewidth=0.9)
        left.set_xlabel("accuracy lost by one fault\n(points, test set, 95 % interval)")
        right.set_xscale("log")
        right.set_xlim(right=100 * max(results["settings"]["shares"]) * 14)
        right.set_xticks(*_ticks(0.1, 1, 10))
        right.set_xlabel("devices stuck on or off (%)")
        right.set_ylabel("accuracy lost (points)")
        headline(axes, _message(results))


def _ticks(*values: float) -> tuple[list[float], list[str]]:
    return [*values], [f"{value:g}" for value in values]


def _errors(
    axis: Any, x: list[float], places: list[float], rows: list[Fields], look: tuple[str, str]
) -> None:
    """Dots with their intervals."""
    colour, marker = look
    half = [(row["interval"][1] - row["interval"][0]) / 2 for row in rows]
    axis.errorbar(x, places, xerr=half, fmt=marker, color=colour, markersize=5, capsize=2)


def _message(results: Fields) -> str:
    """What the figure says."""
    design = results["settings"]["designs"][0]
    rows = [row for row in results["faults"] if row["design"] == design]
    if not rows:
        return "Accuracy after faults"
    worst = max(rows, key=lambda row: row["lost"])
    cost = f"{worst['lost']:.1f} points on average"
    return f"On {design}, the costliest single fault is a {NAMES[worst['kind']]}:\n{cost}"
