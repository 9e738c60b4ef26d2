"""Spec of an accelerator's load bus: when it opens, and where its words go."""

from amaranth.hdl import Cat, Mux, Signal

from hw.network import Accelerator
from tests.formal.common import SMALLEST, counter, taken
from tests.formal.engine import Scene
from tests.formal.spec import spec
from tests.helpers import small


@spec(
    Accelerator,
    cases={"a tiny RNN": {}},
    mutants={
        "a word that is written twice": (
            "with m.Elif(ready):\n            m.d.sync += held.eq(0)",
            "with m.Elif(0):\n            m.d.sync += held.eq(0)",
        ),
        "a word that goes to the region before": (
            "m.d.sync += here.eq(region.holds(self.load.payload.address))",
            "m.d.sync += here.eq(region.holds(self.load.payload.address + 1))",
        ),
        "a load in a sequence": ("with m.If(~running & (under_way == 0)):", "with m.If(~running):"),
        "a sequence in a load": (
            "self.i.ready.eq(first.i.ready & open_)",
            "self.i.ready.eq(first.i.ready)",
        ),
        "a load that never opens": (
            "(ends | (between & ~self.i.valid))",
            "(ends & (between & ~self.i.valid))",
        ),
        "a word that is lost while another waits": (
            "loading & (~held | (ready & ~transfer.last))",
            "loading",
        ),
    },
    depths={
        "a tiny RNN": {"busy is said": 80, "no word while a sequence is under way": 40},
    },
)
def load(s: Scene, block: type) -> None:
    """Words are written once, each to its place, and only between sequences."""
    dut = s.add(block(small(**SMALLEST)))
    s.drive(dut.i.valid, dut.i.payload, dut.o.ready, dut.load.valid, dut.load.payload)
    s.assume(s.held(dut.i), s.held(dut.load))
    words, came = dut.load.payload, taken(dut.load)
    beats = dut.layers[0].dac.beats
    beat = counter(s, taken(dut.i), beats, "beat")
    whole = taken(dut.i) & (beat == beats - 1) & dut.i.payload.last
    inside = Signal(5)  # sequences under way
    between = s.sample(taken(dut.i), ~whole) == 0
    s.m.d.sync += inside.eq(inside + whole - taken(dut.o))
    opened = Signal()  # from the first transfer of a transaction to its last one
    s.m.d.sync += opened.eq(Mux(came, ~words.last, opened))
    busy = (inside != 0) | ~between
    s.claim("busy is said", dut.busy == busy)
    s.claim("no word while a sequence is under way", ~came | ~busy)
    s.claim("no vector while words come", ~(opened & taken(dut.i)))
    asks = dut.load.valid & ~dut.i.valid & ~busy
    s.claim("between sequences a load opens at once", s.within(3, asks & ~came & ~s.ago(came)))

    # Where a word goes, a cycle later.
    late = s.ago(Cat(came, words.as_value()))
    was, given = late[0], late[1:]
    data, address = given[: len(words.data)], given[len(words.data) : -1]
    for name, region in dut.load_map.regions.items():
        part, _, port_name = name.rpartition(".")
        port = getattr(dut.blocks[part], port_name)
        here = was & (address >= region.base) & (address < region.base + (1 << region.bits))
        offset = (address - region.base)[: region.bits]
        if port_name in ("cells", "cell_levels"):
            offered = port.valid & ~s.ago(port.valid & ~port.ready)
            s.claim(f"{name}: a cell is offered once", offered == here)
            same = []
            for fields, bits in ((region.fields, offset), (region.data, data)):
                low = 0
                for field, width in fields:
                    same.append(port.payload[field] == bits[low : low + width])
                    low += width
            s.claim(f"{name}: its place and its codes", ~offered | Cat(same).all())
            continue
        s.claim(f"{name}: a word is written once, to its region", port.enable == here)
        s.claim(
            f"{name}: to its place",
            ~here | ((port.address == offset) & (port.data == data[: len(port.data)])),
        )
    s.reach("a load after a sequence", came & s.ago(s.sticky(taken(dut.o))))
