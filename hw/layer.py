"""Recurrent layer: sequencer, array and gate pipeline in a loop."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.geometry import ArrayShape
from golden.source import registry
from hw import timing
from hw.array import LOADED, MacroMaker, TiledArray, crossbar_model
from hw.dac import DacSequencer
from hw.gates import GatePipeline
from hw.lstm import LstmGates
from hw.ports import vector_stream
from hw.regions import Region
from hw.rnn import RnnGates

GATES: dict[str, type[GatePipeline]] = registry("cells", {"lstm": LstmGates, "rnn": RnnGates})


class RecurrentLayer(wiring.Component):
    """Recurrent layer: one vector of x in and one vector of h out per step (docs/contract.md, 8).

    i (in, stream): x, in beats of `beat` DAC codes.
    o (out, stream): h, in beats of `hw.timing.units_per_beat` DAC codes.
    cells, cell_levels (in, streams), levels, parameters, gains (in): see `TiledArray`.
    bias, gate_tables, the cell's own tables (in): see `GatePipeline`.
    Load only between sequences.

    Throughput: one step every `hw.timing.step_cycles` cycles if x is available and `o` is not
    stalled. The first step of a sequence does not wait for h.
    """

    def __init__(self, shape: ArrayShape, *, beat: int, macro: MacroMaker = crossbar_model) -> None:
        self.shape = shape
        self.dac = DacSequencer(
            inputs=shape.inputs,
            beat=beat,
            units=shape.units,
            units_per_beat=timing.units_per_beat(shape),
            description=shape.description,
        )
        self.array = TiledArray(shape, macro)
        self.gates = GATES[shape.description.cell.kind](shape)
        super().__init__(
            {
                "i": In(vector_stream(beat, shape.description)),
                "o": Out(vector_stream(timing.units_per_beat(shape), shape.description)),
                **{name: self.array.signature.members[name] for name in LOADED},
                **{name: Out(getattr(self.gates, name).signature) for name in self.gates.loaded},
            }
        )

    @staticmethod
    def regions(shape: ArrayShape) -> tuple[Region, ...]:
        """Load regions of a layer."""
        return (*TiledArray.regions(shape), *GatePipeline.regions(shape))

    @property
    def words(self) -> int:
        """Beats of `o` per step."""
        return timing.beats(self.shape)

    def elaborate(self, platform: object) -> Module:
        """Connect sequencer, array and gates, and feed h back."""
        m = Module()
        m.submodules.dac, m.submodules.array = dac, array = self.dac, self.array
        m.submodules.gates = gates = self.gates
        wiring.connect(m, wiring.flipped(self.i), dac.i)
        wiring.connect(m, dac.o, array.i)
        wiring.connect(m, array.o, gates.i)
        wiring.connect(m, gates.o, wiring.flipped(self.o))
        for block, names in ((array, LOADED), (gates, gates.loaded)):
            for name in names:
                wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(block, name))
        # The transfer that outputs h feeds it back, except in the last step of a sequence.
        m.d.comb += [
            dac.feed.eq(self.o.valid & self.o.ready & ~self.o.payload.last),
            dac.feedback.eq(self.o.payload.codes),
        ]
        return m
