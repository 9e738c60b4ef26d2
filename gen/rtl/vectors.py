"""Golden vectors: input codes and all values that the golden model computes from them, as an .npz.

Reading the file needs only NumPy. docs/formats.md describes the arrays. All passes of the first
sequence come first, then those of the next. Steps beyond a sequence's length are 0.

    x               (sequences, steps, inputs)
    lengths         (sequences,)
    layers.n.codes  (passes, steps, gates, units), for each layer n
    layers.n.h      (passes, steps, units)
    layers.n.c      (passes, steps, units), LSTM only
    scores          (passes, classes) or (passes, steps, classes), with a head
    label           (sequences,) or (sequences, steps), with a head
    state           (passes, units) or (passes, steps, units), without a head
"""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from golden import files, network
from golden.errors import WordlineError
from golden.program import Program

Vectors = dict[str, np.ndarray]

FORMAT = 1
"""Version of the file, stored in its array `format` (docs/formats.md)."""


def make(program: Program, x: Tensor, lengths: Tensor) -> Vectors:
    """Run the golden model on DAC codes x (sequences, steps, inputs) and keep all values."""
    description = program.description
    parts: dict[str, list[np.ndarray]] = {"x": []}
    for part, trace in network.in_parts(program, x, lengths):
        valid = torch.arange(x.shape[1])[None] < lengths[part, None]
        parts["x"].append(_compact(x[part], valid))
        every_step = valid if description.output.every_step else None
        if trace.label is not None:
            parts.setdefault("label", []).append(_compact(trace.label, every_step))
        valid = valid.repeat_interleave(program.votes, 0)
        every_step = None if every_step is None else valid
        for n, layer in enumerate(trace.layers):
            for name, values in layer.quantities().items():
                parts.setdefault(f"layers.{n}.{name}", []).append(_compact(values, valid))
        name = "scores" if description.network.classes else "state"
        parts.setdefault(name, []).append(_compact(trace.scores, every_step))
    vectors = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return vectors | {"lengths": lengths.numpy().astype(np.int32), "format": np.array([FORMAT])}


def load(path: Path) -> Vectors:
    """Read golden vectors from a file.

    Raises WordlineError if the file is damaged or has another format version.
    """
    try:
        with np.load(path) as file:
            vectors = dict(file)
        version = int(vectors["format"][0])
        whole = len(vectors["x"]) == len(vectors["lengths"])
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile):
        raise WordlineError(f"{path} holds no golden vectors; run `wordline emit` again.") from None
    if version != FORMAT or not whole:
        raise WordlineError(
            f"{path} has golden vectors of format {version}, and this version of Wordline reads "
            f"{FORMAT}; run `wordline emit` again."
        )
    return vectors


def _compact(values: Tensor, valid: Tensor | None = None) -> np.ndarray:
    """Values in the narrowest integer type that holds them all, 0 where a step is not valid."""
    if valid is not None:
        values = values * valid.view(*valid.shape, *(1,) * (values.dim() - 2))
    most = int(values.abs().max())
    kind = next(k for k in (np.int8, np.int16, np.int32) if most <= np.iinfo(k).max)
    return values.numpy().astype(kind)


def first(vectors: Vectors, sequences: int) -> Vectors:
    """Golden vectors of the first `sequences`; steps stay padded as they are."""
    count = len(vectors["lengths"])
    of_sequence = ("x", "lengths", "label")
    votes = len(vectors["layers.0.h"]) // count
    return vectors | {
        name: array[: sequences if name in of_sequence else sequences * votes]
        for name, array in vectors.items()
        if name != "format"
    }


def one(vectors: Vectors, sequence: int) -> Vectors:
    """Golden vectors of one sequence."""
    votes = len(vectors["layers.0.h"]) // len(vectors["lengths"])
    of_sequence = ("x", "lengths", "label")
    return vectors | {
        name: array[sequence : sequence + 1]
        if name in of_sequence
        else array[sequence * votes : (sequence + 1) * votes]
        for name, array in vectors.items()
        if name != "format"
    }


def write(path: Path, vectors: Vectors) -> None:
    """Write the .npz, whole or not at all.

    It is not compressed: for 10,000 images compression takes half a minute and saves a third.
    """
    with files.atomic(path) as beside, beside.open("wb") as file:
        np.savez(file, **vectors)  # type: ignore[arg-type]
