"""The dense head on a crossbar of its own, and arg max (docs/contract.md, 9)."""

import torch
from torch import Tensor

from golden import adc, crossbar
from golden.description import ArrayShape
from golden.program import HeadProgram


def scores(program: HeadProgram, h: Tensor, shape: ArrayShape) -> Tensor:
    """Class scores (code << frac) + bias; h: (batch, units) DAC codes; (batch, classes)."""
    charge = crossbar.column_charge(h, program.positive - program.negative)
    codes = adc.convert(charge, program.gain, shape)[:, 0]
    return codes * 2**shape.description.cell.frac + program.bias


def label(score: Tensor) -> Tensor:
    """The class of the highest score, the lowest-numbered of equals; (batch,)."""
    classes = score.shape[-1]
    return (score * classes - torch.arange(classes, device=score.device)).argmax(-1)
