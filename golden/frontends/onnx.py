"""Recurrent networks in ONNX: followed from the scores back to the input, and evaluated.

After the operators' definitions (github.com/onnx/onnx, docs/Operators.md). ONNX orders an LSTM's
gates i, o, f, c; PyTorch i, f, g, o. What is between recurrent operators is found by
`golden.frontends.graph`; matrices, scales and shifts there are folded into the layer that reads
them, or are the head. What is not on the way from the input to the scores does not matter.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from golden.errors import WordlineError
from golden.frontends.chain import INSTEAD, Foreign, Layer, Linear, assemble
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

GATES = {"LSTM": (0, 2, 3, 1), "RNN": (0,)}
"""Where PyTorch's gates are among an operator's."""

ACTIVATIONS = {"LSTM": ["sigmoid", "tanh", "tanh"], "RNN": ["tanh"]}

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
"""Of a recurrent operator; an RNN has no more than initial_h."""

STEPS, SEQUENCES = 5, 3
"""How large a graph is evaluated where it says nothing."""

NONLINEAR = {
    *("Relu", "Tanh", "Sigmoid", "Softmax", "LogSoftmax", "LeakyRelu", "Elu", "Gelu", "Selu"),
    *("HardSigmoid", "Clip", "Erf", "Exp", "PRelu", "LayerNormalization", "Abs", "Sign", "Pow"),
    *("InstanceNormalization", "Softplus", "Softsign"),
}

POOLING = {
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd"),
    *("GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "TopK"),
}


def read(path: Path) -> Foreign:
    """The network of an .onnx file; WordlineError where it is none that can be mapped."""
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error) else "damaged"
        raise WordlineError(f"{path} is no ONNX model ({reason}); export it again.") from None
    return _Network(Graph(model, str(path))).foreign()


class _OtherStepsError(Exception):
    """The graph is for sequences of so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self.steps = steps


@dataclass(frozen=True)
class _Link:
    """A tensor, what it is computed of, and the operators between."""

    target: str
    source: str
    operators: tuple[str, ...]


class _Network:
    """A graph on its way to a network."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.source, self.steps = graph, graph.source, STEPS

    def foreign(self) -> Foreign:
        """Follow the graph back from its scores, then evaluate it link by link."""
        try:
            return self._followed()
        except _OtherStepsError as error:  # the file is for sequences of one length alone
            self.steps = error.steps
            return self._followed()

    def _followed(self) -> Foreign:
        self.output, self.scores, self.tail = self._scores()
        nodes, links = self._chain(self.scores)
        parts: list[tuple[str, Layer | Linear]] = []
        way = self._first_link(nodes[0], links[0])
        for n, node in enumerate(nodes):
            if n:
                way = self._link(links[n], nodes[n - 1], parts[-1][1].units, node)
            parts += self._linear(links[n], way)
            parts.append((node.name or node.op_type, self._layer(node)))
        way = self._link(links[-1], nodes[-1], parts[-1][1].units, None)
        parts += self._linear(links[-1], way)
        self._check_tail()
        return assemble(
            self.source,
            {node.op_type.lower() for node in nodes},
            [part for _, part in parts],
            chain=tuple(name for name, _ in parts),
            run=self._run,
            tolerance=1e-2 if self._half() else 1e-3,
            why_not="the file takes sequences of another shape than the calibration's",
        )

    def _half(self) -> bool:
        """Whether the file computes in float16."""
        constants = self.graph.constants.values()
        return any(values.dtype == np.float16 for values in constants)

    def _linear(self, link: _Link, way: Affine) -> list[tuple[str, Layer | Linear]]:
        """The matrix and the shift of a link, if it has any."""
        does = [kind for kind in reversed(link.operators) if kind in AFFINE]
        if way.same and not does:
            return []
        own = Linear(torch.from_numpy(way.weight), torch.from_numpy(way.bias))
        return [("+".join(dict.fromkeys(does)) or "moves", own)]

    # Which tensors are read.

    def _scores(self) -> tuple[str, str, tuple[str, ...]]:
        """The graph's output that is read, the scores that it is made of, and what makes it."""
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
        """The tensor in front of the Softmax, Sigmoid or ArgMax that an output ends with."""
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

    def _chain(self, name: str) -> tuple[list[NodeProto], list[_Link]]:
        """The recurrent operators, the first first, and the links before, between and behind."""
        nodes: list[NodeProto] = []
        links: list[_Link] = []
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

    def _back(self, target: str, reader: NodeProto | None) -> _Link:
        """What one tensor is computed of."""
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
        return _Link(target, sources.pop(), tuple(operators))

    def _that_matter(self, target: str, sources: set[str]) -> set[str]:
        """Of several layers' outputs, those of which a tensor depends: exporters stack the states
        of all layers, and take one."""
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
        """A layer and those that it reads, the first last, each with the tensor it reads."""
        found = [(node.input[0], node)]
        while (link := self._back(*found[-1])).source not in self.graph.inputs:
            before = self.graph.made_by[link.source]
            found.append((before.input[0], before))
        return found

    def _states(self, node: NodeProto, name: str, h: Array) -> Array:
        """h (steps, batch, units) as a layer's output has it."""
        batch_first = bool(_attributes(node).get("layout"))
        if self._number(name) == 0:
            return h.transpose(1, 0, 2)[:, :, None] if batch_first else h[:, None]
        return h.transpose(1, 0, 2) if batch_first else h

    def _check_source(self, sources: set[str], where: str) -> None:
        """Raise WordlineError unless a tensor comes of one other that a chain has."""
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
        """Raise WordlineError for an operator that is not affine in what comes through it."""
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
            self._refuse(node, "it multiplies two values that both depend on the input")
        if kind == "Div" and values and values[0] != node.input[0]:
            self._refuse(node, "it divides by a value that depends on the input")
        if kind == "Cast" and not _to_real(node):
            self._refuse(node, "it makes integers of real numbers; export the network in float32")
        if kind == "BatchNormalization" and _attributes(node).get("training_mode"):
            self._refuse(node, "it is in training mode; export the network after .eval()")
        if self.graph.shape_sources(node):
            self._refuse(node, "values of the input decide what it moves")

    # What they are.

    def _first_link(self, node: NodeProto, link: _Link) -> Affine:
        """From the graph's input to the first layer; finds the layout of the input, too."""
        self.x = link.source
        declared = self.graph.inputs[self.x].type.tensor_type.shape.dim
        dims = [d.dim_value if d.HasField("dim_value") else 0 for d in declared]
        into, why = "ntc" if _attributes(node).get("layout") else "tnc", ""
        channels = self._array(node, "W").shape[2]
        for roles in _roles(dims):
            sizes = {"t": self.steps, "n": SEQUENCES, "c": channels}
            sizes |= {role: dims[axis] for role, axis in roles.items() if dims[axis]}
            sizes |= {role: 1 for role in "tn" if role not in roles}
            self.roles, self.sizes, self.dims = roles, sizes, dims
            try:
                found, _ = affine(
                    lambda x: self.graph.evaluate(link.target, {self.x: self._arranged(x)}),
                    *(sizes["t"], sizes["n"], sizes["c"]),
                    ways=(into,),
                )
            except NotAffineError as error:
                why = str(error)
            except Exception as error:  # an evaluation fails in any way
                why = why or f"it cannot be evaluated: {_line(error)}"
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

    def _link(self, link: _Link, node: NodeProto, units: int, reader: NodeProto | None) -> Affine:
        """From a layer to the next one, or to the scores."""
        whole = self._number(link.source) == 0
        steps, batch = self.sizes["t"] if whole else 1, self.sizes["n"]

        def evaluate(h: Array) -> Array:  # (steps, batch, units)
            y = self._states(node, link.source, h)
            return self.graph.evaluate(link.target, self._zeros() | {link.source: y})

        ways: tuple[str, ...] = ("tnc", "ntc", "nct", "tcn", "ctn", "cnt", "nc", "cn")
        if not whole:
            ways = ("nc", "cn")
        if reader is not None:
            ways = ("ntc",) if _attributes(reader).get("layout") else ("tnc",)
            if not whole:
                self._refuse_link(link, reader, "it is the last step's alone")
        try:
            found, self.way = affine(evaluate, steps, batch, units, ways=ways)
        except NotAffineError as error:
            self._refuse_link(link, reader, str(error))
        except Exception as error:
            self._refuse_link(link, reader, f"it cannot be evaluated: {_line(error)}")
        return found

    def _layer(self, node: NodeProto) -> Layer:
        has, kind = _attributes(node), node.op_type
        if has.get("direction", b"forward") != b"forward":
            raise WordlineError(
                f"{self.source} cannot be mapped ({node.name or kind} has direction = "
                f"{has['direction'].decode()}): {INSTEAD['bidirectional']}."
            )
        activations = [name.decode() for name in has.get("activations", [])]
        if activations and [name.lower() for name in activations] != ACTIVATIONS[kind]:
            wanted = ", ".join(name.title() for name in ACTIVATIONS[kind])
            self._refuse(
                node, f"it has activations {', '.join(activations)}; train it with {wanted}"
            )
        if "clip" in has:
            self._refuse(node, "it has clip; train it without, tables saturate by themselves")
        if has.get("input_forget"):
            self._refuse(node, "it has input_forget; train it with a gate of its own for i")
        parts = dict(zip(INPUTS, node.input, strict=False))
        if parts.get("P"):
            self._refuse(node, "it has peepholes (P); train it without")
        for name in ("initial_h", "initial_c"):
            if parts.get(name):
                self._check_initial(node, name, parts[name])
        if parts.get("sequence_lens"):
            self._check_lengths(node, parts["sequence_lens"])
        ih, hh = (torch.from_numpy(self._array(node, name)[0]) for name in ("W", "R"))
        units = hh.shape[1]
        order = [row for gate in GATES[kind] for row in range(gate * units, (gate + 1) * units)]
        bias = torch.zeros(len(hh), dtype=torch.float64)
        if parts.get("B"):
            both = torch.from_numpy(self._array(node, "B")[0])
            bias = bias + both[: len(hh)] + both[len(hh) :]
        return Layer(ih[order], hh[order], bias[order])

    def _array(self, node: NodeProto, which: str) -> Array:
        """A recurrent operator's weights, with the shape that the operator has to have."""
        names = dict(zip(INPUTS, node.input, strict=False))
        name = names.get(which, "")
        if name not in self.graph.constants:
            self._refuse(node, f"its input {which} ({name}) is no constant; export it as one")
        values = np.array(self.graph.constants[name])
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            self._refuse(node, f"its input {name} holds what is no finite real number")
        rows = len(GATES[node.op_type])
        units = self.graph.constants[names["R"]].shape[-1]
        wanted = {"W": (1, rows * units, -1), "R": (1, rows * units, units)}
        shape = wanted.get(which, (1, 2 * rows * units))
        if len(values.shape) != len(shape) or any(
            b not in (a, -1) for a, b in zip(values.shape, shape, strict=True)
        ):
            self._refuse(node, f"its input {name} has shape {values.shape}; export it again")
        return values.astype(np.float32) if values.dtype == np.float16 else values

    def _check_initial(self, node: NodeProto, which: str, name: str) -> None:
        if given := self.graph.sources(name):
            self._refuse(
                node,
                f"its {which} comes of {' and '.join(map(self._name, sorted(given)))}, but on the "
                f"chip every sequence begins at 0; export the network with x as its only input",
            )
        if self.graph.evaluate(name, self._zeros()).any():
            self._refuse(node, f"its {which} is not 0; on the chip each sequence begins at 0")

    def _check_lengths(self, node: NodeProto, name: str) -> None:
        given = self.graph.sources(name)
        if self.x in given or any(n not in self.graph.inputs for n in given) or len(given) > 1:
            self._refuse(node, "its sequence_lens are computed; give them as an input, or leave it")
        if not given:
            lengths = self.graph.evaluate(name, self._zeros())
            steps = {int(length) for length in lengths.ravel()}
            if len(steps) == 1 and steps != {self.steps} and "t" not in self.static:
                raise _OtherStepsError(steps.pop())
            if steps != {self.sizes["t"]}:
                self._refuse(
                    node,
                    "its sequence_lens are constants and not the length of the input; export it "
                    "with the lengths as an input",
                )
            self.static = self.static | {"t"}

    def _check_tail(self) -> None:
        """Raise WordlineError where what comes after the scores does not leave the class alone."""
        if not self.tail:
            return
        draw = np.random.default_rng(0)
        shape = self.graph.evaluate(self.scores, self._zeros()).shape
        scores = draw.standard_normal(shape)
        found = self.graph.evaluate(self.output, self._zeros() | {self.scores: scores})
        sizes = self.sizes | {"c": scores.size}
        for role in self.way.replace("c", ""):
            sizes["c"] //= sizes[role]
        axis, full = self.way.index("c"), [sizes[role] for role in self.way]
        wanted = scores.reshape(full).argmax(axis).ravel()
        if "ArgMax" not in self.tail:
            found = found.reshape(full).argmax(axis)
        if sizes["c"] > 1 and not np.array_equal(found.ravel(), wanted):
            raise WordlineError(
                f"{self.source} cannot be mapped: {', '.join(self.tail)} behind the scores is not "
                f"along the classes; export the network without it."
            )

    # Running it.

    def _run(self, x: Tensor) -> list[Tensor]:
        """Scores of x (sequences, steps, channels), (sequences, [steps,] classes), as the file's
        own operators compute them; none where it takes another shape."""
        t, n, c = x.shape[1], x.shape[0], x.shape[2]
        if ("t" in self.static and t != self.sizes["t"]) or c != self.sizes["c"]:
            return []
        size = self.sizes["n"] if "n" in self.static or "n" not in self.roles else n
        runner = _Runner(self.graph, self.scores)
        parts = []
        for start in range(0, n, size):
            some = x[start : start + size].numpy().astype(np.float32)
            filled = np.concatenate([some, some[:1].repeat(size - len(some), 0)])
            feeds = {self.x: self._arranged(filled.transpose(1, 0, 2))}
            for name, value in self.graph.inputs.items():
                if name != self.x and name in runner.inputs:
                    kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
                    feeds[name] = np.full(size, t, kind)
            found = runner(feeds)
            sizes = {"t": t, "n": size}
            rows = int(np.prod([sizes[role] for role in self.way if role != "c"]))
            sizes["c"] = found.size // rows
            order = "ntc" if "t" in self.way else "nc"
            logical = found.reshape([sizes[role] for role in self.way])
            parts.append(logical.transpose([self.way.index(r) for r in order])[: len(some)])
        return [torch.from_numpy(np.concatenate(parts))]

    def _refuse_link(self, link: _Link, reader: NodeProto | None, why: str) -> Any:
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


class _Runner:
    """The file as it is, up to its scores: by onnxruntime, where it is installed, else by onnx's
    reference evaluator."""

    def __init__(self, graph: Graph, target: str) -> None:
        own = onnx.ModelProto()
        own.CopyFrom(graph.model)
        kept = [node for node in graph.nodes if not set(node.output) <= graph.constants.keys()]
        del own.graph.node[:], own.graph.initializer[:]
        own.graph.node.extend(kept)
        needed = {name for node in kept for name in node.input} & graph.constants.keys()
        own.graph.initializer.extend(
            numpy_helper.from_array(graph.constants[name], name) for name in sorted(needed)
        )
        known = {value.name for value in own.graph.output}
        if target not in known:
            own.graph.output.append(onnx.ValueInfoProto(name=target))
        self.inputs = {value.name for value in own.graph.input}
        self.target = target
        try:
            import onnxruntime

            session = onnxruntime.InferenceSession(own.SerializeToString())
            self._call = session.run
        except Exception:
            self._call = ReferenceEvaluator(own).run

    def __call__(self, feeds: dict[str, Array]) -> Array:
        (found,) = self._call([self.target], feeds)
        return np.asarray(found)


def _roles(dims: list[int]) -> Iterator[dict[str, int]]:
    """Which axes of an input can be steps, sequences and channels; all others are of 1."""
    for roles in ("tnc", "tc"):
        for axes in itertools.permutations(range(len(dims)), len(roles)):
            others = {*range(len(dims))} - {*axes}
            if all(dims[axis] == 1 for axis in others):
                yield dict(zip(roles, axes, strict=True))


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _to_real(node: NodeProto) -> bool:
    return _attributes(node).get("to") in REAL


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
