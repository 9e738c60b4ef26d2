"""cocotb bench of the gate pipeline: codes in, c and h of every unit and step out, and in time."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, with_timeout

from sim import streams
from sim.scoreboard import Scoreboard
from sim.streams import PERIOD_NS, STALLS, Sink, Source, Watch


class Gates:
    """Drivers and monitors of the block; `into`, `out_of`: probabilities of a pause."""

    def __init__(
        self,
        dut: Any,
        job: dict[str, Any],
        vectors: dict[str, np.ndarray],
        into: float = 0.0,
        out_of: float = 0.0,
    ) -> None:
        self.dut, self.job, self.vectors = dut, job, vectors
        seed = job["seed"]
        self.draw = random.Random(f"{seed} {into} {out_of}")
        self.source = Source(dut, "i", streams.at_random(into, 8, f"{seed} i {into}"))
        pauses = streams.at_random(out_of, 8, f"{seed} o {out_of}")
        self.sink = Sink(dut, "o", pauses, after_offer=out_of == 1)
        self.input, self.output = Watch(dut, "i"), Watch(dut, "o")
        self.probe = streams.probe(dut, job)
        for port in job["writes"]:
            getattr(dut, f"{port}__enable").value = 0
        drivers: list[Any] = [self.sink, self.input, self.output, self.probe]
        self.tasks = [driver.task for driver in drivers]
        steps = np.arange(vectors["codes"].shape[1])[None]
        self.valid = steps < vectors["lengths"][:, None]

    def send(self) -> None:
        """Begin to send the codes of every step."""
        self.sending = cocotb.start_soon(self._send())
        self.tasks.append(self.sending)

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
        for block in range(sizes["blocks"]):
            for gate in codes[:, block * sizes["lanes"] :].tolist():
                lanes = gate[: sizes["lanes"]]
                lanes += [self.draw.getrandbits(3) for _ in range(sizes["lanes"] - len(lanes))]
                beats.append(streams.pack(fields, codes=lanes, first=first, last=last))
        return beats

    async def finish(self) -> None:
        """Wait for every h, then a while more: nothing may be left over. Compare."""
        count = int(self.valid.sum()) * self.job["sizes"]["words"]
        await with_timeout(self.sink.until(count), 200 * count * PERIOD_NS, "ns")
        for _ in range(100):
            await RisingEdge(self.dut.clk)
        assert self.sending.done(), "codes were not taken"
        assert len(self.sink.taken) == len(self.probe.taken) == count, "too many came out"
        assert self.sink.taken == self.output.taken
        assert not self.dut.o__valid.value and self.dut.i__ready.value

        scoreboard = Scoreboard()
        trace = streams.unpack(self.job["trace"], self.probe.taken)
        for name, values in by_unit(trace, self.job["sizes"], self.valid).items():
            axes = ("sequence", "step", *(("gate", "unit") if name == "codes" else ("unit",)))
            scoreboard.compare(name, axes, self.vectors[name], values, self.valid)
        compare_h(scoreboard, self.job, self.sink.taken, self.vectors, self.valid)
        streams.conclude(self.job, scoreboard)

    def stop(self) -> None:
        """Let go of the block, to reset it."""
        for task in self.tasks:
            task.cancel()
        self.source.valid.value = 0


def by_unit(
    flat: dict[str, np.ndarray], sizes: dict[str, int], valid: np.ndarray
) -> dict[str, np.ndarray]:
    """Beats (beats, [gates,] places) of consecutive steps as (sequences, steps, [gates,] units)."""
    result = {}
    for name, values in flat.items():
        values = values.reshape(-1, sizes["words"], *values.shape[1:])
        values = np.moveaxis(values, 1, -2)
        values = values.reshape(*values.shape[:-2], -1)[..., : sizes["units"]]
        result[name] = streams.placed(values, valid)
    return result


def compare_h(
    scoreboard: Scoreboard,
    job: dict[str, Any],
    taken: list[int],
    vectors: dict[str, np.ndarray],
    valid: np.ndarray,
) -> None:
    """The vectors of h that came out, and the mark of a sequence's last step on every beat."""
    out = streams.unpack(job["fields"]["o__payload"], taken)
    h = by_unit({"h": out["codes"]}, job["sizes"], valid)["h"]
    scoreboard.compare("h out", ("sequence", "step", "unit"), vectors["h"], h, valid)
    last = streams.placed(out["last"].reshape(-1, job["sizes"]["words"]), valid)
    steps = np.arange(valid.shape[1])[None, :, None]
    expected = np.broadcast_to(steps == vectors["lengths"][:, None, None] - 1, last.shape)
    scoreboard.compare("last", ("sequence", "step", "beat"), expected, last, valid)


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS))
async def exact(dut: Any, into: float, out_of: float) -> None:
    """Every value of every unit, gate and step, with stalls on both sides."""
    job, vectors = streams.block_job()
    bench = Gates(dut, job, vectors, into, out_of)
    await streams.start(dut)
    await streams.write(dut, job["writes"])
    bench.send()
    await bench.finish()


@cocotb.test()
async def in_time(dut: Any) -> None:
    """Without stalls: a block's first h `latency` after its last beat, the others a cycle each."""
    job, vectors = streams.block_job()
    bench = Gates(dut, job, vectors)
    await streams.start(dut)
    await streams.write(dut, job["writes"])
    bench.send()
    await bench.finish()
    sizes = job["sizes"]
    complete = bench.input.moved[sizes["gates"] - 1 :: sizes["gates"]]
    beats = sizes["lanes"] // sizes["units_per_beat"]
    blocks = np.arange(len(complete)) % sizes["blocks"]
    words = np.minimum(beats, sizes["words"] - blocks * beats)
    # Blocks come as fast as their codes or, if that is slower, as their h goes.
    assert (np.diff(complete) == np.maximum(sizes["gates"], words[:-1])).all()
    expected = [
        cycle + job["timing"]["latency"] + word
        for cycle, count in zip(complete, words, strict=True)
        for word in range(count)
    ]
    assert bench.output.offered == bench.output.moved == expected


@cocotb.test()
@cocotb.parametrize((("into", "out_of"), STALLS[:4]))
async def reset_midway(dut: Any, into: float, out_of: float) -> None:
    """After a reset at any time, the next sequences are exact; what was loaded is kept."""
    job, vectors = streams.block_job()
    draw = random.Random(job["seed"])
    bench = Gates(dut, job, vectors, into, out_of)
    await streams.start(dut)
    await streams.write(dut, job["writes"])
    for _ in range(6):
        bench.send()
        for _ in range(draw.randint(1, 8 * job["sizes"]["selects"])):
            await RisingEdge(dut.clk)
        bench.stop()
        await streams.reset(dut)
        bench = Gates(dut, job, vectors, into, out_of)
    bench.send()
    await bench.finish()
