"""Tables of a cell's functions (docs/contract.md, 6).

The network is trained with the tables that are emitted. Each function returns the entry of every
index, lowest index first, as integers in float64. Entries are differentiable in the index step.
"""

from collections.abc import Callable
from functools import lru_cache

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


SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sigmoid": lambda x, y: y * (1 - y),
    "tanh": lambda x, y: 1 - y * y,
    "relu": lambda x, y: (x > 0).to(x.dtype),
}
"""Derivatives of `FUNCTIONS`, by x and the function's value y."""


@torch.no_grad()
def with_slopes(step: Tensor, shape: ArrayShape) -> tuple[Tensor, Tensor]:
    """`gate_tables` without gradients, and their derivatives with respect to log(step)."""
    x = _indices(shape.index_range, step.device) * step[:, None]
    y, slopes = torch.empty_like(x), torch.empty_like(x)
    runs, ones, lows, highs = _of_gates(shape.description, step.device)
    for function, gates in runs:
        y[gates] = FUNCTIONS[function](x[gates])
        slopes[gates] = SLOPES[function](x[gates], y[gates])
    rounded = y.mul_(ones).add_(0.5).floor_()
    found = rounded.clamp(lows, highs)
    return found, slopes.mul_(x).mul_(ones).mul_(rounded == found)


@lru_cache
@torch.inference_mode(False)
def _of_gates(
    description: Description, device: torch.device
) -> tuple[list[tuple[str, slice]], Tensor, Tensor, Tensor]:
    """Functions of a cell's gates, each of adjacent ones at once; and the entries of 1.0, the
    lowest and the highest ones of each gate, shape (gates, 1)."""
    cell = description.cell
    runs: list[tuple[str, slice]] = []
    for gate, function in enumerate(cell.gate_functions):
        if runs and runs[-1][0] == function:
            runs[-1] = function, slice(runs[-1][1].start, gate + 1)
        else:
            runs.append((function, slice(gate, gate + 1)))
    columns = (
        [_unit(unit, description) for unit in cell.gate_units],
        *zip(*cell.table_ranges, strict=True),
    )
    ones, lows, highs = (
        torch.tensor(column, dtype=torch.float64, device=device)[:, None] for column in columns
    )
    return runs, ones, lows, highs


def cell_tables(description: Description, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Further tables of the cell by name, shape (entries,) each."""
    return {table.name: _table(table, description).to(device) for table in description.cell.tables}


def _table(table: Table, description: Description) -> Tensor:
    x = _indices(table.index, torch.device("cpu")) * table.step
    return quantise(FUNCTIONS[table.function](x) * _unit(table.unit, description), table.entries)


def _unit(unit: int | None, description: Description) -> float:
    return float(description.hidden_unit if unit is None else unit)


@lru_cache
@torch.inference_mode(False)  # kept for training, too
def _indices(range_: Range, device: torch.device) -> Tensor:
    return torch.arange(range_.low, range_.high + 1, dtype=torch.float64, device=device)
