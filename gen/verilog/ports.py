"""Restore the ports that each component declares.

Amaranth derives a module's ports from the nets that cross its boundary, so their names and widths
depend on the rest of the design.
"""

from gen.verilog.netlist import Netlist, replace, rewrite, whole
from gen.verilog.rtlil import Cell, Module, Part, Signal, Wire, bits_of, joined


def declare_ports(netlist: Netlist, module: Module) -> None:
    """Give a module the ports that its component declares."""
    interface, instance = netlist.interface(module.name), netlist.instance(module.name)
    if instance is None:  # the top already has its ports
        return
    drivers = {t[0].wire: v for t, v in module.connections if whole(module, t)}
    inside: dict[str, list[tuple[str, Part]]] = {}  # netlist port -> declared ports that read it
    for name in interface.ports.values():
        wire = module.wires.get(name)
        if wire is None or wire.direction:
            continue
        driver = drivers.get(name, ())
        ports = [w for w in module.wires.values() if w.direction == "output"]
        (source,) = joined(driver) if len(joined(driver)) == 1 else (Part(),)
        if source.wire and module.wires[source.wire].direction == "input":
            inside.setdefault(source.wire, []).append((name, source))
            continue
        for port in ports:
            alias = drivers.get(port.name) == (Part(name, wire.width - 1, 0),)
            if port.name not in interface.ports.values() and (
                alias or driver == (Part(port.name, port.width - 1, 0),)
            ):
                _take_over(module, instance, port, wire)
                break
    # Enables first: they show which declared port writes a memory.
    for port_name, parts in sorted(inside.items(), key=lambda own: module.wires[own[0]].width):
        _split_input(netlist, module, instance, port_name, parts)


def _take_over(module: Module, instance: Cell, port: Wire, wire: Wire) -> None:
    """Make a wire the output port that it is an alias of."""
    both = {port.name, wire.name}
    module.connections = [
        (t, v)
        for t, v in module.connections
        if not ({p.wire for p in t} | {p.wire for p in v} == both and whole(module, t))
    ]
    wire.direction, wire.init = "output", wire.init or port.init
    instance.ports[wire.name] = instance.ports.pop(port.name)
    replace(module, {port.name: (Part(wire.name, wire.width - 1, 0),)})


def _split_input(
    netlist: Netlist, module: Module, instance: Cell, port: str, parts: list[tuple[str, Part]]
) -> None:
    """Split an input port into the declared ports. It stays if other bits of it are read."""
    outside = instance.ports[port]
    names = {name for name, _ in parts}
    module.connections = [(t, v) for t, v in module.connections if t[0].wire not in names]
    for name, part in parts:
        module.wires[name].direction = "input"
        instance.ports[name] = bits_of(outside, part.high, part.low)

    def of(signal: Signal, like: str = "", record: str = "") -> Signal:
        found: list[Part] = []
        for part in signal:
            fitting = [
                (
                    not (record and name.startswith(record)),
                    own.width,
                    name.partition("$")[0] != like.partition("$")[0],
                    n,
                    name,
                    own,
                )
                for n, (name, own) in enumerate(parts)
                if part.wire == port and own.low <= part.low and part.high <= own.high
            ]
            if fitting:
                *_, name, own = min(fitting)
                part = Part(name, part.high - own.low, part.low - own.low)
            found.append(part)
        return tuple(found)

    for cell in module.cells:
        record = _record(module, cell) if cell.kind == "$memwr_v2" else ""
        cell.ports = {
            name: of(signal, name if cell.kind in netlist.modules else "", record)
            for name, signal in cell.ports.items()
        }
    rewrite(module, of)
    if not any(part.wire == port for part in netlist.reads(module)):
        del module.wires[port], instance.ports[port]


def _record(module: Module, cell: Cell) -> str:
    """Prefix of the declared port that enables a memory's write port, such as "bias__"."""
    operators = module.operators
    inputs, todo, seen = [], [part.wire for part in cell.ports["EN"]], set()
    while todo:
        wire = todo.pop()
        if wire in seen or not wire:
            continue
        seen.add(wire)
        if wire in operators:
            own = operators[wire]
            todo += [p.wire for name in own.ports if name != "Y" for p in own.ports[name]]
        elif wire.partition("$")[0].endswith("__enable"):
            inputs.append(wire.partition("$")[0].removesuffix("enable"))
    return inputs[0] if len({*inputs}) == 1 else ""
