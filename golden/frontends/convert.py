"""Post-training quantisation: convert a trained float network to a program.

Weights, ranges and tables are those at the start of quantised training (docs/contract.md, 12),
found from calibration sequences. Then the biases of one array after the other are corrected by the
mean error of its pre-activations: after Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction" (ICCV 2019). Here all arrays before it and its own h are those of
the chip. The error of each array is measured on the same sequences.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from golden import adc, head, network
from golden.cells.rnn import RnnCell
from golden.datasets import Sequences
from golden.description import Description
from golden.errors import WordlineError
from golden.float_network import FloatModel
from golden.frontends.chain import Foreign
from golden.frontends.compare import Comparison, compare
from golden.frontends.module import from_module
from golden.levels import IMPORTANT, Levels
from golden.program import ArrayProgram, Program
from golden.training import evaluate
from golden.training.evaluate import (
    check_labels,
    constant_channels,
    own_statistics,
    target_statistics,
)
from golden.training.quantised import Trainable, TrainableArray, over_rows

CORRECTION = 512
"""Maximum sequences for the bias correction and the measured errors."""


@dataclass(frozen=True)
class ArrayReport:
    """Quantisation error of an array on calibration sequences, in pre-activations (head: scores).

    name: Name of the array.
    signal: Root mean square of the float network's pre-activations.
    error: Root mean square of the difference from these.
    clipped: Share of conversions that gave the ADC's lowest or highest code.
    weight_error: Root mean square of the rounding of the weights, relative to that of the weights.
    bias: Root mean square of the bias correction.
    """

    name: str
    signal: float
    error: float
    clipped: float
    weight_error: float
    bias: float


@dataclass(frozen=True)
class Conversion:
    """A converted network.

    program: The program.
    model: The float network that it was made from.
    arrays: Quantisation error of each array.
    trainable: The quantised network with corrected biases, for further training.
    chain: Names of the parts that were read, in order.
    compared: Comparison of the network as it was read with its source.
    notes: Further notes for the user, one sentence each.
    """

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

    module: PyTorch module (see `golden.frontends.module`), or an imported network.

    description: The design, with the sizes of the network.

    calibration: Typical real inputs (sequences, steps, inputs), or `Sequences`. Level tables that
    are placed by importance need labels. A regressor's scores are standardised by real labels.

    levels: How level tables are found, if `device.levels` is "trained".

    Raises WordlineError if the network cannot be mapped, or does not fit the description or the
    calibration.
    """
    if not isinstance(module, nn.Module | Foreign):
        raise WordlineError(
            f"{type(module).__name__} is no network; give a torch.nn.Module, or import its file "
            f"with wordline.import_model."
        )
    if not isinstance(description, Description):
        raise WordlineError(
            f"{type(description).__name__} is no description; give one: of a recipe, .description."
        )
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        return _convert(module, description, calibration, levels or Levels())


def _convert(
    module: nn.Module | Foreign,
    description: Description,
    calibration: Sequences | Tensor,
    how: Levels,
) -> Conversion:
    own = from_module(module) if isinstance(module, nn.Module) else module
    own.check(description)
    data = _sequences(calibration)
    check_calibration(own.source, description, data)
    data = data.padded().numbers()
    model = as_model(own, description, data)
    _check_sizes(own, model)
    own, compared = compare(own, model, data, description)
    notes = _notes(own, compared, description, data)
    check_levels(description, data, how)
    trainable = Trainable(model, data, description, how)
    part = data.part(torch.arange(0, len(data), -(-len(data) // CORRECTION)))
    converted = _corrected(trainable, model, part)
    program = converted[0]
    _check_bias(own, program)
    notes += _agreement(program, model, part)
    return Conversion(*converted, trainable, own.chain, compared, notes)


LARGEST = 1e30
"""Maximum number of a network for standardised inputs: products of them are finite."""


def _check_sizes(own: Foreign, model: FloatModel) -> None:
    """Check that arithmetic in float32 holds the network for standardised inputs.

    Raises WordlineError if it does not.
    """
    for channel, spread in enumerate(model.spread.tolist()):
        if not spread <= LARGEST:
            raise WordlineError(
                f"The calibration's channel {channel} has a standard deviation of {spread:.1e}, "
                f"too large for float32; scale it, and train the network with scaled inputs."
            )
    for name, values in model.network.named_parameters():
        largest = float(values.detach().abs().max())
        if not largest <= LARGEST:
            raise WordlineError(
                f"{own.source}: {name}, for standardised inputs, has numbers up to {largest:.1e}, "
                f"too large for float32; scale the network."
            )


def _agreement(program: Program, model: FloatModel, data: Sequences) -> tuple[str, ...]:
    """How often the class of the program is that of the float network, as a note."""
    output = program.description.output
    if output.of != "class":
        return ()
    size = data.x.shape[:2] if output.every_step else data.x.shape[:1]
    data = Sequences(data.x, data.lengths, torch.zeros(size, dtype=torch.int64))
    found = head.vote(evaluate.scores(program, data), program.vote_by)
    same = model.scores(data).argmax(-1) == found
    same = same[data.valid] if output.every_step else same
    what, share = "steps" if output.every_step else "sequences", 100 * float(same.double().mean())
    return (f"{share:.1f} % of {len(same):,} calibration {what} keep the float network's class",)


def _check_bias(own: Foreign, program: Program) -> None:
    """Check that the head reaches the real scores: its biases have the range of its ADC codes.

    Raises WordlineError if a bias saturates and the design outputs scores.
    """
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
    """The network with inputs and real targets standardised over these sequences.

    See `golden.training.evaluate.own_statistics`.
    """
    found = (*own_statistics(data), *target_statistics(description, data))
    return FloatModel(own.standardised(description, *found), *found)


def check_calibration(source: str, description: Description, data: Sequences) -> None:
    """Check that the ranges of a network can be found from these sequences.

    source: Name of the network, for messages.

    Raises WordlineError if they cannot.
    """
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
    if len(data.labels) != len(data.x) or _labelled(data):
        check_labels(description, data, source="The calibration: ")
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
    """Check that there are labels if level tables are found by importance.

    Raises WordlineError if there are none.
    """
    if description.device.levels == "trained" and how.method in IMPORTANT and not _labelled(data):
        raise WordlineError(
            f"levels.method = {how.method!r} places levels by the loss's gradient, which needs "
            f"labels; give them with the calibration, or write 'lloyd-max'."
        )


def _sequences(calibration: Sequences | Tensor) -> Sequences:
    if isinstance(calibration, Sequences):
        return calibration
    if not isinstance(calibration, Tensor):
        raise WordlineError(
            f"The calibration is a {type(calibration).__name__}; give a tensor (sequences, steps, "
            f"inputs), or Sequences: of a Dataset, .train."
        )
    steps = calibration.shape[1] if calibration.dim() > 1 else 0
    lengths = torch.full(calibration.shape[:1], steps)
    return Sequences(calibration, lengths, torch.full(calibration.shape[:1], -1))


def _labelled(data: Sequences) -> bool:
    return data.real or int(data.labelled(data.labels).min()) >= 0


def _notes(
    own: Foreign, compared: Comparison, description: Description, data: Sequences
) -> tuple[str, ...]:
    """Notes for the user on the network that was read, one sentence each."""
    notes = []
    for channel in constant_channels(data).nonzero()[:, 0].tolist():
        notes.append(
            f"channel {channel} is constant in the calibration ({float(data.x[0, 0, channel]):g}); "
            f"the program always treats it as that value"
        )
    if isinstance(description.cell, RnnCell) and own.activation is None:
        notes.append(
            f"{own.source} does not say which activation its RNN has; that of the design is taken: "
            f"{description.cell.activation}"
        )
    if compared.every_step and not description.output.every_step:
        notes.append(
            f"{own.source} gives scores of every step; the design reads the last one: for all of "
            f"them, write output.steps = 'every' in the design"
        )
    if compared.limit and not own.steps:
        notes.append(
            f"{own.source} gives other scores, or none, for sequences of more than "
            f"{compared.limit} steps; the program treats them like shorter ones"
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
    """Correct the biases of one array after the other.

    Returns the program, the float model, and a report for each array.
    """
    arrays = trainable.arrays
    wanted = _pre_activations(model, data)
    reports = []
    with torch.no_grad():
        for n, (array, given) in enumerate(zip(arrays, wanted, strict=True)):
            real = given - array.offset
            # The layer's own h changes with its bias, so one pass is not enough.
            moved = torch.zeros_like(array.bias)
            for _ in range(2):
                found, _ = _seen(trainable, n, data)
                change = (real - found).mean(0) * _reached(array)
                array.bias.add_(change)
                moved += change
            found, clipped = _seen(trainable, n, data)
            own = _reached(array).all(0) if array is trainable.head else slice(None)
            reports.append(
                _report(
                    *(trainable, n, array, real[..., own], found[..., own], clipped),
                    moved[..., own],
                )
            )
        program = trainable.program().to(torch.int64)
    return program, model, tuple(reports)


def _reached(array: TrainableArray) -> Tensor:
    """Biases that are not below their range; of a class that is, no score matters."""
    return array.bias / array.index_step()[:, None] > array.shape.index_range.low


def _pre_activations(model: FloatModel, data: Sequences) -> list[Tensor]:
    """Pre-activations of each array in float, shape (steps of all sequences, gates, units).

    Those of the head come last.
    """
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
    """Pre-activations of array n on the chip, and its share of clipped conversions.

    The pre-activations have the format of `_pre_activations`. A conversion is clipped at the lowest
    and at the highest code of the ADC.
    """
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
