from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.dac import DacSequencer
from tests.helpers import (
    examples,
    random_codes,
    receiver,
    sender,
    simulate,
    small,
    vector_payloads,
    waits,
)


@examples(25)
@given(
    inputs=st.integers(1, 7),
    beat=st.integers(1, 7),
    bits=st.integers(1, 8),
    lengths=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    seed=st.none() | st.integers(0, 99),
)
def test_rows_without_feedback(inputs, beat, bits, lengths, seed):
    description = small(dac={"bits": bits}, cell={"hidden_bits": 8})
    dut = DacSequencer(inputs=inputs, beat=beat, description=description)
    x = random_codes(description, seed or 0, len(lengths), max(lengths), inputs)
    steps: list = []
    simulate(
        dut,
        sender(dut.i, vector_payloads(x, lengths, beat), waits(seed)),
        receiver(dut.o, sum(lengths), steps, waits(seed)),
    )
    expected = [
        (x[n, t].tolist(), t == 0, t == length - 1)
        for n, length in enumerate(lengths)
        for t in range(length)
    ]
    got = [([int(v) for v in s.rows], bool(s.first), bool(s.last)) for s in steps]
    assert got == expected


@examples(25)
@given(
    units=st.integers(1, 7),
    per_beat=st.integers(1, 3),
    bits=st.integers(1, 4),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_rows_with_feedback(units, per_beat, bits, lengths, seed):
    description = small(dac={"bits": bits})
    dut = DacSequencer(
        inputs=2, beat=2, units=units, units_per_beat=per_beat, description=description
    )
    x = random_codes(description, seed, len(lengths), max(lengths), 2)
    h = random_codes(description, seed + 1, len(lengths), max(lengths), units)
    got: list = []
    pauses = waits(seed)

    async def rest_of_the_layer(ctx):
        """Takes a step, then feeds h back but after the last one."""
        for n, length in enumerate(lengths):
            for t in range(length):
                await ctx.tick().until(dut.o.valid)
                held = ctx.get(dut.o.payload)
                for _ in range(next(pauses)):
                    await ctx.tick()
                    assert ctx.get(dut.o.payload) == held, "the rows moved"
                ctx.set(dut.o.ready, 1)
                await ctx.tick()
                ctx.set(dut.o.ready, 0)
                got.append([int(v) for v in held.rows])
                if t < length - 1:
                    for payload in vector_payloads(h[n : n + 1, t : t + 1], [1], per_beat):
                        ctx.set(dut.feedback, payload["codes"])
                        ctx.set(dut.feed, 1)
                        await ctx.tick()
                        ctx.set(dut.feed, 0)
                        ctx.set(dut.feedback, [0 if code else 1 for code in payload["codes"]])
                        for _ in range(next(pauses)):
                            await ctx.tick()

    simulate(dut, sender(dut.i, vector_payloads(x, lengths, 2), waits(seed)), rest_of_the_layer)
    zero = [description.dac.zero] * units
    expected = [
        x[n, t].tolist() + (h[n, t - 1].tolist() if t else zero)
        for n, length in enumerate(lengths)
        for t in range(length)
    ]
    assert got == expected


@pytest.mark.parametrize(("inputs", "beat"), [(1, 1), (5, 2), (6, 6)])
def test_throughput_is_a_vector_every_beats_plus_one_cycles(inputs, beat):
    description = small()
    dut = DacSequencer(inputs=inputs, beat=beat, description=description)
    x = random_codes(description, 0, 1, 20, inputs)
    cycles = []

    async def watch(ctx):
        ctx.set(dut.o.ready, 1)
        cycle = 0
        while len(cycles) < 20:
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            if valid:
                cycles.append(cycle)
            cycle += 1

    simulate(dut, sender(dut.i, vector_payloads(x, [20], beat)), watch)
    assert {b - a for a, b in pairwise(cycles)} == {dut.beats + 1}
    assert cycles[0] == dut.beats - 1 + dut.latency
