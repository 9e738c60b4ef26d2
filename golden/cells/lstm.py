"""LSTM cell: number formats and the step of c and h (docs/contract.md, 6 and 7)."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from golden.cells.cell import Cell, Frac, Function, HiddenBits, State, Table
from golden.parameters import Pipeline
from golden.ranges import Range, signed_range, symmetric_range
from golden.validation import Int, frozen

if TYPE_CHECKING:
    from torch import Tensor

    from golden.geometry import ArrayShape
    from golden.injection import StepNoise
    from golden.program import LayerProgram


@frozen
class LstmCell(Cell):
    """The LSTM cell and its number formats.

    frac:             Fraction bits of a pre-activation below the ADC's LSB: resolution of the bias.
    gate_bits:        Bits of i, f and o, and fraction bits of g and c (n in the contract).
    state_bits:       Bits of c in two's complement.
    state_index_bits: Bits of c that index the table of tanh(c).
    hidden_bits:      Bits of an entry of that table, in two's complement.
    """

    # PyTorch's order.
    gates: ClassVar[tuple[str, ...]] = ("i", "f", "g", "o")
    noisy_vectors: ClassVar[int] = 6  # the four gates, c and h
    kernel: ClassVar[Literal["lstm"]] = "lstm"

    kind: Literal["lstm"] = "lstm"
    frac: Frac = 4
    gate_bits: Annotated[Int, Field(ge=4, le=12)] = 8
    state_bits: Annotated[Int, Field(ge=6, le=20)] = 12
    state_index_bits: Annotated[Int, Field(ge=4, le=12)] = 8
    hidden_bits: HiddenBits = 8

    def __post_init__(self) -> None:
        if self.state_bits < self.gate_bits + 2:
            raise ValueError(
                f"cell.state_bits = {self.state_bits} cannot hold c beyond +-1 with "
                f"cell.gate_bits = {self.gate_bits}; raise state_bits to {self.gate_bits + 2}"
            )
        if self.state_index_bits > self.state_bits:
            raise ValueError(
                f"cell.state_index_bits = {self.state_index_bits} is above "
                f"cell.state_bits = {self.state_bits}; lower it to {self.state_bits}"
            )

    def gate_latency(self, pipeline: Pipeline) -> int:
        """Latency of the gate pipeline: cycles from the codes of a block to its h.

        The deep pipeline has registers before and after each table, product, sum (in c and in o *
        tanh(c)) and the rounding to h.
        """
        return 15 if pipeline == "deep" else 7

    @property
    def gate_functions(self) -> tuple[Function, ...]:
        """Function of each gate's table."""
        return ("sigmoid", "sigmoid", "tanh", "sigmoid")

    @property
    def gate_range(self) -> Range:
        """Range of i, f and o: unsigned, LSB 2^-gate_bits."""
        return Range(0, 2**self.gate_bits - 1)

    @property
    def candidate_range(self) -> Range:
        """Range of g: signed, LSB 2^-gate_bits as in c."""
        return symmetric_range(self.gate_bits + 1)

    @property
    def table_ranges(self) -> tuple[Range, ...]:
        """Range of the entries of each gate's table."""
        return tuple(self.candidate_range if g == "g" else self.gate_range for g in self.gates)

    @property
    def gate_units(self) -> tuple[int, ...]:
        """Entry of 1.0 in the gates' tables."""
        return (self.state_unit,) * 4

    @property
    def product_shift(self) -> int:
        """Fraction bits that o adds to an entry of the tanh table in o * tanh(c)."""
        return int(self.gate_bits)

    @property
    def state_range(self) -> Range:
        """Range of c: signed, LSB 2^-gate_bits."""
        return signed_range(self.state_bits)

    @property
    def state_unit(self) -> int:
        """Code of 1.0 in c."""
        return int(2**self.gate_bits)

    @property
    def state_index_range(self) -> Range:
        """Range of the index of the tanh(c) table: c without its lowest bits."""
        return signed_range(self.state_index_bits)

    @property
    def state_index_shift(self) -> int:
        """Number of low bits of c that its table's index drops."""
        return int(self.state_bits - self.state_index_bits)

    @property
    def hidden_range(self) -> Range:
        """Range of the entries of the tanh(c) table."""
        return symmetric_range(self.hidden_bits)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Table of tanh over the upper bits of c."""
        step = 2.0 ** (self.state_index_shift - self.gate_bits)
        return (Table("tanh_table", "tanh", self.state_index_range, step, self.hidden_range),)

    def step(
        self,
        index: "Tensor",
        c: "Tensor",
        program: "LayerProgram",
        shape: "ArrayShape",
        noise: "StepNoise | None" = None,
    ) -> State:
        """Compute one step of every unit, see `Cell.step`.

        index: Pre-activations of i, f, g, o.
        """
        from golden.dac import feed_back
        from golden.fixed import look_up, narrow

        gates = look_up(program.gate_tables, index, shape.index_range)
        if noise is not None:
            gates = noise.add_rounded(gates, 4)
        i, f, g, o = gates.unbind(1)
        c = before = narrow(f * c + i * g, self.gate_bits, self.state_range)
        if noise is not None:
            c = narrow(noise.add_rounded(c[:, None], 8)[:, 0], 0, self.state_range)
        upper = narrow(c, self.state_index_shift, self.state_index_range)
        product = o * look_up(program.tables["tanh_table"], upper, self.state_index_range)
        if noise is not None:
            product = noise.add_rounded(product[:, None], 9)[:, 0]
        return State(c, feed_back(product, shape.description), before)

    def float_step(
        self, a: "Tensor", c: "Tensor", noise: "StepNoise | None" = None
    ) -> "tuple[Tensor, Tensor]":
        """Compute one step of `torch.nn.LSTM`, see `Cell.float_step`."""
        import torch

        gates = torch.cat([a[:, :2].sigmoid(), a[:, 2:3].tanh(), a[:, 3:].sigmoid()], 1)
        if noise is not None:
            gates = noise.add(gates, 4)
        i, f, g, o = gates.split(1, 1)
        c = f * c[:, None] + i * g
        if noise is not None:
            c = noise.add(c, 8)
        h = o * c.tanh()
        if noise is not None:
            h = noise.add(h, 9)
        return c[:, 0], h[:, 0]

    def float_layer(self, inputs: int, units: int) -> Any:
        """Make a `torch.nn.LSTM`."""
        from torch import nn

        return nn.LSTM(inputs, units, batch_first=True)

    def kernel_fields(self) -> dict[str, int]:
        """Number formats of c and of the index of its table."""
        return {
            "gate_bits": self.gate_bits,
            "state_low": self.state_range.low,
            "state_high": self.state_range.high,
            "state_index_shift": self.state_index_shift,
            "state_index_low": self.state_index_range.low,
            "state_index_high": self.state_index_range.high,
        }

    def largest(self, growth: int) -> int:
        """Bound of f * c + i * g and of o * tanh(c), see `Cell.largest`."""
        gate = growth << self.gate_bits
        return max(gate * 2**self.state_bits + 2 * gate**2, growth * gate * 2**self.hidden_bits)
