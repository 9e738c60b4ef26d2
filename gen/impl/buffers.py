"""Buffer trees for nets with a high fanout in a mapped netlist.

ABC inserts buffers only within one block and between its own cells. To ABC a flip-flop is an
output, and a net counts as one output, however many flip-flops and blocks it drives.
"""

from collections.abc import Collection
from typing import Any

from gen.impl.library import Gate
from golden.ranges import ceil_div


def insert(module: dict[str, Any], buffer: Gate, limit: int, clocks: Collection[str]) -> int:
    """Insert trees of `buffer` until nothing drives more than `limit` pins. Returns their number.

    Each buffer is named after a pin that it drives, up to the last dot, so it belongs to that
    block.

    module: Flat module in Yosys' JSON format; it is modified.
    clocks: Names of clock pins. A net on a clock pin is a clock and gets no buffers.
    """
    used: dict[int, list[tuple[str, list[Any], int]]] = {}
    highest, count, clock_nets = 1, 0, set()
    for name, instance in module["cells"].items():
        for pin, bits in instance["connections"].items():
            for n, bit in enumerate(bits):
                if isinstance(bit, int):
                    highest = max(highest, bit)
                    if pin in clocks:
                        clock_nets.add(bit)
                    elif instance["port_directions"][pin] == "input":
                        used.setdefault(bit, []).append((name, bits, n))
    for port in module["ports"].values():
        highest = max([highest, *(bit for bit in port["bits"] if isinstance(bit, int))])
    for net, places in used.items():
        if net in clock_nets:
            continue
        while len(places) > limit:
            above: list[tuple[str, list[Any], int]] = []
            groups = ceil_div(len(places), limit)
            for group in range(groups):
                highest += 1
                driven = places[group::groups]
                block, dot, _ = driven[0][0].rpartition(".")
                name = f"{block}{dot}buffer_{highest}"
                pins = {buffer.pins["A"]: [net], buffer.pins["Y"]: [highest]}
                for _, bits, n in driven:
                    bits[n] = highest
                above.append((name, pins[buffer.pins["A"]], 0))
                module["cells"][name] = {
                    "hide_name": 0,
                    "type": buffer.cell,
                    "parameters": {},
                    "attributes": {},
                    "port_directions": {buffer.pins["A"]: "input", buffer.pins["Y"]: "output"},
                    "connections": pins,
                }
                count += 1
            places = above
    return count
