"""Files of float networks, and PyTorch's state_dicts, whose tensors are read by their names."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from golden.errors import WordlineError
from golden.frontends.chain import INSTEAD, Foreign, Layer, Linear, assemble

KINDS = {4: "lstm", 1: "rnn"}
"""Kind of a cell by its gates."""

FILES = (".onnx", ".safetensors", ".pt", ".pth")
"""Suffixes of files that are read."""


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
    kinds: set[str] = set()
    chain: list[Layer | Linear] = []
    for (prefix, number), parts in layers.items():
        gates, layer = _layer(parts, f"{source} ({prefix}weight_ih_l{number})")
        kinds.add(KINDS[gates])
        chain.append(layer)
    names = [f"{prefix}weight_ih_l{number}" for prefix, number in layers]
    names = [name.removesuffix(".weight_ih_l0").removesuffix("weight_ih_l0") for name in names]
    if rest:
        name, linear = _head(rest, source)
        chain.append(linear)
        names.append(name)
    names = [name or source for name in names]
    why = "a state_dict has no graph"
    return assemble(source, kinds, chain, chain=tuple(names), why_not=why)


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


def _head(rest: Mapping[str, Tensor], source: str) -> tuple[str, Linear]:
    """Name and tensors of the linear layer among the tensors that are of no recurrent one."""
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
    own = Linear(weight, None if bias is None else bias.detach().cpu())
    return name.removesuffix("weight").removesuffix(".") or "linear", own


def _refuse(where: str, what: str) -> None:
    raise WordlineError(f"{where} cannot be mapped ({what}): {INSTEAD[what]}.")
