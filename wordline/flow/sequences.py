"""Sequences for a network: a recipe's test set, or a user's .npz file, as DAC codes."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from golden import dac, datasets, network
from golden.datasets import Dataset, Sequences
from golden.description import Description
from golden.errors import WordlineError
from golden.files import DATA
from golden.presets import Recipe
from golden.program import Program
from golden.training import evaluate
from wordline.flow import npz


def dataset(recipe: Recipe, data_dir: Path = DATA) -> Dataset:
    """The training set and the test set of a recipe; WordlineError where they are absent, or where
    their labels are of other steps than the output.

    Sequences of an .npz file, as of an imported network, are a test set; there is nothing to train
    on. Without labels in the file, all labels are -1.
    """
    own = own_sequences(recipe)
    if own is None:
        data = datasets.load(recipe.training.dataset, data_dir)
        evaluate.check_data(recipe.description, data)
        return data
    test = read_sequences(own, recipe.description)
    none = Sequences(test.x[:0], test.lengths[:0], test.labels[:0])
    return Dataset(own.name, none, test, recipe.description.outputs)


def own_sequences(recipe: Recipe) -> Path | None:
    """The .npz file that a recipe has in the place of a data set, if it has one."""
    path = Path(recipe.training.dataset)
    return path if path.suffix == ".npz" else None


def has_labels(data: Sequences) -> bool:
    """Whether sequences have labels."""
    return data.real or bool((data.labels >= 0).any())


def test_set(recipe: Recipe, data_dir: Path) -> Sequences:
    """The test set of a recipe; raises what `dataset` does."""
    return dataset(recipe, data_dir).test


def encode(program: Program, data: Sequences) -> Tensor:
    """DAC codes of a program's real inputs; padding is 0, or the code of 0."""
    codes = dac.encode(data.x, program.input_mean, program.input_step, program.description.dac)
    return torch.where(data.valid[..., None], codes, program.description.dac.zero)


def read_input(path: Path, program: Program) -> tuple[Tensor, Tensor, Tensor | None]:
    """A user's sequences from an .npz file: codes, lengths, and labels if it has them.

    x: real, or codes: DAC codes; (sequences, steps, inputs). lengths, labels: (sequences,),
    optional; labels are (sequences, steps) where the output is of every step, and have one more
    axis where they are real: what each score, or each value of a state, is to be. Raises
    WordlineError where it is not so.
    """
    kind, data = _read_npz(path, program.description)
    codes = encode(program, data) if kind == "x" else data.x.long()
    network.check(program, codes, data.lengths)
    if not data.labels.numel():
        return codes, data.lengths, None
    return codes, data.lengths, labelled(data, path, program.description).labels


def read_sequences(path: Path, description: Description) -> Sequences:
    """As `read_input`, of real inputs: Sequences, with labels of -1 where there are none; symbols,
    if x is uint8. Raises WordlineError where it is not so."""
    kind, data = _read_npz(path, description)
    if kind != "x":
        raise WordlineError(
            f"{path} has `codes`; give real inputs, `x`: their range is to be found."
        )
    # Symbols are one-hot; other bytes are numbers, as those of an image.
    symbols = data.x.dtype == torch.uint8 and int(data.x.max()) <= 1
    x = data.x if symbols else data.x.float()
    every_step = description.output.every_step
    size = x.shape[:2] if every_step else x.shape[:1]
    labels = data.labels if data.labels.numel() else torch.full(size, -1)
    return Sequences(x, data.lengths, labels)


def _read_npz(path: Path, description: Description) -> tuple[str, Sequences]:
    """Which of `x` and `codes` a file has, and what is in it; no labels: an empty tensor."""
    arrays = npz.read(path)
    if ("x" in arrays) == ("codes" in arrays):
        raise WordlineError(f"{path} must hold either `x` (real) or `codes`; it holds {[*arrays]}.")
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
            raise WordlineError(f"{path}: `{name}` must be {one}.")
    if real and not np.isfinite(labels).all():
        raise WordlineError(f"{path}: `labels` hold a number that is not finite.")
    lengths = arrays.get("lengths", np.full(len(raw), raw.shape[1]))
    if lengths.dtype.kind not in "iuf" or not np.array_equal(lengths, np.trunc(lengths)):
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
    """The array in a type that PyTorch has."""
    if raw.dtype.kind == "f":
        return np.ascontiguousarray(raw, raw.dtype.newbyteorder("=") if raw.itemsize < 9 else "f8")
    return raw if raw.dtype == np.uint8 else raw.astype(np.int64)


def labelled(data: Sequences, path: Path, description: Description) -> Sequences:
    """The sequences, once each is found to have a class of the network, or real labels."""
    classes = description.network.classes
    labels = data.labelled(data.labels)
    low, high = int(labels.min()), int(labels.max())
    if not data.real and (low < 0 or high >= classes):
        has = "no `labels`" if high < 0 else f"labels {low}..{high}"
        what = "step" if data.every_step else "sequence"
        wanted = f"{description.outputs} real ones" if not classes else f"one of 0..{classes - 1}"
        raise WordlineError(f"{path} has {has}; give {wanted} a {what}.")
    return data
