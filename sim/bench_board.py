"""cocotb bench of a design behind a serial line (hw/serial.py): all that reaches it are bytes.

Loading is the driver's, in C, as in sim/bench_system.py; its bus is the line.
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

from hw.registers import WORD
from hw.serial import ADDRESS, LAST, TAKEN, Command
from sim import streams
from sim.bench_system import Counters, System
from sim.streams import PERIOD_NS

PATIENCE_BITS = 4000
"""Bits after which an answer is not to be expected."""


class Line:
    """The pins, bit by bit."""

    def __init__(self, dut: Any, bit_cycles: int) -> None:
        self.dut, self.bit_ns = dut, bit_cycles * PERIOD_NS
        self.came: Queue[int] = Queue()

    async def say(self, *data: int, stop: int = 1) -> None:
        """Bytes, one after the other without a pause."""
        for byte in data:
            for bit in (0, *(byte >> n & 1 for n in range(8)), stop):
                self.dut.rx.value = bit
                await Timer(self.bit_ns, "ns")
        self.dut.rx.value = 1

    async def listen(self) -> None:
        """For as long as the simulation lasts: what the board says, a stop bit after each byte."""
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
        """So many bytes."""
        limit = PATIENCE_BITS * self.bit_ns
        return bytes([await with_timeout(self.came.get(), limit, "ns") for _ in range(size)])


class Bus:
    """Reads and writes as cocotbext-axi's master has them."""

    def __init__(self, line: Line) -> None:
        self.line = line

    async def read(self, address: int, size: int = WORD) -> Any:
        """A word."""
        await self.line.say(Command.READ, *address.to_bytes(ADDRESS, "little"))
        response, *data = await self.line.answer(1 + size)
        return SimpleNamespace(resp=AxiResp(response), data=bytes(data))

    async def write(self, address: int, data: bytes) -> Any:
        """A word."""
        await self.line.say(Command.WRITE, *address.to_bytes(ADDRESS, "little"), *data)
        (response,) = await self.line.answer(1)
        return SimpleNamespace(resp=AxiResp(response))


class Board(System):
    """A `System` whose every signal is the line."""

    def __init__(self, dut: Any, job: dict[str, Any]) -> None:
        self.line = Line(dut, job["bit_cycles"])
        self.take_up(dut, job, Bus(self.line))

    async def start(self) -> None:
        """Clock; the board wakes by itself."""
        self.dut.rx.value = 1
        cocotb.start_soon(Clock(self.dut.clk, PERIOD_NS, unit="ns").start())
        cocotb.start_soon(self.line.listen())
        await Timer(100 * PERIOD_NS, "ns")

    def beats(self, sequence: int) -> list[tuple[int, ...]]:
        """Commands that give x of a sequence."""
        x, beat = self.packet(sequence), self.job["beat"]
        cut = [x[n : n + beat] for n in range(0, len(x), beat)]
        return [(Command.PUT, n == len(cut) - 1, *data) for n, data in enumerate(cut)]

    async def put(self, beat: tuple[int, ...]) -> bool:
        """Whether it was taken."""
        await self.line.say(*beat)
        (waits,) = await self.line.answer(1)
        assert waits in (0, 1)
        return not waits

    async def take(self, size: int) -> bytes:
        """A packet; whoever asks too early asks again."""
        data = b""
        for _ in range(1000):
            await self.line.say(Command.TAKE)
            (flags,) = await self.line.answer(1)
            if flags:
                assert flags in (TAKEN, TAKEN + LAST)
                data += await self.line.answer(size)
                if flags & LAST:
                    return data
        raise AssertionError("nothing comes out")


async def started(dut: Any) -> Board:
    """The board, awake."""
    job = json.loads(Path(cocotb.plusargs["job"]).read_text())
    cocotb.log.info("seed %d", job["seed"])
    board = Board(dut, job)
    await board.start()
    return board


@cocotb.test()
async def whole_set(dut: Any) -> None:
    """Loaded and run by bytes alone, every value as golden has it."""
    board = await started(dut)
    assert await board.call("wordline_check") == 0
    await board.load()
    assert await board.call("wordline_loaded")
    count, frames = len(board.vectors["lengths"]), []
    for n in range(count):
        streams.report(board.job, n, count)
        for beat in board.beats(n):
            while not await board.put(beat):
                pass
        frames.append(AxiStreamFrame(await board.take(board.job["result_bytes"])))
    counters = Counters()
    await board.call("wordline_read_counters", ctypes.byref(counters))
    assert (counters.sequences, counters.steps) == (count, int(board.vectors["lengths"].sum()))
    streams.conclude(board.job, board.compare(frames))


@cocotb.test()
async def nobody_takes(dut: Any) -> None:
    """Where no result is taken, a beat is refused at last; nothing is lost, and all is as golden
    has it once results are taken."""
    board = await started(dut)
    await board.loaded()
    count, size = len(board.vectors["lengths"]), board.job["result_bytes"]
    beats = [beat for n in range(count) for beat in board.beats(n)]
    given = 0
    while await board.put(beats[given % len(beats)]):
        given += 1
        assert given < 20 * len(beats), "no beat was refused"
    ends = [n + 1 for n, beat in enumerate(beats) if beat[1]]
    whole = given // len(beats) * count + sum(end <= given % len(beats) for end in ends)
    frames = [AxiStreamFrame(await board.take(size)) for _ in range(whole)]
    while given % len(beats) not in (0, *ends):  # the sequence that was begun
        given += await board.put(beats[given % len(beats)])
    frames += [AxiStreamFrame(await board.take(size)) for _ in range(-whole % count and 1)]
    for first in range(0, len(frames), count):
        streams.conclude(board.job, board.compare(frames[first : first + count]))


@cocotb.test()
async def what_is_no_command(dut: Any) -> None:
    """Bytes that are none or have no stop bit, and glitches, have no effect; errors of the bus are
    answered; commands may follow each other without waiting."""
    board = await started(dut)
    draw = random.Random(board.job["seed"])
    known = board.registers["id"]
    magic = b"\0" + int(known["fields"]["value"]["value"]).to_bytes(WORD, "little")
    ask = (Command.READ, *int(known["offset"]).to_bytes(ADDRESS, "little"))
    for _ in range(10):
        none = [byte for byte in range(256) if byte not in [*Command]]
        await board.line.say(*draw.choices(none, k=3))
        await board.line.say(Command.TAKE, stop=0)
        await Timer(2 * board.line.bit_ns, "ns")
        dut.rx.value = 0  # too short
        await Timer(PERIOD_NS, "ns")
        dut.rx.value = 1
        await board.line.say(*ask)
        assert await board.line.answer(5) == magic
    await board.line.say(*ask * 20)
    assert await board.line.answer(5 * 20) == magic * 20
    for address, response in ((2, AxiResp.SLVERR), (2 * board.window - 4, AxiResp.DECERR)):
        answer = await board.lite.read(address)
        assert answer.resp == response, (hex(address), answer.resp)
        assert (await board.lite.write(address, bytes(4))).resp == response
    await board.line.say(Command.TAKE)
    assert await board.line.answer(1) == b"\0"
    assert board.line.came.empty()
