"""Dense head, which has its own crossbar; arg max and votes (docs/contract.md, 9 and 11)."""

import torch
from torch import Tensor

from golden import adc
from golden.geometry import ArrayShape
from golden.program import HeadProgram, VoteBy


def scores(
    program: HeadProgram, h: Tensor, shape: ArrayShape, runs: Tensor, steps: Tensor | int = 0
) -> Tensor:
    """Scores (code << frac) + bias of each class, shape (batch, classes).

    h: DAC codes of any dtype, shape (batch, units).
    runs: Run numbers of the passes, shape (batch,), for the noise.
    steps: Step numbers, shape (batch,), for the noise. The score of a whole sequence has step 0.
    """
    codes = adc.codes(h.to(program.bias.dtype), program, shape, runs, steps)[:, 0]
    return codes * 2**shape.description.cell.frac + program.bias


def label(score: Tensor) -> Tensor:
    """Class of the highest score, the lowest of equals: integer scores (..., classes) to (...)."""
    classes = score.shape[-1]
    return (score * classes - torch.arange(classes, device=score.device)).argmax(-1)


def vote(score: Tensor, by: VoteBy) -> Tensor:
    """Class of each sequence from the scores of its passes, shape (batch,) or (batch, steps).

    score: Shape (batch, votes, classes) or (batch, votes, steps, classes).
    by: "majority": the class of most passes. "sum": the class with the highest sum of scores. Of
        equals, the lowest class.
    """
    if by == "sum" or score.shape[1] == 1:
        return label(score.sum(1))
    return label(torch.nn.functional.one_hot(label(score), score.shape[-1]).sum(1))
