"""The gate pipeline that every cell is built on: from ADC codes to entries of the gates' tables."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.geometry import ArrayShape
from golden.ranges import ceil_div, index_bits
from hw import timing
from hw.adc import codes_layout
from hw.fixed import narrow
from hw.ports import loaded_memory, vector_stream
from hw.regions import Region


class GatePipeline(wiring.Component):
    """What the cells share, for `shape.units_per_beat` units in each cycle; a cell adds the rest.

    `i`: ADC codes, the gates of a block of `lanes` units in a beat each; but for the first of a
    sequence, a step begins when the h of the one before has gone out. `o`: h as DAC codes, a
    vector a step. `bias`, `gate_tables` and the cell's own tables: loaded while no step is under
    way; addresses are (gate, place in the beat, beat) and (gate, index), high bits first, an index
    in two's complement.
    `trace`: in a cycle with `trace_valid`, what the units of a transfer on `o` computed; for
    observation only.
    Latency: `latency` cycles from a block's last beat to its first h. Throughput: a beat of h a
    cycle.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        description = shape.description
        self.latency = timing.gate_latency(shape)
        self.words = ceil_div(shape.units, timing.units_per_beat(shape))
        loaded = {region.name: In(region.port) for region in self.regions(shape)}
        self.loaded = tuple(loaded)  # names of the ports that are written to
        super().__init__(
            {
                "i": In(stream.Signature(codes_layout(shape))),
                "o": Out(vector_stream(timing.units_per_beat(shape), description)),
                **loaded,
                "trace": Out(trace_layout(shape)),
                "trace_valid": Out(1),
            }
        )

    @staticmethod
    def regions(shape: ArrayShape) -> tuple[Region, ...]:
        """Of `bias`, `gate_tables` and the cell's own tables."""
        cell, units = shape.description.cell, timing.units_per_beat(shape)
        gate = ("gate", index_bits(shape.gates))
        word, place = (
            ("word", index_bits(ceil_div(shape.units, units))),
            ("place", place_bits(units)),
        )
        own = (
            Region(
                name=table.name,
                fields=(("index", table.index.bits),),
                data=(("entry", table.entries.bits),),
            )
            for table in cell.tables
        )
        return (
            Region(name="bias", fields=(word, place, gate), data=(("bias", shape.index_bits),)),
            Region(
                name="gate_tables",
                fields=(("index", shape.index_bits), gate),
                data=(("entry", cell.table_bits),),
            ),
            *own,
        )

    def _front(self, m: Module, advance: Signal) -> tuple[list[Any], list[list[Any]]]:
        """Stages 0 and 1, which every cell begins with; a stage moves when `advance` is high.

        Returns valid, codes[gate][place], word (beat of the step), first and last of stage 1, and
        what [gate][place] the gates' tables hold, which is of stage 2.
        """
        description = self.shape.description
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)

        # Stage 0: the codes of `units_per_beat` units, out of the block that came in.
        valid, codes, word, first, last = self._unpack(m, advance)
        bias = self._bias(m, word, advance & valid)

        # Stage 1: a = saturate((code << frac) + bias), and on to the tables.
        carried = stage(m, advance, [valid, codes, word, first, last])
        _, codes, *_ = carried
        a = [
            [code.shift_left(description.cell.frac) + own for code, own in zip(*gate, strict=True)]
            for gate in zip(codes, bias, strict=True)
        ]
        carried, a = self._apart(m, advance, carried, a)
        tables = self._gate_tables(m, advance & carried[0])
        for ports, values in zip(tables, a, strict=True):
            for port, value in zip(ports, values, strict=True):
                index = narrow(value, 0, self.shape.index_range)
                m.d.comb += port.addr.eq(index.as_unsigned())
        found = [[port.data for port in ports] for ports in tables]
        return self._apart(m, advance, carried, found, read=True)

    def _apart(
        self,
        m: Module,
        advance: Signal,
        carried: list[Any],
        found: list[Any],
        *,
        read: bool = False,
    ) -> tuple[list[Any], list[Any]]:
        """What a stage carries and what it has found; a stage later in the deep pipeline, which
        keeps tables, which are slow, apart from what is around them. read: it was found in a
        table, so it is there a stage after what is carried."""
        if not self.shape.deep:
            return carried, found
        later = stage(m, advance, carried)
        valid = later[0] if read else carried[0]
        return later, _taken(m, advance & valid, found)

    def _back(
        self, m: Module, valid: Value, last: Value, codes: Any, h: list[Value], **traced: Any
    ) -> None:
        """The last stage: h goes out, and what was computed is traced."""
        m.d.comb += [
            self.o.valid.eq(valid),
            self.o.payload.last.eq(last),
            self.trace_valid.eq(valid & self.o.ready),
        ]
        for place in range(timing.units_per_beat(self.shape)):
            m.d.comb += self.o.payload.codes[place].eq(h[place])
            m.d.comb += self.trace.h[place].eq(self.o.payload.codes[place])
            m.d.comb += [self.trace[name][place].eq(v[place]) for name, v in traced.items()]
            for gate in range(self.shape.gates):
                m.d.comb += self.trace.codes[gate][place].eq(codes[gate][place])

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
        beats = shape.lanes // timing.units_per_beat(shape)
        position = Signal(index_bits(beats))
        word = Signal(index_bits(self.words))
        m.d.comb += ends.eq((position == beats - 1) | (word == self.words - 1))
        m.d.comb += self.i.ready.eq((gate != shape.gates - 1) | ~valid | (ends & advance))
        with m.If(valid & advance):
            m.d.sync += word.eq(Mux(word == self.words - 1, 0, word + 1))
            m.d.sync += position.eq(Mux(ends, 0, position + 1))
            m.d.sync += valid.eq(~ends)
            step = timing.units_per_beat(shape) * shape.code_bits
            for codes in block:
                m.d.sync += codes.as_value().eq(codes.as_value() >> step)
        with m.If(complete):
            m.d.sync += [valid.eq(1), first.eq(beat.first), last.eq(beat.last)]
            for codes, source in zip(block, [*waiting, beat.codes], strict=True):
                m.d.sync += codes.eq(source)
        codes = [
            [block[g][p] for p in range(timing.units_per_beat(shape))] for g in range(shape.gates)
        ]
        return [valid, codes, word, first, last]

    def _bias(self, m: Module, word: Signal, reads: Value) -> list[list[Value]]:
        """Biases [gate][place] of the word, a stage later."""
        shape, bits = self.shape, self.shape.index_bits
        places = timing.units_per_beat(shape)
        banks = shape.gates * places
        mem = loaded_memory(unsigned(banks * bits), max(2, self.words))
        m.submodules.bias_memory = mem
        write, read = mem.write_port(granularity=bits), mem.read_port()
        split = index_bits(self.words)
        m.d.comb += [
            write.addr.eq(self.bias.address[:split]),
            write.data.eq(self.bias.data.replicate(banks)),
            read.addr.eq(word),
            read.en.eq(reads),
        ]
        target = self.bias.address[split:]  # gate, then place
        for gate in range(shape.gates):
            for place in range(places):
                here = target == ((gate << place_bits(places)) | place)
                m.d.comb += write.en[gate * places + place].eq(self.bias.enable & here)
        words = data.View(data.ArrayLayout(signed(bits), banks), read.data)
        return [[words[gate * places + p] for p in range(places)] for gate in range(shape.gates)]

    def _gate_tables(self, m: Module, reads: Value) -> list[list[Any]]:
        """Read ports [gate][place] of the gates' tables."""
        cell, split = self.shape.description.cell, self.shape.index_bits
        ports = []
        for number, gate in enumerate(cell.gates):
            mem = loaded_memory(unsigned(cell.table_bits), 2**split)
            m.submodules[f"table_{gate}"] = mem
            write = mem.write_port()
            m.d.comb += [
                write.addr.eq(self.gate_tables.address[:split]),
                write.data.eq(self.gate_tables.data),
                write.en.eq(self.gate_tables.enable & (self.gate_tables.address[split:] == number)),
            ]
            ports.append(self._ports(m, mem, reads))
        return ports

    def _cell_table(self, m: Module, name: str, reads: Value) -> list[Any]:
        """Read ports [place] of one of the cell's own tables."""
        (table,) = (table for table in self.shape.description.cell.tables if table.name == name)
        mem = loaded_memory(signed(table.entries.bits), table.index.size)
        m.submodules[f"table_{name.removesuffix('_table')}"] = mem
        loads, write = getattr(self, name), mem.write_port()
        m.d.comb += [
            write.addr.eq(loads.address),
            write.data.eq(loads.data.as_signed()),
            write.en.eq(loads.enable),
        ]
        return self._ports(m, mem, reads)

    def _state(self, m: Module, word: Signal, reads: Value) -> tuple[Any, Any]:
        """The memory of c: its write port, and the [place] views of the word, a stage later."""
        range_ = self.shape.description.cell.state_range
        assert range_ is not None
        layout = data.ArrayLayout(signed(range_.bits), timing.units_per_beat(self.shape))
        m.submodules.state = mem = memory.Memory(shape=layout, depth=max(2, self.words), init=[])
        read = mem.read_port()
        m.d.comb += [read.addr.eq(word), read.en.eq(reads)]
        return mem.write_port(), read.data

    def _ports(self, m: Module, mem: memory.Memory, reads: Value) -> list[Any]:
        """A read port [place] of a table."""
        ports = [mem.read_port() for _ in range(timing.units_per_beat(self.shape))]
        m.d.comb += [port.en.eq(reads) for port in ports]
        return ports


def place_bits(units: int) -> int:
    """Bits that tell the units of a beat apart."""
    return (units - 1).bit_length()


def trace_layout(shape: ArrayShape) -> data.StructLayout:
    """What the pipeline computed for the units of one beat; units in order, steps in order."""
    description, places = shape.description, timing.units_per_beat(shape)
    codes = data.ArrayLayout(signed(shape.code_bits), places)
    members: dict[str, Any] = {"codes": data.ArrayLayout(codes, shape.gates)}
    if description.cell.state_range is not None:
        members["c"] = data.ArrayLayout(signed(description.cell.state_range.bits), places)
    members["h"] = data.ArrayLayout(signed(description.dac.width), places)
    return data.StructLayout(members)


def dac_code(product: Value, shape: ArrayShape) -> Value:
    """The DAC code of o * tanh(c), or of an RNN's tanh."""
    description = shape.description
    if description.dac.bits == 1:
        return Mux(product >= 0, 1, -1)
    return narrow(product, description.hidden_shift, description.dac.range)


def stage(m: Module, advance: Signal, values: list[Any]) -> list[Any]:
    """Registers for a (nested) list of values, of which the first is the stage's valid bit. That is
    taken when `advance` is high; the others only with it, so that what has nothing to do is still.
    """
    valid, *others = values
    held = Signal()
    with m.If(advance):
        m.d.sync += held.eq(valid)
    return [held, *_taken(m, advance & valid, others)]


def _taken(m: Module, enable: Value, value: Any) -> Any:
    """Registers for a value, or for a (nested) list of values, taken when `enable` is high."""
    if isinstance(value, list):
        return [_taken(m, enable, item) for item in value]
    value = Value.cast(value)
    held = Signal(value.shape())
    with m.If(enable):
        m.d.sync += held.eq(value)
    return held
