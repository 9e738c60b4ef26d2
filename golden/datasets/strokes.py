"""Pen strokes from images of digits: each image is thinned to a skeleton, and a pen follows it.

After T. Y. Zhang and C. Y. Suen, "A Fast Parallel Algorithm for Thinning Digital Patterns",
Communications of the ACM 27(3), 1984. The path of the pen is ours. Qin and Vucinic (arXiv
1811.10649) also use strokes of MNIST, but do not give their source.
"""

import contextlib
import hashlib
import itertools
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from golden import files
from golden.source import code_hash

INK = 128
"""Pixels from this value up are ink."""
REACH = 3
"""Maximum pixels per step of a pen that is up, along either axis."""
PART = 2000
"""Images that are thinned at once."""

# Neighbours clockwise from north, P2 to P9 of the paper: (dy, dx).
RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))

Strokes = tuple[np.ndarray, np.ndarray]
"""Movements, int8, shape (all steps, 3), and lengths of the sequences, int64.

A movement is (dx, dy, up): pixels to the right, pixels down, 1 if the pen is up. The first
movements lead from the centre of the image to the first point.
"""


def trace(images: np.ndarray, progress: Callable[[int, int], None] = lambda *_: None) -> Strokes:
    """Trace the strokes of images, uint8, shape (images, height, width).

    An image without ink has the single movement (0, 0, 1).

    progress: Called with the number of finished images and of all images.
    """
    movements, lengths = [], []
    for start in range(0, len(images), PART):
        progress(start, len(images))
        for skeleton in thin(images[start : start + PART] >= INK):
            moved = _movements(skeleton)
            movements += moved
            lengths.append(len(moved))
    progress(len(images), len(images))
    return np.array(movements, np.int8), np.array(lengths)


def kept(path: Path, images: np.ndarray, progress: Callable[[int, int], None]) -> Strokes:
    """Like `trace`, with the result cached in the file at `path`.

    The file is used if it was made from the same images by the same code.
    """
    code = code_hash("golden.datasets.strokes:trace")
    key = hashlib.sha256(code.encode() + images.tobytes()).hexdigest()
    damaged = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)
    with contextlib.suppress(*damaged), np.load(path) as f:
        if str(f["key"]) == key:
            return f["movements"], f["lengths"]
    movements, lengths = trace(images, progress)
    with files.atomic(path) as beside, beside.open("wb") as file:
        np.savez(file, key=key, movements=movements, lengths=lengths)
    return movements, lengths


def thin(ink: np.ndarray) -> np.ndarray:
    """Skeletons of boolean images (images, height, width): lines one pixel wide.

    Connected pixels stay connected.
    """
    ink = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    busy = np.arange(len(ink))  # images that still changed in the last round
    while len(busy):
        now = ink[busy]
        for second in (False, True):
            now &= ~_deletable(now, second=second)
        changed = (now != ink[busy]).any((1, 2))
        ink[busy] = now
        busy = busy[changed]
    return ink[:, 1:-1, 1:-1]


def _deletable(ink: np.ndarray, *, second: bool) -> np.ndarray:
    """Pixels that one of the two sub-iterations deletes: conditions (a) to (d) of the paper."""
    ring = [np.roll(ink, (-dy, -dx), (1, 2)) for dy, dx in RING]
    count = sum(p.astype(np.int8) for p in ring)
    turns = sum((~p & q).astype(np.int8) for p, q in zip(ring, ring[1:] + ring[:1], strict=True))
    north, east, south, west = ring[::2]
    if second:
        keeps = (north & east & west) | (north & south & west)
    else:
        keeps = (north & east & south) | (east & south & west)
    deletable: np.ndarray = ink & (count >= 2) & (count <= 6) & (turns == 1) & ~keeps
    return deletable


def _movements(skeleton: np.ndarray) -> list[tuple[int, int, int]]:
    """Movements of the pen along one skeleton."""
    height, width = skeleton.shape
    at, moved = (height // 2, width // 2), []
    for line in _lines(skeleton, at):
        moved += list(_through_the_air(at, line[0]))
        moved += [(q[1] - p[1], q[0] - p[0], 0) for p, q in itertools.pairwise(line)]
        at = line[-1]
    return moved or [(0, 0, 1)]


Point = tuple[int, int]
"""Pixel (y, x)."""


def _through_the_air(at: Point, to: Point) -> Iterator[tuple[int, int, int]]:
    """Yield the movements of the lifted pen, at least one.

    There are as many as REACH requires; the first ones are the longest.
    """
    (y, x), first = at, True
    while first or (y, x) != to:
        dy, dx = (max(-REACH, min(REACH, b - a)) for a, b in zip((y, x), to, strict=True))
        yield dx, dy, 1
        y, x, first = y + dy, x + dx, False


def _lines(skeleton: np.ndarray, at: Point) -> Iterator[list[Point]]:
    """Yield lines in drawing order.

    The first line starts at the topmost end, each further one at the end nearest to the pen. A line
    goes on as straight as possible until no pixel is left ahead.
    """
    ys, xs = np.nonzero(skeleton)
    left = set(zip(ys.tolist(), xs.tolist(), strict=True))
    drawn: set[Point] = set()
    while left:
        ends = [point for point in left if len(_around(point, left)) <= 1] or list(left)
        if drawn:
            start = min(ends, key=lambda p: ((p[0] - at[0]) ** 2 + (p[1] - at[1]) ** 2, p))
        else:
            start = min(ends)
        line = _line(start, left)
        # Pixels next to a drawn line, at a bend or crossing, belong to it.
        if not all(_around(point, drawn) for point in line):
            at = line[-1]
            drawn.update(line)
            yield line


def _line(start: Point, left: set[Point]) -> list[Point]:
    """Line from `start`; its points are removed from `left`."""
    line, heading = [start], None
    left.remove(start)
    while found := _around(line[-1], left):
        heading = min(found, key=lambda d: (0 if heading is None else _turn(d, heading), d % 2, d))
        dy, dx = RING[heading]
        line.append((line[-1][0] + dy, line[-1][1] + dx))
        left.remove(line[-1])
    return line


def _around(point: Point, left: set[Point]) -> list[int]:
    """Directions, as indices of RING, with a remaining neighbour."""
    y, x = point
    return [d for d, (dy, dx) in enumerate(RING) if (y + dy, x + dx) in left]


def _turn(a: int, b: int) -> int:
    """Angle between two directions, in eighths of a turn, 0 to 4."""
    return 4 - abs(4 - abs(a - b))
