"""cocotb bench of the ADC readout with a macro in Python: codes, their order and their timing."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, ValueChange

from sim.benches import block, streams
from sim.benches.block import BlockBench
from sim.benches.scoreboard import Scoreboard
from sim.benches.streams import STALLS


class Macro:
    """Ideal macros of an array, row drivers included; checks how the readout uses them.

    The rules are in hw/macro/interface.py. A sample of cycle n is compared from n + settle on,
    until the next sample has settled. Before the first sample the comparators are random.
    """

    def __init__(self, dut: Any, job: dict[str, Any], differential: np.ndarray) -> None:
        self.dut, self.fields, self.sizes = dut, job["fields"], job["sizes"]
        self.draw = random.Random(f"{job['seed']} macro")
        gates, units, rows = differential.shape
        lanes, blocks = self.sizes["lanes"], self.sizes["blocks"]
        # Lanes without a unit convert random columns.
        padded = np.array(
            [self.draw.randint(-99, 99) for _ in range(gates * blocks * lanes * rows)]
        ).reshape(gates, blocks * lanes, rows)
        padded[:, :units] = differential
        self.columns = padded.reshape(gates, blocks, lanes, rows)
        self.samples: list[int] = []  # cycle of each sample
        self.firsts: list[int] = []  # `first` at each sample
        self.held: np.ndarray | None = None
        dut.above.value = 0
        self.tasks = [cocotb.start_soon(task) for task in (self._clocked(), self._compared())]

    async def _clocked(self) -> None:
        settling: list[tuple[int, Any, np.ndarray]] = []  # cycle, rows, LSBs of each lane
        settle = self.sizes["settle"]
        while True:
            await RisingEdge(self.dut.clk)
            now = streams.cycle()
            if self.dut.rst.value:
                settling.clear()
                continue
            payload = self.dut.i__payload.value.to_unsigned()
            if self.sizes["planes"] > 1:
                payload = payload, int(self.dut.plane.value)  # everything that drives the rows
            if self.dut.sample.value:
                assert self.dut.i__valid.value, f"a sample of no step in cycle {now}"
                settling.append((now, payload, self._lsbs(payload)))
                assert now - (self.samples or [-settle])[-1] >= settle
                self.samples.append(now)
                self.firsts.append(int(self.dut.first.value))
            for begun, rows, _ in settling:
                assert payload == rows, f"rows changed in cycle {now}, sampled in {begun}"
            if settling and now - settling[0][0] == settle - 1:
                self.held = settling.pop(0)[2]
                self._compare()

    async def _compared(self) -> None:
        while not self.sizes["flash"]:
            await ValueChange(self.dut.trial)
            self._compare()

    def _lsbs(self, driven: Any) -> np.ndarray:
        """The sample in LSBs, as the comparators see it, for each row tile and lane."""
        sizes, payload = self.sizes, driven if isinstance(driven, int) else driven[0]
        rows = streams.unpack(self.fields["i__payload"], [payload])["rows"][0].astype(int)
        if sizes["planes"] > 1:
            bit = sizes["planes"] - 1 - driven[1]
            rows = np.sign(rows) * (abs(rows) >> bit & 1)
        block, gate = divmod(int(self.dut.select.value), sizes["gates"])
        columns, shift = self.columns[gate, block], sizes["adc_shift"]
        gains = self.dut.gain.value.to_unsigned()
        gains = streams.unpack(self.fields["gain"], [gains])["gain"][0]
        charge = np.array([columns[:, a:b] @ rows[a:b] for a, b in sizes["row_tiles"]])
        return (charge * gains[:, None] + (1 << (shift - 1))) >> shift

    def _compare(self) -> None:
        if self.held is None:
            self.dut.above.value = self.draw.getrandbits(len(self.dut.above))
            return
        if self.sizes["flash"]:
            half = 1 << (self.sizes["bits"] - 1)
            above = self.held[..., None] >= np.arange(1 - half, half)
        else:
            trial = self.dut.trial.value.to_unsigned()
            above = self.held >= streams.unpack(self.fields["trial"], [trial])["trial"][0]
        self.dut.above.value = sum(int(bit) << n for n, bit in enumerate(above.ravel()))


class Readout(BlockBench):
    """Bench between a macro and two streams. into, out_of: Probabilities of a stall."""

    INPUT = "rows"

    def __init__(self, dut: Any, job: dict[str, Any], vectors: Any, *pauses: float) -> None:
        super().__init__(dut, job, vectors, *pauses)
        self.macro = Macro(dut, job, vectors["differential"])
        self.tasks += self.macro.tasks
        steps = np.arange(vectors["rows"].shape[1])[None]
        self.first = np.broadcast_to(steps == 0, vectors["rows"].shape[:2])
        self.last = steps == vectors["lengths"][:, None] - 1

    def longest_pauses(self) -> tuple[int, int]:
        """Longest stall in and out, in cycles."""
        longest = 3 * self.job["sizes"]["period"]
        return longest, longest

    def send(self) -> None:
        """Start sending every step."""
        fields = self.job["fields"]["i__payload"]
        flags = zip(self.first[self.valid], self.last[self.valid], strict=True)
        steps = zip(self.vectors["rows"][self.valid], flags, strict=True)
        payloads = [streams.pack(fields, rows=r, first=f, last=l) for r, (f, l) in steps]
        self.begin(self.source.send(payloads))

    async def finish(self) -> None:
        """Wait for all codes, check that no more follow, and compare."""
        sizes = self.job["sizes"]
        count = int(self.valid.sum()) * sizes["selects"]
        patience = 10 * count * sizes["planes"] * sizes["period"]
        await self.drain(count, patience=patience, after=3 * sizes["conversion_cycles"])
        assert len(self.macro.samples) == count * sizes["planes"], "too many conversions"
        self._compare()

    def _compare(self) -> None:
        sizes, scoreboard = self.job["sizes"], Scoreboard()
        out = streams.unpack(self.job["fields"]["o__payload"], self.sink.taken)
        codes = out["codes"].reshape(-1, sizes["blocks"], sizes["gates"], sizes["lanes"])
        codes = np.moveaxis(codes, 2, 1)
        codes = codes.reshape(len(codes), sizes["gates"], -1)[..., : sizes["units"]]
        rtl = streams.placed(codes, self.valid)
        axes: tuple[str, ...] = ("sequence", "step", "gate", "unit")
        scoreboard.compare("codes", axes, self.vectors["codes"], rtl, self.valid)
        sampled = np.array(self.macro.firsts)[sizes["planes"] - 1 :: sizes["planes"]]
        for name, flags, expected in (
            ("first sampled", sampled, self.first),
            ("first", out["first"], self.first),
            ("last", out["last"], self.last),
        ):
            rtl = streams.placed(flags.reshape(-1, sizes["selects"]), self.valid)
            expected = np.repeat(expected[..., None], sizes["selects"], axis=-1)
            axes = ("sequence", "step", "select")
            scoreboard.compare(name, axes, expected, rtl, self.valid)
        streams.conclude(self.job, scoreboard)


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS))
async def exact(dut: Any, into: float, out_of: float) -> None:
    """Every code of every step is equal, with stalls on both sides."""
    await block.run(Readout, dut, into, out_of)


@cocotb.test()
async def in_time(dut: Any) -> None:
    """Without stalls there is a sample every period, also between steps.

    The codes come `latency` after it.
    """
    bench = await block.run(Readout, dut)
    sizes, samples = bench.job["sizes"], np.array(bench.macro.samples)
    assert (np.diff(samples) == sizes["period"]).all()
    last_planes = samples[sizes["planes"] - 1 :: sizes["planes"]]
    assert (bench.output.offered - last_planes == bench.job["timing"]["latency"]).all()
    # A step leaves the rows in the cycle in which its last sample has settled.
    settled = samples[sizes["samples"] - 1 :: sizes["samples"]]
    assert (bench.input.moved - settled == sizes["settle"] - 1).all()


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS[:4]))
async def reset_midway(dut: Any, into: float, out_of: float) -> None:
    """After a reset at any time the next steps are exact; the gains are kept."""
    job, _ = streams.block_job()
    longest = 3 * job["sizes"]["conversion_cycles"]
    await block.reset_midway(Readout, dut, into, out_of, longest)
