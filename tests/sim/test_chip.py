"""The whole chip in Verilator: noise, votes, stalls, reset and reload while it runs, faults."""

import dataclasses

import numpy as np
import pytest
import torch

import hw.adc
import hw.lstm
from gen.rtl import image, vectors
from golden import gates, network
from hw.fixed import narrow
from hw.gates import GatePipeline
from hw.loadmap import LoadMap
from hw.macro import noise as hw_noise
from hw.macro.interface import PARAMETERS
from sim import batch, blocks, chip
from tests.helpers import random_codes, random_program, small
from wordline.flow import emit as flow_emit

# The first layer and the head are of one size, but the head has no gates.
DESCRIPTION = small(
    name="chip",
    network={"inputs": 2, "hidden": [4, 6], "classes": 13},
    array={"lanes": 4, "beat": 1},
    cell={"frac": 3, "state_index_bits": 5},
    voting={"replay_steps": 6, "max_votes": 4},
)
ONE_LAYER = DESCRIPTION.replace(network={"hidden": [4]}, voting={"replay_steps": 0})
SEQUENCES, STEPS, SEED = 24, 6, 55


def program(votes=2, by="majority"):
    """With errors of every kind, and with votes."""
    return dataclasses.replace(
        random_program(DESCRIPTION, SEED, noisy=True), votes=votes, vote_by=by
    )


def inputs():
    lengths = torch.randint(1, STEPS + 1, (SEQUENCES,), generator=torch.Generator().manual_seed(1))
    return random_codes(DESCRIPTION, 1, SEQUENCES, STEPS, 2), lengths


def prepare(folder):
    x, lengths = inputs()
    flow_emit.emit_all(program(), x, lengths, folder)
    return chip.prepare(folder, "chip")


def write(folder, name, loaded):
    """Another program's image and vectors, as entries of a job."""
    image.write(folder / f"{name}.hex", loaded)
    vectors.write(folder / f"{name}.npz", vectors.make(loaded, *inputs()))
    return str(folder / f"{name}.hex"), str(folder / f"{name}.npz")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """In the least time: what it runs is short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chip, "LeanVerilator", blocks.QuickVerilator)
        return prepare(tmp_path_factory.mktemp("chip"))


@pytest.fixture(scope="module")
def batched(built):
    return batch.prepare(built.folder.parent, "chip", quick=True)


def log_of(built):
    return (built.folder / "sim.log").read_text()


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.9])
@pytest.mark.parametrize(
    ("votes", "by"), [(1, "sum"), (2, "majority"), (4, "majority"), (4, "sum")]
)
def test_everything_is_equal(batched, stall, votes, by):
    loaded = program(votes, by)
    hex_, npz = write(batched.library.parent, "votes", loaded)
    job = dataclasses.replace(batched, job=batched.job | {"image": hex_, "vectors": npz})
    result = batch.simulate(job, seed=SEED, stall=stall)
    assert result["passed"], result["first_difference"]
    expect_everything(result, loaded)


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_everything_is_equal_in_cocotb(built, stall):
    """The same through another's drivers and monitors."""
    result = chip.simulate(built, seed=SEED, stall=stall)
    assert result["passed"], log_of(built)
    expect_everything(result, program())


def expect_everything(result, loaded):
    assert (result["mismatches"], result["sequences"]) == (0, SEQUENCES)
    x, lengths = inputs()
    steps = int(lengths.sum())
    per_step = sum(units * (4 + 1 + 1) for units in (4, 6))
    compared = loaded.votes * (steps * per_step + SEQUENCES * 13) + SEQUENCES
    assert result["values_compared"] == compared
    labels = network.run(loaded, x, lengths).label
    assert result["output"] == labels.tolist()


@pytest.mark.slow
def test_the_rnn_is_equal(tmp_path):
    description = ONE_LAYER.replace(cell={"kind": "rnn", "frac": 3})
    x, lengths = inputs()
    flow_emit.emit_all(random_program(description, SEED, noisy=True), x, lengths, tmp_path)
    result = batch.simulate(batch.prepare(tmp_path, "chip", quick=True), seed=SEED, stall=0.3)
    assert (result["passed"], result["mismatches"]) == (True, 0)
    steps = int(lengths.sum())
    assert result["values_compared"] == steps * 4 * 2 + SEQUENCES * (13 + 1)


def test_reset_and_reload_while_it_runs(built):
    reset_and_reload(built, program())


@pytest.mark.slow
def test_reset_and_reload_where_every_step_has_scores(tmp_path):
    output = {"of": "scores", "steps": "every"}
    description = DESCRIPTION.replace(voting={"replay_steps": 0}, output=output)
    loaded = random_program(description, SEED, noisy=True)
    flow_emit.emit_all(loaded, *inputs(), tmp_path)
    reset_and_reload(chip.prepare(tmp_path, "chip"), loaded)


def reset_and_reload(built, loaded):
    """Every sequence before a switch is of one program, every one after it of the other."""
    other = random_program(loaded.description, SEED + 1)
    # Runs are counted from 0 again after an image with their number: other numbers, other noise.
    hex_b, npz_b = write(built.folder, "b", dataclasses.replace(other, votes=loaded.votes))
    layers = tuple(
        dataclasses.replace(layer, read_noise=layer.read_noise // 2, adc_noise=layer.adc_noise // 3)
        for layer in loaded.layers
    )
    quiet = dataclasses.replace(loaded, layers=layers)
    _, npz_noise = write(built.folder, "noise", quiet)
    changed = dict(image.words(quiet)).items() - dict(image.words(loaded)).items()
    assert len(changed) == 4 + 1  # and the checksum
    hex_noise = built.folder / "words.hex"
    hex_noise.write_text("".join(f"@{a:x} {d:x}\n" for a, d in sorted(changed)))
    labels = [np.load(npz)["label"] for npz in (built.job["vectors"], npz_b, npz_noise)]
    assert not np.array_equal(labels[0], labels[1]) and not np.array_equal(labels[0], labels[2])
    more = {"image_b": hex_b, "vectors_b": npz_b}
    more |= {"image_noise": str(hex_noise), "vectors_noise": npz_noise}
    for seed, stall in ((1, 0.0), (2, 0.3)):
        arguments = built.arguments | {"job": built.job | more | {"stall": stall}}
        result = chip.run(**arguments, module="sim.benches.bench_protocol", seed=seed)
        assert result["passed"], log_of(built)


def _used_entry():
    """The entry of gate i's table that sequence 0 reads first, for unit 0."""
    trace = network.run(program(), *inputs())
    layer, shape = program().layers[0], DESCRIPTION.layers[0]
    index = gates.pre_activation(trace.layers[0].codes[:1, 0], layer.bias, shape)[0, 0, 0]
    return {"gate": 0, "index": int(index)}


def parameter(name, lane=0):
    return {"parameter": PARAMETERS.index(name), "lane": lane}


VOTES_BITS = DESCRIPTION.votes_bits
FAULTS = {
    "a table entry": ("layers.0.gate_tables", _used_entry, 7),
    "an entry of tanh": ("layers.1.tanh_table", lambda: {"index": 0}, 6),
    "a cell": ("layers.0.cells", lambda: {"row": 1, "select": 2, "lane": 3}, 7),
    "a bias": ("layers.1.bias", lambda: {"gate": 2, "place": 0, "word": 4}, 6),
    "a gain": ("layers.0.gains", lambda: {"gate": 1}, 9),
    "a cell of the head": ("head.cells", lambda: {"row": 2, "select": 0, "lane": 1}, 7),
    "a bias of the head": ("head.bias", lambda: {"class": 2}, 6),
    "a key": ("layers.1.parameters", lambda: parameter("key_1"), 31),
    "an amplitude": ("layers.0.parameters", lambda: parameter("adc_noise"), 8),
    "a read noise": ("layers.1.parameters", lambda: parameter("read_noise"), 8),
    "an offset": ("layers.0.parameters", lambda: parameter("offset", lane=2), 9),
    "an error of gain": ("layers.1.parameters", lambda: parameter("gain_error", lane=1), 8),
    "a key of the head": ("head.parameters", lambda: parameter("key_0"), 0),
    "how to vote": ("votes", dict, VOTES_BITS),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_flipped_bit_turns_the_chip_red(batched, fault):
    name, place, bit = FAULTS[fault]
    address = LoadMap(DESCRIPTION).regions[name].address(**place())
    words = dict(image.words(program()))
    words[address] ^= 1 << bit
    path = batched.library.with_name("faulty.hex")
    path.write_text("".join(f"@{a:x} {d:x}\n" for a, d in words.items()))
    result = batch.simulate(dataclasses.replace(batched, job=batched.job | {"image": str(path)}))
    assert not result["passed"]
    assert result["mismatches"] > 0
    # The first difference is where the fault is, and says which value, where, and both sides.
    first = result["first_difference"]
    assert first.startswith(name[:8] if "layers" in name else ("scores", "label"))
    assert "sequence" in first and "golden" in first and "RTL" in first
    if fault == "a table entry":
        assert first.startswith("layers.0.c at sequence 0, pass 0, step 0, unit ")


def _stuck_bit(self, m, start):
    """SAR that never tries the lowest bit."""
    done, codes = ORIGINAL_SAR(self, m, start)
    return done, [[(code & -2).as_signed() for code in tile] for tile in codes]


def _half_table(self, m, words):
    """Noise of one byte only."""
    return ORIGINAL_LOOK_UP(self, m, [word & 0xFF00FF00 for word in words])


def _no_carry(self, _pipe, p):
    """Gate pipeline that narrows h without rounding."""
    description = self.shape.description
    return [narrow(value >> description.hidden_shift, 0, description.dac.range) for value in p]


ORIGINAL_LOOK_UP = hw_noise.NoiseGenerator._look_up
ORIGINAL_SAR = hw.adc.Readout._approximate
MUTANTS = {
    "the SAR logic": (hw.adc.Readout, "_approximate", _stuck_bit, "codes"),
    "the gate pipeline": (GatePipeline, "_dac_codes", _no_carry, "h"),
    "the noise": (hw_noise.NoiseGenerator, "_look_up", _half_table, "codes"),
}


@pytest.mark.parametrize(
    "fault",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "the SAR logic")) for name in MUTANTS],
)
def test_a_fault_in_the_logic_turns_the_chip_red(fault, tmp_path, monkeypatch):
    where, name, mutant, quantity = MUTANTS[fault]
    monkeypatch.setattr(where, name, mutant)
    x, lengths = inputs()
    loaded = random_program(ONE_LAYER, SEED, noisy=True)
    flow_emit.emit_all(loaded, x, lengths, tmp_path)
    result = batch.simulate(batch.prepare(tmp_path, "chip", quick=True), seed=SEED)
    assert not result["passed"]
    assert result["mismatches"] > 0
    assert result["first_difference"].startswith(f"layers.0.{quantity}")


def test_a_build_is_reused(built, monkeypatch):
    binary = built.folder / built.top
    before = binary.stat().st_mtime_ns
    monkeypatch.setattr(chip, "LeanVerilator", blocks.QuickVerilator)
    chip.prepare(built.folder.parent, "chip")
    assert binary.stat().st_mtime_ns == before
