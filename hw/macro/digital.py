"""Digital view of the crossbar macro: weights in memory, multiply-accumulate in logic.

It is the baseline for comparison with the analog macro (docs/efficiency.md).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring

from golden.description import Description
from golden.errors import WordlineError
from golden.geometry import ArrayShape
from golden.ranges import ceil_div, index_bits
from hw import timing
from hw.fixed import half_up, tree_sum
from hw.macro.interface import compare, macro_signature
from hw.ports import loaded_memory


def check(description: Description) -> None:
    """Raise WordlineError for a pulse-width DAC, whose codes are never on the rows as a whole."""
    if description.dac.kind == "pulse-width":
        raise WordlineError(
            "dac.kind = 'pulse-width' has no digital array, which needs all of a code at once; "
            "write 'level' or 'bit-serial'."
        )


class DigitalArray(wiring.Component):
    """Digital array with the ports and the timing of the crossbar macro (docs/macro.md).

    Each lane has a memory of its weights g+ - g-, as wide as a group of rows. There are as many
    groups as `settle` has cycles for, which takes the fewest multipliers. A group of rows is held
    while it is multiplied, so that other changes on the rows do not ripple through the multipliers.
    The logic around the array may have either pipeline. The array has no errors, so it ignores
    `parameters`.

    Latency: `hw.timing.settle` cycles from a sample to its comparison.
    Throughput: one sample every `hw.timing.settle` cycles.

    Raises WordlineError for a pulse-width DAC, whose codes are never on the rows as a whole.
    """

    def __init__(self, shape: ArrayShape) -> None:
        check(shape.description)
        self.shape = shape
        self.at_once = ceil_div(shape.rows, min(shape.rows, timing.settle(shape) - 2))
        self.groups = ceil_div(shape.rows, self.at_once)
        super().__init__(macro_signature(shape))

    def elaborate(self, platform: object) -> Module:
        """Cycle n: sample, read the first group. n + settle - 1: gain, hold.

        n + 1 to n + groups: sum a group, read the next one.
        """
        m = Module()
        shape = self.shape
        taken = Signal(timing.settle(shape) - 1)  # bit k: a sample was taken k + 1 cycles ago
        gain, select = (Signal.like(signal, reset_less=True) for signal in (self.gain, self.select))
        m.d.sync += taken.eq((taken << 1) | self.sample)
        with m.If(self.sample):
            m.d.sync += [gain.eq(self.gain), select.eq(self.select)]
        read_group = Signal(index_bits(self.groups))
        for n in range(1, self.groups):
            with m.If(taken[n - 1]):
                m.d.comb += read_group.eq(n)
        reads: Value = self.sample
        if self.groups > 1:
            reads |= taken[: self.groups - 1].any()
        place = Cat(Mux(self.sample, self.select, select), read_group)

        m.d.comb += self.program.ready.eq(1)
        rows = self._rows(m, read_group, reads)
        for lane in range(shape.lanes):
            weights = self._weights(m, lane, place, reads)
            total = tree_sum([weight * row for weight, row in zip(weights, rows, strict=True)])
            charge = Signal(signed(shape.charge_max.bit_length() + 1), name=f"charge_{lane}")
            with m.If(taken[: self.groups].any()):
                m.d.sync += charge.eq(Mux(taken[0], 0, charge) + total)
            converted = half_up(charge * gain, shape.adc_shift)
            lsbs = Signal(converted.shape(), name=f"lsbs_{lane}")
            with m.If(taken[-1]):
                m.d.sync += lsbs.eq(converted)
            m.d.comb += self.above[lane].eq(compare(self, lane, lsbs))
        return m

    def _rows(self, m: Module, group: Signal, reads: Value) -> list[Signal]:
        """Values on the rows of a group, held from one read to the next.

        Rows that pad the last group are 0.
        """
        code = self.rows[0].shape()
        found = []
        for place in range(self.at_once):
            row, chosen = (Signal(code, name=f"{name}_{place}") for name in ("row", "chosen"))
            with m.Switch(group):
                for n, number in enumerate(range(place, self.shape.rows, self.at_once)):
                    with m.Case(n):
                        m.d.comb += chosen.eq(self.rows[number])
            with m.If(reads):
                m.d.sync += row.eq(chosen)
            found.append(row)
        return found

    def _weights(self, m: Module, lane: int, place: Value, reads: Value) -> list[Value]:
        """Weights of a lane's column for a group of rows, one cycle after `place`."""
        shape, program, at_once = self.shape, self.program.payload, self.at_once
        weight = program.positive - program.negative
        bits = len(weight)
        depth = self.groups << len(self.select)
        memory = m.submodules[f"weights_{lane}"] = loaded_memory(at_once * bits, depth)
        write, read = memory.write_port(granularity=bits), memory.read_port()
        here = self.program.valid & self.program.ready & (program.lane == lane)
        group = Signal(index_bits(self.groups), name=f"write_group_{lane}")
        m.d.comb += [
            read.addr.eq(place),
            read.en.eq(reads),
            write.addr.eq(Cat(program.select, group)),
            write.data.eq(weight.as_unsigned().replicate(at_once)),
        ]
        with m.Switch(program.row):
            for row in range(shape.rows):
                with m.Case(row):
                    m.d.comb += group.eq(row // at_once)
                    with m.If(here):
                        m.d.comb += write.en.eq(Const(1 << row % at_once, at_once))
        return [read.data[n * bits : (n + 1) * bits].as_signed() for n in range(at_once)]
