"""Sequences for a network as DAC codes: a recipe's test set, or a user's .npz file."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from golden import dac, datasets, network, npz
from golden.datasets import Dataset, Sequences
from golden.description import Description
from golden.errors import WordlineError
from golden.files import DATA
from golden.presets import Recipe
from golden.program import Program
from golden.training import evaluate
from wordline.flow.recipe import check


def dataset(recipe: Recipe, data_dir: Path = DATA) -> Dataset:
    """Training set and test set of a recipe.

    If the recipe has an .npz file instead of a data set, as an imported network has, its sequences
    are the test set, and the training set is empty. Without labels in the file all labels are -1.

    Raises WordlineError if the files are missing or damaged, or if labels and outputs are of other
    steps.
    """
    check(recipe)
    own = own_sequences(recipe)
    if own is None:
        data = datasets.load(recipe.training.dataset, Path(data_dir))
        evaluate.check_data(recipe.description, data)
        return data
    test = read_sequences(own, recipe.description)
    none = Sequences(test.x[:0], test.lengths[:0], test.labels[:0])
    return Dataset(own.name, none, test, recipe.description.outputs)


def own_sequences(recipe: Recipe) -> Path | None:
    """The .npz file of a recipe; None if it has a data set."""
    path = Path(recipe.training.dataset)
    return path if path.suffix == ".npz" else None


def has_labels(data: Sequences) -> bool:
    """Whether sequences have labels."""
    return data.real or bool((data.labels >= 0).any())


def test_set(recipe: Recipe, data_dir: Path) -> Sequences:
    """Test set of a recipe. Raises what `dataset` does."""
    return dataset(recipe, data_dir).test


def encode(program: Program, data: Sequences) -> Tensor:
    """DAC codes of a program's real inputs. Padding gets the code of 0.

    Raises WordlineError if they do not fit the program.
    """
    evaluate.check_sequences(program.description, data)
    codes = dac.encode(data.x, program.input_mean, program.input_step, program.description.dac)
    return torch.where(data.valid[..., None], codes, program.description.dac.zero)


def read_input(path: Path, program: Program) -> tuple[Tensor, Tensor, Tensor | None]:
    """Read a user's sequences from an .npz file: codes, lengths, and labels or None.

        x or codes  real numbers or DAC codes, (sequences, steps, inputs)
        lengths     optional, (sequences,)
        labels      optional, (sequences,); (sequences, steps) with an output per step

    Real labels have one more axis: the target of each score, or of each value of a state.

    Raises WordlineError if the file is damaged or does not fit the program.
    """
    kind, data = _read_npz(path, program.description)
    codes = encode(program, data) if kind == "x" else data.x.long()
    network.check(program, codes, data.lengths)
    if not data.labels.numel():
        return codes, data.lengths, None
    return codes, data.lengths, labelled(data, path, program.description).labels


def read_sequences(path: Path, description: Description) -> Sequences:
    """Read a user's sequences with real inputs from an .npz file.

    Without labels in the file all labels are -1. If x is uint8 with values 0 and 1, it holds
    one-hot symbols.

    Raises WordlineError if the file is damaged, does not fit the description, or has DAC codes.
    """
    kind, data = _read_npz(path, description)
    if kind != "x":
        raise WordlineError(
            f"{path} has `codes`; give real inputs, `x`: their range is to be found."
        )
    every_step = description.output.every_step
    size = data.x.shape[:2] if every_step else data.x.shape[:1]
    labels = data.labels if data.labels.numel() else torch.full(size, -1)
    return Sequences(data.x, data.lengths, labels).numbers()


def _read_npz(path: Path, description: Description) -> tuple[str, Sequences]:
    """Name of the input, `x` or `codes`, and the sequences; without labels these are empty."""
    arrays = npz.read(path)
    if ("x" in arrays) == ("codes" in arrays):
        raise WordlineError(f"{path} must hold either `x` (real) or `codes`; it holds {[*arrays]}.")
    unknown = sorted({*arrays} - {"x", "codes", "lengths", "labels"})
    if unknown:
        raise WordlineError(
            f"{path}: `{unknown[0]}` is not known; give `x` or `codes`, and `lengths` and `labels` "
            f"if there are any."
        )
    inputs, every_step = description.network.inputs, description.output.every_step
    kind = "x" if "x" in arrays else "codes"
    raw = arrays[kind]
    if raw.ndim != 3 or raw.shape[2] != inputs or 0 in raw.shape:
        raise WordlineError(
            f"{path}: the input has shape {raw.shape}; give (sequences, steps, {inputs}), none of "
            f"them empty."
        )
    if raw.dtype.kind not in "fiub":
        raise WordlineError(f"{path}: the input is {raw.dtype}; give real numbers.")
    for name, array in arrays.items():
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            raise WordlineError(
                f"{path}: `{name}` holds {array.max()}, beyond a signed integer of 64 bits; give "
                f"smaller ones or real numbers."
            )
    if kind == "codes" and not np.issubdtype(raw.dtype, np.integer):
        raise WordlineError(f"{path}: `codes` are {raw.dtype}; give integers, or call them `x`.")
    labels = arrays.get("labels", np.empty(0, np.int64))
    real = labels.dtype in (np.float16, np.float32, np.float64)
    if not real and labels.dtype.kind not in "iub":
        raise WordlineError(f"{path}: `labels` are {labels.dtype}; give integers or real numbers.")
    if real and description.output.of == "class":
        raise WordlineError(
            f"{path}: `labels` are {labels.dtype}, but what comes out is a class; give integers, "
            f"or write output.of = 'scores' for a regressor."
        )
    sizes = {"lengths": raw.shape[:1]}
    sizes["labels"] = (*raw.shape[: 1 + every_step], *([description.outputs] if real else []))
    for name, size in sizes.items():
        if name in arrays and arrays[name].shape != size:
            one = f"{size[0]} numbers, one a sequence" if len(size) == 1 else f"of shape {size}"
            other = (*raw.shape[: 1 + every_step], description.outputs)
            if name == "labels" and arrays[name].shape == other:
                one += f", or, of shape {other}, real numbers"
            raise WordlineError(f"{path}: `{name}` of shape {arrays[name].shape} must be {one}.")
    if real and not np.isfinite(labels).all():
        raise WordlineError(f"{path}: `labels` hold a number that is not finite.")
    lengths = arrays.get("lengths", np.full(len(raw), raw.shape[1]))
    whole = lengths.dtype.kind in "iuf" and np.isfinite(lengths).all()
    if not whole or not np.array_equal(lengths, np.trunc(lengths)):
        raise WordlineError(f"{path}: `lengths` are {lengths.dtype}; give integers.")
    if int(lengths.min()) < 1 or int(lengths.max()) > raw.shape[1]:
        raise WordlineError(
            f"{path}: `lengths` are from {lengths.min()} to {lengths.max()}; give 1 to "
            f"{raw.shape[1]}, the steps of the input."
        )
    steps = torch.from_numpy(lengths.astype(np.int64))
    truth = torch.from_numpy(labels.astype(np.float32 if real else np.int64))
    data = Sequences(torch.from_numpy(_native(raw)), steps, truth).padded()
    if not bool(torch.isfinite(data.x.float()).all()):
        raise WordlineError(f"{path}: the input holds a number that is not finite.")
    return kind, data


def _native(raw: np.ndarray) -> np.ndarray:
    """The array in a type that PyTorch supports."""
    if raw.dtype.kind == "f":
        return np.ascontiguousarray(raw, raw.dtype.newbyteorder("=") if raw.itemsize < 9 else "f8")
    return raw if raw.dtype == np.uint8 else raw.astype(np.int64)


def labelled(data: Sequences, path: Path, description: Description) -> Sequences:
    """The sequences, if each has a class of the network or real labels.

    Raises WordlineError otherwise.
    """
    classes = description.network.classes
    labels = data.labelled(data.labels)
    low, high = int(labels.min()), int(labels.max())
    if not data.real and (low < 0 or high >= classes):
        has = "no `labels`" if high < 0 else f"labels {low}..{high}"
        what = "step" if data.every_step else "sequence"
        wanted = f"{description.outputs} real ones" if not classes else f"one of 0..{classes - 1}"
        raise WordlineError(f"{path} has {has}; give {wanted} a {what}.")
    return data
