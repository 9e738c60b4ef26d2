"""Codes of weights by compiled kernels against the readable form; cells packed for the lanes."""

import shutil

import pytest
import torch

from golden import kernel_inputs, native
from golden.crossbar import nearest_level, pair
from golden.training import cells
from golden.training.quantised import over_rows
from tests.helpers import random_program, small

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

TABLES = {
    "equal": range(-224, 225, 32),
    "uneven, with its highest level several times": (-250, -90, -3, 0, 1, 40, 200, 200, 200),
    "two": (-7, 200),
    "fine": range(-255, 256),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "sections",
    [
        {"network": {"inputs": 5, "hidden": [7]}},
        {"network": {"inputs": 300, "hidden": [3]}, "cell": {"kind": "rnn"}},
        {"network": {"inputs": 9, "hidden": [7]}, "array": {"rows": 5}},
    ],
)
def test_codes_and_gradients_are_those_of_the_readable_form(table, sections):
    shape = small(**sections).layers[0]
    levels = torch.tensor(list(TABLES[table])).double()
    torch.manual_seed(len(levels))
    size = (shape.gates, shape.units, shape.rows)
    row_step = torch.rand(shape.rows).double() + 0.1
    log_unit = (torch.rand(len(shape.row_tiles), shape.gates).double() - 3).requires_grad_()
    weight = (torch.randn(size).double() * 10).requires_grad_()
    with torch.no_grad():  # some exactly half-way between levels, at their ends, and beyond
        row_step[0] = 0.5
        unit = over_rows(log_unit.exp(), shape)[:, :, 0]
        between = torch.cat([levels[1:] + levels[:-1], 2 * levels[[0, -1]], 3 * levels[[0, -1]]])
        weight[:, :, 0] = between[torch.randint(len(between), size[:2])] * unit
        weight[0, 0, 0] = torch.nan
    found = []
    for way in (True, False):
        unit, weight.grad, log_unit.grad = log_unit.exp(), None, None
        if way:
            codes = cells.codes(weight, row_step, unit, levels, shape)
        else:
            codes = pair(nearest_level(weight * row_step / over_rows(unit, shape), levels))
        torch.manual_seed(1)
        sum((side * torch.randn(size)).sum() for side in codes).backward()
        found.append((*codes, weight.grad, log_unit.grad))
    quick, plain = found
    for a, b in zip(quick[:2], plain[:2], strict=True):
        assert torch.equal(a, b)
    assert (quick[0] > 0).any() and (quick[1] > 0).any() and (weight.grad != 0).any()
    assert torch.equal(weight.grad == 0, quick[2] == 0)
    for a, b in zip(quick[2:], plain[2:], strict=True):
        assert torch.allclose(a, b, rtol=1e-11, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", ["lstm", "rnn"])
@pytest.mark.parametrize(("units", "rows"), [(5, 256), (8, 5), (3, 4)])
@pytest.mark.parametrize("in_bytes", [True, False])
def test_packed_cells_are_in_the_order_of_the_lanes(kind, units, rows, in_bytes):
    """Each cell at its group, part of rows, column and row, written out by index."""
    sections = {"network": {"inputs": 6, "hidden": [units]}, "array": {"rows": rows}}
    description = small(cell={"kind": kind}, **sections)
    (shape,), (part,) = description.layers, random_program(description, units).layers
    part.positive.remainder_(8).mul_(36)
    part.negative.zero_()
    part.positive[0, 0, 0] = 36
    tensors, parameters = kernel_inputs.cells(part, shape, in_bytes)
    each, divisor = (4, 36) if in_bytes else (2, 1)
    packed = tensors["quads" if in_bytes else "pairs"]
    assert packed.shape[2:] == (4, each) and (parameters.get("cell_unit") == 36) == in_bytes
    cells_ = (part.positive - part.negative).flatten(0, 1) // divisor
    wanted = torch.zeros_like(packed)
    sums = torch.zeros(packed.shape[0], len(shape.row_tiles), 4, dtype=torch.int32)
    for column in range(shape.gates * units):
        group, slot = (column % units, column // units) if kind == "lstm" else divmod(column, 4)
        first = 0
        for number, tile in enumerate(shape.row_tiles):
            for k, row in enumerate(tile):
                wanted[group, first + k // each, slot, k % each] = cells_[column, row]
                sums[group, number, slot] += cells_[column, row]
            first += -(-len(tile) // each)
    assert torch.equal(packed, wanted)
    if in_bytes:
        assert torch.equal(tensors["quad_start"], -parameters["row_offset"] * sums)


def test_kernels_are_for_float64_on_a_cpu(monkeypatch):
    weight = torch.zeros(1, 1, 1).double()
    assert cells.usable(weight) and not cells.usable(weight.float())
    monkeypatch.setattr(native, "library", lambda: None)
    assert not cells.usable(weight)
