"""The whole chip in Verilator: stalls, reset and reload while it runs, planted faults."""

import numpy as np
import pytest
import torch

import hw.adc
import hw.lstm
from gen import image, stages, vectors
from golden import lstm, network
from hw.fixed import narrow
from hw.loadmap import LoadMap
from sim import chip
from tests.helpers import random_codes, random_program, small

DESCRIPTION = small(
    name="chip",
    network={"inputs": 5, "hidden": [6, 5], "classes": 3},
    array={"lanes": 4, "beat": 2},
)
SEQUENCES, STEPS, SEED = 24, 6, 7


def inputs():
    lengths = torch.randint(1, STEPS + 1, (SEQUENCES,), generator=torch.Generator().manual_seed(1))
    return random_codes(DESCRIPTION, 1, SEQUENCES, STEPS, 5), lengths


def prepare(folder):
    x, lengths = inputs()
    stages.emit_all(random_program(DESCRIPTION, SEED), x, lengths, folder)
    return chip.prepare(folder, "chip")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("chip"))


def log_of(built):
    return (built.folder / "sim.log").read_text()


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.9])
def test_everything_is_equal(built, stall):
    result = chip.simulate(built, seed=SEED, stall=stall)
    assert result["passed"], log_of(built)
    assert (result["mismatches"], result["sequences"]) == (0, SEQUENCES)
    x, lengths = inputs()
    steps = int(lengths.sum())
    per_step = sum(units * (4 + 1 + 1) for units in (6, 5))
    assert result["values_compared"] == steps * per_step + SEQUENCES * (3 + 1)
    labels = network.run(random_program(DESCRIPTION, SEED), x, lengths).label
    assert result["labels"] == labels.tolist()


def test_reset_and_reload_while_it_runs(built):
    x, lengths = inputs()
    other = random_program(DESCRIPTION, SEED + 1)
    image.write(built.folder / "b.hex", other)
    vectors.write(built.folder / "b.npz", vectors.make(other, x, lengths))
    assert not np.array_equal(
        np.load(built.folder / "b.npz")["label"], np.load(built.job["vectors"])["label"]
    )
    for seed, stall in ((1, 0.0), (2, 0.3)):
        job = built.job | {
            "stall": stall,
            "image_b": str(built.folder / "b.hex"),
            "vectors_b": str(built.folder / "b.npz"),
        }
        arguments = built.arguments | {"job": job}
        result = chip.run(**arguments, module="sim.bench_protocol", seed=seed)
        assert result["passed"], log_of(built)


def _used_entry():
    """The entry of gate i's table that sequence 0 reads first, for unit 0."""
    program = random_program(DESCRIPTION, SEED)
    trace = network.run(program, *inputs())
    layer = program.layers[0]
    index = lstm.pre_activation(trace.layers[0].codes[:1, 0], layer.bias, DESCRIPTION)[0, 0, 0]
    return {"gate": 0, "index": int(index)}


FAULTS = {
    "a table entry": ("layers.0.gate_tables", _used_entry, 7),
    "an entry of tanh": ("layers.1.tanh_table", lambda: {"index": 0}, 6),
    "a cell": ("layers.0.cells", lambda: {"row": 1, "select": 2, "lane": 3}, 7),
    "a bias": ("layers.1.bias", lambda: {"gate": 2, "place": 0, "word": 4}, 6),
    "a gain": ("layers.0.gains", lambda: {"gate": 1}, 9),
    "a cell of the head": ("head.cells", lambda: {"row": 2, "select": 0, "lane": 1}, 7),
    "a bias of the head": ("head.bias", lambda: {"class": 2}, 6),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_flipped_bit_turns_the_chip_red(built, fault):
    name, place, bit = FAULTS[fault]
    address = LoadMap(DESCRIPTION).regions[name].address(**place())
    words = dict(image.words(random_program(DESCRIPTION, SEED)))
    words[address] ^= 1 << bit
    path = built.folder / "faulty.hex"
    path.write_text("".join(f"@{a:x} {d:x}\n" for a, d in words.items()))
    result = chip.run(
        **built.arguments | {"job": built.job | {"image": str(path), "stall": 0.0}},
        module="sim.bench_network",
        seed=SEED,
    )
    assert not result["passed"]
    assert result["mismatches"] > 0
    # The first difference is where the fault is, and says which value, where, and both sides.
    first = result["first_difference"]
    assert first.startswith(name.split(".")[0] if "layers" in name else ("scores", "label"))
    assert "sequence" in first and "golden" in first and "RTL" in first
    if fault == "a table entry":
        assert first.startswith("layers.0.c at sequence 0, step 0, unit ")


def _stuck_bit(self, m, *, start):
    """SAR that never tries the lowest bit."""
    done, codes = ORIGINAL_SAR(self, m, start=start)
    mask = sum(1 << (lane * self.shape.description.adc.bits) for lane in range(self.shape.lanes))
    return done, codes & ~mask


def _no_carry(product, shape):
    """Gate pipeline that narrows h without rounding."""
    to = shape.description.dac.range
    return narrow(product >> shape.description.hidden_shift, 0, to)


ORIGINAL_SAR = hw.adc.SarReadout._approximate
MUTANTS = {
    "the SAR logic": (hw.adc.SarReadout, "_approximate", _stuck_bit, "codes"),
    "the gate pipeline": (hw.lstm, "_dac_code", _no_carry, "h"),
}


@pytest.mark.parametrize("fault", MUTANTS)
def test_a_fault_in_the_logic_turns_the_chip_red(fault, tmp_path, monkeypatch):
    where, name, mutant, quantity = MUTANTS[fault]
    monkeypatch.setattr(where, name, mutant)
    result = chip.run(**prepare(tmp_path).arguments, module="sim.bench_network", seed=SEED)
    assert not result["passed"]
    assert result["mismatches"] > 0
    assert result["first_difference"].startswith(f"layers.0.{quantity}")


def test_a_build_is_reused(built):
    binary = built.folder / built.top
    before = binary.stat().st_mtime_ns
    chip.prepare(built.folder.parent, "chip")
    assert binary.stat().st_mtime_ns == before
