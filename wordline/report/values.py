"""Codes, c and h of chosen sequences and units, golden over RTL."""

from typing import Any

import numpy as np

from wordline.report import accuracy, charts
from wordline.report.charts import field
from wordline.report.page import Chart, Question, Section, Table
from wordline.report.run import Run

SEQUENCES = 8
"""Most sequences that can be chosen: the first, and the worst."""

UNITS = 64
"""Most units that can be chosen."""

STEPS = 256
"""Most steps of a sequence that are shown."""

VALUES = 200_000
"""Most values of a layer on the page; there are fewer units, then sequences, if it has more."""


def section(run: Run) -> Section | None:
    """Values of every layer; None without golden vectors."""
    if not run.vectors or run.description is None:
        return None
    asked = [_layer(run, number) for number in range(len(run.description.layers))]
    return Section("values", "Gates, c and h", asked)


def sequences(run: Run) -> list[int]:
    """Sequences that can be chosen: that of the first difference, the worst, and the first ones."""
    found = [run.difference["sequence"]] if run.difference else []
    found += accuracy.worst(run)[: SEQUENCES // 2]
    found += range(min(SEQUENCES, len(run.vectors["lengths"])))
    return sorted(list(dict.fromkeys(found))[:SEQUENCES])


def rtl(run: Run, name: str, sequence: int, steps: int) -> np.ndarray | None:
    """What the RTL computed in the first pass of a sequence, as far as it is known.

    Where every value of a quantity is equal, it is golden's. Otherwise only the surroundings of the
    first difference are kept; steps outside are masked.
    """
    assert run.summary is not None
    golden = np.asarray(run.vectors[name][run.row(sequence)][:steps], np.int64)
    counts = run.summary["compared"].get(name)
    if counts is not None and not counts["mismatches"]:
        return golden
    near = run.difference
    if near is None or near["sequence"] != sequence or near["pass"] or name not in near["values"]:
        return None
    values = np.asarray(near["values"][name], np.int64)[: max(0, steps - near["step"])]
    found = np.ma.masked_all(golden.shape, np.int64)
    found[near["step"] : near["step"] + len(values)] = values
    return found


def _layer(run: Run, number: int) -> Question:
    assert run.description is not None and run.summary is not None
    layer, shape = f"layers.{number}", run.description.layers[number]
    lengths = np.asarray(run.vectors["lengths"])
    chosen = sequences(run)
    steps = min(STEPS, int(lengths[chosen].max()))
    gates = run.description.cell.gates
    names = {
        f"{layer}.{kind}": kind for kind in ("codes", "c", "h") if f"{layer}.{kind}" in run.vectors
    }
    each = steps * (len(gates) + len(names) - 1)
    units = max(1, min(shape.units, UNITS, VALUES // (each * len(chosen))))
    chosen = chosen[: max(1, VALUES // (each * units))]
    of_units = list(range(units))
    place = (run.summary.get("first") or {}).get("place", {})
    different = (
        place.get("unit")
        if (run.summary.get("first") or {}).get("quantity", "").startswith(layer)
        else None
    )
    if different is not None and different not in of_units:
        of_units[-1] = different
    data = []
    for sequence in chosen:
        length = min(steps, int(lengths[sequence]))
        for name, kind in names.items():
            golden = np.asarray(run.vectors[name][run.row(sequence)][:length])
            found = rtl(run, name, sequence, length)
            for unit in of_units:
                for what, at in _columns(kind, gates):
                    row: dict[str, Any] = {"s": sequence, "u": unit, "q": what}
                    row["golden"] = golden[(slice(None), *at, unit)].tolist()
                    if found is not None:
                        row["RTL"] = found[(slice(None), *at, unit)].tolist()
                    data.append(row)
    first = run.difference["sequence"] if run.difference else chosen[0]
    start = (
        first if first in chosen else chosen[0],
        different if different is not None else of_units[0],
    )
    panels = [(what, unit) for kind in names.values() for what, unit in _titles(kind, gates)]
    head = ("quantity", "", *(f"step {n}" for n in range(steps)))
    rows = []
    for what, _ in panels:
        for row in (r for r in data if (r["s"], r["u"], r["q"]) == (*start, what)):
            rows += [[what, side, *row[side]] for side in ("golden", "RTL") if side in row]
    equal = all(not run.summary["compared"].get(n, {"mismatches": 1})["mismatches"] for n in names)
    said = "Golden as a line, RTL as points."
    if equal:
        said += " All values of this layer are equal, so the points lie on the line."
    else:
        said += " RTL is kept around the first difference, and for quantities without one."
    note = (
        f"Sequences {', '.join(map(str, chosen))}; {len(of_units)} of {shape.units} units; up to "
        f"{steps} steps. The golden vectors hold the others."
    )
    return Question(
        f"What do the gates, c and h of {layer} do in one sequence?",
        said,
        [_chart(data, panels, chosen, of_units, start, layer)],
        [Table(head, rows, f"Sequence {start[0]}, unit {start[1]}")],
        notes=[note],
    )


def _columns(kind: str, gates: tuple[str, ...]) -> list[tuple[str, Any]]:
    """Names of the columns of a quantity, and their index in front of the unit's."""
    if kind != "codes":
        return [(kind, ())]
    return [(f"code {gate}", (g,)) for g, gate in enumerate(gates)]


def _titles(kind: str, gates: tuple[str, ...]) -> list[tuple[str, str]]:
    """Names of the panels of a quantity, and the titles of their axes."""
    if kind != "codes":
        return [(kind, "DAC code" if kind == "h" else "code of c")]
    return [(f"code {gate}", "ADC code") for gate in gates]


def _chart(
    data: list[dict[str, Any]],
    panels: list[tuple[str, str]],
    chosen: list[int],
    units: list[int],
    start: tuple[int, int],
    layer: str,
) -> Chart:
    """Panels one above the other, with two lists to choose from."""
    x = field(
        "step",
        "quantitative",
        "step",
        axis={"tickMinStep": 1, "format": "d"},
        scale={"nice": False},
    )
    side = field("side", "nominal", "", scale=charts.scale(("golden", "RTL")))
    above = []
    for what, unit in panels:
        y = field("value", "quantitative", f"{what} ({unit})" if what in "ch" else what)
        tips = charts.hover(x, side | {"title": "side"}, y)
        above.append(
            {
                "height": 90,
                "width": "container",
                "transform": [{"filter": f"datum.q == '{what}'"}],
                "layer": [
                    {
                        "transform": [{"filter": "datum.side == 'golden'"}],
                        "mark": {"type": "line", "interpolate": "step-after"},
                        "encoding": {"x": x, "y": y, "color": side},
                    },
                    {
                        "transform": [{"filter": "datum.side == 'RTL'"}],
                        "mark": {"type": "point", "size": 30},
                        "encoding": {"x": x, "y": y, "color": side, "tooltip": tips},
                    },
                ],
            }
        )
    spec = {
        "params": [
            {"name": "sequence", "value": start[0], "bind": {"input": "select", "options": chosen}},
            {"name": "unit", "value": start[1], "bind": {"input": "select", "options": units}},
        ],
        "transform": [
            {"filter": "datum.s == sequence && datum.u == unit"},
            {"fold": ["golden", "RTL"], "as": ["side", "values"]},
            {"filter": "isArray(datum.values)"},
            {"flatten": ["values"], "as": ["value"]},
            {"window": [{"op": "row_number", "as": "n"}], "groupby": ["q", "side"]},
            {"calculate": "datum.n - 1", "as": "step"},
            {"filter": "isValid(datum.value)"},
        ],
        "vconcat": above,
    }
    return Chart(spec, data, f"Gates, c and h of {layer}, golden and RTL, by step")
