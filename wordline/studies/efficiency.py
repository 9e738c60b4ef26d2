"""Efficiency: what crossbars save against multiply-accumulate arrays, in TOPS/W and TOPS/mm2.

After the benchmark of Ma et al., arXiv 2002.10636: at least 2.4 times the TOPS/W and 40 times the
TOPS/mm2 of digital GPUs, FPGAs and ASICs. What is compared there, and how, could not be read. Ours
is the same network in gates with either body of the macros (gen/cost/ppa.py), with published
accelerators beside it.
"""

import dataclasses
import itertools
import textwrap
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table

from gen.cost import components, ppa, summary, technology
from gen.cost.counts import from_dict
from golden import presets
from wordline.jobs import Job, Runner
from wordline.studies.common import claim, drawing

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
            row |= ppa.report(
                figures,
                from_dict(sides["analog"]["counted"]),
                from_dict(sides["digital"]["counted"]),
            )
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


OURS, TWIN, CROSSBARS, DIGITAL = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
"""Colours: ours with crossbars, its digital twin, and published accelerators of either kind."""

SAID = {"analog": ("crossbars", OURS), "digital": ("twin", TWIN)}
"""How a side is called in figures, and its colour."""

GROUPS = {
    "multipliers\nand adders": ("arrays",),
    "memories": ("memories",),
    "gates, readout\nand sequencers": ("gates", "readout", "dac"),
    "converters\nand cells": ("ADCs", "front ends", "DACs", "cells"),
    "bus, clock net,\nscores and class": ("bus", "clock net", "scores"),
}
"""Of KINDS: what is drawn as one."""

NEAR: Fields = {"textcoords": "offset points", "va": "center_baseline"}
"""Of a text: it stands beside its place by so many points."""


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: the ratios to the twin. Then where energy goes (energy), what the ratios depend
    on (depends), and ours among what is published (published)."""
    rows, measures = results["rows"], list(ppa.MEASURES)
    with drawing(folder / "figure.svg", 1, 2, (6.8, 1.6 + 0.35 * len(rows))) as axes:
        watt, area = map(_draw_ratios, axes[0], [rows] * 2, measures)
        _title(axes, f"{watt} times the TOPS/W of the digital twin, {area} times its TOPS/mm²")
    high = -(-len(rows) // 2)
    with drawing(folder / "figure_energy.svg", high, 2, (6.8, 0.5 + 2.6 * high)) as axes:
        ours, twin = _draw_energy(axes, rows)
        message = f"Crossbars save multipliers and memory reads: {ours} fJ an operation"
        _title(axes, f"{message}, the twin {twin} fJ")
    with drawing(folder / "figure_depends.svg", 1, 2, (6.8, 2.9)) as axes:
        watt, area = map(_draw_depends, axes[0], [results] * 2, measures)
        _title(axes, f"TOPS/mm² depends on {area} most, TOPS/W on {watt}", shared=False)
    with drawing(folder / "figure_published.svg", 1, 2, (6.8, 3.4 + 0.36 * len(rows))) as axes:
        for axis, measure in zip(axes[0], measures, strict=True):
            _draw_published(axis, results, measure)
        others = [a["normalised"]["tops_per_watt"] for a in results["anchors"] if a["digital"]]
        ours = min(row["analog"]["tops_per_watt"]["typical"] for row in rows)
        beaten = f"{sum(ours > other for other in others)} of {len(others)}"
        _title(axes, f"More TOPS/W than {beaten} published digital accelerators, as 4 bits at 32 nm")


def _title(axes: Any, message: str, *, shared: bool = True) -> None:
    """What a figure says, above it; and no more lines in it than needed. shared: panels side by side
    have the same rows."""
    chart = axes.flatten()[0].figure
    chart.suptitle(textwrap.fill(message, 74), x=0.01, ha="left", fontsize=10.5, weight="bold")
    for axis in axes.flatten():
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(axis="y", length=0)
    if shared:
        for axis in axes[:, 1:].flatten():
            axis.tick_params(labelleft=False)


def _logarithmic(axis: Any, low: float, high: float, ticks: tuple[float, ...]) -> None:
    """An x axis with these ticks only."""
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)


def _ratio_axis(axis: Any, measure: str) -> None:
    """An x axis of ratios, with lines at the twin and at the paper's number."""
    wide = measure == "tops_per_mm2"
    span = (0.018, 110, (0.1, 1, 10, 100)) if wide else (0.75, 16, (1, 2, 5, 10))
    _logarithmic(axis, *span)
    for at, words, colour, style in (
        (1.0, "twin", TWIN, "-"),
        (PAPER[measure], f"paper: {PAPER[measure]:g}", "black", "--"),
    ):
        axis.axvline(at, color=colour, linestyle=style, linewidth=1.2, zorder=1)
        place = {"xycoords": ("data", "axes fraction"), "ha": "center"}
        axis.annotate(words, (at, 1), xytext=(0, 8), color=colour, **place, **NEAR)
    axis.set_xlabel(f"times the twin's {_unit(measure)}")


def _unit(measure: str) -> str:
    return ppa.MEASURES[measure].replace("mm2", "mm²")


def _called(figure: str) -> str:
    """A component figure in words."""
    for of, words in {"_": " ", "adc": "ADC", "dac": "DAC", "settle": "settling time"}.items():
        figure = figure.replace(of, words)
    return figure


def _range(values: Iterable[float]) -> str:
    """From the least to the most, in two digits."""
    values = sorted(values)
    return " to ".join(dict.fromkeys(f"{value:.2g}" for value in (values[0], values[-1])))


def _draw_ratios(axis: Any, rows: list[Fields], measure: str) -> str:
    """Typical values in their ranges; returns the typical ones in words."""
    ratios = [row["ratio"][measure] for row in rows]
    for n, ratio in enumerate(ratios):
        axis.plot([ratio["low"], ratio["high"]], [-n, -n], color=OURS, linewidth=3, alpha=0.4)
        axis.plot(ratio["typical"], -n, "o", color=OURS, markersize=7)
        for case, off, align, weight in (
            ("low", (-4, 0), "right", "normal"),
            ("typical", (0, 12), "center", "bold"),
            ("high", (4, 0), "left", "normal"),
        ):
            style = {"ha": align, "weight": weight, "color": OURS}
            axis.annotate(f"{ratio[case]:.2g}", (ratio[case], -n), xytext=off, **style, **NEAR)
    _ratio_axis(axis, measure)
    axis.set_ylim(0.6 - len(rows), 0.8)
    axis.set_yticks([-n for n in range(len(rows))], [row["preset"] for row in rows])
    return _range(ratio["typical"] for ratio in ratios)


def _draw_energy(axes: Any, rows: list[Fields]) -> list[str]:
    """A bar a group and side, in a panel for each preset; returns all of each side in words."""
    totals: dict[str, list[float]] = {side: [] for side in ppa.SIDES}
    for axis, row in itertools.zip_longest(axes.flatten(), rows):
        if row is None:
            axis.set_visible(False)
            continue
        for side, lower in zip(ppa.SIDES, (-0.2, 0.2), strict=True):
            words, colour = SAID[side]
            kinds = by_kind(row[side]["energy_pj"])
            scale = 1000 / row[side]["operations_per_step"]
            totals[side].append(scale * sum(kinds.values()))
            for n, of in enumerate(GROUPS.values()):
                width = scale * sum(kinds.get(kind, 0) for kind in of)
                axis.barh(n + lower, width, height=0.38, color=colour)
                number = f"{width:.2g}" if width < 10 else f"{width:.0f}"
                place = {"xytext": (3, 0), "color": colour} | NEAR
                axis.annotate(number if n else f"{words}: {number}", (width, n + lower), **place)
        axis.set_yticks(range(len(GROUPS)), GROUPS)
        axis.set_ylim(len(GROUPS) - 0.5, -0.5)
        axis.set_xlim(0, 1.35 * axis.dataLim.x1)
        axis.set_title(row["preset"], fontsize=9)
        axis.set_xlabel("energy of an operation (fJ)")
    return list(map(_range, totals.values()))


def _draw_depends(axis: Any, results: Fields, measure: str) -> str:
    """The ratio of the last preset with one component figure alone at its low or high; returns the
    first figure and its ends in words."""
    row = results["rows"][-1]
    ratio = row["ratio"][measure]
    ends = dict([*ratio["one_at_a_time"].items()][:5])
    for n, (figure, span) in enumerate(ends.items()):
        axis.barh(n, max(span) - min(span), left=min(span), color=OURS, height=0.6)
        if not n:
            about = results["figures"][figure]
            for at, case in zip(span, ("low", "high"), strict=True):
                align, off = ("left", 4) if at == max(span) else ("right", -4)
                words = f"{about[case]:g} {about['unit'].split()[0]}"
                axis.annotate(words, (at, n), xytext=(off, 0), ha=align, color=OURS, **NEAR)
    axis.axvline(ratio["typical"], color=OURS, linewidth=1)
    _ratio_axis(axis, measure)
    names = [_called(figure) for figure in ends]
    axis.set_yticks(range(len(ends)), names)
    axis.set_ylim(len(ends) - 0.5, -0.6)
    return f"{names[0]} ({_range(next(iter(ends.values())))} times)"


def _draw_published(axis: Any, results: Fields, measure: str) -> None:
    """Ours, then published accelerators from the best down, a line each."""
    anchors = sorted(results["anchors"], key=lambda a: -a["normalised"]["tops_per_watt"])
    published = {
        digital: {a["name"]: a["normalised"][measure] for a in anchors if a["digital"] == digital}
        for digital in (False, True)
    }
    ours, twins = (
        {row["preset"]: row[side][measure] for row in results["rows"]} for side in ppa.SIDES
    )
    typical = [value["typical"] for value in ours.values()]
    axis.axvspan(min(typical), max(typical), color=OURS, alpha=0.15, linewidth=0)
    labels: list[tuple[str, str]] = []
    for heading, colour, marker, found in (
        ("ours, crossbars", OURS, "o", ours),
        ("ours, digital twin", TWIN, "s", twins),
        ("published crossbars", CROSSBARS, "D", published[False]),
        ("published digital", DIGITAL, "^", published[True]),
    ):
        labels.append((heading, colour))
        for name, value in found.items():
            if isinstance(value, dict):
                ends = [value["low"], value["high"]]
                axis.plot(ends, [len(labels)] * 2, color=colour, linewidth=3, alpha=0.4)
                value = value["typical"]
            if value is not None:
                axis.plot(value, len(labels), marker, color=colour, markersize=6)
            else:
                words = {"xy": (0.98, len(labels)), "xycoords": ("axes fraction", "data")}
                axis.annotate("area not known", xytext=(0, 0), ha="right", **words, **NEAR)
            labels.append((name, "black"))
    axis.set_yticks(range(len(labels)), [name for name, _ in labels])
    for text, (_, colour) in zip(axis.get_yticklabels(), labels, strict=True):
        text.set_color(colour)
        text.set_weight("normal" if colour == "black" else "bold")
    axis.set_ylim(len(labels) - 0.5, -0.5)
    wide = measure == "tops_per_mm2"
    _logarithmic(axis, *((0.03, 40, (0.1, 1, 10)) if wide else (0.03, 100, (0.1, 1, 10, 100))))
    axis.set_xlabel(f"{_unit(measure)}, as 4 bits at 32 nm")
