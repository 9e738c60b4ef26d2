"""ADC: gain, lane errors, noise, rounding, saturation (docs/contract.md, 4).

A column's code is the sum of its conversions: one per row tile and, for a bit-serial DAC, per
plane.
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
    """ADC codes of all columns for DAC codes on the rows, shape (batch, gates, units).

    rows: DAC codes, shape (batch, rows).
    runs: Run numbers of the passes, shape (batch,), for the noise.
    step: Step number, or one per pass, shape (batch,), for the noise.
    """
    return summed(conversions(rows, array, shape, runs, step))


def summed(converted: Iterable[Tensor]) -> Tensor:
    """Sum the results of `conversions` to the codes of columns, shape (batch, gates, units)."""
    total: Tensor | int = 0
    for of_plane in converted:
        total = 2 * total + of_plane.sum(1)
    assert isinstance(total, Tensor)
    return total


def conversions(
    rows: Tensor, array: ArrayProgram, shape: ArrayShape, runs: Tensor, step: Tensor | int
) -> Iterator[Tensor]:
    """Yield the conversions plane by plane, highest first, (batch, row tiles, gates, units).

    Arguments as for `codes`.
    """
    differential = array.positive - array.negative
    for plane, on_rows in enumerate(dac.planes(rows, shape.description.dac)):
        charge = crossbar.column_charge(on_rows, differential, shape)
        number = step * shape.description.dac.planes + plane
        yield convert(charge, array, shape, draw(array, shape, runs, number))


def convert(
    charge: Tensor, array: ArrayProgram, shape: ArrayShape, draws: Draws | None = None
) -> Tensor:
    """Convert column charges q: saturate(half_up(((q + n) * gain + e) >> shift)).

    n is the read noise, e the lane's error: its noise and offset.

    charge: Shape (batch, row tiles, gates, units).
    draws: One draw per conversion; not needed if the noise amplitudes are 0.
    """
    code = (charge + _read_noise(array, draws)) * lane_gain(array, shape)
    code = code + lane_error(array, shape, draws)
    return narrow(code, shape.adc_shift, shape.description.adc.range)


def draw(array: ArrayProgram, shape: ArrayShape, runs: Tensor, step: Tensor | int) -> Draws | None:
    """Draw the noise of a conversion of every column, shape (batch, row tiles, gates, units).

    step: Step number, or one per run.

    Returns None if no noise is on.
    """
    if not (array.read_noise.any() or array.adc_noise.any()):
        return None
    keys, columns = keys_and_columns(array, shape)
    return drawn(keys, runs, step, columns)


def keys_and_columns(array: ArrayProgram, shape: ArrayShape) -> tuple[Tensor, Tensor]:
    """Crossbar key, shape (2, ...), and column number of each column (row tiles, gates, units)."""
    device = array.key.device
    tile, unit = shape.place(torch.arange(shape.units, device=device))
    gates = torch.arange(shape.gates, device=device)
    keys = array.key.long()[:, tile].movedim(-1, 0)[:, :, None]  # (2, row tiles, 1, units)
    size = (len(shape.row_tiles), shape.gates, shape.units)
    return keys.expand(2, *size), (shape.gates * unit + gates[:, None]).expand(size)


def _read_noise(array: ArrayProgram, draws: Draws | None) -> Tensor | int:
    """Read noise of the cells, rounded to units of charge."""
    if draws is None:
        return 0
    read: Tensor = draws.read * array.read_noise.long()[:, None, None]
    return _half_up(read, noise.READ_NOISE_SHIFT)


def lane_gain(array: ArrayProgram, shape: ArrayShape) -> Tensor:
    """Gain of each gate as the lane of each unit has it, shape (row tiles, gates, units)."""
    gain = array.gain[..., None].expand(-1, -1, shape.units)
    if not array.gain_error.any():
        return gain
    factor = 2**noise.GAIN_ERROR_SHIFT + array.gain_error[:, None, lane(shape)]
    most = Range(0, 2 ** (shape.description.adc.gain_bits + 1) - 1)
    return narrow(gain * factor, noise.GAIN_ERROR_SHIFT, most)


def lane_error(array: ArrayProgram, shape: ArrayShape, draws: Draws | None = None) -> Tensor:
    """Offset and noise of the lanes, in units of charge times gain."""
    error = noise.UNIT * array.offset.long()[:, None, lane(shape)]
    if draws is not None:
        error = error + draws.adc * array.adc_noise.long()
    return _half_up(error, noise.LSB_SHIFT - shape.adc_shift)


def lane(shape: ArrayShape) -> Tensor:
    """Lane that converts each unit."""
    return torch.arange(shape.units) % shape.lanes


def _half_up(a: Tensor, shift: int) -> Tensor:
    """Like `golden.fixed.half_up`; a negative shift is a left shift."""
    return half_up(a, shift) if shift >= 0 else a << -shift
