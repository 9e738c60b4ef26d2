"""Draws for the read and ADC noise of the behavioural crossbar (docs/contract.md, 10)."""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from golden import noise
from golden.geometry import ArrayShape
from golden.parameters import ADC_NOISE_BITS
from golden.ranges import ceil_div, index_bits
from hw.fixed import (
    by_digits,
    half_up,
    registered,
    registered_product,
    together,
    tree_sum,
    two_levels,
)

WORD_BITS = 32

STAGES = 18
"""Least latency, in cycles, that allows the generator to be pipelined."""


def draws_layout() -> data.StructLayout:
    """The two draws of a conversion."""
    bits = index_bits(2 * noise.magnitudes()[-1] + 1) + 1
    return data.StructLayout({"read": signed(bits), "adc": signed(bits)})


def noise_layout(shape: ArrayShape) -> data.ArrayLayout:
    """Noise of every lane's conversion: `read` in units of charge, `adc` in 2^-14 LSB."""
    draw = draws_layout()["read"].shape.width
    read = draw + shape.read_noise_bits + 1 - noise.READ_NOISE_SHIFT
    own = {"read": signed(read), "adc": signed(draw + ADC_NOISE_BITS)}
    return data.ArrayLayout(data.StructLayout(own), shape.lanes)


class NoiseGenerator(wiring.Component):
    """Hashes key, run, step and column to two nearly normal draws per lane, and scales them.

    sample (in): strobe: select `select` is sampled. Selects ascend in a step; select 0 starts a
        step.
    first (in): with select 0: the step starts a run.
    plane (in): plane of the sample; only with several planes.
    key (in): the two key words of the crossbar.
    run, set_run (in): number of the next run, captured while `set_run` is high; 0 after reset.
    read_noise, adc_noise (in): amplitudes (docs/contract.md, 10).
    noise (out): noise of a sample, from `latency` cycles after it until the next sample's noise.

    cycles: Latency that the generator may have. From `STAGES` on it is pipelined, with at most a
    few additions per cycle, and lanes are hashed one after the other as far as the time allows.

    Latency: `latency` cycles from a sample to its noise.
    """

    def __init__(self, shape: ArrayShape, cycles: int = 2) -> None:
        self.shape = shape
        self.planes = shape.description.dac.planes
        self.turns = min(shape.lanes, cycles - STAGES + 1) if cycles >= STAGES else 0
        self.inputs = data.StructLayout(
            {"sample": 1, "first": 1, "select": index_bits(shape.selects)}
            | ({"plane": index_bits(self.planes)} if self.planes > 1 else {})
        )
        members = {name: In(width) for name, width in self.inputs.members.items()}
        members |= {
            "key": In(data.ArrayLayout(WORD_BITS, 2)),
            "run": In(WORD_BITS),
            "set_run": In(1),
            **{"read_noise": In(shape.read_noise_bits), "adc_noise": In(ADC_NOISE_BITS)},
            "noise": Out(noise_layout(shape)),
        }
        super().__init__(members)

    @property
    def latency(self) -> int:
        """2 cycles; if pipelined, those of the stages and of the further turns."""
        return STAGES + self.turns - 1 if self.turns else 2

    def elaborate(self, platform: object) -> Module:
        """Cycle 0: place of the sample. 1: first multiplication. 2: second, and look-up."""
        m = Module()
        if self.turns:
            self._pipeline(m)
            return m
        set_run, words = (self.set_run, [_word(self.run * factor) for factor in noise.RUN])
        begins = Signal()
        m.d.comb += begins.eq(self._begins(self))
        place, step = self._place(m, self, begins, set_run, words)
        taken = Signal()
        m.d.sync += taken.eq(self.sample)
        mixed = []
        for lane in range(self.shape.lanes):
            start = _word(place + self._of_lanes(lane))
            once = Signal(WORD_BITS, name=f"once_{lane}")
            with m.If(taken):
                m.d.sync += once.eq((start ^ (start >> 16)) * noise.MIX[0] + step)
            twice = _word((once ^ (once >> 15)) * noise.MIX[1])
            mixed.append(twice ^ (twice >> 16))
        for own, draw in zip(self.noise, self._look_up(m, mixed), strict=True):
            read = draw.read * self.read_noise
            m.d.comb += own.read.eq(half_up(read, noise.READ_NOISE_SHIFT))
            m.d.comb += own.adc.eq(draw.adc * self.adc_noise)
        return m

    def _pipeline(self, m: Module) -> None:
        """The generator as `at_once` pipelines, each of which has every `at_once`th lane.

        Cycle 2: place of the sample. 3: place of the lane. 4 to 6: first multiplication. 7: mix its
        bits. 8 to 10: second multiplication. 11 to 13: look-up. 14: sum. 15, 16: multiply by the
        amplitudes. 17: round.
        """
        shape = self.shape
        at_once = ceil_div(shape.lanes, self.turns)
        # Inputs with a long route are registered twice. A run that is set is multiplied in that
        # time.
        early = Signal(self.inputs)
        late = Signal(self.inputs)
        begins = Signal()
        m.d.sync += [early[name].eq(getattr(self, name)) for name in self.inputs.members]
        m.d.sync += [late.eq(early), begins.eq(self._begins(early))]
        set_run = Signal()
        m.d.sync += set_run.eq(self.set_run)
        parts = [together(by_digits(self.run, factor, WORD_BITS)) for factor in noise.RUN]
        words = [_word(tree_sum([registered(m, part) for part in of_run])) for of_run in parts]
        place, step = self._place(m, late, begins, set_run, words)
        comes = Signal(self.latency)  # bit k: a sample was taken k + 1 cycles ago
        m.d.sync += comes.eq(Cat(self.sample, comes))
        mixed = []
        for first in range(at_once):
            names = ("start", "start_mixed", "once", "once_mixed", "twice", "twice_mixed")
            start, start_mixed, once, once_mixed, twice, twice_mixed = (
                Signal(WORD_BITS, name=f"{name}_{first}", reset_less=True) for name in names
            )
            following = _word(start + self._of_lanes(at_once))
            at = Mux(comes[2], _word(place + self._of_lanes(first)), following)
            m.d.sync += [
                start.eq(at),
                start_mixed.eq(at ^ (at >> 16)),
                once.eq(_multiplied(m, start_mixed, noise.MIX[0]) + step),
                once_mixed.eq(once ^ (once >> 15)),
                twice.eq(_multiplied(m, once_mixed, noise.MIX[1])),
                twice_mixed.eq(twice ^ (twice >> 16)),
            ]
            mixed.append(twice_mixed)
        found = []
        for draw in self._look_up(m, mixed):
            drawn = draws_layout()(registered(m, draw.as_value()))
            read = registered_product(m, drawn.read, self.read_noise)
            own = registered_product(m, drawn.adc, self.adc_noise)
            found.append((half_up(read, noise.READ_NOISE_SHIFT), own))
        for lane, own in enumerate(self.noise):
            turn, pipeline = divmod(lane, at_once)
            held = Signal.like(own, name=f"noise_{lane}")
            with m.If(comes[STAGES - 2 + turn]):
                m.d.sync += [held.read.eq(found[pipeline][0]), held.adc.eq(found[pipeline][1])]
            m.d.comb += own.eq(held)

    def _of_lanes(self, lanes: int) -> int:
        """Increment of a place for so many lanes."""
        return lanes * self.shape.gates * noise.COLUMN % noise.WORD

    def _begins(self, inputs: Any) -> Value:
        """Whether a sample is the first of a step."""
        begins: Value = inputs.select == 0
        return begins & (inputs.plane == 0) if self.planes > 1 else begins

    def _place(
        self, m: Module, inputs: Any, begins: Signal, set_run: Value, run: list[Value]
    ) -> tuple[Signal, Signal]:
        """The two Weyl sequences at a sample's first lane, registered with the sample.

        inputs: The generator's ports, or registered ones.
        begins: The sample is the first of a step.
        run: Increments of the two sequences for the run that `set_run` sets.
        """
        shape, plane = self.shape, inputs.plane if self.planes > 1 else Const(0)
        sample, first = inputs.sample, inputs.first
        ends_column = Signal()
        m.d.comb += ends_column.eq(plane == self.planes - 1)

        # Increments of the runs so far, to be added to the key.
        runs = [Signal(WORD_BITS, name=f"runs_{n}") for n in range(2)]
        for n, total in enumerate(runs):
            with m.If(set_run):
                m.d.sync += total.eq(run[n])
            with m.Elif(sample & begins & first):
                m.d.sync += total.eq(total + noise.RUN[n])

        # The sequences at column 0. Each plane is a step of its own (docs/contract.md, 10).
        steps = [Signal(WORD_BITS, name=f"step_{n}") for n in range(2)]
        now = [Signal(WORD_BITS, name=f"now_{n}") for n in range(2)]
        for n, (step, total) in enumerate(zip(steps, runs, strict=True)):
            each = self.planes * noise.STEP[n] % noise.WORD
            standing = (_word(self.key[n] + total), _word(step + each))
            fresh, onward = (self._registered(m, value) for value in standing)
            next_ = Mux(first, fresh, onward)
            m.d.comb += now[n].eq(Mux(begins, next_, step))
            with m.If(sample):
                m.d.sync += step.eq(now[n])
        of_plane = [
            Array([k * noise.STEP[n] % noise.WORD for k in range(self.planes)])[plane]
            for n in range(2)
        ]

        # A lane converts the gates of a unit, then moves on by `lanes` units.
        place = Signal(WORD_BITS)
        second = Signal(WORD_BITS)
        gate = Signal(index_bits(shape.gates))
        here = Signal(WORD_BITS, name="place_now")
        current = Signal(index_bits(shape.gates))
        before = Signal(WORD_BITS)
        onwards = Signal(WORD_BITS)
        following = self._registered(m, _word(before + onwards))
        next_block = (shape.gates * (shape.lanes - 1) + 1) * noise.COLUMN % noise.WORD
        ends = current == shape.gates - 1
        m.d.comb += here.eq(Mux(begins, now[0], following))
        m.d.comb += current.eq(Mux(begins, 0, gate))
        with m.If(sample):
            m.d.sync += [place.eq(here + of_plane[0]), second.eq(now[1] + of_plane[1])]
            column = Mux(ends, next_block, noise.COLUMN)
            m.d.sync += [before.eq(here), onwards.eq(Mux(ends_column, column, 0))]
            m.d.sync += gate.eq(Mux(ends_column, Mux(ends, 0, current + 1), current))
        return place, second

    def _registered(self, m: Module, value: Value) -> Value:
        """The value; if pipelined, one cycle later."""
        return registered(m, value) if self.turns else value

    def _look_up(self, m: Module, words: list[Value]) -> list[data.View]:
        """Draws of each word: bytes 0 and 1 for the cells, 2 and 3 for the ADC.

        A draw is the sum of the entries of its two bytes. If pipelined, it comes two cycles after
        its word.
        """
        magnitudes = noise.magnitudes()
        m.submodules.magnitudes = table = memory.Memory(
            shape=max(magnitudes).bit_length(), depth=len(magnitudes), init=magnitudes
        )

        def entry(byte: Value) -> Value:
            port = table.read_port(domain="comb")
            m.d.comb += port.addr.eq(byte[:7])
            sign, magnitude = (self._registered(m, part) for part in (byte[7], port.data))
            return self._registered(m, Mux(sign, -magnitude, magnitude))

        found = []
        for n, word in enumerate(words):
            draw = Signal(draws_layout(), name=f"found_{n}")
            m.d.comb += draw.read.eq(entry(word[:8]) + entry(word[8:16]))
            m.d.comb += draw.adc.eq(entry(word[16:24]) + entry(word[24:]))
            found.append(draw)
        return found


def _word(value: Value) -> Value:
    """A value modulo 2^32."""
    return value[:WORD_BITS]


def _multiplied(m: Module, value: Value, factor: int) -> Value:
    """Product modulo 2^32, two cycles later; the constants have 11 to 13 nonzero digits."""
    return _word(two_levels(m, by_digits(value, factor, WORD_BITS)))
