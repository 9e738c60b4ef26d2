"""The vanilla RNN cell in integers: from pre-activations to h (docs/contract.md, 6 and 7)."""

from torch import Tensor

from golden.dac import feed_back
from golden.description import Description
from golden.fixed import look_up
from golden.program import RnnProgram


def step(index: Tensor, program: RnnProgram, description: Description) -> Tensor:
    """One step of every unit.

    index: (batch, 1, units) pre-activations. Returns h as a DAC code, (batch, units).
    """
    return feed_back(
        look_up(program.gate_tables, index, description.index_range)[:, 0], description
    )
