"""Port list of the crossbar macro (docs/macro.md), and the macro as a black box."""

from typing import Any

from amaranth.hdl import Cat, Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.geometry import ArrayShape
from golden.ranges import index_bits
from hw.adc import above_layout, trial_layout
from hw.macro.noise import WORD_BITS
from hw.ports import instance
from hw.regions import Fields, Region


def cell_place(shape: ArrayShape) -> dict[str, Shape]:
    """Fields of a cell's place: within its crossbar, then the crossbar's tile numbers."""
    macro = shape.macro
    inside = {"lane": macro.lanes, "select": macro.selects, "row": macro.rows}
    place = {name: unsigned(index_bits(count)) for name, count in inside.items()}
    return place | {name: unsigned(bits) for name, bits in tile_fields(shape)}


def tile_fields(shape: ArrayShape) -> Fields:
    """Fields of a crossbar's tile numbers with their bits; only where there are several."""
    counts = {"column_tile": shape.column_tiles, "row_tile": len(shape.row_tiles)}
    return tuple((name, (n - 1).bit_length()) for name, n in counts.items() if n > 1)


def tile_place(shape: ArrayShape, *, row_tile: Any, column_tile: Any) -> dict[str, Any]:
    """The tile fields with the numbers of one crossbar, or of many."""
    numbers = {"row_tile": row_tile, "column_tile": column_tile}
    return {name: numbers[name] for name, _ in tile_fields(shape)}


def program_layout(shape: ArrayShape) -> data.StructLayout:
    """One cell to program: its place and the conductance codes of its two devices."""
    code = unsigned(shape.description.device.conductance_bits)
    return data.StructLayout({"positive": code, "negative": code, **cell_place(shape)})


PARAMETERS = ("key_0", "key_1", "run", "read_noise", "adc_noise", "offset", "gain_error")
"""Parameters of the behavioural model by number; each lane has its offset and gain_error."""


def parameters_region(shape: ArrayShape) -> Region:
    """Load region of the parameters of all crossbars of an array."""
    lanes = index_bits(shape.macro.lanes)
    inside = (("lane", lanes), ("parameter", index_bits(len(PARAMETERS))))
    fields = (*inside, *tile_fields(shape))
    return Region(name="parameters", fields=fields, data=(("value", WORD_BITS),))


def macro_signature(shape: ArrayShape) -> wiring.Signature:
    """Ports of the macro, with its own directions. shape: That of one crossbar, without tiles.

    rows (in): values on the rows: DAC codes; or -1, 0 and 1 for pulses and for bits.
    sample (in): strobe: sample column `select` of every lane, at `gain`.
    first (in): with `sample`: the step is the first of a sequence.
    select (in): position of the column multiplexers.
    plane (in): plane on the rows, 0 for the most significant bit; only with several planes.
    gain (in): gain of this sample, 1 or more.
    trial (in): code that each lane compares its sample with; not with a flash ADC.
    above (out): one bit per lane: the sample, in LSBs and rounded half up, is >= `trial`. Flash
        ADC: one bit for each code but the lowest: the sample is >= that code.
    program (in, stream): cells to write, one per transfer.
    parameters (in): write port of parameters that trim the macro or set its errors. A view of the
        macro ignores those that it does not implement.
    """
    description = shape.description
    members: dict[str, wiring.Member] = {
        "rows": In(data.ArrayLayout(signed(description.dac.drive_width), shape.rows)),
        "sample": In(1),
        "first": In(1),
        "select": In(index_bits(shape.selects)),
        "gain": In(description.adc.gain_bits),
        "above": Out(above_layout(shape)),
        "program": In(stream.Signature(program_layout(shape))),
        "parameters": In(parameters_region(shape).port),
    }
    if description.adc.kind != "flash":
        members["trial"] = In(trial_layout(shape))
    if description.dac.planes > 1:
        members["plane"] = In(index_bits(description.dac.planes))
    return wiring.Signature(members)


def compare(macro: Any, lane: int, lsbs: Signal) -> Value:
    """Comparator outputs of a lane for a sample in LSBs."""
    adc = macro.shape.description.adc
    if adc.kind == "flash":
        return Cat(lsbs >= code for code in range(adc.range.low + 1, adc.range.high + 1))
    return Value.cast(lsbs >= macro.trial[lane])


class CrossbarMacro(wiring.Component):
    """Crossbar macro as a black box: an instance of the Verilog module `module`.

    That module has the ports of `macro_signature` (`program__payload`, ...), `clk` and `rst`.
    docs/macro.md describes the ports and the timing.
    """

    def __init__(self, shape: ArrayShape, module: str) -> None:
        self.shape, self.module = shape, module
        super().__init__(macro_signature(shape))

    def elaborate(self, platform: object) -> Module:
        """Only the instance."""
        m = Module()
        m.submodules.macro = instance(self, self.module)
        return m
