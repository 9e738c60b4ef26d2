"""cocotb bench of a design behind AXI, with cocotbext-axi's masters, sources and sinks.

The driver in C loads the program, as software would. Its bus accesses are transactions here.
"""

import ctypes
import json
import logging
import random
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiResp, AxiStreamFrame

from sim.benches import bins, four_states, streams
from sim.benches.four_states import FourStates
from sim.benches.streams import PERIOD_NS
from sim.benches.system import Counters, System, Word

STALLS = (0.0, 0.3, 0.8)
"""Probabilities of a stall of each channel in each cycle."""

LONGEST_NS = 4_000_000
"""Timeout of a test (ns)."""

STILL_BUSY, OUT_OF_RANGE, NOT_LOADED, CHECK_FAILED, OTHER_IMAGE = range(4, 9)
"""Values of WORDLINE_STILL_BUSY and those after it in the driver."""


async def hold(dut: Any, prefix: str, payload: tuple[str, ...]) -> None:
    """Check, until the simulation ends, that an output channel holds what it offers."""
    names = (f"{prefix}valid", f"{prefix}ready", *(f"{prefix}{name}" for name in payload))
    valid, ready, *signals = (getattr(dut, name) for name in names)
    held: list[int] | None = None
    while True:
        await RisingEdge(dut.aclk)
        if not dut.aresetn.value:
            held = None
            continue
        offered = [int(signal.value) for signal in signals] if valid.value else None
        assert held is None or offered == held, f"{prefix}: not held"
        held = None if ready.value else offered


async def started(dut: Any, stall: float) -> System:
    """The design after reset, with its channels monitored."""
    job = json.loads(Path(cocotb.plusargs["job"]).read_text())
    cocotb.log.info("seed %d", job["seed"])
    logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.WARNING)
    system = System(dut, job, stall)
    await system.start()
    for prefix, payload in (
        ("s_axil_b", ("resp",)),
        ("s_axil_r", ("data", "resp")),
        ("m_axis_t", ("data", "last")),
    ):
        cocotb.start_soon(hold(dut, prefix, payload))
    if job.get("bins"):
        cocotb.start_soon(bins.watch(dut, Path(job["bins"])))
    ports = system.sidecar["axi"]["ports"]
    if job.get("four_states") == "outputs":
        found = four_states.outputs(dut, ports)
        cocotb.start_soon(four_states.known(dut.aclk, dut.aresetn, 0, found))
    elif job.get("four_states"):
        system.known = FourStates(dut, ports, dut.aclk, dut.aresetn, active=0)
    return system


@cocotb.test()  # no timeout: the test waits with limits of its own
@cocotb.parametrize(stall=STALLS)
async def whole_set(dut: Any, stall: float) -> None:
    """The driver finds the design and loads it. Every value of every packet is equal.

    Events, interrupt and counters match what happened.
    """
    system = await started(dut, stall)
    assert await system.call("wordline_check") == 0
    assert not await system.call("wordline_loaded")
    first = not system.image_is_there
    limit = 2000 * len(system.image()) * PERIOD_NS
    await with_timeout(cocotb.start_soon(system.loaded()), limit, "ns")
    if system.known is not None:
        system.known.loaded()
    assert bool(await system.call("wordline_loaded")) == first
    assert not dut.irq.value
    await system.call("wordline_enable", ctypes.c_uint32(system.event("done")))
    loads = system.event("load_open") if first else 0
    assert await system.call("wordline_take_events") == loads
    names = ("done", "load_open", "frame_error")
    for enabled in (sum(map(system.event, names)), system.event("done")):  # nothing has happened
        await system.call("wordline_enable", ctypes.c_uint32(enabled))
        await RisingEdge(dut.aclk)
        assert not dut.irq.value
    await system.call("wordline_clear_counters")
    count = len(system.vectors["lengths"])
    for n in range(count):
        await system.source.send(AxiStreamFrame(system.packet(n)))
    frames = await system.results(count, patience=system.patience)
    await RisingEdge(dut.aclk)
    await RisingEdge(dut.aclk)
    assert dut.irq.value and not await system.call("wordline_busy")
    assert await system.call("wordline_take_events") == system.event("done")
    assert not dut.irq.value
    counters = Counters()
    await system.call("wordline_read_counters", ctypes.byref(counters))
    lengths = system.vectors["lengths"]
    assert (counters.sequences, counters.steps) == (count, int(lengths.sum()))
    least = system.sidecar["arrays"]["layers.0"]["conversion_cycles"] * int(lengths.sum())
    assert least < counters.busy_cycles < counters.cycles
    assert counters.input_stalls > 0 and counters.input_waits > 0
    if stall in (STALLS[0], STALLS[-1]):  # in between it depends on chance
        assert (counters.output_stalls > 0) == (stall > 0)
    before = counters.cycles
    await system.call("wordline_clear_counters")
    await system.call("wordline_read_counters", ctypes.byref(counters))
    assert (counters.sequences, counters.steps, counters.busy_cycles) == (0, 0, 0)
    assert counters.cycles < before
    assert system.sink.empty() and not dut.m_axis_tvalid.value
    if system.known is not None:
        system.known.over()
    streams.conclude(system.job, system.compare(frames))


@cocotb.test(timeout_time=LONGEST_NS, timeout_unit="ns")
async def in_mid_packet(dut: Any) -> None:
    """A packet that pauses keeps the design busy.

    A load that is requested meanwhile and withdrawn before its turn opens no window. Events are
    cleared one by one.
    """
    system = await started(dut, 0.0)
    await system.loaded()
    names = ("control", "status", "irq_status")
    control, status, happened = (system.registers[name]["offset"] for name in names)
    await system.call("wordline_take_events")

    async def read(address: int) -> int:
        return int.from_bytes((await system.lite.read(address, 4)).data, "little")

    async def write(address: int, value: int) -> AxiResp:
        answer = await system.lite.write(address, value.to_bytes(4, "little"))
        return AxiResp(answer.resp)

    n = int(system.vectors["lengths"].argmax())
    await system.source.send(AxiStreamFrame(system.packet(n)))
    while not (dut.s_axis_tvalid.value and dut.s_axis_tready.value):
        await RisingEdge(dut.aclk)
    system.source.pause = True
    for _ in range(4 * int(system.sidecar["cycles_per_step"])):
        await RisingEdge(dut.aclk)
    assert await system.call("wordline_busy")
    assert await write(control, 1) == await write(control, 0) == AxiResp.OKAY
    system.source.pause = False
    frames = await system.results(1, patience=system.patience)
    for _ in range(20):
        await RisingEdge(dut.aclk)
    assert await read(status) & 1 == 0 and await read(happened) == system.event("done")

    address, word = system.image()[0]
    for _ in range(2):
        loaded = await system.call("wordline_loaded")
        assert await write(control, 1) == AxiResp.OKAY
        while not await read(status) & 1:
            pass
        assert await system.call("wordline_loaded") == loaded
        beyond = system.window + 4 * system.sidecar["axi"]["load_end"]
        assert beyond < 2 * system.window and await write(beyond, 0) == AxiResp.DECERR
        assert await write(system.window + 4 * address, word) == AxiResp.OKAY
        assert not await system.call("wordline_loaded")
        assert await write(control, 0) == AxiResp.OKAY
        assert await system.call("wordline_loaded")
    assert await read(happened) == system.event("done") | system.event("load_open")
    await write(happened, system.event("done"))
    assert await read(happened) == system.event("load_open")
    streams.conclude(system.job, system.compare(frames, n))


@cocotb.test(timeout_time=LONGEST_NS, timeout_unit="ns")
@cocotb.parametrize(stall=STALLS)
async def cut_packets(dut: Any, stall: float) -> None:
    """A packet that ends inside a step is padded with 0 and reported. Later ones are whole.

    An event interrupts only where it is enabled.
    """
    system = await started(dut, stall)
    await system.loaded()
    cut, beat = system.job["cut"], system.job["beat"]
    await system.call("wordline_take_events")
    count = len(system.vectors["lengths"])
    for n in range(count):
        whole = system.packet(n)
        await system.source.send(AxiStreamFrame(whole[: len(whole) - beat * cut[n]]))
    frames = await system.results(count, patience=system.patience)
    happened = {"load_open": False, "frame_error": any(cut), "done": True}
    for name, has in happened.items():
        await system.call("wordline_enable", ctypes.c_uint32(system.event(name)))
        await RisingEdge(dut.aclk)
        await RisingEdge(dut.aclk)
        assert bool(dut.irq.value) == has, name
    events = await system.call("wordline_take_events")
    assert bool(events & system.event("frame_error")) == any(cut)
    streams.conclude(system.job, system.compare(frames))


@cocotb.test(timeout_time=LONGEST_NS, timeout_unit="ns")
@cocotb.parametrize(stall=STALLS)
async def registers(dut: Any, stall: float) -> None:
    """Every register has its value in the map. Illegal accesses get an error, without effect."""
    system = await started(dut, stall)
    draw = random.Random(f"{system.job['seed']} {stall}")
    okay, refused, nothing = AxiResp.OKAY, AxiResp.SLVERR, AxiResp.DECERR

    async def read(address: int, size: int = 4) -> tuple[AxiResp, int]:
        answer = await system.lite.read(address, size)
        return answer.resp, int.from_bytes(answer.data, "little")

    async def write(address: int, value: int, size: int = 4) -> AxiResp:
        answer = await system.lite.write(address, value.to_bytes(size, "little"))
        return AxiResp(answer.resp)

    def reset_value(register: dict[str, Any]) -> int:
        fields = register["fields"].values()
        return sum(field.get("value", 0) << field["low"] for field in fields)

    def bits(register: dict[str, Any], access: str) -> int:
        fields = [f for f in register["fields"].values() if f["access"] == access]
        return sum(((1 << f["width"]) - 1) << f["low"] for f in fields)

    for name, register in system.registers.items():
        resp, value = await read(register["offset"])
        assert resp == okay
        if "cycles" not in name and "waits" not in name:
            assert value == reset_value(register), name
    # All control fields, except the one that opens the window, and back to 0.
    for name, register in system.registers.items():
        own = bits(register, "control")
        answer = await write(register["offset"], 0xFFFFFFFF if name != "control" else 0)
        assert answer == (okay if register["writable"] else refused), name
        if name != "control" and own:
            assert (await read(register["offset"]))[1] == own
            for address, size in ((register["offset"], 2), (register["offset"] + 1, 1)):
                assert await write(address, 0, size) == refused
            assert (await read(register["offset"]))[1] == own
            assert await write(register["offset"], 0) == okay
        if bits(register, "constant"):
            assert (await read(register["offset"]))[1] == reset_value(register)
    assert await write(system.registers["sizes"]["offset"] + 2, 0, 2) == refused
    # An unaligned address with all strobes set; and no strobe set.
    own, channels = system.registers["irq_enable"]["offset"], system.lite.write_if
    for at, strobe in ((own + 1, 0xF), (own, 0)):
        address, word = (c._transaction_obj() for c in (channels.aw_channel, channels.w_channel))
        address.awaddr, address.awprot = at, 0
        word.wdata, word.wstrb = 0xFFFFFFFF, strobe
        await channels.aw_channel.send(address)
        await channels.w_channel.send(word)
        assert int((await channels.b_channel.recv()).bresp) == refused
    assert (await read(system.registers["irq_enable"]["offset"]))[1] == 0
    assert (await read(system.registers["id"]["offset"] + 1, 1)) == (refused, 0)

    # Unmapped addresses: the first, the last, and some between.
    window, end = system.window, 4 * len(system.registers)
    for address in (end, window - 4, *(draw.randrange(end, window, 4) for _ in range(8))):
        assert (await read(address)) == (nothing, 0)
        assert await write(address, draw.getrandbits(32)) == nothing
    held = {address for address, _ in system.image()}
    last = 2 * window - 4
    assert (last - window) // 4 not in held  # not in the load map
    assert await write(last, 1) == nothing and (await read(last))[0] == nothing
    some = [window + 4 * address for address in draw.sample(sorted(held), 8)]
    for address in some:
        assert await read(address) == (refused, 0)
        assert await write(address, 0) == refused  # the window is closed

    # The window is open: only whole words are accepted.
    control, status = (system.registers[name]["offset"] for name in ("control", "status"))
    assert await write(control, 1) == okay
    while not (await read(status))[1] & 1:
        pass
    assert await write(some[0], 0, 2) == refused and await write(some[0] + 1, 0, 1) == refused
    assert await read(some[0]) == (refused, 0)
    assert await write(last, 1) == nothing
    assert await write(control, 0) == okay
    assert (await read(status))[1] == 0  # no word was written, so nothing is loaded
    # Overlapping writes, and reads at the same time, are all answered.
    jobs = [cocotb.start_soon(write(system.registers["irq_enable"]["offset"], n)) for n in (5, 2)]
    reads = [cocotb.start_soon(read(system.registers["id"]["offset"])) for _ in range(4)]
    assert [await job for job in jobs] == [okay] * 2
    assert {await job for job in reads} == {(okay, reset_value(system.registers["id"]))}
    assert (await read(system.registers["irq_enable"]["offset"]))[1] == 2


@cocotb.test(timeout_time=LONGEST_NS, timeout_unit="ns")
@cocotb.parametrize(stall=STALLS[:2])
async def load_in_mid_stream(dut: Any, stall: float) -> None:
    """A load during a stream of packets: each waits for its turn, and nothing is lost."""
    system = await started(dut, stall)
    await system.loaded()
    count = len(system.vectors["lengths"])
    for n in range(count):
        await system.source.send(AxiStreamFrame(system.packet(n)))
    taken = cocotb.start_soon(system.results(count, patience=20 * system.patience))
    await system.load()
    # A load that gives up waiting changes nothing.
    word, none = (Word * 1)(Word(*system.image()[0])), ctypes.c_size_t(0)
    assert await system.call("wordline_load", word, ctypes.c_size_t(1), 0) == STILL_BUSY
    assert await system.call("wordline_load", word, none, 0) == 0
    word[0].address = system.sidecar["axi"]["load_end"]
    assert await system.call("wordline_load", word, ctypes.c_size_t(1), 9) == OUT_OF_RANGE
    assert await system.call("wordline_loaded")  # unchanged
    streams.conclude(system.job, system.compare(await taken))


@cocotb.test(timeout_time=LONGEST_NS, timeout_unit="ns")
async def damaged_image(dut: Any) -> None:
    """The checksum finds words that are missing, changed or in another order."""
    system = await started(dut, 0.0)
    draw = random.Random(f"{system.job['seed']} damage")

    status = system.registers["status"]

    async def failed() -> bool:
        """Whether the last load failed its check; if so, it does not count as loaded."""
        value = int.from_bytes((await system.lite.read(status["offset"], 4)).data, "little")
        bits = {name: value >> field["low"] & 1 for name, field in status["fields"].items()}
        assert bits["loaded"] != bits["check_failed"], bits
        return bool(bits["check_failed"])

    whole = system.image()
    n = draw.randrange(len(whole) - 2)
    address, data = whole[n]
    damaged = (
        whole[:n] + whole[n + 1 :],
        [*whole[:n], (address, data ^ 1), *whole[n + 1 :]],
        [*whole[:n], whole[n + 1], whole[n], *whole[n + 2 :]],
        [whole[-1], *whole[:-1]],
    )
    for words in damaged:
        await system.load_hastily(words)
        assert await failed()
    few = (Word * 2)(*(Word(*word) for word in (whole[0], whole[-1])))
    assert await system.call("wordline_load", few, ctypes.c_size_t(2), 1000) == CHECK_FAILED
    await system.load_hastily(whole[:-1])  # no checksum, no check
    assert not await failed()
    await system.load_hastily(whole)
    assert not await failed()


@cocotb.test(timeout_time=LONGEST_NS, timeout_unit="ns")
async def verified_image(dut: Any) -> None:
    """The driver tells the loaded image from one with a changed word, and from later loads."""
    system = await started(dut, 0.0)
    draw = random.Random(f"{system.job['seed']} verify")

    async def verify(words: list[tuple[int, int]]) -> int:
        image = (Word * len(words))(*(Word(*word) for word in words))
        return await system.call("wordline_verify", image, ctypes.c_size_t(len(words)))

    whole = system.image()
    assert await verify(whole) == NOT_LOADED
    await system.load_hastily(whole)
    assert await verify(whole) == await verify(whole[:-1]) == 0
    n = draw.randrange(len(whole) - 1)
    address, data = whole[n]
    damaged = [*whole[:n], (address, data ^ 1 << draw.randrange(4)), *whole[n + 1 :]]
    assert await verify(damaged) == CHECK_FAILED
    assert await verify(damaged[:-1]) == await verify(whole[:n]) == OTHER_IMAGE
    # A word that changes on its way to the accelerator, in a load that has no checksum.
    await system.load_hastily(damaged[:-1])
    assert await system.call("wordline_loaded")
    assert await verify(whole) == OTHER_IMAGE
    await system.load_hastily(damaged)
    assert await verify(whole) == NOT_LOADED  # the checksum found it
    await system.load_hastily(whole)
    assert await verify(whole) == 0
    await system.load_hastily(whole[:1])  # the same word again, but the last load is another
    assert await verify(whole) == OTHER_IMAGE
    await system.load_hastily(whole)
    await system.reset()
    assert await verify(whole) == NOT_LOADED


@cocotb.test(timeout_time=LONGEST_NS, timeout_unit="ns")
@cocotb.parametrize(stall=STALLS[:2])
async def reset_midway(dut: Any, stall: float) -> None:
    """Reset at any time: an interrupted load counts as not loaded; else the program is kept."""
    system = await started(dut, stall)
    draw = random.Random(f"{system.job['seed']} reset {stall}")
    control, status = (system.registers[name]["offset"] for name in ("control", "status"))
    words = system.image()
    for _ in range(3):
        await system.lite.write(control, (1).to_bytes(4, "little"))
        while not int.from_bytes((await system.lite.read(status, 4)).data, "little") & 1:
            pass
        for address, word in draw.sample(words, 30):
            system.lite.init_write(system.window + 4 * address, word.to_bytes(4, "little"))
        for _ in range(draw.randint(40, 120)):
            await RisingEdge(dut.aclk)
        await system.reset()
        assert not await system.call("wordline_loaded")
    await system.load()
    for turn in range(6):
        for n in range(len(system.vectors["lengths"])):
            await system.source.send(AxiStreamFrame(system.packet(n)))
        for _ in range(draw.randint(1, 4 * system.sidecar["cycles_per_step"])):
            await RisingEdge(dut.aclk)
        if turn == 0:  # with a result that waits
            system.sink.pause = True
            while not dut.m_axis_tvalid.value:
                await RisingEdge(dut.aclk)
        system.source.clear()
        await system.reset()
        system.sink.pause = False
        system.sink.clear()
        assert not await system.call("wordline_loaded") and not await system.call("wordline_busy")
    count = len(system.vectors["lengths"])
    for n in range(count):
        await system.source.send(AxiStreamFrame(system.packet(n)))
    frames = await system.results(count, patience=system.patience)
    streams.conclude(system.job, system.compare(frames))
