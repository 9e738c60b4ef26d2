"""The first difference: its place, the values around it, its likely cause, and its waveform."""

from pathlib import Path
from typing import Any

import numpy as np

from wordline.flow.place import Place
from wordline.report import cause, charts
from wordline.report.around import Around, around, wrong
from wordline.report.charts import field
from wordline.report.page import Cell, Chart, Question, Table
from wordline.report.run import Run

NEAR = 3
"""Steps before and after the first difference in the table."""


def questions(run: Run, place: Place) -> list[Question]:
    """Questions about the first difference."""
    near = around(run)
    asked: list[Question | None] = [_where(place), cause.question(run, near, place)]
    if near is not None:
        of_unit = _of_unit(run, near, place)
        asked += [_surroundings(near, place, of_unit), _others(run, near, place)]
    asked.append(_waveform(run, place))
    return [question for question in asked if question is not None]


def _where(place: Place) -> Question:
    rows: list[list[Cell]] = [
        [name, value]
        for name, value in {
            "quantity": place.quantity,
            "layer": place.layer or None,
            "sequence": place.sequence,
            "pass": place.pass_,
            "step": place.step,
            "gate": place.gate,
            "class" if place.layer == "head" else "unit": place.unit,
            "golden": place.golden,
            "RTL": place.rtl,
            "module": place.module or "the top",
            "net": place.net,
            "cycle after loading": place.cycle,
            "counted from sequence": place.since,
        }.items()
        if value is not None
    ]
    return Question(
        "Where is the first difference?",
        f"{place}. Sequences, steps, units and cycles count from 0.",
        tables=[Table(("", "value"), rows, "Place of the first difference")],
    )


def _of_unit(run: Run, near: Around, place: Place) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Golden and RTL of every stepwise quantity at the unit of the place, by name."""
    assert run.description is not None
    found = {}
    for name, rtl in near.rtl.items():
        layer, _, kind = name.rpartition(".")
        if layer != place.layer or not near.steps(name) or place.unit is None:
            continue
        if kind == "codes":
            for n, gate in enumerate(run.description.cell.gates):
                pair = (near.golden[name][:, n, place.unit], rtl[:, n, place.unit])
                found[f"code {gate}"] = pair
        else:
            found[kind] = near.golden[name][:, place.unit], rtl[:, place.unit]
    return found


def _surroundings(
    near: Around, place: Place, of_unit: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Question | None:
    """Golden and RTL one above the other, by step."""
    if place.step is None or not of_unit:
        return None
    at = place.step - near.step
    length = len(next(iter(of_unit.values()))[0])
    shown = range(max(0, at - NEAR), min(length, at + NEAR + 1))
    rows: list[list[Cell]] = []
    marks = set()
    for name, (golden, rtl) in of_unit.items():
        for side, values in (("golden", golden), ("RTL", rtl)):
            for n, step in enumerate(shown):
                if golden[step] != rtl[step]:
                    marks.add((len(rows), n + 2))
            rows.append([name, side, *(int(values[step]) for step in shown)])
    head = ("quantity", "", *(f"step {near.step + step}" for step in shown))
    table = Table(
        head, rows, "Golden above RTL; values that differ are marked", frozenset(marks), shown=True
    )
    names = [*of_unit]
    first = next((n for n, (g, r) in of_unit.items() if g[at] != r[at]), names[0])
    golden, rtl = of_unit[first]
    data = [
        {"step": near.step + n, "side": side, "value": int(value)}
        for side, values in (("golden", golden), ("RTL", rtl))
        for n, value in enumerate(values)
    ]
    what = f"{first} of unit {place.unit}"
    unit = "ADC code" if first.startswith("code ") else f"{first} (code)"
    chart = over(data, unit, f"{what} by step, golden as a line and RTL as points", place.step)
    differ = [n for n, (g, r) in of_unit.items() if g[at] != r[at]]
    said = f"At step {place.step} of unit {place.unit}, golden and RTL differ in "
    said += ", ".join(differ)
    return Question(
        f"What happens around step {place.step} in unit {place.unit}?",
        f"{said}; the chart shows {first}." if differ else "",
        [chart],
        [table],
    )


def over(data: list[dict[str, Any]], unit: str, label: str, step: int | None = None) -> Chart:
    """Golden as a line, RTL as points over it, by step. step: Marked with a rule."""
    x = field(
        "step",
        "quantitative",
        "step",
        axis={"tickMinStep": 1, "format": "d"},
        scale={"zero": False, "nice": False},
    )
    y = field("value", "quantitative", unit)
    colour = field("side", "nominal", "", scale=charts.scale(("golden", "RTL")))
    layers: list[dict[str, Any]] = [
        {
            "transform": [{"filter": "datum.side == 'golden'"}],
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
            "encoding": {"x": x, "y": y, "color": colour},
        },
        {
            "transform": [{"filter": "datum.side == 'RTL'"}],
            "mark": {"type": "point", "size": 36},
            "encoding": {
                "x": x,
                "y": y,
                "color": colour,
                "tooltip": charts.hover(x, field("side", "nominal"), y),
            },
        },
    ]
    if step is not None:
        layers.append(
            {
                "data": {"values": [{"at": step}]},
                "mark": {"type": "rule", "strokeDash": [4, 4]},
                "encoding": {"x": field("at", "quantitative", "step")},
            }
        )
    return Chart({"height": 200, "layer": layers}, data, label)


def _others(run: Run, near: Around, place: Place) -> Question | None:
    """Which other values differ at this step."""
    if place.step is None or place.quantity not in near.rtl:
        return None
    assert run.description is not None
    found = wrong(near, place, run.description)
    gates = run.description.cell.gates if place.quantity.endswith("codes") else (place.quantity,)
    data = [
        {
            "gate": gates[g],
            "unit": u,
            "golden": int(go),
            "RTL": int(r),
            "off": abs(int(r) - int(go)),
        }
        for (g, u), go, r in found.cells
    ]
    x = field(
        "unit",
        "ordinal",
        "class" if place.layer == "head" else "unit",
        axis={"labelAngle": 0, "labelOverlap": True},
    )
    y = field("gate", "nominal", "gate" if len(gates) > 1 else "", sort=list(gates))
    off = field("off", "quantitative", "|RTL - golden|")
    tips = (x, y, field("golden", "quantitative"), field("RTL", "quantitative"), off)
    chart = charts.heat(
        data,
        x,
        y,
        off,
        tooltip=tips,
        step=24,
        colour_="bad",
        label=f"Difference of {place.quantity} by gate and unit at step {place.step}",
    )
    head = (y["title"] or "quantity", x["title"], "golden", "RTL")
    rows: list[list[Cell]] = [[gates[g], u, go, r] for (g, u), go, r in found.cells if go != r]
    return Question(
        f"Which values of {place.quantity} differ at this step?",
        f"{len(found.places)} of {len(found.cells)}. {found.said(gates)}",
        [chart],
        [Table(head, rows, "Values that differ")],
    )


def _waveform(run: Run, place: Place) -> Question | None:
    """Commands that write the waves of the step."""
    assert run.summary is not None
    if run.checked:
        waves = run.summary["waves"]
        commands = [
            (
                "Write the waves of the first difference",
                f"wordline check {run.summary['path']} --waves",
            )
        ]
        if waves:
            view = Path(waves).with_suffix(".gtkw")
            commands = [("The waves of this step are written", f"gtkwave {waves} {view}")]
        return Question("How do I see it in a waveform?", _signal(place), commands=commands)
    if not run.vectors:
        return None
    lengths = run.vectors["lengths"]
    # A score or a class comes after the last step.
    at = int(lengths[place.sequence]) - 1 if place.step is None else place.step
    step = int(lengths[: place.sequence].sum()) * run.votes
    step += (place.pass_ or 0) * int(lengths[place.sequence]) + at
    first_ = f"{step - 1}:{step}" if at else f"{step}"
    return Question(
        "How do I see it in a waveform?",
        f"{_signal(place)} It is step {step:,} of the run, over all sequences and passes.",
        commands=[
            ("Write the waves of this step and the one before", _waves(run, first_)),
            ("Which lines of edited RTL are the cause", f"wordline check {run.folder} --waves"),
        ],
    )


def _signal(place: Place) -> str:
    return (
        f"It was seen at net {place.net} in {place.module or 'the top'}; the fault is there or in "
        f"what drives it."
    )


def _waves(run: Run, steps: str) -> str:
    assert run.summary is not None
    command = run.summary.get("command") or f"wordline sim {run.name}"
    return f"{command} --waves {steps}"
