"""Synthesis for standard cells or an FPGA: resources of each block, and speed."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gen.cost import energy
from gen.cost.activity import Activity
from gen.impl import cells, ecp5, library, synth, yosys
from gen.impl.cells import CELLS
from gen.ip.options import PERIOD_NS
from gen.rtl.generated import Generated
from golden.errors import WordlineError
from golden.files import DATA
from golden.presets import Recipe
from golden.program import Program
from wordline.flow import emit, record, sequences
from wordline.flow.recipe import on_chip
from wordline.flow.train import Progress

Stage = Callable[[str], None]


@dataclass(frozen=True)
class NetlistRun:
    """Sequences of the test set, simulated at gate level.

    passed: Every result equals golden's, and no output was X.
    log: Log of the simulator.
    energies: Energy by block; None if the run did not pass.
    nets: Switching activity of the nets; None if the run did not pass.
    """

    sequences: int
    steps: int
    passed: bool
    values_compared: int
    log: Path
    energies: dict[str, energy.Energy] | None
    nets: Activity | None


@dataclass(frozen=True)
class Synthesis:
    """A design in standard cells.

    folder: Folder of the results.
    cells: The cell library.
    mapped: Area by block, clock period and constraints.
    run: Gate-level simulation; None if there was none.
    """

    folder: Path
    cells: cells.Cells
    mapped: synth.Result
    run: NetlistRun | None


def synthesise(
    recipe: Recipe,
    build_dir: Path = Path("build"),
    *,
    target: str = "osu018",
    period_ns: float = PERIOD_NS,
    library: Path | None = None,
    own: cells.OwnCells | None = None,
    memory_bits: int | None = None,
    first: int = 0,
    data_dir: Path = DATA,
    command: str | None = None,
    progress: Progress = lambda *_: None,
) -> Synthesis:
    """Map a design onto standard cells, in build_dir/NAME/synth-TARGET.

    - `target`: One of `gen.impl.cells.CELLS`.
    - `period_ns`: Target clock period (ns).
    - `library`: Folder of the target's files; None: where Debian installs them.
    - `own`: Your own library; its name replaces TARGET.
    - `memory_bits`: Make memories of at least this many bits black boxes; None: all memories are
      flip-flops.
    - `first`: Number of sequences of the test set to simulate at gate level, with the trained
      program in build_dir/NAME.
    - `command`: The command that runs this, for the record.

    Raises WordlineError if a tool, the cells or the program is missing.
    """
    if own is None and target not in CELLS:
        raise WordlineError(f"Unknown target {target!r}; choose {targets()}.")
    onto, description = own or CELLS[target], recipe.description
    folder = build_dir / description.name / f"synth-{onto.name}"
    cells.check_mapping(onto, library)
    inputs = None
    if first:  # before any slow step
        inputs = netlist_inputs(recipe, build_dir, first, data_dir)
        cells.check_gates(onto, library)
    stage = stages(progress)
    mapped = synth.synthesise(
        *(description, onto, folder),
        period_ns=period_ns,
        library=library,
        memory_bits=memory_bits,
        progress=stage,
    )
    stage("")
    run = _run(*inputs, folder, onto, library, progress) if inputs else None
    record.synthesis(folder, description, onto.name, mapped, run, command)
    return Synthesis(folder, onto, mapped, run)


def _run(
    program: Program,
    codes: Tensor,
    lengths: Tensor,
    folder: Path,
    onto: cells.Cells,
    cells_folder: Path | None,
    progress: Progress,
) -> NetlistRun:
    from sim import netlist

    count = len(lengths)
    sources = [folder / "netlist.v", folder / "memories.v", onto.verilog(cells_folder)]
    progress("simulate", 0, count)
    result = netlist.simulate_netlist(
        *(program, codes, lengths, folder / "simulation", sources),
        registers=yosys.registers(sources[0], library.read(onto, cells_folder)),
        progress=lambda done, total: progress("simulate", done, total),
    )
    progress("simulate", count, count)
    energies = nets = None
    if result["passed"]:
        progress("count", 0, 1)
        energies, nets = netlist.counted(program.description, onto, folder, cells_folder)
        progress("count", 1, 1)
    return NetlistRun(
        sequences=count,
        steps=int(lengths.sum()),
        passed=bool(result["passed"]),
        values_compared=int(result.get("values_compared", 0)),
        log=folder / "simulation" / "icarus" / "sim.log",
        energies=energies,
        nets=nets,
    )


@dataclass(frozen=True)
class Placement:
    """A design placed and routed on an FPGA, behind a serial line.

    folder: Folder of the bitstream and the package.
    device: Name of the device.
    placed: Resources, clock frequency and versions.
    """

    folder: Path
    device: str
    placed: ecp5.Result


def place(
    recipe: Recipe,
    build_dir: Path = Path("build"),
    *,
    device: str = "85k",
    command: str | None = None,
    progress: Progress = lambda *_: None,
    **options: Any,
) -> Placement:
    """Place and route a design on a Lattice ECP5, in build_dir/NAME/synth-ecp5.

    The package contains the trained program of build_dir/NAME, if there is one.

    - `device`: One of `gen.impl.ecp5.DEVICES`.
    - `command`: The command that runs this, for the record.
    - `options`: Further options of `gen.impl.ecp5.place`.

    Raises WordlineError if a tool is missing or the design does not fit.
    """
    if device not in ecp5.DEVICES:
        raise WordlineError(f"Unknown device {device!r}; choose {' or '.join(ecp5.DEVICES)}.")
    description = recipe.description
    folder = build_dir / description.name / "synth-ecp5"
    trained, board = folder.parent / "program.safetensors", None
    if trained.exists():
        loaded = on_chip(Program.load(trained, description), recipe)
        board = dataclasses.replace(loaded, description=ecp5.for_board(description))
    stage = stages(progress)
    placed = ecp5.place(description, folder, device=device, **options, progress=stage)
    stage("")
    if board is not None:
        emit.write_images(board, Generated(folder / "package"))
    record.placement(folder, description, device, placed, command)
    return Placement(folder, device, placed)


def targets() -> str:
    """Targets of synthesis, as text."""
    return " or ".join([*CELLS, "ecp5"])


def netlist_inputs(
    recipe: Recipe, build_dir: Path, first: int, data_dir: Path
) -> tuple[Program, Tensor, Tensor]:
    """The trained program in build_dir/NAME, and DAC codes and lengths of test sequences.

    first: Number of sequences.
    """
    path = build_dir / recipe.description.name / "program.safetensors"
    loaded = on_chip(Program.load(path, recipe.description), recipe)
    test = sequences.test_set(recipe, data_dir)
    lengths = test.lengths[:first]
    return loaded, sequences.encode(loaded, test)[:first, : int(lengths.max())], lengths


def stages(progress: Progress) -> Stage:
    """Report stages of unknown length to a progress callback. An empty name ends the last one."""
    before = ""

    def stage(name: str) -> None:
        nonlocal before
        if before:
            progress(before, 1, 1)
        before = name
        if name:
            progress(name, 0, 1)

    return stage
