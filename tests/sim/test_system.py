"""A design behind AXI: the bench of it in Verilator, the register map in its forms, the package."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gen.impl import ecp5
from gen.ip import package, registers, wavedrom
from gen.ip.options import MACROS
from golden.presets import PRESETS
from hw import timing
from hw.bus.registers import RegisterMap
from hw.loadmap import LoadMap
from sim import system, verilator
from tests.gen.test_synth import TINY
from tests.helpers import (
    FEW_ENTRIES,
    emitted_once,
    icarus_finds_nothing,
    random_codes,
    random_program,
    small,
    thorough,
    verilator_finds_nothing,
    yosys_finds_nothing,
)

DESIGNS = {
    # Beats of two channels, three a step; a class.
    "odd": small(
        name="odd",
        network={"inputs": 5, "hidden": [3], "classes": 4},
        array={"beat": 2},
        cell=FEW_ENTRIES,
    ),
    # Scores of every step; a beat is a channel.
    "steps": small(
        name="steps",
        cell=FEW_ENTRIES,
        network={"inputs": 3, "hidden": [3], "classes": 4},
        array={"beat": 1},
        output={"of": "scores", "steps": "every"},
    ),
    # The state, in beats whose last is partly padding; codes that fill their bytes.
    "state": small(
        name="state",
        cell=FEW_ENTRIES,
        network={"inputs": 3, "hidden": [5], "classes": 0},
        array={"beat": 2},
        output={"of": "state"},
        dac={"bits": 8},
    ),
    # Codes that have no 0; passes that vote; a step is two beats, and may be cut.
    "votes": small(
        name="votes",
        cell=FEW_ENTRIES,
        network={"inputs": 3, "hidden": [3], "classes": 2},
        array={"beat": 2},
        dac={"bits": 1},
        voting={"replay_steps": 5},
    ),
    # A step a beat.
    "whole": small(
        name="whole",
        cell=FEW_ENTRIES,
        network={"inputs": 3, "hidden": [3], "classes": 2},
    ),
    # The state of every step, of the second layer.
    "deep": small(
        name="deep",
        cell=FEW_ENTRIES,
        network={"inputs": 3, "hidden": [3, 5], "classes": 0},
        array={"beat": 2, "lanes": 2},
        output={"of": "state", "steps": "every"},
    ),
}


SLOW = ("odd", "steps", "state", "whole", "deep")
"""Left to `make test-all`."""


SLOW_BOARDS = ("odd", "state")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in DESIGNS]
)
def test_everything_behind_axi(name, tmp_path):
    description = DESIGNS[name]
    # By the numbers of levels, or by codes.
    program = random_program(description, 0, on_levels=name in ("odd", "votes"))
    if name == "votes":
        program = dataclasses.replace(program, votes=3)
    lengths = torch.tensor([4, 1, 2, 3, 5, 2, 1, 3] if thorough() else [2, 1, 3, 1])
    x = random_codes(description, 0, len(lengths), 5, description.network.inputs)
    result = system.simulate(program, x, lengths, tmp_path, seed=1)
    assert result["passed"], (tmp_path / "verilator/sim.log").read_text()
    assert result["values_compared"] > 0


@pytest.mark.parametrize(
    ("description", "noisy"),
    [
        (TINY, False),
        *(pytest.param(DESIGNS[n], n == "odd", marks=pytest.mark.slow) for n in SLOW_BOARDS),
    ],
)
def test_everything_behind_a_serial_line(description, noisy, tmp_path):
    """Of a design with the deep pipeline, as it is on a board."""
    description = ecp5.for_board(description)
    program = random_program(description, 0, noisy=noisy)
    lengths = torch.tensor([2, 1, 3])
    x = random_codes(description, 0, len(lengths), 3, description.network.inputs)
    result = system.simulate_board(program, x, lengths, tmp_path, bit_cycles=5, noisy=noisy)
    assert result["passed"], (tmp_path / "verilator/sim.log").read_text()
    assert result["values_compared"] >= 2 * len(lengths)


@pytest.fixture(scope="module")
def map_():
    return RegisterMap(PRESETS["vowels"].description)


def test_no_two_registers_share_an_address_and_all_fit(map_):
    offsets = [register.offset for register in map_.registers]
    assert offsets == sorted(set(offsets)) and offsets[-1] < map_.window
    load = LoadMap(map_.description)
    assert map_.window_words >= 1 << load.address_bits
    held = np.arange(1 << load.address_bits)
    held = np.any([region.holds(held) for region in load.regions.values()], axis=0)
    assert held[load.first : load.words].all()
    assert not held[: load.first].any() and not held[load.words :].any()
    assert not held[load.nowhere] and not held[load.check] and load.nowhere != load.check


def test_systemrdl_says_the_same(map_, tmp_path):
    """As its compiler reads it, every field is where the logic has it."""
    from systemrdl import RDLCompiler
    from systemrdl.node import MemNode, RegNode
    from systemrdl.rdltypes import AccessType

    path = tmp_path / "map.rdl"
    path.write_text(registers.systemrdl(map_))
    compiler = RDLCompiler()
    compiler.compile_file(str(path))
    top = compiler.elaborate().top
    software = {"constant": "r", "status": "r", "control": "rw", "pulse": "w", "event": "rw"}
    found = {}
    for node in top.children():
        if isinstance(node, RegNode):
            found[node.inst_name] = (
                node.absolute_address,
                [(f.inst_name, f.low, f.width, f.get_property("sw")) for f in node.fields()],
                [f.get_property("reset") for f in node.fields()],
            )
        else:
            assert isinstance(node, MemNode)
            size = (node.absolute_address, node.get_property("mementries"))
            assert size == (map_.window, map_.window_words)
    assert found == {
        register.name: (
            register.offset,
            [
                (field.name, low, field.bits, AccessType[software[field.access]])
                for field, low in registers.placed(register)
            ],
            [None if f.access == "status" else f.value for f in register.fields],
        )
        for register in map_.registers
    }


def test_c_says_the_same(map_, tmp_path):
    """As its compiler reads it."""
    (tmp_path / "wordline_regs.h").write_text(registers.c_header(map_))
    wanted = {"WINDOW": map_.window, "LOAD_FIRST": map_.load_first, "LOAD_END": map_.load_end}
    wanted |= {"LOAD_CHECK": map_.load.check}
    for register in map_.registers:
        name = register.name.upper()
        wanted[name] = register.offset
        for field, low in registers.placed(register):
            inside = name if field.name == "value" else f"{name}_{field.name.upper()}"
            if field.name != "value":
                wanted[inside] = (2**field.bits - 1) << low
            if field.access == "constant":
                wanted[f"{inside}_IS"] = field.value << low
    prints = "\n".join(f'printf("{name} %u\\n", WORDLINE_{name});' for name in wanted)
    program = f'#include <stdio.h>\n#include "wordline_regs.h"\nint main(void) {{ {prints} }}\n'
    (tmp_path / "all.c").write_text(program)
    out = str(tmp_path / "all")
    command = ["gcc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-o", out]
    subprocess.run([*command, str(tmp_path / "all.c")], check=True)
    said = subprocess.run([out], capture_output=True, text=True, check=True).stdout.split()
    assert dict(zip(said[::2], map(int, said[1::2]), strict=True)) == wanted
    macros = re.findall(r"#define WORDLINE_(\w+) +0x", registers.c_header(map_))
    assert sorted(macros) == sorted(wanted)


def test_registers_of_two_designs_in_one_file_are_an_error(tmp_path):
    for name in ("odd", "votes"):
        (tmp_path / f"{name}.h").write_text(registers.c_header(RegisterMap(DESIGNS[name])))
    compile_ = ["gcc", "-fsyntax-only", "-x", "c", "-"]
    once, other = '#include "odd.h"\n', '#include "votes.h"\n'
    for text, code in ((once + once, 0), (once + other, 1), (other + once, 1)):
        done = subprocess.run(compile_, input=text, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert ("another design are included already" in done.stderr) == bool(code)


def test_the_page_has_every_field(map_):
    rows = [line.split(" | ") for line in registers.markdown(map_).splitlines() if "`" in line]
    fields = [(f"`{r.name}`", f"`{f.name}`") for r in map_.registers for f in r.fields]
    assert [(row[1], row[3]) for row in rows if len(row) == 7] == fields


MADE = {}


@pytest.fixture(scope="module", params=MACROS)
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    with emitted_once(MADE):
        package.write(DESIGNS["odd"], request.param, folder)
    return request.param, folder


@pytest.mark.parametrize(
    "written",
    [pytest.param(m, marks=[pytest.mark.slow] * (m != "digital")) for m in MACROS],
    indirect=True,
)
def test_a_package_is_the_same_bytes_each_time(written, tmp_path):
    """But for the design's, of which test_emit.py sees to that."""
    macro, folder = written
    with emitted_once(MADE):
        package.write(DESIGNS["odd"], macro, tmp_path)
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    for file in files:
        assert (folder / file).read_bytes() == (tmp_path / file).read_bytes()


TOP = package.axi_module(DESIGNS["odd"])


def tops(macro, folder):
    """Each top module of a package with its sources."""
    found = [(TOP, package.sources(folder))]
    if macro == "model":
        board = folder / package.board(DESIGNS["odd"])
        found.append((package.board_module(DESIGNS["odd"]), [*package.sources(folder), board]))
    return found


def test_verilator_finds_nothing_to_warn_of(written):
    macro, folder = written
    for top, sources in tops(macro, folder):
        verilator_finds_nothing(folder / "odd.vlt", sources, top)


def test_yosys_finds_no_latch_and_no_loop(written):
    macro, folder = written
    for top, sources in tops(macro, folder):
        yosys_finds_nothing(sources, top)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
def test_icarus_takes_it_up(written, tmp_path):
    macro, folder = written
    if macro == "blackbox":
        pytest.skip("a module with nothing in it is not to be run")
    for top, sources in tops(macro, folder):
        icarus_finds_nothing(sources, top, tmp_path)


@pytest.mark.parametrize("target", ["lint", pytest.param("verilate", marks=pytest.mark.slow)])
def test_fusesoc_takes_it_up(written, target, tmp_path):
    """Its own flow, by the core file alone."""
    _, folder = written
    tools = verilator.find()
    path = os.pathsep.join([str(tools.executable.parent), os.environ["PATH"]])
    fusesoc = [str(Path(sys.executable).with_name("fusesoc")), "--cores-root", str(folder)]
    command = [*fusesoc, "run", "--build", "--target", target, "wordline::odd"]
    if target == "verilate":
        command += ["--make_options", " ".join([*tools.make, "OPT_FAST=-O0"])]
    environment = {**os.environ, **tools.environment, "PATH": path}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "%Warning" not in done.stdout + done.stderr
    libraries = [*tmp_path.rglob(f"libV{TOP}.a")]
    assert bool(libraries) == (target == "verilate")


def test_slang_takes_it_up(written):
    from pyslang.driver import CommandLineOptions, Driver

    _, folder = written
    driver = Driver()
    driver.addStandardArgs()
    files = " ".join(map(str, package.sources(folder)))
    command = f"slang --top {TOP} {files}"
    assert driver.parseCommandLine(command, CommandLineOptions())
    assert driver.processOptions() and driver.parseAllSources()
    found = driver.createCompilation().getAllDiagnostics()
    assert [str(one.code) for one in found if one.isError()] == []


@pytest.mark.parametrize("flags", [["-ffreestanding"], ["-ffreestanding", "-m32"], ["-Os"]])
def test_the_driver_needs_no_library(written, flags, tmp_path):
    _, folder = written
    command = ["gcc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-c", *flags]
    command += [f"-I{folder / 'registers'}", str(folder / "driver/wordline.c")]
    done = subprocess.run([*command, "-o", str(tmp_path / "driver.o")], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    names = subprocess.run(
        ["nm", "-u", str(tmp_path / "driver.o")], capture_output=True, text=True, check=True
    )
    assert set(names.stdout.split()) <= {"U", "_GLOBAL_OFFSET_TABLE_"}


def test_drivers_of_two_designs_are_linked_with_a_program_in_cpp(written, tmp_path):
    """Each with a prefix; the header is one for C++, too."""
    _, folder = written
    include, objects = f"-I{folder / 'registers'}", []
    for prefix in ("one_", "two_"):
        made = tmp_path / f"{prefix}.o"
        command = ["gcc", "-c", include, f"-DWORDLINE_PREFIX={prefix}", "-o", str(made)]
        subprocess.run([*command, str(folder / "driver/wordline.c")], check=True)
        objects.append(str(made))
        use = f'#include "wordline.h"\nint {prefix}of(uintptr_t b) {{ return wordline_busy(b); }}\n'
        (tmp_path / f"{prefix}.cc").write_text(use)
        own = ["g++", "-c", include, f"-I{folder / 'driver'}", f"-DWORDLINE_PREFIX={prefix}"]
        made = tmp_path / f"{prefix}use.o"
        source = str(tmp_path / f"{prefix}.cc")
        subprocess.run([*own, "-o", str(made), source], check=True)
        objects.append(str(made))
    (tmp_path / "main.cc").write_text("int main() { return 0; }\n")
    command = ["g++", "-o", str(tmp_path / "out"), str(tmp_path / "main.cc"), *objects]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("adc", ["sar", "flash", "ramp"])
@pytest.mark.parametrize("dac", ["level", "pulse-width", "bit-serial"])
def test_a_figure_of_the_macro_has_its_cycles(dac, adc):
    shape = small(dac={"kind": dac}, adc={"kind": adc}).layers[0].macro
    figure = json.loads(wavedrom.macro("m", shape))
    lanes = {lane["name"]: lane for lane in figure["signal"]}
    assert len({len(lane["wave"]) for lane in lanes.values()}) == 1
    for lane in lanes.values():
        assert lane["wave"].count("=") == len(lane.get("data", []))
    assert [n for n, mark in enumerate(lanes["sample"]["wave"]) if mark == "1"] == [
        0,
        timing.period(shape),
    ]
    answers = [n for n, mark in enumerate(lanes["above"]["wave"]) if mark == "="]
    each = range(timing.adc_cycles(shape.description.adc))
    assert answers == [
        begin + timing.settle(shape) + n for begin in (0, timing.period(shape)) for n in each
    ]
    assert ("trial" in lanes) == (adc != "flash")
    ends = lanes["rows"]["wave"].rindex("x")
    pulse = 1 + shape.description.dac.pulse_cycles
    assert ends == timing.period(shape) + (pulse if dac == "pulse-width" else timing.settle(shape))
