"""Accuracy: intervals, confusion, and the worst sequences."""

import math
from typing import Any

import numpy as np

from wordline.report import charts
from wordline.report.charts import field
from wordline.report.page import Cell, Chart, Question, Section, Table
from wordline.report.run import Run

CLASSES = 40
"""Most classes of a confusion matrix that is drawn."""

WORST = 12
"""Sequences in the table of the worst."""

Z = 1.959964
"""Standard normal quantile of a 95 % interval."""

STAGES = {
    "float": "float network",
    "ideal": "ideal chip, one pass",
    "golden": "golden",
    "rtl": "RTL",
}


def wilson(right: int, of: int) -> tuple[float, float]:
    """95 % interval of a share, in percent (Wilson 1927)."""
    share, z2 = right / of, Z * Z
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def section(run: Run) -> Section | None:
    """Accuracy of a run; None without labels."""
    if run.summary is None or "labels" not in run.outputs:
        return None
    labels = run.outputs["labels"]
    if labels.dtype.kind == "f":
        return Section("accuracy", "Accuracy", [_errors(run)])
    asked = (_interval(run), _confusion(run), _worst(run))
    return Section("accuracy", "Accuracy", [question for question in asked if question])


def classes(run: Run, side: str) -> np.ndarray:
    """Classes of golden or the RTL: given, or those of the highest scores."""
    found = run.outputs[side]
    return found if found.ndim == 1 else found.argmax(-1)


def _interval(run: Run) -> Question:
    summary, labels = run.summary, run.outputs["labels"]
    assert summary is not None
    of = len(labels)
    whole = "vectors.npz" in summary["files"]
    rows: list[list[Cell]] = []
    data: list[dict[str, Any]] = []
    for stage, name in STAGES.items():
        value = summary.get(f"{stage}_accuracy")
        # Float and ideal are measured on the whole test set, which may be more than this run.
        if value is None or (stage in ("float", "ideal") and not whole):
            continue
        right = round(value * of / 100)
        low, high = wilson(right, of)
        rows.append([name, value, low, high, right, of])
        data.append({"stage": name, "accuracy": value, "low": low, "high": high})
    own = next(row for row in rows if row[0] == "RTL")
    per = "sequences" if run.summary and of == run.summary["sequences"] else "labels"
    said = (
        f"The RTL is right in {own[4]:,} of {of:,} {per}: {own[1]:.2f} %, 95 % interval "
        f"{own[2]:.1f} to {own[3]:.1f} %."
    )
    head = ("of", "accuracy (%)", "low (%)", "high (%)", "right", f"of {per}")
    notes = ["Wilson score interval; labels are taken as independent."]
    if not whole:
        notes.append("Float and ideal are left out: they are known for the whole test set only.")
    return Question(
        "How accurate is it, and how sure is that?",
        said,
        [intervals(data, "stage")],
        [Table(head, rows)],
        notes=notes,
    )


def intervals(data: list[dict[str, Any]], name: str) -> Chart:
    """Accuracies (%) with the ends of their intervals, one a row. name: Field of the rows."""
    unit = "accuracy (%), with 95 % interval"
    x = field("accuracy", "quantitative", unit, scale={"zero": False})
    y = field(name, "nominal", sort=None, axis={"title": None})
    ends = {
        "x": field("low", "quantitative", unit, scale={"zero": False}),
        "x2": {"field": "high"},
        "y": y,
    }
    tips = charts.hover(y, x, field("low", "quantitative"), field("high", "quantitative"))
    rule = {"type": "rule", "strokeWidth": 3, "opacity": 0.5}
    point = {"type": "point", "size": 90, "opacity": 1}
    spec = {
        "height": 28 * len(data),
        "layer": [
            {"mark": rule, "encoding": ends},
            {"mark": point, "encoding": {"x": x, "y": y, "tooltip": tips}},
        ],
    }
    return Chart(spec, data, f"Accuracy of each {name} with its 95 % interval")


def _confusion(run: Run) -> Question | None:
    labels, found = run.outputs["labels"], classes(run, "rtl")
    count = int(max(labels.max(), found.max())) + 1
    if run.description is not None:
        count = max(count, run.description.network.classes)
    table = np.zeros((count, count), np.int64)
    np.add.at(table, (labels, found), 1)
    wrong = [(int(table[i, j]), i, j) for i, j in np.argwhere(table).tolist() if i != j]
    wrong.sort(key=lambda one: (-one[0], one[1:]))
    if wrong:
        most = wrong[0]
        said = (
            f"Most often {most[1]} as {most[2]}: {most[0]} times; "
            f"{sum(w[0] for w in wrong):,} are wrong in all."
        )
    else:
        said = "None: every label is right."
    charts_, tables = [], []
    if count <= CLASSES:
        data = [
            {
                "truth": i,
                "found": j,
                "times": int(table[i, j]),
                "is": "right" if i == j else "wrong",
            }
            for i, j in np.ndindex(table.shape)
        ]
        x = field("found", "ordinal", "class of the RTL", axis={"labelAngle": 0})
        y = field("truth", "ordinal", "true class")
        times = field("times", "quantitative", "times")
        chart = charts.heat(
            data, x, y, times, label="Times that each true class was taken as each class", step=22
        )
        shown = chart.spec["encoding"]
        shown["fill"] = field(
            "is", "nominal", "", scale=charts.scale(("right", "wrong"), "third", "bad")
        )
        shown["tooltip"] = charts.hover(y, x, times)
        charts_ = [chart]
        rows: list[list[Cell]] = [[str(i), *map(int, table[i])] for i in range(count)]
        tables = [Table(("true class", *map(str, range(count))), rows, "Confusion matrix")]
    tables.append(
        Table(
            ("true class", "class of the RTL", "times"),
            [[str(i), str(j), n] for n, i, j in wrong[:50]],
            "Mistakes, most frequent first",
        )
    )
    return Question("Which classes are confused?", said, charts_, tables)


def margins(run: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """By sequence: the class of the RTL, and the margin of the true class in steps of a score.

    The margin is the golden score of the true class minus the highest of the others, summed over
    passes; None without scores of sequences.
    """
    scores, labels = run.vectors.get("scores"), run.outputs["labels"]
    if scores is None or scores.ndim != 2 or len(labels) * run.votes != len(scores):
        return None
    if scores.shape[1] < 2:
        return None
    summed = np.asarray(scores, np.int64).reshape(len(labels), run.votes, -1).sum(1)
    right = np.take_along_axis(summed, labels[:, None], 1)[:, 0]
    others = summed.copy()
    np.put_along_axis(others, labels[:, None], np.iinfo(np.int64).min, 1)
    return classes(run, "rtl"), right - others.max(1)


def worst(run: Run) -> list[int]:
    """Sequences, the worst first: wrong before right, then by margin. Empty without margins."""
    if "labels" not in run.outputs or run.outputs["labels"].dtype.kind == "f" or not run.vectors:
        return []
    found = margins(run)
    if found is None:
        return []
    label, margin = found
    order = np.lexsort((margin, label == run.outputs["labels"]))
    return [int(n) for n in order]


def _worst(run: Run) -> Question | None:
    order = worst(run)
    if not order:
        return None
    found = margins(run)
    assert found is not None
    label, margin = found
    labels, lengths = run.outputs["labels"], run.vectors["lengths"]
    rows: list[list[Cell]] = [
        [str(n), int(labels[n]), int(label[n]), int(margin[n]), int(lengths[n])]
        for n in order[:WORST]
    ]
    data = [
        {"margin": int(m), "is": "right" if a == b else "wrong"}
        for m, a, b in zip(margin, label, labels, strict=True)
    ]
    x = field("margin", "quantitative", "margin (steps of a score)", bin={"maxbins": 30})
    y = {"aggregate": "count", "type": "quantitative", "title": "sequences"}
    colour = field("is", "nominal", "", scale=charts.scale(("right", "wrong"), "third", "bad"))
    spec = {
        "mark": "bar",
        "height": 180,
        "encoding": {
            "x": x,
            "y": y,
            "color": colour,
            "tooltip": charts.hover(colour | {"title": "is"}, y),
        },
    }
    head = ("sequence", "true class", "class of the RTL", "margin (steps of a score)", "steps")
    passes = " The scores of all passes are added." if run.votes > 1 else ""
    close = sum(1 for m in margin.tolist() if abs(m) <= 1)
    return Question(
        "Which sequences are the worst?",
        f"Sequence {rows[0][0]}: true class {rows[0][1]}, taken as {rows[0][2]}. {close:,} "
        f"sequences are within one step of a score of the other side.",
        [Chart(spec, data, "Margin of the true class over all sequences")],
        [Table(head, rows, "The worst sequences")],
        notes=[f"Margin: golden score of the true class minus the highest other one.{passes}"],
    )


def _errors(run: Run) -> Question:
    """Error of a regressor."""
    outputs, summary = run.outputs, run.summary
    assert summary is not None
    step, mean = (
        outputs.get(name, default) for name, default in (("score_step", 1.0), ("score_mean", 0.0))
    )
    labels = outputs["labels"].astype(float)
    off = (outputs["rtl"] * step + mean).reshape(labels.shape) - labels
    rms = np.sqrt((off**2).reshape(len(off), -1).mean(0))
    rows: list[list[Cell]] = [
        [name, summary.get(f"{stage}_rmse")]
        for stage, name in STAGES.items()
        if summary.get(f"{stage}_rmse") is not None
    ]
    data = [{"stage": row[0], "rmse": row[1]} for row in rows]
    by_output: list[list[Cell]] = [[str(n), float(value)] for n, value in enumerate(rms)]
    return Question(
        "How far off is it?",
        f"The RTL has an RMSE of {summary['rtl_rmse']:.4f} over {labels.size:,} values, in the "
        f"unit of the labels.",
        [
            charts.bars(
                data, "stage", "rmse", "RMSE (unit of the labels)", label="RMSE of each stage"
            )
        ],
        [
            Table(("of", "RMSE"), rows),
            Table(("output", "RMSE of the RTL"), by_output[:50], "By output"),
        ],
    )
