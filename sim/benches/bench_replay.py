"""cocotb bench of the replay buffer: sequences are repeated for each vote, whole and in time."""

from typing import Any

import cocotb
import numpy as np

from sim.benches import block, streams
from sim.benches.block import BlockBench
from sim.benches.scoreboard import Scoreboard
from sim.benches.streams import STALLS


class Replay(BlockBench):
    """Drivers and monitors of the block. into, out_of: Probabilities of a stall."""

    INPUT = "x"

    def __init__(self, dut: Any, job: dict[str, Any], vectors: Any, *pauses: float) -> None:
        super().__init__(dut, job, vectors, *pauses)
        self.lengths = np.minimum(vectors["lengths"], job["replay_steps"])
        # One sequence fills the buffer.
        self.lengths[2] = job["replay_steps"]

    def send(self) -> None:
        """Start sending every sequence, back to back."""
        fields = self.job["fields"]["i__payload"]
        sequences = zip(self.vectors["x"], self.lengths, strict=True)
        self.sent = [streams.beats(fields, x[:length], self.draw) for x, length in sequences]
        self.begin(self.source.send(beat for sequence in self.sent for beat in sequence))

    def expected(self) -> list[int]:
        """Each sequence, then its buffered part once per further vote. Padding is repeated too."""
        beats = self.job["timing"]["beats"]
        last = streams.pack(self.job["fields"]["i__payload"], last=1)
        transfers = []
        for sequence in self.sent:
            kept = sequence[: self.job["replay_steps"] * beats]
            kept[-beats:] = [beat | last for beat in kept[-beats:]]
            transfers += sequence + kept * (self.votes - 1)
        return transfers

    async def finish(self) -> None:
        """Wait for every beat, check that no more follow, and compare."""
        expected, scoreboard = self.expected(), Scoreboard()
        await self.drain(len(expected), patience=40 * len(expected))
        fields = self.job["fields"]["o__payload"]
        golden, rtl = (streams.unpack(fields, beats) for beats in (expected, self.sink.taken))
        scoreboard.compare("codes", ("beat", "place"), golden["codes"], rtl["codes"])
        scoreboard.compare("last", ("beat",), golden["last"], rtl["last"])
        streams.conclude(self.job, scoreboard)


async def all_votes(bench: Replay) -> None:
    """Try every number of passes, one after the other."""
    for votes in range(1, bench.job["most_votes"] + 1):
        bench.vote(votes, "majority")
        bench.send()
        await bench.finish()
        bench.forget()


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS))
async def exact(dut: Any, into: float, out_of: float) -> None:
    """Every beat of every pass is equal, with stalls on both sides."""
    await all_votes(await block.started(Replay, dut, into, out_of))


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS[::3]))
async def too_long(dut: Any, into: float, out_of: float) -> None:
    """Later passes of a sequence that exceeds the buffer have its buffered part.

    The next sequences are whole.
    """
    bench = await block.started(Replay, dut, into, out_of)
    bench.lengths[::2] += bench.job["replay_steps"]
    bench.lengths[4] = bench.job["replay_steps"] + 1
    await all_votes(bench)


@cocotb.test()
async def in_time(dut: Any) -> None:
    """Without stalls there is a beat per cycle, also between passes and between sequences.

    The first pass leaves in the cycle in which it enters.
    """
    bench = await block.run(Replay, dut)
    assert (np.diff(bench.output.moved) == 1).all()
    first, moved = [], iter(bench.output.moved)
    for sequence in bench.sent:
        passes = [[next(moved) for _ in sequence] for _ in range(bench.votes)]
        first += passes[0]
    assert bench.input.moved == first


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS[:4]))
async def reset_midway(dut: Any, into: float, out_of: float) -> None:
    """After a reset at any time, in any pass, the next sequences are exact."""
    await block.reset_midway(Replay, dut, into, out_of, 60)
