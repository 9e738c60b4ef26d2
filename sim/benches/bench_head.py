"""cocotb bench of the head: h in; scores and class of the last step, or of every step, out."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from sim.benches import block, streams
from sim.benches.block import BlockBench
from sim.benches.scoreboard import Scoreboard
from sim.benches.streams import STALLS


class Head(BlockBench):
    """Drivers and monitors of the block. into, out_of: Probabilities of a stall."""

    INPUT = "h"

    def longest_pauses(self) -> tuple[int, int]:
        """Longest stall in and out, in cycles."""
        return 8, 99

    def beats(self) -> list[list[int]]:
        """Transfers of each pass, for as many passes as make whole votes."""
        fields = self.job["fields"]["i__payload"]
        lengths = self.vectors["lengths"]
        passes = zip(self.vectors["h"], lengths, strict=True)
        transfers = [streams.beats(fields, h[:length], self.draw) for h, length in passes]
        return transfers[: len(lengths) // self.votes * self.votes]

    def send(self) -> None:
        """Start sending every pass, back to back."""
        self.begin(self.source.send(beat for one in self.beats() for beat in one))

    @property
    def every_step(self) -> bool:
        """Whether every step has scores."""
        return self.vectors["scores"].ndim == 3

    @property
    def transfers(self) -> int:
        """Output transfers per step or sequence: one class, or all scores."""
        fields, classes = self.job["fields"]["o__payload"], self.vectors["scores"].shape[-1]
        return classes if "score" in fields else 1

    async def finish(self) -> None:
        """Wait for all classes or scores, check that no more follow, and compare."""
        label = self.vectors[f"label_{self.by}_{self.votes}"]
        scores = self.vectors["scores"][: len(label) * self.votes]
        ends = np.ones(len(label), int)
        if self.every_step:
            valid = self.valid
            ends = (np.arange(valid.shape[1]) == self.vectors["lengths"][:, None] - 1)[valid]
            label, scores = label[valid], scores[valid]
        latency = self.job["timing"]["latency"]
        patience = 50 * (self.vectors["h"].size + latency * len(scores))
        await self.drain(len(label) * self.transfers, patience=patience, after=3 * latency)
        assert self.dut.i__ready.value

        scoreboard, axes = Scoreboard(), ("step" if self.every_step else "sequence",)
        assert len(self.probe.taken) == scores.size, "not a score for each class"
        rtl = streams.unpack(self.job["trace"], self.probe.taken)["score"].reshape(scores.shape)
        scoreboard.compare("scores", (*axes, "class"), scores, rtl)
        out = streams.unpack(self.job["fields"]["o__payload"], self.sink.taken)
        if "score" in out:
            rtl = out["score"].reshape(scores.shape)
            scoreboard.compare("scores out", (*axes, "class"), scores, rtl)
            last = np.broadcast_to(np.arange(self.transfers) == self.transfers - 1, scores.shape)
            scoreboard.compare("last", (*axes, "class"), last, out["last"].reshape(scores.shape))
        else:
            scoreboard.compare("label", axes, label, out["label"])
        if self.every_step:
            wanted = ends.repeat(self.transfers)
            scoreboard.compare("end", axes, wanted, out["end"])
        streams.conclude(self.job, scoreboard)


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS))
async def exact(dut: Any, into: float, out_of: float) -> None:
    """Every score and class is equal, with stalls, also at loading, for several votes."""
    bench = await block.started(Head, dut, into, out_of)
    n, most = STALLS.index((into, out_of)), bench.job["most_votes"]
    bench.vote(most - n % most, ("sum", "majority")[n % 2])
    bench.send()
    await bench.finish()


@cocotb.test()
async def in_time(dut: Any) -> None:
    """Timing without stalls.

    Alone, the class or last score of a sequence comes `latency` after its last h, and h is accepted
    at one beat per cycle. With an output per step this is tested with sequences of one step.
    Sequences of one step back to back come out at the rate of the slowest block.
    """
    bench = await block.started(Head, dut)
    bench.vote(1, "majority")
    fields = bench.job["fields"]["i__payload"]
    short = [streams.beats(fields, h[:1], bench.draw) for h in bench.vectors["h"]]
    each, ends = bench.transfers, []
    for n, transfers in enumerate(short if bench.every_step else bench.beats()):
        began = len(bench.input.moved)
        bench.begin(bench.source.send(transfers))
        await bench.sink.until((n + 1) * each)
        await RisingEdge(dut.clk)
        assert (np.diff(bench.input.moved[began:]) == 1).all()
        ends.append(bench.input.moved[-1])
    timing = bench.job["timing"]
    last = bench.output.offered[each - 1 :: each]
    assert (np.subtract(last, ends) == timing["latency"]).all()
    if not bench.every_step:
        await bench.finish()

    bench.forget()
    await bench.source.send(beat for sequence in short for beat in sequence)
    await bench.sink.until(len(short) * each)
    await RisingEdge(dut.clk)
    assert (np.diff(bench.output.moved[each - 1 :: each]) == timing["cycles"]).all()


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS[:4]))
async def reset_midway(dut: Any, into: float, out_of: float) -> None:
    """After a reset at any time the next sequences are exact.

    What was loaded is kept, and runs count from 0.
    """
    job, _ = streams.block_job()
    longest = 4 * job["timing"]["latency"]
    await block.reset_midway(Head, dut, into, out_of, longest)
