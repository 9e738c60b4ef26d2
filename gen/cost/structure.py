"""Parts of a design by block, counted before synthesis.

Registers, operators and memories are counted in the netlist that the Verilog is written from. That
takes seconds. gen/cost/model.py turns the counts into area and energy.
"""

from collections import Counter
from dataclasses import dataclass, fields
from functools import lru_cache

from gen.impl import memories
from gen.impl.memories import Shape
from gen.impl.yosys import block_name
from gen.ip import package
from gen.rtl import naming, verilog
from gen.verilog import components
from gen.verilog.netlist import Netlist
from gen.verilog.rtlil import Assign, Cell, Module, Statements, known_bits, width
from golden.description import Description
from hw.bus.system import CoreInstance, System, Top

ARITHMETIC = {"$add", "$sub", "$neg", "$lt", "$le", "$gt", "$ge"}
LOGIC = {"$and", "$or", "$xor", "$not"}
COMPARED = {"$eq", "$ne", "$reduce_and", "$reduce_or", "$reduce_xor", "$reduce_bool"}
SHIFTS = {"$shl", "$shr", "$sshr", "$shift"}


@dataclass(frozen=True)
class Counts:
    """Counts of a block, in bits.

    registers: Flip-flops.
    gated: Number of groups of flip-flops with a common enable.
    arithmetic: Adders, subtractors, magnitude comparators.
    multiplied: Partial products.
    logic: Bitwise operators.
    compared: Inputs of equality comparators and reductions.
    chosen: Outputs of two-way multiplexers.
    shifted: Outputs of variable shifters times the bits of the distance.
    held: Bits of memories made of flip-flops.
    picked: Bits of memories made of flip-flops, times their read ports.
    """

    registers: int = 0
    gated: int = 0
    arithmetic: int = 0
    multiplied: int = 0
    logic: int = 0
    compared: int = 0
    chosen: int = 0
    shifted: int = 0
    held: int = 0
    picked: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in FIELDS})


FIELDS = fields(Counts)

CORE = ("system", "core", "core")
"""Path of the accelerator in the top with AXI."""


@dataclass(frozen=True)
class Structure:
    """Counts of a design behind AXI.

    blocks: Counts by block.
    memories: Memory macros, each with the block that it is in.
    """

    blocks: dict[str, Counts]
    memories: list[tuple[str, Shape]]


def structure(description: Description, *, memory_bits: int | None = memories.LEAST) -> Structure:
    """Count a design without its crossbar macros.

    memory_bits: Memories of at least this many bits are macros; None: all are flip-flops.
    """
    blocks: dict[str, Counts] = {}
    macros: list[tuple[str, Shape]] = []
    for found in _netlists(description):
        for module in found.modules.values():
            block = _block(module.name, naming.module_name(description))
            large = [] if memory_bits is None else _macros(module, memory_bits)
            macros += [(f"{block}.{memory}", shape) for memory, shape in large]
            counts = _counts(found, module, {memory for memory, _ in large})
            blocks[block] = blocks.get(block, Counts()) + counts
    return Structure({b: c for b, c in blocks.items() if c != Counts()}, macros)


@lru_cache(maxsize=1)
def _netlists(description: Description) -> tuple[Netlist, Netlist]:
    """Netlists of the accelerator and of the logic around it."""
    name = naming.module_name(description)
    design = verilog.accelerator(description)
    top = Top(System(description, lambda _: CoreInstance(design, name)))
    return (
        components.simplified_netlist(design, name),
        components.simplified_netlist(top, package.axi_module(description)),
    )


def _block(module: str, core: str) -> str:
    """The block of a module, named as in a mapped netlist."""
    first, *inside = module.split(".")
    return block_name(".".join([*CORE, *inside] if first == core else inside))


def _macros(module: Module, least: int) -> list[tuple[str, Shape]]:
    """Memories that `gen.impl.memories.extract` would replace by macros: name and shape."""
    found = []
    for memory in module.memories.values():
        reads = _reads(module, memory.name)
        shape = Shape(memory.size, memory.width, len(reads))
        clocked = all(read.parameters["CLK_ENABLE"] == "1" for read in reads)
        passed = any(
            "1" in read.parameters["TRANSPARENCY_MASK"].partition("'")[2] for read in reads
        )
        if shape.bits >= least and clocked and not passed:
            found.append((memory.name, shape))
    return found


def _reads(module: Module, memory: str) -> list[Cell]:
    """Read ports of a memory."""
    return [cell for cell in module.cells if cell.kind == "$memrd_v2" and cell.memory == memory]


def _counts(netlist: Netlist, module: Module, macros: set[str]) -> Counts:
    """Counts of a module, without memories that are macros."""
    own = Counter[str]()
    for cell in module.cells:
        own.update(_of_operator(cell))
    for process in module.processes:
        own.update(_of_statements(process))
    for register in netlist.registers[module.name]:
        own["registers"] += width(register.target)
        own["gated"] += 1
        own.update(_of_statements(register.statements))
    for memory in module.memories.values():
        if memory.name not in macros:
            bits = memory.size * memory.width
            own["held"] += bits
            own["gated"] += memory.size  # one enable per word
            own["picked"] += bits * len(_reads(module, memory.name))
    return Counts(**own)


def _of_operator(cell: Cell) -> dict[str, int]:
    """Counts of an operator; empty for any other cell."""
    kind, ports = cell.kind, cell.ports
    if kind in ARITHMETIC:
        return {"arithmetic": max(width(ports[name]) for name in ports)}
    if kind == "$mul":
        known = [known_bits(ports[name]) for name in "AB"]
        widths = [
            width(ports[name]) if bits is None else bits.count("1")
            for name, bits in zip("AB", known, strict=True)
        ]
        return {"multiplied": widths[0] * widths[1]}
    if kind in LOGIC:
        return {"logic": width(ports["Y"])}
    if kind in COMPARED:
        return {"compared": width(ports["A"])}
    if kind == "$mux":
        return {"chosen": width(ports["Y"])}
    if kind in SHIFTS and known_bits(ports["B"]) is None:
        return {"shifted": width(ports["Y"]) * width(ports["B"])}
    return {}


def _of_statements(statements: Statements) -> Counter[str]:
    """Multiplexers and decoders of a process."""
    found = Counter[str]()
    for statement in statements:
        if isinstance(statement, Assign):
            continue
        for patterns, inner in statement.cases:
            found["compared"] += sum(len(p.replace("-", "")) for p in patterns)
            found.update(_of_statements(inner))
            for one in inner:
                if isinstance(one, Assign):
                    found["chosen"] += width(one.target)
    return found
