"""cocotb bench of the counters of a design behind AXI."""

from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiStreamFrame

from sim.benches import streams
from sim.benches.bench_system import LONGEST_NS, started
from sim.benches.streams import PERIOD_NS

PATTERNS = (0x0FFFFFFF, 0x05555555, 0x0AAAAAAA, 0)
"""High bits of counters before they are incremented."""


@cocotb.test(timeout_time=LONGEST_NS, timeout_unit="ns")
async def counters(dut: Any) -> None:
    """Each counter counts what it says, in each cycle, and carries through all its bits."""
    system = await started(dut, 0.0)
    await system.loaded()
    offset = {name: register["offset"] for name, register in system.registers.items()}
    step = int(system.sidecar["cycles_per_step"])

    async def preset(name: str, high: int) -> int:
        """The low bits are set, so that the next event carries."""
        low = getattr(dut.system.control, f"{name}_low")
        set_ = (1 << len(low)) - 1
        await FallingEdge(dut.aclk)
        getattr(dut.system.control, f"{name}_high").value = high
        low.value = set_
        return high << len(low) | set_

    async def read(name: str) -> tuple[int, int]:
        """Value of a counter, and the cycle in which the answer is there."""
        answer = await system.lite.read(offset[name], 4)
        return int.from_bytes(answer.data, "little"), round(get_sim_time("ns")) // PERIOD_NS

    async def counts_each_cycle(name: str) -> None:
        for pattern in PATTERNS:
            before = await preset(name, pattern)
            first, began = await read(name)
            assert 0 < (first - before) % 2**32 < 64, (name, hex(before), hex(first))
            for _ in range(37):
                await RisingEdge(dut.aclk)
            second, ended = await read(name)
            assert (second - first) % 2**32 == ended - began, name

    # Nothing comes in; then a packet pauses; then nothing goes out until nothing can come in.
    await counts_each_cycle("cycles")
    await counts_each_cycle("input_waits")
    n = int(system.vectors["lengths"].argmax())
    await system.source.send(AxiStreamFrame(system.packet(n)))
    while not (dut.s_axis_tvalid.value and dut.s_axis_tready.value):
        await RisingEdge(dut.aclk)
    system.source.pause = True
    await counts_each_cycle("busy_cycles")
    system.source.pause, system.sink.pause = False, True
    sent, stalled = 1, 0
    while stalled < 40 * step:  # a replay goes on for some steps before its input stalls for good
        if system.source.empty():
            await system.source.send(AxiStreamFrame(system.packet(n)))
            sent += 1
        await RisingEdge(dut.aclk)
        stalled = stalled + 1 if dut.s_axis_tvalid.value and not dut.s_axis_tready.value else 0
    await counts_each_cycle("output_stalls")
    await counts_each_cycle("input_stalls")
    system.sink.pause = False
    await system.results(sent, patience=sent * system.patience)

    length = int(system.vectors["lengths"][n])
    for pattern in PATTERNS:
        for _ in range(4):  # strobes are counted later
            await RisingEdge(dut.aclk)
        before = {name: await preset(name, pattern) for name in ("sequences", "steps")}
        await system.source.send(AxiStreamFrame(system.packet(n)))
        frames = await system.results(1, patience=system.patience)
        for name, count in (("sequences", 1), ("steps", length)):
            value, _ = await read(name)
            assert (value - before[name]) % 2**32 == count, (name, hex(value))
    for _ in range(4):
        await RisingEdge(dut.aclk)
    await system.call("wordline_clear_counters")
    for name in ("sequences", "steps", "busy_cycles", "input_stalls", "output_stalls"):
        assert (await read(name))[0] == 0, name
    streams.conclude(system.job, system.compare(frames, n))
