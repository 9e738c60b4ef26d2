"""Energy and area: what is counted, what it costs, and what is said of it."""

import dataclasses
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from rich.console import Console

from gen.cost import (
    activity,
    components,
    counts,
    digital,
    energy,
    model,
    ppa,
    summary,
    technology,
    twin,
)
from gen.impl import memories
from golden import network
from golden.errors import WordlineError
from golden.presets import PRESETS
from hw import timing
from tests.gen.test_synth import OSU, TINY, needs_tools
from tests.helpers import random_codes, random_program, small
from wordline.flow import measure as runs
from wordline.flow.calibrate import costs

VCD = """\
$timescale 1ps $end
$scope module top $end
$var wire 1 ! aclk $end
$var wire 2 " d [1:0] $end
$var wire 1 # \\a.b[3] $end
$var wire 1 ! same $end
$scope module \\table $end
$var wire 1 $ read_en $end
$upscope $end
$upscope $end
$scope module other $end
$var wire 1 % d $end
$upscope $end
$enddefinitions $end
#10
$dumpvars
0!
b1x "
1#
0$
1%
$end
#15
1!
b1 "
#20
0!
1$
#25
1!
0#
0%
#30
0!
b10 "
0$
#40
$dumpoff
x!
#50
1!
"""


def test_what_nets_did(tmp_path):
    path = tmp_path / "nets.vcd"
    path.write_text(VCD)
    found = activity.read(path, "top")
    assert found.duration == 30
    assert found.changes == {
        **{"aclk": 4, "same": 4, "d[1]": 2, "d[0]": 2, "a.b[3]": 1, "table/read_en": 2}
    }
    assert found.high == {
        **{"aclk": 10, "same": 10, "d[1]": 15, "d[0]": 15, "a.b[3]": 15, "table/read_en": 10}
    }


def test_nodes_are_as_published():
    # The corrigendum's example: 1 pJ at 65 nm and 1.3 V is 0.1755 pJ at 32 nm and 0.9 V.
    ratio = technology.node_energy(32, 0.9) / technology.node_energy(65, 1.3)
    assert ratio == pytest.approx(0.1755, abs=1e-4)
    assert technology.scale(180, 32).area == 0.025
    figures = components.read_figures()
    for name in ("energy", "area"):
        published = getattr(technology.scale(ppa.CELLS_NODE, ppa.NODE), name)
        assert figures[f"node_{name}"].typical == pytest.approx(published, rel=0.01)
    same = technology.scale(28, 28)
    assert (same.energy, same.delay, same.area) == (1, 1, 1)
    between = [technology.scale(180, node).area for node in (32, 28, 22, 20)]
    assert between == sorted(between, reverse=True)
    with pytest.raises(ValueError, match="5 nm"):
        technology.scale(180, 5)


def test_the_twin_is_the_same_network():
    for seed in range(5):
        program = random_program(small(device={"conductance_bits": 6}), seed, noisy=True)
        spacing = 63 // 7
        whole = dataclasses.replace(
            program,
            layers=tuple(
                dataclasses.replace(
                    layer,
                    positive=layer.positive // 9 * spacing,
                    negative=layer.negative // 9 * spacing,
                )
                for layer in program.layers
            ),
        )
        both = twin.twin(whole)
        for layer, own in zip(whole.layers, both.layers, strict=True):
            weight = layer.positive - layer.negative
            assert torch.equal((own.positive - own.negative) * spacing, weight)
            assert int(own.positive.max()) <= 7 and not own.read_noise.any()
        x = random_codes(both.description, seed, 2, 4, both.description.network.inputs)
        network.run(both, x, torch.tensor([4, 3]))  # is a program that runs
    with pytest.raises(WordlineError, match=r"device\.levels"):
        twin.check(PRESETS["vowels-levels"].description)
    with pytest.raises(WordlineError, match=r"pulse-width.*--no-twin"):
        twin.check(small(dac={"kind": "pulse-width"}))


@pytest.mark.parametrize(("bits", "settle", "pipeline"), [(5, 3, "short"), (6, 30, "deep")])
def test_the_twin_has_the_pipeline_of_its_design(bits, settle, pipeline):
    """Of a ramp, in all of whose conversion the twin can compute."""
    array = {"settle": settle, "pipeline": pipeline}
    description = small(array=array, adc={"kind": "ramp", "bits": bits})
    other = twin.twin_description(description)
    assert other.array.settle == 2**bits - 1
    for own, shape in zip(other.layers, description.layers, strict=True):
        assert (
            timing.gate_latency(own)
            == timing.gate_latency(shape)
            == (15 if pipeline == "deep" else 7)
        )
        assert timing.period(own) == timing.period(shape)


MISTAKES = {
    "a figure that is none": ("[adc_energy]", "[adc_enrgy]", "adc_enrgy"),
    "values out of order": ("low = 0.226", "low = 2.26", "must ascend"),
    "no number": ("low = 0.226", "low = true", "adc_energy.low"),
    "not above 0": ("low = 0.226", "low = 0", "adc_energy.low"),
    "a key that is none": ("typical = 0.575\n", "mean = 0.575\n", "adc_energy"),
    "another unit": ('unit = "pJ', 'unit = "fJ', "convert the values"),
    "no TOML": ("[adc_energy]", "[adc_energy", "not valid TOML"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_figures(mistake, tmp_path):
    before, after, says = MISTAKES[mistake]
    text = components.COMPONENTS.read_text()
    assert before in text
    path = tmp_path / "figures.toml"
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(WordlineError, match=says) as raised:
        components.read_figures(path)
    assert str(path) in str(raised.value)


def test_figures_that_are_not_given_are_ours(tmp_path):
    path = tmp_path / "figures.toml"
    with pytest.raises(WordlineError, match="cannot be read"):
        components.read_figures(path)
    path.write_text("[adc_energy]\nlow = 0.2\ntypical = 0.3\n")
    found, ours = components.read_figures(path), components.read_figures()
    own = dataclasses.replace(ours["adc_energy"], low=0.2, typical=0.3)
    assert found == ours | {"adc_energy": own}
    path.write_text(components.template())
    assert components.read_figures(path) == ours


ANALOG = counts.Counted(
    **{"steps": 10, "operations": 2000, "cycles": 400.0, "period_ns": 10.0, "adc_bits": 4},
    **{"period_cycles": 4, "adc_kind": "sar"},
    **{"energy": {"gates": 100.0}, "area": {"gates": 1000.0}},
    memories=[counts.Memory("table", memories.Shape(64, 8, 2), 30.0, 10.0)],
    arrays=[counts.Array("macro", 4, 5, 4, 80, 40.0, 60.0, 100.0)],
)
DIGITAL = dataclasses.replace(ANALOG, arrays=[], energy={"gates": 100.0, "macro": 5000.0})


def test_a_cost_is_the_sum_of_its_parts():
    figures = components.read_figures()
    v = {name: figure.typical for name, figure in figures.items()}
    cost = ppa.cost(ANALOG, v)
    assert cost.energy == pytest.approx(
        {
            "gates": 10 * v["node_energy"] * v["digital_overhead"],
            "memories": 4 * 8 * v["memory_energy"],
            "ADCs": 4 * v["adc_energy"],
            "front ends": 4 * v["front_end_energy"],
            "DACs": 6 * v["dac_energy"],
            "cells": 10 * v["cell_power"] * v["settle"] * 1e-6,
        }
    )
    assert cost.area == pytest.approx(
        {
            "gates": 1000 * v["node_area"] * v["utilisation"],
            "memories": 64 * 8 * 2 * v["memory_area"],
            "ADCs": 4 * v["adc_area"],
            "front ends": 4 * v["front_end_area"],
            "DACs": 5 * v["row_area"],
            "cells": 80 * v["cell_area"],
        }
    )
    # A column settles in more than four cycles, which a digital array does not wait for.
    cycle = 10 * technology.scale(180, 32).delay
    assert v["settle"] > 4 * cycle
    assert cost.step_ns == pytest.approx(10 * v["settle"])
    assert ppa.cost(DIGITAL, v).step_ns == pytest.approx(40 * cycle)
    # A conversion goes on while the next column settles; a slow one sets the pace.
    slow = ppa.cost(ANALOG, v | {"adc_time": 5.0})
    assert slow.step_ns == pytest.approx(10 * 4 * 5.0)
    assert slow.energy == cost.energy
    # With the time of a long pulse or a deep pipeline, another bit costs none.
    long = ppa.cost(dataclasses.replace(ANALOG, period_cycles=23), v, adc_bits=6)
    assert long.step_ns == ppa.cost(dataclasses.replace(ANALOG, period_cycles=23), v).step_ns
    most = json.loads(json.dumps(ppa.report(figures, dataclasses.replace(ANALOG, adc_bits=10))))
    assert 0 < most["next_adc_bit"]["tops_per_watt"] < 1
    more = ppa.cost(ANALOG, v, adc_bits=6)
    growth = v["adc_energy_growth"] ** 2
    assert more.energy["ADCs"] == pytest.approx(cost.energy["ADCs"] * growth)
    assert more.area["ADCs"] == pytest.approx(cost.area["ADCs"] * v["adc_area_growth"] ** 2)
    assert cost.tops_per_watt == pytest.approx(200 / sum(cost.energy.values()))
    assert cost.tops_per_mm2 == pytest.approx(2e5 / cost.step_ns / sum(cost.area.values()))


def test_converters_cost_what_their_kind_does():
    """Flash and ramp ADCs by their comparators: 15 thresholds for 4 bits, 31 for 5."""
    v = {name: figure.typical for name, figure in components.read_figures().items()}
    sar = ppa.cost(ANALOG, v)
    flash, ramp = (
        ppa.cost(dataclasses.replace(ANALOG, adc_kind=kind), v) for kind in ("flash", "ramp")
    )
    assert flash.energy["ADCs"] == pytest.approx(4 * 15 * v["comparator_energy"])
    assert flash.area["ADCs"] == pytest.approx(4 * 15 * v["comparator_area"])
    # 40 conversions in 10 steps, 4 lanes at a time: a reference works once a step.
    assert ramp.energy["ADCs"] == pytest.approx(4 * 15 * v["comparator_energy"] + v["adc_energy"])
    assert ramp.area["ADCs"] == pytest.approx(4 * v["comparator_area"] + v["adc_area"])
    for cost in (flash, ramp):
        assert {**cost.energy, "ADCs": 0} == {**sar.energy, "ADCs": 0}
    more = ppa.cost(dataclasses.replace(ANALOG, adc_kind="flash"), v, adc_bits=5)
    assert more.area["ADCs"] == pytest.approx(flash.area["ADCs"] * 31 / 15)
    assert more.step_ns == flash.step_ns  # a flash ADC takes a cycle, whatever its bits


def test_a_kind_of_dac_that_the_model_has_not_seen_is_named():
    of = dataclasses.replace(model.model(), changed={"level": 0.3})
    with pytest.raises(WordlineError, match="no DAC of kind 'bit-serial'; choose one of level, or"):
        model.estimate(small(dac={"kind": "bit-serial"}), of=of)


@pytest.mark.parametrize("kind", ["level", "bit-serial", "pulse-width"])
def test_codes_come_to_the_rows_as_often_as_their_dac_puts_them_there(kind):
    """A level once a step; pulses, and the bits of a plane, with each sample of the lanes."""
    found = {}
    for lanes, bits in ((2, 4), (4, 4), (4, 6)):
        description = small(
            dac={"kind": kind, "bits": bits}, network={"hidden": [8]}, array={"lanes": lanes}
        )
        array = model.estimate(description).arrays[0]
        found[lanes, bits] = array.bits_changed / array.row_bits, array.reads
    times = 1 if kind == "level" else 2  # two lanes have twice the selects of four
    assert found[2, 4][0] == pytest.approx(times * found[4, 4][0])
    assert found[2, 4][1] == pytest.approx(found[4, 4][1])
    planes = 5 / 3 if kind == "bit-serial" else 1
    assert found[4, 6][0] == pytest.approx(planes * found[4, 4][0])
    assert found[4, 6][1] == pytest.approx(planes * found[4, 4][1])


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_the_ends_of_a_range_are_ends_of_all_choices_for_adcs(bits):
    """Growth counts from 4 bits on, up and down."""
    figures, counted = components.read_figures(), model.estimate(small(adc={"bits": bits}))
    whole = ppa.over_figures(figures, lambda v: ppa.cost(counted, v).tops_per_watt)
    found = model.ranges(counted, figures)["TOPS/W"]
    assert (found.low, found.high) == (pytest.approx(whole.low), pytest.approx(whole.high))


def test_another_node():
    figures = components.read_figures()
    assert components.at_node(figures, 32) == figures
    for node, way in ((65, 1), (7, -1)):
        found = components.at_node(figures, node)
        step = technology.scale(32, node)
        assert (step.area - 1) * way > 0
        assert found["memory_area"].typical == figures["memory_area"].typical * step.area
        adc, own = found["adc_area"], figures["adc_area"]
        assert adc.typical == pytest.approx(own.typical * step.area**0.5)
        fixed, moved = ("low", "high") if way > 0 else ("high", "low")
        assert getattr(adc, fixed) == getattr(own, fixed)
        assert getattr(adc, moved) == getattr(own, moved) * step.area
        assert all(f.low <= f.typical <= f.high for f in found.values())
        assert found["node_area"].typical == pytest.approx(technology.scale(180, node).area)
        assert found["settle"] == figures["settle"]
    with pytest.raises(WordlineError, match="--node"):
        components.at_node(figures, 5)


def test_a_report_without_a_twin():
    found = json.loads(json.dumps({"name": "x"} | ppa.report(components.read_figures(), ANALOG)))
    assert "digital" not in found and "ratio" not in found
    assert found["analog"]["tops_per_watt"]["one_at_a_time"]
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    for table in summary.tables(found):
        console.print(table)
    said = console.export_text() + summary.sentence(found)
    assert "digital" not in said and "TOPS/W" in said


def test_a_range_is_of_all_choices():
    figures = components.read_figures()
    found = json.loads(json.dumps({"name": "x"} | ppa.report(figures, ANALOG, DIGITAL)))
    for measure in ppa.MEASURES:
        ratio = found["ratio"][measure]
        assert ratio["low"] < ratio["typical"] < ratio["high"]
        alone = [end for ends in ratio["one_at_a_time"].values() for end in ends]
        assert ratio["low"] <= min(alone) and max(alone) <= ratio["high"]
        assert found["next_adc_bit"][measure] < 1
    low, high = (
        {name: getattr(figure, case) for name, figure in figures.items()}
        for case in ("low", "high")
    )
    watts = found["analog"]["tops_per_watt"]
    assert watts["high"] == pytest.approx(ppa.cost(ANALOG, low).tops_per_watt)
    assert watts["low"] == pytest.approx(ppa.cost(ANALOG, high).tops_per_watt)
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    for table in summary.tables(found):
        console.print(table)
    said = console.export_text() + summary.sentence(found)
    assert "ADCs" in said and "TOPS/W" in said and "gates" in said
    assert counts.from_dict(json.loads(json.dumps(dataclasses.asdict(ANALOG)))) == ANALOG


def test_a_head_works_once_a_sequence_or_every_step():
    every = {"of": "scores", "steps": "every"}
    lengths = torch.tensor([2, 1, 3])
    for output, times in (({}, 3), (every, 6)):
        description = small(output=output)
        layer, head = description.layers[0], description.head
        macs = 6 * layer.rows * layer.units * 4 + times * head.rows * head.units
        assert counts.operations(description, lengths) == 2 * macs


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus is not installed")
def test_a_memory_macro_is_a_memory(tmp_path):
    shape, draw = memories.Shape(words=5, width=3, reads=2), random.Random(0)
    words, read = [0] * 5, [0, 0]
    lines, wanted = [], []
    for n in range(200):
        en, at = draw.randrange(4), [draw.randrange(5), draw.randrange(5)]
        mask, where, data = draw.randrange(8), draw.randrange(5), draw.randrange(8)
        if n < 5:
            mask, where = 7, n  # nothing unknown is read
            en = 0
        lines.append(
            f"read_en = {en}; read_addr = {at[1] << 3 | at[0]}; write_en = {mask}; "
            f"write_addr = {where}; write_data = {data}; #1 clk = 1; #1 clk = 0; "
            f'$display("%b", read_data);'
        )
        read = [words[at[k]] if en >> k & 1 else read[k] for k in range(2)]
        words[where] = words[where] & ~mask | data & mask
        wanted.append(f"{read[1]:03b}{read[0]:03b}")
    bench = "\n".join(
        [
            "module bench; reg clk = 0; reg [1:0] read_en; reg [5:0] read_addr;",
            "reg [2:0] write_en, write_addr, write_data; wire [5:0] read_data;",
            f"{shape.module} dut(clk, read_en, read_addr, read_data,",
            "write_en, write_addr, write_data);",
            "initial begin dut.read_data = 0;",
            *lines,
            "end endmodule",
        ]
    )
    (tmp_path / "bench.v").write_text(memories.verilog(shape) + bench)
    subprocess.run(["iverilog", "-o", "bench", "bench.v"], cwd=tmp_path, check=True)
    done = subprocess.run(["./bench"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.split() == wanted
    assert memories.of_module(shape.module) == shape
    assert memories.of_module("wordline_vowels_crossbar_44r") is None


def check_the_model(description, found):
    """The cost model beside what was counted of a design much smaller than those it is fitted to:
    what it counts is exact, what it estimates is near."""
    ours = model.estimate(description)
    assert ours.operations * found.steps == found.operations
    assert {(m.block, m.shape, m.reads * found.steps, m.writes) for m in ours.memories} == {
        (m.block, m.shape, m.reads, m.writes) for m in found.memories
    }
    (array,), (counted,) = ours.arrays, found.arrays
    assert array.conversions * found.steps == counted.conversions
    same = ("lanes", "rows", "row_bits", "devices")
    assert [getattr(array, name) for name in same] == [getattr(counted, name) for name in same]
    assert sum(ours.area.values()) == pytest.approx(sum(found.area.values()), rel=0.1)
    energy_ = sum(found.energy.values()) / found.steps
    assert sum(ours.energy.values()) == pytest.approx(energy_, rel=0.4)


def test_the_model_is_near_what_was_counted():
    """Presets that the fit did not see, and their twins, in gates (`wordline.flow.calibrate`):
    within 10 %, and within 15 % where memories are flip-flops."""
    v = {name: figure.typical for name, figure in components.read_figures().items()}
    tried = json.loads(Path(__file__).with_name("tried.json").read_text())
    assert len(tried) >= 3
    for name, kept in tried.items():
        description = PRESETS[name].description
        for side, estimate in (("analog", model.estimate), ("digital", digital.estimate)):
            ratios = costs(estimate(description), counts.from_dict(kept[side]), v)
            for what, ratio in ratios.items():
                assert ratio == pytest.approx(1, rel=0.1), (name, side, what)
        assert model.cells_area(description) == pytest.approx(kept["flat_um2"], rel=0.15)


@needs_tools
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus is not installed")
@pytest.mark.parametrize("side", ppa.SIDES)
def test_a_design_is_counted_in_gates(side, tmp_path):
    # h of every step is compared: a class of two would say little.
    net = {"inputs": 1, "hidden": [2], "classes": 0}
    cell = {"kind": "lstm", "gate_bits": 4, "state_bits": 6, "state_index_bits": 4, "frac": 0}
    bits = {"device": {"weight_bits": 3, "conductance_bits": 3}, "dac": {"bits": 3}}
    output = {"of": "state", "steps": "every"}
    description = TINY.replace(cell=cell, adc={"bits": 3}, network=net, output=output, **bits)
    program = random_program(description, 0)
    lengths = torch.tensor([2, 1, 3])
    x = random_codes(description, 0, len(lengths), 3, description.network.inputs)
    stages_ = []
    found = runs.measure(program, x, lengths, tmp_path, side, stage=stages_.append)
    assert (found.steps, stages_[-1]) == (6, "count")
    shape = description.layers[0]
    assert found.operations == 2 * 6 * shape.rows * shape.units * shape.gates
    assert found.cycles > 6 * timing.conversion_cycles(shape)
    assert all(energy >= 0 for energy in found.energy.values())
    assert found.energy["layer_0.gates"] > 0 and found.energy[energy.CLOCK_NET] > 0
    tables = [m for m in found.memories if ".table_" in m.block]
    assert all(m.reads == 6 * shape.units and m.writes == 0 for m in tables)
    if side == "analog":
        (layer,) = found.arrays
        assert layer.conversions == 6 * shape.units * 4
        assert layer.bits_changed > 0 and layer.reads > 0
        assert "layer_0.array.macro.macro" not in found.area
        check_the_model(description, found)
    else:
        assert found.arrays == [] and found.energy["layer_0.array.macro.macro"] > 0
    again = runs.measure(program, x, lengths, tmp_path, side, stage=stages_.append)
    assert again == found and stages_.count("count") == 1
    assert OSU == ppa.CELLS


def test_capacitances_in_any_writing(tmp_path):
    """Names, numbers and units may be in quotes, and numbers have an exponent."""
    plain = """library (x) {
  nom_voltage : 1.8;
  capacitive_load_unit (1, ff);
  cell (DFF) {
    pin (CLK) { capacitance : 1.75; }
  }
}
"""
    quoted = plain.replace("(DFF)", '("DFF")').replace("pin (CLK)", 'pin ("CLK")')
    quoted = quoted.replace("(1, ff)", '(1.0e+00, "ff")').replace("1.75", "1.75e+00")
    found = []
    for name, text in (("plain", plain), ("quoted", quoted), ("tabs", quoted.replace("  ", "\t"))):
        (tmp_path / name).write_text(text)
        found.append(energy._capacitances(tmp_path / name))
    assert found == [({("DFF", "CLK"): pytest.approx(1.75e-3)}, 1.8)] * 3
