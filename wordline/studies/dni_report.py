"""Tables and figures of the study of Deep Noise Injection (`wordline.studies.dni`)."""

import math
from pathlib import Path
from typing import Any

from rich.box import SQUARE, Box
from rich.table import Table

from wordline.studies.common import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    VERMILION,
    decibels,
    drawing,
    headline,
    line,
    note,
    shown,
    snr_axis,
    verilog,
)

Fields = dict[str, Any]

LONGER = "longer"
"""Training of a plain network that goes on for as long as the others."""

PAPER = {"plain": 15.5, "injected, voted": 89.6}
"""Percent on strokes of MNIST at 0 dB (arXiv 1811.10649, abstract)."""


def find(rows: list[Fields], **place: Any) -> Fields | None:
    """The row at a place, if there is one."""
    return next((r for r in rows if all(r[k] == v for k, v in place.items())), None)


def at(row: Fields, snr_db: float | None, power: str = "layer") -> Fields:
    """The test of a row at a ratio, of a layer's power or of each unit's."""
    place = (snr_db, power)
    return next(test for test in row["tests"] if (test["tested_db"], test["power"]) == place)


def curve(row: Fields) -> list[Fields]:
    """The tests of a row over all ratios, of a layer's power."""
    return [test for test in row["tests"] if test["power"] == "layer"]


def tables(results: Fields, *, box: Box = SQUARE) -> list[Table]:
    """A table a data set: percent of the test set, a row a training, a column a test; a state with
    noise in each step, by moves a step; and the hardware's own noise."""
    found = []
    tested, voted = results["settings"]["tested"], results["settings"]["voted"]
    for dataset in dict.fromkeys(row["dataset"] for row in results["rows"]):
        heads = [f"tested: {decibels(snr)}" for snr in tested]
        votes = ["voted, majority", "voted, sum", f"voted, sum, {decibels(voted)} of each unit"]
        table = Table("cell", "bits", "noise on", "trained", *heads, *votes, box=box, title=dataset)
        for row in results["rows"]:
            if row["dataset"] != dataset:
                continue
            values = [shown(test["one"]) for test in curve(row)]
            place = (row["cell"], row["bits"], row["placement"], decibels(row["trained_db"]))
            table.add_row(*place, *values, *_voted(row, voted))
        found.append(table)
    if results["memory"]:
        found.append(_memory_table(results, box))
    if results["chip"]:
        found.append(_chip_table(results, box))
    return found


def _voted(row: Fields, ratio: float) -> list[str]:
    """Votes by majority and by sum; by sum with noise of each unit's own power."""
    test = at(row, ratio)
    ends = ["", "", ""]
    if "votes" in test:
        ends[:2] = [f"{shown(test[by])} (K = {test['votes']})" for by in ("majority", "sum")]
    if any(test["power"] == "unit" for test in row["tests"]):
        own = at(row, ratio, "unit")
        ends[2] = f"{shown(own['sum'])} (K = {own['votes']})"
    return ends


def _memory_table(results: Fields, box: Box) -> Table:
    ratio = results["settings"]["voted"]
    heads = ("moves a step", "cell", "units", "bits", "passes of the loss", "trained", "no noise")
    ends = ("voted, majority", "voted, sum", f"voted, sum, {decibels(ratio)} of each unit")
    title = f"strokes, noise on every vector at {decibels(ratio)}"
    table = Table(*heads, f"{decibels(ratio)}, one pass", *ends, box=box, title=title)
    for row in results["memory"]:
        place = (str(moves(row["dataset"])), row["cell"], str(row["units"]), row["bits"])
        passes = "" if row["trained_db"] is None else str(row["passes"])
        values = (shown(at(row, snr)["one"]) for snr in (None, ratio))
        trained = decibels(row["trained_db"])
        table.add_row(*place, passes, trained, *values, *_voted(row, ratio))
    return table


def _chip_table(results: Fields, box: Box) -> Table:
    seed = results["settings"]["seeds"][0]
    heads = ("data", "cell", "noise", "ratio", "golden", f"golden, seed {seed}", "Verilog")
    ratio = decibels(results["settings"]["voted"])
    title = f"4/4/4 bits, trained at {ratio}, the macro's own noise"
    table = Table(*heads, "values compared", "differ", box=box, title=title)
    for row in results["chip"]:
        golden, of = row["golden"], row.get("verilog")
        ends = ["", "", ""]
        if of:
            ends = [f"{of['rtl']:.2f}", f"{of['values_compared']:,}", str(of["mismatches"])]
        place = (row["dataset"], row["cell"], row["placement"], decibels(row["tested_db"]))
        table.add_row(*place, shown(golden), f"{golden['seeds'][0]:.2f}", *ends)
    return table


def moves(dataset: str) -> int:
    """Pen moves a step of a data set of strokes; 1 for other data."""
    return int(dataset.partition("strokes-")[2] or 1)


def figures(results: Fields, folder: Path) -> None:
    """figure.svg: training with noise against plain training. figure_strength.svg: noise of several
    strengths in training. figure_every.svg: noise on every vector. figure_memory.svg: the same
    with fewer steps a digit."""
    _injected(results, folder / "figure.svg")
    _strengths(results, folder / "figure_strength.svg")
    _every(results, folder / "figure_every.svg")
    if results["memory"]:
        _memory(results, folder / "figure_memory.svg")


def _place(rows: list[Fields], dataset: str, ratio: float, placement: str) -> Fields:
    """Where noise is drawn: on that data set, if networks were trained there."""
    found = [row for row in rows if row["trained_db"] == ratio and row["bits"] == "float"]
    row = next((row for row in found if row["dataset"] == dataset), found[0])
    place = {key: row[key] for key in ("dataset", "cell", "bits")}
    return place | {"placement": placement}


def _curve(axis: Any, row: Fields, **style: Any) -> list[float]:
    """`line` of one pass against the noise of the test; the places on the axis."""
    x = snr_axis(axis, [test["tested_db"] for test in curve(row)])
    line(axis, x, [test["one"] for test in curve(row)], **style)
    where = {"product": "at the product"}.get(row["placement"], f"on {row['placement']}")
    axis.set_xlabel(f"signal-to-noise ratio of the test (dB), noise {where}")
    return x


def _injected(results: Fields, path: Path) -> None:
    """Training with noise and plain training; at one ratio the votes, and the paper's numbers."""
    rows, ratio = results["rows"], results["settings"]["voted"]
    place = _place(rows, "strokes", ratio, "product")
    plain, noisy, longer = (find(rows, trained_db=t, **place) for t in (None, ratio, LONGER))
    coded = find(rows, trained_db=ratio, **place | {"bits": "4/4/4"})
    assert plain and noisy and longer
    with drawing(path, 1, 1, (7.2, 4.2)) as axes:
        axis = axes[0, 0]
        _curve(axis, longer, color=GREY, linestyle=":", linewidth=1.2)
        _curve(axis, plain, color=VERMILION, linestyle="--", marker="s", markersize=5)
        x = _curve(axis, noisy, color=BLUE, marker="o", markersize=5)
        there = x[[test["tested_db"] for test in curve(noisy)].index(ratio)]
        first, last = at(plain, ratio), at(noisy, ratio)
        low, one, sums = (v["mean"] for v in (first["one"], last["one"], last["sum"]))
        last_plain = curve(longer)[-1]["one"]["mean"]
        words = "plain,\nas long"
        note(axis, words, (x[-1], last_plain), dx=8, dy=-8, color=GREY)
        bold = {"fontweight": "bold", "dx": 9}
        look = bold | {"dx": -20, "dy": -4, "ha": "right"}
        note(axis, f"plain training: {low:.1f} %", (there, low), color=VERMILION, **look)
        words = f"trained at {decibels(ratio)}: {one:.1f} %"
        note(axis, words, (there, one), color=BLUE, **bold)
        axis.plot(there, sums, "D", color=BLUE, markerfacecolor="white", markersize=7, zorder=5)
        words = f"{last['votes']} votes: {sums:.1f} %"
        if coded:
            words += f" (4/4/4: {at(coded, ratio)['sum']['mean']:.1f} %)"
        note(axis, words, (there, sums), color=BLUE, **bold | {"dy": 11})
        if place["dataset"] == "strokes":
            _paper(axis, there)
        _hardware(axis, results["chip"], place, x)
        axis.set_ylim(0, 108)
        axis.set_xlim(right=x[-1] + 0.85)
        axis.set_ylabel(f"accuracy on {place['dataset']}, {place['cell'].upper()}, test set (%)")
        said = f"At {decibels(ratio)}, training with noise keeps {one:.1f} % on {place['dataset']}"
        said += f" where\nplain training falls to {low:.1f} %;"
        headline(axes, f"{said} {last['votes']} votes reach {sums:.1f} %")


def _hardware(axis: Any, rows: list[Fields], place: Fields, x: list[float]) -> None:
    """The Verilog with the macro's own noise."""
    where = {key: place[key] for key in ("dataset", "cell", "placement")}
    found = [row for row in rows if all(row[k] == v for k, v in where.items())]
    ratios = [row["tested_db"] for row in found]
    points = [(n, row["verilog"]["rtl"]) for n, row in enumerate(found) if "verilog" in row]
    if points:
        verilog(axis, [x[n] for n, _ in points], [value for _, value in points])
        n, value = points[-1]
        words = f"Verilog, 4/4/4, the macro's\nnoise at {decibels(ratios[n])}: {value:.1f} %"
        note(axis, words, (x[n], value), color=BLACK, dx=9, dy=-14)


def _paper(axis: Any, there: float) -> None:
    """From the paper's plain training to its votes, as a line with two ends."""
    low, high = PAPER.values()
    axis.plot([there, there], [low, high], "_-", color=BLACK, markersize=15, linewidth=1)
    words = f"paper {low:g} % (plain)\nto {high:g} % (trained, votes)"
    note(axis, words, (there, 9), color=BLACK, dx=-8, ha="right")


STRENGTHS = {6.0: (VERMILION, "^-."), 0.0: (GREEN, "s-"), -6.0: (BLUE, "o-")}
"""Ratios of the training that are drawn."""


def _strengths(results: Fields, path: Path) -> None:
    """Networks of as many epochs, without noise and with noise of three ratios in training."""
    rows = results["rows"]
    place = _place(rows, "vowels", results["settings"]["voted"], "pre-activations")
    plain, *noisy = (find(rows, trained_db=t, **place) for t in (LONGER, *STRENGTHS))
    drawn = [(row, *STRENGTHS[row["trained_db"]]) for row in noisy if row]
    assert plain and drawn
    strongest = drawn[-1][0]
    with drawing(path, 1, 1, (7.2, 4.0)) as axes:
        axis = axes[0, 0]
        for row, colour, style in ((plain, BLACK, "D--"), *drawn):
            trained, look = row["trained_db"], {"marker": style[0], "linestyle": style[1:]}
            x = _curve(axis, row, color=colour, markersize=5, **look)
            end = curve(row)[-1]["one"]["mean"]
            how = "plain training" if trained == LONGER else f"trained at {decibels(trained)}"
            note(axis, f"{how}: {end:.1f} %", (x[-1], end), color=colour, dx=9)
            for n, test in zip(x, curve(row), strict=True):
                if test["tested_db"] == trained:
                    ring = {"markersize": 13, "markerfacecolor": "none", "zorder": 5}
                    axis.plot(n, test["one"]["mean"], "o", color=colour, **ring)
        axis.set_xlim(right=x[-1] + 2.2)
        axis.set_ylabel(f"accuracy on {place['dataset']}, {place['cell'].upper()}, test set (%)")
        means = [curve(r)[n]["one"]["mean"] for n in (-1, 0) for r in (strongest, plain)]
        last, how = (
            decibels(db) for db in (curve(plain)[-1]["tested_db"], strongest["trained_db"])
        )
        said = f"On {place['dataset']}, training at {how} keeps {means[0]:.1f} % at {last}"
        said += f" (plain: {means[1]:.1f} %)\nand reaches {means[2]:.2f} % without noise"
        headline(axes, f"{said} (plain: {means[3]:.2f} %)")


def _every(results: Fields, path: Path) -> None:
    """Noise on every vector: plain training, training with noise, votes; a panel a data set."""
    rows, ratio = results["rows"], results["settings"]["voted"]
    sets = list(dict.fromkeys(row["dataset"] for row in rows))
    looks = {"rnn": (BLUE, "o-"), "lstm": (VERMILION, "s--")}
    votes, says = results["settings"]["votes"], []
    with drawing(path, 1, len(sets), (7.2, 3.9)) as axes:
        for axis, dataset in zip(axes[0], sets, strict=True):
            for cell, (colour, style) in looks.items():
                place = {"dataset": dataset, "cell": cell, "placement": "every"}
                plain, noisy, coded = (
                    find(rows, bits=bits, trained_db=trained, **place)
                    for bits, trained in (("float", None), ("float", ratio), ("4/4/4", ratio))
                )
                if plain is None or noisy is None:
                    continue
                first, last = at(plain, ratio)["one"], at(noisy, ratio)
                means = [value["mean"] for value in (first, last["one"], last["sum"])]
                axis.plot(range(3), means, style, color=colour, markersize=6)
                words = f"{cell.upper()}: {means[-1]:.1f} %"
                if coded:
                    words += f"\n(4/4/4: {at(coded, ratio)['sum']['mean']:.1f} %)"
                look = {"color": colour, "dx": 9, "dy": -6 if coded else 0}
                note(axis, words, (2, means[-1]), **look)
                if cell == "rnn":
                    says.append(f"{means[-1]:.1f} % on {dataset}")
            if dataset == "strokes":
                axis.plot((0, 2), PAPER.values(), "D:", color=BLACK, markersize=6)
                for n, value in zip((0, 2), PAPER.values(), strict=True):
                    look = {"dx": 9} if n else {"dx": -9, "ha": "right"}
                    note(axis, f"paper:\n{value:g} %", (n, value), **look)
            axis.set_title(dataset, fontsize=10.5)
            axis.set_xticks(range(3), ["plain", f"trained\nat {decibels(ratio)}", f"{votes} votes"])
            axis.set_xlim(-1.1, 3.5)
            axis.set_ylim(0, 102)
        axes[0, 0].set_ylabel(f"accuracy at {decibels(ratio)}, test set (%)")
        said = f"With noise on every vector at {decibels(ratio)}, {votes} votes bring the RNN"
        said += f"\nto {' and '.join(says)} (paper: {PAPER['injected, voted']:g} %)"
        headline(axes, said)


def _memory(results: Fields, path: Path) -> None:
    """Noise on every vector against the steps of a digit; and log2(N K), the steps after which
    units that only copy themselves have lost what they held."""
    settings, rows = results["settings"], results["memory"]
    ratio, votes = settings["voted"], settings["votes"]
    trained = [row for row in rows if row["trained_db"] == ratio and row["bits"] == "float"]
    looks = {"rnn": (VERMILION, "s--", "tanh"), "rnn, relu": (BLUE, "o-", "ReLU")}
    with drawing(path, 1, 1, (7.2, 4.2)) as axes:
        axis = axes[0, 0]
        says = []
        for cell, (colour, style, word) in looks.items():
            mine = [row for row in trained if row["cell"] == cell]
            if not mine:
                continue
            steps = [row["steps"] for row in mine]
            look = {"color": colour, "marker": style[0], "linestyle": style[1:], "markersize": 6}
            values = [at(row, ratio)["sum"] for row in mine]
            line(axis, steps, values, **look)
            for n, (step, value) in enumerate(zip(steps, values, strict=True)):
                # Above and below in turn: short digits are close together.
                look = {"color": colour, "ha": "center", "dy": -16 if n % 2 else 9}
                note(axis, f"{value['mean']:.1f} %", (step, value["mean"]), **look)
            units, passes = mine[0]["units"], mine[0]["passes"]
            loss = f"{passes} pass{'es' * (passes > 1)}, {votes} votes"
            words = f"{word}, {units} units, loss of\n{loss}"
            x, y = max(16, steps[0]), values[0]["mean"]
            note(axis, words, (x, y), color=colour, dx=9, dy=-16 if x == steps[0] else 9)
            held = math.log2(units * votes)
            axis.axvline(held, color=colour, linestyle=":", linewidth=1.2)
            first, last = (f"{values[n]['mean']:.0f} % at {steps[n]:.2g}" for n in (0, -1))
            says.append(f"{first} steps, {last} ({word}, {units} units)")
            words = f"if units only copy:\nlog2({units} x {votes}) = {held:.0f} steps"
            note(axis, words, (held, 14 if word == "tanh" else 4), color=colour, dx=5)
        axis.axhline(PAPER["injected, voted"], color=BLACK, linewidth=0.8)
        note(axis, f"paper: {PAPER['injected, voted']:g} %", (38, PAPER["injected, voted"]), dy=-9)
        axis.set_ylim(0, 108)
        axis.set_xlim(0, 46)
        axis.set_xlabel("steps of a digit (mean), noise on every vector at 0 dB")
        axis.set_ylabel("accuracy on strokes, test set (%)")
        headline(axes, "With noise on every vector, longer digits are read less well:\n" + says[0])
