"""The recurrent cells: their gates and number formats (docs/contract.md, 7)."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from golden.parameters import Pipeline
from golden.ranges import Range, signed_range, symmetric_range
from golden.validation import Int, frozen

Frac = Annotated[Int, Field(ge=0, le=8)]
HiddenBits = Annotated[Int, Field(ge=3, le=12)]


@frozen
class LstmCell:
    """The LSTM cell and its number formats.

    frac:             fraction bits of a pre-activation below the ADC's LSB: the bias resolution.
    gate_bits:        bits of i, f and o, and fraction bits of g and c (n in the contract).
    state_bits:       bits of c, two's complement.
    state_index_bits: bits of c that index the table of tanh(c).
    hidden_bits:      bits of that table's entries, two's complement.
    """

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

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the gates, in PyTorch's order."""
        return ("i", "f", "g", "o")

    def gate_latency(self, pipeline: Pipeline) -> int:
        """Cycles from a block of codes to h. The deep pipeline has registers in front of each
        table, the products, the sums in c and in h and the rounding to h, and behind them."""
        return 15 if pipeline == "deep" else 7

    @property
    def gate_range(self) -> Range:
        """i, f and o: unsigned, LSB 2^-gate_bits."""
        return Range(0, 2**self.gate_bits - 1)

    @property
    def candidate_range(self) -> Range:
        """g: signed, in the LSB of c, 2^-gate_bits."""
        return symmetric_range(self.gate_bits + 1)

    @property
    def table_ranges(self) -> tuple[Range, ...]:
        """Entries of each gate's table."""
        return tuple(self.candidate_range if g == "g" else self.gate_range for g in self.gates)

    @property
    def table_bits(self) -> int:
        """Bits of a gate table's entry: either of the two ranges fits."""
        return int(self.gate_bits + 1)

    @property
    def product_shift(self) -> int:
        """Fraction bits that o adds to the table of tanh in o * tanh(c)."""
        return int(self.gate_bits)

    @property
    def state_range(self) -> Range:
        """c: signed, LSB 2^-gate_bits."""
        return signed_range(self.state_bits)

    @property
    def state_index_range(self) -> Range:
        """Index of the tanh(c) table: c without its lowest bits."""
        return signed_range(self.state_index_bits)

    @property
    def state_index_shift(self) -> int:
        """Bits dropped from c to index the tanh(c) table."""
        return int(self.state_bits - self.state_index_bits)

    @property
    def hidden_range(self) -> Range:
        """Entries of the tanh(c) table."""
        return symmetric_range(self.hidden_bits)


@frozen
class RnnCell:
    """The vanilla (Elman) cell, h = tanh(W x + U h + b), and its number formats.

    frac:        fraction bits of a pre-activation below the ADC's LSB: the bias resolution.
    hidden_bits: bits of the tanh table's entries, two's complement.
    """

    kind: Literal["rnn"] = "rnn"
    frac: Frac = 4
    hidden_bits: HiddenBits = 8

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the gates: there is only the pre-activation of h."""
        return ("h",)

    def gate_latency(self, pipeline: Pipeline) -> int:
        """Cycles from a block of codes to h. The deep pipeline has registers in front of the gate's
        table and behind it, and behind the rounding to h."""
        return 6 if pipeline == "deep" else 3

    @property
    def hidden_range(self) -> Range:
        """Entries of the tanh table."""
        return symmetric_range(self.hidden_bits)

    @property
    def table_ranges(self) -> tuple[Range, ...]:
        """Entries of each gate's table."""
        return (self.hidden_range,)

    @property
    def table_bits(self) -> int:
        """Bits of a gate table's entry."""
        return int(self.hidden_bits)

    @property
    def product_shift(self) -> int:
        """Fraction bits beyond those of the table of tanh: h is its entry itself."""
        return 0


def _kind(cell: object) -> str:
    """The cell's kind; an LSTM where nothing is said."""
    return str(cell.get("kind", "lstm") if isinstance(cell, dict) else getattr(cell, "kind", ""))


Cell = Annotated[
    Annotated[LstmCell, Tag("lstm")] | Annotated[RnnCell, Tag("rnn")], Discriminator(_kind)
]
