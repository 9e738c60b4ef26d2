"""Dense head: a crossbar of its own on the last state, and arg max."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.description import ArrayShape
from golden.fixed import index_bits
from hw.adc import SarReadout, codes_layout
from hw.crossbar import CrossbarModel
from hw.dac import DacSequencer
from hw.layer import MacroMaker, connect_macro
from hw.ports import WritePort, vector_stream


class ArgMax(wiring.Component):
    """Scores (code << frac) + bias, one a cycle, and the class of the highest of them.

    `i`: ADC codes, `lanes` classes a beat. `o`: the class, the lowest-numbered of equals.
    `bias`: loaded while no step is under way. `trace`: a score, in a cycle with `trace_valid`; for
    observation only.
    Latency: `latency` cycles from a step's last beat, were it one code, to the class; a cycle more
    for each further code. Throughput: a score a cycle.
    """

    latency = 3

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        description = shape.description
        super().__init__(
            {
                "i": In(stream.Signature(codes_layout(shape))),
                "o": Out(stream.Signature(data.StructLayout({"label": description.class_bits}))),
                "bias": In(WritePort(index_bits(shape.units), description.index_bits)),
                "trace": Out(data.StructLayout({"score": signed(description.score_bits)})),
                "trace_valid": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Stage 0 shifts the codes out, stage 1 scores and compares, then the class is held."""
        m = Module()
        shape, description = self.shape, self.shape.description
        advance = Signal()
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)

        # Stage 0: one code a cycle.
        codes = Signal(data.ArrayLayout(signed(description.adc.bits), shape.lanes))
        valid, ends = Signal(), Signal()
        position, number = Signal(index_bits(shape.lanes)), Signal(index_bits(shape.units))
        m.d.comb += ends.eq((position == shape.lanes - 1) | (number == shape.units - 1))
        m.d.comb += self.i.ready.eq(~valid | (ends & advance))
        with m.If(valid & advance):
            m.d.sync += codes.as_value().eq(codes.as_value() >> description.adc.bits)
            m.d.sync += position.eq(Mux(ends, 0, position + 1))
            m.d.sync += number.eq(Mux(number == shape.units - 1, 0, number + 1))
            m.d.sync += valid.eq(~ends)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [codes.eq(self.i.payload.codes), valid.eq(1)]

        m.submodules.bias_memory = mem = memory.Memory(
            shape=signed(description.index_bits), depth=max(2, shape.units), init=[]
        )
        write, read = mem.write_port(), mem.read_port()
        m.d.comb += [
            write.addr.eq(self.bias.address),
            write.data.eq(self.bias.data.as_signed()),
            write.en.eq(self.bias.enable),
            read.addr.eq(number),
            read.en.eq(advance),
        ]

        # Stage 1: the score, against the best so far.
        scored, code, current = Signal(), Signal(signed(description.adc.bits)), Signal.like(number)
        with m.If(advance):
            m.d.sync += [scored.eq(valid), code.eq(codes[0]), current.eq(number)]
        score = Signal(signed(description.score_bits))
        best, label = Signal.like(score), Signal.like(self.o.payload.label)
        wins, chosen = Signal(), Signal.like(label)
        m.d.comb += [
            score.eq((code << description.cell.frac) + read.data),
            wins.eq((current == 0) | (score > best)),
            chosen.eq(Mux(wins, current, label)),
            self.trace_valid.eq(scored & advance),
            self.trace.score.eq(score),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(scored & advance):
            m.d.sync += [best.eq(Mux(wins, score, best)), label.eq(chosen)]
            with m.If(current == shape.units - 1):
                m.d.sync += [self.o.valid.eq(1), self.o.payload.label.eq(chosen)]
        return m


class Head(wiring.Component):
    """Classifies the last state of each sequence.

    `i`: h of every step, in beats of `beat` codes; only a sequence's last step is used, which has
    `last` on every beat. `o`: the class. `cells`, `gains`, `bias`: see the blocks; loaded between
    sequences.
    """

    def __init__(self, shape: ArrayShape, *, beat: int, macro: MacroMaker = CrossbarModel) -> None:
        self.shape = shape
        self.dac = DacSequencer(inputs=shape.rows, beat=beat, description=shape.description)
        self.adc = SarReadout(shape)
        self.arg_max = ArgMax(shape)
        self.macro = macro(shape)
        super().__init__(
            {
                "i": In(vector_stream(beat, shape.description)),
                "o": Out(self.arg_max.o.signature),
                "cells": Out(self.macro.program.signature),
                "gains": Out(self.adc.gains.signature),
                "bias": Out(self.arg_max.bias.signature),
            }
        )

    @property
    def cycles_per_sequence(self) -> int:
        """Cycles between two classes, when sequences are over sooner than that."""
        return max(self.dac.beats + 1, self.shape.conversion_cycles, self.shape.units)

    def elaborate(self, platform: object) -> Module:
        """Wires, and a gate that drops all steps but the last."""
        m = Module()
        m.submodules.dac, m.submodules.macro = dac, macro = self.dac, self.macro
        m.submodules.adc, m.submodules.arg_max = adc, arg_max = self.adc, self.arg_max
        m.d.comb += [
            dac.i.payload.eq(self.i.payload),
            dac.i.valid.eq(self.i.valid & self.i.payload.last),
            self.i.ready.eq(dac.i.ready | ~self.i.payload.last),
        ]
        wiring.connect(m, dac.o, adc.i)
        wiring.connect(m, adc.o, arg_max.i)
        wiring.connect(m, arg_max.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.cells), macro.program)
        wiring.connect(m, wiring.flipped(self.gains), adc.gains)
        wiring.connect(m, wiring.flipped(self.bias), arg_max.bias)
        connect_macro(m, dac, adc, macro)
        return m
