"""Proofs of what a block does for all inputs and at all times, with Yosys and ABC.

A spec instantiates a block and says what it may assume of the block's inputs and what it claims.
Each claim becomes an output that is high in a cycle in which the claim is false while every
assumption has held so far. ABC proves that an output is never high, after any number of cycles, by
property directed reachability (PDR: Bradley, "SAT-based model checking without unrolling", 2011;
Een, Mishchenko, Brayton, "Efficient implementation of property directed reachability", 2011), or
finds inputs that make it high. A spec also names what must be reachable, so that its assumptions
leave something to claim.
"""

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import util
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Cat, ClockDomain, Const, Module, Mux, Signal, Value
from amaranth.sim import Simulator

from gen.impl.tools import run_yosys

# Not imported: in one process, its bindings and those of Matplotlib do not go together.
ABC = Path(util.find_spec("pyosys").origin).with_name("yosys-abc")

READ = """
read_rtlil spec.il
hierarchy -top spec
proc
flatten
setundef -undriven -anyseq
"""

TO_AIGER = """
opt -full
memory_map
opt -full
techmap
opt -fast
formalff -clk2ff -ff2anyinit
setundef -undriven -anyseq
simplemap
dffunmap
aigmap
opt_clean
write_aiger -zinit -vmap spec.map spec.aig
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one claim.

    status: "proved" for all times; "held" for `cycles` cycles from power-up; or "false" in cycle
        `cycles`.
    """

    status: str
    cycles: int = 0


PROVED = Outcome("proved")


@dataclass
class Scene:
    """A module under construction, with what is assumed, claimed and to be reached.

    In a claim, `ago` and `after` look back; there is no past in the first cycle.
    """

    m: Module = field(default_factory=Module)
    inputs: list[Signal] = field(default_factory=list)
    assumed: list[Value] = field(default_factory=list)
    claims: dict[str, Value] = field(default_factory=dict)
    reached: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = ClockDomain("sync", reset_less=True)
        self.m.domains.sync = self.clock
        # What looks back is apart, so that it is the same within an `If` of the spec.
        self.m.submodules.past = self.past = Module()
        self.begun = Signal()  # not the first cycle
        self.past.d.sync += self.begun.eq(1)

    def add(self, block: Any, name: str = "dut") -> Any:
        """An instance of a block."""
        self.m.submodules[name] = block
        return block

    def free(self, shape: Any, name: str) -> Signal:
        """An input that has any value in every cycle."""
        signal = Signal(shape, name=name)
        self.inputs.append(signal)
        return signal

    def drive(self, *ports: Any, name: str = "in") -> None:
        """Let ports of a block, or all of a write port, have any value in every cycle."""
        for port in ports:
            if hasattr(port, "signature"):
                self.drive(*(getattr(port, part) for part in port.signature.members), name=name)
                continue
            value = Value.cast(port)
            self.m.d.comb += value.eq(self.free(len(value), f"{name}_{len(self.inputs)}"))

    def constant(self, shape: Any, name: str) -> Signal:
        """Any value, which never changes."""
        value, first = Signal(shape, name=name), self.free(shape, f"{name}_first")
        held = self.ago(value)
        self.past.d.comb += value.eq(Mux(self.begun, held, first))
        return value

    def ago(self, value: Any, cycles: int = 1) -> Value:
        """A value `cycles` cycles ago, 0 before there was one."""
        now = Value.cast(value)
        for _ in range(cycles):
            before = Signal(now.shape())
            self.past.d.sync += before.eq(now)
            now = before
        return now

    def assume(self, *conditions: Any) -> None:
        """Say of inputs what holds in every cycle."""
        self.assumed += [Value.cast(condition).any() for condition in conditions]

    def claim(self, name: str, condition: Any) -> None:
        """Claim what holds in every cycle."""
        assert name not in self.claims, name
        self.claims[name] = Value.cast(condition).any()

    def reach(self, name: str, condition: Any) -> None:
        """Say what must happen at some time."""
        self.reached[name] = Value.cast(condition).any()

    def sticky(self, event: Any) -> Value:
        """Whether an event has happened, now included."""
        happened = Signal()
        now = happened | Value.cast(event).any()
        self.past.d.sync += happened.eq(now)
        return now

    def sample(self, when: Any, value: Any) -> Value:
        """A value as it was when something last happened, before now."""
        now = Value.cast(value)
        kept = Signal(now.shape())
        with self.past.If(when):
            self.past.d.sync += kept.eq(now)
        return kept

    def last(self, when: Any, value: Any) -> Value:
        """A value as it was when something last happened, which may be now."""
        return Mux(when, value, self.sample(when, value))

    def once(self, event: Any, begins: Any) -> Value:
        """Whether an event has happened at most once since something last began."""
        seen = Signal()
        event, begins = Value.cast(event).any(), Value.cast(begins).any()
        self.past.d.sync += seen.eq(Mux(begins, 0, seen | event))
        return ~(event & seen)

    def apart(self, event: Any, cycles: int) -> Value:
        """Whether an event is at least `cycles` cycles after the one before."""
        since = Signal(range(cycles + 1), init=cycles)
        self.past.d.sync += since.eq(Mux(event, 1, Mux(since == cycles, cycles, since + 1)))
        return ~Value.cast(event).any() | (since == cycles)

    def within(self, cycles: int, waiting: Any) -> Value:
        """Whether something has waited for at most `cycles` cycles on end."""
        count = Signal(range(cycles + 2))
        self.past.d.sync += count.eq(Mux(waiting, Mux(count == cycles + 1, count, count + 1), 0))
        return count <= cycles

    def held(self, stream: Any) -> Value:
        """Whether a stream keeps what it offers until it is taken."""
        offer = Cat(stream.valid, Value.cast(stream.payload))
        return ~self.ago(stream.valid & ~stream.ready) | (offer == self.ago(offer))

    def queue(self, shape: Any, depth: int) -> "Queue":
        """A model of what is under way."""
        return Queue(self, shape, depth)

    def outputs(self) -> dict[str, Signal]:
        """The outputs of the finished module, high where a claim is false."""
        kept = Signal(init=1)
        holds = Signal()
        self.past.d.comb += holds.eq(kept & Cat(Const(1, 1), *self.assumed).all())
        self.past.d.sync += kept.eq(holds)
        named = {f"claim {name}": ~value for name, value in self.claims.items()}
        named |= {f"reach {name}": value for name, value in self.reached.items()}
        made = {}
        for n, (name, value) in enumerate(named.items()):
            made[name] = Signal(name=f"bad_{n}")
            self.past.d.comb += made[name].eq(holds & value)
        return made


class Queue:
    """Values in order, at most `depth`; those beyond it set `overflows`."""

    def __init__(self, scene: Scene, shape: Any, depth: int) -> None:
        self.scene, self.depth = scene, depth
        self.places = [Signal(shape, name=f"queued_{n}") for n in range(depth)]
        self.count = Signal(range(depth + 1))
        self.first = self.places[0]
        self.overflows = Signal()
        self.underflows = Signal()

    def move(self, push: Any, value: Any, pop: Any) -> None:
        """Add a value and take the first one; what comes in an empty queue is not the first yet."""
        m, places = self.scene.m, self.places
        push, pop = Value.cast(push), Value.cast(pop)
        left = Signal(range(self.depth + 1))
        m.d.comb += [
            self.underflows.eq(pop & (self.count == 0)),
            left.eq(Mux(pop & (self.count != 0), self.count - 1, self.count)),
            self.overflows.eq(push & (left == self.depth)),
        ]
        with m.If(pop):
            m.d.sync += [here.eq(after) for here, after in pairwise(places)]
        with m.If(push & ~self.overflows), m.Switch(left):
            for n, place in enumerate(places):
                with m.Case(n):
                    m.d.sync += Value.cast(place).eq(value)
        m.d.sync += self.count.eq(left + (push & ~self.overflows))


def _prepare(build: Callable[[Scene], None], folder: Path) -> list[str]:
    """Write FOLDER/spec.aig; returns what its outputs are."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = Scene()
    build(scene)
    outputs = scene.outputs()
    ports = [scene.clock.clk, *scene.inputs, *outputs.values()]
    (folder / "spec.il").write_text(rtlil.convert(scene.m, name="spec", ports=ports))
    run_yosys(READ + TO_AIGER, folder)
    # The map leaves out what is constant; numbers are kept.
    order = re.findall(r"(?m)^output (\d+) 0 bad_(\d+)$", (folder / "spec.map").read_text())
    assert all(place == number for place, number in order), order

    return [*outputs]


def refutes(build: Callable[[Scene], None], folder: Path, *, seconds: int = 240) -> str | None:
    """The claim that is false first, in cycles from power-up, or None."""
    names = _prepare(build, folder)
    claims = [n for n, name in enumerate(names) if name.startswith("claim")]
    for method in (f"bmc3 -T {seconds}", "pdr"):
        said = abc(f"{_alone(*claims)} {method}", folder)
        if found := re.search(r"Output (\d+) .*asserted in frame", said):
            return names[claims[int(found[1])]]
        if "combinational" not in said:
            return None
    return None


def check(
    build: Callable[[Scene], None],
    folder: Path,
    *,
    seconds: int = 60,
    depths: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Outcome]:
    """What becomes of each claim of a spec, "claim ...", and of what it reaches, "reach ...".

    seconds: Time for the proof; after it, what is undecided is looked at cycle by cycle, for as
        much time again.
    depths: Cycles by claim, of claims that no proof is tried of.
    """
    names = _prepare(build, folder)
    claims = {name.removeprefix("claim "): n for n, name in enumerate(names) if name[0] == "c"}
    tried = [n for name, n in claims.items() if name not in depths]
    said = abc(f"{_alone(*tried)} pdr -a -T {seconds}", folder)
    found = dict.fromkeys(tried, PROVED)
    for n, frame in re.findall(r"Output +(\d+) was (?:trivially )?asserted in frame +(\d+)", said):
        found[tried[int(n)]] = Outcome("false", int(frame))
    (counts,) = re.findall(
        r"All = (\d+)\. Proved = (\d+)\. Disproved = (\d+)\. Undecided = (\d+)", said
    )
    all_, proved_, disproved, undecided = map(int, counts)
    false = [n for n, outcome in found.items() if outcome != PROVED]
    assert (all_, disproved) == (len(tried), len(false)), said
    assert proved_ + disproved + undecided == all_, said
    if undecided:
        proved = {tried[int(n)] for n in re.findall(r"Proved output +(\d+)", said)}
        for n in [n for n, outcome in found.items() if outcome == PROVED and n not in proved]:
            again = abc(f"{_alone(n)} pdr -T {seconds}", folder)
            if asserted := re.search(r"asserted in frame +(\d+)", again):
                found[n] = Outcome("false", int(asserted[1]))
            elif "Property proved" in again:
                found[n] = PROVED
            else:
                found[n] = _bounded(n, folder, f"-T {seconds}")
    for n, name in enumerate(names):
        if n not in found:
            depth = depths.get(name.removeprefix("claim "))
            found[n] = _bounded(n, folder, f"-F {depth + 1}" if depth else f"-T {seconds}")
        if name.startswith("claim") and found[n].status == "false":
            _replay(build, n, folder)
    return {name: found[n] for n, name in enumerate(names)}


def _alone(*outputs: int) -> str:
    """ABC's commands to look at some outputs alone."""
    return f"read_aiger spec.aig; cone -N {','.join(map(str, outputs))}; scorr;"


def _bounded(n: int, folder: Path, limit: str) -> Outcome:
    """Output n, cycle by cycle from power-up."""
    said = abc(f"{_alone(n)} bmc3 {limit}", folder)
    if "combinational" in said:
        said = abc(f"{_alone(n)} sat", folder)
        return PROVED if "UNSATISFIABLE" in said else Outcome("false", 0)
    if asserted := re.search(r"asserted in frame (\d+)", said):
        return Outcome("false", int(asserted[1]))
    (frames,) = re.findall(r"No output asserted in (\d+) frames", said)
    return Outcome("held", int(frames) - 1)


def abc(commands: str, folder: Path) -> str:
    """What ABC says to commands, in a folder."""
    done = subprocess.run(
        [ABC, "-c", commands], cwd=folder, capture_output=True, text=True, check=True
    )
    (folder / "abc.log").write_text(done.stdout)
    return done.stdout


def _replay(build: Callable[[Scene], None], n: int, folder: Path) -> None:
    """Simulate inputs that make output n high, into FOLDER/n.vcd.

    Registers without an initial value, as that of a memory's read port, are 0 in the simulator, so
    that output n may stay low where a proof needs another value.
    """
    said = abc(f"read_aiger spec.aig; cone -N {n}; bmc3; write_cex -a {n}.cex", folder)
    if "combinational" in said:
        return  # what is false at once needs no waveform
    _, *cycles = (folder / f"{n}.cex").read_text().split("\n")[:-2]
    places = re.findall(r"(?m)^input (\d+) (\d+) (\w+)$", (folder / "spec.map").read_text())
    scene = Scene()
    build(scene)
    scene.outputs()
    inputs = {signal.name: signal for signal in scene.inputs}

    async def play(context: Any) -> None:
        for cycle in cycles:
            values = dict.fromkeys(inputs, 0)
            for place, bit, name in places:
                if name in inputs:  # not the clock
                    values[name] |= int(cycle[int(place)] == "1") << int(bit)
            for name, value in values.items():
                context.set(inputs[name], value)
            await context.tick()

    simulator = Simulator(scene.m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(play)
    with simulator.write_vcd(str(folder / f"{n}.vcd")):
        simulator.run()
