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


@dataclass(frozen=True)
class Found:
    """What became of a spec's claims, by name, and what is named as reachable but is not."""

    claims: dict[str, Outcome]
    unreached: list[str]

    def wrong(self, depths: Mapping[str, int]) -> list[str]:
        """What is not as it should be.

        depths: Cycles by claim, of claims that need only hold for so long.
        """
        said = [f"not reached: {name}" for name in self.unreached]
        for name, outcome in self.claims.items():
            wanted = Outcome("held", depths[name]) if name in depths else PROVED
            # A claim without state is proved at once, whatever depth is asked for.
            if outcome not in (wanted, PROVED):
                said.append(f"{outcome.status} ({outcome.cycles} cycles): {name}")
        return said


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

    def outputs(self) -> list[Signal]:
        """The outputs of the finished module: high where a claim is false, then where something is
        reached."""
        kept = Signal(init=1)
        holds = Signal()
        self.past.d.comb += holds.eq(kept & Cat(Const(1, 1), *self.assumed).all())
        self.past.d.sync += kept.eq(holds)
        shown = [*(~value for value in self.claims.values()), *self.reached.values()]
        outputs = [Signal(name=f"bad_{n}") for n in range(len(shown))]
        for output, value in zip(outputs, shown, strict=True):
            self.past.d.comb += output.eq(holds & value)
        return outputs


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


@dataclass(frozen=True)
class _Problem:
    """FOLDER/spec.aig: the outputs of the claims and of what is to be reached, by name."""

    build: Callable[[Scene], None]
    folder: Path
    claims: dict[str, int]
    reached: dict[str, int]


def _prepare(build: Callable[[Scene], None], folder: Path) -> _Problem:
    """Write FOLDER/spec.aig."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = Scene()
    build(scene)
    outputs = scene.outputs()
    ports = [scene.clock.clk, *scene.inputs, *outputs]
    (folder / "spec.il").write_text(rtlil.convert(scene.m, name="spec", ports=ports))
    run_yosys(READ + TO_AIGER, folder)
    # The map leaves out what is constant; numbers are kept.
    order = re.findall(r"(?m)^output (\d+) 0 bad_(\d+)$", (folder / "spec.map").read_text())
    assert all(place == number for place, number in order), order
    numbers = iter(range(len(outputs)))
    claims, reached = ({name: next(numbers) for name in n} for n in (scene.claims, scene.reached))
    return _Problem(build, folder, claims, reached)


def refutes(build: Callable[[Scene], None], folder: Path, *, seconds: int = 240) -> str | None:
    """The claim that is false first, in cycles from power-up, or None."""
    problem = _prepare(build, folder)
    for method in (f"bmc3 -T {seconds}", "pdr"):
        said = abc(f"{_alone(*problem.claims.values())} {method}", folder)
        if found := re.search(r"Output (\d+) .*asserted in frame", said):
            return [*problem.claims][int(found[1])]
        if "combinational" not in said:
            return None
    return None


def check(
    build: Callable[[Scene], None],
    folder: Path,
    *,
    seconds: int = 60,
    depths: Mapping[str, int] = MappingProxyType({}),
) -> Found:
    """What becomes of a spec's claims, and of what it says is reached.

    seconds: Time for the proof; after it, what is undecided is looked at cycle by cycle, for as
        much time again.
    depths: Cycles by claim, of claims that no proof is tried of.
    """
    problem = _prepare(build, folder)
    tried = {name: n for name, n in problem.claims.items() if name not in depths}
    found = _proofs(tried, folder, seconds)
    for name, depth in depths.items():
        found[name] = _bounded(problem.claims[name], folder, f"-F {depth + 1}")
    for name, outcome in found.items():
        if outcome.status == "false":
            _replay(problem, problem.claims[name])
    reached = {n: _bounded(k, folder, f"-T {seconds}") for n, k in problem.reached.items()}
    unreached = [name for name, outcome in reached.items() if outcome.status != "false"]
    return Found({name: found[name] for name in problem.claims}, unreached)


def _proofs(tried: dict[str, int], folder: Path, seconds: int) -> dict[str, Outcome]:
    """Outcomes of claims, given by their outputs: all together, then each that is undecided."""
    said = abc(f"{_alone(*tried.values())} pdr -a -T {seconds}", folder)
    names = [*tried]
    found = {
        names[int(n)]: Outcome("false", int(frame))
        for n, frame in re.findall(
            r"Output +(\d+) was (?:trivially )?asserted in frame +(\d+)", said
        )
    }
    (counts,) = re.findall(
        r"All = (\d+)\. Proved = (\d+)\. Disproved = (\d+)\. Undecided = (\d+)", said
    )
    together, proved, disproved, undecided = map(int, counts)
    assert together == len(tried) == proved + disproved + undecided, said
    assert disproved == len(found), said
    told = {names[int(n)] for n in re.findall(r"Proved output +(\d+)", said)}
    for name in names:
        if name not in found:
            sure = not undecided or name in told
            found[name] = PROVED if sure else _proof(tried[name], folder, seconds)
    return found


def _proof(n: int, folder: Path, seconds: int) -> Outcome:
    """Output n by itself."""
    said = abc(f"{_alone(n)} pdr -T {seconds}", folder)
    if asserted := re.search(r"asserted in frame +(\d+)", said):
        return Outcome("false", int(asserted[1]))
    return PROVED if "Property proved" in said else _bounded(n, folder, f"-T {seconds}")


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


def abc(commands: str, folder: Path, *, seconds: float | None = None) -> str:
    """What ABC says to commands, in a folder.

    Raises TimeoutExpired after some seconds.
    """
    done = subprocess.run(
        [ABC, "-c", commands],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds,
    )
    (folder / "abc.log").write_text(done.stdout)
    return done.stdout


def _replay(problem: _Problem, n: int) -> None:
    """Simulate inputs that make output n high, into FOLDER/n.vcd.

    Registers without an initial value, as that of a memory's read port, are 0 in the simulator, so
    that output n may stay low where a proof needs another value.
    """
    folder = problem.folder
    said = abc(f"read_aiger spec.aig; cone -N {n}; bmc3; write_cex -a {n}.cex", folder)
    if "combinational" in said:
        return  # what is false at once needs no waveform
    _, *cycles = (folder / f"{n}.cex").read_text().split("\n")[:-2]
    places = re.findall(r"(?m)^input (\d+) (\d+) (\w+)$", (folder / "spec.map").read_text())
    scene = Scene()
    problem.build(scene)
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
