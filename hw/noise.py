"""Draws for the behavioural crossbar's read and ADC noise (docs/contract.md, 10)."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from golden import noise
from golden.description import ArrayShape
from golden.fixed import index_bits

WORD_BITS = 32


def draws_layout(shape: ArrayShape) -> data.ArrayLayout:
    """The two draws of every lane's conversion."""
    bits = index_bits(2 * noise.magnitudes()[-1] + 1) + 1
    return data.ArrayLayout(
        data.StructLayout({"read": signed(bits), "adc": signed(bits)}), shape.lanes
    )


class NoiseGenerator(wiring.Component):
    """Hashes key, run, step and column to two nearly normal numbers for every lane.

    `sample`: select `select` is converted, in ascending order in a step; select 0 begins a step
    and, with `first`, a run. `plane`: where each select has several samples, which of them. `key`:
    words of the array. `run`: the number of the next run, taken when `set_run` is high; 0 after
    reset.
    Latency: `draws` are those of a sample from `latency` cycles after it until the next sample.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        self.planes = shape.description.dac.planes
        members = {
            "sample": In(1),
            "first": In(1),
            "select": In(index_bits(shape.selects)),
            "key": In(data.ArrayLayout(WORD_BITS, 2)),
            "run": In(WORD_BITS),
            "set_run": In(1),
            "draws": Out(draws_layout(shape)),
        }
        if self.planes > 1:
            members["plane"] = In(index_bits(self.planes))
        super().__init__(members)

    @property
    def latency(self) -> int:
        """2 or, where samples have time to settle, 3 cycles."""
        return min(3, self.shape.settle - 1)

    def elaborate(self, platform: object) -> Module:
        """Cycle 0: place of the sample. 1: first multiplication. 2: second, and look-up."""
        m = Module()
        shape = self.shape
        taken = Signal(2)  # bit k: a sample, k + 1 cycles ago
        m.d.sync += taken.eq(Cat(self.sample, taken))

        place, step = self._place(m)
        mixed = []
        for lane in range(shape.lanes):
            start = _word(place + (lane * shape.gates * noise.COLUMN) % noise.WORD)
            once = Signal(WORD_BITS, name=f"once_{lane}")
            with m.If(taken[0]):
                m.d.sync += once.eq((start ^ (start >> 16)) * noise.MIX[0] + step)
            twice = _word((once ^ (once >> 15)) * noise.MIX[1])
            word = Signal(WORD_BITS, name=f"word_{lane}")
            if self.latency == 2:
                m.d.comb += word.eq(twice ^ (twice >> 16))
            else:
                with m.If(taken[1]):
                    m.d.sync += word.eq(twice ^ (twice >> 16))
            mixed.append(word)
        self._look_up(m, mixed)
        return m

    def _place(self, m: Module) -> tuple[Signal, Signal]:
        """The two Weyl sequences at the sample's first lane, registered with it."""
        shape, plane = self.shape, self.plane if self.planes > 1 else Const(0)
        begins, ends_column = Signal(), Signal()
        m.d.comb += begins.eq((self.select == 0) & (plane == 0))
        m.d.comb += ends_column.eq(plane == self.planes - 1)

        # What the runs so far have added to the key.
        runs = [Signal(WORD_BITS, name=f"runs_{n}") for n in range(2)]
        for n, total in enumerate(runs):
            with m.If(self.set_run):
                m.d.sync += total.eq(self.run * noise.RUN[n])
            with m.Elif(self.sample & begins & self.first):
                m.d.sync += total.eq(total + noise.RUN[n])

        # At column 0; a step of the network is as many as it has planes.
        steps = [Signal(WORD_BITS, name=f"step_{n}") for n in range(2)]
        now = [Signal(WORD_BITS, name=f"now_{n}") for n in range(2)]
        for n, (step, total) in enumerate(zip(steps, runs, strict=True)):
            each = self.planes * noise.STEP[n] % noise.WORD
            next_ = Mux(self.first, self.key[n] + total, step + each)
            m.d.comb += now[n].eq(Mux(begins, next_, step))
            with m.If(self.sample):
                m.d.sync += step.eq(now[n])
        of_plane = [
            Array([k * noise.STEP[n] % noise.WORD for k in range(self.planes)])[plane]
            for n in range(2)
        ]

        # A lane goes through the gates of a unit, then on by `lanes` units.
        place, second, following = Signal(WORD_BITS), Signal(WORD_BITS), Signal(WORD_BITS)
        gate = Signal(index_bits(shape.gates))
        here, current = Signal(WORD_BITS), Signal(index_bits(shape.gates))
        next_block = (shape.gates * (shape.lanes - 1) + 1) * noise.COLUMN % noise.WORD
        ends = current == shape.gates - 1
        m.d.comb += here.eq(Mux(begins, now[0], following))
        m.d.comb += current.eq(Mux(begins, 0, gate))
        with m.If(self.sample):
            m.d.sync += [place.eq(here + of_plane[0]), second.eq(now[1] + of_plane[1])]
            step_on = here + Mux(ends, next_block, noise.COLUMN)
            m.d.sync += following.eq(Mux(ends_column, step_on, here))
            m.d.sync += gate.eq(Mux(ends_column, Mux(ends, 0, current + 1), current))
        return place, second

    def _look_up(self, m: Module, words: list[Signal]) -> None:
        """Sum of two bytes' entries: bytes 0 and 1 for the cells, 2 and 3 for the ADC."""
        magnitudes = noise.magnitudes()
        m.submodules.magnitudes = table = memory.Memory(
            shape=max(magnitudes).bit_length(), depth=len(magnitudes), init=magnitudes
        )

        def entry(byte: Value) -> Value:
            port = table.read_port(domain="comb")
            m.d.comb += port.addr.eq(byte[:7])
            return Mux(byte[7], -port.data, port.data)

        for word, draw in zip(words, self.draws, strict=True):
            m.d.comb += draw.read.eq(entry(word[:8]) + entry(word[8:16]))
            m.d.comb += draw.adc.eq(entry(word[16:24]) + entry(word[24:]))


def _word(value: Value) -> Value:
    """A value modulo 2^32."""
    return value[:WORD_BITS]
