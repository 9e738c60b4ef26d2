"""Plain text in UTF-8 in three parts: train, valid, test."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from golden.errors import WordlineError
from golden.files import read_data

PARTS = ("train", "valid", "test")

REFERENCE = re.compile(r"^\d*[A-Za-z]+\d+:\d+ ", re.MULTILINE)
"""Reference before a verse, for example Ge1:1."""


@dataclass(frozen=True)
class Text:
    """Text as numbers.

    alphabet: Characters of all three parts, by code point.
    train, valid, test: Indices into `alphabet`, int64, shape (characters,).
    """

    alphabet: str
    train: Tensor
    valid: Tensor
    test: Tensor


def collect(folder: Path) -> dict[str, bytes]:
    """Read a user's text as train.txt, valid.txt and test.txt.

    The folder has three .txt files whose names contain train, valid and test, like ptb.train.txt;
    or one .txt file. The first 90 % of its characters are train, the next 5 % valid, the last 5 %
    test.

    Raises WordlineError if the files are missing, empty or not UTF-8.
    """
    paths = sorted(folder.glob("*.txt"))
    if len(paths) == 1:
        return _in_parts(_decode(read_data(paths[0]), paths[0]), paths[0])
    found = {part: [path for path in paths if part in path.name] for part in PARTS}
    if any(len(named) != 1 for named in found.values()):
        raise WordlineError(
            f"{folder} has {len(paths)} .txt files, not one, nor one each whose name holds "
            f"train, valid and test; leave these alone there."
        )
    parts = {part: read_data(named[0]) for part, named in found.items()}
    for part, named in found.items():
        if not _decode(parts[part], named[0]):
            raise WordlineError(f"{named[0]} is empty; give some text.")
    return {f"{part}.txt": data for part, data in parts.items()}


def collect_ptb(folder: Path) -> dict[str, bytes]:
    """Read Penn Treebank's ptb.train.txt, ptb.valid.txt and ptb.test.txt as train.txt, ...

    Raises WordlineError if a file is missing, empty or not UTF-8.
    """
    parts = {}
    for part in PARTS:
        path = folder / f"ptb.{part}.txt"
        if not path.is_file():
            raise WordlineError(f"{folder} has no {path.name}; put it there, or use `text`.")
        parts[f"{part}.txt"] = read_data(path)
        if not _decode(parts[f"{part}.txt"], path):
            raise WordlineError(f"{path} is empty; give the text.")
    return parts


def collect_kjv(folder: Path) -> dict[str, bytes]:
    """Read the King James Bible from a folder's one .txt file, one verse per line.

    It is split like one file in `collect`. References before verses, which the program `bible`
    prints, are removed.

    Raises WordlineError if there is not exactly one file, or if it is not UTF-8 or too short.
    """
    paths = sorted(folder.glob("*.txt"))
    if len(paths) != 1:
        raise WordlineError(
            f"{folder} has {len(paths)} .txt files; leave one there, the text of the Bible, which "
            f"`bible -f -l 0 'Gen1:1-Rev22:21'` prints (Debian: bible-kjv)."
        )
    return _in_parts(REFERENCE.sub("", _decode(read_data(paths[0]), paths[0])), paths[0])


def sequences(codes: Tensor, steps: int, symbols: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cut characters (characters,) into sequences of `steps`; the last one may be shorter.

    Returns x, lengths and labels. x: uint8, one-hot, shape (sequences, steps, symbols). lengths:
    shape (sequences,). labels: the next characters, shape (sequences, steps). Padding is 0.
    """
    cut = torch.nn.utils.rnn.pad_sequence(list(codes[:-1].split(steps)), batch_first=True)
    labels = torch.nn.utils.rnn.pad_sequence(list(codes[1:].split(steps)), batch_first=True)
    lengths = torch.full((len(cut),), cut.shape[1])
    lengths[-1] = (len(codes) - 2) % steps + 1
    x = torch.zeros(*cut.shape, symbols, dtype=torch.uint8).scatter_(2, cut[..., None], 1)
    x[-1, lengths[-1] :] = 0
    return x, lengths, labels


def read(files: dict[str, bytes], folder: Path) -> Text:
    """Read the text in the files of `collect`."""
    texts = {part: _decode(files[f"{part}.txt"], folder / f"{part}.txt") for part in PARTS}
    alphabet = "".join(sorted(set().union(*texts.values())))
    number = {character: n for n, character in enumerate(alphabet)}
    codes = {part: torch.tensor([number[c] for c in text]) for part, text in texts.items()}
    return Text(alphabet, **codes)


def _in_parts(whole: str, path: Path) -> dict[str, bytes]:
    """Split a text into train.txt, valid.txt and test.txt.

    path: Its file, for messages.

    Raises WordlineError if a part would be empty.
    """
    ends = [0, len(whole) * 90 // 100, len(whole) * 95 // 100, len(whole)]
    parts = {f"{p}.txt": whole[ends[n] : ends[n + 1]].encode() for n, p in enumerate(PARTS)}
    if not all(parts.values()):
        raise WordlineError(f"{path} has {len(whole)} characters; give more.")
    return parts


def _decode(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WordlineError(
            f"{path} is not UTF-8 (byte {error.start:,}); convert it, with iconv for example."
        ) from None
