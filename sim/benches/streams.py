"""cocotb drivers and monitors for streams, and the layout of what they carry.

One idiom throughout: values read after `RisingEdge(clk)` are those before the edge; values
written there are seen from the next edge on. Nothing wakes Python in a cycle in which nothing
happens.
"""

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.handle import SimHandleBase
from cocotb.triggers import Event, RisingEdge
from cocotb.utils import get_sim_time

from sim.benches.scoreboard import Scoreboard

PERIOD_NS = 10
"""The clock of every bench."""

Stall = Callable[[], int]
"""Gives the cycles to wait before the next transfer."""


def never() -> int:
    """No stalls."""
    return 0


def at_random(probability: float, longest: int, seed: int | str) -> Stall:
    """Waits of 1 to `longest` cycles, each transfer with this probability."""
    draw = random.Random(seed)
    return lambda: draw.randint(1, longest) if draw.random() < probability else 0


STALLS = ((0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.3, 0.3), (0.9, 1.0))
"""What each block's bench tries: probabilities of a pause into and out of the design; where that
is 1, the sink is ready for nothing that it has not seen on offer."""


def cycle() -> int:
    """The cycle that ends with the edge just waited for."""
    return round(get_sim_time("ns") / PERIOD_NS)


async def start(dut: SimHandleBase) -> None:
    """Start the clock and reset; make drivers first, they put the inputs at 0."""
    cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start())
    await reset(dut)


async def reset(dut: SimHandleBase) -> None:
    """One cycle of reset."""
    dut.rst.value = 1
    await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


class Source:
    """Sends payloads (integers) on a stream into the design."""

    def __init__(self, dut: SimHandleBase, name: str, stall: Stall = never) -> None:
        self.clk = dut.clk
        self.payload = getattr(dut, f"{name}__payload")
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")
        self.stall = stall
        self.valid.value = 0

    async def send(self, payloads: Iterable[int]) -> None:
        """Send all of them; returns after the edge that takes the last."""
        for payload in payloads:
            for _ in range(self.stall()):
                await RisingEdge(self.clk)
            self.payload.value = payload
            self.valid.value = 1
            await RisingEdge(self.clk)
            while not self.ready.value:
                await RisingEdge(self.ready)
                await RisingEdge(self.clk)
            self.valid.value = 0


class Sink:
    """Takes payloads off a stream out of the design, for as long as the simulation lasts.

    after_offer: be ready only when a payload is on offer, for which no design may wait.
    """

    def __init__(
        self, dut: SimHandleBase, name: str, stall: Stall = never, *, after_offer: bool = False
    ) -> None:
        self.clk = dut.clk
        self.payload = getattr(dut, f"{name}__payload")
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")
        self.stall, self.after_offer = stall, after_offer
        self.taken: list[int] = []
        self.took = Event()
        self.ready.value = 0
        self.task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            for _ in range(self.stall()):
                self.ready.value = 0
                await RisingEdge(self.clk)
            if self.after_offer:
                self.ready.value = 0
                await RisingEdge(self.clk)
                while not self.valid.value:
                    await RisingEdge(self.valid)
                    await RisingEdge(self.clk)
            self.ready.value = 1
            await RisingEdge(self.clk)
            while not self.valid.value:
                await RisingEdge(self.valid)
                await RisingEdge(self.clk)
            self.taken.append(int(self.payload.value))  # a bit has no to_unsigned
            self.took.set()

    async def until(self, count: int, report: Callable[[int], None] = lambda _: None) -> None:
        """Wait until `count` payloads have been taken; `report` each."""
        while len(self.taken) < count:
            self.took.clear()
            await self.took.wait()
            report(len(self.taken))


class Probe:
    """Records a signal in every cycle in which its `valid` is high."""

    def __init__(self, clk: SimHandleBase, signal: SimHandleBase, valid: SimHandleBase) -> None:
        self.clk, self.signal, self.valid = clk, signal, valid
        self.taken: list[int] = []
        self.task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            await RisingEdge(self.valid)
            await RisingEdge(self.clk)
            while self.valid.value:
                self.taken.append(int(self.signal.value))
                await RisingEdge(self.clk)


class Watch:
    """Checks that a stream holds what it offers, and records its transfers; drives nothing.

    taken: the payloads. offered, moved: the cycles in which each was first on offer, and was taken.
    A reset takes an offer back.
    """

    def __init__(self, dut: SimHandleBase, name: str) -> None:
        self.name, self.clk, self.rst = name, dut.clk, dut.rst
        self.payload = getattr(dut, f"{name}__payload")
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")
        self.taken: list[int] = []
        self.offered: list[int] = []
        self.moved: list[int] = []
        self.task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        held: int | None = None
        while True:
            await RisingEdge(self.clk)
            if self.rst.value:
                held = None
                continue
            if not self.valid.value:
                assert held is None, f"{self.name}: withdrawn in cycle {cycle()}, never taken"
                continue
            payload = int(self.payload.value)
            if held is None:
                self.offered.append(cycle())
            else:
                assert payload == held, f"{self.name}: changed in cycle {cycle()} while on offer"
            held = payload
            if self.ready.value:
                self.taken.append(payload)
                self.moved.append(cycle())
                held = None


async def write(dut: SimHandleBase, ports: dict[str, list[list[int]]]) -> None:
    """Write (address, data) words on each of the memories' write ports, one a cycle."""
    for name, words in ports.items():
        address, data = getattr(dut, f"{name}__address"), getattr(dut, f"{name}__data")
        enable = getattr(dut, f"{name}__enable")
        enable.value = 1
        for address.value, data.value in words:
            await RisingEdge(dut.clk)
        enable.value = 0


def block_job() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The job and the vectors of a block's bench (sim/blocks.py); prints the seed."""
    job = json.loads(Path(cocotb.plusargs["job"]).read_text())
    cocotb.log.info("seed %d", job["seed"])
    with np.load(job["vectors"]) as file:
        return job, dict(file)


def probe(dut: SimHandleBase, job: dict[str, Any]) -> Probe:
    """The probe on the signal `trace` inside a block."""
    inside = getattr(dut, job["trace_inside"])
    return Probe(dut.clk, inside.trace, inside.trace_valid)


def conclude(job: dict[str, Any], scoreboard: Scoreboard) -> None:
    """Add a test's comparisons to the bench's result; fail with the first difference."""
    path = Path(job["result"])
    before = json.loads(path.read_text())["values_compared"] if path.exists() else 0
    path.write_text(json.dumps({"values_compared": before + scoreboard.values_compared}))
    assert scoreboard.values_compared > 0
    assert scoreboard.mismatches == 0, scoreboard.first


def report(job: dict[str, Any], done: int, total: int) -> None:
    """Tell whoever waits outside how far the bench is."""
    Path(job["progress"]).write_text(f"{done} {total}")


def placed(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Values of consecutive steps as (sequences, steps, ...), 0 where no step is valid."""
    result = np.zeros((*valid.shape, *values.shape[1:]), np.int64)
    result[valid] = values
    return result


def by_unit(flat: dict[str, np.ndarray], units: int, valid: np.ndarray) -> dict[str, np.ndarray]:
    """Beats (beats, [gates,] places) of the valid steps, one step after the other, as
    (sequences, steps, [gates,] units)."""
    steps, result = int(valid.sum()), {}
    for name, values in flat.items():
        words = len(values) // steps
        assert len(values) == words * steps, f"{name}: {len(values)} beats, {steps} steps"
        values = np.moveaxis(values.reshape(steps, words, *values.shape[1:]), 1, -2)
        result[name] = placed(values.reshape(*values.shape[:-2], -1)[..., :units], valid)
    return result


Fields = dict[str, dict[str, Any]]
"""A payload's layout as the JSON sidecar has it."""


def pack(fields: Fields, **values: Any) -> int:
    """Put values (integers or nested sequences of them) into a payload."""
    packed = 0
    for name, value in values.items():
        field = fields[name]
        mask = (1 << field["width"]) - 1
        for position, element in enumerate(np.ravel(value).tolist()):
            packed |= (int(element) & mask) << (field["low"] + position * field["width"])
    return packed


def beats(fields: Fields, x: np.ndarray, draw: random.Random) -> list[int]:
    """The transfers of one sequence (steps, elements) of vectors, its padding at random.

    `last` comes with every beat of the last step.
    """
    (beat,) = fields["codes"]["dimensions"]
    transfers = []
    for t, vector in enumerate(x.tolist()):
        padding = [draw.getrandbits(fields["codes"]["width"]) for _ in range(-len(vector) % beat)]
        vector += padding
        transfers += [
            pack(fields, codes=vector[n : n + beat], last=t == len(x) - 1)
            for n in range(0, len(vector), beat)
        ]
    return transfers


def unpack(fields: Fields, payloads: list[int]) -> dict[str, np.ndarray]:
    """The fields of many payloads at once: arrays (payloads, *dimensions) of int64."""
    bits = max(f["low"] + f["width"] * int(np.prod(f["dimensions"])) for f in fields.values())
    size = -(-bits // 8)
    raw = b"".join(payload.to_bytes(size, "little") for payload in payloads)
    table = np.frombuffer(raw, np.uint8).reshape(len(payloads), size)
    table = np.unpackbits(table, axis=1, bitorder="little")
    values = {}
    for name, field in fields.items():
        count, width = int(np.prod(field["dimensions"])), field["width"]
        part = table[:, field["low"] : field["low"] + count * width]
        weights = 1 << np.arange(width, dtype=np.int64)
        if field["signed"]:
            weights[-1] = -weights[-1]
        numbers = part.reshape(len(payloads), count, width).astype(np.int64) @ weights
        values[name] = numbers.reshape(len(payloads), *field["dimensions"])
    return values
