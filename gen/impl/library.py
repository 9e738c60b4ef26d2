"""Cells of a standard-cell library, found by function in its Liberty file. No name is assumed.

Yosys reads the file, so the function of a cell is the one that Yosys maps to.
"""

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen.impl.cells import Cells
from gen.impl.tools import run_yosys
from golden.errors import WordlineError


@dataclass(frozen=True)
class Gate:
    """A cell, and its pins by their names in Yosys' internal cell of the same function."""

    cell: str
    pins: dict[str, str]

    def instance(self, name: str, **nets: str) -> str:
        """Verilog instance of the cell. nets: Net of each pin."""
        pins = ", ".join(f".{self.pins[pin]}({net})" for pin, net in nets.items())
        return f"{self.cell} {name} ({pins});"


@dataclass(frozen=True)
class Library:
    """Cells that synthesis instantiates by name. Yosys selects all others.

    areas: Area of each cell (um2).
    clocks: Clock pins of flip-flops and enable pins of latches.
    data: Data pin of each flip-flop.
    outputs: Output pins of each cell.
    buffer, inverter, and_: Gates.
    latch: Latch for clock gates; None if there is none, and clocks are not gated.
    low: Whether the latch is transparent while its enable is low.
    """

    areas: dict[str, float]
    clocks: frozenset[str]
    data: dict[str, str]
    outputs: dict[str, list[str]]
    buffer: Gate
    inverter: Gate
    and_: Gate
    latch: Gate | None
    low: bool

    def clock_gate(self, module: str) -> str | None:
        """Verilog of a clock gate that passes the clock while CE is 1; None without a latch.

        The enable is held while the clock is high.
        """
        if self.latch is None:
            return None
        lines = [f"module {module}(input CE, CLK, output GCLK);", "  wire low, held;"]
        if not self.low:
            lines.append("  " + self.inverter.instance("invert", A="CLK", Y="low"))
        enable = "CLK" if self.low else "low"
        lines += [
            "  " + self.latch.instance("hold", E=enable, D="CE", Q="held"),
            "  " + self.and_.instance("gate", A="CLK", B="held", Y="GCLK"),
            "endmodule",
        ]
        return "\n".join(lines) + "\n"


def read(cells: Cells, folder: Path | None = None) -> Library:
    """Read a library.

    folder: Folder of the library's files; None: where Debian installs it.

    Raises WordlineError if the file cannot be read or lacks a function.
    """
    liberty = cells.liberty(folder)
    with tempfile.TemporaryDirectory(prefix="wordline-") as beside:
        script = f'read_liberty -ignore_miss_func -ignore_miss_data_latch "{liberty}"\n'
        run_yosys(script + "write_json library.json\n", Path(beside), "library", kept=False)
        modules = json.loads((Path(beside) / "library.json").read_text())["modules"]
    areas = {name: float(m["attributes"].get("area", "0")) for name, m in modules.items()}
    areas |= _of_layout({name for name, area in areas.items() if not area}, cells.lef(folder))
    found: dict[str, list[Gate]] = {}
    clocks, data = set(), {}
    for name, module in modules.items():
        functions = _functions(module)
        for kind, pins in functions:
            found.setdefault(kind, []).append(Gate(name, pins))
        for cell in module["cells"].values():
            own = _pins(module, cell)
            if re.match(r"\$_(S?DFF|ALDFF|DFFSR)", cell["type"]):
                if {"C", "D"} <= own.keys():
                    clocks.add(own["C"])
                    data[name] = own["D"]
            elif cell["type"].startswith("$_DLATCH") and "E" in own:
                clocks.add(own["E"])
    if not data:
        raise WordlineError(
            f"{liberty} has no flip-flop that Yosys can read; give another library."
        )

    def smallest(kind: str, what: str) -> list[Gate]:
        gates = sorted(found.get(kind, []), key=lambda gate: (areas[gate.cell], gate.cell))
        if not gates:
            raise WordlineError(f"{liberty} has no {what}; give another library with --liberty.")
        return gates

    buffers = smallest("buffer", "buffer")
    latches = sorted(found.get("$_DLATCH_P_", []), key=lambda gate: gate.cell)
    low = sorted(found.get("$_DLATCH_N_", []), key=lambda gate: gate.cell)
    return Library(
        areas=areas,
        clocks=frozenset(clocks),
        data=data,
        outputs={
            name: [pin for pin, port in module["ports"].items() if port["direction"] == "output"]
            for name, module in modules.items()
        },
        buffer=buffers[min(1, len(buffers) - 1)],  # the smallest drives few loads
        inverter=smallest("$_NOT_", "inverter")[0],
        and_=smallest("$_AND_", "AND of two inputs")[0],
        latch=next(iter(latches or low), None),
        low=not latches,
    )


def _functions(module: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Function of a cell with one output and one gate, as Yosys cell type and pins; else empty."""
    ports = module["ports"]
    outputs = [pin for pin, port in ports.items() if port["direction"] == "output"]
    inputs = [pin for pin, port in ports.items() if port["direction"] == "input"]
    cells = [*module["cells"].values()]
    if len(outputs) != 1:
        return []
    (out,) = outputs
    if not cells:
        same = [pin for pin in inputs if ports[pin]["bits"] == ports[out]["bits"]]
        return [("buffer", {"A": same[0], "Y": out})] if len(inputs) == 1 and same else []
    driving = [c for c in cells if ports[out]["bits"] in c["connections"].values()]
    if len(driving) != 1:
        return []
    (cell,) = driving
    # Latches and flip-flops contain an inverter for an output that is not connected.
    sequential = cell["type"].startswith(("$_DLATCH", "$_DFF"))
    if len(cells) > 1 and not sequential:
        return []
    pins = _pins(module, cell)
    if len(pins) != len(cell["connections"]) or {*pins.values()} != {*inputs, out}:
        return []
    return [(cell["type"], pins)]


def _pins(module: dict[str, Any], cell: dict[str, Any]) -> dict[str, str]:
    """Pin of the module on each port of a cell in it, for ports that connect to a pin."""
    by_bit = {tuple(port["bits"]): pin for pin, port in module["ports"].items()}
    ports = cell["connections"].items()
    return {port: by_bit[tuple(bits)] for port, bits in ports if tuple(bits) in by_bit}


def _of_layout(names: set[str], lef: Path | None) -> dict[str, float]:
    """Areas (um2) from the LEF file, for cells without an area in the Liberty file."""
    if lef is None or not names:
        return {}
    text = lef.read_text(encoding="utf-8")
    found = {}
    for name in names:
        size = re.search(
            rf"MACRO {re.escape(name)}\s.*?SIZE\s+([0-9.]+)\s+BY\s+([0-9.]+)", text, re.DOTALL
        )
        if size:
            found[name] = float(size[1]) * float(size[2])
    return found
