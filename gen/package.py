"""A folder that a flow of others takes up: Verilog, its constraints, registers, driver, text."""

import hashlib
import json
from pathlib import Path
from typing import Literal

from amaranth.lib.wiring import In

from gen import emit, regmap
from golden import files
from golden.description import Description
from hw.system import CoreInstance, System, Top

DRIVER = Path(__file__).with_name("driver")

Macro = Literal["blackbox", "model"]
MACROS: tuple[Macro, ...] = ("blackbox", "model")
"""The body of the crossbar macros: none, for a chip; or their behaviour, for an FPGA and for
simulation."""


def axi_module(description: Description) -> str:
    """Name of the top module with AXI."""
    return f"{emit.module_name(description)}_axi"


def texts(description: Description, macro: Macro) -> dict[str, str]:
    """The package's files, by their paths in its folder."""
    name = description.name
    design, verilog = emit.verilog_files(description)
    top = Top(System(description, lambda _: CoreInstance(design, emit.module_name(description))))
    body = {"blackbox": f"{name}_crossbar_stub.v", "model": f"{name}_crossbar_model.v"}[macro]
    map_ = top.inside.control.map
    found = {
        f"rtl/{name}.v": verilog[f"{name}.v"],
        f"rtl/{body}": verilog[body],
        f"rtl/{name}_axi.v": emit.to_verilog(top, axi_module(description)),
        "registers/wordline_regs.h": regmap.c_header(map_),
        "registers/registers.md": regmap.markdown(map_),
        f"registers/{name}.rdl": regmap.systemrdl(map_),
    }
    for path in sorted(DRIVER.iterdir()):
        found[f"driver/{path.name}"] = path.read_text(encoding="utf-8")
    ports = {path[0]: member.flow == In for path, member, _ in top.signature.flatten(top)}
    rtl = [Path(path).name for path in found if path.startswith("rtl/")]
    found[f"{name}.vlt"] = emit.control_file(rtl, {axi_module(description): ports})
    hashes = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in found.items()}
    sidecar = emit.sidecar(design, hashes) | {"axi": regmap.sidecar(map_)}
    found[f"{name}.json"] = json.dumps(sidecar, indent=1) + "\n"
    return found


def sources(folder: Path) -> list[Path]:
    """The Verilog of a package."""
    return sorted((folder / "rtl").glob("*.v"))


def write(description: Description, macro: Macro, folder: Path) -> None:
    """Write the package into `folder`; each file whole or not at all."""
    for path, text in texts(description, macro).items():
        files.write_text(folder / path, text)
