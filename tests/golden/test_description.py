import re
import warnings
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from golden import presets
from golden.description import Description
from golden.errors import WordlineError, WordlineNote
from golden.parameters import Array, Network
from hw import loadmap, timing
from tests import reference
from tests.helpers import SMALL, descriptions, small


@given(descriptions())
def test_toml_round_trip(tmp_path_factory, description):
    path = tmp_path_factory.mktemp("toml") / "d.toml"
    path.write_text(description.to_toml())
    assert Description.from_toml(path) == description
    assert Description.from_toml(path).fingerprint == description.fingerprint


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"device": {"weight_bits": 9}}, "device.weight_bits = 9 is above 8, the most"),
        ({"device": {"weight_bits": 0}}, "device.weight_bits = 0 is below 1, the least"),
        ({"device": {"weight_bits": 4.0}}, "device.weight_bits = 4.0 is not an integer"),
        ({"device": {"weight_bits": "4"}}, "device.weight_bits = '4' is not an integer"),
        ({"device": {"weight_bits": True}}, "device.weight_bits = True is not an integer"),
        ({"device": {"wieght_bits": 4}}, "device.wieght_bits is not a field.*weight_bits, cond"),
        ({"device": {"weight_bits": 8, "conductance_bits": 4}}, "raise conductance_bits to 7"),
        ({"device": {"levels": [3, 1]}}, r"device.levels = \[3, 1\] must be .* ascending"),
        ({"device": {"levels": [-1, 256]}}, "device.levels holds 256, outside -255..255"),
        ({"device": {"levels": [*range(-8, 9)]}}, "device.levels has 17 entries.*allows 16"),
        ({"device": {"levels": [1, 9]}}, "device.levels .* both sides of 0"),
        ({"device": {"levels": "even"}}, "device.levels = 'even' is not known; write 'uniform'"),
        ({"array": {"lanes": 0}}, "array.lanes = 0 is below 1"),
        ({"array": {"settle": 2}}, "array.settle = 2 is below 3"),
        (
            {"array": {"settle": 22, "pipeline": "deep"}},
            "array.pipeline = 'deep' needs array.settle >= 23, but .* = 22; raise it .* 'short'",
        ),
        ({"array": {"pipeline": "long"}}, "array.pipeline = 'long' is not known; write 'short' or"),
        ({"dac": {"bits": 9}}, "dac.bits = 9 is above 8"),
        ({"dac": {"kind": "pwm"}}, "dac.kind = 'pwm' is not known; write 'level'"),
        ({"adc": {"bits": 1}}, "adc.bits = 1 is below 2"),
        ({"cell": {"hidden_bits": 3}}, "cell.hidden_bits = 3 is below the DAC's width"),
        ({"cell": {"activation": "relu"}}, "cell.activation is not a field"),
        (
            {"cell": {"kind": "rnn", "activation": "relu"}, "dac": {"bits": 1}},
            "cell.activation = 'relu' needs .* raise dac.bits to 2, or write 'tanh'",
        ),
        ({"cell": {"state_bits": 8}}, "cell.state_bits = 8 .* raise state_bits to 10"),
        ({"cell": {"state_bits": 10, "state_index_bits": 11}}, "cell.state_index_bits = 11"),
        ({"network": {"hidden": []}}, "network.hidden has 0 values; write at least 1"),
        ({"network": {"hidden": [4, 0]}}, r"network.hidden.1 = 0 is below 1"),
        ({"name": "Großes"}, "name = 'Großes' must be lower-case"),
        ({"extra": {}}, "extra is not a field; the fields here are name, network"),
    ],
)
def test_mistakes_are_named(sections, words):
    with pytest.raises(WordlineError) as caught:
        small(**sections)
    sentence = str(caught.value)
    assert re.search(words, sentence), sentence
    assert "\n" not in sentence and sentence.endswith(".")


def test_a_missing_field_is_named():
    with pytest.raises(WordlineError, match=r"network.inputs is missing; add it"):
        Description.from_dict({**SMALL, "network": {"hidden": [5], "classes": 4}})


def test_files_that_are_no_toml(tmp_path):
    with pytest.raises(WordlineError, match="cannot be read"):
        presets.load(str(tmp_path / "absent.toml"))
    (tmp_path / "bad.toml").write_text("[network\n")
    with pytest.raises(WordlineError, match="is not valid TOML"):
        presets.load(str(tmp_path / "bad.toml"))
    with pytest.raises(WordlineError, match="Unknown preset 'vowel'; choose one of vowels"):
        presets.load("vowel")


def without_pipeline(description):
    """The fields of the format before `array.pipeline`."""
    fields = description.to_dict()
    del fields["array"]["pipeline"]
    return fields


@pytest.mark.parametrize(("settle", "pipeline"), [(3, "short"), (22, "short"), (23, "deep")])
def test_a_file_of_the_format_before_has_the_pipeline_it_meant(settle, pipeline, tmp_path):
    """A note says so where that is the deep one."""
    path = tmp_path / "before.toml"
    wanted = small(array={"settle": settle, "pipeline": pipeline})
    path.write_text(tomli_w.dumps(without_pipeline(wanted)))
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        assert Description.from_toml(path) == presets.load(str(path)).description == wanted
    if pipeline == "short":
        assert not notes
        return
    assert [note.category for note in notes] == [WordlineNote] * 2
    sentence = str(notes[0].message)
    assert sentence.startswith(f"{path}: array.pipeline is missing; it is read as 'deep', which ")
    path.write_text(wanted.to_toml())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Description.from_toml(path) == wanted


def test_a_long_settle_alone_does_not_deepen_the_pipeline():
    network = Network(inputs=3, hidden=(5,), classes=4)
    built = Description(name="small", network=network, array=Array(settle=40))
    assert built == small(array={"settle": 40})
    assert (built.array.pipeline, timing.feedback_latency(built)) == ("short", 1)
    assert timing.gate_latency(built.layers[0]) == 7
    deep = built.replace(array={"pipeline": "deep"})
    assert (timing.gate_latency(deep.layers[0]), timing.feedback_latency(deep)) == (15, 2)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_round_trip(name, tmp_path):
    path = tmp_path / f"{name}.toml"
    path.write_text(presets.load(name).to_toml())
    assert presets.load(str(path)) == presets.PRESETS[name]


def test_training_mistakes_are_named(tmp_path):
    path = tmp_path / "d.toml"
    path.write_text(presets.load("vowels").to_toml().replace("epochs = 60", "epochs = 0"))
    with pytest.raises(WordlineError, match=r"training: float_epochs = 0 is below 1"):
        presets.load(str(path))


def test_vowels_numbers():
    description = presets.load("vowels").description
    layer = description.layers[0]
    assert description.device.level_table == tuple(range(-252, 253, 36))
    assert (description.dac.range, description.adc.range) == ((-7, 7), (-8, 7))
    assert (layer.rows, layer.selects, timing.conversion_cycles(layer)) == (44, 32, 128)
    assert (layer.charge_max, layer.adc_shift) == (44 * 7 * 255, 18)


def test_level_tables():
    assert small(device={"weight_bits": 1}).device.level_table == (-255, 255)
    assert small(device={"weight_bits": 2}).device.level_table == (-255, 0, 255)
    assert small(device={"levels": [-9, 0, 1]}).device.level_table == (-9, 0, 1)
    assert len(small(device={"weight_bits": 8}).device.level_table) == 255


@given(descriptions())
def test_every_column_has_a_place_of_its_own(description):
    for shape in description.arrays.values():
        places = {
            shape.column(unit, gate) for unit in range(shape.units) for gate in range(shape.gates)
        }
        assert len(places) == shape.units * shape.gates
        assert all(s < shape.selects and lane < shape.lanes for s, lane in places)
        assert shape.lanes % timing.units_per_beat(shape) == 0
        # The gate pipeline keeps up with the ADCs.
        assert (
            shape.lanes // timing.units_per_beat(shape)
            <= timing.conversion_cycles(shape) // shape.blocks
        )


@given(
    hidden=st.integers(1, 60),
    inputs=st.integers(1, 40),
    kind=st.sampled_from(("lstm", "rnn")),
    rows=st.integers(1, 30),
    columns=st.integers(4, 80),
    lanes=st.integers(1, 9),
)
def test_tiles(hidden, inputs, kind, rows, columns, lanes):
    """Every column has one place in one crossbar, of a size that is allowed, and all crossbars of
    an array are alike."""
    description = small(
        network={"inputs": inputs, "hidden": [hidden]},
        array={"rows": rows, "columns": columns, "lanes": lanes},
        cell={"kind": kind},
    )
    shape = description.layers[0]
    macro = shape.macro
    tiles = [(tile.start, tile.stop) for tile in shape.row_tiles]
    assert tiles == reference.row_tiles(shape)
    assert [row for tile in shape.row_tiles for row in tile] == list(range(shape.rows))
    assert len(tiles) == -(-shape.rows // rows) and macro.rows <= rows
    assert macro.units * shape.gates <= columns and macro.lanes <= lanes
    assert (macro.macro, macro.macros, macro.selects) == (macro, 1, shape.selects)
    assert macro.adc_shift == shape.adc_shift
    places = set()
    for unit in range(shape.units):
        tile, number = shape.place(unit)
        lane, *wanted = reference.column_place(unit, shape)
        assert [tile, number] == wanted and number < macro.units and tile < shape.column_tiles
        places.add((tile, number))
        for gate in range(shape.gates):
            select = lane // macro.lanes, macro.column(number, gate)
            assert select == (tile, (shape.column(unit, gate)[0], lane % macro.lanes))
            assert shape.column(unit, gate)[1] == lane
    assert len(places) == shape.units


@pytest.mark.parametrize(
    ("inputs", "hidden", "rows", "tiles"),
    [
        (63, 256, 128, [63, 128, 128]),  # x and h apart
        (100, 100, 150, [100, 100]),
        (28, 128, 128, [28, 128]),
        (10, 26, 20, [18, 18]),  # apart, h alone would need two
        (300, 40, 340, [340]),
    ],
)
def test_rows_of_x_and_h_are_apart_where_that_costs_nothing(inputs, hidden, rows, tiles):
    network = {"inputs": inputs, "hidden": [hidden]}
    shape = small(network=network, array={"rows": rows}).layers[0]
    assert [len(tile) for tile in shape.row_tiles] == tiles


@pytest.mark.parametrize(
    ("dac", "adc", "samples", "period", "code_bits", "charge"),
    [
        ({}, {}, 8, 4, 4, 7),
        ({"kind": "pulse-width"}, {}, 8, 9, 4, 7),
        ({"kind": "bit-serial"}, {}, 24, 4, 7, 1),
        ({"kind": "bit-serial", "bits": 2}, {}, 8, 4, 4, 1),
        ({}, {"kind": "flash"}, 8, 3, 4, 7),
        ({}, {"kind": "ramp"}, 8, 15, 4, 7),
        ({"kind": "pulse-width", "bits": 3}, {"kind": "flash", "bits": 5}, 8, 5, 5, 3),
        ({"kind": "bit-serial", "bits": 1}, {"kind": "ramp", "bits": 2}, 8, 3, 2, 1),
    ],
)
def test_converters(dac, adc, samples, period, code_bits, charge):
    """Of 8 rows, 5 units of 4 gates on 4 lanes."""
    shape = small(dac=dac, adc=adc).layers[0]
    assert (shape.samples, timing.period(shape), shape.code_bits) == (samples, period, code_bits)
    assert timing.conversion_cycles(shape) == samples * period
    assert shape.charge_max == 8 * charge * 255


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        # Tables of terabytes, from one row per crossbar.
        (
            {
                "network": {"inputs": 4096, "hidden": [4096]},
                "array": {"rows": 1},
                "adc": {"bits": 10},
            },
            r"a gate table has 2\^27 entries, above 2\^22; raise array.rows = 1",
        ),
        (
            {"network": {"inputs": 4096, "hidden": [4096] * 3}},
            r"network.hidden = .* gives .* cells and table entries, above 268,435,456; give fewer",
        ),
    ],
)
def test_a_few_fields_cannot_ask_for_terabytes(sections, said):
    with pytest.raises(WordlineError, match=said):
        small(**sections)


def test_the_largest_layer_is_a_design():
    small(network={"inputs": 4096, "hidden": [4096], "classes": 4096})


def test_addresses_fit_an_image(monkeypatch):
    monkeypatch.setattr(loadmap, "ADDRESS_BITS", 8)
    with pytest.raises(WordlineError, match=r"the load map needs \d+ address bits, above 8; layer"):
        loadmap.LoadMap(small())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"x = {'[' * 100_000}", "larger than 65,536 bytes"),
        (f"x = {'[' * 10_000}", "nested too deeply"),
        (f"x = {'[' * 40}{']' * 40}", "nested more than 16 deep"),
        (f"x = 0x{'f' * 9_000}", "an integer has 36000 bits, above 64"),
        (f"x = {'9' * 5_000}", "is not valid TOML"),
        ('cell = {kind = ["lstm"]}', "cell.kind = .* is not known"),
        ("voting = 7", "voting = 7 is not a table; write .voting. and its fields"),
    ],
)
def test_hostile_toml(text, said, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(f'name = "own"\n{text}\n[network]\ninputs = 1\nhidden = [2]\nclasses = 2\n')
    with pytest.raises(WordlineError, match=said):
        Description.from_toml(path)


def test_a_device_is_no_file():
    with pytest.raises(WordlineError, match="is not a regular file"):
        Description.from_toml(Path("/dev/zero"))
