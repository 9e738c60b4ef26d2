"""Test a design behind AXI: write its package, build it, run sim/benches/bench_system.py."""

import subprocess
from pathlib import Path
from typing import Any

from cocotb_tools.runner import Icarus
from torch import Tensor

from gen.ip import package
from gen.rtl import image, vectors
from gen.rtl.control import control_file
from gen.verilog.components import to_verilog
from golden import files
from golden.description import Description
from golden.program import Program
from hw.bus.axi import StreamIn
from hw.bus.registers import COUNTERS
from hw.bus.serial import Board
from hw.bus.system import System
from sim import blocks, chip, icarus

BENCHES = "sim.benches.bench_system,sim.benches.bench_counters"

UNDISTURBED = r"whole_set/stall=0\.0$"
"""The test of the bench without stalls."""

DRIVER_BUS = Path(__file__).with_name("driver_bus.c")


def simulate(
    program: Program,
    x: Tensor,
    lengths: Tensor,
    folder: Path,
    *,
    seed: int = 0,
    four_states: bool = False,
    tests: str | None = None,
) -> dict[str, Any]:
    """Build the package of a program's design in `folder`, load it and run DAC codes x through it.

    Returns `passed` and `values_compared`. The bench's output is in sim.log.

    x: (sequences, steps, inputs). The last beats of some sequences are set to 0, and the bench cuts
        them off.
    four_states: In Icarus, from X in every register and memory; what must be known is checked
        (sim/benches/four_states.py). Else in Verilator.
    tests: Regular expression that selects tests of the bench; None: all.

    Raises WordlineError if the design cannot be built.
    """
    description = program.description
    x, cut = cut_short(description, x, lengths)
    job = prepare(program, x, lengths, folder) | {"cut": cut}
    top = package.axi_module(description)
    if not four_states:
        presets(description, folder)
        return _run(BENCHES, top, [], folder, job, seed, tests)
    work, runner = folder / "icarus", Icarus()
    icarus.build(runner, package.sources(folder), top, work, four_states=True)
    return chip.run(
        runner,
        module=BENCHES,
        top=top,
        folder=work,
        job=job | {"four_states": "all"},
        seed=seed,
        tests=tests,
    )


def presets(description: Description, folder: Path) -> Path:
    """Write the Verilator control file with which the bench may write the counters."""
    names = [f"{name}_{part}" for name in COUNTERS for part in ("low", "high")]
    module = f"{package.axi_module(description)}.system.control"
    path = folder / "counters.vlt"
    files.write_text(path, control_file([], {module: dict.fromkeys(names, True)}))
    return path


def _run(
    bench: str,
    top: str,
    more: list[Path],
    folder: Path,
    job: dict[str, Any],
    seed: int,
    tests: str | None = None,
) -> dict[str, Any]:
    """Build a top module of the package in `folder` and run bench modules on it.

    more: Sources that are not among the package's.
    """
    sources = [*folder.glob("*.vlt"), *package.sources(folder), *more]
    work = folder / "verilator"
    built = chip.build(sources, top, work, runner=blocks.QuickVerilator())
    return chip.run(built, module=bench, top=top, folder=work, job=job, seed=seed, tests=tests)


def simulate_board(
    program: Program,
    x: Tensor,
    lengths: Tensor,
    folder: Path,
    *,
    bit_cycles: int,
    noisy: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Run DAC codes x through a design behind a serial line, with sim/benches/bench_board.py.

    bit_cycles: Clock cycles per bit.
    noisy: A second run of x gives other results.

    Returns and raises what `simulate` does.
    """
    description = program.description
    system = System(description)
    job = prepare(program, x, lengths, folder) | {"bit_cycles": bit_cycles, "noisy": noisy}
    job["result_bytes"] = len(system.output.m_axis_tdata) // 8
    top, axi = package.board_module(description), package.axi_module(description)
    board = Board(system.signature, axi, bit_cycles=bit_cycles)
    path = folder / "bench_board.v"
    files.write_text(path, to_verilog(board, top))
    return _run("sim.benches.bench_board", top, [path], folder, job, seed)


def prepare(program: Program, x: Tensor, lengths: Tensor, folder: Path) -> dict[str, Any]:
    """Write the package with crossbar model, image, vectors and driver. Returns the bench's job."""
    description = program.description
    made = package.write(description, "model", folder)
    with made.writing("image.hex") as beside:
        image.write(beside, program)
    vectors.write(folder / "vectors.npz", vectors.make(program, x, lengths))
    sidecar = folder / f"{description.name}.json"
    named = {"sidecar": sidecar, "image": folder / "image.hex", "vectors": folder / "vectors.npz"}
    files = {name: str(path.absolute()) for name, path in named.items()}
    return files | {
        "driver": str(compile_driver(folder).absolute()),
        "beat": description.input_beat,
        "dac_range": [*description.dac.range],
    }


def cut_short(description: Description, x: Tensor, lengths: Tensor) -> tuple[Tensor, list[int]]:
    """Set the last beats of the last step of every other sequence to the code of 0.

    Returns the new x, and the number of such beats of each sequence.
    """
    block, x, cut = StreamIn(description), x.clone(), [0] * len(lengths)
    for n in range(0, len(lengths), 2):
        cut[n] = 1 + n // 2 % (block.beats - 1) if block.beats > 1 else 0
        x[n, lengths[n] - 1, (block.beats - cut[n]) * block.beat :] = description.dac.zero
    return x, cut


def compile_driver(folder: Path) -> Path:
    """Compile the package's driver as a shared library with callbacks for bus access."""
    library = folder / "driver.so"
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    includes = [f"-I{folder / name}" for name in ("driver", "registers")]
    command = ["gcc", *flags, *includes, "-o", str(library), str(DRIVER_BUS)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return library
