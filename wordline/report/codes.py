"""ADC codes: histograms by gate, clipping, and the gain that sets it."""

from typing import Any

import numpy as np

from golden.geometry import ArrayShape
from wordline.report import charts
from wordline.report.charts import field
from wordline.report.page import Cell, Chart, Question, Section, Table
from wordline.report.run import Run

COUNTED = 1 << 22
"""Most codes of a layer that are counted: those of the first passes."""

BINS = 33
"""Most bars of a histogram; a longer range has several codes a bar."""

UNITS = 256
"""Most units in the chart of clipping by unit."""

WORST = 20
"""Columns in the table of those that clip most."""


def counted(run: Run, layer: str) -> tuple[np.ndarray, int]:
    """Golden ADC codes of the first passes (steps, gates, units) without padding; their passes."""
    whole = run.vectors[f"{layer}.codes"]
    passes = max(1, min(len(whole), COUNTED // max(1, int(np.prod(whole.shape[1:])))))
    part = np.asarray(whole[:passes])
    lengths = np.repeat(np.asarray(run.vectors["lengths"]), run.votes)[:passes]
    valid = np.arange(part.shape[1])[None] < lengths[:, None]
    codes: np.ndarray = part[valid]
    return codes, passes


def clipped(codes: np.ndarray, shape: ArrayShape) -> np.ndarray:
    """Share of the codes at an end of their range, (gates, units)."""
    range_ = shape.code_range
    share: np.ndarray = ((codes <= range_.low) | (codes >= range_.high)).mean(0)
    return share


def section(run: Run) -> Section | None:
    """Codes of every layer; None without golden vectors."""
    if not run.vectors or run.description is None:
        return None
    asked = []
    for number, shape in enumerate(run.description.layers):
        asked += _layer(run, f"layers.{number}", shape)
    return Section("codes", "ADC codes of golden", asked)


def _layer(run: Run, layer: str, shape: ArrayShape) -> list[Question]:
    codes, passes = counted(run, layer)
    share = clipped(codes, shape)
    return [_histogram(run, layer, shape, codes, share, passes), _by_unit(run, layer, shape, share)]


def _gates(run: Run) -> tuple[str, ...]:
    assert run.description is not None
    return run.description.cell.gates


def lsb(run: Run, layer: str, shape: ArrayShape) -> list[list[Cell]]:
    """By gate and row tile: gain, charge of an LSB, and charge from which a code clips."""
    loaded = run.loaded.get(layer)
    if loaded is None:
        return []
    gates = _gates(run) if layer != "head" else ("score",)
    high = shape.description.adc.range.high
    rows: list[list[Cell]] = []
    for tile, gains in enumerate(loaded.gain.tolist()):
        for gate, gain in zip(gates, gains, strict=True):
            charge = 2**shape.adc_shift / gain if gain else None
            clips = None if charge is None else charge * (high + 0.5)
            rows.append(
                [
                    gate,
                    tile,
                    gain,
                    gain / 16,
                    charge,
                    clips,
                    clips and clips / shape.charge_max * 100,
                ]
            )
    return rows


GAIN_HEAD = (
    "gate",
    "row tile",
    "gain (register)",
    "gain",
    "LSB (units of charge)",
    "clips from (units of charge)",
    "clips from (% of the largest charge)",
)


def _histogram(
    run: Run, layer: str, shape: ArrayShape, codes: np.ndarray, share: np.ndarray, passes: int
) -> Question:
    gates, range_ = _gates(run), shape.code_range
    of_gate = share.mean(1)
    worst = int(of_gate.argmax())
    charts_, rows = [], []
    width = -(-range_.size // BINS)
    for g, gate in enumerate(gates):
        values = codes[:, g].reshape(-1).astype(np.int64)
        counts = np.bincount((values - range_.low) // width, minlength=-(-range_.size // width))
        data: list[dict[str, Any]] = []
        for n, count in enumerate(counts.tolist()):
            low = range_.low + n * width
            high = min(range_.high, low + width - 1)
            end = width == 1 and (low == range_.low or high == range_.high)
            name = str(low) if width == 1 else f"{low} to {high}"
            data.append(
                {
                    "code": low,
                    "codes": name,
                    "count": count,
                    "at": "end of the range" if end else "inside",
                }
            )
            rows.append([gate, name, count, 100 * count / values.size])
        charts_.append(_bars(data, gate, layer, width))
    names = ", ".join(
        f"{gate} {100 * share_:.2f} %" for gate, share_ in zip(gates, of_gate, strict=True)
    )
    said = f"Golden's codes at an end of {range_.low} to {range_.high}: {names}."
    gains = lsb(run, layer, shape)
    if gains and of_gate[worst]:
        own = [row for row in gains if row[0] == gates[worst]]
        said += (
            f" Gate {gates[worst]} clips most; its gain of {own[0][3]:.4g} makes an LSB of "
            f"{own[0][4]:,.1f} units of charge, so a conversion clips from {own[0][5]:,.0f} on. A "
            f"lower gain clips less and is coarser."
        )
    notes = []
    of = len(run.vectors["layers.0.h"])
    if passes < of:
        notes.append(f"Counted in the first {passes:,} of {of:,} passes.")
    if shape.adds_up:
        notes.append(
            f"A code is the sum of {len(shape.row_tiles)} row tiles and "
            f"{shape.description.dac.planes} planes; one of its conversions may clip although the "
            f"sum is inside."
        )
    notes.append("A code at the end of the range was clipped, or fits it exactly.")
    ends: list[list[Cell]] = []
    for g, gate in enumerate(gates):
        at = [100 * float((codes[:, g] == end).mean()) for end in (range_.low, range_.high)]
        ends.append([gate, *at, sum(at)])
    tables = [
        Table(
            ("gate", "lowest code (%)", "highest code (%)", "both (%)"), ends, "Clipping by gate"
        ),
        Table(("gate", "code", "count", "share (%)"), rows, "Codes by gate"),
    ]
    if gains:
        tables.insert(
            0, Table(GAIN_HEAD, gains, "Gains, and the charge from which a conversion clips")
        )
    return Question(
        f"Do the ADCs of {layer} use their range, and where do they clip?",
        said,
        charts_,
        tables,
        notes=notes,
    )


def _bars(data: list[dict[str, Any]], gate: str, layer: str, width: int) -> Chart:
    x = field(
        "code",
        "ordinal",
        "ADC code (LSB)" + (f", {width} a bar" if width > 1 else ""),
        axis={"labelAngle": 0, "labelOverlap": True},
    )
    y = field("count", "quantitative", "codes", axis={"format": "~s"})
    at = field(
        "at",
        "nominal",
        "",
        legend=None,
        scale=charts.scale(("inside", "end of the range"), "golden", "bad"),
    )
    tips = charts.hover(field("codes", "nominal", "code"), y, at | {"title": "where"})
    spec = {
        "mark": "bar",
        "height": 150,
        "encoding": {"x": x, "y": y, "color": at, "tooltip": tips},
    }
    return Chart(
        spec, data, f"Histogram of the ADC codes of gate {gate} of {layer}", f"gate {gate}"
    )


def _by_unit(run: Run, layer: str, shape: ArrayShape, share: np.ndarray) -> Question:
    gates, units = _gates(run), min(shape.units, UNITS)
    data = [
        {"gate": gates[g], "unit": u, "clipped": round(100 * float(share[g, u]), 3)}
        for g in range(len(gates))
        for u in range(units)
    ]
    x = field("unit", "ordinal", "unit", axis={"labelAngle": 0, "labelOverlap": True})
    y = field("gate", "nominal", "gate", sort=list(gates))
    value = field("clipped", "quantitative", "at an end of the range (%)")
    chart = charts.heat(
        data,
        x,
        y,
        value,
        colour_="bad",
        step=24,
        label=f"Share of clipped codes of {layer} by gate and unit",
    )
    order = np.argsort(-share.reshape(-1), kind="stable")[:WORST]
    rows: list[list[Cell]] = []
    loaded = run.loaded.get(layer)
    for flat in order.tolist():
        g, u = divmod(flat, shape.units)
        select, lane = (int(n) for n in shape.column(u, g))
        bias = int(loaded.bias[g, u]) if loaded is not None else None
        rows.append([gates[g], u, 100 * float(share[g, u]), bias, select, lane])
    head = (
        "gate",
        "unit",
        "at an end of the range (%)",
        "bias (steps of the table index)",
        "select",
        "lane",
    )
    first = rows[0]
    notes = (
        [f"The chart has the first {units} of {shape.units} units."] if units < shape.units else []
    )
    return Question(
        f"Which columns of {layer} clip?",
        f"In golden gate {first[0]} of unit {first[1]} most: {float(first[2] or 0):.1f} % of its "
        f"codes.",
        [chart],
        [Table(head, rows, "Columns that clip most")],
        notes=notes,
    )
