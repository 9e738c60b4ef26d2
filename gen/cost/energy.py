"""Energy of a netlist by block, from the switching activity of a simulation."""

import re
from dataclasses import astuple, dataclass
from pathlib import Path

from gen.cost.activity import Activity
from gen.impl.cells import Cells
from gen.impl.library import read
from gen.impl.sta import SHARP_CLOCK
from gen.impl.tools import find_sta, run_sta
from gen.impl.yosys import CLOCKS, CONNECTED, INSTANCE, MACRO, block_name, plain_name
from gen.ip import package
from gen.ip.options import PERIOD_NS
from golden.description import Description
from golden.errors import WordlineError


@dataclass(frozen=True)
class Energy:
    """Energy of a block in a simulation.

    switching: Energy of changes of outputs (pJ).
    clock: Energy of the clock pins (pJ).
    leakage_nw: Leakage power (nW).
    """

    switching: float
    clock: float
    leakage_nw: float

    @property
    def dynamic(self) -> float:
        """Dynamic energy (pJ): without leakage."""
        return self.switching + self.clock

    def __add__(self, other: "Energy") -> "Energy":
        return Energy(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


CLOCK_NET = "clock net"
"""Block of the pins that the top's clock port drives directly."""


def energies(
    description: Description,
    cells: Cells,
    folder: Path,
    activity: Activity,
    *,
    library: Path | None = None,
) -> dict[str, Energy]:
    """Energy by block of the netlist in `folder`, over a whole simulation.

    OpenSTA gives the power of each cell twice: when only clocks toggle, and when every net toggles
    once per cycle. In between, power is linear in the activity. A cell gets the first share for
    each cycle in which its clock is enabled, and the difference for each change of its output.
    OpenSTA 2.0 accepts the activity of pins but then overwrites it, so this sum is done here.
    Wires, clock tree and glitches are not included.

    activity: Switching activity of the simulation.

    Raises WordlineError if the simulation lacks a net of the netlist, or if OpenSTA fails.
    """
    liberty, top = cells.liberty(library), package.axi_module(description)
    script = [
        *(f"read_liberty {liberty}", "read_verilog netlist.v", f"link_design {top}"),
        f"create_clock -name aclk -period {PERIOD_NS} [get_ports aclk]",
        SHARP_CLOCK,
        *("set_power_activity -global -activity 0 -duty 0.5", 'puts "== still"'),
        "report_power -digits 8 -instances [get_cells *]",
        *("set_power_activity -global -activity 1 -duty 0.5", 'puts "== busy"'),
        "report_power -digits 8 -instances [get_cells *]",
    ]
    said = run_sta(script, find_sta(), folder, "power").split("== ")
    still, busy = (_powers(part) for part in (said[1], said[2]))
    found: dict[str, Energy] = {}
    watts_to_pj = PERIOD_NS * 1000  # per cycle; energies do not depend on the period
    pins, volts = _capacitances(liberty)
    known = read(cells, library)
    clock_pins = known.clocks | CLOCKS
    cycles = activity.changes["aclk"] / 2
    on_clock = 0.0
    for kind, name, body in INSTANCE.findall((folder / "netlist.v").read_text()):
        connected = {pin: plain_name(net) for pin, net in CONNECTED.findall(body)}
        clock = next((connected[pin] for pin in clock_pins if pin in connected), None)
        if kind.startswith(MACRO):
            continue
        for pin in (pin for pin, net in connected.items() if net == "aclk"):
            if (kind, pin) not in pins:
                raise WordlineError(
                    f"{liberty} has no capacitance of pin {pin} of the cell {kind}, which the "
                    f"clock drives; add it to have energies."
                )
            on_clock += pins[kind, pin]
        name = plain_name(name)
        out = next((connected[pin] for pin in known.outputs[kind] if pin in connected), "")
        try:
            changes = activity.changes[out]
            clocked = activity.changes[clock or out] / 2
        except KeyError as error:
            raise WordlineError(
                f"The simulation has no net {error} of {folder / 'netlist.v'}; simulate again."
            ) from None
        (quiet, leaks), (full, _) = still[name], busy[name]
        energy = Energy(
            switching=(full - quiet) * watts_to_pj * changes,
            clock=(quiet - leaks) * watts_to_pj * clocked,
            leakage_nw=leaks * 1e9,
        )
        block = block_name(name.rpartition(".")[0])
        found[block] = found.get(block, Energy(0, 0, 0)) + energy
    found[CLOCK_NET] = Energy(0, on_clock * volts**2 * cycles, 0)
    return found


NUMBER = r'"?([0-9.]+(?:[eE][-+]?[0-9]+)?)'
"""A number in Liberty, which may be in quotes."""


def _name(group: str) -> str:
    """The name of a group, of its text from behind the parenthesis on; it may be in quotes."""
    return group.partition(")")[0].strip().strip('"')


def _powers(report: str) -> dict[str, tuple[float, float]]:
    """Total power and leakage of each cell (W) in a report of OpenSTA."""
    found = {}
    for line in report.splitlines():
        fields = line.split()
        if len(fields) == 5 and fields[0][0].isdigit():
            found[fields[4]] = (float(fields[3]), float(fields[2]))
    return found


def _capacitances(liberty: Path) -> tuple[dict[tuple[str, str], float], float]:
    """Capacitance of each cell's pins (pF), and the supply voltage (V)."""
    text = liberty.read_text(encoding="utf-8")
    found = {}
    for cell in re.split(r"^\s*cell\s*\(", text, flags=re.MULTILINE)[1:]:
        for pin in re.split(r"^\s*pin\s*\(", cell, flags=re.MULTILINE)[1:]:
            listed = re.search(rf"\bcapacitance *: *{NUMBER}", pin)
            if listed:
                found[_name(cell), _name(pin)] = float(listed[1])
    volts = re.search(rf"nom_voltage *: *{NUMBER}", text)
    if volts is None:
        raise WordlineError(f"{liberty} has no nom_voltage; add it to have energies.")
    unit = re.search(rf'capacitive_load_unit *\( *{NUMBER} *, *"?(\w+)', text)
    known = {"ff": 1e-3, "pf": 1.0}
    if unit is not None and unit[2].lower() not in known:
        raise WordlineError(f"{liberty} has capacitances in {unit[2]}; give them in fF or pF.")
    scale = 1.0 if unit is None else float(unit[1]) * known[unit[2].lower()]
    return {pin: value * scale for pin, value in found.items()}, float(volts[1])
