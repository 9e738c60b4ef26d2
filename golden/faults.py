"""Faults in the field: what a chip computes after a part of it has failed, or a bit has flipped.

A permanent fault is a change of the program (`apply`), so golden and the Verilog compute it alike:

- row: the driver of a row is dead; the row carries 0.
- column: a column is open; its charge is 0.
- lane: a readout lane always gives the same code, one drawn from the ADC's range.
- device, device on, device off: one bit of a conductance code flips; a device is stuck.
- table, bias, gain: one bit of a loaded word flips.

A flipped bit of c or h lasts until it is overwritten (`scores_with_flips`).

All draws are uniform, over all arrays or layers together.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from golden import adc, gates, head
from golden.errors import WordlineError
from golden.geometry import ArrayShape
from golden.parameters import OFFSET_BITS
from golden.program import ArrayProgram, LayerProgram, Program
from golden.ranges import Range, signed_range

Changed = dict[str, Any]
"""Changed fields of an array's program."""


def _below(count: int, generator: Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _flipped(values: Tensor, place: tuple[int, ...], bit: int, range_: Range) -> Tensor:
    """A copy with one bit of one value flipped: unsigned, or two's complement, as its range."""
    flipped = values.clone()
    bits = (range_.high - range_.low).bit_length()
    code = (int(values[place]) & (1 << bits) - 1) ^ 1 << bit
    if range_.low < 0 and code >> bits - 1:
        code -= 1 << bits
    flipped[place] = code
    return flipped


def _place(values: Tensor, generator: Generator) -> tuple[int, ...]:
    at, place = _below(values.numel(), generator), list[int]()
    for size in reversed(values.shape):
        at, index = divmod(at, size)
        place.insert(0, index)
    return tuple(place)


def _row(part: ArrayProgram, shape: ArrayShape, generator: Generator) -> Changed:
    row = _below(shape.rows, generator)
    positive, negative = part.positive.clone(), part.negative.clone()
    positive[..., row] = negative[..., row] = 0
    return {"positive": positive, "negative": negative}


def _column(part: ArrayProgram, shape: ArrayShape, generator: Generator) -> Changed:
    gate, unit = _below(shape.gates, generator), _below(shape.units, generator)
    positive, negative = part.positive.clone(), part.negative.clone()
    positive[gate, unit] = negative[gate, unit] = 0
    return {"positive": positive, "negative": negative}


def _lane(part: ArrayProgram, shape: ArrayShape, generator: Generator) -> Changed:
    """Without charge, the offset of a lane, in 1/256 LSB, is its code."""
    lane, codes = _below(shape.lanes, generator), shape.description.adc.range
    if 256 * codes.low < signed_range(OFFSET_BITS).low:
        raise WordlineError(
            f"adc.bits = {shape.description.adc.bits}: an offset cannot hold a lane at one of so "
            f"many codes; choose 4 bits or fewer."
        )
    value = codes.low + _below(codes.high - codes.low + 1, generator)
    own = torch.arange(shape.units) % shape.lanes == lane
    positive, negative, offset = part.positive.clone(), part.negative.clone(), part.offset.clone()
    positive[:, own] = negative[:, own] = 0
    offset[:, lane] = 256 * value
    return {"positive": positive, "negative": negative, "offset": offset}


def _device(part: ArrayProgram, shape: ArrayShape, generator: Generator) -> Changed:
    name = ("positive", "negative")[_below(2, generator)]
    values: Tensor = getattr(part, name)
    bit = _below(shape.description.device.conductance_bits, generator)
    codes = Range(0, shape.description.device.conductance_max)
    return {name: _flipped(values, _place(values, generator), bit, codes)}


def _stuck(on: bool) -> Callable[[ArrayProgram, ArrayShape, Generator], Changed]:
    def stuck(part: ArrayProgram, shape: ArrayShape, generator: Generator) -> Changed:
        name = ("positive", "negative")[_below(2, generator)]
        values = getattr(part, name).clone()
        values[_place(values, generator)] = on * shape.description.device.conductance_max
        return {name: values}

    return stuck


def _bias(part: ArrayProgram, shape: ArrayShape, generator: Generator) -> Changed:
    values: Tensor = part.bias  # type: ignore[attr-defined]
    bit = _below(shape.index_bits, generator)
    return {
        "bias": _flipped(values, _place(values, generator), bit, signed_range(shape.index_bits))
    }


def _gain(part: ArrayProgram, shape: ArrayShape, generator: Generator) -> Changed:
    bits = shape.description.adc.gain_bits
    place = _place(part.gain, generator)
    return {"gain": _flipped(part.gain, place, _below(bits, generator), Range(0, 2**bits - 1))}


def _cells(part: ArrayProgram) -> int:
    return part.positive.numel()


def _entries(part: ArrayProgram) -> int:
    if not isinstance(part, LayerProgram):
        return 0
    return sum(len(values.flatten()) for values in (part.gate_tables, *part.tables.values()))


def _table(part: ArrayProgram, shape: ArrayShape, generator: Generator) -> Changed:
    """Of all tables of a layer, in the bits that its logic reads."""
    assert isinstance(part, LayerProgram)
    cell = shape.description.cell
    place = _place(torch.cat([part.gate_tables.flatten(), *part.tables.values()]), generator)[0]
    gates_, entries = part.gate_tables.shape
    if place < gates_ * entries:
        gate, entry = divmod(place, entries)
        range_ = cell.table_ranges[gate]
        bit = _below((range_.high - range_.low).bit_length(), generator)
        return {"gate_tables": _flipped(part.gate_tables, (gate, entry), bit, range_)}
    place -= gates_ * entries
    for table in cell.tables:
        values = part.tables[table.name]
        if place < len(values):
            range_ = table.entries
            bit = _below((range_.high - range_.low).bit_length(), generator)
            flipped = _flipped(values, (place,), bit, range_)
            return {"tables": part.tables | {table.name: flipped}}
        place -= len(values)
    raise AssertionError


def _table_bits(part: ArrayProgram, shape: ArrayShape) -> int:
    if not isinstance(part, LayerProgram):
        return 0
    cell = shape.description.cell
    gates_ = len(part.gate_tables[0]) * sum(range_.bits for range_ in cell.table_ranges)
    return gates_ + sum(len(part.tables[t.name]) * t.entries.bits for t in cell.tables)


Fault = Callable[[ArrayProgram, ArrayShape, Generator], Changed]
Count = Callable[[ArrayProgram, ArrayShape], int]

FAULTS: dict[str, tuple[Fault, Count]] = {
    "row": (_row, lambda _, shape: shape.rows),
    "column": (_column, lambda _, shape: shape.units * shape.gates),
    "lane": (_lane, lambda _, shape: shape.lanes),
    "device on": (_stuck(True), lambda part, _: _cells(part)),
    "device off": (_stuck(False), lambda part, _: _cells(part)),
    "device": (_device, lambda part, _: _cells(part)),
    "table": (_table, lambda part, _: _entries(part)),
    "bias": (_bias, lambda part, _: part.bias.numel()),  # type: ignore[attr-defined]
    "gain": (_gain, lambda part, _: part.gain.numel()),
}
"""Permanent faults by kind: the change of an array's program, and the number of places for it."""

SEVERAL: dict[str, Count] = {
    "device on": lambda part, _: 2 * _cells(part),
    "device off": lambda part, _: 2 * _cells(part),
    "device": lambda part, shape: 2 * _cells(part) * shape.description.device.conductance_bits,
    "table": _table_bits,
    "bias": lambda part, shape: part.bias.numel() * shape.index_bits,  # type: ignore[attr-defined]
    "gain": lambda part, shape: part.gain.numel() * shape.description.adc.gain_bits,
}
"""Number of faults of the kinds of which a place can have several: devices of a pair, bits."""


def _arrays(program: Program) -> list[tuple[str, ArrayProgram, ArrayShape]]:
    shapes = program.description.arrays
    return [(name, part, shapes[name]) for name, part in program.arrays.items()]


def possible(program: Program, kind: str) -> dict[str, int]:
    """How many faults of a kind in FAULTS there can be, by array: parts, devices or bits."""
    count = SEVERAL.get(kind, FAULTS[kind][1])
    return {name: count(part, shape) for name, part, shape in _arrays(program)}


def apply(program: Program, kind: str, generator: Generator) -> Program:
    """The chip of `drawn`."""
    return drawn(program, kind, generator)[1]


def drawn(program: Program, kind: str, generator: Generator) -> tuple[str, Program]:
    """A program's chip with one fault of a kind in FAULTS, drawn from all places in all arrays, and
    the name of the array that has it.

    Raises WordlineError if the ADC of a lane has more than 4 bits.
    """
    fault, count = FAULTS[kind]
    found = _arrays(program)
    counts = [count(part, shape) for _, part, shape in found]
    place = _below(sum(counts), generator)
    number = next(n for n in range(len(counts)) if place < sum(counts[: n + 1]))
    name, part, shape = found[number]
    changed: Any = dataclasses.replace(part, **fault(part, shape, generator))
    if number == len(program.layers):
        return name, dataclasses.replace(program, head=changed)
    layers = (*program.layers[:number], changed, *program.layers[number + 1 :])
    return name, dataclasses.replace(program, layers=layers)


def generator(seed: int, purpose: str) -> Generator:
    """Generator of a purpose's draws: one does not change those of another."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@dataclass(frozen=True)
class Flips:
    """One flipped bit of the state in each sequence.

    of: "c" or "h".
    layer: Number of the layer.
    unit, step, bit: Of each sequence, shape (batch,): the bit flips after that step. So a flip of h
        acts on the next step, and after the last step on the head; one of c only on the next step.
    """

    of: str
    layer: int
    unit: Tensor
    step: Tensor
    bit: Tensor

    @classmethod
    def draw(cls, program: Program, of: str, lengths: Tensor, generator: Generator) -> "Flips":
        """Draw a layer for all sequences, and each one's unit, bit and step, of those that act."""
        description = program.description
        layer = _below(len(description.layers), generator)
        steps = lengths - 1 if of == "c" else lengths

        def each(count: int | Tensor) -> Tensor:
            drawn = torch.rand(len(lengths), generator=generator, dtype=torch.float64)
            return (drawn * count).long()

        bits = _state_bits(program, of)
        return cls(of, layer, each(description.layers[layer].units), each(steps), each(bits))


def _state_bits(program: Program, of: str) -> int:
    description = program.description
    range_ = description.dac.range if of == "h" else description.cell.state_range
    assert range_ is not None, "the cell has no c"
    return (range_.high - range_.low).bit_length()


def scores_with_flips(program: Program, x: Tensor, lengths: Tensor, flips: Flips) -> Tensor:
    """Scores (batch, classes) of sequences in each of which one bit of the state flips.

    The program has a head that scores the last step, and one vote. A pattern of h that is no DAC
    code, the lowest one, counts as the code next to it.

    x: DAC codes, shape (batch, steps, inputs).
    """
    description = program.description
    x, runs = x.to(torch.int64), torch.arange(len(x))
    for n, (part, shape) in enumerate(zip(program.layers, description.layers, strict=True)):
        h = torch.full((len(x), shape.units), description.dac.zero)
        c, found = torch.zeros_like(h), []
        for t in range(x.shape[1]):
            codes = adc.codes(torch.cat([x[:, t], h], 1), part, shape, runs, t)
            index = gates.pre_activation(codes, part.bias, shape)
            c, h, _ = description.cell.step(index, c, part, shape)
            if n == flips.layer:
                own = (flips.step == t).nonzero().flatten()
                state = c if flips.of == "c" else h
                _flip(state, own, flips, _state_bits(program, flips.of))
                h = h.clamp(description.dac.range.low, description.dac.range.high)
            found.append(h)
        x = torch.stack(found, 1)
    assert program.head is not None
    last = x[torch.arange(len(x)), lengths - 1]
    return head.scores(program.head, last, description.head, runs)


def _flip(state: Tensor, own: Tensor, flips: Flips, bits: int) -> None:
    """Flip a bit of a state (batch, units) in some sequences, in place."""
    place = own, flips.unit[own]
    code = (state[place] & (1 << bits) - 1) ^ 1 << flips.bit[own]
    state[place] = torch.where(code >> bits - 1 > 0, code - (1 << bits), code)
