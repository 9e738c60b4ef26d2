"""The dense head on a crossbar of its own, arg max and votes (docs/contract.md, 9 and 11)."""

import torch
from torch import Tensor

from golden import adc
from golden.geometry import ArrayShape
from golden.program import HeadProgram, VoteBy


def scores(
    program: HeadProgram, h: Tensor, shape: ArrayShape, runs: Tensor, steps: Tensor | int = 0
) -> Tensor:
    """Class scores (code << frac) + bias, (batch, classes).

    h: (batch, units) DAC codes of any dtype. runs: (batch,) numbers of the passes, and steps:
    (batch,) of the steps, which noise depends on; the score of a whole sequence has step 0.
    """
    codes = adc.codes(h.to(program.bias.dtype), program, shape, runs, steps)[:, 0]
    return codes * 2**shape.description.cell.frac + program.bias


def label(score: Tensor) -> Tensor:
    """The class of the highest score, the lowest-numbered of equals; (...,) of (..., classes)."""
    classes = score.shape[-1]
    return (score * classes - torch.arange(classes, device=score.device)).argmax(-1)


def vote(score: Tensor, by: VoteBy) -> Tensor:
    """The class of each sequence from the scores of its passes; (batch,).

    score: (batch, votes, classes); or (batch, votes, steps, classes), for (batch, steps). By
    "majority" the class that most passes have, by "sum" that of the highest sum of scores; the
    lowest-numbered of equals.
    """
    if by == "sum":
        return label(score.sum(1))
    return label(torch.nn.functional.one_hot(label(score), score.shape[-1]).sum(1))
