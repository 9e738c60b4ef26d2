"""The columns of the crossbar's model, lane by lane: cells in memory, charge by multiply-add."""

from pathlib import Path
from typing import Any

from amaranth.hdl import (
    Cat,
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

from golden.description import ArrayShape
from golden.fixed import ceil_div, index_bits
from hw.fixed import by_bits, registered, registered_sum, tree_sum
from hw.ports import loaded_memory

SOURCE = Path(__file__).with_name("columns.v")
"""The same in Verilog by hand, which is what is emitted."""

UNROLLED = 128
"""Rows up to which a simulator's compiler is given the whole sum at once; it is the fastest, but
takes its time to compile."""

REPLICATED = "replicated"
"""Attribute of a register that others are alike, each near what it is for: not to be merged."""

GROUP = 16
"""Rows of a sum that it is given at once where there are more."""

AROUND = 10
"""Cycles of `array.settle` that a serial sum has not: to cells, and from a charge to a sample."""


def rows_at_once(shape: ArrayShape) -> int:
    """Rows that are summed in a cycle where the model is staged and a sample has time for groups of
    them, one after the other: the fewest for which it has, a power of two."""
    rows, bits = 1, _code(shape).width
    while ceil_div(shape.rows, rows) + sum_cycles(rows * bits) + AROUND > (
        shape.description.array.settle
    ):
        rows *= 2
        assert rows < 2 * shape.rows, "STAGED leaves time for all rows at once"
    return rows


def sum_cycles(terms: int) -> int:
    """Cycles of a sum of so many terms, of which a cycle adds up four."""
    return ceil_div((terms - 1).bit_length(), 2)


def _code(shape: ArrayShape) -> Shape:
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
    pulse-width DAC, in the cycles after in which it drives them; where there is time for a serial
    sum, until it is over. charge: that of the column, from the cycle after that until the next
    one's. write: a cell into row `write_row` of column
    `write_select`, both of which there must be. Fresh cells are 0; there is no reset.
    """
    description = shape.description
    # A product; then a bit each time the number of rows doubles.
    product = _code(shape).width + description.device.conductance_bits + 1
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


class RowGroups(wiring.Component):
    """Where the model is staged: leads the columns of all lanes, which are sampled at once, through
    groups of rows (`rows_at_once`), one a cycle.

    sample, select, rows: as of `columns_signature`. address: of the cells of a column's group.
    codes: what is on the rows of a group, two cycles after its address; 0 on those that fill the
    last one. adds, first: a group's sum is there, `depth` cycles after its address, and it is the
    first.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape, self.at_once = shape, rows_at_once(shape)
        self.groups = ceil_div(shape.rows, self.at_once)
        self.group_bits = (self.groups - 1).bit_length()
        terms = self.at_once * _code(shape).width
        self.depth = sum_cycles(terms) + 3
        signature = columns_signature(shape)
        super().__init__(
            {name: signature.members[name] for name in ("sample", "select", "rows")}
            | {
                "address": Out(self.group_bits + index_bits(shape.selects)),
                "codes": Out(terms),
                "adds": Out(1),
                "first": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a sample to its charge: at most `shape.settle` - 6, since the sample comes a
        cycle late, and there are four more stages."""
        return self.shape.description.dac.pulse_cycles + self.groups + self.depth

    def elaborate(self, platform: object) -> Module:
        """A counter, and what comes after its cycles."""
        m = Module()
        cycles = self.shape.description.dac.pulse_cycles
        left = Signal(range(cycles + self.groups))
        group = Signal(self.group_bits)
        reads = Signal()  # cells of a group
        m.d.comb += reads.eq((left != 0) & (left <= self.groups if cycles > 1 else 1))
        with m.If(self.sample):
            m.d.sync += [left.eq(cycles + self.groups - 1), group.eq(0)]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
            with m.If(reads):
                m.d.sync += group.eq(group + 1)
        select = Signal.like(self.select, reset_less=True)
        with m.If(self.sample):
            m.d.sync += select.eq(self.select)
        chosen = registered(m, group)
        of_group = self._codes(m).word_select(chosen, len(self.codes))
        comes, first = Signal(self.depth), Signal(self.depth)
        m.d.sync += [comes.eq(Cat(reads, comes)), first.eq(Cat(group == 0, first))]
        m.d.comb += [
            *(self.address.eq(Cat(group, select)), self.codes.eq(registered(m, of_group))),
            *(self.adds.eq(comes[-1]), self.first.eq(first[-1])),
        ]
        return m

    def _codes(self, m: Module) -> Value:
        """What each row contributes, 0 on those that fill the last group: what is on it, or the
        sum of its pulses."""
        shape, dac, code = self.shape, self.shape.description.dac, _code(self.shape)
        none = Const(0, (self.groups * self.at_once - shape.rows) * code.width)
        if dac.kind != "pulse-width":
            return Cat(self.rows, none)
        driven = data.View(data.ArrayLayout(signed(dac.drive_width), shape.rows), self.rows)
        counts = data.View(
            data.ArrayLayout(code, shape.rows),
            Signal(shape.rows * code.width, name="counts", reset_less=True),
        )
        left = Signal(range(dac.pulse_cycles + 1))
        m.d.sync += left.eq(Mux(self.sample, dac.pulse_cycles, Mux(left == 0, 0, left - 1)))
        with m.If(left != 0):
            for pulse, count in zip(driven, counts, strict=True):
                so_far = Mux(left == dac.pulse_cycles, 0, count)
                m.d.sync += count.eq(so_far + pulse)
        return Cat(counts, none)


class SerialColumns(wiring.Component):
    """The columns of a lane where the model is staged: a group of rows a cycle, out of a memory as
    wide as a group, and registers after every four terms of a sum. Made for an FPGA, whose
    memories are narrow and deep.

    groups: what leads it. address, codes, adds, first: of that. write, ...: as of
    `columns_signature`. charge: the column's after its last group; it stays until the next
    sample's first one.
    """

    led = ("address", "codes", "adds", "first")

    def __init__(self, shape: ArrayShape, groups: RowGroups) -> None:
        self.shape, self.groups = shape, groups
        own = ("write", "write_select", "write_row", "write_cell", "charge")
        signature = columns_signature(shape)
        super().__init__(
            {name: groups.signature.members[name].flip() for name in self.led}
            | {name: signature.members[name] for name in own}
        )

    def elaborate(self, platform: object) -> Module:
        """Cycle k: address of a group. k + 1: its cells are read. k + 2: differences. k + 3: first
        terms. A register is in between each; the sum of all groups is the last."""
        m = Module()
        at_once, code = self.groups.at_once, _code(self.shape)
        column = data.View(data.ArrayLayout(cell_layout(self.shape), at_once), self._read(m))
        here = Signal.like(self.codes, reset_less=True, attrs={REPLICATED: 1})
        m.d.sync += here.eq(self.codes)
        codes = data.View(data.ArrayLayout(code, at_once), here)
        terms = []
        for row in range(at_once):
            weight = registered(m, column[row].positive - column[row].negative)
            terms += by_bits(codes[row], weight)
        total = registered_sum(m, terms)
        charge = Signal.like(self.charge, reset_less=True)
        with m.If(self.adds):
            m.d.sync += charge.eq(Mux(self.first, 0, charge) + total)
        m.d.comb += self.charge.eq(charge)
        return m

    def _read(self, m: Module) -> Signal:
        """The cells of a group, two cycles after its address."""
        shape, cell, at_once = self.shape, cell_layout(self.shape), self.groups.at_once
        group_bits = self.groups.group_bits
        m.submodules.cells = cells = loaded_memory(
            unsigned(at_once * cell.size), max(2, shape.selects) << group_bits
        )
        write, read = cells.write_port(granularity=cell.size), cells.read_port()
        within = (at_once - 1).bit_length()
        m.d.comb += [
            write.addr.eq(Cat((self.write_row >> within)[:group_bits], self.write_select)),
            write.data.eq(self.write_cell.as_value().replicate(at_once)),
            read.addr.eq(self.address),  # always: an enable would have far to go
        ]
        with m.If(self.write):
            m.d.comb += write.en.eq(Const(1, at_once) << self.write_row[:within])
        return registered(m, read.data)
