"""Tables of a cell's functions (docs/contract.md, 6).

The network is trained with the tables that are emitted. Each function returns the entry of every
index, lowest index first, as integers in float64. Entries are differentiable in the index step.
"""

import torch
from torch import Tensor

from golden.cells.cell import Table
from golden.description import Description
from golden.fixed import quantise
from golden.geometry import ArrayShape
from golden.ranges import Range

FUNCTIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


def gate_tables(step: Tensor, shape: ArrayShape) -> Tensor:
    """Table of each gate over the pre-activation index, shape (gates, 2^index_bits).

    The entry of 1.0 is the cell's `gate_units`.

    step: Real value of one index step of each gate, shape (gates,).
    """
    description, cell = shape.description, shape.description.cell
    x = _indices(shape.index_range, step.device) * step[:, None]
    kinds = [*zip(cell.gate_functions, cell.gate_units, cell.table_ranges, strict=True)]
    tables, order = [], []
    for kind in dict.fromkeys(kinds):  # gates of one kind at once
        function, unit, range_ = kind
        gates = [gate for gate, own in enumerate(kinds) if own == kind]
        tables.append(quantise(FUNCTIONS[function](x[gates]) * _unit(unit, description), range_))
        order += gates
    return torch.cat(tables)[[order.index(gate) for gate in range(len(kinds))]]


def cell_tables(description: Description, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Further tables of the cell by name, shape (entries,) each."""
    return {table.name: _table(table, description).to(device) for table in description.cell.tables}


def _table(table: Table, description: Description) -> Tensor:
    x = _indices(table.index, torch.device("cpu")) * table.step
    return quantise(FUNCTIONS[table.function](x) * _unit(table.unit, description), table.entries)


def _unit(unit: int | None, description: Description) -> float:
    return float(description.hidden_unit if unit is None else unit)


def _indices(range_: Range, device: torch.device) -> Tensor:
    return torch.arange(range_.low, range_.high + 1, dtype=torch.float64, device=device)
