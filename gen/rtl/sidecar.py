"""The JSON sidecar of emitted Verilog: everything other programs need to know about it."""

from importlib import metadata
from typing import Any

from amaranth.hdl import Shape, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from gen.rtl.naming import macro_name, module_name
from hw import timing
from hw.macro.interface import PARAMETERS
from hw.network import Accelerator

PACKAGES = ("wordline", "amaranth")
"""Packages whose versions are recorded: they determine the bytes of the Verilog."""


FORMAT = 2
"""Version of the sidecar (docs/formats.md). Wordline 0.1.0 wrote none."""


def probes(design: Accelerator) -> dict[str, dict[str, Any]]:
    """Internal signals for observation: instance path and layout of `trace`.

    `trace` is valid in cycles with `trace_valid`.
    """
    blocks: dict[str, tuple[list[str], wiring.Component]] = {
        f"layers.{n}": ([f"layer_{n}", "gates"], layer.gates)
        for n, layer in enumerate(design.layers)
    }
    if design.head is not None:
        blocks["head"] = (["head", "scores"], design.head.scores)
    return {
        name: {"path": path, "trace": fields(block.trace.shape())}  # type: ignore[attr-defined]
        for name, (path, block) in blocks.items()
    }


def fields(layout: data.Layout) -> dict[str, Any]:
    """Layout as JSON: the lowest bit of each field, and width, sign and dimensions of elements.

    Dimensions are listed outermost first.
    """
    found = {}
    for name, field in layout:
        shape, dimensions = field.shape, []
        while isinstance(shape, data.ArrayLayout):
            dimensions.append(shape.length)
            shape = shape.elem_shape
        element = Shape.cast(shape)
        found[name] = {
            "low": field.offset,
            "width": element.width,
            "signed": element.signed,
            "dimensions": dimensions,
        }
    return found


def ports(component: wiring.Component) -> dict[str, Any]:
    """Ports of a component as JSON: direction, width and, for payloads, fields."""
    found: dict[str, Any] = {}
    for path, member, port in component.signature.flatten(component):
        entry = found["__".join(map(str, path))] = {
            "direction": "input" if member.flow == In else "output",
            "width": len(Value.cast(port)),
        }
        if isinstance(port, data.View):
            entry["fields"] = fields(port.shape())
    return found


def sidecar(design: Accelerator, hashes: dict[str, str]) -> dict[str, Any]:
    """The sidecar of a design.

    hashes: SHA-256 of the other files, by name.
    """
    description = design.description
    return {
        "format": FORMAT,
        "name": description.name,
        "module": module_name(description),
        "fingerprint": description.fingerprint,
        "description": description.to_dict(),
        "ports": ports(design),
        "arrays": {
            name: {
                "macro": macro_name(shape),
                "row_tiles": [[tile.start, tile.stop] for tile in shape.row_tiles],
                "column_tiles": shape.column_tiles,
                "rows": shape.rows,
                "units": shape.units,
                "gates": shape.gates,
                "lanes": shape.lanes,
                "selects": shape.selects,
                "planes": description.dac.planes,
                "period": timing.period(shape),
                "conversion_cycles": timing.conversion_cycles(shape),
                "adc_shift": shape.adc_shift,
                "units_per_beat": timing.units_per_beat(shape),
            }
            for name, shape in description.arrays.items()
        },
        "cycles_per_step": design.cycles_per_step,
        "cycles_per_output": design.cycles_per_output,
        "load_map": {
            "address_bits": design.load_map.address_bits,
            "data_bits": design.load_map.data_bits,
            "parameters": PARAMETERS,
            "regions": {
                region.name: {
                    "base": region.base,
                    "fields": dict(region.fields),
                    "data": dict(region.data),
                }
                for region in design.load_map.regions.values()
            },
        },
        "probes": probes(design),
        "versions": {package: metadata.version(package) for package in PACKAGES},
        "sha256": hashes,
    }
