"""cocotb bench of the crossbar's behavioural model: the macro's port list, used as by a readout."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from sim import streams
from sim.scoreboard import Scoreboard
from sim.streams import Source, Watch


class Model:
    """Drives the macro as a readout does, by the contract and no better (hw/crossbar.py)."""

    def __init__(self, dut: Any, job: dict[str, Any], into: float = 0.0) -> None:
        self.dut, self.job, self.sizes = dut, job, job["sizes"]
        self.fields = job["fields"]
        self.draw = random.Random(f"{job['seed']} {into}")
        self.pause = streams.at_random(into, 30, f"{job['seed']} sample {into}")
        self.program = Source(dut, "program", streams.at_random(into, 8, f"{job['seed']} {into}"))
        self.watch = Watch(dut, "program")
        self.samples: list[int] = []
        self.converting: list[Any] = []
        for port in (dut.rows, dut.sample, dut.select, dut.gain, dut.trial):
            port.value = 0

    async def convert(self, rows: np.ndarray, gains: np.ndarray) -> np.ndarray:
        """ADC codes (steps, gates, units): every column of every step, in any order."""
        steps, sizes = len(rows), self.sizes
        codes = np.zeros((steps, sizes["gates"], sizes["blocks"] * sizes["lanes"]), np.int64)
        places = codes.reshape(steps, sizes["gates"], sizes["blocks"], sizes["lanes"])
        self.converting.clear()
        for step in range(steps):
            for select in self.draw.sample(range(sizes["selects"]), sizes["selects"]):
                block, gate = divmod(select, sizes["gates"])
                wait = sizes["period"] + self.pause()
                into = places[step, gate, block]
                # A sample is compared until the next one has settled.
                search = cocotb.start_soon(self._approximate(into, compared=wait))
                self.converting.append(search)
                await self._sample(rows[step], select, int(gains[gate]), wait)
        for task in self.converting:
            await task
        return codes[..., : sizes["units"]]

    async def _sample(self, rows: np.ndarray, select: int, gain: int, wait: int) -> None:
        """Take a sample; returns after `wait` cycles. What the macro must not look at is noise."""
        dut, settle = self.dut, self.sizes["settle"]
        dut.rows.value = streams.pack(self.fields["rows"], rows=rows)
        dut.select.value, dut.gain.value, dut.sample.value = select, gain, 1
        await RisingEdge(dut.clk)
        self.samples.append(streams.cycle())
        dut.sample.value = 0
        for passed in range(1, wait):
            dut.select.value = self.draw.randrange(self.sizes["selects"])
            dut.gain.value = self.draw.getrandbits(self.sizes["gain_bits"])
            if passed >= settle:
                dut.rows.value = self.draw.getrandbits(len(dut.rows))
            await RisingEdge(dut.clk)

    async def _approximate(self, into: np.ndarray, compared: int) -> None:
        """Find each lane's code from the cycle `settle` after this one; then, in what is left of
        `compared` cycles, see that it stays."""
        bits = self.sizes["bits"]
        low = -(1 << (bits - 1))
        for _ in range(self.sizes["settle"]):
            await RisingEdge(self.dut.clk)
        found = np.full(len(into), low)
        for bit in reversed(range(bits)):
            trial = found + (1 << bit)
            found = np.where(await self.above(trial), trial, found)
        into[:] = found
        for n in range(compared - bits):
            await self.check(found, n % 2)

    async def above(self, trial: np.ndarray) -> np.ndarray:
        """What the comparators say to a trial a lane, in this cycle."""
        self.dut.trial.value = streams.pack(self.fields["trial"], trial=trial)
        await RisingEdge(self.dut.clk)
        answer = int(self.dut.above.value)
        return np.array([answer >> lane & 1 for lane in range(len(trial))], bool)

    async def check(self, codes: np.ndarray, more: int) -> None:
        """The comparators against known codes: at the code (more = 0) they say 1, and above it
        0. The lowest and the highest code may be saturated; there they may say either."""
        low, high = -(1 << (self.sizes["bits"] - 1)), (1 << (self.sizes["bits"] - 1)) - 1
        answer = await self.above(np.minimum(codes + more, high))
        free = (codes == high) if more else (codes == low)
        assert (answer == (not more))[~free].all(), f"a sample was lost by {streams.cycle()}"

    async def write(self, cells: list[int]) -> None:
        """Program all cells."""
        await self.program.send(cells)
        await RisingEdge(self.dut.clk)
        assert self.watch.taken[-len(cells) :] == cells


def flat(vectors: dict[str, np.ndarray], name: str) -> np.ndarray:
    """All steps of all sequences; to an array they are the same."""
    return vectors[name].reshape(-1, *vectors[name].shape[2:])


def compare(scoreboard: Scoreboard, quantity: str, golden: np.ndarray, rtl: np.ndarray) -> None:
    """Codes against golden; there is one sequence here."""
    axes = ("sequence", "step", "gate", "unit")
    scoreboard.compare(quantity, axes, golden[None], rtl[None])


@cocotb.test()
@cocotb.parametrize(into=[0.0, 0.2, 0.6, 0.9])
async def exact(dut: Any, into: float) -> None:
    """Every column, in random order; and again with other cells, which leave what is held alone."""
    job, vectors = streams.block_job()
    bench, scoreboard = Model(dut, job, into), Scoreboard()
    await streams.start(dut)
    await bench.write(job["cells"])
    # Pauses stretch a run: the more, the fewer steps.
    count = 20 if into else 40
    rows = flat(vectors, "rows")[:count]
    codes = await bench.convert(rows, vectors["gain"])
    compare(scoreboard, "codes", flat(vectors, "codes")[:count], codes)

    await bench._sample(rows[0], 0, int(vectors["gain"][0]), bench.sizes["period"])
    expected = flat(vectors, "codes")[0, 0, : bench.sizes["lanes"]]
    await bench.check(expected, 0)
    await bench.write(job["other_cells"])
    await bench.check(expected, 0)
    await bench.check(expected, 1)

    codes = await bench.convert(rows, vectors["other_gain"])
    compare(scoreboard, "other codes", flat(vectors, "other_codes")[:count], codes)
    streams.conclude(job, scoreboard)


@cocotb.test()
async def in_time(dut: Any) -> None:
    """A sample each `settle` cycles, each right from the first cycle in which it is compared to
    the last; a cell a cycle."""
    job, vectors = streams.block_job()
    bench, scoreboard = Model(dut, job), Scoreboard()
    sizes, settle = bench.sizes, bench.sizes["settle"]
    await streams.start(dut)
    await bench.write(job["cells"])
    assert (np.diff(bench.watch.moved) == 1).all()

    async def compared(codes: np.ndarray, more: int) -> None:
        for _ in range(settle):
            await RisingEdge(dut.clk)
        for n in range(settle):
            await bench.check(codes, (n + more) % 2)

    steps, codes = flat(vectors, "rows")[:20], flat(vectors, "codes")[:20]
    tasks = []
    for step, rows in enumerate(steps):
        for select in range(sizes["selects"]):
            block, gate = divmod(select, sizes["gates"])
            units = codes[step, gate, block * sizes["lanes"] :][: sizes["lanes"]]
            tasks.append(cocotb.start_soon(compared(units, (step + select) % 2)))
            await bench._sample(rows, select, int(vectors["gain"][gate]), settle)
    for task in tasks:
        await task
    assert (np.diff(bench.samples) == settle).all()
    compare(scoreboard, "codes", codes[:2], await bench.convert(steps[:2], vectors["gain"]))
    streams.conclude(job, scoreboard)


@cocotb.test()
async def reset_midway(dut: Any) -> None:
    """A reset while samples settle: the cells are kept, the next samples exact."""
    job, vectors = streams.block_job()
    bench, scoreboard = Model(dut, job), Scoreboard()
    await streams.start(dut)
    await bench.write(job["cells"])
    rows, draw = flat(vectors, "rows")[:6], random.Random(job["seed"])
    for _ in range(6):
        running = cocotb.start_soon(bench.convert(rows, vectors["gain"]))
        for _ in range(draw.randint(1, 4 * bench.sizes["period"])):
            await RisingEdge(dut.clk)
        for task in (running, *bench.converting):
            task.cancel()
        dut.sample.value = 0
        await streams.reset(dut)
        codes = await bench.convert(rows, vectors["gain"])
        compare(scoreboard, "codes", flat(vectors, "codes")[:6], codes)
    streams.conclude(job, scoreboard)
