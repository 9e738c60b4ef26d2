"""Serial line in front of a design with AXI, for boards: `clk`, and registered `rx` and `tx`.

8 bits, no parity, one stop bit, `BIT_CYCLES` clock cycles per bit. A command is a byte of `Command`
and its arguments, lowest byte first; docs/integration.md has the table. A break, which is the line
low for longer than a byte, is a reset.
"""

from enum import IntEnum
from typing import Any

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    Instance,
    Module,
    Mux,
    ResetInserter,
    Signal,
    Value,
)
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from golden.ranges import ceil_div
from hw.bus.axi import Response
from hw.bus.registers import BUS_BITS, WORD

BIT_CYCLES = 100
"""Clock cycles per bit: 1 Mbit/s at 100 MHz."""

QUEUE = 512
"""Bytes of the command FIFO, which may be sent without waiting for an answer."""

ADDRESS = 4
"""Bytes of an address."""

WAKING = 15
"""Cycles of reset after a break; one more after power-up."""


class Command(IntEnum):
    """First byte of a command; any other byte is ignored."""

    WRITE = 1  # address, word; answer: response
    READ = 2  # address; answer: response, word
    PUT = 3  # last, beat; answer: 0, or 1 if the previous beat is still pending
    TAKE = 4  # answer: TAKEN, plus LAST, and the transfer; or 0 if there is none


TAKEN, LAST = 1, 2


class Receiver(wiring.Component):
    """Serial receiver: a line to bytes.

    A low pulse too short for a start bit is ignored. A byte without a stop bit is dropped, and the
    next one starts only after the line was high.

    line (in): the line, asynchronous.
    byte (out): the byte received, valid while `valid` is high.
    valid (out): strobe: a byte was received.
    broken (out): strobe: the line was low for all of a byte.
    """

    def __init__(self, bit_cycles: int) -> None:
        assert bit_cycles >= 2, "a bit has a middle"
        self.bit_cycles = bit_cycles
        super().__init__({"line": In(1, init=1), "byte": Out(8), "valid": Out(1), "broken": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Each bit is sampled in its middle."""
        m = Module()
        line = Signal(init=1)
        wait = Signal(range(self.bit_cycles))
        m.submodules.line = FFSynchronizer(self.line, line, init=1)
        bits = Signal(10)  # stop bit in the MSB, start bit in the LSB
        left = Signal(range(11))
        was_high = Signal()
        ended = Signal()
        m.d.sync += ended.eq((left == 1) & (wait == 0))
        m.d.comb += [
            *(self.byte.eq(bits[1:]), self.valid.eq(ended & bits[-1])),
            self.broken.eq(ended & ~bits.any()),
        ]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.Elif(left != 0):
            m.d.sync += [bits.eq(Cat(bits[1:], line)), left.eq(left - 1), was_high.eq(line)]
            with m.If(left != 1):
                m.d.sync += wait.eq(self.bit_cycles - 1)
            with m.If((left == 10) & line):
                m.d.sync += [left.eq(0), wait.eq(0)]
        with m.Elif(line):
            m.d.sync += was_high.eq(1)
        with m.Elif(was_high):
            m.d.sync += [was_high.eq(0), left.eq(10), wait.eq(self.bit_cycles // 2 - 1)]
        return m


class Sender(wiring.Component):
    """Serial transmitter: bytes to a line.

    i (in, stream): bytes.
    line (out): the line, from a register.
    """

    def __init__(self, bit_cycles: int) -> None:
        self.bit_cycles = bit_cycles
        super().__init__({"i": In(stream.Signature(8)), "line": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        """Start bit, byte, stop bit."""
        m = Module()
        bits = Signal(10, init=1)
        left = Signal(range(11))
        wait = Signal(range(self.bit_cycles))
        taken = self.i.valid & self.i.ready
        m.d.comb += self.line.eq(bits[0])
        m.d.sync += self.i.ready.eq((left == 0) & ~taken)
        with m.If(taken):
            m.d.sync += [bits.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))), left.eq(10)]
            m.d.sync += wait.eq(self.bit_cycles - 1)
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.Elif(left != 0):
            m.d.sync += [bits.eq(Cat(bits[1:], Const(1, 1))), left.eq(left - 1)]
            m.d.sync += wait.eq(self.bit_cycles - 1)
        return m


class Bridge(wiring.Component):
    """Executes commands on AXI, one at a time.

    Its ports are those of a `System`, with opposite directions. All AXI outputs come from
    registers. An address of more bits than the bus has is answered like an unmapped one (DECERR).

    i (in, stream): bytes of commands.
    o (out, stream): bytes of answers.
    """

    def __init__(self, system: wiring.Signature) -> None:
        self.system = system
        axi = {n: m.flip() for n, m in system.members.items() if n.startswith(("s_axi", "m_axi"))}
        bytes_ = {"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))}
        super().__init__(axi | bytes_)

    def elaborate(self, platform: object) -> Module:
        """Collect a command, execute it, answer."""
        m = Module()
        beat, result = (
            ceil_div(len(getattr(self, f"{name}_axis_tdata")), 8) for name in ("s", "m")
        )
        sizes = {
            Command.WRITE: ADDRESS + WORD,
            Command.READ: ADDRESS,
            Command.PUT: 1 + beat,
            Command.TAKE: 0,
        }
        longest = max(sizes.values())
        given = Signal(8 * longest)
        left = Signal(range(longest + 1))
        command = Signal(8)
        more = Signal()  # left is not 0, from a register
        answer = Signal(8 * (1 + max(WORD, result)))
        to_say = Signal(range(2 + max(WORD, result)))

        def field(first: int, size: int) -> Value:
            """`size` bytes of a command, the first of them `first` bytes before its end."""
            low = 8 * (longest - first)
            return given[low : low + 8 * size]

        def say(*values: Value, size: int) -> None:
            m.d.sync += [answer.eq(Cat(*values)), to_say.eq(size)]
            m.next = "answer"

        m.d.comb += [
            *(self.s_axil_wstrb.eq(-1), self.s_axil_awprot.eq(0), self.s_axil_arprot.eq(0)),
            *(self.o.payload.eq(answer), self.o.valid.eq(to_say != 0)),
        ]
        for channel in ("aw", "w", "ar"):
            valid, ready = (getattr(self, f"s_axil_{channel}{e}") for e in ("valid", "ready"))
            with m.If(valid & ready):
                m.d.sync += valid.eq(0)
        with m.If(self.s_axis_tvalid & self.s_axis_tready):
            m.d.sync += self.s_axis_tvalid.eq(0)
        m.d.sync += [port.eq(0) for port in (self.s_axil_bready, self.s_axil_rready)]
        m.d.sync += self.m_axis_tready.eq(0)

        ended = {name: Signal(name=f"{name}_ended") for name in ("write", "read", "take")}
        m.d.sync += [
            ended["write"].eq(self.s_axil_bvalid),
            ended["read"].eq(self.s_axil_rvalid),
            ended["take"].eq(self.m_axis_tvalid),
        ]
        beyond = Signal()
        written_beyond = Signal()
        m.d.sync += [
            beyond.eq(field(ADDRESS, ADDRESS)[len(self.s_axil_araddr) :].any()),
            written_beyond.eq(field(ADDRESS + WORD, ADDRESS)[len(self.s_axil_awaddr) :].any()),
        ]
        # The output of a block RAM is slow, so each byte is registered before it is used.
        byte = Signal(8)
        there = Signal()
        take = Signal()
        m.d.sync += [
            *(byte.eq(self.i.payload), self.i.ready.eq(take)),
            there.eq(self.i.valid & ~self.i.ready & ~take),
        ]
        with m.FSM():
            with m.State("begin"):
                m.d.comb += take.eq(there)
                m.d.sync += command.eq(byte)
                with m.If(there), m.Switch(byte):
                    for code, size in sizes.items():
                        with m.Case(code):
                            m.d.sync += [left.eq(size), more.eq(size != 0)]
                            m.next = "collect"
            with m.State("collect"):
                m.d.comb += take.eq(there & more)
                with m.If(~more), m.Switch(command):
                    for code in sizes:
                        with m.Case(code):
                            m.next = code.name.lower()
                with m.Elif(there):
                    m.d.sync += given.eq(Cat(given[8:], byte))
                    m.d.sync += [left.eq(left - 1), more.eq(left != 1)]
            with m.State("write"):
                m.d.sync += [
                    self.s_axil_awaddr.eq(field(ADDRESS + WORD, ADDRESS)),
                    self.s_axil_wdata.eq(field(WORD, WORD)),
                ]
                with m.If(written_beyond):
                    say(Const(Response.DECERR, 8), size=1)
                with m.Else():
                    m.d.sync += [self.s_axil_awvalid.eq(1), self.s_axil_wvalid.eq(1)]
                    m.next = "writing"
            with m.State("writing"), m.If(ended["write"]):
                m.d.sync += self.s_axil_bready.eq(1)
                say(self.s_axil_bresp, size=1)
            with m.State("read"):
                m.d.sync += self.s_axil_araddr.eq(field(ADDRESS, ADDRESS))
                with m.If(beyond):
                    say(Const(Response.DECERR, 8), Const(0, BUS_BITS), size=1 + WORD)
                with m.Else():
                    m.d.sync += self.s_axil_arvalid.eq(1)
                    m.next = "reading"
            with m.State("reading"), m.If(ended["read"]):
                m.d.sync += self.s_axil_rready.eq(1)
                response = Signal(8)
                m.d.comb += response.eq(self.s_axil_rresp)
                say(response, self.s_axil_rdata, size=1 + WORD)
            with m.State("put"):
                say(self.s_axis_tvalid, size=1)
                with m.If(~self.s_axis_tvalid):
                    m.d.sync += [
                        self.s_axis_tvalid.eq(1),
                        self.s_axis_tlast.eq(field(1 + beat, 1)[0]),
                        self.s_axis_tdata.eq(field(beat, beat)),
                    ]
            with m.State("take"):
                m.d.sync += self.m_axis_tready.eq(ended["take"])
                with m.If(ended["take"]):
                    m.next = "taking"
                with m.Else():
                    say(Const(0, 8), size=1)
            with m.State("taking"):  # the transfer is accepted in this cycle
                flags = Signal(8)
                m.d.comb += flags.eq(TAKEN + Mux(self.m_axis_tlast, LAST, 0))
                say(flags, self.m_axis_tdata, size=1 + result)
            with m.State("answer"):
                with m.If(self.o.ready & (to_say != 0)):
                    m.d.sync += [answer.eq(answer >> 8), to_say.eq(to_say - 1)]
                with m.If(to_say == 0):
                    m.next = "begin"
        return m


class Board(wiring.Component):
    """Top of a board: serial line, and an instance of the Verilog module `module`.

    That module is a `System` with AXI's clock and reset (`Top`).

    clk (in): clock.
    rx (in), tx (out): serial line.
    """

    def __init__(
        self, system: wiring.Signature, module: str, *, bit_cycles: int = BIT_CYCLES
    ) -> None:
        self.inside, self.module, self.bit_cycles = system, module, bit_cycles
        super().__init__({"clk": In(1), "rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        """Receiver, FIFO, bridge, AXI, transmitter, and reset after power-up or a break."""
        m = Module()
        m.domains.sync = sync = ClockDomain(reset_less=True)
        m.d.comb += sync.clk.eq(self.clk)
        waking = Signal(range(WAKING + 1), init=WAKING)
        asleep = Signal(init=1)
        m.d.sync += asleep.eq(waking != 0)

        m.submodules.receiver = receiver = Receiver(self.bit_cycles)
        m.submodules.sender = sender = Sender(self.bit_cycles)
        queue, bridge = SyncFIFOBuffered(width=8, depth=QUEUE), Bridge(self.inside)
        m.submodules.queue = ResetInserter(asleep)(queue)
        m.submodules.bridge = ResetInserter(asleep)(bridge)
        with m.If(receiver.broken):
            m.d.sync += waking.eq(WAKING)
        with m.Elif(waking != 0):
            m.d.sync += waking.eq(waking - 1)
        line = Signal(init=1)
        m.d.sync += line.eq(sender.line)
        m.d.comb += [
            *(receiver.line.eq(self.rx), self.tx.eq(line)),
            *(queue.w_data.eq(receiver.byte), queue.w_en.eq(receiver.valid)),
        ]
        wiring.connect(m, queue.r_stream, bridge.i)
        wiring.connect(m, bridge.o, sender.i)

        ports: dict[str, Any] = {"i_aclk": ClockSignal(), "i_aresetn": ~asleep}
        for name, member in self.inside.members.items():
            direction = "i" if member.flow == In else "o"
            port = getattr(bridge, name) if hasattr(bridge, name) else Signal(name=name)
            ports[f"{direction}_{name}"] = port
        m.submodules.axi = Instance(self.module, **ports)
        return m
