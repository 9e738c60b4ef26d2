"""A slice of the fuzz (`make fuzz`), and faults of every kind that it must see."""

import contextlib
import dataclasses
import functools
import os
import random
import time
from pathlib import Path

import numpy as np
import pytest

from golden import network, program
from golden.errors import WordlineError
from hw.bus import control
from tests.fuzz import engine, kinds, traffic
from tests.fuzz.__main__ import kept
from tests.fuzz.engine import Case, Kind

SLICE = 400
"""Cases of all kinds in `make test`; at least three of each."""

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Kinds by name, each made once."""
    home = tmp_path_factory.mktemp("right")
    return functools.cache(lambda name: kinds.made(name, home))


def numbered(kind, seed, count):
    return [(f"{seed}/{n}", lambda n=n: engine.drawn(kind, seed, n)) for n in range(count)]


@pytest.mark.parametrize("name", [*kinds.KINDS])
def test_a_slice(name, made, tmp_path):
    kind = made(name)
    whole = sum(own.share for own in kinds.KINDS.values())
    count = max(3, SLICE * kind.share // whole)
    cases = [*kept(kind), *numbered(kind, 2026, count)]
    outcomes = [*engine.run(kind, cases, tmp_path / "run")]
    assert len(outcomes) == len(cases)
    assert not [str(outcome) for outcome in outcomes if outcome.failed]
    assert any(outcome.what in (engine.ACCEPTED, engine.REJECTED) for outcome in outcomes)


@pytest.mark.parametrize("name", [*kinds.KINDS])
def test_a_case_can_be_run_again(name, made):
    kind = made(name)
    assert all(engine.drawn(kind, 1, n) == engine.drawn(kind, 1, n) for n in range(20))


class Faulty(Kind):
    """A reader with a fault of each kind, by the content of its file."""

    name = "faulty"
    longest = 2.0

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
                np.ones(2**27, np.uint8)  # more than a heap has left over
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
    monkeypatch.setattr(engine, "GREEDY", 2**26)
    cases = [(name, lambda name=name: Case({"x": name.encode()})) for name in FAULTS]
    found = {o.number: o.what for o in engine.run(Faulty(), cases, tmp_path / "run")}
    assert found == FAULTS
    assert {*engine.FAILURES} <= {*FAULTS.values()}


def outcome(kind, case, folder):
    """What comes of one case."""
    (found,) = engine.run(kind, [("1", lambda: case)], folder / "run")
    return found.what


def test_a_wrong_number_is_seen(made, tmp_path, monkeypatch):
    """A design whose fast path and readable path differ by 1."""
    kind = made("toml")
    text = 'name = "own"\n[network]\ninputs = 2\nhidden = [3]\nclasses = 2\n'
    case = Case({"own.toml": text.encode()}, 1)
    assert outcome(kind, case, tmp_path) == engine.ACCEPTED
    run = network.run

    def wrong(program, x, lengths, readable=False):
        found = run(program, x, lengths, readable=readable)
        return found if readable else dataclasses.replace(found, scores=found.scores + 1)

    monkeypatch.setattr(network, "run", wrong)
    assert outcome(kind, case, tmp_path) == engine.WRONG


def test_a_number_that_is_not_kept_is_seen(made, tmp_path, monkeypatch):
    """A program that is read as another one than was written."""
    kind = made("program")
    case = Case({"program.safetensors": kind.right[0]}, 1)
    assert outcome(kind, case, tmp_path) == engine.ACCEPTED
    save = program.Program.save
    monkeypatch.setattr(
        *(program.Program, "save"),
        lambda self, path: save(dataclasses.replace(self, input_mean=self.input_mean + 1), path),
    )
    assert outcome(kind, case, tmp_path) == engine.WRONG


WRITE = [["write", 0, 1, 15], ["packet", [[1, False], [0, True]]], ["status"]]
"""The register `id` cannot be written; a packet has a result."""


@pytest.mark.parametrize("name", ["axi", "serial"])
def test_a_wrong_answer_on_the_bus_is_seen(name, made, tmp_path, monkeypatch):
    kind = made(name)
    case = Case({}, [3, WRITE])
    assert outcome(kind, case, tmp_path) == engine.ACCEPTED
    monkeypatch.setattr(control.Control, "_answer", lambda *_: control.Response.OKAY)
    assert outcome(kind, case, tmp_path) == engine.WRONG


def test_a_wrong_class_on_the_bus_is_seen(made, tmp_path, monkeypatch):
    """Golden has another class than the design."""
    kind = made("axi")
    steps = [["load", 0, 1.0], *([["packet", [[n, False], [255, True]]] for n in (1, 0, 127)])]
    assert outcome(kind, Case({}, [3, steps]), tmp_path) == engine.ACCEPTED
    monkeypatch.setattr(traffic, "result", lambda *_: 7)
    assert outcome(kind, Case({}, [3, steps]), tmp_path) == engine.WRONG


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
