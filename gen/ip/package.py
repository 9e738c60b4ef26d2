"""IP package: Verilog, constraints, Liberty files, register map, driver, FuseSoC core."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from gen.ip import liberty, registers, testbench, wavedrom
from gen.ip.options import MACROS, PERIOD_NS, Macro
from gen.rtl import control, naming, sidecar, vectors, verilog
from gen.rtl.generated import Generated
from gen.verilog.components import to_verilog
from golden import files
from golden.description import Description
from golden.errors import WordlineError
from hw.bus.registers import BUS_BITS, RegisterMap
from hw.bus.serial import Board
from hw.bus.system import CoreInstance, System, Top
from hw.network import Accelerator

DRIVER = Path(__file__).with_name("driver")

IMAGES = ("image.hex", "image.bin")
"""Load images in a package with a trained network."""

PROGRAM = (*IMAGES, "vectors.npz", "program.json", "tb/stimulus.hex", "tb/expected.hex")
"""Files that a trained network adds to a package, except the testbenches' sources."""

IO_SHARE = 0.3
"""Input delay and output delay of the top's ports, as a fraction of the clock period."""


def axi_module(description: Description) -> str:
    """Name of the top module with AXI."""
    return f"{naming.module_name(description)}_axi"


def board_module(description: Description) -> str:
    """Name of the top module for an FPGA board."""
    return f"{naming.module_name(description)}_board"


def board(description: Description) -> str:
    """Path of the board's top module in a package. `sources` does not list it."""
    return f"board/{description.name}_board.v"


def texts(
    description: Description, views: Sequence[Macro], *, period_ns: float = PERIOD_NS
) -> dict[str, str]:
    """Files of the package, as text by path in its folder.

    views: Views of the crossbars. NAME.f and the FuseSoC core use the last one.
    period_ns: Clock period of the constraints.

    Raises WordlineError if the load window needs more address bits than AXI4-Lite has here.
    """
    name = description.name
    digital = verilog.digital_arrays(description) if "digital" in views else ""
    design, sources = verilog.verilog_files(description)
    if digital:
        sources[_crossbar(name, "digital")] = digital
    top = _top(description, design)
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
    about["axi"] = _axi(top)
    about["period_ns"] = period_ns
    found[f"{name}.json"] = json.dumps(about, indent=1) + "\n"
    return found


def _top(description: Description, design: Accelerator) -> Top:
    """The top with AXI, around an instance of the design."""
    name = naming.module_name(description)
    return Top(System(description, lambda _: CoreInstance(design, name)))


def axi(description: Description) -> dict[str, Any]:
    """Entry `axi` of a package's sidecar."""
    return _axi(_top(description, Accelerator(description)))


def _axi(top: Top) -> dict[str, Any]:
    map_ = top.inside.control.map  # type: ignore[attr-defined]
    name = axi_module(map_.description)
    return {"module": name, "ports": sidecar.ports(top), **registers.sidecar(map_)}


def _crossbar(name: str, view: Macro) -> str:
    """File name of a view of the crossbars."""
    ending = {"blackbox": "stub", "model": "model", "digital": "digital"}[view]
    return f"{name}_crossbar_{ending}.v"


def program_texts(description: Description, golden: vectors.Vectors) -> dict[str, str]:
    """Text files that a trained network adds to a package: testbenches with golden vectors."""
    name = description.name
    return testbench.texts(
        *(description, RegisterMap(description), axi_module(description), f"{name}.f", golden)
    )


def write(
    description: Description,
    macro: Macro,
    folder: Path,
    *,
    period_ns: float | None = None,
    force: bool = False,
) -> Generated:
    """Write the package into `folder`, each file whole or not at all.

    If the folder has a package of the same design, its other views stay. Files of a package of
    another design are deleted. Returns the folder with its hashes.

    period_ns: Clock period of the constraints; None: that of the package in the folder, else
        `PERIOD_NS`.
    force: Overwrite edited files.

    Raises WordlineError if the design has more load addresses than the bus, or if a file was
    edited.
    """
    made, before = Generated(folder, force=force), _before(folder)
    same = before.get("fingerprint") == description.fingerprint
    kept = [view for view in before.get("views", []) if same and view in MACROS and view != macro]
    if period_ns is None:
        period_ns = float(before.get("period_ns", PERIOD_NS)) if same else PERIOD_NS
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
    """Sidecar of the package in `folder`; empty if there is none."""
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(WordlineError):
            found = files.read_json(path, "")
            if "fingerprint" in found and isinstance(found.get("sha256"), dict):
                return found
    return {}


def sources(folder: Path) -> list[Path]:
    """Verilog files of a package, with the view that was written last."""
    name = _before(folder)["name"]
    return [folder / line for line in (folder / f"{name}.f").read_text().split()]


def timing(description: Description, ports: dict[str, Any], period_ns: float) -> dict[str, str]:
    """Constraints (SDC) of the top with AXI and Liberty files of the macros, as text by file name.

    ports: Ports of the top, as in the sidecar.
    """
    inputs = [
        name if port["width"] == 1 else f"{name}[*]"
        for name, port in ports.items()
        if port["direction"] == "input" and name != "aclk"
    ]
    outside = f"{IO_SHARE * period_ns:.3f}"
    lines = [
        "# One clock; times in ns: set the units first if the library has others. Nothing is",
        "# asynchronous, and no path is an exception.",
        f"create_clock -name aclk -period {period_ns:.3f} [get_ports aclk]",
        "set_input_transition 0.1 [all_inputs]",
        f"set_output_delay {outside} -max -clock aclk [all_outputs]",
        "set_output_delay 0 -min -clock aclk [all_outputs]",
        *(
            f"set_input_delay {delay} -{end} -clock aclk [get_ports {{{name}}}]"
            for name in inputs
            for end, delay in (("max", outside), ("min", "0"))
        ),
    ]
    texts = {f"{description.name}.sdc": "\n".join(lines) + "\n"}
    for module, shape in naming.macros(description).items():
        texts[f"{module}.lib"] = liberty.macro(module, shape, period_ns)
    return texts


def core(description: Description, rtl: list[str]) -> str:
    """FuseSoC core (CAPI2) with targets to instantiate the design, to lint it, to Verilate it."""
    name, top = description.name, axi_module(description)
    verilator = {"tool": "verilator", "verilator_options": ["-Wall"]}
    both = {"filesets": ["verilator", "rtl"], "toplevel": top}
    fields = {
        "name": f"wordline::{name}:{metadata.version('wordline')}",
        "description": f"The accelerator {name} with AXI",
        "filesets": {
            "rtl": {"files": rtl, "file_type": "verilogSource"},
            "verilator": {"files": [f"{name}.vlt"], "file_type": "vlt"},
            "constraints": {"files": [f"timing/{name}.sdc"], "file_type": "SDC"},
        },
        "targets": {
            # Of a larger design, neither the constraints nor Verilator's public signals.
            "default": {
                "filesets": ["rtl", "is_toplevel ? (constraints)"],
                "toplevel": top,
            },
            "lint": both | {"flow": "lint", "flow_options": verilator},
            "verilate": both
            | {"flow": "sim", "flow_options": verilator | {"mode": "cc", "exe": "false"}},
        },
    }
    # JSON is valid YAML, and its bytes are reproducible.
    return "CAPI=2:\n" + json.dumps(fields, indent=1) + "\n"
