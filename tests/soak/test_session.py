"""Sessions of random programs find a fault that only a reload, a reset or a stall shows."""

import copy
import itertools
import re
from pathlib import Path

import pytest
import torch

from golden.errors import WordlineError
from sim import batch, chip
from sim.batch_chip import Chip, read_sidecar
from sim.benches.scoreboard import Scoreboard
from sim.stimuli import Stimuli
from tests.helpers import small
from tests.soak.macro import with_slow_macro
from tests.soak.session import PROGRAMS, Session, episodes
from wordline.flow import emit

DESCRIPTION = small(
    name="soaked",
    network={"inputs": 2, "hidden": [2], "classes": 2},
    cell={"kind": "rnn", "frac": 1},
    adc={"bits": 2},
    voting={"replay_steps": 2, "max_votes": 2},
)
EPISODES = 14


def test_episodes_are_of_all_kinds_and_repeat_themselves():
    first, again = (
        [e for _, e in zip(range(300), episodes(len(PROGRAMS), 3), strict=False)] for _ in "ab"
    )
    assert first == again
    assert [e.program for e in first[: len(PROGRAMS)]] == [*range(len(PROGRAMS))]
    for before, after in itertools.pairwise(first):
        cut = before.cut < 1 or before.cut_load < 1
        assert after.reset or not cut  # nothing but a reset ends what was cut short
        assert after.reload or (after.program == before.program and before.cut_load == 1)
        assert after.program >= 0 and (after.reload or after.cut_load == 1)
    assert {(e.reset, e.reload) for e in first} == {(a, b) for a in (0, 1) for b in (0, 1)}


@pytest.fixture(scope="module")
def soaked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soaked")
    program = Stimuli(DESCRIPTION, 1).random_program()
    x = Stimuli(DESCRIPTION, 1).random_codes(2, 2, 2)
    emit.emit_all(program, x, torch.tensor([2, 1]), folder)
    emitted = with_slow_macro(chip.emitted(folder, DESCRIPTION.name), folder / "slow")
    built = batch.build(emitted, folder / "batch", quick=True)
    return built, Session(program, 1, sequences=6, steps=2)


def test_a_word_that_a_slow_crossbar_does_not_take_is_found(soaked, tmp_path):
    built, session = soaked
    emitted = chip.emitted(built.library.parent.parent, DESCRIPTION.name)
    verilog = tmp_path / f"{DESCRIPTION.name}.v"
    right, wrong = "ready = found & cells__ready", "ready = found"
    text = (emitted.sources[1]).read_text()
    assert right in text
    verilog.write_text(text.replace(right, wrong))
    emitted.sources[1] = verilog
    at_once = batch.build(emitted, tmp_path / "at-once", quick=True, lenient=True)
    slow = with_slow_macro(emitted, tmp_path / "slow")
    slow = batch.build(slow, tmp_path / "slow/batch", quick=True, lenient=True)
    assert play(at_once, session).board.mismatches == 0
    assert play(slow, session).board.mismatches


def sidecar(built):
    return read_sidecar(Path(built.job["sidecar"]))


def play(built, session, keep=True):
    own = Chip(built.library, sidecar(built))
    try:
        return session.play(own, most=EPISODES, keep=keep)
    finally:
        own.close()


def test_a_session_is_equal(soaked):
    played = play(*soaked)
    assert played.board.mismatches == 0 and played.board.values_compared > 500
    assert played.episodes == EPISODES > played.loads > len(PROGRAMS)
    assert played.cut and played.resets < EPISODES


def test_a_word_that_is_not_loaded_is_found(soaked):
    built, session = soaked
    words = [[w for n, w in enumerate(own) if n != 5] for own in session.words]
    other = copy.copy(session)
    other.words = words
    try:
        assert play(built, other, keep=False).board.mismatches
    except WordlineError as error:
        assert "hangs" in str(error)


def test_a_stopped_run_gives_nothing_and_the_next_one_all(soaked):
    built, session = soaked
    own = Chip(built.library, sidecar(built))
    first = next(iter(episodes(len(PROGRAMS), 1)))
    chunk = session._chunk(own, first)
    assert own.run(session.words[0], chunk, cut=10) is None
    assert own.run(session.words[0], chunk, cut_load=5) is None
    given = own.run(session.words[0], chunk)
    board = Scoreboard()
    chunk.compare(board, given)
    assert board.values_compared and board.mismatches == 0
    own.close()


def test_a_word_to_an_address_of_no_region_that_is_taken_is_found(soaked, tmp_path):
    built, session = soaked
    emitted = chip.emitted(built.library.parent.parent, DESCRIPTION.name)
    text = emitted.sources[1].read_text()
    # One bit of an address is not looked at.
    at = re.search(
        r"(at_layers_0_bias <= load__payload_address)\[(\d+):(\d+)\] == \d+'h(\w+)", text
    )
    high, value = int(at[2]) - 1, int(at[4], 16)
    narrower = f"{at[1]}[{high}:{at[3]}] == {high - int(at[3]) + 1}'h{value:x}"
    assert not value >> (high - int(at[3]) + 1)
    verilog = tmp_path / f"{DESCRIPTION.name}.v"
    verilog.write_text(text.replace(at[0], narrower))
    emitted.sources[1] = verilog
    wrong = batch.build(emitted, tmp_path / "batch", quick=True, lenient=True)
    assert play(wrong, session).board.mismatches
