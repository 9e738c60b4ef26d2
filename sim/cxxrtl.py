"""CXXRTL, a simulator in Yosys, which reads Verilog with a front end of its own; two states.

`write_cxxrtl` translates a design to C++, g++ makes a shared library of it, and the streams and the
bus are driven from here, cycle by cycle.
"""

import ctypes
import json
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from gen.impl import tools
from gen.ip import package
from golden import files
from golden.errors import WordlineError
from golden.program import Program
from sim import system
from sim.benches import scoreboard, streams
from sim.benches.scoreboard import Output, Scoreboard
from sim.benches.system import Word

MAIN = """\
#include <cxxrtl/capi/cxxrtl_capi.cc>
#include "design.cc"
"""

FLAGS = ("-std=c++17", "-O0", "-fPIC", "-shared", "-w")
"""Options of g++: compiling takes longer than a short run."""


class _Object(ctypes.Structure):
    """`struct cxxrtl_object`."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("type", "flags")),
        *((name, ctypes.c_size_t) for name in ("width", "lsb_at", "depth", "zero_at")),
        *((name, ctypes.POINTER(ctypes.c_uint32)) for name in ("curr", "next")),
        *((name, ctypes.c_void_p) for name in ("outline", "attrs")),
    )


class Signal:
    """A signal of a compiled design."""

    def __init__(self, code: Any, found: _Object) -> None:
        self.code, self.found = code, found
        self.bytes = -(-found.width // 32) * 4

    def get(self) -> int:
        """Value when it was last computed."""
        if self.found.outline:
            self.code.cxxrtl_outline_eval(self.found.outline)
        return int.from_bytes(ctypes.string_at(self.found.curr, self.bytes), "little")

    def set(self, value: int) -> None:
        """Set an input."""
        ctypes.memmove(self.found.next, value.to_bytes(self.bytes, "little"), self.bytes)

    def flip(self, word: int, bit: int) -> None:
        """Flip a bit of a memory."""
        self.found.curr[word * self.bytes // 4 + bit // 32] ^= 1 << bit % 32


class Agent(Protocol):
    """What takes part in a simulation."""

    def before(self) -> None:
        """Set inputs, at the start of a cycle."""

    def after(self) -> None:
        """See the signals at the end of a cycle, before the clock rises."""


class Model:
    """A compiled design, whose first reset is over."""

    def __init__(self, library: Path, clk: str, reset: str, *, active: int = 1) -> None:
        self.code = ctypes.CDLL(str(library.absolute()))
        for name in ("cxxrtl_create", "cxxrtl_design_create"):
            getattr(self.code, name).restype = ctypes.c_void_p
        self.code.cxxrtl_get_parts.restype = ctypes.POINTER(_Object)
        self.code.cxxrtl_outline_eval.argtypes = [ctypes.c_void_p]
        design = ctypes.c_void_p(self.code.cxxrtl_design_create())
        self.handle = ctypes.c_void_p(self.code.cxxrtl_create(design))
        self.clk = self.signal(clk)
        self.agents: list[Agent] = []
        self.cycles = 0
        self.signal(reset).set(active)
        self.tick()
        self.signal(reset).set(1 - active)

    def signal(self, *path: str) -> Signal:
        """A signal by the names of the blocks that it is in, and its own."""
        parts = ctypes.c_size_t()
        name = " ".join(path).encode()
        found = self.code.cxxrtl_get_parts(self.handle, name, ctypes.byref(parts))
        assert found and parts.value == 1, path
        return Signal(self.code, found.contents)

    def tick(self) -> None:
        """Simulate a cycle: the agents set inputs, and see what all signals are at its end."""
        for agent in self.agents:
            agent.before()
        self.clk.set(0)
        self.code.cxxrtl_step(self.handle)
        for agent in self.agents:
            agent.after()
        self.clk.set(1)
        self.code.cxxrtl_step(self.handle)
        self.cycles += 1


class Sender:
    """Sends payloads, lists of values of its signals, on an input stream.

    stall: Probability of a pause before each cycle of an offer that has not begun.
    """

    def __init__(
        self,
        model: Model,
        handshake: tuple[str, str],
        signals: Sequence[str],
        stall: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.valid, self.ready = (model.signal(name) for name in handshake)
        self.signals = [model.signal(name) for name in signals]
        self.stall, self.draw = stall, random.Random(seed)
        self.queue: list[list[int]] = []
        self.offers = False
        model.agents.append(self)

    def before(self) -> None:
        """Offer the first payload."""
        pauses = not self.offers and self.draw.random() < self.stall
        self.offers = bool(self.queue) and not pauses
        self.valid.set(self.offers)
        if self.offers:
            for signal, value in zip(self.signals, self.queue[0], strict=True):
                signal.set(value)

    def after(self) -> None:
        """Drop it if it was accepted."""
        if self.offers and self.ready.get():
            self.queue.pop(0)
            self.offers = False


class Taker:
    """Records values of signals in the cycles in which `valid` and `ready` are 1.

    ready: None: records in every cycle in which `valid` is 1, as a probe does.
    """

    def __init__(
        self,
        model: Model,
        valid: Signal,
        ready: Signal | None,
        signals: Sequence[Signal],
        stall: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.valid, self.ready, self.signals = valid, ready, signals
        self.stall, self.draw = stall, random.Random(seed)
        self.taken: list[list[int]] = []
        self.takes = True
        model.agents.append(self)

    def before(self) -> None:
        """Be ready, or pause."""
        if self.ready is not None:
            self.takes = self.draw.random() >= self.stall
            self.ready.set(self.takes)

    def after(self) -> None:
        """Record."""
        if self.takes and self.valid.get():
            self.taken.append([signal.get() for signal in self.signals])


def build(sources: Sequence[Path], top: str, folder: Path) -> Path:
    """Translate and compile Verilog in `folder`; Verilator's control files are left out.

    Returns the library. Raises WordlineError if Yosys is missing or rejects the sources, or if g++
    fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    script = [f'read_verilog -sv "{p.absolute()}"' for p in sources if p.suffix != ".vlt"]
    script += [f"hierarchy -check -top {top}", "write_cxxrtl design.cc"]
    tools.run_yosys("\n".join(script) + "\n", folder, "cxxrtl")
    files.write_text(folder / "main.cc", MAIN)
    import pyosys  # optional, checked above

    runtime = Path(pyosys.__file__).parent / "share/include/backends/cxxrtl/runtime"
    command = ["g++", *FLAGS, f"-I{runtime}", "-o", "design.so", "main.cc"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        log = folder / "build.log"
        files.write_text(log, done.stderr)
        raise WordlineError(f"g++ could not compile {top}; {log} says why.")
    return folder / "design.so"


def simulate(
    sources: Sequence[Path],
    top: str,
    work: Path,
    job: dict[str, Any],
    *,
    stall: float = 0.0,
    seed: int = 0,
    watched: Callable[[Model], None] = lambda _: None,
) -> dict[str, Any]:
    """Run a job's golden vectors through a design's own ports, and compare every value.

    watched: Called with the model before it runs: adds agents of its own.

    Returns what `sim.chip.simulate` does. Raises WordlineError if the design cannot be built, or if
    it hangs.
    """
    model = Model(build(sources, top, work), "clk", "rst")
    watched(model)
    sidecar = json.loads(Path(job["sidecar"]).read_text())
    with np.load(job["vectors"]) as file:
        vectors = dict(file)
    x, load = (
        Sender(model, (f"{n}__valid", f"{n}__ready"), [f"{n}__payload"], stall, seed + k)
        for k, n in enumerate(("i", "load"))
    )
    valid, ready, payload = (model.signal(f"o__{name}") for name in ("valid", "ready", "payload"))
    out = Taker(model, valid, ready, [payload], stall, seed + 2)
    probes = {
        name: Taker(
            *(model, model.signal(*probe["path"], "trace_valid"), None),
            [model.signal(*probe["path"], "trace")],
        )
        for name, probe in sidecar["probes"].items()
    }
    load.queue += [[p] for p in streams.load_payloads(sidecar, Path(job["image"]))]
    while load.queue:
        model.tick()
    began, clock = model.cycles, time.monotonic()
    lengths, passes = vectors["lengths"], scoreboard.count_passes(vectors)
    fields, draw = sidecar["ports"]["i__payload"]["fields"], random.Random(seed)
    for n, length in enumerate(lengths):
        x.queue += [[beat] for beat in streams.beats(fields, vectors["x"][n, :length], draw)]
    output = Output.of_vectors(sidecar, vectors)
    last = began + scoreboard.patience(sidecar, lengths, passes, stall)
    while len(out.taken) < output.transfers:
        model.tick()
        if model.cycles > last:
            raise WordlineError(f"The chip hangs; {len(out.taken)} results came out.")
    cycles = model.cycles - began
    for _ in range(sidecar["cycles_per_step"]):
        model.tick()
    assert len(out.taken) == output.transfers, "more came out than belongs to what went in"
    taken = {name: [value for (value,) in probe.taken] for name, probe in probes.items()}
    board = Scoreboard()
    values = streams.outputs(sidecar, output, [value for (value,) in out.taken])
    scoreboard.compare(board, vectors, streams.recorded(sidecar, vectors, taken), output, values)
    return scoreboard.result(
        board,
        lengths=lengths,
        passes=passes,
        cycles=cycles,
        output=output.flat(values),
        golden_output=output.flat(vectors[output.of]),
        seconds=time.monotonic() - clock,
    ) | {"passed": board.mismatches == 0}


class Bus:
    """AXI4-Lite, one access at a time, for the driver in C."""

    def __init__(self, model: Model) -> None:
        self.model = model

        def sender(channel: str, *signals: str) -> Sender:
            names = [f"s_axil_{channel}{name}" for name in ("valid", "ready", *signals)]
            return Sender(model, (names[0], names[1]), names[2:])

        def taker(channel: str, *signals: str) -> Taker:
            valid, ready, *values = (
                model.signal(f"s_axil_{channel}{name}") for name in ("valid", "ready", *signals)
            )
            return Taker(model, valid, ready, values)

        self.aw, self.w = sender("aw", "addr"), sender("w", "data", "strb")
        self.ar, self.b, self.r = (
            sender("ar", "addr"),
            taker("b", "resp"),
            taker("r", "resp", "data"),
        )

    def read(self, address: int) -> int:
        """Read a word."""
        self.ar.queue.append([address])
        resp, value = self._answer(self.r)
        assert resp == 0, hex(address)
        return value

    def write(self, address: int, value: int) -> None:
        """Write a word."""
        self.aw.queue.append([address])
        self.w.queue.append([value, 0xF])
        assert self._answer(self.b) == [0], hex(address)

    def _answer(self, channel: Taker) -> list[int]:
        while not channel.taken:
            self.model.tick()
        return channel.taken.pop()


def simulate_axi(
    program: Program, x: Tensor, lengths: Tensor, folder: Path, *, stall: float = 0.0, seed: int = 0
) -> dict[str, Any]:
    """Build a program's package in `folder`, load it with the driver and run DAC codes x through.

    Returns `passed` and `values_compared`. Raises what `simulate` does.

    x: (sequences, steps, inputs).
    """
    description = program.description
    job = system.prepare(program, x, lengths, folder)
    top = package.axi_module(description)
    library = build(package.sources(folder), top, folder / "cxxrtl")
    model = Model(library, "aclk", "aresetn", active=0)
    bus = Bus(model)
    source = Sender(
        model, ("s_axis_tvalid", "s_axis_tready"), ("s_axis_tdata", "s_axis_tlast"), stall, seed
    )
    valid, ready, data, last = (
        model.signal(f"m_axis_t{name}") for name in ("valid", "ready", "data", "last")
    )
    sink = Taker(model, valid, ready, (data, last), stall, seed + 1)
    driver = ctypes.CDLL(job["driver"])
    read = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_size_t)(bus.read)
    write = ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_uint32)(bus.write)
    driver.wordline_bus(read, write)
    words = scoreboard.image(Path(job["image"]))
    image = (Word * len(words))(*(Word(*word) for word in words))
    base, count = ctypes.c_size_t(0), ctypes.c_size_t(len(words))
    assert driver.wordline_check(base) == 0
    assert driver.wordline_load(base, image, count, 1000) == 0
    sidecar = json.loads(Path(job["sidecar"]).read_text())
    with np.load(job["vectors"]) as file:
        vectors = dict(file)
    beat = job["beat"]
    for n, length in enumerate(lengths.tolist()):
        codes = vectors["x"][n, :length].astype(np.int8)
        padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % beat))).reshape(-1, beat)
        for k, own in enumerate(padded):
            source.queue.append([int.from_bytes(own.tobytes(), "little"), k == len(padded) - 1])
    limit = model.cycles + scoreboard.patience(
        sidecar, vectors["lengths"], scoreboard.count_passes(vectors), stall
    )
    while sum(end for _, end in sink.taken) < len(lengths):
        model.tick()
        if model.cycles > limit:
            raise WordlineError(f"The chip hangs; {len(sink.taken)} beats of results came out.")
    size = data.found.width // 8
    packets = [b""]
    for value, end in sink.taken:
        packets[-1] += value.to_bytes(size, "little")
        packets += [b""] * end
    board = scoreboard.compare_packets(sidecar, vectors, packets[:-1])
    return {"passed": board.mismatches == 0, "values_compared": board.values_compared}
