"""Rounding and narrowing: golden on integers, golden on floats, and logic, against Python."""

import pytest
import torch
from amaranth.hdl import Const, Module, Signal, signed, unsigned
from amaranth.sim import Simulator
from hypothesis import given
from hypothesis import strategies as st

import hw.fixed
from golden import noise
from golden.fixed import bipolar, look_up, narrow, quantise, slopes
from golden.ranges import Range, signed_range, symmetric_range
from tests import reference


@pytest.mark.parametrize("shift", range(6))
@pytest.mark.parametrize("to", [Range(-8, 7), Range(-7, 7), Range(0, 15), Range(-1, 1)])
def test_narrow_exhaustive(shift, to):
    values = torch.arange(-300, 301)
    expected = [reference.narrow(a, shift, *to) for a in values.tolist()]
    assert narrow(values, shift, to).tolist() == expected
    assert narrow(values.double(), shift, to).tolist() == expected


@pytest.mark.parametrize("shift", [0, 1, 3, 5])
@pytest.mark.parametrize("to", [Range(-8, 7), Range(-7, 7), Range(-1, 1), Range(-2, 1)])
@pytest.mark.parametrize("shape", [signed(9), signed(4), signed(2), unsigned(9), unsigned(3)])
def test_narrow_in_logic(shape, to, shift):
    """Every number, also of shapes that need no saturation."""
    m = Module()
    a, result = Signal(shape), Signal(signed(12))
    m.d.comb += result.eq(hw.fixed.narrow(a, shift, to))
    low = -(2 ** (shape.width - 1)) if shape.signed else 0
    values = range(low, low + 2**shape.width)
    got = []

    async def bench(ctx):
        for value in values:
            ctx.set(a, value)
            got.append(ctx.get(result))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    assert got == [reference.narrow(value, shift, *to) for value in values]


@given(st.integers(-(2**40), 2**40), st.integers(0, 30), st.integers(2, 20))
def test_narrow_wide(a, shift, bits):
    to = signed_range(bits)
    expected = reference.narrow(a, shift, *to)
    assert narrow(torch.tensor([a]), shift, to).item() == expected
    assert narrow(torch.tensor([a], dtype=torch.float64), shift, to).item() == expected


def test_ranges():
    assert signed_range(4) == (-8, 7)
    assert symmetric_range(4) == (-7, 7)
    assert symmetric_range(1) == symmetric_range(2) == (-1, 1)


def test_half_goes_up():
    assert narrow(torch.tensor([-3, -2, -1, 1, 2, 3]), 1, Range(-9, 9)).tolist() == [
        -1, -1, 0, 1, 1, 2,
    ]  # fmt: skip
    assert quantise(torch.tensor([-0.5, 0.5, 1.49]), Range(-9, 9)).tolist() == [0, 1, 1]


def test_bipolar_has_no_zero():
    values = torch.tensor([-5, -1, 0, 1, 5])
    assert bipolar(values, 0).tolist() == bipolar(values.double(), 0).tolist() == [-1, -1, 1, 1, 1]


def test_gradients_pass_where_nothing_saturates():
    a = torch.tensor([-100.0, -4.0, 0.0, 5.0, 100.0], dtype=torch.float64, requires_grad=True)
    narrow(a, 2, Range(-8, 7)).sum().backward()
    assert a.grad.tolist() == [0, 0.25, 0.25, 0.25, 0]


@pytest.mark.parametrize("bits", [8, 9, 12, 14])
def test_slopes_of_tables_are_those_of_their_curve(bits):
    """Of entries of 8 bits, however fine the index is."""
    x = torch.linspace(-4, 4, 2**bits + 1, dtype=torch.float64)[:-1]
    table = (torch.tanh(x) * 127).round()
    wanted = 127 * (1 - torch.tanh(x) ** 2) * 8 / 2**bits
    off = (slopes(torch.stack([table, -table])) - torch.stack([wanted, -wanted])).abs()
    assert off[:, 1:-1].max() < 0.15 * wanted.max()


def test_look_up_gradients():
    table = torch.tensor([[0.0, 1.0, 4.0, 9.0]], dtype=torch.float64, requires_grad=True)
    index = torch.tensor([[[-2.0, -1.0, 1.0]]], dtype=torch.float64, requires_grad=True)
    out = look_up(table, index, Range(-2, 1))
    assert out.tolist() == [[[0, 1, 9]]]
    out.sum().backward()
    assert index.grad.tolist() == [[[0.5, 2.0, 2.5]]]
    assert table.grad.tolist() == [[1, 1, 0, 1]]


def two_cycles_later(make, inputs, settings):
    """What `make(m, *inputs)` gives two cycles after each of the settings, one a cycle."""
    m, got = Module(), []
    made = make(m, *inputs)
    result = Signal(made.shape())
    m.d.comb += result.eq(made)

    async def bench(ctx):
        for setting in [*settings, settings[0]]:
            for signal, value in zip(inputs, setting, strict=True):
                ctx.set(signal, value)
            await ctx.tick()
            got.append(ctx.get(result))

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return got[1:]


@pytest.mark.parametrize("b_shape", [signed(11), unsigned(21)])
@pytest.mark.parametrize("make", [signed, unsigned])
@pytest.mark.parametrize("bits", [5, 8, 11, 13, 16])
def test_products_by_bits(bits, make, b_shape):
    low = -(1 << bits - 1) if make is signed else 0
    lowest = -1024 if b_shape.signed else 0
    settings = [
        (a, b)
        for a in (low, low + 1, low + 2**bits - 1, 0, 1, low + 2**bits // 3, low + 2**bits // 5)
        for b in (lowest, 0, 1, 683, lowest + 2**b_shape.width - 1)
    ]
    got = two_cycles_later(
        hw.fixed.registered_product, [Signal(make(bits)), Signal(b_shape)], settings
    )
    assert got == [a * b for a, b in settings]


@pytest.mark.parametrize("factor", [*noise.RUN, *noise.MIX, 1, 2**32 - 1, 0xAAAAAAAA, 0x55555555])
def test_products_by_digits(factor):
    """Modulo 2^32, and of no more terms than two cycles have time for."""

    def make(m, a):
        terms = hw.fixed.by_digits(a, factor, 32)
        assert len(terms) <= hw.fixed.TOGETHER**2
        if len(terms) <= hw.fixed.TOGETHER:
            terms += [Const(0)] * hw.fixed.TOGETHER
        return hw.fixed.registered_sum(m, terms)[:32]

    values = [0, 1, 2**31, 2**32 - 1, 0x12345678, 0xDEADBEEF]
    got = two_cycles_later(make, [Signal(32)], [(a,) for a in values])
    assert got == [a * factor % 2**32 for a in values]
