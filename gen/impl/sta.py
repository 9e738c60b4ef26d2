"""The timing of a netlist with OpenSTA: the shortest period, what is not constrained."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gen.impl.tools import run_sta
from golden import files
from golden.errors import WordlineError

SHARP_CLOCK = "set_assigned_transition 0.1 [all_registers -clock_pins]"
"""What a clock tree will see to, in ns, however much there is behind a gate."""

CLOSE_NS, TRIES = 0.02, 12
"""The shortest period is known to within this, and found in no more tries."""


@dataclass(frozen=True)
class Timing:
    """What OpenSTA says: the worst slack in ns, its path, endpoints that have no constraint."""

    slack: float
    worst: str
    unconstrained: list[str]


def shortest(time: Callable[[float], Timing], period_ns: float) -> tuple[float, Timing]:
    """The shortest period in ns, and the timing with it.

    Parts of the period are macros' and the outside's, at most half of it on any path: where a
    period is too short, twice what is missing is enough; from there it comes down.
    """
    best: tuple[float, Timing] | None = None
    for _ in range(TRIES):
        period_ns = math.ceil(1000 * period_ns) / 1000  # as constraints are written
        timed = time(period_ns)
        slack = timed.slack
        if slack >= 0 and (best is None or period_ns < best[0]):
            best = period_ns, timed
            if slack <= CLOSE_NS:
                break
        period_ns -= slack if slack > 0 else 2 * slack - CLOSE_NS / 2
    if best is None:
        raise WordlineError(f"No period was found to be long enough; {period_ns:.3f} ns is not.")
    return best


def _setup(texts: dict[str, str], top: str, liberty: Path, folder: Path) -> list[str]:
    """Commands that read cells, netlist, macros and constraints, which are written to `folder`."""
    for name, text in texts.items():
        files.write_text(folder / name, text)
    return [
        *(f"read_liberty {path}" for path in (liberty, *(n for n in texts if n.endswith(".lib")))),
        "read_verilog netlist.v",
        f"link_design {top}",
        "set_cmd_units -time ns -capacitance pF -power mW",  # whatever the library's are
        *(f"read_sdc {name}" for name in texts if name.endswith(".sdc")),
        SHARP_CLOCK,
    ]


def time_netlist(
    texts: dict[str, str], top: str, sta: str, liberty: Path, folder: Path, latch: str = ""
) -> Timing:
    """OpenSTA on the netlist, with these constraints and macros. latch: the cell of clock gates."""
    script = [
        *_setup(texts, top, liberty, folder),
        'puts "== unconstrained"',
        "check_setup -verbose -unconstrained_endpoints -no_input_delay -no_clock -loops",
        'puts "== groups"',
        "report_checks -path_delay max -format summary -digits 4",
        'puts "== path"',
        "set ends [concat [all_registers -data_pins -edge_triggered] [all_outputs]]",
        "report_checks -path_delay max -format full -digits 4 -fields {capacitance slew} -to $ends",
    ]
    said = run_sta(script, sta, folder, "timing")
    setup, rest = said.split("== unconstrained")[1].split("== groups")
    groups, worst = rest.split("== path")
    slacks = [float(slack) for slack in re.findall(r"(-?[0-9.]+) +slack", worst)]
    for cell, slack in re.findall(r"\S+ +\S+ \((\w+)\) +(-?[0-9.]+)$", groups, re.MULTILINE):
        # A latch that borrows from the time behind it has a slack of 0, and needs no more: what is
        # behind it, the gating of a clock, is a group of its own.
        if cell != latch or float(slack) < 0:
            slacks.append(float(slack))
    if not slacks:
        raise WordlineError(f"OpenSTA found no path; {folder / 'timing.log'} says more.")
    ends = [line.strip() for line in setup.splitlines() if line.startswith("  ")]
    return Timing(min(slacks), worst.strip() + "\n", ends)
