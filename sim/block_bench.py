"""What the benches of blocks with a stream in and a stream out share: drivers, load, reset."""

import random
from typing import Any, ClassVar

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from sim import streams
from sim.streams import Sink, Source, Watch


class BlockBench:
    """Drivers and monitors of a block; `into`, `out_of`: probabilities of a pause.

    INPUT: the vector that goes in, (sequences, steps, ...). `valid`: which of its steps count.
    A bench adds `send`, which begins to send everything and leaves its task in `sending`, and
    `finish`, which waits for all that comes out, and compares.
    """

    INPUT: ClassVar[str]

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
        longest_in, longest_out = self.longest_pauses()
        self.source = Source(dut, "i", streams.at_random(into, longest_in, f"{seed} i {into}"))
        pauses = streams.at_random(out_of, longest_out, f"{seed} o {out_of}")
        self.sink = Sink(dut, "o", pauses, after_offer=out_of == 1)
        self.input, self.output = Watch(dut, "i"), Watch(dut, "o")
        drivers: list[Any] = [self.sink, self.input, self.output]
        if job["cells"]:
            self.cells = Source(dut, "cells", streams.at_random(into, 4, f"{seed} cells {into}"))
        if job["trace_inside"]:
            self.probe = streams.probe(dut, job)
            drivers.append(self.probe)
        for port in job["writes"]:
            getattr(dut, f"{port}__enable").value = 0
        self.tasks = [driver.task for driver in drivers]
        steps = np.arange(vectors[self.INPUT].shape[1])[None]
        self.valid = steps < vectors["lengths"][:, None]

    def longest_pauses(self) -> tuple[int, int]:
        """Cycles of the longest pause in, and out."""
        return 8, 8

    async def load(self) -> None:
        """Load the cells and the memories."""
        if self.job["cells"]:
            await self.cells.send(self.job["cells"])
        await streams.write(self.dut, self.job["writes"])

    def begin(self, sending: Any) -> None:
        """Run what sends, until `stop`."""
        self.sending = cocotb.start_soon(sending)
        self.tasks.append(self.sending)

    def send(self) -> None:
        """Begin to send everything."""
        raise NotImplementedError

    async def finish(self) -> None:
        """Wait for all that comes out; compare."""
        raise NotImplementedError

    def stop(self) -> None:
        """Let go of the block, to reset it."""
        for task in self.tasks:
            task.cancel()
        self.source.valid.value = 0


async def reset_midway(
    kind: type[BlockBench], dut: Any, into: float, out_of: float, longest: int
) -> None:
    """Reset some times, each 1 to `longest` cycles after sending began; then all is exact, with
    what was loaded before the first of them."""
    job, vectors = streams.block_job()
    draw = random.Random(job["seed"])
    bench = kind(dut, job, vectors, into, out_of)
    await streams.start(dut)
    await bench.load()
    for _ in range(6):
        bench.send()
        for _ in range(draw.randint(1, longest)):
            await RisingEdge(dut.clk)
        bench.stop()
        await streams.reset(dut)
        bench = kind(dut, job, vectors, into, out_of)
    bench.send()
    await bench.finish()
