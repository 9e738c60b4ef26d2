"""The testbenches of a package, in simulators that are not ours."""

import dataclasses
import itertools
import shutil
import subprocess

import pytest
import torch

from gen.ip import package
from gen.ip.testbench import SEQUENCES
from gen.rtl import image, vectors
from sim import verilator
from tests.helpers import random_codes, random_program
from tests.sim.test_system import DESIGNS
from wordline.flow import emit


def packaged(name, folder):
    """A package of a random program, with golden vectors of more sequences than are sent."""
    description = DESIGNS[name]
    program = random_program(description, 0, on_levels=True)
    if name == "votes":
        program = dataclasses.replace(program, votes=3)
    lengths = torch.tensor([2, 1, 3, 1] * 3)
    assert len(lengths) > SEQUENCES
    x = random_codes(description, 0, len(lengths), 3, description.network.inputs)
    vectors.write(folder / "whole.npz", vectors.make(program, x, lengths))
    made = package.write(description, "model", folder / "package")
    emit.package_program(program, {}, folder / "whole.npz", made)
    return description, folder / "package"


def runs(*command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def in_icarus(description, folder):
    """The command is that of the testbench's first lines."""
    bench = folder / f"tb/{description.name}_tb.v"
    (said,) = (line for line in bench.read_text().splitlines() if "iverilog" in line)
    build, simulate = (part.split() for part in said.removeprefix("//").split("&&"))
    done = runs(*build, "-Wall", folder=folder)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "tb/" in line] == []
    return runs(*simulate, folder=folder)


def edit(path, line, change):
    lines = path.read_text().splitlines()
    lines[line] = change(lines[line])
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
def test_the_longest_name_passes_in_icarus(tmp_path, monkeypatch):
    monkeypatch.setitem(DESIGNS, "votes", DESIGNS["votes"].replace(name="n" * 40))
    done = in_icarus(*packaged("votes", tmp_path))
    assert "PASSED: 8 results equal" in done.stdout, done


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in ("odd", "steps", "deep"))) for n in DESIGNS],
)
def test_it_passes_in_icarus_and_fails_with_a_fault(name, tmp_path):
    description, folder = packaged(name, tmp_path)
    done = in_icarus(description, folder)
    results = len((folder / "tb/expected.hex").read_text().splitlines())
    assert (done.returncode, f"PASSED: {results} results equal" in done.stdout) == (0, True), done
    assert len(vectors.np.load(folder / "vectors.npz")["lengths"]) == 12
    if name != "votes":
        return
    # Another result, another stimulus, an image with two words exchanged, and no image.
    faults = {
        "tb/expected.hex": lambda line: line[:-1] + str(1 - int(line[-1])),
        "image.hex": lambda line: line[:-1] + hex(int(line[-1], 16) ^ 1)[2:],
    }
    said = {"tb/expected.hex": "1 of 8 results differ", "image.hex": "checksum is wrong"}
    for file, change in faults.items():
        whole = (folder / file).read_text()
        edit(folder / file, 3, change)
        done = runs("vvp", "-n", "tb/out", folder=folder)
        assert done.returncode == 1 and said[file] in done.stdout + done.stderr, done
        (folder / file).write_text(whole)
    # A packet without an end, and a packet too many.
    stimulus = (folder / "tb/stimulus.hex").read_text()
    beats = stimulus.splitlines()
    first = [*itertools.takewhile(lambda beat: beat[0] == "0", beats)]
    again = [*first, beats[len(first)]]
    for sent, wanted in (
        (beats[:-1], "the design hangs; 7 of 8 results came"),
        (beats + again, "more than 8 results came"),
    ):
        (folder / "tb/stimulus.hex").write_text("".join(f"{beat}\n" for beat in sent))
        done = runs("vvp", "-n", "tb/out", folder=folder)
        assert done.returncode == 1 and wanted in done.stdout + done.stderr, done
    (folder / "tb/stimulus.hex").write_text(stimulus)
    lines = (folder / "image.hex").read_text().splitlines()
    (folder / "image.hex").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    done = runs("vvp", "-n", "tb/out", folder=folder)
    assert done.returncode == 1 and "checksum is wrong" in done.stdout + done.stderr
    words = image.read(folder / "image.hex", description)
    assert words == sorted(words, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_it_passes_in_verilator_and_fails_with_a_fault(name, tmp_path):
    description, folder = packaged(name, tmp_path)
    tool, top = verilator.find(), package.axi_module(description)
    options = ("--cc", "--exe", "--build", "--prefix", "Vtop", "--top-module", top, "-O0")
    make = " ".join((*tool.make, *verilator.QUICK))
    done = subprocess.run(
        [
            *(tool.executable, *options, "-MAKEFLAGS", make, f"{description.name}.vlt"),
            *("-f", f"{description.name}.f", f"tb/{description.name}_tb.cpp"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        env=None if not tool.environment else {**verilator.os.environ, **tool.environment},
    )
    assert done.returncode == 0, done.stderr
    done = runs("obj_dir/Vtop", folder=folder)
    assert (done.returncode, "PASSED" in done.stdout) == (0, True), done
    edit(folder / "tb/expected.hex", 3, lambda line: line[:-1] + hex(int(line[-1], 16) ^ 1)[2:])
    done = runs("obj_dir/Vtop", folder=folder)
    assert done.returncode == 1 and "1 of " in done.stderr, done
