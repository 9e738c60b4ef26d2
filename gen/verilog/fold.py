"""Constant folding, so that constants of a design leave no logic in its Verilog."""

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
    known_bits,
    width,
)


def fold(module: Module) -> None:
    """Remove operators and branches with a known result."""
    folded = True
    while folded:
        folded, kept = False, []
        for cell in module.cells:
            value = _known(cell)
            if value is None:
                kept.append(cell)
            else:
                folded = True
                module.connections.append((cell.ports["Y"], value))
        module.cells = kept
        module.processes = [_decided(statements) for statements in module.processes]
        put_through(module)
    for cell in module.cells:
        if cell.kind in COMPARISONS and not cell.signed:
            _trim(cell)


def _known(cell: Cell) -> Signal | None:
    """Output of a cell if it is constant or bits of an input; None for any other cell."""
    ports = cell.ports
    if cell.kind == "$mux":
        s = known_bits(ports["S"])
        return None if s is None else ports["B" if s == "1" else "A"]
    if cell.kind in ("$shr", "$shift") and not cell.signed:
        return _shifted(ports["A"], known_bits(ports["B"]), width(ports["Y"]))
    if cell.kind in ("$and", "$or") and {width(ports[name]) for name in "ABY"} == {1}:
        for own, other in (("A", "B"), ("B", "A")):
            bit = known_bits(ports[own])
            if bit is not None:
                return ports[other if bit == ("1" if cell.kind == "$and" else "0") else own]
    if cell.kind in ("$eq", "$ne") and not cell.signed:
        a, b = known_bits(ports["A"]), known_bits(ports["B"])
        if a is not None and b is not None:
            equal = a.lstrip("0") == b.lstrip("0")
            return (Part(bits="1" if equal == (cell.kind == "$eq") else "0"),)
    return None


def _shifted(a: Signal, by: str | None, bits: int) -> Signal | None:
    """The `bits` low bits of `a >> by`, if `by` is a constant; else None."""
    if by is None:
        return None
    low = int(f"0{by}", 2)
    part = bits_of(a, min(width(a), low + bits) - 1, low) if low < width(a) else ()
    zeros = bits - width(part)
    return (*((Part(bits="0" * zeros),) if zeros else ()), *part)


def _trim(cell: Cell) -> None:
    """Drop leading zeros from a comparison."""
    a, b = cell.ports["A"], known_bits(cell.ports["B"])
    if not a or a[0].wire or b is None:
        return
    zeros = len(a[0].bits) - len(a[0].bits.lstrip("0"))
    bits = max(width(a) - zeros, len(b.lstrip("0")))
    if 0 < bits < width(a):
        cell.ports["A"] = bits_of(a, bits - 1, 0)


COMPARISONS = {"$eq", "$ne", "$lt", "$le", "$gt", "$ge"}


def put_through(module: Module) -> None:
    """Replace each unnamed net by its driver."""
    own = {t[0].wire: v for t, v in module.connections if whole(module, t)}
    own = {n: v for n, v in own.items() if n[0] == "$" and not module.wires[n].direction}
    module.connections = [(t, v) for t, v in module.connections if t[0].wire not in own]
    replace(module, own)


def _decided(statements: Statements) -> Statements:
    """Statements without zero-width assignments and without branches on a constant."""
    found: list[Assign | Switch] = []
    for statement in statements:
        if isinstance(statement, Assign):
            found += [statement] if statement.target else []
            continue
        cases = tuple((patterns, _decided(inner)) for patterns, inner in statement.cases)
        bits = known_bits(statement.value)
        if bits is None:
            found.append(Switch(statement.value, cases))
            continue
        for patterns, inner in cases:
            if not patterns or any(_matches(bits, pattern) for pattern in patterns):
                found += inner
                break
    return tuple(found)


def _matches(bits: str, pattern: str) -> bool:
    return all(want in ("-", bit) for bit, want in zip(bits, pattern, strict=True))
