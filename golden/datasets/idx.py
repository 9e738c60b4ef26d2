"""IDX, the file format of MNIST: a header with type and shape, then big-endian numbers.

After http://yann.lecun.com/exdb/mnist/ (last section). Files may be compressed with gzip.
"""

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np

from golden.errors import WordlineError
from golden.files import read_data

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""NumPy dtype of each type code."""

MOST_UNPACKED = 2**26
"""Maximum size of a file when unpacked (bytes); MNIST's largest has 47 MB."""

SIDE = 28
"""Rows and columns of an image of MNIST and of similar sets."""
CLASSES = 10
PARTS = {
    "train-images": "train-images-idx3-ubyte",
    "train-labels": "train-labels-idx1-ubyte",
    "t10k-images": "t10k-images-idx3-ubyte",
    "t10k-labels": "t10k-labels-idx1-ubyte",
}
"""The four files of a set like MNIST, by their original names; t10k is the test set."""

Images = tuple[np.ndarray, np.ndarray]
"""Images, uint8, shape (images, 28, 28), and their labels 0 to 9, uint8, shape (images,)."""


def decode(data: bytes, source: str) -> np.ndarray:
    """Decode an IDX file to a read-only array.

    source: Name of the file, for messages.

    Raises WordlineError if the data is not a complete IDX file.
    """
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES or data[3] == 0:
        raise WordlineError(
            f"{source} is not an IDX file: it begins with {data[:4].hex() or 'nothing'}."
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
    """Decompress a file's bytes if they are compressed with gzip.

    Raises WordlineError if they are damaged.
    """
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            found = file.read(MOST_UNPACKED + 1)
        if len(found) <= MOST_UNPACKED:
            return found
        raise WordlineError(
            f"{source} unpacks to more than {MOST_UNPACKED:,} bytes; copy it again."
        )
    except (OSError, EOFError, zlib.error):
        raise WordlineError(
            f"{source} is a damaged gzip file; copy or download it again."
        ) from None


def collect(folder: Path) -> dict[str, bytes]:
    """Read the four files of a set like MNIST from a user's folder.

    Returns plain IDX files by the names of PARTS.

    A file may be called train-images-idx3-ubyte or train-images.idx3-ubyte, with or without .gz.

    Raises WordlineError if a file is missing or has the wrong content.
    """
    found = {}
    for part, name in PARTS.items():
        names = [n + end for n in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
        paths = [folder / n for n in names if (folder / n).is_file()]
        if not paths:
            raise WordlineError(f"{folder} has no {name} (or {name}.gz); put it there: {part}.")
        found[name] = inflate(read_data(paths[0]), str(paths[0]))
    images(found, folder)
    return found


def images(files: dict[str, bytes], folder: Path) -> tuple[Images, Images]:
    """Training set and test set in the files of PARTS.

    folder: Folder of the files, for messages.

    Raises WordlineError if a file has the wrong content.
    """
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
