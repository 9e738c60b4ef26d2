"""Data sets by name. `vowels` is in the project; see japanese_vowels/ATTRIBUTION.md."""

import lzma
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from golden.errors import WordlineError

NAMES = ("vowels",)


@dataclass(frozen=True)
class Sequences:
    """Labelled sequences, padded with zeros.

    x: (sequences, steps, channels) float32. lengths, labels: (sequences,) int64.
    """

    x: Tensor
    lengths: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> "Sequences":
        """The same on another device."""
        return Sequences(*(value.to(device) for value in vars(self).values()))

    @property
    def valid(self) -> Tensor:
        """(sequences, steps): whether a step is within its sequence."""
        steps = torch.arange(self.x.shape[1], device=self.x.device)
        return steps[None] < self.lengths[:, None]


@dataclass(frozen=True)
class Dataset:
    """A training set and a held-out test set."""

    name: str
    train: Sequences
    test: Sequences

    @property
    def channels(self) -> int:
        """Values at each step."""
        return int(self.train.x.shape[2])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.train.labels.max()) + 1


def load(name: str) -> Dataset:
    """A data set by name; WordlineError if there is none of that name."""
    if name != "vowels":
        raise WordlineError(f"There is no data set {name!r}; there is: {', '.join(NAMES)}.")
    folder = Path(__file__).parent / "japanese_vowels"
    train, test = (_read_ts(folder / f"JapaneseVowels_{part}.ts.xz") for part in ("TRAIN", "TEST"))
    return Dataset(name, train, test)


def _read_ts(path: Path) -> Sequences:
    """Read the .ts format: a sequence a line, `channel:channel:...:label`, values by comma."""
    text = lzma.decompress(path.read_bytes()).decode()
    lines = text.partition("@data\n")[2].split()
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
