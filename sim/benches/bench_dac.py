"""cocotb bench of the DAC sequencer: x and h in, every step on the rows, in order and in time."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, with_timeout

from sim.benches import streams
from sim.benches.scoreboard import Scoreboard
from sim.benches.streams import PERIOD_NS, STALLS, Sink, Source, Watch

PATIENCE = 20_000
"""Timeout of a bench in cycles."""


class Sequencer:
    """Drivers and monitors of the block. into, out_of: Probabilities of a stall."""

    def __init__(
        self, dut: Any, job: dict[str, Any], into: float = 0.0, out_of: float = 0.0
    ) -> None:
        self.dut, self.fields = dut, job["fields"]
        self.draw = random.Random(f"{job['seed']} {into} {out_of}")
        self.pause = streams.at_random(into, 8, f"{job['seed']} feedback {into}")
        self.source = Source(dut, "i", streams.at_random(into, 8, f"{job['seed']} i {into}"))
        pauses = streams.at_random(out_of, 8, f"{job['seed']} o {out_of}")
        self.sink = Sink(dut, "o", pauses, after_offer=out_of == 1)
        self.input, self.output = Watch(dut, "i"), Watch(dut, "o")
        self.fed: dict[int, int] = {}  # step, over all sequences: last cycle of its h
        dut.feed.value = 0
        drivers: list[Any] = [self.sink, self.input, self.output]
        self.tasks = [driver.task for driver in drivers]

    def send(self, x: list[np.ndarray], h: list[np.ndarray]) -> None:
        """Start sending sequences (steps, elements) and feeding back their h."""
        transfers = []
        for sequence in x:
            transfers += streams.beats(self.fields["i__payload"], sequence, self.draw)
        self.sending = cocotb.start_soon(self.source.send(transfers))
        self.tasks += [self.sending, cocotb.start_soon(self._feed_back(h))]

    async def _feed_back(self, h: list[np.ndarray]) -> None:
        """Feed back h of each step but a sequence's last, once the step is on the rows."""
        step = 0
        for sequence in h:
            for t, vector in enumerate(sequence):
                while len(self.output.offered) <= step:
                    await RisingEdge(self.dut.clk)
                if t < len(sequence) - 1:
                    fields = self.fields["feedback"]
                    (beat,) = fields["feedback"]["dimensions"]
                    for n in range(0, len(vector), beat):
                        await self._feed(streams.pack(fields, feedback=vector[n : n + beat]))
                    self.fed[step] = streams.cycle()
                step += 1

    async def _feed(self, codes: int) -> None:
        for _ in range(self.pause()):
            self.dut.feedback.value = self.draw.getrandbits(len(self.dut.feedback))
            await RisingEdge(self.dut.clk)
        self.dut.feedback.value = codes
        self.dut.feed.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.feed.value = 0
        self.dut.feedback.value = self.draw.getrandbits(len(self.dut.feedback))

    async def finish(self, steps: int) -> None:
        """Wait for all steps, and check that no more follow."""
        await with_timeout(self.sink.until(steps), PATIENCE * PERIOD_NS, "ns")
        for _ in range(100):
            await RisingEdge(self.dut.clk)
        assert self.sending.done(), "x was not all taken"
        assert len(self.sink.taken) == steps, "more steps came out than went in"
        assert self.sink.taken == self.output.taken
        assert not self.dut.o__valid.value and self.dut.i__ready.value

    def stop(self) -> None:
        """Stop driving the block, before a reset."""
        for task in self.tasks:
            task.cancel()
        self.source.valid.value = self.dut.feed.value = 0


def cut(values: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Padded sequences, cut to their lengths."""
    return [sequence[:length] for sequence, length in zip(values, lengths, strict=True)]


def compare(bench: Sequencer, vectors: dict[str, np.ndarray], job: dict[str, Any]) -> None:
    """Compare every step that came out with golden."""
    lengths = vectors["lengths"]
    steps = np.arange(vectors["x"].shape[1])[None]
    valid = steps < lengths[:, None]
    expected = {
        "rows": vectors["rows"],
        "first": np.broadcast_to(steps == 0, valid.shape),
        "last": steps == lengths[:, None] - 1,
    }
    scoreboard = Scoreboard()
    for name, values in streams.unpack(bench.fields["o__payload"], bench.sink.taken).items():
        axes = ("sequence", "step", "row")[: values.ndim + 1]
        scoreboard.compare(name, axes, expected[name], streams.placed(values, valid), valid)
    streams.conclude(job, scoreboard)


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS))
async def exact(dut: Any, into: float, out_of: float) -> None:
    """Every sequence is equal, with stalls on all sides."""
    job, vectors = streams.block_job()
    lengths = vectors["lengths"]
    bench = Sequencer(dut, job, into, out_of)
    await streams.start(dut)
    bench.send(cut(vectors["x"], lengths), cut(vectors["h"], lengths))
    await bench.finish(lengths.sum())
    compare(bench, vectors, job)


@cocotb.test()
async def in_time(dut: Any) -> None:
    """Timing without stalls.

    A step comes `latency` after its x, `feedback_latency` after the previous h, or two cycles after
    the previous step, whichever is last. Without feedback there is a vector every beats + 1 cycles.
    """
    job, vectors = streams.block_job()
    lengths, beats = vectors["lengths"], job["timing"]["beats"]
    bench = Sequencer(dut, job)
    await streams.start(dut)
    bench.send(cut(vectors["x"], lengths), cut(vectors["h"], lengths))
    await bench.finish(lengths.sum())
    for step, offered in enumerate(bench.output.offered):
        x = bench.input.moved[beats * (step + 1) - 1]
        waits = [x + job["timing"]["latency"]]
        if step:  # the previous x frees the register for this one
            waits.append(bench.output.offered[step - 1] + 2)
        if step - 1 in bench.fed:
            waits.append(bench.fed[step - 1] + job["timing"]["feedback_latency"])
        assert offered == max(waits), f"step {step}"

    bench.stop()
    bench = Sequencer(dut, job)
    alone = [step[None] for sequence in vectors["x"] for step in sequence]
    bench.send(alone, alone)
    await bench.finish(len(alone))
    begun = np.diff(bench.input.moved[::beats])
    if job["timing"]["latency"] > 2:  # the second vector's first beat has a register to wait in
        begun = begun[1:]
    assert (begun == beats + 1).all()
    assert (np.diff(bench.output.moved) == beats + 1).all()


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS[:4]))
async def reset_midway(dut: Any, into: float, out_of: float) -> None:
    """After a reset at any time the next sequences are exact."""
    job, vectors = streams.block_job()
    lengths = vectors["lengths"]
    draw = random.Random(job["seed"])
    bench = Sequencer(dut, job, into, out_of)
    await streams.start(dut)
    for _ in range(6):
        bench.send(cut(vectors["x"], lengths), cut(vectors["h"], lengths))
        for _ in range(draw.randint(1, 60)):
            await RisingEdge(dut.clk)
        bench.stop()
        await streams.reset(dut)
        bench = Sequencer(dut, job, into, out_of)
    bench.send(cut(vectors["x"], lengths), cut(vectors["h"], lengths))
    await bench.finish(lengths.sum())
    compare(bench, vectors, job)
