"""The accelerator for a system on a chip: AXI4-Lite, AXI4-Stream, an interrupt."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.description import Description
from hw.bus.axi import LiteSlave, StreamIn, StreamOut
from hw.bus.control import Control
from hw.network import Accelerator
from hw.ports import instance, lead_out


class System(wiring.Component):
    """Accelerator behind AXI, with registers and an interrupt.

    s_axil_* (in, out): AXI4-Lite slave: registers and load window.
    s_axis_* (in, out): AXI4-Stream slave: x.
    m_axis_* (in, out): AXI4-Stream master: results.
    irq (out): interrupt, a level, active high.

    core: Makes the accelerator; `CoreInstance` for Verilog that is emitted separately.
    """

    def __init__(
        self, description: Description, core: Callable[[Description], Any] = Accelerator
    ) -> None:
        self.description = description
        self.core = core(description)
        self.control = Control(description)
        self.slave = LiteSlave(self.control.map.address_bits)
        self.input = StreamIn(description)
        self.output = StreamOut(description, self.core.signature.members["o"].signature)
        axi = {
            name: member
            for block in (self.slave, self.input, self.output)
            for name, member in block.signature.members.items()
            if name.startswith(("s_axi", "m_axi"))
        }
        super().__init__(axi | {"irq": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Connect the blocks, the strobes of the counters and the events."""
        m = Module()
        core, control, slave, x, out = self.core, self.control, self.slave, self.input, self.output
        m.submodules.core, m.submodules.control, m.submodules.slave = core, control, slave
        m.submodules.stream_in, m.submodules.stream_out = x, out
        for block in (slave, x, out):
            lead_out(m, block, self)
        wiring.connect(m, slave.bus, control.bus)
        wiring.connect(m, control.load, core.load)
        wiring.connect(m, x.o, core.i)
        wiring.connect(m, core.o, out.i)
        counted = {
            "cycles": 1,
            "busy_cycles": core.busy,
            "steps": x.step,
            "sequences": out.done,
            "input_stalls": x.s_axis_tvalid & ~x.s_axis_tready,
            "input_waits": ~x.s_axis_tvalid & x.s_axis_tready,
            "output_stalls": out.m_axis_tvalid & ~out.m_axis_tready,
        }
        m.d.comb += [control.counts[name].eq(value) for name, value in counted.items()]
        m.d.comb += [
            control.busy.eq(core.busy),
            control.events.done.eq(out.done),
            control.events.frame_error.eq(x.frame_error),
            self.irq.eq(control.irq),
        ]
        return m


class CoreInstance(wiring.Component):
    """A design as an instance of the Verilog module of that name, which has its ports."""

    def __init__(self, design: Accelerator, name: str) -> None:
        self.name = name
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        """Only the instance."""
        m = Module()
        m.submodules.core = instance(self, self.name)
        return m


class Top(wiring.Component):
    """A component with AXI's clock and reset.

    aclk (in): clock, rising edge.
    aresetn (in): synchronous reset, active low.
    The other ports are those of the component.
    """

    def __init__(self, inside: wiring.Component) -> None:
        self.inside = inside
        super().__init__({"aclk": In(1), "aresetn": In(1), **inside.signature.members})

    def elaborate(self, platform: object) -> Module:
        """Clock domain, and connections."""
        m = Module()
        m.domains.sync = sync = ClockDomain()
        m.d.comb += [sync.clk.eq(self.aclk), sync.rst.eq(~self.aresetn)]
        m.submodules.system = self.inside
        lead_out(m, self.inside, self)
        return m
