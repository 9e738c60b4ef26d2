"""Declarations of a recurrent cell (docs/contract.md, 6 and 7).

A cell has one file here, with its number formats and its arithmetic, and one file in hw/, with its
gate pipeline. Each is entered in a registry: `golden.cells.CELLS` and `hw.layer.GATES`. Programs,
training, load map, images, benches and costs all use the declarations here.
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

Function = Literal["sigmoid", "tanh", "relu"]
"""Function of a table; `golden.tables.FUNCTIONS` has the implementations."""


@dataclass(frozen=True)
class Table:
    """A table of a cell besides those of its gates.

    name: Name of the tensor in a program, of the load region and of the write port.
    function: Function that is tabulated.
    index: Range of the index, which is in two's complement on the load bus.
    step: Real value of one index step.
    entries: Range of the entries.
    unit: Entry of 1.0. None: the design's `hidden_unit`, so that a shift makes h a DAC code.
    """

    name: str
    function: Function
    index: Range
    step: float
    entries: Range
    unit: int | None = None


class State(NamedTuple):
    """Results of a step, (batch, units) each: c; h as a DAC code; c before injected noise."""

    c: "Tensor"
    h: "Tensor"
    quiet_c: "Tensor"


class Cell:
    """Base class of the cells: a frozen dataclass (`golden.validation.frozen`) of number formats.

    A cell declares the following without PyTorch, so that hw/ can read it:

    kind: Name of the cell in a description.
    gates: Names of the gates, in the order of a program's tensors.
    noisy_vectors: Number of vectors per step that get noise placed on "every" vector
        (`golden.injection`), besides the pre-activations.
    kernel: Name in golden's kernels (kernels.cpp, lanes.cpp, gradients.cpp, float_kernels.cpp).
        None: `step` and `float_step` run as written.

    `step` and `float_step` import modules that need PyTorch inside the function.
    """

    gates: ClassVar[tuple[str, ...]]
    noisy_vectors: ClassVar[int]
    kernel: ClassVar[Literal["lstm", "rnn"] | None] = None

    @property
    def unbounded(self) -> bool:
        """Whether h of the float reference has no bound: as ReLU's, it scales with the weights."""
        return False

    @property
    def kind(self) -> str:
        """Name of the cell in a description."""
        raise NotImplementedError

    @property
    def gate_functions(self) -> tuple[Function, ...]:
        """Function of each gate's table."""
        raise NotImplementedError

    @property
    def frac(self) -> int:
        """Fraction bits of a pre-activation below the ADC's LSB."""
        raise NotImplementedError

    @property
    def hidden_bits(self) -> int:
        """Width of the value that is narrowed to h, without `product_shift`."""
        raise NotImplementedError

    @property
    def product_shift(self) -> int:
        """Fraction bits beyond `hidden_bits` of the value that is narrowed to h."""
        return 0

    @property
    def table_ranges(self) -> tuple[Range, ...]:
        """Range of the entries of each gate's table."""
        raise NotImplementedError

    @property
    def gate_units(self) -> tuple[int | None, ...]:
        """Entry of 1.0 in each gate's table; None for the design's `hidden_unit`."""
        raise NotImplementedError

    @property
    def table_bits(self) -> int:
        """Width of an entry that fits the table of any gate."""
        return max(range_.bits for range_ in self.table_ranges)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Tables besides those of the gates."""
        return ()

    @property
    def state_range(self) -> Range | None:
        """Range of c, which a unit keeps between steps; None if it keeps only h."""
        return None

    @property
    def state_unit(self) -> int:
        """Code of 1.0 in c."""
        return 1

    def gate_latency(self, pipeline: Pipeline) -> int:
        """Latency of the gate pipeline: cycles from the codes of a block to its h."""
        raise NotImplementedError

    def step(
        self,
        index: "Tensor",
        c: "Tensor",
        program: "LayerProgram",
        shape: "ArrayShape",
        noise: "StepNoise | None" = None,
    ) -> State:
        """Compute one step of every unit, in integers.

        index: Pre-activations, shape (batch, gates, units).
        c: State before the step, shape (batch, units). A cell without c returns it unchanged.
        noise: Injected into the gates' activations, c and h.
        """
        raise NotImplementedError

    def float_step(
        self, a: "Tensor", c: "Tensor", noise: "StepNoise | None" = None
    ) -> "tuple[Tensor, Tensor]":
        """Compute one step in real numbers: c and h after it, shape (batch, units) each.

        a: Pre-activations, shape (batch, gates, units).
        c: State before the step, shape (batch, units).
        noise: Injected as in `step`.
        """
        raise NotImplementedError

    def float_layer(self, inputs: int, units: int) -> Any:
        """Make a layer of the float reference.

        It has the parameters of `torch.nn.LSTM`. Called with x (batch, steps, inputs), it returns h
        of all steps and the last state.
        """
        from golden.float_layer import Recurrent

        return Recurrent(self, inputs, units)

    def kernel_fields(self) -> dict[str, int]:
        """Fields of the kernel that only this cell has, by their names in golden/kernels.h."""
        return {}

    def largest(self, growth: int) -> int:
        """Bound of the integers that the kernel computes from the tables' entries.

        growth: Growth by injected noise, see `golden.injection.growth`.
        """
        return 0
