"""Draws architecture.svg: the blocks of `vowels`, the streams between them, and one step in time.

Every number is a property of the description or of the design. Draw it again, to the same bytes,
with `.venv/bin/python docs/figures/architecture.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from golden.presets import PRESETS
from golden.ranges import ceil_div
from hw import timing
from hw.head import ArgMax
from hw.network import Accelerator
from wordline.studies.common import drawing

FIGURE = Path(__file__).with_suffix(".svg")
SIZE = (1000, 856)
"""Points; the coordinates below are points from the upper left corner."""
INK, GREY, FRAME = "#1f2933", "#5b6773", "#9aa5b1"
DIGITAL, BLUE = "#dce9f6", "#1f5f9e"
ANALOG, ORANGE = "#fbe8d6", "#a8551a"
TEXT, SMALL = 10.5, 9.5

STAGES = (
    "units, bias",
    "sum, gate tables, c",
    "f times c, i times g",
    "round to c",
    "tanh table",
    "times o",
    "round to h",
)
"""What the stages of LstmGates do, in the short pipeline."""


class Cycles:
    """When things happen in a sequence's last step, of a design of one layer and a head with an arg
    max, if nothing stalls: cycles after the step's first sample."""

    def __init__(self, chip: Accelerator) -> None:
        (layer,), head = chip.layers, chip.head
        assert head is not None and isinstance(head.decision, ArgMax)
        shape, lanes = layer.shape, head.shape.lanes
        self.x = -layer.dac.latency
        self.samples = [n * timing.period(shape) for n in range(shape.samples)]
        self.codes = self._codes(shape, 0)
        self.release = self.samples[-1] + timing.settle(shape) - 1
        self.complete = self.codes[shape.gates - 1 :: shape.gates]
        self.h = []
        for block, cycle in enumerate(self.complete):
            units = min(shape.lanes, shape.units - block * shape.lanes)
            first = cycle + layer.gates.latency
            self.h.append([first + n for n in range(ceil_div(units, timing.units_per_beat(shape)))])
        self.next = chip.cycles_per_step
        self.head_rows = self.h[-1][-1] + head.dac.latency
        self.head_samples = [
            self.head_rows + n * timing.period(shape) for n in range(head.shape.samples)
        ]
        self.head_codes = self._codes(head.shape, self.head_rows)
        self.head_release = self.head_samples[-1] + timing.settle(shape) - 1
        self.scores: list[int] = []
        for number in range(head.shape.units):
            there = self.head_codes[number // lanes] + head.scores.latency + number % lanes
            self.scores.append(max([there, *(cycle + 1 for cycle in self.scores[-1:])]))
        self.label = self.scores[-1] + head.decision.latency

    @staticmethod
    def _codes(shape: Any, start: int) -> list[int]:
        """When the codes of each select leave the readout; a code has a sample of each plane."""
        planes = shape.samples // shape.selects
        last = [start + ((n + 1) * planes - 1) * timing.period(shape) for n in range(shape.selects)]
        return [cycle + timing.readout_latency(shape) for cycle in last]


def draw(path: Path) -> None:
    """Write the figure to a file."""
    chip = Accelerator(PRESETS["vowels"].description)
    with drawing(path, 1, 1, (SIZE[0] / 72, SIZE[1] / 72)) as ((axes,),):
        axes.set(xlim=(0, SIZE[0]), ylim=(SIZE[1], 0))
        axes.axis("off")
        _blocks(axes, chip, Cycles(chip))
        _time_line(axes, chip, Cycles(chip))


def _blocks(axes: Any, chip: Accelerator, at: Cycles) -> None:
    """The layer, the head behind it, the load bus below."""
    network, shape = chip.description.network, chip.layers[0].shape
    lanes = shape.lanes
    title = (
        f"From a code to a class: the {chip.description.name} design ({network.inputs} inputs, "
        f"{shape.units} units, {network.classes} classes, {lanes} lanes)"
    )
    _text(axes, 14, 18, title, size=13, weight="bold", ha="left")
    note = (
        f"In brackets: cycles after the first sample of a step. k: select; b: block of {lanes} "
        f"units. Orange: analog."
    )
    _text(axes, 14, 40, note, colour=GREY, ha="left")

    # The layer: a loop.
    _frame(axes, (84, 56, 986, 322), "recurrent layer, hw/layer.py")
    _array(axes, 88, 208, shape, "x and h side by side", f"held on {shape.rows} rows")
    _stream(axes, [(14, 148), (100, 148)], "x codes", f"[{_minus(at.x)}]", (44, 148))
    _streams_of_array(axes, 148, at.samples, at.codes, shape.selects)
    _box(axes, (794, 88, 978, 306), "LSTM gates", "hw/lstm.py")
    latency = chip.layers[0].gates.latency
    _text(axes, 886, 127, f"{latency} cycles from codes to h,", size=SMALL)
    pace = f"{timing.units_per_beat(shape)} units a cycle; the first:"
    _text(axes, 886, 143, pace, size=SMALL)
    begin = at.complete[0] + 1
    every = at.complete[1] - at.complete[0]
    assert len(STAGES) == latency
    for number, stage in enumerate(STAGES):
        y = 163 + 18 * number
        axes.plot([802, 970], [y - 9, y - 9], color=FRAME, linewidth=0.6)
        _text(axes, 804, y, f"{number}  {stage}", size=SMALL, ha="left")
        cycle = f"[{_linear(every, 'b', begin + number)}]"
        _text(axes, 968, y, cycle, size=SMALL, colour=BLUE, ha="right")
    _stream(axes, [(794, 262), (180, 262), (180, 208)], colour=BLUE)
    beats = ", ".join(_linear(every, "b", cycle) for cycle in at.h[0])
    later = timing.feedback_latency(chip.description)
    back = (
        f"h back to the rows, {timing.units_per_beat(shape)} units a cycle [{beats}, the last in "
        f"{at.h[-1][-1]}]; next step {later} cycle later [{at.next}]"
    )
    _text(axes, 487, 252, back, size=SMALL, colour=BLUE)
    ends = "after the last step of a sequence h does not go back:"
    _text(axes, 487, 276, ends, colour=GREY)
    _text(axes, 487, 292, "the next one starts from h = code of 0 and c = 0", colour=GREY)

    # The head, which is a layer without the loop.
    head = chip.head
    assert head is not None
    _stream(axes, [(886, 306), (886, 346), (44, 346), (44, 436), (100, 436)])
    on = "h of every step [as above]; the head keeps that of the last step"
    _text(axes, 487, 336, on, colour=GREY)
    _frame(axes, (84, 356, 986, 516), "head, hw/head.py")
    _array(axes, 386, 500, head.shape, "last h", f"held on {head.shape.rows} rows")
    _streams_of_array(axes, 443, at.head_samples, at.head_codes, head.shape.selects)
    _box(axes, (794, 386, 908, 500), "Arg max", "hw/head.py")
    scores = f"[{at.scores[0]} to {at.scores[-1]}]"
    for y, line in zip((426, 443), ("a score a cycle", "compare"), strict=True):
        _text(axes, 851, y, line, size=SMALL)
    _text(axes, 851, 460, scores, size=SMALL, colour=BLUE)
    _stream(axes, [(908, 443), (980, 443)], "class", f"[{at.label}]", (942, 443))

    # What is loaded.
    _box(axes, (14, 558, 986, 588), colours=("#f1f4f7", FRAME))
    load = "load bus: cells, noise and errors, gains, biases, tables; "
    load += "only while no sequence is under way (hw/network.py, hw/loadmap.py)"
    _text(axes, 500, 573, load)
    for x, what in ((412, "cells, noise"), (644, "gains"), (851, "biases")):
        _stream(axes, [(x, 558), (x, 500)], colour=GREY, width=1, style=(0, (4, 3)))
        _text(axes, x + 7, 540, what, colour=GREY, ha="left")
    same = "the layer is loaded the same way, its tables too"
    _text(axes, 200, 540, same, colour=GREY)
    votes = "With votes, a replay buffer (hw/replay.py) comes before the layer, "
    votes += "and a voter (hw/voter.py) takes the place of the arg max."
    _text(axes, 14, 605, votes, colour=GREY, ha="left")


def _array(axes: Any, top: int, bottom: int, shape: Any, *held: str) -> None:
    """Sequencer, macro and readout of an array."""
    adc = shape.description.adc
    _box(axes, (100, top, 260, bottom), "DAC sequencer", "hw/dac.py", *held)
    columns = f"{shape.rows} rows \N{MULTIPLICATION SIGN} {shape.units * shape.gates} columns"
    what = (columns, "charge, gain, compare", f"{shape.lanes} lanes, settle {timing.settle(shape)}")
    path, colours = "hw/macro/crossbar.py", (ANALOG, ORANGE)
    _box(axes, (332, top, 492, bottom), "Crossbar macro", path, *what, colours=colours)
    kind = f"{adc.kind.upper()}, {adc.bits} bits, {shape.selects} selects"
    pace = f"a sample each {timing.period(shape)} cycles"
    took = f"its codes {timing.readout_latency(shape)} cycles later"
    _box(axes, (564, top, 724, bottom), "ADC readout", "hw/adc.py", kind, pace, took)


def _streams_of_array(
    axes: Any, y: int, samples: Sequence[int], codes: Sequence[int], selects: int
) -> None:
    """Rows, samples and comparisons, codes: the streams between the blocks of an array."""
    period = samples[1] - samples[0]
    assert len(samples) == selects  # a DAC of one plane, so k numbers samples too
    _stream(axes, [(260, y), (332, y)], "rows", f"[{samples[0]}]", (295, y))
    sample = f"[{_linear(period, 'k', samples[0])}]"
    _stream(axes, [(564, y - 18), (492, y - 18)], "sample, trial", sample, (528, y - 18))
    _stream(axes, [(492, y + 24), (564, y + 24)], "", "above", (528, y + 24))
    _stream(axes, [(724, y), (794, y)], "codes", f"[{_linear(period, 'k', codes[0])}]", (758, y))


def _time_line(axes: Any, chip: Accelerator, at: Cycles) -> None:
    """A sequence's last step, a cell a cycle, and what the layer does next."""
    head = chip.head
    assert head is not None
    left, top, row = 148, 668, 17
    end = at.label + 4
    scale = (982 - left) / (end - at.x + 4)

    def place(cycle: int) -> float:
        return left + scale * (cycle - at.x + 4)

    heading = f"One step of {chip.description.name}: {at.next} cycles"
    _text(axes, 14, 632, heading, size=12, weight="bold", ha="left")
    note = "Pale: the sequence's next step. The head's part follows its last step only."
    _text(axes, 260, 632, note, colour=GREY, ha="left")
    for cycle in range(0, end, 20):
        axes.plot([place(cycle)] * 2, [top - 9, top + 10 * row - 7], color="#d5dbe1", linewidth=0.7)
        _text(axes, place(cycle), top - 15, str(cycle), size=SMALL, colour=GREY)

    numbers = ", ".join
    line: tuple[tuple[str, Sequence[int], str, str], ...] = (
        ("x, last beat", [at.x], _minus(at.x), BLUE),
        ("rows held", range(at.release + 1), f"0 to {at.release}", BLUE),
        ("samples", at.samples, f"0 to {at.samples[-1]}", ORANGE),
        ("codes", at.codes, f"{at.codes[0]} to {at.codes[-1]}", BLUE),
        ("h", [cycle for block in at.h for cycle in block], "", BLUE),
        ("head: rows held", range(at.head_rows, at.head_release + 1), f"{at.head_rows}", BLUE),
        ("head: samples", at.head_samples, numbers(map(str, at.head_samples)), ORANGE),
        ("head: codes", at.head_codes, numbers(map(str, at.head_codes)), BLUE),
        ("head: scores", at.scores, f"{at.scores[0]} to {at.scores[-1]}", BLUE),
        ("class", [at.label], str(at.label), BLUE),
    )
    for number, (what, cycles, label, colour) in enumerate(line):
        y = top + row * number
        _text(axes, left - 8, y, what, ha="right")
        _cells(axes, y, cycles, place, colour)
        if what.startswith(("x", "head", "class")):
            _text(axes, place(cycles[0]) - 5, y, label, size=SMALL, colour=GREY, ha="right")
        elif label:
            _text(axes, place(cycles[-1] + 1) + 4, y, label, size=SMALL, colour=GREY, ha="left")
    for block in at.h:
        here = place(block[-1] + 1) + 3
        label = numbers(map(str, block))
        _text(axes, here, top + row * 4, label, size=SMALL, colour=GREY, ha="left")

    # The next step's.
    on = range(at.next, end)
    _cells(axes, top + row, on, place, "#9cc2e6")
    _text(axes, place(at.next) + 5, top + row, f"from {at.next}", size=SMALL, ha="left")
    samples = [at.next + cycle for cycle in at.samples if at.next + cycle < end]
    _cells(axes, top + row * 2, samples, place, "#eec39a")
    codes = [at.next + cycle for cycle in at.codes if at.next + cycle < end]
    _cells(axes, top + row * 3, codes, place, "#9cc2e6")


def _cells(axes: Any, y: float, cycles: Sequence[int], place: Any, colour: str) -> None:
    """Cycles in a row; neighbours are one bar."""
    starts = [cycle for cycle in cycles if cycle - 1 not in cycles]
    ends = [cycle + 1 for cycle in cycles if cycle + 1 not in cycles]
    spans = [(place(a), place(b) - place(a)) for a, b in zip(starts, ends, strict=True)]
    axes.broken_barh(spans, (y - 5, 10), color=colour, linewidth=0)


def _frame(axes: Any, edges: tuple[int, int, int, int], name: str) -> None:
    """A dashed frame around blocks."""
    _rectangle(axes, edges, facecolor="none", edgecolor=FRAME, linestyle=(0, (5, 4)))
    _text(axes, edges[0] + 12, edges[1] + 15, name, colour=GREY, ha="left")


def _box(
    axes: Any,
    edges: tuple[int, int, int, int],
    name: str = "",
    path: str = "",
    *lines: str,
    colours: tuple[str, str] = (DIGITAL, BLUE),
) -> None:
    """A block: name, what it does, where it is."""
    left, top, right, bottom = edges
    _rectangle(axes, edges, facecolor=colours[0], edgecolor=colours[1])
    middle = (left + right) / 2
    _text(axes, middle, top + 19, name, size=12, weight="bold")
    for number, line in enumerate(lines):
        _text(axes, middle, top + 42 + 17 * number, line)
    _text(axes, middle, bottom - 12, path, colour=GREY, style="italic")


def _rectangle(axes: Any, edges: tuple[int, int, int, int], **look: Any) -> None:
    """A rectangle by left, top, right, bottom."""
    from matplotlib.patches import Rectangle

    left, top, right, bottom = edges
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, linewidth=1.2, **look))


def _stream(
    axes: Any,
    points: Sequence[tuple[int, int]],
    above: str = "",
    below: str = "",
    middle: tuple[int, int] = (0, 0),
    *,
    colour: str = INK,
    width: float = 1.6,
    style: Any = "solid",
) -> None:
    """An arrow along points, what it carries, and when."""
    if points[:-2]:
        axes.plot(*zip(*points[:-1], strict=True), color=colour, linewidth=width)
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": width, "linestyle": style}
    look |= {"shrinkA": 0, "shrinkB": 1, "mutation_scale": 12}
    axes.annotate("", points[-1], points[-2], arrowprops=look)
    _text(axes, middle[0], middle[1] - 11, above, size=SMALL, colour=GREY)
    when = BLUE if below.startswith("[") else GREY
    _text(axes, middle[0], middle[1] + 12, below, size=SMALL, colour=when)


def _text(
    axes: Any,
    x: float,
    y: float,
    text: str,
    *,
    size: float = TEXT,
    colour: str = INK,
    ha: str = "center",
    **style: Any,
) -> None:
    """A line of text, in the middle of its height."""
    if text:
        look = {"fontsize": size, "color": colour, "ha": ha, "va": "center", "in_layout": False}
        axes.text(x, y, text, **look, **style)


def _linear(slope: int, name: str, offset: int) -> str:
    """4k + 7."""
    return f"{slope}{name} + {offset}" if offset else f"{slope}{name}"


def _minus(number: int) -> str:
    """With a minus sign that is not a hyphen."""
    return str(number).replace("-", "\N{MINUS SIGN}")


if __name__ == "__main__":
    draw(FIGURE)
