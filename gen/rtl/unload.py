"""Read the numbers of arrays back from the words of an image: what a chip holds after loading."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gen.rtl.image import Word, cell_places
from golden.description import Description
from golden.geometry import ArrayShape
from hw import timing
from hw.loadmap import LoadMap
from hw.macro.interface import tile_place
from hw.regions import Region


@dataclass(frozen=True)
class Loaded:
    """Numbers of an array. Words that the image lacks read as 0.

    positive, negative: Conductance codes, shape (gates, units, rows).
    levels: Differential codes of the level table, shape (levels,).
    gain: Gains, shape (row tiles, gates). The first column tile's: all have the same.
    bias: Biases, shape (gates, units).
    """

    positive: np.ndarray
    negative: np.ndarray
    levels: np.ndarray
    gain: np.ndarray
    bias: np.ndarray


def arrays(words: Sequence[Word], description: Description) -> dict[str, Loaded]:
    """Numbers of every array, by name, from the words of an image."""
    load_map = LoadMap(description)
    memory = np.zeros(load_map.words, np.int64)
    written = np.zeros(load_map.words, bool)
    for address, data in words:
        if address < load_map.words:
            memory[address], written[address] = data, True
    return {
        name: _Array(name, shape, load_map.regions, memory, written).loaded()
        for name, shape in description.arrays.items()
    }


@dataclass(frozen=True)
class _Array:
    name: str
    shape: ArrayShape
    regions: dict[str, Region]
    memory: np.ndarray
    written: np.ndarray

    def loaded(self) -> Loaded:
        shape, region = self.shape, self.regions[f"{self.name}.levels"]
        levels = self._fields("levels", {"level": np.arange(1 << region.bits)})
        positive, negative = self._cells(levels)
        tile, gate = np.indices((len(shape.row_tiles), shape.gates), sparse=True)
        tiles = tile_place(shape, row_tile=tile, column_tile=0)
        names = dict(self.regions[f"{self.name}.gains"].fields)
        place = {n: v for n, v in tiles.items() if n in names} | {"gate": gate}
        return Loaded(
            positive=positive,
            negative=negative,
            levels=levels["positive"] - levels["negative"],
            gain=self._fields("gains", place)["gain"],
            bias=self._bias(),
        )

    def _cells(self, levels: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """g+ and g- of each cell: those written as codes, or else those of its level."""
        place = cell_places(self.shape)
        codes = self._fields("cells", place)
        region = self.regions.get(f"{self.name}.cell_levels")
        if region is None:
            return codes["positive"], codes["negative"]
        direct = self.written[self.regions[f"{self.name}.cells"].address(**place)]
        number = self._fields("cell_levels", place)["level"]
        pairs = (np.where(direct, codes[n], levels[n][number]) for n in ("positive", "negative"))
        positive, negative = pairs
        return positive, negative

    def _bias(self) -> np.ndarray:
        shape = self.shape
        if self.name == "head":
            number = {"class": np.arange(shape.units)[None]}
            return self._signed(self._fields("bias", number)["bias"])
        gate, unit = np.indices((shape.gates, shape.units), sparse=True)
        word, place = np.divmod(unit, timing.units_per_beat(shape))
        fields = {"word": word, "place": place, "gate": gate}
        return self._signed(self._fields("bias", fields)["bias"])

    def _signed(self, values: np.ndarray) -> np.ndarray:
        bits = self.shape.index_bits
        return np.where(values >> (bits - 1), values - (1 << bits), values)

    def _fields(self, name: str, place: dict[str, Any]) -> dict[str, np.ndarray]:
        """Fields of the data at addresses."""
        region = self.regions[f"{self.name}.{name}"]
        words, low, found = self.memory[region.address(**place)], 0, {}
        for field, width in region.data:
            found[field] = words >> low & (1 << width) - 1
            low += width
        return found
