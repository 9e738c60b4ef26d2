"""Files of float networks."""

import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from golden import files
from golden.errors import WordlineError
from golden.frontends.chain import Foreign
from golden.frontends.state_dict import from_state_dict

FILES = (".onnx", ".safetensors", ".pt", ".pth", ".ckpt")
"""Suffixes of the supported files."""


Given = dict[str, Any]
"""Arguments `order` and `inputs` of `read`."""


def read(path: Path, order: Sequence[str] | None = None, inputs: int | None = None) -> Foreign:
    """Read a network from a file: .onnx, .safetensors, or a state_dict as .pt, .pth or .ckpt.

    order: Names of a state_dict's parts, starting at the input, if their sizes leave it open.
    inputs: Channels of the network's input, if known.

    Raises WordlineError if the file cannot be read, or if its network cannot be mapped.
    """
    how: tuple[Callable[[Path, Given], Foreign], ...]
    how = (_read_onnx, _read_safetensors, *[_read_pickle] * 3)
    readers = dict(zip(FILES, how, strict=True))
    if path.suffix not in readers:
        raise WordlineError(f"{path} is not a {', '.join(readers)} file; save it as one of them.")
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
        with safetensors.safe_open(path, framework="pt") as file:
            kept = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise WordlineError(f"{path} is not a safetensors file ({error}); save it again.") from None
    # safetensors.torch.save_model keeps a tensor that two layers share once, and says so.
    tensors |= {name: tensors[own] for name, own in kept.items() if own in tensors}
    # The file sorts tensors by type and name. Sort by name with numbers as numbers: lstm2 before
    # lstm10.
    ordered = sorted(tensors, key=lambda name: [part.zfill(9) for part in re.split(r"(\d+)", name)])
    own = {name: tensors[name] for name in ordered}
    return from_state_dict(own, str(path), made=False, **given)


def _read_pickle(path: Path, given: Given) -> Foreign:
    """Read a state_dict; only tensors are loaded, and no code in the pickle runs."""
    try:
        files.check_unpacked(path, _unpacked(path), "save it with torch.save")
        _check_sums(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, WordlineError):
        raise
    except Exception as error:  # a pickle may raise any exception
        # PyTorch's own message recommends loading in a way that may run code.
        if "TorchScript" in str(error) or "RecursiveScriptModule" in str(error):
            reason = "is TorchScript"
        elif "GLOBAL" in str(error):
            reason = "holds Python objects beside tensors, as a whole module or NumPy arrays"
        else:
            reason = "is damaged, or was not written by torch.save"
            if isinstance(error, zipfile.BadZipFile):
                reason = "is damaged (a checksum is wrong), or was saved without checksums"
        raise WordlineError(
            f"{path} {reason}; give a file of tensors alone: where the network was made, "
            f"torch.save(model.state_dict(), PATH)."
        ) from None
    if not isinstance(tensors, Mapping):
        raise WordlineError(f"{path} holds a {type(tensors).__name__}; save model.state_dict().")
    return from_state_dict(tensors, str(path), **given)


def _check_sums(path: Path) -> None:
    """Raise an error if a file was damaged, which PyTorch would not notice."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(damaged)


def _unpacked(path: Path) -> int:
    """Size of a file when unpacked (bytes)."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(info.file_size for info in archive.infolist())
    return path.stat().st_size
