"""What several tests need: random programs, and streams in Amaranth's simulator."""

import contextlib
import itertools
import random
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from amaranth.sim import Simulator
from hypothesis import settings
from hypothesis import strategies as st

from gen.rtl import verilog
from golden import network
from golden.description import Description
from golden.geometry import ArrayShape
from golden.program import Program
from golden.ranges import ceil_div, index_bits
from hw import timing
from hw.layer import GATES
from hw.macro.interface import PARAMETERS, parameters_region, tile_place
from hw.network import Accelerator
from sim import verilator
from sim.stimuli import Stimuli, random_description

SMALL = {"name": "small", "network": {"inputs": 3, "hidden": [5], "classes": 4}}
"""A description that simulates in seconds."""

FEW_ENTRIES = {"frac": 1, "state_index_bits": 4}
"""A cell with tables that are loaded in no time: most cycles of a small chip go into that."""


LONGEST = 60_000
"""Cycles that no simulation here needs."""


def small(**sections: Any) -> Description:
    """SMALL with sections replaced."""
    return Description.from_dict(SMALL).replace(**sections)


def examples(count: int) -> settings:
    """How many examples a Hypothesis test runs: `count` in `make test-all`, in `make test` as many
    percent of that as its profile in tests/conftest.py says."""
    percent = settings().max_examples
    return settings(max_examples=max(3, count * percent // 100))


def thorough() -> bool:
    """Whether this is no quick run, as `make test` is."""
    return settings().max_examples >= settings.get_profile("thorough").max_examples


def sampled(cases: Sequence[Any], *chosen: Any) -> list[Any]:
    """Cases for `pytest.mark.parametrize`, of which `make test` runs those that are chosen."""
    assert all(case in cases for case in chosen)
    marks = {False: pytest.mark.slow, True: []}
    return [
        pytest.param(*case if isinstance(case, tuple) else (case,), marks=marks[case in chosen])
        for case in cases
    ]


def covering(*axes: Sequence[Any]) -> list[Any]:
    """All combinations of an element of each axis, for `pytest.mark.parametrize`; `make test` runs
    some of them, in which any two elements of different axes meet."""
    combinations = list(itertools.product(*(range(len(axis)) for axis in axes)))
    pairs = {c: {*itertools.combinations(enumerate(c), min(2, len(c)))} for c in combinations}
    missing, chosen = set().union(*pairs.values()), set()
    while missing:
        best = max(combinations, key=lambda c: len(pairs[c] & missing))
        chosen.add(best)
        missing -= pairs[best]
    return [
        pytest.param(
            *(axis[n] for axis, n in zip(axes, c, strict=True)),
            marks=[] if c in chosen else pytest.mark.slow,
        )
        for c in combinations
    ]


@st.composite
def descriptions(draw: Any, **options: Any) -> Description:
    """Descriptions that are small enough to simulate; options: of `random_description`."""
    return random_description(draw(st.randoms(use_true_random=False)), **options)


def random_program(description: Description, seed: int, **options: Any) -> Program:
    """A program of random numbers; options: of `Stimuli.random_program`."""
    return Stimuli(description, seed).random_program(**options)


def random_codes(description: Description, seed: int, *size: int) -> torch.Tensor:
    """Random DAC codes of a shape."""
    return Stimuli(description, seed).random_codes(*size)


def simulate(dut: Any, *processes: Callable, watchers: Iterable[Callable] = ()) -> None:
    """Run testbenches on `dut` until every one of `processes` has ended; a hang is a failure."""

    async def watchdog(ctx: Any) -> None:
        await ctx.delay(LONGEST * 1e-6)
        raise AssertionError(f"not over after {LONGEST} cycles")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(watchdog, background=True)
    for process in processes:
        simulator.add_testbench(process)
    for watcher in watchers:
        simulator.add_testbench(watcher, background=True)
    simulator.run()


def sender(stream: Any, payloads: Sequence, waits: Iterator[int] | None = None) -> Callable:
    """A testbench that sends payloads, after `waits` cycles each."""

    async def process(ctx: Any) -> None:
        for payload in payloads:
            for _ in range(next(waits) if waits else 0):
                await ctx.tick()
            ctx.set(stream.payload, payload)
            ctx.set(stream.valid, 1)
            await ctx.tick().until(stream.ready)
            ctx.set(stream.valid, 0)

    return process


def receiver(
    stream: Any, count: int, into: list, waits: Iterator[int] | None = None, hold: int = 60
) -> Callable:
    """A testbench that takes `count` payloads, after `waits` cycles each, and then sees that no
    more come for `hold` cycles. The payload must hold while it is not taken."""

    async def process(ctx: Any) -> None:
        while len(into) < count:
            offered = None
            for _ in range(next(waits) if waits else 0):
                _, _, valid, payload = await ctx.tick().sample(stream.valid, stream.payload)
                assert offered is None or (valid and payload == offered), "an offer was withdrawn"
                offered = payload if valid else None
            ctx.set(stream.ready, 1)
            (payload,) = await ctx.tick().sample(stream.payload).until(stream.valid)
            assert offered is None or payload == offered, "a payload changed while it waited"
            into.append(payload)
            ctx.set(stream.ready, 0)
        for _ in range(hold):
            _, _, valid = await ctx.tick().sample(stream.valid)
            assert not valid, "more came out than was expected"

    return process


def waits(seed: int | None, longest: int = 12) -> Iterator[int] | None:
    """Random pauses, or none."""
    if seed is None:
        return None
    draw = random.Random(seed)
    return (draw.choice((0, 0, 0, 1, 2, longest)) for _ in itertools.count())


def recorder(valid: Any, signal: Any, into: list) -> Callable:
    """A watcher that records (cycle, value) of `signal` in every cycle with `valid`."""

    async def process(ctx: Any) -> None:
        cycle = 0
        async for _, _, is_valid, value in ctx.tick().sample(valid, signal):
            if is_valid:
                into.append((cycle, value))
            cycle += 1

    return process


def array_loader(dut: Any, part: Any, shape: ArrayShape) -> Callable:
    """A testbench that programs cells, gains and parameters through the ports."""
    cells, gains = [], []
    for r, tile in enumerate(shape.row_tiles):
        for gate, gain in enumerate(part.gain[r].tolist()):
            gains.append((r << index_bits(shape.gates) | gate, gain))
        for gate in range(shape.gates):
            for unit in range(shape.units):
                select, lane = shape.column(unit, gate)
                column_tile, lane = divmod(lane, shape.macro.lanes)
                place = tile_place(shape, row_tile=r, column_tile=column_tile)
                for row in tile:
                    code = {
                        n: int(getattr(part, n)[gate, unit, row]) for n in ("positive", "negative")
                    }
                    inside = {"row": row - tile.start, "select": select, "lane": lane}
                    cells.append(place | inside | code)

    async def write(ctx, port, writes):
        for address, value in writes:
            ctx.set(port.address, address)
            ctx.set(port.data, value % 2 ** len(port.data))
            ctx.set(port.enable, 1)
            await ctx.tick()
        ctx.set(port.enable, 0)

    async def process(ctx):
        await write(ctx, dut.gains, gains)
        await write(ctx, dut.parameters, parameters(part, shape))
        await sender(dut.cells, cells)(ctx)

    return process


def parameters(part: Any, shape: ArrayShape, run: int = 0) -> list[tuple[int, int]]:
    """Address and value of each write of the macros' parameters."""
    region, writes = parameters_region(shape), []
    for r in range(len(shape.row_tiles)):
        for c in range(shape.column_tiles):
            key, lanes = part.key[r, c].tolist(), shape.macro.lanes
            own = slice(c * lanes, (c + 1) * lanes)
            values = {"key_0": key[:1], "key_1": key[1:], "run": [run]}
            values |= {"read_noise": [int(part.read_noise[r])], "adc_noise": [int(part.adc_noise)]}
            values |= {n: getattr(part, n)[r, own].tolist() for n in ("offset", "gain_error")}
            for name, of_lanes in values.items():
                for lane, value in enumerate(of_lanes):
                    place = {"lane": lane, "parameter": PARAMETERS.index(name)}
                    place |= tile_place(shape, row_tile=r, column_tile=c)
                    writes.append((region.address(**place), value))
    return writes


def gates_loader(dut: Any, program: Any, shape: ArrayShape) -> Callable:
    """A testbench that writes biases and tables through the ports."""

    async def write(ctx, port, writes):
        for address, value in writes:
            ctx.set(port.address, address)
            ctx.set(port.data, value & ((1 << len(port.data)) - 1))
            ctx.set(port.enable, 1)
            await ctx.tick()
        ctx.set(port.enable, 0)

    place_bits = (timing.units_per_beat(shape) - 1).bit_length()
    word_bits = max(1, (dut.words - 1).bit_length())
    split = shape.index_bits
    bias = []
    for gate, values in enumerate(program.bias.tolist()):
        for unit, value in enumerate(values):
            word, place = divmod(unit, timing.units_per_beat(shape))
            bias.append(((gate << place_bits | place) << word_bits | word, value))

    def entries(table):
        half = len(table) // 2
        return [((n - half) % len(table), value) for n, value in enumerate(table.tolist())]

    async def process(ctx):
        await write(ctx, dut.bias, bias)
        for gate, table in enumerate(program.gate_tables):
            writes = [(gate << split | n, value) for n, value in entries(table)]
            await write(ctx, dut.gate_tables, writes)
        for name, table in program.tables.items():
            await write(ctx, getattr(dut, name), entries(table))

    return process


def run_gates(
    description: Description,
    codes: torch.Tensor,
    lengths: list[int],
    program: Any,
    seed: int | None,
) -> tuple[torch.Tensor, list[tuple[int, Any]]]:
    """h (steps, units) of steps' codes (steps, gates, units) from a cell's gate pipeline, and its
    traces with their cycles."""
    shape = description.layers[0]
    dut: Any = GATES[description.cell.kind](shape)
    payloads = []
    ends = torch.tensor(lengths).cumsum(0).tolist()
    for t, step in enumerate(codes.tolist()):
        for block in range(shape.blocks):
            for gate in range(shape.gates):
                lanes = step[gate][block * shape.lanes : (block + 1) * shape.lanes]
                lanes = lanes + [0] * (shape.lanes - len(lanes))
                first, last = t in [0, *ends], t + 1 in ends
                payloads.append({"codes": lanes, "first": int(first), "last": int(last)})
    out: list = []
    traces: list = []

    beats = ceil_div(shape.units, timing.units_per_beat(shape))

    async def host(ctx):
        await gates_loader(dut, program, shape)(ctx)
        pauses, each = waits(seed), shape.blocks * shape.gates
        for t in range(len(codes)):
            # The next step reads c where this one is still to write it: in a layer it cannot come
            # before this one's h has gone out.
            while dut.words < 3 and t not in ends and len(out) < t * beats:
                await ctx.tick()
            await sender(dut.i, payloads[t * each : (t + 1) * each], pauses)(ctx)

    simulate(
        dut,
        host,
        receiver(dut.o, len(codes) * beats, out, waits(seed)),
        watchers=[recorder(dut.trace_valid, dut.trace, traces)],
    )
    h = torch.tensor([[int(v) for v in beat.codes] for beat in out])
    assert [bool(b.last) for b in out[::beats]] == [t + 1 in ends for t in range(len(codes))]
    return h.reshape(len(codes), -1)[:, : shape.units], traces


def load_payloads(words: list[tuple[int, int]]) -> list[dict[str, int]]:
    """Transfers of a load bus."""
    last = len(words) - 1
    return [{"address": a, "data": d, "last": int(n == last)} for n, (a, d) in enumerate(words)]


def vector_payloads(x: torch.Tensor, lengths: Sequence[int], beat: int) -> list[dict[str, Any]]:
    """Transfers of x (sequences, steps, elements), `beat` elements each."""
    payloads = []
    for sequence, length in zip(x.tolist(), lengths, strict=True):
        for t, vector in enumerate(sequence[:length]):
            vector = vector + [0] * (-len(vector) % beat)
            for start in range(0, len(vector), beat):
                payload = {"codes": vector[start : start + beat], "last": int(t == length - 1)}
                payloads.append(payload)
    return payloads


@dataclass(frozen=True)
class ChipRun:
    """What a simulated accelerator did: what came out, labels, scores or h, one after the other,
    and (cycle, values) of each layer's trace."""

    output: list[int]
    layers: list[list[tuple[int, Any]]]


def run_chip(
    chip: Accelerator,
    words: list[tuple[int, int]],
    x: torch.Tensor,
    lengths: Sequence[int],
    stall_seed: int | None = None,
) -> ChipRun:
    """Load an image into an accelerator and run sequences, in Amaranth's simulator."""
    out: list[Any] = []
    traces: list[list] = [[] for _ in chip.layers]
    beats = vector_payloads(x, lengths, chip.input_beat)
    output = chip.description.output
    count = transfers(chip, lengths)

    async def host(ctx: Any) -> None:
        await sender(chip.load, load_payloads(words))(ctx)
        await sender(chip.i, beats, waits(stall_seed))(ctx)

    simulate(
        chip,
        host,
        receiver(chip.o, count, out, waits(stall_seed, 90)),
        watchers=[
            recorder(layer.gates.trace_valid, layer.gates.trace, trace)
            for layer, trace in zip(chip.layers, traces, strict=True)
        ],
    )
    # Each mark, at its place in an output and in its sequence.
    each = count // (sum(lengths) if output.every_step else len(lengths))
    ends = [t == length - 1 for length in lengths for t in range(length)]
    ends = [end for end in ends if end or output.every_step for _ in range(each)]
    marks = {}
    if output.of != "class":
        whole = [(n + 1) % each == 0 for n in range(count)]
        marks["last"] = ends if output.of == "state" else whole
    if output.of != "state" and output.every_step:
        marks["end"] = ends
    for mark, wanted in marks.items():
        assert [bool(payload[mark]) for payload in out] == wanted, mark
    if output.of == "state":
        # Units beat by beat, those that pad an output's last beat left out.
        codes = torch.tensor([[int(code) for code in payload.codes] for payload in out])
        values = codes.reshape(count // each, -1)[:, : chip.description.outputs].flatten()
        return ChipRun(values.tolist(), traces)
    name = "score" if output.of == "scores" else "label"
    return ChipRun([int(payload[name]) for payload in out], traces)


def transfers(chip: Accelerator, lengths: Sequence[int]) -> int:
    """How many come out for sequences of these lengths."""
    output = chip.description.output
    count = sum(lengths) if output.every_step else len(lengths)
    words = {"class": 1, "scores": chip.description.outputs, "state": chip.layers[-1].words}
    return count * words[output.of]


def first_difference(
    run: ChipRun, program: Program, x: torch.Tensor, lengths: Sequence[int]
) -> str:
    """Golden against a run, everything: the first difference in words, or an empty string."""
    golden = network.run(program, x, torch.tensor(lengths))
    passes = [(s, k) for s in range(len(lengths)) for k in range(program.votes)]
    for n, (layer, shape) in enumerate(zip(golden.layers, program.description.layers, strict=True)):
        records = iter(run.layers[n])
        places = timing.units_per_beat(shape)
        for p, (s, k) in enumerate(passes):
            for t in range(lengths[s]):
                for unit in range(shape.units):
                    if unit % places == 0:
                        _, record = next(records)
                    pairs = {
                        name: (int(values[p, t, unit]), int(record[name][unit % places]))
                        for name, values in layer.quantities().items()
                        if name != "codes"
                    }
                    for gate in range(shape.gates):
                        code = int(record.codes[gate][unit % places])
                        pairs[f"code {gate}"] = (int(layer.codes[p, t, gate, unit]), code)
                    for name, (wanted, got) in pairs.items():
                        if wanted != got:
                            where = f"layer {n} sequence {s} pass {k} step {t} unit {unit}"
                            return f"{where} {name}: golden {wanted}, RTL {got}"
        if next(records, None) is not None:
            return f"layer {n}: more steps than were sent"
    output = program.description.output
    values = golden.label if output.of == "class" else golden.scores
    if output.every_step:
        values = values[torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]]
    wanted = values.flatten().tolist()
    return "" if run.output == wanted else f"output: {wanted} {run.output}"


@contextlib.contextmanager
def emitted_once(made: dict[str, Any]) -> Iterator[None]:
    """Verilog of the same design is made once, in this process. made: what was."""
    make = verilog.verilog_files

    def kept(description: Description) -> tuple[Accelerator, dict[str, str]]:
        key = description.to_toml()
        if key not in made:
            made[key] = make(description)
        design, texts = made[key]
        return design, dict(texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verilog, "verilog_files", kept)
        yield


def finds_nothing(command: Sequence[str], **options: Any) -> None:
    """A tool that takes Verilog up has nothing to say of it."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert (done.returncode, done.stderr) == (0, "")


def verilator_finds_nothing(control: Path, verilog: Sequence[Path], top: str) -> None:
    """Nothing to warn of, but for what the control file waives."""
    tools = verilator.find()
    command = [str(tools.executable), "--lint-only", "-Wall", str(control), *map(str, verilog)]
    finds_nothing([*command, "--top-module", top], env=tools.environment)


def icarus_finds_nothing(verilog: Sequence[Path], top: str, folder: Path) -> None:
    """It compiles."""
    command = ["iverilog", "-g2005-sv", "-s", top, "-o", str(folder / "out")]
    finds_nothing([*command, *map(str, verilog)])


def yosys_finds_nothing(verilog: Sequence[Path], top: str) -> None:
    """No latch, no loop, no undriven or doubly driven net."""
    from pyosys import libyosys as ys

    design = ys.Design()
    for step in (
        f"read_verilog {' '.join(map(str, verilog))}",
        f"hierarchy -check -top {top}",
        "proc",
        "select -assert-none t:$dlatch t:$adlatch t:$sr",
        "check -assert",
    ):
        ys.run_pass(f"tee -q {step}", design)
