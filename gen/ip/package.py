"""A folder that a flow of others takes up: Verilog, constraints, the macros' timing, registers, a
driver, a FuseSoC core."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from gen.ip import liberty, registers, wavedrom
from gen.ip.options import PERIOD_NS, Macro
from gen.rtl import control, naming, sidecar, verilog
from gen.verilog.components import to_verilog
from golden import files
from golden.description import Description
from golden.errors import WordlineError
from hw.bus.registers import BUS_BITS
from hw.bus.serial import Board
from hw.bus.system import CoreInstance, System, Top

DRIVER = Path(__file__).with_name("driver")

IMAGES = ("image.hex", "image.bin")
"""A trained network in a package."""

IO_SHARE = 0.3
"""Part of the clock's period that is left to what is outside, on its way in and on its way out."""


def axi_module(description: Description) -> str:
    """Name of the top module with AXI."""
    return f"{naming.module_name(description)}_axi"


def board_module(description: Description) -> str:
    """Name of the top module for a board."""
    return f"{naming.module_name(description)}_board"


def board(description: Description) -> str:
    """Path in a package of the top module for a board, which is not among its `sources`."""
    return f"board/{description.name}_board.v"


def texts(
    description: Description, macro: Macro, *, period_ns: float = PERIOD_NS
) -> dict[str, str]:
    """The package's files, by their paths in its folder. period_ns: of the clock."""
    name = description.name
    design, sources = verilog.verilog_files(description)
    top = Top(System(description, lambda _: CoreInstance(design, naming.module_name(description))))
    ending = {"blackbox": "stub", "model": "model", "digital": "digital"}[macro]
    body = f"{name}_crossbar_{ending}.v"
    if macro == "digital":
        sources[body] = verilog.digital_arrays(description)
    map_ = top.inside.control.map
    if map_.address_bits > BUS_BITS:
        raise WordlineError(
            f"{name} takes {map_.address_bits} bits of address to load, and AXI4-Lite has "
            f"{BUS_BITS} here; make the network smaller, or load it by the accelerator's own port."
        )
    found = {
        f"rtl/{name}.v": sources[f"{name}.v"],
        f"rtl/{body}": sources[body],
        f"rtl/{name}_axi.v": to_verilog(top, axi_module(description)),
        "registers/wordline_regs.h": registers.c_header(map_),
        "registers/registers.md": registers.markdown(map_),
        f"registers/{name}.rdl": registers.systemrdl(map_),
    }
    rtl = [path for path in found if path.startswith("rtl/")]
    ports = sidecar.ports(top)
    public = {axi_module(description): ports}
    if macro == "model":
        line = Board(top.inside.signature, axi_module(description))
        found[board(description)] = to_verilog(line, board_module(description))
        public[board_module(description)] = sidecar.ports(line)
    for path in sorted(DRIVER.iterdir()):
        found[f"driver/{path.name}"] = path.read_text(encoding="utf-8")
    for module, shape in naming.macros(description).items():
        found[f"timing/{module}.json"] = wavedrom.macro(module, shape)
    budgets = timing(description, ports, period_ns)
    found |= {
        f"timing/{file}": text
        for file, text in budgets.items()
        if macro == "blackbox" or file.endswith(".sdc")
    }
    names = [Path(path).name for path in found if path.endswith(".v")]
    written = {
        module: {name: port["direction"] == "input" for name, port in of_module.items()}
        for module, of_module in public.items()
    }
    found[f"{name}.vlt"] = control.control_file(names, written)
    found[f"{name}.f"] = "".join(f"{path}\n" for path in rtl)
    found[f"{name}.core"] = core(description, rtl)
    hashes = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in found.items()}
    about = sidecar.sidecar(design, hashes)
    about["axi"] = {"module": axi_module(description), "ports": ports, **registers.sidecar(map_)}
    found[f"{name}.json"] = json.dumps(about, indent=1) + "\n"
    return found


def write(
    description: Description, macro: Macro, folder: Path, *, period_ns: float = PERIOD_NS
) -> None:
    """Write the package into `folder`; each file whole or not at all. What another package left
    there is deleted.

    Raises WordlineError if the bus has no addresses for so large a design.
    """
    found = texts(description, macro, period_ns=period_ns)
    for path in _left(folder) - set(found):
        (folder / path).unlink(missing_ok=True)
    for path, text in found.items():
        files.write_text(folder / path, text)


def _left(folder: Path) -> set[str]:
    """Files of a package that lies there, its sidecar and its image among them."""
    paths = set(IMAGES)
    for path in folder.glob("*.json"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            paths |= {path.name, *json.loads(path.read_text())["sha256"]}
    return paths


def sources(folder: Path) -> list[Path]:
    """The Verilog of a package."""
    (listed,) = folder.glob("*.f")
    return [folder / line for line in listed.read_text().split()]


def timing(description: Description, ports: dict[str, Any], period_ns: float) -> dict[str, str]:
    """Constraints of the module with AXI, whose ports are as the sidecar has them, and the macros'
    timing, for a clock: text by file name."""
    inputs = [
        name if port["width"] == 1 else f"{name}[*]"
        for name, port in ports.items()
        if port["direction"] == "input" and name != "aclk"
    ]
    outside = f"{IO_SHARE * period_ns:.3f}"
    lines = [
        "# One clock, in ns; nothing is asynchronous, and no path is an exception.",
        f"create_clock -name aclk -period {period_ns:.3f} [get_ports aclk]",
        "set_input_transition 0.1 [all_inputs]",
        f"set_output_delay {outside} -clock aclk [all_outputs]",
        *(f"set_input_delay {outside} -clock aclk [get_ports {{{name}}}]" for name in inputs),
    ]
    texts = {f"{description.name}.sdc": "\n".join(lines) + "\n"}
    for module, shape in naming.macros(description).items():
        texts[f"{module}.lib"] = liberty.macro(module, shape, period_ns)
    return texts


def core(description: Description, rtl: list[str]) -> str:
    """A FuseSoC core (CAPI2): targets to take it up, to lint it, and to build it in Verilator."""
    name, top = description.name, axi_module(description)
    verilator = {"tool": "verilator", "verilator_options": ["-Wall"]}
    both = {"filesets": ["verilator", "rtl"], "toplevel": top}
    fields = {
        "name": f"wordline::{name}:0.1.0",
        "description": f"The accelerator {name} with AXI",
        "filesets": {
            "rtl": {"files": rtl, "file_type": "verilogSource"},
            "verilator": {"files": [f"{name}.vlt"], "file_type": "vlt"},
            "constraints": {"files": [f"timing/{name}.sdc"], "file_type": "SDC"},
        },
        "targets": {
            "default": {"filesets": ["rtl", "constraints"], "toplevel": top},
            "lint": both | {"flow": "lint", "flow_options": verilator},
            "verilate": both
            | {"flow": "sim", "flow_options": verilator | {"mode": "cc", "exe": "false"}},
        },
    }
    # JSON is YAML, and the same bytes each time.
    return "CAPI=2:\n" + json.dumps(fields, indent=1) + "\n"
