"""The gate pipeline alone, against golden.lstm, and every entry of its tables."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import lstm
from golden.fixed import ceil_div
from golden.gates import pre_activation
from hw.lstm import LstmGates
from tests.helpers import (
    descriptions,
    random_program,
    receiver,
    recorder,
    sender,
    simulate,
    small,
    waits,
)


def loader(dut, program, shape):
    """A testbench that writes biases and tables through the ports."""

    async def write(ctx, port, writes):
        for address, value in writes:
            ctx.set(port.address, address)
            ctx.set(port.data, value & ((1 << len(port.data)) - 1))
            ctx.set(port.enable, 1)
            await ctx.tick()
        ctx.set(port.enable, 0)

    place_bits = (shape.units_per_beat - 1).bit_length()
    word_bits = max(1, (dut.words - 1).bit_length())
    index_bits = shape.description.index_bits
    bias = []
    for gate, values in enumerate(program.bias.tolist()):
        for unit, value in enumerate(values):
            word, place = divmod(unit, shape.units_per_beat)
            bias.append(((gate << place_bits | place) << word_bits | word, value))

    def entries(table):
        half = len(table) // 2
        return [((n - half) % len(table), value) for n, value in enumerate(table.tolist())]

    async def process(ctx):
        await write(ctx, dut.bias, bias)
        for gate, table in enumerate(program.gate_tables):
            writes = [(gate << index_bits | n, value) for n, value in entries(table)]
            await write(ctx, dut.gate_tables, writes)
        if "tanh_table" in dut.loaded:
            await write(ctx, dut.tanh_table, entries(program.tanh_table))

    return process


def run(description, codes, lengths, program, seed):
    """h and c (steps, units) of steps' codes (steps, gates, units), and the cycles of h."""
    shape = description.layers[0]
    dut = LstmGates(shape)
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

    async def host(ctx):
        await loader(dut, program, shape)(ctx)
        await sender(dut.i, payloads, waits(seed))(ctx)

    beats = ceil_div(shape.units, shape.units_per_beat)
    simulate(
        dut,
        host,
        receiver(dut.o, len(codes) * beats, out, waits(seed)),
        watchers=[recorder(dut.trace_valid, dut.trace, traces)],
    )
    h = torch.tensor([[int(v) for v in beat.codes] for beat in out])
    c = torch.tensor([[int(v) for v in trace.c] for _, trace in traces])
    assert [bool(b.last) for b in out[::beats]] == [t + 1 in ends for t in range(len(codes))]
    steps = len(codes)
    return h.reshape(steps, -1), c.reshape(steps, -1), [cycle for cycle, _ in traces]


def expected(description, codes, lengths, program):
    hs, cs = [], []
    for sequence in codes.split(lengths):
        c = torch.zeros(1, codes.shape[2], dtype=torch.long)
        for step in sequence:
            index = pre_activation(step[None], program.bias, description)
            c, h = lstm.step(index, c, program, description)
            hs.append(h[0])
            cs.append(c[0])
    return torch.stack(hs), torch.stack(cs)


@settings(max_examples=25)
@given(
    descriptions(kind="lstm"),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(0, 99),
    st.booleans(),
)
def test_gates_are_golden(description, lengths, seed, stall):
    shape = description.layers[0]
    program = random_program(description, seed).layers[0]
    low, high = description.adc.range
    generator = torch.Generator().manual_seed(seed)
    size = (sum(lengths), shape.gates, shape.units)
    codes = torch.randint(low, high + 1, size, generator=generator)
    h, c, _ = run(description, codes, lengths, program, seed if stall else None)
    wanted_h, wanted_c = expected(description, codes, lengths, program)
    assert torch.equal(h[:, : shape.units], wanted_h)
    assert torch.equal(c[:, : shape.units], wanted_c)


def test_every_table_entry_is_used_exactly():
    """Tables of random numbers, every index of every gate, and c over its whole range."""
    description = small(network={"inputs": 1, "hidden": [64]}, array={"lanes": 4}, cell={"frac": 2})
    shape = description.layers[0]
    program = random_program(description, 0).layers[0]
    generator = torch.Generator().manual_seed(1)
    program.gate_tables[[0, 1, 3]] = torch.randint(0, 256, (3, 64), generator=generator)
    program.gate_tables[2] = torch.randint(-255, 256, (64,), generator=generator)
    program.tanh_table.copy_(torch.randint(-127, 128, (256,), generator=generator))
    # A bias of its own for each unit walks code 0 through all 64 indices.
    program.bias.copy_(torch.stack([torch.arange(-32, 32).roll(5 * g) for g in range(4)]))
    codes = torch.zeros(30, shape.gates, shape.units, dtype=torch.long)
    h, c, _ = run(description, codes, [30], program, None)
    wanted_h, wanted_c = expected(description, codes, [30], program)
    assert torch.equal(h, wanted_h)
    assert torch.equal(c, wanted_c)


def test_the_state_saturates_at_both_ends():
    description = small(network={"hidden": [2]}, array={"lanes": 2})
    shape = description.layers[0]
    program = random_program(description, 0).layers[0]
    program.gate_tables[:2] = 255  # i and f: nothing is forgotten, everything is let in
    program.gate_tables[2, :128], program.gate_tables[2, 128:] = -255, 255
    program.bias[2] = torch.tensor([-100, 100])
    codes = torch.zeros(12, shape.gates, shape.units, dtype=torch.long)
    h, c, _ = run(description, codes, [12], program, None)
    wanted_h, wanted_c = expected(description, codes, [12], program)
    assert torch.equal(h, wanted_h)
    assert torch.equal(c, wanted_c)
    assert c[-1].tolist() == [-2048, 2047]


@pytest.mark.parametrize(("units", "lanes", "bits"), [(8, 4, 4), (8, 1, 3), (64, 64, 3)])
def test_the_pipeline_never_stalls_its_readout(units, lanes, bits):
    """Blocks that come as fast as they can be taken leave at a beat a cycle."""
    description = small(network={"hidden": [units]}, array={"lanes": lanes}, adc={"bits": bits})
    shape = description.layers[0]
    program = random_program(description, 0).layers[0]
    codes = torch.zeros(2, shape.gates, shape.units, dtype=torch.long)
    _, _, cycles = run(description, codes, [2], program, None)
    beats = shape.lanes // shape.units_per_beat
    assert cycles[beats] - cycles[0] == max(beats, shape.gates)
    assert all(b - a == 1 for a, b in pairwise(cycles[:beats]))
