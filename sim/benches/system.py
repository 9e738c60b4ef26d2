"""A design behind AXI in a cocotb bench: bus masters, the driver in C, comparison of results."""

import ctypes
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from sim.benches import scoreboard, streams
from sim.benches.four_states import FourStates
from sim.benches.scoreboard import Scoreboard
from sim.benches.streams import PERIOD_NS

HASTE = 256
"""Number of outstanding writes in fast loading."""


class Word(ctypes.Structure):
    """`struct wordline_word`."""

    _fields_ = (("address", ctypes.c_uint32), ("data", ctypes.c_uint32))


class Counters(ctypes.Structure):
    """`struct wordline_counters`."""

    _fields_ = tuple(
        (name, ctypes.c_uint32)
        for name in (
            *("cycles", "busy_cycles", "steps", "sequences"),
            *("input_stalls", "input_waits", "output_stalls"),
        )
    )


class System:
    """Interfaces of the design, each channel with random stalls; and its driver."""

    image_is_there = False
    """Whether a test has loaded the image: all tests share one simulation."""

    known: FourStates | None = None
    """Checks of a design that starts with X everywhere."""

    def __init__(self, dut: Any, job: dict[str, Any], stall: float) -> None:
        clock, reset = dut.aclk, dut.aresetn
        lite = AxiLiteBus.from_prefix(dut, "s_axil")
        self.take_up(dut, job, AxiLiteMaster(lite, clock, reset, reset_active_level=False))
        x = AxiStreamBus.from_prefix(dut, "s_axis")
        self.source = AxiStreamSource(x, clock, reset, reset_active_level=False)
        out = AxiStreamBus.from_prefix(dut, "m_axis")
        self.sink = AxiStreamSink(out, clock, reset, reset_active_level=False)
        channels = [
            *(self.lite.write_if.aw_channel, self.lite.write_if.w_channel),
            *(self.lite.write_if.b_channel, self.lite.read_if.ar_channel),
            *(self.lite.read_if.r_channel, self.source, self.sink),
        ]
        for n, channel in enumerate(channels):
            if stall:
                channel.set_pause_generator(pauses(stall, f"{job['seed']} {stall} {n}"))

    def take_up(self, dut: Any, job: dict[str, Any], lite: Any) -> None:
        """Set up from a job and a bus master."""
        self.dut, self.job, self.lite = dut, job, lite
        self.reset_cycles = job.get("reset", 3)
        with np.load(job["vectors"]) as file:
            self.vectors = dict(file)
        self.sidecar = json.loads(Path(job["sidecar"]).read_text())
        self.registers = self.sidecar["axi"]["registers"]
        self.window = self.sidecar["axi"]["window"]
        self.driver = ctypes.CDLL(job["driver"])

    async def start(self) -> None:
        """Start the clock and reset."""
        cocotb.start_soon(Clock(self.dut.aclk, PERIOD_NS, unit="ns").start())
        await self.reset()

    async def reset(self) -> None:
        """Reset for several cycles."""
        self.dut.aresetn.value = 0
        for _ in range(self.reset_cycles):
            await RisingEdge(self.dut.aclk)
        self.dut.aresetn.value = 1
        await RisingEdge(self.dut.aclk)

    async def call(self, name: str, *arguments: Any) -> int:
        """Call a function of the driver with base address 0. Its accesses go over the bus."""

        @resume
        async def read(address: int) -> int:
            answer = await self.lite.read(address, 4)
            assert answer.resp == AxiResp.OKAY, (hex(address), answer.resp)
            return int.from_bytes(answer.data, "little")

        @resume
        async def write(address: int, value: int) -> None:
            answer = await self.lite.write(address, value.to_bytes(4, "little"))
            assert answer.resp == AxiResp.OKAY, (hex(address), answer.resp)

        read_type = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_size_t)
        write_type = ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_uint32)
        callbacks = read_type(read), write_type(write)

        def run() -> int:
            self.driver.wordline_bus(*callbacks)
            return int(getattr(self.driver, name)(ctypes.c_size_t(0), *arguments))

        return await bridge(run)()

    def image(self, name: str = "image") -> list[tuple[int, int]]:
        """Words of an image."""
        return scoreboard.image(Path(self.job[name]))

    async def loaded(self) -> None:
        """Load the image, unless an earlier test has: reset keeps what was loaded."""
        if not System.image_is_there:
            await self.load()

    async def load(self) -> None:
        """Load the whole image with the driver, or fast if the job says so."""
        words = self.image()
        if self.job.get("hasty"):
            await self.load_hastily(words)
            return
        image = (Word * len(words))(*(Word(*word) for word in words))
        assert await self.call("wordline_load", image, ctypes.c_size_t(len(words)), 1000) == 0
        System.image_is_there = True

    async def load_hastily(self, words: list[tuple[int, int]]) -> None:
        """Load like the driver, but without waiting for the answer to each word."""
        control, status = (self.registers[name]["offset"] for name in ("control", "status"))
        fields = self.registers["status"]["fields"]
        await self.lite.write(control, (1).to_bytes(4, "little"))
        opened = 1 << fields["load_open"]["low"]
        while not int.from_bytes((await self.lite.read(status, 4)).data, "little") & opened:
            pass
        for n in range(0, len(words), HASTE):
            asked = [
                self.lite.init_write(self.window + 4 * address, data.to_bytes(4, "little"))
                for address, data in words[n : n + HASTE]
            ]
            for answer in asked:
                await answer.wait()
                assert answer.data.resp == AxiResp.OKAY
        await self.lite.write(control, (0).to_bytes(4, "little"))
        System.image_is_there = True

    def event(self, name: str) -> int:
        """Mask of an event."""
        return 1 << int(self.registers["irq_status"]["fields"][name]["low"])

    @property
    def patience(self) -> int:
        """Timeout for all sequences in cycles."""
        steps = int(self.vectors["lengths"].sum()) + 20
        return 40 * steps * int(self.sidecar["cycles_per_step"])

    def packet(self, sequence: int) -> bytes:
        """x of a sequence as bytes.

        Codes at the ends of the DAC's range become random codes at or beyond them.
        """
        x = self.vectors["x"][sequence, : self.vectors["lengths"][sequence]].astype(np.int64)
        draw = np.random.default_rng([self.job["seed"], sequence])
        for end, most in zip(self.job["dac_range"], (-128, 127), strict=True):
            beyond = draw.integers(min(end, most), max(end, most), x.shape, endpoint=True)
            x = np.where(x == end, beyond, x)
        padding = np.full((len(x), -x.shape[1] % self.job["beat"]), 0x55)
        return np.concatenate([x, padding], axis=1).astype(np.int8).tobytes()

    async def results(self, count: int, *, patience: int) -> list[AxiStreamFrame]:
        """Receive `count` result packets."""

        async def take() -> list[AxiStreamFrame]:
            frames = []
            for n in range(count):
                streams.report(self.job, n, count)
                frames.append(await self.sink.recv())
            return frames

        return await with_timeout(cocotb.start_soon(take()), patience * PERIOD_NS, "ns")

    def compare(self, frames: list[AxiStreamFrame], first: int = 0) -> Scoreboard:
        """Compare the results of the sequences from `first` on with the vectors, value by value."""
        vectors = {k: v[first : first + len(frames)] for k, v in self.vectors.items()}
        packets = [bytes(frame.tdata) for frame in frames]
        return scoreboard.compare_packets(self.sidecar, vectors, packets)


def pauses(chance: float, seed: str) -> Iterator[bool]:
    """Random stalls, cycle by cycle."""
    draw = random.Random(seed)
    return (draw.random() < chance for _ in itertools.count())
