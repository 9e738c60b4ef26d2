"""Rounding and narrowing: golden on integers, golden on floats, and logic, against Python."""

import pytest
import torch
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.sim import Simulator
from hypothesis import given
from hypothesis import strategies as st

import hw.fixed
from golden.fixed import (
    Range,
    bipolar,
    look_up,
    narrow,
    quantise,
    signed_range,
    slopes,
    symmetric_range,
)
from tests import reference


@pytest.mark.parametrize("shift", range(6))
@pytest.mark.parametrize("to", [Range(-8, 7), Range(-7, 7), Range(0, 15), Range(-1, 1)])
def test_narrow_exhaustive(shift, to):
    values = torch.arange(-300, 301)
    expected = [reference.narrow(a, shift, *to) for a in values.tolist()]
    assert narrow(values, shift, to).tolist() == expected
    assert narrow(values.double(), shift, to).tolist() == expected

    m = Module()
    a, result = Signal(signed(10)), Signal(signed(12))
    m.d.comb += result.eq(hw.fixed.narrow(a, shift, to))
    got = []

    async def bench(ctx):
        for value in values.tolist():
            ctx.set(a, value)
            got.append(ctx.get(result))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    assert got == expected


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


@pytest.mark.parametrize("make", [signed, unsigned])
@pytest.mark.parametrize("bits", [12, 17, 18, 20, 22, 25, 26, 34])
def test_products_in_parts(bits, make):
    """Of factors that one multiplier takes, that want few bits more, and many."""
    m = Module()
    a, b = Signal(make(bits)), Signal(signed(11))
    terms = hw.fixed.registered_product(m, a, b)
    result = Signal(signed(bits + 16))
    m.d.comb += result.eq(hw.fixed.tree_sum(terms))
    low = -(1 << bits - 1) if make is signed else 0
    factors = [low, low + 1, low + 2**bits - 1, 0, 1, 2**bits // 3, low + 2**bits // 5]
    got, expected = [], []

    async def bench(ctx):
        for x in factors:
            for y in (-1024, -1, 0, 1, 1023, 683):
                ctx.set(a, x)
                ctx.set(b, y)
                await ctx.tick().repeat(2)
                got.append(ctx.get(result))
                expected.append(ctx.get(a) * y)

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert got == expected
