"""Imported float networks as a chain: recurrent layers and matrices, optionally with a head."""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from golden.description import Description
from golden.errors import WordlineError
from golden.float_network import FloatNetwork
from golden.validation import plain

INSTEAD = {
    "GRU": "train an nn.LSTM in its place: there is no GRU cell in hardware",
    "bidirectional": "train it forwards alone: the accelerator sees a sequence once, in order",
    "projection": "train it with proj_size = 0: h is fed back as it is",
    "relu": "train it with nonlinearity = 'tanh', or through wordline with cell.activation = "
    "'relu': the tables saturate, as relu does not",
}
"""Layers that cannot be mapped, and what to do instead."""


@dataclass(frozen=True)
class Layer:
    """A recurrent layer in PyTorch's format.

    weight_ih: Input weights, shape (gates * units, inputs).
    weight_hh: Recurrent weights, shape (gates * units, units).
    bias: Sum of PyTorch's two biases, shape (gates * units,).
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return self.weight_ih.shape[1]

    @property
    def units(self) -> int:
        """Number of units."""
        return self.weight_hh.shape[1]


@dataclass(frozen=True)
class Linear:
    """A matrix and a bias in a chain.

    weight: Shape (outputs, inputs).
    bias: Shape (outputs,), or None.
    """

    weight: Tensor
    bias: Tensor | None = None

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return self.weight.shape[1]

    @property
    def units(self) -> int:
        """Number of outputs."""
        return self.weight.shape[0]

    @property
    def shift(self) -> Tensor:
        """Bias in float64; zeros if there is none."""
        if self.bias is None:
            return torch.zeros(self.units, dtype=torch.float64)
        return self.bias.double()

    def then(self, other: "Linear") -> "Linear":
        """This layer followed by another one, as a single layer."""
        weight = other.weight.double() @ self.weight.double()
        return Linear(weight, other.weight.double() @ self.shift + other.shift)

    def into(self, layer: Layer) -> Layer:
        """The recurrent layer that follows this one, with this one folded into it."""
        weight = layer.weight_ih.double()
        bias = layer.bias + weight @ self.shift
        return Layer(weight @ self.weight.double(), layer.weight_hh, bias)


COARSE = {torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Tolerances of the types with few bits."""


@dataclass(frozen=True)
class Foreign:
    """An imported network: a chain of recurrent layers of one kind, and optionally a head.

    source: Origin of the network, for messages.
    kind: "lstm" or "rnn".
    layers: The recurrent layers.
    head: Weight (classes, units) and bias (classes,); None if there is none.
    chain: Names of the parts, in order.
    tail: Functions of the scores that do not change the class and are left out.
    run: Computes the scores by the source's own code, see `Run`. None if there is no such code.
    why_not: Reason why nothing can be run.
    computes: Type in which `run` computes.
    steps: Length of the sequences that `run` accepts; None for any length.
    activation: That of an RNN; None where the source does not say.
    """

    source: str
    kind: str
    layers: tuple[Layer, ...]
    head: tuple[Tensor, Tensor] | None
    chain: tuple[str, ...] = ()
    run: "Run | None" = None
    why_not: str = ""
    computes: torch.dtype = torch.float32
    tail: tuple[str, ...] = ()
    steps: int | None = None
    activation: str | None = None

    @property
    def tolerance(self) -> float:
        """Largest accepted difference from `run`, relative to how much scores vary.

        Long sequences accumulate rounding errors.
        """
        return COARSE.get(self.computes, 1e-3)

    def fit(self, description: Description) -> Description:
        """Copy of a description with the sizes and the kind of cell of this network.

        Without a head, the output is the state and there is no voting. A single score, if a class
        is wanted, is compared with 0, which gives two classes.
        """
        sizes = {
            "inputs": self.layers[0].inputs,
            "hidden": [layer.units for layer in self.layers],
            "classes": len(self.head[0]) if self.head else 0,
        }
        output, voting = {}, {}
        if self.head is None:
            output, voting = {"of": "state"}, {"replay_steps": 0}
        elif description.output.of != "scores":
            output = {"of": "class"}
            sizes["classes"] = max(2, len(self.head[0]))
        cell = {"kind": self.kind}
        if self.kind == "rnn" and self.activation is not None:
            cell["activation"] = self.activation
        return description.replace(network=sizes, cell=cell, output=output, voting=voting)

    def check(self, description: Description) -> None:
        """Check that a description fits the network.

        Raises WordlineError if it does not.
        """
        for section in ("network", "cell"):
            # With fields that a file leaves out at their defaults.
            own, given = (
                plain(d.cell) if section == "cell" else d.to_dict()[section]
                for d in (self.fit(description), description)
            )
            for field, value in own.items():
                if given[field] != value:
                    raise WordlineError(
                        f"{self.source} has {section}.{field} = {value!r}, the description has "
                        f"{given[field]!r}; give a description of the same network."
                    )

    def digest(self) -> str:
        """Hash of all numbers of the network."""
        tensors = [t for own in self.layers for t in (own.weight_ih, own.weight_hh, own.bias)]
        content = hashlib.sha256(self.kind.encode())
        for tensor in (*tensors, *(self.head or ())):
            content.update(f"{tuple(tensor.shape)}".encode())
            content.update(tensor.detach().double().contiguous().numpy().tobytes())
        return content.hexdigest()

    def thresholds(self, description: Description) -> bool:
        """Whether a class is decided by the sign of a single score: class 1 above 0."""
        one = self.head is not None and len(self.head[0]) == 1
        return one and description.output.of == "class" and description.network.classes == 2

    def standardised(
        self, description: Description, mean: Tensor, spread: Tensor, *of_target: Tensor
    ) -> FloatNetwork:
        """The same network for standardised inputs (x - mean) / spread and standardised scores.

        of_target: Mean and standard deviation by which scores are standardised, of each score or of
            all.
        """
        network = FloatNetwork(description)
        with torch.no_grad():
            for n, (own, layer) in enumerate(zip(self.layers, network.layers, strict=True)):
                weight, bias = own.weight_ih.double(), own.bias.double()
                if n == 0:
                    bias = bias + weight @ mean.double()
                    weight = weight * spread.double()
                values: dict[str, Tensor] = {"weight_ih": weight, "weight_hh": own.weight_hh}
                values |= {"bias_ih": bias, "bias_hh": 0 * bias}
                for name, value in values.items():
                    getattr(layer, f"{name}_l0").copy_(value)
            if network.head is not None and self.head is not None:
                weight, bias = (part.double() for part in self.head)
                if self.thresholds(description):
                    weight, bias = (torch.cat([-part / 2, part / 2]) for part in (weight, bias))
                target_mean, target_spread = (part.double() for part in of_target)
                network.head.weight.copy_(weight / target_spread[:, None])
                network.head.bias.copy_((bias - target_mean) / target_spread)
        return network


Run = Callable[[Tensor], Sequence[Tensor]]
"""Scores of x (sequences, steps, inputs), float32, one result for each way to call the network.

A result has shape (sequences, classes) or (sequences, steps, classes). There is none if the network
cannot be called.
"""


def assemble(
    source: str,
    kinds: set[str],
    parts: Sequence[Layer | Linear],
    *,
    chain: tuple[str, ...] = (),
    run: Run | None = None,
    why_not: str = "",
    computes: torch.dtype = torch.float32,
    tail: tuple[str, ...] = (),
    steps: int | None = None,
    activation: str | None = None,
) -> Foreign:
    """Assemble a network from its parts in order.

    Matrices before a recurrent layer are folded into it; those after the last one form the head.

    Raises WordlineError if the parts do not form a chain.
    """
    if len(kinds) > 1:
        raise WordlineError(
            f"{source} has layers of several kinds ({', '.join(sorted(kinds))}); all of a "
            f"network's must be LSTM, or all RNN."
        )
    names = chain or tuple(f"part {n}" for n in range(1, len(parts) + 1))
    for (name, before), (other, after) in itertools.pairwise(zip(names, parts, strict=True)):
        if after.inputs != before.units:
            raise WordlineError(
                f"{source}: {other} takes {after.inputs} inputs, but {name} in front of it gives "
                f"{before.units}; all parts must be one chain."
            )
    layers: list[Layer] = []
    linear: Linear | None = None
    for part in parts:
        if isinstance(part, Linear):
            linear = part if linear is None else linear.then(part)
        else:
            layers.append(part if linear is None else linear.into(part))
            linear = None
    head = None
    if linear is not None:
        bias = torch.zeros(linear.units) if linear.bias is None else linear.bias
        head = linear.weight, bias
    own = source, kinds.pop(), tuple(layers), head
    return Foreign(*own, chain, run, why_not, computes, tail, steps, activation)
