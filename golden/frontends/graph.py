"""ONNX graph, traced from a result back to its sources.

A network can be mapped if it is affine in each step between two recurrent operators: constant
matrices, scales and shifts, and operators that move values. To check this and to find the matrix
and the shift, that part of the graph is evaluated (onnx's reference evaluator, in float64) on
inputs that reveal them. So no rearrangement has to be interpreted, and none can be misinterpreted.
"""

import contextlib
import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from golden.errors import WordlineError
from golden.frontends import sizes

Array = np.ndarray

RECURRENT = ("LSTM", "RNN")

SHAPES = {"Shape", "Size"}
"""Operators whose result does not depend on values."""

MOVES = {
    *("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "Expand"),
    *("Slice", "Gather", "Split", "Concat", "Tile", "Pad", "Cast", "CastLike"),
}
"""Operators that move values of their first input; Concat moves values of all inputs."""

AFFINE = {"Add", "Sub", "Mul", "Div", "Sum", "Neg", "MatMul", "Gemm", "BatchNormalization"}
"""Operators that are affine in a value if their other inputs are constants."""

TAIL = {"Softmax", "LogSoftmax", "Sigmoid", "ArgMax"}
"""Operators after the scores that do not change the class."""

REAL = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}


class NotAffineError(Exception):
    """A part of a graph cannot be mapped; the message says why."""


class Graph:
    """A graph with folded constants.

    constants: Constants by name.
    inputs: Inputs of the graph by name.
    source: File of the graph, for messages.
    """

    def __init__(self, model: onnx.ModelProto, source: str) -> None:
        self.model, self.source = model, source
        self.nodes = list(model.graph.node)
        self.constants: dict[str, Array] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.initial = {*self.constants}
        self.made_by = {name: node for node in self.nodes for name in node.output if name}
        self.inputs = {v.name: v for v in model.graph.input if v.name not in self.constants}
        unfolded, version = 0, {own.domain: own.version for own in model.opset_import}.get("", 1)
        for node in self.nodes:  # nodes are in an order of computation
            given = [name for name in node.input if name]
            foldable = sizes.known(node) and node.op_type not in RECURRENT
            foldable &= node.op_type == "Constant" or bool(given)
            # onnx's evaluator computes them as they are defined since version 13.
            foldable &= version >= 13 or node.op_type not in ("Softmax", "LogSoftmax")
            if foldable and all(name in self.constants for name in given):
                values = {name: self.constants[name] for name in given}
                unfolded += sizes.bound(node, [*values.values()])
                if unfolded > sizes.MOST_VALUES:
                    raise WordlineError(
                        f"{source} cannot be mapped: its constants unfold to more than "
                        f"{sizes.MOST_VALUES:,} numbers at its operator {node.op_type} "
                        f"{node.name}; export the network again."
                    )
                with contextlib.suppress(Exception):  # what fails is no constant
                    found = self._alone(node).run(None, values, attributes={})
                    self.constants |= dict(zip(node.output, found, strict=False))
        self._plans: dict[tuple[str, ...], list[_Step]] = {}
        self._steps: dict[int, _Step] = {}

    def _alone(self, node: NodeProto) -> ReferenceEvaluator:
        """Evaluator of an operator, by the file's version of its definition."""
        names = [*dict.fromkeys(name for name in node.input if name)], [*node.output]
        imports = self.model.opset_import
        own = helper.make_function("wordline", "constant", *names, [node], imports)
        return ReferenceEvaluator(own)

    def reads(self, name: str) -> Iterator[tuple[NodeProto, str]]:
        """Yield the operators whose values make up a tensor, each with the tensor that it computes.

        A branch ends at its recurrent operator, which is included.
        """
        waiting, seen = [name], set()
        while waiting:
            name = waiting.pop()
            node = self.made_by.get(name)
            if name in self.constants or node is None or name in seen:
                continue
            seen.add(name)
            yield node, name
            if node.op_type not in RECURRENT and node.op_type not in SHAPES:
                waiting += self.values(node)

    def values(self, node: NodeProto) -> list[str]:
        """Inputs of an operator whose values pass to its output; not shapes or constants."""
        names = [name for name in node.input if name and name not in self.constants]
        if node.op_type == "ConstantOfShape":
            return []
        if node.op_type in MOVES and node.op_type != "Concat":
            return [name for name in names if name == node.input[0]]
        return names

    def sources(self, name: str) -> set[str]:
        """Sources of a tensor's values: outputs of recurrent operators, and inputs of the graph."""
        found = {name} if name in self.inputs else set()
        for node, own in self.reads(name):
            if node.op_type in RECURRENT:
                found.add(own)
            elif node.op_type not in SHAPES:
                found |= {value for value in self.values(node) if value in self.inputs}
        return found

    def shape_sources(self, node: NodeProto) -> set[str]:
        """Sources of the values that decide how an operator moves other values."""
        moved = set(self.values(node))
        names = [name for name in node.input if name and name not in moved]
        return set().union(*(self.sources(name) for name in names), set())

    def evaluate(self, target: str, feeds: dict[str, Array]) -> Array:
        """Compute a tensor from given ones, in float64."""
        key = (target, *sorted(feeds))
        if key not in self._plans:
            self._plans[key] = self._plan(target, feeds)
        values = dict(feeds)
        for step in self._plans[key]:
            step.run(values)
        return np.asarray(values[target] if target in values else _double(self.constants[target]))

    def _plan(self, target: str, feeds: dict[str, Array]) -> "list[_Step]":
        """Operators that compute a tensor from given ones, in order."""
        nodes = self.behind(target, feeds)
        given = {*feeds, *self.constants, *(name for node in nodes for name in node.output), ""}
        missing = [
            name for name in (target, *(n for o in nodes for n in o.input)) if name not in given
        ]
        if missing:
            raise NotAffineError(f"it needs the input {missing[0]} as well")
        return [self._step(node) for node in nodes]

    def behind(
        self, target: str, given: Collection[str] = (), *, folded: bool = True
    ) -> list[NodeProto]:
        """Operators that a tensor depends on, in order, up to given tensors and constants: folded
        ones, or those of the file."""
        wanted, found = [target], {}
        seen = {*given, *(self.constants if folded else self.initial), ""}
        while wanted:
            name = wanted.pop()
            node = self.made_by.get(name)
            if name not in seen and node is not None:
                found[id(node)] = node
                wanted += node.input
            seen.add(name)
        return [node for node in self.nodes if id(node) in found]

    def _step(self, node: NodeProto) -> "_Step":
        if id(node) not in self._steps:
            if not sizes.known(node):
                raise NotAffineError(f"its operator {node.op_type} {node.name} is not evaluated")
            constants = {n: _double(self.constants[n]) for n in node.input if n in self.constants}
            self._steps[id(node)] = _Step(_in_double(node), constants, self.model.opset_import)
        return self._steps[id(node)]


class _Step:
    """An operator that is evaluated on its own, in float64."""

    def __init__(self, node: NodeProto, constants: dict[str, Array], imports: Any) -> None:
        self.node, self.constants = node, constants
        given = [n for n in dict.fromkeys(node.input) if n]
        kinds = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, None) for n in given]
        out = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, None) for n in node.output if n]
        graph = helper.make_graph([node], "step", kinds, out)
        self.given, self.out = given, [n for n in node.output if n]
        self._evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=imports))

    def run(self, values: dict[str, Array]) -> None:
        """Add the operator's results to the values of tensors."""
        given = {n: self.constants[n] if n in self.constants else values[n] for n in self.given}
        if sizes.bound(self.node, [*given.values()]) > sizes.MOST_VALUES:
            raise NotAffineError(
                f"its operator {self.node.op_type} {self.node.name} gives more than "
                f"{sizes.MOST_VALUES:,} numbers"
            )
        with np.errstate(all="ignore"):
            found = self._evaluator.run(self.out, given)
        for name, value in zip(self.out, found, strict=True):
            values.setdefault(name, np.asarray(value))


def _double(values: Array) -> Array:
    return values.astype(np.float64) if values.dtype.kind == "f" else values


def _in_double(node: NodeProto) -> NodeProto:
    """Copy of an operator with float64 in the place of other real types."""
    own = copy.deepcopy(node)
    for attribute in own.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i in REAL:
            attribute.i = TensorProto.DOUBLE
        if node.op_type in ("ConstantOfShape", "Constant") and attribute.name == "value":
            value = numpy_helper.to_array(attribute.t)
            if value.dtype.kind == "f":
                attribute.t.CopyFrom(numpy_helper.from_array(value.astype(np.float64)))
    return own


@dataclass(frozen=True)
class Affine:
    """y = weight @ x + bias, the same for every sequence and step.

    weight: Shape (outputs, inputs).
    bias: Shape (outputs,).
    every_step: Whether there is a y for every step, else for the last one.
    """

    weight: Array
    bias: Array
    every_step: bool

    @property
    def same(self) -> bool:
        """Whether y equals x."""
        rows, columns = self.weight.shape
        square = rows == columns and np.array_equal(self.weight, np.eye(rows))
        return square and not self.bias.any()


def affine(
    function: Callable[[Array], Array],
    steps: int,
    batch: int,
    inputs: int,
    *,
    ways: Sequence[str] = ("tnc", "ntc", "nct", "tcn", "ctn", "cnt", "nc", "cn"),
    exact: bool = False,
) -> tuple[Affine, str]:
    """Find the affine function of each step that a function of (steps, batch, inputs) computes.

    The operators of the function must already be known to be affine in all of its input.

    ways: Possible layouts of the output: t, n and c for steps, sequences and channels.
    exact: Whether the output has exactly the axes of the layout. Else axes of size 1 are ignored.

    Returns the affine function and the layout of the output.

    Raises NotAffineError if the function mixes steps or sequences, or leaves some out.
    """
    draw = np.random.default_rng(0)
    probes = [draw.standard_normal((steps, batch, inputs)) for _ in range(2)]
    zero = function(np.zeros((steps, batch, inputs)))
    found = [function(probe) for probe in probes]
    why = "steps or sequences are left out, added, mixed or reordered"
    for way in ways:
        rows = batch * (steps if "t" in way else 1)
        channels, rest = divmod(zero.size, rows)
        sizes = {"t": steps, "n": batch, "c": channels}
        full = [sizes[axis] for axis in way]
        if rest or (exact and full != [*zero.shape]):
            continue
        if [size for size in full if size > 1] != [size for size in zero.shape if size > 1]:
            continue

        def read(output: Array, way: str = way, full: Sequence[int] = tuple(full)) -> Array:
            order = [way.index(axis) for axis in ("tnc" if "t" in way else "nc")]
            return output.reshape(full).transpose(order)  # ([steps,] batch, channels)

        base = read(zero)
        bias = base.reshape(-1, channels)[-1]
        columns = []
        for n in range(inputs):
            one = np.zeros((steps, batch, inputs))
            one[..., n] = 1
            columns.append((read(function(one)) - base).reshape(-1, channels)[-1])
        weight = np.stack(columns, 1) if columns else np.zeros((channels, 0))
        near = weight.astype(np.float32).astype(np.float64)
        # Weights are mostly float32. Adding and subtracting the bias leaves noise, which rounding
        # removes.
        weight = np.where(
            np.abs(near - weight) <= 1e-12 * np.abs(weight).max(initial=1), near, weight
        )
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise NotAffineError("its constants are not all finite numbers; train it again")
        own = Affine(weight, bias, "t" in way)
        scale = 1e-9 * max(1.0, float(np.abs(np.stack(found)).max()))
        wanted = [(p if own.every_step else p[-1]) @ weight.T + bias for p in probes]
        off = max(float(np.abs(w - read(f)).max()) for w, f in zip(wanted, found, strict=True))
        if off <= scale:
            return own, way
    raise NotAffineError(why)
