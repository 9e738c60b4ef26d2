"""A lane's columns: those in Amaranth and those in hw/macro/columns.v are one and the same."""

import os
import subprocess
import sys

import pytest
from amaranth.back import rtlil

from golden.description import Description
from hw.macro import columns
from hw.macro.columns import Columns, ColumnsInstance
from sim import verilator
from tests.helpers import small

# Rows and selects that are a power of two, and that are not; devices and codes of few bits, that
# every write, every column and every code on the rows is tried; groups that the rows fill, or not.
SHAPES = {
    "whole": small(network={"inputs": 2, "hidden": [2], "classes": 2}, array={"lanes": 2}),
    "padded": small(network={"inputs": 1, "hidden": [2], "classes": 2}, array={"lanes": 1}),
    "pulses": small(
        network={"inputs": 1, "hidden": [2], "classes": 2},
        array={"lanes": 1},
        dac={"bits": 3, "kind": "pulse-width"},
    ),
    "rnn": small(
        network={"inputs": 4, "hidden": [1], "classes": 2}, array={"lanes": 1}, cell={"kind": "rnn"}
    ),
}
CYCLES = 5


def narrow(description: Description) -> Description:
    device = {"weight_bits": 1, "conductance_bits": 1}
    bits = 3 if description.dac.kind == "pulse-width" else 2
    return description.replace(device=device, dac={"bits": bits})


PROVE = """
import sys
from pyosys import libyosys as ys
design = ys.Design()
for name in ("gold", "gate"):
    for command in (
        f"read_rtlil {name}.il", "read_verilog columns.v", f"hierarchy -check -top {name}", "proc",
        "flatten", "opt", "memory_map", "opt", f"design -stash {name}",
    ):
        ys.run_pass(command, design)
for command in (
    "design -copy-from gold -as gold gold", "design -copy-from gate -as gate gate",
    "miter -equiv -flatten -make_outputs gold gate miter", "hierarchy -top miter", "opt",
    f"sat -verify -prove trigger 0 -set-init-zero -seq {sys.argv[1]}",
):
    ys.run_pass(command, design)
"""


def proves_equal(description, source, monkeypatch, folder):
    """Whether no inputs of CYCLES cycles from power-up tell the two apart, as Yosys finds."""
    shape = narrow(description).layers[0]
    for name, made in (("gold", Columns(shape)), ("gate", ColumnsInstance(shape))):
        text = rtlil.convert(made, name=name, emit_src=False)
        (folder / f"{name}.il").write_text(text)
    (folder / "columns.v").write_text(source)
    command = [sys.executable, "-c", PROVE, str(CYCLES)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert "SAT" in done.stdout, done.stdout + done.stderr
    return done.returncode == 0


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in ("whole", "rnn"))) for n in SHAPES]
)
def test_both_are_one(name, monkeypatch, tmp_path):
    assert proves_equal(SHAPES[name], columns.SOURCE.read_text(), monkeypatch, tmp_path)


MUTANTS = {
    "a row that is left out": ("row < ROWS;", "row < ROWS - 1;"),
    "a row that is not summed": ("(ROWS + 15) / 16 * 16", "ROWS - 1"),
    "a code without its sign": ("= $signed(rows", "= $unsigned(rows"),
    "codes of the sum before": ("rows != seen", "rows < seen"),
    "devices that are swapped": ("total = total + codes", "total = total - codes"),
    "devices that are added": ("          - $signed(", "          + $signed("),
    "a sum without a sample": ("if (left != 0) begin", "if (left != 0 || write) begin"),
    "a pulse that is cut short": ("sample ? CYCLES :", "sample ? CYCLES - 1 :"),
    "a charge that is kept": ("left == CYCLES ? 0 : charge", "charge"),
    "the wrong column": ("read(select)", "read(write_select)"),
    "a write that is dropped": ("if (write)", "if (write && !sample)"),
}
PULSES = ("a pulse that is cut short", "a charge that is kept")


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(mutant, monkeypatch, tmp_path):
    before, after = MUTANTS[mutant]
    source = columns.SOURCE.read_text()
    assert source.count(before) == 1
    source = source.replace(before, after)
    shape = "pulses" if mutant in PULSES else "padded"
    assert not proves_equal(SHAPES[shape], source, monkeypatch, tmp_path)


def lint(source):
    """What Verilator says of the columns of the largest array there can be."""
    description = small(
        network={"inputs": 4096, "hidden": [4096]},
        device={"weight_bits": 8, "conductance_bits": 12},
        dac={"bits": 8},
    )
    shape = description.layers[0]
    charge = len(Columns(shape).charge)
    assert charge > 32 and 2 ** (charge - 1) > shape.charge_max
    sizes = {"ROWS": shape.rows, "CODE_BITS": 8, "CONDUCTANCE_BITS": 12}
    sizes |= {"CHARGE_BITS": charge, "ROW_BITS": 13}
    tool = verilator.find()
    command = [
        str(tool.executable),
        "--lint-only",
        "-Wall",
        "-Wno-PROCASSINIT",
        "-Wno-DECLFILENAME",
    ]
    command += [f"-G{name}={value}" for name, value in sizes.items()]
    environment = os.environ | tool.environment
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, env=environment)
    assert "syntax error" not in done.stderr
    return done.stdout + done.stderr


def test_a_charge_of_more_than_32_bits_fits(tmp_path):
    assert "SELRANGE" not in lint(columns.SOURCE)
    narrow = tmp_path / "columns.v"
    text = columns.SOURCE.read_text()
    assert "CHARGE_BITS > 32 ? CHARGE_BITS : 32" in text
    narrow.write_text(text.replace("CHARGE_BITS > 32 ? CHARGE_BITS : 32", "32"))
    assert "SELRANGE" in lint(narrow)
