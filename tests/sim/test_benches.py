"""The blocks' cocotb benches in Verilator, each alone: sim/benches/bench_<block>.py."""

from pathlib import Path

import pytest

from golden.description import Description
from golden.errors import WordlineError
from sim import block_vectors, blocks
from tests.helpers import FEW_ENTRIES, thorough

DESCRIPTIONS = {
    # Nothing is a multiple of anything: the last block of units is partly filled, the last beat
    # of x partly padding.
    "odd": {
        "network": {"inputs": 3, "hidden": [5], "classes": 4},
        "array": {"lanes": 2, "beat": 2},
        "cell": FEW_ENTRIES,
    },
    # The narrowest converters and label, and a sample that settles for longer than it converts.
    "narrow": {
        "network": {"inputs": 4, "hidden": [7], "classes": 2},
        "array": {"lanes": 3, "beat": 3, "settle": 5},
        "dac": {"bits": 1},
        "adc": {"bits": 3},
        "device": {"weight_bits": 1},
        "cell": FEW_ENTRIES,
    },
    # Lanes enough for two units in each beat of h, the last beat half filled.
    "wide": {
        "network": {"inputs": 4, "hidden": [15], "classes": 2},
        "array": {"lanes": 14},
        "adc": {"bits": 3},
        "device": {"conductance_bits": 3},
        "cell": FEW_ENTRIES,
    },
    # Vanilla cells, two in each beat of h; the head's codes come faster than they are taken; votes
    # of up to five, on the longest sequences.
    "vanilla": {
        "network": {"inputs": 3, "hidden": [7], "classes": 7},
        "array": {"lanes": 6, "beat": 2, "settle": 4},
        "cell": {"kind": "rnn", "frac": 1},
        "voting": {"replay_steps": block_vectors.STEPS, "max_votes": 5},
    },
    # The deep pipeline; so little charge, and so many bits, that what is rounded wrong shows in a
    # code; a number of votes that just fits the sums.
    "slow": {
        "network": {"inputs": 3, "hidden": [5], "classes": 5},
        "array": {"lanes": 2, "settle": 23, "pipeline": "deep"},
        "device": {"conductance_bits": 3},
        "dac": {"bits": 2},
        "adc": {"bits": 6},
        "cell": {"kind": "rnn", "frac": 1},
        "voting": {"replay_steps": 4, "max_votes": 4},
    },
    # A sample that settles for as long, with the short pipeline.
    "patient": {
        "network": {"inputs": 3, "hidden": [5], "classes": 2},
        "array": {"lanes": 2, "beat": 2, "settle": 40, "pipeline": "short"},
        "cell": {"kind": "rnn", "frac": 1},
    },
    # An LSTM with the deep pipeline, its products of as many bits as there can be.
    "deep": {
        "network": {"inputs": 3, "hidden": [5], "classes": 2},
        "array": {"lanes": 2, "settle": 23, "pipeline": "deep"},
        "cell": {"gate_bits": 12, "state_bits": 20, "state_index_bits": 4},
    },
    # Scores of every step leave, more slowly than h comes.
    "scores": {
        "network": {"inputs": 3, "hidden": [3], "classes": 7},
        "array": {"lanes": 2, "beat": 2},
        "output": {"of": "scores", "steps": "every"},
        "cell": FEW_ENTRIES,
    },
    # The class of every step, at settle = bits.
    "steps": {
        "network": {"inputs": 3, "hidden": [6], "classes": 5},
        "array": {"lanes": 5, "settle": 4},
        "output": {"steps": "every"},
        "cell": FEW_ENTRIES,
    },
    # Row and column tiles, planes of bits, comparators for all codes.
    "tiles": {
        "network": {"inputs": 3, "hidden": [5], "classes": 3},
        "array": {"rows": 3, "columns": 12, "lanes": 2},
        "dac": {"bits": 3, "kind": "bit-serial"},
        "adc": {"bits": 3, "kind": "flash"},
        "cell": FEW_ENTRIES | {"frac": 0},
    },
    # Pulses, and a ramp, with the deep pipeline.
    "pulses": {
        "network": {"inputs": 3, "hidden": [5], "classes": 3},
        "array": {"rows": 4, "lanes": 2, "settle": 23, "pipeline": "deep"},
        "dac": {"bits": 3, "kind": "pulse-width"},
        "adc": {"bits": 3, "kind": "ramp"},
        "cell": {"kind": "rnn", "frac": 1},
    },
    # One of everything.
    "least": {
        "network": {"inputs": 1, "hidden": [1], "classes": 2},
        "cell": {"kind": "rnn", "frac": 1},
        "voting": {"replay_steps": 1, "max_votes": 2},
    },
}

BENCHES = {
    "dac": ["narrow", "wide", "slow", "patient"],
    "adc": ["odd", "narrow", "tiles", "pulses", "patient"],
    "crossbar": ["odd", "narrow", "vanilla", "slow", "patient"],  # settle = 3, 5, 4, 23, 40
    "gates": ["odd", "narrow", "wide", "vanilla", "deep"],
    "layer": ["odd", "narrow", "vanilla", "tiles", "pulses"],
    "head": ["odd", "narrow", "vanilla", "least", "scores", "steps", "tiles", "slow"],
    "replay": ["vanilla", "slow", "least"],
    "voter": ["vanilla", "slow", "least"],
}


def description(name: str) -> Description:
    return Description.from_dict({"name": name} | DESCRIPTIONS[name])


QUICK = {
    "dac": ["narrow"],
    "adc": ["odd"],
    "crossbar": ["odd"],
    "gates": ["vanilla", "deep"],
    "layer": ["odd"],
    "head": ["scores"],
    "replay": ["vanilla"],
    "voter": ["slow"],
}
"""Of these, those of `make test`: every test of every bench, with few and odd sizes."""


@pytest.mark.parametrize(
    ("block", "name"),
    [
        pytest.param(block, name, marks=[pytest.mark.slow] * (name not in QUICK[block]))
        for block, names in BENCHES.items()
        for name in names
    ],
)
def test_block(block: str, name: str, tmp_path: Path) -> None:
    sequences = block_vectors.SEQUENCES if thorough() else block_vectors.SEQUENCES // 2
    result = blocks.simulate(block, description(name), tmp_path, seed=1, sequences=sequences)
    assert result["passed"], (tmp_path / "sim.log").read_text()
    assert result["values_compared"] > 0


def test_every_block_has_a_bench() -> None:
    assert BENCHES.keys() == QUICK.keys() == blocks.BLOCKS.keys()


def test_a_block_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(WordlineError, match="block 'lstm'; choose one of dac, adc, crossbar"):
        blocks.simulate("lstm", description("odd"), tmp_path)
