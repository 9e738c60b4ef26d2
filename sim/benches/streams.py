"""cocotb drivers and monitors for streams, and packing of their payloads.

All code reads signals after `RisingEdge(clk)`, which gives the values before the edge. A value
written there is seen at the next edge. Python does not wake up in cycles without activity.
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

from sim.benches import scoreboard
from sim.benches.scoreboard import Scoreboard

PERIOD_NS = 10
"""Clock period of every bench (ns)."""

Stall = Callable[[], int]
"""Returns the number of cycles to wait before the next transfer."""


def never() -> int:
    """No stalls."""
    return 0


def at_random(probability: float, longest: int, seed: int | str) -> Stall:
    """Stalls of 1 to `longest` cycles, with this probability at each transfer."""
    draw = random.Random(seed)
    return lambda: draw.randint(1, longest) if draw.random() < probability else 0


STALLS = ((0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.3, 0.3), (0.9, 1.0))
"""Probabilities of a stall into and out of the design, tried by each block's bench.

If the second is 1, the sink is ready only after it has seen `valid`.
"""


def cycle() -> int:
    """Number of the cycle that ends at the current clock edge."""
    return round(get_sim_time("ns") / PERIOD_NS)


async def start(dut: SimHandleBase) -> None:
    """Start the clock and reset. Create drivers before: they set the inputs to 0."""
    cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start())
    await reset(dut)


async def reset(dut: SimHandleBase) -> None:
    """Reset for one cycle."""
    dut.rst.value = 1
    await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


class Source:
    """Sends payloads (integers) on an input stream of the design."""

    def __init__(self, dut: SimHandleBase, name: str, stall: Stall = never) -> None:
        self.clk = dut.clk
        self.payload = getattr(dut, f"{name}__payload")
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")
        self.stall = stall
        self.valid.value = 0

    async def send(self, payloads: Iterable[int]) -> None:
        """Send all payloads; returns after the edge that transfers the last one."""
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
    """Accepts payloads from an output stream of the design, until the simulation ends.

    after_offer: Be ready only after `valid`; a design must not wait for `ready`.
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
            self.taken.append(int(self.payload.value))  # a single bit has no to_unsigned
            self.took.set()

    async def until(self, count: int, report: Callable[[int], None] = lambda _: None) -> None:
        """Wait until `count` payloads have been accepted; call `report` after each."""
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
    """Monitors a stream: checks that it holds what it offers, and records its transfers.

    taken: Payloads.
    offered: Cycle in which each payload is first offered.
    moved: Cycle in which each payload is transferred.

    Only a reset may withdraw an offer.
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
    """Write (address, data) words to write ports of memories, one per cycle."""
    for name, words in ports.items():
        address, data = getattr(dut, f"{name}__address"), getattr(dut, f"{name}__data")
        enable = getattr(dut, f"{name}__enable")
        enable.value = 1
        for address.value, data.value in words:
            await RisingEdge(dut.clk)
        enable.value = 0


def block_job() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Job and vectors of a block's bench (sim/blocks.py); logs the seed."""
    job = json.loads(Path(cocotb.plusargs["job"]).read_text())
    cocotb.log.info("seed %d", job["seed"])
    with np.load(job["vectors"]) as file:
        return job, dict(file)


def probe(dut: SimHandleBase, job: dict[str, Any]) -> Probe:
    """Probe of the signal `trace` inside a block."""
    inside = getattr(dut, job["trace_inside"])
    return Probe(dut.clk, inside.trace, inside.trace_valid)


def conclude(job: dict[str, Any], board: Scoreboard) -> None:
    """Add the comparisons of a test to the bench's result. Fails with the first difference."""
    path = Path(job["result"])
    before = json.loads(path.read_text())["values_compared"] if path.exists() else 0
    path.write_text(json.dumps({"values_compared": before + board.values_compared}))
    assert board.values_compared > 0
    assert board.mismatches == 0, board.first


def report(job: dict[str, Any], done: int, total: int) -> None:
    """Report progress to the process that runs the simulator."""
    Path(job["progress"]).write_text(f"{done} {total}")


def placed(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Values of consecutive steps as (sequences, steps, ...), 0 where a step is not valid."""
    result = np.zeros((*valid.shape, *values.shape[1:]), np.int64)
    result[valid] = values
    return result


def by_unit(flat: dict[str, np.ndarray], units: int, valid: np.ndarray) -> dict[str, np.ndarray]:
    """Beats (beats, [gates,] places) of the valid steps as (sequences, steps, [gates,] units)."""
    steps, result = int(valid.sum()), {}
    for name, values in flat.items():
        words = len(values) // steps
        assert len(values) == words * steps, f"{name}: {len(values)} beats, {steps} steps"
        values = np.moveaxis(values.reshape(steps, words, *values.shape[1:]), 1, -2)
        result[name] = placed(values.reshape(*values.shape[:-2], -1)[..., :units], valid)
    return result


Fields = dict[str, dict[str, Any]]
"""Layout of a payload, as in the JSON sidecar."""


def pack(fields: Fields, **values: Any) -> int:
    """Pack values (integers or nested sequences of integers) into a payload."""
    packed = 0
    for name, value in values.items():
        field = fields[name]
        mask = (1 << field["width"]) - 1
        for position, element in enumerate(np.ravel(value).tolist()):
            packed |= (int(element) & mask) << (field["low"] + position * field["width"])
    return packed


def beats(fields: Fields, x: np.ndarray, draw: random.Random) -> list[int]:
    """Transfers of one sequence of vectors (steps, elements), with random padding.

    `last` is 1 on every beat of the last step.
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


def load_payloads(sidecar: dict[str, Any], image: Path) -> list[int]:
    """Transfers that load an image over the load bus, as one transaction."""
    fields = sidecar["ports"]["load__payload"]["fields"]
    words = scoreboard.image(image)
    return [
        pack(fields, address=address, data=data, last=n == len(words) - 1)
        for n, (address, data) in enumerate(words)
    ]


def outputs(sidecar: dict[str, Any], output: scoreboard.Output, taken: list[int]) -> np.ndarray:
    """Values of the transfers on `o`, in the shape of the vectors."""
    name, _ = scoreboard.output_field(sidecar)
    fields = sidecar["ports"]["o__payload"]["fields"]
    return output.values(unpack(fields, taken)[name])


def recorded(
    sidecar: dict[str, Any], vectors: dict[str, np.ndarray], taken: dict[str, list[int]]
) -> scoreboard.Recorded:
    """Records of a chip's probes, in the shapes of the vectors. taken: Payloads of each probe."""
    lengths, passes = vectors["lengths"], scoreboard.count_passes(vectors)
    valid = scoreboard.within(lengths, vectors["x"].shape[1])
    valid = valid.repeat(passes // len(lengths), axis=0)
    found: scoreboard.Recorded = {}
    for name, shape in sidecar["arrays"].items():
        if name != "head":
            flat = unpack(sidecar["probes"][name]["trace"], taken[name])
            steps = by_unit(flat, shape["units"], valid)
            found |= {f"{name}.{quantity}": values for quantity, values in steps.items()}
    if "head" not in taken:
        return found
    scores = unpack(sidecar["probes"]["head"]["trace"], taken["head"])["score"]
    if vectors["scores"].ndim == 2:
        return found | {"scores": scores.reshape(vectors["scores"].shape)}
    classes = vectors["scores"].shape[-1]
    return found | {"scores": placed(scores.reshape(-1, classes), valid)}


def unpack(fields: Fields, payloads: list[int]) -> dict[str, np.ndarray]:
    """Unpack many payloads: each field as an array (payloads, *dimensions) of int64."""
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
