"""Conductance maps: what the cells of each array hold, their levels, and stuck devices."""

import dataclasses
from typing import Any

import numpy as np

from gen.rtl.unload import Loaded
from golden.geometry import ArrayShape
from wordline.report import charts
from wordline.report.charts import field
from wordline.report.page import Cell, Chart, Question, Section, Table
from wordline.report.run import Run

CELLS = 8000
"""Most cells of a map; a larger array is shown as means over squares of cells."""

STUCK = 200
"""Most stuck devices in the table."""


def section(run: Run) -> Section | None:
    """Maps of every array; None without an image."""
    if not run.loaded or run.description is None:
        return None
    stuck = _stuck(run)
    asked = []
    for name, loaded in run.loaded.items():
        shape = run.description.arrays[name]
        asked += [_map(run, name, shape, loaded, stuck.get(name)), _levels(run, name, loaded)]
    return Section("cells", "Cells", asked)


def _stuck(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Masks of devices stuck on and off by array, (2, gates, units, rows); empty without any."""
    effects = (run.summary or {}).get("effects")
    if effects is None or not {"stuck_on", "stuck_off"} & set(effects["on"]):
        return {}
    from golden.effects import Effects, stuck

    assert run.description is not None
    found = stuck(run.description, Effects(**effects["given"]))
    return {name: (on.numpy(), off.numpy()) for name, (on, off) in found.items()}


def matrix(loaded: Loaded) -> np.ndarray:
    """Differential codes g+ - g- as (rows, units x gates): the columns of a unit side by side."""
    differential = loaded.positive - loaded.negative
    gates, units, rows = differential.shape
    found: np.ndarray = differential.transpose(2, 1, 0).reshape(rows, units * gates)
    return found


def blocked(values: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Means over squares of cells, so that at most `most` are left; and the side of a square."""
    side = 1
    while -(-values.shape[0] // side) * -(-values.shape[1] // side) > most:
        side += 1
    if side == 1:
        return values.astype(float), 1
    edges = [np.arange(0, size, side) for size in values.shape]
    sums = np.add.reduceat(np.add.reduceat(values.astype(float), edges[0], 0), edges[1], 1)
    sizes = [np.diff(np.append(e, size)) for e, size in zip(edges, values.shape, strict=True)]
    return sums / np.outer(*sizes), side


def _map(
    run: Run,
    name: str,
    shape: ArrayShape,
    loaded: Loaded,
    stuck: tuple[np.ndarray, np.ndarray] | None,
) -> Question:
    assert run.description is not None
    whole = matrix(loaded)
    values, side = blocked(whole, CELLS)
    gates = list(run.description.cell.gates) if name != "head" else ["score"]
    data = [
        {"row": int(n) * side, "g": [round(v, 1) if side > 1 else int(v) for v in row]}
        for n, row in enumerate(values.tolist())
    ]
    column = f"floor({side} * (datum.n - 1) / {len(gates)})"
    transform: list[dict[str, Any]] = [
        {"flatten": ["g"]},
        {"window": [{"op": "row_number", "as": "n"}], "groupby": ["row"]},
        {"calculate": f"{side} * (datum.n - 1)", "as": "column"},
        {"calculate": column, "as": "unit"},
        {"calculate": f"{gates}[({side} * (datum.n - 1)) % {len(gates)}]", "as": "gate"},
        {"calculate": "abs(datum.g)", "as": "magnitude"},
        {"calculate": "datum.g < 0 ? 'negative' : 'positive'", "as": "sign"},
    ]
    x = field(
        "column",
        "ordinal",
        "column: classes" if name == "head" else "column: gates of a unit side by side",
        axis={"labelAngle": 0, "labelOverlap": True},
    )
    y = field(
        "row",
        "ordinal",
        f"row: x 0 to {shape.inputs - 1}, then h" if name != "head" else "row: h",
        axis={"labelOverlap": True},
    )
    tips = (
        y | {"title": "row"},
        field("unit", "quantitative"),
        field("gate", "nominal"),
        field("g", "quantitative", "g+ - g- (conductance codes)"),
    )
    chart = charts.heat(
        data,
        x,
        y,
        field("magnitude", "quantitative", "|g+ - g-| (conductance codes)"),
        label=f"Map of the differential conductance codes of {name}",
        step=8,
        sign="sign",
        transform=transform,
        tooltip=tips,
    )
    if stuck is not None and side == 1:
        chart = _marked(chart, stuck, len(gates))
    zero = int((whole == 0).sum())
    said = (
        f"{whole.shape[0]} rows x {whole.shape[1]} columns in {shape.macros} crossbar(s): "
        f"{whole.size:,} cells, codes {int(whole.min())} to {int(whole.max())}, {zero:,} at 0."
    )
    notes = [f"Each square is the mean of {side} x {side} cells."] if side > 1 else []
    tables = [_by_row(whole)]
    if stuck is not None:
        tables.insert(0, _stuck_table(run, name, gates, stuck))
        on, off = (int(mask.sum()) for mask in stuck)
        said += f" Stuck at full scale: {on:,} devices; stuck at 0: {off:,}."
    return Question(f"What do the cells of {name} hold?", said, [chart], tables, notes=notes)


def _marked(chart: Chart, stuck: tuple[np.ndarray, np.ndarray], gates: int) -> Chart:
    """The map with a mark on each cell that has a stuck device."""
    marks = [
        {"row": row, "column": unit * gates + gate, "stuck": at}
        for at, mask in zip(("at full scale", "at 0"), stuck, strict=True)
        for _, gate, unit, row in np.argwhere(mask).tolist()
    ]
    encoding = {
        "x": {"field": "column", "type": "ordinal"},
        "y": {"field": "row", "type": "ordinal"},
        "shape": field("stuck", "nominal", "stuck device", scale={"range": ["cross", "circle"]}),
        "tooltip": charts.hover(field("stuck", "nominal"), field("row", "ordinal")),
    }
    mark = {
        "type": "point",
        "filled": False,
        "stroke": "var(--ink)",
        "size": 40,
        "strokeWidth": 1.5,
    }
    map_ = {key: chart.spec[key] for key in ("mark", "encoding", "transform")}
    layers = [map_, {"data": {"values": marks}, "mark": mark, "encoding": encoding}]
    return dataclasses.replace(chart, spec={"height": chart.spec["height"], "layer": layers})


def _by_row(whole: np.ndarray) -> Table:
    rows: list[list[Cell]] = [
        [str(n), int(row.min()), float(row.mean()), int(row.max()), int((row == 0).sum())]
        for n, row in enumerate(whole)
    ]
    return Table(("row", "lowest code", "mean", "highest code", "cells at 0"), rows, "By row")


def _stuck_table(
    run: Run, name: str, gates: list[str], stuck: tuple[np.ndarray, np.ndarray]
) -> Table:
    rows: list[list[Cell]] = []
    loaded = run.loaded[name]
    for at, mask in zip(("full scale", "0"), stuck, strict=True):
        for device, gate, unit, row in np.argwhere(mask).tolist():
            codes = loaded.negative if device else loaded.positive
            code = int(codes[gate, unit, row])
            which = "g-" if device else "g+"
            rows.append([at, which, str(row), gates[gate], str(unit), code])
    head = ("stuck at", "device", "row", "gate", "unit", "conductance code")
    more = f", the first {STUCK} of {len(rows):,}" if len(rows) > STUCK else ""
    return Table(head, rows[:STUCK], f"Stuck devices{more}")


def _levels(run: Run, name: str, loaded: Loaded) -> Question:
    whole = matrix(loaded).reshape(-1)
    levels = sorted(set(loaded.levels.tolist()))
    on = np.isin(whole, levels)
    size = max(1, -(-int(whole.max() - whole.min() + 1) // 128))
    data: list[dict[str, Any]] = []
    for at, mask in (("on a level", on), ("between levels", ~on)):
        codes, counts = np.unique(whole[mask] // size * size, return_counts=True)
        data += [
            {"code": c, "cells": n, "at": at}
            for c, n in zip(codes.tolist(), counts.tolist(), strict=True)
        ]
    data.sort(key=lambda row: (row["code"], row["at"]))
    x = field("code", "quantitative", "g+ - g- (conductance codes)")
    y = field("cells", "quantitative", "cells")
    at_ = field(
        "at", "nominal", "", scale=charts.scale(("on a level", "between levels"), "golden", "rtl")
    )
    encoding = {
        "x": x,
        "y": y,
        "color": at_,
        "tooltip": charts.hover(x, y, at_ | {"title": "where"}),
    }
    spec = {"mark": {"type": "bar", "width": 4}, "height": 150, "encoding": encoding}
    rows: list[list[Cell]] = [
        [n, level, int((whole == level).sum())] for n, level in enumerate(levels)
    ]
    off = int((~on).sum())
    said = (
        f"{len(levels)} levels from {levels[0]} to {levels[-1]}; {off:,} of {whole.size:,} cells "
        f"hold a code between them."
    )
    why = " Causes are programming errors, drift and stuck devices." if off else ""
    notes = [f"Bars are {size} codes wide."] if size > 1 else []
    return Question(
        f"Which levels do the cells of {name} use?",
        said + why,
        [Chart(spec, data, f"Cells of {name} by differential conductance code")],
        [Table(("level", "differential code", "cells"), rows, "Cells by level")],
        notes=notes,
    )
