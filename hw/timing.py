"""Every cycle count of a design, computed from its description.

Blocks take their latencies from here; so do emission, benches and estimates. The section "Cycles a
step" of docs/architecture.md adds them up. docs/macro.md has the timing of the macro.
"""

from functools import cache

from golden.description import Description
from golden.errors import WordlineError
from golden.geometry import ArrayShape
from golden.parameters import Adc
from golden.ranges import ceil_div


def adc_cycles(adc: Adc) -> int:
    """Cycles from a settled sample to its code."""
    return conversion_steps(adc.kind, adc.bits)


def conversion_steps(kind: str, bits: int) -> int:
    """Comparisons, one after the other, of an ADC of a kind."""
    return {"sar": bits, "flash": 1, "ramp": 2**bits - 1}[kind]


def settle(shape: ArrayShape) -> int:
    """Cycles from a sample to a valid comparator output, the longest DAC pulse included."""
    description = shape.description
    return int(description.array.settle + description.dac.pulse_cycles - 1)


def period(shape: ArrayShape) -> int:
    """Cycles between two samples of a lane, without stalls."""
    return max(adc_cycles(shape.description.adc), settle(shape))


def conversion_cycles(shape: ArrayShape) -> int:
    """Cycles the ADCs need to convert one step: the lower bound of its duration."""
    return shape.samples * period(shape)


def readout_latency(shape: ArrayShape) -> int:
    """Cycles from a column's last sample to its code; one more if it sums conversions."""
    return int(settle(shape) + adc_cycles(shape.description.adc) + shape.adds_up)


def gate_latency(shape: ArrayShape) -> int:
    """Cycles from a block's last beat of codes to its first beat of h."""
    return int(shape.description.cell.gate_latency(shape.description.array.pipeline))


def x_latency(description: Description) -> int:
    """Cycles from the last beat of x to its step on the rows."""
    return 3 if description.array.deep else 2


def feedback_latency(description: Description) -> int:
    """Cycles from the last beat of h to the next step on the rows."""
    return 2 if description.array.deep else 1


def score_latency(shape: ArrayShape) -> int:
    """Cycles from a beat of the head's codes to its first score."""
    return 3 if shape.deep else 2


@cache
def units_per_beat(shape: ArrayShape) -> int:
    """Units that the gate pipeline processes per cycle, which is the width of a beat of h.

    For a layer this is `array.units_per_beat`, if that is set. Otherwise it is the smallest
    divisor of the lanes that keeps up with the ADCs and makes a step at most 10 % longer than its
    conversions. If no divisor achieves that, it is the smallest one with which a step is at most
    5 % longer than with all lanes in one beat. Raises WordlineError if `array.units_per_beat` does
    not keep up with the ADCs.
    """
    conversions = conversion_cycles(shape)
    needed = ceil_div(shape.lanes, conversions // shape.blocks)
    given = shape.description.array.units_per_beat
    if given and shape in shape.description.layers:  # the head has no gates
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
    """Beats of h per step of a recurrent layer."""
    return ceil_div(shape.units, units_per_beat(shape))


def loop_cycles(shape: ArrayShape, units: int) -> int:
    """Cycles from a step of a recurrent layer to its next step, through the feedback of h.

    units: Units per beat of h. The sum has all samples, the conversion of the last one, the gate
    pipeline, the remaining beats of the last block, and the transfer to the rows.
    """
    tail = shape.units - (shape.blocks - 1) * shape.lanes
    left = ceil_div(tail, units) - 1
    back = gate_latency(shape) + feedback_latency(shape.description)
    return (shape.samples - 1) * period(shape) + readout_latency(shape) + left + back


def input_beats(description: Description, number: int) -> int:
    """Beats per input vector of an array: x for layer 0, h of the previous layer for the others.

    number: Index of the layer. The number of layers selects the head.
    """
    if number == 0:
        return ceil_div(description.network.inputs, description.input_beat)
    return beats(description.layers[number - 1])


def step_cycles(description: Description, number: int) -> int:
    """Cycles between the first samples of two consecutive steps of a recurrent layer.

    This is the larger of the loop through h and the time to accept the input vector. The latter
    dominates if the vector is long and its beats are narrow.
    """
    shape = description.layers[number]
    loop = loop_cycles(shape, units_per_beat(shape))
    return max(loop, input_beats(description, number) + 1)


def vote_cycles(description: Description) -> int:
    """Cycles from the last score of a voter's last pass to its class: it scans every class."""
    return int(description.network.classes + 3)


def output_cycles(description: Description) -> int:
    """Cycles between two outputs if nothing else limits them.

    Without a head: the beats of the last layer's h. With a head: its own cycles, if h arrives
    faster. With a voter: the longest interval between two passes.
    """
    last = len(description.layers)
    if not description.network.classes:
        return beats(description.layers[-1])
    votes = description.voting.replay_steps > 0
    decision = description.head.units + (vote_cycles(description) if votes else 0)
    return max(input_beats(description, last) + 1, conversion_cycles(description.head), decision)


def step_bound(description: Description, number: int) -> str:
    """What limits the cycles of a step of a recurrent layer, as text."""
    shape = description.layers[number]
    if input_beats(description, number) + 1 > loop_cycles(shape, units_per_beat(shape)):
        return f"input: {input_beats(description, number)} beats"
    conversions = conversion_cycles(shape)
    rest = loop_cycles(shape, units_per_beat(shape)) - conversions
    return f"ADCs {conversions}, gates and h back to the rows {rest}"


def output_bound(description: Description) -> str:
    """What limits the cycles of a head's output, as text."""
    cycles = output_cycles(description)
    if cycles == conversion_cycles(description.head):
        return f"ADCs {cycles}"
    if cycles == input_beats(description, len(description.layers)) + 1:
        return f"input: {cycles - 1} beats"
    voter = description.voting.replay_steps > 0
    return "scores, then the voter's scan" if voter else "scores, one a cycle"


def cycles_per_step(description: Description) -> int:
    """Cycles per step without external stalls: those of the slowest block."""
    blocks = [step_cycles(description, n) for n in range(len(description.layers))]
    if description.output.every_step:
        blocks.append(output_cycles(description))
    return max(blocks)
