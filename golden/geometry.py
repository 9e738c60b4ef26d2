"""The geometry of an array: tiles, lanes and selects, bounds. Its cycles: hw/timing.py."""

import dataclasses
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from golden.ranges import Range, ceil_div, signed_range

if TYPE_CHECKING:
    from golden.description import Description


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayShape:
    """The array of a layer or the head: `units` neurons of `gates` columns over `rows` rows, of
    which the first `inputs` are x and the rest h.

    It is one crossbar or, where that would be too large, several, all of the same size: row tiles,
    each of which has some of the rows of every column, and column tiles, each of which has some of
    the units. Column (unit, gate) is converted by lane `unit % lanes` at select `gates * (unit //
    lanes) + gate`: a lane converts the gates of one unit one after the other, so they arrive
    together. The lanes of a column tile are neighbours.
    """

    description: "Description"
    rows: int
    inputs: int
    units: int
    gates: int

    @cached_property
    def row_tiles(self) -> tuple[range, ...]:
        """The rows of each row tile: as few tiles as there can be and, where as few do, none with
        rows of x and of h; as even as can be."""
        most = self.description.array.rows
        parts = [part for part in (self.inputs, self.rows - self.inputs) if part]
        fewest = ceil_div(self.rows, most)
        if sum(ceil_div(part, most) for part in parts) > fewest:
            parts = [self.rows]
        tiles: list[range] = []
        for part in parts if fewest > 1 else [self.rows]:
            start, count = tiles[-1].stop if tiles else 0, ceil_div(part, most)
            edges = [start + part * n // count for n in range(count + 1)]
            tiles += [range(a, b) for a, b in pairwise(edges)]
        return tuple(tiles)

    @property
    def row_slices(self) -> tuple[slice, ...]:
        """The same, to index with."""
        return tuple(slice(tile.start, tile.stop) for tile in self.row_tiles)

    @cached_property
    def column_tiles(self) -> int:
        """How many column tiles there are: the fewest with room for their units."""
        most = self.description.array.columns // self.gates
        tiles = ceil_div(self.units, most)
        while self._units_of_first(tiles) > most:
            tiles += 1
        return tiles

    def _units_of_first(self, tiles: int) -> int:
        """Units of the first of so many column tiles, which has the most."""
        lanes = self._lanes_of_each(tiles)
        whole, rest = divmod(self.units, tiles * lanes)
        return whole * lanes + min(lanes, rest)

    def _lanes_of_each(self, tiles: int) -> int:
        """Lanes of each of so many column tiles: no more than it has units."""
        return min(self.description.array.lanes, ceil_div(self.units, tiles))

    @cached_property
    def macro(self) -> "ArrayShape":
        """One of the crossbars: an array that is not cut any further."""
        rows = max(len(tile) for tile in self.row_tiles)
        units = self._units_of_first(self.column_tiles)
        return dataclasses.replace(self, rows=rows, inputs=rows, units=units)

    @property
    def macros(self) -> int:
        """How many crossbars there are."""
        return len(self.row_tiles) * self.column_tiles

    @cached_property
    def lanes(self) -> int:
        """Lanes of all column tiles."""
        return self.column_tiles * self._lanes_of_each(self.column_tiles)

    @property
    def blocks(self) -> int:
        """Groups of `lanes` units."""
        return ceil_div(self.units, self.lanes)

    @property
    def selects(self) -> int:
        """Positions of the column multiplexer: conversions a lane makes for one step."""
        return self.gates * self.blocks

    @property
    def deep(self) -> bool:
        """Whether the array and what is around it have the deep pipeline."""
        return self.description.array.deep

    @property
    def samples(self) -> int:
        """Samples of a lane for one step: one of each plane for each select."""
        return self.selects * self.description.dac.planes

    @property
    def charge_max(self) -> int:
        """Bound of |column charge| of a crossbar, whatever conductances are programmed."""
        device, dac = self.description.device, self.description.dac
        return self.macro.rows * dac.drive_high * device.conductance_max

    @property
    def adc_shift(self) -> int:
        """Shift of the ADC: at gain 16 the largest charge there can be just reaches full scale."""
        return 4 + max(0, self.charge_max.bit_length() - (self.description.adc.bits - 1))

    @property
    def code_range(self) -> Range:
        """A column's code: the sum over its row tiles and planes, a plane's times 2^plane."""
        one, planes = self.description.adc.range, self.description.dac.planes
        most = len(self.row_tiles) * (2**planes - 1)
        return Range(most * one.low, most * one.high)

    @property
    def code_bits(self) -> int:
        """Bits of a column's code."""
        return (-self.code_range.low - 1).bit_length() + 1

    @property
    def index_bits(self) -> int:
        """Bits of a gate table's index."""
        return int(self.code_bits + self.description.cell.frac)

    @property
    def index_range(self) -> Range:
        """Index of the gate tables: a pre-activation."""
        return signed_range(self.index_bits)

    @property
    def adds_up(self) -> bool:
        """Whether a code is the sum of several conversions, of row tiles or planes."""
        return len(self.row_tiles) > 1 or self.description.dac.planes > 1

    @property
    def read_noise_bits(self) -> int:
        """Bits of the read noise's amplitude, in 1/16 of a unit of charge."""
        return int(min(32, self.charge_max.bit_length() + 2))

    def column(self, unit: Any, gate: Any) -> tuple[Any, Any]:
        """(select, lane) at which a unit's gate is converted; of integers or of arrays."""
        return self.gates * (unit // self.lanes) + gate, unit % self.lanes

    def place(self, unit: Any) -> tuple[Any, Any]:
        """(column tile, number of the unit in it); of integers or of arrays."""
        lanes = self.lanes // self.column_tiles
        tile, lane = unit % self.lanes // lanes, unit % lanes
        return tile, unit // self.lanes * lanes + lane
