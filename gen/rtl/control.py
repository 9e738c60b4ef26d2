"""Verilator control file of a design: waived warnings and public signals."""

from collections.abc import Iterable, Mapping
from typing import Any

from gen.rtl.naming import module_name
from gen.rtl.sidecar import ports, probes
from hw.network import Accelerator

WAIVED = (
    "DECLFILENAME",  # all modules of a design are in one file
    "PROCASSINIT",  # registers have a power-up value
    "UNUSEDSIGNAL",  # fields of records stay, for waveforms
    "WIDTHEXPAND",  # signed numbers are extended
    "WIDTHTRUNC",  # a shift selects a part
)
"""Verilator style warnings waived for emitted Verilog."""

WAIVED_IN_MODEL = (*WAIVED, "BLKSEQ")  # hw/macro/columns.v: variables of one block
"""Warnings waived for the crossbar model."""

WAIVED_IN_STUB = ("DECLFILENAME", "UNDRIVEN", "UNUSEDSIGNAL")
"""Warnings waived for black boxes, which have no content."""


def control_file(verilog: Iterable[str], public: Mapping[str, Mapping[str, bool]]) -> str:
    """Verilator control file that waives style warnings for these files and makes signals public.

    public: For each module or instance, its public signals; True if a bench may write the signal.
    """
    lines = ["`verilator_config"]
    for file in verilog:
        endings = {"_crossbar_model.v": WAIVED_IN_MODEL, "_stub.v": WAIVED_IN_STUB}
        rules = next((own for end, own in endings.items() if file.endswith(end)), WAIVED)
        lines += [f'lint_off -rule {rule} -file "*{file}"' for rule in rules]
    for module, signals in public.items():
        for name, written in signals.items():
            access = "public_flat_rw" if written else "public_flat_rd"
            lines.append(f'{access} -module "{module}" -var "{name}"')
    return "\n".join(lines) + "\n"


def design_control_file(design: Accelerator) -> str:
    """Verilator control file of a design: its ports and probes are public."""
    endings = ("", "_crossbar_model", "_crossbar_stub")
    names = [f"{design.description.name}{end}.v" for end in endings]
    public = public_signals(module_name(design.description), ports(design), probes(design))
    return control_file(names, public)


def public_signals(
    top: str, ports: Mapping[str, Any], probes: Mapping[str, Any]
) -> dict[str, dict[str, bool]]:
    """Public signals for `control_file`: ports and probes of a design, in the sidecar's format."""
    written = {port: entry["direction"] == "input" for port, entry in ports.items()}
    public = {top: {"clk": True, "rst": True, **written}}
    for probe in probes.values():
        public[".".join([top, *probe["path"]])] = dict.fromkeys(("trace", "trace_valid"), False)
    return public
