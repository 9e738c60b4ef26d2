"""A netlist during simplification: modules, what they read, and ways to rewrite them."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gen.verilog.rtlil import (
    Assign,
    Cell,
    Module,
    Part,
    Signal,
    Statements,
    Switch,
    Wire,
    bits_of,
)

UNARY = {
    **{"$not": "~", "$neg": "-", "$reduce_and": "&", "$reduce_or": "|", "$reduce_xor": "^"},
    "$reduce_bool": "|",
}
BINARY = {
    **{"$and": "&", "$or": "|", "$xor": "^", "$add": "+", "$sub": "-", "$mul": "*"},
    **{"$eq": "==", "$ne": "!=", "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">="},
    **{"$shl": "<<", "$shift": ">>", "$shr": ">>", "$sshr": ">>>"},
}
OPERATORS = {*UNARY, *BINARY, "$mux"}
KNOWN = {*OPERATORS, "$dff", "$meminit_v2", "$memrd_v2", "$memwr_v2"}


OF_MEMORY = re.compile(r"(read|write|[rw]_port)__")
"""Names that Amaranth gives to the ports of any memory."""


@dataclass(frozen=True)
class Interface:
    """Declarations of a component about its module.

    ports: Declared ports in order, each with its wire in the netlist.
    header: Comment above the module.
    states: For each state register of a state machine, the name of each code.
    """

    ports: Mapping[str, str] = field(default_factory=dict)
    header: str = ""
    states: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Register:
    """A register and the statements that assign it; without an assignment it keeps its value."""

    target: Signal
    statements: Statements


@dataclass
class Netlist:
    """A design.

    modules: Modules by name, the top first.
    interfaces: Declarations by module.
    boxes: Output ports of instantiated modules that are not part of the design.
    registers: Registers by module.
    """

    modules: dict[str, Module]
    interfaces: Mapping[str, Interface]
    boxes: Mapping[str, frozenset[str]]
    registers: dict[str, list[Register]] = field(default_factory=dict)

    def interface(self, name: str) -> Interface:
        """Declarations of a module's component; empty for a module without a component."""
        return self.interfaces.get(name, Interface())

    def instance(self, name: str) -> Cell | None:
        """The only cell that instantiates a module; None for the top."""
        cells = (cell for module in self.modules.values() for cell in module.cells)
        return next((cell for cell in cells if cell.kind == name), None)

    def outputs(self, cell: Cell) -> frozenset[str]:
        """The output ports of a cell."""
        if cell.kind in self.modules:
            wires = self.modules[cell.kind].wires
            return frozenset(name for name in cell.ports if wires[name].direction == "output")
        if cell.kind in self.boxes:
            return self.boxes[cell.kind]
        return frozenset({"DATA"} if cell.kind == "$memrd_v2" else {"Y", "Q"})

    def reads(self, module: Module) -> Counter[Part]:
        """How often each part of a wire is read."""
        found: Counter[Part] = Counter()
        for cell in module.cells:
            outputs = self.outputs(cell)
            for name, signal in cell.ports.items():
                if name not in outputs:
                    # The enable of a memory repeats one condition for each bit of the word.
                    found.update({*signal} if name == "EN" else signal)
        for _, value in module.connections:
            found.update(value)
        decided = [register.statements for register in self.registers.get(module.name, ())]
        for statements in [*module.processes, *decided]:
            for value in _values(statements):
                found.update(value)
        return found


def whole(module: Module, signal: Signal) -> Wire | None:
    """The wire that a signal is, if it is exactly one whole wire; else None."""
    if len(signal) != 1 or not signal[0].wire:
        return None
    wire = module.wires[signal[0].wire]
    return wire if signal[0].width == wire.width else None


def targets(statements: Iterable[Assign | Switch]) -> list[Part]:
    """All parts that statements assign."""
    found: list[Part] = []
    for statement in statements:
        if isinstance(statement, Assign):
            found += statement.target
        else:
            for _, inner in statement.cases:
                found += targets(inner)
    return found


def _values(statements: Iterable[Assign | Switch]) -> Iterable[Signal]:
    for statement in statements:
        yield statement.value
        if isinstance(statement, Switch):
            for _, inner in statement.cases:
                yield from _values(inner)


def changed(
    statements: Statements, value: Callable[[Signal], Signal], target: Callable[[Signal], Signal]
) -> Statements:
    """Statements with a function applied to every value, and one to every target."""
    return tuple(
        Assign(target(s.target), value(s.value))
        if isinstance(s, Assign)
        else Switch(value(s.value), tuple((p, changed(i, value, target)) for p, i in s.cases))
        for s in statements
    )


def rewrite(module: Module, value: Callable[[Signal], Signal]) -> None:
    """Apply a function to every signal of a module, read or driven."""
    for cell in module.cells:
        cell.ports = {name: value(signal) for name, signal in cell.ports.items()}
    module.processes = [changed(own, value, value) for own in module.processes]
    module.connections = [(value(t), value(v)) for t, v in module.connections]


def replace(module: Module, wires: Mapping[str, Signal]) -> None:
    """Replace wires by signals of the same width."""

    def of(signal: Signal) -> Signal:
        parts: list[Part] = []
        for part in signal:
            if part.wire in wires:
                parts += of(bits_of(wires[part.wire], part.high, part.low))
            else:
                parts.append(part)
        return tuple(parts)

    rewrite(module, of)
    for name in wires:
        del module.wires[name]
