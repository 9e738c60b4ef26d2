"""cocotb bench of a recurrent layer: x in, h out, and all that the gate pipeline computed."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, with_timeout

from sim import block_bench, streams
from sim.bench_lstm import compare_h
from sim.block_bench import BlockBench
from sim.scoreboard import Scoreboard
from sim.streams import PERIOD_NS, STALLS


class Layer(BlockBench):
    """Drivers and monitors of the block; `into`, `out_of`: probabilities of a pause."""

    INPUT = "x"

    def longest_pauses(self) -> tuple[int, int]:
        """Cycles of the longest pause in, and out."""
        return 40, 20

    def send(self) -> None:
        """Begin to send every sequence, back to back."""
        fields = self.job["fields"]["i__payload"]
        beats = []
        for x, length in zip(self.vectors["x"], self.vectors["lengths"], strict=True):
            beats += streams.beats(fields, x[:length], self.draw)
        self.begin(self.source.send(beats))

    async def finish(self) -> None:
        """Wait for every h, then a while more: nothing may be left over. Compare."""
        count = int(self.valid.sum()) * self.job["sizes"]["words"]
        step = self.job["timing"]["cycles_per_step"]
        patience = 20 * int(self.valid.sum()) * step * PERIOD_NS
        await with_timeout(self.sink.until(count), patience, "ns")
        for _ in range(3 * step):
            await RisingEdge(self.dut.clk)
        assert self.sending.done(), "x was not all taken"
        assert len(self.sink.taken) == len(self.probe.taken) == count, "too many came out"
        assert self.sink.taken == self.output.taken
        dut = self.dut
        assert not dut.o__valid.value and dut.i__ready.value and dut.between.value

        scoreboard = Scoreboard()
        trace = streams.unpack(self.job["trace"], self.probe.taken)
        for name, values in streams.by_unit(trace, self.job["sizes"]["units"], self.valid).items():
            axes = ("sequence", "step", *(("gate", "unit") if name == "codes" else ("unit",)))
            scoreboard.compare(name, axes, self.vectors[name], values, self.valid)
        compare_h(scoreboard, self.job, self.sink.taken, self.vectors, self.valid)
        streams.conclude(self.job, scoreboard)


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS))
async def exact(dut: Any, into: float, out_of: float) -> None:
    """Every value of every unit, gate and step, with stalls on all sides, the load's too."""
    job, vectors = streams.block_job()
    bench = Layer(dut, job, vectors, into, out_of)
    await streams.start(dut)
    await bench.load()
    bench.send()
    await bench.finish()


@cocotb.test()
async def in_time(dut: Any) -> None:
    """Without stalls: a step each `cycles_per_step`; the first step of a sequence costs the
    conversions alone."""
    job, vectors = streams.block_job()
    bench = Layer(dut, job, vectors)
    await streams.start(dut)
    await bench.load()
    bench.send()
    await bench.finish()
    words, timing = job["sizes"]["words"], job["timing"]
    ends = bench.output.moved[words - 1 :: words]
    first = np.tile(np.arange(vectors["x"].shape[1]) == 0, (len(bench.valid), 1))[bench.valid]
    converted = max(job["sizes"]["conversion_cycles"], timing["beats"] + 1)
    expected = np.where(first, converted, timing["cycles_per_step"])
    assert np.diff(ends).tolist() == expected[1:].tolist()


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS[:4]))
async def reset_midway(dut: Any, into: float, out_of: float) -> None:
    """After a reset at any time, the next sequences are exact; what was loaded is kept."""
    job, _ = streams.block_job()
    longest = 4 * job["timing"]["cycles_per_step"]
    await block_bench.reset_midway(Layer, dut, into, out_of, longest)
