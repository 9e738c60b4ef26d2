"""Two runs side by side: before and after an edit, 4 bits against 5."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from hw import timing
from wordline.report import accuracy, charts, codes, design, timeline, verdict
from wordline.report.charts import field
from wordline.report.page import Cell, Chart, Page, Question, Section, Table, text
from wordline.report.run import Run

Fields = dict[str, Any]
Pair = tuple[Run, Run]

NAMES = ("A", "B")

SKIPPED = (
    *("format", "files", "effects", "compared", "first", "training", "versions", "command"),
    "seconds",
)
"""Fields of a record that are compared in another way, or not."""


def page(pair: Pair) -> Page:
    """The comparison of two runs."""
    said = [verdict.headline(run) for run in pair]
    headline = " ".join(
        f"{name}: {(word + ', ') if word else ''}{sentence}"
        for name, (word, sentence) in zip(NAMES, said, strict=True)
    )
    words = [word for word, _ in said]
    whole = "RED" if "RED" in words else "GREEN" if words == ["GREEN", "GREEN"] else ""
    lines = [f"{name} is {run.folder} ({run.name})." for name, run in zip(NAMES, pair, strict=True)]
    for name, run in zip(NAMES, pair, strict=True):
        lines += [f"{name}: {line}" for line in verdict.lines(run, design.place(run))]
    sections = [section(pair) for section in SECTIONS]
    title = f"{pair[0].name} and {pair[1].name}" if pair[0].name != pair[1].name else pair[0].name
    kept = [found for found in sections if found is not None]
    return Page(f"{title}: comparison of two runs", whole, headline, lines, kept)


def differing(first: Fields, second: Fields, start: str = "") -> list[tuple[str, Any, Any]]:
    """Fields in which two records differ, and both values; a field of one alone has None."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*first, *second]):
        one, two = first.get(key), second.get(key)
        if isinstance(one, dict) and isinstance(two, dict):
            found += differing(one, two, f"{start}{key}.")
        elif one != two:
            found.append((f"{start}{key}", one, two))
    return found


HASH = re.compile("[0-9a-f]{64}")


def _cell(value: Any) -> Cell:
    """A value of a record; the beginning of a hash."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or None
    if isinstance(value, str) and HASH.fullmatch(value):
        return f"{value[:12]}..."
    return value if isinstance(value, str | int | float | None) else str(value)


def _rows(found: list[tuple[str, Any, Any]]) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for name, one, two in found:
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, two))
        rows.append([name, _cell(one), _cell(two), two - one if numbers else None])
    return rows


def _changes(pair: Pair) -> Section:
    given = [_given(run) for run in pair]
    settings = differing(given[0], given[1])
    heads = ("field", *NAMES, "B - A")
    asked = [
        Question(
            "What is different in what was run?",
            "; ".join(f"{name} {_said(one)} -> {_said(two)}" for name, one, two in settings[:6])
            + "."
            if settings
            else "Nothing: description, settings, files and versions are the same.",
            tables=[
                Table(
                    heads, _rows(settings), "Description, settings, files and versions", shown=True
                )
            ]
            if settings
            else [],
        )
    ]
    results = [{k: v for k, v in (run.summary or {}).items() if k not in SKIPPED} for run in pair]
    for result, run in zip(results, pair, strict=True):
        result["mismatches by quantity"] = {
            name: found["mismatches"]
            for name, found in (run.summary or {}).get("compared", {}).items()
        }
    if all(run.summary for run in pair):
        found = differing(results[0], results[1])
        asked.append(
            Question(
                "What is different in the results?",
                f"{len(found)} of the recorded results differ.",
                tables=[Table(heads, _rows(found), "Results that differ", shown=True)],
            )
        )
    return Section("changes", "What changed", asked)


def _said(value: Any) -> str:
    shown = _cell(value)
    return shown if isinstance(shown, str) else text(shown)


def _given(run: Run) -> Fields:
    """What a result depends on."""
    summary = run.summary or {}
    own: Fields = {}
    if run.description is not None:
        own["description"] = run.description.to_dict()
    own["files"] = {
        name.rpartition("/")[2]: digest for name, digest in summary.get("files", {}).items()
    }
    own |= {key: summary[key] for key in ("training", "versions") if summary.get(key)}
    own["effects"] = summary.get("effects", {}).get("given", {})
    return own


def _accuracy(pair: Pair) -> Section | None:
    if not all(run.summary and "labels" in run.outputs for run in pair):
        return None
    if any(run.outputs["labels"].dtype.kind == "f" for run in pair):
        return None
    data: list[Fields] = []
    rows: list[list[Cell]] = []
    right = []
    for name, run in zip(NAMES, pair, strict=True):
        labels = run.outputs["labels"]
        hit = accuracy.classes(run, "rtl") == labels
        low, high = accuracy.wilson(int(hit.sum()), len(labels))
        share = 100 * float(hit.mean())
        right.append(hit)
        data.append({"run": name, "accuracy": share, "low": low, "high": high})
        rows.append([name, share, low, high, int(hit.sum()), len(labels)])
    said = f"A {rows[0][1]:.2f} %, B {rows[1][1]:.2f} %; each interval is of 95 %."
    notes = ["Wilson score interval; labels are taken as independent."]
    one, two = (run.outputs["labels"] for run in pair)
    tables = [Table(("run", "accuracy (%)", "low (%)", "high (%)", "right", "of labels"), rows)]
    if np.array_equal(one, two):
        gained, lost = (np.flatnonzero(hit & ~other) for hit, other in (right[::-1], right))
        said += f" On the same labels, B alone is right {len(gained)} times, A alone {len(lost)}."
        by: list[list[Cell]] = [["B alone is right", str(n)] for n in gained[:50]]
        by += [["A alone is right", str(n)] for n in lost[:50]]
        tables.append(Table(("", "label number"), by, "Labels on which they differ"))
    chart = accuracy.intervals(data, "run")
    return Section(
        "accuracy",
        "Accuracy",
        [Question("Which is more accurate?", said, [chart], tables, notes=notes)],
    )


def _codes(pair: Pair) -> Section | None:
    if not all(run.vectors and run.description for run in pair):
        return None
    asked = []
    layers = min(len(run.description.layers) for run in pair if run.description)
    for number in range(layers):
        layer = f"layers.{number}"
        data: list[Fields] = []
        rows: list[list[Cell]] = []
        for name, run in zip(NAMES, pair, strict=True):
            assert run.description is not None
            shape = run.description.layers[number]
            found, _ = codes.counted(run, layer)
            share = 100 * codes.clipped(found, shape).mean(1)
            gains = run.loaded[layer].gain.mean(0) / 16 if layer in run.loaded else None
            for g, gate in enumerate(run.description.cell.gates):
                data.append({"run": name, "gate": gate, "clipped": float(share[g])})
                rows.append(
                    [
                        name,
                        gate,
                        f"{shape.code_range.low} to {shape.code_range.high}",
                        float(share[g]),
                        None if gains is None else float(gains[g]),
                    ]
                )
        x = field("gate", "nominal", "gate", sort=None, axis={"labelAngle": 0})
        y = field("clipped", "quantitative", "codes at an end of the range (%)")
        run_ = field("run", "nominal", "", scale=charts.scale(NAMES))
        encoding = {
            "x": x,
            "xOffset": {"field": "run"},
            "y": y,
            "color": run_,
            "tooltip": charts.hover(x, run_ | {"title": "run"}, y),
        }
        chart = Chart(
            {"mark": "bar", "height": 180, "encoding": encoding},
            data,
            f"Codes of {layer} at an end of the range, by gate and run",
        )
        means = [float(np.mean([d["clipped"] for d in data if d["run"] == name])) for name in NAMES]
        asked.append(
            Question(
                f"Which clips more in {layer}?",
                f"Codes at an end of the range: A {means[0]:.2f} %, B {means[1]:.2f} %.",
                [chart],
                [Table(("run", "gate", "range", "at an end (%)", "mean gain"), rows)],
            )
        )
    return Section("codes", "ADC codes", asked)


def _step(pair: Pair) -> Section | None:
    said, charts_ = [], []
    rows: list[list[Cell]] = []
    designs = [run.description for run in pair if run.description is not None]
    if len(designs) < len(pair):
        return None
    end = max(timing.step_cycles(description, 0) for description in designs)
    for name, description in zip(NAMES, designs, strict=True):
        cycles = timing.step_cycles(description, 0)
        bound = timing.step_bound(description, 0)
        said.append(f"{name} takes {cycles} cycles a step of layers.0 ({bound})")
        data = timeline.spans(description, 0)
        charts_.append(timeline.chart(data, "layers.0", name, end))
        rows += [[name, d["what"], d["part"], d["begin"], d["end"]] for d in data]
    head = ("run", "what", "which", "from cycle", "to cycle")
    asked = Question("Which step is longer, and why?", "; ".join(said) + ".", charts_)
    asked = dataclasses.replace(asked, tables=[Table(head, rows)], wide=True)
    return Section("step", "One step in time", [asked])


def _cost(pair: Pair) -> Section | None:
    asked = []
    if all(run.ppa for run in pair):
        parts: dict[str, list[float]] = {}
        for n, run in enumerate(pair):
            for part, pj in (run.ppa or {})["analog"]["energy_pj"].items():
                parts.setdefault(part, [0.0, 0.0])[n] = pj
        asked.append(_by_part(parts, "energy (pJ a step)", "Which takes more energy?"))
    shared = [t for t in pair[0].synthesised if t in pair[1].synthesised]
    for target in shared:
        blocks: dict[str, list[float]] = {}
        for n, run in enumerate(pair):
            for block in run.synthesised[target]["blocks"]:
                if "area" in block:
                    blocks.setdefault(block["name"], [0.0, 0.0])[n] = block["area"]
        if blocks:
            asked.append(_by_part(blocks, "area of cells (um2)", f"Which is larger on {target}?"))
    return Section("cost", "Cost", asked) if asked else None


def _by_part(parts: dict[str, list[float]], unit: str, question: str) -> Question:
    data = [
        {"part": part, "run": name, "value": value}
        for part, values in parts.items()
        for name, value in zip(NAMES, values, strict=True)
    ]
    sums = [sum(values[n] for values in parts.values()) for n in range(2)]
    rows: list[list[Cell]] = [
        [part, *values, values[1] - values[0]] for part, values in parts.items()
    ]
    rows.append(["all", *sums, sums[1] - sums[0]])
    x = field("value", "quantitative", unit)
    y = field("part", "nominal", sort=None, axis={"title": None, "labelLimit": 200})
    run_ = field("run", "nominal", "", scale=charts.scale(NAMES))
    encoding = {
        "x": x,
        "y": y,
        "yOffset": {"field": "run"},
        "color": run_,
        "tooltip": charts.hover(y, run_ | {"title": "run"}, x),
    }
    chart = Chart(
        {"mark": "bar", "height": 30 * len(parts), "encoding": encoding},
        data,
        f"{unit} by part and run",
    )
    return Question(
        question,
        f"A {sums[0]:,.4g}, B {sums[1]:,.4g}: {unit}.",
        [chart],
        [Table(("part", *NAMES, "B - A"), rows)],
    )


SECTIONS: tuple[Callable[[Pair], Section | None], ...] = (_changes, _accuracy, _codes, _step, _cost)
