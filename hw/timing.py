"""Every cycle count of a design, from its description.

Blocks take their latencies from here; so do emission, benches and estimates. The section "Cycles a
step" of docs/architecture.md has the sum, docs/macro.md the timing of the macro.
"""

from functools import cache

from golden.description import Description
from golden.errors import WordlineError
from golden.geometry import ArrayShape
from golden.parameters import Adc
from golden.ranges import ceil_div


def adc_cycles(adc: Adc) -> int:
    """Clock cycles from a settled sample to its code."""
    return {"sar": adc.bits, "flash": 1, "ramp": 2**adc.bits - 1}[adc.kind]


def settle(shape: ArrayShape) -> int:
    """Cycles from a sample to a valid comparator: a pulse, and what comes after it."""
    description = shape.description
    return int(description.array.settle + description.dac.pulse_cycles - 1)


def period(shape: ArrayShape) -> int:
    """Cycles between two samples of a lane."""
    return max(adc_cycles(shape.description.adc), settle(shape))


def conversion_cycles(shape: ArrayShape) -> int:
    """Cycles the ADCs need for one step: what a step should cost."""
    return shape.samples * period(shape)


def readout_latency(shape: ArrayShape) -> int:
    """Cycles from a column's last sample to its code; a sum of conversions takes one more."""
    return int(settle(shape) + adc_cycles(shape.description.adc) + shape.adds_up)


def gate_latency(shape: ArrayShape) -> int:
    """Cycles from a block of codes to h, through the gates."""
    return int(shape.description.cell.gate_latency(shape.description.array.pipeline))


def x_latency(description: Description) -> int:
    """Cycles from the last beat of x to its vector on the rows."""
    return 3 if description.array.deep else 2


def feedback_latency(description: Description) -> int:
    """Cycles from the last beat of h to the next step on the rows."""
    return 2 if description.array.deep else 1


def score_latency(shape: ArrayShape) -> int:
    """Cycles from a beat of the head's codes to its first score."""
    return 3 if shape.deep else 2


@cache
def units_per_beat(shape: ArrayShape) -> int:
    """Units the gate pipeline handles in one cycle.

    `array.units_per_beat`, or else the fewest, dividing the lanes, that keep up with the ADCs and
    with which a step takes at most a tenth longer than the ADCs need. Where no number is enough for
    that, the fewest with which a step takes at most a twentieth longer than with all lanes at once.
    Raises WordlineError where the given number does not keep up.
    """
    conversions = conversion_cycles(shape)
    needed = ceil_div(shape.lanes, conversions // shape.blocks)
    given = shape.description.array.units_per_beat
    if given and shape in shape.description.layers:  # a head has no gates
        if given < needed:
            raise WordlineError(
                f"array.units_per_beat = {given} is too few to keep up with the ADCs, which "
                f"convert {shape.lanes} units in {conversions // shape.blocks} cycles; give "
                f"{needed} or more, or 0 to have it chosen."
            )
        return int(given)
    fits = [n for n in range(needed, shape.lanes + 1) if shape.lanes % n == 0]
    near = [n for n in fits if 10 * loop_cycles(shape, n) <= 11 * conversions]
    best = loop_cycles(shape, fits[-1])
    return (near or [n for n in fits if 20 * loop_cycles(shape, n) <= 21 * best])[0]


def beats(shape: ArrayShape) -> int:
    """Beats of h of a recurrent layer's step."""
    return ceil_div(shape.units, units_per_beat(shape))


def loop_cycles(shape: ArrayShape, units: int) -> int:
    """Cycles from a recurrent layer's step to the next one, through h, with so many units a beat:
    all samples, the last one's conversion, the gates, what is left of the last block, the rows."""
    tail = shape.units - (shape.blocks - 1) * shape.lanes
    left = ceil_div(tail, units) - 1
    back = gate_latency(shape) + feedback_latency(shape.description)
    return (shape.samples - 1) * period(shape) + readout_latency(shape) + left + back


def input_beats(description: Description, number: int) -> int:
    """Beats in which an array takes its vector: x for layer 0, else h of the layer before; number:
    that of a layer, or as many as there are for the head."""
    if number == 0:
        return ceil_div(description.network.inputs, description.input_beat)
    return beats(description.layers[number - 1])


def step_cycles(description: Description, number: int) -> int:
    """Cycles from the first sample of a step of a recurrent layer to the next step's: the loop
    through h or, where its input is long and its beats narrow, the time to take that."""
    shape = description.layers[number]
    loop = loop_cycles(shape, units_per_beat(shape))
    return max(loop, input_beats(description, number) + 1)


def vote_cycles(description: Description) -> int:
    """Cycles from the last score of a voter's last pass to its class: it looks at every class."""
    return int(description.network.classes + 3)


def output_cycles(description: Description) -> int:
    """Cycles between two outputs, when nothing else holds them up: a head's, when h comes faster
    than that, or the beats of the last layer's h; with several votes, the most between two
    passes."""
    last = len(description.layers)
    if not description.network.classes:
        return beats(description.layers[-1])
    votes = description.voting.replay_steps > 0
    decision = description.head.units + (vote_cycles(description) if votes else 0)
    return max(input_beats(description, last) + 1, conversion_cycles(description.head), decision)


def step_bound(description: Description, number: int) -> str:
    """What bounds the cycles of a step of a recurrent layer, in words."""
    shape = description.layers[number]
    if input_beats(description, number) + 1 > loop_cycles(shape, units_per_beat(shape)):
        return f"input: {input_beats(description, number)} beats"
    conversions = conversion_cycles(shape)
    rest = loop_cycles(shape, units_per_beat(shape)) - conversions
    return f"ADCs {conversions}, gates and h back to the rows {rest}"


def output_bound(description: Description) -> str:
    """What bounds the cycles of a head's output, in words."""
    cycles = output_cycles(description)
    if cycles == conversion_cycles(description.head):
        return f"ADCs {cycles}"
    if cycles == input_beats(description, len(description.layers)) + 1:
        return f"input: {cycles - 1} beats"
    return "scores, one a cycle"


def cycles_per_step(description: Description) -> int:
    """Cycles a step takes when nothing outside holds it up: those of the slowest block."""
    blocks = [step_cycles(description, n) for n in range(len(description.layers))]
    if description.output.every_step:
        blocks.append(output_cycles(description))
    return max(blocks)
