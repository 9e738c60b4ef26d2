"""Resources of a network: crossbars, converters, memories and cycles. Builds nothing."""

from dataclasses import dataclass

from golden.description import Description
from golden.geometry import ArrayShape
from hw import timing


@dataclass(frozen=True)
class ArrayNeeds:
    """Resources of a layer or of the head.

    crossbars: (row tiles, column tiles).
    size: (rows, columns) of each crossbar.
    cells: Pairs of devices in all crossbars.
    used: Pairs of devices that hold a weight.
    adcs: Number of ADCs, which convert in parallel.
    comparators: Comparators of all ADCs; a flash ADC has 2^bits - 1.
    code_bits: Width of a column's code, the sum of its conversions.
    memory_bits: Bits of tables, biases and c.
    conversion_cycles: Cycles of the ADCs per step.
    cycles: Cycles per step; of the head: per output.
    bound: What limits the cycles, as text.
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
    """Resources of every array, the head last."""
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
    """Bits of tables, biases and c."""
    cell, bits = shape.description.cell, shape.gates * shape.units * shape.index_bits
    if name == "head":
        return bits
    bits += shape.gates * 2**shape.index_bits * cell.table_bits
    for table in cell.tables:
        bits += table.index.size * table.entries.bits
    if cell.state_range is not None:
        bits += shape.units * cell.state_range.bits
    return bits
