"""The part of the study of efficiency that is about sizes: four rows in the place of one number.

Arrays of 128 x 128 to 1,024 x 2,048 with 4 to 512 ADCs, estimated by the cost model, which is
checked against gate-level counts. Ours are compared with chips as published, with the twin's
arrays, with the whole twin and measured digital arrays, and by weights per mm2.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.box import Box
from rich.table import Table

from gen.cost import components, macros, model, ppa, summary, sweep
from gen.cost.counts import from_dict
from wordline.jobs import Job, Runner
from wordline.studies.chip_runs import sized
from wordline.studies.common import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    VERMILION,
    claim,
    drawing,
    note,
)

Fields = dict[str, Any]

PRESET = "vowels"
"""What the designs are but for their size: one LSTM layer."""
BITS = 4
"""Of its inputs and weights."""


@dataclass(frozen=True)
class Size:
    """A layer's inputs and units, and the lanes that it is tried with: its ADCs."""

    inputs: int
    units: int
    lanes: tuple[int, ...]


SIZES = (
    Size(96, 32, (4, 8, 32)),
    Size(128, 128, (16, 32, 128)),
    Size(256, 256, (32, 64, 256)),
    Size(512, 512, (64, 128, 512)),
)
SETTLES = (3.0, 8.0, 15.0)
"""Times in which a column settles (ns), with typical figures otherwise."""

PAPER = {"tops_per_watt": 2.4, "tops_per_mm2": 40.0}
"""Times what digital accelerators have (arXiv 2002.10636)."""


DENSE = ("accelerator / in-memory", "arrays / in-memory")
"""Ratios that are told with equally likely codes, too."""


def run(runner: Runner, sizes: Sequence[Size]) -> Fields:
    """Estimate all sizes; returns rows, and for each ratio where it reaches the paper's number."""
    places = [(size, lanes) for size in sizes for lanes in size.lanes]
    jobs = [
        Job(
            "wordline.studies.chip_runs:estimated",
            {"preset": PRESET, "inputs": size.inputs, "units": size.units, "lanes": lanes},
        )
        for size, lanes in places
    ]
    figures = components.read_figures()
    rows: list[Fields] = []
    counts = []
    for (size, lanes), found in zip(places, runner.run("estimate sizes", jobs), strict=True):
        design = sized(PRESET, size.inputs, size.units, lanes)
        of: Any = {name: from_dict(found[name]) for name in ("own", "twin", "stationary")}
        counts.append(own := sweep.Estimated(work=sweep.work_of(design), **of))
        row = sweep.row(sweep.Point({"lanes": lanes}, design, figures), own)
        shape = design.layers[0]
        row |= {"rows": shape.rows, "columns": shape.units * shape.gates, "adcs": shape.lanes}
        row["dense"] = _dense(own, figures)
        row["settle"] = [_settled(own, figures, ns) for ns in SETTLES]
        rows.append(row)
    if not rows:
        return {"rows": [], "best": []}
    return {"rows": rows, "best": [_best(rows, counts, figures, *at) for at in _ratios()]}


def _dense(counts: sweep.Estimated, figures: components.Figures) -> Fields:
    """TOPS/W over in-memory logic, of the accelerator and of the arrays, by case of the figures:
    with equally likely codes and levels, as macros may have been measured with (ours); a network's
    codes change and conduct less."""
    own, of = counts.own, model.model()
    changed, reads = macros.likely(BITS, BITS)
    more = changed / of.changed["level"], reads / of.reads["level"]
    arrays = [
        replace(array, bits_changed=more[0] * array.bits_changed, reads=more[1] * array.reads)
        for array in own.arrays
    ]
    busy, found = counts._replace(own=replace(own, arrays=arrays)), {}
    for case in sweep.CASES:
        ratios = sweep.ratios(sweep.sides(busy, sweep.values(figures, case)))
        found[case] = {name: ratios[name]["tops_per_watt"] for name in DENSE}
    return found


def _settled(counts: sweep.Estimated, figures: components.Figures, ns: float) -> Fields:
    """Ratios with another settling time."""
    values = sweep.values(figures, "typical") | {"settle": ns}
    found = sweep.ratios(sweep.sides(counts, values))
    return {"ns": ns} | {
        measure: {name: own[measure] for name, own in found.items()} for measure in ppa.MEASURES
    }


def _ratios() -> list[tuple[str, str]]:
    return [(name, m) for name in sweep.AGAINST for m in ppa.MEASURES if name in sweep.compared(m)]


def _best(
    rows: list[Fields],
    counts: list[sweep.Estimated],
    figures: components.Figures,
    name: str,
    measure: str,
) -> Fields:
    """Where a ratio is highest, where it first reaches the paper's number, and what decides it.

    Sizes are in ascending order of their devices, then of their ADCs.
    """
    cases = {case: [sweep.ratio(row, name, measure, case) for row in rows] for case in sweep.CASES}
    typical = cases["typical"]
    top = typical.index(max(typical))
    reached = {case: _reached(rows, values, measure) for case, values in cases.items()}

    def of(values: components.Values) -> float:
        return sweep.ratios(sweep.sides(counts[top], values))[name][measure]

    decides = list(ppa.sensitivity(figures, of).items())[:3]
    return {
        "ratio": name,
        "measure": measure,
        "place": _place(rows[top]),
        "typical": typical[top],
        "low": cases["low"][top],
        "silicon": cases["silicon"][top],
        "best_silicon": max(cases["silicon"]),
        "place_silicon": _place(rows[cases["silicon"].index(max(cases["silicon"]))]),
        "reached": reached,
        "decides": [{"figure": figure, "ends": list(ends)} for figure, ends in decides],
    }


def _reached(rows: list[Fields], values: list[float], measure: str) -> Fields | None:
    """The first size whose value reaches the paper's number."""
    reaches = (row for row, value in zip(rows, values, strict=True) if value >= PAPER[measure])
    return next(map(_place, reaches), None)


def _place(row: Fields) -> Fields:
    return {key: row[key] for key in ("rows", "columns", "adcs")}


def at(place: Fields | None) -> str:
    """A size in words."""
    if place is None:
        return "no size"
    return f"{place['rows']:,} x {place['columns']:,}, {place['adcs']} ADCs"


def claims(found: Fields, digital: Sequence[Fields]) -> list[Fields]:
    """The four rows: highest ratios over sizes, with typical figures and with those of silicon.

    digital: Published GPUs, FPGAs and ASICs: name, measures as published, and `normalised`.
    """
    if not found["rows"]:
        return []
    made = []
    for (measure, unit), how in itertools.product(ppa.MEASURES.items(), PUBLISHED):
        sides = {chip["name"]: chip if how is None else chip[how] for chip in digital}
        known = {name: of[measure] for name, of in sides.items() if of[measure] is not None}
        name, theirs = max(known.items(), key=lambda pair: pair[1])
        for case in ("typical", "silicon"):
            values = [row[case]["accelerator"][measure] / theirs for row in found["rows"]]
            best = max(range(len(values)), key=values.__getitem__)
            words = f"1. {unit} over the best of {len(known)} digital chips {PUBLISHED[how]} "
            words += f"({name}), {at(found['rows'][best])}, {case}"
            made.append(_claim(words, values[best], measure))
            made[-1]["reached"] = at(_reached(found["rows"], values, measure))
    for row in found["best"]:
        number = 2 if row["ratio"].startswith("arrays") else 3
        unit = ppa.MEASURES[row["measure"]]
        words = f"{number}. {unit}, {row['ratio']}, {at(row['place'])}, typical"
        made.append(_claim(words, row["typical"], row["measure"]))
        words = f"{number}. {unit}, {row['ratio']}, {at(row['place_silicon'])}, silicon"
        made.append(_claim(words, row["best_silicon"], row["measure"]))
    last = found["rows"][-1]
    for ratio, case in itertools.product(DENSE, ("typical", "silicon")):
        number = 2 if ratio.startswith("arrays") else 3
        words = f"{number}. TOPS/W, {ratio}, equally likely codes, {at(last)}, {case}"
        made.append(_claim(words, last["dense"][case][ratio], "tops_per_watt"))
    for case in ("typical", "silicon"):
        densities = [last[case][side]["weights_per_mm2"] for side in ("arrays", "twin_arrays")]
        words = f"4. weights per mm2, arrays / twin's, {at(last)}, {case}"
        made.append(claim(words, densities[0] / densities[1], "times", goal=None))
    return made


PUBLISHED = {None: "as published", "normalised": "at 4 bits and 32 nm"}
"""How the figures of published chips are taken."""


def _claim(words: str, ratio: float, measure: str) -> Fields:
    """The paper's number is asked for."""
    return claim(words, ratio, "times", goal=PAPER[measure], anchor=PAPER[measure])


def tables(found: Fields, box: Box) -> list[Table]:
    """Ratios by size, and for each ratio where it is highest, where it is reached, what decides."""
    if not found["rows"]:
        return []
    made = []
    for measure, unit in ppa.MEASURES.items():
        against = sweep.compared(measure)
        heads = [f"{name} ({case})" for name in against for case in ("typical", "silicon")]
        title = f"sizes, {unit}"
        table = Table("rows x columns", "ADCs", "ours", "ours (silicon)", *heads, box=box)
        table.title = title
        for row in found["rows"]:
            own = [row[case]["accelerator"][measure] for case in ("typical", "silicon")]
            values = [
                sweep.ratio(row, name, measure, case)
                for name in against
                for case in ("typical", "silicon")
            ]
            size = f"{row['rows']:,} x {row['columns']:,}"
            table.add_row(size, str(row["adcs"]), *map(summary.shown, (*own, *values)))
        made.append(table)
    decided = Table(
        *("ratio", "measure", "highest at", "low", "typical", "silicon"),
        *("paper's number reached from, typical", "silicon", "decided by"),
        box=box,
        title="where 2.4 and 40 times hold",
    )
    for row in found["best"]:
        cases = [summary.shown(row[case]) for case in ("low", "typical", "silicon")]
        ends = (at(row["reached"][case]) for case in ("typical", "silicon"))
        decides = ", ".join(
            f"{d['figure']} ({' to '.join(map(summary.shown, d['ends']))})"
            for d in row["decides"][:2]
        )
        unit = ppa.MEASURES[row["measure"]]
        decided.add_row(row["ratio"], unit, at(row["place"]), *cases, *ends, decides)
    return [*made, decided]


LOOKS = {
    "arrays / twin's": (BLUE, "o-"),
    "arrays / stationary": (GREEN, "D-"),
    "arrays / in-memory": (GREY, "v-"),
    "accelerator / twin": (VERMILION, "s--"),
    "accelerator / in-memory": (BLACK, "^:"),
    "accelerator / in-memory, all weights": (PURPLE, "P-."),
}
"""Of the ratios."""


def figure(found: Fields, path: Path) -> None:
    """Ratios with the most ADCs of each size, against the size; typical, and silicon in pale."""
    if not found["rows"]:
        return
    largest = {row["rows"]: row for row in found["rows"]}  # the last of a size has the most ADCs
    rows = list(largest.values())
    with drawing(path, 1, 2, (8.2, 4.4)) as axes:
        for axis, (measure, unit) in zip(axes[0], ppa.MEASURES.items(), strict=True):
            ends = {}
            for name in filter(LOOKS.__contains__, sweep.compared(measure)):
                colour, style = LOOKS[name]
                for case, alpha in (("silicon", 0.35), ("typical", 1.0)):
                    values = [sweep.ratio(row, name, measure, case) for row in rows]
                    axis.plot(range(len(rows)), values, style, color=colour, alpha=alpha)
                ends[name] = values[-1]
            axis.set_yscale("log")
            for name, height in _apart(ends, *axis.get_ylim()).items():
                words = f"{name}: {summary.shown(ends[name])}"
                place = (len(rows) - 1, height)
                note(axis, words, place, color=LOOKS[name][0], dx=8, fontsize=8)
            axis.axhline(PAPER[measure], color=GREY, linestyle="--", linewidth=1)
            words = f"paper: {PAPER[measure]:g}"
            free = {"tops_per_watt": (len(rows), -7), "tops_per_mm2": (-0.25, 6)}[measure]
            note(axis, words, (free[0], PAPER[measure]), dy=free[1], fontsize=8)
            axis.axhline(1, color=GREY, linewidth=0.8)
            names = [f"{row['rows']}\nx {row['columns']}\n{row['adcs']}" for row in rows]
            axis.set_xticks(range(len(rows)), names, fontsize=8)
            axis.set_xlabel("rows x columns, ADCs", x=0.3)
            axis.set_xlim(-0.3, len(rows) + 1.1)
            axis.set_ylabel(f"times the {unit.replace('mm2', 'mm²')}")
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(color="0.9", linewidth=0.6)
        busy, all_weights = "accelerator / in-memory", "accelerator / in-memory, all weights"
        watt, area, holding = (
            [summary.shown(sweep.ratio(rows[-1], *of, case)) for case in ("typical", "silicon")]
            for of in (
                (busy, "tops_per_watt"),
                (busy, "tops_per_mm2"),
                (all_weights, "tops_per_mm2"),
            )
        )
        said = (
            f"At the largest size {watt[0]} times the TOPS/W of in-memory logic (silicon, pale: "
            f"{watt[1]}),\nand {area[0]} times its TOPS/mm² ({area[1]}); {holding[0]} times "
            f"({holding[1]}) if it holds all weights"
        )
        look = {"ha": "left", "fontsize": 10.5, "fontweight": "bold"}
        axes[0, 0].figure.suptitle(said, x=0.01, **look)


def _apart(values: dict[str, float], low: float, high: float) -> dict[str, float]:
    """Heights for words beside values on a logarithmic axis, none of them on another."""
    gap = math.log10(high / low) / 16
    found: dict[str, float] = {}
    last = -math.inf
    for name, value in sorted(values.items(), key=lambda pair: pair[1]):
        last = max(math.log10(value), last + gap)
        found[name] = 10**last
    return found
