"""What is known when the Verilog is written: constants are folded into what reads them."""

from gen.verilog.netlist import replace, whole
from gen.verilog.rtlil import (
    Assign,
    Cell,
    Module,
    Part,
    Signal,
    Statements,
    Switch,
    bits_of,
    width,
)


def fold(module: Module) -> None:
    """Leave out operators and choices whose result is known."""
    while True:
        known: list[Cell] = []
        for cell in module.cells:
            value = _known(cell)
            if value is not None:
                module.connections.append((cell.ports["Y"], value))
                known.append(cell)
        module.cells = [cell for cell in module.cells if cell not in known]
        module.processes = [_decided(statements) for statements in module.processes]
        put_through(module)
        if not known:
            break
    _slice(module)


def _known(cell: Cell) -> Signal | None:
    """What a cell gives, where one of its inputs decides that."""
    ports = cell.ports
    if cell.kind == "$mux":
        s = _bits(ports["S"])
        return ports["B" if s == "1" else "A"] if s in ("0", "1") else None
    y = width(ports.get("Y", ()))
    if cell.kind in ("$and", "$or") and y == width(ports["A"]) == width(ports["B"]) == 1:
        for own, other in (("A", "B"), ("B", "A")):
            bit = _bits(ports[own])
            if bit == ("1" if cell.kind == "$and" else "0"):
                return ports[other]
            if bit in ("0", "1"):
                return ports[own]
    if cell.kind in ("$eq", "$ne") and all(_is_constant(ports[name]) for name in "AB"):
        a, b = _bits(ports["A"]), _bits(ports["B"])
        signed = "1" in (cell.parameters.get("A_SIGNED"), cell.parameters.get("B_SIGNED"))
        if not signed and set(a + b) <= {"0", "1"}:
            equal = a.lstrip("0") == b.lstrip("0")
            return (Part(bits="1" if equal == (cell.kind == "$eq") else "0"),)
    return None


def put_through(module: Module) -> None:
    """A net without a name that is connected to others is those."""
    own = {t[0].wire: v for t, v in module.connections if whole(module, t)}
    own = {n: v for n, v in own.items() if n[0] == "$" and not module.wires[n].direction}
    module.connections = [(t, v) for t, v in module.connections if t[0].wire not in own]
    replace(module, own)


def _decided(statements: Statements) -> Statements:
    """Without assignments to no bits, and without choices by a value that is known."""
    found: list[Assign | Switch] = []
    for statement in statements:
        if isinstance(statement, Assign):
            found += [statement] if statement.target else []
            continue
        cases = tuple((patterns, _decided(inner)) for patterns, inner in statement.cases)
        bits = _bits(statement.value)
        if len(bits) < width(statement.value) or not set(bits) <= {"0", "1"}:
            found.append(Switch(statement.value, cases))
            continue
        for patterns, inner in cases:
            if not patterns or any(_matches(bits, pattern) for pattern in patterns):
                found += inner
                break
    return tuple(found)


def _matches(bits: str, pattern: str) -> bool:
    return all(want in ("-", bit) for bit, want in zip(bits, pattern, strict=True))


def _slice(module: Module) -> None:
    """A shift by a constant is part of what is shifted; of two numbers that are compared, no more
    bits are than one of them can need."""
    for cell in module.cells:
        signed = "1" in (cell.parameters.get("A_SIGNED"), cell.parameters.get("B_SIGNED"))
        y = width(cell.ports.get("Y", ()))
        if cell.kind in ("$shr", "$shift") and not signed and _is_constant(cell.ports["B"]):
            a, by = cell.ports["A"], int("0" + _bits(cell.ports["B"]), 2)
            part = bits_of(a, min(width(a), by + y) - 1, by) if by < width(a) else ()
            zeros = y - width(part)
            value = (*((Part(bits="0" * zeros),) if zeros else ()), *part)
            module.connections.append((cell.ports["Y"], value))
    connected = {t[0].wire for t, _ in module.connections}
    module.cells = [
        cell
        for cell in module.cells
        if cell.kind not in ("$shr", "$shift") or cell.ports["Y"][0].wire not in connected
    ]
    put_through(module)
    for cell in module.cells:
        unsigned = "1" not in (cell.parameters.get("A_SIGNED"), cell.parameters.get("B_SIGNED"))
        if cell.kind in COMPARISONS and unsigned and _is_constant(cell.ports["B"]):
            a, b = cell.ports["A"], _bits(cell.ports["B"]).lstrip("0")
            first = a[0] if a else Part()
            zeros = 0 if first.wire else len(first.bits) - len(first.bits.lstrip("0"))
            bits = max(width(a) - zeros, len(b))
            if 0 < bits < width(a):
                cell.ports["A"] = bits_of(a, bits - 1, 0)
                cell.parameters["A_WIDTH"] = str(bits)


COMPARISONS = {"$eq", "$ne", "$lt", "$le", "$gt", "$ge"}


def _is_constant(signal: Signal) -> bool:
    return not any(part.wire for part in signal)


def _bits(signal: Signal) -> str:
    return "".join(part.bits for part in signal)
