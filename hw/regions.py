"""Region of the load bus: a block declares one for each port through which it is loaded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.lib.wiring import Signature

from hw.ports import WritePort

Fields = tuple[tuple[str, int], ...]
"""Names and widths in bits, the lowest field first."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """Addresses of one memory: the base plus the offset, which is made of fields.

    A block declares its regions from address 0; the load map assigns the bases.

    name: Name of the port. The load map puts the array in front: `layers.0.cells`.
    fields: (name, bits) of each field of the offset, the lowest first.
    data: (name, bits) of each field of the data word, the lowest first.
    base: First address.
    """

    name: str
    fields: Fields
    data: Fields
    base: int = 0

    @property
    def bits(self) -> int:
        """Bits of the offset."""
        return sum(width for _, width in self.fields)

    @property
    def port(self) -> Signature:
        """Write port of the memory behind these addresses."""
        return WritePort(self.bits, self.data_bits)

    @property
    def data_bits(self) -> int:
        """Bits of a data word."""
        return sum(width for _, width in self.data)

    def holds(self, address: Any) -> Any:
        """Whether an address is in this region; of integers, arrays or signals."""
        return (address >> self.bits) == (self.base >> self.bits)

    def address(self, **values: Any) -> Any:
        """Address of one word, or of many.

        values: All fields, as integers or as arrays that broadcast together.
        """
        return self.base | _pack(self.fields, values)

    def word(self, **values: Any) -> Any:
        """One data word, or many; negative values become two's complement."""
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
