"""Recurrent cells by name; `golden.cells.cell` defines what a cell declares."""

from typing import Annotated, Any

from pydantic import PlainValidator

from golden.cells.cell import Cell
from golden.cells.lstm import LstmCell
from golden.cells.rnn import RnnCell
from golden.source import registry
from golden.validation import checked

CELLS: dict[str, type[Cell]] = registry("cells", {"lstm": LstmCell, "rnn": RnnCell})


def default() -> Cell:
    """Cell of a description without [cell]."""
    return CELLS["lstm"]()


def _chosen(value: Any) -> Cell:
    """Cell from the fields of a description."""
    if isinstance(value, Cell):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"cell = {value!r} is not a table; write [cell] and its fields")
    kind = value.get("kind", "lstm")
    if not isinstance(kind, str) or kind not in CELLS:
        known = " or ".join(map(repr, CELLS))
        raise ValueError(f"cell.kind = {kind!r} is not known; write {known}")
    return checked(CELLS[kind], value, "cell")


AnyCell = Annotated[Cell, PlainValidator(_chosen)]
"""Field of a description: a cell of CELLS, or its fields."""
