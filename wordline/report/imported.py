"""An imported network: the chain as read, error by array, what was and was not compared."""

import math
from typing import Any

from wordline.report import charts
from wordline.report.page import Cell, Question, Section, Table
from wordline.report.run import Run


def section(run: Run) -> Section | None:
    """What an import did; None if the network was not imported."""
    found = run.imported
    if found is None:
        return None
    asked = [_chain(found), _errors(found)]
    if found["measures"]:
        asked.append(_measures(found))
    return Section("import", "Import", asked)


def compared(found: dict[str, Any]) -> str:
    """How the network compares with the model's file."""
    from golden.frontends.compare import Comparison

    said = str(Comparison(**found["compared"]))
    return f"{said[0].upper()}{said[1:]}."


def _chain(found: dict[str, Any]) -> Question:
    rows: list[list[Cell]] = [[str(n), part] for n, part in enumerate(found["chain"])]
    fields: list[list[Cell]] = [
        [name, value if isinstance(value, str | int | float) else str(value)]
        for name, value in found["compared"].items()
    ]
    return Question(
        "What was read, and how does it compare with the file?",
        compared(found),
        tables=[
            Table(("", "part"), rows, "The chain as it was read", shown=True),
            Table(("", "value"), fields, "The comparison with the file"),
        ],
        notes=[f"Note: {note}" for note in found["notes"]],
    )


def _errors(found: dict[str, Any]) -> Question:
    rows: list[list[Cell]] = []
    data: list[dict[str, Any]] = []
    for array in found["arrays"]:
        ratio = 20 * math.log10(max(array["signal"], 1e-12) / max(array["error"], 1e-12))
        clipped, weights = 100 * array["clipped"], 100 * array["weight_error"]
        rows.append(
            [array["name"], array["signal"], array["error"], ratio, clipped, weights, array["bias"]]
        )
        data.append({"array": array["name"], "ratio": ratio})
    worst = min(data, key=lambda row: row["ratio"])
    head = (
        "array",
        "signal (rms)",
        "error (rms)",
        "signal to error (dB)",
        "clipped (%)",
        "weight error (%)",
        "bias corrected",
    )
    return Question(
        "Where does conversion lose precision?",
        f"Most in {worst['array']}: its signal is {worst['ratio']:.1f} dB above its error.",
        [
            charts.bars(
                data,
                "array",
                "ratio",
                "signal to error (dB)",
                label="Signal to error of each array",
            )
        ],
        [Table(head, rows, "Errors of conversion by array")],
    )


def _measures(found: dict[str, Any]) -> Question:
    rows: list[list[Cell]] = [
        [stage, name, value]
        for stage, of in found["measures"].items()
        for name, value in of.items()
    ]
    names = list(dict.fromkeys(str(row[1]) for row in rows))
    charts_ = [
        charts.bars(
            [{"stage": row[0], name: row[2]} for row in rows if row[1] == name],
            "stage",
            name,
            {"accuracy": "accuracy (%)", "bits": "bits a label"}.get(name, name),
            label=f"{name} of each stage",
            title=name,
        )
        for name in names
    ]
    last = list(found["measures"])[-1]
    said = ", ".join(f"{name} {value:g}" for name, value in found["measures"][last].items())
    return Question(
        "What is each stage worth on held-out sequences?",
        f"{last}: {said}.",
        charts_,
        [Table(("stage", "measure", "value"), rows)],
    )
