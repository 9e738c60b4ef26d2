"""Tables of sigmoid and tanh (docs/contract.md, 6): what the network is trained with is what is
emitted. Each function gives the entry of every index, lowest index first, as float64 integers,
differentiable in its scale.
"""

import torch
from torch import Tensor

from golden.description import Description
from golden.fixed import Range, quantise


def gate_tables(step: Tensor, description: Description) -> Tensor:
    """Tables of i, f, g, o over a pre-activation's index: (4, 2^index_bits).

    step: (4,) real value of one index step of each gate.
    """
    cell = description.cell
    x = _indices(description.index_range, step.device) * step[:, None]
    unit = float(2**cell.gate_bits)
    rows = []
    for gate, row in zip(cell.gates, x, strict=True):
        if gate == "g":
            rows.append(quantise(torch.tanh(row) * unit, cell.candidate_range))
        else:
            rows.append(quantise(torch.sigmoid(row) * unit, cell.gate_range))
    return torch.stack(rows)


def tanh_table(description: Description) -> Tensor:
    """Table of tanh(c) over the upper bits of c: (2^state_index_bits,).

    1.0 is `description.hidden_unit`, so that o * tanh(c) narrows to a DAC code by a shift.
    """
    cell = description.cell
    step = 2.0 ** (cell.state_index_shift - cell.gate_bits)
    x = _indices(cell.state_index_range, torch.device("cpu")) * step
    return quantise(torch.tanh(x) * description.hidden_unit, cell.hidden_range)


def _indices(range_: Range, device: torch.device) -> Tensor:
    return torch.arange(range_.low, range_.high + 1, dtype=torch.float64, device=device)
