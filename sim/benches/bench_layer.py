"""cocotb bench of a recurrent layer: x in; h and all values of the gate pipeline out."""

from typing import Any

import cocotb
import numpy as np

from sim.benches import block, streams
from sim.benches.block import BlockBench
from sim.benches.streams import STALLS


class Layer(BlockBench):
    """Drivers and monitors of the block. into, out_of: Probabilities of a stall."""

    INPUT = "x"

    def longest_pauses(self) -> tuple[int, int]:
        """Longest stall in and out, in cycles."""
        return 40, 20

    def send(self) -> None:
        """Start sending every sequence, back to back."""
        fields = self.job["fields"]["i__payload"]
        beats = []
        for x, length in zip(self.vectors["x"], self.vectors["lengths"], strict=True):
            beats += streams.beats(fields, x[:length], self.draw)
        self.begin(self.source.send(beats))

    async def finish(self) -> None:
        """Wait for every h, check that no more follow, and compare."""
        steps, cycles = int(self.valid.sum()), self.job["timing"]["cycles_per_step"]
        count = steps * self.job["sizes"]["words"]
        await self.drain(count, patience=20 * steps * cycles, after=3 * cycles)
        block.conclude_trace(self)


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS))
async def exact(dut: Any, into: float, out_of: float) -> None:
    """Every value of every unit, gate and step is equal, with stalls, also at loading."""
    await block.run(Layer, dut, into, out_of)


@cocotb.test()
async def in_time(dut: Any) -> None:
    """Without stalls there is a step every `cycles_per_step`.

    The first step of a sequence takes only the cycles of its conversions.
    """
    bench = await block.run(Layer, dut)
    sizes, timing = bench.job["sizes"], bench.job["timing"]
    ends = bench.output.moved[sizes["words"] - 1 :: sizes["words"]]
    first = np.broadcast_to(np.arange(bench.valid.shape[1]) == 0, bench.valid.shape)[bench.valid]
    converted = max(sizes["conversion_cycles"], timing["beats"] + 1)
    expected = np.where(first, converted, timing["cycles_per_step"])
    assert np.diff(ends).tolist() == expected[1:].tolist()


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS[:4]))
async def reset_midway(dut: Any, into: float, out_of: float) -> None:
    """After a reset at any time the next sequences are exact.

    What was loaded is kept, and runs count from 0.
    """
    job, _ = streams.block_job()
    longest = 4 * job["timing"]["cycles_per_step"]
    await block.reset_midway(Layer, dut, into, out_of, longest)
