"""Shoulder exercises from a smartwatch on the wrist: accelerations and turning rates at 50 Hz.

D. M. Burns et al., "Shoulder physiotherapy exercise recognition: machine learning the inertial
signals from a smartwatch", Physiological Measurement 39(7), 2018; arXiv 1802.01489.

The file is a pickle, and a pickle can run anything: it is opened only if it is the published one.
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
"""Numbers of the subjects to train on, and of those to test on, whom training never sees."""

MIRROR = np.array((-1, 1, 1, 1, -1, -1))
"""Makes a left wrist a right one: x points the other way, and turns about y and z go the other way
round."""
MEAN_OF = 4
"""Samples that a step is the mean of: a step is 80 ms, 12.5 Hz."""
STEPS = 100
"""A window's steps: 8 s, some four repetitions."""
HOP = 12
"""Steps from a window to train on to the next; windows to test on lie side by side."""

Windows = tuple[np.ndarray, np.ndarray]
"""x (windows, STEPS, 6) float32: three accelerations and three turning rates, as the watch gives
them, of a right wrist; labels (windows,) int64: the exercise."""


def collect(folder: Path) -> dict[str, bytes]:
    """The published file in a user's folder; WordlineError where it is missing or another one."""
    data = in_folder(folder, FILE)
    _check(data, str(folder / FILE))
    return {FILE: data}


def windows(files: dict[str, bytes], folder: Path) -> tuple[Windows, Windows]:
    """The training set and the test set in the file of `collect`."""
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
    """Windows of one series (samples, 6); samples at its end that fill none are left out."""
    count = len(series) // MEAN_OF
    steps = series[: count * MEAN_OF].reshape(count, MEAN_OF, -1).mean(1)
    return [steps[start : start + STEPS] for start in range(0, count - STEPS + 1, hop)]


def _check(data: bytes, source: str) -> None:
    """WordlineError if these are not the published file's bytes."""
    got = hashlib.sha256(data).hexdigest()
    if got != SHA256:
        raise WordlineError(
            f"{source} has the sha256 {got}, not {SHA256}; it is a pickle, so none but the "
            f"published file is opened: `wordline data har` fetches it."
        )
