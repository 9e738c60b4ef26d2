"""Quantised, noisy layers (`torch.nn.Module`) for your own training loop.

They compute exactly what the accelerator computes::

    lstm = wordline.nn.LSTM(12, 32, batch_first=True, adc={"bits": 5}).calibrate(x)
    output, (h_n, c_n) = lstm(x)            # called like torch.nn.LSTM; gradients pass through

    net = wordline.nn.Network(description, batch_first=True, noise=10.0).calibrate(x, lengths)
    loss = cross_entropy(net(x, lengths), labels)
    net.to_program().save(path)             # to emit and to simulate

LSTM and RNN are recurrent layers whose state is the output. Network is everything that a
description can express, including the head. Inputs and outputs are real numbers. Inside, x becomes
DAC codes and `golden.network.run` computes the rest, the function that the Verilog is compared
with. An output is an integer of the chip times a fixed scale, rounded to the dtype of x: 1 /
(largest DAC code) for h, 2^-gate_bits for c, `Program.score_step` for scores.

Parameters are those of `golden.training.TrainableArray` in float64: real weights and biases, and
the logarithms of ADC and weight step sizes, learned as in LSQ (Esser et al., ICLR 2020). Weights
refer to standardised inputs, (x - mean) / deviation, so calibrate before training. Each forward
pass allows one backward pass.

Noise is on in training mode. It is a signal-to-noise ratio in dB, a `golden.injection.Injection`,
or the hardware's own `golden.effects.Effects` with another chip for each call. In evaluation mode
the chip is ideal unless `eval_noise` is set. Noise depends on `seed` and on the number of earlier
calls that drew noise; it neither reads nor changes PyTorch's generator.
"""

import copy
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from golden import native, network
from golden.datasets import Sequences
from golden.description import Description
from golden.effects import Effects
from golden.effects import apply as apply_effects
from golden.errors import WordlineError
from golden.float_network import FloatModel, FloatNetwork
from golden.frontends import convert
from golden.frontends.chain import INSTEAD, Foreign, Layer
from golden.frontends.module import from_module
from golden.injection import Injection
from golden.levels import IMPORTANT, Levels
from golden.network import Trace
from golden.noise import key
from golden.program import Program
from golden.training.evaluate import statistics, target_statistics
from golden.training.quantised import Trainable
from golden.validation import build, replaced
from wordline.nn.batch import Batch, Input, Lengths
from wordline.nn.hardware import check_mark, mark, of_layers

STARTING = (64, 8)
"""Sequences and steps of the random inputs that set the ranges before `calibrate`."""

Noise = float | Injection | Effects | None
"""A signal-to-noise ratio (dB) at the pre-activations; noise at other places; a real chip's."""


class _Quantised(Trainable):
    """A quantised network with noise and calibration. Subclasses define how it is called.

    draws: Number of calls that have drawn noise. It is a buffer, so a state_dict keeps it.
    design: Mark of the description, by which a state_dict of another design is refused.
    """

    def __init__(
        self,
        description: Description,
        *,
        batch_first: bool = False,
        noise: Noise = None,
        eval_noise: bool = False,
        seed: int = 0,
        levels: Levels | None = None,
    ) -> None:
        if not isinstance(description, Description):
            raise WordlineError(
                f"description = {type(description).__name__} is no description; give one: of a "
                f"recipe, .description."
            )
        if levels is not None and description.device.levels != "trained":
            raise WordlineError(
                f"levels has no effect with device.levels = {description.device.levels!r}; write "
                f"'trained' there, or leave levels out."
            )
        how = levels or Levels()
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(*STARTING, description.network.inputs, generator=generator)
        data = Sequences(x, torch.full(STARTING[:1], STARTING[1]), torch.full(STARTING[:1], -1))
        zeros = (torch.zeros(n) for n in (description.network.inputs, description.outputs))
        mean, target_mean = zeros
        model = FloatModel(
            *(FloatNetwork(description), mean, mean + 1, target_mean, target_mean + 1)
        )
        # Importance needs labels, which only calibration provides.
        first = replaced(how, method="lloyd-max") if how.method in IMPORTANT else how
        super().__init__(model, data, description, first)
        self.batch_first, self.eval_noise, self.seed = batch_first, eval_noise, seed
        self.noise = noise
        self._levels = how
        self.draws: Tensor
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self.register_buffer("design", mark(description))
        self.register_load_state_dict_pre_hook(check_mark)

    @property
    def noise(self) -> Injection | Effects | None:
        """Noise of training. A number sets an `Injection` at the pre-activations.

        Raises WordlineError for a value that is not noise, or for effects that are all off.
        """
        return self._noise

    @noise.setter
    def noise(self, value: Noise) -> None:
        if isinstance(value, float | int) and not isinstance(value, bool):
            value = build(Injection, {"snr_db": float(value)}, "noise", "noise")
        if not isinstance(value, Injection | Effects | None):
            raise WordlineError(
                f"noise = {value!r} is not a noise setting; give a ratio in dB, a "
                f"golden.injection.Injection, golden.effects.Effects, or None."
            )
        if isinstance(value, Effects) and not value.on:
            raise WordlineError(
                "noise = Effects() has no effect that is on; set one, or give None."
            )
        self._noise: Injection | Effects | None = value

    @native.uncompiled
    def calibrate(self, x: Input | Sequences, lengths: Lengths = None) -> Self:
        """Find ranges of inputs and ADCs, step sizes and level tables from typical inputs.

        - `x`, `lengths`: As in a call of the module; or `Sequences`, whose labels standardise a
          regressor's targets and, with some methods, place levels.

        Weights keep their values, which refer to standardised inputs. Returns the module. Raises
        WordlineError for inputs that do not fit or give no range.
        """
        self._check_dtype()
        data, description = self._sequences(x, lengths), self.description
        convert.check_calibration(type(self).__name__, description, data)
        convert.check_levels(description, data, self._levels)
        found = (*statistics(data), *target_statistics(description, data))
        model = FloatModel(self._float_network(), *found)
        self._take(Trainable(model, data, description, self._levels))
        return self

    @native.uncompiled
    def to_program(self) -> Program:
        """The trained network as an ideal chip holds it: int64 copies on the CPU.

        `golden.network.run` gives the integers that the module computes without noise.
        """
        self._check_dtype()
        with torch.no_grad():
            return copy.deepcopy(self).cpu().program().to(torch.int64)

    def extra_repr(self) -> str:
        """Text for `print`."""
        d = self.description
        return (
            f"{d.cell.kind}, {d.network.inputs} -> {list(d.network.hidden)} -> {d.outputs}, "
            f"batch_first={self.batch_first}, noise={self.noise}, seed={self.seed}"
        )

    def _start_from(
        self,
        module: nn.Module,
        x: Input | Sequences,
        lengths: Lengths,
        *,
        batch_first: bool | None = None,
    ) -> Self:
        """Take the weights of a float network, and correct the biases. Returns the module."""
        data = self._sequences(x, lengths, batch_first=batch_first)
        self._take(convert.convert(module, self.description, data, self._levels).trainable)
        return self

    def _take(self, other: Trainable) -> None:
        """Replace the parameters and buffers by those of another network."""
        own = self.state_dict()
        found = {name: value.expand_as(own[name]) for name, value in other.state_dict().items()}
        self.load_state_dict(own | found)
        self._reach_biases()

    @torch.no_grad()
    def _reach_biases(self) -> None:
        """Clamp biases to their range, beyond which they have no gradient. No integer changes."""
        for array in self.arrays:
            ends = (end * array.index_step()[:, None] for end in array.shape.index_range)
            array.bias.clamp_(*ends)

    def _float_network(self) -> FloatNetwork:
        """The network before quantisation, for standardised inputs and targets."""
        description, layers, head = self.description, [], None
        for array in self.layers:
            weight, bias = (
                part.detach().cpu().flatten(0, 1) for part in (array.weight, array.bias)
            )
            inputs = array.shape.inputs
            layers.append(Layer(weight[:, :inputs], weight[:, inputs:], bias))
        if self.head is not None:
            head = (self.head.weight[0].detach().cpu(), self.head.bias[0].detach().cpu())
        own = Foreign(type(self).__name__, description.cell.kind, tuple(layers), head)
        mean, target_mean = (torch.zeros(n) for n in (description.network.inputs, 1))
        with torch.random.fork_rng(devices=[]):  # PyTorch starts layers with random weights
            return own.standardised(description, mean, mean + 1, target_mean, target_mean + 1)

    def _sequences(
        self, x: Input | Sequences, lengths: Lengths, *, batch_first: bool | None = None
    ) -> Sequences:
        """Calibration data on the CPU."""
        if not isinstance(x, Sequences):
            batch = self._batch(x, lengths, batch_first=batch_first)
            x = Sequences(batch.x.detach(), batch.lengths, torch.full_like(batch.lengths, -1))
        return x.to("cpu").numbers()

    def _batch(
        self, x: Input, lengths: Lengths = None, *, batch_first: bool | None = None
    ) -> Batch:
        """batch_first: As in the constructor; None: as there."""
        first = self.batch_first if batch_first is None else batch_first
        return Batch.of(x, lengths, self.description.network.inputs, batch_first=first)

    def _run(self, batch: Batch, *, trace: bool) -> tuple[Program, Trace]:
        """The program for this call, noise included, and everything that it computes."""
        self._check_dtype()
        program, runs, injection, seed = self.program(), None, None, 0
        device = batch.x.device
        if self.noise is not None and (self.training or self.eval_noise):
            self.draws += 1
            seed, first = key(self.seed, int(self.draws))
            if isinstance(self.noise, Effects):
                program = apply_effects(program, self.noise, seed=seed)
                runs = first // 2 + torch.arange(len(batch.x), device=device)
            else:
                injection = self.noise
        with (
            torch.random.fork_rng([device] * device.type.count("cuda"), enabled=bool(injection)),
            torch.autocast(device.type, enabled=False),
        ):
            if injection:
                torch.manual_seed(seed)
            codes, lengths = self._codes(batch.x), batch.lengths.to(device)
            return program, network.run(program, codes, lengths, runs, injection, trace=trace)

    def _codes(self, x: Tensor) -> Tensor:
        """DAC codes. Their gradient to x, if needed, is 1 / step where they do not saturate."""
        codes = self.encode(x)
        if not (x.requires_grad and torch.is_grad_enabled()):
            return codes
        low, high = self.description.dac.range
        real = ((x.double() - self.input_mean) / self.input_step).clamp(low - 0.5, high + 0.5)
        return codes + (real - real.detach())

    def _check_dtype(self) -> None:
        if self.input_step.dtype != torch.float64:
            raise WordlineError(
                f"{type(self).__name__} is in {self.input_step.dtype}, which does not hold every "
                f"integer of the chip; call .double() on it."
            )


class _Recurrent(_Quantised):
    """Recurrent layers, each of `hidden_size` units; `LSTM` describes the arguments."""

    KIND: ClassVar[str]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        nonlinearity: str = "tanh",
        hardware: Description | None = None,
        noise: Noise = None,
        eval_noise: bool = False,
        seed: int = 0,
        levels: Levels | None = None,
        **sections: Any,
    ) -> None:
        refused = (
            ("bidirectional", bidirectional, False, INSTEAD["bidirectional"]),
            ("proj_size", proj_size, 0, INSTEAD["projection"]),
            ("nonlinearity", nonlinearity, "tanh", INSTEAD["relu"]),
            ("dropout", dropout, 0, "train it with noise, and dropout = 0: layers join on chip"),
        )
        for name, value, only, instead in refused:
            if value != only:
                raise WordlineError(
                    f"{type(self).__name__} cannot have {name} = {value!r}: {instead}."
                )
        super().__init__(
            of_layers(self.KIND, input_size, hidden_size, num_layers, hardware, sections),
            batch_first=batch_first,
            noise=noise,
            eval_noise=eval_noise,
            seed=seed,
            levels=levels,
        )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        for array in self.layers if not bias else ():
            array.bias.requires_grad_(False).zero_()

    @classmethod
    def from_float(
        cls,
        module: nn.Module,
        calibration: Input | Sequences,
        lengths: Lengths = None,
        **settings: Any,
    ) -> Self:
        """Start from a trained `torch.nn.LSTM` or `torch.nn.RNN`, quantised by `wordline.convert`.

        - `calibration`, `lengths`: Typical inputs, as in a call of `module`; or `Sequences`.
        - `settings`: Arguments of the constructor, except sizes; batch_first defaults to the
          module's.

        Raises WordlineError if the module cannot be mapped, or does not fit the calibration.
        """
        if not isinstance(module, nn.LSTM | nn.RNN) or from_module(module).kind != cls.KIND:
            raise WordlineError(
                f"{cls.__name__} cannot start from a {type(module).__name__}; give a torch.nn."
                f"{cls.__name__}, or start a wordline.nn.Network."
            )
        settings.setdefault("batch_first", module.batch_first)
        own = cls(module.input_size, module.hidden_size, module.num_layers, **settings)
        return own._start_from(module, calibration, lengths, batch_first=module.batch_first)

    def _states(self, x: Input, hx: Any) -> tuple[Batch, Trace, Input, Tensor]:
        """The batch, all values computed for it, the output, and h_n."""
        if any(bool((part != 0).any()) for part in _tensors(hx)):
            raise WordlineError(
                "hx is not 0, but the accelerator begins every sequence with a state of 0; leave "
                "hx out, and give whole sequences."
            )
        batch = self._batch(x)
        program, trace = self._run(batch, trace=True)
        found = [program.real(layer.h.double()) for layer in trace.layers]
        return batch, trace, batch.arranged(found[-1]), torch.stack([*map(batch.at_end, found)])


class LSTM(_Recurrent):
    """LSTM layers on crossbars, with the arguments of `torch.nn.LSTM`, after num_layers by name.

    - `bias`: If False, biases are not trained: they stay 0, or as `from_float` finds them.
    - `hardware`: Description of the hardware; sizes and kind of cell are replaced. None: defaults,
      and the state of every step is the output.
    - `sections`: Fields of the description to replace: `adc={"bits": 5}`, `name="speaker"`.
    - `noise`, `eval_noise`, `seed`: See this module.
    - `levels`: How level tables are found, if `device.levels` is "trained".

    Weights start like PyTorch's, from its generator. Raises WordlineError for unsupported options.
    """

    KIND = "lstm"

    @native.uncompiled
    def forward(self, x: Input, hx: Any = None) -> tuple[Input, tuple[Tensor, Tensor]]:
        """Return `output, (h_n, c_n)` for real x.

        - `x`: (steps, batch, inputs), (batch, steps, inputs) with batch_first, or a PackedSequence,
          which makes output one too.
        - `hx`: None or zeros.
        - `output`: h of the last layer, (..., units), in -1..1.
        - `h_n`, `c_n`: (layers, batch, units) at the end of each sequence; c_n has no gradient.

        Raises WordlineError for an input that does not fit.
        """
        batch, trace, output, h_n = self._states(x, hx)
        unit = self.description.cell.state_unit
        codes = [layer.c.detach().double() for layer in trace.layers if layer.c is not None]
        c_n = [batch.at_end(of_layer / unit) for of_layer in codes]
        return output, (h_n, torch.stack(c_n))


class RNN(_Recurrent):
    """Vanilla tanh layers on crossbars; arguments as of `LSTM`."""

    KIND = "rnn"

    @native.uncompiled
    def forward(self, x: Input, hx: Any = None) -> tuple[Input, Tensor]:
        """Return `output, h_n`; see `LSTM.forward`."""
        _, _, output, h_n = self._states(x, hx)
        return output, h_n


class Network(_Quantised):
    """The whole network of a description: recurrent layers of any sizes, and the head, if any.

    Arguments are the description, and those of `LSTM` with the same names. Weights start alike.
    """

    @classmethod
    def from_float(
        cls,
        module: nn.Module,
        description: Description,
        calibration: Input | Sequences,
        lengths: Lengths = None,
        **settings: Any,
    ) -> Self:
        """Start from a trained chain of `torch.nn` modules, quantised by `wordline.convert`.

        - `module`: See `golden.frontends.module`.
        - `description`: Its sizes and kind of cell are replaced by the module's.
        - `calibration`, `lengths`: Typical inputs, as in a call of this network; or `Sequences`.
        - `settings`: Further arguments of the constructor.

        Raises WordlineError if the module cannot be mapped, or does not fit the calibration.
        """
        own = cls(from_module(module).fit(description), **settings)
        return own._start_from(module, calibration, lengths)

    @native.uncompiled
    def forward(self, x: Input, lengths: Lengths = None) -> Input:
        """Return real scores, or the state without a head, (batch, outputs).

        With `output.steps` "every" they are those of each step, arranged like x.

        - `x`: As in `LSTM.forward`.
        - `lengths`: (batch,) steps of each padded sequence; None: all.

        The class is the highest score, of equal ones the first: `scores.argmax(-1)`. Raises
        WordlineError for an input that does not fit.
        """
        batch = self._batch(x, lengths)
        program, trace = self._run(batch, trace=False)
        scores = program.real(trace.scores.double())
        every_step = self.description.output.every_step
        return batch.arranged(scores) if every_step else batch.ordered(scores)


def _tensors(hx: Any) -> list[Tensor]:
    found = [] if hx is None else [*hx] if isinstance(hx, tuple | list) else [hx]
    if not all(isinstance(part, Tensor) for part in found):
        raise WordlineError(f"hx = {hx!r} is not a state; leave it out, or give tensors of 0.")
    return found
