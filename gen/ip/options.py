"""Options of an IP package."""

from typing import Literal

Macro = Literal["blackbox", "model", "digital"]
MACROS: tuple[Macro, ...] = ("blackbox", "model", "digital")
"""View of the crossbar macros.

"blackbox" is for a chip, "model" (the behavioural model) for an FPGA and for simulation, and
"digital" replaces the crossbars by digital arrays.
"""

PERIOD_NS = 10.0
"""Default clock period of the constraints (ns)."""
