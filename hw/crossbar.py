"""The crossbar macro: one port list (docs/macro.md) and its behavioural model."""

from amaranth.hdl import (
    ClockSignal,
    Const,
    Instance,
    Module,
    ResetSignal,
    Signal,
    Value,
    signed,
    unsigned,
)
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.description import ArrayShape
from golden.fixed import index_bits
from hw.fixed import half_up


def program_layout(shape: ArrayShape) -> data.StructLayout:
    """One cell to program: its place and the conductance codes of its two devices."""
    code = unsigned(shape.description.device.conductance_bits)
    return data.StructLayout(
        {
            "positive": code,
            "negative": code,
            "lane": unsigned(index_bits(shape.lanes)),
            "select": unsigned(index_bits(shape.selects)),
            "row": unsigned(index_bits(shape.rows)),
        }
    )


def macro_signature(shape: ArrayShape) -> wiring.Signature:
    """The port list of the macro, as the macro sees it.

    rows:    DAC codes on the rows.
    sample:  in the cycle it is high, take the charge of column `select` of every lane.
    select:  position of every lane's column multiplexer.
    gain:    gain of the sample, 1 and up.
    trial:   code that each lane's comparator compares with.
    above:   a bit a lane: the sample, in LSBs and rounded half-up, is >= `trial`.
    program: cells to write, one each transfer.
    """
    description = shape.description
    return wiring.Signature(
        {
            "rows": In(data.ArrayLayout(signed(description.dac.width), shape.rows)),
            "sample": In(1),
            "select": In(index_bits(shape.selects)),
            "gain": In(description.adc.gain_bits),
            "trial": In(data.ArrayLayout(signed(description.adc.bits), shape.lanes)),
            "above": Out(shape.lanes),
            "program": In(stream.Signature(program_layout(shape))),
        }
    )


class CrossbarModel(wiring.Component):
    """Behavioural, synthesisable model of the macro: cells in memory, charge by multiply-add.

    A sample taken in cycle n is compared from cycle n + settle on, until the next one gets
    there; a sample may be taken every `settle` cycles. Rows are to be stable from the sample's
    cycle to n + settle - 1. A transfer on `program` takes one cycle, never while sampling.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        super().__init__(macro_signature(shape))

    def elaborate(self, platform: object) -> Module:
        """Cycle n: sample, read the column. n + 1: sum. n + settle - 1: gain, hold."""
        m = Module()
        shape, description = self.shape, self.shape.description

        taken = Signal(description.array.settle - 1)  # bit k: a sample, k + 1 cycles ago
        m.d.sync += taken.eq((taken << 1) | self.sample)
        gain = Signal(description.adc.gain_bits)
        with m.If(self.sample):
            m.d.sync += gain.eq(self.gain)

        m.d.comb += self.program.ready.eq(1)
        for lane in range(shape.lanes):
            column = self._column(m, lane)
            terms = [
                self.rows[row] * (column[row].positive - column[row].negative)
                for row in range(shape.rows)
            ]
            total = _tree_sum(terms)
            charge = Signal(total.shape(), name=f"charge_{lane}")
            m.d.sync += charge.eq(total)
            held = Signal((charge * gain).shape(), name=f"held_{lane}")
            with m.If(taken[-1]):
                m.d.sync += held.eq(charge * gain)
            m.d.comb += self.above[lane].eq(half_up(held, shape.adc_shift) >= self.trial[lane])
        return m

    def _column(self, m: Module, lane: int) -> data.View:
        """The cells of the column that `select` chose in the cycle before."""
        shape, bits = self.shape, self.shape.description.device.conductance_bits
        cell = data.StructLayout({"positive": bits, "negative": bits})
        cells = memory.Memory(
            shape=unsigned(shape.rows * cell.size), depth=max(2, shape.selects), init=[]
        )
        m.submodules[f"cells_{lane}"] = cells
        write = cells.write_port(granularity=cell.size)
        program = self.program.payload
        value = Signal(cell)
        m.d.comb += [
            value.positive.eq(program.positive),
            value.negative.eq(program.negative),
            write.addr.eq(program.select),
            write.data.eq(value.as_value().replicate(shape.rows)),
        ]
        with m.If(self.program.valid & self.program.ready & (program.lane == lane)):
            m.d.comb += write.en.eq(Const(1, shape.rows) << program.row)
        read = cells.read_port()
        m.d.comb += [read.addr.eq(self.select), read.en.eq(self.sample)]
        return data.View(data.ArrayLayout(cell, shape.rows), read.data)


class CrossbarStub(wiring.Component):
    """The macro's port list, clock and reset too, with nothing behind it."""

    def __init__(self, shape: ArrayShape) -> None:
        super().__init__({"clk": In(1), "rst": In(1), **macro_signature(shape).members})

    def elaborate(self, platform: object) -> Module:
        """Empty."""
        return Module()


class CrossbarMacro(wiring.Component):
    """The macro as a black box: an instance of the Verilog module `module`, which has the
    ports of `macro_signature` (`program__payload`, ...), `clk` and `rst`."""

    def __init__(self, shape: ArrayShape, module: str) -> None:
        self.shape, self.module = shape, module
        super().__init__(macro_signature(shape))

    def elaborate(self, platform: object) -> Module:
        """Nothing but the instance."""
        m = Module()
        ports: dict[str, Value] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, port in self.signature.flatten(self):
            direction = "i" if member.flow == In else "o"
            ports[f"{direction}_{'__'.join(map(str, path))}"] = Value.cast(port)
        m.submodules.macro = Instance(self.module, **ports)
        return m


def _tree_sum(terms: list[Value]) -> Value:
    """Sum as a balanced tree: depth log2, and each level just as wide as it must be."""
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]
