"""The load map: where on the load bus each number of a program goes.

One source for the address decoder in hw/network.py, for the images that gen/ writes and for the
map in the JSON sidecar.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import unsigned
from amaranth.lib import data

from golden.cells import LstmCell
from golden.description import Description
from golden.geometry import ArrayShape
from golden.ranges import ceil_div, index_bits
from hw import timing
from hw.macro.interface import cell_place, parameter_fields, tile_fields
from hw.macro.noise import WORD_BITS


@dataclass(frozen=True, kw_only=True)
class Region:
    """Addresses that belong to one memory: base + fields, lowest field first.

    name: `layers.0.cells`, ... fields: (name, bits) of each part of the offset. data: likewise
    for the data word.
    """

    name: str
    base: int
    fields: tuple[tuple[str, int], ...]
    data: tuple[tuple[str, int], ...]

    @property
    def bits(self) -> int:
        """Address bits below the base."""
        return sum(width for _, width in self.fields)

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


def _pack(fields: tuple[tuple[str, int], ...], values: dict[str, Any]) -> Any:
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


class LoadMap:
    """All regions of a design, each aligned to its size, the largest first; one follows another, so
    every address below `words` is in one, and none from there on."""

    def __init__(self, description: Description) -> None:
        self.description = description
        wanted = []
        for n, shape in enumerate(description.layers):
            wanted += _layer_regions(f"layers.{n}", shape)
        if description.network.classes:
            wanted += _head_regions("head", description.head)
        if description.voting.replay_steps:
            wanted.append(_votes_region(description))
        wanted.sort(key=lambda region: -region.bits)
        self.regions: dict[str, Region] = {}
        base = 0
        for region in wanted:
            self.regions[region.name] = Region(**vars(region) | {"base": base})
            base += 1 << region.bits
        self.words = base
        self.address_bits = base.bit_length()
        self.data_bits = max(region.data_bits for region in wanted)

    @property
    def nowhere(self) -> int:
        """An address that no region holds."""
        return (1 << self.address_bits) - 1

    @property
    def layout(self) -> data.StructLayout:
        """A transfer of the load bus; `last` ends a transaction."""
        fields = {"data": self.data_bits, "address": self.address_bits, "last": 1}
        return data.StructLayout({name: unsigned(bits) for name, bits in fields.items()})


def _array_regions(prefix: str, shape: ArrayShape) -> list[Region]:
    device, adc = shape.description.device, shape.description.adc
    codes = (("positive", device.conductance_bits), ("negative", device.conductance_bits))
    level = (("level", device.weight_bits),)
    place = tuple((name, field.width) for name, field in cell_place(shape).items())
    return [
        Region(name=f"{prefix}.cells", base=0, fields=place, data=codes),
        Region(name=f"{prefix}.cell_levels", base=0, fields=place, data=level),
        Region(name=f"{prefix}.levels", base=0, fields=level, data=codes),
        Region(
            name=f"{prefix}.gains",
            base=0,
            fields=(
                ("gate", index_bits(shape.gates)),
                *(field for field in tile_fields(shape) if field[0] == "row_tile"),
            ),
            data=(("gain", adc.gain_bits),),
        ),
        Region(
            name=f"{prefix}.parameters",
            base=0,
            fields=parameter_fields(shape),
            data=(("value", WORD_BITS),),
        ),
    ]


def _layer_regions(prefix: str, shape: ArrayShape) -> list[Region]:
    cell, gate = shape.description.cell, index_bits(shape.gates)
    words = ceil_div(shape.units, timing.units_per_beat(shape))
    regions = [
        *_array_regions(prefix, shape),
        Region(
            name=f"{prefix}.bias",
            base=0,
            fields=(
                ("word", index_bits(words)),
                ("place", (timing.units_per_beat(shape) - 1).bit_length()),
                ("gate", gate),
            ),
            data=(("bias", shape.index_bits),),
        ),
        Region(
            name=f"{prefix}.gate_tables",
            base=0,
            fields=(("index", shape.index_bits), ("gate", gate)),
            data=(("entry", cell.table_bits),),
        ),
    ]
    if isinstance(cell, LstmCell):
        regions.append(
            Region(
                name=f"{prefix}.tanh_table",
                base=0,
                fields=(("index", cell.state_index_bits),),
                data=(("entry", cell.hidden_bits),),
            )
        )
    return regions


def _head_regions(prefix: str, shape: ArrayShape) -> list[Region]:
    return [
        *_array_regions(prefix, shape),
        Region(
            name=f"{prefix}.bias",
            base=0,
            fields=(("class", index_bits(shape.units)),),
            data=(("bias", shape.index_bits),),
        ),
    ]


def _votes_region(description: Description) -> Region:
    """Passes over each sequence, and whether their scores are summed."""
    return Region(
        name="votes",
        base=0,
        fields=(),
        data=(("votes", description.votes_bits), ("by_sum", 1)),
    )
