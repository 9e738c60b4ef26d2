"""The crossbar macro: one port list (docs/macro.md) and its behavioural model."""

from collections.abc import Callable
from functools import partial
from typing import Any

from amaranth.hdl import Cat, Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden import noise
from golden.description import ADC_NOISE_BITS, GAIN_ERROR_BITS, OFFSET_BITS, ArrayShape
from golden.fixed import index_bits
from hw.adc import above_layout, trial_layout
from hw.fixed import half_up, registered, registered_product, saturate
from hw.macro.columns import Columns, RowGroups, SerialColumns
from hw.macro.noise import WORD_BITS, NoiseGenerator
from hw.ports import WritePort, instance

AFTER_NOISE = 5
"""Stages from a sample's noise to what is held: charge, gain (two), error, code."""


def cell_place(shape: ArrayShape) -> dict[str, Shape]:
    """The place of a cell, as fields: in its crossbar; then which, where there are several."""
    macro = shape.macro
    inside = {"lane": macro.lanes, "select": macro.selects, "row": macro.rows}
    place = {name: unsigned(index_bits(count)) for name, count in inside.items()}
    return place | {name: unsigned(bits) for name, bits in tile_fields(shape)}


def tile_fields(shape: ArrayShape) -> tuple[tuple[str, int], ...]:
    """Fields of the number of a crossbar, the lowest first, and their bits."""
    counts = {"column_tile": shape.column_tiles, "row_tile": len(shape.row_tiles)}
    return tuple((name, (n - 1).bit_length()) for name, n in counts.items() if n > 1)


def tile_place(shape: ArrayShape, *, row_tile: Any, column_tile: Any) -> dict[str, Any]:
    """Those fields with the numbers of a crossbar, or of many."""
    numbers = {"row_tile": row_tile, "column_tile": column_tile}
    return {name: numbers[name] for name, _ in tile_fields(shape)}


def program_layout(shape: ArrayShape) -> data.StructLayout:
    """One cell to program: its place and the conductance codes of its two devices."""
    code = unsigned(shape.description.device.conductance_bits)
    return data.StructLayout({"positive": code, "negative": code, **cell_place(shape)})


PARAMETERS = ("key_0", "key_1", "run", "read_noise", "adc_noise", "offset", "gain_error")
"""Parameters of the behavioural model by number; offset and gain_error are a lane's."""


def parameter_fields(shape: ArrayShape) -> tuple[tuple[str, int], ...]:
    """Fields of a parameter's address, the lowest first, and their bits."""
    lanes = index_bits(shape.macro.lanes)
    inside = (("lane", lanes), ("parameter", index_bits(len(PARAMETERS))))
    return (*inside, *tile_fields(shape))


def macro_signature(shape: ArrayShape) -> wiring.Signature:
    """The port list of the macro, as the macro sees it; of a shape that is not cut into tiles.

    rows:    what is on the rows: DAC codes; pulses, or bits, with a sign.
    sample:  in the cycle it is high, take the charge of column `select` of every lane.
    first:   with `sample`: the step is the first of a sequence.
    select:  position of every lane's column multiplexer.
    plane:   which of several samples of a column it is (bit-serial DACs only).
    gain:    gain of the sample, 1 and up.
    trial:   code that each lane's comparator compares with (not with flash ADCs).
    above:   a bit a lane: the sample, in LSBs and rounded half-up, is >= `trial`. Of flash ADCs a
             bit for each code but the lowest: the sample is >= that.
    program: cells to write, one each transfer.
    parameters: what trims a body or makes it err; a body ignores those it does not have.
    """
    description = shape.description
    address_bits = sum(bits for _, bits in parameter_fields(shape))
    members: dict[str, wiring.Member] = {
        "rows": In(data.ArrayLayout(signed(description.dac.drive_width), shape.rows)),
        "sample": In(1),
        "first": In(1),
        "select": In(index_bits(shape.selects)),
        "gain": In(description.adc.gain_bits),
        "above": Out(above_layout(shape)),
        "program": In(stream.Signature(program_layout(shape))),
        "parameters": In(WritePort(address_bits, WORD_BITS)),
    }
    if description.adc.kind != "flash":
        members["trial"] = In(trial_layout(shape))
    if description.dac.planes > 1:
        members["plane"] = In(index_bits(description.dac.planes))
    return wiring.Signature(members)


def compare(macro: Any, lane: int, lsbs: Signal) -> Value:
    """What the comparators of a lane say of a sample in LSBs."""
    adc = macro.shape.description.adc
    if adc.kind == "flash":
        return Cat(lsbs >= code for code in range(adc.range.low + 1, adc.range.high + 1))
    return Value.cast(lsbs >= macro.trial[lane])


class CrossbarModel(wiring.Component):
    """Behavioural, synthesisable model of the macro: cells in memory, charge by multiply-add, read
    noise, and lanes with noise, offsets and errors of gain.

    With settle for `shape.settle`: a sample taken in cycle n is compared from cycle n + settle on,
    until the next one gets there; a sample may be taken every `settle` cycles. What drives the rows
    is to be stable from the sample's cycle to n + settle - 1. A transfer on `program` takes one
    cycle. Cells and parameters are written while no sequence is under way, until two cycles before
    a sample; all parameters are 0, no error at all, until then.
    Where samples have time for it (`shape.staged`) all is in stages, with no more than a
    few additions between registers: that is for an FPGA.
    columns: what makes a lane's cells and their charge elsewhere; `ColumnsInstance` for Verilog.
    """

    def __init__(self, shape: ArrayShape, columns: Callable[[ArrayShape], Any] = Columns) -> None:
        self.shape = shape
        self.columns = columns
        super().__init__(macro_signature(shape))

    def elaborate(self, platform: object) -> Module:
        """Cycle n: sample, read the column. n + 1: sum. n + settle - 1: noise, gain, hold. In
        stages, what leads there is in the four cycles before, and in those before them; and what
        comes from afar first gets registers."""
        m = Module()
        shape, description = self.shape, self.shape.description
        staged = shape.staged

        taken = Signal(shape.settle - 1)  # bit k: a sample, k + 1 cycles ago
        m.d.sync += taken.eq((taken << 1) | self.sample)
        inputs = {"sample": self.sample, "select": self.select, "rows": self.rows.as_value()}
        inputs = {name: self._stage(m, value) for name, value in inputs.items()}
        gain, now = Signal(description.adc.gain_bits), self._stage(m, self.gain)
        with m.If(inputs["sample"]):
            m.d.sync += gain.eq(now)
        make: Callable[[ArrayShape], Any] = self.columns
        if staged:
            m.submodules.groups = groups = RowGroups(shape)
            make = partial(SerialColumns, groups=groups)
            m.d.comb += [getattr(groups, name).eq(value) for name, value in inputs.items()]
            inputs = {name: getattr(groups, name) for name in SerialColumns.led}
        errors = self._errors(m, taken[0], gain)

        m.d.comb += self.program.ready.eq(1)
        for lane, (read, lane_gain, error) in enumerate(errors):
            m.submodules[f"columns_{lane}"] = columns = make(shape)
            self._write(m, lane, columns)
            m.d.comb += [getattr(columns, name).eq(value) for name, value in inputs.items()]
            charge = self._stage(m, columns.charge + read)
            gained = self._product(m, lane_gain, charge)
            converted = (gained + error).shift_right(shape.adc_shift)
            if staged:  # beyond the codes there is nothing to compare with
                converted = saturate(self._stage(m, converted), description.adc.range)
            lsbs = Signal(converted.shape(), name=f"lsbs_{lane}")
            with m.If(taken[-1]):
                m.d.sync += lsbs.eq(converted)
            m.d.comb += self.above[lane].eq(compare(self, lane, lsbs))
        return m

    def _stage(self, m: Module, value: Value) -> Value:
        """The value in a register of its own, a cycle later, where samples have time for that."""
        if not self.shape.staged:
            return value
        return registered(m, value)

    def _product(self, m: Module, a: Value, b: Value) -> Value:
        """Their product, two cycles later where samples have time for that."""
        return registered_product(m, a, b) if self.shape.staged else a * b

    def _errors(self, m: Module, taken: Value, gain: Signal) -> list[tuple[Value, ...]]:
        """For each lane the read noise (charge), its gain, and what it adds (charge times gain)
        with the half of an LSB by which is rounded, in time for cycle n + settle - 1 or the stages
        before it."""
        shape = self.shape
        enable, address, parameter = self._written(m)
        written = self._parameters(m, enable, address, parameter)
        cycles = shape.settle - AFTER_NOISE if self.shape.staged else 2
        m.submodules.noise = generator = NoiseGenerator(shape, cycles)
        m.d.comb += [
            getattr(generator, name).eq(getattr(self, name)) for name in generator.inputs.members
        ]
        m.d.comb += [generator.key[n].eq(written[f"key_{n}"]) for n in range(2)]
        m.d.comb += [
            getattr(generator, name).eq(written[name]) for name in ("read_noise", "adc_noise")
        ]
        run = address[index_bits(shape.lanes) :] == PARAMETERS.index("run")
        m.d.comb += [generator.run.eq(parameter), generator.set_run.eq(enable & run)]

        errors = []
        for lane in range(shape.lanes):
            own = generator.noise[lane]
            lsb = self._stage(m, own.adc + written["offset", lane] * noise.UNIT)
            shift = noise.LSB_SHIFT - shape.adc_shift
            error = half_up(lsb, shift) if shift >= 0 else lsb.shift_left(-shift)
            error = self._stage(m, error + (1 << (shape.adc_shift - 1)))
            factor = self._stage(m, written["gain_error", lane] + 2**noise.GAIN_ERROR_SHIFT)
            gained = self._product(m, gain, factor)
            # The factor is not negative: what was written is at least -1/2.
            lane_gain = Signal(gain.shape().width + 1, name=f"gain_{lane}")
            with m.If(1 if self.shape.staged else taken):
                m.d.sync += lane_gain.eq(half_up(gained, noise.GAIN_ERROR_SHIFT))
            errors.append((own.read, lane_gain, error))
        return errors

    def _written(self, m: Module) -> tuple[Value, Value, Value]:
        """What is on `parameters`; a cycle later where samples have time for that."""
        port = self.parameters
        if not self.shape.staged:
            return port.enable, port.address, port.data
        enable = Signal(name="parameters_enable")  # reset takes back a run
        m.d.sync += enable.eq(port.enable)
        return enable, registered(m, port.address), registered(m, port.data)

    def _parameters(
        self, m: Module, enable: Value, address: Value, parameter: Value
    ) -> dict[Any, Signal]:
        """Registers for what comes in on `parameters`, by name, or by name and lane; reset keeps
        them."""
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
            if name == "run":  # the noise generator counts it
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
        """Cells of a lane into its columns."""
        shape, program = self.shape, self.program.payload
        here = self.program.valid & self.program.ready & (program.lane == lane)
        # A place that there is not has no effect.
        if shape.rows != 1 << len(columns.write_row):
            here &= program.row < shape.rows
        if shape.selects != 1 << len(columns.write_select):
            here &= program.select < shape.selects
        m.d.comb += [
            columns.write.eq(self._stage(m, here)),
            columns.write_select.eq(self._stage(m, program.select)),
            columns.write_row.eq(self._stage(m, program.row)),
            columns.write_cell.positive.eq(self._stage(m, program.positive)),
            columns.write_cell.negative.eq(self._stage(m, program.negative)),
        ]


class CrossbarStub(wiring.Component):
    """The macro's port list, clock and reset too, with nothing behind it."""

    def __init__(self, shape: ArrayShape) -> None:
        super().__init__({"clk": In(1), "rst": In(1), **macro_signature(shape).members})

    def elaborate(self, platform: object) -> Module:
        """Empty."""
        return Module()


class CrossbarMacro(wiring.Component):
    """The macro as a black box: an instance of the Verilog module `module`, which has the
    ports of `macro_signature` (`program__payload`, ...), `clk` and `rst`."""

    def __init__(self, shape: ArrayShape, module: str) -> None:
        self.shape, self.module = shape, module
        super().__init__(macro_signature(shape))

    def elaborate(self, platform: object) -> Module:
        """Nothing but the instance."""
        m = Module()
        m.submodules.macro = instance(self, self.module)
        return m
