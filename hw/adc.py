"""ADC readout: walks the columns, converts them, and adds up what row tiles and planes give."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.geometry import ArrayShape
from golden.ranges import ceil_div, index_bits
from hw import timing
from hw.dac import step_layout
from hw.fixed import tree_sum
from hw.regions import Region


def codes_layout(shape: ArrayShape) -> data.StructLayout:
    """The codes of one column of every lane, lowest lane first."""
    return data.StructLayout(
        {
            "codes": data.ArrayLayout(signed(shape.code_bits), shape.lanes),
            "first": unsigned(1),
            "last": unsigned(1),
        }
    )


def trial_layout(shape: ArrayShape) -> data.ArrayLayout:
    """The code that each lane's comparator compares with."""
    return data.ArrayLayout(signed(shape.description.adc.bits), shape.lanes)


def above_layout(shape: ArrayShape) -> data.ArrayLayout:
    """Each lane's comparator or, of a flash ADC, its comparators: one for each code but the lowest,
    in their order."""
    adc = shape.description.adc
    count = adc.range.high - adc.range.low if adc.kind == "flash" else 1
    return data.ArrayLayout(unsigned(count), shape.lanes)


class Readout(wiring.Component):
    """Converts every column of a step, `lanes` at a time in every row tile, and hands the codes on
    (docs/contract.md, 4).

    `i`: a step on the rows; ready in the last cycle in which the rows must hold. `o`: codes, one
    beat a column of every lane, selects in order. The other ports are the macro's
    (hw/macro/interface.py), `gain`, `trial` and `above` with one element for each row tile; the
    macro is never held up: a sample is only taken when there is room for its codes. `plane`: of the
    bits on the rows, where each has a sample, the highest first. Latency: settle + conversion
    cycles from a sample, the last plane's, to its codes; one more where there is something to add
    up. Throughput: a conversion each `shape.period` cycles.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        description = shape.description
        self.tiles, self.planes = len(shape.row_tiles), description.dac.planes
        gain = unsigned(description.adc.gain_bits)
        members: dict[str, wiring.Member] = {
            "i": In(stream.Signature(step_layout(shape.rows, description))),
            "o": Out(stream.Signature(codes_layout(shape))),
            "sample": Out(1),
            "first": Out(1),
            "select": Out(index_bits(shape.selects)),
            "gain": Out(data.ArrayLayout(gain, self.tiles)),
            "above": In(data.ArrayLayout(above_layout(shape), self.tiles)),
            "gains": In(self.gains_region(shape).port),
        }
        if description.adc.kind != "flash":
            members["trial"] = Out(data.ArrayLayout(trial_layout(shape), self.tiles))
        if self.planes > 1:
            members["plane"] = Out(index_bits(self.planes))
        super().__init__(members)

    @staticmethod
    def gains_region(shape: ArrayShape) -> Region:
        """Of `gains`."""
        tiles = len(shape.row_tiles)
        fields = [("gate", index_bits(shape.gates))]
        if tiles > 1:
            fields.append(("row_tile", (tiles - 1).bit_length()))
        data_fields = (("gain", shape.description.adc.gain_bits),)
        return Region(name="gains", fields=tuple(fields), data=data_fields)

    @property
    def latency(self) -> int:
        """Cycles from a sample to its codes on `o`."""
        return timing.readout_latency(self.shape)

    @property
    def depth(self) -> int:
        """Columns that may be under way or waiting, so that sampling never pauses; one more."""
        period = timing.period(self.shape)
        under_way = (self.planes - 1) * period + self.latency + 1
        return ceil_div(under_way, self.planes * period) + 1

    def elaborate(self, platform: object) -> Module:
        """Sampler; conversion, `settle` cycles behind it; sums; a queue of codes."""
        m = Module()
        shape = self.shape
        settle = timing.settle(shape)

        # The sampler: one sample a period, while a step is on the rows and there is room.
        room = Signal(range(self.depth + 1), init=self.depth)
        timer = Signal(index_bits(timing.period(shape)))
        gate = Signal(index_bits(shape.gates))
        plane = Signal(index_bits(self.planes))
        begins = Signal()  # first sample of a column
        ends = Signal()  # last sample of a column
        final = Signal()  # last sample of the step
        sampled_all = Signal()
        m.d.comb += [
            begins.eq(plane == 0),
            ends.eq(plane == self.planes - 1),
            self.sample.eq(self.i.valid & ~sampled_all & (timer == 0) & (~begins | (room != 0))),
            self.first.eq(self.i.payload.first),
            final.eq(ends & (self.select == shape.selects - 1)),
        ]
        self._gains(m, gate)
        with m.If(self.sample):
            m.d.sync += timer.eq(timing.period(shape) - 1)
            m.d.sync += sampled_all.eq(final)
            with m.If(ends):
                m.d.sync += gate.eq(Mux(gate == shape.gates - 1, 0, gate + 1))
                m.d.sync += self.select.eq(Mux(final, 0, self.select + 1))
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)

        # Bit k: a sample (the step's last) was taken k + 1 cycles ago; at settle - 1 it is held.
        taken = Signal(settle - 1)
        last_taken = Signal(settle - 1)
        m.d.sync += taken.eq(Cat(self.sample, taken))
        m.d.sync += last_taken.eq(Cat(self.sample & final, last_taken))
        m.d.comb += self.i.ready.eq(last_taken[-1])
        with m.If(self.i.ready):
            m.d.sync += sampled_all.eq(0)
        if self.planes > 1:
            m.d.comb += self.plane.eq(plane)
            with m.If(taken[-1]):
                m.d.sync += plane.eq(Mux(ends, 0, plane + 1))

        done, codes = self._convert(m, start=taken[-1])
        names = ("begins", "ends", "first", "last")  # of the sample under conversion
        flags = [Signal(name=f"sample_{name}") for name in names]
        with m.If(taken[-1]):
            payload = self.i.payload
            now = (begins, ends, payload.first, payload.last)
            m.d.sync += [flag.eq(value) for flag, value in zip(flags, now, strict=True)]
        whole, beat = self._add_up(m, done, codes, flags)

        m.submodules.queue = queue = fifo.SyncFIFO(width=len(beat), depth=self.depth)
        m.d.comb += [
            queue.w_en.eq(whole),
            queue.w_data.eq(beat),
            self.o.valid.eq(queue.r_rdy),
            self.o.payload.eq(queue.r_data),
            queue.r_en.eq(self.o.ready),
        ]
        frees = Signal()
        m.d["sync" if shape.deep else "comb"] += frees.eq(self.o.valid & self.o.ready)
        claims = Signal()
        m.d.comb += claims.eq(self.sample & begins)
        m.d.sync += room.eq(room - claims + frees)
        return m

    def _gains(self, m: Module, gate: Signal) -> None:
        """Registers for each row tile's gains; reset keeps them."""
        split = index_bits(self.shape.gates)
        here, tile = self.gains.address[:split], self.gains.address[split:]
        for n in range(self.tiles):
            gains = [
                Signal(self.shape.description.adc.gain_bits, reset_less=True, name=f"gain_{n}_{k}")
                for k in range(self.shape.gates)
            ]
            for number, gain in enumerate(gains):
                own: Value = self.gains.enable & (here == number)
                with m.If(own & (tile == n) if self.tiles > 1 else own):
                    m.d.sync += gain.eq(self.gains.data)
            m.d.comb += self.gain[n].eq(Array(gains)[gate])

    def _convert(self, m: Module, *, start: Signal) -> tuple[Signal, list[list[Value]]]:
        """Find each lane's code, from the cycle after `start`.

        Returns a strobe in the last cycle of a conversion, and the codes [row tile][lane], valid
        then.
        """
        kinds = {"sar": self._approximate, "flash": self._count, "ramp": self._climb}
        return kinds[self.shape.description.adc.kind](m, start)

    def _approximate(self, m: Module, start: Signal) -> tuple[Signal, list[list[Value]]]:
        """Successive approximation: bit by bit, the highest first."""
        bits = self.shape.description.adc.bits
        bit = Signal(bits)  # one-hot: the bit on trial
        searches = Signal()
        m.d.comb += searches.eq(start | (bit != 0))
        with m.If(searches):
            m.d.sync += bit.eq(Mux(start, 1 << (bits - 1), bit >> 1))
        codes: list[list[Value]] = []
        for tile in range(self.tiles):
            codes.append([])
            for lane in range(self.shape.lanes):
                # Offset binary while it grows: two's complement with the top bit inverted.
                found = Signal(bits, name=f"found_{tile}_{lane}")
                trial = Signal(bits, name=f"trial_{tile}_{lane}")
                better = Signal(bits, name=f"better_{tile}_{lane}")
                m.d.comb += trial.eq(found | bit)
                m.d.comb += better.eq(Mux(self.above[tile][lane], trial, found))
                with m.If(searches):
                    m.d.sync += found.eq(Mux(start, 0, better))
                m.d.comb += self.trial[tile][lane].eq(_from_offset_binary(trial))
                codes[-1].append(_from_offset_binary(better))
        return bit[0], codes

    def _climb(self, m: Module, start: Signal) -> tuple[Signal, list[list[Value]]]:
        """A ramp that all lanes share, from the second lowest code to the highest; a lane's code is
        the last one before its comparator says no."""
        bits = self.shape.description.adc.bits
        ramp = Signal(bits)  # in offset binary
        busy = Signal(name="climbing")
        m.d.sync += ramp.eq(Mux(start, 1, ramp + 1))
        with m.If(start):
            m.d.sync += busy.eq(1)
        with m.Elif(ramp.all()):
            m.d.sync += busy.eq(0)
        codes: list[list[Value]] = []
        for tile in range(self.tiles):
            codes.append([])
            for lane in range(self.shape.lanes):
                found = Signal(bits, name=f"found_{tile}_{lane}")
                better = Signal(bits, name=f"better_{tile}_{lane}")
                climbs = Signal(name=f"climbs_{tile}_{lane}")
                still = climbs & self.above[tile][lane]
                m.d.comb += better.eq(Mux(still, ramp, found))
                m.d.sync += [found.eq(Mux(start, 0, better)), climbs.eq(start | still)]
                m.d.comb += self.trial[tile][lane].eq(_from_offset_binary(ramp))
                codes[-1].append(_from_offset_binary(better))
        return busy & ramp.all(), codes

    def _count(self, m: Module, start: Signal) -> tuple[Signal, list[list[Value]]]:
        """Flash: how many comparators say yes. One that errs (a bubble) puts the code off by one,
        wherever it is."""
        bits = self.shape.description.adc.bits
        done = Signal()
        m.d.sync += done.eq(start)
        codes: list[list[Value]] = []
        for tile in range(self.tiles):
            codes.append([])
            for lane in range(self.shape.lanes):
                count = Signal(bits, name=f"count_{tile}_{lane}")
                m.d.comb += count.eq(tree_sum([*self.above[tile][lane]]))
                codes[-1].append(_from_offset_binary(count))
        return done, codes

    def _add_up(
        self, m: Module, done: Signal, codes: list[list[Value]], flags: list[Signal]
    ) -> tuple[Value, Value]:
        """The sum of the row tiles' codes, and of planes, each times 2^plane.

        Returns a strobe, and the beat of codes, valid then.
        """
        shape = self.shape
        beat = Signal(codes_layout(shape))
        begins, ends, first, last = flags
        if not self.shape.adds_up:
            m.d.comb += [beat.codes[lane].eq(code) for lane, code in enumerate(codes[0])]
            m.d.comb += [beat.first.eq(first), beat.last.eq(last)]
            return done, beat.as_value()
        summed = Signal()
        m.d.sync += summed.eq(done)
        held = [Signal(name=f"sum_{flag.name.removeprefix('sample_')}") for flag in flags]
        with m.If(done):
            m.d.sync += [now.eq(flag) for now, flag in zip(held, flags, strict=True)]
        begins, ends, first, last = held
        for lane in range(shape.lanes):
            total = tree_sum([tile[lane] for tile in codes])
            tiles = Signal(total.shape(), name=f"tiles_{lane}")
            with m.If(done):
                m.d.sync += tiles.eq(total)
            code = beat.codes[lane]
            if self.planes == 1:
                m.d.comb += code.eq(tiles)
                continue
            before = Signal(signed(shape.code_bits), name=f"before_{lane}")
            m.d.comb += code.eq(Mux(begins, 0, before << 1) + tiles)
            with m.If(summed):
                m.d.sync += before.eq(code)
        m.d.comb += [beat.first.eq(first), beat.last.eq(last)]
        return summed & ends, beat.as_value()


def _from_offset_binary(code: Value) -> Value:
    """Two's complement: the top bit is inverted."""
    return Cat(code[:-1], ~code[-1]).as_signed()
