"""Digital twin of a program: the same network for an array that computes with integers."""

import dataclasses
from typing import Any

import torch

from golden.description import Description
from golden.errors import WordlineError
from golden.parameters import SETTLE_MAX
from golden.program import Program, ideal_macro
from golden.ranges import symmetric_range
from hw import timing


def check(description: Description) -> None:
    """Raise WordlineError if a design has no digital twin."""
    twin_description(description)
    if description.dac.kind == "pulse-width":
        raise WordlineError(
            "dac.kind = 'pulse-width' has no digital twin, which takes codes and no pulses; leave "
            "the twin out (--no-twin), or give a network with dac.kind = 'level'."
        )


def twin_description(description: Description) -> Description:
    """Description of the digital twin: integer weights, the same pipeline and sample rate.

    Conductances have the minimum width for the levels.

    `array.settle` becomes the time between two samples, which a digital array can use for
    computing. It is at most SETTLE_MAX. A longer period is due to the ADC's conversion after
    settling, which stays.

    Raises WordlineError if levels are not equally spaced: such weights are not integers.
    """
    device = description.device
    if device.levels != "uniform":
        raise WordlineError(
            f"device.levels = {device.levels!r} has no digital twin, whose weights are integers; "
            f"leave the twin out (--no-twin), or give a network with device.levels = 'uniform'."
        )
    period = max(timing.period(shape) for shape in description.arrays.values())
    settle = min(period - description.dac.pulse_cycles + 1, SETTLE_MAX)
    device = dataclasses.replace(device, conductance_bits=max(1, device.weight_bits - 1))
    return description.replace(device=dataclasses.asdict(device), array={"settle": settle})


def twin(program: Program) -> Program:
    """Program for `twin_description`.

    Each weight becomes the number of its level, counted from 0. Gains are rescaled so that codes
    change only by the rounding of the gains. Noise and offsets are left out.
    """
    description = twin_description(program.description)
    spacing = program.description.device.conductance_max // _steps(program.description)
    shapes = program.description.arrays
    arrays = {}
    for name, array in program.arrays.items():
        own, shape = description.arrays[name], shapes[name]
        weight = (array.positive - array.negative) / spacing
        weight = weight.round().long().clamp(-_steps(description), _steps(description))
        most = 2**description.adc.gain_bits - 1
        gain = array.gain * spacing * 2.0 ** (own.adc_shift - shape.adc_shift)
        arrays[name] = dataclasses.replace(
            array,
            positive=weight.clamp(min=0),
            negative=(-weight).clamp(min=0),
            levels=torch.div(array.levels, spacing, rounding_mode="floor"),
            gain=gain.round().long().clamp(1, most),
            **ideal_macro(own),
        )
    parts: list[Any] = [*arrays.values()]
    head = None if program.head is None else parts.pop()
    return dataclasses.replace(program, description=description, layers=tuple(parts), head=head)


def _steps(description: Description) -> int:
    """Number of levels on either side of 0."""
    return symmetric_range(description.device.weight_bits).high
