"""LSTM gate pipeline: from the ADC codes of i, f, g, o to c and h."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.description import ArrayShape
from golden.fixed import ceil_div, index_bits
from hw.adc import codes_layout
from hw.fixed import narrow
from hw.ports import WritePort, vector_stream


class LstmGates(wiring.Component):
    """The cell: bias, tables, c, h, for `shape.units_per_beat` units in each cycle.

    `i`: ADC codes, i, f, g, o of a block of `lanes` units in four beats; but for the first of a
    sequence, a step begins when the h of the one before has gone out. `o`: h as DAC codes, a
    vector a step. `bias`, `gate_tables`, `tanh_table`: loaded while no step is under way;
    addresses are (gate, place in the beat, beat), (gate, index) and (index), high bits first,
    an index in two's complement.
    `trace`: in a cycle with `trace_valid`, what the units of a transfer on `o` computed; for
    observation only.
    Latency: 7 cycles from a block's last beat to its first h. Throughput: a beat of h a cycle.
    """

    latency = 7

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        description, cell = shape.description, shape.description.cell
        self.words = ceil_div(shape.units, shape.units_per_beat)
        bias_address = index_bits(shape.gates) + self._place_bits + index_bits(self.words)
        table_address = index_bits(shape.gates) + description.index_bits
        super().__init__(
            {
                "i": In(stream.Signature(codes_layout(shape))),
                "o": Out(vector_stream(shape.units_per_beat, description)),
                "bias": In(WritePort(bias_address, description.index_bits)),
                "gate_tables": In(WritePort(table_address, cell.gate_bits + 1)),
                "tanh_table": In(WritePort(cell.state_index_bits, cell.hidden_bits)),
                "trace": Out(trace_layout(shape)),
                "trace_valid": Out(1),
            }
        )

    @property
    def _place_bits(self) -> int:
        """Bits that tell the units of a beat apart."""
        return (self.shape.units_per_beat - 1).bit_length()

    def elaborate(self, platform: object) -> Module:
        """One comment a stage; every stage moves when `advance` is high."""
        m = Module()
        shape, description = self.shape, self.shape.description
        cell, places = description.cell, range(shape.units_per_beat)
        advance = Signal()
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)

        # Stage 0: the codes of `units_per_beat` units, out of the block that came in.
        valid, codes, word, first, last = self._unpack(m, advance)
        bias = self._bias(m, word, advance)
        carried = [valid, codes, word, first, last]

        # Stage 1: a = saturate((code << frac) + bias), and on to the tables.
        valid, codes, word, first, last = carried = _stage(m, advance, carried)
        gate_ports, tanh_ports = self._tables(m, advance)
        for gate in range(shape.gates):
            for place in places:
                a = (codes[gate][place] << cell.frac) + bias[gate][place]
                index = narrow(a, 0, description.index_range)
                m.d.comb += gate_ports[gate][place].addr.eq(index.as_unsigned())
        c_write, c_read = self._state(m, word, advance)

        # Stage 2: i, f, g, o and the c before; products.
        valid, codes, word, first, last = carried = _stage(m, advance, carried)
        fc, ig, o = [], [], []
        for place in places:
            i_, f_, g_, o_ = (gate_ports[gate][place].data for gate in range(shape.gates))
            before = Signal(signed(cell.state_bits), name=f"before_{place}")
            m.d.comb += before.eq(Mux(first, 0, c_read[place]))
            fc.append(f_[: cell.gate_bits] * before)
            ig.append(i_[: cell.gate_bits] * g_.as_signed())
            o.append(o_[: cell.gate_bits])

        # Stage 3: c = saturate(half_up((f * c + i * g) >> n)).
        valid, codes, word, first, last, fc, ig, o = carried = _stage(
            m, advance, [*carried, fc, ig, o]
        )
        c = [narrow(a + b, cell.gate_bits, cell.state_range) for a, b in zip(fc, ig, strict=True)]
        m.d.comb += [c_write.addr.eq(word), c_write.en.eq(valid & advance)]
        m.d.comb += [c_write.data[place].eq(c[place]) for place in places]

        # Stage 4: the upper bits of c, and on to the table of tanh.
        valid, codes, last, o, c = carried = _stage(m, advance, [valid, codes, last, o, c])
        for place in places:
            upper = narrow(c[place], cell.state_index_shift, cell.state_index_range)
            m.d.comb += tanh_ports[place].addr.eq(upper.as_unsigned())

        # Stage 5: o * tanh(c).
        valid, codes, last, o, c = _stage(m, advance, carried)
        product = [o[place] * tanh_ports[place].data for place in places]

        # Stage 6: h as a DAC code.
        valid, codes, last, c, product = _stage(m, advance, [valid, codes, last, c, product])
        m.d.comb += [self.o.valid.eq(valid), self.o.payload.last.eq(last)]
        for place in places:
            h = self.o.payload.codes[place]
            m.d.comb += h.eq(_dac_code(product[place], shape))
            m.d.comb += [self.trace.c[place].eq(c[place]), self.trace.h[place].eq(h)]
            for gate in range(shape.gates):
                m.d.comb += self.trace.codes[gate][place].eq(codes[gate][place])
        m.d.comb += self.trace_valid.eq(valid & self.o.ready)
        return m

    def _unpack(self, m: Module, advance: Signal) -> list[Any]:
        """Gather the gates' beats of a block, then give out `units_per_beat` units a cycle.

        Returns valid, codes[gate][place], the word (beat of the step), first and last.
        """
        shape = self.shape
        beat = self.i.payload
        taken = Signal()
        m.d.comb += taken.eq(self.i.valid & self.i.ready)

        # Beats of all gates but the last wait here for that one.
        waiting = [Signal.like(beat.codes, name=f"waiting_{g}") for g in range(shape.gates - 1)]
        gate = Signal(index_bits(shape.gates))
        complete = Signal()
        m.d.comb += complete.eq(taken & (gate == shape.gates - 1))
        with m.If(taken):
            m.d.sync += gate.eq(Mux(complete, 0, gate + 1))
        for number, codes in enumerate(waiting):
            with m.If(taken & (gate == number)):
                m.d.sync += codes.eq(beat.codes)

        # The block that is given out moves down by `units_per_beat` places a cycle.
        block = [Signal.like(beat.codes, name=f"block_{g}") for g in range(shape.gates)]
        first, last, valid, ends = Signal(), Signal(), Signal(), Signal()
        beats = shape.lanes // shape.units_per_beat
        position = Signal(index_bits(beats))
        word = Signal(index_bits(self.words))
        m.d.comb += ends.eq((position == beats - 1) | (word == self.words - 1))
        m.d.comb += self.i.ready.eq((gate != shape.gates - 1) | ~valid | (ends & advance))
        with m.If(valid & advance):
            m.d.sync += word.eq(Mux(word == self.words - 1, 0, word + 1))
            m.d.sync += position.eq(Mux(ends, 0, position + 1))
            m.d.sync += valid.eq(~ends)
            step = shape.units_per_beat * shape.description.adc.bits
            for codes in block:
                m.d.sync += codes.as_value().eq(codes.as_value() >> step)
        with m.If(complete):
            m.d.sync += [valid.eq(1), first.eq(beat.first), last.eq(beat.last)]
            for codes, source in zip(block, [*waiting, beat.codes], strict=True):
                m.d.sync += codes.eq(source)
        codes = [[block[g][p] for p in range(shape.units_per_beat)] for g in range(shape.gates)]
        return [valid, codes, word, first, last]

    def _bias(self, m: Module, word: Signal, advance: Signal) -> list[list[Value]]:
        """Biases [gate][place] of the word, a stage later."""
        shape, bits = self.shape, self.shape.description.index_bits
        places = shape.units_per_beat
        banks = shape.gates * places
        m.submodules.bias_memory = mem = memory.Memory(
            shape=unsigned(banks * bits), depth=max(2, self.words), init=[]
        )
        write, read = mem.write_port(granularity=bits), mem.read_port()
        split = index_bits(self.words)
        m.d.comb += [
            write.addr.eq(self.bias.address[:split]),
            write.data.eq(self.bias.data.replicate(banks)),
            read.addr.eq(word),
            read.en.eq(advance),
        ]
        target = self.bias.address[split:]  # gate, then place
        for gate in range(shape.gates):
            for place in range(places):
                here = target == ((gate << self._place_bits) | place)
                m.d.comb += write.en[gate * places + place].eq(self.bias.enable & here)
        words = data.View(data.ArrayLayout(signed(bits), banks), read.data)
        return [[words[gate * places + p] for p in range(places)] for gate in range(shape.gates)]

    def _tables(self, m: Module, advance: Signal) -> tuple[list[list[Any]], list[Any]]:
        """Read ports [gate][place] of the gate tables, and [place] of the tanh table."""
        description, cell = self.shape.description, self.shape.description.cell
        places = range(self.shape.units_per_beat)

        def ports(mem: memory.Memory) -> list[Any]:
            reads = [mem.read_port() for _ in places]
            m.d.comb += [read.en.eq(advance) for read in reads]
            return reads

        split = description.index_bits
        gate_ports = []
        for number, gate in enumerate(cell.gates):
            mem = memory.Memory(shape=unsigned(cell.gate_bits + 1), depth=2**split, init=[])
            m.submodules[f"table_{gate}"] = mem
            write = mem.write_port()
            m.d.comb += [
                write.addr.eq(self.gate_tables.address[:split]),
                write.data.eq(self.gate_tables.data),
                write.en.eq(self.gate_tables.enable & (self.gate_tables.address[split:] == number)),
            ]
            gate_ports.append(ports(mem))
        m.submodules.table_tanh = mem = memory.Memory(
            shape=signed(cell.hidden_bits), depth=2**cell.state_index_bits, init=[]
        )
        write = mem.write_port()
        m.d.comb += [
            write.addr.eq(self.tanh_table.address),
            write.data.eq(self.tanh_table.data.as_signed()),
            write.en.eq(self.tanh_table.enable),
        ]
        return gate_ports, ports(mem)

    def _state(self, m: Module, word: Signal, advance: Signal) -> tuple[Any, Any]:
        """The memory of c: its write port, and the [place] views of the word, a stage later."""
        layout = data.ArrayLayout(
            signed(self.shape.description.cell.state_bits), self.shape.units_per_beat
        )
        m.submodules.state = mem = memory.Memory(shape=layout, depth=max(2, self.words), init=[])
        read = mem.read_port()
        m.d.comb += [read.addr.eq(word), read.en.eq(advance)]
        return mem.write_port(), read.data


def trace_layout(shape: ArrayShape) -> data.StructLayout:
    """What the pipeline computed for the units of one beat; units in order, steps in order."""
    description, places = shape.description, shape.units_per_beat
    codes = data.ArrayLayout(signed(description.adc.bits), places)
    return data.StructLayout(
        {
            "codes": data.ArrayLayout(codes, shape.gates),
            "c": data.ArrayLayout(signed(description.cell.state_bits), places),
            "h": data.ArrayLayout(signed(description.dac.width), places),
        }
    )


def _dac_code(product: Value, shape: ArrayShape) -> Value:
    """The DAC code of o * tanh(c)."""
    description = shape.description
    if description.dac.bits == 1:
        return Mux(product >= 0, 1, -1)
    return narrow(product, description.hidden_shift, description.dac.range)


def _stage(m: Module, advance: Signal, values: list[Any]) -> list[Any]:
    """Registers for a (nested) list of values, taken when `advance` is high; the first is the
    stage's valid bit."""

    def register(value: Any) -> Any:
        if isinstance(value, list):
            return [register(item) for item in value]
        value = Value.cast(value)
        held = Signal(value.shape())
        with m.If(advance):
            m.d.sync += held.eq(value)
        return held

    return [register(value) for value in values]
