"""The LSTM cell in integers: from pre-activations to c and h (docs/contract.md, 6 and 7)."""

from typing import NamedTuple

from torch import Tensor

from golden.cells import LstmCell
from golden.dac import feed_back
from golden.fixed import look_up, narrow
from golden.geometry import ArrayShape
from golden.injection import StepNoise
from golden.program import LstmProgram


class State(NamedTuple):
    """After a step, (batch, units) each: c; h as a DAC code; and c before its injected noise."""

    c: Tensor
    h: Tensor
    quiet_c: Tensor


def step(
    index: Tensor,
    c: Tensor,
    program: LstmProgram,
    shape: ArrayShape,
    noise: StepNoise | None = None,
) -> State:
    """One step of every unit.

    index: (batch, 4, units) pre-activations of i, f, g, o. c: (batch, units), the state before.
    noise: injected into what the tables gave, c and h.
    """
    description, cell = shape.description, shape.description.cell
    assert isinstance(cell, LstmCell)
    gates = look_up(program.gate_tables, index, shape.index_range)
    if noise is not None:
        gates = noise.add_rounded(gates, 4)
    i, f, g, o = gates.unbind(1)
    c = before = narrow(f * c + i * g, cell.gate_bits, cell.state_range)
    if noise is not None:
        c = narrow(noise.add_rounded(c[:, None], 8)[:, 0], 0, cell.state_range)
    upper = narrow(c, cell.state_index_shift, cell.state_index_range)
    product = o * look_up(program.tanh_table, upper, cell.state_index_range)
    if noise is not None:
        product = noise.add_rounded(product[:, None], 9)[:, 0]
    return State(c, feed_back(product, description), before)
