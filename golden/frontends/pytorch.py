"""Files of float networks."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from golden.errors import WordlineError
from golden.frontends.chain import Foreign
from golden.frontends.state_dict import from_state_dict

FILES = (".onnx", ".safetensors", ".pt", ".pth")
"""Suffixes of files that are read."""


Given = dict[str, Any]
"""`order` and `inputs` of `read`."""


def read(path: Path, order: Sequence[str] | None = None, inputs: int | None = None) -> Foreign:
    """A network from a file: .onnx, .safetensors, or .pt or .pth with a state_dict; WordlineError
    where it is none, or none that can be mapped.

    order: names of a state_dict's parts, from the input on, where their sizes do not tell it.
    inputs: channels of the network's input, where they are known.
    """
    how: tuple[Callable[[Path, Given], Foreign], ...]
    how = (_read_onnx, _read_safetensors, _read_pickle, _read_pickle)
    readers = dict(zip(FILES, how, strict=True))
    if path.suffix not in readers:
        raise WordlineError(f"{path} is no {', '.join(readers)} file; save it as one of them.")
    try:
        return readers[path.suffix](path, {"order": order, "inputs": inputs})
    except OSError as error:
        reason = error.strerror or "not a file"
        raise WordlineError(f"{path} cannot be read ({reason}); give a model's file.") from None


def _read_onnx(path: Path, given: Given) -> Foreign:
    from golden.frontends import onnx  # onnx is slow to import

    if given["order"] is not None:
        raise WordlineError(f"{path} has its own order; leave --order out: it is for state_dicts.")
    return onnx.read(path)


def _read_safetensors(path: Path, given: Given) -> Foreign:
    try:
        tensors = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise WordlineError(f"{path} is no safetensors file ({error}); save it again.") from None
    # The file's own order is by type and name; numbers in names count: lstm2 before lstm10.
    ordered = sorted(tensors, key=lambda name: [part.zfill(9) for part in re.split(r"(\d+)", name)])
    own = {name: tensors[name] for name in ordered}
    return from_state_dict(own, str(path), made=False, **given)


def _read_pickle(path: Path, given: Given) -> Foreign:
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
    return from_state_dict(tensors, str(path), **given)
