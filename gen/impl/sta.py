"""Static timing of a netlist with OpenSTA: shortest clock period, unconstrained endpoints."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gen.impl.tools import run_sta
from golden import files
from golden.errors import WordlineError

SHARP_CLOCK = "set_assigned_transition 0.1 [all_registers -clock_pins]"
"""Slew of clock pins (ns): that of a clock tree, whatever load is behind a clock gate."""

CLOSE_NS, TRIES = 0.02, 12
"""Accuracy of the shortest period (ns), and the maximum number of tries to find it."""


@dataclass(frozen=True)
class Timing:
    """Result of OpenSTA: worst slack (ns), report of the worst path, unconstrained endpoints."""

    slack: float
    worst: str
    unconstrained: list[str]


def shortest(time: Callable[[float], Timing], period_ns: float) -> tuple[float, Timing]:
    """Find the shortest clock period (ns). Returns it with its timing.

    time: Runs timing analysis for a period.
    period_ns: Period to start with.

    Macros and the environment take at most half of the period on any path. So if a period is too
    short, adding twice the missing slack is enough; from there it is reduced.

    Raises WordlineError if no period is long enough within `TRIES` tries.
    """
    best: tuple[float, Timing] | None = None
    for _ in range(TRIES):
        period_ns = math.ceil(1000 * period_ns) / 1000  # the resolution of the constraints
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
    """Write macros and constraints to `folder`. Returns commands that read them and the netlist."""
    for name, text in texts.items():
        files.write_text(folder / name, text)
    return [
        *(f"read_liberty {path}" for path in (liberty, *(n for n in texts if n.endswith(".lib")))),
        "read_verilog netlist.v",
        f"link_design {top}",
        "set_cmd_units -time ns -capacitance pF -power mW",  # units of the library may differ
        *(f"read_sdc {name}" for name in texts if name.endswith(".sdc")),
        SHARP_CLOCK,
    ]


def time_netlist(
    texts: dict[str, str], top: str, sta: str, liberty: Path, folder: Path, latch: str = ""
) -> Timing:
    """Time a netlist with OpenSTA.

    texts: Constraints and Liberty files of the macros, as text by file name.
    latch: Cell of the clock gates.

    Raises WordlineError if OpenSTA fails or finds no path.
    """
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
        # A latch that borrows time reports a slack of 0 and needs no more: the path behind it, to
        # the gate of the clock, is a group of its own.
        if cell != latch or float(slack) < 0:
            slacks.append(float(slack))
    if not slacks:
        raise WordlineError(f"OpenSTA found no path; {folder / 'timing.log'} says more.")
    ends = [line.strip() for line in setup.splitlines() if line.startswith("  ")]
    return Timing(min(slacks), worst.strip() + "\n", ends)
