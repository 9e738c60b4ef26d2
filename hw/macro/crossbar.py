"""Crossbar model with the short pipeline, and the base that it shares with the deep one."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Module, Signal, Value, signed, unsigned
from amaranth.lib import wiring

from golden import noise
from golden.geometry import ArrayShape
from golden.parameters import ADC_NOISE_BITS, GAIN_ERROR_BITS, OFFSET_BITS
from golden.ranges import index_bits
from hw import timing
from hw.fixed import half_up
from hw.macro.columns import Columns
from hw.macro.interface import PARAMETERS, compare, macro_signature
from hw.macro.noise import WORD_BITS, NoiseGenerator

Write = tuple[Value, Value, Value]
"""Enable, address and data of a write port."""


class BehaviouralCrossbar(wiring.Component):
    """Behavioural, synthesisable model of the crossbar macro. This part holds for both pipelines.

    Cells are in memory, the charge is a multiply-add. Read noise, and the noise, offset and gain
    error of each lane are modelled. Ports: docs/macro.md. settle is `hw.timing.settle`.

    For a sample in cycle n the inputs of the row drivers must be stable from n to n + settle - 1.
    `above` compares this sample from n + settle on, until the next one has settled. A transfer on
    `program` takes one cycle. Cells and parameters may be written while no sequence is in flight,
    up to two cycles before a sample. Parameters are 0 (an ideal macro) after power-up.

    Latency: settle cycles from a sample to its comparison.
    Throughput: one sample every settle cycles.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        super().__init__(macro_signature(shape))

    def _delayed(self, m: Module, value: Value) -> Value:
        """The value; one cycle later in a pipeline with a register here."""
        raise NotImplementedError

    def _product(self, m: Module, a: Value, b: Value) -> Value:
        """a * b; two cycles later in a pipeline with registers here."""
        raise NotImplementedError

    def _samples(self, m: Module) -> Signal:
        """Bit k: a sample was taken k + 1 cycles ago. With the top bit it is held."""
        taken = Signal(timing.settle(self.shape) - 1, name="taken")
        m.d.sync += taken.eq((taken << 1) | self.sample)
        return taken

    def _held_gain(self, m: Module, sample: Value, gain: Value) -> Signal:
        """Gain of a sample, from the cycle after the sample on."""
        held = Signal(self.shape.description.adc.gain_bits, name="$signal")  # stable emitted name
        with m.If(sample):
            m.d.sync += held.eq(gain)
        return held

    def _errors(
        self, m: Module, written: Write, gain: Signal, *, load: Value | int, cycles: int
    ) -> list[tuple[Value, ...]]:
        """For each lane: read noise (in charge), gain, and error (in charge times gain).

        The error includes half an LSB for the rounding.

        written: The write on `parameters`.
        gain: Gain of the sample.
        load: Enable of the lane gain registers.
        cycles: Latency that the noise may have.
        """
        shape = self.shape
        enable, address, parameter = written
        values = self._parameters(m, enable, address, parameter)
        m.submodules.noise = generator = NoiseGenerator(shape, cycles)
        m.d.comb += [
            getattr(generator, name).eq(getattr(self, name)) for name in generator.inputs.members
        ]
        m.d.comb += [generator.key[n].eq(values[f"key_{n}"]) for n in range(2)]
        m.d.comb += [
            getattr(generator, name).eq(values[name]) for name in ("read_noise", "adc_noise")
        ]
        run = address[index_bits(shape.lanes) :] == PARAMETERS.index("run")
        m.d.comb += [generator.run.eq(parameter), generator.set_run.eq(enable & run)]

        errors = []
        for lane in range(shape.lanes):
            own = generator.noise[lane]
            lsb = self._delayed(m, own.adc + values["offset", lane] * noise.UNIT)
            shift = noise.LSB_SHIFT - shape.adc_shift
            error = half_up(lsb, shift) if shift >= 0 else lsb.shift_left(-shift)
            error = self._delayed(m, error + (1 << (shape.adc_shift - 1)))
            factor = self._delayed(m, values["gain_error", lane] + 2**noise.GAIN_ERROR_SHIFT)
            gained = self._product(m, gain, factor)
            # Unsigned: a gain error is at least -1/2, so the factor is positive.
            lane_gain = Signal(gain.shape().width + 1, name=f"gain_{lane}")
            with m.If(load):
                m.d.sync += lane_gain.eq(half_up(gained, noise.GAIN_ERROR_SHIFT))
            errors.append((own.read, lane_gain, error))
        return errors

    def _parameters(
        self, m: Module, enable: Value, address: Value, parameter: Value
    ) -> dict[Any, Signal]:
        """Registers of the parameters, by name, or by name and lane.

        Reset does not clear them.
        """
        shape, split = self.shape, index_bits(self.shape.lanes)
        shapes = {
            "read_noise": unsigned(shape.read_noise_bits),
            "adc_noise": unsigned(ADC_NOISE_BITS),
            "offset": signed(OFFSET_BITS),
            "gain_error": signed(GAIN_ERROR_BITS),
        }
        lane, number = address[:split], address[split:]
        registers: dict[Any, Signal] = {}
        for name in PARAMETERS:
            if name == "run":  # the noise generator holds and counts it
                continue
            lanes = range(shape.lanes) if name in ("offset", "gain_error") else [None]
            for own in lanes:
                label = name if own is None else f"{name}_{own}"
                register = Signal(
                    shapes.get(name, unsigned(WORD_BITS)), name=label, reset_less=True
                )
                registers[name if own is None else (name, own)] = register
                here = enable & (number == PARAMETERS.index(name))
                with m.If(here if own is None else here & (lane == own)):
                    m.d.sync += register.eq(parameter[: len(register)])
        return registers

    def _write(self, m: Module, lane: int, columns: Any) -> None:
        """Write the cells of a lane into its columns."""
        shape, program = self.shape, self.program.payload
        here = self.program.valid & self.program.ready & (program.lane == lane)
        # A write to a place that does not exist must have no effect.
        if shape.rows != 1 << len(columns.write_row):
            here &= program.row < shape.rows
        if shape.selects != 1 << len(columns.write_select):
            here &= program.select < shape.selects
        m.d.comb += [
            columns.write.eq(self._delayed(m, here)),
            columns.write_select.eq(self._delayed(m, program.select)),
            columns.write_row.eq(self._delayed(m, program.row)),
            columns.write_cell.positive.eq(self._delayed(m, program.positive)),
            columns.write_cell.negative.eq(self._delayed(m, program.negative)),
        ]

    def _hold(self, m: Module, lane: int, converted: Value, settled: Value) -> None:
        """Hold a lane's sample, in LSBs, once it has settled, and compare it."""
        lsbs = Signal(converted.shape(), name=f"lsbs_{lane}")
        with m.If(settled):
            m.d.sync += lsbs.eq(converted)
        m.d.comb += self.above[lane].eq(compare(self, lane, lsbs))


class ShortCrossbar(BehaviouralCrossbar):
    """Crossbar model with the short pipeline.

    It reads a column in one cycle and sums it in the next; the sample then waits until it is held.

    columns: Makes a lane's cells and their charge; `ColumnsInstance` for Verilog.
    """

    def __init__(self, shape: ArrayShape, columns: Callable[[ArrayShape], Any] = Columns) -> None:
        self.columns = columns
        super().__init__(shape)

    def elaborate(self, platform: object) -> Module:
        """Cycle n: sample, read the column. n + 1: sum. n + settle - 1: noise, gain, hold."""
        m = Module()
        shape = self.shape
        taken = self._samples(m)
        gain = self._held_gain(m, self.sample, self.gain)
        port = self.parameters
        written = port.enable, port.address, port.data
        errors = self._errors(m, written, gain, load=taken[0], cycles=2)

        m.d.comb += self.program.ready.eq(1)
        for lane, (read, lane_gain, error) in enumerate(errors):
            m.submodules[f"columns_{lane}"] = columns = self.columns(shape)
            self._write(m, lane, columns)
            m.d.comb += [
                columns.sample.eq(self.sample),
                columns.select.eq(self.select),
                columns.rows.eq(self.rows.as_value()),
            ]
            gained = lane_gain * (columns.charge + read)
            self._hold(m, lane, (gained + error).shift_right(shape.adc_shift), taken[-1])
        return m

    def _delayed(self, m: Module, value: Value) -> Value:
        """The value, without a register."""
        return value

    def _product(self, m: Module, a: Value, b: Value) -> Value:
        """a * b, combinational."""
        return a * b
