"""Specs of what stands around an array: the sequencer, the row drivers, the readout, the gates."""

from amaranth.hdl import Cat, Const, Mux, Signal, signed

from golden.ranges import ceil_div
from hw import timing
from hw.adc import Readout
from hw.dac import DacSequencer, RowDrivers
from tests.formal.common import DEEP, NARROW, counter, taken
from tests.formal.engine import Scene
from tests.formal.spec import spec
from tests.helpers import small


@spec(
    DacSequencer,
    cases={
        "short, 2 inputs, 2 units": {},
        "deep, 2 inputs, 2 units": {"array": DEEP},
        "short, 3 inputs in beats of 2, 3 units in beats of 2": {
            "inputs": 3,
            "beat": 2,
            "units": 3,
            "per": 2,
        },
        "a head's, 2 inputs": {"units": 0},
    },
    mutants={
        "h of the step before": ("self.feedback[n - begin]) for n", "h[n]) for n"),
        "a step does not wait for h": ("x_full & (first | h_there) &", "x_full &"),
        "a first step that has h": (
            "                with m.If(first):\n                    zero",
            "                with m.If(0):\n                    zero",
        ),
        "a beat is lost while a step is held": (
            "m.d.comb += self.i.ready.eq(~x_full)",
            "m.d.comb += self.i.ready.eq(1)",
        ),
        "a step that is doubled": (
            "self.o.valid.eq(1), x_full.eq(0), first",
            "self.o.valid.eq(1), first",
        ),
        "a step that waits for ever": (
            "h_there, begin = h_full | h_done",
            "h_there, begin = h_done",
        ),
    },
)
def steps_on_the_rows(
    s: Scene, block: type, inputs: int = 2, beat: int = 1, units: int = 2, per: int = 1, **sections
) -> None:
    """Each x comes once and in order, with the h of the step before it, when both are there."""
    description = small(
        network={"inputs": inputs, "hidden": [max(1, units)], "classes": 2}, **NARROW | sections
    )
    dut = s.add(
        block(inputs=inputs, beat=beat, units=units, units_per_beat=per, description=description)
    )
    s.drive(dut.i.valid, dut.i.payload, dut.o.ready)
    beats = ceil_div(inputs, beat)
    number = counter(s, taken(dut.i), beats, "number")
    whole = taken(dut.i) & (number == beats - 1)

    # Any one code of x is looked at, any one of h.
    row = s.constant(range(inputs), "row")
    s.assume(row < inputs)
    width = description.dac.width
    now = Cat(*([dut.i.payload.codes[n % beat] for n in range(inputs)])).word_select(row, width)
    here = number == (row // beat if beat > 1 else row)
    x = Mux(here, now, s.sample(taken(dut.i) & here, now))
    expected = s.queue(width + 1, 3)
    out = dut.o.payload
    leaves = taken(dut.o)
    expected.move(whole, Cat(x, dut.i.payload.last), leaves)
    s.claim("no step comes from nothing, or twice", ~(dut.o.valid & (expected.count == 0)))
    s.claim("at most two steps are under way", (expected.count < 3) & ~expected.overflows)
    at = Cat(out.rows[n] for n in range(inputs)).word_select(row, width)
    s.claim("the rows have x of their step", ~dut.o.valid | (at == expected.first[:width]))
    s.claim("last is that of x", ~dut.o.valid | (out.last == expected.first[width]))
    first = s.sample(leaves, ~out.last) == 0  # before any step, 0
    s.claim("first is that after the last", ~dut.o.valid | (out.first == first))
    s.claim("an offer stays", s.held(dut.o))
    idle = expected.count == 0
    if not units:
        s.claim("a step comes at its latency", ~s.ago(idle & whole, dut.latency) | dut.o.valid)
        s.claim(
            "x waits for nothing but the rows", s.within(dut.latency, dut.o.ready & ~dut.i.ready)
        )
        s.reach("two steps, one after the other", leaves & s.ago(leaves, beats + 1))
        return

    s.drive(dut.feed, dut.feedback)
    h_beats = ceil_div(units, per)
    owed = Signal(
        range(h_beats + 1)
    )  # beats of h that the step on the rows, or the one before, brings
    comes = dut.o.valid & ~s.ago(dut.o.valid & ~dut.o.ready)
    with s.m.If(comes & ~out.last):
        s.m.d.sync += owed.eq(h_beats - dut.feed)
    with s.m.Elif(dut.feed):
        s.m.d.sync += owed.eq(owed - 1)
    s.assume(~dut.feed | (owed != 0) | (comes & ~out.last))
    # The last h comes after the step has been converted.
    s.assume(~dut.feed | (owed > 1) | ~dut.o.valid)
    unit = s.constant(range(units), "unit")
    s.assume(unit < units)
    fed = counter(s, dut.feed, h_beats, "fed")
    mine = dut.feed & (fed == (unit // per if per > 1 else unit))
    back = Cat(dut.feedback[n % per] for n in range(units)).word_select(unit, width)
    h = s.sample(mine, back)
    on_rows = Cat(out.rows[inputs + n] for n in range(units)).word_select(unit, width)
    zero = Const(description.dac.zero, signed(width)).as_unsigned()
    s.claim("the first step has h of 0", ~(dut.o.valid & out.first) | (on_rows == zero))
    s.claim("another has the h that was fed back", ~(comes & ~out.first) | (on_rows == h))
    s.claim(
        "and no step comes before it is whole",
        ~(comes & ~out.first) | (s.ago(owed) == 0) | (s.ago(dut.feed & (owed == 1))),
    )
    late = timing.feedback_latency(description)
    waits = (expected.count != 0) & ~dut.o.valid & (owed == 0)
    s.claim(
        "a step comes at its latency, once x and h are there",
        s.within(max(dut.latency, late) - 1, waits & ~dut.feed),
    )
    fed_whole = s.ago(dut.feed & (owed == 1), late)
    x_there = s.ago((expected.count != 0) & ~dut.o.valid, dut.latency - 1)
    s.claim("h is on the rows at its latency", ~(fed_whole & x_there) | dut.o.valid)
    s.reach(
        "a second step of a sequence", leaves & ~out.first & s.ago(s.sticky(leaves & ~out.first))
    )


@spec(
    RowDrivers,
    cases={
        "pulses, 3 bits": {"kind": "pulse-width"},
        "bit by bit, 3 bits": {"kind": "bit-serial"},
        "levels, 3 bits": {"kind": "level"},
    },
    mutants={
        "a pulse that is a cycle too long": ("size >= count", "size + 1 >= count"),
        "a pulse that does not end": ("(count != 0) & (size", "(size"),
        "the lowest bit first": (
            "for n in reversed(range(dac.planes))",
            "for n in range(dac.planes)",
        ),
        "a sign that is lost": ("sign = Mux(code < 0, -1, 1)", "sign = Mux(code < 0, 1, 1)"),
    },
    fault_in={"the lowest bit first": "bit by bit, 3 bits"},
)
def drive(s: Scene, block: type, kind: str) -> None:
    """A row has its code, its code's magnitude in pulses, or one bit of it, as the DAC says."""
    description = small(network={"inputs": 1, "hidden": [1]}, dac={"bits": 3, "kind": kind})
    dac = description.dac
    dut = s.add(block(1, description))
    s.drive(dut.codes, dut.sample)
    code, row = dut.codes[0], dut.rows[0]
    s.assume(code >= dac.range.low)
    if kind == "level":
        s.claim("the row has its code", row == code)
        return
    magnitude, sign = Mux(code < 0, -code, code), Mux(code == 0, 0, Mux(code < 0, -1, 1))
    if kind == "bit-serial":
        s.drive(dut.plane)
        s.assume(dut.plane < dac.planes)
        weight = (dac.planes - 1 - dut.plane)[: len(dut.plane)]
        s.claim("the row has one bit of its code", row == Mux((magnitude >> weight)[0], sign, 0))
        return
    # A code is stable for as long as its pulse can be; samples are at least as far apart.
    longest = dac.pulse_cycles
    running = s.ago(dut.sample)
    for n in range(2, longest + 1):
        running |= s.ago(dut.sample, n)
    s.assume(~running | ~dut.sample, ~running | (code == s.ago(code)))
    for n in range(1, longest + 1):
        on = Mux(magnitude >= n, sign, 0)
        s.claim(f"cycle {n} of a pulse", ~s.ago(dut.sample, n) | (row == on))
    s.claim("nothing between pulses", running | (row == 0))
    s.reach("a whole pulse", s.ago(dut.sample, longest) & (row == -1))


@spec(
    Readout,
    cases={
        "SAR, 2 bits": {},
        "SAR, 3 bits, 2 lanes": {"bits": 3, "lanes": 2},
        "flash, 2 bits": {"kind": "flash"},
        "ramp, 2 bits": {"kind": "ramp"},
        "SAR, bits of the DAC one after the other": {"dac": {"bits": 3, "kind": "bit-serial"}},
        "SAR, 2 row tiles": {"array": {"rows": 2}},
        "SAR, deep": {"array": DEEP},
    },
    mutants={
        "a sample without room": ("(timer == 0) & (~begins | (room != 0))", "(timer == 0)"),
        "rows that change before the sample is held": (
            "self.i.ready.eq(last_taken[-1])",
            "self.i.ready.eq(self.sample & final)",
        ),
        "a bit that is not tried": (
            "Mux(start, 1 << (bits - 1), bit >> 1)",
            "Mux(start, 1 << (bits - 2), bit >> 1)",
        ),
        "a bit that is always kept": (
            "Mux(self.above[tile][lane], trial, found)",
            "Mux(1, trial, found)",
        ),
        "a column that is left out": (
            "Mux(final, 0, self.select + 1)",
            "Mux(final, 0, self.select + 2)",
        ),
        "a ramp that ends early": (
            "return busy & ramp.all(), codes",
            "return busy & ramp[-1], codes",
        ),
        "a plane of the column before": ("Mux(begins, 0, before << 1)", "(before << 1)"),
        "the wrong flags": (
            "return done, beat.as_value()",
            "m.d.comb += beat.first.eq(last)\n            return done, beat.as_value()",
        ),
    },
    fault_in={
        "a ramp that ends early": "ramp, 2 bits",
        "a plane of the column before": "SAR, bits of the DAC one after the other",
    },
)
def conversions(
    s: Scene, block: type, kind: str = "sar", bits: int = 2, lanes: int = 1, **sections
) -> None:
    """Each column of a step is sampled once, and comes with the code that its sample has.

    The macro is modelled by what docs/macro.md says of it: `settle` cycles after a sample its
    comparator says whether the sample, here any code, is as large as the trial.
    """
    adc = {"bits": bits, "kind": kind}
    array = {"lanes": lanes, "settle": 3} | sections.pop("array", {})
    description = small(
        network={"inputs": 1, "hidden": [2], "classes": 2},
        **NARROW | sections | {"adc": adc, "array": array},
    )
    shape = description.layers[0]
    dut = s.add(block(shape))
    s.drive(dut.i.valid, dut.i.payload, dut.o.ready, dut.gains)
    s.assume(s.held(dut.i))
    settle, tiles = timing.settle(shape), len(shape.row_tiles)
    lane = s.constant(range(lanes), "lane")
    s.assume(lane < lanes)

    since = Signal(range(settle + 1), init=settle)  # cycles since the last sample, at most settle
    s.m.d.sync += since.eq(Mux(dut.sample, 1, Mux(since == settle, settle, since + 1)))

    # Samples: of one lane, in all row tiles.
    samples = []
    for tile in range(tiles):
        sample = s.free(signed(bits), f"sample_{tile}")
        now = Signal(signed(bits), name=f"held_{tile}")
        # The next sample comes when this one has settled, not before.
        with s.m.If(since == settle - 1):
            s.m.d.sync += now.eq(s.sample(dut.sample, sample))
        samples.append(sample)
        for n in range(lanes):
            if kind == "flash":
                low = description.adc.range.low
                above = Cat(now > low + k for k in range(len(dut.above[tile][n])))
            else:
                above = now >= dut.trial[tile][n]
            other = s.free(len(dut.above[tile][n]), f"above_{tile}_{n}")
            s.m.d.comb += dut.above[tile][n].eq(Mux(lane == n, above, other))

    planes = description.dac.planes
    plane = counter(s, dut.sample, planes, "plane")
    column = counter(s, dut.sample & (plane == planes - 1), shape.selects, "column")
    step = dut.i.payload
    total = samples[0] if tiles == 1 else samples[0] + samples[1]
    sum_ = Signal(signed(shape.code_bits))
    s.m.d.comb += sum_.eq(Mux(plane == 0, 0, s.sample(dut.sample, sum_).as_signed() << 1) + total)
    expected = s.queue(shape.code_bits + 2, dut.depth + 1)
    whole = dut.sample & (plane == planes - 1)
    out = dut.o.payload
    expected.move(whole, Cat(sum_, step.first, step.last), taken(dut.o))
    code = out.codes[0] if lanes == 1 else Mux(lane == 0, out.codes[0], out.codes[1])

    s.claim("a sample needs a step on the rows", ~dut.sample | dut.i.valid)
    s.claim("columns are sampled in order, each once", ~dut.sample | (dut.select == column))
    if planes > 1:
        s.claim("each with its planes in order", ~dut.sample | (dut.plane == plane))
    s.claim("a sample has the time that it needs", s.apart(dut.sample, timing.period(shape)))
    final = (plane == planes - 1) & (column == shape.selects - 1)
    done = (since == settle - 1) & s.sample(dut.sample, final)
    s.claim("the rows are free once the last sample is held", dut.i.ready == done)
    s.claim("no code comes from nothing, or twice", ~(dut.o.valid & (expected.count == 0)))
    s.claim("no code is lost", ~expected.overflows & (expected.count <= dut.depth))
    s.claim(
        "a code is that of its sample",
        ~dut.o.valid | (code.as_unsigned() == expected.first[: shape.code_bits]),
    )
    s.claim(
        "with the flags of its step",
        ~dut.o.valid | (Cat(out.first, out.last) == expected.first[shape.code_bits :]),
    )
    s.claim("a code comes at its latency", ~s.ago(whole, dut.latency) | dut.o.valid)
    s.claim("an offer stays", s.held(dut.o))
    waits = dut.i.valid & dut.o.ready & ~dut.sample
    s.claim(
        "samples do not wait for ever",
        s.within(2 * timing.period(shape) + dut.latency + settle, waits),
    )
    s.reach(
        "codes after a stall, of a second step",
        taken(dut.o)
        & s.ago(dut.o.valid & ~dut.o.ready)
        & (expected.count == dut.depth)
        & s.sticky(dut.i.ready),
    )
