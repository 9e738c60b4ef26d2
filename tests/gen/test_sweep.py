"""The cost model over sizes: its axes, its digital counterparts, and measured macros."""

import dataclasses
import json

import pytest
from typer.testing import CliRunner

from gen.cost import components, digital, macros, ppa, sweep, technology
from golden.errors import WordlineError
from golden.presets import PRESETS
from tests.helpers import small
from wordline.cli import commands
from wordline.flow import cost

FIGURES = components.read_figures()
TYPICAL = {name: figure.typical for name, figure in FIGURES.items()}


def test_the_figures_of_silicon_are_those_of_measured_macros():
    """Within a factor of 2: TOPS/mm2 of both, TOPS/W of the one that has it published."""
    found = macros.compared(FIGURES)
    seen = 0
    for macro in found:
        for measure, measured in macro["measured"].items():
            if measured is None:
                continue
            seen += 1
            ratio = macro["predicted"]["high"][measure] / measured
            assert 0.5 <= ratio <= 2, (macro["name"], measure)
            # Typical figures are those of architecture studies, and better than silicon.
            assert macro["predicted"]["typical"][measure] > 2 * measured
    assert seen == 3


def test_a_macro_s_counts_are_its_sizes():
    first, second = (macros.counted(macro) for macro in macros.MACROS)
    assert first.operations == 2 * 512 * 512 and second.operations == 2 * 512 * 64
    (array,) = second.arrays
    assert (array.lanes, array.rows, array.devices) == (64, 512, 2 * 512 * 512)
    # Eight conversions take one vector: its rows change once.
    assert array.bits_changed * 8 == first.arrays[0].bits_changed
    # 2-bit levels -1, 0, 1 conduct in two thirds of the pairs, in one device of two.
    codes = sum(n * n for n in range(-7, 8)) / 15 / 49
    assert first.arrays[0].reads == pytest.approx(2 * 512 * 512 * codes / 3)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("array.lanes=4,16", ("array.lanes", [4, 16])),
        ("settle = 3, 8.5", ("settle", [3, 8.5])),
        ("adc.kind='sar','ramp'", ("adc.kind", ["sar", "ramp"])),
    ],
)
def test_an_axis_is_a_field_and_its_values(text, found):
    assert sweep.read_axis(text) == found


@pytest.mark.parametrize("text", ["settle", "settle=", "settle=3;4", "=3"])
def test_an_axis_without_values_is_named(text):
    if text == "=3":
        with pytest.raises(WordlineError, match="neither a figure nor a field"):
            list(sweep.points(small(), FIGURES, dict([sweep.read_axis(text)])))
        return
    with pytest.raises(WordlineError, match="is not FIELD=VALUE,VALUE; write, for example"):
        sweep.read_axis(text)


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ({"array.lane": [4]}, "array.lane is not a field"),
        ({"lanes": [4]}, "--vary lanes: neither a figure nor a field of a description"),
        ({"name.x": [4]}, "--vary name.x: neither a figure nor a field of a description"),
        ({"array.lanes": 4}, "--vary array.lanes has 4; give a list of values"),
        ({"settle": [float("inf")]}, "--vary settle=inf is not a number above 0"),
        ({"settle": [10**400]}, "is not a number above 0"),
        ({"settle": [0]}, "--vary settle=0 is not a number above 0"),
        ({"settle": ["fast"]}, "--vary settle='fast' is not a number above 0"),
        ({"array.lanes": [0]}, "array.lanes = 0 is below 1"),
        ({"settle": range(1, 2000)}, "asks for 1,999 points; give at most 1,000"),
    ],
)
def test_mistakes_in_axes_are_named(axes, says):
    with pytest.raises(WordlineError, match=says):
        list(sweep.points(small(), FIGURES, axes))


def test_fields_that_go_together_are_set_together():
    axes = {"array.pipeline": ["deep"], "array.settle": [23]}
    (deep,) = sweep.points(small(), FIGURES, axes)
    assert deep.description.array.deep and deep.description.array.settle == 23
    axes = {"cell.gate_bits": [10], "cell.kind": ["rnn"]}
    with pytest.raises(WordlineError, match=r"cell\.gate_bits is not a field"):
        list(sweep.points(small(), FIGURES, axes))


def test_an_axis_is_given_once():
    assert sweep.read_axes(["settle=3", "adc.bits=4,5"]) == {"settle": [3], "adc.bits": [4, 5]}
    with pytest.raises(WordlineError, match="--vary settle is given twice"):
        sweep.read_axes(["settle=3", "settle=8"])


@pytest.mark.parametrize("node", [65, 32, 7])
def test_arrays_alone_take_as_long_as_with_the_rest(node):
    counts = sweep.estimated(small())
    found = sweep.sides(counts, TYPICAL, node=node)
    assert found["twin_arrays"].step_ns == pytest.approx(found["twin"].step_ns)
    assert found["arrays"].step_ns == pytest.approx(found["accelerator"].step_ns)


def test_silicon_is_of_analog_parts():
    found = sweep.values(FIGURES, "silicon")
    assert found["adc_area"] == FIGURES["adc_area"].high
    assert found["settle"] == FIGURES["settle"].high
    assert found["node_energy"] == FIGURES["node_energy"].typical
    assert set(sweep.OF_LOGIC) < set(FIGURES)
    counts = sweep.estimated(small())
    point = sweep.Point({}, small(), FIGURES)
    row = sweep.row(point, counts)
    assert row["silicon"]["twin"] == row["typical"]["twin"]
    assert row["silicon"]["arrays"]["area"] > row["typical"]["arrays"]["area"]


def test_in_memory_logic_does_the_work_of_the_design_s_bits():
    four = small(dac={"bits": 4}, device={"weight_bits": 4})
    eight = small(dac={"bits": 8}, device={"weight_bits": 8})
    energies = [
        sweep.row(sweep.Point({}, d, FIGURES), sweep.estimated(d))["typical"]["in_memory_arrays"]
        for d in (four, eight)
    ]
    assert energies[1]["energy"] == pytest.approx(4 * energies[0]["energy"])


def test_in_memory_logic_that_holds_all_weights():
    """As many macros as have room for them, if that is more than the work takes."""
    macro, counts = macros.IN_MEMORY, sweep.estimated(small())
    room = counts.work.weights * 4 / macro.capacity_bits * macro.area * 1e6
    room *= technology.scale(macro.node, ppa.NODE).area
    areas = []
    for operations in (1, 100):  # some work, and so much that more macros must be busy
        own = dataclasses.replace(counts.own, operations=operations * counts.own.operations)
        found = sweep.sides(sweep.Estimated(own, counts.work), TYPICAL)
        busy, holding = found["in_memory_arrays"], found["holding_arrays"]
        assert holding == dataclasses.replace(busy, area=max(room, busy.area))
        areas.append((holding.area, busy.area))
    assert areas[0][0] > areas[0][1] and areas[1][0] == areas[1][1]
    fewer = counts._replace(work=dataclasses.replace(counts.work, weight_bits=2))
    two = sweep.sides(fewer, TYPICAL)["holding_arrays"]
    assert two.area == pytest.approx(areas[0][0] / 2)
    assert "all weights" not in " ".join(sweep.compared("tops_per_watt"))
    # Of crossbars that are not full, the weights that there are.
    tiled = small(network={"inputs": 5, "hidden": [6]}, array={"rows": 8})
    assert sweep.work_of(tiled) == sweep.Work(4, 4, 11 * 24 + 6 * tiled.network.classes)


def test_all_combinations_are_points():
    axes = {"network.hidden": [4, 8], "settle": [3, 8]}
    found = list(sweep.points(small(), FIGURES, axes))
    assert [tuple(point.given.values()) for point in found] == [(4, 3), (4, 8), (8, 3), (8, 8)]
    assert [point.description.network.hidden for point in found] == [(4,), (4,), (8,), (8,)]
    last = found[-1].figures["settle"]
    assert (last.low, last.typical, last.high) == (8, 8, 8)
    assert FIGURES["settle"].typical == 8 and found[0].figures["settle"].typical == 3


def test_a_row_is_what_the_counts_cost():
    description = PRESETS["vowels"].description
    counts = sweep.estimated(description)
    row = sweep.row(sweep.Point({}, description, FIGURES), counts)
    whole = ppa.cost(counts.own, TYPICAL)
    assert row["typical"]["accelerator"]["tops_per_watt"] == pytest.approx(whole.tops_per_watt)
    arrays = row["typical"]["arrays"]
    assert arrays["energy"] == pytest.approx(sum(whole.energy[part] for part in sweep.ANALOG))
    assert arrays["step_ns"] == pytest.approx(whole.step_ns)
    twin = ppa.cost(counts.twin, TYPICAL)
    assert row["typical"]["twin"]["tops_per_mm2"] == pytest.approx(twin.tops_per_mm2)
    assert row["typical"]["twin_arrays"]["energy"] < row["typical"]["twin"]["energy"]
    # The measured digital arrays do what ours do, in as many steps, at 22 nm taken to 32.
    found = row["typical"]["in_memory_arrays"]
    assert found["tops_per_watt"] < macros.IN_MEMORY.tops_per_watt
    both = row["typical"]["in_memory"]["area"] - found["area"]
    assert both == pytest.approx(row["typical"]["accelerator"]["area"] - arrays["area"])
    assert row["weights"] == 44 * 128 + 32 * 9
    ratio = sweep.ratio(row, "accelerator / twin", "tops_per_watt", "typical")
    assert ratio == pytest.approx(whole.tops_per_watt / twin.tops_per_watt)


def test_a_slower_column_changes_time_alone():
    counts = sweep.estimated(small(), twins=False)
    slow, fast = (sweep.sides(counts, TYPICAL | {"settle": ns}) for ns in (15, 3))
    assert "twin" not in slow
    assert slow["arrays"].area == fast["arrays"].area
    assert slow["accelerator"].step_ns > fast["accelerator"].step_ns


def test_stationary_arrays_are_the_most_that_logic_can_do():
    """One cycle a vector, whatever the size; weights are not read."""
    for hidden in (8, 16):
        description = PRESETS["vowels"].description.replace(network={"hidden": [hidden]})
        counted = digital.estimate(description)
        found = digital.stationary(description, counted)
        assert found.cycles == 1 and all(memory.reads == 0 for memory in found.memories)
        # Weights take the 5 bits of -8 to 7 that conductances of 4 bits leave.
        bits = sum(memory.shape.bits for memory in found.memories)
        assert bits % ((12 + hidden) * 4 * hidden + hidden * 9) == 0
        twin_ = ppa.cost(counted, TYPICAL)
        cost_ = ppa.cost(found, TYPICAL)
        assert cost_.tops_per_mm2 > twin_.tops_per_mm2
        assert cost_.tops_per_watt > twin_.tops_per_watt


def test_estimates_as_a_library_and_as_a_command(tmp_path):
    recipe = PRESETS["vowels"]
    axes = {"array.lanes": [2, 4]}
    found = cost.estimate(recipe, tmp_path, vary=axes, node=28)
    assert json.loads(found.path.read_text()) == json.loads(json.dumps(found.found))
    assert [row["given"] for row in found.found["rows"]] == [{"array.lanes": n} for n in (2, 4)]
    run = CliRunner().invoke(
        commands.app,
        [
            *("ppa", "vowels", "--model", "--vary", "array.lanes=2,4", "--node", "28"),
            *("--build-dir", str(tmp_path / "other")),
        ],
    )
    assert run.exit_code == 0, run.output
    assert "figures of silicon" in run.output and "model.json" in run.output
    # The layer's crossbar and the head's, not the rows and columns of an array in several.
    assert "2 of up to" in run.output and "44 x 128" in run.output
    other = json.loads((tmp_path / "other" / "vowels" / "ppa" / "model.json").read_text())
    assert other["rows"] == found.found["rows"]
    for words, says in (
        (("--vary", "settle=3"), "--vary is for estimates; give --model too"),
        (("--model", "--sequences", "3"), "--sequences is for counts in gates, not --model"),
        (("--model", "--data-dir", "x"), "--data-dir is for counts in gates, not --model"),
    ):
        run = CliRunner().invoke(commands.app, ["ppa", "vowels", *words])
        assert says in str(run.exception or run.output)
