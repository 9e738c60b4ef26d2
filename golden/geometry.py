"""Geometry of an array: tiles, lanes, selects, bounds. hw/timing.py has its cycle counts."""

import dataclasses
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from golden.ranges import Range, ceil_div, signed_range

if TYPE_CHECKING:
    from golden.description import Description


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayShape:
    """Shape of the array of a layer or of the head: `units` units with `gates` columns each.

    The first `inputs` of its `rows` rows carry x, the others h.

    The array is one crossbar, or several of the same size if one would be too large. A row tile has
    some of the rows of every column; a column tile has some of the units. Lane `unit % lanes`
    converts column (unit, gate) at select `gates * (unit // lanes) + gate`. So a lane converts the
    gates of one unit one after the other, and their codes arrive together. The lanes of a column
    tile are adjacent.
    """

    description: "Description"
    rows: int
    inputs: int
    units: int
    gates: int

    @cached_property
    def row_tiles(self) -> tuple[range, ...]:
        """Rows of each row tile (docs/contract.md, 3).

        There are as few tiles as possible, as even as possible. If splitting x and h separately
        needs no more tiles, no tile spans both.
        """
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

    @cached_property
    def row_slices(self) -> tuple[slice, ...]:
        """The row tiles as slices."""
        return tuple(slice(tile.start, tile.stop) for tile in self.row_tiles)

    @cached_property
    def column_tiles(self) -> int:
        """Number of column tiles: the fewest whose units fit."""
        most = self.description.array.columns // self.gates
        tiles = ceil_div(self.units, most)
        while self._units_of_first(tiles) > most:
            tiles += 1
        return tiles

    def _units_of_first(self, tiles: int) -> int:
        """Units of the first of `tiles` column tiles, which has the most."""
        lanes = self._lanes_of_each(tiles)
        whole, rest = divmod(self.units, tiles * lanes)
        return whole * lanes + min(lanes, rest)

    def _lanes_of_each(self, tiles: int) -> int:
        """Lanes of each of `tiles` column tiles: at most its units."""
        return min(self.description.array.lanes, ceil_div(self.units, tiles))

    @cached_property
    def macro(self) -> "ArrayShape":
        """Shape of one crossbar: an array without tiles."""
        rows = max(len(tile) for tile in self.row_tiles)
        units = self._units_of_first(self.column_tiles)
        return dataclasses.replace(self, rows=rows, inputs=rows, units=units)

    @property
    def macros(self) -> int:
        """Number of crossbars."""
        return len(self.row_tiles) * self.column_tiles

    @cached_property
    def lanes(self) -> int:
        """Lanes of all column tiles."""
        return self.column_tiles * self._lanes_of_each(self.column_tiles)

    @property
    def blocks(self) -> int:
        """Number of blocks of `lanes` units."""
        return ceil_div(self.units, self.lanes)

    @property
    def selects(self) -> int:
        """Positions of the column multiplexer: columns that a lane converts per step."""
        return self.gates * self.blocks

    @property
    def deep(self) -> bool:
        """Whether the array and the logic around it use the deep pipeline."""
        return self.description.array.deep

    @property
    def samples(self) -> int:
        """Samples of a lane per step: one per select and plane."""
        return self.selects * self.description.dac.planes

    @cached_property
    def charge_max(self) -> int:
        """Largest possible magnitude of a column's charge in one crossbar, for any conductances."""
        device, dac = self.description.device, self.description.dac
        return self.macro.rows * dac.drive_high * device.conductance_max

    @cached_property
    def adc_shift(self) -> int:
        """Shift of the ADC: at gain 16 the largest possible charge does not exceed full scale."""
        return 4 + max(0, self.charge_max.bit_length() - (self.description.adc.bits - 1))

    @cached_property
    def code_range(self) -> Range:
        """Range of a column's code, the weighted sum over its row tiles and planes."""
        one, planes = self.description.adc.range, self.description.dac.planes
        most = len(self.row_tiles) * (2**planes - 1)
        return Range(most * one.low, most * one.high)

    @cached_property
    def code_bits(self) -> int:
        """Width of a column's code."""
        return (-self.code_range.low - 1).bit_length() + 1

    @cached_property
    def index_bits(self) -> int:
        """Width of a gate table's index."""
        return int(self.code_bits + self.description.cell.frac)

    @cached_property
    def index_range(self) -> Range:
        """Range of a gate table's index, which is a pre-activation."""
        return signed_range(self.index_bits)

    @property
    def adds_up(self) -> bool:
        """Whether a code is the sum of several conversions (row tiles or planes)."""
        return len(self.row_tiles) > 1 or self.description.dac.planes > 1

    @cached_property
    def read_noise_bits(self) -> int:
        """Width of the read noise's amplitude, whose LSB is 1/16 of a unit of charge."""
        return int(min(32, self.charge_max.bit_length() + 2))

    def column(self, unit: Any, gate: Any) -> tuple[Any, Any]:
        """(select, lane) that converts a gate of a unit; takes integers or arrays."""
        return self.gates * (unit // self.lanes) + gate, unit % self.lanes

    def place(self, unit: Any) -> tuple[Any, Any]:
        """(column tile, number within it) of a unit; takes integers or arrays."""
        lanes = self.lanes // self.column_tiles
        tile, lane = unit % self.lanes // lanes, unit % lanes
        return tile, unit // self.lanes * lanes + lane
