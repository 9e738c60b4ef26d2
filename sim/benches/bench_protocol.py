"""cocotb bench of events during a run: reset, other weights, other noise.

The job names a second image and its vectors (`image_b`, `vectors_b`), with the same inputs and
votes and without noise. It also names an image of a few words that changes the noise
(`image_noise`) and its vectors.
"""

import json
import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Combine, RisingEdge, with_timeout

from sim.benches import scoreboard, streams
from sim.benches.bench_network import Chip
from sim.benches.scoreboard import Output, Scoreboard
from sim.benches.streams import PERIOD_NS


class Run:
    """A chip with its job, and the sequences to send."""

    def __init__(self, dut: Any) -> None:
        self.job = json.loads(Path(cocotb.plusargs["job"]).read_text())
        self.chip = Chip(dut, self.job)
        self.draw = random.Random(self.job["seed"])
        dut._log.info("seed %d", self.job["seed"])
        self.a, self.b, self.noise = (
            dict(np.load(self.job[name])) for name in ("vectors", "vectors_b", "vectors_noise")
        )
        assert np.array_equal(self.a["x"], self.b["x"])
        self.count = len(self.a["lengths"])
        self.sent = 0

    @property
    def patience_ns(self) -> int:
        """Timeout for all sequences (ns)."""
        steps = int(self.a["lengths"].sum()) + 100
        return int(self.chip.sidecar["cycles_per_step"]) * steps * 60 * PERIOD_NS

    async def send(self, first: int, last: int) -> None:
        """Send sequences first..last - 1 back to back."""
        for n in range(first, last):
            beats = self.chip.beats(self.a["x"][n, : self.a["lengths"][n]])
            await self.chip.input.send(beats)
            self.sent = n + 1

    async def finish(self, expected: dict[str, np.ndarray]) -> None:
        """Wait for every output, check that no more follow, and compare."""
        output = Output.of_vectors(self.chip.sidecar, expected)
        count = output.transfers
        done = self.chip.output.until(count)
        await with_timeout(done, self.patience_ns, "ns")
        for _ in range(2 * self.chip.sidecar["cycles_per_step"]):
            await RisingEdge(self.chip.dut.clk)
        assert len(self.chip.output.taken) == count, "more came out than went in"
        board, values = Scoreboard(), self.chip.values(output)
        scoreboard.compare(board, expected, self.chip.recorded(expected), output, values)
        assert board.mismatches == 0, board.first

    def mixed(self, switch: int, after: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Vectors of the first program up to sequence `switch`, those of `after` from there on."""
        mixed: dict[str, np.ndarray] = {}
        for name, values in after.items():
            own = switch * len(values) // self.count  # there may be several passes per sequence
            mixed[name] = np.concatenate([self.a[name][:own], values[own:]])
        return mixed

    async def load_in_mid_run(self, image: Path, after: dict[str, np.ndarray]) -> None:
        """Send every sequence back to back and, at a random time, load an image.

        Results before some sequence must be those of the first program, and from there on those of
        `after`.
        """
        switch = None
        dut = self.chip.dut

        async def load() -> None:
            for _ in range(self.draw.randint(1, 10 * self.chip.sidecar["cycles_per_step"])):
                await RisingEdge(dut.clk)
            await self.chip.load(image)

        async def watch() -> None:
            nonlocal switch
            await RisingEdge(self.chip.load_port.ready)
            switch = self.sent
            before = {name: self.a[name][:switch] for name in ("lengths", "x")}
            count = Output.of_vectors(self.chip.sidecar, before).transfers
            assert len(self.chip.output.taken) == count, "loading began with sequences under way"

        tasks = [cocotb.start_soon(task) for task in (load(), watch(), self.send(0, self.count))]
        await with_timeout(Combine(*tasks), self.patience_ns, "ns")
        assert switch is not None and 0 < switch < self.count, f"at {switch}: choose a seed"
        await self.finish(self.mixed(switch, after))


@cocotb.test()
async def reset_in_mid_sequence(dut: Any) -> None:
    """A reset at any time drops sequences in flight and keeps what was loaded.

    For the noise the next sequence is number 0.
    """
    run = Run(dut)
    await streams.start(dut)
    await run.chip.load(Path(run.job["image"]))
    for _ in range(8):
        sending = cocotb.start_soon(run.send(0, run.count))
        for _ in range(run.draw.randint(1, 6 * run.chip.sidecar["cycles_per_step"])):
            await RisingEdge(dut.clk)
        sending.cancel()
        run.chip.input.valid.value = 0
        await streams.reset(dut)
    run.chip.forget()
    cocotb.start_soon(run.send(0, run.count))
    await run.finish(run.a)


@cocotb.test()
async def load_in_mid_run(dut: Any) -> None:
    """Load other weights while sequences run back to back.

    Each sequence is computed with one program, the switch is between two sequences, and nothing is
    lost.
    """
    run = Run(dut)
    await streams.start(dut)
    await run.chip.load(Path(run.job["image"]))
    await run.load_in_mid_run(Path(run.job["image_b"]), run.b)


@cocotb.test()
async def noise_in_mid_run(dut: Any) -> None:
    """Noise registers written during a sequence take effect with the next one.

    Runs continue to count.
    """
    run = Run(dut)
    await streams.start(dut)
    await run.chip.load(Path(run.job["image"]))
    await run.load_in_mid_run(Path(run.job["image_noise"]), run.noise)


@cocotb.test()
async def reset_while_loading(dut: Any) -> None:
    """A load interrupted by a reset is repeated as a whole."""
    run = Run(dut)
    await streams.start(dut)
    loading = cocotb.start_soon(run.chip.load(Path(run.job["image_b"])))
    for _ in range(run.draw.randint(1, 500)):
        await RisingEdge(dut.clk)
    loading.cancel()
    run.chip.load_port.valid.value = 0
    await streams.reset(dut)
    await run.chip.load(Path(run.job["image"]))
    cocotb.start_soon(run.send(0, run.count))
    await run.finish(run.a)
