"""Load map: the address on the load bus of every number of a program.

It is the only source of the address decoder in hw/network.py, of the images that gen/ writes and of
the map in the JSON sidecar. Blocks declare their regions; the load map assigns the addresses.
"""

from dataclasses import replace

from amaranth.hdl import unsigned
from amaranth.lib import data

from golden.description import Description
from golden.errors import WordlineError
from hw.head import Head
from hw.layer import RecurrentLayer
from hw.regions import Region
from hw.voter import Voter

ADDRESS_BITS = 32
"""Maximum width of an address: that of an image and of its checksum."""


class LoadMap:
    """All regions of a design: each aligned to its size, contiguous, the largest last.

    The regions fill the addresses from `first` up to, but not including, `words`. An image in
    ascending order writes a level table before the cells that are programmed through it, unless an
    array has fewer cells than levels. `check` is the address of the checksum, the last word of an
    image; the accelerator ignores that word.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        wanted = []
        for name, shape in description.arrays.items():
            block = Head if name == "head" else RecurrentLayer
            wanted += [replace(r, name=f"{name}.{r.name}") for r in block.regions(shape)]
        if description.voting.replay_steps:
            wanted.append(Voter.region(description))
        wanted.sort(key=lambda region: (region.bits, not region.name.endswith(".levels")))
        size = sum(1 << region.bits for region in wanted)
        largest = 1 << wanted[-1].bits
        self.first = base = -size % largest
        self.regions: dict[str, Region] = {}
        for region in wanted:
            self.regions[region.name] = replace(region, base=base)
            base += 1 << region.bits
        self.words = base
        self.address_bits = base.bit_length()
        self.data_bits = max(region.data_bits for region in wanted)
        if self.address_bits > ADDRESS_BITS:
            widest = wanted[-1]
            raise WordlineError(
                f"{description.name}: the load map needs {self.address_bits} address bits, above "
                f"{ADDRESS_BITS}; {widest.name} alone has {widest.bits}. Give smaller layers, or "
                f"array.lanes and array.columns that leave fewer positions unused."
            )

    @property
    def check(self) -> int:
        """Address of the checksum."""
        return self.words

    @property
    def nowhere(self) -> int:
        """An unmapped address: in no region, and not that of the checksum."""
        nowhere = (1 << self.address_bits) - 1
        assert nowhere > self.check
        return nowhere

    @property
    def layout(self) -> data.StructLayout:
        """A transfer of the load bus; `last` ends a transaction."""
        fields = {"data": self.data_bits, "address": self.address_bits, "last": 1}
        return data.StructLayout({name: unsigned(bits) for name, bits in fields.items()})
