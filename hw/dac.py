"""DAC sequencer, which holds the rows of an array, and the row drivers of each kind of DAC."""

from amaranth.hdl import Array, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.description import Description
from golden.ranges import ceil_div, index_bits
from hw import timing
from hw.ports import vector_layout, vector_stream


def step_layout(rows: int, description: Description) -> data.StructLayout:
    """One step on the rows; `first` and `last` mark its position in its sequence."""
    codes = data.ArrayLayout(signed(description.dac.width), rows)
    return data.StructLayout({"rows": codes, "first": unsigned(1), "last": unsigned(1)})


class DacSequencer(wiring.Component):
    """Collects x_t and h_{t-1} and holds them on the rows while they are converted.

    See docs/contract.md, 2 and 8. The rows are the inputs, then h. A step starts when its x is
    complete and all h of the previous step has been fed back. The first step of a sequence does not
    wait for h: it uses the DAC's code of 0. x of the next step is accepted while a step is held.

    i (in, stream): x, in beats of `beat` DAC codes.
    feed (in): strobe: accept the beat on `feedback`. It cannot be stalled. Layers only.
    feedback (in): h, in beats of `units_per_beat` DAC codes. Layers only.
    o (out, stream): the rows, stable while `o` is stalled.

    Latency: `latency` cycles from the last beat of x to `o`, `hw.timing.feedback_latency` cycles
    from the last beat of h to `o`.
    Throughput: one vector every `beats` + 1 cycles.
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
        """Beats per input vector."""
        return ceil_div(self.inputs, self.beat)

    def elaborate(self, platform: object) -> Module:
        """Shadow registers for x and h, and the row registers, which load both at once."""
        m = Module()
        code = signed(self.description.dac.width)
        x = Signal(data.ArrayLayout(code, self.beats * self.beat))
        x_full = Signal()
        x_last = Signal()
        first = Signal(init=1)  # the next step is the first of its sequence

        # The deep pipeline registers the beat first: on an FPGA its route is long.
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
            # The short pipeline bypasses the register for the last beat: one cycle less per step.
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
    """Drives the rows with the codes while a sample is taken (docs/contract.md, 2).

    codes (in): DAC codes, stable from the cycle of `sample` until the rows may change.
    sample (in): strobe: a sample is taken.
    plane (in): bit to drive, 0 for the most significant; only with several planes.
    rows (out): depends on the DAC. Level: the code. Pulse-width: the sign of the code for as many
        cycles as its magnitude, from the cycle after `sample`, else 0. Bit-serial: the sign of the
        code where bit `plane` of its magnitude is 1, else 0.

    Latency: 0 cycles from `codes` to `rows`, and 1 cycle from `sample` to the start of a pulse.
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
        """Combinational logic, and the counter of a pulse."""
        m = Module()
        dac = self.description.dac
        count = Signal(range(dac.pulse_cycles + 1))  # cycle of the pulse, from 1 on; 0: none
        if dac.kind == "pulse-width":
            running = (count != 0) & (count != dac.pulse_cycles)
            m.d.sync += count.eq(Mux(self.sample, 1, Mux(running, count + 1, 0)))
        if dac.kind == "level" or (dac.kind == "bit-serial" and dac.planes == 1):
            # With codes -1, 0 and 1 the one plane is the code itself.
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
    """Store the beat on `codes` at its place in `register`.

    Returns a strobe in the cycle of a vector's last beat.
    """
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
