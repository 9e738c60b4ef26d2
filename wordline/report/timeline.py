"""One step of a layer on a time-line, and what bounds it."""

from typing import Any

from golden.description import Description
from golden.geometry import ArrayShape
from hw import timing
from wordline.report import charts
from wordline.report.charts import field
from wordline.report.page import Cell, Chart, Question, Section, Table
from wordline.report.run import Run

SAMPLES = 160
"""Most samples of a step that have a bar each; otherwise a bar is a block of units."""

ROWS = (
    "next x is loaded",
    "rows hold x and h",
    "samples settle",
    "ADCs convert",
    "gates, c and h",
    "h back to the rows",
    "waits for x",
)
"""Rows of the time-line from above, in the order of the data."""


def section(run: Run) -> Section | None:
    """A time-line of every layer; None without a design."""
    if run.description is None:
        return None
    description = run.description
    asked = [_layer(run, description, n) for n in range(len(description.layers))]
    return Section("step", "One step in time", asked)


def spans(description: Description, number: int) -> list[dict[str, Any]]:
    """What a layer does in a step: `what`, `part`, first cycle `begin` and the cycle after, `end`.

    Cycle 0 is the first sample of the step. The last `end` is the first sample of the next step.
    """
    shape = description.layers[number]
    found = []

    def add(what: int, part: str, begin: int, end: int) -> None:
        if end > begin:
            found.append({"what": ROWS[what], "part": part, "begin": begin, "end": end})

    period, settle, adc = (
        timing.period(shape),
        timing.settle(shape),
        timing.adc_cycles(description.adc),
    )
    last = (shape.samples - 1) * period
    add(0, "all beats of the vector", 0, timing.input_beats(description, number))
    add(1, "all rows", 0, last + settle)
    each = shape.samples if shape.samples <= SAMPLES else shape.blocks
    size = shape.samples // each
    for n in range(each):
        begin, end = n * size * period, (n + 1) * size * period
        name = f"sample {n}" if size == 1 else f"block {n}, {size} samples"
        add(2, name, begin, end - period + settle)
        add(3, name, begin + settle, end - period + settle + adc)
    for block in range(shape.blocks):
        begin, end = _gates(shape, block)
        add(4, f"units of block {block}", begin, end)
    loop = timing.loop_cycles(shape, timing.units_per_beat(shape))
    add(5, "last beat of h", loop - timing.feedback_latency(description), loop)
    add(6, "the input vector", loop, timing.step_cycles(description, number))
    return found


def _gates(shape: ArrayShape, block: int) -> tuple[int, int]:
    """Cycles from the last code of a block to its last beat of h."""
    units = min(shape.lanes, shape.units - block * shape.lanes)
    samples = (block + 1) * shape.samples // shape.blocks
    begin = (samples - 1) * timing.period(shape) + timing.readout_latency(shape)
    left = -(-units // timing.units_per_beat(shape)) - 1
    return begin, begin + timing.gate_latency(shape) + left


def _layer(run: Run, description: Description, number: int) -> Question:
    shape, layer = description.layers[number], f"layers.{number}"
    data = spans(description, number)
    cycles = timing.step_cycles(description, number)
    said = (
        f"{cycles} cycles from the first sample of a step to that of the next. Bound by: "
        f"{timing.step_bound(description, number)}."
    )
    if run.summary is not None and "cycles_per_step" in run.summary:
        said += f" The run took {run.summary['cycles_per_step']} cycles a step, of all layers."
    if len(description.layers) > 1:
        slowest = timing.cycles_per_step(description)
        said += f" The slowest part of the design takes {slowest} cycles a step."
    rows: list[list[Cell]] = [
        [d["what"], d["part"], d["begin"], d["end"], d["end"] - d["begin"]] for d in data
    ]
    head = ("what", "which", "from cycle", "to cycle", "cycles")
    facts: list[list[Cell]] = [
        ["samples of a lane a step", shape.samples],
        ["cycles between two samples", timing.period(shape)],
        ["cycles until a sample has settled", timing.settle(shape)],
        [
            f"cycles of a conversion ({description.adc.kind}, {description.adc.bits} bits)",
            timing.adc_cycles(description.adc),
        ],
        ["conversions: samples x cycles between two", timing.conversion_cycles(shape)],
        ["cycles from the last sample to its code", timing.readout_latency(shape)],
        ["cycles of the gate pipeline", timing.gate_latency(shape)],
        ["cycles of h back to the rows", timing.feedback_latency(description)],
        ["units a cycle in the gate pipeline", timing.units_per_beat(shape)],
        ["lanes (ADCs)", shape.lanes],
    ]
    return Question(
        f"What does a step of {layer} wait for?",
        said,
        [chart(data, layer)],
        [
            Table(("", "value"), facts, "Cycle counts"),
            Table(head, rows, "The time-line as a table"),
        ],
        notes=["Without stalls from outside. Cycle 0 is the first sample of the step."],
    )


def chart(data: list[dict[str, Any]], layer: str, title: str = "", end: int | None = None) -> Chart:
    """The time-line of `spans`. end: Last cycle of the axis; None: that of the data."""
    shown = [row for row in ROWS if any(d["what"] == row for d in data)]
    scale = {} if end is None else {"scale": {"domain": [0, end], "nice": False}}
    x = field("begin", "quantitative", "clock cycles from the first sample of the step", **scale)
    y = field("what", "nominal", "", sort=shown, axis={"title": None, "labelLimit": 160})
    colour = field(
        "what",
        "nominal",
        "",
        legend=None,
        scale=charts.scale(shown, "sixth", "golden", "third", "rtl", "fourth", "fifth", "bad"),
    )
    tips = charts.hover(
        y | {"title": "what"},
        field("part", "nominal", "which"),
        field("begin", "quantitative", "from cycle"),
        field("end", "quantitative", "to cycle"),
    )
    mark = {"type": "bar", "height": {"band": 0.7}, "stroke": "var(--paper)", "strokeWidth": 0.5}
    encoding = {"x": x, "x2": {"field": "end"}, "y": y, "color": colour, "tooltip": tips}
    spec = {"mark": mark, "height": 26 * len(shown), "encoding": encoding}
    return Chart(spec, data, f"Time-line of one step of {layer}", title)
