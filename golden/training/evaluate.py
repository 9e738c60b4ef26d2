"""Measures of a network on labelled sequences, and checks that a data set fits a description."""

import torch
from torch import Tensor

from golden import dac, head, network
from golden.datasets import Dataset, Sequences
from golden.description import Description
from golden.errors import WordlineError
from golden.measures import measures
from golden.program import Program

FULL_SCALE = 2.5
"""Full scale of the DAC, in standard deviations of an input; the 1 of a symbol is at full scale."""

CONSTANT = 1e-6
"""Standard deviation of a constant channel, relative to its value, or to 1 if that is larger.

The weights of the channel become 0 with it.
"""


def check_data(description: Description, data: Dataset) -> None:
    """Check that a data set fits a description: sizes, kind of labels, labelled steps.

    Raises WordlineError if it does not.
    """
    net, of, real = description.network, description.output.of, data.test.real
    if real and of == "class":
        raise WordlineError(
            f"output.of = 'class' does not fit the data set {data.name}, whose labels are real "
            f"numbers; write 'scores'."
        )
    if of == "state" and not real:
        raise WordlineError(
            f"output.of = 'state' does not fit the data set {data.name}, whose labels are classes; "
            f"write 'class' or 'scores', and network.classes = {data.classes}."
        )
    if (net.inputs, description.outputs) != (data.channels, data.classes):
        which = (
            f"network.classes = {net.classes}" if net.classes else f"{description.outputs} units"
        )
        raise WordlineError(
            f"network.inputs = {net.inputs} and {which} do not fit the data set {data.name}, which "
            f"has {data.channels} channels and {data.classes} {'targets' if real else 'classes'}."
        )
    if description.output.every_step != data.test.every_step:
        has, write = ("every step", "every") if data.test.every_step else ("a sequence", "last")
        raise WordlineError(
            f"output.steps = {description.output.steps!r} does not fit the data set {data.name}, "
            f"which has a label for {has}; write {write!r}."
        )


def check_sequences(description: Description, data: Sequences) -> None:
    """Check that sequences fit a description: shape, lengths, and finite inputs.

    Raises WordlineError if they do not.
    """
    if not isinstance(data, Sequences):
        raise WordlineError(
            f"The sequences are a {type(data).__name__}; give Sequences(x, lengths, "
            f"labels): of a Dataset, .train or .test."
        )
    shape, inputs = tuple(data.x.shape), description.network.inputs
    if len(shape) != 3 or shape[2] != inputs or 0 in shape:
        raise WordlineError(
            f"x has shape {shape}; give (sequences, steps, {inputs}), none of them empty."
        )
    lengths, steps = data.lengths, shape[1]
    if lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise WordlineError(f"The lengths are {lengths.dtype}; give integers.")
    if tuple(lengths.shape) != shape[:1] or lengths.min() < 1 or lengths.max() > steps:
        raise WordlineError(
            f"The lengths must be {shape[0]} numbers from 1 to {steps}, the steps of x."
        )
    if data.x.is_complex():
        raise WordlineError(f"x is {data.x.dtype}; give real numbers.")
    if data.x.is_floating_point() and not bool(torch.isfinite(data.x[data.valid]).all()):
        raise WordlineError("x holds a number that is not finite; mask it, or give 0.")


def check_labels(description: Description, data: Sequences, *, source: str = "") -> None:
    """Check that labels fit a description: classes, or real targets, of sequences or of steps.

    source: What they are for, in messages.

    Raises WordlineError if they do not.
    """
    labels, outputs, of = data.labels, description.outputs, description.output.of
    every_step, classes = description.output.every_step, description.network.classes
    if data.real and of == "class":
        raise WordlineError(
            f"{source}labels are {labels.dtype}, but what comes out is a class; give integers, or "
            f"write output.of = 'scores' for a regressor."
        )
    wanted = (*data.x.shape[: 1 + every_step], *([outputs] if data.real else []))
    if tuple(labels.shape) != wanted:
        raise WordlineError(f"{source}labels have shape {tuple(labels.shape)}; give {wanted}.")
    found = data.labelled(labels)
    if data.real and not bool(torch.isfinite(found).all()):
        raise WordlineError(f"{source}labels hold a number that is not finite; mask it.")
    if not data.real and (int(found.min()) < 0 or int(found.max()) >= classes):
        wanted_ = f"0..{classes - 1}" if classes else f"{outputs} real numbers"
        what = "step" if every_step else "sequence"
        raise WordlineError(
            f"{source}labels are {int(found.min())}..{int(found.max())}; give {wanted_} a {what}."
        )


def check_device(device: str) -> None:
    """Check that PyTorch can compute on a device, in float64.

    Raises WordlineError if it cannot.
    """
    try:
        (torch.ones(1, dtype=torch.float64, device=device) + 1).item()
    except Exception as error:  # a device's own package may raise any exception
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
        raise WordlineError(f"The device {device!r} cannot be used: {reason}.") from None


def scores(program: Program, data: Sequences) -> Tensor:
    """Scores of a program on real inputs, for each pass, in exact integers.

    See `golden.network.scores`.
    """
    codes = dac.encode(data.x, program.input_mean, program.input_step, program.description.dac)
    return network.scores(program, codes, data.lengths)


def measured(program: Program, data: Sequences) -> dict[str, float]:
    """Measures of a program on labelled sequences, in exact integers; see `worth`.

    Accuracy counts the classes after votes; the other measures use the scores of the first pass.
    """
    found = scores(program, data)
    label = None if data.real else head.vote(found, program.vote_by)
    return worth(program.real(found[:, 0].double()), data, label)


def worth(score: Tensor, data: Sequences, label: Tensor | None = None) -> dict[str, float]:
    """Measures (`golden.measures`) of real scores in the shape of `FloatModel.scores`.

    label: Predicted classes. Default: the classes of the highest scores.
    """
    truth = data.labelled(data.labels)
    label = label if label is None else data.labelled(label)
    return measures(data.labelled(score), truth, label, every_step=data.every_step)


def target_statistics(description: Description, data: Sequences) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each target of a regressor over the labels, shape (targets,).

    They are 0 and 1, shape (1,), if labels are classes or there is no head; a state is not scaled.
    """
    mean, deviation = torch.zeros(1), torch.ones(1)
    if data.real and description.network.classes:
        labels = data.labelled(data.labels).double()
        found = labels.std(0, correction=0)
        mean, deviation = labels.mean(0).float(), torch.where(found > 0, found, 1.0).float()
    return mean, deviation


def statistics(data: Sequences) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over the valid steps.

    A deviation is at least a tenth of the largest one. Otherwise a pixel at the edge that is lit
    once in a thousand images would reach values in the hundreds.

    Symbols have mean 0, and a deviation that puts their 1 at full scale.
    """
    if data.symbolic:
        channels = torch.zeros(data.x.shape[2])
        return channels, channels + 1 / FULL_SCALE
    deviation = data.x[data.valid].std(0)
    return data.x[data.valid].mean(0), deviation.clamp(min=max(1e-6, 0.1 * float(deviation.max())))


def own_statistics(data: Sequences) -> tuple[Tensor, Tensor]:
    """`statistics` for a network that is already trained.

    Each channel keeps its own deviation, however small. A constant channel gets almost none, so
    that the program keeps it constant.
    """
    if data.symbolic:
        return statistics(data)
    x, constant = data.x[data.valid].double(), constant_channels(data)
    mean = torch.where(constant, x[0], x.mean(0))
    deviation = torch.where(constant, CONSTANT * x[0].abs().clamp(min=1), x.std(0))
    return mean.float(), deviation.float()


def constant_channels(data: Sequences) -> Tensor:
    """Whether each channel has the same value at every valid step, shape (channels,).

    For symbols no channel counts as constant.
    """
    if data.symbolic:
        return torch.zeros(data.x.shape[2], dtype=torch.bool)
    x = data.x[data.valid]
    return x.amin(0) == x.amax(0)
