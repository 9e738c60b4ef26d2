"""What all studies share: figures of several seeds, claims, tables, and the look of figures."""

import contextlib
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table

from golden import files

Fields = dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """A data set, the units of a layer, and how networks are trained: `float_epochs` in float, then
    `epochs` quantised."""

    dataset: str
    hidden: int
    float_epochs: int
    epochs: int
    batch: int
    learning_rate: float

    @property
    def network(self) -> Fields:
        """Arguments of a run (`wordline.studies.runs`) that say which network."""
        return {"dataset": self.dataset, "cell": "lstm", "hidden": self.hidden}

    def fit(self, epochs: int, learning_rate: float | None = None) -> Fields:
        """Settings of a training of so many epochs; None: at `learning_rate`."""
        rate = self.learning_rate if learning_rate is None else learning_rate
        return {"batch": self.batch, "learning_rate": rate, "epochs": epochs}


def over_seeds(values: Sequence[float]) -> Fields:
    """Mean and spread (the sample's standard deviation) of one value a seed, and the values."""
    values = [round(value, 4) for value in values]
    return {
        "mean": statistics.mean(values),
        "spread": statistics.stdev(values) if len(values) > 1 else 0.0,
        "seeds": values,
    }


def difference(one: Fields, other: Fields) -> Fields:
    """By how much one of `over_seeds` is above another, seed by seed."""
    return over_seeds([a - b for a, b in zip(one["seeds"], other["seeds"], strict=True)])


def shown(value: Fields, decimals: int = 2) -> str:
    """`over_seeds` as words."""
    return f"{value['mean']:.{decimals}f} ± {value['spread']:.{decimals}f}"


def claim(
    name: str,
    ours: float,
    unit: str,
    *,
    goal: float | None,
    anchor: float | None = None,
    spread: float | None = None,
    least: bool = True,
) -> Fields:
    """A claim in the shape that every study has; ours, goal and anchor are in `unit`.

    anchor: what the paper, or another, has. goal: None where nothing is asked for. least: ours is
    to be at least the goal; else at most.
    """
    ours = round(ours, 4)
    met = None if goal is None else ours >= goal if least else ours <= goal
    more: Fields = {} if spread is None else {"spread": round(spread, 4)}
    row = {"name": name, "goal": goal, "ours": ours, "anchor": anchor, "unit": unit, "met": met}
    return row | more | {"at_least": least}


def rtl_claims(points: Sequence[Fields]) -> list[Fields]:
    """What is claimed of points that the Verilog computed too: nothing, where there are none."""
    if not points:
        return []
    off = sum(round(point["rtl"], 4) != point["golden"] for point in points)
    differ = sum(point["mismatches"] for point in points)
    compared = sum(point["values_compared"] for point in points)
    return [
        claim("RTL points off the golden curve", off, "points", goal=0, least=False),
        claim("RTL values that differ", differ, "values", goal=0, least=False),
        claim("RTL values compared", compared, "values", goal=1),
    ]


def claims_table(results: Fields, *, box: Box = SQUARE) -> Table:
    """Every claim of a study beside what the paper has, with the difference."""
    table = Table("", "ours", "paper", "difference", "goal", "", box=box)
    for row in results["claims"]:
        ours = f"{row['ours']:,} {row['unit']}"
        if "spread" in row:
            decimals = 3 if row["unit"].startswith("bits") else 2
            ours = shown({"mean": row["ours"], "spread": row["spread"]}, decimals)
            ours += f" {row['unit']}"
        paper = difference = ""
        if row["anchor"] is not None:
            paper = f"{row['anchor']:g} {row['unit']}"
            difference = f"{row['ours'] - row['anchor']:+.2f}"
        goal = verdict = ""
        if row["goal"] is not None:
            goal = f"{'>=' if row['at_least'] else '<='} {row['goal']:g}"
            verdict = "met" if row["met"] else "MISSED"
        table.add_row(row["name"], ours, paper, difference, goal, verdict)
    return table


def decibels(snr_db: float | str | None) -> str:
    """A signal-to-noise ratio as a word; `longer` is none, but as long a training."""
    if isinstance(snr_db, str):
        return "none, as long"
    return "none" if snr_db is None else f"{snr_db:g} dB"


@contextlib.contextmanager
def drawing(path: Path, rows: int, columns: int, size: tuple[float, float]) -> Iterator[Any]:
    """A figure's axes, (rows, columns) of them; written to `path`, as SVG of the same bytes each
    time."""
    import matplotlib  # slow to import

    matplotlib.use("svg")
    from matplotlib import pyplot

    style = {"svg.hashsalt": "wordline", "svg.fonttype": "none", "font.size": 9}
    with pyplot.rc_context(style):
        chart, axes = pyplot.subplots(
            rows, columns, figsize=size, layout="constrained", squeeze=False
        )
        try:
            yield axes
            with files.atomic(path) as beside:
                chart.savefig(beside, format="svg", metadata={"Date": None})
        finally:
            pyplot.close(chart)


BLUE, VERMILION, GREEN, BLACK, GREY = "#0072B2", "#D55E00", "#009E73", "#000000", "#595959"
"""Colours of Okabe and Ito, and one for what is not data."""
PURPLE = "#A0478B"
"""A further one; theirs is too light for words."""


def headline(axes: Any, words: str) -> None:
    """The message of a figure as its title; and the look that its axes share."""
    axes[0, 0].figure.suptitle(words, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    for axis in axes.flatten():
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=9.5)
        axis.grid(color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)


def note(axis: Any, words: str, at: tuple[float, float], **style: Any) -> None:
    """Words beside a line or a point, in place of a legend: dx, dy of `style` are in points."""
    shift = style.pop("dx", 0.0), style.pop("dy", 0.0)
    look = {"fontsize": 9.5, "va": "center"} | style
    axis.annotate(words, at, xytext=shift, textcoords="offset points", **look)


def verilog(axis: Any, x: list[float], values: list[float]) -> None:
    """Points that the Verilog computed."""
    look = {"markersize": 7, "markeredgewidth": 1.6, "zorder": 5}
    axis.plot(x, values, "x", color=BLACK, **look)


def line(axis: Any, x: Sequence[float], values: Sequence[Fields], **style: Any) -> None:
    """A line through the means over seeds, in a band of their spread."""
    mean = [value["mean"] for value in values]
    (drawn,) = axis.plot(x, mean, **style)
    low, high = ([v["mean"] + sign * v["spread"] for v in values] for sign in (-1, 1))
    axis.fill_between(x, low, high, color=drawn.get_color(), alpha=0.15, linewidth=0)


def snr_axis(axis: Any, ratios: Sequence[float | None]) -> list[float]:
    """Label an axis of signal-to-noise ratios, from no noise on the left down; their places."""
    places = [float(n) for n in range(len(ratios))]
    axis.set_xticks(places, ["none" if r is None else f"{r:g}" for r in ratios])
    return places
