"""Efficiency: what crossbars save against multiply-accumulate arrays, in TOPS/W and TOPS/mm2.

After the benchmark of Ma et al., arXiv 2002.10636: at least 2.4 times the TOPS/W and 40 times the
TOPS/mm2 of digital GPUs, FPGAs and ASICs. What is compared there, and how, could not be read. Ours
is the same network in gates with either body of the macros (gen/cost/ppa.py), with published
accelerators beside it.
"""

import dataclasses
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table

from gen.cost import components, ppa, summary, technology
from gen.cost.counts import from_dict
from golden import presets
from wordline.jobs import Job, Runner
from wordline.studies.common import claim, drawing, legend_below

Fields = dict[str, Any]

PAPER = {"tops_per_watt": 2.4, "tops_per_mm2": 40.0}
"""Times what digital accelerators have (arXiv 2002.10636)."""

BITS = 4
"""Of inputs and of weights: what published figures are taken to, and what is assumed of a weight
that is an analog conductance."""


@dataclass(frozen=True)
class Anchor:
    """A published accelerator. weight_bits: None of analog ones. tops_per_mm2: None where no area
    is known. kind: what the figures are of."""

    name: str
    memory: str
    node: int
    input_bits: int
    weight_bits: int | None
    tops_per_watt: float
    tops_per_mm2: float | None
    kind: str
    source: str

    @property
    def digital(self) -> bool:
        """Whether it multiplies in logic."""
        return self.weight_bits is not None and self.memory != "ReRAM"

    def normalised(self) -> Fields:
        """Its measures at BITS and at the node of `gen.cost.ppa`. A multiplication is taken to cost
        as the product of its operands' bits, and all of a chip to scale as logic does."""
        factors = technology.scale(self.node, ppa.NODE)
        work = self.input_bits * (self.weight_bits or BITS) / BITS**2
        area = self.tops_per_mm2
        return {
            "tops_per_watt": self.tops_per_watt * work / factors.energy,
            "tops_per_mm2": area and area * work / (factors.area * factors.delay),
        }


ANCHORS = (
    Anchor(
        *("RRAM, NLP", "RRAM", 16, 5, None, 47.9, 27.6, "chip, measured"),
        "Nature Communications 2025, s41467-025-56254-6: Penn Treebank by characters",
    ),
    Anchor(
        *("RRAM, keywords", "RRAM", 16, 5, None, 31.0, 39.5, "chip, measured"),
        "the same: 12 spoken words",
    ),
    Anchor(
        *("IBM, speech", "PCM", 14, 8, None, 6.94, 0.17, "chip, measured"),
        "Ambrogio et al., Nature 620 (2023)",
    ),
    Anchor(
        *("HERMES", "PCM", 14, 8, None, 10.5, 1.59, "core, measured"),
        "Khaddam-Aljameh et al., VLSI 2021",
    ),
    Anchor(
        *("ISAAC", "ReRAM", 32, 16, 16, 0.63, 0.48, "modelled"),
        "Shafiee et al., ISCA 2016",
    ),
    Anchor(
        *("PUMA", "ReRAM", 32, 16, 16, 0.42, 0.29, "modelled"),
        "Ankit et al., ASPLOS 2019",
    ),
    Anchor(
        *("Chipmunk", "SRAM", 65, 8, 8, 3.08, 0.03, "LSTM ASIC, peak"),
        "Conti et al., CICC 2018",
    ),
    Anchor(
        *("TPUv1", "SRAM", 28, 8, 8, 2.3, 0.28, "ASIC, peak"),
        "Jouppi et al., ISCA 2017",
    ),
    Anchor(
        *("T4", "DRAM", 12, 8, 8, 0.32, 0.24, "GPU, below its peak"),
        "NVIDIA, 2018",
    ),
    Anchor(
        *("EdgeDRNN", "DRAM", 28, 16, 8, 0.0083, None, "GRU on an FPGA, measured"),
        "Gao et al., IEEE JETCAS 10 (2020)",
    ),
)


@dataclass(frozen=True)
class Task:
    """A preset, and how many sequences of its test set go through its netlists."""

    preset: str
    sequences: int

    @property
    def dataset(self) -> str:
        """What it is trained and tested on."""
        return presets.load(self.preset).training.dataset


@dataclass(frozen=True)
class EfficiencyStudy:
    """What do crossbars save in TOPS/W and TOPS/mm2, against a digital twin?"""

    tasks: tuple[Task, ...]
    seeds: tuple[int, ...] = (0,)

    def run(self, runner: Runner) -> Fields:
        """Train, map, simulate and count; returns what results.json holds."""
        (seed,) = self.seeds
        trained = {
            task.preset: Job(
                "wordline.studies.chip_runs:train_preset",
                {"dataset": task.dataset, "preset": task.preset, "seed": seed},
            )
            for task in self.tasks
        }
        runner.run("train", list(trained.values()))
        counts = {
            (task.preset, side): Job(
                "wordline.studies.chip_runs:count",
                {
                    **{"dataset": task.dataset, "program": trained[task.preset]},
                    **{"sequences": task.sequences, "side": side},
                },
            )
            for task in self.tasks
            for side in ppa.SIDES
        }
        found = runner.run("count in gates", list(counts.values()))
        counted = dict(zip(counts, found, strict=True))
        figures = components.read_figures()
        rows = []
        for task in self.tasks:
            sides = {side: counted[task.preset, side] for side in ppa.SIDES}
            row: Fields = {"preset": task.preset, "sequences": task.sequences}
            row["steps"] = sides["analog"]["counted"]["steps"]
            row["worth"] = {side: of["worth"] for side, of in sides.items()}
            row |= ppa.report(figures, *(from_dict(sides[side]["counted"]) for side in ppa.SIDES))
            rows.append(row)
        anchors = [
            dataclasses.asdict(a) | {"digital": a.digital, "normalised": a.normalised()}
            for a in ANCHORS
        ]
        return {
            "settings": dataclasses.asdict(self),
            "rows": rows,
            "anchors": anchors,
            "figures": {name: dataclasses.asdict(figure) for name, figure in figures.items()},
            "claims": [claim_ for row in rows for claim_ in _claims(row)],
        }


def _claims(row: Fields) -> list[Fields]:
    claims = [
        claim(f"{row['preset']}: steps in gates, equal to golden", row["steps"], "steps", goal=1)
    ]
    for measure, unit in ppa.MEASURES.items():
        ratio, paper = row["ratio"][measure], PAPER[measure]
        words = f"{row['preset']}: {unit}, over the digital twin's"
        claims.append(claim(words, ratio["typical"], "times", goal=paper, anchor=paper))
        for case in ("low", "high"):
            claims.append(claim(f"{words}, {case}est", ratio[case], "times", goal=None))
        for anchor in ANCHORS:
            theirs = anchor.normalised()[measure]
            if anchor.digital and theirs is not None:
                ours = row["analog"][measure]["typical"] / theirs
                words = f"{row['preset']}: {unit}, over {anchor.name}'s"
                claims.append(claim(words, ours, "times", goal=None, anchor=paper))
    bit = 100 * (1 - row["next_adc_bit"]["tops_per_watt"])
    words = f"{row['preset']}: TOPS/W lost to another ADC bit"
    return [*claims, claim(words, bit, "%", goal=None)]


STUDY = EfficiencyStudy((Task("vowels", 2), Task("strokes", 1)))
FULL = EfficiencyStudy(
    (Task("vowels", 20), Task("strokes", 5), Task("har", 1), Task("mnist-rows", 1))
)


KINDS = {
    "cells": "cells",
    "ADCs": "ADCs",
    "front ends": "front ends",
    "DACs": "DACs",
    "arrays": "multipliers and adders",
    "memories": "memories",
    "gates": "gate pipeline",
    "dac": "DAC sequencers",
    "readout": "readout",
    "bus": "AXI and loading",
    "clock net": "clock net",
    "scores": "scores and class",
}
"""What energy is spent on, and how it is called."""


def by_kind(parts: dict[str, float]) -> dict[str, float]:
    """Energy or area by part (`gen.cost.ppa.Cost`), of KINDS."""
    found: dict[str, float] = defaultdict(float)
    for part, value in parts.items():
        found[_kind(part)] += value
    return {kind: found[kind] for kind in KINDS if found[kind]}


def _kind(part: str) -> str:
    if part in KINDS:
        return part
    if part.startswith("axi") or part == "switch":
        return "bus"
    names = part.split(".")
    if "macro" in names:
        return "arrays"
    if "array" in names:
        return "readout"
    if names[-1] in ("gates", "dac"):
        return names[-1]
    return "scores" if names[0] == "head" else "gates"


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """What ours comes to, where it goes, what it depends on; and what others have."""
    measures = Table("preset", "", "low", "typical", "high", box=box, title="ours, at 32 nm")
    where = Table("preset", "part", box=box, title="by part")
    for side in ppa.SIDES:
        where.add_column(f"{side}, pJ a step")
        where.add_column(f"{side}, um2")
    depends = Table("preset", "ratio in", "figure", "at its low", "at its high", box=box)
    depends.title = "analog / digital with one figure alone"
    for row in results["rows"]:
        for measure, unit in ppa.MEASURES.items():
            for side in (*ppa.SIDES, "ratio"):
                title = f"{side}, {unit}" if side != "ratio" else f"analog / digital, {unit}"
                values = [summary.shown(row[side][measure][case]) for case in components.CASES]
                measures.add_row(row["preset"], title, *values)
            for figure, ends in [*row["ratio"][measure]["one_at_a_time"].items()][:4]:
                depends.add_row(row["preset"], unit, figure, *map(summary.shown, ends))
        columns = [
            by_kind(row[side][what]) for side in ppa.SIDES for what in ("energy_pj", "area_um2")
        ]
        for kind, words in KINDS.items():
            if any(kind in column for column in columns):
                cells = (summary.shown(c[kind]) if c.get(kind) else "-" for c in columns)
                where.add_row(row["preset"], words, *cells)
    others = Table("", "memory", "nm", "bits", box=box, title="published, and as 4 bits at 32 nm")
    for heading in (*ppa.MEASURES.values(), *(f"{unit} as ours" for unit in ppa.MEASURES.values())):
        others.add_column(heading)
    others.add_column("what")
    for anchor in results["anchors"]:
        bits = f"{anchor['input_bits']}/{anchor['weight_bits'] or 'analog'}"
        found = [of[measure] for of in (anchor, anchor["normalised"]) for measure in ppa.MEASURES]
        shown = ["-" if value is None else summary.shown(value) for value in found]
        about = f"{anchor['kind']}: {anchor['source']}"
        others.add_row(
            *(anchor["name"], anchor["memory"], str(anchor["node"]), bits, *shown, about)
        )
    return [measures, where, depends, others]


def figures(results: Fields, folder: Path) -> None:
    """figure.svg, from left to right: ours among what is published; where energy goes; what the
    ratios depend on."""
    with drawing(folder / "figure.svg", 2, 2, (11.0, 8.6)) as axes:
        (among, parts), (watt, area) = axes
        _draw_among(among, results)
        _draw_parts(parts, results["rows"])
        for axis, measure in ((watt, "tops_per_watt"), (area, "tops_per_mm2")):
            _draw_ratio(axis, results["rows"][-1], measure)
        legend_below(axes, 6)


def _draw_among(axis: Any, results: Fields) -> None:
    for anchor in results["anchors"]:
        ours = anchor["normalised"]
        if ours["tops_per_mm2"] is None:
            continue
        colour = "C7" if anchor["digital"] else "C2"
        label = "published, digital" if anchor["digital"] else "published, crossbars"
        x, y = ([of[m] for of in (anchor, ours)] for m in ("tops_per_mm2", "tops_per_watt"))
        axis.plot(x, y, color=colour, linewidth=0.6, alpha=0.6)
        axis.plot(x[0], y[0], ".", color=colour, markersize=3, label="as published (small)")
        axis.plot(x[1], y[1], "o", color=colour, label=f"{label}, as 4 bits at 32 nm")
        axis.annotate(anchor["name"], (x[1], y[1]), (4, 4), textcoords="offset points", fontsize=7)
    markers = "sD^v"
    for n, row in enumerate(results["rows"]):
        for side, colour, words in (("analog", "C0", "crossbars"), ("digital", "C3", "twin")):
            at, error = {}, {}
            for measure in ppa.MEASURES:
                value = row[side][measure]
                at[measure] = value["typical"]
                low, high = (abs(value[case] - value["typical"]) for case in ("low", "high"))
                error[measure] = [[low], [high]]
            axis.errorbar(
                *(at["tops_per_mm2"], at["tops_per_watt"]),
                xerr=error["tops_per_mm2"],
                yerr=error["tops_per_watt"],
                **{"fmt": markers[n % len(markers)], "color": colour, "elinewidth": 0.8},
                label=f"ours, {row['preset']}, {words}",
            )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("TOPS/mm2")
    axis.set_ylabel("TOPS/W")
    axis.grid(alpha=0.3)


def _draw_parts(axis: Any, rows: list[Fields]) -> None:
    names: list[str] = []
    for row in reversed(rows):
        for side, words in reversed([("analog", "crossbars"), ("digital", "twin")]):
            operations, left = row[side]["operations_per_step"], 0.0
            for kind, pj in by_kind(row[side]["energy_pj"]).items():
                number = list(KINDS).index(kind)
                width = 1000 * pj / operations
                axis.barh(
                    *(len(names), width),
                    left=left,
                    color=f"C{number % 10}",
                    hatch="//" if number >= 10 else None,
                    label=KINDS[kind],
                )
                left += width
            names.append(f"{row['preset']},\n{words}")
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("energy of an operation (fJ), typical figures")
    axis.grid(alpha=0.3, axis="x")


def _draw_ratio(axis: Any, row: Fields, measure: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter  # slow to import

    ratio = row["ratio"][measure]
    ends = [*ratio["one_at_a_time"].items()][:6]
    names = ["all figures", *(name for name, _ in ends)]
    spans = [(ratio["low"], ratio["high"]), *(values for _, values in ends)]
    for n, span in enumerate(spans):
        low, high = min(span), max(span)
        axis.barh(-n, high - low, left=low, color="C0" if n else "C1")
    axis.axvline(ratio["typical"], color="black", linewidth=0.9)
    axis.axvline(PAPER[measure], color="black", linestyle=":", linewidth=0.9)
    axis.axvline(1, color="C7", linewidth=0.6)
    axis.set_yticks([-n for n in range(len(names))], names)
    axis.set_xscale("log")
    decades = math.log10(PAPER[measure] / ratio["low"])
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    unit = ppa.MEASURES[measure]
    axis.set_xlabel(
        f"{row['preset']}: {unit} over the twin's; dotted: {PAPER[measure]:g}, the paper's"
    )
    axis.grid(alpha=0.3, axis="x")
