"""The ADC: gain, errors of its lane, noise, rounding, saturation (docs/contract.md, 4)."""

import torch
from torch import Tensor

from golden import noise
from golden.description import ArrayShape
from golden.fixed import Range, half_up, narrow
from golden.noise import Draws
from golden.program import ArrayProgram


def convert(
    charge: Tensor, array: ArrayProgram, shape: ArrayShape, draws: Draws | None = None
) -> Tensor:
    """Codes of column charges: saturate(half_up(((q + n) * gain + e) >> shift)).

    charge: (batch, gates, units). n is the read noise, e what the lane adds: noise and offset.
    draws: for each conversion; not needed where the amplitudes are 0.
    """
    code = (charge + _read_noise(array, draws)) * lane_gain(array, shape)
    code = code + _lane_error(array, shape, draws)
    return narrow(code, shape.adc_shift, shape.description.adc.range)


def draw(array: ArrayProgram, shape: ArrayShape, runs: Tensor, step: Tensor | int) -> Draws | None:
    """Draws of one step, or of one each, for every column, (batch, gates, units); None where none
    are needed."""
    if not (array.read_noise.any() or array.adc_noise.any()):
        return None
    gates = torch.arange(shape.gates, device=runs.device)
    units = torch.arange(shape.units, device=runs.device)
    return noise.draw(array.key.long(), runs, step, shape.gates * units + gates[:, None])


def _read_noise(array: ArrayProgram, draws: Draws | None) -> Tensor | int:
    """What the cells add to the charge, rounded to units of charge."""
    if draws is None:
        return 0
    read: Tensor = draws.read * array.read_noise.long()
    return _half_up(read, noise.READ_NOISE_SHIFT)


def lane_gain(array: ArrayProgram, shape: ArrayShape) -> Tensor:
    """The gain of each gate as each unit's lane has it, (gates, units)."""
    gain = array.gain[:, None].expand(-1, shape.units)
    if not array.gain_error.any():
        return gain
    factor = 2**noise.GAIN_ERROR_SHIFT + array.gain_error[lane(shape)]
    most = Range(0, 2 ** (shape.description.adc.gain_bits + 1) - 1)
    return narrow(gain * factor, noise.GAIN_ERROR_SHIFT, most)


def _lane_error(array: ArrayProgram, shape: ArrayShape, draws: Draws | None) -> Tensor:
    """Offset and noise of the lanes, on the scale of charge times gain."""
    error = noise.UNIT * array.offset.long()[lane(shape)]
    if draws is not None:
        error = error + draws.adc * array.adc_noise.long()
    return _half_up(error, noise.LSB_SHIFT - shape.adc_shift)


def lane(shape: ArrayShape) -> Tensor:
    """The lane that converts each unit."""
    return torch.arange(shape.units) % shape.lanes


def _half_up(a: Tensor, shift: int) -> Tensor:
    """As golden.fixed.half_up, and a left shift where `shift` is negative."""
    return half_up(a, shift) if shift >= 0 else a << -shift
