"""What is computed from a program, kept for the next run of the same one until it changes."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from golden.geometry import ArrayShape
from golden.program import ArrayProgram

T = TypeVar("T")

_KEPT = WeakTensorKeyDictionary()
"""By a program's `positive`, then by key: what was made, and what it was made from, copies of all
tensors and the shape."""


def kept(program: ArrayProgram, shape: ArrayShape, key: Hashable, make: Callable[[], T]) -> T:
    """`make()`, or what it returned for this key when the program was as it is now.

    All numbers are compared, which takes a few hundredths of a run: PyTorch's version counters do
    not see what is written through `.data` or NumPy.
    """
    tensors = program.tensors()
    of_program: dict[Hashable, Any] = _KEPT.setdefault(program.positive, {})
    if key in of_program:
        made: T
        made, before, own = of_program[key]
        if own == shape and before.keys() == tensors.keys() and _equal(before, tensors):
            return made
    made = make()
    of_program[key] = made, {name: t.detach().clone() for name, t in tensors.items()}, shape
    return made


def _equal(before: dict[str, Tensor], now: dict[str, Tensor]) -> bool:
    return all(old.dtype == now[n].dtype and torch.equal(old, now[n]) for n, old in before.items())
