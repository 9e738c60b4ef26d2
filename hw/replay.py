"""Replay buffer: repeats each sequence, so that several noisy passes can vote."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from golden.description import Description
from golden.ranges import index_bits
from hw.ports import vector_stream


class Replay(wiring.Component):
    """Sends each sequence of `i` to `o` `votes` times (docs/contract.md, 11).

    The first pass goes straight through and is recorded, up to `voting.replay_steps` steps. `i`
    stalls while the later passes are read from the buffer. A longer sequence must not be sent with
    more than one vote: the later passes have only its first steps.

    i (in, stream), o (out, stream): vectors, in `beats` beats of `beat` DAC codes.
    votes (in): passes per sequence, 1 or more. It must not change while a sequence is in flight.

    Latency: 0 cycles from `i` to `o` in the first pass, 1 cycle from the end of a pass to the next.
    Throughput: one beat every cycle.
    """

    def __init__(self, *, beats: int, beat: int, description: Description) -> None:
        self.beats, self.depth = beats, beats * description.voting.replay_steps
        vectors = vector_stream(beat, description)
        super().__init__({"i": In(vectors), "o": Out(vectors), "votes": In(description.votes_bits)})

    def elaborate(self, platform: object) -> Module:
        """A memory with an ascending address, which is read one cycle ahead."""
        m = Module()
        codes = self.o.payload.codes.as_value()
        m.submodules.kept = kept = memory.Memory(
            shape=len(codes), depth=max(2, self.depth), init=[]
        )
        write = kept.write_port()
        read = kept.read_port(transparent_for=(write,))

        address = Signal(range(self.depth + 1))  # saturates at the depth: the buffer is full
        following = Signal.like(address)
        end = Signal.like(address)  # of the last recorded beat, once the first pass has ended
        beat = Signal(index_bits(self.beats))
        passes = Signal.like(self.votes, init=1)  # the current one included
        again = Signal()  # the current pass comes from the buffer
        moved = Signal()
        whole = Signal()
        over = Signal()

        m.d.comb += [
            moved.eq(self.o.valid & self.o.ready),
            whole.eq(beat == self.beats - 1),
            following.eq(address),
            read.addr.eq(following),
            write.addr.eq(address),
            write.data.eq(codes),
            write.en.eq(moved & ~again & (address != self.depth)),
        ]
        with m.If(again):
            m.d.comb += [
                self.o.valid.eq(1),
                codes.eq(read.data),
                self.o.payload.last.eq(address > end - self.beats),
                over.eq(address == end),
            ]
        with m.Else():
            m.d.comb += [
                self.o.valid.eq(self.i.valid),
                self.o.payload.eq(self.i.payload),
                self.i.ready.eq(self.o.ready),
                over.eq(whole & self.i.payload.last),
            ]
        with m.If(moved):
            m.d.sync += beat.eq(Mux(whole, 0, beat + 1))
            with m.If(over):
                m.d.comb += following.eq(0)
            with m.Elif(address != self.depth):
                m.d.comb += following.eq(address + 1)
            with m.If(over & ~again):
                m.d.sync += end.eq(Mux(address == self.depth, self.depth - 1, address))
            with m.If(over):
                m.d.sync += again.eq(passes != self.votes)
                m.d.sync += passes.eq(Mux(passes == self.votes, 1, passes + 1))
        m.d.sync += address.eq(following)
        return m
