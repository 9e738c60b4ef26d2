"""Verilog of an Amaranth component."""

import contextlib
import gc
import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

from amaranth.back import rtlil as back
from amaranth.hdl import Fragment, Instance, Module, Signal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from gen.verilog import rtlil
from gen.verilog.netlist import Interface, Netlist
from gen.verilog.simplify import simplified
from gen.verilog.write import write


def to_verilog(component: wiring.Component, name: str) -> str:
    """Verilog of a component as a module of that name. The same component, the same bytes."""
    with _without_collection():
        return write(_simplified(component, name))


def simplified_netlist(component: wiring.Component, name: str) -> Netlist:
    """The netlist that `to_verilog` writes, for counting."""
    with _without_collection():
        return _simplified(component, name)


def _simplified(component: wiring.Component, name: str) -> Netlist:
    text, interfaces, boxes = netlist(component, name)
    return simplified(rtlil.read(text), interfaces, boxes)


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Disable garbage collection in a block that builds one large netlist.

    Nothing in it becomes garbage, and the searches would take a third of the time.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def netlist(
    component: wiring.Component, name: str
) -> tuple[str, dict[str, Interface], dict[str, frozenset[str]]]:
    """RTLIL of a component, with declarations of its modules and output ports of external modules.

    Declarations are by module: ports, header and states of the component behind it.
    """
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
        if not part.origins:
            continue
        own = next((o for o in part.origins if not isinstance(o, Module)), part.origins[-1])
        declared = {}
        for public, port in _declared(own):
            if isinstance(port, Signal) and port in names:
                *where, wire = names[port]
                if tuple(where) == path:
                    declared[public] = wire
        states = {}
        for machine in part.generated.values():
            *_, wire = names[machine.state]
            states[wire] = {code: name for name, code in machine.encoding.items()}
        interfaces[".".join(path)] = Interface(declared, _header(own), states)
    return text, interfaces, boxes


def _ports(component: wiring.Component) -> Iterator[tuple[str, wiring.Member, Value]]:
    """Name, member and value of each port."""
    signature = component.signature
    for path, member, port in signature.flatten(component):
        yield "__".join(map(str, path)), member, Value.cast(port)


def _declared(component: Any) -> Iterator[tuple[str, Any]]:
    """Ports by name; for Amaranth's queues, which declare none, all their signals."""
    if isinstance(component, wiring.Component):
        yield from ((public, port) for public, _, port in _ports(component))
    else:
        yield from ((name, v) for name, v in vars(component).items() if isinstance(v, Signal))


def _parts(fragment: Fragment, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Fragment]]:
    """A fragment and all fragments inside it, with their paths."""
    yield path, fragment
    for n, (inner, name, _) in enumerate(fragment.subfragments):
        yield from _parts(inner, (*path, name or f"U${n}"))


@cache
def _place(kind: type) -> str:
    """The file and line of a class."""
    return f"{kind.__module__.replace('.', '/')}.py:{inspect.getsourcelines(kind)[1]}"


def _header(component: Any) -> str:
    """Comment above a module: docstrings and source lines of its component's classes, latency."""
    kind = type(component)
    if kind.__module__.startswith("amaranth."):
        return f"{kind.__name__} of {kind.__module__}"
    lines = []
    for base in kind.__mro__:
        if base.__module__.startswith(("amaranth.", "builtins")):
            break
        lines += [f"{base.__name__}, {_place(base)}", "", inspect.cleandoc(base.__doc__ or ""), ""]
    latency = getattr(component, "latency", None)
    if isinstance(latency, int):
        lines.append(f"Latency here: {latency} cycle{'s' * (latency != 1)}.")
    return "\n".join(lines).rstrip()
