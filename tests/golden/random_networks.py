"""Networks drawn at random, as a module, as a state_dict and as ONNX files of several exporters."""

import itertools
import random
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

LEGACY = range(9, 21)
"""Opsets of torch.onnx.export(dynamo=False)."""

NEWER = range(18, 23)
"""Opsets of torch.onnx.export(dynamo=True)."""

BY_HAND = range(9, 25)

NAMES = {
    "plain": ("lstm", "front", "head", "last"),
    "foreign": ("model.encoder.rnn_1", "model.embed_proj", "model.classifier.0", "model.fc_out"),
    "numbered": ("net.1", "net.0", "net.2", "net.3"),
}


@dataclass(frozen=True)
class Drawn:
    """What a network is: cell, sizes, and how it is called."""

    kind: str
    inputs: int
    units: tuple[int, ...]
    stacked: bool
    bias: bool
    batch_first: bool
    front: int
    heads: tuple[int, ...]
    head_bias: bool
    every: bool
    names: str
    seed: int

    @classmethod
    def draw(cls, seed: int) -> "Drawn":
        own = random.Random(seed)
        layers, stacked = own.choice((1, 1, 2, 3)), own.random() < 0.5
        units = tuple(own.randint(1, 9) for _ in range(layers))
        return cls(
            kind=own.choice(("lstm", "rnn")),
            inputs=own.randint(1, 6),
            units=units[:1] * layers if stacked else units,
            stacked=stacked,
            bias=own.random() < 0.7,
            batch_first=own.random() < 0.5,
            front=own.choice((0, 0, 0, own.randint(1, 6))),
            heads=own.choice(((), (3,), (2,), (5,), (4, 3))),
            head_bias=own.random() < 0.7,
            every=own.random() < 0.5,
            names=own.choice([*NAMES]),
            seed=seed,
        )

    def module(self) -> "Network":
        torch.manual_seed(self.seed)
        network = Network(self).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(2)
        return network

    def x(self, sequences: int, steps: int) -> Tensor:
        """Inputs, sequences first."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(sequences, steps, self.inputs, generator=generator)


class Network(nn.Module):
    """A chain: linear, recurrent, linear."""

    def __init__(self, drawn: Drawn) -> None:
        super().__init__()
        self.drawn = drawn
        kind = {"lstm": nn.LSTM, "rnn": nn.RNN}[drawn.kind]
        options = {"bias": drawn.bias, "batch_first": drawn.batch_first}
        inputs, self.front = drawn.inputs, None
        if drawn.front:
            self.front, inputs = nn.Linear(inputs, drawn.front), drawn.front
        if drawn.stacked:
            own = [kind(inputs, drawn.units[0], len(drawn.units), **options)]
        else:
            sizes = itertools.pairwise((inputs, *drawn.units))
            own = [kind(*size, **options) for size in sizes]
        self.recurrent = nn.ModuleList(own)
        sizes = itertools.pairwise((drawn.units[-1], *drawn.heads))
        self.heads = nn.ModuleList(nn.Linear(*size, drawn.head_bias) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of x, in the layout of the recurrent layers."""
        x = x if self.front is None else self.front(x)
        for layer in self.recurrent:
            x = layer(x)[0]
        if not self.drawn.every:
            x = x[:, -1] if self.drawn.batch_first else x[-1]
        for head in self.heads:
            x = head(x)
        return x

    def scores(self, x: Tensor) -> Tensor:
        """Scores of x, sequences first."""
        with torch.no_grad():
            if self.drawn.batch_first:
                return self(x)
            found = self(x.transpose(0, 1))
        return found.transpose(0, 1) if self.drawn.every else found

    def named(self) -> tuple[dict[str, Tensor], list[str]]:
        """A state_dict under the drawn names, and its parts in their order."""
        lstm, front, head, last = NAMES[self.drawn.names]
        parts: list[tuple[str, nn.Module]] = []
        if self.front is not None:
            parts.append((front, self.front))
        for n, layer in enumerate(self.recurrent):
            parts.append((lstm if len(self.recurrent) == 1 else f"{lstm}_{n}", layer))
        parts += zip((head, last), self.heads, strict=False)
        tensors = {
            f"{name}.{own}": tensor
            for name, part in parts
            for own, tensor in part.state_dict().items()
        }
        return tensors, [name for name, _ in parts]


def export(network: Network, path: Path, opset: int, *, newer: bool = False) -> Path:
    """As PyTorch's exporters write it, with sequences and steps of any number."""
    drawn = network.drawn
    x = drawn.x(4, 6)
    x = x if drawn.batch_first else x.transpose(0, 1)
    n, t = ("n", "t") if drawn.batch_first else ("t", "n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if newer:
            sizes = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
            torch.onnx.export(
                network, (x,), path, opset_version=opset, dynamo=True, verbose=False,
                input_names=["x"], dynamic_shapes=(sizes,), external_data=False,
            )  # fmt: skip
        else:
            torch.onnx.export(
                network, (x,), path, opset_version=opset, dynamo=False,
                input_names=["x"], dynamic_axes={"x": {0: n, 1: t}},
            )  # fmt: skip
    return path


ONNX_GATES = {"lstm": (0, 3, 1, 2), "rnn": (0,)}
"""Where ONNX's gates are among PyTorch's."""


def by_hand(network: Network, path: Path, opset: int) -> Path:
    """The same, written from the operators' definitions: steps first."""
    drawn = network.drawn
    nodes: list[onnx.NodeProto] = []
    tensors: dict[str, np.ndarray] = {}

    def add(operator: str, given: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, given, [output], **attributes))
        return output

    def constant(name: str, value: np.ndarray) -> str:
        tensors[name] = value
        return name

    def linear(part: nn.Linear, name: str, x: str) -> str:
        weight = constant(f"{name}_w", part.weight.detach().numpy().T.copy())
        y = add("MatMul", [x, weight], f"{name}_m")
        if part.bias is None:
            return y
        return add("Add", [y, constant(f"{name}_b", part.bias.detach().numpy())], f"{name}_y")

    def squeeze(x: str, axis: int, output: str) -> str:
        if opset < 13:
            return add("Squeeze", [x], output, axes=[axis])
        return add("Squeeze", [x, constant(f"axis{axis}", np.array([axis]))], output)

    x = "x" if network.front is None else linear(network.front, "front", "x")
    layers = [(layer, n) for layer in network.recurrent for n in range(layer.num_layers)]
    for count, (layer, n) in enumerate(layers):
        gates, units = ONNX_GATES[drawn.kind], layer.hidden_size

        def rows(name: str, layer=layer, n=n, gates=gates, units=units) -> np.ndarray:
            own = getattr(layer, f"{name}_l{n}").detach().numpy()
            return np.concatenate([own[g * units : (g + 1) * units] for g in gates])

        given = [x, constant(f"W{count}", rows("weight_ih")[None])]
        given.append(constant(f"R{count}", rows("weight_hh")[None]))
        if drawn.bias:
            both = np.concatenate([rows("bias_ih"), rows("bias_hh")])[None]
            given.append(constant(f"B{count}", both))
        outputs = [f"Y{count}", f"Yh{count}"]
        kind = drawn.kind.upper()
        nodes.append(helper.make_node(kind, given, outputs, hidden_size=units))
        if count < len(layers) - 1 or drawn.every:
            x = squeeze(outputs[0], 1, f"h{count}")
        else:
            x = squeeze(outputs[1], 0, f"h{count}")
    for n, head in enumerate(network.heads):
        x = linear(head, f"head{n}", x)
    value = helper.make_tensor_value_info
    kind, size = TensorProto.FLOAT, (drawn.heads or drawn.units)[-1]
    graph = helper.make_graph(
        nodes,
        "own",
        [value("x", kind, ["t", "n", drawn.inputs])],
        [value(x, kind, ["t", "n", size] if drawn.every else ["n", size])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path
