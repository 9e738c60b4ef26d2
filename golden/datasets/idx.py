"""IDX, the format of MNIST: a header that says type and shape, then the numbers, big-endian.

After http://yann.lecun.com/exdb/mnist/ (the last section). Files may be compressed with gzip.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from golden.errors import WordlineError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""NumPy's name of each type code."""

SIDE = 28
"""Rows and columns of an image of MNIST and of the sets that follow it."""
CLASSES = 10
PARTS = {
    "train-images": "train-images-idx3-ubyte",
    "train-labels": "train-labels-idx1-ubyte",
    "t10k-images": "t10k-images-idx3-ubyte",
    "t10k-labels": "t10k-labels-idx1-ubyte",
}
"""The four files of a set like MNIST, by the names its authors gave them; t10k: the test set."""

Images = tuple[np.ndarray, np.ndarray]
"""Images (images, 28, 28) uint8, and their labels (images,) uint8, 0 to 9."""


def decode(data: bytes, source: str) -> np.ndarray:
    """The array in an IDX file's bytes, read-only; `source` names the file in a WordlineError."""
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES or data[3] == 0:
        raise WordlineError(
            f"{source} is no IDX file: it begins with {data[:4].hex() or 'nothing'}."
        )
    dtype, header = np.dtype(TYPES[data[2]]), 4 + 4 * data[3]
    shape = [int(size) for size in np.frombuffer(data[4:header].ljust(4 * data[3], b"\0"), ">u4")]
    expected = header + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise WordlineError(
            f"{source} holds {len(data):,} bytes, but an IDX file of {_times(shape)} has "
            f"{expected:,}; it was cut short or damaged: copy or download it again."
        )
    return np.frombuffer(data, dtype, offset=header).reshape(shape)


def inflate(data: bytes, source: str) -> bytes:
    """A file's bytes without gzip, if they are compressed."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        raise WordlineError(
            f"{source} is a damaged gzip file; copy or download it again."
        ) from None


def collect(folder: Path) -> dict[str, bytes]:
    """The four files of a set like MNIST in a user's folder: plain IDX, by PARTS' names.

    They may be called train-images-idx3-ubyte or train-images.idx3-ubyte, with .gz or without.
    Raises WordlineError where one is missing or is not what its name says.
    """
    found = {}
    for part, name in PARTS.items():
        names = [n + end for n in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
        paths = [folder / n for n in names if (folder / n).is_file()]
        if not paths:
            raise WordlineError(f"{folder} has no {name} (or {name}.gz); put it there: {part}.")
        found[name] = inflate(paths[0].read_bytes(), str(paths[0]))
    images(found, folder)
    return found


def images(files: dict[str, bytes], folder: Path) -> tuple[Images, Images]:
    """The training set and the test set in PARTS' files; `folder` names them in a WordlineError."""
    array = {part: decode(files[name], str(folder / name)) for part, name in PARTS.items()}
    sets = []
    for which in ("train", "t10k"):
        x, labels = array[f"{which}-images"], array[f"{which}-labels"]
        paths = [str(folder / PARTS[f"{which}-{what}"]) for what in ("images", "labels")]
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (SIDE, SIDE) or not len(x):
            raise WordlineError(
                f"{paths[0]} holds {_times(x.shape)} of {x.dtype}; give images x {SIDE} x {SIDE} "
                f"bytes."
            )
        if labels.dtype != np.uint8 or labels.shape != x.shape[:1]:
            raise WordlineError(
                f"{paths[1]} holds {_times(labels.shape)} of {labels.dtype}; give {len(x):,} "
                f"bytes, one an image."
            )
        if labels.max() >= CLASSES:
            raise WordlineError(
                f"{paths[1]} holds the label {labels.max()}; labels are 0 to {CLASSES - 1}."
            )
        sets.append((x, labels))
    return sets[0], sets[1]


def _times(shape: "tuple[int, ...] | list[int]") -> str:
    return " x ".join(f"{size:,}" for size in shape)
