"""The digital twin of a program: the same network for an array that computes with integers."""

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
    """Raises WordlineError where a design has no digital twin."""
    twin_description(description)
    if description.dac.kind == "pulse-width":
        raise WordlineError(
            "dac.kind = 'pulse-width' has no digital twin, which takes codes and no pulses; leave "
            "the twin out (--no-twin), or give a network with dac.kind = 'level'."
        )


def twin_description(description: Description) -> Description:
    """A description of weights that are integers of as few bits as they need, with the pipeline of
    the design and its period.

    `array.settle` is the time between two samples, which a digital array can use, as far as it may
    be: a period above SETTLE_MAX is the ADC's conversion, which goes on after a sample has settled,
    so it stays what it is.
    Raises WordlineError where weights are not equally spaced: they are no such integers.
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
    """A program for `twin_description`: each weight as the number of its level, counted from 0, and
    each gain so that its code stays what it is but for the rounding of the gain.

    What the macro errs by, noise and offsets, is left out.
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
    """Levels on either side of 0."""
    return symmetric_range(description.device.weight_bits).high
