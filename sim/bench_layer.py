"""cocotb bench of a recurrent layer: x in, h out, and all that the gate pipeline computed."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, with_timeout

from sim import streams
from sim.bench_lstm import by_unit, compare_h
from sim.scoreboard import Scoreboard
from sim.streams import PERIOD_NS, STALLS, Sink, Source, Watch


class Layer:
    """Drivers and monitors of the block; `into`, `out_of`: probabilities of a pause."""

    def __init__(
        self,
        dut: Any,
        job: dict[str, Any],
        vectors: dict[str, np.ndarray],
        into: float = 0.0,
        out_of: float = 0.0,
    ) -> None:
        self.dut, self.job, self.vectors = dut, job, vectors
        seed = job["seed"]
        self.draw = random.Random(f"{seed} {into} {out_of}")
        self.source = Source(dut, "i", streams.at_random(into, 40, f"{seed} i {into}"))
        self.cells = Source(dut, "cells", streams.at_random(into, 4, f"{seed} cells {into}"))
        pauses = streams.at_random(out_of, 20, f"{seed} o {out_of}")
        self.sink = Sink(dut, "o", pauses, after_offer=out_of == 1)
        self.input, self.output = Watch(dut, "i"), Watch(dut, "o")
        self.probe = streams.probe(dut, job)
        for port in job["writes"]:
            getattr(dut, f"{port}__enable").value = 0
        drivers: list[Any] = [self.sink, self.input, self.output, self.probe]
        self.tasks = [driver.task for driver in drivers]
        steps = np.arange(vectors["x"].shape[1])[None]
        self.valid = steps < vectors["lengths"][:, None]

    async def load(self) -> None:
        """Load the cells and the memories."""
        await self.cells.send(self.job["cells"])
        await streams.write(self.dut, self.job["writes"])

    def send(self) -> None:
        """Begin to send every sequence, back to back."""
        fields = self.job["fields"]["i__payload"]
        beats = []
        for x, length in zip(self.vectors["x"], self.vectors["lengths"], strict=True):
            beats += streams.beats(fields, x[:length], self.draw)
        self.sending = cocotb.start_soon(self.source.send(beats))
        self.tasks.append(self.sending)

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
        for name, values in by_unit(trace, self.job["sizes"], self.valid).items():
            axes = ("sequence", "step", *(("gate", "unit") if name == "codes" else ("unit",)))
            scoreboard.compare(name, axes, self.vectors[name], values, self.valid)
        compare_h(scoreboard, self.job, self.sink.taken, self.vectors, self.valid)
        streams.conclude(self.job, scoreboard)

    def stop(self) -> None:
        """Let go of the block, to reset it."""
        for task in self.tasks:
            task.cancel()
        self.source.valid.value = 0


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
    job, vectors = streams.block_job()
    draw = random.Random(job["seed"])
    bench = Layer(dut, job, vectors, into, out_of)
    await streams.start(dut)
    await bench.load()
    for _ in range(6):
        bench.send()
        for _ in range(draw.randint(1, 4 * job["timing"]["cycles_per_step"])):
            await RisingEdge(dut.clk)
        bench.stop()
        await streams.reset(dut)
        bench = Layer(dut, job, vectors, into, out_of)
    bench.send()
    await bench.finish()
