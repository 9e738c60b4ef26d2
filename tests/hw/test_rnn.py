"""The RNN's gate pipeline alone, against golden.cells.rnn, and every entry of its table."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from golden.gates import pre_activation
from golden.ranges import ceil_div
from hw import timing
from hw.rnn import RnnGates
from tests.helpers import (
    descriptions,
    examples,
    gates_loader,
    random_program,
    receiver,
    recorder,
    run_gates,
    sender,
    simulate,
    small,
)


def expected(description, codes, program):
    shape = description.layers[0]
    index = pre_activation(codes, program.bias, shape)
    return description.cell.step(index, codes[:, 0], program, shape).h


@examples(25)
@given(descriptions(kind="rnn"), st.integers(1, 5), st.integers(0, 99), st.booleans())
def test_gates_are_golden(description, steps, seed, stall):
    shape = description.layers[0]
    program = random_program(description, seed).layers[0]
    low, high = shape.code_range
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(low, high + 1, (steps, 1, shape.units), generator=generator)
    h, _ = run_gates(description, codes, [steps], program, seed if stall else None)
    assert torch.equal(h, expected(description, codes, program))


def test_every_table_entry_is_used_exactly():
    description = small(
        network={"inputs": 1, "hidden": [64]}, cell={"kind": "rnn", "frac": 2}, array={"lanes": 4}
    )
    program = random_program(description, 0).layers[0]
    generator = torch.Generator().manual_seed(1)
    program.gate_tables.copy_(torch.randint(-127, 128, (1, 64), generator=generator))
    # A bias of its own for each unit walks code 0 through all 64 indices.
    program.bias.copy_(torch.arange(-32, 32)[None])
    codes = torch.zeros(2, 1, 64, dtype=torch.long)
    h, traces = run_gates(description, codes, [2], program, None)
    assert torch.equal(h, expected(description, codes, program))
    assert len(traces) == 128


def test_latency():
    description = small(
        network={"hidden": [4]}, array={"lanes": 4, "units_per_beat": 1}, cell={"kind": "rnn"}
    )
    shape = description.layers[0]
    dut = RnnGates(shape)
    taken: list = []
    h: list = []

    async def host(ctx):
        await gates_loader(dut, random_program(description, 0).layers[0], shape)(ctx)
        await sender(dut.i, [{"codes": [1, 2, 3, 4], "first": 1, "last": 1}])(ctx)

    beats = ceil_div(shape.units, timing.units_per_beat(shape))
    simulate(
        dut,
        host,
        receiver(dut.o, beats, []),
        watchers=[
            recorder(dut.i.valid & dut.i.ready, dut.i.payload.first, taken),
            recorder(dut.trace_valid, dut.trace, h),
        ],
    )
    assert h[0][0] - taken[0][0] == dut.latency
    assert [b[0] - a[0] for a, b in pairwise(h)] == [1] * (beats - 1) and beats > 1
