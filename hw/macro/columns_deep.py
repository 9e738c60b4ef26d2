"""Columns of the crossbar model in the deep pipeline: one group of rows per cycle."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from golden.geometry import ArrayShape
from golden.ranges import ceil_div, index_bits
from hw.fixed import by_bits, registered, registered_sum
from hw.macro.columns import cell_layout, columns_signature, row_code
from hw.ports import loaded_memory

REPLICATED = "replicated"
"""Attribute of a register with equal copies, each near its loads: do not merge them."""

AROUND = 10
"""Cycles of `array.settle` outside the serial sum: to the cells, and from charge to sample."""


def rows_at_once(shape: ArrayShape) -> int:
    """Rows of a group, which are summed in one cycle.

    It is the smallest power of two with which all groups fit into the settling time of a sample.
    """
    rows, bits = 1, row_code(shape).width
    while ceil_div(shape.rows, rows) + sum_cycles(rows * bits) + AROUND > (
        shape.description.array.settle
    ):
        rows *= 2
        assert rows < 2 * shape.rows, "DEEP_SETTLE leaves time for all rows at once"
    return rows


def sum_cycles(terms: int) -> int:
    """Cycles of a sum of `terms` terms that adds four terms per cycle."""
    return ceil_div((terms - 1).bit_length(), 2)


class RowGroups(wiring.Component):
    """Steps the columns of all lanes, which sample together, through groups of rows, one per cycle.

    A group has `rows_at_once` rows.

    sample, select, rows (in): see `columns_signature`.
    address (out): address of the cells of a column's group.
    codes (out): values on the rows of the group, 2 cycles after its address. Rows that pad the last
        group are 0.
    adds (out): strobe: the sum of a group is valid, `depth` cycles after its address.
    first (out): with `adds`: the group is the first of its column.

    Latency: `latency` cycles from a sample to its charge.
    Throughput: one group every cycle.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape, self.at_once = shape, rows_at_once(shape)
        self.groups = ceil_div(shape.rows, self.at_once)
        self.group_bits = (self.groups - 1).bit_length()
        terms = self.at_once * row_code(shape).width
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
        """Cycles from a sample to its charge, at most `hw.timing.settle` - 6.

        The other 6 are the register of the sample, four more stages and the register that holds it.
        """
        return self.shape.description.dac.pulse_cycles + self.groups + self.depth

    def elaborate(self, platform: object) -> Module:
        """A counter of cycles, a counter of groups, and their delayed strobes."""
        m = Module()
        cycles = self.shape.description.dac.pulse_cycles
        left = Signal(range(cycles + self.groups))
        group = Signal(self.group_bits)
        reads = Signal()  # read the cells of a group
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
        comes = Signal(self.depth)
        first = Signal(self.depth)
        m.d.sync += [comes.eq(Cat(reads, comes)), first.eq(Cat(group == 0, first))]
        m.d.comb += [
            *(self.address.eq(Cat(group, select)), self.codes.eq(registered(m, of_group))),
            *(self.adds.eq(comes[-1]), self.first.eq(first[-1])),
        ]
        return m

    def _codes(self, m: Module) -> Value:
        """Contribution of each row: the value on it, or the sum of its pulses.

        Rows that pad the last group contribute 0.
        """
        shape, dac, code = self.shape, self.shape.description.dac, row_code(self.shape)
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
    """Columns of a lane, one group of rows per cycle, for an FPGA.

    The memory is as wide as a group, since an FPGA's memories are narrow and deep. A register
    follows every four terms of a sum.

    groups: The `RowGroups` that drives it.
    address, codes, adds, first (in): ports of `RowGroups`.
    write, write_select, write_row, write_cell (in): see `columns_signature`.
    charge (out): charge of the column after its last group. It is stable until the first group of
        the next sample.

    Latency, throughput: those of `RowGroups`.
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
        """Cycle k: address of a group. k + 1: its cells. k + 2: differences. k + 3: first terms.

        A register separates each from the next. The last register accumulates the groups' sums.
        """
        m = Module()
        at_once, code = self.groups.at_once, row_code(self.shape)
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
        """Cells of a group, two cycles after its address."""
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
            read.addr.eq(self.address),  # no read enable: its route would be long
        ]
        with m.If(self.write):
            m.d.comb += write.en.eq(Const(1, at_once) << self.write_row[:within])
        return registered(m, read.data)
