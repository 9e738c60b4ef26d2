"""Designs in CXXRTL, whose Verilog front end is Yosys': the same numbers as golden's."""

import re

import pytest
import torch

from gen.impl import tools
from golden import faults, network
from hw import timing
from hw.loadmap import LoadMap
from sim import chip, cxxrtl
from tests.gen.test_synth import TINY
from tests.helpers import random_codes, random_program
from tests.sim.test_icarus import LENGTHS, LSTM, RNN, VOTES, emitted, inputs
from wordline.flow import emit as flow_emit

pytestmark = [
    pytest.mark.slow,  # g++ takes half a minute for each
    pytest.mark.skipif(not tools.has_yosys(), reason="Yosys (pyosys) is not installed"),
]


@pytest.mark.parametrize(
    ("description", "options", "stall"),
    [
        (LSTM, {"noisy": True}, 0.0),
        (RNN, {"on_levels": True}, 0.3),
        (VOTES, {"noisy": True}, 0.5),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_chip_is_equal(description, options, stall, tmp_path):
    found = emitted(tmp_path, description, **options)
    work = tmp_path / "cxxrtl"
    result = cxxrtl.simulate(found.sources, found.top, work, found.job, stall=stall, seed=1)
    assert (result["passed"], result["mismatches"]) == (True, 0), result["first_difference"]
    steps = int(LENGTHS.sum())
    per_step = sum(
        layer.units * (layer.gates + 1 + (description.cell.kind == "lstm"))
        for layer in description.layers
    )
    assert result["values_compared"] > steps * per_step


@pytest.mark.parametrize("description", [LSTM, VOTES], ids=lambda value: value.name)
def test_everything_behind_axi_is_equal(description, tmp_path):
    program = random_program(description, 0, on_levels=True)
    result = cxxrtl.simulate_axi(program, *inputs(description), tmp_path, stall=0.3, seed=1)
    outputs = len(LENGTHS) if description is VOTES else 3 * int(LENGTHS.sum())
    assert result == {"passed": True, "values_compared": outputs}


class Flipper:
    """Flips a bit of a layer's c after some beats of its trace."""

    def __init__(self, model, layer, flips):
        self.valid = model.signal(layer, "gates", "trace_valid")
        self.state = model.signal(layer, "gates", "state")
        self.flips, self.beats, self.now = flips, 0, []
        model.agents.append(self)

    def before(self):
        for place in self.now:
            self.state.flip(*place)
        self.now = []

    def after(self):
        if self.valid.get():
            self.now = self.flips.pop(self.beats, [])
            self.beats += 1


def test_a_bit_of_c_that_flips_costs_what_golden_says(tmp_path):
    """In the memory of c, between two steps of each sequence."""
    of = {"output": {"steps": "last"}, "network": {"hidden": [4]}, "name": "flips"}
    description = LSTM.replace(**of)
    program = random_program(description, 3)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 6, (24,), generator=generator)
    x = random_codes(description, 0, len(lengths), 5, description.network.inputs)
    flips = faults.Flips.draw(program, "c", lengths, generator)
    flow_emit.emit_all(program, x, lengths, tmp_path)
    found = chip.emitted(tmp_path, description.name)

    places = timing.units_per_beat(description.layers[0])
    words, bits = description.layers[0].units // places, description.cell.state_bits
    begins = lengths.cumsum(0) - lengths
    beats = {}
    for begin, step, unit, bit in zip(begins, flips.step, flips.unit, flips.bit, strict=True):
        word, place = divmod(int(unit), places)
        beat = int(begin + step) * words + word
        beats[beat] = [(word, place * bits + int(bit))]
    result = cxxrtl.simulate(
        *(found.sources, found.top, tmp_path / "cxxrtl", found.job),
        watched=lambda model: Flipper(model, "layer_0", beats),
    )
    wanted = faults.scores_with_flips(program, x, lengths, flips)
    assert result["output"] == wanted.tolist()
    clean = network.scores(program, x, lengths)[:, 0]
    assert result["golden_output"] == clean.tolist() and not torch.equal(wanted, clean)
    assert not beats  # each was flipped


def test_a_fault_is_found(tmp_path):
    """The sign of a bias, which a word of the image has wrong."""
    found = emitted(tmp_path, TINY, on_levels=True)
    place = LoadMap(TINY).regions["layers.0.bias"].address(gate=0, place=0, word=1)
    image = tmp_path / "image.hex"
    pattern = rf"(?m)^(@0*{place:x} 0*)(\w)$"
    text, count = re.subn(pattern, lambda m: f"{m[1]}{int(m[2], 16) ^ 4:x}", image.read_text())
    assert count == 1
    image.write_text(text)
    result = cxxrtl.simulate(found.sources, found.top, tmp_path / "cxxrtl", found.job)
    assert not result["passed"]
    assert result["first_difference"].startswith("layers.0.h at sequence 0, pass 0, step 0, unit 1")
