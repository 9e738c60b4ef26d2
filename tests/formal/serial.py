"""Specs of the serial line and of the bridge behind it."""

from amaranth.hdl import Cat, Const, Mux, Signal

from hw.bus.axi import Response
from hw.bus.serial import Bridge, Command, Receiver, Sender
from hw.bus.system import System
from tests.formal.bus import channel, stream
from tests.formal.common import SMALLEST, taken
from tests.formal.engine import Scene
from tests.formal.spec import spec
from tests.helpers import small

BIT = 3


@spec(
    Sender,
    cases={"3 cycles a bit": {}},
    mutants={
        "a bit that is left out": ("left.eq(10)]", "left.eq(8)]"),
        "a stop bit that is 0": (
            "Cat(Const(0, 1), self.i.payload, Const(1, 1))",
            "Cat(Const(0, 1), self.i.payload, Const(0, 1))",
        ),
        "a byte that is taken too soon": (
            "self.i.ready.eq((left == 0) & ~taken)",
            "self.i.ready.eq((left <= 3) & ~taken)",
        ),
    },
)
def sent(s: Scene, block: type) -> None:
    """A byte is a start bit, eight bits and a stop bit on the line, which else is high."""
    dut = s.add(block(BIT))
    s.drive(dut.i.valid, dut.i.payload)
    s.assume(s.held(dut.i))
    moves, long = taken(dut.i), 10 * BIT
    at = Signal(range(long + 1), init=long)  # the cycle of the byte on the line, or `long`
    s.m.d.sync += at.eq(Mux(moves, 0, Mux(at == long, long, at + 1)))
    bits = Cat(Const(0, 1), s.sample(moves, dut.i.payload), Const(1, 1))
    line = Cat(Cat(bits[n // BIT] for n in range(long)), Const(1, 1))
    s.claim("the line has the bits of the byte", dut.line == line.bit_select(at, 1))
    s.claim("a byte is taken when the one before is over", ~moves | (at >= long - 1))
    s.claim("a byte is taken every ten bits", s.within(long + 2, dut.i.valid & ~dut.i.ready))
    s.reach("a byte after another", moves & s.ago(s.sticky(moves)))


@spec(
    Receiver,
    cases={"3 cycles a bit": {}},
    mutants={
        "a bit of the byte before": ("self.byte.eq(bits[1:])", "self.byte.eq(bits[:8])"),
        "bits that are sampled late": (
            "wait.eq(self.bit_cycles // 2 - 1)",
            "wait.eq(self.bit_cycles - 1)",
        ),
        "a byte whose start is missed": (
            "was_high.eq(0), left.eq(10)",
            "was_high.eq(0), left.eq(9)",
        ),
    },
)
def received(s: Scene, block: type) -> None:
    """Every byte that a sender sends is received, once, unchanged and in order."""
    out, back = s.add(Sender(BIT), "sender"), s.add(block(BIT), "receiver")
    s.m.d.comb += back.line.eq(out.line)
    s.drive(out.i.valid, out.i.payload)
    s.assume(s.held(out.i))
    under_way = s.queue(8, 2)
    under_way.move(taken(out.i), out.i.payload, back.valid)
    s.claim("no byte from nothing, or twice", ~(back.valid & (under_way.count == 0)))
    s.claim("no byte is lost", ~under_way.overflows)
    s.claim("a byte is unchanged", ~back.valid | (back.byte == under_way.first))
    s.claim("no break", ~back.broken)
    s.claim(
        "a byte comes within its time", s.within(10 * BIT + 4, (under_way.count != 0) & ~back.valid)
    )
    s.reach(
        "two different bytes",
        back.valid & s.ago(s.sticky(back.valid & (back.byte == 0x5A))) & (back.byte == 0xA5),
    )


@spec(
    Receiver,
    cases={"3 cycles a bit": {}},
    mutants={
        "a byte without a stop bit": ("self.valid.eq(ended & bits[-1])", "self.valid.eq(ended)"),
        "a break after each 0": (
            "self.broken.eq(ended & ~bits.any())",
            "self.broken.eq(ended & ~bits[1:-1].any())",
        ),
        "a byte out of a pulse": (
            "with m.If((left == 10) & line):",
            "with m.If((left == 10) & line & ~line):",
        ),
    },
)
def any_line(s: Scene, block: type) -> None:
    """Whatever the line does, bytes are a byte's time apart, and follow a start bit."""
    dut = s.add(block(BIT))
    s.drive(dut.line)
    s.claim(
        "bytes are at least nine and a half bits apart",
        s.apart(dut.valid | dut.broken, 9 * BIT + BIT // 2),
    )
    s.claim("a byte has a stop bit, a break has none", ~(dut.valid & dut.broken))
    # The middle of a bit is so many cycles before the byte: the line through two registers.
    middle = [s.ago(dut.line, 2 + 2 + BIT * (9 - n) - 1) for n in range(10)]
    start, *bits, stop = middle
    s.claim("a byte is what the line was", ~dut.valid | ((dut.byte == Cat(bits)) & ~start & stop))
    s.claim("a break is a line that was low", ~dut.broken | ~Cat(middle).any())
    s.reach("a byte and a break", dut.broken & s.ago(s.sticky(dut.valid)))


@spec(
    Bridge,
    cases={"a tiny RNN": {}},
    mutants={
        "a word that is written twice": (
            "with m.If(valid & ready):\n                m.d.sync += valid.eq(0)",
            "with m.If(valid & ready & (left == 7)):\n                m.d.sync += valid.eq(0)",
        ),
        "an answer of a byte too few": (
            "say(response, self.s_axil_rdata, size=1 + WORD)",
            "say(response, self.s_axil_rdata, size=WORD)",
        ),
        "an address beyond the bus": ("with m.If(written_beyond):", "with m.If(0):"),
        "a beat over the one before": ("with m.If(~self.s_axis_tvalid):", "with m.If(1):"),
        "a byte that is taken twice": (
            "there.eq(self.i.valid & ~self.i.ready & ~take)",
            "there.eq(self.i.valid & ~take)",
        ),
        "a deadlock after one kind of command": (
            "with m.If(~more), m.Switch(command):",
            "with m.If(~more & (command != Command.TAKE)), m.Switch(command):",
        ),
    },
)
def commands(s: Scene, block: type) -> None:
    """Each command is done once and answered once, and the AXI port keeps AXI's rules."""
    dut = s.add(block(System(small(**SMALLEST)).signature))
    channels = {name: channel(dut, name) for name in ("aw", "w", "b", "ar", "r")}
    to, back = stream(dut, "s"), stream(dut, "m")
    s.drive(dut.i.valid, dut.i.payload, dut.o.ready, to.ready, back.valid)
    s.drive(
        *(channels[name].ready for name in ("aw", "w", "ar")),
        channels["b"].valid,
        channels["r"].valid,
    )
    s.drive(
        dut.s_axil_bresp, dut.s_axil_rdata, dut.s_axil_rresp, dut.m_axis_tdata, dut.m_axis_tlast
    )
    s.assume(*(s.held(c) for c in (dut.i, channels["b"], channels["r"], back)))
    for name in ("aw", "w", "ar"):
        s.claim(f"{name} keeps what it offers", s.held(channels[name]))
    s.claim("the stream keeps what it offers", s.held(to))
    s.claim("an offer stays", s.held(dut.o))
    moves = {name: taken(c) for name, c in channels.items()}

    # An answer needs what it answers.
    owed = {name: Signal(2, name=f"owed_{name}") for name in ("aw", "w", "ar")}
    for name, ends in (("aw", moves["b"]), ("w", moves["b"]), ("ar", moves["r"])):
        s.m.d.sync += owed[name].eq(owed[name] + moves[name] - ends)
        s.claim(f"{name}: at most one under way", owed[name] <= 1)
    s.assume(
        ~channels["b"].valid | ((owed["aw"] != 0) & (owed["w"] != 0)),
        ~channels["r"].valid | (owed["ar"] != 0),
    )

    # Commands, as docs/integration.md has them.
    beat, result = len(dut.s_axis_tdata) // 8, len(dut.m_axis_tdata) // 8
    sizes = {Command.WRITE: 8, Command.READ: 4, Command.PUT: 1 + beat, Command.TAKE: 0}
    left, command, given = Signal(range(9)), Signal(8), Signal(64)
    comes, byte = taken(dut.i), dut.i.payload
    begins = comes & (left == 0)
    size = Signal(range(9))
    known = Signal()
    for code, count in sizes.items():
        with s.m.If(byte == code):
            s.m.d.comb += [size.eq(count), known.eq(1)]
    whole = Signal()
    s.m.d.comb += whole.eq(comes & Mux(left == 0, known & (size == 0), left == 1))
    with s.m.If(begins):
        s.m.d.sync += [left.eq(size), command.eq(byte)]
    with s.m.Elif(comes):
        s.m.d.sync += [left.eq(left - 1), given.eq(Cat(given[8:], byte))]
    pending = Signal(2)
    said = Signal(range(8))  # bytes of the answer so far
    says = taken(dut.o)
    is_read, is_take = command == Command.READ, command == Command.TAKE
    taken_one = Signal()
    length = Mux(
        is_read, 5, Mux(is_take, Mux(Mux(said == 0, dut.o.payload[0], taken_one), 1 + result, 1), 1)
    )
    ends = says & (said + 1 == length)
    s.m.d.sync += pending.eq(pending + whole - ends)
    with s.m.If(says):
        s.m.d.sync += said.eq(Mux(ends, 0, said + 1))
        with s.m.If(said == 0):
            s.m.d.sync += taken_one.eq(dut.o.payload[0])
    s.claim("one command at a time", (pending <= 1) & ~(comes & (pending == 1)))
    s.claim("an answer has its command, and no byte too many", ~dut.o.valid | (pending == 1))
    address, word = given[:32], given[32:]
    beyond = 32 - len(dut.s_axil_awaddr)
    writes, reads = channels["aw"].valid, channels["ar"].valid
    s.claim(
        "a write is that of its command",
        ~writes
        | (
            (command == Command.WRITE)
            & (dut.s_axil_awaddr == address[: 32 - beyond])
            & ~address[32 - beyond :].any()
        ),
    )
    s.claim(
        "with its word",
        ~channels["w"].valid | ((command == Command.WRITE) & (dut.s_axil_wdata == word)),
    )
    read_address = given[32:]
    s.claim(
        "a read is that of its command",
        ~reads
        | (
            (command == Command.READ)
            & (dut.s_axil_araddr == read_address[: 32 - beyond])
            & ~read_address[32 - beyond :].any()
        ),
    )
    s.claim("a write is done once", s.once(moves["aw"], begins) & s.once(moves["w"], begins))
    s.claim("a read is done once", s.once(moves["ar"], begins))
    s.claim("a transfer is taken once", s.once(taken(back), begins))
    first = dut.o.valid & (said == 0)
    response = Mux(moves["b"], dut.s_axil_bresp, dut.s_axil_rresp)
    answered = s.last(moves["b"] | moves["r"], response)
    within_bus = ~Mux(is_read, read_address, address)[32 - beyond :].any()
    is_access = (command == Command.WRITE) | is_read
    written = s.last(begins | moves["b"], ~begins)
    was_read = s.last(begins | moves["r"], ~begins)
    done = Mux(is_read, was_read, written)
    s.claim("an access is done before its answer", ~first | ~is_access | ~within_bus | done)
    s.claim(
        "an access is answered with its response",
        ~first | ~is_access | (dut.o.payload == Mux(within_bus, answered, Response.DECERR)),
    )
    data = s.last(moves["r"], dut.s_axil_rdata)
    for n in range(4):
        s.claim(
            f"byte {n} of a read",
            ~dut.o.valid
            | ~is_read
            | (said != 1 + n)
            | (dut.o.payload == Mux(within_bus, data[8 * n : 8 * n + 8], 0)),
        )
    offers = to.valid & ~s.ago(to.valid & ~to.ready)
    s.claim("a beat is put once", s.once(offers, begins))
    s.claim(
        "a beat is that of its command",
        ~offers
        | (
            (command == Command.PUT)
            & (dut.s_axis_tdata == given[64 - 8 * beat :])
            & (dut.s_axis_tlast == given[64 - 8 * beat - 8])
        ),
    )
    quick = dut.o.ready & (channels["aw"].ready & channels["w"].ready & channels["ar"].ready)
    quick &= (owed["aw"] == 0) | channels["b"].valid
    quick &= (owed["ar"] == 0) | channels["r"].valid
    s.claim("a command does not wait for ever", s.within(20, (pending == 1) & quick & ~says))
    s.claim(
        "nor does a byte", s.within(24, dut.i.valid & ~dut.i.ready & quick & ~says & (pending == 0))
    )
    s.reach("a read after a write", says & is_read & s.ago(s.sticky(moves["b"])))
