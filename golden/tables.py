"""Tables of sigmoid and tanh (docs/contract.md, 6): what the network is trained with is what is
emitted. Each function gives the entry of every index, lowest index first, as float64 integers,
differentiable in its scale.
"""

import torch
from torch import Tensor

from golden.cells import LstmCell
from golden.description import Description
from golden.fixed import quantise
from golden.geometry import ArrayShape
from golden.ranges import Range


def gate_tables(step: Tensor, shape: ArrayShape) -> Tensor:
    """Table of each gate over a pre-activation's index: (gates, 2^index_bits).

    i, f and o of an LSTM are sigmoids, its g a tanh, in units of 2^-gate_bits; h of an RNN is a
    tanh on the scale of `tanh_table`. step: (gates,) real value of one index step of each gate.
    """
    description, cell = shape.description, shape.description.cell
    unit = float(2**cell.gate_bits if isinstance(cell, LstmCell) else description.hidden_unit)
    functions = [torch.sigmoid if gate in "ifo" else torch.tanh for gate in cell.gates]
    x = _indices(shape.index_range, step.device) * step[:, None]
    rows = zip(functions, x, cell.table_ranges, strict=True)
    return torch.stack([quantise(function(row) * unit, range_) for function, row, range_ in rows])


def tanh_table(description: Description) -> Tensor:
    """An LSTM's table of tanh(c) over the upper bits of c: (2^state_index_bits,).

    1.0 is `description.hidden_unit`, so that o * tanh(c) narrows to a DAC code by a shift.
    """
    cell = description.cell
    assert isinstance(cell, LstmCell)
    step = 2.0 ** (cell.state_index_shift - cell.gate_bits)
    x = _indices(cell.state_index_range, torch.device("cpu")) * step
    return quantise(torch.tanh(x) * description.hidden_unit, cell.hidden_range)


def _indices(range_: Range, device: torch.device) -> Tensor:
    return torch.arange(range_.low, range_.high + 1, dtype=torch.float64, device=device)
