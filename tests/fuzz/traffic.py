"""Fuzz of the bus: AXI and the serial line, with resets, against a model of the registers.

The design is simulated in Amaranth, with its accelerator. Its results are those of golden for the
program that is loaded.
"""

import random
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from amaranth.hdl import Elaboratable, Module, ResetInserter
from amaranth.sim import Simulator

from gen.rtl import image
from golden import network
from golden.program import Program
from hw.bus import serial
from hw.bus.axi import Response
from hw.bus.registers import RegisterMap
from hw.bus.serial import LAST, TAKEN, WAKING, Board, Command
from hw.bus.system import System, Top
from sim.stimuli import Stimuli
from tests.fuzz.engine import Case, Kind
from tests.helpers import small

LONGEST = 20_000
"""Cycles of a case."""

TINY = small(
    name="tiny",
    network={"inputs": 2, "hidden": [1], "classes": 2},
    cell={"kind": "rnn", "frac": 0, "hidden_bits": 3},
    array={"beat": 1, "lanes": 1},
    device={"weight_bits": 1, "conductance_bits": 1},
    dac={"bits": 2},
    adc={"bits": 2, "gain_bits": 6},
)
"""A design that loads in few cycles."""

PROGRAMS = [Stimuli(TINY, seed).random_program() for seed in range(2)]
IMAGES = [image.words(program) for program in PROGRAMS]

HANGING = "no answer"


class Registers:
    """What software must read and be answered, at the level of accesses.

    loaded: Which program is in the design; None while its words are incomplete or mixed.
    """

    def __init__(self) -> None:
        self.map = RegisterMap(TINY)
        self.by_offset = {register.offset: register for register in self.map.registers}
        self.values: dict[str, int] = {}
        self.words: dict[int, int] = {}
        self.reset()

    def reset(self) -> None:
        """Reset the registers. The program stays."""
        self.values = {"irq_enable": 0, "control": 0}
        self.flag = self.failed = self.came = False
        self.sum: list[tuple[int, int]] = []

    @property
    def program(self) -> Program | None:
        """The program whose words the design holds."""
        for own, words in zip(PROGRAMS, IMAGES, strict=True):
            if all(self.words.get(address) == data for address, data in words[:-1]):
                return own
        return None

    def write(self, address: int, data: int, strobe: int, window: bool) -> Response:
        """Answer to a write. window: Whether the load window is open."""
        place = address & ~3
        inside = place >= self.map.window
        if inside:
            number = (place - self.map.window) // 4
            there = self.map.load_first <= number < self.map.load_end
        else:
            there = place in self.by_offset
        if not there:
            return Response.DECERR
        whole = address % 4 == 0 and strobe == 15
        if not whole or (not window if inside else not self.by_offset[place].writable):
            return Response.SLVERR
        if inside:
            self.load(number, data)
        else:
            name = self.by_offset[place].name
            bits = sum(field.bits for field in self.by_offset[place].fields)
            if name in self.values:
                self.values[name] = data & ((1 << bits) - 1)
        return Response.OKAY

    def load(self, number: int, data: int) -> None:
        """A word of an image."""
        self.came, self.flag = True, False
        if number == self.map.load.check:
            signature = image.checksum(np_words(self.sum)) if self.sum else 0xFFFFFFFF
            self.failed |= data != signature
        else:
            # The bus has fewer bits than a word of AXI.
            self.words[number] = data & ((1 << self.map.load.data_bits) - 1)
            self.sum.append((number, data & ((1 << self.map.load.data_bits) - 1)))

    def opened(self) -> None:
        """The window opens."""
        self.failed, self.came, self.sum = False, False, []

    def closed(self) -> None:
        """The window closes."""
        if self.came:
            self.flag, self.came = not self.failed, False

    def read(self, address: int) -> tuple[Response, int | None]:
        """Answer to a read; None for a value that depends on time."""
        place = address & ~3
        if place >= self.map.window:
            number = (place - self.map.window) // 4
            there = self.map.load_first <= number < self.map.load_end
            return (Response.SLVERR if there else Response.DECERR), 0
        if place not in self.by_offset:
            return Response.DECERR, 0
        if address % 4:
            return Response.SLVERR, 0
        register = self.by_offset[place]
        if register.name in self.values:
            return Response.OKAY, self.values[register.name]
        if all(field.access == "constant" for field in register.fields):
            value, low = 0, 0
            for field in register.fields:
                value |= field.value << low
                low += field.bits
            return Response.OKAY, value
        return Response.OKAY, 0 if register.name == "counters" else None

    def status(self, value: int, *, settled: bool) -> None:
        """Check the register `status`. settled: Nothing is on its way."""
        loaded, failed = value >> 2 & 1, value >> 3 & 1
        assert value < 16 and (not settled or (loaded, failed) == (self.flag, self.failed))


def np_words(words: list[tuple[int, int]]) -> Any:
    """Words as an array."""
    return np.array(words, np.int64).reshape(-1, 2)


def packet(draw: random.Random) -> list[tuple[int, bool]]:
    """Beats of a packet, with codes beyond the DAC's range; it may end within a step."""
    beats = [draw.choice((0, 1, 255, 127, 128, 2, 254)) for _ in range(draw.randint(1, 7))]
    return [(byte, n == len(beats) - 1) for n, byte in enumerate(beats)]


def result(program: Program, beats: list[tuple[int, bool]]) -> int:
    """Class of a packet, by golden: clamped, and filled with 0 to a whole step."""
    low, high = TINY.dac.range
    codes = [min(max(byte - 256 * (byte > 127), low), high) for byte, _ in beats]
    inputs = TINY.network.inputs
    codes += [TINY.dac.zero] * (-len(codes) % inputs)
    x = torch.tensor(codes).view(1, -1, inputs)
    label = network.run(program, x, torch.tensor([x.shape[1]])).label
    assert label is not None
    return int(label[0])


def actions(draw: random.Random, load: float) -> list[tuple[Any, ...]]:
    """What a case does, in order.

    load: Share of cases that load a program; without one, only the number of results is known.
    """
    found: list[tuple[Any, ...]] = []
    loads = draw.random() < load
    if loads:
        found.append(("load", draw.randrange(2), 1.0))
    for _ in range(draw.randint(1, 8)):
        what = draw.random()
        if what < 0.35:
            found.append(("packet", packet(draw)))
        elif what < 0.5:
            found.append(("read", address(draw)))
        elif what < 0.65:
            found.append(
                ("write", address(draw), draw.getrandbits(32), draw.choice((15, 15, 7, 0)))
            )
        elif what < 0.75:
            found.append(("load", draw.randrange(2), draw.choice((1.0, 1.0, 0.5)) * loads))
        elif what < 0.85:
            found.append(("reset", draw.choice((1, 2, 30))))
        elif what < 0.92:
            found.append(("cut", packet(draw), draw.randint(1, 60)))
        else:
            found.append(("wait", draw.randint(1, 50)))
    return [*found, ("packet", packet(draw)), ("status",)]


def address(draw: random.Random) -> int:
    """An address of a register, of the window, of neither, or unaligned."""
    map_ = RegisterMap(TINY)
    what = draw.random()
    if what < 0.5:
        own = draw.choice(map_.registers)
        while own.name == "control":
            own = draw.choice(map_.registers)
        return own.offset + (draw.randint(1, 3) if draw.random() < 0.2 else 0)
    if what < 0.7:
        return map_.window + 4 * draw.choice((map_.load_first, map_.load_end - 1, map_.load_end))
    return draw.randrange(4 * len(map_.registers), 2 * map_.window)


class Pins:
    """AXI by its signals, with random stalls."""

    def __init__(self, ctx: Any, dut: Any, draw: random.Random) -> None:
        self.ctx, self.dut, self.draw = ctx, dut, draw
        self.stall = draw.choice((0.0, 0.3, 0.8))
        self.results: list[int] = []

    async def tick(self) -> None:
        """A cycle, in which a result may be accepted."""
        ctx, dut = self.ctx, self.dut
        ready = int(self.draw.random() >= self.stall)
        ctx.set(dut.m_axis_tready, ready)
        _, _, valid, data, last, reset = await ctx.tick().sample(
            dut.m_axis_tvalid, dut.m_axis_tdata, dut.m_axis_tlast, dut.aresetn
        )
        if ready and valid and reset:
            assert last
            self.results.append(data)

    async def send(self, channel: str, cycles: int | None = None, **signals: int) -> bool:
        """A transfer of a channel; after `cycles` it is given up, for a reset follows."""
        ctx, dut = self.ctx, self.dut
        valid, ready = (getattr(dut, f"s_{channel}{end}") for end in ("valid", "ready"))
        for name, value in signals.items():
            ctx.set(getattr(dut, f"s_{channel}{name}"), value)
        while self.draw.random() < self.stall:
            await self.tick()
        ctx.set(valid, 1)
        for _ in range(LONGEST if cycles is None else cycles):
            taken = ctx.get(ready)
            await self.tick()
            if taken:
                ctx.set(valid, 0)
                return True
        ctx.set(valid, 0)
        assert cycles is not None, HANGING
        return False

    async def receive(self, channel: str, *names: str) -> list[int]:
        """Take an answer."""
        ctx, dut = self.ctx, self.dut
        valid, ready = (getattr(dut, f"s_axil_{channel}{end}") for end in ("valid", "ready"))
        signals = [getattr(dut, f"s_axil_{channel}{name}") for name in names]
        for _ in range(LONGEST):
            here = int(self.draw.random() >= self.stall)
            ctx.set(ready, here)
            taken, found = here and ctx.get(valid), [ctx.get(signal) for signal in signals]
            await self.tick()
            if taken:
                ctx.set(ready, 0)
                return found
        raise AssertionError(HANGING)

    async def write(self, place: int, data: int, strobe: int = 15) -> int:
        """Write a word. Returns the response."""
        if self.draw.random() < 0.5:
            await self.send("axil_aw", addr=place)
            await self.send("axil_w", data=data, strb=strobe)
        else:
            await self.send("axil_w", data=data, strb=strobe)
            await self.send("axil_aw", addr=place)
        (response,) = await self.receive("b", "resp")
        return response

    async def read(self, place: int) -> tuple[int, int]:
        """Read a word."""
        await self.send("axil_ar", addr=place)
        response, data = await self.receive("r", "resp", "data")
        return response, data

    async def reset(self, cycles: int) -> None:
        """Reset, with whatever is under way."""
        self.ctx.set(self.dut.aresetn, 0)
        for name in ("axil_aw", "axil_w", "axil_ar", "axis_t"):
            self.ctx.set(getattr(self.dut, f"s_{name}valid"), 0)
        for _ in range(cycles):
            await self.tick()
        self.ctx.set(self.dut.aresetn, 1)
        await self.tick()
        self.results.clear()

    async def give(self, beat: int, last: bool, cycles: int | None = None) -> bool:
        """Send a beat of x."""
        return await self.send("axis_t", cycles, data=beat, last=int(last))


class Line:
    """The same accesses over a serial line, bit by bit."""

    bit = 3

    def __init__(self, ctx: Any, dut: Any, draw: random.Random) -> None:
        self.ctx, self.dut, self.draw = ctx, dut, draw
        self.results: list[int] = []
        self.bits: list[int] = []

    async def tick(self) -> None:
        """A cycle."""
        _, _, tx = await self.ctx.tick().sample(self.dut.tx)
        self.bits.append(tx)

    async def say(self, *data: int) -> None:
        """Send bytes."""
        for byte in data:
            for bit in (0, *(byte >> n & 1 for n in range(8)), 1):
                self.ctx.set(self.dut.rx, bit)
                for _ in range(self.bit):
                    await self.tick()

    async def answer(self, count: int) -> list[int]:
        """Receive bytes, of all that came over the line since the last one."""
        found: list[int] = []
        for _ in range(LONGEST):
            start = next((n for n, bit in enumerate(self.bits) if not bit), None)
            if start is None:
                self.bits.clear()
            elif len(self.bits) >= start + 10 * self.bit:
                middle = [self.bits[start + n * self.bit + self.bit // 2] for n in range(10)]
                assert middle[9] == 1, "a byte without a stop bit"
                found.append(sum(bit << n for n, bit in enumerate(middle[1:9])))
                del self.bits[: start + 10 * self.bit - self.bit // 2]
            if len(found) == count:
                return found
            await self.tick()
        raise AssertionError(HANGING)

    async def write(self, place: int, data: int, strobe: int = 15) -> int:
        await self.noise()
        await self.say(Command.WRITE, *place.to_bytes(4, "little"), *data.to_bytes(4, "little"))
        return (await self.answer(1))[0]

    async def read(self, place: int) -> tuple[int, int]:
        await self.noise()
        await self.say(Command.READ, *place.to_bytes(4, "little"))
        response, *data = await self.answer(5)
        return response, int.from_bytes(bytes(data), "little")

    async def noise(self) -> None:
        """Bytes that are no command, short pulses, and pauses."""
        if self.draw.random() < 0.2:
            await self.say(*(self.draw.choice((0, 5, 99, 255)) for _ in range(2)))
        if self.draw.random() < 0.2:
            self.ctx.set(self.dut.rx, 0)
            await self.tick()
            self.ctx.set(self.dut.rx, 1)
            for _ in range(12 * self.bit):
                await self.tick()

    async def reset(self, cycles: int) -> None:
        """A break."""
        self.ctx.set(self.dut.rx, 0)
        for _ in range(12 * self.bit):
            await self.tick()
        self.ctx.set(self.dut.rx, 1)
        for _ in range(WAKING + 12 * self.bit + cycles):
            await self.tick()
        self.bits.clear()
        self.results.clear()

    async def give(self, beat: int, last: bool, cycles: int | None = None) -> bool:
        for _ in range(LONGEST // 100):
            await self.say(Command.PUT, int(last), beat)
            (waits,) = await self.answer(1)
            assert waits in (0, 1)
            if not waits:
                return True
            if cycles is not None:
                return False
            await self.take()
        raise AssertionError(HANGING)

    async def take(self) -> None:
        """Ask for a result."""
        await self.say(Command.TAKE)
        (flags,) = await self.answer(1)
        assert flags in (0, TAKEN + LAST)
        if flags:
            self.results.append(int.from_bytes(bytes(await self.answer(4)), "little"))


async def play(bus: Any, steps: list[Any], *, serial: bool) -> None:
    """Run the actions of a case, and compare every answer with the model."""
    model = Registers()
    map_ = model.map
    offsets = {register.name: register.offset for register in map_.registers}
    wanted: list[int | None] = []

    async def settle() -> None:
        """Wait for all results."""
        for _ in range(LONGEST // (100 if serial else 1)):
            if len(bus.results) >= len(wanted):
                break
            await (bus.take() if serial else bus.tick())
        assert len(bus.results) == len(wanted), HANGING
        own = zip(bus.results, wanted, strict=True)
        assert all(label is None or found == label for found, label in own), (bus.results, wanted)
        bus.results.clear()
        wanted.clear()

    for what, *given in steps:
        if what == "packet":
            for byte, last in given[0]:
                await bus.give(byte, last)
            program = model.program
            wanted.append(None if program is None else result(program, given[0]))
        elif what == "read":
            response, value = await bus.read(given[0])
            own, known = model.read(given[0])
            assert response == own and known in (None, value), (given, response, value)
        elif what == "write":
            strobe = 15 if serial else given[2]
            response = await bus.write(given[0], given[1], strobe)
            assert response == model.write(given[0], given[1], strobe, False), given
        elif what == "load":
            await settle()
            number, share = given
            words = IMAGES[number]
            assert await bus.write(offsets["control"], 1) == Response.OKAY
            while not (await bus.read(offsets["status"]))[1] & 1:
                pass
            model.opened()
            for place, data in words[: int(len(words) * share)]:
                at = map_.window + 4 * place
                assert await bus.write(at, data) == model.write(at, data, 15, True)
            assert await bus.write(offsets["control"], 0) == Response.OKAY
            while (value := (await bus.read(offsets["status"]))[1]) & 1:
                pass
            model.closed()
            model.status(value, settled=True)
        elif what == "reset":
            await bus.reset(given[0])
            model.reset()
            wanted.clear()
        elif what == "cut":  # a reset in the middle of a packet
            for byte, _ in given[0]:
                if not await bus.give(byte, False, given[1]):
                    break
            await bus.reset(1 + given[1] % 3)
            model.reset()
            wanted.clear()
        elif what == "wait":
            for _ in range(given[0]):
                await bus.tick()
        else:
            await settle()
            response, value = await bus.read(offsets["status"])
            assert response == Response.OKAY
            model.status(value, settled=True)
    await settle()


class Axi(Kind):
    """Traffic on AXI."""

    name = "axi"
    share = 3
    longest = 120.0
    load = 0.9

    def draw(self, draw: random.Random) -> Case:
        return Case({}, [draw.randrange(2**31), actions(draw, self.load)])

    def run(self, folder: Path, case: Case) -> None:
        seed, steps = case.given
        dut = Top(System(TINY))

        async def process(ctx: Any) -> None:
            bus = Pins(ctx, dut, random.Random(seed))
            await bus.reset(2)
            await play(bus, steps, serial=False)

        simulated(dut, dut.aclk, process)


class Serial(Axi):
    """Traffic on the serial line."""

    name = "serial"
    share = 1
    load = 0.1

    def run(self, folder: Path, case: Case) -> None:
        seed, steps = case.given
        system = System(TINY)
        dut = Board(system.signature, "top", bit_cycles=Line.bit)

        async def process(ctx: Any) -> None:
            bus = Line(ctx, dut, random.Random(seed))
            for _ in range(60):
                await bus.tick()
            await play(bus, steps, serial=True)

        with mock.patch.object(serial, "Instance", Inside):
            simulated(dut, dut.clk, process)


class Inside(Elaboratable):
    """The design in the place of its instance, with the ports of the instance."""

    def __init__(self, _: str, **ports: Any) -> None:
        self.ports = ports

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inside = System(TINY)
        m.submodules.inside = ResetInserter(~self.ports["i_aresetn"])(inside)
        for name, value in self.ports.items():
            if name not in ("i_aclk", "i_aresetn"):
                own = getattr(inside, name[2:])
                m.d.comb += own.eq(value) if name.startswith("i_") else value.eq(own)
        return m


def simulated(dut: Any, clock: Any, process: Any) -> None:
    """Simulate a design whose clock is a port."""

    async def tick(ctx: Any) -> None:
        while True:
            for level in (1, 0):
                await ctx.delay(5e-7)
                ctx.set(clock, level)

    simulator = Simulator(dut)
    simulator.add_testbench(tick, background=True)
    simulator.add_testbench(process)
    simulator.run()
