"""Synthesis onto standard cells: every check can fail, and the sums are right."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import pytest

from gen import package, synth
from golden.errors import WordlineError
from tests.helpers import small

OSU = synth.CELLS["osu018"]
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
    assert result.area == pytest.approx(top["area"])
    assert sum(b.sequential for b in result.blocks) == pytest.approx(top["sequential_area"])
    netlist = (folder / "netlist.v").read_text()
    flip_flops = len(re.findall(r"^  DFF\w+ ", netlist, re.MULTILINE))
    assert sum(b.flip_flops for b in result.blocks) == flip_flops > 0
    names = [b.name for b in result.blocks]
    assert len(set(names)) == len(names)
    assert {"layer_0.gates", "layer_0.array.readout", "head.scores", "axi.control"} <= set(names)
    assert "_dlatch" not in netlist and "LATCH" not in netlist


@needs_tools
def test_every_path_has_a_constraint_and_the_shortest_period_just_fits(mapped):
    folder, result = mapped
    assert result.unconstrained == []
    assert 0.5 < result.period_ns < package.PERIOD_NS
    slack = float(re.search(r"(-?[0-9.]+) +slack", result.worst)[1])
    assert 0 <= slack <= synth.CLOSE_NS
    assert (folder / "timing.rpt").read_text() == result.worst


@needs_tools
def test_what_no_clock_judges_is_named(tmp_path, monkeypatch):
    timing = package.timing

    def forgetful(*arguments):
        texts = timing(*arguments)
        sdc = f"{TINY.name}.sdc"
        lines = [line for line in texts[sdc].splitlines() if "output_delay" not in line]
        return texts | {sdc: "\n".join(lines) + "\n"}

    monkeypatch.setattr(package, "timing", forgetful)
    assert "irq" in synth.synthesise(TINY, OSU, tmp_path).unconstrained


@needs_tools
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("reg held; always @* if (aclk) held = irq;", "is not empty"),
        ("wire a, b; assign a = ~b; assign b = a & irq;", "problems in 'check -assert'"),
    ],
)
def test_a_latch_and_a_loop_are_refused(more, words, tmp_path, monkeypatch):
    write = package.write

    def wrong(description, macro, folder, **options):
        write(description, macro, folder, **options)
        path = folder / "rtl/tiny_axi.v"
        start, head, end = path.read_text().partition(f"module {package.axi_module(TINY)}(")
        path.write_text(start + head + end.replace("endmodule", f"{more} endmodule", 1))

    monkeypatch.setattr(package, "write", wrong)
    with pytest.raises(WordlineError, match=words):
        synth.synthesise(TINY, OSU, tmp_path)


@pytest.mark.parametrize("begin", [0.5, 3.0, 40.0])
@pytest.mark.parametrize("paths", [[(0.0, 5.0)], [(0.3, 2.0), (0.0, 2.9)], [(0.5, 3.0)]])
def test_the_shortest_period_is_found_from_above_and_below(paths, begin):
    """Paths with a part of the period that is another's, and a delay."""

    def time(period):
        slack = min(period * (1 - share) - delay for share, delay in paths)
        return synth.Timing(slack, "", [])

    period, timed = synth._shortest(time, begin)
    shortest = max(delay / (1 - share) for share, delay in paths)
    assert 0 <= timed.slack <= synth.CLOSE_NS
    assert shortest <= period <= shortest + 2 * synth.CLOSE_NS


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(WordlineError, match=r"osu018_stdcells.lib is not there; install"):
        synth.synthesise(TINY, OSU, tmp_path, library=tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    (tmp_path / "osu018_stdcells.lib").write_text("")
    with pytest.raises(WordlineError, match="OpenSTA is not installed"):
        synth.synthesise(TINY, OSU, tmp_path, library=tmp_path)
    with pytest.raises(WordlineError, match="Yosys stopped: ERROR"):
        synth.run_yosys("no_such_command\n", tmp_path)
