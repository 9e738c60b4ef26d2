"""A slice of the fuzz (`make fuzz`), and faults of every kind that it must see."""

import contextlib
import os
import random
import time
from pathlib import Path

import numpy as np
import pytest

from golden.errors import WordlineError
from tests.fuzz import engine, kinds
from tests.fuzz.__main__ import kept
from tests.fuzz.engine import Case, Kind

SLICE = 60
"""Cases of each kind in `make test`."""

pytestmark = pytest.mark.filterwarnings("ignore")


def numbered(kind, seed, count):
    return [(f"{seed}/{n}", lambda n=n: engine.drawn(kind, seed, n)) for n in range(count)]


@pytest.mark.parametrize("name", [*kinds.KINDS])
def test_a_slice(name, tmp_path):
    kind = kinds.made(name, tmp_path / "right")
    count = SLICE * max(1, kind.share // 3) if kind.share else 3
    cases = [*kept(kind), *numbered(kind, 2026, count)]
    outcomes = [*engine.run(kind, cases, tmp_path / "run")]
    assert len(outcomes) == len(cases)
    assert not [str(outcome) for outcome in outcomes if outcome.failed]
    assert any(outcome.what == engine.ACCEPTED for outcome in outcomes)


@pytest.mark.parametrize("name", [*kinds.KINDS])
def test_a_case_can_be_run_again(name, tmp_path):
    kind = kinds.made(name, tmp_path)
    assert all(engine.drawn(kind, 1, n) == engine.drawn(kind, 1, n) for n in range(20))


class Faulty(Kind):
    """A reader with a fault of each kind, by the content of its file."""

    name = "faulty"
    longest = 1.0

    def draw(self, draw: random.Random) -> Case:
        raise NotImplementedError

    def run(self, folder: Path, case: Case) -> None:
        match (folder / "x").read_text():
            case "right":
                return
            case "refused":
                raise WordlineError("x = 1 is above 0, the most it can be.")
            case "traceback":
                {}["x"]
            case "wrong":
                assert 1 + 1 == 3
            case "mute":
                raise WordlineError("bad")
            case "hidden":
                raise WordlineError("x cannot be read (MemoryError: Unable to allocate 9 GB).")
            case "slow":
                time.sleep(60)
            case "swallows":
                while True:
                    with contextlib.suppress(Exception):
                        time.sleep(60)
            case "greedy":
                np.ones(2**26, np.uint8)
            case "asks":
                np.zeros(2**40)
            case "dies":
                os._exit(11)
            case "escapes":
                (folder / ".." / "y").write_text("")


FAULTS = {
    "right": engine.ACCEPTED,
    "refused": engine.REJECTED,
    "traceback": engine.TRACEBACK,
    "wrong": engine.WRONG,
    "mute": engine.UNCLEAR,
    "hidden": engine.MEMORY,
    "slow": engine.HANG,
    "swallows": engine.HANG,
    "greedy": engine.MEMORY,
    "asks": engine.MEMORY,
    "dies": engine.CRASH,
    "escapes": engine.ESCAPE,
}


def test_every_outcome_is_seen(tmp_path, monkeypatch):
    """Each in its place, with the one after it run in a new worker."""
    monkeypatch.setattr(engine, "GREEDY", 2**25)
    cases = [(name, lambda name=name: Case({"x": name.encode()})) for name in FAULTS]
    found = {o.number: o.what for o in engine.run(Faulty(), cases, tmp_path / "run")}
    assert found == FAULTS
    assert {*engine.FAILURES} <= {*FAULTS.values()}


class Stuck(Faulty):
    """A reader that is in C, where no signal of Python comes through."""

    longest = 0.2

    def run(self, folder: Path, case: Case) -> None:
        import signal

        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(600)


def test_a_worker_that_hears_nothing_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "GRACE", 0.5)
    (outcome,) = engine.run(Stuck(), [("1", Case)], tmp_path / "run")
    assert outcome.what == engine.HANG


@pytest.mark.parametrize(
    ("sentence", "why"),
    [
        ("x = 1\nis wrong.", ""),
        ("x = \x1b[31m is wrong.", ""),
        (f"x = {'9' * 100_000} is wrong.", ""),
        ("is wrong", "is not a sentence"),
        ("Traceback (most recent call last).", "is a traceback"),
    ],
)
def test_a_message_can_always_be_printed(sentence, why):
    """WordlineError sees to that; the rest is judged."""
    said = str(WordlineError(sentence))
    assert said.isprintable() and len(said) < 1300 and said.startswith(sentence[:4])
    what, found = engine.judged(said)
    assert (what == engine.REJECTED) == (not why) and why in found
    assert engine.judged(sentence)[0] == engine.UNCLEAR
