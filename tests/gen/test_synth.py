"""Synthesis onto standard cells: every check can fail, and the sums are right."""

import collections
import contextlib
import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from gen.impl import buffers, cells, ecp5, library, sta, synth, tools, yosys
from gen.ip import package
from gen.ip.options import PERIOD_NS
from golden import network
from golden.errors import WordlineError
from golden.parameters import DEEP_SETTLE, SETTLE_MAX
from golden.presets import PRESETS
from hw import timing
from hw.macro.columns_deep import RowGroups, rows_at_once
from hw.macro.crossbar_deep import AFTER_NOISE
from hw.macro.noise import NoiseGenerator
from sim import netlist
from tests.helpers import random_codes, random_program, small

OSU = cells.CELLS["osu018"]

needs_tools = pytest.mark.skipif(
    shutil.which("sta") is None or not OSU.folder.is_dir(),
    reason="OpenSTA (`sta`) or Debian's qflow-tech-osu018 is not installed",
)
TINY = small(
    name="tiny",
    network={"inputs": 2, "hidden": [2], "classes": 2},
    array={"lanes": 1},
    adc={"bits": 2},
    cell={"kind": "rnn", "frac": 1},
)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth")
    with contextlib.chdir(folder.parent):  # a folder as the command line gives it
        return folder, synth.synthesise(TINY, OSU, Path(folder.name))


@needs_tools
def test_every_cell_is_some_block_s(mapped):
    folder, result = mapped
    area = json.loads((folder / "area.json").read_text())
    top = area["modules"]["\\" + package.axi_module(TINY)]
    gates = sum(b.clock_gates for b in result.blocks)
    latches = (
        gates * library.read(OSU).areas["LATCH"]
    )  # which Yosys takes for nothing, as their timing does
    assert latches > 0
    assert result.area == pytest.approx(top["area"] + latches)
    sequential = sum(b.sequential for b in result.blocks)
    assert sequential == pytest.approx(top["sequential_area"] + latches)
    assert sum(b.cells for b in result.blocks) == top["num_cells"] - len(TINY.arrays)
    netlist = (folder / "netlist.v").read_text()
    flip_flops = len(re.findall(r"^  DFF\w+ ", netlist, re.MULTILINE))
    assert sum(b.flip_flops for b in result.blocks) == flip_flops > 0
    names = [b.name for b in result.blocks]
    assert len(set(names)) == len(names)
    assert {"layer_0.gates", "layer_0.array.readout", "head.scores", "axi.control"} <= set(names)
    assert "_dlatch" not in netlist and netlist.count("  LATCH ") == gates


@needs_tools
def test_nothing_drives_too_many(mapped):
    """But clocks, which a tree of their own drives, and in which nothing is put."""
    folder, _ = mapped
    netlist = (folder / "netlist.v").read_text()
    pins = re.findall(r"\.(\w+)\(([^(){}]+)\)", netlist)
    clocks = {net for pin, net in pins if pin in {"CLK", *yosys.CLOCKS}}
    inputs = [net for pin, net in pins if pin not in ("Y", "Q")]
    loads = collections.Counter(net for net in inputs if net not in clocks)
    gates = sum(block.clock_gates for block in mapped[1].blocks)
    # The clock itself, and of each gate what it lets through and the inverter in it.
    assert "aclk" in clocks and len(clocks) == 1 + 2 * gates
    behind = [body for kind, _, body in yosys.INSTANCE.findall(netlist) if kind.startswith("BUF")]
    assert behind and not any(f".A({clock})" in body for body in behind for clock in clocks)
    assert max(n for net, n in loads.items() if not net.startswith("1'")) == yosys.FANOUT


@pytest.mark.parametrize(("flip_flops", "wanted"), [(16, 0), (17, 2), (256, 16), (257, 17 + 2)])
def test_buffers_are_as_few_as_will_do(flip_flops, wanted):
    directions = {"CLK": "input", "D": "input", "Q": "output"}
    cells = {
        f"block.flip_flop_{n}": {
            "port_directions": directions,
            "connections": {"CLK": [2], "D": [3], "Q": [4 + n]},
        }
        for n in range(flip_flops)
    }
    ports = {"clk": {"bits": [2]}, "d": {"bits": [3]}}
    module = {"cells": cells, "ports": ports}
    buffer = library.Gate("BUFX4", {"A": "A", "Y": "Y"})
    assert buffers.insert(module, buffer, 16, {"CLK"}) == wanted
    driven = collections.Counter()
    driver = {cell["connections"]["Y"][0]: cell for cell in cells.values() if "type" in cell}
    assert all(name.startswith("block.") for name in cells)
    assert len(driver) == wanted and len({*driver} & set(range(4 + flip_flops))) == 0
    for cell in cells.values():
        pins = cell["connections"]
        assert "type" in cell or pins["CLK"] == [2]
        net = pins["A" if "type" in cell else "D"][0]
        driven[net] += 1
        while net != 3:  # all come from there
            net = driver[net]["connections"]["A"][0]
    assert max(driven.values()) <= 16


@needs_tools
def test_every_path_has_a_constraint_and_the_shortest_period_just_fits(mapped):
    folder, result = mapped
    assert result.unconstrained == []
    assert 0.5 < result.period_ns < PERIOD_NS
    slack = float(re.search(r"(-?[0-9.]+) +slack", result.worst)[1])
    assert 0 <= slack <= sta.CLOSE_NS
    assert (folder / "timing.rpt").read_text() == result.worst


NETLISTS = {
    "as it is": (None, "", ""),
    "a cell that does something else": ("cells", r"and \(Y, A, B\);", "or (Y, A, B);"),
    "an output that nothing drives": ("netlist", r"\.Y\(irq\)", ".Y(nowhere)"),
    "a register that no reset reaches": (
        *("netlist", r"\.D\([^()]+\)(,\s+\.Q\((m_axis_tdata\[0\])\))"),
        r".D(\2)\1",
    ),
}


@needs_tools
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus is not installed")
@pytest.mark.parametrize(
    "fault", [pytest.param(n, marks=[pytest.mark.slow] * (n != "as it is")) for n in NETLISTS]
)
def test_the_netlist_does_what_golden_does(fault, mapped, tmp_path):
    folder, _ = mapped
    where, before, after = NETLISTS[fault]
    sources = {"netlist": folder / "netlist.v", "cells": OSU.verilog()}
    if where is not None:
        text = sources[where].read_text()
        faulty, places = re.subn(before, after, text)
        assert places
        sources[where] = tmp_path / "faulty.v"
        sources[where].write_text(faulty)
    lengths = torch.tensor([2, 1, 3])
    x = random_codes(TINY, 0, len(lengths), 3, TINY.network.inputs)
    registers = yosys.registers(folder / "netlist.v", library.read(OSU))
    result = netlist.simulate_netlist(
        *(random_program(TINY, 0), x, lengths, tmp_path, [*sources.values()]),
        registers=registers,
        seed=1,
    )
    assert result["passed"] == (fault == "as it is")
    if result["passed"]:
        assert result["values_compared"] == len(lengths)
    if where == "netlist":
        wrong = "m_axis_tdata" if fault == "a register that no reset reaches" else "irq"
        assert f"X on {wrong}" in (tmp_path / "icarus/sim.log").read_text()


@pytest.mark.slow
@needs_tools
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus is not installed")
def test_scores_are_known_before_the_first_one(tmp_path):
    description = TINY.replace(output={"of": "scores", "steps": "every"})
    yosys.map_cells(description, OSU, tmp_path)
    lengths = torch.tensor([2, 1, 3])
    x = random_codes(description, 0, len(lengths), 3, description.network.inputs)
    sources = [tmp_path / "netlist.v", OSU.verilog()]
    result = netlist.simulate_netlist(random_program(description, 0), x, lengths, tmp_path, sources)
    assert result["passed"] and result["values_compared"] >= 6 * 2


@pytest.mark.slow
@needs_tools
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus is not installed")
def test_a_netlist_with_delays_does_what_golden_does(tmp_path, monkeypatch):
    """Each score of 20 sequences; if cells are too slow for the clock, it does not."""
    description = TINY.replace(output={"of": "scores", "steps": "every"}, network={"hidden": [3]})
    mapped = yosys.map_cells(description, OSU, tmp_path)
    lengths = torch.randint(1, 6, (20,), generator=torch.Generator().manual_seed(0))
    x = random_codes(description, 0, len(lengths), 5, description.network.inputs)
    sources = [tmp_path / "netlist.v", OSU.verilog()]

    def result(count):
        return netlist.simulate_netlist(
            *(random_program(description, 0), x[:count], lengths[:count], tmp_path, sources),
            registers=yosys.registers(sources[0], mapped.library),
            delays=mapped.library,
            seed=1,
        )

    passed = {"passed": True, "values_compared": int(lengths.sum()) * 2}
    assert result(20) == passed
    monkeypatch.setattr(netlist, "UNIT_NS", 1.0)
    assert not result(2)["passed"]


@needs_tools
def test_what_no_clock_judges_is_named(mapped, tmp_path, monkeypatch):
    folder = tmp_path / "mapped"
    shutil.copytree(mapped[0], folder)
    done = yosys.Mapped(mapped[1].blocks, constants=set(), library=library.read(OSU))
    monkeypatch.setattr(synth, "map_cells", lambda *_, **options: done)
    timing = package.timing

    def forgetful(*arguments):
        texts = timing(*arguments)
        sdc = f"{TINY.name}.sdc"
        lines = [line for line in texts[sdc].splitlines() if "output_delay" not in line]
        return texts | {sdc: "\n".join(lines) + "\n"}

    monkeypatch.setattr(package, "timing", forgetful)
    assert "irq" in synth.synthesise(TINY, OSU, folder).unconstrained


@needs_tools
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("reg held; always @* if (aclk) held = irq;", "is not empty"),
        ("wire a, b; assign a = ~b; assign b = a & irq;", "problems in 'check -assert'"),
    ],
)
def test_a_latch_and_a_loop_are_refused(more, words, mapped, tmp_path, monkeypatch):
    def wrong(description, macro, folder, **options):
        shutil.copytree(mapped[0] / "package", folder)
        path = folder / "rtl/tiny_axi.v"
        start, head, end = path.read_text().partition(f"module {package.axi_module(TINY)} (")
        path.write_text(start + head + end.replace("endmodule", f"{more} endmodule", 1))

    monkeypatch.setattr(package, "write", wrong)
    with pytest.raises(WordlineError, match=words):
        synth.synthesise(TINY, OSU, tmp_path)


@pytest.mark.parametrize(
    ("rows", "slack"),
    [
        ("a (DFFPOSX1) b (LATCH) 0.0000", 0.4),  # it borrows
        ("a (DFFPOSX1) b (LATCH) -0.2000", -0.2),  # more than there is
        ("a (LATCH) b (AND2X2) 0.3000", 0.3),  # a clock is gated in time
        ("a (LATCH) b (AND2X2) -0.1000\na (DFFPOSX1) b (LATCH) 0.0000", -0.1),
    ],
)
def test_slack_is_the_worst_of_all_groups_but_for_time_that_is_borrowed(
    rows, slack, monkeypatch, tmp_path
):
    said = f"== unconstrained\n== groups\n{rows}\n== path\n 0.4000   slack (MET)\n== end\n"
    monkeypatch.setattr(sta, "run_sta", lambda *_: said)
    timed = sta.time_netlist({}, "top", "sta", tmp_path / "cells.lib", tmp_path, "LATCH")
    assert timed.slack == slack


@pytest.mark.parametrize("begin", [0.5, 3.0, 40.0])
@pytest.mark.parametrize("paths", [[(0.0, 5.0)], [(0.3, 2.0), (0.0, 2.9)], [(0.5, 3.0)]])
def test_the_shortest_period_is_found_from_above_and_below(paths, begin):
    """Paths with a part of the period that is another's, and a delay."""

    def time(period):
        slack = min(period * (1 - share) - delay for share, delay in paths)
        return sta.Timing(slack, "", [])

    period, timed = sta.shortest(time, begin)
    shortest = max(delay / (1 - share) for share, delay in paths)
    assert 0 <= timed.slack <= sta.CLOSE_NS
    assert shortest <= period <= shortest + 2 * sta.CLOSE_NS


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(WordlineError, match=r"osu018_stdcells.lib is not there; install"):
        synth.synthesise(TINY, OSU, tmp_path, library=tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    (tmp_path / "osu018_stdcells.lib").write_text("")
    with pytest.raises(WordlineError, match="OpenSTA is not installed"):
        synth.synthesise(TINY, OSU, tmp_path, library=tmp_path)
    with pytest.raises(WordlineError, match="Yosys stopped: ERROR"):
        tools.run_yosys("no_such_command\n", tmp_path)


def test_a_board_s_design_is_the_same_but_for_pipeline_and_time_to_settle():
    """And computes the same."""
    for name in ("vowels", "mnist-rows", "load-forecast"):
        description = PRESETS[name].description
        board = ecp5.for_board(description)
        assert board.array.deep
        assert board.replace(array=dataclasses.asdict(description.array)) == description
        for shape in board.arrays.values():
            assert rows_at_once(shape.macro) <= ecp5.ROWS
            assert (
                NoiseGenerator(shape.macro, timing.settle(shape) - AFTER_NOISE).turns == shape.lanes
            )
    program = random_program(TINY, 0, noisy=True)
    x, lengths = random_codes(TINY, 0, 3, 4, TINY.network.inputs), torch.tensor([4, 2, 3])
    on_board = dataclasses.replace(program, description=ecp5.for_board(TINY))
    results = [network.run(p, x, lengths) for p in (program, on_board)]
    assert torch.equal(*(result.scores for result in results))
    most = small(network={"inputs": 2000, "hidden": [2000]}, array={"rows": 4096, "lanes": 64})
    assert ecp5.for_board(most).array.settle == SETTLE_MAX


@pytest.mark.parametrize("dac", ["level", "bit-serial", "pulse-width"])
@pytest.mark.parametrize(("inputs", "lanes"), [(1, 1), (4095, 1), (3000, 64)])
def test_the_least_settle_of_the_deep_pipeline_is_enough(inputs, lanes, dac):
    """For all rows at once, where there are many, and for the draws of all lanes."""
    description = small(
        network={"inputs": inputs, "hidden": [lanes], "classes": 2},
        array={
            **{"rows": 4096, "columns": 4096, "lanes": lanes},
            **{"settle": DEEP_SETTLE, "pipeline": "deep"},
        },
        dac={"kind": dac, "bits": 8 if dac == "level" else 3},
    )
    for shape in description.arrays.values():
        assert RowGroups(shape.macro).latency <= timing.settle(shape) - 6
        assert NoiseGenerator(shape.macro, timing.settle(shape) - AFTER_NOISE).turns >= 1


def test_a_file_of_pins_is_read_before_anything_else(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "write", None)
    with pytest.raises(WordlineError, match=r"no.lpf cannot be read \(No such file"):
        ecp5.place(TINY, tmp_path, pins=tmp_path / "no.lpf")
    (tmp_path / "bytes.lpf").write_bytes(b"\xff")
    with pytest.raises(WordlineError, match=r"bytes.lpf cannot be read \(it is not text\)"):
        ecp5.place(TINY, tmp_path, pins=tmp_path / "bytes.lpf")


def test_cells_are_counted_where_their_names_say():
    def cell(kind):
        return {"type": kind}

    core = "axi.system.core.core"
    inside = f"{core}.layer_0.array.macro.macro"
    scopes = ("bridge", "axi", "axi.system", "axi.system.control", core, inside, f"{inside}.noise")
    cells = {
        **{path: cell("$scopeinfo") for path in scopes},
        f"{inside}.noise.sum_LUT4_Z": cell("LUT4"),
        f"{inside}.held_TRELLIS_FF_Q": cell("TRELLIS_FF"),
        "axi.system.control.load_LUT4_Z": cell("LUT4"),
        f"{core}.busy_LUT4_Z": cell("LUT4"),
        "axi.system.irq_LUT4_Z": cell("LUT4"),
        "bridge.left_LUT4_Z": cell("LUT4"),
        "tx_TRELLIS_FF_Q": cell("TRELLIS_FF"),
        "$PACKER_GND": cell("GND"),
    }
    blocks = {block.name: block.cells for block in ecp5._blocks({"cells": cells})}
    assert blocks == {
        "layer_0.array.macro": {"LUTs": 1, "flip-flops": 1},
        "axi.control": {"LUTs": 1},
        "switch": {"LUTs": 1},
        "axi": {"LUTs": 1},
        "board": {"LUTs": 1, "flip-flops": 1},
    }


def test_a_pin_that_leads_to_logic_is_told():
    cells = {
        "first": {"type": "TRELLIS_FF", "connections": {"CLK": [2], "DI": [3], "Q": [4]}},
        "table": {"type": "DP16KD", "connections": {"CLKA": [2], "ADA0": [4]}},
        "not": {"type": "LUT4", "connections": {"A": [5], "Z": [6]}},
    }
    ports = {"clk": {"bits": [2]}, "rx": {"bits": [3]}, "tx": {"bits": [4]}, "irq": {"bits": [6]}}
    module = {"cells": cells, "ports": ports}
    assert ecp5._unconstrained(module) == ["tx", "irq"]
    del cells["table"], ports["irq"]
    assert ecp5._unconstrained(module) == []
    cells["first"]["connections"]["CE"] = [3]
    assert ecp5._unconstrained(module) == ["rx"]
    cells.clear()
    ports["tx"]["bits"] = [3]
    assert ecp5._unconstrained(module) == ["rx", "tx"]


@pytest.mark.slow
def test_a_design_and_its_model_fit_on_an_ecp5(tmp_path):
    result = ecp5.place(TINY, tmp_path, device="45k", case="CABGA381")
    assert result.mhz > 100 and result.settle == ecp5.for_board(TINY).array.settle
    modules = json.loads((tmp_path / "mapped.json").read_text())["modules"]
    cells = modules[package.board_module(TINY)]["cells"]
    replicated = {name.partition(".here_")[0] for name in cells if ".here_" in name}
    assert len(replicated) == sum(shape.lanes for shape in TINY.arrays.values())
    assert result.unconstrained == [] and result.used["pins"][0] == 3
    assert all(used <= there for used, there in result.used.values())
    assert {kind for kind, (used, _) in result.used.items() if not used} == {"multipliers"}
    for kind in ("flip-flops", "block RAMs"):
        assert sum(b.cells.get(kind, 0) for b in result.blocks) == result.used[kind][0]
    assert (tmp_path / "tiny.bit").stat().st_size > 10_000
    with pytest.raises(WordlineError, match=r"nextpnr stopped: ERROR: .*; .*nextpnr.log says more"):
        ecp5.place(TINY, tmp_path, device="25k", case="CABGA9999")
