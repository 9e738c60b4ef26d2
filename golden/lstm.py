"""The LSTM cell in integers: from pre-activations to c and h (docs/contract.md, 6 and 7)."""

from torch import Tensor

from golden.dac import feed_back
from golden.description import Description, LstmCell
from golden.fixed import look_up, narrow
from golden.program import LstmProgram


def step(
    index: Tensor, c: Tensor, program: LstmProgram, description: Description
) -> tuple[Tensor, Tensor]:
    """One step of every unit.

    index: (batch, 4, units) pre-activations of i, f, g, o. c: (batch, units), the state before.
    Returns c after the step and h as a DAC code, both (batch, units).
    """
    cell = description.cell
    assert isinstance(cell, LstmCell)
    i, f, g, o = look_up(program.gate_tables, index, description.index_range).unbind(1)
    c = narrow(f * c + i * g, cell.gate_bits, cell.state_range)
    upper = narrow(c, cell.state_index_shift, cell.state_index_range)
    product = o * look_up(program.tanh_table, upper, cell.state_index_range)
    return c, feed_back(product, description)
