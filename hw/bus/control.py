"""Registers and load window of an accelerator, behind AXI4-Lite."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.description import Description
from golden.ranges import index_bits
from hw.bus.axi import RegisterBus, Response
from hw.bus.registers import BUS_BITS, COUNTERS, EVENTS, WORD, RegisterMap


class Window(enum.Enum):
    """State of the load window, which follows a transaction on the load bus."""

    CLOSED = 0
    OPENING = 1
    OPEN = 2
    CLOSING = 3


POLYNOMIAL = 0x04C11DB7
"""Polynomial of an image's signature, that of CRC-32."""

COUNTED_EACH = 4
"""Low bits of a counter. The high bits are clocked only when the low bits wrap."""


class Control(wiring.Component):
    """Registers of `RegisterMap`, and the load window.

    An access is one whole, aligned word. SLVERR: an access of another kind; a write to a read-only
    register; a read of the load window, or a write to it while it is not open. DECERR: an unmapped
    address. An access that gets an error has no effect. A write to the load window ends when the
    accelerator accepts it.

    bus (in): register bus, from `LiteSlave`.
    load (out, stream): load bus of the accelerator.
    busy (in): a sequence is in flight.
    counts (in): one bit per counter: count this cycle. The counter changes one cycle later.
    events (in): one bit per event, a strobe.
    irq (out): level: an enabled event is pending.
    """

    def __init__(self, description: Description) -> None:
        self.map = RegisterMap(description)
        self.load_map = self.map.load
        super().__init__(
            {
                "bus": In(RegisterBus(self.map.address_bits)),
                "load": Out(stream.Signature(self.load_map.layout)),
                "busy": In(1),
                "counts": In(data.StructLayout(dict.fromkeys(COUNTERS, 1))),
                "events": In(data.StructLayout({e: 1 for e in EVENTS if e != "load_open"})),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Decode and answer accesses; then the load window, then the registers."""
        m = Module()
        bus = self.bus
        window = Signal(Window)
        # A write is decoded in the cycle before it: in one cycle it would be the critical path.
        place = [Value.cast(found) for found in self._place(bus.write_address)]
        in_window, number, there = held = [Signal(found.shape()) for found in place]
        m.d.sync += [register.eq(found) for register, found in zip(held, place, strict=True)]
        writable = Array(register.writable for register in self.map.registers)[number]
        usable = Mux(in_window, window == Window.OPEN, writable)
        whole = (bus.write_address[: index_bits(WORD)] == 0) & bus.write_strobe.all()
        good = Signal()
        load_word = Signal()
        m.d.comb += [
            good.eq(there & usable & whole),
            load_word.eq(bus.write & good & in_window),
            bus.written.eq(~load_word | self.load.ready),
            bus.write_answer.eq(self._answer(there, usable & whole)),
        ]
        opened, load = self._window(m, window, load_word)
        self._registers(m, window, opened, load, number, bus.write & good & ~in_window)
        return m

    def _place(self, address: Value) -> tuple[Value, Value, Value]:
        """Decode an address.

        Returns whether it is in the load window, the number of its register, and whether it is
        mapped.
        """
        word, in_window = address[index_bits(WORD) : -1], address[-1]
        there = word < Mux(in_window, self.map.load_end, len(self.map.registers))
        there &= ~in_window | (word >= self.map.load_first)
        return in_window, word[: index_bits(len(self.map.registers))], there

    def _answer(self, there: Value, usable: Value) -> Value:
        return Mux(there, Mux(usable, Response.OKAY, Response.SLVERR), Response.DECERR)

    def _window(self, m: Module, window: Signal, load_word: Signal) -> tuple[Value, Signal]:
        """Load bus: a transfer to an unmapped address starts a transaction, another one ends it.

        Returns whether the window opens, and the register that requests it.
        """
        load = Signal(name="control_load")
        bus = self.bus
        moved = self.load.valid & self.load.ready
        m.d.comb += self.load.payload.address.eq(self.load_map.nowhere)
        with m.Switch(window):
            with m.Case(Window.CLOSED), m.If(load):
                m.d.sync += window.eq(Window.OPENING)
            with m.Case(Window.OPENING):
                m.d.comb += self.load.valid.eq(1)
                with m.If(moved):
                    m.d.sync += window.eq(Mux(load, Window.OPEN, Window.CLOSING))
            with m.Case(Window.OPEN):
                m.d.comb += self.load.valid.eq(load_word)
                m.d.comb += self.load.payload.address.eq(bus.write_address[index_bits(WORD) : -1])
                m.d.comb += self.load.payload.data.eq(bus.write_data)
                with m.If(~load & ~load_word):  # an offered transfer must not be withdrawn
                    m.d.sync += window.eq(Window.CLOSING)
            with m.Case(Window.CLOSING):
                m.d.comb += [self.load.valid.eq(1), self.load.payload.last.eq(1)]
                with m.If(moved):
                    m.d.sync += window.eq(Window.CLOSED)
        return moved & (window == Window.OPENING) & load, load

    def _check(self, m: Module, window: Signal, opened: Value) -> tuple[Signal, Signal]:
        """Signature of a load's words, in order; whether it differs from the image's checksum.

        The signature is a multiple-input signature register (MISR). Each word shifts it in the
        field of CRC-32's polynomial and is XORed into it, together with its address, whose halves
        are swapped.
        """
        signature = Signal(BUS_BITS)
        check_failed = Signal()
        payload = self.load.payload
        came = (window == Window.OPEN) & self.load.valid & self.load.ready
        is_check = payload.address == self.load_map.check
        address = Signal(BUS_BITS)
        m.d.comb += address.eq(payload.address)
        fed_back = Mux(signature[-1], POLYNOMIAL, 0)
        with m.If(opened):
            m.d.sync += [signature.eq(~0), check_failed.eq(0)]
        with m.Elif(came & ~is_check):
            word = payload.data ^ address.rotate_left(BUS_BITS // 2)
            m.d.sync += signature.eq((signature << 1)[:BUS_BITS] ^ fed_back ^ word)
        with m.Elif(came & (self.bus.write_data != signature)):
            m.d.sync += check_failed.eq(1)
        return signature, check_failed

    def _registers(
        self, m: Module, window: Signal, opened: Value, load: Signal, number: Value, write: Value
    ) -> None:
        """Value that each field reads as, and effect of a write to it."""
        bus = self.bus
        loaded = Signal()
        words_came = Signal()
        signature, check_failed = self._check(m, window, opened)
        with m.If(self.load.valid & self.load.ready):
            with m.If(window == Window.OPEN):
                m.d.sync += [loaded.eq(0), words_came.eq(1)]
            with m.If((window == Window.CLOSING) & words_came):
                m.d.sync += [loaded.eq(~check_failed), words_came.eq(0)]
        clear = Signal()
        statuses: dict[tuple[str, str], Value] = {
            ("status", "load_open"): (window == Window.OPEN) | (window == Window.CLOSING),
            ("status", "busy"): self.busy,
            ("status", "loaded"): loaded,
            ("status", "check_failed"): check_failed,
            ("signature", "value"): signature,
        }
        counts = Signal.like(self.counts)  # strobes arrive late, carries are long
        m.d.sync += counts.eq(self.counts)
        for name in COUNTERS:
            # The high bits seldom change, so their clock can be gated.
            low = Signal(COUNTED_EACH, name=f"{name}_low")
            high = Signal(BUS_BITS - COUNTED_EACH, name=f"{name}_high")
            with m.If(counts[name]):
                m.d.sync += low.eq(low + 1)
                with m.If(low.all()):
                    m.d.sync += high.eq(high + 1)
            with m.If(clear):
                m.d.sync += [low.eq(0), high.eq(0)]
            statuses[name, "value"] = Cat(low, high)
        happens = {name: opened if name == "load_open" else self.events[name] for name in EVENTS}

        words, kept = [], {}
        for n, register in enumerate(self.map.registers):
            position, values = 0, []
            for field in register.fields:
                written = write & (number == n)
                bits = bus.write_data[position : position + field.bits]
                position += field.bits
                if field.access == "constant":
                    values.append(Const(field.value, field.bits))
                elif field.access == "status":
                    values.append(statuses[register.name, field.name])
                elif field.access == "pulse":
                    assert field.name == "clear"
                    m.d.comb += clear.eq(written & bits)
                    values.append(Const(0, 1))
                else:
                    name = f"{register.name}_{field.name}"
                    value = load if field.name == "load" else Signal(field.bits, name=name)
                    values.append(value)
                    kept[register.name, field.name] = value
                    if field.access == "control":
                        with m.If(written):
                            m.d.sync += value.eq(bits)
                    else:
                        m.d.sync += value.eq((value & ~(written & bits)) | happens[field.name])
            words.append(Cat(values))
        raised = [kept["irq_status", name] & kept["irq_enable", name] for name in EVENTS]
        m.d.comb += self.irq.eq(Cat(raised).any())

        in_window, number, there = self._place(bus.read_address)
        whole = bus.read_address[: index_bits(WORD)] == 0
        m.d.comb += [
            bus.read_answer.eq(self._answer(there, whole & ~in_window)),
            bus.read_data.eq(Mux(there & whole & ~in_window, Array(words)[number], 0)),
        ]
