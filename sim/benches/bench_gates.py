"""cocotb bench of a gate pipeline: codes in, h (and c) of every unit and step out, and in time."""

from typing import Any

import cocotb
import numpy as np

from sim.benches import block, streams
from sim.benches.block import BlockBench
from sim.benches.streams import STALLS


class Gates(BlockBench):
    """Drivers and monitors of the block; `into`, `out_of`: probabilities of a pause."""

    INPUT = "codes"

    def send(self) -> None:
        """Begin to send the codes of every step."""
        self.begin(self._send())

    async def _send(self) -> None:
        words, steps = self.job["sizes"]["words"], 0
        for codes, length in zip(self.vectors["codes"], self.vectors["lengths"], strict=True):
            for t in range(length):
                if words < 3 and t:
                    # The next step reads c where this one is still to write it: in a layer it
                    # cannot come before this one's h has gone out.
                    await self.sink.until(steps * words)
                await self.source.send(self._beats(codes[t], first=t == 0, last=t == length - 1))
                steps += 1

    def _beats(self, codes: np.ndarray, first: bool, last: bool) -> list[int]:
        """A step (gates, units) as the readout sends it; lanes past the last unit hold anything."""
        sizes, fields = self.job["sizes"], self.job["fields"]["i__payload"]
        beats = []
        for n in range(sizes["blocks"]):
            for gate in codes[:, n * sizes["lanes"] :].tolist():
                lanes = gate[: sizes["lanes"]]
                lanes += [self.draw.getrandbits(3) for _ in range(sizes["lanes"] - len(lanes))]
                beats.append(streams.pack(fields, codes=lanes, first=first, last=last))
        return beats

    async def finish(self) -> None:
        """Wait for every h, then a while more: nothing may be left over. Compare."""
        count = int(self.valid.sum()) * self.job["sizes"]["words"]
        await self.drain(count, patience=200 * count)
        block.conclude_trace(self)


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS))
async def exact(dut: Any, into: float, out_of: float) -> None:
    """Every value of every unit, gate and step, with stalls on both sides."""
    await block.run(Gates, dut, into, out_of)


@cocotb.test()
async def in_time(dut: Any) -> None:
    """Without stalls: a block's first h `latency` after its last beat, the others a cycle each."""
    bench = await block.run(Gates, dut)
    sizes = bench.job["sizes"]
    complete = bench.input.moved[sizes["gates"] - 1 :: sizes["gates"]]
    beats = sizes["lanes"] // sizes["units_per_beat"]
    blocks = np.arange(len(complete)) % sizes["blocks"]
    words = np.minimum(beats, sizes["words"] - blocks * beats)
    # Blocks come as fast as their codes or, if that is slower, as their h goes.
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
    """After a reset at any time, the next sequences are exact; what was loaded is kept."""
    job, _ = streams.block_job()
    longest = 8 * job["sizes"]["selects"]
    await block.reset_midway(Gates, dut, into, out_of, longest)
