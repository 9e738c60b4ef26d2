"""Synthesis with Yosys onto standard cells, and its timing with OpenSTA: area by block, the
shortest period, what is not constrained.

The cells are those of Oklahoma State University (J. E. Stine et al., "FreePDK: An Open-Source
Variation-Aware Design Kit", MSE 2007, and its predecessors for MOSIS' processes), as Debian's
qflow-tech packages have them. They have no memory macros: tables and state become flip-flops.
"""

import json
import math
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from gen.cost.activity import Activity
from gen.impl import buffers, memories
from gen.ip import package
from gen.ip.options import PERIOD_NS, Macro
from golden import files
from golden.description import Description
from golden.errors import WordlineError

FANOUT = 16
"""Loads of a net above which a buffer is put in."""

CLOCKS = {"CLK", "clk"}
"""Clock pins, of cells and of macros, which are a clock tree's."""

MARGIN = 0.8
"""Part of the clock's period that mapping aims at: wires have no delay there, and macros and what
is outside have their shares."""

LOAD_FF = 50
"""What an output of a block drives, for sizing it."""

GATED = 4
"""Flip-flops with the same enable from which on their clock is gated."""

MACRO = "wordline_"
"""How names of macros begin, and of no cell."""

GATE = "wordline_clock_gate"

CLOCK_GATE = f"""\
// The enable is held while the clock is high. The cells have no such gate of their own.
module {GATE}(input CE, CLK, output GCLK);
  wire low, held;
  INVX1 invert (.A(CLK), .Y(low));
  LATCH hold (.CLK(low), .D(CE), .Q(held));
  AND2X2 gate (.A(CLK), .B(held), .Y(GCLK));
endmodule
"""

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
"""For Yosys: a flip-flop with enable and reset as one with an enable, whose clock can be gated."""

SHARP_CLOCK = "set_assigned_transition 0.1 [all_registers -clock_pins]"
"""What a clock tree will see to, in ns, however much there is behind a gate."""

CLOSE_NS, TRIES = 0.02, 12
"""The shortest period is known to within this, and found in no more tries."""


@dataclass(frozen=True)
class Cells:
    """A library of standard cells."""

    name: str
    drive: str
    """The cell that drives an input from outside."""

    @property
    def folder(self) -> Path:
        """Where Debian puts it."""
        return Path("/usr/share/qflow/tech") / self.name

    def liberty(self, folder: Path | None = None) -> Path:
        """Its timing and power. WordlineError where it is not there."""
        return self._file("lib", folder)

    def verilog(self, folder: Path | None = None) -> Path:
        """What its cells do, for a simulator. WordlineError where it is not there."""
        return self._file("v", folder)

    def areas(self, folder: Path | None = None) -> dict[str, float]:
        """um2 of each cell; of its latch by its layout, since its timing has that as 0."""
        text = self.liberty(folder).read_text(encoding="utf-8")
        listed = re.findall(r"^ *cell *\((\w+)\) *\{.*?area *: *([0-9.]+)", text, re.M | re.S)
        layout = self._file("lef", folder).read_text(encoding="utf-8")
        size = re.search(r"MACRO LATCH\s.*?SIZE\s+([0-9.]+)\s+BY\s+([0-9.]+)", layout, re.S)
        latch = {"LATCH": float(size[1]) * float(size[2])} if size else {}
        return {name: float(area) for name, area in listed} | latch

    def _file(self, kind: str, folder: Path | None) -> Path:
        path = (folder or self.folder) / f"{self.name}_stdcells.{kind}"
        if not path.is_file():
            raise WordlineError(
                f"{path} is not there; install Debian's qflow-tech-{self.name}, or give the folder "
                f"that has it with --cells."
            )
        return path.absolute()


def check_gates(cells: Cells, library: Path | None = None) -> None:
    """WordlineError where something is missing that maps, times or simulates gates."""
    cells.liberty(library)
    cells.verilog(library)
    _yosys()
    _sta()
    if shutil.which("iverilog") is None:
        raise WordlineError(
            "Icarus, which simulates gates, is not installed here; Debian's package iverilog has "
            "it."
        )


CELLS = {
    cells.name: cells
    for cells in (
        Cells("osu018", drive="BUFX4"),
        Cells("osu035", drive="BUFX4"),
    )
}


@dataclass(frozen=True)
class Block:
    """What a block came to, without those inside it that are listed themselves.

    area: um2. sequential: of it, flip-flops and the latches of clock gates.
    """

    name: str
    cells: int
    flip_flops: int
    clock_gates: int
    area: float
    sequential: float


@dataclass(frozen=True)
class Result:
    """A synthesis. period_ns: the shortest with which every path is in time. unconstrained: paths
    that no clock judges. worst: the path that decides, as OpenSTA reports it."""

    blocks: list[Block]
    period_ns: float
    unconstrained: list[str]
    worst: str
    versions: dict[str, str]

    @property
    def area(self) -> float:
        """um2 of all standard cells."""
        return sum(block.area for block in self.blocks)


def synthesise(
    description: Description,
    cells: Cells,
    folder: Path,
    *,
    period_ns: float = PERIOD_NS,
    library: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Result:
    """Map a design onto standard cells, its crossbar macros black boxes, and time it.

    Leaves in `folder`: package/, netlist.v (flat), area.json, timing.rpt, map.log, finish.log.
    Raises WordlineError where a tool or the cells are missing or refuse, or where the design has a
    latch or a combinational loop, which is a mistake in hw/.
    """
    liberty, top = cells.liberty(library), package.axi_module(description)
    sta = _sta()
    mapped = map_cells(
        description, cells, folder, period_ns=period_ns, library=library, progress=progress
    )
    blocks, source = mapped.blocks, folder / "package"
    progress("time")
    sidecar = json.loads((source / f"{description.name}.json").read_text())

    def time(period_ns: float) -> Timing:
        texts = package.timing(description, sidecar["axi"]["ports"], period_ns)
        return _time(texts, top, sta, liberty, folder)

    period, timed = _shortest(time, period_ns)
    result = Result(
        blocks=blocks,
        period_ns=period,
        unconstrained=[end for end in timed.unconstrained if end not in mapped.constants],
        worst=timed.worst,
        versions={"pyosys": metadata.version("pyosys"), "opensta": _version(sta)},
    )
    files.write_text(folder / "timing.rpt", timed.worst)
    return result


@dataclass(frozen=True)
class Mapped:
    """A netlist of cells: its blocks, and where what is 0 or 1 for ever ends, so that no path
    does."""

    blocks: list[Block]
    constants: set[str]


def map_cells(
    description: Description,
    cells: Cells,
    folder: Path,
    *,
    macro: Macro = "blackbox",
    memory_macros: bool = False,
    period_ns: float = PERIOD_NS,
    library: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Mapped:
    """Map a design onto standard cells, with this body of the crossbar macros. memory_macros:
    memories are macros (gen/impl/memories.py), where else they are flip-flops.

    Leaves in `folder` and raises what `synthesise` does, but for timing; macros' function for a
    simulator is in memories.v.
    """
    liberty, areas = cells.liberty(library), cells.areas(library)
    top = package.axi_module(description)
    progress("emit")
    source = folder / "package"
    package.write(description, macro, source, period_ns=period_ns)
    progress("map")
    target = round(1000 * MARGIN * period_ns)
    files.write_text(folder / "abc.script", _abc(target))
    files.write_text(folder / "abc.constr", f"set_driving_cell {cells.drive}\nset_load {LOAD_FF}\n")
    files.write_text(folder / "clock_gate.v", CLOCK_GATE)
    files.write_text(folder / "resets.v", RESETS)
    shapes: set[memories.Shape] = set()
    first, rest = _coarse(source, top, liberty), _fine(liberty)
    if memory_macros:
        run_yosys("\n".join([*first, "write_json coarse.json", ""]), folder, "coarse")
        design = json.loads((folder / "coarse.json").read_text())
        shapes = memories.extract(design)
        files.write_text(folder / "macros.json", json.dumps(design))
        first = ["read_json macros.json", f"hierarchy -top {top}"]
    run_yosys("\n".join([*first, *rest, ""]), folder, "map")
    mapped = json.loads((folder / "mapped.json").read_text())
    module = mapped["modules"][top]
    buffers.insert(module, cells.drive, FANOUT, CLOCKS)
    files.write_text(folder / "buffered.json", json.dumps(mapped))
    run_yosys(_finish(top, liberty), folder, "finish")
    ordered = sorted(shapes, key=lambda shape: shape.module)
    files.write_text(folder / "memories.v", "".join(map(memories.verilog, ordered)))
    return Mapped(_blocks(folder / "netlist.v", areas), _constants(module))


def _coarse(source: Path, top: str, liberty: Path) -> list[str]:
    """Yosys, block by block, so that each cell is some block's: up to memories and operators."""
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


def _fine(liberty: Path) -> list[str]:
    """Yosys, from there to cells; flat in the end."""
    return [
        "opt -fast -full",
        "memory_map",
        "opt_clean",
        "opt -undriven -fine",
        "techmap",
        "opt -fast",
        "opt_clean",
        "setattr -unset init w:*",  # nothing has a value when the power comes
        "techmap -map resets.v",
        "opt_merge",
        "opt_clean",  # one name for what is one enable
        f"clockgate -pos {GATE} CE:CLK:GCLK -min_net_size {GATED}",
        f"dfflibmap -liberty {liberty}",
        "techmap -map clock_gate.v",
        "opt_clean",
        f"abc -liberty {liberty} -script abc.script -constr abc.constr",
        "opt_clean -purge",
        "rename -enumerate -pattern u% c:*",  # so that a cell's name says whose it is
        "flatten",
        "opt_clean -purge",
        "write_json mapped.json",
    ]


def _finish(top: str, liberty: Path) -> str:
    """Yosys again: the netlist for what reads it."""
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
    """ABC's own mapping, with buffers, and sizes for a delay."""
    steps = ["strash", "ifraig", "scorr", "dc2", "dch -f", f"map -B 0.9 -D {delay_ps}", "topo"]
    steps += [f"buffer -p -c -N {FANOUT}", f"upsize -D {delay_ps}", f"dnsize -D {delay_ps}"]
    return "\n".join([*steps, "stime -p", ""])


def run_yosys(script: str, folder: Path, name: str = "yosys") -> None:
    """Run a script of Yosys' in `folder`; what it says is in NAME.log. Raises WordlineError with
    its complaint."""
    _yosys()
    files.write_text(folder / f"{name}.script", script)
    run = f"from pyosys import libyosys as ys; ys.run_pass('script {name}.script', ys.Design())"
    run_tool("Yosys", [sys.executable, "-c", run], folder, folder / f"{name}.log")


def _yosys() -> None:
    if util.find_spec("pyosys") is None:
        raise WordlineError("Yosys is not installed here; pip install 'wordline[synth]' does it.")


def run_tool(tool: str, command: list[str], folder: Path, log: Path) -> None:
    """Run a command in `folder`; what it says is in `log`. Raises WordlineError with its first
    complaint."""
    with log.open("w") as out:
        done = subprocess.run(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    if done.returncode:
        said = [line for line in log.read_text().splitlines() if line.startswith("ERROR")]
        raise WordlineError(f"{tool} stopped: {(said or ['it crashed'])[0]}; {log} says more.")


def _blocks(netlist: Path, areas: dict[str, float]) -> list[Block]:
    """The cells of each block, as their names in the flat netlist say; areas: of each kind."""
    found: dict[str, Counter[str]] = {}
    for kind, name, _ in INSTANCE.findall(netlist.read_text()):
        if kind in areas:
            found.setdefault(block_name(_plain(name).rpartition(".")[0]), Counter())[kind] += 1
    blocks = []
    for name, kinds in found.items():
        each = {kind: count * areas[kind] for kind, count in kinds.items()}
        flip_flops = {kind for kind in kinds if kind.startswith("DFF")}
        blocks.append(
            Block(
                name=name,
                cells=kinds.total(),
                flip_flops=sum(kinds[kind] for kind in flip_flops),
                clock_gates=kinds["LATCH"],
                area=sum(each.values()),
                sequential=sum(each.get(kind, 0.0) for kind in {*flip_flops, "LATCH"}),
            )
        )
    return sorted(blocks, key=lambda block: -block.area)


INSTANCE = re.compile(r"^  (\w+) (\\\S+ |\w+) +\(\n(.*?)^  \);", re.MULTILINE | re.DOTALL)
"""A cell in a netlist."""


def macro_instances(netlist: Path) -> dict[str, str]:
    """The macros in a netlist, of crossbars and of memories: instance and module."""
    found = INSTANCE.findall(netlist.read_text())
    return {_plain(name): kind for kind, name, _ in found if kind.startswith(MACRO)}


def _plain(name: str) -> str:
    """Without what Verilog needs around an unusual name."""
    return name.strip().removeprefix("\\")


def block_name(path: str) -> str:
    """A block, by its instance's path in the top: that in the accelerator; what is around that is
    `axi`."""
    inside = path.split(".")[1:]
    if inside[:1] != ["core"]:
        return ".".join(["axi", *inside])
    return ".".join(inside[2:]) or "switch"


def _constants(module: dict[str, Any]) -> set[str]:
    """Bits of ports, and inputs of flip-flops, that are 0 or 1 whatever happens, in a module as
    Yosys writes it as JSON."""
    found = {
        f"{name}/D"
        for name, cell in module["cells"].items()
        if isinstance(cell["connections"].get("D", [0])[0], str)
    }
    for name, port in module["ports"].items():
        for n, bit in enumerate(port["bits"]):
            if isinstance(bit, str):
                found.add(f"{name}[{n}]" if len(port["bits"]) > 1 else name)
    return found


def _sta() -> str:
    found = shutil.which("sta")
    if found is None:
        raise WordlineError(
            "OpenSTA is not installed here; Debian's package opensta has it, as the command `sta`."
        )
    return found


def _version(sta: str) -> str:
    done = subprocess.run([sta, "-version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


@dataclass(frozen=True)
class Timing:
    """What OpenSTA says: the worst slack in ns, its path, endpoints that have no constraint."""

    slack: float
    worst: str
    unconstrained: list[str]


def _shortest(time: Callable[[float], Timing], period_ns: float) -> tuple[float, Timing]:
    """The shortest period in ns, and the timing with it.

    Parts of the period are macros' and the outside's, at most half of it on any path: where a
    period is too short, twice what is missing is enough; from there it comes down.
    """
    best: tuple[float, Timing] | None = None
    for _ in range(TRIES):
        period_ns = math.ceil(1000 * period_ns) / 1000  # as constraints are written
        timed = time(period_ns)
        slack = timed.slack
        if slack >= 0 and (best is None or period_ns < best[0]):
            best = period_ns, timed
            if slack <= CLOSE_NS:
                break
        period_ns -= slack if slack > 0 else 2 * slack - CLOSE_NS / 2
    if best is None:
        raise WordlineError(f"No period was found to be long enough; {period_ns:.3f} ns is not.")
    return best


def _setup(texts: dict[str, str], top: str, liberty: Path, folder: Path) -> list[str]:
    """Commands that read cells, netlist, macros and constraints, which are written to `folder`."""
    for name, text in texts.items():
        files.write_text(folder / name, text)
    return [
        *(f"read_liberty {path}" for path in (liberty, *(n for n in texts if n.endswith(".lib")))),
        "read_verilog netlist.v",
        f"link_design {top}",
        *(f"read_sdc {name}" for name in texts if name.endswith(".sdc")),
        SHARP_CLOCK,
    ]


def _run_sta(script: list[str], sta: str, folder: Path, name: str) -> str:
    """What OpenSTA says to a script. Raises WordlineError where it stops."""
    files.write_text(folder / f"{name}.tcl", "\n".join([*script, 'puts "== end"', "exit"]) + "\n")
    command = [sta, "-no_splash", "-exit", f"{name}.tcl"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    files.write_text(folder / f"{name}.log", said)
    if "== end" not in said or "Error" in said:
        raise WordlineError(f"OpenSTA stopped; {folder / f'{name}.log'} says why.")
    return said


def _time(texts: dict[str, str], top: str, sta: str, liberty: Path, folder: Path) -> Timing:
    """OpenSTA on the netlist, with these constraints and macros."""
    script = [
        *_setup(texts, top, liberty, folder),
        'puts "== unconstrained"',
        "check_setup -verbose -unconstrained_endpoints -no_input_delay -no_clock -loops",
        'puts "== groups"',
        "report_checks -path_delay max -format summary -digits 4",
        'puts "== path"',
        "set ends [concat [all_registers -data_pins -edge_triggered] [all_outputs]]",
        "report_checks -path_delay max -format full -digits 4 -fields {capacitance slew} -to $ends",
    ]
    said = _run_sta(script, sta, folder, "timing")
    setup, rest = said.split("== unconstrained")[1].split("== groups")
    groups, worst = rest.split("== path")
    slacks = [float(slack) for slack in re.findall(r"(-?[0-9.]+) +slack", worst)]
    for cell, slack in re.findall(r"\S+ +\S+ \((\w+)\) +(-?[0-9.]+)$", groups, re.MULTILINE):
        # A latch that borrows from the time behind it has a slack of 0, and needs no more: what is
        # behind it, the gating of a clock, is a group of its own.
        if cell != "LATCH" or float(slack) < 0:
            slacks.append(float(slack))
    if not slacks:
        raise WordlineError(f"OpenSTA found no path; {folder / 'timing.log'} says more.")
    ends = [line.strip() for line in setup.splitlines() if line.startswith("  ")]
    return Timing(min(slacks), worst.strip() + "\n", ends)


@dataclass(frozen=True)
class Energy:
    """What a block of a netlist takes in a simulation, in pJ: by its outputs' changes, by the
    clock; and what it leaks, in nW."""

    switching: float
    clock: float
    leakage_nw: float

    @property
    def dynamic(self) -> float:
        """Without what leaks."""
        return self.switching + self.clock

    def __add__(self, other: "Energy") -> "Energy":
        return Energy(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


CLOCK_NET = "clock net"
"""The block of what the clock's own port drives."""


def energies(
    description: Description,
    cells: Cells,
    folder: Path,
    activity: Activity,
    *,
    library: Path | None = None,
) -> dict[str, Energy]:
    """Energy of a netlist that is in `folder`, in all of a simulation of it, by block. activity: of
    its nets.

    OpenSTA says what a cell takes with no net changing but the clocks, and with each changing once
    a cycle; in between it is linear. A cell's share of the first is that of the cycles in which its
    clock is let through, of the second its output's changes a cycle: both as they were. The version
    2.0 in use accepts activity by pin, and then puts its own in its place, so this is done here.
    There are no wires, no clock tree and no glitches in it.
    Raises WordlineError where the simulation lacks a net of the netlist, or OpenSTA stops.
    """
    liberty, top = cells.liberty(library), package.axi_module(description)
    script = [
        *(f"read_liberty {liberty}", "read_verilog netlist.v", f"link_design {top}"),
        f"create_clock -name aclk -period {PERIOD_NS} [get_ports aclk]",
        SHARP_CLOCK,
        *("set_power_activity -global -activity 0 -duty 0.5", 'puts "== still"'),
        "report_power -digits 8 -instances [get_cells *]",
        *("set_power_activity -global -activity 1 -duty 0.5", 'puts "== busy"'),
        "report_power -digits 8 -instances [get_cells *]",
    ]
    said = _run_sta(script, _sta(), folder, "power").split("== ")
    still, busy = (_powers(part) for part in (said[1], said[2]))
    found: dict[str, Energy] = {}
    watts_to_pj = PERIOD_NS * 1000  # in one cycle; energies do not depend on the period
    pins, volts = _capacitances(liberty)
    cycles = activity.changes["aclk"] / 2
    on_clock = 0.0
    for kind, name, body in INSTANCE.findall((folder / "netlist.v").read_text()):
        connected = {pin: _plain(net) for pin, net in CONNECTED.findall(body)}
        clock = next((connected[pin] for pin in CLOCKS if pin in connected), None)
        on_clock += sum(
            pins.get((kind, pin), 0.0) for pin, net in connected.items() if net == "aclk"
        )
        name = _plain(name)
        if kind.startswith(MACRO):
            continue
        out = connected.get("Y", connected.get("Q", ""))
        try:
            changes = activity.changes[out]
            clocked = activity.changes[clock or out] / 2
        except KeyError as error:
            raise WordlineError(
                f"The simulation has no net {error} of {folder / 'netlist.v'}; simulate again."
            ) from None
        (quiet, leaks), (full, _) = still[name], busy[name]
        energy = Energy(
            switching=(full - quiet) * watts_to_pj * changes,
            clock=(quiet - leaks) * watts_to_pj * clocked,
            leakage_nw=leaks * 1e9,
        )
        block = block_name(name.rpartition(".")[0])
        found[block] = found.get(block, Energy(0, 0, 0)) + energy
    found[CLOCK_NET] = Energy(0, on_clock * volts**2 * cycles, 0)
    return found


CONNECTED = re.compile(r"\.(\w+)\(([^(){}]+)\)")
"""A pin of a cell, and its net."""


def _powers(report: str) -> dict[str, tuple[float, float]]:
    """Total and leakage of each cell in W, in OpenSTA's report."""
    found = {}
    for line in report.splitlines():
        fields = line.split()
        if len(fields) == 5 and fields[0][0].isdigit():
            found[fields[4]] = (float(fields[3]), float(fields[2]))
    return found


def _capacitances(liberty: Path) -> tuple[dict[tuple[str, str], float], float]:
    """Capacitance in pF of each cell's pins, and the voltage."""
    text = liberty.read_text(encoding="utf-8")
    found = {}
    for cell in re.split(r"^ *cell *\(", text, flags=re.MULTILINE)[1:]:
        for pin in re.split(r"^ *pin *\(", cell, flags=re.MULTILINE)[1:]:
            listed = re.search(r"\bcapacitance *: *([0-9.]+)", pin)
            if listed:
                found[cell.partition(")")[0].strip(), pin.partition(")")[0].strip()] = float(
                    listed[1]
                )
    volts = re.search(r"nom_voltage *: *([0-9.]+)", text)
    assert volts is not None
    return found, float(volts[1])
