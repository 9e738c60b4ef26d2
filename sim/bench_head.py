"""cocotb bench of the head: h of every step in, scores and the class of the last step out."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, with_timeout

from sim import block_bench, streams
from sim.block_bench import BlockBench
from sim.scoreboard import Scoreboard
from sim.streams import PERIOD_NS, STALLS


class Head(BlockBench):
    """Drivers and monitors of the block; `into`, `out_of`: probabilities of a pause."""

    INPUT = "h"

    def longest_pauses(self) -> tuple[int, int]:
        """Cycles of the longest pause in, and out."""
        return 8, 99

    def beats(self) -> list[list[int]]:
        """The transfers of each sequence."""
        fields = self.job["fields"]["i__payload"]
        sequences = zip(self.vectors["h"], self.vectors["lengths"], strict=True)
        return [streams.beats(fields, h[:length], self.draw) for h, length in sequences]

    def send(self) -> None:
        """Begin to send every sequence, back to back."""
        transfers = [beat for sequence in self.beats() for beat in sequence]
        self.begin(self.source.send(transfers))

    async def finish(self) -> None:
        """Wait for every class, then a while more: nothing may be left over. Compare."""
        count, classes = self.vectors["scores"].shape
        patience = 50 * (self.vectors["h"].size + self.job["timing"]["latency"] * count)
        await with_timeout(self.sink.until(count), patience * PERIOD_NS, "ns")
        for _ in range(3 * self.job["timing"]["latency"]):
            await RisingEdge(self.dut.clk)
        assert self.sending.done(), "h was not all taken"
        assert len(self.sink.taken) == count, "more classes came out than sequences went in"
        assert len(self.probe.taken) == count * classes, "more scores than classes"
        assert self.sink.taken == self.output.taken
        assert not self.dut.o__valid.value and self.dut.i__ready.value

        scoreboard = Scoreboard()
        scores = streams.unpack(self.job["trace"], self.probe.taken)["score"]
        scores = scores.reshape(count, classes)
        scoreboard.compare("scores", ("sequence", "class"), self.vectors["scores"], scores)
        label = streams.unpack(self.job["fields"]["o__payload"], self.sink.taken)["label"]
        scoreboard.compare("label", ("sequence",), self.vectors["label"], label)
        streams.conclude(self.job, scoreboard)


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS))
async def exact(dut: Any, into: float, out_of: float) -> None:
    """Every score and class, with stalls on all sides, the load's too."""
    job, vectors = streams.block_job()
    bench = Head(dut, job, vectors, into, out_of)
    await streams.start(dut)
    await bench.load()
    bench.send()
    await bench.finish()


@cocotb.test()
async def in_time(dut: Any) -> None:
    """Alone, a sequence's class comes `latency` after its last h, and its h is taken at a beat a
    cycle. Sequences of one step, back to back, come out as fast as the slowest block goes."""
    job, vectors = streams.block_job()
    bench = Head(dut, job, vectors)
    await streams.start(dut)
    await bench.load()
    ends = []
    for n, transfers in enumerate(bench.beats()):
        began = len(bench.input.moved)
        bench.sending = cocotb.start_soon(bench.source.send(transfers))
        await bench.sink.until(n + 1)
        await RisingEdge(dut.clk)
        assert (np.diff(bench.input.moved[began:]) == 1).all()
        ends.append(bench.input.moved[-1])
    assert (np.subtract(bench.output.offered, ends) == job["timing"]["latency"]).all()
    await bench.finish()

    bench.stop()
    bench = Head(dut, job, vectors)
    fields = job["fields"]["i__payload"]
    short = [streams.beats(fields, h[:1], bench.draw) for h in vectors["h"]]
    await bench.source.send(beat for sequence in short for beat in sequence)
    await bench.sink.until(len(short))
    await RisingEdge(dut.clk)
    assert (np.diff(bench.output.moved) == job["timing"]["cycles"]).all()


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS[:4]))
async def reset_midway(dut: Any, into: float, out_of: float) -> None:
    """After a reset at any time, the next sequences are exact; what was loaded is kept."""
    job, _ = streams.block_job()
    longest = 4 * job["timing"]["latency"]
    await block_bench.reset_midway(Head, dut, into, out_of, longest)
