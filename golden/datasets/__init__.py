"""Data sets by name, as labelled sequences.

`vowels` is part of the project (japanese_vowels/ATTRIBUTION.md). The others are made from files in
a data folder (`golden.datasets.sets`).
"""

import lzma
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from golden.datasets import cifar, har, idx, strokes, taylor, text
from golden.datasets.packages import Progress
from golden.datasets.sets import SETS, FileSet
from golden.errors import WordlineError
from golden.files import DATA
from golden.source import registry

TRAIN_CHARACTERS = 128
TEST_CHARACTERS = 1024
"""Text is cut into sequences of this many characters.

Each sequence starts without memory of the text before it. Long test sequences reduce this loss; for
training, gradients need not reach as far back.
"""
MOST_SYMBOLS = 256


@dataclass(frozen=True)
class Sequences:
    """Labelled sequences, padded with zeros.

    x: Inputs, shape (sequences, steps, channels), float32. If a step is a symbol: uint8, 1 in the
        symbol's channel. Other bytes are numbers, such as the pixels of an image.
    lengths: Length of each sequence in steps, int64, shape (sequences,).
    labels: Classes, int64, shape (sequences,), or (sequences, steps) if every step has a label. For
        a regressor real numbers, float32, with a further axis of targets.
    """

    x: Tensor
    lengths: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> "Sequences":
        """Copy on another device."""
        return Sequences(*(value.to(device) for value in vars(self).values()))

    def part(self, chosen: Tensor) -> "Sequences":
        """Selection of sequences by number, without steps that are padding in all of them."""
        lengths = self.lengths[chosen]
        steps = int(lengths.max())
        labels = self.labels[chosen, :steps] if self.every_step else self.labels[chosen]
        return Sequences(self.x[chosen, :steps], lengths, labels)

    @property
    def symbolic(self) -> bool:
        """Whether x holds symbols."""
        return self.x.dtype == torch.uint8 and int(self.x.max()) <= 1

    def numbers(self) -> "Sequences":
        """Copy with x in float32, unless it holds symbols, and lengths in int64."""
        x = self.x if self.symbolic else self.x.float()
        return replace(self, x=x, lengths=self.lengths.long())

    def padded(self) -> "Sequences":
        """Copy with 0 in all padding steps."""
        return replace(self, x=torch.where(self.valid[..., None], self.x, 0))

    @property
    def every_step(self) -> bool:
        """Whether every step has a label."""
        return self.labels.dim() == (3 if self.real else 2)

    @property
    def real(self) -> bool:
        """Whether labels are real numbers instead of classes."""
        return self.labels.is_floating_point()

    def labelled(self, values: Tensor) -> Tensor:
        """Select the values that have a label, (labels, ...), from one per sequence or per step."""
        return values[self.valid] if self.every_step else values

    @property
    def valid(self) -> Tensor:
        """Whether a step belongs to its sequence, shape (sequences, steps); False for padding."""
        steps = torch.arange(self.x.shape[1], device=self.x.device)
        return steps[None] < self.lengths[:, None]


@dataclass(frozen=True)
class Dataset:
    """A training set and a held-out test set.

    name: Name of the data set.
    train: Training set.
    test: Test set.
    classes: Number of classes, labelled from 0. For real labels, number of targets.
    """

    name: str
    train: Sequences
    test: Sequences
    classes: int

    @property
    def channels(self) -> int:
        """Values per step."""
        return int(self.train.x.shape[2])


@dataclass(frozen=True)
class Task:
    """A data set and how to make it.

    about: What the data set is.
    files: Required files in the data folder; None if it is part of the project.
    make: Makes the training set, the test set and the number of classes or targets from the data
        folder. If this takes long, it reports its progress and caches the result.
    """

    about: str
    files: FileSet | None
    make: Callable[[Path, Progress], tuple[Sequences, Sequences, int]]


def load(name: str, data_dir: Path = DATA, progress: Progress = lambda *_: None) -> Dataset:
    """Load a data set by name.

    Raises WordlineError for an unknown name, or if its files are missing or changed.
    """
    train, test, classes = task(name).make(data_dir, progress)
    return Dataset(name, train, test, classes)


def task(name: str) -> Task:
    """Find the task of a data set.

    Raises WordlineError for an unknown name.
    """
    if name not in TASKS:
        raise WordlineError(f"Unknown data set {name!r}; choose {', '.join(TASKS)}.")
    return TASKS[name]


def find(name: str) -> FileSet:
    """Find a set of files by its name, or by that of a data set made from it.

    Raises WordlineError for an unknown name, or for a data set that is part of the project.
    """
    files = SETS.get(name) or (name in TASKS and TASKS[name].files)
    if files:
        return files
    if name in TASKS:
        raise WordlineError(f"The data set {name} is in the project; there is nothing to fetch.")
    raise WordlineError(f"Unknown data set {name!r}; choose {', '.join(SETS)}.")


def fingerprint(name: str, data_dir: Path = DATA) -> str:
    """Hash of a data set's files; empty if it is part of the project.

    Raises WordlineError for an unknown name, or if the files are missing.
    """
    files = task(name).files
    return files.fingerprint(data_dir) if files else ""


def _vowels(_: Path, __: Progress) -> tuple[Sequences, Sequences, int]:
    folder = Path(__file__).parent / "japanese_vowels"
    train, test = (_read_ts(folder / f"JapaneseVowels_{part}.ts.xz") for part in ("TRAIN", "TEST"))
    return train, test, 9


def _mnist_rows(name: str, data_dir: Path, _: Progress) -> tuple[Sequences, Sequences, int]:
    """Images as 28 steps, one row each, from the top.

    x: 28 pixels, 0 (paper) to 1 (ink).
    """
    files = SETS[name]
    train, test = idx.images(files.read(data_dir), files.folder(data_dir))
    return _rows(*train), _rows(*test), idx.CLASSES


def _strokes(each: int, data_dir: Path, progress: Progress) -> tuple[Sequences, Sequences, int]:
    """Pen movements along the digits of MNIST, `each` of them a step.

    x: for each movement pixels to the right, pixels down, 1 if the pen is up; 0 after the last one.
    """
    mnist = SETS["mnist"]
    parts = idx.images(mnist.read(data_dir), mnist.folder(data_dir))
    sequences = []
    for which, (images, labels) in zip(("train", "test"), parts, strict=True):
        told = partial(progress, f"trace strokes, {which}")
        movements, lengths = strokes.kept(data_dir / "strokes" / f"{which}.npz", images, told)
        drawn = torch.from_numpy(movements.astype(np.float32)).split(lengths.tolist())
        x = torch.nn.utils.rnn.pad_sequence(list(drawn), batch_first=True)
        x = torch.nn.functional.pad(x, (0, 0, 0, -x.shape[1] % each))
        sequences.append(
            Sequences(
                x=x.unflatten(1, (-1, each)).flatten(2),
                lengths=torch.from_numpy(-(-lengths // each)),
                labels=torch.from_numpy(labels.astype(np.int64)),
            )
        )
    return sequences[0], sequences[1], idx.CLASSES


def _cifar10_rows(data_dir: Path, _: Progress) -> tuple[Sequences, Sequences, int]:
    """Images as 32 steps, one row each, from the top.

    x: 32 red, 32 green, 32 blue pixels, 0 to 1.
    """
    files = SETS["cifar10"]
    parts = cifar.images(files.read(data_dir), files.folder(data_dir))
    train, test = (
        _rows(x.transpose(0, 2, 1, 3).reshape(len(x), cifar.SIDE, -1), labels)
        for x, labels in parts
    )
    return train, test, cifar.CLASSES


def _har(data_dir: Path, _: Progress) -> tuple[Sequences, Sequences, int]:
    """Exercises in windows of 8 s: 100 steps of 80 ms, each the mean of four samples.

    x: three accelerations and three turning rates; left wrists are mirrored.

    Subjects 1 to 7 are the training set, with a window every 12 steps. Subjects 8 to 10 are the
    test set, with windows side by side.
    """
    files = SETS["har"]
    train, test = (
        _equal(torch.from_numpy(x), torch.from_numpy(labels))
        for x, labels in har.windows(files.read(data_dir), files.folder(data_dir))
    )
    return train, test, har.CLASSES


def _load_forecast(data_dir: Path, _: Progress) -> tuple[Sequences, Sequences, int]:
    """Electricity demand, one half hour per step; the label is the next half hour's demand.

    Both are real numbers, standardised over the training weeks. The training set is ten weeks in
    sequences of two days, one every three hours. The test set is the last two weeks in one
    sequence.
    """
    files = SETS["taylor"]
    train, test = (
        _equal(torch.from_numpy(x), torch.from_numpy(labels))
        for x, labels in taylor.forecasts(files.read(data_dir), files.folder(data_dir))
    )
    return train, test, 1


def _rows(x: np.ndarray, labels: np.ndarray) -> Sequences:
    """Sequences of equal length from uint8 x (images, steps, channels) and labels."""
    real = torch.from_numpy(x.astype(np.float32)).div_(255)
    return _equal(real, torch.from_numpy(labels.astype(np.int64)))


def _equal(x: Tensor, labels: Tensor) -> Sequences:
    """Sequences of equal length."""
    return Sequences(x, torch.full((len(x),), x.shape[1]), labels)


def _characters(name: str, data_dir: Path, _: Progress) -> tuple[Sequences, Sequences, int]:
    """Text, one character per step; the label is the next character.

    x: one-hot.
    """
    files = SETS[name]
    found = text.read(files.read(data_dir), files.folder(data_dir))
    symbols = len(found.alphabet)
    if symbols > MOST_SYMBOLS or min(len(found.train), len(found.test)) < 2:
        raise WordlineError(
            f"{files.folder(data_dir)} has {symbols:,} different characters, {len(found.train):,} "
            f"to train, {len(found.test):,} to test; give a text of at most {MOST_SYMBOLS} "
            f"different ones, 2 or more in each part."
        )
    train = text.sequences(found.train, TRAIN_CHARACTERS, symbols)
    test = text.sequences(found.test, TEST_CHARACTERS, symbols)
    return Sequences(*train), Sequences(*test), symbols


def _read_ts(path: Path) -> Sequences:
    """Read the .ts format: one sequence per line, `channel:channel:...:label`.

    The values of a channel are separated by commas.
    """
    lines = lzma.decompress(path.read_bytes()).decode().partition("@data\n")[2].split()
    sequences, labels = [], []
    for line in lines:
        *channels, label = line.split(":")
        values = [[float(value) for value in channel.split(",")] for channel in channels]
        sequences.append(torch.tensor(values, dtype=torch.float32).T)
        labels.append(int(label) - 1)
    return Sequences(
        x=torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True),
        lengths=torch.tensor([len(sequence) for sequence in sequences]),
        labels=torch.tensor(labels),
    )


TASKS = registry(
    "data sets",
    {
        "vowels": Task("speaker of a Japanese vowel, 12 cepstra a step", None, _vowels),
        "mnist-rows": Task(
            "digit, a row of 28 pixels a step", SETS["mnist"], partial(_mnist_rows, "mnist")
        ),
        "strokes": Task(
            "digit, a movement of a pen a step: right, down, in the air",
            SETS["mnist"],
            partial(_strokes, 1),
        ),
        "strokes-4": Task(
            "digit, 4 movements of a pen a step", SETS["mnist"], partial(_strokes, 4)
        ),
        "strokes-8": Task(
            "digit, 8 movements of a pen a step", SETS["mnist"], partial(_strokes, 8)
        ),
        "strokes-16": Task(
            "digit, 16 movements of a pen a step", SETS["mnist"], partial(_strokes, 16)
        ),
        "fashion-rows": Task(
            "clothes, a row of 28 pixels a step",
            SETS["fashion-mnist"],
            partial(_mnist_rows, "fashion-mnist"),
        ),
        "cifar10-rows": Task(
            "photograph, a row of 32 coloured pixels a step", SETS["cifar10"], _cifar10_rows
        ),
        "har": Task("exercise, 6 channels of a smartwatch a step", SETS["har"], _har),
        "load-forecast": Task(
            "electricity demand of the next half hour, a real number",
            SETS["taylor"],
            _load_forecast,
        ),
        "kjv-char": Task(
            "the next character of the King James Bible", SETS["kjv"], partial(_characters, "kjv")
        ),
        "ptb-char": Task(
            "the next character of Penn Treebank", SETS["ptb"], partial(_characters, "ptb")
        ),
        "text-char": Task(
            "the next character of your own text", SETS["text"], partial(_characters, "text")
        ),
    },
)
"""Data sets that a recipe's `training.dataset` may name."""
