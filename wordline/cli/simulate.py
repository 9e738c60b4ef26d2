"""emit, sim: write the files of a design, and compare its Verilog with the golden model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golden.errors import WordlineError
from wordline.cli.app import (
    BUILD,
    DATA,
    BuildDir,
    DataDir,
    Device,
    EffectsName,
    Force,
    Name,
    Noise,
    Passes,
    Period,
    Placement,
    Seed,
    VoteBy,
    Votes,
    app,
    interruptible,
    refuse,
    terminal,
)
from wordline.cli.report import Open, Report, made
from wordline.cli.train import WORTH

if TYPE_CHECKING:
    from rich.table import Table


@app.command()
@interruptible
def emit(
    name: Name,
    program: Annotated[
        Path | None, typer.Option(help="A trained program; default: the one in build/NAME.")
    ] = None,
    design_only: Annotated[
        bool, typer.Option("--design-only", help="Emit no image and no vectors: needs no program.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Output folder; default: build/NAME.")] = None,
    macro: Annotated[
        str | None,
        typer.Option(
            help="Write an IP package too, with this view of the crossbars: blackbox (for a chip), "
            "model (for an FPGA) or digital (no crossbars)."
        ),
    ] = None,
    period: Period = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the effects.", min=0)] = None,
    effects_: EffectsName = None,
    votes: Votes = 1,
    vote_by: VoteBy = "majority",
    force: Force = False,
    data_dir: DataDir = DATA,
    build_dir: BuildDir = BUILD,
) -> None:
    """Write Verilog, crossbar stub, sidecar, memory image and golden vectors of a design.

    --macro adds an IP package in FOLDER/package: the design behind AXI with constraints, register
    map, driver, testbenches and FuseSoC core (docs/integration.md).
    """
    from wordline.flow import emit as flow
    from wordline.flow import recipe as recipes

    recipe = recipes.load(name, seed=seed, effects_=effects_)
    if design_only and (effects_ or votes != 1):
        raise WordlineError(
            "--design-only writes nothing that effects or votes change; leave them out, or it."
        )
    for option, given, without in (
        ("--period", period is not None and macro is None, "--macro"),
        ("--program", design_only and program is not None, "a trained network"),
        ("--seed", seed is not None and not recipe.effects.on, "--effects"),
        ("--vote-by", vote_by != "majority" and votes == 1, "--votes"),
    ):
        if given:
            raise WordlineError(f"{option} has no effect without {without}; leave it out.")
    emitted = flow.emit(
        *(recipe, build_dir),
        program=program,
        design_only=design_only,
        out=out,
        macro=macro,
        period_ns=period,
        votes=votes,
        vote_by=vote_by,
        data_dir=data_dir,
        force=force,
    )
    on = "" if design_only else _effects_on(recipe.effects.on, recipe.effects.seed)
    terminal.say(f"emitted {emitted.folder}/{on and f' with {on}'}")


@app.command()
@interruptible
def sim(
    context: typer.Context,
    name: Name,
    seed: Seed = None,
    sequences: Annotated[
        int | None, typer.Option(help="Number of sequences of the test set; default: all.", min=1)
    ] = None,
    stall: Annotated[
        float, typer.Option(help="Probability of a stall at each transfer.", min=0, max=0.95)
    ] = 0.0,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--input", help="An .npz with x or codes, lengths, labels, instead of the test set."
        ),
    ] = None,
    program: Annotated[
        Path | None, typer.Option(help="A trained program; default: train one.")
    ] = None,
    runner: Annotated[
        str | None,
        typer.Option(
            help="batch: all cores, fast (the default). cocotb: the bench that has --waves."
        ),
    ] = None,
    waves: Annotated[
        str | None,
        typer.Option(
            metavar="STEPS",
            help="Write the waves of these steps to dump.vcd: all, 5 or 5:8, counted from 0 over "
            "all sequences. Selects cocotb.",
        ),
    ] = None,
    noise: Noise = None,
    placement: Placement = None,
    passes: Passes = None,
    effects_: EffectsName = None,
    votes: Votes = 1,
    vote_by: VoteBy = "majority",
    device: Device = "cpu",
    force: Force = False,
    report: Report = True,
    open_: Open = False,
    data_dir: DataDir = DATA,
    build_dir: BuildDir = BUILD,
) -> None:
    """Train, emit, build and simulate the Verilog; compare every value with the golden model.

    --effects adds non-idealities to the chip and to the golden model alike. --votes runs each
    sequence several times and needs a replay buffer (`voting.replay_steps`). Unchanged steps are
    reused; simulation and comparison always run. Results: build/NAME/summary.json and report.html.
    """
    from wordline.flow import recipe as recipes
    from wordline.flow import simulate as flow

    if program is not None:
        trained = ("noise", "placement", "passes", "device")
        refuse(context, trained, "is for training, and --program is trained")
    if votes == 1:
        refuse(context, ("vote_by",), "has no effect without --votes")
    recipe = recipes.load(
        name, seed=seed, noise=noise, placement=placement, passes=passes, effects_=effects_
    )
    with terminal.bars() as bar:
        result = flow.simulate(
            *(recipe, build_dir),
            program=program,
            inputs=inputs,
            first=sequences,
            stall=stall,
            runner=runner,
            waves=waves,
            votes=votes,
            vote_by=vote_by,
            device=device,
            data_dir=data_dir,
            force=force,
            command=terminal.command(),
            progress=bar,
        )
    terminal.show(_summary_table(result.summary))
    if result.mismatches:
        first = f"{result.mismatches:,} values differ, first {result.first_difference}"
        terminal.say(f"RED: {first}", style="bold red")
    elif not result.passed:
        said = "no value differs, but the simulation did not end as it should; see its log"
        terminal.say(f"RED: {said}", style="bold red")
    else:
        equal = f"{result.values_compared:,} values equal"
        rtl = " and ".join(file for file in result.summary["files"] if file.endswith(".v"))
        terminal.say(f"GREEN: {equal}: {rtl} in {result.folder}/", style="bold green")
    for file in result.edited:
        said = f"{result.folder / file} was edited since it was emitted, and was simulated as it is"
        terminal.say(f"EDITED: {said}", style="yellow")
    for file in result.not_compared:
        terminal.say(f"NOT COMPARED: {file}, which differs from it", style="yellow")
    if result.waves:
        terminal.say(f"waves: {result.waves}")
        terminal.say(f"  gtkwave {result.waves} {result.waves.with_suffix('.gtkw')}")
        terminal.say(f"  surfer --command-file {result.waves.with_suffix('.sucl')} {result.waves}")
    made(result.folder, wanted=report, show=open_)
    if not result.passed:
        raise typer.Exit(1)


def _effects_on(on: tuple[str, ...] | list[str], seed: int) -> str:
    return f"{', '.join(on)} (seed {seed})" if on else ""


def _summary_table(summary: dict[str, Any]) -> "Table":
    """Table of the results."""
    from rich.table import Table

    table = Table(show_header=False, title=f"{summary['name']}, seed {summary['seed']}")
    labels = ["float", "golden", "rtl"]
    if summary["effects"]["on"] or summary["votes"] > 1:
        labels.insert(1, "ideal")
    for name, how in WORTH.items():
        for label in labels:
            if f"{label}_{name}" in summary:
                value = summary[f"{label}_{name}"]
                words = "-" if value is None else how.removeprefix("RMSE").strip().format(value)
                table.add_row(f"{label} {name}", words)
    if on := summary["effects"]["on"]:
        table.add_row("effects", _effects_on(on, summary["effects"]["given"]["seed"]))
    if summary["votes"] > 1:
        table.add_row("votes", f"{summary['votes']}, by {summary['vote_by']}")
    table.add_row("sequences, steps", f"{summary['sequences']:,}, {summary['timesteps']:,}")
    table.add_row("values compared", f"{summary['values_compared']:,}")
    table.add_row("mismatches", f"{summary['mismatches']:,}")
    cycles = f"{summary['cycles_per_step']} (ADC: {summary['adc_cycles_per_step']})"
    table.add_row("cycles a step", cycles)
    seconds = ", ".join(f"{stage} {value:.1f}" for stage, value in summary["seconds"].items())
    table.add_row("seconds", seconds)
    return table
