"""Reader for RTLIL, the netlist format that Amaranth writes for Yosys.

See Yosys's manual, "RTLIL text representation". The reader knows the subset that Amaranth's back
end writes; anything else raises ValueError.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Wire:
    """A net.

    name: Name without RTLIL's backslash; "$..." for a net without a name of its own.
    width: Width in bits.
    direction: "input", "output" or "inout" of a port, else "".
    init: Initial bits, the highest first, or None.
    """

    name: str
    width: int
    direction: str = ""
    init: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """Bits high to low of a wire, or a constant.

    bits: Bits of a constant (0, 1, x, -), the highest first.
    """

    wire: str = ""
    high: int = 0
    low: int = 0
    bits: str = ""

    @property
    def width(self) -> int:
        """Width in bits."""
        return len(self.bits) if not self.wire else self.high - self.low + 1


Signal = tuple[Part, ...]
"""Concatenated parts, the highest first."""


def width(signal: Signal) -> int:
    """Width in bits."""
    return sum(part.width for part in signal)


def known_bits(signal: Signal) -> str | None:
    """Bits of a constant; None if a signal has a wire or an unknown bit."""
    bits = "".join(part.bits for part in signal)
    return bits if len(bits) == width(signal) and set(bits) <= {"0", "1"} else None


def bits_of(signal: Signal, high: int, low: int) -> Signal:
    """Bits high to low of a signal."""
    parts, at = [], width(signal)
    for part in signal:
        at -= part.width
        top, bottom = min(high - at, part.width - 1), max(low - at, 0)
        if top < bottom:
            continue
        if part.wire:
            parts.append(Part(part.wire, part.low + top, part.low + bottom))
        else:
            parts.append(Part(bits=part.bits[part.width - 1 - top : part.width - bottom]))
    return tuple(parts)


def joined(signal: Signal) -> Signal:
    """The same bits in as few parts as possible."""
    parts: list[Part] = []
    for part in signal:
        last = parts[-1] if parts else None
        if last and last.wire and last.wire == part.wire and last.low == part.high + 1:
            parts[-1] = Part(part.wire, last.high, part.low)
        elif last and not last.wire and not part.wire:
            parts[-1] = Part(bits=last.bits + part.bits)
        else:
            parts.append(part)
    return tuple(parts)


@dataclass
class Cell:
    """An operator, a port of a memory, a register, or an instance of a module."""

    kind: str
    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    ports: dict[str, Signal] = field(default_factory=dict)

    @property
    def memory(self) -> str:
        """Memory that a memory port belongs to; "" for any other cell."""
        return re.sub(r'["\\]', "", self.parameters.get("MEMID", ""))

    @property
    def signed(self) -> bool:
        """Whether an operand is signed."""
        return "1" in (self.parameters.get("A_SIGNED"), self.parameters.get("B_SIGNED"))

    def number(self, parameter: str) -> int:
        """Value of a numeric parameter."""
        return int(self.parameters[parameter])


@dataclass(frozen=True)
class Assign:
    """Assignment in a process."""

    target: Signal
    value: Signal


@dataclass(frozen=True)
class Switch:
    """Case statement in a process: the first case that matches `value` is executed.

    cases: Patterns and statements of each case; no patterns match any value.
    """

    value: Signal
    cases: tuple[tuple[tuple[str, ...], "Statements"], ...]


Statement = Assign | Switch
Statements = tuple[Statement, ...]


@dataclass
class Memory:
    """A memory: its width in bits and its size in words."""

    name: str
    width: int
    size: int
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class Module:
    """A module; its entries are in the order in which they are written."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    processes: list[Statements] = field(default_factory=list)
    connections: list[tuple[Signal, Signal]] = field(default_factory=list)

    @property
    def operators(self) -> dict[str, Cell]:
        """Operators by the wire that each drives."""
        return {cell.ports["Y"][0].wire: cell for cell in self.cells if "Y" in cell.ports}


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\\$]\S+|[{}]|\[[^\]]*\]|[^\s{}\[\]]+')


class _Reader:
    """Reads RTLIL line by line."""

    def __init__(self, text: str) -> None:
        self.lines: Iterator[list[str]] = (
            words for line in text.splitlines() if (words := TOKEN.findall(line))
        )
        self.module: Module

    def modules(self) -> Iterator[Module]:
        attributes: dict[str, str] = {}
        for words in self.lines:
            if words[0] == "attribute":
                attributes[_name(words[1])] = words[2]
            elif words[0] == "module":
                self.module = Module(_name(words[1]), attributes)
                attributes = {}
                self._body()
                yield self.module
            else:
                raise ValueError(f"RTLIL has {words}")

    def _body(self) -> None:
        module, attributes = self.module, {}
        for words in self.lines:
            what, *rest = words
            if what == "end":
                return
            if what == "attribute":
                attributes[_name(rest[0])] = rest[1]
                continue
            if what == "wire":
                wire = self._wire(rest, attributes)
                module.wires[wire.name] = wire
            elif what == "memory":
                options = dict(zip(rest[:-1:2], rest[1:-1:2], strict=True))
                name = _name(rest[-1])
                sizes = int(options["width"]), int(options["size"])
                module.memories[name] = Memory(name, *sizes, attributes)
            elif what == "cell":
                module.cells.append(self._cell(_name(rest[0]), _name(rest[1])))
            elif what == "process":
                statements, end = self._statements()
                assert end == "end"
                module.processes.append(statements)
            elif what == "connect":
                target, place = self._signal(rest, 0)
                if target:
                    module.connections.append((target, self._signal(rest, place)[0]))
            else:
                raise ValueError(f"RTLIL has {words}")
            attributes = {}

    @staticmethod
    def _wire(words: list[str], attributes: dict[str, str]) -> Wire:
        name, options = _name(words[-1]), words[:-1]
        bits = int(options[options.index("width") + 1]) if "width" in options else 1
        direction = next((d for d in ("input", "output", "inout") if d in options), "")
        init = attributes.pop("init", None)
        return Wire(name, bits, direction, init and init.partition("'")[2], attributes)

    def _cell(self, kind: str, name: str) -> Cell:
        cell = Cell(kind, name)
        for what, *rest in self.lines:
            if what == "end":
                break
            if what == "parameter":
                cell.parameters[_name(rest[-2])] = rest[-1]
            else:
                assert what == "connect", what
                cell.ports[_name(rest[0])] = self._signal(rest, 1)[0]
        return cell

    def _statements(self) -> tuple[Statements, str]:
        """Statements up to the line that ends them, and that line."""
        found: list[Statement] = []
        for words in self.lines:
            what, *rest = words
            if what == "assign":
                target, place = self._signal(rest, 0)
                found.append(Assign(target, self._signal(rest, place)[0]))
            elif what == "switch":
                found.append(self._switch(rest))
            elif what in ("case", "end"):
                return tuple(found), " ".join(words)
            elif what != "attribute":
                raise ValueError(f"RTLIL has {words}")
        raise ValueError("RTLIL ends in a process")

    def _switch(self, words: list[str]) -> Switch:
        cases = []
        nothing, line = self._statements()
        assert not nothing
        while line.startswith("case"):
            patterns = [p.partition("'")[2] for p in line[4:].replace(",", " ").split()]
            statements, line = self._statements()
            cases.append((tuple(patterns), statements))
        return Switch(self._signal(words, 0)[0], tuple(cases))

    def _signal(self, words: list[str], place: int) -> tuple[Signal, int]:
        """The signal that starts at a word, and the index of the next word."""
        word = words[place]
        if word == "{":
            parts: list[Part] = []
            place += 1
            while words[place] != "}":
                own, place = self._signal(words, place)
                parts += own
            return tuple(parts), place + 1
        if word[0] in "\\$":
            wire = self.module.wires[_name(word)]
            high, low = wire.width - 1, 0
            if place + 1 < len(words) and words[place + 1][0] == "[":
                place += 1
                first, _, last = words[place][1:-1].partition(":")
                high, low = int(first), int(last or first)
            return (Part(wire.name, high, low),), place + 1
        _, _, bits = word.partition("'")
        return ((Part(bits=bits),) if bits else ()), place + 1


def _name(word: str) -> str:
    return word.removeprefix("\\")


def read(text: str) -> list[Module]:
    """Modules of a netlist. Raises ValueError for RTLIL that Amaranth does not write."""
    return list(_Reader(text).modules())
