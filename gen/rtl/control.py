"""Verilator's control file of a design: what is waived, and what stays visible."""

from collections.abc import Iterable, Mapping
from typing import Any

from gen.rtl.naming import module_name
from gen.rtl.sidecar import ports, probes
from hw.network import Accelerator

WAIVED = (
    "DECLFILENAME",  # a file has all modules of a design
    "PROCASSINIT",  # registers have a value when the power comes
    "UNUSEDSIGNAL",  # fields of records, for waves
    "WIDTHEXPAND",  # a signed number is extended
    "WIDTHTRUNC",  # a shift selects a part
)
"""Verilator's warnings about the style of what is emitted; nothing else is waived."""

WAIVED_IN_STUB = ("DECLFILENAME", "UNDRIVEN", "UNUSEDSIGNAL")
"""Warnings about modules that have nothing inside."""


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


def design_control_file(design: Accelerator) -> str:
    """Ports and probes are public."""
    endings = ("", "_crossbar_model", "_crossbar_stub")
    names = [f"{design.description.name}{end}.v" for end in endings]
    public = public_signals(module_name(design.description), ports(design), probes(design))
    return control_file(names, public)


def public_signals(
    top: str, ports: Mapping[str, Any], probes: Mapping[str, Any]
) -> dict[str, dict[str, bool]]:
    """Ports and probes of a design, as its sidecar has them, for `control_file`."""
    written = {port: entry["direction"] == "input" for port, entry in ports.items()}
    public = {top: {"clk": True, "rst": True, **written}}
    for probe in probes.values():
        public[".".join([top, *probe["path"]])] = dict.fromkeys(("trace", "trace_valid"), False)
    return public
