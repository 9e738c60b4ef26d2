"""The runs of studies that go through the Verilog.

Functions for `gen.jobs`: of a `Here` and plain values, to plain values. Accuracies are of held-out
test sets, in percent.
"""

import dataclasses
import fcntl
from typing import Any

import torch

from gen import stages
from gen.jobs import Here
from gen.studies.runs import chip_of
from golden import datasets, effects, presets, training
from golden.description import replaced
from golden.effects import Effects
from golden.measures import percent
from golden.program import Program


def chip(
    here: Here,
    *,
    dataset: str,
    program: str,
    seed: int,
    votes: int,
    by: str,
    source: str,
    read_sigma: float = 0.0,
    snr_db: float | None = None,
) -> dict[str, Any]:
    """Accuracy of the Verilog with the hardware's own noise (`gen.studies.runs.chip_of`), and how
    many of its values were compared with golden's and differ. source: of all that makes the chip.
    """
    from sim import batch  # cocotb is slow to import

    data = datasets.load(dataset, here.data_dir)
    made = chip_of(
        Program.load(here.file(program)), data, seed=seed, read_sigma=read_sigma, snr_db=snr_db
    )
    made = dataclasses.replace(made, votes=votes, vote_by=by)  # type: ignore[arg-type]
    # One folder for all: a chip is built once, and whoever comes second waits his turn.
    folder = here.folder / "rtl"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stages.emit_all(made, stages.encode(made, data.test), data.test.lengths, folder)
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
    recipe = presets.load(preset)
    settings = replaced(recipe.training, seed=seed, noise=noise)
    data = datasets.load(dataset, here.data_dir)
    effects_ = Effects(read_sigma=read_sigma)
    trained = training.train(
        recipe.description, settings, data, device=here.device, effects=effects_
    )
    program = trained.program
    program.save(here.file())
    layer, shape = effects.apply(program, effects_).layers[0], program.description.layers[0]
    lsb = float((2**shape.adc_shift / layer.gain.double()).mean())  # of charge, over the gates
    return {
        "float": trained.reference["accuracy"],
        "clean": trained.golden["accuracy"],
        "lsb_per_sigma": float(layer.read_noise) / 16 / read_sigma / lsb,
    }
