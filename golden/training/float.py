"""Training of the float network: the reference, and the starting point of quantised training."""

from torch import Tensor

from golden.datasets import Sequences
from golden.description import Description
from golden.float_network import FloatModel, FloatNetwork
from golden.injection import Injection
from golden.training.evaluate import statistics, target_statistics
from golden.training.optimise import Progress, batch_loss, fit, mean_of_passes
from golden.training.settings import Training
from golden.validation import replaced

RAMP = 10.0
"""Signal-to-noise ratio (dB) at which training of a float network with noise starts."""


def fit_float(
    description: Description,
    training: Training,
    data: Sequences,
    progress: Progress = lambda *_: None,
    device: str = "cpu",
    *,
    start: FloatModel | None = None,
    injection: Injection | None = None,
) -> FloatModel:
    """Train a float network for `float_epochs`; the caller seeds PyTorch's generator.

    start: Model to continue from.
    injection: Noise in training. Over the first half of the epochs its signal-to-noise ratio falls
        linearly in dB from RAMP; it is constant if it is above RAMP.
    """
    if start is None:
        found = (*statistics(data), *target_statistics(description, data))
        start = FloatModel(FloatNetwork(description), *found)
    model = start.to(device)

    def loss_of(batch: Sequences, done: float) -> Tensor:
        noise = None if injection is None else ramp(injection, done)
        real = model.standardised(batch)

        def scores(part: Sequences) -> Tensor:
            found: Tensor = model.network(part.x, part.lengths, noise, every_step=part.every_step)
            return found

        return batch_loss(mean_of_passes(real, training.passes, scores), real)

    epochs = training.float_epochs
    fit(model.network, loss_of, data.to(device), training, epochs, "float", progress)
    return model.to("cpu")


def ramp(injection: Injection, done: float) -> Injection:
    """Noise at a point of the training.

    done: Completed part of the training, 0 to 1.
    """
    above = max(0.0, RAMP - injection.snr_db) * max(0.0, 1 - 2 * done)
    return replaced(injection, snr_db=injection.snr_db + above)
