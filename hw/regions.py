"""A region of the load bus: what a block declares of a port through which it is loaded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.lib.wiring import Signature

from hw.ports import WritePort

Fields = tuple[tuple[str, int], ...]
"""Names and bits, the lowest field first."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """Addresses that belong to one memory: base + fields, lowest field first.

    A block declares those of its ports, from 0 on; the load map gives them their base.

    name: that of the port; in the load map with the array in front, `layers.0.cells`. fields:
    (name, bits) of each part of the offset. data: likewise for the data word.
    """

    name: str
    fields: Fields
    data: Fields
    base: int = 0

    @property
    def bits(self) -> int:
        """Address bits below the base."""
        return sum(width for _, width in self.fields)

    @property
    def port(self) -> Signature:
        """The write port of a memory that is written by these addresses."""
        return WritePort(self.bits, self.data_bits)

    @property
    def data_bits(self) -> int:
        """Bits of a data word."""
        return sum(width for _, width in self.data)

    def holds(self, address: Any) -> Any:
        """Whether an address is one of these; of integers, arrays or signals."""
        return (address >> self.bits) == (self.base >> self.bits)

    def address(self, **values: Any) -> Any:
        """The address of one word, or of many: fields are integers, or arrays that broadcast
        together; every one is to be given."""
        return self.base | _pack(self.fields, values)

    def word(self, **values: Any) -> Any:
        """A data word, or many; negative values in two's complement."""
        return _pack(self.data, values)


def _pack(fields: Fields, values: dict[str, Any]) -> Any:
    packed: Any = 0
    position = 0
    for name, width in fields:
        value = values.pop(name)
        fits = (value >= -(1 << width) // 2) & (value < 1 << width)
        assert np.all(fits), (name, value)
        packed = packed | (value & ((1 << width) - 1)) << position
        position += width
    assert not values, values
    return packed
