"""Plain text in three parts: train, valid, test. UTF-8."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from golden.errors import WordlineError

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Text:
    """Characters as numbers: (characters,) int64 each, indices into `alphabet`, which is that of
    all three parts, in the order of their code points."""

    alphabet: str
    train: Tensor
    valid: Tensor
    test: Tensor


def collect(folder: Path) -> dict[str, bytes]:
    """A user's text as train.txt, valid.txt and test.txt.

    The folder has three .txt files whose names hold train, valid and test, as ptb.train.txt does;
    or one .txt file: its first 90 % are train, then 5 % valid, 5 % test, counted in characters.
    """
    paths = sorted(folder.glob("*.txt"))
    if len(paths) == 1:
        whole = _decode(paths[0].read_bytes(), paths[0])
        ends = [0, len(whole) * 90 // 100, len(whole) * 95 // 100, len(whole)]
        parts = {part: whole[ends[n] : ends[n + 1]].encode("utf-8") for n, part in enumerate(PARTS)}
        if not all(parts.values()):
            raise WordlineError(f"{paths[0]} has {len(whole)} characters; give more.")
    else:
        found = {part: [path for path in paths if part in path.name] for part in PARTS}
        if any(len(named) != 1 for named in found.values()):
            raise WordlineError(
                f"{folder} has {len(paths)} .txt files, not one, nor one each whose name holds "
                f"train, valid and test; leave these alone there."
            )
        parts = {part: named[0].read_bytes() for part, named in found.items()}
        for part, named in found.items():
            if not _decode(parts[part], named[0]):
                raise WordlineError(f"{named[0]} is empty; give some text.")
    return {f"{part}.txt": data for part, data in parts.items()}


def collect_ptb(folder: Path) -> dict[str, bytes]:
    """Penn Treebank's ptb.train.txt, ptb.valid.txt and ptb.test.txt as train.txt, ..."""
    parts = {}
    for part in PARTS:
        path = folder / f"ptb.{part}.txt"
        if not path.is_file():
            raise WordlineError(f"{folder} has no {path.name}; put it there, or use `text`.")
        parts[f"{part}.txt"] = path.read_bytes()
        if not _decode(parts[f"{part}.txt"], path):
            raise WordlineError(f"{path} is empty; give the text.")
    return parts


def read(files: dict[str, bytes], folder: Path) -> Text:
    """The text in the files of `collect`."""
    texts = {part: _decode(files[f"{part}.txt"], folder / f"{part}.txt") for part in PARTS}
    alphabet = "".join(sorted(set().union(*texts.values())))
    number = {character: n for n, character in enumerate(alphabet)}
    codes = {part: torch.tensor([number[c] for c in text]) for part, text in texts.items()}
    return Text(alphabet, **codes)


def _decode(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WordlineError(
            f"{path} is not UTF-8 (byte {error.start:,}); convert it, with iconv for example."
        ) from None
