"""cocotb bench of the crossbar's behavioural model: drives the macro's ports like a readout."""

import random
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from sim.benches import streams
from sim.benches.scoreboard import Scoreboard
from sim.benches.streams import Source, Watch


class Model:
    """Drives the macro like a readout that just meets the rules in hw/macro/interface.py."""

    def __init__(
        self, dut: Any, job: dict[str, Any], vectors: dict[str, np.ndarray], into: float = 0.0
    ) -> None:
        self.dut, self.job, self.sizes = dut, job, job["sizes"]
        self.vectors, self.fields = vectors, job["fields"]
        steps = np.arange(vectors["rows"].shape[1])[None]
        self.valid = steps < vectors["lengths"][:, None]
        self.draw = random.Random(f"{job['seed']} {into}")
        self.pause = streams.at_random(into, 30, f"{job['seed']} sample {into}")
        self.program = Source(dut, "program", streams.at_random(into, 8, f"{job['seed']} {into}"))
        self.watch = Watch(dut, "program")
        self.scoreboard = Scoreboard()
        self.samples: list[int] = []
        self.converting: list[Any] = []
        for port in (dut.rows, dut.sample, dut.first, dut.select, dut.gain, dut.trial):
            port.value = 0
        dut.parameters__enable.value = 0

    def schedule(self, sequences: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Samples of the first sequences, in order: sequence, step, select, block, gate."""
        for sequence, step in np.argwhere(self.valid[:sequences]).tolist():
            for select in range(self.sizes["selects"]):
                yield sequence, step, select, *divmod(select, self.sizes["gates"])

    async def convert(self, codes: str, sequences: int) -> None:
        """Convert every column of every step of the first sequences; compare with the vectors."""
        sizes, golden = self.sizes, self.vectors[codes][:sequences]
        rtl = np.zeros((*golden.shape[:-1], sizes["blocks"] * sizes["lanes"]), np.int64)
        places = rtl.reshape(*golden.shape[:-1], sizes["blocks"], sizes["lanes"])
        gains = self.vectors["other_gain" if codes == "other_codes" else "gain"].tolist()
        self.converting.clear()
        for sequence, step, select, block, gate in self.schedule(sequences):
            wait = sizes["period"] + self.pause()
            self.last = places[sequence, step, gate, block]
            # A sample is compared until the next one has settled.
            search = cocotb.start_soon(self._approximate(self.last, compared=wait))
            self.converting.append(search)
            await self.sample(sequence, step, select, gains[gate], wait)
        for task in self.converting:
            await task
        axes = ("sequence", "step", "gate", "unit")
        rtl, valid = rtl[..., : sizes["units"]], self.valid[:sequences]
        self.scoreboard.compare(codes, axes, golden, rtl, valid)

    async def sample(self, sequence: int, step: int, select: int, gain: int, wait: int) -> None:
        """Take a sample; return after `wait` cycles. Inputs that are don't-care are random."""
        dut, settle = self.dut, self.sizes["settle"]
        rows = self.vectors["rows"][sequence, step]
        dut.rows.value = streams.pack(self.fields["rows"], rows=rows)
        dut.first.value = int(step == 0)
        dut.select.value, dut.gain.value, dut.sample.value = select, gain, 1
        await RisingEdge(dut.clk)
        self.samples.append(streams.cycle())
        dut.sample.value = 0
        for passed in range(1, wait):
            dut.first.value = self.draw.getrandbits(1)
            dut.select.value = self.draw.randrange(self.sizes["selects"])
            dut.gain.value = self.draw.getrandbits(self.sizes["gain_bits"])
            if passed >= settle:
                dut.rows.value = self.draw.getrandbits(len(dut.rows))
            await RisingEdge(dut.clk)

    async def _approximate(self, into: np.ndarray, compared: int) -> None:
        """Find each lane's code, from `settle` cycles after now on, and check that it stays.

        compared: Cycles in which the sample is compared.
        """
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
        """Comparator outputs for a trial per lane, in this cycle."""
        self.dut.trial.value = streams.pack(self.fields["trial"], trial=trial)
        await RisingEdge(self.dut.clk)
        answer = int(self.dut.above.value)
        return np.array([answer >> lane & 1 for lane in range(len(trial))], bool)

    async def check(self, codes: np.ndarray, more: int) -> None:
        """Check comparators against known codes: 1 at the code (more = 0), 0 above it (more = 1).

        The lowest and the highest code may be saturated, so their comparison there is not checked.
        """
        low, high = -(1 << (self.sizes["bits"] - 1)), (1 << (self.sizes["bits"] - 1)) - 1
        answer = await self.above(np.minimum(codes + more, high))
        free = (codes == high) if more else (codes == low)
        assert (answer == (not more))[~free].all(), f"a sample was lost by {streams.cycle()}"

    async def program_cells(self, cells: list[int]) -> None:
        """Program all cells."""
        await self.program.send(cells)
        await RisingEdge(self.dut.clk)
        assert self.watch.taken[-len(cells) :] == cells

    async def set_parameters(self, writes: list[list[int]]) -> None:
        """Write parameters. A sample may follow two cycles after the last write."""
        await streams.write(self.dut, {"parameters": writes})
        await RisingEdge(self.dut.clk)

    async def set_run(self, run: int) -> None:
        """Set the number of the next run."""
        await self.set_parameters([[self.job["run_address"], run]])

    def conclude(self) -> None:
        """Report the comparisons."""
        streams.conclude(self.job, self.scoreboard)


async def started(dut: Any, into: float = 0.0, *, parameters: bool = True) -> Model:
    """A model after reset, loaded, in run 0."""
    bench = Model(dut, *streams.block_job(), into)
    await streams.start(dut)
    await bench.program_cells(bench.job["cells"]["program"])
    if parameters:
        await bench.set_parameters(bench.job["writes"]["parameters"])
    return bench


@cocotb.test()
async def ideal(dut: Any) -> None:
    """No errors without parameters after power-up, nor with all parameters 0."""
    bench = await started(dut, parameters=False)
    await bench.convert("ideal_codes", 3)
    writes = bench.job["writes"]["parameters"]
    await bench.set_parameters(writes)
    await bench.convert("codes", 3)
    await bench.set_parameters([[address, 0] for address, _ in writes])
    await bench.convert("ideal_codes", 3)
    bench.conclude()


@cocotb.test()
@cocotb.parametrize(into=[0.0, 0.2, 0.6, 0.9])
async def exact(dut: Any, into: float) -> None:
    """Every column is equal with any wait between samples, also after reprogramming.

    Writing cells and parameters does not change a sample that is held.
    """
    bench = await started(dut, into)
    # Stalls stretch a run, so it has fewer steps.
    sequences = 6 if into else 12
    await bench.convert("codes", sequences)
    await bench.program_cells(bench.job["other_cells"]["program"])
    await bench.set_parameters(bench.job["other_writes"]["parameters"])
    await bench.check(bench.last, 0)
    await bench.check(bench.last, 1)
    await bench.convert("other_codes", sequences)
    bench.conclude()


@cocotb.test()
async def runs(dut: Any) -> None:
    """A write of `run` sets the number of the next run, whatever ran before; numbers wrap."""
    bench = await started(dut)
    for n, run in enumerate(bench.vectors["later"].tolist()):
        await bench.set_run(run)
        await bench.convert(f"later_codes_{n}", 4)
    bench.conclude()


@cocotb.test()
async def in_time(dut: Any) -> None:
    """A sample is taken every `settle` cycles, and a cell programmed every cycle.

    Each sample is valid in all cycles in which it is compared.
    """
    bench = await started(dut)
    sizes, settle, vectors = bench.sizes, bench.sizes["settle"], bench.vectors
    assert (np.diff(bench.watch.moved) == 1).all()

    async def compared(codes: np.ndarray, more: int) -> None:
        for _ in range(settle):
            await RisingEdge(dut.clk)
        for n in range(settle):
            await bench.check(codes, (n + more) % 2)

    tasks = []
    for n, (sequence, step, select, block, gate) in enumerate(bench.schedule(8)):
        codes = vectors["codes"][sequence, step, gate, block * sizes["lanes"] :][: sizes["lanes"]]
        tasks.append(cocotb.start_soon(compared(codes, n % 2)))
        await bench.sample(sequence, step, select, int(vectors["gain"][gate]), settle)
    for task in tasks:
        await task
    assert (np.diff(bench.samples) == settle).all()
    await bench.set_run(0)
    await bench.convert("codes", 2)
    bench.conclude()


@cocotb.test()
async def reset_midway(dut: Any) -> None:
    """Reset while samples settle: cells and parameters are kept, and the next samples are exact.

    Runs count from 0 again.
    """
    bench = await started(dut)
    draw = random.Random(bench.job["seed"])
    for _ in range(6):
        running = cocotb.start_soon(bench.convert("codes", 6))
        for _ in range(draw.randint(1, 8 * bench.sizes["conversion_cycles"])):
            await RisingEdge(dut.clk)
        for task in (running, *bench.converting):
            task.cancel()
        dut.sample.value = 0
        await streams.reset(dut)
        await bench.convert("codes", 2)
    bench.conclude()
