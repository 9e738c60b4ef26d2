"""What an IP package can be asked for."""

from typing import Literal

Macro = Literal["blackbox", "model", "digital"]
MACROS: tuple[Macro, ...] = ("blackbox", "model", "digital")
"""The view of the crossbar macros: black boxes, for a chip; their behavioural model, for an FPGA
and for simulation; or digital arrays in their place."""

PERIOD_NS = 10.0
"""Period of the clock (ns) that the constraints ask for by default."""
