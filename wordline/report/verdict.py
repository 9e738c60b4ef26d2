"""The verdict, and the first difference: where it is, what is around it, and what may cause it."""

from typing import Any

import numpy as np

from wordline.flow.place import Place
from wordline.report import charts, first
from wordline.report.page import Cell, Question, Section, Table
from wordline.report.run import Run

QUANTITIES = {
    "codes": "ADC codes of every gate and unit",
    "c": "state c of every unit",
    "h": "output h of every unit, as DAC codes",
    "scores": "scores of the head",
    "label": "class of a sequence or step",
    "output": "values that leave the chip",
}
"""Compared quantities, by the last part of their name."""


WARNINGS = 5
"""Most warnings of Verilator in the verdict."""


def words(name: str) -> str:
    """A quantity in words: layers.0.codes is "layers.0: ADC codes ..."."""
    where, _, kind = name.rpartition(".")
    return f"{where}: {QUANTITIES[kind]}" if where else QUANTITIES[kind]


def headline(run: Run) -> tuple[str, str]:
    """The verdict, GREEN or RED or "", and the result in one sentence."""
    summary = run.summary
    if summary is None:
        return "", "Nothing in this folder was compared with RTL yet."
    compared = summary["values_compared"]
    size = _size(summary)
    if summary.get("complaint"):
        return "RED", str(summary["complaint"])
    if run.passed:
        said = f"All {compared:,} values of the RTL equal golden, in {size}."
        return "GREEN", said if compared else f"Through AXI: {summary['axi']}"
    if summary["mismatches"]:
        return "RED", f"{summary['mismatches']:,} of {compared:,} values differ, in {size}."
    if summary.get("axi_passed") is False:
        return "RED", f"Through AXI: {summary['axi']}"
    return "RED", f"The run did not finish; {compared:,} values were compared."


def _size(summary: dict[str, Any]) -> str:
    sequences = f"{summary['sequences']:,} sequences"
    if of := summary.get("of_sequences"):
        return sequences if of == summary["sequences"] else f"{sequences} of {of:,}"
    votes = f", {summary['passes']:,} passes" if summary["passes"] != summary["sequences"] else ""
    return f"{sequences}{votes} and {summary['timesteps']:,} steps"


def lines(run: Run, place: Place | None) -> list[str]:
    """What belongs to the verdict: the first difference, edited files, what was not compared."""
    said = [f"First difference: {place}." if place else ""]
    summary = run.summary or {}
    said += [
        f"EDITED: {file} differs from what was emitted, and was simulated as it is."
        for file in summary.get("edited", ())
    ]
    said += [
        f"NOT COMPARED: {file} differs from the compared file."
        for file in summary.get("not_compared", ())
    ]
    said += [f"Warning: {warning}" for warning in summary.get("warnings", ())[:WARNINGS]]
    said += [f"Left out: {sentence}" for sentence in run.left_out]
    return [line for line in said if line]


def section(run: Run, place: Place | None) -> Section | None:
    """What was compared; at a mismatch, the first difference."""
    if run.summary is None:
        return None
    questions = _changes(run)
    if place is not None:
        questions = [*first.questions(run, place), *questions]
    if run.summary["compared"]:
        questions.append(_compared(run))
    return Section("verdict", "Verdict", questions) if questions else None


def _compared(run: Run) -> Question:
    summary = run.summary
    assert summary is not None
    rows: list[list[Cell]] = [
        [name, words(name), found["compared"], found["mismatches"]]
        for name, found in summary["compared"].items()
    ]
    rows.append(["all", "", summary["values_compared"], summary["mismatches"]])
    files = ", ".join(name.rpartition("/")[2] for name in summary["files"])
    table = Table(
        ("quantity", "what it is", "values compared", "values that differ"),
        rows,
        caption="Values by quantity",
        shown=True,
    )
    charts_ = []
    if summary["mismatches"]:
        data = [
            {"quantity": name, "share": 100 * found["mismatches"] / found["compared"]}
            for name, found in summary["compared"].items()
        ]
        charts_ = [
            charts.bars(
                data,
                "quantity",
                "share",
                "values that differ (%)",
                label="Share of values that differ, by quantity",
            )
        ]
    return Question(
        "What was compared, and how much?",
        f"Every value of golden and of the RTL, with {files}.",
        charts_,
        [table],
    )


def _changes(run: Run) -> list[Question]:
    """Changed lines that a check found."""
    assert run.summary is not None
    found = run.summary.get("changes")
    if not found:
        return []
    head = ("line", "module", "text", "emitted", "what is known")
    rows = [
        [str(c["line"]), c["module"] or "the top", c["text"], c["emitted"], _known(c)]
        for c in found
    ]
    said = f"{len(found)} changed line(s) of {run.summary['rtl']}."
    return [
        Question(
            "Which lines of the RTL were changed?", said, tables=[Table(head, rows, shown=True)]
        )
    ]


def _known(change: dict[str, Any]) -> str:
    if change["proved"]:
        return "proved equal"
    found = change["exercised"]
    return "" if found is None else f"not proved equal; the vectors exercise {found}"


def differing(golden: np.ndarray, rtl: np.ndarray) -> list[tuple[int, ...]]:
    """Places in which two arrays differ."""
    return [tuple(map(int, place)) for place in np.argwhere(golden != rtl)]
