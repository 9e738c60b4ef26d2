"""Readable Verilog (IEEE 1364-2005) from a netlist."""

import textwrap
from collections.abc import Mapping

from gen.verilog.expressions import Expressions, bare, constant, span
from gen.verilog.names import escaped, names_of, plain
from gen.verilog.netlist import Netlist, targets
from gen.verilog.rtlil import Cell, Memory, Module, Signal, Statements, bits_of
from gen.verilog.statements import StatementWriter, wrapped

HIDDEN = ("generator", "top", "src", "init")
"""Attributes that are not written."""


def write(netlist: Netlist) -> str:
    """Verilog of the modules of a simplified netlist, the top first."""
    modules = [*netlist.modules.values()]
    names: dict[str, dict[str, str]] = {}
    for module in reversed(modules):  # inner modules first
        names[module.name] = names_of(netlist, module, names)
    texts = []
    for module in modules:
        texts.append(_ModuleWriter(netlist, module, names).text())
    return "\n".join(texts)


class _ModuleWriter:
    """Writes one module."""

    def __init__(
        self,
        netlist: Netlist,
        module: Module,
        names: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.netlist, self.module, self.all_names = netlist, module, names
        self.interface = netlist.interface(module.name)
        self.names = names[module.name]
        self.expressions = Expressions(netlist, module, self.names)
        self.statements = StatementWriter(self.expressions)
        self.registers = netlist.registers[module.name]
        self.procedural = {part.wire for register in self.registers for part in register.target}

    def text(self) -> str:
        """Text of the module."""
        body = self._body()  # first: it finds the nets that processes assign
        lines = [f"// {line}".rstrip() for line in self.interface.header.splitlines()]
        attributes = [f"{k} = {v}" for k, v in self.module.attributes.items() if k not in HIDDEN]
        lines += [f"(* {', '.join(attributes)} *)"] if attributes else []
        ports = [self._declared(name, port=True) for name in self._ports()]
        lines.append(f"module {escaped(self.module.name)} (")
        lines += [f"  {port}," for port in ports[:-1]] + [f"  {port}" for port in ports[-1:]]
        lines.append(");")
        for (held, code), name in self.expressions.states.items():
            bits = self.module.wires[held].width
            lines.append(f"  localparam {span(bits)}{name} = {bits}'d{code};")
        for wire in self.module.wires.values():
            if not wire.direction and not self._hidden(wire.name):
                lines.append(f"  {self._declared(wire.name)};")
        lines += [f"  {line}" if line else "" for line in body]
        return "\n".join([*lines, "endmodule", ""])

    def _ports(self) -> list[str]:
        """Ports in order: clock, reset, the declared ones, any others."""
        own = [name for name, wire in self.module.wires.items() if wire.direction]
        order = ["clk", "rst", *self.interface.ports.values()]
        return sorted(own, key=lambda n: order.index(n) if n in order else len(order))

    def _declared(self, name: str, *, port: bool = False) -> str:
        wire = self.module.wires[name]
        kind = "reg" if name in self.procedural else "" if port else "wire"
        init = f" = {constant(wire.init)}" if wire.init and kind == "reg" else ""
        words = " ".join(filter(None, [wire.direction, kind]))
        return f"{words} {span(wire.width)}{self.names[name]}{init}"

    def _hidden(self, wire: str) -> bool:
        """Whether a net is inlined or unused, so that it needs no declaration."""
        if self.expressions.inside(wire) is not None:
            return True
        operator = wire in self.expressions.operators
        return operator and wire[0] == "$" and not self.expressions.uses[wire]

    def _body(self) -> list[str]:
        expressions, statements = self.expressions, self.statements
        lines: list[str] = []
        for target, value in self.module.connections:
            lines += wrapped(f"assign {statements.target(target)} = {self._bare(value)};")
        for name, cell in expressions.operators.items():
            if not self._hidden(name):
                lines += wrapped(f"assign {self.names[name]} = {expressions.operator(cell).text};")
        combinational: list[Statements] = []
        for own in self.module.processes:
            chosen = statements.chosen(own)
            if chosen is None:
                combinational.append(own)
            else:
                lines += wrapped(f"assign {chosen};")
        lines = ["", *lines] if lines else []
        if combinational:
            lines += ["", "// Triggers the processes below once at time 0."]
            lines += ["reg at_start;", "initial at_start = 1'b0;"]
        for own in combinational:
            self.procedural |= {part.wire for part in targets(own)}
            body = ["if (at_start) begin end", *statements.lines(own, "=")]
            lines += ["always @* begin", *(f"  {line}" for line in body), "end"]
        clocked = statements.clocked(self.registers)
        lines += ["", *clocked] if clocked else []
        for memory in self.module.memories.values():
            lines += ["", *self._memory(memory)]
        for cell in self.module.cells:
            if cell.kind[0] != "$":
                lines += ["", *self._instance(cell)]
        return lines

    def _bare(self, signal: Signal) -> str:
        return bare(self.expressions.signal(signal))

    # Memories.

    def _memory(self, memory: Memory) -> list[str]:
        """Declaration, initial contents and ports of a memory."""
        cells = [c for c in self.module.cells if c.memory == memory.name]
        attributes = [f"{k} = {v}" for k, v in memory.attributes.items() if k not in HIDDEN]
        name = plain(memory.name)
        lines = [f"(* {', '.join(attributes)} *)"] if attributes else []
        lines.append(f"reg {span(memory.width)}{name} [0:{memory.size - 1}];")
        for cell in cells:
            if cell.kind == "$meminit_v2":
                lines += self._initial(cell, memory, name)
            elif cell.kind == "$memwr_v2":
                lines += self._write_port(cell, name)
            else:
                lines += self._read_port(cell, name)
        return lines

    @staticmethod
    def _initial(cell: Cell, memory: Memory, name: str) -> list[str]:
        words = textwrap.wrap("".join(part.bits for part in cell.ports["DATA"]), memory.width)[::-1]
        if len({*words}) > 1 or len(words) != memory.size:
            sets = [f"  {name}[{n}] = {constant(word)};" for n, word in enumerate(words)]
            return ["initial begin", *sets, "end"]
        at = f"{name}_word"
        return [
            f"integer {at};",
            f"initial for ({at} = 0; {at} < {memory.size}; {at} = {at} + 1)",
            f"  {name}[{at}] = {constant(words[0])};",
        ]

    def _address(self, cell: Cell) -> str:
        return self._bare(cell.ports["ADDR"]) if cell.number("ABITS") else "0"

    def _write_port(self, cell: Cell, memory: str) -> list[str]:
        """A write port: one assignment for each group of bits with a common enable."""
        bits = [
            part for n in range(cell.number("WIDTH")) for part in bits_of(cell.ports["EN"], n, n)
        ]
        lines, low = [], 0
        while low < len(bits):
            enable, high = bits[low], low
            while high + 1 < len(bits) and bits[high + 1] == enable:
                high += 1
            at = f"[{high}:{low}]" if high > low else f"[{low}]"
            place = f"{memory}[{self._address(cell)}]{'' if high - low + 1 == len(bits) else at}"
            assign = f"{place} <= {self._bare(bits_of(cell.ports['DATA'], high, low))};"
            if enable.wire:
                lines.append(f"if ({bare(self.expressions.part(enable))}) {assign}")
            elif enable.bits == "1":
                lines.append(assign)
            low = high + 1
        if len(lines) < 2:
            return [f"always @(posedge clk) {line}" for line in lines]
        return ["always @(posedge clk) begin", *(f"  {line}" for line in lines), "end"]

    def _read_port(self, cell: Cell, memory: str) -> list[str]:
        target, at = self.statements.target(cell.ports["DATA"]), self._address(cell)
        if cell.parameters["CLK_ENABLE"] == "0":
            return [f"assign {target} = {memory}[{at}];"]
        self.procedural |= {part.wire for part in cell.ports["DATA"]}
        value = f"{memory}[{at}]"
        for n, bit in enumerate(reversed(cell.parameters["TRANSPARENCY_MASK"].partition("'")[2])):
            if bit == "1":  # transparent: reading a word during its write gives the new data
                write = next(
                    other
                    for other in self.module.cells
                    if other.kind == "$memwr_v2"
                    and other.memory == cell.memory
                    and other.number("PORTID") == n
                )
                (enable,) = {*write.ports["EN"]}
                same = f"{self.expressions.part(enable)} && {self._address(write)} == {at}"
                value = f"{same} ? {self.expressions.signal(write.ports['DATA'])} : {value}"
        (enable,) = cell.ports["EN"]
        condition = f"if ({bare(self.expressions.part(enable))}) " if enable.wire else ""
        line = f"always @(posedge clk) {condition}{target} <= {value};"
        return wrapped(line) if enable.wire or enable.bits == "1" else []

    # Instances.

    def _instance(self, cell: Cell) -> list[str]:
        names = self.all_names.get(cell.kind, {})
        head = escaped(cell.kind)
        if cell.parameters:
            values = ", ".join(f".{plain(k)}({v})" for k, v in cell.parameters.items())
            head = f"{head} #({values})"
        ports = []
        order = ["clk", "rst", *self.netlist.interface(cell.kind).ports.values()]
        for port, signal in sorted(
            cell.ports.items(), key=lambda p: order.index(p[0]) if p[0] in order else len(order)
        ):
            driven = port in self.netlist.outputs(cell)
            value = self.statements.target(signal) if driven else self._bare(signal)
            ports.append(f"  .{names.get(port, plain(port))}({value})")
        return [f"{head} {plain(cell.name)} (", *(f"{p}," for p in ports[:-1]), *ports[-1:], ");"]
