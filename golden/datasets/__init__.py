"""Data sets by name: labelled sequences, made of the files that are in the project (`vowels`; see
japanese_vowels/ATTRIBUTION.md) or in a data folder (`golden.datasets.sets`)."""

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
"""Text is cut into sequences of so many characters. Each starts without memory of what was before,
which costs a test less where they are long; gradients need not go so far back."""
MOST_SYMBOLS = 256


@dataclass(frozen=True)
class Sequences:
    """Labelled sequences, padded with zeros.

    x: (sequences, steps, channels) float32, or uint8 where a step is a symbol: 1 in its channel.
    lengths: (sequences,) int64. labels: (sequences,) int64, a class each; (sequences, steps) where
    every step has one. For regressors real numbers: (sequences, targets) float32, or (sequences,
    steps, targets).
    """

    x: Tensor
    lengths: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> "Sequences":
        """The same on another device."""
        return Sequences(*(value.to(device) for value in vars(self).values()))

    def part(self, chosen: Tensor) -> "Sequences":
        """Some of the sequences, by number, without steps that are padding in all of them."""
        lengths = self.lengths[chosen]
        steps = int(lengths.max())
        labels = self.labels[chosen, :steps] if self.every_step else self.labels[chosen]
        return Sequences(self.x[chosen, :steps], lengths, labels)

    def padded(self) -> "Sequences":
        """The same with 0 beyond a sequence's length, whatever was there."""
        return replace(self, x=torch.where(self.valid[..., None], self.x, 0))

    @property
    def every_step(self) -> bool:
        """Whether every step has a label."""
        return self.labels.dim() == (3 if self.real else 2)

    @property
    def real(self) -> bool:
        """Whether labels are real numbers, not classes."""
        return self.labels.is_floating_point()

    def labelled(self, values: Tensor) -> Tensor:
        """Of one value a sequence, or a step, those that have a label: (labels, ...)."""
        return values[self.valid] if self.every_step else values

    @property
    def valid(self) -> Tensor:
        """(sequences, steps): whether a step is within its sequence."""
        steps = torch.arange(self.x.shape[1], device=self.x.device)
        return steps[None] < self.lengths[:, None]


@dataclass(frozen=True)
class Dataset:
    """A training set and a held-out test set.

    classes: labels are 0 to classes - 1; where they are real numbers, how many a label has: the
    targets.
    """

    name: str
    train: Sequences
    test: Sequences
    classes: int

    @property
    def channels(self) -> int:
        """Values at each step."""
        return int(self.train.x.shape[2])


@dataclass(frozen=True)
class Task:
    """What a data set is, and how it is made.

    files: the set of files that it needs in the data folder, or None: it is in the project.
    make: the training set, the test set and the number of classes or targets, from the data folder;
    it says how far it is where that takes long, and keeps what it made.
    """

    about: str
    files: FileSet | None
    make: Callable[[Path, Progress], tuple[Sequences, Sequences, int]]


def load(name: str, data_dir: Path = DATA, progress: Progress = lambda *_: None) -> Dataset:
    """A data set by name; WordlineError if there is none of that name, or its files are absent."""
    train, test, classes = task(name).make(data_dir, progress)
    return Dataset(name, train, test, classes)


def task(name: str) -> Task:
    """What is known of a data set; WordlineError if there is none of that name."""
    if name not in TASKS:
        raise WordlineError(f"There is no data set {name!r}; there is: {', '.join(TASKS)}.")
    return TASKS[name]


def find(name: str) -> FileSet:
    """A set of files by its name or that of a data set made of it; WordlineError if there is
    none."""
    files = SETS.get(name) or (name in TASKS and TASKS[name].files)
    if files:
        return files
    if name in TASKS:
        raise WordlineError(f"The data set {name} is in the project; there is nothing to fetch.")
    raise WordlineError(f"There is no data set {name!r}; there is: {', '.join(SETS)}.")


def fingerprint(name: str, data_dir: Path = DATA) -> str:
    """Tells one content of a data set's files from another; WordlineError if they are absent."""
    files = task(name).files
    return files.fingerprint(data_dir) if files else ""


def _vowels(_: Path, __: Progress) -> tuple[Sequences, Sequences, int]:
    folder = Path(__file__).parent / "japanese_vowels"
    train, test = (_read_ts(folder / f"JapaneseVowels_{part}.ts.xz") for part in ("TRAIN", "TEST"))
    return train, test, 9


def _mnist_rows(name: str, data_dir: Path, _: Progress) -> tuple[Sequences, Sequences, int]:
    """Images as 28 steps, a row each, from the top; x: its 28 pixels, 0 (paper) to 1 (ink)."""
    files = SETS[name]
    train, test = idx.images(files.read(data_dir), files.folder(data_dir))
    return _rows(*train), _rows(*test), idx.CLASSES


def _strokes(data_dir: Path, progress: Progress) -> tuple[Sequences, Sequences, int]:
    """A pen's movements along the digits of MNIST; x: pixels to the right, pixels down, 1 where the
    pen is in the air."""
    mnist = SETS["mnist"]
    parts = idx.images(mnist.read(data_dir), mnist.folder(data_dir))
    sequences = []
    for which, (images, labels) in zip(("train", "test"), parts, strict=True):
        told = partial(progress, f"trace strokes, {which}")
        movements, lengths = strokes.kept(data_dir / "strokes" / f"{which}.npz", images, told)
        each = torch.from_numpy(movements.astype(np.float32)).split(lengths.tolist())
        sequences.append(
            Sequences(
                x=torch.nn.utils.rnn.pad_sequence(list(each), batch_first=True),
                lengths=torch.from_numpy(lengths),
                labels=torch.from_numpy(labels.astype(np.int64)),
            )
        )
    return sequences[0], sequences[1], idx.CLASSES


def _cifar10_rows(data_dir: Path, _: Progress) -> tuple[Sequences, Sequences, int]:
    """Images as 32 steps, a row each, from the top; x: 32 red, 32 green, 32 blue pixels, 0 to 1."""
    files = SETS["cifar10"]
    parts = cifar.images(files.read(data_dir), files.folder(data_dir))
    train, test = (
        _rows(x.transpose(0, 2, 1, 3).reshape(len(x), cifar.SIDE, -1), labels)
        for x, labels in parts
    )
    return train, test, cifar.CLASSES


def _har(data_dir: Path, _: Progress) -> tuple[Sequences, Sequences, int]:
    """Windows of 8 s of exercises, 100 steps of 80 ms, each the mean of four samples; x: three
    accelerations and three turning rates, left wrists mirrored.

    Subjects 1 to 7 are to train on, a window every 12 steps; subjects 8 to 10 to test on, in
    windows side by side.
    """
    files = SETS["har"]
    train, test = (
        _equal(torch.from_numpy(x), torch.from_numpy(labels))
        for x, labels in har.windows(files.read(data_dir), files.folder(data_dir))
    )
    return train, test, har.CLASSES


def _load_forecast(data_dir: Path, _: Progress) -> tuple[Sequences, Sequences, int]:
    """Electricity demand, a half hour a step, whose label is the next one; both are real numbers,
    in standard deviations of what is to train on, from its mean.

    Ten weeks are to train on, in sequences of two days, one every three hours; the last two weeks
    are to test on, in one sequence.
    """
    files = SETS["taylor"]
    train, test = (
        _equal(torch.from_numpy(x), torch.from_numpy(labels))
        for x, labels in taylor.forecasts(files.read(data_dir), files.folder(data_dir))
    )
    return train, test, 1


def _rows(x: np.ndarray, labels: np.ndarray) -> Sequences:
    """Sequences of equal length from x (images, steps, channels) and labels, both uint8."""
    real = torch.from_numpy(x.astype(np.float32)).div_(255)
    return _equal(real, torch.from_numpy(labels.astype(np.int64)))


def _equal(x: Tensor, labels: Tensor) -> Sequences:
    """Sequences of equal length."""
    return Sequences(x, torch.full((len(x),), x.shape[1]), labels)


def _characters(name: str, data_dir: Path, _: Progress) -> tuple[Sequences, Sequences, int]:
    """Text, a symbol a step, whose label is the next one; x: 1 in the symbol's channel."""
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
    """Read the .ts format: a sequence a line, `channel:channel:...:label`, values by comma."""
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
            "digit, a movement of a pen a step: right, down, in the air", SETS["mnist"], _strokes
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
"""The data sets that a recipe's training.dataset may name."""
