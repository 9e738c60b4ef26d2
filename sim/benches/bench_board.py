"""cocotb bench of a design behind a serial line (hw/bus/serial.py).

The driver in C loads the program, as in sim/benches/bench_system.py; its bus is the line.
"""

import ctypes
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.queue import Queue
from cocotb.triggers import FallingEdge, Timer, with_timeout
from cocotbext.axi import AxiResp, AxiStreamFrame

from hw.bus.registers import WORD
from hw.bus.serial import ADDRESS, LAST, QUEUE, TAKEN, Command
from sim.benches import streams
from sim.benches.streams import PERIOD_NS
from sim.benches.system import Counters, System

PATIENCE_BITS = 4000
"""Timeout for an answer, in bits."""


class Line:
    """The two pins of the line, bit by bit."""

    def __init__(self, dut: Any, bit_cycles: int) -> None:
        self.dut, self.bit_ns = dut, bit_cycles * PERIOD_NS
        self.came: Queue[int] = Queue()

    async def say(self, *data: int, stop: int = 1) -> None:
        """Send bytes back to back."""
        for byte in data:
            for bit in (0, *(byte >> n & 1 for n in range(8)), stop):
                self.dut.rx.value = bit
                await Timer(self.bit_ns, "ns")
        self.dut.rx.value = 1

    async def listen(self) -> None:
        """Receive bytes until the simulation ends; check start and stop bits."""
        while True:
            await FallingEdge(self.dut.tx)
            await Timer(self.bit_ns // 2, "ns")
            byte = 0
            for n in range(-1, 9):
                bit = int(self.dut.tx.value)
                assert bit == (n == 8) or 0 <= n < 8, "a start or a stop bit is wrong"
                byte |= bit << n if 0 <= n < 8 else 0
                if n < 8:
                    await Timer(self.bit_ns, "ns")
            self.came.put_nowait(byte)

    async def answer(self, size: int) -> bytes:
        """Receive `size` bytes."""
        limit = PATIENCE_BITS * self.bit_ns
        return bytes([await with_timeout(self.came.get(), limit, "ns") for _ in range(size)])


class Bus:
    """Bus accesses over the line, with the interface of cocotbext-axi's master."""

    def __init__(self, line: Line) -> None:
        self.line = line

    async def read(self, address: int, size: int = WORD) -> Any:
        """Read a word."""
        await self.line.say(Command.READ, *address.to_bytes(ADDRESS, "little"))
        response, *data = await self.line.answer(1 + size)
        return SimpleNamespace(resp=AxiResp(response), data=bytes(data))

    async def write(self, address: int, data: bytes) -> Any:
        """Write a word."""
        await self.line.say(Command.WRITE, *address.to_bytes(ADDRESS, "little"), *data)
        (response,) = await self.line.answer(1)
        return SimpleNamespace(resp=AxiResp(response))


class Board(System):
    """A `System` that is reached only through the line."""

    def __init__(self, dut: Any, job: dict[str, Any]) -> None:
        self.line = Line(dut, job["bit_cycles"])
        self.take_up(dut, job, Bus(self.line))

    async def start(self) -> None:
        """Start the clock; the board resets itself."""
        self.dut.rx.value = 1
        cocotb.start_soon(Clock(self.dut.clk, PERIOD_NS, unit="ns").start())
        cocotb.start_soon(self.line.listen())
        await Timer(100 * PERIOD_NS, "ns")

    def beats(self, sequence: int) -> list[tuple[int, ...]]:
        """Commands that send x of a sequence."""
        x, beat = self.packet(sequence), self.job["beat"]
        cut = [x[n : n + beat] for n in range(0, len(x), beat)]
        return [(Command.PUT, n == len(cut) - 1, *data) for n, data in enumerate(cut)]

    async def put(self, beat: tuple[int, ...]) -> bool:
        """Send a beat. Returns whether it was accepted."""
        await self.line.say(*beat)
        (waits,) = await self.line.answer(1)
        assert waits in (0, 1)
        return not waits

    async def taken(self) -> int:
        """Send `TAKE`. Returns the first byte of the answer."""
        await self.line.say(Command.TAKE)
        (flags,) = await self.line.answer(1)
        assert flags in (0, TAKEN, TAKEN + LAST)
        return flags

    async def take(self, size: int) -> bytes:
        """Receive a packet; ask again until a result is there."""
        data = b""
        for _ in range(1000):
            if flags := await self.taken():
                data += await self.line.answer(size)
                if flags & LAST:
                    return data
        raise AssertionError("nothing comes out")

    async def run(self) -> list[AxiStreamFrame]:
        """Run every sequence, one after the other, and return their packets."""
        count, frames = len(self.vectors["lengths"]), []
        for n in range(count):
            streams.report(self.job, n, count)
            for beat in self.beats(n):
                while not await self.put(beat):
                    pass
            frames.append(AxiStreamFrame(await self.take(self.job["result_bytes"])))
        return frames

    async def break_off(self) -> None:
        """Send a break."""
        self.dut.rx.value = 0
        await Timer(12 * self.line.bit_ns, "ns")
        self.dut.rx.value = 1
        await Timer(2 * self.line.bit_ns + 20 * PERIOD_NS, "ns")


async def started(dut: Any) -> Board:
    """The board, started."""
    job = json.loads(Path(cocotb.plusargs["job"]).read_text())
    cocotb.log.info("seed %d", job["seed"])
    board = Board(dut, job)
    await board.start()
    return board


@cocotb.test()
async def whole_set(dut: Any) -> None:
    """Load and run over the line alone: every value is equal."""
    board = await started(dut)
    assert await board.call("wordline_check") == 0
    await board.load()
    assert await board.call("wordline_loaded")
    count, frames = len(board.vectors["lengths"]), await board.run()
    counters = Counters()
    await board.call("wordline_read_counters", ctypes.byref(counters))
    assert (counters.sequences, counters.steps) == (count, int(board.vectors["lengths"].sum()))
    streams.conclude(board.job, board.compare(frames))


@cocotb.test()
async def nobody_takes(dut: Any) -> None:
    """If no result is taken, a beat is refused at some time. Nothing is lost.

    All results are equal once they are taken.
    """
    board = await started(dut)
    await board.load()  # it sets the first run number
    count, size = len(board.vectors["lengths"]), board.job["result_bytes"]
    beats = [beat for n in range(count) for beat in board.beats(n)]
    given = 0
    while await board.put(beats[given % len(beats)]):
        given += 1
        assert given < 20 * len(beats), "no beat was refused"
    ends = [n + 1 for n, beat in enumerate(beats) if beat[1]]
    whole = given // len(beats) * count + sum(end <= given % len(beats) for end in ends)
    frames = [AxiStreamFrame(await board.take(size)) for _ in range(whole)]
    begun = given % len(beats) not in (0, *ends)
    while given % len(beats) not in (0, *ends):
        given += await board.put(beats[given % len(beats)])
    frames += [AxiStreamFrame(await board.take(size)) for _ in range(begun)]
    assert not await board.taken()
    # Further rounds are further runs, with other noise.
    for first in range(0, count if board.job["noisy"] else len(frames), count):
        streams.conclude(board.job, board.compare(frames[first : first + count]))


@cocotb.test()
async def what_is_no_command(dut: Any) -> None:
    """Unknown bytes, bytes without a stop bit and glitches have no effect.

    Bus errors are answered. Reads may be sent without waiting for answers, as many as fit the
    queue.
    """
    board = await started(dut)
    line, draw = board.line, random.Random(board.job["seed"])
    known = board.registers["id"]
    magic = b"\0" + int(known["fields"]["value"]["value"]).to_bytes(WORD, "little")
    ask = (Command.READ, *int(known["offset"]).to_bytes(ADDRESS, "little"))
    for n in range(10):
        none = [byte for byte in range(256) if byte not in [*Command]]
        await line.say(*draw.choices(none, k=3))
        await line.say(Command.TAKE, stop=0)
        await Timer(2 * line.bit_ns, "ns")
        dut.rx.value = 0  # shorter than half a bit
        await Timer(line.bit_ns // 2 - PERIOD_NS, "ns")
        dut.rx.value = 1
        await Timer((1 + n) * PERIOD_NS, "ns")
        await line.say(*ask)
        assert await line.answer(1 + WORD) == magic
    many = QUEUE // len(ask)
    await line.say(*ask * many)
    assert await line.answer((1 + WORD) * many) == magic * many
    # The bus would decode the low bits of the last address as a register.
    nowhere, beyond = 2 * board.window - 4, 2**31 + board.registers["irq_enable"]["offset"]
    answers = {2: AxiResp.SLVERR, nowhere: AxiResp.DECERR, beyond: AxiResp.DECERR}
    for address, response in answers.items():
        answer = await board.lite.read(address)
        assert answer.resp == response and answer.data == bytes(WORD), hex(address)
        assert (await board.lite.write(address, bytes(WORD))).resp == response
    assert not await board.taken() and line.came.empty()


@cocotb.test()
async def broken_off(dut: Any) -> None:
    """A break after any part of a command, or inside a packet, is a reset.

    The command is not executed, no data is left, and what was loaded is kept.
    """
    board = await started(dut)
    await board.loaded()
    enable = board.registers["irq_enable"]["offset"].to_bytes(ADDRESS, "little")
    beat = board.beats(0)[0]
    for command in ((Command.WRITE, *enable, *[255] * WORD), (Command.READ, *enable), beat):
        for size in range(1, len(command)):
            await board.line.say(*command[:size])
            await board.break_off()
            assert board.line.came.empty()
    assert (await board.lite.read(int.from_bytes(enable, "little"))).data == bytes(WORD)
    await board.put((beat[0], 0, *beat[2:]))  # start a packet
    await board.break_off()
    assert not await board.call("wordline_busy") and await board.call("wordline_loaded") == 0
    frames = await board.run()
    if not board.job["noisy"]:  # other runs have other noise
        streams.conclude(board.job, board.compare(frames))
