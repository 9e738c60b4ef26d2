"""Identifiers of a module's nets: the source's names, or names derived from what nets compute."""

import re
from collections import Counter
from collections.abc import Mapping

from gen.verilog.netlist import OF_MEMORY, Netlist, whole
from gen.verilog.rtlil import Cell, Module, Part, Signal

_WORDS = """
always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign
default defparam design disable edge else end endcase endconfig endfunction endgenerate
endmodule endprimitive endspecify endtable endtask event for force forever fork function
generate genvar highz0 highz1 if ifnone incdir include initial inout input instance integer
join large liblist library localparam macromodule medium module nand negedge nmos nor
noshowcancelled not notif0 notif1 or output parameter pmos posedge primitive pull0 pull1
pulldown pullup pulsestyle_ondetect pulsestyle_onevent rcmos real realtime reg release repeat
rnmos rpmos rtran rtranif0 rtranif1 scalared showcancelled signed small specify specparam
strong0 strong1 supply0 supply1 table task time tran tranif0 tranif1 tri tri0 tri1 triand
trior trireg unsigned use uwire vectored wait wand weak0 weak1 while wire wor xnor xor
accept_on alias always_comb always_ff always_latch assert assume before bind bins binsof bit break
byte chandle checker class clocking const constraint context continue cover covergroup coverpoint
cross dist do endchecker endclass endclocking endgroup endinterface endpackage endprogram
endproperty endsequence enum eventually expect export extends extern final first_match foreach
forkjoin global iff ignore_bins illegal_bins implements implies import inside int interconnect
interface intersect join_any join_none let local logic longint matches modport nettype new nexttime
null package packed priority program property protected pure rand randc randcase randsequence ref
reject_on restrict return s_always s_eventually s_nexttime s_until s_until_with sequence shortint
shortreal soft solve static string strong struct super sync_accept_on sync_reject_on tagged this
throughout timeprecision timeunit type typedef union unique unique0 until until_with untyped var
virtual void wait_order weak wildcard with within
"""
KEYWORDS = frozenset(_WORDS.split())
"""Keywords of Verilog (IEEE 1364-2005, annex B) and SystemVerilog (IEEE 1800-2017, annex B)."""

LONGEST = 40
"""Maximum length of a derived name, in characters."""

SAYS = {
    **{"$and": "{A}_and_{B}", "$or": "{A}_or_{B}", "$xor": "{A}_xor_{B}", "$not": "not_{A}"},
    **{"$add": "{A}_plus_{B}", "$sub": "{A}_minus_{B}", "$mul": "{A}_times_{B}"},
    **{"$eq": "{A}_is_{B}", "$ne": "{A}_is_not_{B}", "$neg": "minus_{A}"},
    **{"$lt": "{A}_below_{B}", "$le": "{A}_up_to_{B}", "$gt": "{A}_above_{B}"},
    **{"$ge": "{A}_from_{B}", "$reduce_and": "all_{A}", "$reduce_or": "any_{A}"},
    **{"$reduce_bool": "any_{A}", "$reduce_xor": "parity_{A}", "$shl": "{A}_up_by_{B}"},
    **dict.fromkeys(("$shr", "$shift", "$sshr"), "{A}_down_by_{B}"),
}
"""Names derived from an operator and its operands."""


MEMORY_PORTS = {"$memrd_v2": "read", "$memwr_v2": "write"}


def plain(name: str) -> str:
    """A name as an identifier."""
    name = re.sub(r"\W", "_", name)
    name = f"n{name}" if name[:1].isdigit() else name
    return f"{name}_" if name in KEYWORDS else name


def escaped(name: str) -> str:
    """A name unchanged, escaped where Verilog requires it."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else f"\\{name} "


def names_of(
    netlist: Netlist, module: Module, children: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """The identifier of each wire. children: the identifiers in the modules instantiated here."""
    return _Names(netlist, module, children).found


class _Names:
    """Assigns the names of a module, the most reliable ones first."""

    def __init__(
        self, netlist: Netlist, module: Module, children: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.module = module
        self.found: dict[str, str] = {}
        instances = [cell for cell in module.cells if cell.kind[0] != "$"]
        self.taken = {plain(cell.name) for cell in instances}
        self.taken |= {plain(memory) for memory in module.memories} | {"at_start"}
        for public, own in netlist.interface(module.name).ports.items():
            if own in module.wires and module.wires[own].direction:
                self._give(own, public)
        for wire in module.wires.values():
            if wire.direction:
                self._give(wire.name, wire.name.partition("$")[0])
        between = self._between(netlist, instances, children)
        for wire in module.wires.values():
            if not re.search(r"[$.]", wire.name) and not OF_MEMORY.match(wire.name):
                at_instance, ports = between.get(wire.name, ("", set()))
                self._give(wire.name, at_instance if wire.name in ports else wire.name)
        for own, (at_instance, _) in between.items():
            self._give(own, at_instance)
        for cell in module.cells:
            if cell.kind in MEMORY_PORTS:
                self._name_memory_port(cell)
        for wire in module.wires.values():
            record, dot, element = wire.name.partition(".")
            base = re.sub(r"\$\d+", "", wire.name)
            if dot and record in self.found:
                self._give(wire.name, f"{self.found[record]}_{element}")
            elif base[:1] not in ("", "$"):
                self._give(wire.name, base)
        self.operators = module.operators
        self.readers = self._readers(netlist)
        for name in module.wires:
            self._give(name, self._described(name))

    def _give(self, wire: str, name: str) -> None:
        if wire in self.found:
            return
        own, n = plain(name), 1
        while own in self.taken:
            n += 1
            own = f"{plain(name)}__{n}"
        self.taken.add(own)
        self.found[wire] = own

    def _name_memory_port(self, cell: Cell) -> None:
        """Name nets at a memory port after the memory, the port and the signal."""
        memory, way = cell.memory, MEMORY_PORTS[cell.kind]
        alike = [c for c in self.module.cells if c.kind == cell.kind and c.memory == memory]
        own = f"{way}_{alike.index(cell)}" if len(alike) > 1 else way
        for port, what in (("ADDR", "address"), ("DATA", "data"), ("EN", "enable")):
            signal = cell.ports[port]
            wire = whole(self.module, signal[:1] if len({*signal}) == 1 else signal)
            if wire is not None and (wire.name[0] == "$" or OF_MEMORY.match(wire.name)):
                self._give(wire.name, f"{memory}_{own}_{what}")

    def _between(
        self,
        netlist: Netlist,
        instances: list[Cell],
        children: Mapping[str, Mapping[str, str]],
    ) -> dict[str, tuple[str, set[str]]]:
        """Names of nets from the instances that they connect to.

        A net gets "instance_port" of the port that drives it, or else of one that reads it, and the
        set of all port names on it.
        """
        found: dict[str, tuple[str, set[str]]] = {}
        for outputs in (True, False):
            for cell in instances:
                driven = netlist.outputs(cell)
                for port, signal in cell.ports.items():
                    wire = whole(self.module, signal)
                    field = wire is not None and "." in wire.name  # a field has its record's name
                    if wire is not None and not field and (port in driven) == outputs:
                        own = children.get(cell.kind, {}).get(port, port)
                        found.setdefault(wire.name, (f"{cell.name}_{own}", set()))[1].add(own)
        return found

    def _says(self, wire: str) -> str | None:
        """A name derived from a net's operator and operands; None if an operand has no name."""
        cell = self.operators.get(wire)
        if cell is None or cell.kind not in SAYS:
            return None
        said = {port: self._said(s) for port, s in cell.ports.items() if port != "Y"}
        if None in said.values():
            return None
        return SAYS[cell.kind].format(**said)

    def _said(self, signal: Signal) -> str | None:
        if not signal:
            return "0"  # a value of no bits
        if len(signal) != 1:
            return None
        (part,) = signal
        if not part.wire:
            return f"{int(part.bits, 2)}" if set(part.bits) <= {"0", "1"} else None
        if part.wire not in self.found:
            inner = self._says(part.wire)
            self._give(part.wire, inner) if inner and len(inner) <= LONGEST else None
        name = self.found.get(part.wire)
        return (name and name[0] != "_" and f"{name}{_place(part, self.module)}") or None

    def _readers(self, netlist: Netlist) -> dict[str, tuple[str, str]]:
        """For each net read exactly once, by an operator: the operator's output, and the input."""
        read = Counter[str]()
        for part, times in netlist.reads(self.module).items():
            read[part.wire] += times
        return {
            part.wire: (output, port.lower())
            for output, cell in self.operators.items()
            for port, signal in cell.ports.items()
            if port != "Y"
            for part in signal
            if read[part.wire] == 1
        }

    def _described(self, wire: str) -> str:
        """A name for an unnamed net: from its operands, its reader or its operator."""
        if wire in self.found:
            return self.found[wire]
        says = self._says(wire)
        if says is not None and len(says) <= LONGEST:
            return says
        if wire in self.readers:
            reader, port = self.readers[wire]
            own = f"{self._described(reader)}_{port}"
            if own[0] != "_" and len(own) <= LONGEST:
                return own
        cell = self.operators.get(wire)
        return f"_{cell.kind[1:]}" if cell else "_net"


def _place(part: Part, module: Module) -> str:
    """Suffix for the bits of a slice; empty for a whole wire."""
    if part.width == module.wires[part.wire].width:
        return ""
    return f"_{part.high}" if part.width == 1 else f"_{part.high}_{part.low}"
