"""Rounding and narrowing of tensors (docs/contract.md, 1).

The functions take integer tensors, or floating tensors that hold integers. On integers the
arithmetic is exact. Floating tensors (float64 is exact up to 2^53) give the same numbers with a
straight-through gradient. So training runs the golden model itself, and there is no second forward
pass. Only `quantise` and `bipolar` also take real numbers; `half_up` takes integers only.
"""

from typing import Any

import torch
from torch import Tensor

from golden.ranges import Range


def half_up(a: Tensor, shift: int) -> Tensor:
    """floor((a + half) >> shift) with half = 2^(shift-1), and a itself for shift 0."""
    return (a + ((1 << shift) >> 1)) >> shift


def narrow(a: Tensor, shift: int, to: Range) -> Tensor:
    """Saturate half_up(a >> shift) to the range `to`.

    Gradient (floating tensors only): 2^-shift where the result did not saturate, else 0.
    """
    if a.is_floating_point():
        result: Tensor = _Narrow.apply(a, shift, to)
        return result
    return half_up(a, shift).clamp(to.low, to.high)


def quantise(x: Tensor, to: Range) -> Tensor:
    """Saturate floor(x + 1/2) of real numbers to the range `to`; the result is floating.

    Gradient: 1 where the result did not saturate, else 0.
    """
    return narrow(x + 0.5, 0, to)


def bipolar(a: Tensor, shift: int) -> Tensor:
    """+1 where a >= 0, else -1: the 1-bit narrowing.

    Gradient (floating tensors only): 2^-shift where |a| <= 2^shift, else 0.
    """
    if a.is_floating_point():
        result: Tensor = _Bipolar.apply(a, shift)
        return result
    return torch.where(a >= 0, 1, -1)


def look_up(tables: Tensor, index: Tensor, range_: Range) -> Tensor:
    """Read entry `index - range_.low` of the table of each group.

    tables: Shape (groups, entries) or (entries,).
    index: Shape (..., groups, units) or (...), within `range_`.

    Gradient (floating tensors only): 1 to the entries that were read; to the index, `slopes`.
    """
    if tables.is_floating_point():
        result: Tensor = _LookUp.apply(tables, index, range_)
        return result
    return tables.reshape(-1)[_flat_index(tables, index, range_)]


def _flat_index(tables: Tensor, index: Tensor, range_: Range) -> Tensor:
    """Indices into the flattened tables."""
    flat = index.long() - range_.low
    if tables.dim() == 2:
        groups = torch.arange(tables.shape[0], device=tables.device)
        flat = flat + (groups * tables.shape[1])[:, None]
    return flat


class _Narrow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, shift: int, to: Range) -> Tensor:
        rounded = torch.floor((a + ((1 << shift) >> 1)) * 2.0**-shift if shift else a)
        result = rounded.clamp(to.low, to.high)
        ctx.shift = shift
        ctx.save_for_backward(rounded == result)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        grad = grads[0] * inside
        return grad * 2.0**-ctx.shift if ctx.shift else grad, None, None


class _Bipolar(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, shift: int) -> Tensor:
        ctx.shift = shift
        ctx.save_for_backward(a.abs() <= 2.0**shift)
        return torch.where(a >= 0, 1.0, -1.0).to(a.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside * 2.0**-ctx.shift, None


def slopes(tables: Tensor) -> Tensor:
    """Gradient of tables (..., entries) with respect to their index.

    It is half the difference of the two neighbours. For more than 256 entries it is the mean slope
    over 1/256 of the table on either side: in so fine a table, neighbours differ by 0 or 1 LSB,
    whatever the slope of the curve. The end entries repeat beyond the table.
    """
    reach = max(1, tables.shape[-1] // 256)
    ends = (*tables.shape[:-1], reach)
    parts = [tables[..., :1].expand(ends), tables, tables[..., -1:].expand(ends)]
    padded = torch.cat(parts, dim=-1)
    return (padded[..., 2 * reach :] - padded[..., : -2 * reach]) / (2 * reach)


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tables: Tensor, index: Tensor, range_: Range) -> Tensor:
        flat = _flat_index(tables, index, range_)
        ctx.save_for_backward(tables, flat)
        return tables.reshape(-1)[flat]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        tables, flat = ctx.saved_tensors
        slope = slopes(tables).reshape(-1)
        entries = torch.zeros(tables.numel(), dtype=tables.dtype, device=tables.device)
        entries.scatter_add_(0, flat.reshape(-1), grads[0].reshape(-1))
        return entries.reshape(tables.shape), grads[0] * slope[flat], None
