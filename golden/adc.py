"""The ADC: gain, errors of its lane, noise, rounding, saturation (docs/contract.md, 4).

A column's code is the sum of what its conversions gave: one for each row tile and, of a bit-serial
DAC, for each plane.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from golden import crossbar, dac, noise
from golden.draws import Draws
from golden.draws import draw as drawn
from golden.fixed import half_up, narrow
from golden.geometry import ArrayShape
from golden.program import ArrayProgram
from golden.ranges import Range


def codes(
    rows: Tensor, array: ArrayProgram, shape: ArrayShape, runs: Tensor, step: Tensor | int
) -> Tensor:
    """Codes of all columns for DAC codes on the rows, (batch, gates, units).

    rows: (batch, rows). runs: (batch,) numbers of the passes, and step: its number, or (batch,)
    numbers, which noise depends on.
    """
    return summed(conversions(rows, array, shape, runs, step))


def summed(converted: Iterable[Tensor]) -> Tensor:
    """Columns' codes from what `conversions` gives, (batch, gates, units)."""
    total: Tensor | int = 0
    for of_plane in converted:
        total = 2 * total + of_plane.sum(1)
    assert isinstance(total, Tensor)
    return total


def conversions(
    rows: Tensor, array: ArrayProgram, shape: ArrayShape, runs: Tensor, step: Tensor | int
) -> Iterator[Tensor]:
    """What each conversion gives, (batch, row tiles, gates, units) a plane, the highest first; see
    `codes`."""
    differential = array.positive - array.negative
    for plane, on_rows in enumerate(dac.planes(rows, shape.description.dac)):
        charge = crossbar.column_charge(on_rows, differential, shape)
        number = step * shape.description.dac.planes + plane
        yield convert(charge, array, shape, draw(array, shape, runs, number))


def convert(
    charge: Tensor, array: ArrayProgram, shape: ArrayShape, draws: Draws | None = None
) -> Tensor:
    """Codes of column charges: saturate(half_up(((q + n) * gain + e) >> shift)).

    charge: (batch, row tiles, gates, units). n is the read noise, e what the lane adds: noise and
    offset. draws: for each conversion; not needed where the amplitudes are 0.
    """
    code = (charge + _read_noise(array, draws)) * lane_gain(array, shape)
    code = code + _lane_error(array, shape, draws)
    return narrow(code, shape.adc_shift, shape.description.adc.range)


def draw(array: ArrayProgram, shape: ArrayShape, runs: Tensor, step: Tensor | int) -> Draws | None:
    """Draws of one conversion, or of one of each run, for every column, (batch, row tiles, gates,
    units); None where none are needed."""
    if not (array.read_noise.any() or array.adc_noise.any()):
        return None
    keys, columns = keys_and_columns(array, shape)
    return drawn(keys, runs, step, columns)


def keys_and_columns(array: ArrayProgram, shape: ArrayShape) -> tuple[Tensor, Tensor]:
    """For each column (row tiles, gates, units) its crossbar's key, (2, ...), and its number
    there."""
    device = array.key.device
    tile, unit = shape.place(torch.arange(shape.units, device=device))
    gates = torch.arange(shape.gates, device=device)
    keys = array.key.long()[:, tile].movedim(-1, 0)[:, :, None]  # (2, row tiles, 1, units)
    size = (len(shape.row_tiles), shape.gates, shape.units)
    return keys.expand(2, *size), (shape.gates * unit + gates[:, None]).expand(size)


def _read_noise(array: ArrayProgram, draws: Draws | None) -> Tensor | int:
    """What the cells add to the charge, rounded to units of charge."""
    if draws is None:
        return 0
    read: Tensor = draws.read * array.read_noise.long()[:, None, None]
    return _half_up(read, noise.READ_NOISE_SHIFT)


def lane_gain(array: ArrayProgram, shape: ArrayShape) -> Tensor:
    """The gain of each gate as each unit's lane has it, (row tiles, gates, units)."""
    gain = array.gain[..., None].expand(-1, -1, shape.units)
    if not array.gain_error.any():
        return gain
    factor = 2**noise.GAIN_ERROR_SHIFT + array.gain_error[:, None, lane(shape)]
    most = Range(0, 2 ** (shape.description.adc.gain_bits + 1) - 1)
    return narrow(gain * factor, noise.GAIN_ERROR_SHIFT, most)


def _lane_error(array: ArrayProgram, shape: ArrayShape, draws: Draws | None) -> Tensor:
    """Offset and noise of the lanes, on the scale of charge times gain."""
    error = noise.UNIT * array.offset.long()[:, None, lane(shape)]
    if draws is not None:
        error = error + draws.adc * array.adc_noise.long()
    return _half_up(error, noise.LSB_SHIFT - shape.adc_shift)


def lane(shape: ArrayShape) -> Tensor:
    """The lane that converts each unit."""
    return torch.arange(shape.units) % shape.lanes


def _half_up(a: Tensor, shift: int) -> Tensor:
    """As golden.fixed.half_up, and a left shift where `shift` is negative."""
    return half_up(a, shift) if shift >= 0 else a << -shift
