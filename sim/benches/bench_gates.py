"""cocotb bench of a gate pipeline: codes in; h (and c) of every unit and step out, in time."""

from typing import Any

import cocotb
import numpy as np

from sim.benches import block, streams
from sim.benches.block import BlockBench
from sim.benches.streams import STALLS


class Gates(BlockBench):
    """Drivers and monitors of the block. into, out_of: Probabilities of a stall."""

    INPUT = "codes"

    def send(self) -> None:
        """Start sending the codes of every step."""
        self.begin(self._send())

    async def _send(self) -> None:
        words, steps = self.job["sizes"]["words"], 0
        for codes, length in zip(self.vectors["codes"], self.vectors["lengths"], strict=True):
            for t in range(length):
                if words < 3 and t:
                    # With few beats the next step could read c before this one writes it. In a
                    # layer that cannot happen: it starts only after this one's h has left.
                    await self.sink.until(steps * words)
                await self.source.send(self._beats(codes[t], first=t == 0, last=t == length - 1))
                steps += 1

    def _beats(self, codes: np.ndarray, first: bool, last: bool) -> list[int]:
        """A step (gates, units) as the readout sends it; lanes without a unit are random."""
        sizes, fields = self.job["sizes"], self.job["fields"]["i__payload"]
        beats = []
        for n in range(sizes["blocks"]):
            for gate in codes[:, n * sizes["lanes"] :].tolist():
                lanes = gate[: sizes["lanes"]]
                lanes += [self.draw.getrandbits(3) for _ in range(sizes["lanes"] - len(lanes))]
                beats.append(streams.pack(fields, codes=lanes, first=first, last=last))
        return beats

    async def finish(self) -> None:
        """Wait for every h, check that no more follow, and compare."""
        count = int(self.valid.sum()) * self.job["sizes"]["words"]
        await self.drain(count, patience=200 * count)
        block.conclude_trace(self)


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS))
async def exact(dut: Any, into: float, out_of: float) -> None:
    """Every value of every unit, gate and step is equal, with stalls on both sides."""
    await block.run(Gates, dut, into, out_of)


@cocotb.test()
async def in_time(dut: Any) -> None:
    """Without stalls a block's first h comes `latency` after its last beat, then one per cycle."""
    bench = await block.run(Gates, dut)
    sizes = bench.job["sizes"]
    complete = bench.input.moved[sizes["gates"] - 1 :: sizes["gates"]]
    beats = sizes["lanes"] // sizes["units_per_beat"]
    blocks = np.arange(len(complete)) % sizes["blocks"]
    words = np.minimum(beats, sizes["words"] - blocks * beats)
    # Blocks arrive as fast as their codes or, if that is slower, as their h leaves.
    assert (np.diff(complete) == np.maximum(sizes["gates"], words[:-1])).all()
    expected = [
        cycle + bench.job["timing"]["latency"] + word
        for cycle, count in zip(complete, words, strict=True)
        for word in range(count)
    ]
    assert bench.output.offered == bench.output.moved == expected


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS[:4]))
async def reset_midway(dut: Any, into: float, out_of: float) -> None:
    """After a reset at any time the next sequences are exact; what was loaded is kept."""
    job, _ = streams.block_job()
    longest = 8 * job["sizes"]["selects"]
    await block.reset_midway(Gates, dut, into, out_of, longest)
