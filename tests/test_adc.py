"""The readout with a comparator of our own, and with the crossbar model."""

from itertools import pairwise

import pytest
import torch
from amaranth.hdl import Elaboratable, Module
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import adc, crossbar
from golden.description import ADC_NOISE_BITS
from hw.adc import SarReadout
from hw.crossbar import PARAMETERS, CrossbarModel, parameter_fields
from tests.helpers import (
    descriptions,
    random_codes,
    random_program,
    receiver,
    recorder,
    sender,
    simulate,
    small,
    waits,
)


@pytest.mark.parametrize("bits", range(3, 11))
def test_sar_finds_every_code(bits):
    """Exhaustive: for every level of the held sample, also beyond the range."""
    lanes = 4
    description = small(adc={"bits": bits}, network={"hidden": [2 ** (bits + 1)]})
    shape = description.replace(array={"lanes": lanes}).layers[0]
    dut = SarReadout(shape)
    low, high = description.adc.range
    levels = [low - 5, low - 1, *range(low, high + 1), high + 1, high + 5]
    levels += [0] * (-len(levels) % lanes)
    groups = [levels[n : n + lanes] for n in range(0, len(levels), lanes)]
    assert len(groups) <= shape.selects
    out: list = []

    async def comparators(ctx):
        """Hold the levels of the group sampled `settle` cycles ago."""
        ctx.set(dut.i.valid, 1)
        history = [None] * (shape.description.array.settle + 1)
        held = [0] * lanes
        while True:
            history = [ctx.get(dut.select) if ctx.get(dut.sample) else None, *history[:-1]]
            if history[-1] is not None:
                held = groups[history[-1]] if history[-1] < len(groups) else [0] * lanes
            trial = ctx.get(dut.trial)
            above = sum((held[n] >= trial[n]) << n for n in range(lanes))
            ctx.set(dut.above, above)
            await ctx.tick()

    simulate(dut, receiver(dut.o, len(groups), out, hold=0), watchers=[comparators])
    got = [int(code) for beat in out for code in beat.codes]
    assert got == [max(low, min(high, level)) for level in levels]


class Converter(Elaboratable):
    """A readout and a crossbar model, connected."""

    def __init__(self, shape):
        self.adc, self.macro = SarReadout(shape), CrossbarModel(shape)

    def elaborate(self, platform):
        m = Module()
        m.submodules.adc, m.submodules.macro = self.adc, self.macro
        for name in ("sample", "first", "select", "gain", "trial"):
            m.d.comb += getattr(self.macro, name).eq(getattr(self.adc, name))
        m.d.comb += self.adc.above.eq(self.macro.above)
        m.d.comb += self.macro.rows.eq(self.adc.i.payload.rows)
        return m


def program_converter(dut, part, shape):
    """A testbench that programs cells and gains through the ports."""
    cells = [
        {
            "row": row,
            "select": shape.column(unit, gate)[0],
            "lane": shape.column(unit, gate)[1],
            "positive": int(part.positive[gate, unit, row]),
            "negative": int(part.negative[gate, unit, row]),
        }
        for gate in range(shape.gates)
        for unit in range(shape.units)
        for row in range(shape.rows)
    ]

    async def process(ctx):
        for gate, gain in enumerate(part.gain.tolist()):
            ctx.set(dut.adc.gains.address, gate)
            ctx.set(dut.adc.gains.data, gain)
            ctx.set(dut.adc.gains.enable, 1)
            await ctx.tick()
        ctx.set(dut.adc.gains.enable, 0)
        for address, value in parameters(part, shape):
            ctx.set(dut.macro.parameters.address, address)
            ctx.set(dut.macro.parameters.data, value % 2**32)
            ctx.set(dut.macro.parameters.enable, 1)
            await ctx.tick()
        ctx.set(dut.macro.parameters.enable, 0)
        await sender(dut.macro.program, cells)(ctx)

    return process


def parameters(part, shape, run=0):
    """Address and value of each write of a macro's parameters."""
    values = {"key_0": [int(part.key[0])], "key_1": [int(part.key[1])], "run": [run]}
    values |= {"read_noise": [int(part.read_noise)], "adc_noise": [int(part.adc_noise)]}
    values |= {"offset": part.offset.tolist(), "gain_error": part.gain_error.tolist()}
    split = dict(parameter_fields(shape))["lane"]
    return [
        (PARAMETERS.index(name) << split | lane, value)
        for name, of_lanes in values.items()
        for lane, value in enumerate(of_lanes)
    ]


def convert(description, rows, part, shape, seed, every=3):
    """Codes (steps, gates, units) of steps (steps, rows), and the cycles of samples; each
    `every`-th step begins a sequence."""
    dut = Converter(shape)
    beats: list = []
    samples: list = []

    async def host(ctx):
        await program_converter(dut, part, shape)(ctx)
        payloads = [
            {"rows": step, "first": int(n % every == 0), "last": 0}
            for n, step in enumerate(rows.tolist())
        ]
        await sender(dut.adc.i, payloads, waits(seed))(ctx)

    simulate(
        dut,
        host,
        receiver(dut.adc.o, len(rows) * shape.selects, beats, waits(seed)),
        watchers=[recorder(dut.adc.sample, dut.adc.select, samples)],
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
    charge = crossbar.column_charge(rows, part.positive - part.negative)
    codes = []
    for n in range(len(rows)):
        draws = adc.draw(part, shape, torch.tensor([n // every]), n % every)
        codes.append(adc.convert(charge[n : n + 1], part, shape, draws))
    return torch.cat(codes)


@settings(max_examples=25)
@given(descriptions(most_rows=8), st.integers(0, 99), st.booleans(), st.booleans())
def test_crossbar_and_readout_are_the_golden_adc(description, seed, stall, noisy):
    shape = description.layers[0]
    part = random_program(description, seed, noisy=noisy).layers[0]
    rows = random_codes(description, seed, 5, shape.rows)
    codes, _ = convert(description, rows, part, shape, seed if stall else None)
    assert torch.equal(codes, golden(rows, part, shape))


def test_the_largest_errors_do_not_overflow():
    """Every amplitude, offset and gain error at its end."""
    for sign in (0, -1):
        shape = small(network={"hidden": [7]}).layers[0]
        part = random_program(small(network={"hidden": [7]}), 1, noisy=True).layers[0]
        part.read_noise.fill_(2**shape.read_noise_bits - 1)
        part.adc_noise.fill_(2**ADC_NOISE_BITS - 1)
        part.offset.copy_(torch.tensor([sign, ~sign, sign, ~sign]) ^ 2047)
        part.gain_error.copy_(torch.tensor([sign, ~sign, sign, ~sign]) ^ 511)
        rows = random_codes(shape.description, 1, 9, shape.rows)
        codes, _ = convert(shape.description, rows, part, shape, None)
        assert torch.equal(codes, golden(rows, part, shape))


@pytest.mark.parametrize("settle", [3, 4, 7])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_samples_never_pause_without_stalls(settle, bits):
    description = small(array={"settle": settle, "lanes": 2}, adc={"bits": bits})
    shape = description.layers[0]
    part = random_program(description, 0).layers[0]
    _, samples = convert(
        description, random_codes(description, 0, 2, shape.rows), part, shape, None
    )
    cycles = [cycle for cycle, _ in samples[: shape.selects]]
    assert {b - a for a, b in pairwise(cycles)} == {shape.period}
    assert [select for _, select in samples] == [*range(shape.selects)] * 2


def test_extreme_charges_do_not_overflow():
    """Every row and cell at its end: the largest charges of both signs, at every gain."""
    description = small(device={"conductance_bits": 12}, adc={"gain_bits": 12})
    shape = description.layers[0]
    part = random_program(description, 0).layers[0]
    part.positive.fill_(4095)
    part.negative.zero_()
    part.gain.copy_(torch.tensor([4095, 1, 16, 17]))
    rows = torch.stack([torch.full((shape.rows,), v) for v in (7, -7, 1, -1, 0)])
    charge = crossbar.column_charge(rows, part.positive - part.negative)
    assert charge.max() == shape.charge_max
    codes, _ = convert(description, rows, part, shape, None)
    assert torch.equal(codes, golden(rows, part, shape))
