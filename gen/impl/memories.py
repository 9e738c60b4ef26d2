"""Memories of a design as macros, as a chip's memory compiler would provide them.

The cell libraries (gen/impl/cells.py) have no memories, so synthesis makes them of flip-flops.
Energy and area from published figures (gen/cost/ppa.py) use these macros instead.
"""

from dataclasses import dataclass
from typing import Any

LEAST = 512
"""Minimum size of a memory macro in bits; smaller memories stay flip-flops."""

PREFIX = "wordline_memory_"


@dataclass(frozen=True)
class Shape:
    """Shape of a memory: words, bits per word, read ports. Its one write port has bit enables."""

    words: int
    width: int
    reads: int

    @property
    def module(self) -> str:
        """Module name of the macro."""
        return f"{PREFIX}{self.words}x{self.width}_{self.reads}r"

    @property
    def bits(self) -> int:
        """Size in bits."""
        return self.words * self.width

    @property
    def ports(self) -> dict[str, tuple[str, int]]:
        """Direction and width of each port of the macro."""
        address = max(1, (self.words - 1).bit_length())
        return {
            "clk": ("input", 1),
            "read_en": ("input", self.reads),
            "read_addr": ("input", self.reads * address),
            "read_data": ("output", self.reads * self.width),
            "write_en": ("input", self.width),
            "write_addr": ("input", address),
            "write_data": ("input", self.width),
        }


def of_module(module: str) -> Shape | None:
    """Shape of a memory macro by its module name; None if it is not a memory macro."""
    if not module.startswith(PREFIX):
        return None
    size, reads = module.removeprefix(PREFIX).removesuffix("r").split("_")
    words, width = size.split("x")
    return Shape(int(words), int(width), int(reads))


def extract(design: dict[str, Any], least: int = LEAST) -> set[Shape]:
    """Replace memories by macros, and return the shapes of the macros.

    Memories that no macro fits stay: with an unclocked read port, several write ports, several
    clocks, write-through reads, or a reset of the read data.

    design: Design in Yosys' JSON format, before memories are mapped; it is modified.
    least: Minimum size of a memory in bits.
    """
    shapes = set()
    for module in [*design["modules"].values()]:
        for cell in module["cells"].values():
            if cell["type"] == "$mem_v2":
                shape = _shape(cell)
                if shape is not None and shape.bits >= least:
                    _replace(cell, shape)
                    shapes.add(shape)
    for shape in shapes:
        design["modules"][shape.module] = _black_box(shape)
    return shapes


def _shape(cell: dict[str, Any]) -> Shape | None:
    """Shape of the macro for a memory; None if no macro can replace it."""
    number = {
        name: int(cell["parameters"][name], 2)
        for name in ("SIZE", "WIDTH", "RD_PORTS", "WR_PORTS", "OFFSET", "RD_TRANSPARENCY_MASK")
    }
    clocked = {name: cell["parameters"][f"{name}_CLK_ENABLE"].lstrip("0") for name in ("RD", "WR")}
    if (
        clocked["RD"] != "1" * number["RD_PORTS"]
        or clocked["WR"] != "1"
        or number["WR_PORTS"] != 1
        or number["OFFSET"]
        or number["RD_TRANSPARENCY_MASK"]
        or len({*cell["connections"]["RD_CLK"], *cell["connections"]["WR_CLK"]}) != 1
        or not {*cell["connections"]["RD_ARST"], *cell["connections"]["RD_SRST"]} <= {"0", "x"}
    ):
        return None
    return Shape(number["SIZE"], number["WIDTH"], number["RD_PORTS"])


def _replace(cell: dict[str, Any], shape: Shape) -> None:
    named = {
        "clk": cell["connections"]["WR_CLK"],
        **{f"read_{n}": cell["connections"][f"RD_{n.upper()}"] for n in ("en", "addr", "data")},
        **{f"write_{n}": cell["connections"][f"WR_{n.upper()}"] for n in ("en", "addr", "data")},
    }
    cell["type"], cell["parameters"], cell["attributes"] = shape.module, {}, {}
    cell["connections"] = named
    cell["port_directions"] = {name: way for name, (way, _) in shape.ports.items()}
    for name, (_, width) in shape.ports.items():
        assert len(named[name]) == width, (name, len(named[name]), width)


def _black_box(shape: Shape) -> dict[str, Any]:
    ports, bit = {}, 2
    for name, (way, width) in shape.ports.items():
        ports[name] = {"direction": way, "bits": [*range(bit, bit + width)]}
        bit += width
    return {"attributes": {"blackbox": f"{1:032b}"}, "ports": ports, "cells": {}, "netnames": {}}


def stub(shape: Shape) -> str:
    """Black box of a macro, to be replaced by a memory compiler's own."""
    ports = ",\n".join(
        f"  {way} [{width - 1}:0] {name}" for name, (way, width) in shape.ports.items()
    )
    about = (
        f"// {shape.words} words of {shape.width} bits, {shape.reads} read ports, one write port "
        f"with an enable for each bit.\n// A read port gives its word in the cycle after read_en."
    )
    return f"{about}\n(* blackbox *)\nmodule {shape.module} (\n{ports}\n);\nendmodule\n"


def verilog(shape: Shape) -> str:
    """Behavioural Verilog of a macro. A read during a write to the same word gives the old word."""
    address = shape.ports["write_addr"][1]
    ports = [
        f"  {way} {'reg ' if way == 'output' else ''}[{width - 1}:0] {name}"
        for name, (way, width) in shape.ports.items()
    ]
    lines = [f"module {shape.module}(", ",\n".join(ports), ");"]
    lines += [f"  reg [{shape.width - 1}:0] words [0:{shape.words - 1}];", "  integer n;"]
    lines += ["  always @(posedge clk) begin"]
    for port in range(shape.reads):
        data, at = f"{port * shape.width} +: {shape.width}", f"{port * address} +: {address}"
        lines.append(f"    if (read_en[{port}]) read_data[{data}] <= words[read_addr[{at}]];")
    lines += [
        f"    for (n = 0; n < {shape.width}; n = n + 1)",
        "      if (write_en[n]) words[write_addr][n] <= write_data[n];",
        "  end",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"
