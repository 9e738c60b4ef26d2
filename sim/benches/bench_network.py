"""cocotb bench of the whole chip: load a program, stream sequences, compare every value.

It reads only emitted files (sidecar, image, vectors), which the job file names.
"""

import json
import random
import time
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, with_timeout
from cocotb.utils import get_sim_time

from sim.benches import scoreboard, streams
from sim.benches.four_states import FourStates
from sim.benches.scoreboard import Output, Recorded, Scoreboard
from sim.benches.streams import PERIOD_NS, Probe, Sink, Source


class Chip:
    """Handles, drivers and monitors of an emitted chip."""

    def __init__(self, dut: Any, job: dict[str, Any]) -> None:
        self.dut, self.job = dut, job
        self.sidecar = json.loads(Path(job["sidecar"]).read_text())
        self.ports = self.sidecar["ports"]
        stall, seed = job["stall"], job["seed"]
        self.draw = random.Random(seed)

        def stalls(n: int) -> streams.Stall:
            return streams.at_random(stall, 40, seed + n) if stall else streams.never

        self.input = Source(dut, "i", stalls(0))
        self.load_port = Source(dut, "load", stalls(1))
        self.output = Sink(dut, "o", stalls(2))
        self.probes = {}
        for name, probe in self.sidecar["probes"].items():
            block = dut
            for part in probe["path"]:
                block = getattr(block, part)
            self.probes[name] = Probe(dut.clk, block.trace, block.trace_valid)

    async def load(self, image: Path) -> None:
        """Write an image over the load bus, as one transaction.

        Raises SimTimeoutError if the chip does not take the words.
        """
        words = streams.load_payloads(self.sidecar, image)
        patience = 1000 + 64 * len(words)  # cycles; with stalls as well
        await with_timeout(self.load_port.send(words), patience * PERIOD_NS, "ns")

    def beats(self, x: np.ndarray) -> list[int]:
        """Transfers of one sequence (steps, inputs)."""
        fields = self.ports["i__payload"]["fields"]
        return streams.beats(fields, x, self.draw)

    def forget(self) -> None:
        """Drop everything recorded so far."""
        self.output.taken.clear()
        for probe in self.probes.values():
            probe.taken.clear()

    def values(self, output: Output) -> np.ndarray:
        """Outputs so far, in the shape of the vectors."""
        return streams.outputs(self.sidecar, output, self.output.taken)

    def recorded(self, vectors: dict[str, np.ndarray]) -> Recorded:
        """Records of the probes, in the shapes of the vectors."""
        taken = {name: probe.taken for name, probe in self.probes.items()}
        return streams.recorded(self.sidecar, vectors, taken)


@cocotb.test()
async def whole_set(dut: Any) -> None:
    """Run every sequence of the vectors, back to back, and compare everything."""
    job = json.loads(Path(cocotb.plusargs["job"]).read_text())
    with np.load(job["vectors"]) as file:
        vectors = dict(file)
    for handshake in (dut.i__valid, dut.load__valid, dut.o__ready):
        handshake.value = 0
    await streams.start(dut)
    chip = Chip(dut, job)
    known = None
    if job.get("four_states"):
        known = FourStates(dut, chip.ports, dut.clk, dut.rst)
    await chip.load(Path(job["image"]))
    if known is not None:
        for _ in range(chip.sidecar["cycles_per_step"]):  # until the last word is written
            await RisingEdge(dut.clk)
        known.loaded()

    sequences, lengths = len(vectors["lengths"]), vectors["lengths"]
    began = get_sim_time("ns") / PERIOD_NS
    clock = time.monotonic()

    async def feed() -> None:
        for n in range(sequences):
            await chip.input.send(chip.beats(vectors["x"][n, : lengths[n]]))

    cocotb.start_soon(feed())
    passes = scoreboard.count_passes(vectors)
    patience = scoreboard.patience(chip.sidecar, lengths, passes, job["stall"])
    output = Output.of_vectors(chip.sidecar, vectors)
    total = output.transfers
    done = chip.output.until(
        total, lambda count: _report(job, count * sequences // total, sequences)
    )
    await with_timeout(done, patience * PERIOD_NS, "ns")
    cycles = get_sim_time("ns") / PERIOD_NS - began
    for _ in range(chip.sidecar["cycles_per_step"]):
        await RisingEdge(dut.clk)
    assert len(chip.output.taken) == total, "more came out than belongs to what went in"

    if known is not None:
        known.over()
    board, values = Scoreboard(), chip.values(output)
    scoreboard.compare(board, vectors, chip.recorded(vectors), output, values)
    result = scoreboard.result(
        board,
        lengths=lengths,
        passes=passes,
        cycles=round(cycles),
        output=output.flat(values),
        golden_output=output.flat(vectors[output.of]),
        seconds=time.monotonic() - clock,
    )
    Path(job["result"]).write_text(json.dumps(result))
    assert board.mismatches == 0, board.first


def _report(job: dict[str, Any], done: int, total: int) -> None:
    """Report progress, but not every sequence: they are short."""
    if done % 5 == 0 or done == total:
        streams.report(job, done, total)
