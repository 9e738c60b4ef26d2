"""Fast path of the head: the scores of golden/head.py without noise of the macro.

On integers, what depends on the program alone is kept. In training there are few operations each
way, with the gradients of the readable path. Values are float64, which holds all of them.
"""

from dataclasses import dataclass
from typing import Any

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


def trained(program: HeadProgram, h: Tensor, shape: ArrayShape) -> Tensor | None:
    """Scores, float64, shape (batch, classes), with gradients; None if this path cannot run.

    h: DAC codes, shape (batch, units).
    """
    real = h.is_cpu and program.bias.dtype == torch.float64
    real = real and not program.offset.is_floating_point()
    others = program.offset, program.gain_error, program.read_noise, program.adc_noise
    if not real or shape.description.dac.planes > 1 or any(bool(own.any()) for own in others):
        return None
    differential = (program.positive - program.negative)[0]
    found: Tensor = _Scores.apply(h, differential, program.gain, program.bias, shape)
    return found


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, differential: Tensor, gain: Tensor, bias: Tensor, shape: ArrayShape
    ) -> Tensor:
        rows, scale, of_adc = h.double(), 2.0**-shape.adc_shift, shape.description.adc.range
        charges, insides, codes = [], [], None
        for n, tile in enumerate(shape.row_slices):
            charges.append(rows[:, tile] @ differential[:, tile].T)
            rounded = (charges[n] * gain[n]).add_(1 << shape.adc_shift >> 1).mul_(scale).floor_()
            code = rounded.clamp(of_adc.low, of_adc.high)
            insides.append(rounded == code)
            codes = code if codes is None else codes.add_(code)
        assert codes is not None
        ctx.shape, ctx.of_h = shape, h.dtype
        ctx.save_for_backward(rows, differential, gain, *charges, *insides)
        return codes.mul_(2**shape.description.cell.frac).add_(bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, differential, gain, *more = ctx.saved_tensors
        tiles = ctx.shape.row_slices
        of_code = grads[0] * 2.0 ** (ctx.shape.description.cell.frac - ctx.shape.adc_shift)
        of_h, of_cells = torch.empty_like(rows), torch.empty_like(differential)
        of_gain = torch.empty_like(gain)
        for n, tile in enumerate(tiles):
            along = of_code * more[len(tiles) + n]
            of_gain[n] = (along * more[n]).sum()
            along *= gain[n]
            of_h[:, tile] = along @ differential[:, tile]
            of_cells[:, tile] = along.T @ rows[:, tile]
        return of_h.to(ctx.of_h), of_cells, of_gain, grads[0].sum(0), None


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
