"""Buffers in a mapped netlist, where flip-flops and macros are too many for what drives them.

ABC puts buffers between its own cells; a flip-flop is an output to it, and a net one output
however many flip-flops it goes to.
"""

from collections.abc import Iterator
from typing import Any

from golden.fixed import ceil_div


def insert(netlist: dict[str, Any], cell: str, limit: int, clocks: set[str]) -> int:
    """Put trees of `cell` (pins A and Y) into a netlist as Yosys writes it as JSON, until nothing
    drives more than `limit` flip-flops and macros. clocks: names of pins to leave alone.

    Returns how many were put in.
    """
    count = 0
    for module in netlist["modules"].values():
        if not module.get("attributes", {}).get("blackbox"):
            count += sum(1 for _ in _in_module(module, cell, limit, clocks))
    return count


def _in_module(module: dict[str, Any], cell: str, limit: int, clocks: set[str]) -> Iterator[str]:
    """The buffers' names, as they are put in."""
    used: dict[int, list[tuple[list[Any], int]]] = {}
    highest = 1
    for instance in module["cells"].values():
        directions = instance["port_directions"]
        # What ABC has mapped it has buffered.
        seen = "Y" in directions and not any(pin in directions for pin in clocks)
        for pin, bits in instance["connections"].items():
            for n, bit in enumerate(bits):
                if isinstance(bit, int):
                    highest = max(highest, bit)
                    if directions[pin] == "input" and pin not in clocks and not seen:
                        used.setdefault(bit, []).append((bits, n))
    for port in module["ports"].values():
        highest = max(highest, *(bit for bit in port["bits"] if isinstance(bit, int)), 0)
    for net, places in used.items():
        while len(places) > limit:
            above: list[tuple[list[Any], int]] = []
            groups = ceil_div(len(places), limit)
            for group in range(groups):
                highest += 1
                name = f"buffer_{highest}"
                pins = {"A": [net], "Y": [highest]}
                for bits, n in places[group::groups]:
                    bits[n] = highest
                above.append((pins["A"], 0))
                module["cells"][name] = {
                    "hide_name": 0,
                    "type": cell,
                    "parameters": {},
                    "attributes": {},
                    "port_directions": {"A": "input", "Y": "output"},
                    "connections": pins,
                }
                yield name
            places = above
