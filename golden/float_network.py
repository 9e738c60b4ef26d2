"""The float network: the reference, and what quantised training starts from."""

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
    """Layers of the cell's float reference, torch.nn.LSTM or torch.nn.RNN, and a linear head, where
    there is one, on the last valid state, or on every state."""

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

    def forward(
        self,
        x: Tensor,
        lengths: Tensor,
        injection: Injection | None = None,
        *,
        every_step: bool = False,
    ) -> Tensor:
        """Scores of real inputs (batch, steps, inputs), (batch, classes) or, of every step, (batch,
        steps, classes); without head the state, (batch, [steps,] units)."""
        for layer in self.layers:
            x = layer(x)[0] if injection is None else self._noisy(layer, x, injection)
        if not every_step:
            x = x[torch.arange(len(x), device=x.device), lengths - 1]
        if self.head is None:
            return x
        scores: Tensor = self.head(x)
        return scores if injection is None else injection.on_scores(scores)

    def _noisy(self, layer: Any, x: Tensor, injection: Injection) -> Tensor:
        """What a layer computes, with noise."""
        bias, recurrent = layer.bias_ih_l0 + layer.bias_hh_l0, layer.weight_hh_l0
        return float_layer.run(x, layer.weight_ih_l0, recurrent, bias, self.cell, injection)


STATISTICS = ("mean", "spread", "target_mean", "target_spread")
"""What a FloatModel has beside its network, in their order."""

PART = 100
"""Sequences that are computed at once: few, so that a step stays in the cache."""


@dataclass(frozen=True)
class FloatModel:
    """A trained float network, and how its inputs and the targets of a regressor are standardised.

    mean, spread: (inputs,) of the training set. target_mean, target_spread: (targets,) of its real
    labels; (1,), 0 and 1, where there are none.
    """

    network: FloatNetwork
    mean: Tensor
    spread: Tensor
    target_mean: Tensor = field(default_factory=lambda: torch.zeros(1))
    target_spread: Tensor = field(default_factory=lambda: torch.ones(1))

    def scores(self, data: Sequences, injection: Injection | None = None) -> Tensor:
        """Scores of a data set, (sequences, classes), or (sequences, steps, classes) where every
        step has a label, 0 beyond a sequence's length; or states; noise is drawn from PyTorch's
        generator."""
        size = (len(data), *((data.x.shape[1],) if data.every_step else ()), self.network.outputs)
        scores = torch.zeros(size, device=data.x.device)
        with torch.no_grad():
            # Sequences of much the same length together: fewer steps of padding.
            for part in data.lengths.argsort(stable=True).split(PART):
                some = self.standardised(data.part(part))
                found = self.network(some.x, some.lengths, injection, every_step=some.every_step)
                if some.every_step:
                    scores[part, : found.shape[1]] = found * some.valid[..., None]
                else:
                    scores[part] = found
        return scores * self.target_spread + self.target_mean

    def to(self, device: str) -> "FloatModel":
        """A copy on another device."""
        network = copy.deepcopy(self.network).to(device)
        return FloatModel(network, *(getattr(self, name).to(device) for name in STATISTICS))

    def standardised(self, data: Sequences) -> Sequences:
        """Inputs as the network takes them, and real labels as it gives them."""
        labels = data.labels
        if data.real:
            labels = (labels - self.target_mean) / self.target_spread
        return dataclasses.replace(data, x=(data.x - self.mean) / self.spread, labels=labels)

    def save(self, path: Path) -> None:
        """Write one .safetensors file, whole or not at all."""
        tensors = self.network.state_dict() | {name: getattr(self, name) for name in STATISTICS}
        with files.atomic(path) as beside:
            safetensors.torch.save_file({k: t.contiguous() for k, t in tensors.items()}, beside)

    @classmethod
    def load(cls, path: Path, description: Description) -> "FloatModel":
        """Read what `save` wrote for a description."""
        tensors = safetensors.torch.load_file(path)
        statistics = [tensors.pop(name) for name in STATISTICS]
        network = FloatNetwork(description)
        network.load_state_dict(tensors)
        return cls(network, *statistics)
