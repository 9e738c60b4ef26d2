"""Vanilla RNN cell: number formats and the step of h (docs/contract.md, 6 and 7)."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from golden.cells.cell import Cell, Frac, Function, HiddenBits, State
from golden.parameters import Pipeline
from golden.ranges import Range, symmetric_range
from golden.validation import frozen

if TYPE_CHECKING:
    from torch import Tensor

    from golden.geometry import ArrayShape
    from golden.injection import StepNoise
    from golden.program import LayerProgram


@frozen
class RnnCell(Cell):
    """The vanilla (Elman) cell, h = tanh(W x + U h + b), and its number formats.

    activation:  "tanh", or "relu": h = min(max(W x + U h + b, 0), 1) on the chip, whose table
                 saturates at 1, the DAC's full scale. Negative DAC codes of h stay unused.
    frac:        Fraction bits of a pre-activation below the ADC's LSB: resolution of the bias.
    hidden_bits: Bits of an entry of the activation's table, in two's complement.
    """

    gates: ClassVar[tuple[str, ...]] = ("h",)
    noisy_vectors: ClassVar[int] = 1  # the gate is h
    kernel: ClassVar[Literal["rnn"]] = "rnn"

    kind: Literal["rnn"] = "rnn"
    activation: Literal["tanh", "relu"] = "tanh"
    frac: Frac = 4
    hidden_bits: HiddenBits = 8

    def gate_latency(self, pipeline: Pipeline) -> int:
        """Latency of the gate pipeline: cycles from the codes of a block to its h.

        The deep pipeline has registers before and after the gate's table, and after the rounding to
        h.
        """
        return 6 if pipeline == "deep" else 3

    @property
    def gate_functions(self) -> tuple[Function, ...]:
        """Function of the table."""
        return (self.activation,)

    @property
    def unbounded(self) -> bool:
        """Whether h of the float reference has no bound."""
        return self.activation == "relu"

    @property
    def hidden_range(self) -> Range:
        """Range of the entries of the activation's table."""
        return symmetric_range(self.hidden_bits)

    @property
    def table_ranges(self) -> tuple[Range, ...]:
        """Range of the entries of each gate's table."""
        return (self.hidden_range,)

    @property
    def gate_units(self) -> tuple[None]:
        """None: the table's entries have the scale of h."""
        return (None,)

    def step(
        self,
        index: "Tensor",
        c: "Tensor",
        program: "LayerProgram",
        shape: "ArrayShape",
        noise: "StepNoise | None" = None,
    ) -> State:
        """Compute one step of every unit, see `Cell.step`; there is no c."""
        from golden.dac import feed_back
        from golden.fixed import look_up

        h = look_up(program.gate_tables, index, shape.index_range)
        if noise is not None:
            h = noise.add_rounded(h, 1)
        return State(c, feed_back(h[:, 0], shape.description), c)

    def float_step(
        self, a: "Tensor", c: "Tensor", noise: "StepNoise | None" = None
    ) -> "tuple[Tensor, Tensor]":
        """Compute one step of `torch.nn.RNN`, see `Cell.float_step`."""
        h = a.relu() if self.activation == "relu" else a.tanh()
        return c, (h if noise is None else noise.add(h, 1))[:, 0]

    def float_layer(self, inputs: int, units: int) -> Any:
        """Make a `torch.nn.RNN` with this activation."""
        from torch import nn

        return nn.RNN(inputs, units, nonlinearity=self.activation, batch_first=True)
