"""The programming controller's level table: cells by level, or by conductance codes."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.geometry import ArrayShape
from hw.macro.interface import cell_place, program_layout
from hw.regions import Region


def level_layout(shape: ArrayShape) -> data.StructLayout:
    """One cell to program: its place and the number of its level, from the lowest on."""
    bits = shape.description.device.weight_bits
    return data.StructLayout({"level": unsigned(bits), **cell_place(shape)})


class LevelTable(wiring.Component):
    """Cells on their way to the macro's programming port (docs/contract.md, 3 and 13).

    `cells`: with their conductance codes, passed on as they are. `cell_levels`: with the number of
    a level, whose codes come out of a table; of the two only one may offer at a time. `levels`: the
    table, an entry the codes of both devices, the positive one in the low bits; written while
    nothing is offered. `o`: to the macro.
    Throughput: a cell a cycle by its codes, a cell in two cycles by its level. Nothing is held
    back: a transfer is taken when the macro takes the cell.
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
        """Of `cells`, `cell_levels` and `levels`."""
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
