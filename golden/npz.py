"""Reader for a user's .npz files. It rejects a file that is too large before loading it."""

import contextlib
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from golden import files
from golden.errors import WordlineError

Array = np.ndarray


def read(path: Path) -> dict[str, Array]:
    """Read the arrays of an .npz file by name.

    Raises WordlineError if the file is damaged, too large, or contains other objects than plain
    arrays.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            size = sum(info.file_size for info in members)
            files.check_unpacked(path, size, "give fewer sequences, or save them uncompressed")
            arrays = {}
            for info in members:
                with archive.open(info) as member:
                    arrays[info.filename.removesuffix(".npy")] = _array(member, info.file_size)
            return arrays
    except WordlineError:
        raise
    except Exception as error:  # a damaged file can raise anything
        if isinstance(error, OSError) and error.strerror:
            reason = f"cannot be read ({error.strerror}); give an .npz file"
        elif isinstance(error, _ObjectsError):
            reason = (
                "is not an .npz of plain arrays (an array of it has rows of different lengths: "
                "pad them, and give `lengths`)"
            )
        elif path.suffix == ".npy":
            reason = "is one array without a name; save it as x: numpy.savez(PATH, x=...)"
        else:
            reason = (
                "is not an .npz of plain arrays (it is damaged, or no .npz; save it with "
                "numpy.savez)"
            )
        raise WordlineError(f"{path} {reason}.") from None


class _ObjectsError(ValueError):
    """An array contains Python objects."""


def _array(member: IO[bytes], size: int) -> Array:
    """One array of `size` bytes, header included. Raises an exception if it is not that."""
    shape, _, kind, start = _header(member)
    if kind.hasobject:
        raise _ObjectsError
    if int(np.prod([int(axis) for axis in shape], dtype=object)) * kind.itemsize != size - start:
        raise ValueError("the array is not as long as its header says")
    member.seek(0)
    array: Array = npy.read_array(member, allow_pickle=False)
    return array


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order and type of an array, and the length of its header."""
    version = npy.read_magic(member)
    reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
    return *reader(member), member.tell()


def channels(path: Path) -> int | None:
    """Channels of the input `x` of a file; None if that cannot be read."""
    with (
        contextlib.suppress(Exception),
        zipfile.ZipFile(path) as archive,
        archive.open("x.npy") as member,
    ):
        return int(_header(member)[0][2])
    return None
