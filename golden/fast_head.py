"""Fast path of the head: the scores of golden/head.py, with what depends on the program alone kept.

It runs on integers without noise of the macro. Values are float64, which holds all of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from golden import adc, dac, kernel_inputs
from golden.geometry import ArrayShape
from golden.kept import kept
from golden.program import HeadProgram


@dataclass(frozen=True)
class _Made:
    """Numbers of a head, float64: cells (tiles, rows of a tile, classes), and for each conversion
    gain and `add`, its lane's error and the half of rounding, shape (tiles, classes).

    noisy: Whether conversions draw noise.
    """

    noisy: bool
    cells: tuple[Tensor, ...]
    gain: Tensor
    add: Tensor
    bias: Tensor


def scores(program: HeadProgram, h: Tensor, shape: ArrayShape) -> Tensor | None:
    """Scores, int64, shape (batch, classes); None if this path cannot run; see `golden.head`.

    h: DAC codes, shape (batch, units).
    """
    exact = shape.charge_max * 2 ** (shape.description.adc.gain_bits + 1) < 2**52
    if h.is_floating_point() or program.bias.is_floating_point() or not exact:
        return None
    made = kept(program, shape, "head", lambda: _make(program, shape))
    if made.noisy:
        return None
    codes, of_adc = None, shape.description.adc.range
    for on_rows in dac.planes(h.double(), shape.description.dac):
        codes = None if codes is None else 2 * codes
        for n, tile in enumerate(shape.row_slices):
            code = (on_rows[:, tile] @ made.cells[n]).mul_(made.gain[n]).add_(made.add[n])
            code = code.mul_(2.0**-shape.adc_shift).floor_().clamp_(of_adc.low, of_adc.high)
            codes = code if codes is None else codes.add_(code)
    assert codes is not None
    return codes.mul_(2**shape.description.cell.frac).add_(made.bias).to(torch.int64)


def _make(program: HeadProgram, shape: ArrayShape) -> _Made:
    differential = (program.positive - program.negative)[0].double().T
    half = 1 << shape.adc_shift >> 1
    return _Made(
        noisy=kernel_inputs.noisy(program),
        cells=tuple(differential[tile].contiguous() for tile in shape.row_slices),
        gain=adc.lane_gain(program, shape)[:, 0].double(),
        add=(adc.lane_error(program, shape) + half)[:, 0].double(),
        bias=program.bias.double(),
    )
