"""Specs of the gate pipelines: what they compute, and when."""

from amaranth.hdl import Cat, Const, Mux, Signal, Value, signed
from amaranth.lib import data

from golden.ranges import ceil_div, index_bits
from hw import timing
from hw.lstm import LstmGates
from hw.rnn import RnnGates
from tests.formal.common import DEEP, NARROW, clamp, counter, taken
from tests.formal.engine import Scene
from tests.formal.spec import spec
from tests.helpers import small


def floor_half(value: Value, shift: int) -> Value:
    """floor((value + 2^(shift - 1)) / 2^shift), as docs/contract.md, 1 has it."""
    return (value + (1 << (shift - 1))) // (1 << shift) if shift else value


@spec(
    RnnGates,
    cases={
        "short, 2 units": {},
        "short, 3 units in 2 lanes, one a beat": {"units": 3, "lanes": 2, "per": 1},
        "short, 1-bit DAC": {"bits": 1},
        "deep, 2 units": {"array": DEEP},
    },
    mutants={
        "a bias of the unit before": (
            "read.addr.eq(s.word),\n            read.en.eq(s.moves),\n        ]\n",
            "read.addr.eq(s.word - 1),\n            read.en.eq(s.moves),\n        ]\n",
        ),
        "codes that are taken in a stall": ("(gate != shape.gates - 1) | ~blocked", "1"),
        "an index that wraps": (
            "gate: [saturate(value, self.shape.index_range) for value in values]",
            "gate: [value[: self.shape.index_bits].as_signed() for value in values]",
        ),
        "h that is not rounded": (
            "half_up(value, description.hidden_shift)",
            "value.shift_right(description.hidden_shift)",
        ),
        "a pipeline that does not stall": (
            "advance.eq(~self.o.valid | self.o.ready)",
            "advance.eq(1)",
        ),
        "the end of the step before": (
            "first.eq(beat.first), last.eq(beat.last)",
            "first.eq(beat.first), last.eq(first)",
        ),
    },
)
def hidden(
    s: Scene, block: type, units: int = 2, lanes: int = 1, per: int = 0, bits: int = 2, **sections
) -> None:
    """h of each unit is the table's entry for its code and bias, rounded; one unit is looked at.

    Its index, of any value, and the entry there are tracked, so that no more than one word of the
    table and of the biases counts.
    """
    sections["array"] = {"lanes": lanes, "units_per_beat": per} | sections.get("array", {})
    description = small(
        network={"inputs": 1, "hidden": [units], "classes": 2},
        **NARROW | {"dac": {"bits": bits}} | sections,
    )
    shape = description.layers[0]
    count = timing.units_per_beat(shape)
    dut = s.add(block(shape))
    s.drive(dut.i.valid, dut.i.payload, dut.o.ready, dut.bias, dut.gate_tables)
    beats, words = ceil_div(units, lanes), ceil_div(units, count)
    number = counter(s, taken(dut.i), beats, "number")
    word = counter(s, taken(dut.o), words, "word")
    unit = s.constant(range(units), "unit")
    s.assume(unit < units)
    loads = dut.bias.enable | dut.gate_tables.enable
    s.assume(~loads | ~s.sticky(dut.i.valid))

    place, own_word = (unit % count, unit // count) if count > 1 else (Const(0), unit)
    bias = Signal(shape.index_bits)
    word_bits = index_bits(words)
    address = own_word + (place << word_bits) if count > 1 else own_word
    with s.m.If(dut.bias.enable & (dut.bias.address == address)):
        s.m.d.sync += bias.eq(dut.bias.data)
    index = s.constant(shape.index_bits, "index")
    entry = Signal(description.cell.table_bits)
    with s.m.If(dut.gate_tables.enable & (dut.gate_tables.address == index)):
        s.m.d.sync += entry.eq(dut.gate_tables.data)

    # What is under way: the codes of the unit, and the flag of its step.
    beat = dut.i.payload
    code = Cat(c for c in beat.codes).word_select(unit % lanes if lanes > 1 else 0, shape.code_bits)
    now = taken(dut.i) & (number == (unit // lanes if lanes > 1 else unit))
    expected = s.queue(shape.code_bits + 1, 6)
    out = dut.o.payload
    at = dut.o.valid & (word == own_word)
    expected.move(now, Cat(code, beat.last), at & dut.o.ready)
    own = expected.first[: shape.code_bits].as_signed()
    a = (own << description.cell.frac) + bias.as_signed()
    a = clamp(a, *shape.index_range)
    p = entry.as_signed()
    if bits == 1:
        h = Mux(p >= 0, 1, -1)
    else:
        h = clamp(floor_half(p, description.hidden_shift), *description.dac.range)
    known = (a & (2**shape.index_bits - 1)) == index
    width = description.dac.width
    given = Cat(out.codes).word_select(place, width) if count > 1 else Cat(out.codes)[:width]
    s.claim("no unit comes twice, none from nothing", ~(at & (expected.count == 0)))
    s.claim("what is under way is bounded", ~expected.overflows)
    s.claim(
        "h is the entry for its code and bias, rounded", ~at | ~known | (given.as_signed() == h)
    )
    s.claim("with the flag of its step", ~at | (out.last == expected.first[-1]))
    s.claim("an offer stays", s.held(dut.o))
    # Without a stall, the last block of a step is a step's latency away.
    ready = Signal(range(64), init=63)
    s.m.d.sync += ready.eq(Mux(dut.o.ready, Mux(ready == 63, 63, ready + 1), 0))
    s.claim(
        "h comes at its latency, if nothing stalls",
        ~s.ago(taken(dut.i), dut.latency) | (ready < dut.latency + 20) | dut.o.valid,
    )
    s.claim(
        "codes do not wait for ever",
        s.within(dut.latency + lanes + 2, dut.o.ready & dut.i.valid & ~dut.i.ready),
    )
    s.reach(
        "a second step, after a stall",
        at & dut.o.ready & s.ago(at & ~dut.o.ready) & s.ago(s.sticky(at & dut.o.ready)) & known,
    )


@spec(
    LstmGates,
    cases={
        "short, 1 unit": {},
        "short, 2 units": {"units": 2},
        "deep, 1 unit": {"array": DEEP},
    },
    mutants={
        "c that is not kept": ("c_write.en.eq(s.moves)]", "c_write.en.eq(s.moves & s.last)]"),
        "c of the sequence before": ("Mux(s.first, 0, c_read[n])", "c_read[n]"),
        "a gate in the place of another": (
            'o = pipe.net("o", [s.entry["o"]',
            'o = pipe.net("o", [s.entry["f"]',
        ),
        "c that is not rounded": (
            "half_up(value, cell.gate_bits)",
            "value.shift_right(cell.gate_bits)",
        ),
        "an index of tanh that is not rounded": (
            "half_up(c, cell.state_index_shift)",
            "c.shift_right(cell.state_index_shift)",
        ),
    },
    depths={
        "short, 1 unit": {"c is f * c + i * g, rounded": 25, "h is o * tanh(c), rounded": 28},
        "short, 2 units": {
            "c is f * c + i * g, rounded": 20,
            "h is o * tanh(c), rounded": 20,
            "with the flag of its step": 36,
        },
        "deep, 1 unit": {
            "c is f * c + i * g, rounded": 20,
            "h is o * tanh(c), rounded": 24,
            "no unit comes twice, none from nothing": 40,
            "what is under way is bounded": 40,
            "with the flag of its step": 40,
        },
    },
)
def states(s: Scene, block: type, units: int = 1, **sections) -> None:
    """c and h of each unit are as docs/contract.md, 6 and 7 have them; one unit is looked at.

    Of each table the word at one index, of any value, is tracked: what uses other words is known
    to come, but not what it is.
    """
    cell = {"frac": 1, "state_index_bits": 4, "gate_bits": 4, "state_bits": 6, "hidden_bits": 4}
    sections["array"] = {"lanes": 1} | sections.get("array", {})
    description = small(
        network={"inputs": 1, "hidden": [units], "classes": 2},
        **NARROW | {"cell": cell} | sections,
    )
    shape, cell = description.layers[0], description.cell
    dut = s.add(block(shape))
    s.drive(dut.i.valid, dut.i.payload, dut.o.ready, dut.bias, dut.gate_tables, dut.tanh_table)
    gate = counter(s, taken(dut.i), 4, "gate")
    number = counter(s, taken(dut.i) & (gate == 3), units, "number")
    word = counter(s, taken(dut.o), units, "word")
    unit = s.constant(range(units), "unit")
    loads = dut.bias.enable | dut.gate_tables.enable | dut.tanh_table.enable
    # A word of each gate's table can be written in the first four cycles; the rest does not count.
    loaded = s.ago(Const(1, 1), 4)
    s.assume(~loads | ~loaded, ~dut.i.valid | loaded)
    beat, out = dut.i.payload, dut.o.payload
    # The beats of a step agree on where it is in its sequence; after a last one comes a first one.
    begins = (gate == 0) & (number == 0)
    flags = Cat(beat.first, beat.last)
    s.assume(~dut.i.valid | begins | (flags == s.sample(taken(dut.i), flags)))
    follows = s.sample(taken(dut.i), ~beat.last)
    s.assume(~dut.i.valid | ~begins | (beat.first == ~follows))

    # h of a step is accepted before the next one starts.
    steps_in = taken(dut.i) & (gate == 3) & (number == units - 1)
    steps_out = taken(dut.o) & (word == units - 1)
    ahead = Signal(2)
    s.m.d.sync += ahead.eq(ahead + steps_in - steps_out)
    s.assume(~dut.i.valid | ~begins | beat.first | (ahead == 0))

    entries, known, bits = {}, Const(1, 1), shape.index_bits
    word_bits = index_bits(units)
    biases = [Signal(signed(bits), name=f"bias_{n}") for n in range(4)]
    for n, name in enumerate(cell.gates):
        with s.m.If(dut.bias.enable & (dut.bias.address == (unit | n << word_bits))):
            s.m.d.sync += biases[n].eq(dut.bias.data)
        index = s.constant(bits, f"index_{name}")
        entries[name] = index, Signal(cell.table_bits, name=f"entry_{name}")
        with s.m.If(dut.gate_tables.enable & (dut.gate_tables.address == Cat(index, Const(n, 2)))):
            s.m.d.sync += entries[name][1].eq(dut.gate_tables.data)
    tanh_index = s.constant(cell.state_index_bits, "tanh_index")
    tanh = Signal(signed(cell.hidden_bits), name="tanh_entry")
    with s.m.If(dut.tanh_table.enable & (dut.tanh_table.address == tanh_index)):
        s.m.d.sync += tanh.eq(dut.tanh_table.data)

    # What a step makes of its codes, as the last of them comes.
    mine = taken(dut.i) & (number == unit)
    codes = [s.sample(mine & (gate == n), beat.codes[0]).as_signed() for n in range(3)]
    value, known_of = {}, {}
    for n, (name, code) in enumerate(zip(cell.gates, [*codes, beat.codes[0]], strict=True)):
        a = clamp((code << cell.frac) + biases[n], *shape.index_range)
        index, entry = entries[name]
        known_of[name] = (a & (2**bits - 1)) == index
        known &= known_of[name] if name != "o" else 1
        value[name] = entry.as_signed() if name == "g" else entry[: cell.gate_bits]
    c, c_known = Signal(signed(cell.state_bits)), Signal()
    before = Mux(beat.first, 0, c)
    c_next = clamp(
        floor_half(value["f"] * before + value["i"] * value["g"], cell.gate_bits), *cell.state_range
    )
    now_known = known & (beat.first | c_known)
    whole = mine & (gate == 3)
    with s.m.If(whole):
        s.m.d.sync += [c.eq(c_next), c_known.eq(now_known)]
    expected = s.queue(
        data.StructLayout(
            {"c": c.shape(), "known": 1, "o": cell.gate_bits, "o_known": 1, "last": 1}
        ),
        dut.latency + 3,
    )
    at = dut.o.valid & (word == unit)
    o_known = known_of["o"]
    expected.move(
        whole,
        Cat(c_next[: cell.state_bits], now_known, value["o"], o_known, beat.last),
        at & dut.o.ready,
    )
    own = expected.first
    traced = dut.trace.c[0]
    u = clamp(floor_half(traced, cell.state_index_shift), *cell.state_index_range)
    h = clamp(floor_half(own.o * tanh, description.hidden_shift), *description.dac.range)
    h_known = own.o_known & ((u & (2**cell.state_index_bits - 1)) == tanh_index)

    s.claim("no unit comes twice, none from nothing", ~(at & (expected.count == 0)))
    s.claim("what is under way is bounded", ~expected.overflows)
    s.claim("c is f * c + i * g, rounded", ~at | ~own.known | (traced == own.c))
    s.claim("h is o * tanh(c), rounded", ~at | ~h_known | (out.codes[0] == h))
    s.claim("with the flag of its step", ~at | (out.last == own.last))
    s.claim("an offer stays", s.held(dut.o))
    s.claim(
        "codes do not wait for ever",
        s.within(dut.latency + 6, dut.o.ready & dut.i.valid & ~dut.i.ready),
    )
    s.reach(
        "a second step whose h is known",
        at
        & dut.o.ready
        & h_known
        & own.known
        & s.sticky(taken(dut.i) & ~beat.first & (gate == 3))
        & (c != 0),
    )
