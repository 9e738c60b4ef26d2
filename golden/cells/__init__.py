"""The recurrent cells by name; `golden.cells.cell` says what a cell declares."""

from typing import Annotated, Any

from pydantic import PlainValidator

from golden.cells.cell import Cell
from golden.cells.lstm import LstmCell
from golden.cells.rnn import RnnCell
from golden.source import registry
from golden.validation import checked

CELLS: dict[str, type[Cell]] = registry("cells", {"lstm": LstmCell, "rnn": RnnCell})


def default() -> Cell:
    """The cell of a description that names none."""
    return CELLS["lstm"]()


def _chosen(value: Any) -> Cell:
    """A cell from the fields of a description."""
    if isinstance(value, Cell):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"cell = {value!r} is not a table; write [cell] and its fields")
    kind = value.get("kind", "lstm")
    if kind not in CELLS:
        known = " or ".join(map(repr, CELLS))
        raise ValueError(f"cell.kind = {kind!r} is not known; write {known}")
    return checked(CELLS[kind], value, "cell")


AnyCell = Annotated[Cell, PlainValidator(_chosen)]
"""A field of a description: one of CELLS, from its own fields or as it is."""
