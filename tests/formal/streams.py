"""Specs of the blocks that hold vectors and scores on their way."""

from amaranth.hdl import Cat, Mux, Signal, signed
from amaranth.lib import data

from golden.ranges import ceil_div
from hw.head import ArgMax, Scores
from hw.levels import LevelTable
from hw.replay import Replay
from hw.voter import Voter
from tests.formal.common import DEEP, NARROW, counter, taken
from tests.formal.engine import Scene
from tests.formal.spec import spec
from tests.helpers import small

TINY = {"inputs": 2, "hidden": [2], "classes": 3}


@spec(
    ArgMax,
    cases={"3 classes": {}, "3 classes, every step": {"steps": "every"}, "2 classes": {"of": 2}},
    mutants={
        "a tie goes to the last": (
            "self.i.payload.score > best",
            "self.i.payload.score >= best",
        ),
        "a class is lost in a stall": (
            "self.i.ready.eq(~self.o.valid | self.o.ready)",
            "self.i.ready.eq(1)",
        ),
    },
)
def highest(s: Scene, block: type, of: int = 3, steps: str = "last") -> None:
    """The class of the highest score comes one cycle after the last score."""
    network = TINY | {"classes": of}
    dut = s.add(block(small(network=network, output={"steps": steps})))
    s.drive(dut.i.valid, dut.i.payload, dut.o.ready)
    moves, score = taken(dut.i), dut.i.payload.score
    number = counter(s, moves, of, "number")
    s.assume(~dut.i.valid | (dut.i.payload.last == (number == of - 1)))
    best, label = Signal.like(score), Signal(range(of))
    with s.m.If(moves & ((number == 0) | (score > best))):
        s.m.d.sync += [best.eq(score), label.eq(number)]
    done = moves & (number == of - 1)
    full = Signal()
    s.m.d.sync += full.eq(done | (full & ~dut.o.ready))
    s.claim("a class comes one cycle after the last score, and stays", dut.o.valid == full)
    s.claim(
        "it has the highest score, the lowest class at a tie",
        ~full | (dut.o.payload.label == label),
    )
    s.claim("scores wait for nothing else", dut.i.ready == (~full | dut.o.ready))
    if steps == "every":
        s.claim(
            "the end of a sequence stays with it",
            ~s.ago(done) | (dut.o.payload.end == s.ago(dut.i.payload.end)),
        )
    s.claim("an offer stays", s.held(dut.o))
    s.reach("a class is taken after a stall", taken(dut.o) & s.ago(full))


@spec(
    Scores,
    cases={
        "short, 3 classes in 2 lanes": {},
        "deep, 3 classes in 2 lanes": {"pipeline": "deep"},
        "short, every step": {"steps": "every"},
    },
    mutants={
        "a bias of the class before": ("read.addr.eq(number),", "read.addr.eq(number - 1),"),
        "a beat is lost": (
            "self.i.ready.eq(~valid | (ends & advance)),",
            "self.i.ready.eq(~valid | ends),",
        ),
        "a class too many": (
            "(position == shape.lanes - 1) | last_class",
            "(position == shape.lanes - 1)",
        ),
    },
)
def each_class(s: Scene, block: type, pipeline: str = "short", steps: str = "last") -> None:
    """Scores come class by class, (code << frac) + bias; that of any one class is looked at."""
    classes, lanes = 3, 2
    description = small(
        network=TINY,
        array=DEEP | {"lanes": lanes, "pipeline": pipeline},
        output={"steps": steps},
    )
    shape = description.head
    dut = s.add(block(shape))
    s.drive(dut.i.valid, dut.i.payload, dut.o.ready, dut.bias)
    beats = ceil_div(classes, lanes)
    number = counter(s, taken(dut.i), beats, "beat")
    place = counter(s, taken(dut.o), classes, "place")
    one = s.constant(range(classes), "one")
    s.assume(one < classes)

    bias = Signal(dut.bias.data.shape())
    with s.m.If(dut.bias.enable & (dut.bias.address == one)):
        s.m.d.sync += bias.eq(dut.bias.data)
    # A bias is not written while a score is under way, nor with the first codes.
    s.assume(~dut.bias.enable | ~s.sticky(dut.i.valid))

    expected = s.queue(len(dut.i.payload.as_value()), 3)
    now = taken(dut.i) & (number == one >> 1)
    expected.move(now, dut.i.payload.as_value(), taken(dut.o) & (place == one))
    payload = data.View(dut.i.payload.shape(), expected.first)
    code = Mux(one[0], payload.codes[1], payload.codes[0]).as_signed()
    score = code.shift_left(description.cell.frac) + bias.as_signed()
    at = dut.o.valid & (place == one)
    s.claim("no score comes twice, none from nothing", ~(at & (expected.count == 0)))
    s.claim("at most two steps are under way", ~expected.overflows)
    s.claim("a score is its code, shifted, and its bias", ~at | (dut.o.payload.score == score))
    s.claim(
        "the highest class is the last",
        ~dut.o.valid | (dut.o.payload.last == (place == classes - 1)),
    )
    if steps == "every":
        s.claim("the end of a sequence stays with it", ~at | (dut.o.payload.end == payload.last))
    s.claim("an offer stays", s.held(dut.o))
    moving = s.ago(dut.i.valid) & s.ago(dut.o.ready) & dut.o.ready & dut.i.valid
    s.claim(
        "codes wait at most for the classes of a beat",
        s.within(lanes + dut.latency, moving & ~dut.i.ready),
    )
    s.reach("a score after a stall", at & s.ago(at) & dut.o.ready & (one == 2))


@spec(
    LevelTable,
    cases={"2 weight bits": {}},
    mutants={
        "a cell is written twice": (
            "by_level.ready.eq(found & self.o.ready)",
            "by_level.ready.eq(found & ~found)",
        ),
        "codes of the cell before": (
            "read.en.eq(by_level.valid & ~found)",
            "read.en.eq(by_level.valid & found)",
        ),
        "an offer that is not there": ("found.eq(by_level.valid & ~by_level.ready)", "found.eq(1)"),
    },
)
def codes_of_levels(s: Scene, block: type) -> None:
    """A cell with codes passes; a cell with a level gets the codes of the table."""
    shape = small(network=TINY, device={"weight_bits": 2, "conductance_bits": 2}).layers[0]
    dut = s.add(block(shape))
    s.drive(dut.cells.valid, dut.cells.payload, dut.cell_levels.valid, dut.cell_levels.payload)
    s.drive(dut.o.ready, dut.levels)
    by_code, by_level = dut.cells, dut.cell_levels
    s.assume(~(by_code.valid & by_level.valid), s.held(by_code), s.held(by_level))
    s.assume(~dut.levels.enable | ~(by_code.valid | by_level.valid))
    level = s.constant(range(4), "level")
    entry = Signal(len(dut.levels.data))
    with s.m.If(dut.levels.enable & (dut.levels.address == level)):
        s.m.d.sync += entry.eq(dut.levels.data)
    s.claim("a cell with codes passes at once", dut.o.valid | ~by_code.valid)
    s.claim("unchanged", ~by_code.valid | (dut.o.payload == by_code.payload))
    s.claim("it is taken when the macro takes it", ~by_code.valid | (by_code.ready == dut.o.ready))
    out, given = dut.o.payload, by_level.payload
    at = dut.o.valid & by_level.valid
    place = [name for name in given.shape().members if name != "level"]
    same = Cat(out[name] == given[name] for name in place).all()
    s.claim("a cell with a level keeps its place", ~at | same)
    codes = Cat(out.positive, out.negative) == entry
    s.claim("and gets the codes of its level", ~at | (given.level != level) | codes)
    s.claim(
        "it is taken when the macro takes it, and not before",
        ~by_level.valid | (by_level.ready == taken(dut.o)),
    )
    s.claim(
        "one cycle after it came", ~by_level.valid | at | ~s.ago(by_level.valid & ~by_level.ready)
    )
    s.claim("nothing else is written", ~dut.o.valid | by_code.valid | by_level.valid)
    s.claim("an offer stays", s.held(dut.o))
    s.reach(
        "two cells by level, one after the other", taken(dut.o) & at & s.ago(taken(dut.o) & at, 2)
    )


@spec(
    Replay,
    cases={
        "2 beats, 2 steps, 3 votes": {},
        "1 beat, 3 steps, 2 votes": {"beats": 1, "steps": 3, "votes": 2},
    },
    mutants={
        "a pass too few": ("again.eq(passes != self.votes)", "again.eq(passes + 1 < self.votes)"),
        "a beat of the pass before": ("read.addr.eq(following)", "read.addr.eq(address)"),
        "an end that is early": ("address > end - self.beats", "address >= end - self.beats"),
        "beats are taken in a later pass": (
            "                self.i.ready.eq(self.o.ready),\n                over.eq(whole",
            "                over.eq(whole",
        ),
    },
)
def passes(s: Scene, block: type, beats: int = 2, steps: int = 2, votes: int = 3) -> None:
    """A sequence comes `votes` times, the first time at once; any one of its beats is looked at."""
    description = small(
        network=TINY | {"inputs": beats},
        voting={"max_votes": votes, "replay_steps": steps},
        dac={"bits": 2},
    )
    dut = s.add(block(beats=beats, beat=1, description=description))
    s.drive(dut.i.valid, dut.i.payload, dut.o.ready, dut.votes)
    s.assume(dut.votes >= 1, dut.votes <= votes, s.held(dut.i))
    most = beats * steps
    beat = counter(s, taken(dut.o), beats, "beat")
    at = Signal(range(most + 1))  # the beat of the sequence that is at the output
    done = Signal(range(votes + 1))  # passes that are over
    length = Signal(range(most + 1))  # of the sequence, once its first pass is over
    begun = Signal()  # a sequence is under way
    last = Signal()
    moved = taken(dut.o)
    s.m.d.comb += last.eq(
        Mux(done == 0, dut.i.payload.last & (beat == beats - 1), at + 1 == length)
    )
    with s.m.If(moved):
        s.m.d.sync += [at.eq(Mux(last, 0, at + 1)), begun.eq(1)]
        with s.m.If(last):
            s.m.d.sync += [done.eq(Mux(done + 1 == dut.votes, 0, done + 1)), length.eq(at + 1)]
            s.m.d.sync += begun.eq(done + 1 != dut.votes)
    s.assume(~begun | (dut.votes == s.ago(dut.votes)))
    # A sequence with several passes fits; all beats of a step say the same of its end.
    s.assume(~dut.i.valid | (done != 0) | (at < most))
    s.assume(
        ~dut.i.valid | (done != 0) | (at < most - 1) | (beat != beats - 1) | dut.i.payload.last
    )
    s.assume(
        ~dut.i.valid
        | (beat == 0)
        | (done != 0)
        | (dut.i.payload.last == s.sample(taken(dut.i), dut.i.payload.last))
    )
    one = s.constant(range(most), "one")
    kept = Signal(len(dut.i.payload.as_value()))
    first = done == 0
    with s.m.If(moved & first & (at == one)):
        s.m.d.sync += kept.eq(dut.i.payload.as_value())
    s.claim(
        "the first pass goes straight through",
        ~first | ((dut.o.valid == dut.i.valid) & (dut.i.ready == dut.o.ready)),
    )
    s.claim("unchanged", ~first | ~dut.i.valid | (dut.o.payload == dut.i.payload))
    s.claim("later passes follow without a gap", first | dut.o.valid)
    s.claim("and take no beat", first | ~dut.i.ready)
    s.claim(
        "each has the beats of the first", first | (at != one) | (dut.o.payload.as_value() == kept)
    )
    s.claim("an offer stays", s.held(dut.o))
    s.reach(
        "a second sequence after all passes",
        moved
        & s.sticky(done == dut.votes - 1)
        & s.ago(s.sticky(moved & last & (done == dut.votes - 1) & (dut.votes > 1)))
        & (at == 1),
    )


@spec(
    Voter,
    cases={"2 classes, 3 votes": {}, "3 classes, 2 votes": {"classes": 3, "votes": 2}},
    mutants={
        "sums of the sequence before": (
            "Mux(fresh, 0, sums.read.data) + score",
            "sums.read.data + score",
        ),
        "a pass that is not counted": (
            "m.d.comb += counts.write.en.eq(1)",
            "m.d.comb += counts.write.en.eq(~fresh)",
        ),
        "a tie goes to the last": ("(value > best)", "(value >= best)"),
        "a vote too few": ("passed + 1 == self.votes", "passed + 2 == self.votes"),
        "scores are taken while classes are counted": (
            'with m.State("point"):  # address the class of the pass\n',
            'with m.State("point"):\n                m.d.comb += self.i.ready.eq(1)\n',
        ),
    },
)
def votes(s: Scene, block: type, classes: int = 2, votes: int = 3) -> None:
    """The class of most passes, or of the highest sum, a stated time after the last score."""
    description = small(
        network=TINY | {"classes": classes},
        voting={"max_votes": votes, "replay_steps": 2},
        **NARROW,
    )
    dut = s.add(block(description))
    s.drive(dut.i.valid, dut.i.payload, dut.o.ready, dut.votes, dut.by_sum)
    moves, score = taken(dut.i), dut.i.payload.score
    number = counter(s, moves, classes, "number")
    s.assume(~dut.i.valid | (dut.i.payload.last == (number == classes - 1)))
    s.assume(dut.votes >= 1, dut.votes <= votes)

    bits = description.sum_bits
    sums = [Signal(signed(bits), name=f"sum_{n}") for n in range(classes)]
    counts = [Signal(range(votes + 1), name=f"count_{n}") for n in range(classes)]
    passed, best, label = Signal(range(votes + 1)), Signal.like(score), Signal(range(classes))
    wins = Signal(range(classes))  # the class of this pass, its last score included
    better = (number == 0) | (score > best)
    s.m.d.comb += wins.eq(Mux(better, number, label))
    ends = moves & (number == classes - 1)
    over = Signal()
    s.m.d.comb += over.eq(ends & (passed + 1 == dut.votes))
    with s.m.If(moves):
        s.m.d.sync += [label.eq(wins), best.eq(Mux(better, score, best))]
        for n in range(classes):
            with s.m.If(number == n):
                s.m.d.sync += sums[n].eq(Mux(passed == 0, 0, sums[n]) + score)
    with s.m.If(ends):
        s.m.d.sync += passed.eq(Mux(over, 0, passed + 1))
        for n in range(classes):
            s.m.d.sync += counts[n].eq(Mux(passed == 0, 0, counts[n]) + (wins == n))
    under_way = s.sample(moves | taken(dut.o), ~taken(dut.o))
    s.assume(~under_way | ((dut.votes == s.ago(dut.votes)) & (dut.by_sum == s.ago(dut.by_sum))))

    values = [Mux(dut.by_sum, a, n) for a, n in zip(sums, counts, strict=True)]
    highest = Signal(range(classes))
    for n in reversed(range(classes)):  # the last assignment wins: the lowest class
        with s.m.If(Cat(values[n] >= other for other in values).all()):
            s.m.d.comb += highest.eq(n)
    s.claim(
        "the class has most votes, or the highest sum",
        ~dut.o.valid | (dut.o.payload.label == highest),
    )
    s.claim(
        "it comes at the stated time, and not before",
        dut.o.valid == s.sample(s.ago(over, dut.latency - 1) | taken(dut.o), ~taken(dut.o)),
    )
    s.claim("two cycles after a pass scores are taken again", ~s.ago(ends & ~over, 3) | dut.i.ready)
    s.claim(
        "no score is taken while it counts or waits", ~(dut.i.ready & (dut.o.valid | s.ago(ends)))
    )
    s.claim("an offer stays", s.held(dut.o))
    s.reach(
        "a second sequence",
        taken(dut.o) & s.ago(s.sticky(taken(dut.o))) & (dut.votes == votes) & ~dut.by_sum,
    )
