"""A design's netlist while it is made ready to be written: modules, and what is read in them."""

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
    """What a component tells about its module. ports: those it declares, in order, each with the
    wire that it is in the netlist; header: what stands in front of the module; states: of wires
    that are a state of a state machine, the name of each."""

    ports: Mapping[str, str] = field(default_factory=dict)
    header: str = ""
    states: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Register:
    """A register, and the statements that decide its next value; without any it keeps it."""

    target: Signal
    statements: Statements


@dataclass
class Netlist:
    """A design: its modules, the first the top; what their components tell; and the outputs of
    the modules that it only instantiates."""

    modules: dict[str, Module]
    interfaces: Mapping[str, Interface]
    boxes: Mapping[str, frozenset[str]]
    registers: dict[str, list[Register]] = field(default_factory=dict)

    def interface(self, name: str) -> Interface:
        """What is known of a module; nothing, where no component made it."""
        return self.interfaces.get(name, Interface())

    def instance(self, name: str) -> Cell | None:
        """The cell that instantiates a module; None for the top. Amaranth makes one each."""
        cells = (cell for module in self.modules.values() for cell in module.cells)
        return next((cell for cell in cells if cell.kind == name), None)

    def outputs(self, cell: Cell) -> frozenset[str]:
        """The ports of a cell that it drives."""
        if cell.kind in self.modules:
            wires = self.modules[cell.kind].wires
            return frozenset(name for name in cell.ports if wires[name].direction == "output")
        if cell.kind in self.boxes:
            return self.boxes[cell.kind]
        return frozenset({"DATA"} if cell.kind == "$memrd_v2" else {"Y", "Q"})

    def reads(self, module: Module) -> Counter[Part]:
        """Which parts are read, and how often."""
        found: Counter[Part] = Counter()
        for cell in module.cells:
            outputs = self.outputs(cell)
            for name, signal in cell.ports.items():
                if name not in outputs:
                    # The bits of an enable are one condition for as many bits of a word.
                    found.update({*signal} if name == "EN" else signal)
        for _, value in module.connections:
            found.update(value)
        decided = [register.statements for register in self.registers.get(module.name, ())]
        for statements in [*module.processes, *decided]:
            for value in _values(statements):
                found.update(value)
        return found


def whole(module: Module, signal: Signal) -> Wire | None:
    """The wire that a signal is all of."""
    if len(signal) != 1 or not signal[0].wire:
        return None
    wire = module.wires[signal[0].wire]
    return wire if signal[0].width == wire.width else None


def targets(statements: Iterable[Assign | Switch]) -> list[Part]:
    """What statements assign to."""
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
    """Statements with other values and targets."""
    return tuple(
        Assign(target(s.target), value(s.value))
        if isinstance(s, Assign)
        else Switch(value(s.value), tuple((p, changed(i, value, target)) for p, i in s.cases))
        for s in statements
    )


def rewrite(module: Module, value: Callable[[Signal], Signal]) -> None:
    """Other parts wherever wires are read or driven."""
    for cell in module.cells:
        cell.ports = {name: value(signal) for name, signal in cell.ports.items()}
    module.processes = [changed(own, value, value) for own in module.processes]
    module.connections = [(value(t), value(v)) for t, v in module.connections]


def replace(module: Module, wires: Mapping[str, Signal]) -> None:
    """Wires by others of the same width."""

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
