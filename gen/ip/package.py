"""A folder that a flow of others takes up: Verilog, constraints, the macros' timing, registers, a
driver, a FuseSoC core."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen.ip import liberty, registers, testbench, wavedrom
from gen.ip.options import MACROS, PERIOD_NS, Macro
from gen.rtl import control, naming, sidecar, vectors, verilog
from gen.rtl.generated import Generated
from gen.verilog.components import to_verilog
from golden.description import Description
from golden.errors import WordlineError
from hw.bus.registers import BUS_BITS, RegisterMap
from hw.bus.serial import Board
from hw.bus.system import CoreInstance, System, Top

DRIVER = Path(__file__).with_name("driver")

IMAGES = ("image.hex", "image.bin")
"""A trained network in a package."""

PROGRAM = (*IMAGES, "vectors.npz", "program.json", "tb/stimulus.hex", "tb/expected.hex")
"""Files of a package that come with a trained network, testbenches apart."""

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
    description: Description, views: Sequence[Macro], *, period_ns: float = PERIOD_NS
) -> dict[str, str]:
    """The package's files, by their paths in its folder.

    views: of the crossbars; NAME.f and the FuseSoC core use the last one. period_ns: of the clock.
    """
    name = description.name
    design, sources = verilog.verilog_files(description)
    top = Top(System(description, lambda _: CoreInstance(design, naming.module_name(description))))
    if "digital" in views:
        sources[_crossbar(name, "digital")] = verilog.digital_arrays(description)
    map_ = top.inside.control.map
    if map_.address_bits > BUS_BITS:
        raise WordlineError(
            f"{name} takes {map_.address_bits} bits of address to load, and AXI4-Lite has "
            f"{BUS_BITS} here; make the network smaller, or load it by the accelerator's own port."
        )
    common = [f"rtl/{name}.v", f"rtl/{name}_axi.v"]
    found = {
        f"rtl/{name}.v": sources[f"{name}.v"],
        **{f"rtl/{_crossbar(name, view)}": sources[_crossbar(name, view)] for view in views},
        f"rtl/{name}_axi.v": to_verilog(top, axi_module(description)),
        "registers/wordline_regs.h": registers.c_header(map_),
        "registers/registers.md": registers.markdown(map_),
        f"registers/{name}.rdl": registers.systemrdl(map_),
    }
    ports = sidecar.ports(top)
    public = {axi_module(description): ports}
    if "model" in views:
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
        if "blackbox" in views or file.endswith(".sdc")
    }
    names = [Path(path).name for path in found if path.endswith(".v")]
    written = {
        module: {name: port["direction"] == "input" for name, port in of_module.items()}
        for module, of_module in public.items()
    }
    found[f"{name}.vlt"] = control.control_file(names, written)
    rtl = {view: [*common, f"rtl/{_crossbar(name, view)}"] for view in views}
    for view, paths in rtl.items():
        found[f"{name}_{view}.f"] = "".join(f"{path}\n" for path in paths)
    found[f"{name}.f"] = found[f"{name}_{views[-1]}.f"]
    found[f"{name}.core"] = core(description, rtl[views[-1]])
    hashes = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in found.items()}
    about = sidecar.sidecar(design, hashes)
    about["views"] = [*views]
    about["axi"] = {"module": axi_module(description), "ports": ports, **registers.sidecar(map_)}
    found[f"{name}.json"] = json.dumps(about, indent=1) + "\n"
    return found


def _crossbar(name: str, view: Macro) -> str:
    """The file of a view of the crossbars."""
    ending = {"blackbox": "stub", "model": "model", "digital": "digital"}[view]
    return f"{name}_crossbar_{ending}.v"


def program_texts(description: Description, golden: vectors.Vectors) -> dict[str, str]:
    """Text files that come with a trained network: testbenches, for golden vectors."""
    name = description.name
    return testbench.texts(
        *(description, RegisterMap(description), axi_module(description), f"{name}.f", golden)
    )


def write(
    description: Description,
    macro: Macro,
    folder: Path,
    *,
    period_ns: float = PERIOD_NS,
    force: bool = False,
) -> Generated:
    """Write the package into `folder`; each file whole or not at all.

    Views that a package of the same design has there stay. What another design's package left there
    is deleted. force: overwrite what was edited. Returns the folder with its hashes. Raises
    WordlineError if the bus has no addresses for so large a design, or where a file was edited.
    """
    made, before = Generated(folder, force=force), _before(folder)
    same = before.get("fingerprint") == description.fingerprint
    kept = [view for view in before.get("views", []) if same and view in MACROS and view != macro]
    found = texts(description, [*kept, macro], period_ns=period_ns)
    other = {*before.get("sha256", {}), *((f"{before['name']}.json",) if "name" in before else ())}
    benches = {f"tb/{before.get('name')}_tb.{kind}" for kind in ("v", "cpp")}
    left = (other | (set() if same else {*PROGRAM} | benches)) - found.keys()
    made.check([*found, *left], lambda: found)
    made.delete(left)
    for path, text in found.items():
        made.write_text(path, text)
    return made


def _before(folder: Path) -> dict[str, Any]:
    """The sidecar of the package that lies there; empty if there is none."""
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            found = json.loads(path.read_text(encoding="utf-8"))
            if "fingerprint" in found and isinstance(found.get("sha256"), dict):
                return dict(found)
    return {}


def sources(folder: Path) -> list[Path]:
    """The Verilog of a package, with the view that was written last."""
    name = _before(folder)["name"]
    return [folder / line for line in (folder / f"{name}.f").read_text().split()]


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
