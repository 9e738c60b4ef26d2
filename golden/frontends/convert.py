"""Post-training quantisation: a float network, trained anywhere, as a program.

Weights, ranges and tables come as training finds them before its first step (docs/contract.md,
12), from calibration sequences. Then each array's biases are corrected, one array after the other,
by what its pre-activations are off on average: after Nagel et al., "Data-Free Quantization Through
Weight Equalization and Bias Correction" (ICCV 2019), here with all arrays before it and its own h
as the chip has them. How much each array errs is measured on the same sequences.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from golden import adc, network
from golden.datasets import Sequences
from golden.description import Description
from golden.errors import WordlineError
from golden.float_network import FloatModel
from golden.frontends.chain import Foreign
from golden.frontends.compare import Comparison, compare
from golden.frontends.module import from_module
from golden.levels import IMPORTANT, Levels
from golden.program import ArrayProgram, Program
from golden.training.evaluate import constant_channels, own_statistics, target_statistics
from golden.training.quantised import Trainable, TrainableArray, over_rows

CORRECTION = 512
"""Sequences from which biases are corrected and errors measured."""


@dataclass(frozen=True)
class ArrayReport:
    """What quantisation does to an array, on calibration sequences, in pre-activations (the head:
    scores).

    signal, error: root mean squares, of the float network's and of the difference to them. clipped:
    share of conversions that gave the ADC's lowest or highest code. weight_error: root mean square
    of what rounding did to the weights, relative to theirs. bias: root mean square of the
    correction.
    """

    name: str
    signal: float
    error: float
    clipped: float
    weight_error: float
    bias: float


@dataclass(frozen=True)
class Conversion:
    """A program, the float network it was made of, what is lost in each array, the quantised
    network, with corrected biases, to be trained on; the parts that were read, in order, and how
    they compare with what they were read from; what else to know, a sentence each."""

    program: Program
    model: FloatModel
    arrays: tuple[ArrayReport, ...]
    trainable: Trainable
    chain: tuple[str, ...]
    compared: Comparison
    notes: tuple[str, ...]


def convert(
    module: nn.Module | Foreign,
    description: Description,
    calibration: Sequences | Tensor,
    levels: Levels | None = None,
) -> Conversion:
    """Quantise a trained float network for a design, without training.

    module: see `golden.frontends.module`. calibration: real inputs as the network is used on,
    (sequences, steps, inputs), or `Sequences`, whose labels only level tables by importance need.
    levels: how level tables are found, where `device.levels` is "trained". Raises WordlineError
    where the network cannot be mapped, or does not fit the description or the calibration.
    """
    own = from_module(module) if isinstance(module, nn.Module) else module
    own.check(description)
    data, how = _sequences(calibration), levels or Levels()
    check_calibration(own.source, description, data)
    data = data.padded()
    model = as_model(own, description, data)
    own, compared = compare(own, model, data, description)
    notes = _notes(own, description, data)
    check_levels(description, data, how)
    trainable = Trainable(model, data, description, how)
    part = data.part(torch.arange(0, len(data), -(-len(data) // CORRECTION)))
    converted = _corrected(trainable, model, part)
    found = Conversion(*converted, trainable, own.chain, compared, notes)
    _check_bias(own, found.program)
    return found


def _check_bias(own: Foreign, program: Program) -> None:
    """Raise WordlineError where scores that matter are far from where the head can put them: its
    biases have the range of its ADCs."""
    if program.head is None or program.description.output.of != "scores":
        return
    range_ = program.description.head.index_range
    at_end = (program.head.bias <= range_.low) | (program.head.bias >= range_.high)
    if bool(at_end.any()):
        raise WordlineError(
            f"{own.source}: score {int(at_end.nonzero()[0])} has a bias that is large beside how "
            f"much the score varies, and the head does not reach it; give real `labels` with the "
            f"calibration, by which scores are standardised, or train for standardised targets."
        )


def as_model(own: Foreign, description: Description, data: Sequences) -> FloatModel:
    """The network with its inputs standardised as they are in training, over these sequences."""
    found = (*own_statistics(data), *target_statistics(description, data))
    return FloatModel(own.standardised(description, *found), *found)


def check_calibration(source: str, description: Description, data: Sequences) -> None:
    """Raise WordlineError where no ranges of a network can be found from these sequences; source:
    what the network is called."""
    inputs = description.network.inputs
    if data.x.dim() != 3 or data.x.shape[2] != inputs or 0 in data.x.shape:
        raise WordlineError(
            f"The calibration has shape {tuple(data.x.shape)}; {source} takes (sequences, "
            f"steps, {inputs}), none of them empty."
        )
    lengths, steps = data.lengths, data.x.shape[1]
    fit = lengths.shape == data.x.shape[:1] and int(lengths.min()) >= 1
    if not fit or int(lengths.max()) > steps:
        raise WordlineError(
            f"The calibration's lengths must be {len(data.x)} numbers from 1 to {steps}, its steps."
        )
    if not bool(torch.isfinite(data.x[data.valid].float()).all()):
        raise WordlineError("The calibration holds a number that is not finite.")
    if int(data.lengths.sum()) < 2:
        raise WordlineError(
            "The calibration has one step in all, of which no range can be found; give some "
            "hundred typical sequences."
        )
    if bool(constant_channels(data).all()):
        raise WordlineError(
            f"The calibration has the same values at every step ({data.x[0, 0].tolist()[:3]}...), "
            f"of which no range can be found; give some hundred typical sequences."
        )


def check_levels(description: Description, data: Sequences, how: Levels) -> None:
    """Raise WordlineError where level tables are found by importance, but there are no labels."""
    if description.device.levels == "trained" and how.method in IMPORTANT and not _labelled(data):
        raise WordlineError(
            f"levels.method = {how.method!r} places levels by the loss's gradient, which needs "
            f"labels; give them with the calibration, or write 'lloyd-max'."
        )


def _sequences(calibration: Sequences | Tensor) -> Sequences:
    if isinstance(calibration, Sequences):
        return calibration
    lengths = torch.full(
        calibration.shape[:1], calibration.shape[1] if calibration.dim() > 1 else 0
    )
    return Sequences(calibration, lengths, torch.full(calibration.shape[:1], -1))


def _labelled(data: Sequences) -> bool:
    return data.real or int(data.labelled(data.labels).min()) >= 0


def _notes(own: Foreign, description: Description, data: Sequences) -> tuple[str, ...]:
    """What a user should know of what was read, a sentence each."""
    notes = []
    for channel in constant_channels(data).nonzero()[:, 0].tolist():
        notes.append(
            f"channel {channel} is constant in the calibration ({float(data.x[0, 0, channel]):g}); "
            f"the program always treats it as that value"
        )
    if own.tail:
        notes.append(f"{', '.join(own.tail)} behind the scores is left out: the class is the same")
    if own.steps and bool((data.lengths != own.steps).any()):
        notes.append(
            f"{own.source} is for sequences of {own.steps} steps, and so it was compared on such; "
            f"the program takes any number"
        )
    if own.thresholds(description):
        notes.append(
            "one score: class 1 where it is above 0, else class 0; for the score itself, write "
            "output.of = 'scores' in the design"
        )
    return tuple(notes)


def _corrected(
    trainable: Trainable, model: FloatModel, data: Sequences
) -> tuple[Program, FloatModel, tuple[ArrayReport, ...]]:
    """Correct the biases of one array after the other; a program, and what each array errs."""
    arrays = trainable.arrays
    wanted = _pre_activations(model, data)
    reports = []
    with torch.no_grad():
        for n, (array, real) in enumerate(zip(arrays, wanted, strict=True)):
            # All of h of the layer itself changes with its bias, so once is not enough.
            moved = torch.zeros_like(array.bias)
            for _ in range(2):
                found, _ = _seen(trainable, n, data)
                change = (real - found).mean(0)
                array.bias.add_(change)
                moved += change
            found, clipped = _seen(trainable, n, data)
            reports.append(_report(trainable, n, array, real, found, clipped, moved))
        program = trainable.program().to(torch.int64)
    return program, model, tuple(reports)


def _pre_activations(model: FloatModel, data: Sequences) -> list[Tensor]:
    """Of each array, in float: (steps of all sequences, gates, units), a head's last."""
    found, x = [], model.standardised(data).x
    recurrent: list[Any] = list(model.network.layers)
    with torch.no_grad():
        for layer in recurrent:
            h, _ = layer(x)
            before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], dim=1)
            z = x @ layer.weight_ih_l0.T + before @ layer.weight_hh_l0.T
            z = (z + layer.bias_ih_l0 + layer.bias_hh_l0)[data.valid].double()
            found.append(z.unflatten(1, (-1, h.shape[2])))
            x = h
        if model.network.head is not None:
            found.append(model.network.head(x)[data.valid].double()[:, None])
    return found


def _seen(trainable: Trainable, n: int, data: Sequences) -> tuple[Tensor, float]:
    """Pre-activations of array n as the chip has them, as `_pre_activations`, and the share of
    conversions at either end of the ADC's range."""
    program, every = trainable.program().to(torch.int64), True
    trace = network.run(program, trainable.encode(data.x), data.lengths, every_step=every)
    array = trainable.arrays[n]
    x = trainable.encode(data.x) if n == 0 else trace.layers[n - 1].h
    loaded: ArrayProgram
    if n < len(trace.layers):
        layer, h = program.layers[n], trace.layers[n].h
        loaded, bias = layer, layer.bias
        before = torch.full_like(h, trainable.description.dac.zero)
        before[:, 1:] = h[:, :-1]
        x = torch.cat([x.to(h), before], dim=2)
    else:
        assert program.head is not None
        loaded, bias = program.head, program.head.bias[None]
    rows, shape = x[data.valid].long(), array.shape
    runs = torch.zeros(len(rows), dtype=torch.int64)
    low, high = trainable.description.adc.range
    converted = [*adc.conversions(rows, loaded, shape, runs, 0)]
    ends = [((codes == low) | (codes == high)).double().mean() for codes in converted]
    index = adc.summed(converted).double() * 2**trainable.description.cell.frac + bias
    return index * array.index_step()[:, None], float(torch.stack(ends).mean())


def _report(
    trainable: Trainable,
    n: int,
    array: TrainableArray,
    real: Tensor,
    found: Tensor,
    clipped: float,
    moved: Tensor,
) -> ArrayReport:
    def rms(values: Tensor) -> float:
        return float(values.double().square().mean().sqrt())

    weight = array.weight * array.row_step
    rounded = array.differential() * over_rows(array.log_unit.exp(), array.shape)
    return ArrayReport(
        name=[*trainable.description.arrays][n],
        signal=rms(real),
        error=rms(found - real),
        clipped=clipped,
        weight_error=rms(rounded - weight) / max(rms(weight), 1e-12),
        bias=rms(moved),
    )
