"""Mapping of a design onto standard cells with Yosys: the netlist, and its area by block."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gen.impl import buffers, memories
from gen.impl.cells import Cells
from gen.impl.library import Library, read
from gen.impl.memories import Shape
from gen.impl.tools import run_yosys
from gen.ip import package
from gen.ip.options import PERIOD_NS, Macro
from golden import files
from golden.description import Description

FANOUT = 16
"""Maximum fanout of a net; above it, buffers are inserted."""

MARGIN = 0.8
"""Fraction of the clock period that mapping aims at.

The rest is for wires, which have no delay in mapping, and for macros and the environment.
"""

LOAD_FF = 50
"""Load of a block's outputs for sizing (fF)."""

GATED = 4
"""Minimum number of flip-flops with a common enable for a gated clock."""

MACRO = "wordline_"
"""Prefix of the names of macros. No cell name has it."""

CLOCKS = {"clk"}
"""Clock pins of macros."""

GATE = "wordline_clock_gate"

RESETS = "".join(
    f"""\
module \\$_SDFFE_PP{value}P_ (input D, C, R, E, output Q);
  wire data, enable;
  {data}
  \\$_OR_ either (.A(E), .B(R), .Y(enable));
  \\$_DFFE_PP_ _TECHMAP_REPLACE_ (.D(data), .C(C), .E(enable), .Q(Q));
endmodule
"""
    for value, data in enumerate(
        (
            r"\$_ANDNOT_ zero (.A(D), .B(R), .Y(data));",
            r"\$_OR_ one (.A(D), .B(R), .Y(data));",
        )
    )
)
"""Yosys techmap from a flip-flop with enable and reset to one with enable, for clock gating."""


@dataclass(frozen=True)
class Block:
    """Cells and area of a block, without the blocks inside it that are listed separately.

    area: Area (um2).
    sequential: Area of flip-flops and of latches in clock gates (um2).
    """

    name: str
    cells: int
    flip_flops: int
    clock_gates: int
    area: float
    sequential: float


@dataclass(frozen=True)
class Mapped:
    """A netlist of standard cells.

    blocks: Cells and area by block.
    constants: Endpoints that are constant, so that no path ends there.
    library: The cell library.
    memories: Number of memory macros by shape.
    """

    blocks: list[Block]
    constants: set[str]
    library: Library
    memories: dict[Shape, int] = field(default_factory=dict)


def map_cells(
    description: Description,
    cells: Cells,
    folder: Path,
    *,
    macro: Macro = "blackbox",
    memory_bits: int | None = None,
    period_ns: float = PERIOD_NS,
    library: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Mapped:
    """Map a design onto standard cells.

    Writes into `folder` and raises what `gen.impl.synth.synthesise` does, except for timing.
    memories.v has the behavioural Verilog of the memory macros, memories_stub.v their ports.

    macro: View of the crossbar macros.
    memory_bits: Make memories of at least this many bits macros (gen/impl/memories.py). None: all
        memories are flip-flops.
    period_ns: Target clock period (ns).
    """
    liberty, known = cells.liberty(library), read(cells, library)
    top = package.axi_module(description)
    progress("emit")
    source = folder / "package"
    package.write(description, macro, source, period_ns=period_ns)
    progress("map")
    target = round(1000 * MARGIN * period_ns)
    files.write_text(folder / "abc.script", _abc(target))
    files.write_text(
        folder / "abc.constr", f"set_driving_cell {known.buffer.cell}\nset_load {LOAD_FF}\n"
    )
    gate = known.clock_gate(GATE)
    files.write_text(folder / "clock_gate.v", gate or "")
    files.write_text(folder / "resets.v", RESETS)
    shapes: set[Shape] = set()
    first, rest = _coarse(source, top, liberty), _fine(liberty, gated=gate is not None)
    if memory_bits is not None:
        run_yosys("\n".join([*first, "write_json coarse.json", ""]), folder, "coarse")
        design = json.loads((folder / "coarse.json").read_text())
        shapes = memories.extract(design, memory_bits)
        files.write_text(folder / "macros.json", json.dumps(design))
        first = ["read_json macros.json", f"hierarchy -top {top}"]
    run_yosys("\n".join([*first, *rest, ""]), folder, "map")
    mapped = json.loads((folder / "mapped.json").read_text())
    module = mapped["modules"][top]
    buffers.insert(module, known.buffer, FANOUT, known.clocks | CLOCKS)
    files.write_text(folder / "buffered.json", json.dumps(mapped))
    run_yosys(_finish(top, liberty), folder, "finish")
    ordered = sorted(shapes, key=lambda shape: shape.module)
    files.write_text(folder / "memories.v", "".join(map(memories.verilog, ordered)))
    files.write_text(folder / "memories_stub.v", "".join(map(memories.stub, ordered)))
    found = Counter(macro_instances(folder / "netlist.v").values())
    return Mapped(
        _blocks(folder / "netlist.v", known),
        constants(module, known.data),
        known,
        {shape: found[shape.module] for shape in ordered},
    )


def _coarse(source: Path, top: str, liberty: Path) -> list[str]:
    """Yosys commands up to memories and operators. They keep blocks, so each cell has a block."""
    verilog = " ".join(str(path.relative_to(source.parent)) for path in package.sources(source))
    return [
        f"read_liberty -lib {liberty}",
        f"read_verilog {verilog}",
        f"hierarchy -check -top {top}",
        "proc",
        "design -save blocks",
        "flatten",
        "check -assert",
        "select -assert-none t:$dlatch t:$adlatch t:$dlatchsr t:$sr",
        "design -load blocks",
        f"synth -top {top} -run coarse:fine",
    ]


def _fine(liberty: Path, *, gated: bool) -> list[str]:
    """Yosys commands from memories and operators to flat cells. gated: Gate clocks."""
    gate = f"clockgate -pos {GATE} CE:CLK:GCLK -min_net_size {GATED}"
    return [
        "opt -fast -full",
        "memory_map",
        "opt_clean",
        "opt -undriven -fine",
        "techmap",
        "opt -fast",
        "opt_clean",
        "setattr -unset init w:*",  # cells have no power-up value
        "techmap -map resets.v",
        "opt_merge",
        "opt_clean",  # equal enables get one name
        *([gate] if gated else []),
        f"dfflibmap -liberty {liberty}",
        *(["techmap -map clock_gate.v"] if gated else []),
        "opt_clean",
        f"abc -liberty {liberty} -script abc.script -constr abc.constr",
        "opt_clean -purge",
        "rename -enumerate -pattern u% c:*",  # the cell's name shows its block
        "flatten",
        "opt_clean -purge",
        "write_json mapped.json",
    ]


def _finish(top: str, liberty: Path) -> str:
    """Yosys script that writes the final netlist and its area."""
    return "\n".join(
        [
            "read_json buffered.json",
            f"hierarchy -top {top}",
            f"tee -q -o area.json stat -json -liberty {liberty}",
            "splitnets -format __",
            "write_verilog -noattr -simple-lhs netlist.v",
            "",
        ]
    )


def _abc(delay_ps: int) -> str:
    """ABC script: mapping, buffers, and sizing for a delay (ps)."""
    steps = ["strash", "ifraig", "scorr", "dc2", "dch -f", f"map -B 0.9 -D {delay_ps}", "topo"]
    steps += [f"buffer -p -c -N {FANOUT}", f"upsize -D {delay_ps}", f"dnsize -D {delay_ps}"]
    return "\n".join([*steps, "stime -p", ""])


def _blocks(netlist: Path, library: Library) -> list[Block]:
    """Cells of each block, by their names in the flat netlist."""
    areas = library.areas
    latch = "" if library.latch is None else library.latch.cell
    found: dict[str, Counter[str]] = {}
    for kind, name, _ in INSTANCE.findall(netlist.read_text()):
        if kind in areas:
            found.setdefault(block_name(plain_name(name).rpartition(".")[0]), Counter())[kind] += 1
    blocks = []
    for name, kinds in found.items():
        each = {kind: count * areas[kind] for kind, count in kinds.items()}
        flip_flops = kinds.keys() & library.data.keys()
        blocks.append(
            Block(
                name=name,
                cells=kinds.total(),
                flip_flops=sum(kinds[kind] for kind in flip_flops),
                clock_gates=kinds[latch],
                area=sum(each.values()),
                sequential=sum(each.get(kind, 0.0) for kind in {*flip_flops, latch}),
            )
        )
    return sorted(blocks, key=lambda block: -block.area)


INSTANCE = re.compile(r"^  (\w+) (\\\S+ |\w+) +\(\n(.*?)^  \);", re.MULTILINE | re.DOTALL)
"""Pattern of a cell in a netlist."""

CONNECTED = re.compile(r"\.(\w+)\(([^(){}]+)\)")
"""Pattern of a cell's pin and its net."""


def macro_instances(netlist: Path) -> dict[str, str]:
    """Macros in a netlist, of crossbars and of memories: module by instance."""
    found = INSTANCE.findall(netlist.read_text())
    return {plain_name(name): kind for kind, name, _ in found if kind.startswith(MACRO)}


def registers(netlist: Path, library: Library) -> list[str]:
    """Nets that the flip-flops of a netlist drive."""
    found = []
    for kind, _, body in INSTANCE.findall(netlist.read_text()):
        if kind in library.data:
            pins = {pin: plain_name(net) for pin, net in CONNECTED.findall(body)}
            found += [pins[pin] for pin in library.outputs[kind] if pin in pins]
    return found


def plain_name(name: str) -> str:
    """Remove Verilog's escape from a name."""
    return name.strip().removeprefix("\\")


def block_name(path: str) -> str:
    """Name of a block by the path of its instance in the top.

    Blocks of the accelerator have their path in it; all others are `axi`.
    """
    inside = path.split(".")[1:]
    if inside[:1] != ["core"]:
        return ".".join(["axi", *inside])
    return ".".join(inside[2:]) or "switch"


def constants(module: dict[str, Any], data: Mapping[str, str]) -> set[str]:
    """Constant bits: output bits of ports and data inputs of flip-flops that are always 0 or 1.

    module: Module in Yosys' JSON format.
    data: Data pin of each flip-flop.
    """
    found = {
        f"{name}/{data[cell['type']]}"
        for name, cell in module["cells"].items()
        if cell["type"] in data and isinstance(cell["connections"][data[cell["type"]]][0], str)
    }
    for name, port in module["ports"].items():
        for n, bit in enumerate(port["bits"]):
            if isinstance(bit, str):
                found.add(f"{name}[{n}]" if len(port["bits"]) > 1 else name)
    return found
