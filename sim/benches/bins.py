"""What a bench of a design behind AXI has met: answers, stalls, resets. For functional coverage."""

import json
from pathlib import Path
from typing import Any

from cocotb.triggers import RisingEdge

CHANNELS = {
    **{n: (f"s_axil_{n}valid", f"s_axil_{n}ready") for n in ("aw", "w", "b", "ar", "r")},
    **{n: (f"{n}_tvalid", f"{n}_tready") for n in ("s_axis", "m_axis")},
}
"""Channels by name, each with its valid and ready."""

RESPONSES = {0: "OKAY", 2: "SLVERR", 3: "DECERR"}

ANSWERS = {"b": "s_axil_bresp", "r": "s_axil_rresp"}

seen: set[str] = set()
"""Bins that were hit in this simulation, which all its tests share."""


def wanted() -> list[str]:
    """All bins."""
    return [
        *(f"{name}: {what}" for name in CHANNELS for what in ("stalled", "waits")),
        "s_axis: back to back",
        *(f"{name}: {answer}" for name in ANSWERS for answer in RESPONSES.values()),
        *("input and output stalled at once", "interrupt", "reset while idle"),
        *("reset while busy", "reset while an answer waits", "reset while a result waits"),
    ]


async def watch(dut: Any, path: Path) -> None:
    """Record bins, until the simulation ends, in a file that grows with each new one."""
    ports = {name: [getattr(dut, port) for port in pair] for name, pair in CHANNELS.items()}
    moved, idle = dict.fromkeys(ports, False), True
    while True:
        await RisingEdge(dut.aclk)
        now = {
            name: (bool(valid.value), bool(ready.value)) for name, (valid, ready) in ports.items()
        }
        hit = set()
        if not dut.aresetn.value:
            hit = {"reset while idle"} if idle else {"reset while busy"}
            hit |= {"reset while an answer waits"} if now["b"][0] or now["r"][0] else set()
            hit |= {"reset while a result waits"} if now["m_axis"][0] else set()
        else:
            for name, (valid, ready) in now.items():
                hit |= {f"{name}: stalled"} if valid and not ready else set()
                hit |= {f"{name}: waits"} if ready and not valid else set()
                if name == "s_axis" and valid and ready and moved[name]:
                    hit.add("s_axis: back to back")
                moved[name] = valid and ready
            for name, port in ANSWERS.items():
                if moved[name]:
                    hit.add(f"{name}: {RESPONSES[int(getattr(dut, port).value)]}")
            hit |= {"interrupt"} if dut.irq.value else set()
            if not (now["s_axis"][1] or now["m_axis"][1]) and now["s_axis"][0] and now["m_axis"][0]:
                hit.add("input and output stalled at once")
            idle = not (now["s_axis"][0] or now["m_axis"][0])
        if not hit <= seen:
            seen.update(hit)
            path.write_text(json.dumps(sorted(seen)))
