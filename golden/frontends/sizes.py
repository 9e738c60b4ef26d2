"""Sizes of the results of ONNX operators, known before they are computed.

A file of a kB can ask for terabytes: by a shape in a constant, or by doubling a tensor 40 times.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from onnx import AttributeProto, NodeProto, helper

Array = np.ndarray

MOST_VALUES = 2**26
"""Maximum numbers in the results of all constant operators of a graph, and in any other result."""

NO_LARGER = {
    *("Shape", "Size", "Identity", "Cast", "CastLike", "Reshape", "Squeeze", "Unsqueeze"),
    *("Flatten", "Transpose", "Slice", "Split", "Neg", "Abs", "Sqrt", "Exp", "Log", "Reciprocal"),
    *("Floor", "Ceil", "Round", "Sign", "Not", "IsNaN", "Relu", "Tanh", "Sigmoid", "Erf", "Clip"),
    *("Softmax", "LogSoftmax", "ArgMax", "ArgMin", "Dropout", "CumSum", "Trilu", "ScatterND"),
    *("ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean", "BatchNormalization"),
    *("QuantizeLinear", "DequantizeLinear", "ScatterElements", "GatherElements", "NonZero", "TopK"),
}
"""Operators whose results have at most as many numbers as their largest input, or as axes."""

BROADCAST = {
    *("Add", "Sub", "Mul", "Div", "Sum", "Pow", "Mod", "Max", "Min", "Mean", "Where", "Equal"),
    *("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"),
}
"""Operators of numbers at the same place, with broadcasting."""


def _product(sizes: Sequence[int] | Array) -> int:
    return math.prod(int(size) for size in sizes)


def _expand(x: Array, shape: Array) -> int:
    return _product(np.broadcast_shapes(x.shape, tuple(map(int, shape.ravel()))))


def _range(start: Array, limit: Array, delta: Array) -> int:
    span = float(np.ravel(limit)[0]) - float(np.ravel(start)[0])
    step = float(np.ravel(delta)[0])
    return max(0, math.ceil(span / step)) if step else 0


def _gather(x: Array, indices: Array) -> int:
    return x.size * indices.size  # of one row: exact; else at most


def _matmul(a: Array, b: Array, *_: Array) -> int:
    inner = a.shape[-1] if a.ndim else 1
    return a.size * b.size // max(1, inner) ** 2


def _gemm(a: Array, b: Array, *_: Array) -> int:
    inner = min(*a.shape, *b.shape, a.size, b.size) if a.ndim and b.ndim else 1
    return a.size * b.size // max(1, inner) ** 2


def _pad(x: Array, *pads: Array) -> int:
    more = int(np.abs(pads[0]).sum()) if pads else 0
    return _product([size + more for size in x.shape])


def _recurrent(x: Array, w: Array, r: Array, *_: Array) -> int:
    return 3 * x.size // max(1, x.shape[-1]) * r.shape[-1]


GROWS: dict[str, Callable[..., int]] = {
    "ConstantOfShape": lambda shape: _product(shape.ravel()),
    "Expand": _expand,
    "Tile": lambda x, repeats: x.size * _product(np.maximum(repeats.ravel(), 0)),
    "Pad": _pad,
    "LSTM": _recurrent,
    "RNN": _recurrent,
    "Range": _range,
    "Gather": _gather,
    "GatherND": _gather,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Concat": lambda *parts: sum(part.size for part in parts),
}
"""Upper bound of the size of the result of other operators."""


def known(node: NodeProto) -> bool:
    """Whether the size of an operator's result is known."""
    kind = node.op_type
    return kind in NO_LARGER or kind in BROADCAST or kind in GROWS or kind == "Constant"


def bound(node: NodeProto, given: Sequence[Array]) -> int:
    """Largest number of values that an operator computes from given inputs.

    Raises any exception for inputs that do not fit each other.
    """
    kind = node.op_type
    if kind == "Constant":
        return sum(_constant(attribute) for attribute in node.attribute)
    if kind in BROADCAST:
        return _product(np.broadcast_shapes(*(value.shape for value in given)))
    if kind in GROWS:
        if kind == "Pad":
            pads = next((a.ints for a in node.attribute if a.name == "pads"), None)
            given = given if pads is None else (given[0], np.array(pads))
        return int(GROWS[kind](*given))
    return max((max(value.size, value.ndim) for value in given), default=0)


def _constant(attribute: AttributeProto) -> int:
    value = helper.get_attribute_value(attribute)
    dims = getattr(value, "dims", None)
    return 0 if dims is None else _product(dims)
