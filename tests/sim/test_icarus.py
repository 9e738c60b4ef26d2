"""Designs in Icarus, from X in every register and memory: equal to golden, and nothing unknown."""

import difflib
import re
import shutil

import pytest
import torch

from gen.rtl import verilog
from golden.errors import WordlineError
from hw.loadmap import LoadMap
from sim import chip, icarus, system
from tests.helpers import FEW_ENTRIES, random_codes, random_program, small
from wordline.flow import emit as flow_emit

pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus (`iverilog`) is not installed"
)

# Every unit of a beat exists: biases of others are never loaded.
LSTM = small(
    name="lstm",
    network={"inputs": 3, "hidden": [4, 2], "classes": 3},
    array={"beat": 2, "lanes": 2},
    cell=FEW_ENTRIES,
    output={"of": "scores", "steps": "every"},
)
RNN = LSTM.replace(name="rnn", cell={"kind": "rnn", "frac": 1}, adc={"kind": "ramp"})
VOTES = LSTM.replace(
    name="votes",
    output={"of": "class", "steps": "last"},
    voting={"replay_steps": 5, "max_votes": 4},
    dac={"kind": "bit-serial"},
    adc={"kind": "flash"},
)
LENGTHS = torch.tensor([4, 1, 2, 3])


def inputs(description):
    return random_codes(description, 0, len(LENGTHS), 5, description.network.inputs), LENGTHS


def emitted(folder, description, **options):
    program = random_program(description, 0, **options)
    flow_emit.emit_all(program, *inputs(description), folder)
    return chip.emitted(folder, description.name)


def log(folder):
    return (folder / "sim.log").read_text()


@pytest.mark.parametrize(
    ("description", "options", "stall"),
    [
        (LSTM, {"on_levels": True}, 0.0),
        pytest.param(LSTM, {"noisy": True}, 0.5, marks=pytest.mark.slow),
        pytest.param(RNN, {"noisy": True}, 0.3, marks=pytest.mark.slow),
        pytest.param(VOTES, {"on_levels": True}, 0.3, marks=pytest.mark.slow),
    ],
)
def test_a_chip_is_equal_and_known(description, options, stall, tmp_path):
    found = emitted(tmp_path, description, **options)
    work = tmp_path / "icarus"
    result = icarus.simulate(
        found.sources, found.top, work, found.job, four_states=True, stall=stall
    )
    assert (result["passed"], result["mismatches"]) == (True, 0), log(work)
    assert result["values_compared"] > 100


@pytest.mark.parametrize(
    ("description", "tests"),
    [
        (LSTM, system.UNDISTURBED),
        pytest.param(LSTM, None, marks=pytest.mark.slow),
        pytest.param(VOTES, system.UNDISTURBED, marks=pytest.mark.slow),
    ],
)
def test_everything_behind_axi_is_equal_and_known(description, tests, tmp_path):
    program = random_program(description, 0, on_levels=True)
    result = system.simulate(
        *(program, *inputs(description), tmp_path), seed=1, four_states=True, tests=tests
    )
    assert result["passed"], log(tmp_path / "icarus")
    outputs = 1 if description is VOTES else description.network.classes * int(LENGTHS.sum())
    assert result["values_compared"] >= outputs


FAULTS = {
    "a register that no reset reaches": (
        *("lstm.v", r"if \(rst\) under_way <= \S+\n +else ", "X on "),
    ),
    "a bias that is not loaded": ("image.hex", r"@{bias} \w+\n", r"X in .*bias_memory"),
    "an entry that is not loaded": ("image.hex", r"@{entry} \w+\n", r"X in .*table_f"),
}


@pytest.mark.parametrize(
    "fault",
    [pytest.param(n, marks=[pytest.mark.slow] * n.startswith("an entry")) for n in FAULTS],
)
def test_an_unknown_is_found(fault, tmp_path):
    found = emitted(tmp_path, LSTM, on_levels=True)
    file, pattern, says = FAULTS[fault]
    load_map = LoadMap(LSTM)
    bias = load_map.regions["layers.1.bias"].address(gate=1, place=0, word=0)
    entry = load_map.regions["layers.0.gate_tables"].address(gate=1, index=2)
    digits = -(-load_map.address_bits // 4)
    pattern = pattern.format(bias=f"{bias:0{digits}x}", entry=f"{entry:0{digits}x}")
    text, count = re.subn(pattern, "", (tmp_path / file).read_text())
    assert count == 1
    (tmp_path / file).write_text(text)
    work = tmp_path / "icarus"
    with pytest.raises(WordlineError, match="ended without a result"):
        icarus.simulate(found.sources, found.top, work, found.job, four_states=True)
    assert re.search(says, log(work))


def test_only_what_can_be_written_starts_unknown():
    """Every register and memory, but not a ROM."""
    _, texts = verilog.verilog_files(LSTM)
    text = texts["lstm.v"] + texts["lstm_crossbar_model.v"]
    before, after = text.splitlines(), icarus.unknown_at_first(text).splitlines()
    changed = [line[2:] for line in difflib.ndiff(before, after) if line[0] in "+-"]
    kinds = {line.split()[0] for line in changed if "_word] =" not in line}
    assert kinds == {"reg", "output", "initial"}
    left = [line for line in after if re.match(r" *(initial|(output )?reg .* =) ", line)]
    assert {line.split()[1] for line in left} == {"at_start", "begin"}
