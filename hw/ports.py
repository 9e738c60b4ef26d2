"""Interfaces between blocks: stream payloads, write ports, instances."""

from amaranth.hdl import (
    ClockSignal,
    Instance,
    Module,
    ResetSignal,
    ShapeLike,
    Value,
    signed,
    unsigned,
)
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, Signature

from golden.description import Description


def vector_layout(count: int, description: Description) -> data.StructLayout:
    """`count` DAC codes of a vector; `last` marks the last step of a sequence."""
    codes = data.ArrayLayout(signed(description.dac.width), count)
    return data.StructLayout({"codes": codes, "last": unsigned(1)})


def vector_stream(count: int, description: Description) -> stream.Signature:
    """Vectors in beats of `count` codes, lowest element first.

    Padding in the last beat is don't-care. `last` is high on every beat of a sequence's last
    vector. On an accelerator's `i` the last of these beats suffices.
    """
    return stream.Signature(vector_layout(count, description))


class WritePort(Signature):
    """Write port of a memory: while `enable` is high, `data` is written to `address`."""

    def __init__(self, address_bits: int, data_bits: int) -> None:
        super().__init__({"enable": Out(1), "address": Out(address_bits), "data": Out(data_bits)})


def loaded_memory(shape: ShapeLike, depth: int) -> memory.Memory:
    """Memory whose read data is don't-care in a cycle that writes to the same address."""
    return memory.Memory(shape=shape, depth=depth, init=[], attrs={"no_rw_check": 1})


def instance(component: wiring.Component, module: str) -> Instance:
    """Instance of a Verilog module that has a component's ports, `clk` and `rst`.

    Port names are flattened: `program__payload`.
    """
    ports: dict[str, Value] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
    for path, member, port in component.signature.flatten(component):
        direction = "i" if member.flow == In else "o"
        ports[f"{direction}_{'__'.join(map(str, path))}"] = Value.cast(port)
    return Instance(module, **ports)


def lead_out(m: Module, inside: wiring.Component, outside: wiring.Component) -> None:
    """Connect the flat ports of `inside` to the ports of the same names of `outside`."""
    for name, member in inside.signature.members.items():
        if name in outside.signature.members:
            within, beyond = getattr(inside, name), getattr(outside, name)
            m.d.comb += within.eq(beyond) if member.flow == In else beyond.eq(within)
