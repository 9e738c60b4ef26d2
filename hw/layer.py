"""A recurrent layer: sequencer, crossbar, readout and gate pipeline in a loop."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.description import ArrayShape
from golden.fixed import ceil_div
from hw.adc import SarReadout
from hw.crossbar import CrossbarModel
from hw.dac import DacSequencer
from hw.gates import GatePipeline
from hw.levels import LevelTable
from hw.lstm import LstmGates
from hw.ports import vector_stream
from hw.rnn import RnnGates

GATES: dict[str, type[GatePipeline]] = {"lstm": LstmGates, "rnn": RnnGates}

MacroMaker = Callable[[ArrayShape], wiring.Component]
"""Gives the body of the crossbar macro for an array."""


class RecurrentLayer(wiring.Component):
    """One layer: x in, h out, a vector a step.

    `i`: x in beats of `beat` codes. `o`: h in beats of `shape.units_per_beat`. `cells`,
    `cell_levels`, `levels`, `parameters`, `gains` and those of the gates (`bias`, `gate_tables`,
    ...): see the blocks; loaded between sequences.
    Throughput: a step each `cycles_per_step` cycles if x is there and h is taken; the first
    step of a sequence need not wait for h.
    """

    def __init__(self, shape: ArrayShape, *, beat: int, macro: MacroMaker = CrossbarModel) -> None:
        self.shape = shape
        self.dac = DacSequencer(
            inputs=shape.rows - shape.units,
            beat=beat,
            units=shape.units,
            units_per_beat=shape.units_per_beat,
            description=shape.description,
        )
        self.adc = SarReadout(shape)
        self.gates = GATES[shape.description.cell.kind](shape)
        self.macro, self.level_table = macro(shape), LevelTable(shape)
        super().__init__(
            {
                "i": In(vector_stream(beat, shape.description)),
                "o": Out(vector_stream(shape.units_per_beat, shape.description)),
                **array_ports(self.macro, self.adc, self.level_table),
                **{name: Out(getattr(self.gates, name).signature) for name in self.gates.loaded},
            }
        )

    @property
    def cycles_per_step(self) -> int:
        """Cycles from a step's first sample to the next step's: the loop through h, or, where x
        is long and its beats narrow, the time to take x."""
        shape = self.shape
        tail = shape.units - (shape.blocks - 1) * shape.lanes  # units of the last block
        loop = (
            (shape.selects - 1) * shape.period
            + self.adc.latency
            + self.gates.latency
            + (ceil_div(tail, shape.units_per_beat) - 1)
            + self.dac.latency
        )
        return max(loop, self.dac.beats + 1)

    def elaborate(self, platform: object) -> Module:
        """Wires."""
        m = Module()
        connect_array(m, self)
        m.submodules.gates = gates = self.gates
        dac = self.dac
        wiring.connect(m, wiring.flipped(self.i), dac.i)
        wiring.connect(m, self.adc.o, gates.i)
        wiring.connect(m, gates.o, wiring.flipped(self.o))
        for name in gates.loaded:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(gates, name))
        # h goes back as it goes out; after a sequence's last step nobody wants it.
        m.d.comb += [
            dac.feed.eq(self.o.valid & self.o.ready & ~self.o.payload.last),
            dac.feedback.eq(self.o.payload.codes),
        ]
        return m


def array_ports(
    macro: wiring.Component, adc: SarReadout, level_table: LevelTable
) -> dict[str, wiring.Member]:
    """The ports through which an array is loaded."""
    return {
        "cells": Out(level_table.cells.signature),
        "cell_levels": Out(level_table.cell_levels.signature),
        "levels": Out(level_table.levels.signature),
        "parameters": Out(macro.parameters.signature),
        "gains": Out(adc.gains.signature),
    }


def connect_array(m: Module, block: Any) -> None:
    """The macro of a block with `array_ports`: rows from its sequencer, samples and comparisons
    with its readout, cells through its level table."""
    m.submodules.dac, m.submodules.adc = dac, adc = block.dac, block.adc
    m.submodules.macro, m.submodules.level_table = macro, table = block.macro, block.level_table
    wiring.connect(m, dac.o, adc.i)
    m.d.comb += [macro.rows.eq(dac.o.payload.rows), adc.above.eq(macro.above)]
    names = ("sample", "first", "select", "gain", "trial")
    m.d.comb += [getattr(macro, name).eq(getattr(adc, name)) for name in names]
    for name in ("cells", "cell_levels", "levels"):
        wiring.connect(m, wiring.flipped(getattr(block, name)), getattr(table, name))
    wiring.connect(m, table.o, macro.program)
    wiring.connect(m, wiring.flipped(block.parameters), macro.parameters)
    wiring.connect(m, wiring.flipped(block.gains), adc.gains)
