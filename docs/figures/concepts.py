"""Draws the figures of docs/concepts.md: `.venv/bin/python docs/figures/concepts.py`.

Numbers come from golden and hw: the transfer curve is the ADC's, the time-line is hw/timing.py's,
tiles are the description's, noise is drawn as the chip draws it.
"""

from pathlib import Path
from typing import Any

import torch

from golden.fixed import narrow
from golden.presets import PRESETS
from hw import timing
from wordline.studies.common import drawing

HERE = Path(__file__).parent
INK, GREY, FRAME = "#1f2933", "#5b6773", "#9aa5b1"
BLUE, ORANGE, GREEN, PALE = "#1f5f9e", "#c05a12", "#3b7d4f", "#dce9f6"
WIDTH = 7.2
"""Inches: 600 px wide on a page, with text of 9 points."""

DESIGN = PRESETS["vowels"].description


def _bare(axis: Any, width: float, height: float) -> None:
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axis.axis("off")


def _arrow(axis: Any, start: Any, end: Any, colour: str = INK) -> None:
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=style)


def column(path: Path) -> None:
    """One column: row drivers, pairs of devices, gain, ADC."""
    rows = [(3, 252, 0), (-2, 0, 108), (7, 36, 0), (1, 0, 180)]
    with drawing(path, 1, 1, (WIDTH, 3.5)) as ((axis,),):
        _bare(axis, 720, 350)
        charge = 0
        axis.text(70, 22, "DAC code v", ha="center", color=BLUE, weight="bold")
        axis.text(265, 22, "devices g+ and g-", ha="center", color=ORANGE, weight="bold")
        axis.text(440, 22, "v (g+ - g-)", ha="center", color=INK, weight="bold")
        for n, (v, plus, minus) in enumerate(rows):
            y = 60 + 55 * n
            charge += v * (plus - minus)
            axis.plot([100, 380], [y, y], color=FRAME, linewidth=1.2)
            axis.text(70, y, f"{v:+d}", ha="center", va="center", color=BLUE, size=11)
            for x, g in ((215, plus), (315, minus)):
                shade = 0.1 + 0.7 * g / 255
                axis.plot(x, y, "s", markersize=19, color=ORANGE, alpha=shade)
                axis.text(x, y, str(g), ha="center", va="center", size=8)
            axis.text(440, y, f"{v * (plus - minus):+,}", ha="center", va="center", size=10)
        axis.plot([475, 475], [45, 245], color=INK, linewidth=1)
        axis.text(492, 110, f"q = {charge:+,}", va="center", size=11, weight="bold")
        _arrow(axis, (580, 126), (580, 168))
        gain, shift = 700, DESIGN.layers[0].adc_shift
        code = int(narrow(torch.tensor(charge * gain), shift, DESIGN.adc.range))
        box = {"boxstyle": "round,pad=0.5", "facecolor": PALE, "edgecolor": FRAME}
        axis.text(580, 190, f"x gain {gain}", ha="center", va="center", bbox=box)
        _arrow(axis, (580, 211), (580, 250))
        words = f"ADC: round(q x gain / 2^{shift}) = {code:+d}"
        axis.text(580, 273, words, ha="center", va="center", bbox=box)
        words = "Each row adds its product: one analog step, whatever the number of rows."
        axis.text(14, 330, words, color=GREY)


def transfer(path: Path) -> None:
    """The ADC's transfer curve, with two gains."""
    shape = DESIGN.layers[0]
    charge = torch.arange(-12_000, 12_001, 20)
    with drawing(path, 1, 1, (WIDTH, 3.0)) as ((axis,),):
        for gain, colour in ((300, GREEN), (900, BLUE)):
            code = narrow(charge * gain, shape.adc_shift, DESIGN.adc.range)
            axis.plot(charge / 1000, code, color=colour, linewidth=1.6)
            lsb = 2**shape.adc_shift / gain
            x, y = (-11.5, 3.0) if gain == 900 else (2.2, -3.5)
            words = f"gain {gain}: 1 LSB = {lsb:,.0f} of charge"
            axis.text(x, y, words, color=colour)
        axis.axhline(7, color=FRAME, linewidth=0.8, linestyle=":")
        axis.axhline(-8, color=FRAME, linewidth=0.8, linestyle=":")
        axis.text(-11.9, 7.15, "full scale: saturates at 7", color=GREY, va="bottom")
        axis.set(xlabel="column charge in thousands", ylabel="ADC code (4 bits)", ylim=(-9, 9.2))
        axis.set_yticks([-8, -4, 0, 4, 7])
        axis.spines[["top", "right"]].set_visible(False)


def step(path: Path) -> None:
    """One step in time: samples, conversions, gates, feedback."""
    shape = DESIGN.layers[0]
    period, conversions = timing.period(shape), timing.conversion_cycles(shape)
    loop = timing.loop_cycles(shape, timing.units_per_beat(shape))
    block = shape.gates * period
    late = timing.readout_latency(shape)
    gates = timing.gate_latency(shape)
    with drawing(path, 1, 1, (WIDTH, 2.7)) as ((axis,),):
        names = (
            "rows hold x and h",
            "samples, one per column",
            "ADC codes",
            "gate pipeline, h out",
        )
        axis.set_yticks(range(4), names)
        axis.invert_yaxis()
        held = (shape.samples - 1) * period + timing.settle(shape)
        axis.broken_barh([(0, held)], (-0.3, 0.6), color=PALE, edgecolor=BLUE)
        samples = [n * period for n in range(shape.samples)]
        axis.plot(samples, [1] * len(samples), "|", color=ORANGE, markersize=11)
        codes = [start + late for start in samples]
        axis.plot(codes, [2] * len(codes), "|", color=ORANGE, markersize=11)
        for b in range(shape.blocks):
            begin = b * block + (shape.gates - 1) * period + late
            axis.broken_barh([(begin, gates + 1)], (2.7, 0.6), color=GREEN, alpha=0.75)
        for cycle, words, at in (
            (conversions, "end of conversions", "right"),
            (loop, "next step", "left"),
        ):
            axis.axvline(cycle, color=INK, linewidth=1, linestyle="--")
            shift = -1 if at == "right" else 1
            axis.text(cycle + shift, -0.5, f"{words}: {cycle}", size=8, ha=at, va="bottom")
        axis.set(xlabel="clock cycles after the first sample of the step", xlim=(-2, loop + 26))
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)


def noise(path: Path) -> None:
    """What is drawn once for a chip, and what is drawn for each read."""
    rows = [
        ("programming error, drift, stuck cells", "once per chip, per device", ORANGE),
        ("ADC offset, ADC gain error", "once per chip, per lane", ORANGE),
        ("read noise of the cells", "each read: run, step, column", BLUE),
        ("ADC noise", "each conversion: run, step, column", BLUE),
    ]
    with drawing(path, 1, 1, (WIDTH, 2.6)) as ((axis,),):
        _bare(axis, 720, 260)
        axis.text(14, 20, "Effect", weight="bold")
        axis.text(290, 20, "Drawn", weight="bold")
        axis.text(550, 20, "By", weight="bold")
        for n, (effect, drawn, colour) in enumerate(rows):
            y = 56 + 40 * n
            axis.text(14, y, effect, va="center")
            axis.text(290, y, drawn, va="center", color=colour)
        for top, bottom, colour, who in (
            (44, 108, ORANGE, "host, before\nloading"),
            (124, 188, BLUE, "macro: hash of\nits key and place"),
        ):
            axis.plot([535, 535], [top, bottom], color=colour, linewidth=3)
            axis.text(550, (top + bottom) / 2, who, va="center", color=colour)
        axis.text(
            14,
            230,
            "Golden and RTL draw by the same integer function: equal bit for bit, noise included.",
            color=GREY,
        )


def votes(path: Path) -> None:
    """Passes over the same sequence, each with its own noise, and one class."""
    with drawing(path, 1, 1, (WIDTH, 2.3)) as ((axis,),):
        _bare(axis, 720, 230)
        box = {"boxstyle": "round,pad=0.5", "facecolor": PALE, "edgecolor": FRAME}
        axis.text(70, 110, "one\nsequence", ha="center", va="center", bbox=box)
        answers = ("class 3", "class 5", "class 3", "class 3")
        for n, answer in enumerate(answers):
            y = 35 + 50 * n
            _arrow(axis, (112, 110), (190, y), FRAME)
            axis.text(265, y, f"pass {n}: own noise", ha="center", va="center", bbox=box)
            colour = GREEN if answer == "class 3" else ORANGE
            axis.text(400, y, answer, ha="center", va="center", color=colour, weight="bold")
            _arrow(axis, (440, y), (515, 110), FRAME)
        axis.text(590, 110, "voter: class 3\n(3 of 4 passes)", ha="center", va="center", bbox=box)


def tiles(path: Path) -> None:
    """A layer that is larger than a crossbar."""
    design = PRESETS["kjv-char-deep"].description
    shape = design.layers[0]
    with drawing(path, 1, 1, (WIDTH, 3.1)) as ((axis,),):
        _bare(axis, 720, 310)
        across, down = shape.column_tiles, len(shape.row_tiles)
        wide, high = 60, 56
        for r, tile in enumerate(shape.row_tiles):
            y = 50 + r * (high + 10)
            axis.text(10, y + high / 2, f"rows {tile[0]}..{tile[-1]}", va="center", size=8)
            for c in range(across):
                x = 100 + c * (wide + 8)
                axis.add_patch(_patch((x, y), wide, high))
        end = 50 + down * (high + 10)
        for c in range(across):
            x = 100 + c * (wide + 8) + wide / 2
            axis.text(x, 40, str(c), ha="center", size=8)
            _arrow(axis, (x, end - 6), (x, end + 14), ORANGE)
        y = end + 28
        axis.text(
            100,
            y,
            f"The codes of the {down} row tiles of a column are added: {shape.code_bits} bits from "
            f"{design.adc.bits}-bit ADCs.",
            color=ORANGE,
        )
        axis.text(
            100,
            y + 20,
            f"{shape.rows} rows x {shape.units * shape.gates} columns in {across * down} crossbars "
            f"of at most {design.array.rows} x {design.array.columns}.",
            color=GREY,
        )
        axis.text(100, 18, "column tiles: each has its own ADCs and units", weight="bold")


def _patch(corner: Any, wide: float, high: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, wide, high, facecolor="#fbe8d6", edgecolor=ORANGE, linewidth=1)


FIGURES = {
    "concept_column": column,
    "concept_transfer": transfer,
    "concept_step": step,
    "concept_noise": noise,
    "concept_votes": votes,
    "concept_tiles": tiles,
}


if __name__ == "__main__":
    for name, draw in FIGURES.items():
        draw(HERE / f"{name}.svg")
