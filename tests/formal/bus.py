"""Specs of the bus: AXI4-Lite, AXI4-Stream, registers, the load window, the serial line."""

from amaranth.hdl import Cat, Const, Mux, Signal, Value

from golden.ranges import ceil_div
from hw.bus.axi import LiteSlave, Response, StreamIn, StreamOut
from hw.bus.control import Control
from hw.network import Accelerator
from tests.formal.common import SMALLEST, clamp, counter, taken
from tests.formal.engine import Scene
from tests.formal.spec import spec
from tests.helpers import small

PAYLOADS = {
    "aw": ("awaddr", "awprot"),
    "w": ("wdata", "wstrb"),
    "b": ("bresp",),
    "ar": ("araddr", "arprot"),
    "r": ("rdata", "rresp"),
}
"""Signals of an AXI4-Lite channel besides valid and ready (IHI 0022, B1)."""


class Channel:
    """A channel of an AXI port: valid, ready, and what they hold back."""

    def __init__(self, dut, prefix: str, payload: tuple[str, ...]) -> None:
        self.valid, self.ready = getattr(dut, f"{prefix}valid"), getattr(dut, f"{prefix}ready")
        self.payload = Cat(getattr(dut, name) for name in payload)


def channel(dut, name: str) -> Channel:
    """A channel of AXI4-Lite by its name."""
    return Channel(dut, f"s_axil_{name}", tuple(f"s_axil_{part}" for part in PAYLOADS[name]))


def stream(dut, side: str) -> Channel:
    """The AXI4-Stream of a side, s or m."""
    return Channel(
        dut, f"{side}_axis_t", tuple(f"{side}_axis_t{part}" for part in ("data", "last"))
    )


@spec(
    LiteSlave,
    cases={"4 bits of address": {}},
    mutants={
        "an answer that is withdrawn": ("with m.Elif(self.s_axil_bready):", "with m.Else():"),
        "a read that is answered twice": (
            "bus.read.eq(read & ~self.s_axil_rvalid)",
            "bus.read.eq(read)",
        ),
        "an address that changes": ("m.d.comb += ready.eq(~here)", "m.d.comb += ready.eq(1)"),
        "a write without its data": (
            'write.eq(full["aw"] & full["w"] & ~ended)',
            'write.eq(full["aw"] & ~ended)',
        ),
        "a write that never ends": (
            'write.eq(full["aw"] & full["w"] & ~ended)',
            'write.eq(full["aw"] & full["w"] & ~ended & ~self.s_axil_rvalid)',
        ),
        "the answer of the other kind": (
            "self.s_axil_rresp.eq(bus.read_answer)",
            "self.s_axil_rresp.eq(bus.write_answer)",
        ),
    },
)
def accesses(s: Scene, block: type) -> None:
    """Every write and read is done once and answered once, and the channels keep AXI's rules."""
    dut = s.add(block(4))
    bus, channels = dut.bus, {name: channel(dut, name) for name in PAYLOADS}
    for name in ("aw", "w", "ar"):
        s.drive(channels[name].valid, *(getattr(dut, f"s_axil_{part}") for part in PAYLOADS[name]))
        s.assume(s.held(channels[name]))
    s.drive(channels["b"].ready, channels["r"].ready)
    s.drive(bus.written, bus.write_answer, bus.read_data, bus.read_answer)
    for name in ("b", "r"):
        s.claim(f"{name} keeps what it offers", s.held(channels[name]))
    moves = {name: taken(c) for name, c in channels.items()}

    # Writes under way: one each of address and data waits, then one answer.
    waits = {name: Signal(2, name=f"waiting_{name}") for name in ("aw", "w", "ar", "b", "r")}
    done, reads = bus.write & bus.written, bus.read
    for name, begins, ends in (
        *(("aw", moves["aw"], done), ("w", moves["w"], done), ("b", done, moves["b"])),
        *(("ar", moves["ar"], reads), ("r", reads, moves["r"])),
    ):
        s.m.d.sync += waits[name].eq(waits[name] + begins - ends)
        s.claim(f"{name}: at most one under way", waits[name] <= 1)
    s.claim(
        "a write needs its address and its data",
        ~bus.write | ((waits["aw"] == 1) & (waits["w"] == 1)),
    )
    s.claim("a read needs its address", ~bus.read | (waits["ar"] == 1))
    s.claim("one answer to each write", channels["b"].valid == (waits["b"] == 1))
    s.claim("one answer to each read", channels["r"].valid == (waits["r"] == 1))
    kept = {name: s.sample(moves[name], channels[name].payload) for name in ("aw", "w", "ar")}
    s.claim(
        "the write's address and data",
        ~bus.write
        | (
            (bus.write_address == kept["aw"][:4])
            & (Cat(bus.write_data, bus.write_strobe) == kept["w"])
        ),
    )
    s.claim(
        "which are there in the cycle before",
        ~bus.write
        | (
            (bus.write_address == s.ago(bus.write_address))
            & (bus.write_data == s.ago(bus.write_data))
            & (bus.write_strobe == s.ago(bus.write_strobe))
        ),
    )
    s.claim("the read's address", ~bus.read | (bus.read_address == kept["ar"][:4]))
    s.claim("a write stays until it is done", ~s.ago(bus.write & ~bus.written) | bus.write)
    s.claim(
        "the write's answer",
        ~channels["b"].valid | (dut.s_axil_bresp == s.sample(done, Value.cast(bus.write_answer))),
    )
    s.claim(
        "the read's answer",
        ~channels["r"].valid
        | (
            channels["r"].payload
            == s.sample(reads, Cat(bus.read_data, Value.cast(bus.read_answer)))
        ),
    )
    s.claim(
        "a write is answered in 3 cycles",
        s.within(2, (waits["aw"] == 1) & (waits["w"] == 1) & bus.written & ~channels["b"].valid),
    )
    s.claim(
        "a read is answered in 2 cycles", s.within(1, (waits["ar"] == 1) & ~channels["r"].valid)
    )
    for name in ("aw", "w"):
        s.claim(
            f"{name} does not wait for ever",
            s.within(
                5,
                channels[name].valid
                & ~channels[name].ready
                & channels["aw"].valid
                & channels["w"].valid
                & bus.written
                & channels["b"].ready,
            ),
        )
    s.claim(
        "ar does not wait for ever",
        s.within(4, channels["ar"].valid & ~channels["ar"].ready & channels["r"].ready),
    )
    s.reach(
        "a write and a read at once, after others",
        moves["b"] & moves["r"] & s.ago(s.sticky(moves["b"])) & s.ago(s.sticky(moves["r"])),
    )


@spec(
    StreamIn,
    cases={
        "3 inputs in beats of 2": {"inputs": 3},
        "4 inputs in beats of 1": {"inputs": 4, "beat": 1},
        "1-bit DAC": {"inputs": 2, "beat": 1, "bits": 1},
    },
    mutants={
        "a step that is not filled": ("fill.eq(self.o.payload.last & ~whole)", "fill.eq(0)"),
        "a code that wraps": ("Mux(value < codes.low, codes.low, value)", "value"),
        "a beat that is lost in a fill": (
            "self.s_axis_tready.eq(~fill & self.o.ready)",
            "self.s_axis_tready.eq(self.o.ready)",
        ),
        "an error that is not said": (
            "self.frame_error.eq(moved & ~fill & self.s_axis_tlast & ~whole)",
            "self.frame_error.eq(0)",
        ),
    },
)
def packets(s: Scene, block: type, inputs: int, beat: int = 2, bits: int = 2) -> None:
    """A packet is a sequence, of whole steps; codes are clamped."""
    description = small(
        network={"inputs": inputs, "hidden": [1], "classes": 2},
        dac={"bits": bits},
        array={"beat": beat},
    )
    dut = s.add(block(description))
    i, o = stream(dut, "s"), dut.o
    s.drive(dut.s_axis_tdata, dut.s_axis_tvalid, dut.s_axis_tlast, o.ready)
    s.assume(s.held(i))
    beats = ceil_div(inputs, dut.beat)
    number = counter(s, taken(o), beats, "number")
    ended = s.sample(
        taken(i) | (taken(o) & (number == beats - 1)),
        taken(i) & i.payload[-1] & (number != beats - 1),
    )
    whole = number == beats - 1
    codes = description.dac.range
    s.claim("a beat passes at once", ended | (o.valid == i.valid))
    s.claim("and is taken when it is", ended | (i.ready == o.ready))
    s.claim("the rest of a step whose packet ended is filled", ~ended | (o.valid & ~i.ready))
    for n in range(dut.beat):
        value = dut.s_axis_tdata.word_select(n, 8).as_signed()
        nearest = clamp(value, *codes)
        zero = description.dac.zero
        wanted = Mux(ended | (value == 0), zero, nearest)
        s.claim(
            f"code {n} is the nearest one, 0 in a fill", ~o.valid | (o.payload.codes[n] == wanted)
        )
    s.claim(
        "a sequence ends with its packet", ~o.valid | (o.payload.last == (ended | i.payload[-1]))
    )
    s.claim("a step is counted when it is whole", dut.step == (taken(o) & whole))
    s.claim(
        "a packet that ends within a step is said",
        dut.frame_error == (taken(i) & i.payload[-1] & ~whole),
    )
    s.claim("an offer stays", s.held(o))
    s.reach("a filled step" if beats > 1 else "a step", taken(o) & (ended if beats > 1 else 1))


@spec(
    StreamOut,
    cases={
        "classes": {},
        "scores": {"of": "scores"},
        "states, every step": {"of": "state", "steps": "every"},
    },
    mutants={
        "a transfer that is taken when it is not": (
            "self.i.ready.eq(self.m_axis_tready)",
            "self.i.ready.eq(1)",
        ),
        "an end that is not said": (
            "self.m_axis_tlast.eq(sequence_ends(m, description, self.i))",
            "self.m_axis_tlast.eq(0)",
        ),
        "a code without its sign": (
            "word_select(n, ELEMENT_BITS).eq(code)",
            "word_select(n, ELEMENT_BITS).eq(code.as_unsigned())",
        ),
    },
    fault_in={"a code without its sign": "states, every step"},
)
def results(s: Scene, block: type, of: str = "class", steps: str = "last") -> None:
    """Results pass at once, and the last of a sequence ends its packet."""
    network = SMALLEST["network"] | ({"classes": 0, "hidden": [3]} if of == "state" else {})
    description = small(**SMALLEST | {"network": network, "output": {"of": of, "steps": steps}})
    accelerator = Accelerator(description)
    dut = s.add(block(description, accelerator.o.signature))
    i, o = dut.i, stream(dut, "m")
    s.drive(i.valid, i.payload, o.ready)
    s.claim("what comes, passes", (o.valid == i.valid) & (i.ready == o.ready))
    if of == "state":
        words = ceil_div(3, len(i.payload.codes))
        word = counter(s, taken(o), words, "word")
        s.claim(
            "a byte a code",
            ~o.valid
            | Cat(
                dut.m_axis_tdata.word_select(n, 8).as_signed() == code
                for n, code in enumerate(i.payload.codes)
            ).all(),
        )
        ends = i.payload.last & (word == words - 1)
    else:
        value = i.payload.label if of == "class" else i.payload.score
        s.claim("a word a result", ~o.valid | (dut.m_axis_tdata.as_signed() == value))
        ends = i.payload.last if of == "scores" else Const(1)
    s.claim("the last result of a sequence ends its packet", ~o.valid | (o.payload[-1] == ends))
    s.claim("and is said", dut.done == (taken(o) & ends))
    s.reach("a packet", taken(o) & o.payload[-1])


@spec(
    Control,
    cases={"a tiny RNN": {}},
    mutants={
        "a transaction that does not end": (
            "self.load.valid.eq(1), self.load.payload.last.eq(1)]",
            "self.load.valid.eq(1), self.load.payload.last.eq(0)]",
        ),
        "a write outside of the window": (
            "usable = Mux(in_window, window == Window.OPEN, writable)",
            "usable = Mux(in_window, 1, writable)",
        ),
        "half a word that is written": (
            "(bus.write_address[: index_bits(WORD)] == 0) & bus.write_strobe.all()",
            "(bus.write_address[: index_bits(WORD)] == 0)",
        ),
        "a write that ends before its time": (
            "bus.written.eq(~load_word | self.load.ready)",
            "bus.written.eq(1)",
        ),
        "an image that is good without its check": (
            "loaded.eq(~check_failed), words_came.eq(0)",
            "loaded.eq(1), words_came.eq(0)",
        ),
        "a wrong word that is not noticed": (
            "signature.eq((signature << 1)[:BUS_BITS] ^ fed_back ^ word)",
            "signature.eq((signature << 1)[:BUS_BITS] ^ fed_back ^ address)",
        ),
    },
)
def window(s: Scene, block: type) -> None:
    """The load window is a transaction on the load bus; an access with an error does nothing."""
    dut = s.add(block(small(**SMALLEST)))
    bus, load = dut.bus, dut.load
    s.drive(bus.write, bus.write_address, bus.write_data, bus.write_strobe, bus.read)
    s.drive(bus.read_address, load.ready, dut.busy, dut.counts, dut.events)
    # The slave in front holds a write, which is there a cycle before.
    write = Cat(bus.write_address, bus.write_data, bus.write_strobe)
    s.assume(~bus.write | (write == s.ago(write)), ~bus.write | s.begun)
    s.assume(~s.ago(bus.write & ~bus.written) | bus.write)
    s.assume(~s.ago(bus.write & bus.written) | ~bus.write)
    okay = bus.write_answer == Response.OKAY
    whole = (bus.write_address[:2] == 0) & bus.write_strobe.all()
    in_window, word = bus.write_address[-1], bus.write_address[2:-1]
    inside = (word >= dut.map.load_first) & (word < dut.map.load_end)
    mapped = Mux(in_window, inside, word < len(dut.map.registers))
    open_ = Signal()  # between the transfer that opens a transaction and the one that ends it
    moved = taken(load)
    nowhere = load.payload.address == dut.load_map.nowhere
    with s.m.If(moved):
        s.m.d.sync += open_.eq(~load.payload.last)
    s.claim("an offer stays", s.held(load))
    s.claim(
        "a write to what is not mapped is DECERR",
        ~bus.write | ((bus.write_answer == Response.DECERR) == ~mapped),
    )
    s.claim("half a word is never written", ~bus.write | whole | ~okay)
    s.claim("a write to the window needs it open", ~(bus.write & in_window & okay) | open_)
    own = bus.write & in_window & okay
    s.claim(
        "a word is a transfer, and ends with it",
        ~own
        | (
            load.valid
            & (bus.written == load.ready)
            & (load.payload.address == word)
            & (load.payload.data == bus.write_data)
            & ~load.payload.last
        ),
    )
    s.claim("no other access is a word", own | ~load.valid | nowhere)
    s.claim(
        "a transaction begins with no word", ~load.valid | open_ | (nowhere & ~load.payload.last)
    )
    s.claim("another write ends at once", ~bus.write | own | bus.written)

    # The signature, as docs/integration.md has it, of the words that came.
    registers = {r.name: n for n, r in enumerate(dut.map.registers)}
    asked = Signal()  # the bit of `control` that asks for a window
    (place,) = (
        n for n, f in enumerate(dut.map.registers[registers["control"]].fields) if f.name == "load"
    )
    with s.m.If(bus.write & okay & ~in_window & (word == registers["control"])):
        s.m.d.sync += asked.eq(bus.write_data[place])
    opened = moved & ~open_ & asked
    signature, failed, came = Signal(32), Signal(), Signal()
    check = word == dut.load_map.check
    shifted = Cat(Const(0, 1), signature[:-1]) ^ Mux(signature[-1], 0x04C11DB7, 0)
    address = Signal(32)
    s.m.d.comb += address.eq(word)
    with s.m.If(opened):
        s.m.d.sync += [signature.eq(0xFFFFFFFF), failed.eq(0)]
    with s.m.Elif(own & moved):
        with s.m.If(check):
            s.m.d.sync += failed.eq(failed | (bus.write_data != signature))
        with s.m.Else():
            s.m.d.sync += signature.eq(shifted ^ bus.write_data ^ Cat(address[16:], address[:16]))
    good = Signal()
    with s.m.If(own & moved):
        s.m.d.sync += [good.eq(0), came.eq(1)]
    with s.m.Elif(moved & load.payload.last & came):
        s.m.d.sync += [good.eq(~failed), came.eq(0)]
    number = registers["status"]
    fields = dut.map.registers[number].fields
    asks = bus.read_address == 4 * number
    at = {f.name: sum(g.bits for g in fields[:n]) for n, f in enumerate(fields)}
    said = {"load_open": open_, "busy": dut.busy, "loaded": good, "check_failed": failed}
    for name, value in said.items():
        s.claim(f"{name} is said", ~asks | (bus.read_data[at[name]] == value))
    asks = bus.read_address == 4 * registers["signature"]
    s.claim("the signature is said", ~asks | (bus.read_data == signature))
    s.claim("the window is not read", ~bus.read_address[-1] | (bus.read_data == 0))
    s.reach("a word in a window", own & moved & ~check)
