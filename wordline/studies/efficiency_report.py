"""Tables and figures of the study of efficiency (`wordline.studies.efficiency`)."""

import math
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table

from gen.cost import components, ppa, summary
from wordline.studies import efficiency_sizes
from wordline.studies.common import BLACK, BLUE, GREEN, VERMILION, drawing
from wordline.studies.efficiency_sizes import PAPER

Fields = dict[str, Any]

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
    silicon = Table(
        *("macro", "", "measured", "low figures", "typical figures", "high figures (silicon)"),
        box=box,
        title="measured macros from the figures",
    )
    for macro in results["macros"]:
        for measure, unit in ppa.MEASURES.items():
            measured = macro["measured"][measure]
            values = [summary.shown(macro["predicted"][case][measure]) for case in components.CASES]
            known = "-" if measured is None else summary.shown(measured)
            silicon.add_row(macro["name"], unit, known, *values)
    sizes = efficiency_sizes.tables(results["sizes"], box)
    return [*sizes, silicon, measures, where, depends, others]


OURS, TWIN, *_ = COLOURS = (BLUE, VERMILION, GREEN, BLACK)
"""Of ours with crossbars, its digital twin, and published accelerators of either kind."""

UNITS = {measure: unit.replace("mm2", "mm²") for measure, unit in ppa.MEASURES.items()}

GROUPS = {
    "multipliers\nand adders": ("arrays",),
    "memories": ("memories",),
    "gates, readout\nand sequencers": ("gates", "readout", "dac"),
    "converters\nand cells": ("ADCs", "front ends", "DACs", "cells"),
    "bus, clock net,\nscores and class": ("bus", "clock net", "scores"),
}
"""Of KINDS: what is drawn as one."""


def figures(results: Fields, folder: Path) -> None:
    """figure.svg has the ratios to the twin; the others are named after what they show."""
    efficiency_sizes.figure(results["sizes"], folder / "figure_sizes.svg")
    rows = results["rows"]
    with drawing(folder / "figure.svg", 1, 2, (6.8, 1.5 + 0.35 * len(rows))) as axes:
        watt, area = (_draw_ratios(a, rows, m) for a, m in zip(axes[0], UNITS, strict=True))
        headline(axes, f"{watt} times the digital twin's TOPS/W, {area} times its TOPS/mm²")
    high = -(-len(rows) // 2)
    with drawing(folder / "figure_energy.svg", high, 2, (6.8, 0.5 + 2.6 * high)) as axes:
        sums = [_draw_energy(a, r) for a, r in zip(axes.flatten(), rows, strict=False)]
        ours, twin = (_range([*of]) for of in zip(*sums, strict=True))
        saved = "crossbars save multipliers and weight memories"
        headline(axes, f"An operation takes {ours} fJ, and {twin} fJ in the twin: {saved}")
    with drawing(folder / "figure_depends.svg", 1, 2, (6.8, 3.1)) as axes:
        watt, area = (_draw_depends(a, results, m) for a, m in zip(axes[0], UNITS, strict=True))
        headline(axes, f"{area[0].upper()}{area[1:]} times the twin's; {watt}", shared=False)
    with drawing(folder / "figure_published.svg", 1, 2, (6.8, 3.4 + 0.36 * len(rows))) as axes:
        for axis, measure in zip(axes[0], UNITS, strict=True):
            _draw_published(axis, results, measure)
        least = min(row["analog"]["tops_per_watt"]["typical"] for row in rows)
        others = [a["normalised"]["tops_per_watt"] for a in results["anchors"] if a["digital"]]
        more = f"more TOPS/W than {sum(least > other for other in others)} of {len(others)}"
        headline(axes, f"As 4 bits at 32 nm: {more} published digital chips")


def headline(axes: Any, message: str, *, shared: bool = True) -> None:
    """What a figure says, above it; shared: panels side by side have the same rows."""
    chart = axes.flatten()[0].figure
    chart.suptitle(textwrap.fill(message, 74), x=0.01, ha="left", fontsize=10.5, weight="bold")
    for n, axis in enumerate(axes.flatten()):
        axis.set_visible(axis.has_data())
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", which="major", color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(axis="y", length=0, labelleft=not (shared and n % 2))


def _beside(axis: Any, words: str, at: tuple[float, float], off: float, **style: Any) -> None:
    """Words so many points to the right of a place; to its left, or above, as `style` has it."""
    place = {"ha": "left" if off > 0 else "right", "va": "center_baseline"}
    style = place | {"bbox": {"color": "white", "pad": 0.3}} | style
    axis.annotate(words, at, (off, 0), textcoords="offset points", **style)


def _logarithmic(axis: Any, room: float) -> None:
    """A logarithmic x axis around all that was drawn, with room for words beside it."""
    axis.set_xscale("log")
    axis.margins(x=room)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")


def _rows_of_ratios(axis: Any, measure: str, names: list[str], room: float = 0.25) -> None:
    """Name the rows, and draw lines at the twin and at the paper's number."""
    paper = PAPER[measure]
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel=f"times the twin's {UNITS[measure]}", ylim=(len(names) - 0.5, -1.3))
    for at, words, colour, line in ((1, "twin", TWIN, "-"), (paper, "paper: {:g}", "black", "--")):
        axis.axvline(at, color=colour, linestyle=line, linewidth=1.2, zorder=1)
        _beside(axis, words.format(at), (at, -1), 0, ha="center", color=colour)
    _logarithmic(axis, room)


def _range(values: list[float]) -> str:
    """From the least to the most, in two digits."""
    ends = (min(values), max(values))
    return " to ".join(dict.fromkeys(f"{v:.0f}" if v >= 100 else f"{v:.2g}" for v in ends))


def _dot(axis: Any, value: Fields, y: int, colour: str, marker: str) -> None:
    """The typical value in its range."""
    axis.plot([value["low"], value["high"]], [y, y], color=colour, linewidth=3, alpha=0.4)
    axis.plot(value["typical"], y, marker, color=colour, markersize=6)


def _draw_ratios(axis: Any, rows: list[Fields], measure: str) -> str:
    """Ratios in their ranges; returns the typical ones in words."""
    ratios = [row["ratio"][measure] for row in rows]
    for n, ratio in enumerate(ratios):
        _dot(axis, ratio, n, OURS, "o")
        for case, off in (("low", -4), ("high", 4)):
            _beside(axis, f"{ratio[case]:.2g}", (ratio[case], n), off, color=OURS)
        typical = ratio["typical"]
        _beside(axis, f"{typical:.2g}", (typical, n - 0.42), 0, ha="center", weight="bold")
    _rows_of_ratios(axis, measure, [row["preset"] for row in rows])
    return _range([ratio["typical"] for ratio in ratios])


def _draw_energy(axis: Any, row: Fields) -> list[float]:
    """A bar a group and side; returns all of each side."""
    sums = []
    sides = (("analog", "crossbars: ", OURS, -0.2), ("digital", "twin: ", TWIN, 0.2))
    for side, words, colour, lower in sides:
        scale = 1000 / row[side]["operations_per_step"]
        kinds = {kind: scale * pj for kind, pj in by_kind(row[side]["energy_pj"]).items()}
        sums.append(sum(kinds.values()))
        for n, group in enumerate(GROUPS.values()):
            width = sum(kinds.get(kind, 0) for kind in group)
            axis.barh(n + lower, width, height=0.38, color=colour)
            number = ("" if n else words) + _range([width])
            _beside(axis, number, (width, n + lower), 3, color=colour, bbox=None)
    axis.set_yticks(range(len(GROUPS)), GROUPS)
    axis.set(xlim=(0, 1.35 * axis.dataLim.x1), ylim=(len(GROUPS) - 0.5, -0.5))
    axis.set_title(row["preset"], fontsize=9)
    axis.set_xlabel("energy of an operation (fJ)")
    return sums


def _draw_depends(axis: Any, results: Fields, measure: str) -> str:
    """The last preset's ratio with one component figure alone at its ends; what the first does."""
    row = results["rows"][-1]
    spans = dict([*row["ratio"][measure]["one_at_a_time"].items()][:5])
    names = [figure.replace("_", " ").replace("settle", "settling time") for figure in spans]
    names = [name.replace("adc", "ADC").replace("dac", "DAC") for name in names]
    axis.axvline(row["ratio"][measure]["typical"], color=OURS, linewidth=1)
    labels = []
    for n, (name, (figure, span)) in enumerate(zip(names, spans.items(), strict=True)):
        axis.plot(span, [n, n], color=OURS, linewidth=12, solid_capstyle="butt")
        about = results["figures"][figure]
        unit = about["unit"].split()[0].replace("um2", "µm²")
        labels.append(f"{name}\n{about['low']:g} to {about['high']:g} {unit}")
    _rows_of_ratios(axis, measure, labels, 0.14)
    axis.set_xlabel(f"times the twin's\n{UNITS[measure]} ({row['preset']})")
    return f"{names[0]} alone moves {UNITS[measure]} from {_range(next(iter(spans.values())))}"


def _draw_published(axis: Any, results: Fields, measure: str) -> None:
    """Ours, then published accelerators from the best down, a row each."""
    rows, anchors = results["rows"], results["anchors"]
    kinds: list[Any] = [[(row["preset"], row[side][measure]) for row in rows] for side in ppa.SIDES]
    typical = [value["typical"] for _, value in kinds[0]]
    axis.axvspan(min(typical), max(typical), color=OURS, alpha=0.15, linewidth=0)
    kinds += [], []
    for a in sorted(anchors, key=lambda anchor: -anchor["normalised"]["tops_per_watt"]):
        value = a["normalised"][measure] or math.nan
        kinds[2 + a["digital"]].append((a["name"], dict.fromkeys(components.CASES, value)))
    headings = ("ours, crossbars", "ours, digital twin", "published crossbars", "published digital")
    labels: list[tuple[str, Fields]] = []
    for heading, found, marker, colour in zip(headings, kinds, "osD^", COLOURS, strict=True):
        labels.append((heading, {"color": colour, "weight": "bold"}))
        for name, value in found:
            _dot(axis, value, len(labels), colour, marker)
            labels.append((name, {}))
    axis.set_yticks(range(len(labels)), [name for name, _ in labels])
    for text, (_, style) in zip(axis.get_yticklabels(), labels, strict=True):
        text.set(**style)
    axis.set(xlabel=f"{UNITS[measure]}, as 4 bits at 32 nm", ylim=(len(labels) - 0.5, -0.5))
    _logarithmic(axis, 0.08)
