"""Columns of the crossbar model, lane by lane: cells in memory, charge by multiply-add.

The short pipeline sums a column in one cycle. hw/macro/columns_deep.py has the deep pipeline.
"""

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
"""The columns in hand-written Verilog, which is what is emitted."""


def row_code(shape: ArrayShape) -> Shape:
    """Contribution of a row to a charge: a DAC code, or one bit of it with its sign."""
    dac = shape.description.dac
    return signed(dac.drive_width if dac.planes > 1 else dac.width)


def cell_layout(shape: ArrayShape) -> data.StructLayout:
    """Conductance codes of a cell's two devices."""
    bits = shape.description.device.conductance_bits
    return data.StructLayout({"positive": bits, "negative": bits})


def columns_signature(shape: ArrayShape) -> wiring.Signature:
    """Ports of a lane's columns. Cells are 0 after power-up; there is no reset.

    sample (in): strobe: read column `select`.
    select (in): column of the sample.
    rows (in): values on the rows. For a sample in cycle n they are valid in cycle n + 1; with a
        pulse-width DAC, in all cycles from n + 1 in which it drives them; in the deep pipeline,
        until the sum is complete.
    charge (out): charge of the column, from the cycle after that until the next sum starts.
    write (in): write `write_cell` to row `write_row` of column `write_select`. Both must exist.
    """
    description = shape.description
    # Width of a product, plus one bit for each doubling of the rows.
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
    """Columns of a lane in Amaranth, for all that elaborates in Python.

    Ports: see `columns_signature`. pulse_cycles is 1 except with a pulse-width DAC.

    Latency: pulse_cycles + 1 cycles from a sample to its charge.
    Throughput: one column every pulse_cycles cycles.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        super().__init__(columns_signature(shape))

    def elaborate(self, platform: object) -> Module:
        """Cycle n: sample, read the column. n + 1: sum; with a pulse, in each cycle of it."""
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
        left = Signal(range(cycles + 1), reset_less=True)  # cycles left to accumulate
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
    """Columns of a lane as an instance of the module in hw/macro/columns.v."""

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        super().__init__(columns_signature(shape))

    def elaborate(self, platform: object) -> Module:
        """Only the instance."""
        m = Module()
        shape, description = self.shape, self.shape.description
        parameters = {
            "ROWS": shape.rows,
            "CODE_BITS": description.dac.drive_width,
            "CYCLES": description.dac.pulse_cycles,
            "CONDUCTANCE_BITS": description.device.conductance_bits,
            "CHARGE_BITS": len(self.charge),
            "SELECT_BITS": len(self.select),
            "ROW_BITS": len(self.write_row),
        }
        ports: dict[str, Any] = {f"p_{name}": value for name, value in parameters.items()}
        for path, member, port in self.signature.flatten(self):
            direction = "i" if member.flow == In else "o"
            ports[f"{direction}_{path[0]}"] = Value.cast(port)
        m.submodules.columns = Instance("crossbar_columns", i_clk=ClockSignal(), **ports)
        return m
