"""DAC sequencer: holds the rows of a crossbar; and what drives them, kind by kind."""

from amaranth.hdl import Array, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.description import Description
from golden.ranges import ceil_div, index_bits
from hw import timing
from hw.ports import vector_layout, vector_stream


def step_layout(rows: int, description: Description) -> data.StructLayout:
    """One step on the rows; `first` and `last` place it in its sequence."""
    codes = data.ArrayLayout(signed(description.dac.width), rows)
    return data.StructLayout({"rows": codes, "first": unsigned(1), "last": unsigned(1)})


class DacSequencer(wiring.Component):
    """Collects x_t and h_{t-1}, and holds them on the rows until they are converted
    (docs/contract.md, 2 and 8).

    Rows are the inputs, then h. A step begins when its x has come in and, but for the first
    step of a sequence, when all of h has been fed back; h is then the DAC's code of 0.
    x of the next step is taken while a step is held.

    `i`: x, in beats. `feedback`: h, in beats of `units_per_beat`, taken whenever `feed` is high.
    `o`: the rows; they are stable for as long as `o.ready` is low.
    Latency: from the last beat of x `latency` cycles to `o.valid`, from that of h
    `hw.timing.feedback_latency`. Throughput: a vector every `beats` + 1 cycles.
    """

    def __init__(
        self,
        *,
        inputs: int,
        beat: int,
        units: int = 0,
        units_per_beat: int = 1,
        description: Description,
    ) -> None:
        self.description = description
        self.inputs, self.beat = inputs, beat
        self.units, self.units_per_beat = units, units_per_beat
        self.latency = timing.x_latency(description)
        members: dict[str, wiring.Member] = {
            "i": In(vector_stream(beat, description)),
            "o": Out(stream.Signature(step_layout(inputs + units, description))),
        }
        if units:
            members["feed"] = In(1)
            members["feedback"] = In(vector_layout(units_per_beat, description).members["codes"])
        super().__init__(members)

    @property
    def beats(self) -> int:
        """Beats of an input vector."""
        return ceil_div(self.inputs, self.beat)

    def elaborate(self, platform: object) -> Module:
        """Two shadow registers, x and h, and the rows, which take both at once."""
        m = Module()
        code = signed(self.description.dac.width)
        x = Signal(data.ArrayLayout(code, self.beats * self.beat))
        x_full = Signal()
        x_last = Signal()
        first = Signal(init=1)  # the step in the x register begins a sequence

        # In the deep pipeline a beat has a register of its own, since it comes from afar.
        beat, there = self.i.payload, self.i.valid
        m.d.comb += self.i.ready.eq(~x_full)
        if self.description.array.deep:
            beat = Signal.like(self.i.payload, reset_less=True)
            there = Signal()
            m.d.comb += self.i.ready.eq(~there | ~x_full)
            with m.If(self.i.ready):
                m.d.sync += [beat.eq(self.i.payload), there.eq(self.i.valid)]
        x_done = _collect(m, "x", x, beat.codes, there & ~x_full, self.beats)
        with m.If(x_done):
            m.d.sync += [x_full.eq(1), x_last.eq(beat.last)]

        rows = self.o.payload.rows
        go = Signal()
        if self.units:
            beats = ceil_div(self.units, self.units_per_beat)
            h = Signal(data.ArrayLayout(code, beats * self.units_per_beat))
            h_full = Signal()
            h_done = _collect(m, "h", h, self.feedback, self.feed, beats)
            # The last beat need not wait in the register: that would be a cycle of every step.
            h_there, begin = h_full | h_done, (beats - 1) * self.units_per_beat
            if self.description.array.deep:
                h_there, begin = h_full, self.units
            back = [h[n] for n in range(begin)]
            back += [Mux(h_full, h[n], self.feedback[n - begin]) for n in range(begin, self.units)]
            m.d.comb += go.eq(x_full & (first | h_there) & (~self.o.valid | self.o.ready))
            with m.If(h_done):
                m.d.sync += h_full.eq(1)
            with m.If(go):
                m.d.sync += h_full.eq(0)
                with m.If(first):
                    zero = self.description.dac.zero
                    m.d.sync += [rows[self.inputs + n].eq(zero) for n in range(self.units)]
                with m.Else():
                    m.d.sync += [rows[self.inputs + n].eq(back[n]) for n in range(self.units)]
        else:
            m.d.comb += go.eq(x_full & (~self.o.valid | self.o.ready))

        with m.If(go):
            m.d.sync += [rows[n].eq(x[n]) for n in range(self.inputs)]
            m.d.sync += [self.o.payload.first.eq(first), self.o.payload.last.eq(x_last)]
            m.d.sync += [self.o.valid.eq(1), x_full.eq(0), first.eq(x_last)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m


class RowDrivers(wiring.Component):
    """What a code puts on its row while a sample is taken (docs/contract.md, 2).

    `codes`: of the rows, from the cycle of a `sample` on until the rows need not hold any more.
    `rows`: a level DAC's are the codes. A pulse-width DAC's have the code's sign for as many cycles
    as its magnitude says, from the cycle after the sample on. A bit-serial DAC's are the bits of
    magnitudes, with the sign, of `plane`, which counts from the highest bit.
    """

    def __init__(self, rows: int, description: Description) -> None:
        self.description = description
        dac = description.dac
        members = {
            "codes": In(data.ArrayLayout(signed(dac.width), rows)),
            "sample": In(1),
            "rows": Out(data.ArrayLayout(signed(dac.drive_width), rows)),
        }
        if dac.planes > 1:
            members["plane"] = In(index_bits(dac.planes))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Nothing but gates, and the counter of a pulse."""
        m = Module()
        dac = self.description.dac
        count = Signal(range(dac.pulse_cycles + 1))  # the cycle of the pulse, from 1 on
        if dac.kind == "pulse-width":
            running = (count != 0) & (count != dac.pulse_cycles)
            m.d.sync += count.eq(Mux(self.sample, 1, Mux(running, count + 1, 0)))
        if dac.kind == "level" or (dac.kind == "bit-serial" and dac.planes == 1):
            # One plane of the codes -1, 0 and 1 is the codes.
            m.d.comb += [row.eq(code) for row, code in zip(self.rows, self.codes, strict=True)]
            return m
        for row, code in zip(self.rows, self.codes, strict=True):
            size = Signal(range(dac.range.high + 1))
            m.d.comb += size.eq(Mux(code < 0, -code, code))
            sign = Mux(code < 0, -1, 1)
            if dac.kind == "pulse-width":
                m.d.comb += row.eq(Mux((count != 0) & (size >= count), sign, 0))
            else:
                bit = Array([size[n] for n in reversed(range(dac.planes))])[self.plane]
                m.d.comb += row.eq(Mux(bit, sign, 0))
        return m


def _collect(
    m: Module, name: str, register: data.View, codes: data.View, take: Signal, beats: int
) -> Signal:
    """Put the beat on `codes` into its place in `register`; 1 with the last beat of a vector."""
    count = Signal(index_bits(beats), name=f"{name}_count")
    width = len(codes.as_value())
    done = Signal(name=f"{name}_done")
    m.d.comb += done.eq(take & (count == beats - 1))
    with m.If(take):
        m.d.sync += register.as_value().word_select(count, width).eq(codes.as_value())
        m.d.sync += count.eq(0 if beats == 1 else count + 1)
    with m.If(done):
        m.d.sync += count.eq(0)
    return done
