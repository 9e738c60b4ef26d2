"""Array of a layer or the head: row drivers, crossbars and their readout."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.geometry import ArrayShape
from hw.adc import Readout, codes_layout
from hw.dac import RowDrivers, step_layout
from hw.levels import LevelTable
from hw.macro.columns import Columns
from hw.macro.crossbar import BehaviouralCrossbar, ShortCrossbar
from hw.macro.crossbar_deep import DeepCrossbar
from hw.macro.interface import parameters_region, program_layout, tile_fields
from hw.regions import Region

MacroMaker = Callable[[ArrayShape], Any]
"""Makes a view of the crossbar macro for the shape of one crossbar, which has no tiles."""


def crossbar_model(
    shape: ArrayShape, columns: Callable[[ArrayShape], Any] = Columns
) -> BehaviouralCrossbar:
    """Behavioural model of the macro with the pipeline of the description.

    columns: Makes a lane's columns, see `ShortCrossbar`; the deep pipeline ignores it.
    """
    return DeepCrossbar(shape) if shape.deep else ShortCrossbar(shape, columns)


LOADED = ("cells", "cell_levels", "levels", "parameters", "gains")
"""Names of the ports through which an array is loaded."""


class TiledArray(wiring.Component):
    """All crossbars of an array, which sample in the same cycles (docs/contract.md, 3).

    i (in, stream): a step on the rows.
    o (out, stream): ADC codes, one beat per select.
    cells, cell_levels (in, streams), levels (in): see `LevelTable` in hw/levels.py.
    parameters (in): write port of the parameters of every crossbar (hw/macro/interface.py).
    gains (in): write port of the gains, one word per gate and row tile.
    Load only while no step is in flight.

    Latency, throughput: those of `Readout`.
    """

    def __init__(self, shape: ArrayShape, macro: MacroMaker) -> None:
        self.shape = shape
        self.readout, self.level_table = Readout(shape), LevelTable(shape)
        self.macros = [
            [macro(shape.macro) for _ in range(shape.column_tiles)] for _ in shape.row_tiles
        ]
        super().__init__(
            {
                "i": In(stream.Signature(step_layout(shape.rows, shape.description))),
                "o": Out(stream.Signature(codes_layout(shape))),
                **{n: Out(getattr(self.level_table, n).signature) for n in LOADED[:3]},
                "parameters": In(parameters_region(shape).port),
                "gains": Out(self.readout.gains.signature),
            }
        )

    @staticmethod
    def regions(shape: ArrayShape) -> tuple[Region, ...]:
        """Load regions of an array."""
        parts = (*LevelTable.regions(shape), Readout.gains_region(shape))
        return (*parts, parameters_region(shape))

    def elaborate(self, platform: object) -> Module:
        """Connect drivers, readout and level table to every crossbar."""
        m = Module()
        shape, description = self.shape, self.shape.description
        readout, table = self.readout, self.level_table
        m.submodules.readout, m.submodules.level_table = readout, table
        m.submodules.drivers = drivers = RowDrivers(shape.rows, description)
        wiring.connect(m, wiring.flipped(self.i), readout.i)
        wiring.connect(m, readout.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.gains), readout.gains)
        for name in LOADED[:3]:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(table, name))
        m.d.comb += [drivers.codes.eq(self.i.payload.rows), drivers.sample.eq(readout.sample)]
        if description.dac.planes > 1:
            m.d.comb += drivers.plane.eq(readout.plane)

        m.d.comb += table.o.ready.eq(1)
        lanes = shape.macro.lanes
        for r, (tile, macros) in enumerate(zip(shape.row_tiles, self.macros, strict=True)):
            for c, macro in enumerate(macros):
                m.submodules[f"macro_{r}_{c}" if shape.macros > 1 else "macro"] = macro
                # Rows that a smaller tile does not use stay 0, and their cells are never written.
                m.d.comb += [macro.rows[n].eq(drivers.rows[row]) for n, row in enumerate(tile)]
                for name in ("sample", "first", "select", "plane"):
                    if name in macro.signature.members:
                        m.d.comb += getattr(macro, name).eq(getattr(readout, name))
                m.d.comb += macro.gain.eq(readout.gain[r])
                for n in range(lanes):
                    lane = c * lanes + n
                    m.d.comb += readout.above[r][lane].eq(macro.above[n])
                    if "trial" in macro.signature.members:
                        m.d.comb += macro.trial[n].eq(readout.trial[r][lane])
                self._load(m, macro, {"row_tile": r, "column_tile": c})
        return m

    def _load(self, m: Module, macro: Any, number: dict[str, int]) -> None:
        """Route cells and parameters to one crossbar. number: its tile numbers by field."""
        cell, fields = self.level_table.o, tile_fields(self.shape)
        own = Signal()
        m.d.comb += own.eq(_all(cell.payload[name] == number[name] for name, _ in fields))
        m.d.comb += macro.program.valid.eq(cell.valid & own)
        for name in program_layout(self.shape.macro).members:
            m.d.comb += macro.program.payload[name].eq(cell.payload[name])
        with m.If(own):
            m.d.comb += cell.ready.eq(macro.program.ready)

        at = 0
        here: list[Value] = []
        for name, bits in parameters_region(self.shape).fields:
            if name in number:
                here.append(self.parameters.address[at : at + bits] == number[name])
            at += bits
        m.d.comb += [
            macro.parameters.enable.eq(self.parameters.enable & _all(here)),
            macro.parameters.address.eq(self.parameters.address),
            macro.parameters.data.eq(self.parameters.data),
        ]


def _all(conditions: Any) -> Value:
    """AND of all conditions; 1 if there are none."""
    result = Value.cast(1)
    for condition in conditions:
        result &= condition
    return result
