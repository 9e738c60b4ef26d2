"""What a network needs, counted by hand; and the command that says so."""

import pytest
import torch
from torch import nn

from gen.cost import resources
from golden import presets
from hw.network import Accelerator
from tests.helpers import small
from tests.wordline.test_cli import complaint, here


def test_one_crossbar_each():
    layer, head = resources.needs(presets.PRESETS["vowels"].description)
    assert (layer.crossbars, layer.size, layer.cells, layer.used) == ((1, 1), (44, 128), 5632, 5632)
    assert (head.crossbars, head.size, head.cells, head.used) == ((1, 1), (32, 12), 384, 288)
    assert (layer.adcs, head.adcs, layer.code_bits) == (4, 4, 4)
    assert (layer.conversion_cycles, layer.cycles) == (128, 140)
    # Four tables of 256 entries of 9 bits, one of 256 of 8; 128 biases of 8 bits; 32 c of 12.
    assert layer.memory_bits == 4 * 256 * 9 + 256 * 8 + 128 * 8 + 32 * 12
    assert head.memory_bits == 9 * 8


def test_without_a_head(tmp_path):
    """What counts are the layers, the last one too."""
    (tmp_path / "own.toml").write_text(
        'name = "own"\nnetwork = {inputs = 3, hidden = [4, 60], classes = 0}\n'
        'output = {of = "state"}\n'
    )
    first, second = resources.needs(presets.load(str(tmp_path / "own.toml")).description)
    assert (first.name, second.name) == ("layers.0", "layers.1")
    done = here("fit", "own.toml", folder=tmp_path)
    (line,) = [line for line in done.stdout.splitlines() if "ADC cycles a step" in line]
    assert line.split("│")[-2].strip() == str(second.conversion_cycles) == "240"
    assert here("describe", "own.toml", folder=tmp_path).returncode == 0


def test_many_crossbars():
    description = presets.PRESETS["kjv-char-deep"].description
    first, second, head = resources.needs(description)
    assert (first.crossbars, second.crossbars, head.crossbars) == ((3, 8), (4, 8), (2, 1))
    assert first.size == second.size == (128, 128)
    assert (first.used, second.used, head.used) == (319 * 1024, 512 * 1024, 256 * 63)
    assert second.cells == 32 * 128 * 128
    assert (first.adcs, second.adcs, head.adcs) == (24, 32, 2)
    assert (first.code_bits, second.code_bits, head.code_bits) == (6, 6, 5)
    assert max(a.cycles for a in (first, second, head)) == Accelerator(description).cycles_per_step


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_step_costs_little_more_than_its_conversions(name):
    *layers, _ = resources.needs(presets.PRESETS[name].description)
    for layer in layers:
        # What is not the ADCs' is spent once a step, however long that is.
        assert layer.cycles <= layer.conversion_cycles + 21


def test_comparators_and_what_bounds_a_step():
    design = small(
        network={"inputs": 12, "hidden": [64], "classes": 9},
        array={"lanes": 8, "rows": 128, "columns": 64},
        adc={"kind": "flash", "bits": 5},
    )
    layer, head = resources.needs(design)
    assert (layer.crossbars, layer.adcs, head.adcs) == ((1, 4), 32, 8)
    assert layer.comparators + head.comparators == 40 * 31 == 1240
    assert layer.bound == f"ADCs 24, gates and h back to the rows {layer.cycles - 24}"
    assert (head.cycles, head.bound) == (9, "scores, one a cycle")
    slow = small(network={"inputs": 4000, "hidden": [2]}, array={"beat": 1})
    assert resources.needs(slow)[0].bound == "input: 4000 beats"


def test_fit_of_a_design_and_of_a_model(tmp_path):
    done = here("fit", "vowels", "--rows", 32, "--columns", 64, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 x 2" in done.stdout and "1 x 1" in done.stdout
    rnn = nn.RNN(7, 20, num_layers=2)
    tensors = {f"rnn.{name}": value for name, value in rnn.state_dict().items()}
    tensors |= {f"out.{name}": value for name, value in nn.Linear(20, 3).state_dict().items()}
    torch.save(tensors, tmp_path / "mine.pt")
    done = here("fit", "mine.pt", "--rows", 20, "--lanes", 2, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "layers.1" in done.stdout and "20 x 20" in done.stdout


def test_mistakes_are_named(tmp_path):
    done = here("fit", "vowels", "--columns", 3, folder=tmp_path)
    assert "array.columns = 3 has no room for the 4 gates of a unit; raise it to 4" in complaint(
        done
    )
    done = here("fit", "vowels", "--design", "vowels", folder=tmp_path)
    assert "--design is for a model's file, and vowels is a whole design" in complaint(done)


def test_lanes_are_those_of_a_crossbar():
    description = small(network={"hidden": [16]}, array={"columns": 16, "lanes": 3})
    (layer, _) = resources.needs(description)
    assert layer.crossbars[1] * 3 == layer.adcs
