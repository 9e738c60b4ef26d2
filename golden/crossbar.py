"""Crossbar: differential cells, their levels, and column charge (docs/contract.md, 3).

A weight is a pair of devices with conductance codes (g+, g-). A column sums the rows' codes times
g+ - g-. A crossbar has the rows of one row tile. Charge is in units of one DAC code times one
conductance code.
"""

from typing import Any

import torch
from torch import Tensor

from golden.geometry import ArrayShape


def column_charge(rows: Tensor, differential: Tensor, shape: ArrayShape) -> Tensor:
    """Exact charge of every column of each row tile: the sum over its rows of v * (g+ - g-).

    rows: Values on the rows, shape (..., rows).
    differential: Differential codes g+ - g-, shape (gates, units, rows).

    Returns shape (..., row tiles, gates, units).
    """
    if not rows.is_floating_point():
        # PyTorch multiplies matrices of integers without BLAS; float64 holds every charge.
        exact = column_charge(rows.double(), differential.double(), shape)
        return exact.to(rows.dtype)
    gates, units, _ = differential.shape
    columns = differential.flatten(0, 1)
    tiles = [rows[..., tile] @ columns[:, tile].T for tile in shape.row_slices]
    charge = torch.stack(tiles, dim=-2)
    return charge.unflatten(-1, (gates, units))


def nearest_level(codes: Tensor, levels: Tensor) -> Tensor:
    """Round real-valued differential codes to the nearest of the ascending `levels`.

    Half-way values go up. Gradient: 1 between the lowest and the highest level, else 0.
    """
    result: Tensor = _NearestLevel.apply(codes, levels)
    return result


def pair(differential: Tensor) -> tuple[Tensor, Tensor]:
    """Device codes (g+, g-) of differential codes: one device holds |D|, the other 0."""
    positive = differential.clamp(min=0)
    # A second clamp would change the gradient at 0: that of positive - negative must be exactly 1.
    return positive, positive - differential


class _NearestLevel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, codes: Tensor, levels: Tensor) -> Tensor:
        ctx.save_for_backward((codes >= levels[0]) & (codes <= levels[-1]))
        boundaries = (levels[1:] + levels[:-1]) / 2
        return levels[torch.bucketize(codes, boundaries, right=True)].to(codes.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None
