"""Numbers of an array by compiled kernels against the readable form; cells packed for the lanes."""

import math
import shutil

import pytest
import torch

from golden import kernel_inputs, native
from golden.levels import Table
from golden.training import cells
from golden.training.quantised import TrainableArray, over_rows
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
        {
            "network": {"inputs": 4, "hidden": [3]},
            "cell": {"kind": "rnn", "activation": "relu"},
            "adc": {"bits": 6},
        },
    ],
)
def test_numbers_and_gradients_are_those_of_the_readable_form(table, sections):
    """Some weights exactly half-way between levels, at their ends, and beyond; gains and biases
    that saturate; tables that do."""
    shape = small(**sections).layers[0]
    levels = torch.tensor(list(TABLES[table])).double()
    torch.manual_seed(len(levels))
    size, row_step = (shape.gates, shape.units, shape.rows), torch.rand(shape.rows).double() + 0.1
    row_step[0] = 0.5
    log_unit = torch.rand(len(shape.row_tiles), shape.gates).double() - 3
    unit = over_rows(log_unit.exp(), shape)[:, :, 0]
    between = torch.cat([levels[1:] + levels[:-1], 2 * levels[[0, -1]], 3 * levels[[0, -1]]])
    weight = torch.randn(size).double() * 10
    weight[:, :, 0] = between[torch.randint(len(between), size[:2])] * unit
    if shape.gates > 1:  # a gate of its own: it has no other gradient than NaN
        weight[0, 0, 0] = torch.nan
    array = TrainableArray(
        *(torch.ones(size).double(), row_step, 3 * torch.randn(size[:2]).double()),
        *(torch.ones(shape.gates).double(), shape, Table((-1, 1), 2.5)),
    )
    array.register_buffer("levels", levels)
    with torch.no_grad():
        array.weight.copy_(weight)
        array.log_unit.copy_(log_unit)
        gains = torch.tensor([20.4, 300.0, 0.1, 1e6]).double()[: shape.gates]
        array.log_lsb.copy_(log_unit[0] + math.log(2**shape.adc_shift) - gains.log())
        array.bias[:, 0] *= 1e6
    found = []
    for way in (array._compiled, array.readable):
        numbers = way(with_tables=True)
        torch.manual_seed(1)
        array.zero_grad()
        sum((own * torch.randn(own.shape)).sum() for own in numbers.values()).backward()
        found.append((numbers, {name: p.grad for name, p in array.named_parameters()}))
    (quick, gradients), (plain, wanted) = found
    assert quick.keys() == plain.keys() and gradients.keys() == wanted.keys()
    assert all(torch.equal(quick[name], plain[name]) for name in plain)
    assert (quick["positive"] > 0).any() and (quick["negative"] > 0).any()
    assert 20 in plain["gain"] and (shape.gates == 1 or 1 in plain["gain"])
    for name, gradient in wanted.items():
        least = 1e-12 * float(gradient.nan_to_num().abs().max())
        assert torch.allclose(gradients[name], gradient, 1e-10, least, equal_nan=True), name
        assert torch.equal(gradients[name] == 0, gradient == 0), name


@pytest.mark.parametrize("side", ["positive", "negative"])
def test_gradients_of_one_device_alone(side):
    shape = small().layers[0]
    size = (shape.gates, shape.units, shape.rows)
    ones = (torch.ones(own).double() for own in (shape.rows, size[:2], shape.gates))
    array = TrainableArray(torch.randn(size).double(), *ones, shape, Table((-255, 0, 255), 2.5))
    found = []
    for way in (array._compiled, array.readable):
        array.zero_grad()
        way(with_tables=False)[side].sum().backward()
        found.append([p.grad for p in (array.weight, array.log_unit)])
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-10) and a.isfinite().all()


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
    tensors, parameters = kernel_inputs.cells(kernel_inputs.differential(part), shape, in_bytes)
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
