"""Shoulder exercises from a smartwatch on the wrist: accelerations and turning rates at 50 Hz.

D. M. Burns et al., "Shoulder physiotherapy exercise recognition: machine learning the inertial
signals from a smartwatch", Physiological Measurement 39(7), 2018; arXiv 1802.01489.

The file is a pickle, and a pickle can run any code. So only the published file is opened.
"""

import hashlib
import io
from pathlib import Path

import numpy as np

from golden.errors import WordlineError
from golden.files import in_folder

FILE = "watch_dataset.npy"
SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
CLASSES = 7
TRAIN, TEST = range(1, 8), range(8, 11)
"""Subjects of the training set, and of the test set, which training never sees."""

MIRROR = np.array((-1, 1, 1, 1, -1, -1))
"""Signs that make a left wrist a right one.

x points the other way, and the turning rates about y and z change sign.
"""
MEAN_OF = 4
"""Samples averaged to one step: a step is 80 ms (12.5 Hz)."""
STEPS = 100
"""Steps of a window: 8 s, about four repetitions."""
HOP = 12
"""Steps between the starts of two training windows; test windows are side by side."""

Windows = tuple[np.ndarray, np.ndarray]
"""Windows of a right wrist, and their labels.

x (windows, STEPS, 6), float32: three accelerations and three turning rates, in the watch's units.
labels (windows,), int64: the exercise.
"""


def collect(folder: Path) -> dict[str, bytes]:
    """Read the published file from a user's folder.

    Raises WordlineError if it is missing or another file.
    """
    data = in_folder(folder, FILE)
    _check(data, str(folder / FILE))
    return {FILE: data}


def windows(files: dict[str, bytes], folder: Path) -> tuple[Windows, Windows]:
    """Training set and test set in the file of `collect`."""
    data = files[FILE]
    _check(data, str(folder / FILE))
    known = np.load(io.BytesIO(data), allow_pickle=True).item()
    parts = []
    for subjects, hop in ((TRAIN, HOP), (TEST, STEPS)):
        x, labels = [], []
        fields = (known[name] for name in ("X", "y", "subject", "side"))
        for series, label, subject, right in zip(*fields, strict=True):
            if subject in subjects:
                cut = _cut(series if right else series * MIRROR, hop)
                x += cut
                labels += [label] * len(cut)
        parts.append((np.stack(x).astype(np.float32), np.array(labels, np.int64)))
    return parts[0], parts[1]


def _cut(series: np.ndarray, hop: int) -> list[np.ndarray]:
    """Windows of one series (samples, 6); an incomplete window at the end is dropped."""
    count = len(series) // MEAN_OF
    steps = series[: count * MEAN_OF].reshape(count, MEAN_OF, -1).mean(1)
    return [steps[start : start + STEPS] for start in range(0, count - STEPS + 1, hop)]


def _check(data: bytes, source: str) -> None:
    """Check that the data is the published file.

    Raises WordlineError if it is not.
    """
    got = hashlib.sha256(data).hexdigest()
    if got != SHA256:
        raise WordlineError(
            f"{source} has the sha256 {got}, not {SHA256}; it is a pickle, so none but the "
            f"published file is opened: `wordline data har` fetches it."
        )
