"""Quantisation-aware training whose forward pass is the golden model.

`Trainable` holds real-valued weights and scales. From them it builds a `Program` of float64 tensors
that hold integers, with straight-through gradients. `golden.network.run` runs this program: the
same function that is compared with the Verilog. So the accuracy in training is the accuracy of the
chip. Learned step sizes follow LSQ (Esser et al., "Learned Step Size Quantization", ICLR 2020); the
rest is ours.
"""

import copy
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from golden import crossbar, dac, network, tables
from golden.datasets import Sequences
from golden.description import Description
from golden.effects import Effects
from golden.effects import apply as apply_effects
from golden.errors import WordlineError
from golden.fixed import quantise
from golden.float_network import FloatModel
from golden.geometry import ArrayShape
from golden.levels import IMPORTANT, Levels, Table, place
from golden.program import HeadProgram, LayerProgram, Program, ideal_macro, padded
from golden.ranges import Range
from golden.training import cells
from golden.training.evaluate import FULL_SCALE
from golden.training.optimise import Progress, batch_loss, fit, mean_of_passes
from golden.training.settings import Training

CALIBRATION = 4096
"""Maximum sequences from which the initial ranges of the quantised network are derived."""

CLIP = 2.5
"""Full scale of a fixed level table, in standard deviations of the weights."""

IMPORTANCE, IMPORTANCE_STEPS = 1024, 2**15
"""Maximum sequences, and their maximum steps, for the importance of weights."""


class TrainableArray(nn.Module):
    """Real-valued weights of one array, and the scales that convert them to codes.

    weight: Weights as in the float network, shape (gates, units, rows).
    row_step: Real value of one DAC code on each row, shape (rows,).
    bias: Biases, shape (gates, units).
    log_unit: Logarithm of the pre-activation of one DAC code on one conductance code, shape (row
        tiles, gates).
    log_lsb: Logarithm of the pre-activation of one ADC LSB, shape (gates,).
    table: Level table, which does not change. Initially its largest code stands for `table.clip`
        standard deviations of a gate's weights in a row tile.
    offset: What was taken from all biases, which changes no class.
    """

    offset = 0.0

    def __init__(
        self,
        weight: Tensor,
        row_step: Tensor,
        bias: Tensor,
        lsb: Tensor,
        shape: ArrayShape,
        table: Table,
    ) -> None:
        super().__init__()
        self.shape = shape
        levels = padded(table.levels, shape.description.device)
        self.levels: Tensor
        self.register_buffer("levels", levels.double().to(weight.device))
        self.row_step: Tensor
        self.register_buffer("row_step", row_step)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        spread = _spread(weight * row_step, shape)
        self.log_unit = nn.Parameter((table.clip * spread / self.levels.abs().max()).log())
        self.log_lsb = nn.Parameter(lsb.log())

    def index_step(self) -> Tensor:
        """Pre-activation of one step of the table index, shape (gates,)."""
        return self.log_lsb.exp() / 2**self.shape.description.cell.frac

    @torch.no_grad()
    def in_deviations(self) -> tuple[Tensor, Tensor]:
        """All weights, and the level table, in standard deviations of each gate's weights.

        The table's scale is that of the first gate and row tile. Initially all have the same scale.
        """
        weight = self.weight * self.row_step
        spread = _spread(weight, self.shape)
        levels = self.levels * (self.log_unit.exp() / spread)[0, 0]
        return (weight / over_rows(spread, self.shape)).flatten(), levels

    def differential(self) -> Tensor:
        """Differential codes g+ - g- with gradients, shape (gates, units, rows)."""
        weight, unit = self.weight * self.row_step, self.log_unit.exp()
        return crossbar.nearest_level(weight / over_rows(unit, self.shape), self.levels)

    def program(self, *, with_tables: bool) -> dict[str, Tensor]:
        """Fields of an array's program: integers with gradients, and an ideal macro.

        with_tables: With the tables of gates.
        """
        own = self._compiled if cells.usable(self.weight) else self.readable
        found = own(with_tables)
        return found | {"levels": self.levels, **ideal_macro(self.shape, self.weight.device)}

    def _compiled(self, with_tables: bool) -> dict[str, Tensor]:
        """The same numbers, few operations each way."""
        positive, negative, gain, bias, of_gates = cells.numbers(
            *(self.weight, self.bias, self.log_unit, self.log_lsb),
            row_step=self.row_step,
            levels=self.levels,
            shape=self.shape,
            with_tables=with_tables,
        )
        found = {"positive": positive, "negative": negative, "gain": gain, "bias": bias}
        return found if of_gates is None else found | {"gate_tables": of_gates}

    def readable(self, with_tables: bool) -> dict[str, Tensor]:
        """Integers with gradients; see `program`."""
        description = self.shape.description
        positive, negative = crossbar.pair(self.differential())
        gain = (self.log_unit - self.log_lsb).exp() * 2.0**self.shape.adc_shift
        bias = self.bias / self.index_step()[:, None]
        found = {
            "positive": positive,
            "negative": negative,
            "gain": quantise(gain, Range(1, 2**description.adc.gain_bits - 1)),
            "bias": quantise(bias, self.shape.index_range),
        }
        if with_tables:
            found["gate_tables"] = tables.gate_tables(self.index_step(), self.shape)
        return found


class Trainable(nn.Module):
    """A quantised network in training, initialised from a float network.

    model: Float network.
    data: Training set, which determines the initial ranges and level tables.
    levels: How level tables are found, if training finds them.
    """

    def __init__(
        self,
        model: FloatModel,
        data: Sequences,
        description: Description,
        levels: Levels | None = None,
    ) -> None:
        super().__init__()
        self.description = description
        self._cell_tables: tuple[torch.device, dict[str, Tensor]] | None = None
        if description.cell.unbounded:
            model = _in_range(model, data)
        table = _tables(description, model, data, levels or Levels())
        # A part of a large set, evenly spaced, is enough to find the ranges.
        part = torch.arange(0, len(data), -(-len(data) // CALIBRATION), device=data.x.device)
        data = model.standardised(data.part(part))
        step, hidden_step = (full / description.dac.range.high for full in (FULL_SCALE, 1.0))
        self.input_mean: Tensor
        self.register_buffer("input_mean", model.mean.double())
        self.input_step: Tensor
        self.register_buffer("input_step", (model.spread * step).double())
        self.target_mean: Tensor
        self.register_buffer("target_mean", model.target_mean.double())
        self.target_spread: Tensor
        self.register_buffer("target_spread", model.target_spread.double())
        arrays = []
        x, row_step = data.x, torch.full_like(model.spread, step)
        recurrent: list[Any] = list(model.network.layers)
        linear = model.network.head
        self.head: TrainableArray | None = None
        with torch.no_grad():
            for n, (layer, shape) in enumerate(zip(recurrent, description.layers, strict=True)):
                steps = torch.cat([row_step, torch.full((shape.units,), hidden_step).to(x)])
                weight = torch.cat([layer.weight_ih_l0, layer.weight_hh_l0], dim=1)
                bias = layer.bias_ih_l0 + layer.bias_hh_l0
                h, _ = layer(x)
                before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], dim=1)
                rows = torch.cat([x, before], dim=2)[data.valid]
                arrays.append(_array(weight, steps, bias, rows, shape, partial(table, n)))
                x, row_step = h, torch.full((shape.units,), hidden_step).to(x)
            if linear is not None:
                # Where the class alone comes out, the highest bias is in range.
                reach = description.head.index_range.high if description.output.of == "class" else 0
                self.head = _array(
                    *(linear.weight, row_step, linear.bias, x[data.valid]),
                    *(description.head, partial(table, len(arrays)), reach),
                )
        self.layers: list[TrainableArray] = nn.ModuleList(arrays)  # type: ignore[assignment]

    @property
    def arrays(self) -> list[TrainableArray]:
        """Arrays of the layers, then of the head."""
        return [*self.layers, *([] if self.head is None else [self.head])]

    def encode(self, x: Tensor) -> Tensor:
        """DAC codes of real inputs."""
        return dac.encode(x, self.input_mean, self.input_step, self.description.dac)

    def program(self) -> Program:
        """The network as a program: float64 tensors that hold integers, with gradients."""
        description = self.description
        device = self.input_mean.device
        if self._cell_tables is None or self._cell_tables[0] != device:
            self._cell_tables = device, tables.cell_tables(description, device)
        layers = tuple(
            LayerProgram(
                **array.program(with_tables=True),
                tables=dict(self._cell_tables[1]),
            )
            for array in self.layers
        )
        head, step = None, torch.full_like(self.input_step[0], 1 / description.dac.range.high)
        if self.head is not None:
            codes = self.head.program(with_tables=False)
            step = self.head.index_step()[0]
            head = HeadProgram(**codes | {"bias": codes["bias"][0]})
        return Program(
            description=description,
            layers=layers,
            head=head,
            input_mean=self.input_mean,
            input_step=self.input_step,
            score_mean=self.target_mean,
            score_step=step * self.target_spread,
        )


@torch.no_grad()
def _in_range(model: FloatModel, data: Sequences) -> FloatModel:
    """The same function with h of each layer scaled to the DAC's full scale, 1.

    A layer of ReLU scales with its input weights and bias, and what reads h takes the scale back.
    Full scale becomes FULL_SCALE root mean squares of h over (a part of) the data.
    """
    model = copy.deepcopy(model)
    part = torch.arange(0, len(data), -(-len(data) // CALIBRATION), device=data.x.device)
    data = model.standardised(data.part(part))
    layers: list[Any] = list(model.network.layers)
    readers = [layer.weight_ih_l0 for layer in layers[1:]]
    readers += [model.network.head.weight] if model.network.head is not None else []
    x = data.x
    for layer, reader in zip(layers, readers, strict=False):  # states without a head keep theirs
        h, _ = layer(x)
        full = FULL_SCALE * h[data.valid].square().mean().sqrt().clamp(min=1e-6)
        for scaled in (layer.weight_ih_l0, layer.bias_ih_l0, layer.bias_hh_l0):
            scaled /= full
        reader *= full
        x = h / full
    return model


def _array(
    weight: Tensor,
    row_step: Tensor,
    bias: Tensor,
    rows: Tensor,
    shape: ArrayShape,
    table: Callable[[Tensor, Tensor], Table],
    reach: int = 0,
) -> TrainableArray:
    """Array from PyTorch's weights (gates * units, rows).

    The initial ADC full scale of each gate is 2.5 standard deviations of its partial sums, in the
    row tile and plane where they are largest.

    rows: Real values on the rows, shape (any, rows).
    reach: Largest code of a bias: if one would be beyond, all are shifted until the highest one is
        at 3/4 of it, and only much lower ones saturate. 0: biases saturate as they are.
    """
    sigma = torch.full((shape.gates,), 1e-3, dtype=torch.float64, device=weight.device)
    for on_rows in _on_rows(rows, row_step, shape.description):
        for tile in shape.row_slices:
            charge = on_rows[:, tile] @ weight[:, tile].T
            # Gate by gate, because all gates in double may take gigabytes.
            gates = charge.unflatten(1, (shape.gates, shape.units)).unbind(1)
            spread = torch.stack([gate.double().std(correction=0) for gate in gates])
            sigma = torch.maximum(sigma, spread)
    lsb = 2.5 * sigma / 2 ** (shape.description.adc.bits - 1)
    offset, of_code = 0.0, reach / 2**shape.description.cell.frac
    if reach and bool((bias.double().abs().max() > of_code * lsb).any()):
        # What all classes have in common does not matter, nor how far the lowest ones are below.
        offset = float(bias.double().max() - 0.75 * of_code * lsb.min())
        bias = bias.double() - offset
    split = (shape.gates, shape.units)
    weight, bias = weight.double().unflatten(0, split), bias.double().unflatten(0, split)
    row_step = row_step.double()
    array = TrainableArray(weight, row_step, bias, lsb, shape, table(weight, row_step))
    array.offset = offset
    return array


def _on_rows(rows: Tensor, row_step: Tensor, description: Description) -> list[Tensor]:
    """Values on the rows in each plane, in the unit of the rows.

    They are not quantised if there is one plane.
    """
    if description.dac.planes == 1:
        return [rows]
    codes = quantise(rows / row_step, description.dac.range)
    return [plane * row_step for plane in dac.planes(codes, description.dac)]


def over_rows(values: Tensor, shape: ArrayShape) -> Tensor:
    """Repeat values (row tiles, gates) over the rows of each tile: shape (gates, 1, rows)."""
    sizes = torch.tensor([len(tile) for tile in shape.row_tiles], device=values.device)
    return values.repeat_interleave(sizes, 0).T[:, None]


def _spread(weight: Tensor, shape: ArrayShape) -> Tensor:
    """Standard deviation of each gate's weights in each row tile.

    The weights have shape (gates, units, rows), the result (row tiles, gates).
    """
    tiles = [weight[..., tile].flatten(1) for tile in shape.row_slices]
    return torch.stack([part.std(dim=1, correction=0) for part in tiles]).clamp(min=1e-6)


def _tables(
    description: Description, model: FloatModel, data: Sequences, how: Levels
) -> Callable[[int, Tensor, Tensor], Table]:
    """Function that returns the level table of an array.

    Its arguments are the array's number, its weights (gates, units, rows) and their row steps. The
    table is that of the description, or found by `golden.levels`.

    Raises WordlineError if `levels.count` is too large for `device.weight_bits`.
    """
    device = description.device
    fixed = device.level_table
    if fixed is not None:
        return lambda *_: Table(fixed, CLIP)
    count = 2**device.weight_bits if how.count is None else how.count
    if count > 2**device.weight_bits:
        raise WordlineError(
            f"levels.count = {count} is above the {2**device.weight_bits} levels that "
            f"device.weight_bits = {device.weight_bits} allows; lower it, or raise weight_bits."
        )
    squares = _importance(model, data) if how.method in IMPORTANT else None

    def found(number: int, weight: Tensor, row_step: Tensor) -> Table:
        # In standard deviations of each gate and row tile, because all of them share the table.
        shape = [*description.arrays.values()][number]
        scale = row_step / over_rows(_spread(weight * row_step, shape), shape)
        square = torch.ones_like(weight)
        if squares is not None:
            square = squares[number].unflatten(0, weight.shape[:2]).double() / scale**2
        return place((weight * scale).cpu(), square.cpu(), how, count, device.conductance_max)

    return found


def _importance(model: FloatModel, data: Sequences) -> list[Tensor]:
    """Mean squared gradient of the loss with respect to each weight, over single sequences.

    There is one tensor (gates * units, rows) per array, the head's last.
    """
    reference = model.network
    recurrent: list[Any] = list(reference.layers)
    parts = [[layer.weight_ih_l0, layer.weight_hh_l0] for layer in recurrent]
    parts.append([reference.head.weight] if reference.head is not None else [])
    squares = [[torch.zeros_like(weight) for weight in part] for part in parts]
    most = min(IMPORTANCE, max(1, int(IMPORTANCE_STEPS / data.lengths.double().mean())))
    chosen = range(0, len(data), -(-len(data) // most))
    for n in chosen:
        one = model.standardised(data.part(torch.tensor([n], device=data.x.device)))
        error = batch_loss(reference(one.x, one.lengths, every_step=one.every_step), one)
        gradients = torch.autograd.grad(error, [weight for part in parts for weight in part])
        for square, gradient in zip((s for part in squares for s in part), gradients, strict=True):
            square += gradient**2
    return [torch.cat(part, 1) / len(chosen) for part in squares if part]


def fit_quantised(
    model: FloatModel,
    description: Description,
    training: Training,
    data: Sequences,
    progress: Progress = lambda *_: None,
    device: str = "cpu",
    effects: Effects | None = None,
    levels: Levels | None = None,
) -> Program:
    """Train the quantised network for `epochs`, starting from a float model.

    The caller seeds PyTorch's generator.

    effects, levels: See `golden.training.run.train`.
    """
    data = data.to(device)
    trainable = Trainable(model.to(device), data, description, levels)
    hardware = training.noise == "hardware"

    def loss_of(batch: Sequences, _: float) -> Tensor:
        program, first = trainable.program(), None
        if hardware and effects:
            seed, first = torch.randint(2**31, (2,)).tolist()
            program = apply_effects(program, effects, seed=seed)

        def scores(part: Sequences) -> Tensor:
            runs = None if first is None else first + torch.arange(len(part), device=part.x.device)
            codes, noise = trainable.encode(part.x), training.injection
            found = network.run(program, codes, part.lengths, runs, noise, trace=False)
            return program.real(found.scores)

        real = mean_of_passes(batch, training.passes, scores)
        if batch.real:
            spread = trainable.target_spread
            batch = dataclasses.replace(batch, labels=batch.labels / spread)
            real = real / spread
        return batch_loss(real, batch)

    fit(trainable, loss_of, data, training, training.epochs, "quantised", progress)
    with torch.no_grad():
        return trainable.cpu().program().to(torch.int64)
