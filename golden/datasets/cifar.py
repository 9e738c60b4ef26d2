"""CIFAR-10's batches: the binary version, and the pickles of the Python version.

The pickles are read by a reader that runs none of their code.

After https://www.cs.toronto.edu/~kriz/cifar.html: a record of the binary version is a label, then
1024 red, 1024 green and 1024 blue bytes, each 32 rows of 32.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from golden.errors import WordlineError
from golden.files import read_data

SIDE, COLOURS, CLASSES = 32, 3, 10
PIXELS = COLOURS * SIDE * SIDE
TRAIN = tuple(f"data_batch_{n}" for n in range(1, 6))
TEST = "test_batch"

Images = tuple[np.ndarray, np.ndarray]
"""RGB images, uint8, shape (images, 3, 32, 32), and their labels, uint8, shape (images,)."""


def collect(folder: Path) -> dict[str, bytes]:
    """Read the six batches in a user's folder as files data_batch_1.bin to test_batch.bin.

    Batches of the Python version are converted to the binary version.

    Raises WordlineError if a batch is missing or damaged.
    """
    found = {}
    for batch in (*TRAIN, TEST):
        path, python = folder / f"{batch}.bin", folder / batch
        if path.is_file():
            found[path.name] = read_data(path)
        elif python.is_file():
            found[path.name] = _from_python(python)
        else:
            raise WordlineError(f"{folder} has neither {batch} nor {batch}.bin; put it there.")
        _decode(found[path.name], str(path if path.is_file() else python))
    return found


def images(files: dict[str, bytes], folder: Path) -> tuple[Images, Images]:
    """Training set and test set in the files of `collect`."""
    parts = [_decode(files[f"{b}.bin"], str(folder / f"{b}.bin")) for b in (*TRAIN, TEST)]
    x, labels = zip(*parts[:-1], strict=True)
    return (np.concatenate(x), np.concatenate(labels)), parts[-1]


def _decode(data: bytes, source: str) -> Images:
    if not data or len(data) % (1 + PIXELS):
        raise WordlineError(
            f"{source} holds {len(data):,} bytes, no multiple of {1 + PIXELS:,} (a label and "
            f"{PIXELS:,} pixels); it was cut short or damaged: copy or download it again."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + PIXELS)
    if records[:, 0].max() >= CLASSES:
        raise WordlineError(
            f"{source} holds the label {records[:, 0].max()}; labels are 0 to {CLASSES - 1}."
        )
    return records[:, 1:].reshape(-1, COLOURS, SIDE, SIDE), records[:, 0]


def _from_python(path: Path) -> bytes:
    """Convert a batch of the Python version to the binary version."""
    data = read_data(path)
    try:
        batch = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        batch = {_word(key): value for key, value in batch.items()}
        x, labels = batch["data"], np.asarray(batch["labels"])
        if x.dtype != np.uint8 or x.shape != (len(labels), PIXELS) or labels.max() > 255:
            raise ValueError(f"data of shape {x.shape} and {x.dtype}")
        return np.concatenate([labels.astype(np.uint8)[:, None], x], axis=1).tobytes()
    except Exception as error:  # a pickle may raise any exception
        reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        raise WordlineError(
            f"{path} is not a batch of CIFAR-10's Python version ({reason}); copy or download it "
            f"again, or use the binary version."
        ) from None


def _word(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


class _Unpickler(pickle.Unpickler):
    """Unpickler of integer arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                return lambda *_: np.empty(0, np.uint8)  # its state follows in the pickle
            case "numpy", "ndarray":
                return None  # only an argument of _reconstruct
            case "numpy", "dtype":
                return _number
            case "_codecs", "encode":  # Python 3 writes bytes like this
                return lambda text, _: text.encode("latin-1")
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _number(kind: Any, *_: Any) -> np.dtype:
    dtype = np.dtype(_word(kind))
    if dtype.kind not in "iu":
        raise pickle.UnpicklingError(f"it has an array of {dtype}")
    return dtype
