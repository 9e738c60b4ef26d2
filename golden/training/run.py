"""Whole training: the float reference, then the quantised network, which starts from it."""

from dataclasses import dataclass

import torch

from golden.datasets import Dataset
from golden.description import Description
from golden.effects import Effects
from golden.errors import WordlineError
from golden.levels import Levels
from golden.program import Program
from golden.training.evaluate import check_data, check_device, measured, worth
from golden.training.float import fit_float
from golden.training.optimise import Progress
from golden.training.quantised import fit_quantised
from golden.training.settings import Training


@dataclass(frozen=True)
class Result:
    """A trained program, and measures on the held-out test set (`golden.measures`).

    program: The trained program.
    reference: Measures of the float network.
    golden: Measures of the program.
    """

    program: Program
    reference: dict[str, float]
    golden: dict[str, float]


def train(
    description: Description,
    training: Training,
    data: Dataset,
    progress: Progress | None = None,
    device: str = "cpu",
    effects: Effects | None = None,
    levels: Levels | None = None,
) -> Result:
    """Train the float reference, then the quantised network; deterministic for a seed.

    The program is that of an ideal chip. The test set is only evaluated after the last epoch.

    effects: Non-idealities for training with noise = "hardware": another chip with each batch,
        other read noise with each sequence.
    levels: How level tables are found, if `device.levels` is "trained".

    Raises WordlineError if the description does not fit the data, if the device cannot be used, or
    if noise is "hardware" and no effect is on.
    """
    hardware = training.noise == "hardware"
    if hardware and not (effects and effects.on):
        raise WordlineError(
            "training.noise = 'hardware', but no effect is on; give some (--effects, or [effects] "
            "in the recipe), or a signal-to-noise ratio in dB."
        )
    check_data(description, data)
    progress = progress or (lambda *_: None)
    check_device(device)
    # The caller's generator stays as it is, and gradients are on whatever the caller's mode.
    gpus = [device] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(gpus), torch.enable_grad():
        torch.manual_seed(training.seed)
        model = fit_float(description, training, data.train, progress, device)
        program = fit_quantised(
            model, description, training, data.train, progress, device, effects, levels
        )
    return Result(
        program=program,
        reference=worth(model.scores(data.test), data.test),
        golden=measured(program, data.test),
    )
