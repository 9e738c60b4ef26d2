"""The batch runner: what cocotb says, in any split, faults and hangs included."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from cocotb_tools.runner import Verilator

from gen.rtl import image, vectors
from golden import files, gates, native, network
from golden.errors import WordlineError
from sim import batch, blocks, chip, verilator
from sim.benches import scoreboard
from sim.benches.scoreboard import Scoreboard
from tests.helpers import random_codes, random_program, small
from wordline.flow import emit as flow_emit

# A name that C++ must not see as it is; several beats of x, the last one padded; two layers with
# two units a beat; words wider than 64 bits on `i` and on a probe.
WIDE = small(
    name="wide__r-",
    network={"inputs": 20, "hidden": [10, 5], "classes": 11},
    array={"lanes": 14, "beat": 17},
    adc={"bits": 3},
    voting={"replay_steps": 6, "max_votes": 4},
)
RNN = small(name="rnn", cell={"kind": "rnn"}, array={"settle": 5})
STEPWISE = small(name="steps", network={"hidden": [5, 4]}, output={"steps": "every"})
SCORES = STEPWISE.replace(name="scores", output={"of": "scores"}, network={"classes": 7})
LAST = SCORES.replace(name="last", output={"steps": "last"})
# Three beats of two units a state, the last one padded.
STATE = small(
    name="state",
    network={"hidden": [5], "classes": 0},
    array={"lanes": 4},
    adc={"bits": 3, "kind": "flash"},
    cell={"kind": "rnn"},
    output={"of": "state"},
)
STATES = STATE.replace(name="states", output={"steps": "every"})
SEQUENCES, STEPS, SEED = 13, 6, 5
TIMES = ("stream_seconds",)


def program(description, votes=1, by="majority"):
    loaded = random_program(description, SEED, noisy=True)
    return dataclasses.replace(loaded, votes=votes, vote_by=by)


def inputs(description):
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, STEPS + 1, (SEQUENCES,), generator=generator)
    size = (SEQUENCES, STEPS, description.network.inputs)
    return random_codes(description, 1, *size), lengths


def emitted(folder, description, **votes):
    flow_emit.emit_all(program(description, **votes), *inputs(description), folder)
    return folder


def without_times(result):
    return {key: value for key, value in result.items() if key not in TIMES}


def loaded(built, folder, name, other):
    """The batch with another program's image and vectors."""
    image.write(folder / f"{name}.hex", other)
    vectors.write(folder / f"{name}.npz", vectors.make(other, *inputs(other.description)))
    job = {"image": str(folder / f"{name}.hex"), "vectors": str(folder / f"{name}.npz")}
    return dataclasses.replace(built, job=built.job | job)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = emitted(tmp_path_factory.mktemp("wide"), WIDE, votes=3)
    return folder, batch.prepare(folder, WIDE.name, quick=True)


@pytest.mark.parametrize(
    "description",
    [
        STATES,
        *(
            pytest.param(d, marks=pytest.mark.slow)
            for d in (SCORES, WIDE, RNN, STEPWISE, LAST, STATE)
        ),
    ],
    ids=lambda d: d.name,
)
def test_it_says_what_cocotb_says(description, tmp_path, monkeypatch):
    votes = {"votes": 3, "by": "sum"} if description is WIDE else {}
    emitted(tmp_path, description, **votes)
    monkeypatch.setattr(chip, "LeanVerilator", blocks.QuickVerilator)
    cocotb = chip.simulate(chip.prepare(tmp_path, description.name))
    ours = batch.simulate(batch.prepare(tmp_path, description.name, quick=True))
    assert cocotb["passed"] and cocotb["timesteps"] > 40
    # In one chunk and without stalls it takes the same cycles, too.
    assert without_times(ours) == without_times(cocotb)
    _, lengths = inputs(description)
    outputs = int(lengths.sum()) if description.output.every_step else SEQUENCES
    assert len(ours["output"]) == outputs
    of, passes = description.output.of, votes.get("votes", 1)
    values = outputs * (1 if of == "class" else description.outputs)
    assert ours["by_quantity"]["label" if of == "class" else "output"]["compared"] == values
    if of != "state":
        values = description.network.classes * outputs * passes
        assert ours["by_quantity"]["scores"]["compared"] == values


@pytest.mark.parametrize("stall", [0.0, 0.4, 0.9])
def test_neither_workers_nor_chunks_change_what_is_computed(wide, stall):
    _, built = wide
    results = [
        batch.simulate(built, seed=3, stall=stall, workers=workers, chunk=chunk)
        for workers, chunk in ((1, None), (1, 1), (3, 2), (2, 5), (2, 12))
    ]
    assert results[0]["passed"] and results[0]["mismatches"] == 0
    # Two workers, the same chunks: the same pauses, so the same cycles.
    again = batch.simulate(built, seed=3, stall=stall, workers=1, chunk=5)
    assert without_times(again) == without_times(results[3])
    for result in results:
        del result["cycles"], result["cycles_per_step"]
        assert without_times(result) == without_times(results[0])


def test_stalls_are_there_and_have_a_seed(wide):
    _, built = wide
    free, one, same, other = (
        batch.simulate(built, seed=seed, stall=stall)["cycles"]
        for seed, stall in ((1, 0.0), (1, 0.5), (1, 0.5), (2, 0.5))
    )
    assert one == same != other
    assert min(one, other) > free


def test_progress_is_told(wide):
    _, built = wide
    seen = []
    batch.simulate(built, chunk=4, progress=lambda *numbers: seen.append(numbers))
    assert seen[-1] == (SEQUENCES, SEQUENCES)
    assert seen == sorted(seen)


def _used_entry():
    """The entry of a table that sequence 0 reads first, for unit 0."""
    loaded = program(WIDE, votes=3)
    codes = network.run(loaded, *inputs(WIDE)).layers[1].codes[:1, 0]
    index = gates.pre_activation(codes, loaded.layers[1].bias, WIDE.layers[1])
    return {"gate": 0, "index": int(index[0, 0, 0])}


FAULTS = {
    "a cell": ("layers.0.cells", lambda: {"row": 1, "select": 2, "lane": 3}, 7, "layers.0.codes"),
    "a table entry": ("layers.1.gate_tables", _used_entry, 7, "layers.1."),
    "a key of the head": ("head.parameters", lambda: {"lane": 0, "parameter": 1}, 3, "scores"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_flipped_bit_is_red_and_named_alike_in_any_split(wide, fault):
    from hw.loadmap import LoadMap

    folder, built = wide
    name, place, bit, first = FAULTS[fault]
    words = dict(image.words(program(WIDE, votes=3)))
    words[LoadMap(WIDE).regions[name].address(**place())] ^= 1 << bit
    path = folder / "faulty.hex"
    path.write_text("".join(f"@{a:x} {d:x}\n" for a, d in words.items()))
    faulty = dataclasses.replace(built, job=built.job | {"image": str(path)})
    results = [batch.simulate(faulty, workers=2, chunk=chunk) for chunk in (None, 1, 4)]
    assert not results[0]["passed"] and results[0]["mismatches"] > 0
    assert results[0]["first_difference"].startswith(f"{first}")
    assert "golden" in results[0]["first_difference"]
    for result in results[1:]:
        for key in ("mismatches", "first_difference", "by_quantity", "output"):
            assert result[key] == results[0][key]


def test_a_difference_late_in_the_set_has_its_own_number(wide):
    """A wrong golden value in the last sequences; the earlier one is told, whichever chunk ends
    first."""
    folder, built = wide
    with np.load(built.job["vectors"]) as file:
        changed = dict(file)
    changed["scores"][3 * 11 + 1, 2] += 1
    changed["layers.1.h"][3 * 12, 0, 4] += 1
    np.savez(folder / "changed.npz", **changed)
    job = built.job | {"vectors": str(folder / "changed.npz")}
    for chunk in (1, 2, 64):
        result = batch.simulate(dataclasses.replace(built, job=job), chunk=chunk)
        assert result["mismatches"] == 2
        assert result["first_difference"].startswith("scores at sequence 11, pass 1, class 2: ")


def test_another_program_on_the_same_build(wide):
    folder, built = wide
    other = loaded(built, folder, "other", random_program(WIDE, SEED + 1, noisy=True))
    assert batch.simulate(other, chunk=3)["mismatches"] == 0


def test_a_chip_that_hangs_is_one_sentence(wide, monkeypatch):
    _, built = wide
    monkeypatch.setattr("sim.benches.scoreboard.patience", lambda *_: 300)
    with pytest.raises(WordlineError, match=r"Sequences 0 to 12: the chip hangs; \d+ of 13 cla"):
        batch.simulate(built)


def test_more_or_less_than_belongs_is_one_sentence(wide):
    folder, built = wide
    # With two votes in the image, and three or one in the vectors.
    image.write(folder / "two.hex", program(WIDE, votes=2))
    for votes, words in ((3, "fewer values of layers.0"), (1, "more values of (layers.0|head)")):
        vectors.write(folder / "votes.npz", vectors.make(program(WIDE, votes=votes), *inputs(WIDE)))
        paths = {"image": str(folder / "two.hex"), "vectors": str(folder / "votes.npz")}
        with pytest.raises(WordlineError, match=f"Sequences 0 to 12: {words} came out"):
            batch.simulate(dataclasses.replace(built, job=built.job | paths))


def test_a_build_is_reused_and_a_new_one_has_a_new_name(wide):
    folder, built = wide
    before = built.library.stat().st_mtime_ns
    again = batch.prepare(folder, WIDE.name, quick=True)
    assert again.library == built.library and built.library.stat().st_mtime_ns == before


def test_a_short_run_is_not_compiled_for_speed(wide, monkeypatch):
    """Unless a build for speed lies there; a long run is."""
    folder, built = wide
    ways = []
    monkeypatch.setattr(batch.chip, "build", lambda *_, runner: ways.append(runner.MAKE))
    assert batch.prepare(folder, WIDE.name).library == built.library
    with monkeypatch.context() as patched:
        patched.setattr(batch, "SHORT", 1)
        batch.prepare(folder, WIDE.name)
    monkeypatch.setattr(batch.chip, "is_built", lambda *_: True)
    batch.prepare(folder, WIDE.name)
    assert [way == verilator.QUICK for way in ways] == [True, False, False]


@pytest.mark.slow
def test_another_way_to_compile_leaves_nothing_of_the_first(tmp_path):
    """make goes by dates alone, and would keep what was compiled quickly."""
    built = batch.prepare(emitted(tmp_path, RNN), RNN.name, quick=True)
    thorough = batch.prepare(tmp_path, RNN.name, quick=False)
    assert thorough.library != built.library and not built.library.exists()
    log = (thorough.library.parent / "build.log").read_text()
    assert "g++ -O3 " in log
    assert batch.simulate(thorough)["mismatches"] == 0


ENDLESS = """
import json, sys
from pathlib import Path
from sim import batch
from sim.benches import scoreboard
scoreboard.patience = lambda *_: 1 << 60
library, job = json.loads(sys.argv[1])
print("ready", flush=True)
batch.simulate(batch.Batch(Path(library), job), workers=2, chunk=2)
"""


def test_ctrl_c_ends_it_at_once(wide):
    """Within a chunk too: here one that waits for ages after its last class."""
    folder, built = wide
    sidecar = json.loads((folder / f"{WIDE.name}.json").read_text())
    slow = folder / "slow.json"
    slow.write_text(json.dumps(sidecar | {"cycles_per_step": 1 << 40}))
    job = json.dumps([str(built.library), built.job | {"sidecar": str(slow)}])
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, job],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(1.0)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert errors.strip().splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode in (130, -signal.SIGINT)


@pytest.mark.parametrize("steps", ["last", "every"])
def test_a_state_that_comes_out_wrong_is_named(steps):
    """Though every probe is right; what pads a step or a beat is of no meaning."""
    every = steps == "every"
    codes = {"dimensions": [2]}
    sidecar = {
        "description": {"output": {"of": "state", "steps": steps}, "network": {"classes": 0}},
        "ports": {"o__payload": {"fields": {"codes": codes}}},
    }
    sidecar["description"]["network"]["hidden"] = [3]
    h = np.arange(24).reshape(2, 4, 3)
    vectors = {"x": np.zeros((2, 4, 1)), "lengths": np.array([4, 2]), "layers.0.h": h}
    vectors["state"] = h if every else h[[0, 1], [3, 1]]
    output = scoreboard.Output.of_vectors(sidecar, vectors)
    sent = output.flat(vectors["state"])
    beats = np.concatenate([sent, np.full((len(sent), 1), 99)], 1).reshape(-1, 2)
    assert len(beats) == output.transfers
    for wrong in (0, 1):
        beats[-1, 0] += wrong
        board = Scoreboard()
        scoreboard.compare(board, vectors, {"layers.0.h": h}, output, output.values(beats))
        assert (board.values_compared, board.mismatches) == ((4 + 2) * 3 + sent.size, wrong)
    where = "sequence 1, step 1, unit 2" if every else "sequence 1, unit 2"
    assert str(board.first) == f"output at {where}: golden 17, RTL 18"


def test_the_scoreboard_adds_up():
    board = Scoreboard()
    golden = np.zeros((2, 3), np.int8)
    rtl = golden.astype(np.int32)
    rtl[1, 2] = 5
    axes = ("sequence", "step")
    board.compare("c", axes, golden, rtl, first=10)
    board.compare("c", axes, golden, rtl, first=4)
    assert board.by_quantity == {"c": {"compared": 12, "mismatches": 2}}
    assert (board.values_compared, board.mismatches) == (12, 2)
    assert str(board.first) == "c at sequence 5, step 2: golden 0, RTL 5"


def test_verilator_s_run_time_is_compiled_once(tmp_path, monkeypatch):
    """For each way to build; where it cannot be kept, for each build."""
    found = []

    def build(self, *, build_dir, **options):
        found.append((build_dir / "verilated.o").exists())
        build_dir.mkdir(exist_ok=True)
        (build_dir / "verilated.o").write_text("it")

    monkeypatch.setattr(Verilator, "build", build)
    monkeypatch.setattr(files, "_given", [tmp_path / "cache"])
    ways = [verilator.BatchVerilator("header"), verilator.BatchVerilator("header", quick=True)]
    for n, (way, waves) in enumerate([(0, False), (0, False), (1, False), (1, True), (1, True)]):
        ways[way].build(build_dir=tmp_path / str(n), waves=waves)
    assert found == [False, True, False, False, True]
    monkeypatch.setenv("CXXFLAGS", "-D_GLIBCXX_DEBUG")
    ways[0].build(build_dir=tmp_path / "5")
    monkeypatch.setattr(native, "machine", lambda compiler: b"another")
    ways[0].build(build_dir=tmp_path / "6")
    monkeypatch.setattr(files, "_given", [tmp_path / "a_file"])
    (tmp_path / "a_file").write_text("no folder")
    for n in (7, 8):
        ways[0].build(build_dir=tmp_path / str(n))
    assert found[5:] == [False] * 4


def test_machines_are_told_apart():
    assert native.machine("g++", "x86-64") != native.machine("g++", "x86-64-v2")
