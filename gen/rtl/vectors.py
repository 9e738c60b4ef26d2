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
    image           (1,), checksum of the image with which a chip gives these values, if known
"""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from golden import files, network, npz
from golden.description import Description
from golden.errors import WordlineError
from golden.program import Program

Vectors = dict[str, np.ndarray]

WHOLE = ("format", "image")
"""Arrays that are of no sequence."""

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


def load(path: Path, description: Description) -> Vectors:
    """Read golden vectors from a file.

    description: Their design.

    Raises WordlineError if the file is damaged, has another format version, or does not fit the
    design.
    """
    vectors = npz.read(path)
    version = vectors.get("format", np.empty(0))
    if version.shape != (1,) or version.dtype.kind not in "iu":
        raise WordlineError(f"{path} holds no golden vectors; run `wordline emit` again.")
    if version[0] != FORMAT:
        raise WordlineError(
            f"{path} has golden vectors of format {version[0]}, and this version of Wordline reads "
            f"{FORMAT}; run `wordline emit` again."
        )
    _check(path, vectors, description)
    return vectors


def _check(path: Path, vectors: Vectors, description: Description) -> None:
    """Check types, shapes and the values that give sizes; wrong numbers are left to be found."""
    missing = [name for name in ("x", "lengths", "layers.0.h") if name not in vectors]
    if missing or vectors["x"].ndim != 3 or not len(vectors["layers.0.h"].shape):
        raise WordlineError(f"{path} has no whole golden vectors; run `wordline emit` again.")
    count, steps, _ = vectors["x"].shape
    passes = len(vectors["layers.0.h"])
    of_pass: tuple[int, ...] = (passes, steps)
    of_sequence: tuple[int, ...] = (count,)
    outputs: tuple[int, ...] = (passes,)
    if description.output.every_step:
        outputs, of_sequence = of_pass, (count, steps)
    wanted: dict[str, tuple[int, ...]] = {
        "x": (count, steps, description.network.inputs),
        "lengths": (count,),
    }
    for n, shape in enumerate(description.layers):
        wanted[f"layers.{n}.codes"] = (*of_pass, shape.gates, shape.units)
        wanted[f"layers.{n}.h"] = (*of_pass, shape.units)
        if description.cell.state_range is not None:
            wanted[f"layers.{n}.c"] = (*of_pass, shape.units)
    wanted["scores" if description.network.classes else "state"] = (*outputs, description.outputs)
    if description.network.classes:
        wanted["label"] = of_sequence
    for name, shape_ in wanted.items():
        found = vectors.get(name)
        if found is None or found.shape != shape_ or found.dtype.kind not in "iu":
            said = "missing" if found is None else f"{found.dtype} of shape {found.shape}"
            raise WordlineError(
                f"{path}: {name} is {said}, and the design needs integers of shape {shape_}; run "
                f"`wordline emit` again."
            )
    if unknown := sorted(vectors.keys() - wanted.keys() - {*WHOLE}):
        raise WordlineError(
            f"{path} has arrays that no golden vectors of this design have ({', '.join(unknown)}), "
            f"and which would not be compared; leave them out."
        )
    if "image" in vectors and (
        vectors["image"].shape != (1,) or vectors["image"].dtype.kind not in "iu"
    ):
        raise WordlineError(f"{path}: image is no checksum; run `wordline emit` again.")
    votes = description.voting.max_votes if description.voting.replay_steps else 1
    if not count or not steps or passes % count or not count <= passes <= votes * count:
        raise WordlineError(
            f"{path} has {passes} passes over {count} sequences of {steps} steps, and the design "
            f"makes up to {votes} over each; run `wordline emit` again."
        )
    lengths, x = vectors["lengths"], vectors["x"]
    if lengths.min() < 1 or lengths.max() > steps:
        raise WordlineError(f"{path} has lengths outside 1..{steps}; run `wordline emit` again.")
    low, high = description.dac.range
    if x.min() < min(0, low) or x.max() > high:
        raise WordlineError(f"{path} has codes x outside {low}..{high}; run `wordline emit` again.")


def mapped(path: Path) -> Vectors:
    """Golden vectors as arrays that stay in the file until they are used.

    Raises OSError, ValueError, KeyError or BadZipFile if the file is damaged.
    """
    found = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for entry in archive.infolist():
            file.seek(entry.header_offset + 26)  # lengths of name and extra field, then these
            name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
            file.seek(name + extra, 1)
            np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if entry.compress_type != zipfile.ZIP_STORED or fortran:
                raise ValueError(f"{entry.filename} is compressed, or not in C order")
            name_ = entry.filename.removesuffix(".npy")
            found[name_] = (
                np.memmap(path, dtype, "r", file.tell(), shape)
                if all(shape)
                else (np.zeros(shape, dtype))
            )
    found["lengths"], found["x"]
    return found


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
        if name not in WHOLE
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
        if name not in WHOLE
    }


def write(path: Path, vectors: Vectors) -> None:
    """Write the .npz, whole or not at all.

    It is not compressed: for 10,000 images compression takes half a minute and saves a third. The
    arrays are in C order and in the machine's byte order, as the runners read them.
    """
    own = {
        name: np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        for name, array in vectors.items()
    }
    with files.atomic(path) as beside, beside.open("wb") as file:
        np.savez(file, **own)  # type: ignore[arg-type]
