"""The load map: where on the load bus each number of a program goes.

One source for the address decoder in hw/network.py, for the images that gen/ writes and for the
map in the JSON sidecar. What a region is, its block declares; here they get their addresses.
"""

from dataclasses import replace

from amaranth.hdl import unsigned
from amaranth.lib import data

from golden.description import Description
from hw.head import Head
from hw.layer import RecurrentLayer
from hw.regions import Region
from hw.voter import Voter


class LoadMap:
    """All regions of a design, each aligned to its size, the largest first; one follows another, so
    every address below `words` is in one, and none from there on."""

    def __init__(self, description: Description) -> None:
        self.description = description
        wanted = []
        for name, shape in description.arrays.items():
            block = Head if name == "head" else RecurrentLayer
            wanted += [replace(r, name=f"{name}.{r.name}") for r in block.regions(shape)]
        if description.voting.replay_steps:
            wanted.append(Voter.region(description))
        wanted.sort(key=lambda region: -region.bits)
        self.regions: dict[str, Region] = {}
        base = 0
        for region in wanted:
            self.regions[region.name] = replace(region, base=base)
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
