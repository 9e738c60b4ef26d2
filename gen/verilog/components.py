"""Verilog of an Amaranth component."""

import inspect
from collections.abc import Iterator

from amaranth.back import rtlil as back
from amaranth.hdl import Fragment, Instance, Signal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from gen.verilog import rtlil
from gen.verilog.netlist import Interface
from gen.verilog.write import write


def to_verilog(component: wiring.Component, name: str) -> str:
    """Verilog of a component as a module of that name. The same component, the same bytes."""
    text, interfaces, boxes = netlist(component, name)
    return write(rtlil.read(text), interfaces, boxes)


def netlist(
    component: wiring.Component, name: str
) -> tuple[str, dict[str, Interface], dict[str, frozenset[str]]]:
    """What Amaranth makes of a component, as RTLIL; what its components tell about their modules;
    and the outputs of modules that it instantiates, which are elsewhere."""
    fragment = Fragment.get(component, None)
    ports = {
        public: (port, PortDirection.Input if member.flow == wiring.In else PortDirection.Output)
        for public, member, port in _ports(component)
    }
    text, names = back.convert_fragment(fragment, ports, name, emit_src=False)
    interfaces: dict[str, Interface] = {}
    boxes: dict[str, frozenset[str]] = {}
    for path, part in _parts(fragment, (name,)):
        if isinstance(part, Instance):
            outputs = (port for port, (_, kind) in part.ports.items() if kind == "o")
            boxes[part.type] = frozenset(outputs)
            continue
        own = next((o for o in part.origins or () if isinstance(o, wiring.Component)), None)
        if own is None:
            continue
        declared = {}
        for public, _, port in _ports(own):
            if isinstance(port, Signal) and port in names:
                *where, wire = names[port]
                if tuple(where) == path:
                    declared[public] = wire
        interfaces[".".join(path)] = Interface(declared, _header(own))
    return text, interfaces, boxes


def _ports(component: wiring.Component) -> Iterator[tuple[str, wiring.Member, Value]]:
    """Name, member and value of each port."""
    signature = component.signature
    for path, member, port in signature.flatten(component):
        yield "__".join(map(str, path)), member, Value.cast(port)


def _parts(fragment: Fragment, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Fragment]]:
    """A fragment and all that it contains, with their places."""
    yield path, fragment
    for n, (inner, name, _) in enumerate(fragment.subfragments):
        yield from _parts(inner, (*path, name or f"U${n}"))


def _header(component: wiring.Component) -> str:
    """What a module is: its component's documentation, and where that is."""
    words = inspect.getdoc(component) or ""
    kind = type(component)
    return f"{kind.__name__} ({kind.__module__.replace('.', '/')}.py)\n\n{words}"
