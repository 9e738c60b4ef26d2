"""train, import: a program from a data set, or from a network that was trained elsewhere."""

import math
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated

import typer

from wordline.cli.app import (
    BUILD,
    DATA,
    BuildDir,
    DataDir,
    Device,
    EffectsName,
    Name,
    Noise,
    Passes,
    Placement,
    Seed,
    app,
    interruptible,
    refuse,
    terminal,
)
from wordline.cli.report import Open, Report, made

if TYPE_CHECKING:
    from rich.table import Table

    from golden.frontends.convert import ArrayReport
    from wordline.flow.train import SeedRun

WORTH = {"accuracy": "{:.2f} %", "bits": "{:.3f} bits a label", "rmse": "RMSE {:.4f}"}
"""Formats of `golden.measures`."""


def worth(values: dict[str, float]) -> str:
    """Measures as text."""
    return ", ".join(WORTH[name].format(value) for name, value in values.items())


@app.command()
@interruptible
def train(
    context: typer.Context,
    name: Name,
    seed: Seed = None,
    noise: Noise = None,
    placement: Placement = None,
    passes: Passes = None,
    effects_: EffectsName = None,
    seeds: Annotated[
        int,
        typer.Option(help="Number of seeds to train and compare; saves nothing if over 1.", min=1),
    ] = 1,
    device: Device = "cpu",
    data_dir: DataDir = DATA,
    build_dir: BuildDir = BUILD,
) -> None:
    """Train a float network, then the quantised one; report accuracy on the held-out test set.

    The program is that of an ideal chip. Effects enter training only with `--noise hardware`.
    """
    from wordline.flow import recipe as recipes
    from wordline.flow import train as flow

    recipe = recipes.load(
        name, seed=seed, noise=noise, placement=placement, passes=passes, effects_=effects_
    )
    flow.check_trainable(recipe)
    if seeds > 1:
        refuse(context, ("build_dir",), "has no effect with several --seeds, which save nothing")
        with terminal.bars() as bar:
            runs = flow.train_seeds(recipe, seeds, device=device, data_dir=data_dir, progress=bar)
        terminal.show(_seeds_table(runs))
        said = f"float {_over(run.reference for run in runs)}; quantised "
        terminal.say(f"mean of {seeds} seeds: {said}{_over(run.golden for run in runs)}")
        return
    with terminal.bars() as bar:
        trained = flow.train(recipe, build_dir, device=device, data_dir=data_dir, progress=bar)
    terminal.say(
        f"{trained.folder / 'program.safetensors'}: float {worth(trained.reference)}; quantised "
        f"{worth(trained.golden)} (seed {recipe.training.seed}, noise {recipe.training.noise})"
    )


def _seeds_table(runs: Sequence["SeedRun"]) -> "Table":
    """Table of all measures, by seed."""
    from rich.table import Table

    table = Table("seed", "float", "quantised")
    for run in runs:
        table.add_row(str(run.seed), worth(run.reference), worth(run.golden))
    return table


def _over(runs: Iterable[dict[str, float]]) -> str:
    """Mean and standard deviation of each measure."""
    found = [*runs]
    columns = {name: [values[name] for values in found] for name in found[0]}
    return ", ".join(f"{name} {mean(own):.4g} ± {stdev(own):.2g}" for name, own in columns.items())


@app.command("import")
@interruptible
def import_(
    context: typer.Context,
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
    name: Annotated[
        str | None, typer.Option(help="Name of the design; default: the file's.")
    ] = None,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Train the quantised network on.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of fine-tuning; default: the design's.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="Held-out sequences with `labels`, to measure on.")
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(help="Parts of a state_dict in order, comma-separated: encoder,decoder,head."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite another network or an edited TOML file."),
    ] = False,
    seed: Seed = None,
    device: Device = "cpu",
    report: Report = True,
    open_: Open = False,
    build_dir: BuildDir = BUILD,
) -> None:
    """Quantise your trained LSTM or RNN, and compare the result with the model's file.

    Accepts a chain of unidirectional nn.LSTM or nn.RNN layers and nn.Linear layers; docs/import.md
    has the list. Without --design: 4-bit weights, DACs and ADCs, as in the preset vowels.
    """
    from wordline.flow import importing

    if not fine_tune:
        refuse(context, ("device",), "has no effect without --fine-tune")
    with terminal.bars() as bar:
        imported = importing.import_model(
            *(model, calibration),
            design=design,
            name=name,
            fine_tune=fine_tune,
            epochs=epochs,
            test=test,
            order=order.split(",") if order else None,
            force=force,
            seed=seed,
            device=device,
            build_dir=build_dir,
            command=terminal.command(),
            progress=bar,
        )
    terminal.say(f"read: {' -> '.join(imported.conversion.chain)}")
    terminal.say(str(imported.conversion.compared))
    for note in imported.conversion.notes:
        terminal.say(f"note: {note}")
    terminal.show(_arrays_table(imported.conversion.arrays))
    for stage, values in imported.measures.items():
        terminal.say(f"{stage}: {worth(values)} on {test}")
    folder = imported.folder
    follow = ["wordline", "sim", str(folder / f"{folder.name}.toml")]
    follow += [] if build_dir == BUILD else ["--build-dir", str(build_dir)]
    terminal.say(f"{folder / 'program.safetensors'}: {shlex.join(follow)}")
    made(folder, wanted=report, show=open_)


def _arrays_table(arrays: Sequence["ArrayReport"]) -> "Table":
    """Table of the errors of conversion, by array."""
    from rich.table import Table

    table = Table("array", "signal", "error", "dB", "clipped", "weight error", "bias corrected")
    for array in arrays:
        ratio = 20 * math.log10(max(array.signal, 1e-12) / max(array.error, 1e-12))
        table.add_row(
            *(array.name, f"{array.signal:.3f}", f"{array.error:.3f}", f"{ratio:.1f}"),
            *(f"{100 * array.clipped:.1f} %", f"{100 * array.weight_error:.1f} %"),
            f"{array.bias:.3f}",
        )
    return table
