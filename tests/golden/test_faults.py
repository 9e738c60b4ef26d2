"""Faults are what they say: where they are, that they are one, and what they do."""

import dataclasses

import pytest
import torch

from golden import adc, faults, network
from golden.errors import WordlineError
from tests.helpers import random_codes, random_program, small

DESIGN = small(
    name="faults",
    network={"inputs": 3, "hidden": [5, 6], "classes": 4},
    array={"rows": 8, "lanes": 3, "columns": 16},
)
LENGTHS = torch.tensor([4, 1, 6, 3])
WORDS = {"device": ("positive", "negative"), "table": ("gate_tables", "tanh_table")}


def tensors(program):
    return {name: t for name, t in program.tensors().items() if not t.is_floating_point()}


def changes(before, after):
    """Places of the changed values by tensor."""
    then, now = tensors(before), tensors(after)
    assert all(then[name].shape == now[name].shape for name in then)
    found = {name: (then[name] != now[name]).nonzero() for name in then}
    return {name: places for name, places in found.items() if len(places)}


def test_how_many_faults_there_can_be():
    program, found = random_program(DESIGN, 0), {}
    for kind in faults.FAULTS:
        found[kind] = faults.possible(program, kind)
        assert list(found[kind]) == ["layers.0", "layers.1", "head"]
    assert found["row"] == {"layers.0": 8, "layers.1": 11, "head": 6}
    assert found["column"] == {"layers.0": 20, "layers.1": 24, "head": 4}
    # Three lanes a column tile, of up to 16 columns.
    assert found["lane"] == {"layers.0": 6, "layers.1": 6, "head": 3}
    cells = 8 * 20, 11 * 24, 6 * 4
    bits = DESIGN.device.conductance_bits
    assert list(found["device"].values()) == [2 * count * bits for count in cells]
    assert list(found["device on"].values()) == [2 * count for count in cells]
    for n, (name, shape) in enumerate(DESIGN.arrays.items()):
        assert found["bias"][name] == shape.gates * shape.units * shape.index_bits
        tiles = (1, 2, 1)[n]  # rows of up to 8
        assert found["gain"][name] == tiles * shape.gates * DESIGN.adc.gain_bits
    # An entry of a gate's table for each sum, and those of tanh(c).
    assert found["table"]["head"] == 0
    flat = [*program.layers[0].gate_tables, program.layers[0].tables["tanh_table"]]
    ranges = [*DESIGN.cell.table_ranges, DESIGN.cell.tables[0].entries]
    exact = sum(
        len(values) * (range_.high - range_.low).bit_length()
        for values, range_ in zip(flat, ranges, strict=True)
    )
    assert found["table"]["layers.0"] == exact


@pytest.mark.parametrize("kind", faults.FAULTS)
def test_one_fault_in_its_place(kind):
    program = random_program(DESIGN, 0)
    arrays, seen = DESIGN.arrays, set()
    for n in range(40):
        array, chip = faults.drawn(program, kind, faults.generator(n, kind))
        again = faults.apply(program, kind, faults.generator(n, kind))
        assert not changes(chip, again)
        found = changes(program, chip)
        names = {name.rpartition(".")[0] for name in found}
        assert len(names) <= 1  # a row may be 0 already, a device where it is stuck
        if not found:
            continue
        (name,) = names
        assert name == array
        shape = arrays[name]
        seen |= {name}
        fields = {name.rpartition(".")[2]: places for name, places in found.items()}
        part = chip.arrays[name]
        if kind in ("device", "table", "bias", "gain"):
            ((field, (place,)),) = fields.items()
            assert field in WORDS.get(kind, (kind,))
            old, new = (int(a.arrays[name].tensors()[field][tuple(place)]) for a in (program, chip))
            difference = old ^ new
            if (old < 0) != (new < 0):  # the sign
                assert abs(old - new) & abs(old - new) - 1 == 0
            else:
                assert difference & difference - 1 == 0
        elif kind.startswith("device"):
            ((field, (place,)),) = fields.items()
            most = DESIGN.device.conductance_max
            assert int(part.tensors()[field][tuple(place)]) == (most if "on" in kind else 0)
        elif kind == "row":
            (row,) = {int(place[2]) for places in fields.values() for place in places}
            assert not part.positive[..., row].any() and not part.negative[..., row].any()
        elif kind == "column":
            cells = {tuple(p[:2].tolist()) for field in fields for p in fields[field]}
            ((gate, unit),) = cells
            assert not part.positive[gate, unit].any() and not part.negative[gate, unit].any()
        else:
            rows = torch.randint(
                -7, 8, (20, shape.rows), generator=torch.Generator().manual_seed(n)
            )
            was, now = (
                adc.codes(rows, a.arrays[name], shape, torch.arange(20), 0) for a in (program, chip)
            )
            other = (was != now).any(0).any(0).nonzero().flatten()
            if not len(other):
                continue  # all had this code before
            (lane,) = {int(unit) % shape.lanes for unit in other}
            own = torch.arange(shape.units) % shape.lanes == lane
            assert len(now[..., own].unique()) == 1  # the sum of equal codes of its tiles
            assert torch.equal(was[..., ~own], now[..., ~own])
    assert seen == ({"layers.0", "layers.1"} if kind == "table" else {*arrays})


def test_a_lane_of_many_bits_has_no_such_offset():
    with pytest.raises(WordlineError, match=r"adc\.bits = 6"):
        faults.apply(random_program(DESIGN.replace(adc={"bits": 6}), 0), "lane", torch.Generator())


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_flips(cell):
    description = DESIGN.replace(cell={"kind": cell, "frac": 2})
    program = random_program(description, 1, noisy=True)
    x = random_codes(description, 1, len(LENGTHS), 6, 3)
    clean = network.scores(program, x, LENGTHS)[:, 0]
    for of in ("c", "h") if cell == "lstm" else ("h",):
        drawn = [
            faults.Flips.draw(program, of, LENGTHS, faults.generator(n, of)) for n in range(100)
        ]
        assert {flips.layer for flips in drawn} == {0, 1}
        step = torch.stack([flips.step for flips in drawn])
        assert step.min() == 0
        last = LENGTHS - (2 if of == "c" else 1)
        assert torch.equal(step.amax(0), last.clamp(min=0))
        differ = 0
        for flips in drawn[:8]:
            none = dataclasses.replace(flips, step=torch.full_like(LENGTHS, 99))
            assert torch.equal(faults.scores_with_flips(program, x, LENGTHS, none), clean)
            found = faults.scores_with_flips(program, x, LENGTHS, flips)
            differ += int((found != clean).any(1).sum())
        assert differ > 1


def test_a_flip_of_h_acts_on_the_step_after_it():
    """And only there: with h of one step flipped by hand, as a step from there."""
    description = DESIGN.replace(network={"hidden": [5]})
    program = random_program(description, 2)
    x = random_codes(description, 2, 1, 3, 3)
    flips = faults.Flips("h", 0, *(torch.tensor([n]) for n in (2, 2, 0)))
    lengths = torch.tensor([3])
    found = faults.scores_with_flips(program, x, lengths, flips)
    trace = network.run(program, x, lengths)
    h = trace.layers[0].h[:, 2].long().clone()
    h[0, 2] ^= 1  # the lowest bit, as the last step has it
    h.clamp_(-7, 7)
    wanted = network.head.scores(program.head, h, description.head, torch.zeros(1, dtype=int))
    assert torch.equal(found, wanted)
    assert not torch.equal(found, trace.scores)
