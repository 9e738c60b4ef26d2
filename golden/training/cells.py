"""Numbers of an array from real weights, with gradients: few operations each way.

`TrainableArray.readable` and `golden.tables.gate_tables` have the same in readable form, which runs
where there is no kernel; tests compare both. Numbers are equal, gradients differ by rounding alone.
"""

from typing import Any

import torch
from torch import Tensor

from golden import native, tables
from golden.geometry import ArrayShape
from golden.ranges import Range

Numbers = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]
"""g+ and g-, gains, biases, and tables of gates, if wanted; float64."""


def usable(weight: Tensor) -> bool:
    """Whether the kernels can run: on a CPU with compiled kernels, in float64."""
    on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float64
    return on_cpu and native.library() is not None


def numbers(
    weight: Tensor,
    bias: Tensor,
    log_unit: Tensor,
    log_lsb: Tensor,
    *,
    row_step: Tensor,
    levels: Tensor,
    shape: ArrayShape,
    with_tables: bool,
) -> Numbers:
    """Numbers of an array, with gradients to the first four arguments.

    Gradients of cells go through levels between the lowest and the highest one, those of the others
    where they do not saturate.

    weight, bias, log_unit, log_lsb, row_step, levels: As in `golden.training.quantised`, float64.
    with_tables: Whether to make the gates' tables, too.
    """
    own = row_step, levels, shape, with_tables
    found: Numbers = _Numbers.apply(weight, bias, log_unit, log_lsb, *own)
    return found


class _Numbers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        bias: Tensor,
        log_unit: Tensor,
        log_lsb: Tensor,
        row_step: Tensor,
        levels: Tensor,
        shape: ArrayShape,
        with_tables: bool,
    ) -> Numbers:
        description = shape.description
        tensors = {
            "weight": weight.contiguous(),
            "row_step": row_step.contiguous(),
            "unit": log_unit.exp(),
            "between": (levels[1:] + levels[:-1]) / 2,
            "levels": levels.contiguous(),
            "positive": torch.empty_like(weight, memory_format=torch.contiguous_format),
            "negative": torch.empty_like(weight, memory_format=torch.contiguous_format),
        }
        native.run_on_cells("program_cells", tensors, shape)
        step = log_lsb.exp() / 2**description.cell.frac
        real_gain = (log_unit - log_lsb).exp() * 2.0**shape.adc_shift
        gain, inside = _rounded(real_gain, Range(1, 2**description.adc.gain_bits - 1))
        biases, bias_inside = _rounded(bias / step[:, None], shape.index_range)
        of_gates, table_slope = tables.with_slopes(step, shape) if with_tables else (None, None)
        ctx.shape = shape
        ctx.names = tuple(name for name in tensors if name != "positive")
        more = (bias, step, inside * real_gain, bias_inside, table_slope)
        ctx.save_for_backward(*(tensors[name] for name in ctx.names), *more)
        ctx.set_materialize_grads(False)
        return tensors["positive"], tensors["negative"], gain, biases, of_gates

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        tensors = dict(zip(ctx.names, saved, strict=False))
        bias, step, gain_slope, bias_inside, table_slope = saved[len(ctx.names) :]
        of_unit, of_lsb = torch.zeros_like(tensors["unit"]), torch.zeros_like(step)
        of_weight = of_bias = None
        positive, negative, of_gain, of_biases, of_tables = grads
        if positive is not None or negative is not None:
            of_weight = torch.empty_like(tensors["weight"])
            sides = {"grad_positive": positive, "grad_negative": negative}
            tensors |= {
                side: torch.zeros_like(of_weight) if grad is None else grad.contiguous()
                for side, grad in sides.items()
            }
            tensors |= {
                "grad_weight": of_weight,
                "grad_unit": of_unit,
            }
            native.run_on_cells("program_cells_back", tensors, ctx.shape)
            of_unit *= tensors["unit"]
        # A number saturates, or is in proportion to exp(log_unit - log_lsb) or exp(-log_lsb).
        if of_gain is not None:
            along = of_gain * gain_slope
            of_unit += along
            of_lsb -= along.sum(0)
        if of_biases is not None:
            of_bias = of_biases * bias_inside / step[:, None]
            of_lsb -= (of_bias * bias).sum(1)
        if of_tables is not None:
            of_lsb += (of_tables * table_slope).sum(1)
        return of_weight, of_bias, of_unit, of_lsb, None, None, None, None


def _rounded(real: Tensor, to: Range) -> tuple[Tensor, Tensor]:
    """`golden.fixed.quantise` without gradients, and its gradient: where it does not saturate."""
    rounded = (real + 0.5).floor_()
    codes = rounded.clamp(to.low, to.high)
    return codes, rounded == codes
