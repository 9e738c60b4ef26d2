"""Verilog expressions from the operators of a netlist.

Verilog's rules for width and sign apply (IEEE 1364-2005, 5.4 and 5.5): an operator is inlined into
another only if that changes neither its width nor its sign.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gen.verilog.names import plain
from gen.verilog.netlist import BINARY, UNARY, Netlist
from gen.verilog.rtlil import Cell, Module, Part, Signal, known_bits, width

ONE_BIT = {"==", "!=", "<", "<=", ">", ">="}
SHIFTS = {"<<", ">>", ">>>"}
REDUCED = ("$reduce_and", "$reduce_or", "$reduce_xor", "$reduce_bool")

CHAIN = 160
"""Maximum length of an inlined ?: chain, in characters."""

INSIDE = 72
"""Maximum length of any other inlined operator, in characters."""


@dataclass(frozen=True)
class Text:
    """An expression. bits: its self-determined width. operator: it has two or more operands."""

    text: str
    bits: int
    operator: bool = False
    signed: bool = False


class Expressions:
    """Writes the values of a module. names: the identifiers of its wires."""

    def __init__(self, netlist: Netlist, module: Module, names: Mapping[str, str]) -> None:
        self.module, self.names = module, names
        self.states = {
            (wire, code): plain(f"{names[wire].removeprefix('fsm_')}_{name}".upper())
            for wire, of in netlist.interface(module.name).states.items()
            for code, name in of.items()
        }
        self.operators = module.operators
        muxes = {wire: cell for wire, cell in self.operators.items() if cell.kind == "$mux"}
        self.otherwise = {
            cell.ports["A"][0].wire
            for cell in muxes.values()
            if len(cell.ports["A"]) == 1 and cell.ports["A"][0].wire in muxes
        }
        self.found: dict[str, Text | None] = {}
        self.uses: Counter[str] = Counter()
        self.in_parts: set[str] = set()
        for part, times in netlist.reads(module).items():
            if part.wire:
                self.uses[part.wire] += times
                if part.width != module.wires[part.wire].width:
                    self.in_parts.add(part.wire)

    def inside(self, wire: str) -> Text | None:
        """The expression to inline in place of a net; None if the net must be declared."""
        if wire not in self.found:
            text = self._inside(wire)
            most = CHAIN if wire in self.otherwise else INSIDE
            self.found[wire] = text if text and len(text.text) <= most else None
        return self.found[wire]

    def _inside(self, wire: str) -> Text | None:
        cell = self.operators.get(wire)
        if cell is None or wire[0] != "$" or self.uses[wire] != 1 or wire in self.in_parts:
            return None
        text = self.operator(cell)
        same = text.bits == width(cell.ports["Y"])
        return text if same and not text.signed else None

    def part(self, part: Part, context: int | None = None) -> str:
        """Text of a part. context: Width in bits of its context; None if it is self-determined."""
        if not part.wire:
            return constant(part.bits)
        wire = self.module.wires[part.wire]
        if part.width != wire.width:
            at = f"{part.high}:{part.low}" if part.width > 1 else f"{part.low}"
            return f"{self.names[part.wire]}[{at}]"
        inside = self.inside(part.wire)
        if inside is None:
            return self.names[part.wire]
        if context is None or context == inside.bits:
            return f"({inside.text})" if inside.operator else inside.text
        return f"{{{inside.text}}}"

    def signal(self, signal: Signal, context: int | None = None, *, signed: bool = False) -> str:
        """Text of a value.

        context: Width in bits of its context; None if it is self-determined.
        signed: Write it as a signed value.
        """
        if not width(signal):
            return "1'b0"
        if len(signal) == 1:
            text = self.part(signal[0], None if signed else context)
        else:
            runs: list[tuple[Part, int]] = []
            for part in signal:
                if runs and runs[-1][0] == part and part.wire:
                    runs[-1] = part, runs[-1][1] + 1
                else:
                    runs.append((part, 1))
            own = [(bare(self.part(part)), times) for part, times in runs]
            texts = [text if times == 1 else f"{{{times}{{{text}}}}}" for text, times in own]
            text = texts[0] if len(texts) == 1 else f"{{{', '.join(texts)}}}"
        if not signed:
            return text
        if len(signal) == 1 and not signal[0].wire:
            return text.replace("'", "'s")
        return f"$signed({bare(text)})"

    def state(self, of: Signal, bits: str) -> str | None:
        """Name of a state, if a signal is a state register."""
        if len(of) != 1 or not bits or not set(bits) <= {"0", "1"}:
            return None
        return self.states.get((of[0].wire, int(bits, 2)))

    def condition(self, part: Part, bit: str) -> str:
        """Condition that a bit is 1, or 0."""
        return bare(self.part(part)) if bit == "1" else f"!{_operand(self.part(part))}"

    def operator(self, cell: Cell) -> Text:
        """Expression that a cell computes."""
        ports, kind = cell.ports, cell.kind
        y, a_bits = width(ports["Y"]), width(ports["A"])
        if kind == "$mux":
            s, a, b = (self.signal(ports[n], None if n == "S" else y) for n in "SAB")
            chained = len(ports["A"]) == 1 and ports["A"][0].wire in self.otherwise
            return Text(f"{s} ? {b} : {bare(a) if chained else a}", y, operator=True)
        signed = cell.parameters["A_SIGNED"] == "1"
        if kind in REDUCED and not a_bits:
            return Text(constant("1" if kind == "$reduce_and" else "0"), 1)
        if kind in REDUCED:
            return Text(f"{UNARY[kind]}{_operand(self.signal(ports['A']))}", 1)
        if kind in UNARY:
            signed = signed and y > a_bits
            a = self.signal(ports["A"], max(y, a_bits), signed=signed)
            return Text(f"{UNARY[kind]}{_operand(a)}", a_bits, signed=signed)
        operator, b_bits = BINARY[kind], width(ports["B"])
        if operator in SHIFTS:
            signed = signed and (operator == ">>>" or y > a_bits)
            a = self.signal(ports["A"], max(y, a_bits), signed=signed)
            return Text(f"{a} {operator} {self.signal(ports['B'])}", a_bits, True, signed)
        signed = signed and cell.parameters["B_SIGNED"] == "1"
        context = max(a_bits, b_bits, 0 if operator in ONE_BIT else y)
        # Constants get the width of the other operand.
        ports = {name: _extended(ports[name], context, signed=signed) for name in "AB"}
        a, b = (self.signal(ports[n], context, signed=signed) for n in "AB")
        if operator in ONE_BIT:
            return Text(f"{a} {operator} {b}", 1, operator=True)
        return Text(f"{a} {operator} {b}", max(a_bits, b_bits), True, signed)


def _extended(signal: Signal, bits: int, *, signed: bool) -> Signal:
    """A constant extended to `bits` bits; any other signal unchanged."""
    own = known_bits(signal)
    if own is None:
        return signal
    sign = own[:1] if signed and own[:1] else "0"
    return (Part(bits=own.rjust(max(1, bits), sign)),)


def _operand(text: str) -> str:
    """An operand of a unary operator, in parentheses where the two would read as one operator."""
    return f"({text})" if text[0] in "~-&|^" else text


def bare(text: str) -> str:
    """An expression without its outer parentheses."""
    if not text.startswith("("):
        return text
    depth = 0
    for n, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[1:-1] if n == len(text) - 1 else text
    return text


def grouped(text: str) -> str:
    """An expression in parentheses if it has more than one operand."""
    return text if re.fullmatch(r"[!~]?[\w\[\]:]+", text) else f"({text})"


def constant(bits: str) -> str:
    """Verilog literal of a constant."""
    if len(bits) == 1 or not set(bits) <= {"0", "1"}:
        return f"{len(bits)}'b{bits.replace('-', 'x')}"
    return f"{len(bits)}'h{int(bits, 2):x}"


def span(bits: int) -> str:
    """The range of a declaration."""
    return f"[{bits - 1}:0] " if bits > 1 else ""
