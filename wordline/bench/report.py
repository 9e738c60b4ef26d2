"""Table and figures of a benchmark's results."""

import re
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table


def table(results: dict[str, Any], *, box: Box = SQUARE) -> Table:
    """The claims: what came out beside what was asked for, as ratios to the anchor if there is one.

    A ratio of speeds, or of times.
    """
    shown = Table("what", "size", "result", "goal", "", box=box)
    for row in results["claims"]:
        ours, goal, unit = row["ours"], row["goal"], row["unit"]
        what, size, against = _parts(row["name"])
        more = ">=" if unit.endswith("/s") else "<="
        if row["anchor"]:
            result = f"{ours / row['anchor']:.2f} x {against}"
            wanted = f"{more} {goal / row['anchor']:.3g} x"
        else:
            result, wanted = f"{_short(ours)} {unit}", f"{more} {goal:g} {unit}"
        shown.add_row(what, size, result, wanted, "met" if row["met"] else "MISSED")
    for column in shown.columns[2:]:
        column.no_wrap = True
    return shown


def _parts(name: str) -> tuple[str, str, str]:
    """What was measured, its size, and the anchor, from a claim's name."""
    what, _, anchor = name.partition(" / ")
    what, _, size = re.sub(r" T\d+", "", what).rpartition(", ")
    return what.removesuffix(", one thread"), size, _said(anchor.removesuffix(" float32"))


def _said(anchor: str) -> str:
    """An anchor as words: "stock cocotb" for "cocotb, stock"."""
    return " ".join(reversed(anchor.split(", ")))


def figure(results: dict[str, Any], path: Path) -> None:
    """Ratios to anchors and goals, a figure a part: `path`, others with the part in their names.

    Panels of unequal numbers of bars are figures of their own, with the anchor's last word.
    """
    from wordline.studies import common, efficiency_report  # slow to import

    parts: dict[str, dict[str, dict[str, list[Any]]]] = {}
    for row in results["claims"]:
        if row["anchor"] and (found := re.fullmatch(r"((\w+).*), (.+) / (.+)", row["name"])):
            kind, part, size, anchor = found.groups()
            size = re.sub(r"I\d+ H(\d+) T\d+ B(\d+)", r"\1 units, batch \2", size)
            how = f"times as {'long' if row['unit'] == 'ms' else 'fast'} as {_said(anchor)}"
            parts.setdefault(part, {}).setdefault(how, {}).setdefault(kind, []).append((size, row))
    drawn: dict[tuple[str, int], dict[str, Any]] = {}
    for part, panels in parts.items():
        for how, kinds in panels.items():
            drawn.setdefault((part, sum(map(len, kinds.values()))), {})[how] = kinds
    subjects, seen = {"golden": "Exact integers are", "training": "Training takes"}, set[str]()
    for n, ((part, bars), panels) in enumerate(drawn.items()):
        name = f"{part}_{next(iter(panels)).split()[-1].lower()}" if part in seen else part
        seen.add(part)
        to = path.with_stem(f"{path.stem}_{name}") if n else path
        with common.drawing(to, 1, len(panels), (6.8, 1.4 + 0.23 * bars)) as axes:
            said = ", and ".join(map(_bars, axes[0], panels, panels.values()))
            efficiency_report.headline(axes, f"{subjects.get(part, 'The batch runner is')} {said}")


def _bars(axis: Any, words: str, kinds: dict[str, list[Any]]) -> str:
    """Ratios to one anchor, below the name of what was run; returns what they say."""
    labels, ratios = list[str](), list[float]()
    for kind, rows in kinds.items():
        goals = [row["goal"] / row["anchor"] for _, row in rows]
        top, told = len(labels), " / ".join(dict.fromkeys(f"{goal:.2g}" for goal in goals))
        axis.text(0, top, f"\u00a0{kind}; goal: {told}", weight="bold", va="center_baseline")
        for n, (goal, (_, row)) in enumerate(zip(goals, rows, strict=True), top + 1):
            axis.vlines(goal, n - 0.5, n + 0.5, color="black")
            ratios.append(row["ours"] / row["anchor"])
            bar = axis.barh(n, ratios[-1], color="#0072B2")
            (label,) = axis.bar_label(bar, fmt="%.2f", padding=3)
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # over goals
        labels += ["", *(size for size, _ in rows)]
    axis.set_yticks(range(len(labels)), labels)
    axis.set(xlabel=words, xlim=(0, 1.25 * axis.dataLim.x1), ylim=(len(labels) - 0.5, -0.5))
    return f"{min(ratios):.2g} to {max(ratios):.2g} {words}"


def _short(number: float) -> str:
    """Three digits or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
