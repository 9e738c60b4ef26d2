"""Voter: one class from the scores of several passes (docs/contract.md, 11)."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.description import Description
from hw import timing
from hw.regions import Region


def score_stream(description: Description) -> stream.Signature:
    """Scores, class by class; `last` marks the highest class.

    If every step is scored, `end` marks all scores of a sequence's last step.
    """
    layout = {"score": signed(description.score_bits), "last": unsigned(1)}
    if description.output.every_step:
        layout["end"] = unsigned(1)
    return stream.Signature(data.StructLayout(layout))


def label_stream(description: Description) -> stream.Signature:
    """One class per sequence, or per step; then `end` marks a sequence's last one."""
    layout = {"label": unsigned(description.class_bits)}
    if description.output.every_step:
        layout["end"] = unsigned(1)
    return stream.Signature(data.StructLayout(layout))


class Voter(wiring.Component):
    """Counts the classes of `votes` passes and sums their scores (docs/contract.md, 11).

    i (in, stream): scores, class by class.
    o (out, stream): if `by_sum`, the class with the highest sum of scores, else the class of most
        passes. On a tie, the lowest class.
    votes (in): passes per sequence, 1 or more.
    by_sum (in): decide by sums. `votes` and `by_sum` must not change while a sequence is in flight.

    Latency: `latency` cycles from the last score of the last pass to the class.
    Throughput: one score every cycle. `i` stalls for 2 cycles after a pass, and for `latency`
    cycles after the last pass of a sequence.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        super().__init__(
            {
                "i": In(score_stream(description)),
                "o": Out(label_stream(description)),
                "votes": In(description.votes_bits),
                "by_sum": In(1),
            }
        )

    @staticmethod
    def region(description: Description) -> Region:
        """Load region of `votes` and `by_sum`."""
        return Region(
            name="votes",
            fields=(),
            data=(("votes", description.votes_bits), ("by_sum", 1)),
        )

    @property
    def latency(self) -> int:
        """Cycles to count the class of the last pass, then scan every class once."""
        return timing.vote_cycles(self.description)

    def elaborate(self, platform: object) -> Module:
        """In a pass: sum its scores and find its class. Then count that class.

        After the last pass: find the highest sum or count.
        """
        m = Module()
        classes = self.description.network.classes
        sums = self._memory(m, "sums", signed(self.description.sum_bits))
        counts = self._memory(m, "counts", unsigned(self.description.votes_bits))
        number = Signal.like(self.o.payload.label)
        following = Signal.like(self.o.payload.label)
        passed = Signal.like(self.votes)  # passes completed
        fresh = Signal()  # first pass: the memories hold an earlier sequence
        ends = Signal()
        score = self.i.payload.score
        m.d.comb += [
            fresh.eq(passed == 0),
            ends.eq(number == classes - 1),
            following.eq(number),
            sums.read.addr.eq(following),
            counts.read.addr.eq(following),
            sums.write.addr.eq(number),
            counts.write.addr.eq(number),
            sums.write.data.eq(Mux(fresh, 0, sums.read.data) + score),
        ]
        m.d.sync += number.eq(following)

        # Running maximum: of this pass's scores, then of all sums or counts.
        value = Signal(signed(max(self.description.sum_bits, self.description.votes_bits + 1)))
        best = Signal.like(value)
        label = Signal.like(number)
        look = Signal()
        with m.If(look & ((number == 0) | (value > best))):
            m.d.sync += [best.eq(value), label.eq(number)]
        with m.If(look):
            m.d.comb += following.eq(Mux(ends, 0, number + 1))

        with m.FSM():
            with m.State("pass"):
                m.d.comb += [self.i.ready.eq(1), value.eq(score), look.eq(self.i.valid)]
                m.d.comb += sums.write.en.eq(self.i.valid)
                m.d.comb += [counts.write.en.eq(self.i.valid & fresh), counts.write.data.eq(0)]
                with m.If(self.i.valid & ends):
                    m.next = "point"
            with m.State("point"):  # address the class of the pass
                m.d.comb += following.eq(label)
                m.next = "count"
            with m.State("count"):
                m.d.comb += counts.write.en.eq(1)
                m.d.comb += counts.write.data.eq(counts.read.data + 1)
                m.d.comb += following.eq(0)
                with m.If(passed + 1 == self.votes):
                    m.d.sync += passed.eq(0)
                    m.next = "decide"
                with m.Else():
                    m.d.sync += passed.eq(passed + 1)
                    m.next = "pass"
            with m.State("decide"):
                m.d.comb += value.eq(Mux(self.by_sum, sums.read.data, counts.read.data))
                m.d.comb += look.eq(1)
                with m.If(ends):
                    m.next = "done"
            with m.State("done"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "pass"
        m.d.comb += self.o.payload.label.eq(label)
        return m

    def _memory(self, m: Module, name: str, shape: object) -> "_Ports":
        """A memory of one word per class, whose read port forwards a write of the same cycle."""
        depth = max(2, self.description.network.classes)
        m.submodules[name] = mem = memory.Memory(shape=shape, depth=depth, init=[])
        write = mem.write_port()
        return _Ports(write, mem.read_port(transparent_for=(write,)))


class _Ports:
    def __init__(self, write: memory.WritePort, read: memory.ReadPort) -> None:
        self.write, self.read = write, read
