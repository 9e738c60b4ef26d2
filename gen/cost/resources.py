"""What a network needs in hardware: crossbars, converters, memories and cycles. Builds nothing."""

from dataclasses import dataclass

from golden.description import Description
from golden.geometry import ArrayShape
from hw import timing


@dataclass(frozen=True)
class ArrayNeeds:
    """Of a layer or the head.

    crossbars: (row tiles, column tiles), each of `size` (rows, columns). cells: of all crossbars,
    pairs of devices; used: how many of them hold a weight. adcs: at work at once; comparators: of
    all of them, 2^bits - 1 in a flash ADC. code_bits: of the sum of a column's conversions.
    memory_bits: of tables, biases and c. conversion_cycles: what the ADCs need for a step. cycles:
    what the step costs; bound: what bounds it, in words.
    """

    name: str
    crossbars: tuple[int, int]
    size: tuple[int, int]
    cells: int
    used: int
    adcs: int
    comparators: int
    code_bits: int
    memory_bits: int
    conversion_cycles: int
    cycles: int
    bound: str


def needs(description: Description) -> tuple[ArrayNeeds, ...]:
    """Of every array, a head's last."""
    numbers = range(len(description.layers))
    steps = [
        (timing.step_cycles(description, n), timing.step_bound(description, n)) for n in numbers
    ]
    if description.network.classes:
        steps.append((timing.output_cycles(description), timing.output_bound(description)))
    return tuple(
        _needs(name, shape, *step)
        for (name, shape), step in zip(description.arrays.items(), steps, strict=True)
    )


def _needs(name: str, shape: ArrayShape, cycles: int, bound: str) -> ArrayNeeds:
    macro, adc = shape.macro, shape.description.adc
    adcs = len(shape.row_tiles) * shape.lanes
    size = macro.rows, macro.selects * macro.lanes
    return ArrayNeeds(
        name=name,
        crossbars=(len(shape.row_tiles), shape.column_tiles),
        size=size,
        cells=shape.macros * size[0] * size[1],
        used=shape.rows * shape.units * shape.gates,
        adcs=adcs,
        comparators=adcs * (2**adc.bits - 1 if adc.kind == "flash" else 1),
        code_bits=shape.code_bits,
        memory_bits=_memory_bits(name, shape),
        conversion_cycles=timing.conversion_cycles(shape),
        cycles=cycles,
        bound=bound,
    )


def _memory_bits(name: str, shape: ArrayShape) -> int:
    """Tables, biases, and c."""
    cell, bits = shape.description.cell, shape.gates * shape.units * shape.index_bits
    if name == "head":
        return bits
    bits += shape.gates * 2**shape.index_bits * cell.table_bits
    for table in cell.tables:
        bits += table.index.size * table.entries.bits
    if cell.state_range is not None:
        bits += shape.units * cell.state_range.bits
    return bits
