"""The readout with a comparator of our own, and with the crossbar model."""

import itertools
from itertools import pairwise
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gen.cost import twin
from golden import adc, crossbar
from golden.errors import WordlineError
from golden.parameters import ADC_NOISE_BITS, SETTLE_MAX, Pipeline
from hw import timing
from hw.adc import Readout
from hw.array import TiledArray, crossbar_model
from hw.macro.crossbar import ShortCrossbar
from hw.macro.crossbar_deep import DeepCrossbar
from hw.macro.digital import DigitalArray
from tests.helpers import (
    array_loader,
    covering,
    descriptions,
    examples,
    random_codes,
    random_program,
    receiver,
    recorder,
    sampled,
    sender,
    simulate,
    small,
    waits,
)

KINDS = ("level", "pulse-width", "bit-serial")
CASES = [("sar", bits) for bits in range(3, 11)]
CASES += [(kind, bits) for kind in ("flash", "ramp") for bits in range(3, 7)]


@pytest.mark.parametrize(
    ("kind", "bits"), sampled(CASES, *[case for case in CASES if case[1] in (3, 6, 10)])
)
def test_every_code_is_found(kind, bits):
    """Exhaustive: for every level of the held sample, also beyond the range."""
    lanes = 4
    adc = {"bits": bits, "kind": kind}
    description = small(adc=adc, network={"hidden": [2**bits]})
    shape = description.replace(array={"lanes": lanes}).layers[0]
    low, high = description.adc.range
    levels = [low - 5, low - 1, *range(low, high + 1), high + 1, high + 5]
    levels += [0] * (-len(levels) % lanes)
    groups = [levels[n : n + lanes] for n in range(0, len(levels), lanes)]
    assert len(groups) <= shape.selects

    def above(level, trial):
        """A lane's comparators."""
        return sum((level >= code) << n for n, code in enumerate(trial))

    got = found(shape, groups, above)
    assert got == [max(low, min(high, level)) for level in levels]


def test_a_bubble_costs_one_code():
    """A comparator of a flash ADC that errs, any of them at any code."""
    description = small(adc={"bits": 3, "kind": "flash"}, network={"hidden": [64]})
    shape = description.replace(array={"lanes": 1}).layers[0]
    low, high = description.adc.range
    cases = [(level, wrong) for level in range(low, high + 1) for wrong in range(high - low)]

    def above(case, trial):
        level, wrong = case
        return sum((level >= code) << n for n, code in enumerate(trial)) ^ 1 << wrong

    got = found(shape, [[case] for case in cases], above)
    for (level, wrong), code in zip(cases, got, strict=True):
        errs = -1 if level >= low + 1 + wrong else 1
        assert code == level + errs, (level, wrong)


def found(shape, groups, above):
    """Codes that a readout finds where the samples of selects in order are `groups`, one for each
    lane; above: the comparators of a lane, of its sample and what they compare with."""
    dut, adc = Readout(shape), shape.description.adc
    out: list = []

    async def comparators(ctx):
        """Hold the group that was sampled `settle` cycles ago."""
        ctx.set(dut.i.valid, 1)
        history = [None] * (timing.settle(shape) + 1)
        held = [groups[0][0]] * shape.lanes
        while True:
            history = [ctx.get(dut.select) if ctx.get(dut.sample) else None, *history[:-1]]
            if history[-1] is not None and history[-1] < len(groups):
                held = groups[history[-1]]
            for n in range(shape.lanes):
                flash = adc.kind == "flash"
                trial = range(adc.range.low + 1, adc.range.high + 1) if flash else None
                trial = trial or [ctx.get(dut.trial[0][n])]
                ctx.set(dut.above[0][n], above(held[n], trial))
            await ctx.tick()

    simulate(dut, receiver(dut.o, len(groups), out, hold=0), watchers=[comparators])
    return [int(code) for beat in out for code in beat.codes]


def convert(description, rows, part, shape, seed, every=3, macro=crossbar_model):
    """Codes (steps, gates, units) of steps (steps, rows), and the cycles of samples; each
    `every`-th step begins a sequence. macro: the body of the crossbars."""
    dut = TiledArray(shape, macro)
    beats: list = []
    samples: list = []

    async def host(ctx):
        await array_loader(dut, part, shape)(ctx)
        payloads = [
            {"rows": step, "first": int(n % every == 0), "last": 0}
            for n, step in enumerate(rows.tolist())
        ]
        await sender(dut.i, payloads, waits(seed))(ctx)

    readout = dut.readout
    simulate(
        dut,
        host,
        receiver(dut.o, len(rows) * shape.selects, beats, waits(seed)),
        watchers=[recorder(readout.sample, readout.select, samples)],
    )
    codes = torch.zeros(len(rows), shape.gates, shape.units, dtype=torch.long)
    for step in range(len(rows)):
        for unit in range(shape.units):
            for gate in range(shape.gates):
                select, lane = shape.column(unit, gate)
                codes[step, gate, unit] = int(beats[step * shape.selects + select].codes[lane])
    return codes, samples


def golden(rows, part, shape, every=3):
    """The codes of steps one after the other, each `every`-th the first of a run."""
    steps = [
        adc.codes(rows[n : n + 1], part, shape, torch.tensor([n // every]), n % every)
        for n in range(len(rows))
    ]
    return torch.cat(steps)


@examples(25)
@given(descriptions(most_rows=8), st.integers(0, 99), st.booleans(), st.booleans())
def test_crossbar_and_readout_are_the_golden_adc(description, seed, stall, noisy):
    shape = description.layers[0]
    part = random_program(description, seed, noisy=noisy).layers[0]
    rows = random_codes(description, seed, 5, shape.rows)
    codes, _ = convert(description, rows, part, shape, seed if stall else None)
    assert torch.equal(codes, golden(rows, part, shape))


@examples(25)
@given(descriptions(most_rows=8), st.integers(0, 99), st.booleans(), st.integers(3, 9))
def test_a_digital_array_is_the_golden_adc_too(description, seed, stall, settle):
    description = description.replace(array={"settle": settle})
    shape = description.layers[0]
    if description.dac.kind == "pulse-width":
        with pytest.raises(WordlineError, match="pulse-width"):
            DigitalArray(shape.macro)
        return
    part = random_program(description, seed).layers[0]
    rows = random_codes(description, seed, 5, shape.rows)
    codes, _ = convert(description, rows, part, shape, seed if stall else None, macro=DigitalArray)
    assert torch.equal(codes, golden(rows, part, shape))


@examples(24)
@given(
    descriptions(most_rows=4),
    st.integers(23, 40),
    st.sampled_from(get_args(Pipeline)),
    st.booleans(),
)
def test_a_slow_macro_is_the_golden_adc_with_either_pipeline(description, settle, pipeline, noisy):
    description = description.replace(array={"settle": settle, "pipeline": pipeline})
    shape = description.layers[0]
    part = random_program(description, settle, noisy=noisy).layers[0]
    rows = random_codes(description, settle, 2, shape.rows)
    model = DeepCrossbar if pipeline == "deep" else ShortCrossbar
    assert type(crossbar_model(shape.macro)) is model
    codes, _ = convert(description, rows, part, shape, None)
    assert torch.equal(codes, golden(rows, part, shape))


def test_a_ramp_that_takes_longer_than_a_sample_may_settle_has_a_twin():
    description = small(array={"lanes": 2}, adc={"kind": "ramp", "bits": 7}, cell={"frac": 0})
    program = twin.twin(random_program(description, 1))
    shape, part = program.description.layers[0], program.layers[0]
    assert (timing.settle(shape), timing.gate_latency(shape)) == (SETTLE_MAX, 7)
    assert timing.period(shape) == timing.period(description.layers[0]) == 127
    rows = random_codes(description, 1, 2, shape.rows)
    codes, samples = convert(program.description, rows, part, shape, None, macro=DigitalArray)
    assert torch.equal(codes, golden(rows, part, shape)) and len(codes.unique()) > 15
    cycles = [cycle for cycle, _ in samples[: shape.samples]]
    assert {b - a for a, b in pairwise(cycles)} == {127}


def test_the_largest_errors_do_not_overflow():
    """Every amplitude, offset and gain error at its end."""
    for sign in (0, -1):
        shape = small(network={"hidden": [7]}).layers[0]
        part = random_program(small(network={"hidden": [7]}), 1, noisy=True).layers[0]
        part.read_noise.fill_(2**shape.read_noise_bits - 1)
        part.adc_noise.fill_(2**ADC_NOISE_BITS - 1)
        part.offset.copy_(torch.tensor([[sign, ~sign, sign, ~sign]]) ^ 2047)
        part.gain_error.copy_(torch.tensor([[sign, ~sign, sign, ~sign]]) ^ 511)
        rows = random_codes(shape.description, 1, 9, shape.rows)
        codes, _ = convert(shape.description, rows, part, shape, None)
        assert torch.equal(codes, golden(rows, part, shape))


@pytest.mark.parametrize(
    ("adc", "kind", "settle"),
    [
        *covering([("sar", 3), ("sar", 8), ("flash", 3), ("ramp", 4)], KINDS, [3, 4, 7]),
        *sampled([*itertools.product([("sar", 4), ("flash", 4), ("ramp", 3)], KINDS, [3, 4, 7])]),
    ],
)
def test_samples_never_pause_without_stalls(adc, kind, settle):
    adc, bits = adc
    description = small(
        array={"settle": settle, "lanes": 2, "rows": 5},
        dac={"kind": kind, "bits": 3},
        adc={"bits": bits, "kind": adc},
        cell={"frac": 0},
    )
    shape = description.layers[0]
    part = random_program(description, 0, noisy=True).layers[0]
    rows = random_codes(description, 0, 2, shape.rows)
    codes, samples = convert(description, rows, part, shape, None)
    assert torch.equal(codes, golden(rows, part, shape))
    cycles = [cycle for cycle, _ in samples[: shape.samples]]
    assert {b - a for a, b in pairwise(cycles)} == {timing.period(shape)}
    planes = description.dac.planes
    once = [select for select in range(shape.selects) for _ in range(planes)]
    assert [select for _, select in samples] == once * 2


@pytest.mark.parametrize(
    ("macro", "array"),
    [
        (crossbar_model, {"settle": 3}),
        (crossbar_model, {"settle": 23, "pipeline": "deep"}),
        (DigitalArray, {"settle": 3}),
    ],
)
def test_extreme_charges_do_not_overflow(macro, array):
    """Every row and cell at its end: the largest charges of both signs, at every gain."""
    description = small(device={"conductance_bits": 12}, adc={"gain_bits": 12}, array=array)
    shape = description.layers[0]
    part = random_program(description, 0).layers[0]
    part.positive.fill_(4095)
    part.negative.zero_()
    part.gain.copy_(torch.tensor([[4095, 1, 16, 17]]))
    rows = torch.stack([torch.full((shape.rows,), v) for v in (7, -7, 1, -1, 0)])
    charge = crossbar.column_charge(rows, part.positive - part.negative, shape)
    assert charge.max() == shape.charge_max
    codes, _ = convert(description, rows, part, shape, None, macro=macro)
    assert torch.equal(codes, golden(rows, part, shape))
