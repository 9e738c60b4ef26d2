"""What is computed from a program, kept for the next run of the same one until it changes."""

import operator
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from golden import native
from golden.geometry import ArrayShape
from golden.program import ArrayProgram

T = TypeVar("T")

_KEPT = WeakTensorKeyDictionary()
"""By a program's `positive`, then by key: what was made, and what it was made from: all other
tensors, the state of all tensors, and the shape."""


def kept(program: ArrayProgram, shape: ArrayShape, key: Hashable, make: Callable[[], T]) -> T:
    """`make()`, or what it returned for this key when the program was as it is now.

    PyTorch counts writes to a tensor. NumPy's are not counted, so a tensor that NumPy has a view of
    is compared by a digest of its numbers. Writes through `.data` go unnoticed, as in PyTorch.
    """
    positive, *others = program.tensors().values()
    now = _state([positive, *others])
    of_program: dict[Hashable, Any] = _KEPT.setdefault(positive, {})
    if key in of_program and now is not None:
        made: T
        made, tensors, before, own = of_program[key]
        same = len(tensors) == len(others) and all(map(operator.is_, tensors, others))
        if same and before == now and own == shape:
            return made
    made = make()
    of_program[key] = made, others, now, shape
    return made


def _state(tensors: list[Tensor]) -> Any:
    """A value that differs if the numbers may have changed; None if that cannot be known."""
    if any(tensor.is_inference() for tensor in tensors):
        return None
    versions = [tensor._version for tensor in tensors]
    # A storage that NumPy has a view of cannot be resized any more.
    if all(tensor.untyped_storage().resizable() for tensor in tensors):
        return versions
    if native.library() is None or not tensors[0].is_cpu:
        return None
    return versions, native.digest([tensor.contiguous() for tensor in tensors])
