"""AXI in front of the accelerator: AXI4-Lite for registers and loading, AXI4-Stream for data.

Arm, "AMBA AXI Protocol Specification" (IHI 0022) and "AMBA AXI-Stream Protocol Specification"
(IHI 0051). Members have the names of the signals, with a prefix: `s_axil_awaddr`. No output depends
combinationally on an input, except for streams that pass through to the accelerator.
"""

from enum import IntEnum

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Member, Out

from golden.description import Description
from golden.ranges import ceil_div, index_bits
from hw import timing
from hw.bus.registers import BUS_BITS, WORD
from hw.network import sequence_ends
from hw.ports import vector_stream


class Response(IntEnum):
    """Response of an AXI slave."""

    OKAY = 0
    SLVERR = 2  # mapped address, access not allowed
    DECERR = 3  # unmapped address


def lite_members(address_bits: int) -> dict[str, Member]:
    """Signals of an AXI4-Lite slave with 32-bit data."""
    return {
        **{"s_axil_awaddr": In(address_bits), "s_axil_awprot": In(3)},
        **{"s_axil_awvalid": In(1), "s_axil_awready": Out(1)},
        **{"s_axil_wdata": In(BUS_BITS), "s_axil_wstrb": In(WORD)},
        **{"s_axil_wvalid": In(1), "s_axil_wready": Out(1)},
        **{"s_axil_bresp": Out(2), "s_axil_bvalid": Out(1), "s_axil_bready": In(1)},
        **{"s_axil_araddr": In(address_bits), "s_axil_arprot": In(3)},
        **{"s_axil_arvalid": In(1), "s_axil_arready": Out(1)},
        **{"s_axil_rdata": Out(BUS_BITS), "s_axil_rresp": Out(2)},
        **{"s_axil_rvalid": Out(1), "s_axil_rready": In(1)},
    }


class RegisterBus(wiring.Signature):
    """Bus from an AXI4-Lite slave to the registers behind it.

    write (out): a write with address, data and strobes, which are valid from the cycle before. It
        is held until the cycle in which `written` is high.
    written, write_answer (in): the write is done, with this response.
    read (out): strobe: a read. `read_data` and `read_answer` are valid in the same cycle.
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__(
            {
                **{"write": Out(1), "write_address": Out(address_bits)},
                **{"write_data": Out(BUS_BITS), "write_strobe": Out(WORD)},
                **{"written": In(1), "write_answer": In(Response)},
                **{"read": Out(1), "read_address": Out(address_bits)},
                **{"read_data": In(BUS_BITS), "read_answer": In(Response)},
            }
        )


class LiteSlave(wiring.Component):
    """Converts AXI4-Lite to a register bus.

    s_axil_* (in, out): AXI4-Lite slave; `awprot` and `arprot` are ignored.
    bus (out): register bus.

    Latency: 3 cycles from the later of address and data to the write response, 2 cycles from the
    address to the read data, if `bus` does not stall.
    Throughput: one write every 3 cycles, one read every 2 cycles.
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__(
            lite_members(address_bits) | {"bus": Out(RegisterBus(address_bits))},
        )

    def elaborate(self, platform: object) -> Module:
        """One register per channel; an access starts once all of its channels are valid."""
        m = Module()
        bus = self.bus
        write = Signal()
        read = Signal()
        m.d.comb += bus.write.eq(write & ~self.s_axil_bvalid)
        m.d.comb += bus.read.eq(read & ~self.s_axil_rvalid)
        ended = bus.write & bus.written
        channels = {
            "aw": {"awaddr": bus.write_address},
            "w": {"wdata": bus.write_data, "wstrb": bus.write_strobe},
            "ar": {"araddr": bus.read_address},
        }
        full = {}
        for channel, registers in channels.items():
            full[channel] = here = Signal(name=f"{channel}_full")
            valid, ready = (getattr(self, f"s_axil_{channel}{end}") for end in ("valid", "ready"))
            m.d.comb += ready.eq(~here)
            with m.If(valid & ready):
                m.d.sync += here.eq(1)
                for name, register in registers.items():
                    m.d.sync += register.eq(getattr(self, f"s_axil_{name}"))
            with m.Elif(bus.read if channel == "ar" else ended):
                m.d.sync += here.eq(0)
        m.d.sync += write.eq(full["aw"] & full["w"] & ~ended)
        m.d.comb += read.eq(full["ar"])

        with m.If(ended):
            m.d.sync += [self.s_axil_bvalid.eq(1), self.s_axil_bresp.eq(bus.write_answer)]
        with m.Elif(self.s_axil_bready):
            m.d.sync += self.s_axil_bvalid.eq(0)
        with m.If(bus.read):
            m.d.sync += [self.s_axil_rvalid.eq(1), self.s_axil_rresp.eq(bus.read_answer)]
            m.d.sync += self.s_axil_rdata.eq(bus.read_data)
        with m.Elif(self.s_axil_rready):
            m.d.sync += self.s_axil_rvalid.eq(0)
        return m


ELEMENT_BITS = 8
"""Bits of a DAC code in a stream, the most that a DAC has."""


class StreamIn(wiring.Component):
    """Converts AXI4-Stream to x: one packet per sequence, each step in beats of `beat` codes.

    A code is one signed byte, the lowest channel in the lowest byte. Codes outside the DAC's range
    are clamped. If a packet ends within a step, the rest of the step is filled with the code of 0,
    so that its sequence ends too.

    s_axis_* (in, out): AXI4-Stream slave.
    o (out, stream): x, for an accelerator's `i`.
    step (out): strobe: the last beat of a step leaves.
    frame_error (out): strobe: a packet ends within a step.

    Latency: 0 cycles from `s_axis` to `o`.
    Throughput: one beat every cycle.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self.beat = description.input_beat
        self.beats = ceil_div(description.network.inputs, self.beat)
        super().__init__(
            {
                "s_axis_tdata": In(self.beat * ELEMENT_BITS),
                **{"s_axis_tvalid": In(1), "s_axis_tready": Out(1), "s_axis_tlast": In(1)},
                "o": Out(vector_stream(self.beat, description)),
                **{"step": Out(1), "frame_error": Out(1)},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Combinational, except for the fill of an incomplete step."""
        m = Module()
        fill = Signal()
        beat = Signal(index_bits(self.beats))
        whole = beat == self.beats - 1
        moved = self.o.valid & self.o.ready
        m.d.comb += [
            self.o.valid.eq(fill | self.s_axis_tvalid),
            self.s_axis_tready.eq(~fill & self.o.ready),
            self.o.payload.last.eq(fill | self.s_axis_tlast),
            self.step.eq(moved & whole),
            self.frame_error.eq(moved & ~fill & self.s_axis_tlast & ~whole),
        ]
        codes = self.description.dac.range
        for n in range(self.beat):
            value = Signal(signed(ELEMENT_BITS), name=f"value_{n}")
            m.d.comb += value.eq(self.s_axis_tdata.word_select(n, ELEMENT_BITS))
            nearest = Mux(value > codes.high, codes.high, Mux(value < codes.low, codes.low, value))
            zero = fill | (value == 0)  # a 1-bit DAC has no code 0
            m.d.comb += self.o.payload.codes[n].eq(Mux(zero, self.description.dac.zero, nearest))
        with m.If(moved):
            m.d.sync += beat.eq(Mux(whole, 0, beat + 1))
            m.d.sync += fill.eq(self.o.payload.last & ~whole)
        return m


class StreamOut(wiring.Component):
    """Converts an accelerator's output to AXI4-Stream: one packet per sequence.

    A class or a score is a signed 32-bit word. A state has one signed byte
    per code, in beats like x.

    i (in, stream): results, from an accelerator's `o`.
    m_axis_* (in, out): AXI4-Stream master.
    done (out): strobe: the last result of a sequence is accepted.

    Latency: 0 cycles from `i` to `m_axis`.
    Throughput: one transfer every cycle.
    """

    def __init__(self, description: Description, output: stream.Signature) -> None:
        self.description = description
        state, bits = description.output.of == "state", BUS_BITS
        if state:
            bits = timing.units_per_beat(description.layers[-1]) * ELEMENT_BITS
        super().__init__(
            {
                "i": In(output),
                "m_axis_tdata": Out(bits),
                **{"m_axis_tvalid": Out(1), "m_axis_tready": In(1), "m_axis_tlast": Out(1)},
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Combinational, except for the count of a state's beats."""
        m = Module()
        description, payload = self.description, self.i.payload
        m.d.comb += [
            self.m_axis_tvalid.eq(self.i.valid),
            self.i.ready.eq(self.m_axis_tready),
            self.m_axis_tlast.eq(sequence_ends(m, description, self.i)),
            self.done.eq(self.m_axis_tvalid & self.m_axis_tready & self.m_axis_tlast),
        ]
        if description.output.of == "state":
            for n, code in enumerate(payload.codes):
                m.d.comb += self.m_axis_tdata.word_select(n, ELEMENT_BITS).eq(code)
        else:
            name = "label" if description.output.of == "class" else "score"
            # Scores depend on memories that read as X until loaded: drive them only if valid.
            with m.If(self.i.valid if name == "score" else 1):
                m.d.comb += self.m_axis_tdata.eq(Value.cast(payload[name]))
        return m
