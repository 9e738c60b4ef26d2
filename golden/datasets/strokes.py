"""Pen strokes out of images of digits: each is thinned to a skeleton, and a pen is led along it.

After T. Y. Zhang and C. Y. Suen, "A Fast Parallel Algorithm for Thinning Digital Patterns",
Communications of the ACM 27(3), 1984. How the pen goes is ours; Qin and Vucinic (arXiv 1811.10649)
have strokes of MNIST too, but do not say where from.
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
"""Pixels from here up are ink."""
REACH = 3
"""A pen in the air moves at most so many pixels a step, along either axis."""
PART = 2000
"""Images that are thinned at once."""

# Clockwise from north, as P2 to P9 in the paper: (dy, dx).
RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))

Strokes = tuple[np.ndarray, np.ndarray]
"""Movements (all steps, 3) int8, sequence after sequence, and the sequences' lengths, int64.

A movement is (dx, dy, up): pixels to the right, pixels down, 1 where the pen is in the air. The
first ones lead from the centre of the image to the first point.
"""


def trace(images: np.ndarray, progress: Callable[[int, int], None] = lambda *_: None) -> Strokes:
    """The strokes of images (images, height, width) uint8; an image without ink has one movement,
    (0, 0, 1). progress: called with how many are done, and how many there are."""
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
    """`trace`, from the file at `path` if it was made of these images by this very code."""
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
    """Skeletons of images (images, height, width) of bools: lines one pixel wide, as connected as
    before."""
    ink = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    busy = np.arange(len(ink))  # images in which something was deleted of late
    while len(busy):
        now = ink[busy]
        for second in (False, True):
            now &= ~_deletable(now, second=second)
        changed = (now != ink[busy]).any((1, 2))
        ink[busy] = now
        busy = busy[changed]
    return ink[:, 1:-1, 1:-1]


def _deletable(ink: np.ndarray, *, second: bool) -> np.ndarray:
    """Which pixels one of the two sub-iterations deletes: conditions (a) to (d) of the paper."""
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
    """The pen's way along one skeleton."""
    height, width = skeleton.shape
    at, moved = (height // 2, width // 2), []
    for line in _lines(skeleton, at):
        moved += list(_through_the_air(at, line[0]))
        moved += [(q[1] - p[1], q[0] - p[0], 0) for p, q in itertools.pairwise(line)]
        at = line[-1]
    return moved or [(0, 0, 1)]


Point = tuple[int, int]
"""(y, x)."""


def _through_the_air(at: Point, to: Point) -> Iterator[tuple[int, int, int]]:
    """As many movements as REACH asks for, the first of them the longest; at least one."""
    (y, x), first = at, True
    while first or (y, x) != to:
        dy, dx = (max(-REACH, min(REACH, b - a)) for a, b in zip((y, x), to, strict=True))
        yield dx, dy, 1
        y, x, first = y + dy, x + dx, False


def _lines(skeleton: np.ndarray, at: Point) -> Iterator[list[Point]]:
    """Lines in the order of drawing: each begins at the end that is nearest to the pen (the first:
    the topmost end) and goes on as straight as it can, until nothing is left before it."""
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
        # Pixels beside a line, where it bends or crosses another, are part of it.
        if not all(_around(point, drawn) for point in line):
            at = line[-1]
            drawn.update(line)
            yield line


def _line(start: Point, left: set[Point]) -> list[Point]:
    """The line from `start`; its points leave `left`."""
    line, heading = [start], None
    left.remove(start)
    while found := _around(line[-1], left):
        heading = min(found, key=lambda d: (0 if heading is None else _turn(d, heading), d % 2, d))
        dy, dx = RING[heading]
        line.append((line[-1][0] + dy, line[-1][1] + dx))
        left.remove(line[-1])
    return line


def _around(point: Point, left: set[Point]) -> list[int]:
    """Directions, as indices of RING, in which a neighbour is left."""
    y, x = point
    return [d for d, (dy, dx) in enumerate(RING) if (y + dy, x + dx) in left]


def _turn(a: int, b: int) -> int:
    """Eighths of a turn between two directions, 0 to 4."""
    return 4 - abs(4 - abs(a - b))
