"""Half-hourly electricity demand of England and Wales, 5 June to 27 August 2000: 12 weeks.

J. W. Taylor, "Short-term electricity demand forecasting using double seasonal exponential
smoothing", Journal of the Operational Research Society 54, 2003.

The file is a Python module with the numbers in a list. It is parsed, never run.
"""

import ast
from pathlib import Path

import numpy as np

from golden.errors import WordlineError
from golden.files import in_folder

FILE = "taylor.py"
SHA256 = "3df2f44f654bfe4338ea39350912140c9710fa776270f50a2529b2f5c87a4e19"

WEEK = 7 * 48
TEST = 2 * WEEK
"""Half hours of the test set: the last two weeks, in one sequence.

The first ten weeks are the training set.
"""
STEPS, HOP = 96, 6
"""Half hours of a training sequence (two days), and between two starts (three hours)."""

Forecasts = tuple[np.ndarray, np.ndarray]
"""x: the demand; labels: that of the next half hour; float32, (sequences, steps, 1).

Both are standardised by the mean and standard deviation of the training weeks.
"""


def collect(folder: Path) -> dict[str, bytes]:
    """Read the file from a user's folder.

    Raises WordlineError if it is missing or has no suitable list.
    """
    data = in_folder(folder, FILE)
    _demand(data, str(folder / FILE))
    return {FILE: data}


def forecasts(files: dict[str, bytes], folder: Path) -> tuple[Forecasts, Forecasts]:
    """Training set and test set in the file of `collect`."""
    demand = _demand(files[FILE], str(folder / FILE))
    train = demand[:-TEST]
    demand = (demand - train.mean()) / train.std()
    starts = range(0, len(train) - STEPS, HOP)
    # The test forecasts start from the last training value.
    return _pairs(demand, starts, STEPS), _pairs(demand, [len(train) - 1], TEST)


def _pairs(demand: np.ndarray, starts: "range | list[int]", steps: int) -> Forecasts:
    cut = np.stack([demand[start : start + steps + 1] for start in starts])
    cut = cut.astype(np.float32)[..., None]
    return cut[:, :-1], cut[:, 1:]


def _demand(data: bytes, source: str) -> np.ndarray:
    """Numbers of the file's longest list, float64, shape (half hours,).

    Raises WordlineError if they are too few or cannot be standardised.
    """
    try:
        tree = ast.parse(data)
        lists = [node for node in ast.walk(tree) if isinstance(node, ast.List)]
        longest = max(lists, key=lambda node: len(node.elts))
        found = np.array(ast.literal_eval(longest), np.float64)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError, OverflowError):
        found = np.empty(0)
    least = TEST + STEPS + 1
    # The values must vary: rounding may give a constant series a tiny deviation.
    known = found.ndim == 1 and len(found) >= least and (np.abs(found) < 1e30).all()
    if not known or found[:-TEST].std() <= 1e-9 * np.abs(found).max():
        raise WordlineError(
            f"{source} has no list of {least:,} or more numbers that differ; give the published "
            f"{FILE}, which `wordline data taylor` fetches."
        )
    return found
