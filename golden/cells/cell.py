"""What a recurrent cell declares (docs/contract.md, 6 and 7).

A cell is one file here, with its number formats and its numbers, and one in hw/, with its gate
pipeline; each is entered in a registry, `golden.cells.CELLS` and `hw.layer.GATES`. Everything else,
programs, training, load map, images, benches and costs, goes by what is declared here.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from golden.parameters import Pipeline
from golden.ranges import Range
from golden.validation import Int

if TYPE_CHECKING:
    from torch import Tensor

    from golden.geometry import ArrayShape
    from golden.injection import StepNoise
    from golden.program import LayerProgram

Frac = Annotated[Int, Field(ge=0, le=8)]
HiddenBits = Annotated[Int, Field(ge=3, le=12)]

Function = Literal["sigmoid", "tanh"]
"""What a table holds; `golden.tables.FUNCTIONS` has the functions."""


@dataclass(frozen=True)
class Table:
    """A table that a cell has beside those of its gates.

    name: of the tensor in a program, of the region in the load map and of the write port.
    function: what it holds. index: range of its index, in two's complement on the load bus. step:
    real value of one step of the index. entries: range of its entries. unit: the entry of 1.0;
    None: the design's `hidden_unit`, so that h narrows to a DAC code by a shift.
    """

    name: str
    function: Function
    index: Range
    step: float
    entries: Range
    unit: int | None = None


class State(NamedTuple):
    """After a step, (batch, units) each: c; h as a DAC code; and c before its injected noise."""

    c: "Tensor"
    h: "Tensor"
    quiet_c: "Tensor"


class Cell:
    """Base of every cell: a frozen dataclass of number formats, `golden.validation.frozen`.

    Declared by a cell, without PyTorch, so that hw/ can read it:

    kind: its name in a description. gates: names of the gates, in the order of a program's tensors.
    gate_functions: the function of each gate's table. noisy_vectors: vectors of a step, beside the
    pre-activations, that noise placed on "every" vector (`golden.injection`) is added to.
    kernel: its name in golden/kernels.cpp and golden/float_kernels.cpp, or None: then `step` and
    `float_step` are run as they are written.

    `step` and `float_step` import what brings PyTorch where they run.
    """

    gates: ClassVar[tuple[str, ...]]
    gate_functions: ClassVar[tuple[Function, ...]]
    noisy_vectors: ClassVar[int]
    kernel: ClassVar[Literal["lstm", "rnn"] | None] = None

    @property
    def kind(self) -> str:
        """Name of the cell in a description."""
        raise NotImplementedError

    @property
    def frac(self) -> int:
        """Fraction bits of a pre-activation below the ADC's LSB."""
        raise NotImplementedError

    @property
    def hidden_bits(self) -> int:
        """Bits of what h is narrowed from, without `product_shift`."""
        raise NotImplementedError

    @property
    def product_shift(self) -> int:
        """Fraction bits beyond `hidden_bits` of what h is narrowed from."""
        return 0

    @property
    def table_ranges(self) -> tuple[Range, ...]:
        """Range of the entries of each gate's table."""
        raise NotImplementedError

    @property
    def gate_units(self) -> tuple[int | None, ...]:
        """The entry of 1.0 in each gate's table; None: the design's `hidden_unit`."""
        raise NotImplementedError

    @property
    def table_bits(self) -> int:
        """Bits of an entry of a gate's table, whichever gate's."""
        return max(range_.bits for range_ in self.table_ranges)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Tables beside those of the gates."""
        return ()

    @property
    def state_range(self) -> Range | None:
        """Range of c, which a unit keeps from step to step; None where h is all that it keeps."""
        return None

    @property
    def state_unit(self) -> int:
        """The code of 1.0 in c."""
        return 1

    def gate_latency(self, pipeline: Pipeline) -> int:
        """Cycles from a block of codes to h, through its gate pipeline."""
        raise NotImplementedError

    def step(
        self,
        index: "Tensor",
        c: "Tensor",
        program: "LayerProgram",
        shape: "ArrayShape",
        noise: "StepNoise | None" = None,
    ) -> State:
        """One step of every unit, in integers.

        index: (batch, gates, units) pre-activations. c: (batch, units), the state before; a cell
        without one returns it as it is. noise: injected into what the tables gave, c and h.
        """
        raise NotImplementedError

    def float_step(
        self, a: "Tensor", c: "Tensor", noise: "StepNoise | None" = None
    ) -> "tuple[Tensor, Tensor]":
        """c and h (batch, units) after a step in real numbers; a: (batch, gates, units)."""
        raise NotImplementedError

    def float_layer(self, inputs: int, units: int) -> Any:
        """A layer of the float reference: a module with the parameters of `torch.nn.LSTM`, called
        with x (batch, steps, inputs), that returns h of all steps and the last state."""
        from golden.float_layer import Recurrent

        return Recurrent(self, inputs, units)

    def kernel_fields(self) -> dict[str, int]:
        """What the kernel reads beside what every cell has, by the names in golden/kernels.cpp."""
        return {}

    def largest(self, growth: int) -> int:
        """Bound of the integers that the kernel computes from the tables' entries on; growth: of
        injected noise, see `golden.injection.growth`."""
        return 0
