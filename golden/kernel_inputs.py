"""A program's numbers as the kernels take them (golden/native.py)."""

import torch
from torch import Tensor

from golden import adc, noise
from golden.geometry import ArrayShape
from golden.program import LayerProgram

COLUMNS = 4
"""Columns that `run_lanes` computes at once: the gates of a unit, or units with one gate."""


def fit_lanes(shape: ArrayShape) -> bool:
    """Whether the kernel `run_lanes` (golden/lanes.cpp) can hold a layer's numbers.

    It holds codes, entries of tables and c in 16 bits, and indices in 32.
    """
    cell = shape.description.cell
    ranges = [*cell.table_ranges, *(table.entries for table in cell.tables)]
    ranges += [cell.state_range] if cell.state_range is not None else []
    return max(shape.code_bits, *(own.bits for own in ranges)) <= 16 and shape.index_bits <= 24


def pairs(program: LayerProgram, shape: ArrayShape) -> Tensor:
    """g+ - g- of pairs of rows for `run_lanes`, int16.

    Shape (groups of columns, pairs, COLUMNS, 2). Row tiles with an odd number of rows, and the last
    group, are filled up with 0.
    """
    cells = (program.positive - program.negative).detach().to(torch.int16)
    if shape.gates == 1:
        missing = -shape.units % COLUMNS
        units = torch.cat([cells[0], cells.new_zeros(missing, shape.rows)])
        grouped = units.unflatten(0, (-1, COLUMNS))
    else:
        grouped = cells.transpose(0, 1)
    parts = []
    for tile in shape.row_slices:
        part = grouped[..., tile]
        part = torch.cat([part, part.new_zeros(*part.shape[:2], part.shape[2] % 2)], 2)
        parts.append(part.unflatten(2, (-1, 2)).transpose(1, 2))
    return torch.cat(parts, 1).contiguous()


def numbers(
    program: LayerProgram, shape: ArrayShape, gain: Tensor, bias: Tensor, gate_tables: Tensor
) -> dict[str, Tensor]:
    """Loaded numbers in the kernels' types.

    gain, bias, gate_tables: Those of the program, or what they are computed from with gradients.
    """
    offset = noise.UNIT * program.offset[:, None, adc.lane(shape)]
    words = {
        "read_noise": program.read_noise,
        "offset": offset.expand(-1, shape.gates, -1),
        "gain": gain,
        "bias": bias,
        "gate_tables": gate_tables,
        **program.tables,
    }
    tensors = {name: t.detach().to(torch.int32).contiguous() for name, t in words.items()}
    starts = [0, *(tile.stop for tile in shape.row_tiles)]
    tensors["tile_rows"] = torch.tensor(starts)
    keys, columns = adc.keys_and_columns(program, shape)
    first, second = keys % noise.WORD
    keys = torch.stack([(first + columns * noise.COLUMN) % noise.WORD, second], dim=1)
    tensors["keys"] = keys.to(torch.uint32).contiguous()
    tensors["magnitudes"] = torch.tensor(noise.magnitudes(), dtype=torch.uint8)
    return tensors
