"""Level table: cells are programmed by their conductance codes or by level."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.geometry import ArrayShape
from hw.macro.interface import cell_place, program_layout
from hw.regions import Region


def level_layout(shape: ArrayShape) -> data.StructLayout:
    """One cell to program: its place and its level, 0 for the lowest."""
    bits = shape.description.device.weight_bits
    return data.StructLayout({"level": unsigned(bits), **cell_place(shape)})


class LevelTable(wiring.Component):
    """Converts levels to conductance codes, in front of the macro's programming port.

    See docs/contract.md, 3 and 13.

    cells (in, stream): cells with their conductance codes, which pass unchanged.
    cell_levels (in, stream): cells with a level, whose codes the table supplies. `cells` and
        `cell_levels` must not be valid at the same time.
    levels (in): write port of the table. An entry has the codes of both devices, the positive one
        in the low bits. Write only while no cell is offered.
    o (out, stream): cells with their conductance codes, to the macro.

    Latency: 0 cycles from `cells` to `o`, 1 cycle from `cell_levels` to `o`.
    Throughput: one cell every cycle by codes, one cell every 2 cycles by level.
    There is no buffer: a cell is accepted in the cycle in which the macro accepts it.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        _, _, levels = self.regions(shape)
        super().__init__(
            {
                "cells": In(stream.Signature(program_layout(shape))),
                "cell_levels": In(stream.Signature(level_layout(shape))),
                "levels": In(levels.port),
                "o": Out(stream.Signature(program_layout(shape))),
            }
        )

    @staticmethod
    def regions(shape: ArrayShape) -> tuple[Region, Region, Region]:
        """Load regions of `cells`, `cell_levels` and `levels`."""
        device = shape.description.device
        codes = (("positive", device.conductance_bits), ("negative", device.conductance_bits))
        level = (("level", device.weight_bits),)
        place = tuple((name, field.width) for name, field in cell_place(shape).items())
        return (
            Region(name="cells", fields=place, data=codes),
            Region(name="cell_levels", fields=place, data=level),
            Region(name="levels", fields=level, data=codes),
        )

    def elaborate(self, platform: object) -> Module:
        """Cycle 0: read the table. Cycle 1: offer the cell."""
        m = Module()
        device = self.shape.description.device
        bits = device.conductance_bits
        m.submodules.codes = table = memory.Memory(
            shape=unsigned(2 * bits), depth=2**device.weight_bits, init=[]
        )
        write, read = table.write_port(), table.read_port()
        by_level = self.cell_levels
        found = Signal()
        m.d.comb += [
            write.addr.eq(self.levels.address),
            write.data.eq(self.levels.data),
            write.en.eq(self.levels.enable),
            read.addr.eq(by_level.payload.level),
            read.en.eq(by_level.valid & ~found),
            by_level.ready.eq(found & self.o.ready),
            self.cells.ready.eq(self.o.ready),
        ]
        m.d.sync += found.eq(by_level.valid & ~by_level.ready)
        with m.If(by_level.valid):
            m.d.comb += self.o.valid.eq(found)
            m.d.comb += [
                self.o.payload[name].eq(by_level.payload[name]) for name in cell_place(self.shape)
            ]
            m.d.comb += self.o.payload.positive.eq(read.data[:bits])
            m.d.comb += self.o.payload.negative.eq(read.data[bits:])
        with m.Else():
            m.d.comb += [self.o.valid.eq(self.cells.valid), self.o.payload.eq(self.cells.payload)]
        return m
