"""What the benches of blocks with a stream in and a stream out share: drivers, load, reset."""

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
    """Drivers and monitors of a block; `into`, `out_of`: probabilities of a pause.

    INPUT: the vector that goes in, (sequences, steps, ...). `valid`: which of its steps count.
    A bench adds `send`, which begins to send everything, and `finish`, which waits for all that
    comes out, and compares.
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
        """(sequences, steps)."""
        steps = np.arange(self.vectors[self.INPUT].shape[1])[None]
        return np.asarray(steps < self.vectors["lengths"][:, None])

    def longest_pauses(self) -> tuple[int, int]:
        """Cycles of the longest pause in, and out."""
        return 8, 8

    def vote(self, votes: int, by: str) -> None:
        """Ask for so many passes, and how they decide, where the block is told."""
        self.votes, self.by = votes, by
        for name, value in (("votes", votes), ("by_sum", by == "sum")):
            if name in self.job["settings"]:
                getattr(self.dut, name).value = int(value)

    async def load(self) -> None:
        """Load the cells and the memories."""
        await streams.write(self.dut, self.job["writes"])  # the level table is used by what comes
        for port, cells in self.job["cells"].items():
            await self.cells[port].send(cells)

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

    async def drain(self, count: int, *, patience: int, after: int = 100) -> None:
        """Wait for `count` transfers, `patience` cycles at the most, then `after` cycles more:
        nothing may be left over."""
        await with_timeout(self.sink.until(count), patience * PERIOD_NS, "ns")
        for _ in range(after):
            await RisingEdge(self.dut.clk)
        assert self.sending.done(), "what was sent was not all taken"
        assert len(self.sink.taken) == count, "more came out than was to"
        assert self.sink.taken == self.output.taken and not self.dut.o__valid.value

    def forget(self) -> None:
        """Drop what was recorded so far."""
        records: list[Any] = [self.sink, self.input, self.output]
        if self.job["trace_inside"]:
            records.append(self.probe)
        for record in records:
            record.taken.clear()
        for watch in (self.input, self.output):
            watch.offered.clear()
            watch.moved.clear()

    def stop(self) -> None:
        """Let go of the block, to reset it."""
        for task in self.tasks:
            task.cancel()
        self.source.valid.value = 0


Bench = TypeVar("Bench", bound=BlockBench)


async def started(kind: type[Bench], dut: Any, into: float = 0.0, out_of: float = 0.0) -> Bench:
    """A block with its bench, reset and loaded."""
    bench = kind(dut, *streams.block_job(), into, out_of)
    await streams.start(dut)
    await bench.load()
    return bench


async def run(kind: type[Bench], dut: Any, into: float = 0.0, out_of: float = 0.0) -> Bench:
    """Everything through a block, compared."""
    bench = await started(kind, dut, into, out_of)
    bench.send()
    await bench.finish()
    return bench


async def reset_midway(
    kind: type[BlockBench], dut: Any, into: float, out_of: float, longest: int
) -> None:
    """Reset some times, each 1 to `longest` cycles after sending began; then all is exact, with
    what was loaded before the first of them."""
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
    """Compare all that a gate pipeline computed; then the vectors of h that came out of the block,
    and the mark of a sequence's last step on every beat. The block is to be ready for more."""
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
