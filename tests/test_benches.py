"""The blocks' cocotb benches in Verilator, each alone: sim/bench_<block>.py."""

from pathlib import Path

import pytest

from golden.description import Description
from golden.errors import WordlineError
from sim import blocks

DESCRIPTIONS = {
    # Nothing is a multiple of anything: the last block of units is partly filled, the last beat
    # of x partly padding.
    "odd": {
        "network": {"inputs": 3, "hidden": [5], "classes": 4},
        "array": {"lanes": 2, "beat": 2},
    },
    # The narrowest converters and label, and a sample that settles for longer than it converts.
    "narrow": {
        "network": {"inputs": 4, "hidden": [7], "classes": 2},
        "array": {"lanes": 3, "beat": 3, "settle": 5},
        "dac": {"bits": 1},
        "adc": {"bits": 3},
        "device": {"weight_bits": 1},
    },
    # Lanes enough for two units in each beat of h, the last beat half filled, and for codes that
    # come faster than they are taken.
    "wide": {
        "network": {"inputs": 4, "hidden": [15], "classes": 14},
        "array": {"lanes": 14},
        "adc": {"bits": 3},
        "device": {"conductance_bits": 3},
    },
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all builds, which share Verilator's run time."""
    return tmp_path_factory.mktemp("blocks")


def run(block: str, name: str, folder: Path, seed: int = 1) -> None:
    description = Description.from_dict({"name": name} | DESCRIPTIONS[name])
    result = blocks.simulate(block, description, folder, seed=seed)
    assert result["passed"], (folder / "sim.log").read_text()
    assert result["values_compared"] > 0


@pytest.mark.parametrize("name", ["odd", "narrow"])
@pytest.mark.parametrize("block", blocks.BLOCKS)
def test_block(block: str, name: str, folder: Path) -> None:
    run(block, name, folder)


@pytest.mark.parametrize("block", ["dac", "lstm", "layer", "head"])
def test_block_with_two_units_a_beat(block: str, folder: Path) -> None:
    run(block, "wide", folder)


def test_a_block_that_there_is_not(folder: Path) -> None:
    with pytest.raises(WordlineError, match="no block 'gates'; give one of dac, adc, crossbar"):
        run("gates", "odd", folder)
