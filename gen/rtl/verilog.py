"""Emission: Verilog and related files of a description. The same input gives the same bytes."""

import hashlib
import json

from amaranth.hdl import Value
from amaranth.lib.wiring import In

from gen.rtl.control import design_control_file
from gen.rtl.naming import macro_name, macros, module_name
from gen.rtl.sidecar import sidecar
from gen.verilog.components import to_verilog
from golden.description import Description
from golden.geometry import ArrayShape
from hw.array import crossbar_model
from hw.macro import columns
from hw.macro.columns import ColumnsInstance
from hw.macro.digital import DigitalArray
from hw.macro.interface import CrossbarMacro, macro_signature
from hw.network import Accelerator


def texts(description: Description) -> dict[str, str]:
    """Files of the design, as text by file name.

    NAME.v: Digital logic, with the macros as instances.
    NAME_crossbar_model.v: Behavioural models of the macros.
    NAME_crossbar_stub.v: Black boxes of the macros.
    NAME.vlt: Verilator control file.
    description.toml: The description.
    NAME.json: The sidecar. It comes last, as it has the hashes of the others.
    """
    design, found = verilog_files(description)
    found[f"{description.name}.vlt"] = design_control_file(design)
    found["description.toml"] = description.to_toml()
    hashes = {file: hashlib.sha256(text.encode()).hexdigest() for file, text in found.items()}
    sidecar_text = json.dumps(sidecar(design, hashes), indent=1) + "\n"
    return found | {f"{description.name}.json": sidecar_text}


def names(description: Description) -> list[str]:
    """Names of the files that `texts` returns."""
    ends = (".v", "_crossbar_model.v", "_crossbar_stub.v", ".vlt", ".json")
    return ["description.toml", *(description.name + end for end in ends)]


def accelerator(description: Description) -> Accelerator:
    """The design, with its crossbar macros as instances of separate modules."""
    return Accelerator(description, macro=lambda shape: CrossbarMacro(shape, macro_name(shape)))


def verilog_files(description: Description) -> tuple[Accelerator, dict[str, str]]:
    """The design, and its Verilog as text by file name."""
    name = description.name
    design = accelerator(description)
    bodies = macros(description)
    logic = to_verilog(design, module_name(description))
    return design, {
        f"{name}.v": logic,
        f"{name}_crossbar_model.v": "".join(
            to_verilog(crossbar_model(shape, ColumnsInstance), macro)
            for macro, shape in bodies.items()
        )
        + columns.SOURCE.read_text(encoding="utf-8"),
        f"{name}_crossbar_stub.v": "".join(
            _black_box(shape, macro) for macro, shape in bodies.items()
        ),
    }


def digital_arrays(description: Description) -> str:
    """Verilog of the digital views of the macros. Raises WordlineError if there is none."""
    return "".join(
        to_verilog(DigitalArray(shape), macro) for macro, shape in macros(description).items()
    )


def _black_box(shape: ArrayShape, name: str) -> str:
    """Black box of a macro: its ports and the attribute `blackbox`."""
    ports = ["input clk", "input rst"]
    signature = macro_signature(shape)
    for path, member, port in signature.flatten(signature.create()):
        bits = len(Value.cast(port))
        flow = "input" if member.flow == In else "output"
        ports.append(f"{flow} {f'[{bits - 1}:0] ' if bits > 1 else ''}{'__'.join(map(str, path))}")
    lines = ["(* blackbox *)", f"module {name} (", *(f"  {port}," for port in ports[:-1])]
    return "\n".join([*lines, f"  {ports[-1]}", ");", "endmodule", ""])
