"""Cost: area of the digital logic by block, energy by part with its range, what decides it."""

from collections.abc import Mapping
from typing import Any

from gen.cost.ppa import MEASURES, SIDES
from wordline.report import charts
from wordline.report.charts import field
from wordline.report.page import Cell, Chart, Question, Section, Table
from wordline.report.run import Run

Fields = dict[str, Any]

FIGURES = 8
"""Figures in the chart of what decides a result."""

SMALLEST = 1e-3
"""Smallest share of the energy that has a bar."""

POINTS = 40
"""Most points of an estimate in its chart."""


def section(run: Run) -> Section | None:
    """Cost of a design; None if it was not synthesised or estimated."""
    asked: list[Question] = []
    for found in run.synthesised.values():
        asked += _device(run, found) if "mhz" in found else _cells(run, found)
    if run.ppa is not None:
        asked += _counted(run, run.ppa)
    if run.model is not None:
        asked += _estimated(run, run.model)
    return Section("cost", "Cost", asked) if asked else None


def _stale(run: Run, found: Fields) -> list[str]:
    """A note if a result is of another description than the run."""
    own = run.description.fingerprint if run.description is not None else None
    if own is None or found.get("fingerprint") in (None, own):
        return []
    return ["This result is of another description than the comparison above."]


def _cells(run: Run, found: Fields) -> list[Question]:
    blocks, target = found["blocks"], found["target"]
    whole = sum(block["area"] for block in blocks)
    data = [{"block": block["name"], "area": block["area"]} for block in blocks]
    first = max(blocks, key=lambda block: block["area"])
    rows: list[list[Cell]] = [
        [b["name"], b["cells"], b["flip_flops"], b["area"], 100 * b["area"] / whole] for b in blocks
    ]
    cells, flip_flops = (sum(b[key] for b in blocks) for key in ("cells", "flip_flops"))
    rows.append(["all", cells, flip_flops, whole, 100.0])
    facts: list[list[Cell]] = [
        ["shortest clock period (ns)", found["period_ns"]],
        ["highest clock frequency (MHz)", 1e3 / found["period_ns"]],
        ["unconstrained endpoints", found["unconstrained"]],
        *([f"memory {name}", count] for name, count in found["memories"].items()),
    ]
    head = ("block", "cells", "flip-flops", "area (um2)", "share (%)")
    asked = [
        Question(
            f"Where does the area go on {target}?",
            f"{whole:,.0f} um2 of cells, {100 * first['area'] / whole:.0f} % of it in "
            f"{first['name']}; the shortest clock period is {found['period_ns']:.2f} ns.",
            [
                charts.bars(
                    data,
                    "block",
                    "area",
                    "area of cells (um2)",
                    sort="-x",
                    label=f"Area by block on {target}",
                )
            ],
            [
                Table(head, rows, "Area by block"),
                Table(("", "value"), facts, "Timing and memories"),
            ],
            notes=["Crossbar macros are black boxes; wires are not included.", *_stale(run, found)],
        )
    ]
    if found["run"]:
        asked.append(_gates(found["run"], target))
    return asked


def _gates(run: Fields, target: str) -> Question:
    """Energy of the netlist in a simulation."""
    if not run["passed"]:
        said = "RED: the netlist does not do what golden does, or gives an X; there is no energy."
        return Question(f"What energy do the cells on {target} take?", said)
    data, rows = [], []
    for name, energy in run["energies"].items():
        parts = {"clock": energy["clock"], "signals": energy["switching"]}
        for what, pj in parts.items():
            data.append({"block": name, "what": what, "energy": pj / 1e3 / run["steps"]})
        each = [pj / 1e3 / run["steps"] for pj in parts.values()]
        rows.append([name, sum(each), each[0], energy["leakage_nw"] / 1e3])
    rows.sort(key=lambda row: -row[1])
    whole = sum(row[1] for row in rows)
    drawn = [row[0] for row in rows if row[1] > SMALLEST * whole]
    data = [row for row in data if row["block"] in drawn]
    x = field("energy", "quantitative", "energy (nJ a step)")
    y = field("block", "nominal", sort=drawn, axis={"title": None})
    what_ = field("what", "nominal", "", scale=charts.scale(("signals", "clock")))
    spec = {
        "mark": "bar",
        "height": 22 * len(drawn),
        "encoding": {"x": x, "y": y, "color": what_, "tooltip": charts.hover(y, what_, x)},
    }
    return Question(
        f"What energy do the cells on {target} take?",
        f"{whole:.3f} nJ a step, most in {rows[0][0]}; the netlist gave {run['values_compared']:,} "
        f"equal values in {run['sequences']} sequences and no X.",
        [Chart(spec, data, f"Energy of the cells by block on {target}")],
        [Table(("block", "nJ a step", "of it clock", "leakage (uW)"), rows)],
    )


def _device(run: Run, found: Fields) -> list[Question]:
    """Resources of an FPGA."""
    data = [
        {"resource": name, "share": 100 * used / of} for name, (used, of) in found["used"].items()
    ]
    rows: list[list[Cell]] = [
        [name, used, of, 100 * used / of] for name, (used, of) in found["used"].items()
    ]
    kinds = list(dict.fromkeys(kind for block in found["blocks"] for kind in block["cells"]))
    by_block: list[list[Cell]] = [
        [block["name"], *(block["cells"].get(kind, 0) for kind in kinds)]
        for block in found["blocks"]
    ]
    return [
        Question(
            f"How full and how fast is it on {found['target']}?",
            f"{found['mhz']:.1f} MHz, with array.settle = {found['settle']}.",
            [
                charts.bars(
                    data,
                    "resource",
                    "share",
                    "used (% of the device)",
                    sort="-x",
                    label="Used resources of the device",
                )
            ],
            [
                Table(("resource", "used", "of", "%"), rows, "Resources of the device"),
                Table(("block", *kinds), by_block, "Resources by block"),
            ],
            notes=_stale(run, found),
        )
    ]


def _ranged(data: list[Fields], name: str, unit: str, label: str, title: str = "") -> Chart:
    """Bars of typical values with a rule from low to high."""
    x = field("typical", "quantitative", unit)
    y = field(name, "nominal", sort=None, axis={"title": None, "labelLimit": 200})
    ends = {"x": field("low", "quantitative", unit), "x2": {"field": "high"}, "y": y}
    tips = charts.hover(y, x, field("low", "quantitative"), field("high", "quantitative"))
    spec = {
        "height": 22 * len(data),
        "layer": [
            {"mark": "bar", "encoding": {"x": x, "y": y, "tooltip": tips}},
            {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": ends | {"tooltip": tips}},
        ],
    }
    return Chart(spec, data, label, title)


def _counted(run: Run, found: Fields) -> list[Question]:
    """Energy, efficiency and what decides it, from counts in gates."""
    charts_, rows = [], []
    sides = [side for side in SIDES if side in found]
    for side in sides:
        of = found[side]
        parts = sorted(of["energy_pj"], key=lambda part: -of["energy_pj"][part])
        data = []
        for part in parts:
            range_ = of["energy_pj_range"][part]
            if range_["high"]:
                data.append({"part": part} | range_)
            area = of["area_um2"].get(part)
            rows.append([side, part, *(range_[case] for case in range_), area])
        charts_.append(_ranged(data, "part", "energy (pJ a step)", f"Energy by part, {side}", side))
    parts = found["analog"]["energy_pj"]
    first = max(parts, key=lambda part: parts[part])
    whole = sum(parts.values())
    head = ("design", "part", "low (pJ a step)", "typical", "high", "area (um2)")
    asked = [
        Question(
            "Which parts take the energy?",
            f"{first}: {100 * parts[first] / whole:.0f} % of {whole:,.0f} pJ a step with typical "
            f"figures at {found['node_nm']} nm.",
            charts_,
            [Table(head, rows, "Energy and area by part")],
            notes=[
                "Bars are typical figures; rules go from the lowest to the highest result.",
                *_stale(run, found),
            ],
        ),
        _efficiency(found, sides),
    ]
    last = "ratio" if "ratio" in found else "analog"
    for measure, unit in MEASURES.items():
        asked.append(_decides(found[last][measure], last, unit))
    return asked


def _efficiency(found: Fields, sides: list[str]) -> Question:
    names = [*sides, *(["ratio"] if "ratio" in found else [])]
    rows: list[list[Cell]] = [
        [name, unit, *(found[name][measure][case] for case in ("low", "typical", "high"))]
        for measure, unit in MEASURES.items()
        for name in names
    ]
    charts_ = []
    for measure, unit in MEASURES.items():
        data = [
            {"design": side}
            | {case: found[side][measure][case] for case in ("low", "typical", "high")}
            for side in sides
        ]
        charts_.append(_ranged(data, "design", unit, f"{unit} of each design", unit))
    own = found["analog"]["tops_per_watt"]
    said = f"{own['typical']:.3g} TOPS/W, {own['low']:.3g} to {own['high']:.3g}."
    if "ratio" in found:
        ratio = found["ratio"]["tops_per_watt"]
        said += (
            f" That is {ratio['typical']:.3g} times its digital twin's, {ratio['low']:.3g} to "
            f"{ratio['high']:.3g}."
        )
    worth = [
        [side, name, value] for side, of in found["worth"].items() for name, value in of.items()
    ]
    tables = [Table(("design", "measure", "low", "typical", "high"), rows)]
    if worth:
        tables.append(
            Table(("design", "measure", "value"), worth, "What each is worth on the test set")
        )
    return Question("How efficient is it?", said, charts_, tables)


def _decides(found: Fields, of: str, unit: str) -> Question:
    ends: Mapping[str, list[float]] = found["one_at_a_time"]
    data = [
        {"figure": name, "low": low, "high": high}
        for name, (low, high) in list(ends.items())[:FIGURES]
    ]
    x = field(
        "low", "quantitative", unit if of != "ratio" else f"ratio of {unit}", scale={"zero": False}
    )
    y = field("figure", "nominal", sort=None, axis={"title": None, "labelLimit": 200})
    tips = charts.hover(
        y, x | {"title": "with its low value"}, field("high", "quantitative", "with its high value")
    )
    layers = [
        {
            "mark": {"type": "bar", "height": {"band": 0.6}},
            "encoding": {"x": x, "x2": {"field": "high"}, "y": y, "tooltip": tips},
        },
        {
            "data": {"values": [{"typical": found["typical"]}]},
            "mark": {"type": "rule", "strokeDash": [4, 4]},
            "encoding": {"x": field("typical", "quantitative", x["title"])},
        },
    ]
    rows: list[list[Cell]] = [[name, *pair] for name, pair in ends.items()]
    first = data[0]["figure"] if data else "none"
    what = "the ratio to the digital twin" if of == "ratio" else "the design"
    return Question(
        f"Which figure decides {unit} of {what}?",
        f"{first}: alone it moves the result of {found['typical']:.3g} from "
        f"{data[0]['low']:.3g} to {data[0]['high']:.3g}."
        if data
        else "None.",
        [
            Chart(
                {"height": 22 * len(data), "layer": layers},
                data,
                f"{unit} with one figure at its ends",
            )
        ],
        [Table(("figure", "with its low value", "with its high value"), rows)],
    )


def _estimated(run: Run, found: Fields) -> list[Question]:
    """Estimates of `wordline ppa --model`."""
    rows: list[list[Cell]] = []
    data = []
    varied = [name for name, values in found["axes"].items() if len(values) > 1]
    for row in found["rows"]:
        at = ", ".join(f"{name} {row['given'][name]}" for name in varied) or "the design"
        of = {case: row[case]["accelerator"] for case in ("low", "typical", "silicon")}
        data.append({"point": at} | {case: side["tops_per_watt"] for case, side in of.items()})
        rows += [
            [
                at,
                case,
                side["energy"],
                side["area"],
                side["step_ns"],
                side["tops_per_watt"],
                side["tops_per_mm2"],
            ]
            for case, side in of.items()
        ]
    shown = [
        {**d, "high": max(d["low"], d["silicon"], d["typical"]), "low": min(d["low"], d["silicon"])}
        for d in data
    ]
    best = max(data, key=lambda point: point["typical"])
    head = (
        "point",
        "figures",
        "energy (pJ a step)",
        "area (um2)",
        "step (ns)",
        "TOPS/W",
        "TOPS/mm2",
    )
    notes = (
        [f"The chart has the first {POINTS} of {len(data)} points."] if len(data) > POINTS else []
    )
    return [
        Question(
            "What is estimated without synthesis?",
            f"{best['typical']:.3g} TOPS/W with typical figures at {found['node_nm']} nm"
            f"{', at ' + best['point'] if varied else ''}.",
            [_ranged(shown[:POINTS], "point", "TOPS/W", "Estimated TOPS/W by point")],
            [Table(head, rows, "Estimates of the accelerator")],
            notes=[
                "The rule is from the lowest to the highest of low, typical and silicon figures.",
                *notes,
                *_stale(run, found),
            ],
        )
    ]
