"""Float network: the reference, and the starting point of quantised training."""

import copy
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from golden import files, float_layer
from golden.datasets import Sequences
from golden.description import Description
from golden.injection import Injection


class FloatNetwork(nn.Module):
    """Recurrent layers of the cell's float reference, and a linear head if the network has one.

    The layers are, for example, `torch.nn.LSTM`. The head reads the last valid state, or every
    state.
    """

    def __init__(self, description: Description) -> None:
        super().__init__()
        net = description.network
        fan_in = (net.inputs, *net.hidden[:-1])
        self.cell = description.cell
        self.layers = nn.ModuleList(
            self.cell.float_layer(inputs, units)
            for inputs, units in zip(fan_in, net.hidden, strict=True)
        )
        self.head = nn.Linear(net.hidden[-1], net.classes) if net.classes else None
        self.outputs = description.outputs
        self.float()  # whatever PyTorch's default dtype

    def forward(
        self,
        x: Tensor,
        lengths: Tensor,
        injection: Injection | None = None,
        *,
        every_step: bool = False,
    ) -> Tensor:
        """Scores of real inputs x (batch, steps, inputs), shape (batch, classes).

        Without a head the result is the state, shape (batch, units). With `every_step` the shapes
        are (batch, steps, classes) and (batch, steps, units).
        """
        for layer in self.layers:
            x = layer(x)[0] if injection is None else self._noisy(layer, x, injection)
        if not every_step:
            x = x[torch.arange(len(x), device=x.device), lengths - 1]
        if self.head is None:
            return x
        scores: Tensor = self.head(x if injection is None else injection.on_inputs(x))
        return scores if injection is None else injection.on_scores(scores)

    def _noisy(self, layer: Any, x: Tensor, injection: Injection) -> Tensor:
        """Output of a layer with injected noise."""
        bias, recurrent = layer.bias_ih_l0 + layer.bias_hh_l0, layer.weight_hh_l0
        return float_layer.run(x, layer.weight_ih_l0, recurrent, bias, self.cell, injection)


STATISTICS = ("mean", "spread", "target_mean", "target_spread")
"""Fields of `FloatModel` after its network, in order."""

PART = 100
"""Sequences that are computed at once: few, so that a step fits in the cache."""


@dataclass(frozen=True)
class FloatModel:
    """A trained float network, and the standardisation of its inputs and of real targets.

    network: The network.
    mean, spread: Mean and standard deviation of each input over the training set, shape (inputs,).
    target_mean, target_spread: The same of each real target, shape (targets,); without real targets
        0 and 1, shape (1,).
    """

    network: FloatNetwork
    mean: Tensor
    spread: Tensor
    target_mean: Tensor = field(default_factory=lambda: torch.zeros(1))
    target_spread: Tensor = field(default_factory=lambda: torch.ones(1))

    def scores(self, data: Sequences, injection: Injection | None = None) -> Tensor:
        """Scores of a data set, shape (sequences, classes), or states if there is no head.

        If every step has a label, the shape is (sequences, steps, classes), with 0 in padding
        steps. Noise is drawn by `golden.normal`.
        """
        size = (len(data), *((data.x.shape[1],) if data.every_step else ()), self.network.outputs)
        scores = torch.zeros(size, device=data.x.device, dtype=torch.float32)
        with torch.no_grad():
            # Sequences of similar length together, for less padding.
            for part in data.lengths.argsort(stable=True).split(PART):
                some = self.standardised(data.part(part))
                found = self.network(some.x, some.lengths, injection, every_step=some.every_step)
                if some.every_step:
                    scores[part, : found.shape[1]] = found * some.valid[..., None]
                else:
                    scores[part] = found
        return scores * self.target_spread + self.target_mean

    def to(self, device: str) -> "FloatModel":
        """Copy on another device."""
        network = copy.deepcopy(self.network).to(device)
        return FloatModel(network, *(getattr(self, name).to(device) for name in STATISTICS))

    def standardised(self, data: Sequences) -> Sequences:
        """Data with standardised inputs and, for a regressor, standardised targets."""
        labels = data.labels
        if data.real:
            labels = (labels - self.target_mean) / self.target_spread
        x = ((data.x - self.mean) / self.spread).float()
        return dataclasses.replace(data, x=x, labels=labels)

    def save(self, path: Path) -> None:
        """Write one .safetensors file atomically."""
        tensors = self.network.state_dict() | {name: getattr(self, name) for name in STATISTICS}
        with files.atomic(path) as beside:
            safetensors.torch.save_file({k: t.contiguous() for k, t in tensors.items()}, beside)

    @classmethod
    def load(cls, path: Path, description: Description) -> "FloatModel":
        """Read a model that `save` wrote.

        description: That of the network.
        """
        tensors = safetensors.torch.load_file(path)
        statistics = [tensors.pop(name) for name in STATISTICS]
        network = FloatNetwork(description)
        network.load_state_dict(tensors)
        return cls(network, *statistics)
