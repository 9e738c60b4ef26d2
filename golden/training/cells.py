"""Codes of an array's cells from real weights, in one compiled pass each way.

`TrainableArray` has the same in readable form, which runs where there is no kernel; tests compare
both. Codes are equal, gradients differ by rounding alone.
"""

from typing import Any

import torch
from torch import Tensor

from golden import native
from golden.geometry import ArrayShape


def usable(weight: Tensor) -> bool:
    """Whether the kernels can run: on a CPU with compiled kernels, in float64."""
    on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float64
    return on_cpu and native.library() is not None


def codes(
    weight: Tensor, row_step: Tensor, unit: Tensor, levels: Tensor, shape: ArrayShape
) -> tuple[Tensor, Tensor]:
    """Conductance codes (g+, g-), float64, shape (gates, units, rows), with gradients.

    Gradients go to weight and unit, through levels between the lowest and the highest one.

    weight: Real weights, float64, shape (gates, units, rows).
    row_step: Real value of one DAC code on each row, float64, shape (rows,).
    unit: Real value of one DAC code times one conductance code, float64, shape (row tiles, gates).
    levels: Ascending differential codes, float64, shape (levels,).
    """
    found: tuple[Tensor, Tensor] = _Codes.apply(weight, row_step, unit, levels, shape)
    return found


class _Codes(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        row_step: Tensor,
        unit: Tensor,
        levels: Tensor,
        shape: ArrayShape,
    ) -> tuple[Tensor, Tensor]:
        tensors = {
            "weight": weight.contiguous(),
            "row_step": row_step.contiguous(),
            "unit": unit.contiguous(),
            "between": (levels[1:] + levels[:-1]) / 2,
            "levels": levels.contiguous(),
            "positive": torch.empty_like(weight, memory_format=torch.contiguous_format),
            "negative": torch.empty_like(weight, memory_format=torch.contiguous_format),
        }
        native.run_on_cells("program_cells", tensors, shape)
        ctx.shape = shape
        ctx.names = tuple(name for name in tensors if name != "positive")
        ctx.save_for_backward(*(tensors[name] for name in ctx.names))
        return tensors["positive"], tensors["negative"]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tensors = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        tensors |= {
            "grad_positive": grads[0].contiguous(),
            "grad_negative": grads[1].contiguous(),
            "grad_weight": torch.empty_like(tensors["weight"]),
            "grad_unit": torch.zeros_like(tensors["unit"]),
        }
        native.run_on_cells("program_cells_back", tensors, ctx.shape)
        return tensors["grad_weight"], None, tensors["grad_unit"], None, None
