"""ADC readout: walks the columns and converts them by successive approximation (SAR)."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.description import ArrayShape
from golden.fixed import ceil_div, index_bits
from hw.dac import step_layout
from hw.ports import WritePort


def codes_layout(shape: ArrayShape) -> data.StructLayout:
    """The codes of one conversion of every lane, lowest lane first."""
    return data.StructLayout(
        {
            "codes": data.ArrayLayout(signed(shape.description.adc.bits), shape.lanes),
            "first": unsigned(1),
            "last": unsigned(1),
        }
    )


class SarReadout(wiring.Component):
    """Converts every column of a step, `lanes` at a time, and hands the codes on.

    `i`: a step on the rows; ready in the last cycle in which the rows must hold. `o`: codes, one
    beat a conversion, selects in order. The other ports are the macro's (hw/crossbar.py); the
    macro is never held up: a sample is only taken when there is room for its codes.
    Latency: settle + bits cycles from a sample to its codes. Throughput: a conversion each
    `shape.period` cycles.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        description = shape.description
        super().__init__(
            {
                "i": In(stream.Signature(step_layout(shape.rows, description))),
                "o": Out(stream.Signature(codes_layout(shape))),
                "sample": Out(1),
                "first": Out(1),
                "select": Out(index_bits(shape.selects)),
                "gain": Out(description.adc.gain_bits),
                "trial": Out(data.ArrayLayout(signed(description.adc.bits), shape.lanes)),
                "above": In(shape.lanes),
                "gains": In(WritePort(index_bits(shape.gates), description.adc.gain_bits)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a sample to its codes on `o`."""
        description = self.shape.description
        return int(description.array.settle + description.adc.conversion_cycles)

    @property
    def depth(self) -> int:
        """Conversions that may be under way or waiting, so that sampling never pauses; one more."""
        return ceil_div(self.latency + 1, self.shape.period) + 1

    def elaborate(self, platform: object) -> Module:
        """Sampler; successive approximation, `settle` cycles behind it; a queue of codes."""
        m = Module()
        shape = self.shape
        settle = shape.description.array.settle

        gains = [
            Signal(shape.description.adc.gain_bits, reset_less=True, name=f"gain_{gate}")
            for gate in range(shape.gates)
        ]
        for gate, gain in enumerate(gains):
            with m.If(self.gains.enable & (self.gains.address == gate)):
                m.d.sync += gain.eq(self.gains.data)

        # The sampler: one sample a period, while a step is on the rows and there is room.
        room = Signal(range(self.depth + 1), init=self.depth)
        timer = Signal(index_bits(shape.period))
        gate = Signal(index_bits(shape.gates))
        final = Signal()  # the sample is the step's last
        sampled_all = Signal()
        m.d.comb += [
            self.sample.eq(self.i.valid & ~sampled_all & (timer == 0) & (room != 0)),
            self.first.eq(self.i.payload.first),
            self.gain.eq(Array(gains)[gate]),
            final.eq(self.select == shape.selects - 1),
        ]
        with m.If(self.sample):
            m.d.sync += timer.eq(shape.period - 1)
            m.d.sync += gate.eq(Mux(gate == shape.gates - 1, 0, gate + 1))
            m.d.sync += self.select.eq(Mux(final, 0, self.select + 1))
            m.d.sync += sampled_all.eq(final)
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)

        # Bit k: a sample (the step's last) was taken k + 1 cycles ago; at settle - 1 it is held.
        taken, last_taken = Signal(settle - 1), Signal(settle - 1)
        m.d.sync += taken.eq(Cat(self.sample, taken))
        m.d.sync += last_taken.eq(Cat(self.sample & final, last_taken))
        m.d.comb += self.i.ready.eq(last_taken[-1])
        with m.If(self.i.ready):
            m.d.sync += sampled_all.eq(0)

        done, codes = self._approximate(m, start=taken[-1])

        m.submodules.queue = queue = fifo.SyncFIFO(width=len(codes), depth=self.depth)
        m.d.comb += [
            queue.w_en.eq(done),
            queue.w_data.eq(codes),
            self.o.valid.eq(queue.r_rdy),
            self.o.payload.eq(queue.r_data),
            queue.r_en.eq(self.o.ready),
        ]
        m.d.sync += room.eq(room - self.sample + (self.o.valid & self.o.ready))
        return m

    def _approximate(self, m: Module, *, start: Signal) -> tuple[Signal, Signal]:
        """Find each lane's code bit by bit, from the cycle after `start`.

        Returns a strobe in the last bit's cycle, and the beat of codes, valid then.
        """
        bits = self.shape.description.adc.bits
        bit = Signal(bits)  # one-hot: the bit on trial
        m.d.sync += bit.eq(Mux(start, 1 << (bits - 1), bit >> 1))
        done = Signal()
        beat = Signal(codes_layout(self.shape))
        first, last = Signal(), Signal()
        with m.If(start):
            m.d.sync += [first.eq(self.i.payload.first), last.eq(self.i.payload.last)]
        m.d.comb += [done.eq(bit[0]), beat.first.eq(first), beat.last.eq(last)]
        for lane in range(self.shape.lanes):
            # Offset binary while it grows: two's complement with the top bit inverted.
            found = Signal(bits, name=f"found_{lane}")
            trial, better = Signal.like(found), Signal.like(found)
            m.d.comb += trial.eq(found | bit)
            m.d.comb += better.eq(Mux(self.above[lane], trial, found))
            m.d.sync += found.eq(Mux(start, 0, better))
            for code, offset_binary in ((self.trial[lane], trial), (beat.codes[lane], better)):
                m.d.comb += code.eq(Cat(offset_binary[:-1], ~offset_binary[-1]).as_signed())
        return done, beat.as_value()
