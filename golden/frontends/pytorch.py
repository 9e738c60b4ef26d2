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

from golden.errors import WordlineError
from golden.frontends.chain import Foreign
from golden.frontends.state_dict import from_state_dict

FILES = (".onnx", ".safetensors", ".pt", ".pth", ".ckpt")
"""Suffixes of files that are read."""


MOST = 2**34
"""Bytes of a file's tensors."""

Given = dict[str, Any]
"""`order` and `inputs` of `read`."""


def read(path: Path, order: Sequence[str] | None = None, inputs: int | None = None) -> Foreign:
    """A network from a file: .onnx, .safetensors, or a state_dict's .pt, .pth, .ckpt; WordlineError
    where it is none, or none that can be mapped.

    order: names of a state_dict's parts, from the input on, where their sizes do not tell it.
    inputs: channels of the network's input, where they are known.
    """
    how: tuple[Callable[[Path, Given], Foreign], ...]
    how = (_read_onnx, _read_safetensors, *[_read_pickle] * 3)
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
        if (size := _unpacked(path)) > MOST:
            raise WordlineError(f"{path} is {size / 2**30:.0f} GB, above {MOST // 2**30}.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, WordlineError):
        raise
    except Exception as error:  # a pickle can fail in any way
        # PyTorch's own words advise to load what may run code.
        if "TorchScript" in str(error) or "RecursiveScriptModule" in str(error):
            reason = "is TorchScript"
        elif "GLOBAL" in str(error):
            reason = "holds Python objects beside tensors, as a whole module or NumPy arrays"
        else:
            reason = "is damaged, or was not written by torch.save"
        raise WordlineError(
            f"{path} {reason}; give a file of tensors alone: where the network was made, "
            f"torch.save(model.state_dict(), PATH)."
        ) from None
    if not isinstance(tensors, Mapping):
        raise WordlineError(f"{path} holds a {type(tensors).__name__}; save model.state_dict().")
    return from_state_dict(tensors, str(path), **given)


def _unpacked(path: Path) -> int:
    """Bytes of a file when unpacked."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(info.file_size for info in archive.infolist())
    return path.stat().st_size
