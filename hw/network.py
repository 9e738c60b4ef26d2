"""The accelerator: a chain of layers, a head, and the load path."""

from itertools import pairwise
from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.description import Description
from golden.ranges import ceil_div, index_bits
from hw import timing
from hw.array import MacroMaker, crossbar_model
from hw.head import Head
from hw.layer import RecurrentLayer
from hw.loadmap import LoadMap
from hw.ports import vector_stream
from hw.regions import Region
from hw.replay import Replay


class Accelerator(wiring.Component):
    """Accelerator of a description (docs/contract.md).

    i (in, stream): x as DAC codes, `input_beat` per transfer, lowest channel first; `last` marks
        the last step of a sequence.
    o (out, stream): results, in order: the class of each sequence or step, or its scores, or h of
        the last layer in the format of another accelerator's `i` (`description.output`).
    load (in, stream): writes of (address, data), see hw/loadmap.py; `last` ends a transaction.
    busy (out): a sequence is in flight, from its first beat to its last result.

    Loading: a transaction stalls until no sequence is in flight and all earlier results have been
    accepted on `o`. No sequence starts before it ends, so each sequence is computed with the
    numbers of one transaction. The transaction ends when the transfer with `last` is written, one
    cycle or more after it is accepted. A transfer to an unmapped address is accepted and has no
    effect.

    Votes: with a replay buffer each sequence is computed `votes` times, and its class is voted on.
    `votes` is loaded; it is 1 after power-up.

    Reset drops the sequences in flight and keeps what was loaded. A reset during a transaction
    leaves the load half done: load again. Nothing blocks sequences before the first load.

    Throughput: one step every `cycles_per_step` cycles without external stalls.
    """

    def __init__(self, description: Description, macro: MacroMaker = crossbar_model) -> None:
        self.description = description
        self.load_map = LoadMap(description)
        self.input_beat = beat = description.input_beat
        self.layers = []
        for shape in description.layers:
            self.layers.append(RecurrentLayer(shape, beat=beat, macro=macro))
            beat = timing.units_per_beat(shape)
        self.head = None
        if description.network.classes:
            self.head = Head(description.head, beat=beat, macro=macro)
        self.replay = None
        if description.voting.replay_steps:
            beats = self.layers[0].dac.beats
            self.replay = Replay(beats=beats, beat=self.input_beat, description=description)
        super().__init__(
            {
                "i": In(vector_stream(self.input_beat, description)),
                "o": Out((self.head or self.layers[-1]).o.signature),
                "load": In(stream.Signature(self.load_map.layout)),
                "busy": Out(1),
            }
        )

    @property
    def blocks(self) -> dict[str, Any]:
        """The layers, and a head, by the names of their arrays."""
        blocks = [*self.layers, *([] if self.head is None else [self.head])]
        return dict(zip(self.description.arrays, blocks, strict=True))

    @property
    def cycles_per_step(self) -> int:
        """Cycles per step without external stalls: those of the slowest block."""
        return timing.cycles_per_step(self.description)

    @property
    def cycles_per_output(self) -> int:
        """Cycles between two outputs if nothing else limits them."""
        return timing.output_cycles(self.description)

    def elaborate(self, platform: object) -> Module:
        """Chain of blocks, switch between running and loading, address decoder."""
        m = Module()
        blocks = [*self.blocks.values()]
        for n, layer in enumerate(self.layers):
            m.submodules[f"layer_{n}"] = layer
        if self.head is not None:
            m.submodules.head = self.head
        for before, after in pairwise(blocks):
            wiring.connect(m, before.o, after.i)
        if self.head is not None or self.description.output.every_step:
            wiring.connect(m, blocks[-1].o, wiring.flipped(self.o))
        else:
            state = self.layers[-1].o  # h of every step
            m.d.comb += [
                self.o.payload.eq(state.payload),
                self.o.valid.eq(state.valid & state.payload.last),
                state.ready.eq(self.o.ready | ~state.payload.last),
            ]

        open_ = Signal()
        loading = Signal()
        loaded = Signal()
        self._switch(m, open_, loading, loaded)
        first: Any = self.layers[0]
        if self.replay is not None:
            m.submodules.replay = self.replay
            wiring.connect(m, self.replay.o, first.i)
            first = self.replay
        m.d.comb += [
            first.i.payload.eq(self.i.payload),
            first.i.valid.eq(self.i.valid & open_),
            self.i.ready.eq(first.i.ready & open_),
        ]
        self._load(m, loading, loaded)
        return m

    def _switch(self, m: Module, open_: Signal, loading: Signal, loaded: Signal) -> None:
        """Open either `i` (`open_`) or the load bus (`loading`), the latter until `loaded`.

        No sequence starts while the counter of sequences in flight is at its maximum.
        """
        # A block holds a few steps, and a sequence has at least one: 8 per block keep all busy.
        under_way = Signal(range(8 * (len(self.layers) + 1)))
        running = Signal(init=1)
        taken = Signal()
        ends = Signal()
        leaves = Signal()
        between = Signal(init=1)  # `i` is between two sequences
        beats = self.layers[0].dac.beats
        beat = Signal(index_bits(beats))
        m.d.comb += [
            taken.eq(self.i.valid & self.i.ready),
            ends.eq(taken & (beat == beats - 1) & self.i.payload.last),
            leaves.eq(self.o.valid & self.o.ready & sequence_ends(m, self.description, self.o)),
        ]
        with m.If(taken):
            m.d.sync += beat.eq(Mux(beat == beats - 1, 0, beat + 1))
            m.d.sync += between.eq(ends)
        m.d.sync += under_way.eq(under_way + ends - leaves)
        m.d.comb += self.busy.eq((under_way != 0) | ~between)
        # Close `i` only if no beat is offered: `valid` to the first block must not be withdrawn.
        with m.If(running & self.load.valid & (ends | (between & ~self.i.valid))):
            m.d.sync += running.eq(0)
        with m.If(~running & (under_way == 0)):
            m.d.sync += loading.eq(1)
        with m.If(loaded):
            m.d.sync += [running.eq(1), loading.eq(0)]
        m.d.comb += open_.eq(running & ~(between & under_way.all()))

    def _load(self, m: Module, loading: Signal, loaded: Signal) -> None:
        """Route each transfer of `load` to its region.

        It is written one cycle after it is accepted, or later if the target is not ready, so that
        decoding has a cycle of its own. `loaded`: strobe: the transfer with `last` is written.
        """
        held = Signal()
        ready = Signal()
        transfer = Signal(self.load_map.layout, reset_less=True)
        m.d.comb += [
            loaded.eq(held & ready & transfer.last),
            self.load.ready.eq(loading & (~held | (ready & ~transfer.last))),
            ready.eq(1),
        ]
        # Capture the payload whether it is valid or not: `valid` arrives late in the cycle.
        with m.If(self.load.ready):
            m.d.sync += [held.eq(self.load.valid), transfer.eq(self.load.payload)]
        with m.Elif(ready):
            m.d.sync += held.eq(0)
        for region in self.load_map.regions.values():
            here = Signal(name=f"at_{region.name.replace('.', '_')}")
            with m.If(self.load.ready):
                m.d.sync += here.eq(region.holds(self.load.payload.address))
            if region.name == "votes":
                self._votes(m, held & here, transfer.data, region)
                continue
            block, _, port_name = region.name.rpartition(".")
            port = getattr(self.blocks[block], port_name)
            offset, word = transfer.address[: region.bits], transfer.data[: region.data_bits]
            if port_name in ("cells", "cell_levels"):
                self._program(m, port, region, offset, word)
                m.d.comb += port.valid.eq(held & here)
                with m.If(here):
                    m.d.comb += ready.eq(port.ready)
            else:
                m.d.comb += [port.enable.eq(held & here), port.address.eq(offset)]
                m.d.comb += port.data.eq(word)

    def _votes(self, m: Module, enable: Value, word: Value, region: Region) -> None:
        """Registers of the voter, which reset does not clear; `votes` is clamped."""
        assert self.replay is not None and self.head is not None
        registers = [
            Signal(width, name=name, init=int(name == "votes"), reset_less=True)
            for name, width in region.data
        ]
        votes, by_sum = registers
        written = Signal.like(votes)
        most = self.description.voting.max_votes
        m.d.comb += written.eq(word[: len(votes)])
        with m.If(enable):
            m.d.sync += by_sum.eq(word[len(votes)])
            exceeds = most + 1 < 1 << len(written)  # else no word is above it
            high = Mux(written > most, most, written) if exceeds else written
            m.d.sync += votes.eq(Mux(written == 0, 1, high))
        m.d.comb += [self.replay.votes.eq(votes), self.head.votes.eq(votes)]
        m.d.comb += self.head.by_sum.eq(by_sum)

    def _program(
        self, m: Module, port: wiring.PureInterface, region: Region, offset: Value, word: Value
    ) -> None:
        """Split an address offset and a data word into the fields of a cell."""
        for fields, bits in ((region.fields, offset), (region.data, word)):
            position = 0
            for name, width in fields:
                m.d.comb += port.payload[name].eq(bits[position : position + width])
                position += width


def sequence_ends(m: Module, description: Description, o: Any) -> Value:
    """Whether the transfer on an accelerator's output is the last of its sequence."""
    output = description.output
    if output.of == "state":
        words = ceil_div(description.outputs, timing.units_per_beat(description.layers[-1]))
        word = Signal(index_bits(words))
        with m.If(o.valid & o.ready):
            m.d.sync += word.eq(Mux(word == words - 1, 0, word + 1))
        return Value.cast(o.payload.last & (word == words - 1))
    ends: Value = Const(1)
    if output.of == "scores":
        ends &= o.payload.last
    if output.every_step:
        ends &= o.payload.end
    return ends
