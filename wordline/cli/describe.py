"""presets, describe, fit: list presets, and describe and estimate a design. They build nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golden.errors import WordlineError
from wordline.cli.app import Name, app, terminal

if TYPE_CHECKING:
    from rich.table import Table

    from gen.cost import resources
    from golden.description import Description


@app.command("presets")
def presets_() -> None:
    """List the presets."""
    from rich import box
    from rich.table import Table

    from golden import presets

    titles = ("name", "cell", "network", "w/DAC/ADC", "lanes", "votes", "data")
    table = Table(*titles, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, recipe in presets.PRESETS.items():
        d = recipe.description
        bits = f"{d.device.weight_bits}/{d.dac.bits}/{d.adc.bits}"
        network = "-".join(map(str, (d.network.inputs, *d.network.hidden, d.network.classes)))
        votes = str(d.voting.max_votes) if d.voting.replay_steps else "-"
        lanes = str(d.array.lanes)
        table.add_row(name, d.cell.kind, network, bits, lanes, votes, recipe.training.dataset)
    terminal.show(table)


@app.command()
def describe(
    name: Name,
    toml: Annotated[bool, typer.Option("--toml", help="Print the recipe, every field.")] = False,
) -> None:
    """Show arrays, converters, cycles, area and energy of a description. Builds nothing.

    Start your own with `wordline describe vowels --toml > mine.toml`.
    """
    from rich.table import Table

    from gen.cost import resources
    from golden import presets
    from golden.geometry import ArrayShape
    from hw import timing

    recipe = presets.load(name)
    if toml:
        print(recipe.to_toml(), end="")
        return
    description = recipe.description
    table = Table("", *description.arrays, title=description.name)
    needs = {array.name: array for array in resources.needs(description)}
    names = {id(shape): name for name, shape in description.arrays.items()}

    def of(read: Callable[[resources.ArrayNeeds], object]) -> Callable[[ArrayShape], object]:
        return lambda shape: read(needs[names[id(shape)]])

    rows: dict[str, Callable[[ArrayShape], object]] = {
        "rows": lambda shape: shape.rows,
        "units x gates": lambda shape: f"{shape.units} x {shape.gates}",
        "crossbars (row x column tiles)": of(lambda n: f"{n.crossbars[0]} x {n.crossbars[1]}"),
        "ADCs": of(lambda n: n.adcs),
        "comparators": of(lambda n: f"{n.comparators:,}"),
        "conversions a lane and step": lambda shape: shape.samples,
        "conversion cycles a step": timing.conversion_cycles,
        "largest column charge": lambda shape: shape.charge_max,
        "ADC shift": lambda shape: shape.adc_shift,
        "units a cycle in the gates": timing.units_per_beat,
        "cycles a step": of(lambda n: n.cycles),
        "bound by": of(lambda n: n.bound),
    }
    for label, read in rows.items():
        table.add_row(label, *(str(read(shape)) for shape in description.arrays.values()))
    terminal.show(table)
    array, latency = description.array, timing.gate_latency(description.layers[0])
    terminal.say(
        f"pipeline {array.pipeline} (gates take {latency} cycles), settle {array.settle} cycles"
    )
    terminal.say(f"fingerprint {description.fingerprint}")
    terminal.show(_estimates(description))


@app.command()
def fit(
    network: Annotated[
        str, typer.Argument(help="A preset or TOML file, or a model as `wordline import` takes.")
    ],
    design: Annotated[
        str | None, typer.Option(help="For a model: the preset or TOML file to complete it from.")
    ] = None,
    rows: Annotated[int | None, typer.Option(help="Maximum rows per crossbar.")] = None,
    columns: Annotated[int | None, typer.Option(help="Maximum columns per crossbar.")] = None,
    lanes: Annotated[int | None, typer.Option(help="ADCs per crossbar.")] = None,
) -> None:
    """Estimate crossbars, ADCs, memory, cycles, area and energy of a network. Builds nothing.

    Try smaller crossbars with `wordline fit vowels --rows 32 --columns 32`.
    """
    from rich.table import Table

    from gen.cost import resources
    from golden import presets
    from golden.frontends import pytorch

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
    arrays = resources.needs(description)
    table = Table("", *(array.name for array in arrays), "all", title=description.name)
    for label, values in _fit_rows(arrays, description.output.every_step).items():
        table.add_row(label, *values)
    terminal.show(table)
    terminal.show(_estimates(description))


def _estimates(description: "Description") -> "Table":
    """Area and energy from the cost model."""
    from rich.table import Table

    from gen.cost import components, model, summary

    found = model.ranges(model.estimate(description), components.read_figures())
    table = Table(f"estimated at {components.NODE} nm", "low", "typical", "high")
    for measure, range_ in found.items():
        values = (range_.low, range_.typical, range_.high)
        table.add_row(measure, *map(summary.shown, values))
    cells = model.cells_area(description) / 1e6
    table.add_row("cells at 180 nm in mm2, memories as flip-flops", "", summary.shown(cells), "")
    return table


def _fit_rows(arrays: Sequence["resources.ArrayNeeds"], every_step: bool) -> dict[str, list[str]]:
    """Rows of the table by title: a value for each array, then for all.

    every_step: The head has an output for every step.
    """
    busy = [array for array in arrays if every_step or array.name != "head"]

    def line(of: Callable[["resources.ArrayNeeds"], int], whole: int | None = None) -> list[str]:
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
        "comparators": line(lambda a: a.comparators),
        "bits of a column's code": [*(str(a.code_bits) for a in arrays), ""],
        "memory in bits": line(lambda a: a.memory_bits),
        "ADC cycles a step": line(
            lambda a: a.conversion_cycles, max(a.conversion_cycles for a in busy)
        ),
        "cycles a step": line(lambda a: a.cycles, max(a.cycles for a in busy)),
        "bound by": [*(a.bound for a in arrays), ""],
    }
