"""What is computed from a program, kept for the next run of the same one until it changes."""

import operator
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from torch.utils.weak import WeakTensorKeyDictionary

from golden.geometry import ArrayShape
from golden.program import ArrayProgram

T = TypeVar("T")

_KEPT = WeakTensorKeyDictionary()
"""By a program's `positive`, then by key: what was made, and what it was made from: all other
tensors, the versions of all tensors, which change when they are written to, and the shape."""


def kept(program: ArrayProgram, shape: ArrayShape, key: Hashable, make: Callable[[], T]) -> T:
    """`make()`, or what it returned for this key when the program was as it is now."""
    positive, *others = program.tensors().values()
    versions = [-1 if t.is_inference() else t._version for t in (positive, *others)]
    of_program: dict[Hashable, Any] = _KEPT.setdefault(positive, {})
    if key in of_program and -1 not in versions:
        made: T
        made, tensors, before, own = of_program[key]
        same = len(tensors) == len(others) and all(map(operator.is_, tensors, others))
        if same and before == versions and own == shape:
            return made
    made = make()
    of_program[key] = made, others, versions, shape
    return made
