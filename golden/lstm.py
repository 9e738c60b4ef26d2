"""The LSTM cell in integers: from gate codes to c and h (docs/contract.md, 5 to 7)."""

from torch import Tensor

from golden.dac import feed_back
from golden.description import Description
from golden.fixed import look_up, narrow
from golden.program import LayerProgram


def pre_activation(codes: Tensor, bias: Tensor, description: Description) -> Tensor:
    """saturate((code << frac) + bias) to the table index; codes: (batch, gates, units)."""
    return narrow(codes * 2**description.cell.frac + bias, 0, description.index_range)


def step(
    codes: Tensor, c: Tensor, program: LayerProgram, description: Description
) -> tuple[Tensor, Tensor]:
    """One step of every unit.

    codes: (batch, 4, units) ADC codes of i, f, g, o. c: (batch, units), the state before.
    Returns c after the step and h as a DAC code, both (batch, units).
    """
    cell = description.cell
    index = pre_activation(codes, program.bias, description)
    i, f, g, o = look_up(program.gate_tables, index, description.index_range).unbind(1)
    c = narrow(f * c + i * g, cell.gate_bits, cell.state_range)
    upper = narrow(c, cell.state_index_shift, cell.state_index_range)
    product = o * look_up(program.tanh_table, upper, cell.state_index_range)
    return c, feed_back(product, description)
