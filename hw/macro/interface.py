"""The crossbar macro's one port list (docs/macro.md), and the macro as a black box."""

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
    """The place of a cell, as fields: in its crossbar; then which, where there are several."""
    macro = shape.macro
    inside = {"lane": macro.lanes, "select": macro.selects, "row": macro.rows}
    place = {name: unsigned(index_bits(count)) for name, count in inside.items()}
    return place | {name: unsigned(bits) for name, bits in tile_fields(shape)}


def tile_fields(shape: ArrayShape) -> Fields:
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


def parameters_region(shape: ArrayShape) -> Region:
    """Where the parameters of a crossbar, or of each of several, are written."""
    lanes = index_bits(shape.macro.lanes)
    inside = (("lane", lanes), ("parameter", index_bits(len(PARAMETERS))))
    fields = (*inside, *tile_fields(shape))
    return Region(name="parameters", fields=fields, data=(("value", WORD_BITS),))


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
    """What the comparators of a lane say of a sample in LSBs."""
    adc = macro.shape.description.adc
    if adc.kind == "flash":
        return Cat(lsbs >= code for code in range(adc.range.low + 1, adc.range.high + 1))
    return Value.cast(lsbs >= macro.trial[lane])


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
