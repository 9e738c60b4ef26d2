"""Float networks from elsewhere: a PyTorch module, its state_dict, a file of either or of ONNX.

What is taken is a chain: `torch.nn.LSTM` or `torch.nn.RNN` layers, then, if scores are to come
out and not the state, a linear layer. Of files and dictionaries the weights are read, by PyTorch's
names or ONNX's operators; how they are joined up is only known of a module, and checked there
(`golden.frontends.convert`).
"""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from golden.description import Description
from golden.errors import WordlineError
from golden.float_network import FloatNetwork

KINDS = {4: "lstm", 1: "rnn"}
"""Kind of a cell by its gates."""

SILENT = (nn.Dropout, nn.Identity, nn.Flatten, nn.Softmax, nn.LogSoftmax)
"""Modules that change no class when a trained network is used."""

FILES = (".onnx", ".safetensors", ".pt", ".pth")
"""Suffixes of files that are read."""

INSTEAD = {
    "GRU": "train an nn.LSTM in its place: there is no GRU cell in hardware",
    "bidirectional": "train it forwards alone: the accelerator sees a sequence once, in order",
    "projection": "train it with proj_size = 0: h is fed back as it is",
    "relu": "train it with nonlinearity = 'tanh': the tables saturate, as relu does not",
}
"""What cannot be mapped, and what to do."""


@dataclass(frozen=True)
class Layer:
    """One recurrent layer, as PyTorch has it: weight_ih (gates * units, inputs), weight_hh (gates *
    units, units), bias (gates * units,), the sum of PyTorch's two."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor

    @property
    def units(self) -> int:
        """Size of h."""
        return self.weight_hh.shape[1]


@dataclass(frozen=True)
class Foreign:
    """A chain of recurrent layers of one kind ("lstm" or "rnn"), and a head, if there is one:
    weight (classes, units), bias (classes,). source: where it comes from, for messages."""

    source: str
    kind: str
    layers: tuple[Layer, ...]
    head: tuple[Tensor, Tensor] | None

    def fit(self, description: Description) -> Description:
        """The description with the network's sizes and kind of cell in place of its own; of a
        network without head, the state leaves, on which there are no votes."""
        sizes = {
            "inputs": self.layers[0].weight_ih.shape[1],
            "hidden": [layer.units for layer in self.layers],
            "classes": len(self.head[0]) if self.head else 0,
        }
        output, voting = {}, {}
        if self.head is None:
            output, voting = {"of": "state"}, {"replay_steps": 0}
        elif description.output.of == "state":
            output = {"of": "class"}
        return description.replace(
            network=sizes, cell={"kind": self.kind}, output=output, voting=voting
        )

    def check(self, description: Description) -> None:
        """WordlineError where a description is for another network."""
        for section in ("network", "cell"):
            own, given = (d.to_dict()[section] for d in (self.fit(description), description))
            for field, value in own.items():
                if given[field] != value:
                    raise WordlineError(
                        f"{self.source} has {section}.{field} = {value!r}, the description has "
                        f"{given[field]!r}; give a description of the same network."
                    )

    def standardised(
        self, description: Description, mean: Tensor, spread: Tensor, *of_target: Tensor
    ) -> FloatNetwork:
        """The same network of (x - mean) / spread in the place of x, for its scores less their mean
        and over their spread; of_target: the two, of each score or of all."""
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
                target_mean, target_spread = (part.double() for part in of_target)
                network.head.weight.copy_(weight / target_spread[:, None])
                network.head.bias.copy_((bias - target_mean) / target_spread)
        return network


def read(path: Path) -> Foreign:
    """A network from a file: .onnx, .safetensors, or .pt or .pth with a state_dict; WordlineError
    where it is none, or none that can be mapped."""
    how: tuple[Callable[[Path], Foreign], ...]
    how = (_read_onnx, _read_safetensors, _read_pickle, _read_pickle)
    readers = dict(zip(FILES, how, strict=True))
    if path.suffix not in readers:
        raise WordlineError(f"{path} is no {', '.join(readers)} file; save it as one of them.")
    try:
        return readers[path.suffix](path)
    except OSError as error:
        reason = error.strerror or "not a file"
        raise WordlineError(f"{path} cannot be read ({reason}); give a model's file.") from None


def _read_onnx(path: Path) -> Foreign:
    from golden.frontends import onnx  # onnx is slow to import

    return onnx.read(path)


def _read_safetensors(path: Path) -> Foreign:
    try:
        tensors = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise WordlineError(f"{path} is no safetensors file ({error}); save it again.") from None
    # The file's own order is by type and name; numbers in names count: lstm2 before lstm10.
    ordered = sorted(tensors, key=lambda name: [part.zfill(9) for part in re.split(r"(\d+)", name)])
    return from_state_dict({name: tensors[name] for name in ordered}, str(path))


def _read_pickle(path: Path) -> Foreign:
    """Only tensors are read: nothing that a pickle may hold is run."""
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a pickle can fail in any way
        reason = f"{error}".splitlines()[0].rstrip(".")
        raise WordlineError(
            f"{path} holds no plain state_dict ({type(error).__name__}: {reason}); save it with "
            f"torch.save(model.state_dict(), PATH), or safetensors."
        ) from None
    if not isinstance(tensors, Mapping):
        raise WordlineError(f"{path} holds a {type(tensors).__name__}; save model.state_dict().")
    return from_state_dict(tensors, str(path))


def from_module(module: nn.Module) -> Foreign:
    """A network from a PyTorch module: an LSTM or RNN, or one that consists of some and perhaps of
    a linear layer, in that order."""
    source = type(module).__name__
    for name, part in module.named_modules():
        where = f"{source} ({name}: {type(part).__name__})" if name else source
        if isinstance(part, nn.GRU | nn.GRUCell):
            _refuse(where, "GRU")
        if isinstance(part, nn.LSTM | nn.RNN):
            if part.bidirectional:
                _refuse(where, "bidirectional")
            if part.proj_size:
                _refuse(where, "projection")
            if getattr(part, "nonlinearity", "tanh") != "tanh":
                _refuse(where, "relu")
        elif not isinstance(part, (nn.Linear, *SILENT)):
            own = [f"{name}.{n}".lstrip(".") for n, _ in part.named_parameters(recurse=False)]
            if own or not list(part.children()):
                what = f"parameters of its own, {own[0]}" if own else f"a {type(part).__name__}"
                raise WordlineError(
                    f"{where} cannot be mapped: it has {what}; the accelerator computes nn.LSTM or "
                    f"nn.RNN layers and one nn.Linear after them."
                )
    return from_state_dict(module.state_dict(), source)


RECURRENT = re.compile(r"(.*?)(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)_l(\d+)(_reverse)?")


def from_state_dict(tensors: Mapping[str, Any], source: str = "the state_dict") -> Foreign:
    """A network from the tensors of a module, by their names; they come in the order of the
    module's parts, the layers one after the other and a linear layer, if there is one, last."""
    layers: dict[tuple[str, int], dict[str, Tensor]] = {}
    rest: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise WordlineError(
                f"{source}: {name} is a {type(tensor).__name__}, no tensor; give a plain "
                f"state_dict."
            )
        if not bool(torch.isfinite(tensor).all()):
            raise WordlineError(f"{source}: {name} holds a number that is not finite.")
        found = RECURRENT.fullmatch(name)
        if found is None:
            rest[name] = tensor
            continue
        prefix, part, number, reverse = found.groups()
        if reverse:
            _refuse(f"{source} ({name})", "bidirectional")
        if part == "weight_hr":
            _refuse(f"{source} ({name})", "projection")
        layers.setdefault((prefix, int(number)), {})[part] = tensor.detach().cpu()
    if not layers:
        raise WordlineError(
            f"{source} has no recurrent layer (no weight_ih_l0); its tensors are "
            f"{', '.join([*tensors][:6]) or 'none'}."
        )
    kinds, chain = set(), []
    for (prefix, number), parts in layers.items():
        gates, layer = _layer(parts, f"{source} ({prefix}weight_ih_l{number})")
        kinds.add(KINDS[gates])
        chain.append(layer)
    return assemble(source, kinds, chain, _head(rest, source) if rest else None)


def assemble(
    source: str, kinds: set[str], layers: list[Layer], head: tuple[Tensor, Tensor | None] | None
) -> Foreign:
    """A network of its parts, once they are found to fit; head: weight and bias."""
    if len(kinds) > 1:
        raise WordlineError(
            f"{source} has layers of several kinds ({', '.join(sorted(kinds))}); all of a "
            f"network's must be LSTM, or all RNN."
        )
    for n, (before, after) in enumerate(itertools.pairwise(layers), 1):
        if after.weight_ih.shape[1] != before.units:
            raise WordlineError(
                f"{source}: recurrent layer {n} takes {after.weight_ih.shape[1]} inputs, but the "
                f"one before it has {before.units} units; they must be one chain."
            )
    if head is None:
        return Foreign(source, kinds.pop(), tuple(layers), None)
    weight, bias = head
    if weight.shape[1] != layers[-1].units:
        raise WordlineError(
            f"{source}: the linear layer takes {weight.shape[1]} inputs, but the last recurrent "
            f"layer has {layers[-1].units} units; it must read those alone."
        )
    bias = torch.zeros(len(weight)) if bias is None else bias
    return Foreign(source, kinds.pop(), tuple(layers), (weight, bias))


def _layer(parts: Mapping[str, Tensor], where: str) -> tuple[int, Layer]:
    """Gates, and a layer of its tensors; biases may be absent."""
    ih, hh = parts.get("weight_ih"), parts.get("weight_hh")
    if ih is None or hh is None or ih.dim() != 2 or hh.dim() != 2 or len(ih) != len(hh):
        shapes = {name: tuple(tensor.shape) for name, tensor in parts.items()}
        raise WordlineError(f"{where} is no recurrent layer: its tensors are {shapes}.")
    gates, odd = divmod(len(hh), hh.shape[1])
    if gates == 3 and not odd:
        _refuse(where, "GRU")
    if odd or gates not in KINDS:
        raise WordlineError(
            f"{where} has {len(hh)} rows for {hh.shape[1]} units; an LSTM has 4 gates, an RNN 1."
        )
    bias = torch.zeros(len(ih), dtype=torch.float64)
    for name in ("bias_ih", "bias_hh"):
        bias = bias + parts.get(name, torch.zeros(len(ih)))
    return gates, Layer(ih, hh, bias)


def _head(rest: Mapping[str, Tensor], source: str) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of the linear layer among the tensors that are of no recurrent one."""
    matrices = [name for name, tensor in rest.items() if tensor.dim() == 2]
    known = {"weight", "bias"}
    strange = [name for name in rest if name.rpartition(".")[2] not in known]
    if len(matrices) != 1 or strange or len(rest) > 2:
        named = ", ".join(rest)
        raise WordlineError(
            f"{source}: beside the recurrent layers there may be one linear layer for the scores "
            f"(a weight and perhaps a bias); there is: {named}."
        )
    name = matrices[0]
    bias = rest.get(f"{name.removesuffix('weight')}bias")
    weight = rest[name].detach().cpu()
    if bias is not None and bias.shape != weight.shape[:1]:
        raise WordlineError(
            f"{source}: the bias of {name} has shape {tuple(bias.shape)}, not ({len(weight)},)."
        )
    return weight, None if bias is None else bias.detach().cpu()


def _refuse(where: str, what: str) -> None:
    raise WordlineError(f"{where} cannot be mapped ({what}): {INSTEAD[what]}.")
