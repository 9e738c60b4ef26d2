"""Common parts of benches of blocks with an input and an output stream: drivers, load, reset."""

import random
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, with_timeout

from sim.benches import streams
from sim.benches.scoreboard import Scoreboard
from sim.benches.streams import PERIOD_NS, Sink, Source, Watch


class BlockBench:
    """Drivers and monitors of a block. into, out_of: Probabilities of a stall.

    INPUT is the name of the input vector (sequences, steps, ...). A bench defines `send`, which
    starts sending everything, and `finish`, which waits for all outputs and compares them.
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
        self.cells = {
            port: Source(dut, port, streams.at_random(into, 4, f"{seed} {port} {into}"))
            for port in job["cells"]
        }
        if job["trace_inside"]:
            self.probe = streams.probe(dut, job)
            drivers.append(self.probe)
        for port in job["writes"]:
            getattr(dut, f"{port}__enable").value = 0
        self.tasks = [driver.task for driver in drivers]
        self.vote(job["most_votes"], "majority")

    @cached_property
    def valid(self) -> np.ndarray:
        """(sequences, steps): whether a step is within its sequence."""
        steps = np.arange(self.vectors[self.INPUT].shape[1])[None]
        return np.asarray(steps < self.vectors["lengths"][:, None])

    def longest_pauses(self) -> tuple[int, int]:
        """Longest stall in and out, in cycles."""
        return 8, 8

    def vote(self, votes: int, by: str) -> None:
        """Set the number of passes and how they vote, for blocks with these inputs."""
        self.votes, self.by = votes, by
        for name, value in (("votes", votes), ("by_sum", by == "sum")):
            if name in self.job["settings"]:
                getattr(self.dut, name).value = int(value)

    async def load(self) -> None:
        """Load the memories and the cells."""
        await streams.write(self.dut, self.job["writes"])  # level table first
        for port, cells in self.job["cells"].items():
            await self.cells[port].send(cells)

    def begin(self, sending: Any) -> None:
        """Start a sending coroutine, which `stop` cancels."""
        self.sending = cocotb.start_soon(sending)
        self.tasks.append(self.sending)

    def send(self) -> None:
        """Start sending everything."""
        raise NotImplementedError

    async def finish(self) -> None:
        """Wait for all outputs, and compare."""
        raise NotImplementedError

    async def drain(self, count: int, *, patience: int, after: int = 100) -> None:
        """Wait for `count` transfers, and check that no more follow.

        patience: Timeout in cycles.
        after: Cycles in which nothing may follow.
        """
        await with_timeout(self.sink.until(count), patience * PERIOD_NS, "ns")
        for _ in range(after):
            await RisingEdge(self.dut.clk)
        assert self.sending.done(), "what was sent was not all taken"
        assert len(self.sink.taken) == count, "more came out than was to"
        assert self.sink.taken == self.output.taken and not self.dut.o__valid.value

    def forget(self) -> None:
        """Drop everything recorded so far."""
        records: list[Any] = [self.sink, self.input, self.output]
        if self.job["trace_inside"]:
            records.append(self.probe)
        for record in records:
            record.taken.clear()
        for watch in (self.input, self.output):
            watch.offered.clear()
            watch.moved.clear()

    def stop(self) -> None:
        """Stop driving the block, before a reset."""
        for task in self.tasks:
            task.cancel()
        self.source.valid.value = 0


Bench = TypeVar("Bench", bound=BlockBench)


async def started(kind: type[Bench], dut: Any, into: float = 0.0, out_of: float = 0.0) -> Bench:
    """A block with its bench, after reset and loaded."""
    bench = kind(dut, *streams.block_job(), into, out_of)
    await streams.start(dut)
    await bench.load()
    return bench


async def run(kind: type[Bench], dut: Any, into: float = 0.0, out_of: float = 0.0) -> Bench:
    """Run everything through a block, and compare."""
    bench = await started(kind, dut, into, out_of)
    bench.send()
    await bench.finish()
    return bench


async def reset_midway(
    kind: type[BlockBench], dut: Any, into: float, out_of: float, longest: int
) -> None:
    """Reset several times, 1 to `longest` cycles after sending starts; then everything is exact.

    What was loaded before the first reset is kept.
    """
    bench = await started(kind, dut, into, out_of)
    draw = random.Random(bench.job["seed"])
    for _ in range(6):
        bench.send()
        for _ in range(draw.randint(1, longest)):
            await RisingEdge(dut.clk)
        bench.stop()
        await streams.reset(dut)
        bench = kind(dut, bench.job, bench.vectors, into, out_of)
    bench.send()
    await bench.finish()


def conclude_trace(bench: BlockBench) -> None:
    """Compare all values of a gate pipeline, the h that leaves the block, and `last` on every beat.

    The block must be ready for more.
    """
    assert bench.dut.i__ready.value
    scoreboard = Scoreboard()
    job, vectors, valid = bench.job, bench.vectors, bench.valid
    units = job["sizes"]["units"]
    assert len(bench.probe.taken) == len(bench.sink.taken), "h was computed that did not come out"
    trace = streams.unpack(job["trace"], bench.probe.taken)
    for name, values in streams.by_unit(trace, units, valid).items():
        axes = ("sequence", "step", *(("gate", "unit") if name == "codes" else ("unit",)))
        scoreboard.compare(name, axes, vectors[name], values, valid)
    out = streams.unpack(job["fields"]["o__payload"], bench.sink.taken)
    h = streams.by_unit({"h": out["codes"]}, units, valid)["h"]
    scoreboard.compare("h out", ("sequence", "step", "unit"), vectors["h"], h, valid)
    last = streams.placed(out["last"].reshape(-1, job["sizes"]["words"]), valid)
    steps = np.arange(valid.shape[1])[None, :, None]
    expected = np.broadcast_to(steps == vectors["lengths"][:, None, None] - 1, last.shape)
    scoreboard.compare("last", ("sequence", "step", "beat"), expected, last, valid)
    streams.conclude(job, scoreboard)
