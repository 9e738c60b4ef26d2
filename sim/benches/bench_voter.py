"""cocotb bench of the voter: scores of several passes in, one class out, in time."""

from itertools import product
from typing import Any

import cocotb
import numpy as np

from sim.benches import block, streams
from sim.benches.block import BlockBench
from sim.benches.scoreboard import Scoreboard
from sim.benches.streams import STALLS


class Voter(BlockBench):
    """Drivers and monitors of the block. into, out_of: Probabilities of a stall."""

    INPUT = "scores"

    @property
    def labels(self) -> np.ndarray:
        """Class of each sequence."""
        return self.vectors[f"label_{self.by}_{self.votes}"]

    def send(self) -> None:
        """Start sending every pass, back to back, for as many passes as make whole votes."""
        fields = self.job["fields"]["i__payload"]
        passes = self.vectors["scores"][: len(self.labels) * self.votes]
        self.begin(
            self.source.send(
                streams.pack(fields, score=score, last=n == len(scores) - 1)
                for scores in passes.tolist()
                for n, score in enumerate(scores)
            )
        )

    async def finish(self) -> None:
        """Wait for every class, check that no more follow, and compare."""
        patience = 50 * self.vectors["scores"].size
        await self.drain(len(self.labels), patience=patience, after=20)
        assert self.dut.i__ready.value
        scoreboard = Scoreboard()
        rtl = streams.unpack(self.job["fields"]["o__payload"], self.sink.taken)["label"]
        name = f"label by {self.by} of {self.votes}"
        scoreboard.compare(name, ("sequence",), self.labels, rtl)
        streams.conclude(self.job, scoreboard)


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS))
async def exact(dut: Any, into: float, out_of: float) -> None:
    """Every class is equal, by majority and by sum, for every number of passes, with stalls."""
    bench = await block.started(Voter, dut, into, out_of)
    for votes, by in product(range(1, bench.job["most_votes"] + 1), ("sum", "majority")):
        bench.vote(votes, by)
        bench.send()
        await bench.finish()
        bench.forget()


@cocotb.test()
@cocotb.parametrize(by=["majority", "sum"])
async def in_time(dut: Any, by: str) -> None:
    """Timing without stalls: one score per cycle.

    A class comes `latency` after the last score of its last pass. The next score follows after as
    many idle cycles. Other passes pause for two cycles, in which their class is counted.
    """
    bench = await block.started(Voter, dut)
    bench.vote(bench.job["most_votes"], by)
    bench.send()
    await bench.finish()
    classes, timing = bench.vectors["scores"].shape[1], bench.job["timing"]
    moved = np.array(bench.input.moved).reshape(-1, bench.votes, classes)
    assert (np.diff(moved, axis=-1) == 1).all()
    ends = moved[:, -1, -1]
    assert (bench.output.offered - ends == timing["latency"]).all()
    assert (moved[1:, 0, 0] - ends[:-1] - 1 == timing["latency"]).all()
    assert (moved[:, 1:, 0] - moved[:, :-1, -1] - 1 == 2).all()


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS[:4]))
async def reset_midway(dut: Any, into: float, out_of: float) -> None:
    """After a reset at any time, in any pass, the next classes are exact."""
    await block.reset_midway(Voter, dut, into, out_of, 60)
