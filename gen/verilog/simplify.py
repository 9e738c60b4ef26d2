"""Simplify a netlist before it is written as Verilog: one net per quantity, under its own name.

Amaranth merges connected signals into one net and picks a name in each module; it repeats shared
expressions; and it keeps the next value of each register in a separate net. This pass merges equal
operators, removes aliases, restores the declared ports, and reads record fields by name.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from gen.verilog.fold import fold, put_through
from gen.verilog.netlist import (
    KNOWN,
    OF_MEMORY,
    OPERATORS,
    Interface,
    Netlist,
    Register,
    changed,
    replace,
    targets,
    whole,
)
from gen.verilog.ports import declare_ports
from gen.verilog.rtlil import (
    Assign,
    Cell,
    Module,
    Part,
    Signal,
    Switch,
    Wire,
    bits_of,
    joined,
    width,
)


def simplified(
    modules: Sequence[Module],
    interfaces: Mapping[str, Interface],
    boxes: Mapping[str, frozenset[str]],
) -> Netlist:
    """The simplified netlist of a design. Raises ValueError for a cell without a Verilog form."""
    netlist = Netlist({module.name: module for module in modules}, interfaces, boxes)
    for module in modules:
        unknown = {c.kind for c in module.cells if c.kind[0] == "$"} - KNOWN
        if unknown:
            raise ValueError(f"{module.name}: no Verilog is known for {', '.join(unknown)}")
        _drop_elements(netlist, module)
        _merge_equal(module)
        fold(module)
        _narrow(netlist, module)
        _connect(module)
        put_through(module)
    for module in reversed(modules):  # inner modules first
        declare_ports(netlist, module)
    for module in modules:
        _merge_names(module)
        _drop_copies(netlist, module)
        _read_by_name(netlist, module)
        netlist.registers[module.name] = _registers(netlist, module)
        _drop_unread(netlist, module)
    return netlist


def _drop_elements(netlist: Netlist, module: Module) -> None:
    """Drop the extra wires for array elements: the array itself is a named wire."""
    read = {part.wire for part in netlist.reads(module)}
    elements = {name for name in module.wires if name.endswith("]")} - read
    module.connections = [(t, v) for t, v in module.connections if t[0].wire not in elements]
    for name in elements:
        del module.wires[name]


def _merge_equal(module: Module) -> None:
    """Merge operators of the same kind with the same inputs."""
    while True:
        known: dict[object, Cell] = {}
        same: dict[str, Signal] = {}
        for cell in module.cells:
            if cell.kind not in OPERATORS:
                continue
            inputs = tuple(cell.ports[name] for name in ("A", "B", "S") if name in cell.ports)
            first = known.setdefault((cell.kind, *cell.parameters.items(), inputs), cell)
            if first is not cell:
                same[cell.ports["Y"][0].wire] = first.ports["Y"]
        if not same:
            return
        module.cells = [c for c in module.cells if c.ports.get("Y", (Part(),))[0].wire not in same]
        replace(module, same)


LOW_BITS = {"$add", "$sub", "$mul", "$and", "$or", "$xor", "$not", "$neg", "$mux"}
"""Operators whose low output bits depend only on low input bits."""


def _narrow(netlist: Netlist, module: Module) -> None:
    """Narrow operators whose high bits are never read."""
    operators = {wire: cell for wire, cell in module.operators.items() if cell.kind in LOW_BITS}
    while True:
        needed: dict[str, int] = {}
        for part in netlist.reads(module):
            if part.wire in operators and part.wire[0] == "$":
                needed[part.wire] = max(needed.get(part.wire, 0), part.high + 1)
        fewer = {w: bits for w, bits in needed.items() if bits < module.wires[w].width}
        if not fewer:
            return
        for name, bits in fewer.items():
            cell = operators[name]
            module.wires[name].width = bits
            cell.ports["Y"] = (Part(name, bits - 1, 0),)
            cell.parameters["WIDTH" if cell.kind == "$mux" else "Y_WIDTH"] = str(bits)
            for port in "AB":
                if port in cell.ports and width(cell.ports[port]) > bits:
                    cell.ports[port] = bits_of(cell.ports[port], bits - 1, 0)


def _connect(module: Module) -> None:
    """Turn a process without branches into a connection."""
    kept = []
    for statements in module.processes:
        wires = {part.wire for part in targets(statements)}
        first = statements[0] if statements else None
        if len(wires) != 1 or not isinstance(first, Assign) or whole(module, first.target) is None:
            kept.append(statements)
            continue
        value: Signal = ()
        for statement in statements:
            if isinstance(statement, Switch):
                kept.append(statements)
                break
            (part,) = statement.target
            high = module.wires[part.wire].width - 1
            above = bits_of(value, high, part.high + 1) if part.high < high else ()
            below = bits_of(value, part.low - 1, 0) if part.low else ()
            value = joined((*above, *statement.value, *below))
        else:
            module.connections.append((first.target, value))
    module.processes = kept


def _drop_copies(netlist: Netlist, module: Module) -> None:
    """Drop nets that only repeat a connection to a port of an instance."""
    connected = set()
    for cell in module.cells:
        known = {wire: public for public, wire in netlist.interface(cell.kind).ports.items()}
        connected |= {(known.get(port, port), joined(s)) for port, s in cell.ports.items()}
    gone: dict[str, Signal] = {}
    for target, value in module.connections:
        wire = whole(module, target)
        if wire is not None and not wire.direction:
            base = wire.name.partition("$")[0]
            if (base, joined(value)) in connected:
                gone[wire.name] = value
    module.connections = [(t, v) for t, v in module.connections if t[0].wire not in gone]
    replace(module, gone)


def _merge_names(module: Module) -> None:
    """Merge aliases, keeping the better name."""
    changed: dict[str, Signal] = {}

    def final(wire: Wire) -> Wire:
        while wire.name in changed:
            wire = module.wires[changed[wire.name][0].wire]
        return wire

    kept = []
    for target, value in module.connections:
        a, b = whole(module, target), whole(module, value)
        if a is None or b is None:
            kept.append((target, value))
            continue
        a, b = final(a), final(b)
        if a is b:
            continue
        if not b.direction and _poorer(b.name, a.name):
            changed[b.name] = (Part(a.name, a.width - 1, 0),)
            a.init = a.init or b.init
        elif not a.direction and ("$" in a.name or _poorer(a.name, b.name)):
            changed[a.name] = (Part(b.name, b.width - 1, 0),)
        else:
            kept.append((target, value))
    module.connections = kept
    replace(module, changed)


def _poorer(name: str, other: str) -> bool:
    """Whether a name is worse than another: private, a memory port's, or numbered."""

    def rank(own: str) -> int:
        return 3 if own[0] == "$" else 2 if OF_MEMORY.match(own) else 1 if "$" in own else 0

    return rank(name) > rank(other)


def _read_by_name(netlist: Netlist, module: Module) -> None:
    """Read slices and concatenations by their name if they have one.

    Fields of records that were merged into others are dropped.
    """
    named: dict[Signal, str] = {}
    gone = set()
    read = {part.wire for part in netlist.reads(module)}
    for target, own in module.connections:
        wire, value = whole(module, target), joined(own)
        record, dot, _ = wire.name.partition(".") if wire else ("", "", "")
        if wire is None or wire.direction or wire.name[0] == "$" or not value[0].wire:
            continue
        alone = len(value) == 1
        if alone and whole(module, value) is not None:
            continue  # an alias
        if value not in named and (not dot or (alone and value[0].wire == record)):
            named[value] = wire.name
        elif dot and wire.name not in read:
            gone.add(wire.name)
    module.connections = [(t, v) for t, v in module.connections if t[0].wire not in gone]
    for name in gone:
        del module.wires[name]
    parts = {v[0]: (name, v[0]) for v, name in named.items() if len(v) == 1}
    inside = [(name, v) for v, (name, _) in parts.items() if v.wire[0] == "$" or "." in name]

    def part_of(part: Part) -> Part:
        if part in parts:
            return Part(parts[part][0], part.width - 1, 0)
        around = [
            (own.width, name, own)
            for name, own in inside
            if own.wire == part.wire and own.low <= part.low and part.high <= own.high
        ]
        if around:
            _, name, own = min(around)
            return Part(name, part.high - own.low, part.low - own.low)
        return part

    def of(signal: Signal) -> Signal:
        name = named.get(joined(signal)) if len(signal) > 1 else None
        if name is not None:
            return (Part(name, width(signal) - 1, 0),)
        return tuple(part_of(part) for part in signal)

    names = {*named.values()}
    for cell in module.cells:
        outputs = netlist.outputs(cell)
        cell.ports = {n: s if n in outputs else of(s) for n, s in cell.ports.items()}
    module.processes = [changed(s, of, lambda target: target) for s in module.processes]
    module.connections = [(t, v if t[0].wire in names else of(v)) for t, v in module.connections]


def _drop_unread(netlist: Netlist, module: Module) -> None:
    """Drop registers that are never read, and the fields of records that only pass through."""
    top = netlist.instance(module.name) is None
    while True:
        read = {part.wire for part in netlist.reads(module)}
        registers = netlist.registers[module.name]
        kept = [
            register
            for register in registers
            if any(p.wire in read or module.wires[p.wire].direction for p in register.target)
        ]
        gone = {p.wire for r in registers if r not in kept for p in r.target}
        held = {p.wire for r in kept for p in r.target}
        for target, value in module.connections:
            name, record = target[0].wire, module.wires.get(value[0].wire)
            passes = record is not None and record.direction != "output" and record.name not in held
            if "." in name and name not in read and passes and not top:
                gone.add(name)
        if not gone:
            return
        netlist.registers[module.name] = kept
        module.connections = [(t, v) for t, v in module.connections if t[0].wire not in gone]
        for name in gone:
            del module.wires[name]


def _registers(netlist: Netlist, module: Module) -> list[Register]:
    """The registers. A process that computes only one register's next value becomes part of it."""
    reads: Counter[str] = Counter()
    for part, times in netlist.reads(module).items():
        reads[part.wire] += times
    deciding: dict[str, list[int]] = {}
    for n, statements in enumerate(module.processes):
        for name in {part.wire for part in targets(statements)}:
            deciding.setdefault(name, []).append(n)
    found, gone = [], set()
    for cell in module.cells:
        if cell.kind != "$dff":
            continue
        if cell.parameters["CLK_POLARITY"] != "1" or cell.ports["CLK"] != (Part("clk", 0, 0),):
            raise ValueError(f"{module.name}: a register is not of the rising edge of clk")
        following, target = cell.ports["D"], cell.ports["Q"]
        wire = whole(module, following)
        own = deciding.get(wire.name, []) if wire is not None and wire.name[0] == "$" else []
        alone = len(own) == 1 and len({p.wire for p in targets(module.processes[own[0]])}) == 1
        if wire is not None and alone and reads[wire.name] == 1:
            to = {wire.name: target}
            statements = changed(
                module.processes[own[0]],
                lambda value: value,
                lambda parts, to=to: tuple(  # type: ignore[misc]
                    p for part in parts for p in bits_of(to[part.wire], part.high, part.low)
                ),
            )
            kept = [s for s in statements if not (isinstance(s, Assign) and s.target == s.value)]
            found.append(Register(target, tuple(kept)))
            gone.add(own[0])
            del module.wires[wire.name]
        else:
            found.append(Register(target, (Assign(target, following),)))
    module.processes = [own for n, own in enumerate(module.processes) if n not in gone]
    module.cells = [cell for cell in module.cells if cell.kind != "$dff"]
    return found
