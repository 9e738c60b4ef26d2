"""The runs of studies that go through the Verilog.

Functions for `wordline.jobs`: of a `Here` and plain values, to plain values. Accuracies are of
held-out test sets, in percent.
"""

import dataclasses
import shutil
from typing import Any

import torch

from gen.cost import sweep, twin
from gen.cost.components import COMPONENTS, read_figures
from golden import datasets, effects, files, presets
from golden.description import Description
from golden.effects import Effects
from golden.measures import percent
from golden.program import Program
from golden.training import evaluate
from golden.training import run as run_training
from golden.validation import replaced
from wordline.flow import emit
from wordline.flow.sequences import encode
from wordline.jobs import Here
from wordline.studies.runs import chip_of, describe


def chip(
    here: Here,
    *,
    dataset: str,
    program: str,
    seed: int,
    votes: int,
    by: str,
    read_sigma: float = 0.0,
    snr_db: float | None = None,
    placement: str = "pre-activations",
) -> dict[str, Any]:
    """Accuracy of the Verilog with the hardware's own noise (`wordline.studies.runs.chip_of`), and
    how many of its values were compared with golden's and differ."""
    from sim import batch  # cocotb is slow to import

    data = datasets.load(dataset, here.data_dir)
    noise: dict[str, Any] = {"read_sigma": read_sigma, "snr_db": snr_db, "placement": placement}
    made = chip_of(Program.load(here.file(program)), data, seed=seed, **noise)
    made = dataclasses.replace(made, votes=votes, vote_by=by)  # type: ignore[arg-type]
    # One folder for all: a chip is built once, and whoever comes second waits his turn.
    folder = here.folder / "rtl"
    with files.locked(folder):
        emit.emit_all(made, encode(made, data.test), data.test.lengths, folder)
        result = batch.simulate(batch.prepare(folder, made.description.name))
    return {
        "rtl": percent(torch.tensor(result["output"]), data.test.labels),
        "values_compared": result["values_compared"],
        "mismatches": result["mismatches"],
    }


def train(
    here: Here, *, dataset: str, preset: str, seed: int, noise: str, read_sigma: float
) -> dict[str, Any]:
    """Train a preset whole, with `noise` as a recipe has it; "hardware" is that read noise.

    Returns what a deviation of a device of full scale makes on a column, in ADC LSB.
    """
    effects_ = Effects(read_sigma=read_sigma)
    found = train_preset(
        here, dataset=dataset, preset=preset, seed=seed, noise=noise, effects_=effects_
    )
    program = Program.load(here.file())
    layer, shape = effects.apply(program, effects_).layers[0], program.description.layers[0]
    lsb = float((2**shape.adc_shift / layer.gain.double()).mean())  # of charge, over the gates
    return found | {"lsb_per_sigma": float(layer.read_noise) / 16 / read_sigma / lsb}


def train_preset(
    here: Here,
    *,
    dataset: str,
    preset: str,
    seed: int,
    noise: str | None = None,
    effects_: Effects | None = None,
) -> dict[str, Any]:
    """Train a preset whole, with `noise` in the place of its recipe's where that is given."""
    recipe = presets.load(preset)
    data = datasets.load(dataset, here.data_dir)
    settings = replaced(recipe.training, seed=seed)
    if noise is not None:
        settings = replaced(settings, noise=noise)
    trained = run_training.train(
        recipe.description, settings, data, device=here.device, effects=effects_
    )
    trained.program.save(here.file())
    return {"float": trained.reference["accuracy"], "clean": trained.golden["accuracy"]}


def count(here: Here, *, dataset: str, program: str, sequences: int, side: str) -> dict[str, Any]:
    """What the first sequences of the test set change in the netlist of a design, or of its twin
    (`wordline.flow.measure.measure`), and what that is worth on all of it."""
    from wordline.flow import measure as gates  # cocotb is slow to import

    data = datasets.load(dataset, here.data_dir)
    chip_ = Program.load(here.file(program))
    lengths = data.test.lengths[:sequences]
    codes = encode(chip_, data.test)[:sequences, : int(lengths.max())]
    folder = here.folder / "gates" / here.key
    counted = gates.measure(chip_, codes, lengths, folder, side)
    shutil.rmtree(folder)  # tens of megabytes
    run = twin.twin(chip_) if side == "digital" else chip_
    return {"counted": dataclasses.asdict(counted), "worth": evaluate.measured(run, data.test)}


def estimated(here: Here, *, preset: str, inputs: int, units: int, lanes: int) -> dict[str, Any]:
    """Estimated counts of a preset at another size, of its twin, and of weight-stationary arrays
    (`gen.cost.sweep.estimated`)."""
    design = sized(preset, inputs, units, lanes)
    found = sweep.estimated(design)
    sides = {"own": found.own, "twin": found.twin, "stationary": found.stationary}
    return {name: dataclasses.asdict(of) for name, of in sides.items() if of is not None}


def priced(
    here: Here, *, dataset: str, cell: str, hidden: int, sections: dict[str, Any]
) -> dict[str, Any]:
    """Energy and area of a study's design (`wordline.studies.runs.describe`) by the cost model, as
    `gen.cost.sweep.row` has them."""
    design = describe(datasets.load(dataset, here.data_dir), cell, hidden, sections)
    point = sweep.Point({}, design, read_figures(COMPONENTS))
    return sweep.row(point, sweep.estimated(design))


def sized(preset: str, inputs: int, units: int, lanes: int) -> Description:
    """A preset's design at another size, with as many units in each of its layers."""
    design = presets.load(preset).description
    hidden = [units] * len(design.network.hidden)
    return design.replace(network={"inputs": inputs, "hidden": hidden}, array={"lanes": lanes})
