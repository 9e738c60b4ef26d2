"""Dense head: a crossbar array of its own for the state, scores, and their arg max."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.description import Description
from golden.geometry import ArrayShape
from golden.ranges import index_bits
from hw import timing
from hw.adc import codes_layout
from hw.array import LOADED, MacroMaker, TiledArray, crossbar_model
from hw.dac import DacSequencer
from hw.pipeline import Pipeline
from hw.ports import vector_stream
from hw.regions import Region
from hw.voter import Voter, label_stream, score_stream


class Scores(wiring.Component):
    """Computes scores (code << frac) + bias, class by class (docs/contract.md, 9).

    i (in, stream): ADC codes, `lanes` classes per beat.
    o (out, stream): one score per transfer, class 0 first; `last` marks the highest class. If every
        step is scored, `end` marks the scores of a sequence's last step.
    bias (in): write port of the biases, one word per class. Load only while no step is in flight.
    trace, trace_valid (out): the score of a transfer on `o`; observation only.

    Latency: `latency` cycles from a beat of codes to its first score.
    Throughput: one score every cycle.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        self.latency = timing.score_latency(shape)
        description = shape.description
        super().__init__(
            {
                "i": In(stream.Signature(codes_layout(shape))),
                "o": Out(score_stream(description)),
                "bias": In(self.bias_region(shape).port),
                "trace": Out(data.StructLayout({"score": signed(description.score_bits)})),
                "trace_valid": Out(1),
            }
        )

    @staticmethod
    def bias_region(shape: ArrayShape) -> Region:
        """Load region of `bias`."""
        fields = (("class", index_bits(shape.units)),)
        return Region(name="bias", fields=fields, data=(("bias", shape.index_bits),))

    def elaborate(self, platform: object) -> Module:
        """Stage 0 shifts out the codes, stage 1 adds the bias and outputs the score.

        The deep pipeline registers the score first.
        """
        m = Module()
        shape, description = self.shape, self.shape.description
        advance = Signal()
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)
        pipe = Pipeline(m, advance, deep=shape.deep)

        # Stage 0: one code per cycle.
        codes = Signal(data.ArrayLayout(signed(shape.code_bits), shape.lanes))
        valid = Signal(name="codes_valid")
        ends = Signal(name="codes_end")
        position = Signal(index_bits(shape.lanes))
        number = Signal(index_bits(shape.units), name="class_number")
        last_class = Signal()
        taken = Signal()
        end = Signal(name="of_last_step")  # the codes belong to a sequence's last step
        s = pipe.begin(valid, code=codes[0], last=last_class, end=end)
        m.d.comb += [
            last_class.eq(number == shape.units - 1),
            ends.eq((position == shape.lanes - 1) | last_class),
            self.i.ready.eq(~valid | (ends & advance)),
            taken.eq(self.i.valid & self.i.ready),
        ]
        with m.If(s.moves):
            m.d.sync += codes.as_value().eq(codes.as_value() >> shape.code_bits)
            m.d.sync += position.eq(Mux(ends, 0, position + 1))
            m.d.sync += number.eq(Mux(last_class, 0, number + 1))
            m.d.sync += valid.eq(~ends)
        with m.If(taken):
            m.d.sync += [codes.eq(self.i.payload.codes), valid.eq(1)]
            m.d.sync += end.eq(self.i.payload.last)

        m.submodules.bias_memory = mem = memory.Memory(
            shape=signed(shape.index_bits), depth=max(2, shape.units), init=[]
        )
        write, read = mem.write_port(), mem.read_port()
        m.d.comb += [
            write.addr.eq(self.bias.address),
            write.data.eq(self.bias.data.as_signed()),
            write.en.eq(self.bias.enable),
            read.addr.eq(number),
            read.en.eq(s.moves),
        ]

        # Stage 1: the score.
        s = s.next("code", "last", "end")
        bias = pipe.net("bias", read.data)
        s = s.apart(score=pipe.net("score", s.code.shift_left(description.cell.frac) + bias))
        m.d.comb += [
            self.o.valid.eq(s.valid),
            self.o.payload.score.eq(s.score),
            self.o.payload.last.eq(s.last),
            self.trace.score.eq(self.o.payload.score),
            self.trace_valid.eq(self.o.valid & self.o.ready),
        ]
        if description.output.every_step:
            m.d.comb += self.o.payload.end.eq(s.end)
        return m


class ArgMax(wiring.Component):
    """Finds the class with the highest score of a pass; ties: the lowest (docs/contract.md, 9).

    i (in, stream): scores, class by class.
    o (out, stream): the class. If every step is scored, `end` marks a sequence's last step.

    Latency: 1 cycle from the last score to the class.
    Throughput: one score every cycle.
    """

    latency = 1

    def __init__(self, description: Description) -> None:
        self.description = description
        super().__init__({"i": In(score_stream(description)), "o": Out(label_stream(description))})

    def elaborate(self, platform: object) -> Module:
        """Compare each score with the best so far."""
        m = Module()
        number = Signal.like(self.o.payload.label)
        label = Signal.like(self.o.payload.label)
        best = Signal.like(self.i.payload.score)
        wins = Signal()
        m.d.comb += [
            wins.eq((number == 0) | (self.i.payload.score > best)),
            self.i.ready.eq(~self.o.valid | self.o.ready),
            self.o.payload.label.eq(label),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            with m.If(wins):
                m.d.sync += [best.eq(self.i.payload.score), label.eq(number)]
            m.d.sync += number.eq(Mux(self.i.payload.last, 0, number + 1))
            m.d.sync += self.o.valid.eq(self.i.payload.last)
            if self.description.output.every_step:
                m.d.sync += self.o.payload.end.eq(self.i.payload.end)
        return m


class Head(wiring.Component):
    """Scores the last state of each sequence, or every state, and classifies.

    The class is that of the highest score or, with a voter, of several passes.

    i (in, stream): h of every step, in beats of `beat` DAC codes; `last` is high on every beat of a
        sequence's last step.
    o (out, stream): classes or scores, depending on `description.output`.
    cells, cell_levels (in, streams), levels, parameters, gains (in): see `TiledArray`.
    bias (in): see `Scores`.
    votes, by_sum (in): see `Voter`; only with a voter.
    Load only between sequences.
    """

    def __init__(self, shape: ArrayShape, *, beat: int, macro: MacroMaker = crossbar_model) -> None:
        self.shape = shape
        self.dac = DacSequencer(inputs=shape.rows, beat=beat, description=shape.description)
        self.array = TiledArray(shape, macro)
        self.scores = Scores(shape)
        description = shape.description
        self.decision: Voter | ArgMax | None
        if description.voting.replay_steps:
            self.decision = Voter(description)
        else:
            self.decision = ArgMax(description) if description.output.of == "class" else None
        last: Scores | Voter | ArgMax = self.decision or self.scores
        members: dict[str, wiring.Member] = {
            "i": In(vector_stream(beat, description)),
            "o": Out(last.o.signature),
            **{name: self.array.signature.members[name] for name in LOADED},
            "bias": Out(self.scores.bias.signature),
        }
        if isinstance(last, Voter):
            members |= {name: last.signature.members[name] for name in ("votes", "by_sum")}
        super().__init__(members)

    @staticmethod
    def regions(shape: ArrayShape) -> tuple[Region, ...]:
        """Load regions of a head, without that of its voter."""
        return (*TiledArray.regions(shape), Scores.bias_region(shape))

    def elaborate(self, platform: object) -> Module:
        """Connect the blocks; unless every step is scored, drop all steps but the last."""
        m = Module()
        m.submodules.dac, m.submodules.array = dac, array = self.dac, self.array
        scores, decision = self.scores, self.decision
        m.submodules.scores = scores
        wiring.connect(m, dac.o, array.i)
        for name in LOADED:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(array, name))
        if self.shape.description.output.every_step:
            wiring.connect(m, wiring.flipped(self.i), dac.i)
        else:
            m.d.comb += [
                dac.i.payload.eq(self.i.payload),
                dac.i.valid.eq(self.i.valid & self.i.payload.last),
                self.i.ready.eq(dac.i.ready | ~self.i.payload.last),
            ]
        wiring.connect(m, array.o, scores.i)
        if decision is not None:
            m.submodules.decision = decision
            wiring.connect(m, scores.o, decision.i)
        wiring.connect(m, (decision or scores).o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.bias), scores.bias)
        if isinstance(decision, Voter):
            m.d.comb += [decision.votes.eq(self.votes), decision.by_sum.eq(self.by_sum)]
        return m
