"""Dense head: a crossbar of its own on the state, scores, and their arg max."""

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
    """Scores (code << frac) + bias, class by class (docs/contract.md, 9).

    `i`: ADC codes, `lanes` classes a beat. `o`: a score a transfer, `last` with that of the
    highest class. `bias`: loaded while no step is under way. `trace`: a score, in a cycle with
    `trace_valid`; for observation only.
    Latency: `latency` cycles from a beat of codes to its first score. Throughput: a score a cycle.
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
        """Of `bias`."""
        fields = (("class", index_bits(shape.units)),)
        return Region(name="bias", fields=fields, data=(("bias", shape.index_bits),))

    def elaborate(self, platform: object) -> Module:
        """Stage 0 shifts the codes out, stage 1 adds the bias, and a score goes out of it; in the
        deep pipeline, out of a register of its own."""
        m = Module()
        shape, description = self.shape, self.shape.description
        advance = Signal()
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)
        pipe = Pipeline(m, advance, deep=shape.deep)

        # Stage 0: one code a cycle.
        codes = Signal(data.ArrayLayout(signed(shape.code_bits), shape.lanes))
        valid = Signal(name="codes_valid")
        ends = Signal(name="codes_end")
        position = Signal(index_bits(shape.lanes))
        number = Signal(index_bits(shape.units), name="class_number")
        last_class = Signal()
        taken = Signal()
        end = Signal(name="of_last_step")  # the codes are of a sequence's last step
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
    """The class of the highest of a pass's scores, the lowest-numbered of equals
    (docs/contract.md, 9).

    `i`: scores, class by class. `o`: the class.
    Latency: 1 cycle from the last score. Throughput: a score a cycle.
    """

    latency = 1

    def __init__(self, description: Description) -> None:
        self.description = description
        super().__init__({"i": In(score_stream(description)), "o": Out(label_stream(description))})

    def elaborate(self, platform: object) -> Module:
        """Compare with the best so far."""
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
    """Scores the last state of each sequence, or every state, and classifies by the scores alone or
    by the votes of several passes.

    `i`: h of every step, in beats of `beat` codes; a sequence's last step has `last` on every beat.
    `o`: what the description's output is, classes or scores. `cells`, `cell_levels`, `levels`,
    `parameters`, `gains`, `bias`: see the blocks; loaded between sequences. `votes`, `by_sum`: of
    the voter, where the description has one.
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
        """What a head is loaded with; but for what its voter needs."""
        return (*TiledArray.regions(shape), Scores.bias_region(shape))

    def elaborate(self, platform: object) -> Module:
        """Wires, and a gate that may drop all steps but the last."""
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
