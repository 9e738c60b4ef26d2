"""A program's numbers as the kernels take them (golden/native.py)."""

import math

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


def cells(
    program: LayerProgram, shape: ArrayShape, in_bytes: bool
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Cells for `run_lanes`, and parameters that go with them.

    in_bytes: Take `quads` if the cells fit.
    """
    parameters = byte_parameters(program, shape) if in_bytes else {}
    if not parameters:
        return {"pairs": pairs(program, shape)}, {}
    return quads(program, shape, parameters), parameters


def pairs(program: LayerProgram, shape: ArrayShape) -> Tensor:
    """g+ - g- of pairs of rows for `run_lanes`, int16.

    Shape (groups of columns, pairs, COLUMNS, 2). Row tiles with an odd number of rows, and the last
    group, are filled up with 0.
    """
    cells = (program.positive - program.negative).detach().to(torch.int16)
    return _by_rows(_grouped(cells, shape), shape, 2)


def byte_parameters(program: LayerProgram, shape: ArrayShape) -> dict[str, int]:
    """Parameters of `run_lanes` for cells in bytes; empty if the cells do not fit.

    They fit if every g+ - g- is a multiple of one number by at most 127, as with equally spaced
    levels without errors.
    """
    dac = shape.description.dac
    cells = (program.positive - program.negative).detach().to(torch.int32)
    sizes = torch.bincount(cells.abs().flatten()).nonzero().flatten().tolist()
    unit = math.gcd(*sizes) or 1
    offset = -dac.range.low if dac.planes == 1 else 1
    in_words = (2**15 - 1) // max(1, 4 * offset * (sizes[-1] // unit))
    if sizes[-1] // unit > 127 or offset > 127 or not in_words:
        return {}
    return {"cell_unit": unit, "row_offset": offset, "in_words": in_words}


def quads(
    program: LayerProgram, shape: ArrayShape, parameters: dict[str, int]
) -> dict[str, Tensor]:
    """Cells of quads of rows for `run_lanes`, in bytes. parameters: Those of `byte_parameters`."""
    cells = (program.positive - program.negative).detach().to(torch.float32)
    # Faster than a division of integers, and as exact: quotients are integers up to 127.
    grouped = _grouped((cells * (1 / parameters["cell_unit"])).round_().to(torch.int8), shape)
    sums = [grouped[..., tile].sum(2, dtype=torch.int32) for tile in shape.row_slices]
    start = -parameters["row_offset"] * torch.stack(sums, 1).contiguous()
    return {"quads": _by_rows(grouped, shape, 4), "quad_start": start}


def _grouped(cells: Tensor, shape: ArrayShape) -> Tensor:
    """Cells (gates, units, rows) as (groups of columns, COLUMNS, rows)."""
    if shape.gates > 1:
        return cells.transpose(0, 1)
    missing = -shape.units % COLUMNS
    units = torch.cat([cells[0], cells.new_zeros(missing, shape.rows)])
    return units.unflatten(0, (-1, COLUMNS))


def _by_rows(grouped: Tensor, shape: ArrayShape, each: int) -> Tensor:
    """`_grouped` cells as (groups of columns, parts of `each` rows, COLUMNS, each)."""
    parts = []
    for tile in shape.row_slices:
        part = grouped[..., tile]
        part = torch.cat([part, part.new_zeros(*part.shape[:2], -part.shape[2] % each)], 2)
        parts.append(part.unflatten(2, (-1, each)).transpose(1, 2))
    return torch.cat(parts, 1).contiguous()


def blocks(program: LayerProgram, shape: ArrayShape) -> tuple[Tensor, list[int], int]:
    """g+ and g- in the order of the kernel `multiply`, uint8.

    Returns them, the padded number of rows of each row tile, and the padded number of columns.
    """
    columns = shape.gates * shape.units
    width = -(-columns // 32) * 32
    depths = [-(-len(tile) // 64) * 64 for tile in shape.row_tiles]
    parts = []
    for tile, depth in zip(shape.row_slices, depths, strict=True):
        cells = torch.zeros(2, width, depth, dtype=torch.uint8)
        for device, codes in enumerate((program.positive, program.negative)):
            part = codes.detach().flatten(0, 1)[:, tile]
            cells[device, :columns, : part.shape[1]] = part
        # An AMX tile has 16 lines; each holds 4 consecutive rows for each of 16 columns.
        split = cells.view(2, width // 16, 16, depth // 64, 16, 4)
        parts.append(split.permute(0, 1, 3, 4, 2, 5).flatten())
    return torch.cat(parts), depths, width


def constants(program: LayerProgram, shape: ArrayShape) -> dict[str, int]:
    """Parameters of the description, and of noise."""
    description, index = shape.description, shape.index_range
    cell, of_adc, of_dac = description.cell, description.adc.range, description.dac.range
    return {
        "gates": shape.gates,
        "units": shape.units,
        "entries": 2**shape.index_bits,
        "tiles": len(shape.row_tiles),
        "planes": description.dac.planes,
        "adc_shift": shape.adc_shift,
        "adc_low": of_adc.low,
        "adc_high": of_adc.high,
        "frac": cell.frac,
        "index_low": index.low,
        "index_high": index.high,
        "hidden_shift": description.hidden_shift,
        "dac_low": of_dac.low,
        "dac_high": of_dac.high,
        "bipolar": description.dac.bits == 1,
        "lstm": cell.kernel == "lstm",
        "noisy": bool(program.read_noise.any()) or bool(program.adc_noise),
        "adc_noise": int(program.adc_noise),
        "error_shift": noise.LSB_SHIFT - shape.adc_shift,
        **cell.kernel_fields(),
    }


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
