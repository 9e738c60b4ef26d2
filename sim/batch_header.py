"""Header chip.h with which sim/batch.cpp is compiled for a chip."""

from typing import Any

import numpy as np

from sim.benches import scoreboard


def layouts(sidecar: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Fields of each probe. The last dimension is units; it is 1 for a field without one."""
    return {
        name: {
            field: layout | {"dimensions": layout["dimensions"] or [1]}
            for field, layout in probe["trace"].items()
        }
        for name, probe in sidecar["probes"].items()
    }


def header(sidecar: dict[str, Any]) -> str:
    """Text of chip.h for a chip."""

    def layout(field: dict[str, Any]) -> str:
        *gates, places = field["dimensions"] or [1]
        sign = "true" if field["signed"] else "false"
        return f"{{{field['low']}, {field['width']}, {sign}, {(gates or [1])[0]}, {places}}}"

    ports, probes = sidecar["ports"], layouts(sidecar)
    lines = [f"// Made by sim/batch_header.py for {sidecar['name']}."]
    widths = [port["width"] for port in ports.values()]
    for fields in probes.values():
        widths += [
            field["low"] + field["width"] * int(np.prod(field["dimensions"]))
            for field in fields.values()
        ]
    lines.append(f"constexpr unsigned MOST_BITS = {max(64, *widths)};")
    lines.append(f"constexpr unsigned PROBE_COUNT = {len(probes)};")
    for port, names in (("load", ("address", "data", "last")), ("i", ("codes", "last"))):
        for name in names:
            field = ports[f"{port}__payload"]["fields"][name]
            lines.append(f"constexpr Field {port.upper()}_{name.upper()}{layout(field)};")
    _, field = scoreboard.output_field(sidecar)
    lines.append(f"constexpr Field O_VALUE{layout(field)};")
    for n, fields in enumerate(probes.values()):
        inside = ", ".join(f"Field{layout(field)}" for field in fields.values())
        lines.append(f"constexpr std::array<Field, {len(fields)}> FIELDS_{n}{{{inside}}};")
    top = _encoded(sidecar["module"])
    lines.append(f"#define CLOCK_BEFORE __Vtrigprevexpr___TOP__{top}__DOT__clk__0")
    lines.append("#define PROBES(X) \\")
    for n, probe in enumerate(sidecar["probes"].values()):
        path = "__DOT__".join(map(_encoded, [sidecar["module"], *probe["path"]]))
        lines.append(f"    X({n}, FIELDS_{n}, {path}__DOT__trace_valid, {path}__DOT__trace) \\")
    return "\n".join(lines) + "\n\n"


def _encoded(name: str) -> str:
    """A Verilog name as Verilator writes it in C++, where double underscores are reserved."""
    return name.replace("__", "___05F")
