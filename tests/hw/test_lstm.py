"""The gate pipeline alone, against golden.cells.lstm, and every entry of its tables."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from golden.gates import pre_activation
from hw import timing
from tests.helpers import (
    FEW_ENTRIES,
    descriptions,
    examples,
    random_program,
    run_gates,
    small,
)


def run(description, codes, lengths, program, seed):
    """h and c (steps, units) of steps' codes (steps, gates, units), and the cycles of h."""
    h, traces = run_gates(description, codes, lengths, program, seed)
    c = torch.tensor([[int(v) for v in trace.c] for _, trace in traces])
    return h, c.reshape(len(codes), -1)[:, : h.shape[1]], [cycle for cycle, _ in traces]


def expected(description, codes, lengths, program):
    hs, cs = [], []
    for sequence in codes.split(lengths):
        c = torch.zeros(1, codes.shape[2], dtype=torch.long)
        for step in sequence:
            index = pre_activation(step[None], program.bias, description.layers[0])
            c, h, _ = description.cell.step(index, c, program, description.layers[0])
            hs.append(h[0])
            cs.append(c[0])
    return torch.stack(hs), torch.stack(cs)


@examples(25)
@given(
    descriptions(kind="lstm"),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(0, 99),
    st.booleans(),
)
def test_gates_are_golden(description, lengths, seed, stall):
    shape = description.layers[0]
    program = random_program(description, seed).layers[0]
    low, high = shape.code_range
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
    program.tables["tanh_table"].copy_(torch.randint(-127, 128, (256,), generator=generator))
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
    description = small(
        network={"hidden": [units]},
        array={"lanes": lanes, "units_per_beat": 8 if lanes > 4 else 0},
        adc={"bits": bits},
        cell=FEW_ENTRIES,
    )
    shape = description.layers[0]
    program = random_program(description, 0).layers[0]
    codes = torch.zeros(2, shape.gates, shape.units, dtype=torch.long)
    _, _, cycles = run(description, codes, [2], program, None)
    beats = shape.lanes // timing.units_per_beat(shape)
    assert cycles[beats] - cycles[0] == max(beats, shape.gates)
    assert all(b - a == 1 for a, b in pairwise(cycles[:beats]))
