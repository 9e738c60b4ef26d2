"""Strokes out of images: thin, whole, in one piece where the digit is; kept beside their key."""

import numpy as np
import pytest
import torch

from golden import datasets
from golden.datasets import strokes
from golden.datasets.sets import SETS
from golden.datasets.strokes import REACH, RING, _lines, thin, trace
from tests.golden.test_data import idx_bytes, put


def drawn(*rows):
    """An image of 28 x 28, 255 where there is a #, from the top left."""
    image = np.zeros((28, 28), np.uint8)
    for y, row in enumerate(rows):
        for x, mark in enumerate(row):
            image[y, x] = 255 * (mark == "#")
    return image


def random_blobs(seed, count=40):
    """Thick random lines."""
    random, images = np.random.default_rng(seed), np.zeros((count, 28, 28), np.uint8)
    for image in images:
        y, x = random.integers(5, 22, 2)
        way = random.integers(-1, 2, 2)
        for _ in range(40):
            if random.random() < 0.3:
                way = random.integers(-1, 2, 2)
            image[y - 1 : y + 2, x - 1 : x + 2] = 255
            y, x = np.clip(np.add((y, x), way), 3, 24)
    return images


def pieces(ink):
    """How many pieces an image of bools has, by eight neighbours."""
    left, count = set(zip(*np.nonzero(ink), strict=True)), 0
    while left:
        count, edge = count + 1, [left.pop()]
        while edge:
            y, x = edge.pop()
            near = {(y + dy, x + dx) for dy, dx in RING} & left
            left -= near
            edge += near
    return count


def test_a_bar_is_thinned_to_its_middle():
    bar = np.zeros((1, 28, 28), bool)
    bar[0, 10:13, 4:20] = True
    skeleton = thin(bar)[0]
    assert set(np.nonzero(skeleton)[0]) == {11}
    assert 12 <= skeleton.sum() <= 16
    assert bar.sum() == 48  # the image given is as it was


@pytest.mark.parametrize("seed", range(3))
def test_thinning_keeps_what_is_connected_so(seed):
    ink = random_blobs(seed) > 0
    skeletons = thin(ink)
    for image, skeleton in zip(ink, skeletons, strict=True):
        assert not (skeleton & ~image).any()
        assert pieces(skeleton) == pieces(image)
        # One pixel wide: no square of four but where lines cross.
        square = skeleton[1:, 1:] & skeleton[:-1, 1:] & skeleton[1:, :-1] & skeleton[:-1, :-1]
        assert square.sum() <= 4
    assert np.array_equal(thin(skeletons), skeletons)


def points(movements):
    """Where the pen is on paper, from the image's centre."""
    at, seen = np.array([14, 14]), []
    for dx, dy, up in movements.tolist():
        at = np.add(at, (dy, dx))
        seen.append((*at.tolist(), up))
    return seen


def test_an_l_is_drawn_from_its_top():
    image = drawn(*[""] * 5, *["     #"] * 10, "     #######")
    movements, lengths = trace(image[None])
    assert lengths.tolist() == [len(movements)]
    down = [(y, x) for y, x, up in points(movements) if not up]
    assert points(movements)[2] == (5, 5, 1)  # (-3, -3) three times
    assert down[:9] == [(y, 5) for y in range(6, 15)]
    assert down[-1] == (15, 11) and set(down[10:]) <= {(15, x) for x in range(6, 12)}


def test_two_lines_are_joined_through_the_air():
    image = drawn(*[""] * 4, "    ####        ####")
    movements, _ = trace(image[None])
    up = movements[movements[:, 2] == 1]
    assert abs(up[:, :2]).max() <= REACH
    way = points(movements)
    assert [p for p in way if not p[2]] == [(4, x, 0) for x in (5, 6, 7, 17, 18, 19)]


def test_the_pen_goes_on_to_the_nearest_end():
    """From the end of the first line, not from where it began."""
    image = drawn(
        "", "", "  ##########", "", "                  ####", *[""] * 7, "            ####"
    )
    movements, _ = trace(image[None])
    rows = [y for y, _, up in points(movements) if not up]
    assert rows == [2] * 9 + [4] * 3 + [12] * 3


def test_pixels_beside_a_line_are_no_line():
    skeleton = drawn("", " #", "  #", "   ##", "    ##", "     #", "      #") > 0
    (line,) = _lines(skeleton, (14, 14))
    assert line == [(n, n) for n in range(1, 7)]


def test_dots_and_nothing_are_drawn_too():
    dot, nothing = np.zeros((2, 28, 28), np.uint8)
    dot[14, 14] = 255
    movements, lengths = trace(np.stack([dot, nothing]))
    assert movements.tolist() == [[0, 0, 1], [0, 0, 1]] and lengths.tolist() == [1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_of_a_skeleton_is_missed(seed):
    """Every pixel is on a line, or beside one; no pixel is drawn twice."""
    for skeleton in thin(random_blobs(seed) > 0):
        lines = list(_lines(skeleton, (14, 14)))
        on = [point for line in lines for point in line]
        assert len(on) == len(set(on))
        near = {(y + dy, x + dx) for y, x in on for dy, dx in (*RING, (0, 0))}
        assert set(zip(*np.nonzero(skeleton), strict=True)) <= near
        steps = [abs(np.diff(line, axis=0)).max() for line in lines if len(line) > 1]
        assert max(steps, default=1) == 1


def test_what_was_traced_is_kept_by_its_images(tmp_path, monkeypatch):
    images, calls = random_blobs(0, 3), []
    monkeypatch.setattr(strokes, "trace", lambda *a: (calls.append(1), trace(*a))[1])
    path = tmp_path / "strokes" / "train.npz"
    first = strokes.kept(path, images, lambda *_: None)
    again = strokes.kept(path, images, lambda *_: None)
    assert len(calls) == 1
    for a, b, c in zip(first, again, trace(images), strict=True):
        assert np.array_equal(a, b) and np.array_equal(a, c)
    strokes.kept(path, images[:2], lambda *_: None)
    assert len(calls) == 2
    for damage in (b"", b"nonsense", path.read_bytes()[:200]):
        path.write_bytes(damage)
        strokes.kept(path, images[:2], lambda *_: None)
    assert len(calls) == 5
    assert [p.name for p in path.parent.iterdir()] == ["train.npz"]


def test_strokes_are_a_data_set(tmp_path):
    files = {}
    for part, seed in (("train", 1), ("t10k", 2)):
        images = random_blobs(seed, 6)
        files[f"{part}-images-idx3-ubyte"] = idx_bytes(images)
        files[f"{part}-labels-idx1-ubyte"] = idx_bytes(np.arange(6, dtype=np.uint8))
    SETS["mnist"].take(put(tmp_path / "mine", files), tmp_path / "data")
    said = []
    data = datasets.load("strokes", tmp_path / "data", lambda *a: said.append(a))
    assert data.channels == 3 and data.classes == 10
    assert data.train.x.shape[:2] == (6, int(data.train.lengths.max()))
    assert data.test.labels.tolist() == list(range(6))
    assert said[0] == ("trace strokes, train", 0, 6) and said[-1] == ("trace strokes, test", 6, 6)
    movements, lengths = trace(random_blobs(1, 6))
    first = data.train.x[0, : lengths[0]].numpy()
    assert np.array_equal(first, movements[: lengths[0]])
    assert not data.train.x[~data.train.valid].any()
    # Several movements a step: the same ones, and zeros after the last.
    few = datasets.load("strokes-4", tmp_path / "data")
    assert few.channels == 12 and torch.equal(few.train.lengths, (data.train.lengths + 3) // 4)
    again = few.train.x[0].reshape(-1, 3)
    assert np.array_equal(again[: lengths[0]].numpy(), movements[: lengths[0]])
    assert not again[lengths[0] :].any()
