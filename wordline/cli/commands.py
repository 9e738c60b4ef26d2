"""The `wordline` command."""

import contextlib
import dataclasses
import functools
import json
import math
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from gen.cost import activity, ppa, twin
from gen.cost import resources as fitting
from gen.impl import ecp5, synth
from gen.ip import package
from gen.rtl import image
from golden import datasets, effects, files, presets, training
from golden.datasets import sets
from golden.description import Description, build, plain, replaced
from golden.errors import WordlineError, WordlineNote
from golden.frontends import pytorch
from golden.frontends.convert import ArrayReport
from golden.presets import Recipe
from golden.program import Program, check_votes
from wordline.flow import cache, stages

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""LSTMs and RNNs from PyTorch to Verilog for NVM crossbar accelerators, proved bit-exact.

    NAME is a preset (`wordline presets`) or the path of a TOML file. Everything goes to
    build/NAME/, data sets to data/. `wordline sim NAME` does all of it: train, emit, build with
    Verilator, run the test set, compare every value with the golden model.

    Exit status: 0 all equal, 1 RTL and golden differ, 2 a mistake in what was given.
    """,
)
console = Console()

Name = Annotated[str, typer.Argument(help="A preset, or the path of a TOML file.")]
BuildDir = Annotated[Path, typer.Option(help="Where build folders go.")]
DataDir = Annotated[Path, typer.Option(help="Where data sets are (`wordline data`).")]
Seed = Annotated[int | None, typer.Option(help="Instead of the recipe's seed.", min=0)]
Device = Annotated[str, typer.Option(help="PyTorch device for training: cpu, cuda, ...")]
Noise = Annotated[
    str | None,
    typer.Option(
        help="Train with noise: a signal-to-noise ratio in dB, 'hardware' (the effects) or 'none'."
    ),
]
Placement = Annotated[
    str | None,
    typer.Option(help="Where noise of a ratio is: pre-activations, or every (vector)."),
]
EffectsName = Annotated[
    str | None,
    typer.Option(
        "--effects",
        help=f"What the hardware does: {', '.join(effects.PRESETS)}, or a TOML file.",
    ),
]
Votes = Annotated[int, typer.Option(help="Passes over each sequence, which vote on its class.")]
VoteBy = Annotated[str, typer.Option(help="How passes vote: majority, or sum (of scores).")]
BUILD = Path("build")


def main() -> None:
    """Run the command; a user's mistake is one sentence and exit status 2."""
    torch.set_num_threads(1)  # the sizes here are small: more threads only wait for each other
    try:
        with _notes():
            app()
    except WordlineError as error:
        sys.exit(_complain(str(error), 2))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(_complain(f"{where}{error.strerror or error}; nothing was half-written.", 2))


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """A note of the library is a line on stderr, once; other warnings are shown as Python does."""
    said: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def line(message: Warning | str, category: type[Warning], *args: Any, **more: Any) -> None:
            if not issubclass(category, WordlineNote):
                show(message, category, *args, **more)
            elif str(message) not in said:
                said.add(str(message))
                _complain(str(message), 0, style="yellow")

        warnings.showwarning = line
        warnings.simplefilter("always", WordlineNote)
        yield


def _complain(sentence: str, status: int, style: str = "red") -> int:
    _say(f"wordline: {sentence}", Console(stderr=True, soft_wrap=True), style=style)
    return status


def _say(sentence: str, where: Console = console, **style: Any) -> None:
    """Print words as they are: a path may have brackets."""
    where.print(sentence, markup=False, highlight=False, **style)


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """Ctrl-C ends a command with a sentence and exit status 130."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            raise typer.Exit(
                _complain("Interrupted; finished stages are kept, run it again to go on.", 130)
            ) from None

    return run


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar a stage: call with the stage, what is done, and the total."""
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, Any] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done)

        yield update


def _recipe(
    name: str,
    *,
    seed: int | None = None,
    noise: str | None = None,
    placement: str | None = None,
    effects_: str | None = None,
) -> Recipe:
    """A recipe with what the command line has in its place; the seed is that of the chip too."""
    recipe = presets.load(name)
    settings = plain(recipe.training)
    if noise is not None:
        settings |= {"noise": noise, "placement": "pre-activations"}
        with contextlib.suppress(ValueError):
            settings["noise"] = float(noise.lower().removesuffix("db"))
    if placement is not None:
        settings["placement"] = placement
    own = recipe.effects if effects_ is None else effects.load(effects_)
    if seed is not None:
        settings["seed"] = seed
        own = replaced(own, seed=seed)
    settings_ = build(training.Training, settings, "training")
    return dataclasses.replace(recipe, training=settings_, effects=own)


def _chip(program: Program, recipe: Recipe, votes: int, vote_by: str) -> Program:
    """A program as the hardware holds it: with the recipe's effects, and so many votes."""
    program = dataclasses.replace(program, votes=votes, vote_by=vote_by)  # type: ignore[arg-type]
    return effects.apply(program, recipe.effects)


@app.command("presets")
def presets_() -> None:
    """List the presets."""
    titles = ("name", "cell", "network", "w/DAC/ADC", "lanes", "votes", "data")
    table = Table(*titles, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, recipe in presets.PRESETS.items():
        d = recipe.description
        bits = f"{d.device.weight_bits}/{d.dac.bits}/{d.adc.bits}"
        network = "-".join(map(str, (d.network.inputs, *d.network.hidden, d.network.classes)))
        votes = str(d.voting.max_votes) if d.voting.replay_steps else "-"
        lanes = str(d.array.lanes)
        table.add_row(name, d.cell.kind, network, bits, lanes, votes, recipe.training.dataset)
    console.print(table)


@app.command()
def describe(
    name: Name,
    toml: Annotated[bool, typer.Option("--toml", help="Print the recipe, every field.")] = False,
) -> None:
    """Show what a description comes to: arrays, converters, cycles. Builds nothing.

    `wordline describe vowels --toml > mine.toml` is the start of your own.
    """
    recipe = presets.load(name)
    if toml:
        print(recipe.to_toml(), end="")
        return
    description = recipe.description
    table = Table("", *description.arrays, title=description.name)
    rows = {
        "rows": "rows",
        "units x gates": "",
        "lanes (ADCs)": "lanes",
        "conversions a lane and step": "selects",
        "conversion cycles a step": "conversion_cycles",
        "largest column charge": "charge_max",
        "ADC shift": "adc_shift",
        "units a cycle in the gates": "units_per_beat",
    }
    for label, attribute in rows.items():
        shapes = description.arrays.values()
        values = [
            str(getattr(s, attribute)) if attribute else f"{s.units} x {s.gates}" for s in shapes
        ]
        table.add_row(label, *values)
    console.print(table)
    array, latency = description.array, description.layers[0].gate_latency
    _say(f"pipeline {array.pipeline} (gates take {latency} cycles), settle {array.settle} cycles")
    _say(f"fingerprint {description.fingerprint}")


@app.command()
def fit(
    network: Annotated[
        str, typer.Argument(help="A preset or TOML file, or a model as `wordline import` takes.")
    ],
    design: Annotated[
        str | None, typer.Option(help="For a model: a preset or TOML file with the rest of it.")
    ] = None,
    rows: Annotated[int | None, typer.Option(help="Of a crossbar, at most.")] = None,
    columns: Annotated[int | None, typer.Option(help="Of a crossbar, at most.")] = None,
    lanes: Annotated[int | None, typer.Option(help="ADCs of a crossbar.")] = None,
) -> None:
    """Say what a network needs: crossbars, ADCs, memories and cycles. Builds nothing.

    `wordline fit vowels --rows 32 --columns 32` tries smaller crossbars.
    """
    if Path(network).suffix in pytorch.FILES:
        recipe = presets.load(design or "vowels")
        description = pytorch.read(Path(network)).fit(recipe.description)
    elif design is not None:
        raise WordlineError(
            f"--design is for a model's file, and {network} is a whole design; leave it out."
        )
    else:
        description = presets.load(network).description
    given = {"rows": rows, "columns": columns, "lanes": lanes}
    description = description.replace(array={k: v for k, v in given.items() if v is not None})
    arrays = fitting.needs(description)
    table = Table("", *(array.name for array in arrays), "all", title=description.name)
    for label, values in _fit_rows(arrays, description.output.every_step).items():
        table.add_row(label, *values)
    console.print(table)


def _fit_rows(arrays: Sequence[fitting.ArrayNeeds], every_step: bool) -> dict[str, list[str]]:
    """Lines of the table, by their titles: each array's, then what all of them have. every_step:
    the head works in every step too."""
    busy = [array for array in arrays if every_step or array.name != "head"]

    def line(of: Callable[[fitting.ArrayNeeds], int], whole: int | None = None) -> list[str]:
        values = [of(array) for array in arrays]
        return [f"{value:,}" for value in (*values, sum(values) if whole is None else whole)]

    total = sum(a.used for a in arrays) / sum(a.cells for a in arrays)
    shares = [*(a.used / a.cells for a in arrays), total]
    tiles = [f"{a.crossbars[0]} x {a.crossbars[1]}" for a in arrays]
    return {
        "crossbars (row x column tiles)": [
            *tiles,
            f"{sum(a.crossbars[0] * a.crossbars[1] for a in arrays):,}",
        ],
        "rows x columns of each": [*(f"{a.size[0]} x {a.size[1]}" for a in arrays), ""],
        "cells (pairs)": line(lambda a: a.cells),
        "of them used": [f"{100 * share:.0f} %" for share in shares],
        "ADCs": line(lambda a: a.adcs),
        "bits of a column's code": [*(str(a.code_bits) for a in arrays), ""],
        "memory in bits": line(lambda a: a.memory_bits),
        "ADC cycles a step": line(
            lambda a: a.conversion_cycles, max(a.conversion_cycles for a in busy)
        ),
        "cycles a step": line(lambda a: a.cycles, max(a.cycles for a in busy)),
    }


@app.command()
@_interruptible
def train(
    name: Name,
    seed: Seed = None,
    noise: Noise = None,
    placement: Placement = None,
    effects_: EffectsName = None,
    seeds: Annotated[
        int, typer.Option(help="Train this many seeds and show accuracies; saves nothing.", min=1)
    ] = 1,
    device: Device = "cpu",
    data_dir: DataDir = sets.DATA,
    build_dir: BuildDir = BUILD,
) -> None:
    """Train a float network, then the quantised one from it; accuracies are of the test set.

    What is trained is an ideal chip's program; effects enter with `--noise hardware` alone.
    """
    recipe = _recipe(name, seed=seed, noise=noise, placement=placement, effects_=effects_)
    if seeds > 1:
        _train_seeds(recipe, seeds, device, data_dir)
        return
    folder = build_dir / recipe.description.name
    program, _ = _train(recipe, folder, device, data_dir)
    both = (stages.of_stage(program.about, stage) for stage in ("float", "golden"))
    reference, golden = (_worth(values) for values in both)
    _say(
        f"{folder / 'program.safetensors'}: float {reference}; quantised {golden} "
        f"(seed {recipe.training.seed}, noise {recipe.training.noise})"
    )


WORTH = {"accuracy": "{:.2f} %", "bits": "{:.3f} bits a label", "rmse": "RMSE {:.4f}"}
"""How `golden.measures` are written."""


def _worth(values: dict[str, float]) -> str:
    """Measures in words."""
    return ", ".join(WORTH[name].format(value) for name, value in values.items())


def _train(recipe: Recipe, folder: Path, device: str, data_dir: Path) -> tuple[Program, float]:
    with _bar() as bar:
        stage = stages.train(
            recipe,
            folder,
            device=device,
            data_dir=data_dir,
            progress=lambda what, done, total, _: bar(f"train, {what}", done, total),
        )
    return stage.program, stage.seconds


def _train_seeds(recipe: Recipe, seeds: int, device: str, data_dir: Path) -> None:
    data = datasets.load(recipe.training.dataset, data_dir)
    table = Table("seed", "float", "quantised")
    rows = []
    with _bar() as bar:
        for seed in range(recipe.training.seed, recipe.training.seed + seeds):
            settings = replaced(recipe.training, seed=seed)
            result = training.train(
                *(recipe.description, settings, data),
                device=device,
                effects=recipe.effects,
                levels=recipe.levels,
            )
            (name, before), after = next(iter(result.reference.items())), result.golden
            rows.append((before, after[name]))
            table.add_row(str(seed), *(_worth({name: value}) for value in rows[-1]))
            bar("seeds", len(rows), seeds)
    scores = torch.tensor(rows)
    mean, spread = scores.mean(0).tolist(), scores.std(0).tolist()
    table.add_row("mean", *(f"{m:.4g} ± {s:.2g}" for m, s in zip(mean, spread, strict=True)))
    console.print(table)


@app.command("import")
@_interruptible
def import_(
    model: Annotated[
        Path,
        typer.Argument(
            help="ONNX (.onnx), or a state_dict (.safetensors, or .pt with nothing else)."
        ),
    ],
    calibration: Annotated[
        Path,
        typer.Option(help="Typical inputs, .npz: `x`; `lengths`; `labels` to fine-tune with."),
    ],
    design: Annotated[
        str | None,
        typer.Option(help="A preset or TOML file: all of it but name, network and cell.kind."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the design; else the file's.")] = None,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Train the quantised network on.")
    ] = False,
    epochs: Annotated[int | None, typer.Option(help="Of fine-tuning; else the design's.")] = None,
    test: Annotated[
        Path | None, typer.Option(help="Held-out sequences with `labels`, to measure on.")
    ] = None,
    seed: Seed = None,
    device: Device = "cpu",
    build_dir: BuildDir = BUILD,
) -> None:
    """Quantise a trained LSTM or RNN of yours: the same exact program as from training here.

    What is taken: nn.LSTM or nn.RNN layers in one direction, then one nn.Linear, or none.
    """
    recipe = presets.load(design) if design else Recipe(presets.PRESETS["vowels"].description)
    name = name or re.sub(r"[^a-z0-9_-]+", "-", model.stem.lower()).strip("-_0123456789") or "model"
    recipe = dataclasses.replace(recipe, description=recipe.description.replace(name=name))
    changes = {k: v for k, v in (("seed", seed), ("epochs", epochs)) if v is not None}
    recipe = dataclasses.replace(recipe, training=replaced(recipe.training, **changes))
    folder = build_dir / name
    with _bar() as bar:
        imported = stages.import_(
            *(model, recipe, calibration, folder),
            fine_tune=fine_tune,
            test=test,
            device=device,
            progress=lambda what, done, total, _: bar(f"train, {what}", done, total),
        )
    console.print(_arrays_table(imported.conversion.arrays))
    for stage, values in imported.measures.items():
        _say(f"{stage}: {_worth(values)} on {test}")
    toml, program = folder / f"{name}.toml", folder / "program.safetensors"
    _say(f"{program}: wordline sim {toml} --program {program} --input YOUR.npz")


def _arrays_table(arrays: Sequence[ArrayReport]) -> Table:
    """What conversion does to each array."""
    table = Table("array", "signal", "error", "dB", "clipped", "weight error", "bias corrected")
    for array in arrays:
        ratio = 20 * math.log10(max(array.signal, 1e-12) / max(array.error, 1e-12))
        table.add_row(
            *(array.name, f"{array.signal:.3f}", f"{array.error:.3f}", f"{ratio:.1f}"),
            *(f"{100 * array.clipped:.1f} %", f"{100 * array.weight_error:.1f} %"),
            f"{array.bias:.3f}",
        )
    return table


@app.command()
@_interruptible
def emit(
    name: Name,
    program: Annotated[
        Path | None, typer.Option(help="A trained program; else the one in build/NAME.")
    ] = None,
    design_only: Annotated[
        bool, typer.Option("--design-only", help="No image, no vectors: needs no program.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder; else build/NAME.")] = None,
    macro: Annotated[
        str | None,
        typer.Option(
            help="blackbox (a chip), model (an FPGA), digital (no crossbars): a package too."
        ),
    ] = None,
    period: Annotated[
        float, typer.Option(help="Of the package's clock, in ns.", min=0.1, max=1e6)
    ] = package.PERIOD_NS,
    seed: Annotated[int | None, typer.Option(help="Of the effects.", min=0)] = None,
    effects_: EffectsName = None,
    votes: Votes = 1,
    vote_by: VoteBy = "majority",
    data_dir: DataDir = sets.DATA,
    build_dir: BuildDir = BUILD,
) -> None:
    """Write Verilog, macro stub, sidecar, and a trained program's image and golden vectors.

    With --macro also a package, FOLDER/package, for an ASIC or FPGA flow to take up: the design
    behind AXI, its constraints, registers, driver, FuseSoC core (docs/integration.md).
    """
    if macro is not None and macro not in package.MACROS:
        raise WordlineError(f"--macro {macro} is not a body; give {' or '.join(package.MACROS)}.")
    recipe = _recipe(name, seed=seed, effects_=effects_)
    folder = out or build_dir / recipe.description.name
    if design_only and (effects_ or votes != 1):
        raise WordlineError(
            "--design-only writes nothing that effects or votes change; leave them out, or it."
        )
    if design_only:
        stages.emit_design(recipe.description, folder)
    else:
        trained = program or build_dir / recipe.description.name / "program.safetensors"
        loaded = _chip(Program.load(trained, recipe.description), recipe, votes, vote_by)
        data = stages.test_set(recipe, data_dir)
        stages.emit_all(loaded, stages.encode(loaded, data), data.lengths, folder)
    if macro is not None:
        written = folder / "package"
        package.write(recipe.description, macro, written, period_ns=period)
        if not design_only:
            _write_images(loaded, written)
    on = "" if design_only else _effects_on(recipe.effects.on, recipe.effects.seed)
    _say(f"emitted {folder}/{on and f' with {on}'}")


def _write_images(program: Program, folder: Path) -> None:
    for file, write in zip(package.IMAGES, (image.write, image.write_binary), strict=True):
        write(folder / file, program)


@app.command("synth")
@_interruptible
def synth_(
    context: typer.Context,
    name: Name,
    target: Annotated[
        str, typer.Option(help=f"Standard cells ({', '.join(synth.CELLS)}), or an FPGA: ecp5.")
    ] = "osu018",
    period: Annotated[
        float, typer.Option(help="Of the clock that is aimed at, in ns.", min=0.1, max=1e6)
    ] = package.PERIOD_NS,
    cells: Annotated[
        Path | None, typer.Option(help="Folder of the cells' .lib, .lef and .v; else Debian's.")
    ] = None,
    sequences: Annotated[
        int,
        typer.Option(help="Run so many of the test set through the netlist of cells.", min=0),
    ] = 0,
    data_dir: DataDir = sets.DATA,
    device: Annotated[
        str, typer.Option(help=f"ecp5: {', '.join(ecp5.DEVICES)} (thousands of LUTs).")
    ] = "85k",
    case: Annotated[str, typer.Option(help="ecp5: the device's package.")] = "CABGA756",
    pins: Annotated[
        Path | None, typer.Option(help="ecp5: an .lpf file; without it pins go anywhere.")
    ] = None,
    seed: Annotated[int, typer.Option(help="ecp5: of the placer.", min=0)] = 0,
    build_dir: BuildDir = BUILD,
) -> None:
    """Map a design onto standard cells or an FPGA: what each block takes, and how fast it is.

    Standard cells: the crossbar macros are black boxes, timed by their budget
    (docs/integration.md). Needs Yosys (pip install 'wordline[synth]'), OpenSTA (`sta`), the cells.
    --sequences: the trained network in build/NAME in gates, in Icarus (`iverilog`), every result
    compared, and no X on any output.

    ecp5: the design behind a serial line, which has three pins. The crossbars' model is part of
    it, so it computes the same and takes more cycles; the trained network in build/NAME, if there
    is one, goes into the package. Needs Yosys and nextpnr (the same `pip install`).
    """
    recipe = _recipe(name)
    description = recipe.description
    folder = build_dir / description.name / f"synth-{target}"
    if target in synth.CELLS:
        _refuse(context, ("device", "case", "pins", "seed"), "ecp5")
        onto, run = synth.CELLS[target], None
        if sequences:  # before anything that takes long
            synth.check_gates(onto, cells)
            run = _netlist_inputs(recipe, folder, sequences, data_dir)
        _map(description, onto, folder, period, cells)
        if run is not None:
            _run_netlist(*run, folder, onto, cells)
    elif target == "ecp5":
        _refuse(context, ("sequences", "cells", "data_dir"), "standard cells")
        if device not in ecp5.DEVICES:
            raise WordlineError(
                f"--device {device} is not known; give {' or '.join(ecp5.DEVICES)}."
            )
        trained, board = folder.parent / "program.safetensors", None
        if trained.exists():
            loaded = _chip(Program.load(trained, description), recipe, 1, "majority")
            board = dataclasses.replace(loaded, description=ecp5.for_board(description))
        _place(
            *(description, folder), device=device, case=case, pins=pins, period_ns=period, seed=seed
        )
        if board is not None:
            _write_images(board, folder / "package")
    else:
        known = " or ".join([*synth.CELLS, "ecp5"])
        raise WordlineError(f"--target {target} is not known; give {known}.")


def _refuse(context: typer.Context, options: Sequence[str], other: str) -> None:
    """Complain of options that were given, and are for another target."""
    for option in options:
        source = context.get_parameter_source(option)
        if source is not None and source.name != "DEFAULT":
            said, target = option.replace("_", "-"), context.params["target"]
            raise WordlineError(f"--{said} is for {other}; leave it out with {target}.")


def _stages(bar: Callable[[str, int, int], None]) -> Callable[[str], None]:
    """Passes stages of unknown length on to a bar; an empty name ends the last one."""
    before = ""

    def progress(stage: str) -> None:
        nonlocal before
        if before:
            bar(before, 1, 1)
        before = stage
        if stage:
            bar(stage, 0, 1)

    return progress


def _map(
    description: Description, onto: synth.Cells, folder: Path, period: float, cells: Path | None
) -> None:
    with _bar() as bar:
        progress = _stages(bar)
        result = synth.synthesise(
            *(description, onto, folder), period_ns=period, library=cells, progress=progress
        )
        progress("")
    title = f"{description.name}, {onto.name}"
    table = Table("block", "cells", "flip-flops", "area in um2", "%", title=title)
    for block in result.blocks:
        share = f"{100 * block.area / result.area:.1f}"
        numbers = (f"{block.cells:,}", f"{block.flip_flops:,}", f"{block.area:,.0f}", share)
        table.add_row(block.name, *numbers)
    sums = (sum(b.cells for b in result.blocks), sum(b.flip_flops for b in result.blocks))
    table.add_row("all", *(f"{n:,}" for n in sums), f"{result.area:,.0f}", "100")
    console.print(table)
    _say(
        f"{folder}/: shortest period {result.period_ns:.2f} ns ({1e3 / result.period_ns:.0f} MHz, "
        f"no wires), no latch, no combinational loop, {len(result.unconstrained)} unconstrained "
        f"endpoints ({_versions(result.versions)})"
    )


def _netlist_inputs(
    recipe: Recipe, folder: Path, sequences: int, data_dir: Path
) -> tuple[Program, torch.Tensor, torch.Tensor]:
    """The trained network, and codes and lengths of the first sequences of its test set."""
    trained = Program.load(folder.parent / "program.safetensors", recipe.description)
    loaded = _chip(trained, recipe, 1, "majority")
    test = stages.test_set(recipe, data_dir)
    lengths = test.lengths[:sequences]
    return loaded, stages.encode(loaded, test)[:sequences, : int(lengths.max())], lengths


def _run_netlist(
    loaded: Program,
    codes: torch.Tensor,
    lengths: torch.Tensor,
    folder: Path,
    onto: synth.Cells,
    library: Path | None,
) -> None:
    from sim import system  # cocotb is slow to import

    count, netlist = len(lengths), [folder / "netlist.v", onto.verilog(library)]
    with _bar() as bar:
        bar("simulate", 0, count)
        result = system.simulate_netlist(
            *(loaded, codes, lengths, folder / "simulation", netlist),
            progress=lambda done, total: bar("simulate", done, total),
        )
        bar("simulate", count, count)
        if result["passed"]:
            bar("count", 0, 1)
            energies, nets = system.counted(loaded.description, onto, folder, library)
            bar("count", 1, 1)
    if not result["passed"]:
        log = folder / "simulation" / "icarus" / "sim.log"
        _say(f"RED: the netlist does not do what golden does, or gives an X; {log} says where.")
        raise typer.Exit(1)
    console.print(_energies(loaded.description.name, energies, nets, int(lengths.sum())))
    values = f"{result['values_compared']:,} values equal"
    _say(f"GREEN: {count} sequences through the netlist, {values}, no X on any output")


def _energies(
    name: str, energies: dict[str, synth.Energy], nets: activity.Activity, steps: int
) -> Table:
    """Energy and power by block, in a run of so many steps."""
    seconds = nets.changes["aclk"] / 2 * package.PERIOD_NS * 1e-9
    title = f"{name}, {steps} steps, at {1e3 / package.PERIOD_NS:.0f} MHz, no wires"
    table = Table("block", "nJ a step", "of it clock", "mW", "leakage in uW", title=title)
    ordered = sorted(energies.items(), key=lambda entry: -entry[1].dynamic)
    whole = sum(energies.values(), synth.Energy(0, 0, 0))
    for block, energy in [*ordered, ("all", whole)]:
        each = energy.dynamic / 1e3 / steps, energy.clock / 1e3 / steps
        milliwatts = energy.dynamic * 1e-9 / seconds
        leakage = energy.leakage_nw / 1e3
        table.add_row(block, *(f"{v:.3f}" for v in (*each, milliwatts, leakage)))
    return table


def _of_side(
    bar: Callable[[str, int, int], None], side: str, stage: str, done: int, total: int
) -> None:
    bar(f"{side}: {stage}", done, total)


@app.command("ppa")
@_interruptible
def ppa_(
    name: Name,
    sequences: Annotated[
        int, typer.Option(help="Run so many of the test set through both netlists.", min=1)
    ] = 5,
    components: Annotated[
        Path | None,
        typer.Option(help="A TOML file of figures instead of gen/cost/components.toml."),
    ] = None,
    cells: Annotated[
        Path | None, typer.Option(help="Folder of the cells' .lib, .lef and .v; else Debian's.")
    ] = None,
    data_dir: DataDir = sets.DATA,
    build_dir: BuildDir = BUILD,
) -> None:
    """Energy and area of the trained network in build/NAME, and of its digital twin.

    Both are mapped onto standard cells of 180 nm, run in gates, compared with golden, and counted;
    cells are scaled to 32 nm, converters, arrays and memories cost what has been published
    (docs/efficiency.md). Needs what `wordline synth --sequences` does. What was counted is kept:
    other figures take no time.
    """
    recipe = _recipe(name)
    figures = ppa.read_figures(components or ppa.COMPONENTS)
    folder = build_dir / recipe.description.name / "ppa"
    twin.twin_description(recipe.description)  # a mistake is found before what takes long
    synth.check_gates(ppa.CELLS, cells)
    loaded, codes, lengths = _netlist_inputs(recipe, folder, sequences, data_dir)
    from wordline.flow import measure as runs  # cocotb is slow to import

    counted = {}
    with _bar() as bar:
        for side in ppa.SIDES:
            of_side = functools.partial(_of_side, bar, side)
            progress = _stages(of_side)
            counted[side] = runs.measure(
                *(loaded, codes, lengths, folder / side, side),
                library=cells,
                stage=progress,
                progress=functools.partial(of_side, "sequences"),
            )
            progress("")
    test = stages.test_set(recipe, data_dir)
    programs = {"analog": loaded, "digital": twin.twin(loaded)}
    found = {
        "name": recipe.description.name,
        "sequences": len(lengths),
        "worth": {side: training.measured(program, test) for side, program in programs.items()},
        **ppa.report(figures, counted["analog"], counted["digital"]),
        "figures": {name: dataclasses.asdict(figure) for name, figure in figures.items()},
        "versions": cache.versions(),
    }
    files.write_text(folder / "ppa.json", json.dumps(found, indent=1) + "\n")
    for table in ppa.tables(found):
        console.print(table)
    _say(f"{folder}/ppa.json: {ppa.sentence(found)}")


def _place(description: Description, folder: Path, **options: Any) -> None:
    with _bar() as bar:
        progress = _stages(bar)
        result = ecp5.place(description, folder, **options, progress=progress)
        progress("")
    device = f"LFE5U-{options['device'].removesuffix('k')}F, speed grade {ecp5.SPEED}"
    kinds = [*ecp5.KINDS.values()]
    # Names are what one reads: let headings wrap.
    name = Column("block", no_wrap=True, min_width=max(len(b.name) for b in result.blocks))
    table = Table(name, *kinds, title=f"{description.name}, {device}")
    for block in result.blocks:
        table.add_row(block.name, *(f"{block.cells.get(kind, 0):,}" for kind in kinds))
    sums = [sum(b.cells.get(kind, 0) for b in result.blocks) for kind in kinds]
    table.add_row("all", *(f"{n:,}" for n in sums))
    console.print(table)
    used = Table("of the device", "used", "of", "%")
    for kind, (taken, there) in result.used.items():
        used.add_row(kind, f"{taken:,}", f"{there:,}", f"{100 * taken / there:.0f}")
    console.print(used)
    _say(
        f"{folder}/{description.name}.bit: {result.mhz:.1f} MHz (asked for "
        f"{1e3 / options['period_ns']:.1f}; seed {options['seed']}) with the deep pipeline and "
        f"array.settle = {result.settle}, no latch, no combinational loop, "
        f"{len(result.unconstrained)} unconstrained ports ({_versions(result.versions)})"
    )


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{tool} {version}" for tool, version in versions.items())


@app.command()
@_interruptible
def sim(
    name: Name,
    seed: Seed = None,
    sequences: Annotated[
        int | None, typer.Option(help="Only the first so many of the test set.", min=1)
    ] = None,
    stall: Annotated[
        float, typer.Option(help="Chance of a pause at each transfer.", min=0, max=0.95)
    ] = 0.0,
    inputs: Annotated[
        Path | None,
        typer.Option("--input", help="An .npz with x or codes, lengths, labels; not the test set."),
    ] = None,
    program: Annotated[
        Path | None, typer.Option(help="A trained program; without it, one is trained.")
    ] = None,
    runner: Annotated[
        str | None,
        typer.Option(
            help="batch: all cores, fast (the default). cocotb: the bench that has --waves."
        ),
    ] = None,
    waves: Annotated[bool, typer.Option("--waves", help="Write dump.vcd; runs cocotb.")] = False,
    noise: Noise = None,
    placement: Placement = None,
    effects_: EffectsName = None,
    votes: Votes = 1,
    vote_by: VoteBy = "majority",
    device: Device = "cpu",
    data_dir: DataDir = sets.DATA,
    build_dir: BuildDir = BUILD,
) -> None:
    """Train, emit, build and run the test set through the Verilog; compare every value.

    With `--effects`, the chip's devices and converters err, and the golden model with them; with
    `--votes`, each sequence is run so many times (the description needs a replay buffer).
    What has not changed since the last run is reused. Results: build/NAME/summary.json.
    """
    from sim import batch, chip, verilator  # cocotb is slow to import and only needed here

    if runner not in (None, "batch", "cocotb"):
        raise WordlineError(f"There is no runner {runner!r}; there is: batch, cocotb.")
    if waves and runner == "batch":
        raise WordlineError("--waves needs the cocotb runner; leave --runner out, or --waves.")
    runner = runner or ("cocotb" if waves else "batch")
    verilator.find()  # before anything that takes long
    recipe = _recipe(name, seed=seed, noise=noise, placement=placement, effects_=effects_)
    description = recipe.description
    labels: torch.Tensor | None
    if inputs is None:
        data = stages.test_set(recipe, data_dir)
        check_votes(description, votes, vote_by, int(data.lengths.max()))
    else:
        check_votes(description, votes, vote_by)
    folder = build_dir / description.name
    started = time.monotonic()
    if program is None:
        ideal, train_seconds = _train(recipe, folder, device, data_dir)
    else:
        ideal, train_seconds = Program.load(program, description), 0.0
    loaded = _chip(ideal, recipe, votes, vote_by)

    if inputs is None:
        codes, lengths, labels = stages.encode(loaded, data), data.lengths, data.labels
    else:
        codes, lengths, labels = stages.read_input(inputs, loaded)
    if sequences is not None:
        codes, lengths = codes[:sequences], lengths[:sequences]
        labels = None if labels is None else labels[:sequences]
    if labels is not None:
        labels = datasets.Sequences(codes, lengths, labels).labelled(labels)
    with _bar() as bar:
        bar("emit", 0, 1)
        emit_seconds, _ = stages.emit_all(loaded, codes, lengths, folder)
        bar("emit", 1, 1)
        bar("build", 0, 1)
        build_started = time.monotonic()
        simulate: Callable[..., dict[str, Any]]
        if runner == "batch":
            simulate = functools.partial(batch.simulate, batch.prepare(folder, description.name))
        else:
            built = chip.prepare(folder, description.name, waves=waves)
            simulate = functools.partial(chip.simulate, built, waves=waves)
        bar("build", 1, 1)
        sim_started = time.monotonic()
        result = simulate(
            seed=recipe.training.seed,
            stall=stall,
            progress=lambda done, total: bar("simulate", done, total),
        )
        bar("simulate", result["sequences"], result["sequences"])

    ended = time.monotonic()
    seconds = {
        "train": train_seconds,
        "emit": emit_seconds,
        "build": sim_started - build_started,
        "simulate": ended - sim_started,
        "total": ended - started,
    }
    errs = effects.describe(ideal, loaded, recipe.effects)
    result["runner"] = runner
    summary = stages.summarise(loaded, errs, result, labels, seconds, recipe.training.seed)
    files.write_text(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    _report(summary, folder)
    if waves:
        _say(f"waves: {folder / 'verilator-waves' / 'dump.vcd'}")
    if summary["mismatches"] or not result["passed"]:
        raise typer.Exit(1)


@app.command("data")
@_interruptible
def data_(
    name: Annotated[str, typer.Argument(help="Which set; none: list them.")] = "",
    own: Annotated[
        Path | None, typer.Option("--from", help="Take your own files out of this folder.")
    ] = None,
    data_dir: DataDir = sets.DATA,
) -> None:
    """Fetch a data set once, checked by its sha256, or take your own files; list what there is.

    `wordline data mnist --from FOLDER` accepts MNIST's IDX files (with .gz or without), CIFAR-10's
    batches, PTB and plain text (docs/data.md), and copies them once they are found to be right.
    `wordline data strokes` traces the digits of MNIST as strokes of a pen.
    """
    if not name:
        if own is not None:
            raise WordlineError("--from needs the name of a set; `wordline data` lists them.")
        console.print(_sets(data_dir))
        return
    known = datasets.find(name)
    folder = known.folder(data_dir)
    if own is not None:
        known.take(own, data_dir)
        whose = "the published files" if known.published(data_dir) else "your own files"
        _say(f"{folder}/: {whose}, {_megabytes(known.size(data_dir))}")
    elif known.present(data_dir):
        known.read(data_dir)  # and whole
        _say(f"{folder}/ is there already; delete it to fetch it anew.")
    else:
        with _bar() as bar:
            known.fetch(data_dir, bar)
        _say(f"{folder}/: fetched and checked, {_megabytes(known.size(data_dir))}")
    if name in datasets.TASKS:
        with _bar() as bar:
            data = datasets.load(name, data_dir, bar)  # what is made of the files is kept
        sizes = f"{len(data.train):,} sequences to train, {len(data.test):,} to test"
        labels = f"{data.classes} {'targets' if data.train.real else 'classes'}"
        _say(f"{name}: {sizes}, {data.channels} values a step, {labels}")


def _sets(data_dir: Path) -> Table:
    table = Table("set", "what it is", "source, licence", "size", "here", "as training.dataset")
    for name, known in sets.SETS.items():
        used = ", ".join(task for task, t in datasets.TASKS.items() if t.files is known) or "-"
        here = "present" if known.present(data_dir) else "absent"
        whence = f"{known.package} ({known.package.tool})" if known.package else "your own files"
        size = _megabytes(known.size(data_dir)) if known.size(data_dir) else "-"
        table.add_row(name, known.about, f"{whence}; {known.licence}", size, here, used)
    vowels = "Speaker of two Japanese vowels: 270 sequences to train, 370 to test; 9 classes."
    source = "UCI Machine Learning Repository; CC BY 4.0"
    table.add_row("vowels", vowels, source, "0.2 MB", "in the project", "vowels")
    return table


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e6:.2f} MB"


@app.command("study")
@_interruptible
def study_(
    name: Annotated[str, typer.Argument(help="Which study; none: list them.")] = "",
    list_: Annotated[
        bool, typer.Option("--list", help="List the studies and what each costs.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="The longer version: all of the grid, longer training.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(help="Runs at once; all cores, if not given.", min=1)
    ] = None,
    device: Annotated[
        str, typer.Option(help="PyTorch device; auto: cuda where there is one, else cpu.")
    ] = "auto",
    data_dir: DataDir = sets.DATA,
    build_dir: BuildDir = BUILD,
) -> None:
    """Answer a question about networks on real hardware; goes on where it was interrupted.

    Results: results.json, table.md and figure.svg in build/studies/NAME/.
    """
    from wordline import jobs, studies  # only needed here
    from wordline.studies import common

    if list_ or not name:
        console.print(_studies(data_dir))
        return
    studies.known(name)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    training.check_device(device)
    folder = build_dir / "studies"
    with _bar() as bar:
        # Processes share one GPU: more than a few only wait for each other.
        workers = workers or (jobs.cores() if device == "cpu" else 2)
        runner = jobs.Runner(folder / "jobs", bar, data_dir, device, workers)
        results = studies.run(name, folder / name, runner, full=full)
    for table in (common.claims_table(results), *studies.module(name).tables(results)):
        console.print(table)
    if any(claim["name"].startswith("RTL") and not claim["met"] for claim in results["claims"]):
        raise typer.Exit(1)
    seeds = ", ".join(map(str, results["settings"]["seeds"]))
    written = "results.json (claims, and every figure), table.md, figure.svg"
    _say(f"{folder / name}/: {written}; seeds {seeds}, on {device}")


def _studies(data_dir: Path) -> Table:
    from wordline import studies

    table = Table("study", "question", "two cores", "--full", "data")
    for name, known in studies.STUDIES.items():
        code = studies.module(name)
        about = (type(code.STUDY).__doc__ or "").partition("\n")[0]
        needs = {name: datasets.task(name).files for name in studies.reads(code.STUDY)}
        data = ", ".join(
            data if files_ is None or files_.present(data_dir) else f"{data} (absent)"
            for data, files_ in needs.items()
        )
        table.add_row(name, about, known.takes, known.full, data)
    return table


@app.command("bench")
@_interruptible
def bench_(
    parts: Annotated[
        list[str] | None, typer.Argument(help="golden, training, emission, simulation; none: all.")
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option(
            help="What `make peers` measured; else build/bench/peers.json if it is there."
        ),
    ] = None,
    build_dir: BuildDir = BUILD,
) -> None:
    """Measure how fast this is: golden, training, emission, simulation, each beside its anchor.

    Everything in one thread, what is compared in turns, the fastest of several turns. Takes about
    five minutes. Results: results.json, table.md and figure.svg in build/bench/.
    """
    from wordline import bench, studies  # only needed here

    wanted = parts or list(bench.PARTS)
    for part in wanted:
        if part not in bench.PARTS:
            known = ", ".join(bench.PARTS)
            raise WordlineError(f"There is no benchmark {part!r}; there is: {known}.")
    folder = build_dir / "bench"
    if peers is None and (folder / "peers.json").exists():
        peers = folder / "peers.json"
    with _bar() as bar:
        results = bench.run(wanted, folder, peers, bar)
    files.write_text(folder / "results.json", json.dumps(results, indent=1) + "\n")
    bench.figure(results, folder / "figure.svg")
    table = studies.markdown(bench.table(results, box=box.MARKDOWN))
    files.write_text(folder / "table.md", table)
    console.print(bench.table(results))
    written = "results.json (claims, and every figure), table.md, figure.svg"
    _say(f"{folder}/: {written}; seed {results['seed']}")


def _effects_on(on: Sequence[str], seed: int) -> str:
    return f"{', '.join(on)} (seed {seed})" if on else ""


def _report(summary: dict[str, Any], folder: Path) -> None:
    """The table and the line at the end."""

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
    console.print(table)
    if summary["mismatches"]:
        first = f"{summary['mismatches']:,} values differ, first {summary['first_difference']}"
        _say(f"RED: {first}", style="bold red")
    else:
        equal = f"{summary['values_compared']:,} values equal"
        _say(f"GREEN: {equal} in {folder}/", style="bold green")
