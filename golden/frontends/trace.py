"""Trace of an ONNX graph from its scores to its input: recurrent operators and the links between.

`golden.frontends.onnx` converts the result to a network.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto

from golden.errors import WordlineError
from golden.frontends.chain import INSTEAD
from golden.frontends.graph import (
    AFFINE,
    MOVES,
    REAL,
    RECURRENT,
    SHAPES,
    TAIL,
    Affine,
    Array,
    Graph,
    NotAffineError,
    affine,
)
from golden.frontends.sizes import MOST_VALUES

GATES = {"LSTM": (0, 2, 3, 1), "RNN": (0,)}
"""Position of each of PyTorch's gates among those of an operator."""

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
"""Inputs of a recurrent operator; an RNN has those up to initial_h."""

STEPS, SEQUENCES = 5, 3
"""Steps and sequences with which a graph is evaluated if it does not fix them."""

NONLINEAR = {
    *("Relu", "Tanh", "Sigmoid", "Softmax", "LogSoftmax", "LeakyRelu", "Elu", "Gelu", "Selu"),
    *("HardSigmoid", "Clip", "Erf", "Exp", "PRelu", "LayerNormalization", "Abs", "Sign", "Pow"),
    *("InstanceNormalization", "Softplus", "Softsign"),
}

MOST_AXES = 6
"""Maximum number of axes of an input."""

POOLING = {
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd"),
    *("GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "TopK"),
}


@dataclass(frozen=True)
class Link:
    """A tensor, the tensor that it is computed from, and the operators between."""

    target: str
    source: str
    operators: tuple[str, ...]


class Trace:
    """A graph with the results of tracing it.

    roles: Axis of the input for steps (t), sequences (n) and channels (c).
    sizes: Size of each of these in evaluations.
    dims: Declared size of each axis of the input; 0 if it is open.
    static: Those of t, n and c that the file fixes.
    way: Layout of the scores.
    x: Name of the input.
    """

    roles: dict[str, int]
    sizes: dict[str, int]
    dims: list[int]
    static: set[str]
    way: str
    x: str

    def __init__(self, graph: Graph) -> None:
        self.graph, self.source, self.steps = graph, graph.source, STEPS

    # Tensors that are read.

    def _scores(self) -> tuple[str, str, tuple[str, ...]]:
        """Output of the graph that is used, its scores, and the operators after the scores."""
        outputs = [value.name for value in self.graph.model.graph.output]
        found = []
        for output in outputs:
            name, tail = self._before_tail(output)
            states = {*self.graph.sources(name)}
            linear = any(n.op_type in AFFINE for n, _ in self.graph.reads(name))
            found.append((output, name, tail, linear, states))
        linear_ones = [own for own in found if own[3]]
        scores = {own[1] for own in linear_ones}
        if len(scores) > 1:
            named = ", ".join(own[0] for own in linear_ones)
            raise WordlineError(
                f"{self.source} cannot be mapped: it has several outputs ({named}); the "
                f"accelerator gives one. Export the network with the scores alone."
            )
        output, name, tail, _, states = (linear_ones or found)[0]
        for node, _ in self.graph.reads(name):
            if node.op_type == "GRU":
                raise WordlineError(f"{self.source} cannot be mapped (GRU): {INSTEAD['GRU']}.")
        if not any(s not in self.graph.inputs for s in states):
            raise WordlineError(
                f"{self.source} has no LSTM or RNN operator behind its output {output}; give a "
                f"network that has one. PyTorch's newer exporter writes an RNN out step by step; "
                f"torch.onnx.export with dynamo = False keeps it whole."
            )
        return output, name, tail

    def _before_tail(self, name: str) -> tuple[str, tuple[str, ...]]:
        """Scores in front of an output's final Softmax, Sigmoid or ArgMax, and these operators."""
        tail: list[str] = []
        waiting: list[str] = []
        before = name
        while (node := self.graph.made_by.get(name)) is not None:
            if node.op_type in TAIL:
                tail += [*waiting, node.op_type]
                waiting, before = [], node.input[0]
            elif node.op_type in MOVES and node.op_type != "Concat":
                waiting.append(node.op_type)
            else:
                break
            name = node.input[0]
        return before, tuple(reversed(tail))

    def _chain(self, name: str) -> tuple[list[NodeProto], list[Link]]:
        """Recurrent operators in order, and the links before, between and after them."""
        nodes: list[NodeProto] = []
        links: list[Link] = []
        while True:
            link = self._back(name, nodes[-1] if nodes else None)
            links.append(link)
            if link.source in self.graph.inputs:
                return nodes[::-1], links[::-1]
            node = self.graph.made_by[link.source]
            if node in nodes:
                self._refuse(node, "it reads itself")
            nodes.append(node)
            name = node.input[0]

    def _back(self, target: str, reader: NodeProto | None) -> Link:
        """Link that computes a tensor."""
        graph = self.graph
        operators = []
        for node, _ in graph.reads(target):
            kind = node.op_type
            if kind in RECURRENT or kind in SHAPES:
                continue
            self._check_operator(node, reader)
            operators.append(kind)
        sources = self._that_matter(target, graph.sources(target))
        where = "the output" if reader is None else f"{reader.op_type} {reader.name}".strip()
        if not sources:
            raise WordlineError(
                f"{self.source} cannot be mapped: {where} does not depend on the input; export "
                f"the network again."
            )
        self._check_source(sources, where)
        return Link(target, sources.pop(), tuple(operators))

    def _that_matter(self, target: str, sources: set[str]) -> set[str]:
        """Outputs of layers that a tensor really depends on.

        Exporters stack the states of all layers and select one.

        Raises WordlineError if it is that of an inner layer.
        """
        graph = self.graph
        if len(sources) < 2 or sources & graph.inputs.keys():
            return sources
        nodes = {name: graph.made_by[name] for name in sources}
        behind = {name: self._layers_before(node) for name, node in nodes.items()}
        name, first = next(iter(behind.values()))[-1]
        self._first_link(first, self._back(name, first))
        t, n = self.sizes["t"], self.sizes["n"]
        draw, feeds = np.random.default_rng(0), self._zeros()
        for name, node in nodes.items():
            steps, units = t if self._number(name) == 0 else 1, self._array(node, "R").shape[2]
            feeds[name] = self._states(node, name, draw.standard_normal((steps, n, units)))
        base = graph.evaluate(target, feeds)
        kept = {
            name
            for name in sources
            if not np.array_equal(graph.evaluate(target, feeds | {name: 0 * feeds[name]}), base)
        }
        for other in sources - kept:
            for name in kept:
                if any(nodes[name] is node for _, node in behind[other][1:]):
                    raise WordlineError(
                        f"{self.source} cannot be mapped: it reads {self._name(name)}, the state "
                        f"of an inner layer; the accelerator gives the last layer's, h_n[-1]."
                    )
        return kept

    def _layers_before(self, node: NodeProto) -> list[tuple[str, NodeProto]]:
        """A layer and those before it, in reverse order, each with the tensor that it reads."""
        found = [(node.input[0], node)]
        while (link := self._back(*found[-1])).source not in self.graph.inputs:
            before = self.graph.made_by[link.source]
            found.append((before.input[0], before))
        return found

    def _states(self, node: NodeProto, name: str, h: Array) -> Array:
        """h (steps, batch, units) in the layout of a layer's output."""
        batch_first = bool(attributes(node).get("layout"))
        if self._number(name) == 0:
            return h.transpose(1, 0, 2)[:, :, None] if batch_first else h[:, None]
        return h.transpose(1, 0, 2) if batch_first else h

    def _check_source(self, sources: set[str], where: str) -> None:
        """Check that a tensor depends on exactly one source that a chain may have.

        Raises WordlineError if it does not.
        """
        graph = self.graph
        named = {name: self._name(name) for name in sorted(sources)}
        cells = [n for n in named if n not in graph.inputs and self._number(n) == 2]
        if cells:
            raise WordlineError(
                f"{self.source} cannot be mapped: {where} reads {named[cells[0]]}, the state of "
                f"the cells, which does not leave the accelerator; read h in its place."
            )
        if len(named) > 1:
            raise WordlineError(
                f"{self.source} cannot be mapped: {where} reads {' and '.join(named.values())}; "
                f"the accelerator computes a chain, in which each layer reads the one before it. "
                f"Train the network without the branch."
            )

    def _name(self, tensor: str) -> str:
        if tensor in self.graph.inputs:
            return f"the input {tensor}"
        node = self.graph.made_by[tensor]
        what = ("Y", "Y_h (the last h)", "Y_c (the last c)")[self._number(tensor)]
        return f"{what} of {node.name or node.op_type}"

    def _number(self, tensor: str) -> int:
        return [*self.graph.made_by[tensor].output].index(tensor)

    def _check_operator(self, node: NodeProto, reader: NodeProto | None) -> None:
        """Check that an operator is affine in the values that pass through it.

        Raises WordlineError if it is not.
        """
        kind, values = node.op_type, self.graph.values(node)
        if (kind == "Gather" and not values) or kind == "GatherND":
            self._refuse(
                node,
                "it looks rows of a table up (an Embedding); export the network from behind it, "
                "and give what it looks up as x",
            )
        if kind in NONLINEAR:
            place = "behind" if reader is None else "in front of"
            end = "the scores" if reader is None else (reader.name or reader.op_type)
            self._refuse(
                node,
                f"nothing but matrices, scales and shifts may be {place} a recurrent layer on its "
                f"way to {end}; train the network without {kind}",
            )
        if kind in POOLING:
            self._refuse(
                node,
                "steps are not pooled on the accelerator; train the network to read the last step, "
                "out[:, -1]",
            )
        if kind in ("If", "Loop", "Scan"):
            self._refuse(node, "it is control flow; export the network for one shape of input")
        if kind in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
            self._refuse(node, "it rounds values; give the model as it was before quantisation")
        if kind not in MOVES | AFFINE:
            self._refuse(
                node,
                "the accelerator computes LSTM or RNN layers and a linear one behind them; train "
                "the network without it",
            )
        if kind in ("Mul", "Div", "MatMul", "Gemm") and len(values) > 1:
            self._refuse(
                node, "it multiplies two values that both depend on the input; train without it"
            )
        if kind == "Div" and values and values[0] != node.input[0]:
            self._refuse(node, "it divides by a value that depends on the input; train without it")
        if kind == "Cast" and not _to_real(node):
            self._refuse(node, "it makes integers of real numbers; export the network in float32")
        if kind == "BatchNormalization" and attributes(node).get("training_mode"):
            self._refuse(node, "it is in training mode; export the network after .eval()")
        if self.graph.shape_sources(node):
            self._refuse(
                node,
                "values of the input decide what it moves; do that first, and give its result as x",
            )

    # Values of the links.

    def _first_link(self, node: NodeProto, link: Link) -> Affine:
        """Affine function from the graph's input to the first layer; finds the input's layout."""
        self.x = link.source
        declared = self.graph.inputs[self.x].type.tensor_type.shape.dim
        dims = [d.dim_value if d.HasField("dim_value") else 0 for d in declared]
        into, why = "ntc" if attributes(node).get("layout") else "tnc", ""
        channels = self._array(node, "W").shape[2]
        for roles in _roles(dims):
            sizes = {"t": self.steps, "n": SEQUENCES, "c": channels}
            sizes |= {role: dims[axis] for role, axis in roles.items() if dims[axis]}
            sizes |= {role: 1 for role in "tn" if role not in roles}
            self.roles, self.sizes, self.dims = roles, sizes, dims
            if math.prod(sizes.values()) > MOST_VALUES:
                why = f"its input is declared with {sizes['t']:,} steps of {sizes['n']:,} sequences"
                continue
            try:
                found, _ = affine(
                    lambda x: self.graph.evaluate(link.target, {self.x: self._arranged(x)}),
                    *(sizes["t"], sizes["n"], sizes["c"]),
                    ways=(into,),
                    exact=True,  # a recurrent operator has all three axes
                )
            except NotAffineError as error:
                why = str(error)
            except Exception as error:  # an evaluation may raise any exception
                why = why or f"it cannot be evaluated ({line(error)}); export it again"
            else:
                self.static = {role for role, axis in roles.items() if dims[axis]}
                return found
        return self._refuse_link(link, node, why or "its input has no axes of steps and channels")

    def _arranged(self, x: Array) -> Array:
        """x (steps, batch, channels) in the layout of the graph's input."""
        order = sorted(self.roles, key=lambda role: self.roles[role])
        full = {"t": x.shape[0], "n": x.shape[1], "c": x.shape[2]}
        moved = x.transpose(["tnc".index(role) for role in (*order, *(set("tnc") - {*order}))])
        sizes = [1] * len(self.dims)
        for role, axis in self.roles.items():
            sizes[axis] = full[role]
        return moved.reshape(sizes)

    def _zeros(self) -> dict[str, Array]:
        t, n, c = (self.sizes[role] for role in "tnc")
        return {self.x: self._arranged(np.zeros((t, n, c)))}

    def _link(self, link: Link, node: NodeProto, units: int, reader: NodeProto | None) -> Affine:
        """Affine function from a layer to the next one, or to the scores."""
        whole = self._number(link.source) == 0
        steps, batch = self.sizes["t"] if whole else 1, self.sizes["n"]

        def evaluate(h: Array) -> Array:  # (steps, batch, units)
            y = self._states(node, link.source, h)
            return self.graph.evaluate(link.target, self._zeros() | {link.source: y})

        ways: tuple[str, ...] = ("tnc", "ntc", "nct", "tcn", "ctn", "cnt", "nc", "cn")
        if not whole:
            ways = ("nc", "cn")
        if reader is not None:
            ways = ("ntc",) if attributes(reader).get("layout") else ("tnc",)
            if not whole:
                self._refuse_link(link, reader, "it is the last step's alone")
        try:
            found, self.way = affine(
                evaluate, steps, batch, units, ways=ways, exact=reader is not None
            )
        except NotAffineError as error:
            self._refuse_link(link, reader, str(error))
        except Exception as error:
            self._refuse_link(
                link, reader, f"it cannot be evaluated ({line(error)}); export it again"
            )
        return found

    def _array(self, node: NodeProto, which: str) -> Array:
        """Weights of a recurrent operator.

        Raises WordlineError if they are not constant, real and finite, or have the wrong shape.
        """
        names = dict(zip(INPUTS, node.input, strict=False))
        name = names.get(which, "")
        if name not in self.graph.constants:
            self._refuse(node, f"its input {which} ({name}) is no constant; export it as one")
        values = np.array(self.graph.constants[name])
        if values.dtype.name == "bfloat16":
            values = values.astype(np.float32)
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            self._refuse(
                node, f"its input {name} holds what is no finite real number; train it again"
            )
        rows = len(GATES[node.op_type])
        units = self.graph.constants[names["R"]].shape[-1]
        wanted = {"W": (1, rows * units, -1), "R": (1, rows * units, units)}
        shape = wanted.get(which, (1, 2 * rows * units))
        if len(values.shape) != len(shape) or any(
            b not in (a, -1) for a, b in zip(values.shape, shape, strict=True)
        ):
            self._refuse(node, f"its input {name} has shape {values.shape}; export it again")
        return values.astype(np.float32) if values.dtype == np.float16 else values

    def _refuse_link(self, link: Link, reader: NodeProto | None, why: str) -> Any:
        end = "the scores" if reader is None else (reader.name or reader.op_type)
        operators = ", ".join(dict.fromkeys(reversed(link.operators))) or "nothing"
        raise WordlineError(
            f"{self.source} cannot be mapped between {self._name(link.source)} and {end} "
            f"({operators}): {why}. The accelerator reads every step in order, and gives the last "
            f"or all."
        )

    def _refuse(self, node: NodeProto, why: str) -> Any:
        where = f"{node.op_type} {node.name}".strip()
        raise WordlineError(f"{self.source} cannot be mapped at its operator {where}: {why}.")


def _roles(dims: list[int]) -> Iterator[dict[str, int]]:
    """Yield the possible axes of steps, sequences and channels; all other axes have size 1."""
    if len(dims) > MOST_AXES:
        return
    for roles in ("tnc", "tc"):
        for axes in itertools.permutations(range(len(dims)), len(roles)):
            others = {*range(len(dims))} - {*axes}
            if all(dims[axis] == 1 for axis in others):
                yield dict(zip(roles, axes, strict=True))


def attributes(node: NodeProto) -> dict[str, Any]:
    """Attributes of an operator by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _to_real(node: NodeProto) -> bool:
    return attributes(node).get("to") in REAL


def line(error: Exception) -> str:
    """First line of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
