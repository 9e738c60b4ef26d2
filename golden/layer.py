"""A recurrent layer: the cell in a loop through its crossbar (docs/contract.md, 8)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from golden import adc, crossbar, lstm
from golden.description import ArrayShape
from golden.program import LayerProgram


@dataclass(frozen=True)
class LayerTrace:
    """Everything a layer computed: codes (batch, steps, gates, units); c, h (batch, steps,
    units). h are DAC codes."""

    codes: Tensor
    c: Tensor
    h: Tensor


def run(program: LayerProgram, x: Tensor, shape: ArrayShape) -> LayerTrace:
    """All steps of a batch of sequences, from c = 0 and h = the DAC's code of 0.

    x: (batch, steps, inputs) DAC codes, of the dtype of the program's tensors.
    """
    batch, steps, inputs = x.shape
    differential = program.positive - program.negative
    h = torch.full_like(x[:, 0, :1], shape.description.dac.zero).expand(batch, shape.units)
    c = torch.zeros_like(h)
    # Charge is a sum over rows: the inputs' share of all steps comes from one product.
    from_inputs = crossbar.column_charge(x.flatten(0, 1), differential[..., :inputs])
    from_inputs = from_inputs.unflatten(0, (batch, steps))
    trace: tuple[list[Tensor], ...] = ([], [], [])
    for t in range(steps):
        charge = from_inputs[:, t] + crossbar.column_charge(h, differential[..., inputs:])
        codes = adc.convert(charge, program.gain, shape)
        c, h = lstm.step(codes, c, program, shape.description)
        for values, value in zip(trace, (codes, c, h), strict=True):
            values.append(value)
    return LayerTrace(*(torch.stack(values, dim=1) for values in trace))
