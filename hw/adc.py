"""ADC readout: samples the columns, converts them, and sums the codes of row tiles and planes."""

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
    """ADC codes of one column per lane, lowest lane first; `first` and `last` of its step."""
    return data.StructLayout(
        {
            "codes": data.ArrayLayout(signed(shape.code_bits), shape.lanes),
            "first": unsigned(1),
            "last": unsigned(1),
        }
    )


def trial_layout(shape: ArrayShape) -> data.ArrayLayout:
    """Code that each lane's comparator compares its sample with."""
    return data.ArrayLayout(signed(shape.description.adc.bits), shape.lanes)


def above_layout(shape: ArrayShape) -> data.ArrayLayout:
    """Comparator outputs of each lane.

    A lane has one comparator. A flash ADC has one for each code but the lowest, in ascending order.
    """
    adc = shape.description.adc
    count = adc.range.high - adc.range.low if adc.kind == "flash" else 1
    return data.ArrayLayout(unsigned(count), shape.lanes)


class Readout(wiring.Component):
    """Samples and converts every column of a step (docs/contract.md, 4).

    Each sample converts one column per lane, in all row tiles at once. Selects ascend. The codes of
    row tiles and planes are summed. The macro sees no back-pressure: the readout samples a column
    only if the FIFO has room for its codes.

    i (in, stream): a step on the rows; ready in the last cycle in which the rows must be stable.
    o (out, stream): ADC codes, one beat per select with one code per lane.
    sample, first, select, gain, trial (out), above (in): ports of the macro, with its timing
        (hw/macro/interface.py). `gain`, `trial` and `above` have one element per row tile. With a
        flash ADC there is no `trial`.
    plane (out): plane on the rows, 0 for the most significant bit; only with several planes.
    gains (in): write port of the gains, one word per gate and row tile.

    Latency: `latency` cycles from a column's last sample to its codes on `o`: settle plus the
    cycles of a conversion, plus 1 if codes are summed.
    Throughput: one conversion every `hw.timing.period` cycles.
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
        """Load region of `gains`."""
        tiles = len(shape.row_tiles)
        fields = [("gate", index_bits(shape.gates))]
        if tiles > 1:
            fields.append(("row_tile", (tiles - 1).bit_length()))
        data_fields = (("gain", shape.description.adc.gain_bits),)
        return Region(name="gains", fields=tuple(fields), data=data_fields)

    @property
    def latency(self) -> int:
        """Cycles from a column's last sample to its codes on `o`."""
        return timing.readout_latency(self.shape)

    @property
    def depth(self) -> int:
        """Depth of the FIFO: the columns in flight at full throughput, plus one."""
        period = timing.period(self.shape)
        under_way = (self.planes - 1) * period + self.latency + 1
        return ceil_div(under_way, self.planes * period) + 1

    def elaborate(self, platform: object) -> Module:
        """Sampler, conversion `settle` cycles later, sums, and a FIFO of codes."""
        m = Module()
        shape = self.shape
        settle = timing.settle(shape)

        # Sampler: one sample per period while a step is on the rows. Only a column's first sample
        # needs room in the FIFO, so its planes are never interrupted.
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

        # Bit k: a sample (the step's last one) was taken k + 1 cycles ago. The macro holds it at
        # the end of the top bit's cycle, so the rows may change after that.
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
        names = ("begins", "ends", "first", "last")  # flags of the sample in conversion
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
        """Gain registers of each row tile, which reset does not clear."""
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
        """Find each lane's code, starting in the cycle after `start`.

        Returns a strobe in the last cycle of a conversion, and the codes [row tile][lane], valid
        with the strobe.
        """
        kinds = {"sar": self._approximate, "flash": self._count, "ramp": self._climb}
        return kinds[self.shape.description.adc.kind](m, start)

    def _approximate(self, m: Module, start: Signal) -> tuple[Signal, list[list[Value]]]:
        """SAR: successive approximation, the most significant bit first."""
        bits = self.shape.description.adc.bits
        bit = Signal(bits)  # one-hot: the bit on trial; 0: idle
        searches = Signal()
        m.d.comb += searches.eq(start | (bit != 0))
        with m.If(searches):
            m.d.sync += bit.eq(Mux(start, 1 << (bits - 1), bit >> 1))
        codes: list[list[Value]] = []
        for tile in range(self.tiles):
            codes.append([])
            for lane in range(self.shape.lanes):
                # The search is in offset binary, where setting a bit raises the code.
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
        """Ramp: one ramp for all lanes, from the second lowest code to the highest.

        A lane keeps the last code before its comparator goes low.
        """
        bits = self.shape.description.adc.bits
        ramp = Signal(bits)  # code under comparison, in offset binary
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
        """Flash: the lowest code plus the count of high comparators.

        One wrong comparator (a bubble) shifts the code by one, wherever it is.
        """
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
        """Sum the codes of row tiles and planes; a plane weighs twice the next one.

        Returns a strobe and the beat of codes, valid with the strobe.
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
    """Convert offset binary to two's complement: invert the top bit."""
    return Cat(code[:-1], ~code[-1]).as_signed()
