"""The columns of the crossbar's model, lane by lane: cells in memory, charge by multiply-add in a
cycle; those of the deep pipeline are in hw/macro/columns_deep.py."""

from pathlib import Path
from typing import Any

from amaranth.hdl import (
    ClockSignal,
    Const,
    Instance,
    Module,
    Mux,
    Shape,
    Signal,
    Value,
    signed,
    unsigned,
)
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from golden.geometry import ArrayShape
from golden.ranges import index_bits
from hw.fixed import tree_sum

SOURCE = Path(__file__).with_name("columns.v")
"""The same in Verilog by hand, which is what is emitted."""

UNROLLED = 128
"""Rows up to which a simulator's compiler is given the whole sum at once; it is the fastest, but
takes its time to compile."""

GROUP = 16
"""Rows of a sum that it is given at once where there are more."""


def row_code(shape: ArrayShape) -> Shape:
    """What a row contributes to a charge: a code, or a bit of it with its sign."""
    dac = shape.description.dac
    return signed(dac.drive_width if dac.planes > 1 else dac.width)


def cell_layout(shape: ArrayShape) -> data.StructLayout:
    """The conductance codes of a cell's two devices."""
    bits = shape.description.device.conductance_bits
    return data.StructLayout({"positive": bits, "negative": bits})


def columns_signature(shape: ArrayShape) -> wiring.Signature:
    """Ports of a lane's columns.

    sample, select: read a column. rows: what is on the rows, in the cycle after or, of a
    pulse-width DAC, in the cycles after in which it drives them; of the deep pipeline, until the
    sum is over. charge: that of the column, from the cycle after that until the next one's. write:
    a cell into row `write_row` of column `write_select`, both of which there must be. Fresh cells
    are 0; there is no reset.
    """
    description = shape.description
    # A product; then a bit each time the number of rows doubles.
    product = row_code(shape).width + description.device.conductance_bits + 1
    return wiring.Signature(
        {
            "sample": In(1),
            "select": In(index_bits(shape.selects)),
            "rows": In(description.dac.drive_width * shape.rows),
            "write": In(1),
            "write_select": In(index_bits(shape.selects)),
            "write_row": In(index_bits(shape.rows)),
            "write_cell": In(cell_layout(shape)),
            "charge": Out(signed(product + (shape.rows - 1).bit_length())),
        }
    )


class Columns(wiring.Component):
    """The columns of a lane in Amaranth, for whatever elaborates in Python."""

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        super().__init__(columns_signature(shape))

    def elaborate(self, platform: object) -> Module:
        """Cycle n: sample, read the column. n + 1: sum."""
        m = Module()
        shape, cell = self.shape, cell_layout(self.shape)
        m.submodules.cells = cells = memory.Memory(
            shape=unsigned(shape.rows * cell.size), depth=max(2, shape.selects), init=[]
        )
        write, read = cells.write_port(granularity=cell.size), cells.read_port()
        m.d.comb += [
            write.addr.eq(self.write_select),
            write.data.eq(self.write_cell.as_value().replicate(shape.rows)),
            read.addr.eq(self.select),
            read.en.eq(self.sample),
        ]
        with m.If(self.write):
            m.d.comb += write.en.eq(Const(1, shape.rows) << self.write_row)
        column = data.View(data.ArrayLayout(cell, shape.rows), read.data)
        code = signed(shape.description.dac.drive_width)
        rows = data.View(data.ArrayLayout(code, shape.rows), self.rows)
        cycles = shape.description.dac.pulse_cycles
        left = Signal(range(cycles + 1), reset_less=True)  # cycles that are still to be added up
        m.d.sync += left.eq(Mux(self.sample, cycles, Mux(left == 0, 0, left - 1)))
        terms = [
            rows[row] * (column[row].positive - column[row].negative) for row in range(shape.rows)
        ]
        charge = Signal.like(self.charge, reset_less=True)
        with m.If(left != 0):
            m.d.sync += charge.eq(Mux(left == cycles, 0, charge) + tree_sum(terms))
        m.d.comb += self.charge.eq(charge)
        return m


class ColumnsInstance(wiring.Component):
    """The columns of a lane as an instance of the module in hw/macro/columns.v."""

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        super().__init__(columns_signature(shape))

    def elaborate(self, platform: object) -> Module:
        """Nothing but the instance."""
        m = Module()
        shape, description = self.shape, self.shape.description
        parameters = {
            "ROWS": shape.rows,
            "SELECTS": max(2, shape.selects),
            "CODE_BITS": description.dac.drive_width,
            "CYCLES": description.dac.pulse_cycles,
            "CONDUCTANCE_BITS": description.device.conductance_bits,
            "CHARGE_BITS": len(self.charge),
            "SELECT_BITS": len(self.select),
            "ROW_BITS": len(self.write_row),
            "GROUP": shape.rows if shape.rows <= UNROLLED else GROUP,
        }
        ports: dict[str, Any] = {f"p_{name}": value for name, value in parameters.items()}
        for path, member, port in self.signature.flatten(self):
            direction = "i" if member.flow == In else "o"
            ports[f"{direction}_{path[0]}"] = Value.cast(port)
        m.submodules.columns = Instance("crossbar_columns", i_clk=ClockSignal(), **ports)
        return m
