"""Series of measurements as data sets: exercises and electricity demand. Files are tiny stand-ins,
but for the last tests. Labels that are real numbers."""

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from golden import datasets
from golden.datasets import Sequences, har, taylor
from golden.datasets.sets import SETS, SUMS
from golden.errors import WordlineError
from tests.golden.test_data import ROOT, put

# Labels


LENGTHS = torch.tensor([2, 4, 3])
LABELS = {
    "classes": torch.arange(3),
    "classes, steps": torch.arange(12).view(3, 4),
    "real": torch.arange(6.0).view(3, 2),
    "real, steps": torch.arange(24.0).view(3, 4, 2),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_kind(kind):
    """A class or several real numbers, for a sequence or for every step of it."""
    labels = LABELS[kind]
    data = Sequences(torch.randn(3, 4, 5), LENGTHS, labels)
    assert data.real == ("real" in kind) and data.every_step == ("steps" in kind)
    part = data.part(torch.tensor([2, 0]))
    moved = part.to("cpu")
    assert part.x.shape == (2, 3, 5) and len(part) == 2 and torch.equal(moved.labels, part.labels)
    assert part.real == data.real and part.every_step == data.every_step
    if data.every_step:
        assert torch.equal(part.labels, labels[[2, 0], :3])
        found = part.labelled(part.labels)
        assert torch.equal(found, torch.cat([labels[2, :3], labels[0, :2]]))
    else:
        assert torch.equal(part.labels, labels[[2, 0]])
        assert torch.equal(part.labelled(part.labels), labels[[2, 0]])


# Exercises


def watch(samples=(1300, 830), subjects=range(1, 11)):
    """A file like the published one: two series of each subject, left and right."""
    rng = np.random.default_rng(3)
    each = [(subject, right) for subject in subjects for right in (0, 1)]
    series = [rng.normal(size=(samples[right], 6)) for _, right in each]
    known = {
        "X": series,
        "y": np.array([(subject + right) % 7 for subject, right in each]),
        "subject": np.array([subject for subject, _ in each]),
        "side": np.array([float(right) for _, right in each]),
    }
    path = Path("watch.npy")
    np.save(path, np.array(known, object), allow_pickle=True)
    data = path.read_bytes()
    path.unlink()
    return data, known


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The stand-in passes for the published file."""
    monkeypatch.chdir(tmp_path)
    data, known = watch()
    monkeypatch.setattr(har, "SHA256", hashlib.sha256(data).hexdigest())
    SETS["har"].take(put(tmp_path / "mine", {har.FILE: data}), tmp_path / "data")
    return known


def test_exercises_are_windows_of_means(published, tmp_path):
    data = datasets.load("har", tmp_path / "data")
    assert (data.channels, data.classes) == (6, 7) and not data.train.real
    # Left: 325 steps, 19 windows to train on, 3 to test on. Right: 207 steps, 9 and 2.
    assert len(data.train) == 7 * (19 + 9) and len(data.test) == 3 * (3 + 2)
    assert data.train.x.shape[1:] == (100, 6) and data.test.lengths.tolist() == [100] * 15
    left, right = published["X"][:2]
    mean = torch.from_numpy(left[4 * 17 : 4 * 18].mean(0)).float()
    mirror = torch.tensor([-1, 1, 1, 1, -1, -1])
    torch.testing.assert_close(data.train.x[0, 17], mean * mirror)
    assert torch.equal(data.train.x[1, :88], data.train.x[0, 12:])
    mean = torch.from_numpy(right[4 * 12 : 4 * 13].mean(0)).float()
    torch.testing.assert_close(data.train.x[19 + 1, 0], mean)
    assert data.train.labels[:28].tolist() == [1] * 19 + [2] * 9


def test_subjects_to_test_on_are_not_trained_on(published, tmp_path):
    data = datasets.load("har", tmp_path / "data")
    for subject, right, series in zip(
        published["subject"], published["side"], published["X"], strict=True
    ):
        start = torch.from_numpy(series[:4].mean(0) * (1 if right else har.MIRROR)).float()
        there = [
            bool((part.x[:, 0] - start).abs().amax(1).lt(1e-6).any())
            for part in (data.train, data.test)
        ]
        assert there == [subject <= 7, subject > 7]
    assert len(data.test.x.unique(dim=0)) == 15


class Evil:
    def __reduce__(self):
        return os.system, ("touch was_run",)


def test_only_the_published_pickle_is_opened(published, tmp_path):
    """Neither one of a user's own, nor one that came into the data folder with a sum that fits."""
    evil = pickle.dumps(Evil())
    put(tmp_path / "other", {har.FILE: evil})
    words = f"other/{har.FILE} has the sha256 [0-9a-f]{{64}}, not [0-9a-f]{{64}}; it is a pickle, "
    with pytest.raises(WordlineError, match=words):
        SETS["har"].take(tmp_path / "other", tmp_path / "data")
    folder = put(tmp_path / "data/har", {har.FILE: evil})
    (folder / SUMS).write_text(f"{hashlib.sha256(evil).hexdigest()}  {har.FILE}\n")
    with pytest.raises(WordlineError, match=f"har/{har.FILE} has the sha256"):
        datasets.load("har", tmp_path / "data")
    assert not (tmp_path / "was_run").exists()
    (tmp_path / "other" / har.FILE).unlink()
    with pytest.raises(WordlineError, match=f"other has no {har.FILE}; put it there"):
        SETS["har"].take(tmp_path / "other", tmp_path / "data")


# Electricity demand


def module(numbers, before=""):
    """A module like the published one."""
    return f"import pandas\n{before}\nx = f([1])\nx = np.array([{numbers}]).astype(t)\n".encode()


def test_demand_is_forecast_half_an_hour_ahead(tmp_path):
    demand = np.random.default_rng(4).integers(20_000, 40_000, 1000)
    source = module(", ".join(map(str, demand)), before="open('was_run', 'w')")
    SETS["taylor"].take(put(tmp_path / "mine", {taylor.FILE: source}), tmp_path / "data")
    data = datasets.load("load-forecast", tmp_path / "data")
    assert (data.channels, data.classes) == (1, 1)
    train = demand[: 1000 - 672]
    real = torch.from_numpy((demand - train.mean()) / train.std()).float()[:, None]
    for part in (data.train, data.test):
        assert part.real and part.every_step and part.labels.dtype == part.x.dtype == torch.float32
        assert torch.equal(part.labels[:, :-1], part.x[:, 1:])
    assert data.train.x.shape == data.train.labels.shape == (39, 96, 1)
    torch.testing.assert_close(data.train.x[2], real[12 : 12 + 96])
    # What is tested is nowhere in training, not even as a label.
    last = 38 * 6 + 96
    torch.testing.assert_close(data.train.labels[-1, -1], real[last])
    assert last < len(train)
    torch.testing.assert_close(data.test.labels, real[None, -672:])
    torch.testing.assert_close(data.test.x[0, 0], real[len(train) - 1])


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"x = [",
        b"\0",
        b"\xff",
        b"(" * 5000,
        b"x = 1",
        module("1, " * 768),
        module("1, 2, " * 384),
        module("1, " * 800),
        module("0.1, " * 800),
        module("1e308, -1e308, " * 400),
        module("1, " * 200 + "2, " * 672),
        module("1, 2, " * 384 + "{1}"),
        module("-" * 200_000 + "1"),
        module("1, 2, " * 400 + "+".join(["1"] * 20_000)),
        module("1, 2, " * 384 + "f(2)"),
        module("1, 2, " * 384 + "'a'"),
        module("1, 2, " * 384 + "1e999"),
        module("1, 2, " * 384 + "[1]"),
        module("[1, 2], " * 800),
        module("1, 2, " * 384 + "1" * 400),
        module("__import__('os').system('touch was_run'), " * 800),
    ],
    ids=range(22),
)
def test_a_module_without_numbers_is_refused(source, tmp_path, monkeypatch):
    """And it is not run."""
    monkeypatch.chdir(tmp_path)
    words = f"mine/{taylor.FILE} has no list of 769 or more numbers that differ; give the published"
    with pytest.raises(WordlineError, match=words):
        SETS["taylor"].take(put(tmp_path / "mine", {taylor.FILE: source}), tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_no_module_is_no_demand(tmp_path):
    with pytest.raises(WordlineError, match=f"mine has no {taylor.FILE}; put it there"):
        SETS["taylor"].take(put(tmp_path / "mine", {}), tmp_path / "data")


# The published files


def absent(name):
    here = SETS[name].present(ROOT / "data")
    return pytest.mark.skipif(not here, reason=f"{name} is not in data/: `wordline data {name}`")


@absent("har")
def test_the_watch_s_data_itself():
    assert SETS["har"].published(ROOT / "data")
    data = datasets.load("har", ROOT / "data")
    assert (data.train.x.shape, data.test.x.shape) == ((2715, 100, 6), (172, 100, 6))
    assert torch.bincount(data.train.labels, minlength=7).min() > 200
    # A hand that hangs is pulled along the arm: TRAP, the sixth, of either wrist alike.
    hanging = data.train.x[data.train.labels == 5][..., 0].mean(1)
    assert hanging.max() < -0.7


@absent("taylor")
def test_taylor_s_demand_itself():
    assert SETS["taylor"].published(ROOT / "data")
    data = datasets.load("load-forecast", ROOT / "data")
    assert (data.train.x.shape, data.test.x.shape) == ((544, 96, 1), (1, 672, 1))
    real = torch.cat([data.train.x[::16].flatten(), data.train.labels[-1].flatten()])
    assert abs(real.mean()) < 0.02 and abs(real.std() - 1) < 0.02
