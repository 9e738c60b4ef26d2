"""synth, ppa: synthesis for standard cells or an FPGA, energy and area."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen.ip.options import PERIOD_NS
from golden.errors import WordlineError
from wordline.cli.app import (
    BUILD,
    DATA,
    BuildDir,
    Cells,
    DataDir,
    Name,
    Period,
    app,
    interruptible,
    refuse,
    terminal,
)
from wordline.cli.report import Open, Report, made

if TYPE_CHECKING:
    from rich.table import Table

    from gen.impl.cells import OwnCells
    from wordline.flow.synthesise import NetlistRun, Placement, Synthesis


@app.command("synth")
@interruptible
def synth_(
    context: typer.Context,
    name: Name,
    target: Annotated[
        str, typer.Option(help="Standard cells (osu018, osu035), or an FPGA (ecp5).")
    ] = "osu018",
    period: Period = None,
    cells: Cells = None,
    liberty: Annotated[
        Path | None, typer.Option(help="Liberty file of your own cells, instead of --target.")
    ] = None,
    cells_verilog: Annotated[
        Path | None, typer.Option(help="With --liberty: Verilog of the cells, for --sequences.")
    ] = None,
    lef: Annotated[
        Path | None, typer.Option(help="With --liberty: LEF, for areas that the Liberty lacks.")
    ] = None,
    memories: Annotated[
        int | None,
        typer.Option(
            help="Make memories of at least this many bits black boxes; default: flip-flops.", min=1
        ),
    ] = None,
    sequences: Annotated[
        int,
        typer.Option(help="Number of test sequences to simulate at gate level.", min=0),
    ] = 0,
    data_dir: DataDir = DATA,
    device: Annotated[str, typer.Option(help="ecp5: 25k, 45k or 85k (LUTs).")] = "85k",
    case: Annotated[str, typer.Option(help="ecp5: the device's package.")] = "CABGA756",
    pins: Annotated[
        Path | None, typer.Option(help="ecp5: an .lpf file; default: pins go anywhere.")
    ] = None,
    seed: Annotated[int, typer.Option(help="ecp5: seed of the placer.", min=0)] = 0,
    report: Report = True,
    open_: Open = False,
    build_dir: BuildDir = BUILD,
) -> None:
    """Synthesise a design for standard cells or an FPGA: area by block, shortest clock period.

    Standard cells of a target, or your own with --liberty: the crossbar macros are black boxes
    with a timing budget (docs/integration.md). Needs Yosys (pip install 'wordline[synth]'),
    OpenSTA (`sta`) and the cells. --sequences N simulates the netlist of the trained network in
    build/NAME in Icarus (`iverilog`), compares every result and rejects any X on an output.

    ecp5: places and routes the design and the behavioural model of its crossbars behind a serial
    line of three pins, and writes the bitstream. A step takes more cycles than on a chip. The
    package holds the trained network of build/NAME, if there is one. Needs Yosys and nextpnr (the
    same `pip install`).
    """

    from gen.impl.cells import CELLS
    from wordline.flow import recipe as recipes
    from wordline.flow import synthesise as flow

    recipe = recipes.load(name)
    period_ns = PERIOD_NS if period is None else period
    own = _own_cells(context, liberty, cells_verilog, lef)
    if target == "ecp5" and own is None:
        given = ("sequences", "cells", "data_dir", "memories")
        refuse(context, given, "is for standard cells, not ecp5")
        with terminal.bars() as bar:
            placement = flow.place(
                *(recipe, build_dir),
                device=device,
                case=case,
                pins=pins,
                period_ns=period_ns,
                seed=seed,
                command=terminal.command(),
                progress=bar,
            )
        terminal.show(*_device_tables(placement, recipe.description.name))
        terminal.say(_placed(placement, recipe.description.name, period_ns, seed))
        made(placement.folder.parent, wanted=report, show=open_)
        return
    if target in CELLS or own is not None:
        refuse(context, ("device", "case", "pins", "seed"), f"is for ecp5, not {target}")
    with terminal.bars() as bar:
        result = flow.synthesise(
            *(recipe, build_dir),
            target=target,
            period_ns=period_ns,
            library=cells,
            own=own,
            memory_bits=memories,
            first=sequences,
            data_dir=data_dir,
            command=terminal.command(),
            progress=bar,
        )
    terminal.show(_blocks_table(result, recipe.description.name))
    mapped = result.mapped
    for shape, count in mapped.memories.items():
        times = f"{count} of " if count > 1 else ""
        terminal.say(
            f"memory: {times}{shape.module}, {shape.words} x {shape.width} bits, {shape.reads} "
            f"read ports"
        )
    terminal.say(
        f"{result.folder}/: shortest period {mapped.period_ns:.2f} ns "
        f"({1e3 / mapped.period_ns:.0f} MHz, no wires), no latch, no combinational loop, "
        f"{len(mapped.unconstrained)} unconstrained endpoints ({_versions(mapped.versions)})"
    )
    made(result.folder.parent, wanted=report, show=open_)
    if result.run is not None:
        _report_run(result.run, recipe.description.name)


def _own_cells(
    context: typer.Context, liberty: Path | None, cells_verilog: Path | None, lef: Path | None
) -> "OwnCells | None":
    """The user's own library, if there is one."""
    from gen.impl.cells import OwnCells

    if liberty is None:
        if cells_verilog is not None or lef is not None:
            raise WordlineError("--cells-verilog and --lef are for --liberty; give that too.")
        return None
    refuse(context, ("target", "cells"), "names cells, as --liberty does")
    return OwnCells(
        name=re.sub(r"[^A-Za-z0-9_.-]", "-", liberty.stem),
        own_liberty=liberty,
        own_verilog=cells_verilog,
        own_lef=lef,
    )


def _blocks_table(result: "Synthesis", name: str) -> "Table":
    """Cells and area by block."""
    from rich.table import Table

    mapped = result.mapped
    title = f"{name}, {result.cells.name}"
    table = Table("block", "cells", "flip-flops", "area in um2", "%", title=title)
    for block in mapped.blocks:
        share = f"{100 * block.area / mapped.area:.1f}"
        numbers = (f"{block.cells:,}", f"{block.flip_flops:,}", f"{block.area:,.0f}", share)
        table.add_row(block.name, *numbers)
    sums = (sum(b.cells for b in mapped.blocks), sum(b.flip_flops for b in mapped.blocks))
    table.add_row("all", *(f"{n:,}" for n in sums), f"{mapped.area:,.0f}", "100")
    return table


def _report_run(run: "NetlistRun", name: str) -> None:
    """Print the verdict on a netlist, and its energy."""
    if not run.passed:
        terminal.say(
            f"RED: the netlist does not do what golden does, or gives an X; {run.log} says where."
        )
        raise typer.Exit(1)
    terminal.show(_energies(run, name))
    values = f"{run.values_compared:,} values equal"
    terminal.say(
        f"GREEN: {run.sequences} sequences through the netlist, {values}, no X on any output"
    )


def _energies(run: "NetlistRun", name: str) -> "Table":
    """Energy and power by block, from a simulation."""
    from rich.table import Table

    from gen.cost.energy import Energy

    assert run.nets is not None and run.energies is not None
    seconds = run.nets.changes["aclk"] / 2 * PERIOD_NS * 1e-9
    title = f"{name}, {run.steps} steps, at {1e3 / PERIOD_NS:.0f} MHz, no wires"
    table = Table("block", "nJ a step", "of it clock", "mW", "leakage in uW", title=title)
    ordered = sorted(run.energies.items(), key=lambda entry: -entry[1].dynamic)
    whole = sum(run.energies.values(), Energy(0, 0, 0))
    for block, energy in [*ordered, ("all", whole)]:
        each = energy.dynamic / 1e3 / run.steps, energy.clock / 1e3 / run.steps
        milliwatts = energy.dynamic * 1e-9 / seconds
        leakage = energy.leakage_nw / 1e3
        table.add_row(block, *(f"{v:.3f}" for v in (*each, milliwatts, leakage)))
    return table


def _device_tables(placement: "Placement", name: str) -> tuple["Table", "Table"]:
    """Resources of a device, by block and in total."""
    from rich.table import Column, Table

    from gen.impl import ecp5

    placed = placement.placed
    device = f"LFE5U-{placement.device.removesuffix('k')}F, speed grade {ecp5.SPEED}"
    kinds = [*ecp5.KINDS.values()]
    # Block names must not wrap; headings may.
    column = Column("block", no_wrap=True, min_width=max(len(b.name) for b in placed.blocks))
    table = Table(column, *kinds, title=f"{name}, {device}")
    for block in placed.blocks:
        table.add_row(block.name, *(f"{block.cells.get(kind, 0):,}" for kind in kinds))
    sums = [sum(b.cells.get(kind, 0) for b in placed.blocks) for kind in kinds]
    table.add_row("all", *(f"{n:,}" for n in sums))
    used = Table("of the device", "used", "of", "%")
    for kind, (taken, there) in placed.used.items():
        used.add_row(kind, f"{taken:,}", f"{there:,}", f"{100 * taken / there:.0f}")
    return table, used


def _placed(placement: "Placement", name: str, period_ns: float, seed: int) -> str:
    placed = placement.placed
    return (
        f"{placement.folder}/{name}.bit: {placed.mhz:.1f} MHz (asked for {1e3 / period_ns:.1f}; "
        f"seed {seed}) with the deep pipeline and array.settle = {placed.settle}, no latch, no "
        f"combinational loop, {len(placed.unconstrained)} unconstrained ports "
        f"({_versions(placed.versions)})"
    )


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{tool} {version}" for tool, version in versions.items())


@app.command("ppa")
@interruptible
def ppa_(
    context: typer.Context,
    name: Name,
    sequences: Annotated[
        int, typer.Option(help="Number of test sequences to simulate at gate level.", min=1)
    ] = 5,
    components: Annotated[
        Path | None,
        typer.Option(help="TOML file of your component figures; list only those that differ."),
    ] = None,
    write_template: Annotated[
        Path | None,
        typer.Option(help="Write all component figures to this file and stop."),
    ] = None,
    twin: Annotated[
        bool, typer.Option("--twin/--no-twin", help="Include or leave out the digital twin.")
    ] = True,
    node: Annotated[
        int, typer.Option(help="Technology node of the results in nm, 7 to 180.", min=7, max=180)
    ] = 32,
    model: Annotated[
        bool,
        typer.Option("--model", help="Estimate in seconds, without training, synthesis or gates."),
    ] = False,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE,...",
            help="With --model: estimate at each value of a field (array.lanes=4,64) or of a "
            "figure (settle=3,8,15). Repeat it for all combinations.",
        ),
    ] = None,
    cells: Cells = None,
    report: Report = True,
    open_: Open = False,
    data_dir: DataDir = DATA,
    build_dir: BuildDir = BUILD,
) -> None:
    """Estimate energy and area of the trained network in build/NAME and of its digital twin.

    Maps both onto standard cells of 180 nm, simulates them at gate level, compares the results with
    golden and counts activity. Cells are scaled to --node; converters, arrays and memories take
    published figures (docs/efficiency.md). Needs the tools of `wordline synth --sequences`. Counts
    are kept, so another --components or --node takes no time.

    --model estimates the counts instead, for any size in seconds. Results: build/NAME/ppa/.
    """

    from gen.cost import components as figures
    from gen.cost import summary, sweep
    from golden import files
    from wordline.flow import cost
    from wordline.flow import recipe as recipes

    if write_template is not None:
        if write_template.exists():
            raise WordlineError(f"{write_template} exists; give another name, or delete it.")
        files.write_text(write_template, figures.template())
        terminal.say(f"{write_template}: change what differs, and delete the rest")
        return
    if vary and not model:
        raise WordlineError("--vary is for estimates; give --model too.")
    if model:
        refuse(context, ("sequences", "cells", "data_dir"), "is for counts in gates, not --model")
        with terminal.bars() as bar:
            estimate = cost.estimate(
                *(recipes.load(name), build_dir),
                vary=sweep.read_axes(vary or []),
                components=components,
                node=node,
                twins=twin,
                command=terminal.command(),
                progress=bar,
            )
        terminal.show(*summary.estimates(estimate.found))
        count = len(estimate.found["rows"])
        terminal.say(f"{estimate.path}: low, typical and high (silicon) figures, {count} point(s)")
        made(estimate.path.parents[1], wanted=report, show=open_)
        return
    with terminal.bars() as bar:
        result = cost.cost(
            *(recipes.load(name), build_dir),
            first=sequences,
            components=components,
            node=node,
            twins=twin,
            library=cells,
            data_dir=data_dir,
            command=terminal.command(),
            progress=bar,
        )
    terminal.show(*summary.tables(result.found))
    terminal.say(f"{result.folder}/ppa.json: {summary.sentence(result.found)}")
    made(result.folder.parent, wanted=report, show=open_)
