"""Recurrent networks in ONNX, traced from the scores back to the input, and evaluated.

After the definitions of the operators (github.com/onnx/onnx, docs/Operators.md). ONNX orders an
LSTM's gates i, o, f, c; PyTorch orders them i, f, g, o. `golden.frontends.trace` finds the links
between recurrent operators. Matrices, scales and shifts in a link are folded into the layer that
reads it, or form the head. Operators that are not between the input and the scores are ignored.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import NodeProto
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from golden.errors import WordlineError
from golden.frontends.chain import INSTEAD, Foreign, Layer, Linear, assemble
from golden.frontends.graph import AFFINE, TAIL, Affine, Array, Graph
from golden.frontends.trace import GATES, INPUTS, STEPS, Link, Trace, attributes, line

MOST_STEPS, TRIES = 1000, 4
"""Maximum steps with which a file is tried, and maximum number of tries."""

TRIED = (61, 1013)
"""Further lengths of sequences for which a file's own lengths are tried."""

ACTIVATIONS = {"LSTM": ["sigmoid", "tanh", "tanh"], "RNN": ["tanh"]}


def read(path: Path) -> Foreign:
    """Read the network of an .onnx file.

    Raises WordlineError if the file is not an ONNX model that can be mapped.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error) else "damaged"
        raise WordlineError(f"{path} is not an ONNX model ({reason}); export it again.") from None
    try:
        return _Network(Graph(model, str(path))).foreign()
    except WordlineError:
        raise
    except Exception as error:  # an evaluation may raise any exception
        raise WordlineError(
            f"{path} cannot be evaluated ({type(error).__name__}: {line(error)}); export it again, "
            f"or save the weights as .safetensors."
        ) from None


class _OtherStepsError(Exception):
    """The graph only accepts sequences of this many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self.steps = steps


class _Network(Trace):
    """A graph that is converted to a network."""

    def foreign(self) -> Foreign:
        """Trace the graph back from its scores, and evaluate it link by link."""
        try:
            return self._followed()
        except _OtherStepsError as error:  # the file has a fixed number of steps
            self.steps = error.steps
            return self._followed()
        except WordlineError:
            for steps in self._reshaped():
                self.steps = steps
                with contextlib.suppress(WordlineError, _OtherStepsError):
                    return replace(self._followed(), steps=steps)
            raise

    def _reshaped(self) -> list[int]:
        """Sizes in the constants of Reshape operators.

        Exporters may write the number of steps of their own call there.
        """
        shapes = [node.input[1] for node in self.graph.nodes if node.op_type == "Reshape"]
        constants = [self.graph.constants[name] for name in shapes if name in self.graph.constants]
        sizes = {int(size) for shape in constants for size in shape.ravel()}
        return sorted(size for size in sizes if 1 < size <= MOST_STEPS and size != STEPS)[:TRIES]

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
            computes=self._computes(),
            why_not="the file cannot be run on sequences of the calibration's shape",
            tail=tuple(kind for kind in self.tail if kind in TAIL),
            steps=self.sizes["t"] if "t" in self.static else None,
            activation="tanh",
        )

    def _computes(self) -> torch.dtype:
        """Type in which the file computes: that with the fewest bits."""
        kinds = {values.dtype.name for values in self.graph.constants.values()}
        if "bfloat16" in kinds:
            return torch.bfloat16
        return torch.float16 if "float16" in kinds else torch.float32

    def _linear(self, link: Link, way: Affine) -> list[tuple[str, Layer | Linear]]:
        """Matrix and bias of a link; empty if it changes nothing."""
        does = [kind for kind in reversed(link.operators) if kind in AFFINE]
        if way.same and not does:
            return []
        own = Linear(torch.from_numpy(way.weight), torch.from_numpy(way.bias))
        return [("+".join(dict.fromkeys(does)) or "moves", own)]

    def _layer(self, node: NodeProto) -> Layer:
        has, kind = attributes(node), node.op_type
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
        if not self._as_given(name, given):
            self._refuse(node, "its sequence_lens are computed; give them as an input, or leave it")
        if not given and ("t" in self.static or not self._of_steps(name)):
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

    def _as_given(self, name: str, given: set[str]) -> bool:
        """Whether lengths are those of one input, as they are, or of no input."""
        if not given:
            return True
        source = min(given)
        if given == {self.x} or source not in self.graph.inputs or len(given) > 1:
            return False
        value, n = self.graph.inputs[source], self.sizes["n"]
        for steps in (1, 2, self.sizes["t"], *TRIED):
            lengths = steps + np.arange(n)
            if lengths[-1] <= np.iinfo(_type(value)).max:
                feeds = self._zeros() | {source: _shaped(value, lengths)}
                if not np.array_equal(self.graph.evaluate(name, feeds).ravel(), lengths):
                    return False
        return True

    def _of_steps(self, name: str) -> bool:
        """Whether lengths are the number of steps of x, whatever it is.

        Raises WordlineError if they are computed from it otherwise.
        """
        values, of_steps = set(), True
        for steps in (self.sizes["t"], *TRIED):
            x = self._arranged(np.zeros((steps, self.sizes["n"], self.sizes["c"])))
            lengths = self.graph.evaluate(name, {self.x: x})
            values.add(lengths.tobytes())
            of_steps &= bool((lengths == steps).all())
        if not of_steps and len(values) > 1:
            raise WordlineError(
                f"{self.source} cannot be mapped: its sequence_lens are computed from the shape of "
                f"its input; give them as an input, or leave them out."
            )
        return of_steps

    def _check_tail(self) -> None:
        """Check that the operators after the scores do not change the class.

        Raises WordlineError if they do.
        """
        if not self.tail:
            return
        shape = self.graph.evaluate(self.scores, self._zeros()).shape
        sizes = self.sizes | {"c": int(np.prod(shape))}
        for role in self.way.replace("c", ""):
            sizes["c"] //= sizes[role]
        axis, full = self.way.index("c"), [sizes[role] for role in self.way]
        zeros, before = self._zeros(), self.output
        if "ArgMax" in self.tail:
            while (node := self.graph.made_by[before]).op_type != "ArgMax":
                before = node.input[0]
            before = node.input[0]
        for scores in _probes(full, axis):
            given = zeros | {self.scores: scores.reshape(shape)}
            found = self.graph.evaluate(before, given).reshape(full)
            found = found - (0.5 if "Sigmoid" in self.tail else 0.0)
            same = np.array_equal(_order(found, axis), _order(scores, axis))
            if same and "ArgMax" in self.tail:
                found = self.graph.evaluate(self.output, given)
                same = np.array_equal(found.ravel(), scores.argmax(axis).ravel())
            if same:
                continue
            raise WordlineError(
                f"{self.source} cannot be mapped: {', '.join(self.tail)} behind the scores changes "
                f"the class; export the network without it."
            )

    # Running the file.

    def _run(self, x: Tensor) -> list[Tensor]:
        """Scores of x (sequences, steps, channels) by the file's own operators.

        A result has shape (sequences, classes) or (sequences, steps, classes). There is none if the
        file does not accept the shape of x, or cannot be run.
        """
        with contextlib.suppress(Exception):  # a runtime may raise any exception
            return self._computed(x)
        return []

    def _computed(self, x: Tensor) -> list[Tensor]:
        t, n, c = x.shape[1], x.shape[0], x.shape[2]
        if ("t" in self.static and t != self.sizes["t"]) or c != self.sizes["c"]:
            return []
        size = self.sizes["n"] if "n" in self.static or "n" not in self.roles else n
        runner = _Runner(self.graph, self.scores)
        parts = []
        for start in range(0, n, size):
            some = x[start : start + size].numpy().astype(_type(self.graph.inputs[self.x]))
            filled = np.concatenate([some, some[:1].repeat(size - len(some), 0)])
            feeds = {self.x: self._arranged(filled.transpose(1, 0, 2))}
            for name, value in self.graph.inputs.items():
                if name != self.x and name in runner.inputs:
                    feeds[name] = _shaped(value, np.full(size, t))
            found = runner(feeds)
            sizes = {"t": t, "n": size}
            rows = int(np.prod([sizes[role] for role in self.way if role != "c"]))
            sizes["c"] = found.size // rows
            order = "ntc" if "t" in self.way else "nc"
            logical = found.astype(np.float32).reshape([sizes[role] for role in self.way])
            parts.append(logical.transpose([self.way.index(r) for r in order])[: len(some)])
        return [torch.from_numpy(np.concatenate(parts))]


def _type(value: onnx.ValueInfoProto) -> np.dtype[Any]:
    """Type of the numbers of an input."""
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _shaped(value: onnx.ValueInfoProto, numbers: Array) -> Array:
    """Numbers, one a sequence, as an input takes them: it may have axes of 1 besides."""
    dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim] or [0]
    if len(dims) > 1 and dims.count(1) == len(dims) - 1:
        numbers = numbers.reshape([1 if dim == 1 else len(numbers) for dim in dims])
    return numbers.astype(_type(value))


PROBES = 16
"""Evaluations of the operators after the scores."""


def _probes(full: list[int], axis: int) -> Iterator[Array]:
    """Random scores, of which some classes have more than others; of one score, either sign."""
    draw, classes = np.random.default_rng(0), full[axis]
    rows = int(np.prod(full)) // classes
    others = [size for n, size in enumerate(full) if n != axis]
    for _ in range(PROBES):
        scores = draw.uniform(-1, 1, (rows, classes)) + draw.uniform(-2, 2, classes)
        yield np.moveaxis(scores.reshape(*others, classes), -1, axis)


def _order(scores: Array, axis: int) -> Array:
    """Classes of each row from the lowest to the highest score; of one, whether it is above 0."""
    return scores > 0 if scores.shape[axis] == 1 else scores.argsort(axis)


class _Runner:
    """Runs the file up to its scores: with onnxruntime if installed, else onnx's evaluator."""

    def __init__(self, graph: Graph, target: str) -> None:
        own = onnx.ModelProto()
        own.CopyFrom(graph.model)
        # What else the file has may take any time. Constants are the file's own, not folded ones.
        kept = graph.behind(target, folded=False)
        needed = {name for node in kept for name in node.input}
        initial = [tensor for tensor in own.graph.initializer if tensor.name in needed]
        del own.graph.node[:], own.graph.initializer[:]
        own.graph.node.extend(kept)
        own.graph.initializer.extend(initial)
        del own.graph.output[:]
        own.graph.output.append(onnx.ValueInfoProto(name=target))
        self.inputs = {value.name for value in own.graph.input}
        self.target, self.model = target, own
        try:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 4  # quiet: if it fails, onnx's evaluator runs the file
            session = onnxruntime.InferenceSession(own.SerializeToString(), options)
            self._call = session.run
        except Exception:
            self._call = ReferenceEvaluator(own).run

    def __call__(self, feeds: dict[str, Array]) -> Array:
        try:
            (found,) = self._call([self.target], feeds)
        except Exception:  # onnxruntime does not compute everything
            self._call = ReferenceEvaluator(self.model).run
            (found,) = self._call([self.target], feeds)
        return np.asarray(found)
