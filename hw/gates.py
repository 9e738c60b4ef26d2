"""Gate pipeline that all cells share: from ADC codes to entries of the gate tables."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.geometry import ArrayShape
from golden.ranges import ceil_div, index_bits
from hw import timing
from hw.adc import codes_layout
from hw.fixed import half_up, saturate
from hw.pipeline import Pipeline, Stage
from hw.ports import loaded_memory, vector_stream
from hw.regions import Region


class GatePipeline(wiring.Component):
    """Gate pipeline that all cells share, for `hw.timing.units_per_beat` units per cycle.

    See docs/contract.md, 5 to 7. Each cell adds its own stages. All stages advance together; they
    stall while `o` is stalled.

    i (in, stream): ADC codes. A block is `lanes` units and takes one beat per gate. Except for the
        first step of a sequence, a step must not start before all h of the previous step has been
        accepted on `o`.
    o (out, stream): h as DAC codes, one vector per step.
    bias (in): write port of the biases. Address: gate, place in the beat, beat; high bits first.
    gate_tables (in): write port of the gate tables. Address: gate, index in two's complement; high
        bits first.
    Other tables (in): write ports of the cell's own tables. Address: index, in two's complement.
    Load only while no step is in flight.
    trace, trace_valid (out): codes, c and h of the units in a transfer on `o`; observation only.

    Latency: `latency` cycles from a block's last beat to its first beat of h.
    Throughput: one beat of h every cycle.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        description = shape.description
        self.latency = timing.gate_latency(shape)
        self.words = ceil_div(shape.units, timing.units_per_beat(shape))
        loaded = {region.name: In(region.port) for region in self.regions(shape)}
        self.loaded = tuple(loaded)  # names of the load ports
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
        """Load regions of `bias`, `gate_tables` and the cell's own tables."""
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

    def _pipeline(self, m: Module) -> Pipeline:
        """The stages, which advance unless `o` is stalled."""
        advance = Signal()
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)
        return Pipeline(m, advance, deep=self.shape.deep)

    def _front(self, pipe: Pipeline) -> tuple[Stage, dict[str, list[Any]]]:
        """Stages 0 and 1, the first of every cell.

        Returns the stage that reads the gate tables, with the fields codes [gate][place], word
        (beat of the step), first and last; and the entries [gate][place], valid in the stage after
        it.
        """
        cell = self.shape.description.cell

        # Stage 0: take `units_per_beat` units out of the block, read their biases.
        s = self._unpack(pipe)
        bias = self._bias(pipe, s)

        # Stage 1: a = saturate((code << frac) + bias), read the gate tables.
        s = s.next("codes", "word", "first", "last")
        code = pipe.net("code", self._by_gate(lambda g, p: s.codes[g][p]))
        a_sum = pipe.net(
            "a_sum",
            {
                gate: [
                    own.shift_left(cell.frac) + bias[gate][place] for place, own in enumerate(codes)
                ]
                for gate, codes in code.items()
            },
        )
        a = {
            gate: [saturate(value, self.shape.index_range) for value in values]
            for gate, values in a_sum.items()
        }
        s = s.apart(a=pipe.net("a", a))
        tables = self._gate_tables(pipe.m, s)
        found = {gate: [port.data for port in ports] for gate, ports in tables.items()}
        s, (entry,) = s.looked_up(entry=pipe.net("entry", found))
        return s, entry

    def _by_gate(self, make: Callable[[int, int], Any]) -> dict[str, list[Any]]:
        """A field with one value for each gate and place of a beat."""
        places = range(timing.units_per_beat(self.shape))
        gates = enumerate(self.shape.description.cell.gates)
        return {gate: [make(number, place) for place in places] for number, gate in gates}

    def _dac_codes(self, pipe: Pipeline, p: list[Value]) -> list[Value]:
        """h [place] as DAC codes (docs/contract.md, 7).

        p: o * tanh(c) of an LSTM, tanh of an RNN.
        """
        description = self.shape.description
        if description.dac.bits == 1:
            return pipe.net("h", [Mux(value >= 0, 1, -1) for value in p])
        rounded = [half_up(value, description.hidden_shift) for value in p]
        rounded = pipe.net("h_rounded", rounded)
        return pipe.net("h", [saturate(value, description.dac.range) for value in rounded])

    def _back(self, pipe: Pipeline, s: Stage, **traced: list[Value]) -> None:
        """Last stage: output h, and trace what was computed."""
        m = pipe.m
        m.d.comb += [
            self.o.valid.eq(s.valid),
            self.o.payload.last.eq(s.last),
            self.trace_valid.eq(s.valid & self.o.ready),
            self.trace.codes.eq(s.codes),
        ]
        for place, h in enumerate(s.h):
            m.d.comb += [self.o.payload.codes[place].eq(h), self.trace.h[place].eq(h)]
            m.d.comb += [self.trace[name][place].eq(v[place]) for name, v in traced.items()]

    def _unpack(self, pipe: Pipeline) -> Stage:
        """Collect the gates' beats of a block, then issue `units_per_beat` units per cycle.

        Returns stage 0, with codes[gate][place], the word (beat of the step), first and last.
        """
        m, shape, names = pipe.m, self.shape, self.shape.description.cell.gates
        beat = self.i.payload
        taken = Signal()
        m.d.comb += taken.eq(self.i.valid & self.i.ready)

        # The beats of all gates but the last wait here until the block is complete.
        waiting = [Signal.like(beat.codes, name=f"waiting_{name}") for name in names[:-1]]
        gate = Signal(index_bits(shape.gates))
        complete = Signal()
        m.d.comb += complete.eq(taken & (gate == shape.gates - 1))
        with m.If(taken):
            m.d.sync += gate.eq(Mux(complete, 0, gate + 1))
        for number, codes in enumerate(waiting):
            with m.If(taken & (gate == number)):
                m.d.sync += codes.eq(beat.codes)

        # Shift the block down by `units_per_beat` places per cycle: the next units are the lowest.
        block = [Signal.like(beat.codes, name=f"block_{name}") for name in names]
        block_valid = Signal()
        first = Signal(name="block_first")
        last = Signal(name="block_last")
        block_ends = Signal()
        beats = shape.lanes // timing.units_per_beat(shape)
        position = Signal(index_bits(beats))
        word = Signal(index_bits(self.words))
        word_last = Signal()
        m.d.comb += word_last.eq(word == self.words - 1)
        m.d.comb += block_ends.eq((position == beats - 1) | word_last)
        s = pipe.begin(
            block_valid,
            codes=pipe.net("codes", self._codes(lambda g, p: block[g][p])),
            word=word,
            first=first,
            last=last,
        )
        blocked = block_valid & ~(block_ends & pipe.advance)
        m.d.comb += self.i.ready.eq((gate != shape.gates - 1) | ~blocked)
        with m.If(s.moves):
            m.d.sync += word.eq(Mux(word_last, 0, word + 1))
            m.d.sync += position.eq(Mux(block_ends, 0, position + 1))
            m.d.sync += block_valid.eq(~block_ends)
            step = timing.units_per_beat(shape) * shape.code_bits
            for codes in block:
                m.d.sync += codes.as_value().eq(codes.as_value() >> step)
        with m.If(complete):
            m.d.sync += [block_valid.eq(1), first.eq(beat.first), last.eq(beat.last)]
            for codes, source in zip(block, [*waiting, beat.codes], strict=True):
                m.d.sync += codes.eq(source)
        return s

    def _codes(self, make: Callable[[int, int], Any]) -> data.View:
        """Codes [gate][place] as one value."""
        codes = [code for gate in self._by_gate(make).values() for code in gate]
        return data.View(trace_layout(self.shape)["codes"].shape, Cat(*codes))

    def _bias(self, pipe: Pipeline, s: Stage) -> dict[str, list[Value]]:
        """Biases [gate][place] of the word of `s`, valid in the stage after it."""
        m, shape, bits = pipe.m, self.shape, self.shape.index_bits
        places = timing.units_per_beat(shape)
        banks = shape.gates * places
        mem = loaded_memory(unsigned(banks * bits), max(2, self.words))
        m.submodules.bias_memory = mem
        write, read = mem.write_port(granularity=bits), mem.read_port()
        split = index_bits(self.words)
        m.d.comb += [
            write.addr.eq(self.bias.address[:split]),
            write.data.eq(self.bias.data.replicate(banks)),
            read.addr.eq(s.word),
            read.en.eq(s.moves),
        ]
        target = self.bias.address[split:]  # the gate above the place
        for gate in range(shape.gates):
            for place in range(places):
                here = target == ((gate << place_bits(places)) | place)
                m.d.comb += write.en[gate * places + place].eq(self.bias.enable & here)
        words = data.View(data.ArrayLayout(signed(bits), banks), read.data)
        return pipe.net("bias", self._by_gate(lambda g, p: words[g * places + p]))

    def _gate_tables(self, m: Module, s: Stage) -> dict[str, list[Any]]:
        """Read ports [gate][place] of the gate tables, addressed by `s.a`."""
        cell, split = self.shape.description.cell, self.shape.index_bits
        ports = {}
        for number, gate in enumerate(cell.gates):
            mem = loaded_memory(unsigned(cell.table_bits), 2**split)
            m.submodules[f"table_{gate}"] = mem
            write = mem.write_port()
            m.d.comb += [
                write.addr.eq(self.gate_tables.address[:split]),
                write.data.eq(self.gate_tables.data),
                write.en.eq(self.gate_tables.enable & (self.gate_tables.address[split:] == number)),
            ]
            ports[gate] = self._ports(m, mem, s.moves, s.a[gate])
        return ports

    def _cell_table(self, pipe: Pipeline, name: str, s: Stage, at: list[Value]) -> list[Any]:
        """Entries [place] of one of the cell's own tables, valid in the stage after `s`."""
        m = pipe.m
        (table,) = (table for table in self.shape.description.cell.tables if table.name == name)
        mem = loaded_memory(signed(table.entries.bits), table.index.size)
        own = name.removesuffix("_table")
        m.submodules[f"table_{own}"] = mem
        loads, write = getattr(self, name), mem.write_port()
        m.d.comb += [
            write.addr.eq(loads.address),
            write.data.eq(loads.data.as_signed()),
            write.en.eq(loads.enable),
        ]
        return pipe.net(own, [port.data for port in self._ports(m, mem, s.moves, at)])

    def _state(self, pipe: Pipeline, s: Stage) -> tuple[Any, Any]:
        """Memory of c.

        Returns its write port, and the word of `s` as views [place], valid in the stage after it.
        """
        range_ = self.shape.description.cell.state_range
        assert range_ is not None
        layout = data.ArrayLayout(signed(range_.bits), timing.units_per_beat(self.shape))
        mem = memory.Memory(shape=layout, depth=max(2, self.words), init=[])
        pipe.m.submodules.state = mem
        read = mem.read_port()
        pipe.m.d.comb += [read.addr.eq(s.word), read.en.eq(s.moves)]
        return mem.write_port(), read.data

    def _ports(self, m: Module, mem: memory.Memory, reads: Value, at: list[Value]) -> list[Any]:
        """One read port of a table for each place. at: The indices, in two's complement."""
        ports = [mem.read_port() for _ in at]
        for port, index in zip(ports, at, strict=True):
            m.d.comb += [port.en.eq(reads), port.addr.eq(index.as_unsigned())]
        return ports


def place_bits(units: int) -> int:
    """Bits of a place, the position of a unit in its beat."""
    return (units - 1).bit_length()


def trace_layout(shape: ArrayShape) -> data.StructLayout:
    """Codes, c and h of the units of one beat; units in order, steps in order."""
    description, places = shape.description, timing.units_per_beat(shape)
    codes = data.ArrayLayout(signed(shape.code_bits), places)
    members: dict[str, Any] = {"codes": data.ArrayLayout(codes, shape.gates)}
    if description.cell.state_range is not None:
        members["c"] = data.ArrayLayout(signed(description.cell.state_range.bits), places)
    members["h"] = data.ArrayLayout(signed(description.dac.width), places)
    return data.StructLayout(members)
