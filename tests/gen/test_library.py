"""Libraries of cells by what they do, not by what they are called."""

import re
import shutil

import pytest
import torch

from gen.impl import library, synth
from gen.impl.cells import CELLS, OwnCells
from golden.errors import WordlineError
from sim import netlist
from tests.gen.test_synth import TINY, needs_tools
from tests.helpers import random_codes, random_program, small

LOADS, SLEWS = (0.001, 0.02, 0.1, 0.3), (0.01, 0.1, 0.5, 1.0)

HEAD = """\
library (hand) {
  time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA"; leakage_power_unit : "1nW";
  pulling_resistance_unit : "1kohm"; capacitive_load_unit (1, pf);
  nom_voltage : 1.2; nom_temperature : 25; nom_process : 1;
  delay_model : table_lookup; default_max_transition : 2; default_fanout_load : 1;
  input_threshold_pct_rise : 50; input_threshold_pct_fall : 50;
  output_threshold_pct_rise : 50; output_threshold_pct_fall : 50;
  slew_lower_threshold_pct_rise : 20; slew_lower_threshold_pct_fall : 20;
  slew_upper_threshold_pct_rise : 80; slew_upper_threshold_pct_fall : 80;
  lu_table_template (t) {
    variable_1 : total_output_net_capacitance; variable_2 : input_net_transition;
    index_1 ("1, 2, 3, 4"); index_2 ("1, 2, 3, 4");
  }
"""

FLIP_FLOP = """\
  cell (FF1) { area : 12; cell_leakage_power : 2;
    ff (IQ, IQN) { clocked_on : "ck"; next_state : "d"; }
    pin (ck) { direction : input; capacitance : 0.002; clock : true; }
    pin (d) { direction : input; capacitance : 0.002;
      timing () { related_pin : "ck"; timing_type : setup_rising;
        rise_constraint (scalar) { values ("0.04"); } fall_constraint (scalar) { values ("0.04"); }
      }
      timing () { related_pin : "ck"; timing_type : hold_rising;
        rise_constraint (scalar) { values ("0.01"); } fall_constraint (scalar) { values ("0.01"); }
      }
    }
    pin (q) { direction : output; max_capacitance : 0.3; function : "IQ";
"""

GATES = {
    "IV": (("in",), "!in", "negative_unate"),
    "ND": (("p", "q"), "!(p q)", "negative_unate"),
    "NR": (("p", "q"), "!(p+q)", "negative_unate"),
    "AN": (("p", "q"), "(p q)", "positive_unate"),
    "BF": (("in",), "in", "positive_unate"),
}
"""Name, inputs, function and sense; each in two sizes."""

VERILOG = """\
`timescale 1ns/1ps
module IV1(input in, output Z); assign Z = ~in; endmodule
module IV2(input in, output Z); assign Z = ~in; endmodule
module ND1(input p, q, output Z); assign Z = ~(p & q); endmodule
module ND2(input p, q, output Z); assign Z = ~(p & q); endmodule
module NR1(input p, q, output Z); assign Z = ~(p | q); endmodule
module NR2(input p, q, output Z); assign Z = ~(p | q); endmodule
module AN1(input p, q, output Z); assign Z = p & q; endmodule
module AN2(input p, q, output Z); assign Z = p & q; endmodule
module BF1(input in, output Z); assign Z = in; endmodule
module BF2(input in, output Z); assign Z = in; endmodule
module FF1(input ck, d, output reg q); always @(posedge ck) q <= d; endmodule
"""


def table(name, base, load, slew):
    rows = ", ".join(
        '"' + ", ".join(f"{base + load * pf + slew * ns:.5f}" for ns in SLEWS) + '"' for pf in LOADS
    )
    indices = "; ".join(
        f'index_{n} ("{", ".join(map(str, values))}")' for n, values in ((1, LOADS), (2, SLEWS))
    )
    return f"{name} (t) {{ {indices}; values ({rows}); }}"


def arc(pin, how, size=1):
    tables = (
        *(table(f"cell_{edge}", 0.03, 1.5 / size, 0.08) for edge in ("rise", "fall")),
        *(table(f"{edge}_transition", 0.02, 2.5 / size, 0.02) for edge in ("rise", "fall")),
    )
    return f'      timing () {{ related_pin : "{pin}"; {how}\n{" ".join(tables)} }}\n'


def liberty(*, without=()):
    """A library of a few cells, none of which is called or pinned as others are."""
    text = HEAD
    for name, (inputs, function, sense) in GATES.items():
        for size in (1, 2):
            if name in without:
                continue
            text += (
                f"  cell ({name}{size}) {{ area : {len(inputs) + size}; cell_leakage_power : 1;\n"
            )
            for pin in inputs:
                text += f"    pin ({pin}) {{ direction : input; capacitance : {0.002 * size}; }}\n"
            text += f"    pin (Z) {{ direction : output; max_capacitance : {0.3 * size};\n"
            text += f'      function : "{function}";\n'
            text += "".join(arc(pin, f"timing_sense : {sense};", size) for pin in inputs)
            text += "    }\n  }\n"
    if "FF" not in without:
        text += FLIP_FLOP + arc("ck", "timing_type : rising_edge; timing_sense : non_unate;")
        text += "    }\n  }\n"
    return text + "}\n"


@pytest.fixture
def hand(tmp_path):
    (tmp_path / "hand.lib").write_text(liberty())
    (tmp_path / "hand.v").write_text(VERILOG)
    return OwnCells("hand", tmp_path / "hand.lib", tmp_path / "hand.v")


def test_cells_are_found_by_what_they_do(hand):
    found = library.read(hand)
    assert (found.inverter.cell, found.inverter.pins) == ("IV1", {"A": "in", "Y": "Z"})
    assert found.and_.cell == "AN1" and found.buffer.cell == "BF2" and found.latch is None
    assert found.data == {"FF1": "d"} and found.clocks == {"ck"}
    assert found.clock_gate("gate") is None and found.areas["ND2"] == 4


@needs_tools
def test_the_cells_of_oklahoma_state_are_what_they_are():
    found = library.read(CELLS["osu018"])
    assert (found.buffer.cell, found.inverter.cell) == ("BUFX4", "INVX1")
    assert found.latch.pins == {"D": "D", "E": "CLK", "Q": "Q"} and not found.low
    assert found.areas["LATCH"] == 56  # by its layout
    gate = found.clock_gate("gate")
    assert "LATCH hold (.CLK(low), .D(CE), .Q(held));" in gate
    assert "INVX1 invert (.A(CLK), .Y(low));" in gate


@pytest.mark.parametrize(
    ("without", "words"),
    [("FF", "has no flip-flop"), ("IV", "has no inverter"), ("AN", "has no AND of two inputs")],
)
def test_a_library_without_what_is_needed_says_so(without, words, tmp_path):
    (tmp_path / "poor.lib").write_text(liberty(without=(without,)))
    with pytest.raises(WordlineError, match=words):
        library.read(OwnCells("poor", tmp_path / "poor.lib"))


def test_files_that_are_missing_are_named(hand, tmp_path):
    with pytest.raises(WordlineError, match=r"no\.lib does not exist; give a Liberty file"):
        library.read(OwnCells("no", tmp_path / "no.lib"))
    with pytest.raises(WordlineError, match="give it with --cells-verilog"):
        OwnCells("hand", tmp_path / "hand.lib").verilog()


@needs_tools
@pytest.mark.slow
def test_a_design_in_cells_of_a_user_does_what_golden_does(hand, tmp_path):
    result = synth.synthesise(TINY, hand, tmp_path / "synth")
    assert result.period_ns > 0.1 and not result.unconstrained
    assert sum(block.clock_gates for block in result.blocks) == 0
    text = (tmp_path / "synth/netlist.v").read_text()
    used = set(re.findall(r"^  (\w+) \S+ +\(", text, re.M))
    assert {"FF1", "BF2"} <= used
    if shutil.which("iverilog") is None:
        return
    program = random_program(TINY, 0)
    x = random_codes(TINY, 0, 2, 3, 2)
    done = netlist.simulate_netlist(
        *(program, x, torch.tensor([3, 2]), tmp_path / "simulation"),
        [tmp_path / "synth/netlist.v", hand.verilog()],
        hasty=True,
    )
    assert done["passed"]


@needs_tools
@pytest.mark.slow
def test_a_renamed_library_gives_the_same_area(tmp_path):
    """Every cell and pin of another name."""
    osu = CELLS["osu018"]
    text = osu.liberty().read_text()
    names = re.findall(r"^ *cell *\((\w+)\)", text, re.M)
    rename = {name: f"zz_{name.lower()[::-1]}" for name in names}
    pins = {"A": "I0", "B": "I1", "Y": "ZN", "CLK": "CK", "D": "DIN", "Q": "QO"}
    layout = osu.lef().read_text()
    for old in sorted(names, key=len, reverse=True):
        text, layout = (re.sub(rf"\b{old}\b", rename[old], t) for t in (text, layout))
    text = re.sub(r"pin *\( *(\w+) *\)", lambda m: f"pin({pins.get(m[1], m[1])})", text)
    text = re.sub(
        r"(related_pin|function|clocked_on|next_state|enable|data_in|when|sdf_cond|clear|preset)"
        r'(\s*: *")([^"]*)"',
        lambda m: m[1] + m[2] + re.sub(r"\w+", lambda w: pins.get(w[0], w[0]), m[3]) + '"',
        text,
    )
    (tmp_path / "zz.lib").write_text(text)
    (tmp_path / "zz.lef").write_text(layout)
    own = OwnCells("zz", tmp_path / "zz.lib", None, tmp_path / "zz.lef")
    areas = [synth.synthesise(TINY, cells, tmp_path / cells.name).area for cells in (osu, own)]
    assert areas[0] == pytest.approx(areas[1], rel=0.01)


@needs_tools
@pytest.mark.slow
def test_large_memories_become_black_boxes_with_their_ports_listed(tmp_path):
    design = small(network={"hidden": [8]}, cell={"kind": "rnn"})
    whole = synth.synthesise(design, CELLS["osu018"], tmp_path / "whole")
    boxed = synth.synthesise(design, CELLS["osu018"], tmp_path / "boxed", memory_bits=512)
    assert not whole.memories and sum(boxed.memories.values()) == 1
    assert all(shape.bits >= 512 for shape in boxed.memories)
    assert boxed.area < 0.8 * whole.area
    stub = (tmp_path / "boxed/memories_stub.v").read_text()
    netlist_text = (tmp_path / "boxed/netlist.v").read_text()
    for shape, count in boxed.memories.items():
        assert netlist_text.count(f"  {shape.module} ") == count
        assert f"module {shape.module} (" in stub
        assert all(f"] {port}" in stub for port in shape.ports)
