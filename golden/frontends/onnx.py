"""Recurrent networks in ONNX: LSTM and RNN operators, and the Gemm or MatMul that gives the scores.

After the operators' definitions (github.com/onnx/onnx, docs/Operators.md). ONNX orders an LSTM's
gates i, o, f, c; PyTorch i, f, g, o. What only rearranges values between them is passed over.
"""

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
from golden.frontends.pytorch import INSTEAD, Foreign, Layer, assemble

GATES = {"LSTM": (0, 2, 3, 1), "RNN": (0,)}
"""Where PyTorch's gates are among an operator's."""

ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "RNN": ["Tanh"]}

SILENT = {
    *("Cast", "Concat", "ConstantOfShape", "Dropout", "Expand", "Flatten", "Gather", "Identity"),
    *("LogSoftmax", "Reshape", "Shape", "Slice", "Softmax", "Squeeze", "Transpose", "Unsqueeze"),
}
"""Operators that move values, or change no class."""

REFUSED = {"GRU": "GRU"}


def read(path: Path) -> Foreign:
    """The network of an .onnx file; WordlineError where it is none that can be mapped."""
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error) else "damaged"
        raise WordlineError(f"{path} is no ONNX model ({reason}); export it again.") from None
    return _Graph(model, str(path)).network()


class _Graph:
    """A graph on its way to a network."""

    def __init__(self, model: onnx.ModelProto, source: str) -> None:
        self.source, self.nodes = source, list(model.graph.node)
        self.constants: dict[str, np.ndarray] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.made_by = {name: node for node in self.nodes for name in node.output}
        self.inputs = {value.name for value in model.graph.input} - set(self.constants)
        for node in self.nodes:  # they come in an order in which they can be computed
            given = [name for name in node.input if name]
            if node.op_type == "Constant" or (
                given and node.op_type not in GATES and all(n in self.constants for n in given)
            ):
                values = {name: self.constants[name] for name in given}
                found = ReferenceEvaluator(node).run(None, values)
                self.constants |= dict(zip(node.output, found, strict=True))

    def network(self) -> Foreign:
        """Walk through what is computed of the graph's inputs."""
        kinds, layers = set(), []
        weight: Tensor | None = None
        bias: Tensor | None = None
        for node in self.nodes:
            if all(name in self.constants for name in node.output):
                continue
            kind = node.op_type
            if kind in GATES:
                if weight is not None:
                    self._refuse(node, "recurrent layers after a linear one are not mapped")
                kinds.add(kind.lower())
                layers.append(self._layer(node))
            elif kind in ("Gemm", "MatMul") and weight is None and layers:
                weight, bias = self._linear(node)
            elif kind == "Add" and weight is not None and bias is None:
                bias = self._constant(node, self._weights(node)[0]).flatten()
            elif kind in REFUSED:
                raise WordlineError(
                    f"{self.source} cannot be mapped ({REFUSED[kind]}): {INSTEAD[REFUSED[kind]]}."
                )
            elif kind not in SILENT:
                why = "the accelerator computes LSTM or RNN, then one Gemm or MatMul"
                if kind in ("MatMul", "Gemm") and not layers:
                    # PyTorch's newer exporter writes an RNN out, step by step.
                    why += ", as operators; torch.onnx.export with dynamo = False keeps them whole"
                self._refuse(node, why)
        if not layers:
            raise WordlineError(
                f"{self.source} has no LSTM or RNN operator; give a network that has one."
            )
        return assemble(self.source, kinds, layers, None if weight is None else (weight, bias))

    def _layer(self, node: NodeProto) -> Layer:
        has = self._attributes(node)
        kind = node.op_type
        if has.get("direction", b"forward") != b"forward":
            what = "bidirectional"
            raise WordlineError(
                f"{self.source} cannot be mapped ({node.name or kind} has direction = "
                f"{has['direction'].decode()}): {INSTEAD[what]}."
            )
        activations = [name.decode() for name in has.get("activations", [])]
        if activations and activations != ACTIVATIONS[kind]:
            self._refuse(node, f"it has activations {activations}, not {ACTIVATIONS[kind]}")
        if "clip" in has or has.get("input_forget"):
            self._refuse(node, "it has clip or input_forget")
        given = dict(enumerate(node.input))
        names = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
        parts = {name: given.get(n, "") for n, name in enumerate(names)}
        if parts["P"]:
            self._refuse(node, "it has peepholes (P)")
        for name in ("initial_h", "initial_c"):
            if parts[name] and not self._zero(parts[name]):
                self._refuse(node, f"{name} is not 0; on the chip each sequence begins at 0")
        ih, hh = (self._constant(node, parts[name])[0] for name in ("W", "R"))
        units = hh.shape[1]
        order = [row for gate in GATES[kind] for row in range(gate * units, (gate + 1) * units)]
        bias = torch.zeros(len(hh), dtype=torch.float64)
        if parts["B"]:
            both = self._constant(node, parts["B"])[0]
            bias = bias + both[: len(hh)] + both[len(hh) :]
        return Layer(ih[order], hh[order], bias[order])

    def _linear(self, node: NodeProto) -> tuple[Tensor, Tensor | None]:
        """Weight (classes, units), and bias if the operator has one."""
        has = self._attributes(node)
        if node.op_type == "Gemm" and (
            has.get("alpha", 1.0) != 1 or has.get("beta", 1.0) != 1 or has.get("transA")
        ):
            self._refuse(node, "it has alpha, beta or transA")
        names = self._weights(node)
        weight = self._constant(node, names[0])
        if weight.dim() != 2 or names[0] == node.input[0]:
            self._refuse(node, "its second factor must be a matrix of weights")
        if not has.get("transB"):
            weight = weight.T.contiguous()
        return weight, self._constant(node, names[1]).flatten() if len(names) > 1 else None

    def _weights(self, node: NodeProto) -> list[str]:
        """An operator's inputs that are constants."""
        names = [name for name in node.input if name in self.constants]
        if not names:
            self._refuse(node, "none of its inputs is a weight")
        return names

    def _constant(self, node: NodeProto, name: str) -> Tensor:
        if name not in self.constants:
            self._refuse(node, f"its input {name} is no constant")
        values = torch.from_numpy(np.array(self.constants[name]))
        if not values.is_floating_point() or not bool(torch.isfinite(values).all()):
            self._refuse(node, f"its input {name} holds what is no finite real number")
        return values

    def _zero(self, name: str) -> bool:
        """Whether a tensor is surely 0, whatever the graph's inputs are."""
        if name in self.constants:
            return not self.constants[name].any()
        node = self.made_by.get(name)
        if node is None or node.op_type not in SILENT:
            return False
        if node.op_type == "ConstantOfShape":
            value = self._attributes(node).get("value")
            return value is None or not numpy_helper.to_array(value).any()
        parts = node.input if node.op_type == "Concat" else node.input[:1]
        return all(self._zero(part) for part in parts)

    def _attributes(self, node: NodeProto) -> dict[str, Any]:
        return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}

    def _refuse(self, node: NodeProto, why: str) -> None:
        where = f"{node.op_type} {node.name}".strip()
        raise WordlineError(f"{self.source} cannot be mapped at its operator {where}: {why}.")
