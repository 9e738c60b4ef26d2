"""A program's numbers as the kernels take them (golden/native.py)."""

from functools import lru_cache

import torch
from torch import Tensor

from golden import adc, native, noise
from golden.geometry import ArrayShape
from golden.program import ArrayProgram, LayerProgram

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
    differential: Tensor, shape: ArrayShape, in_bytes: bool
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Cells for `run_lanes`, and parameters that go with them.

    differential: As `differential` returns it.
    in_bytes: Take bytes if the cells fit.

    Returns either "pairs", g+ - g- of pairs of rows, int16, shape (groups of columns, pairs,
    COLUMNS, 2); or "quads", their quotients by `cell_unit`, int8, shape (groups of columns, quads,
    COLUMNS, 4), and "quad_start". Row tiles, and the last group, are filled up with 0.
    """
    parameters = _byte_parameters(differential, shape) if in_bytes else {}
    each, dtype = (4, torch.int8) if parameters else (2, torch.int16)
    groups = -(-shape.gates * shape.units // COLUMNS)
    parts = sum(-(-len(tile) // each) for tile in shape.row_tiles)
    tensors = {
        "differential": differential,
        "packed": torch.empty(groups, parts, COLUMNS, each, dtype=dtype),
        "sums": torch.empty(groups, len(shape.row_tiles), COLUMNS, dtype=torch.int32),
    }
    unit = parameters.get("cell_unit", 1)
    native.run_on_cells("pack_cells", tensors, shape, each=each, cell_unit=unit)
    if not parameters:
        return {"pairs": tensors["packed"]}, {}
    start = -parameters["row_offset"] * tensors["sums"]
    return {"quads": tensors["packed"], "quad_start": start}, parameters


def byte_parameters(program: LayerProgram, shape: ArrayShape) -> dict[str, int]:
    """Parameters of `run_lanes` for cells in bytes; empty if the cells do not fit.

    They fit if every g+ - g- is a multiple of one number by at most 127, as with equally spaced
    levels without errors.
    """
    return _byte_parameters(differential(program), shape)


def _byte_parameters(differential: Tensor, shape: ArrayShape) -> dict[str, int]:
    dac, found = shape.description.dac, torch.empty(2, dtype=torch.int64)
    tensors = {"differential": differential, "found": found}
    native.run_on_cells("measure_cells", tensors, shape)
    divisor, largest = found.tolist()
    unit = divisor or 1
    offset = -dac.range.low if dac.planes == 1 else 1
    in_words = (2**15 - 1) // max(1, 4 * offset * (largest // unit))
    if largest // unit > 127 or offset > 127 or not in_words:
        return {}
    return {"cell_unit": unit, "row_offset": offset, "in_words": in_words}


def differential(program: LayerProgram) -> Tensor:
    """g+ - g-, exact in float32, shape (gates, units, rows)."""
    return (program.positive - program.negative).detach().float().contiguous()


def padded(shape: ArrayShape) -> tuple[list[int], int]:
    """Rows of each row tile, and columns, of the kernel `multiply`: whole blocks."""
    depths = [-(-len(tile) // 64) * 64 for tile in shape.row_tiles]
    return depths, -(-shape.gates * shape.units // 32) * 32


def blocks(program: LayerProgram, shape: ArrayShape) -> dict[str, Tensor]:
    """Cells for the kernel `multiply`: g+ and g- in its order, uint8, and where row tiles begin."""
    columns, (depths, width) = shape.gates * shape.units, padded(shape)
    parts = []
    for tile, depth in zip(shape.row_slices, depths, strict=True):
        cells = torch.zeros(2, width, depth, dtype=torch.uint8)
        for device, codes in enumerate((program.positive, program.negative)):
            part = codes.detach().flatten(0, 1)[:, tile]
            cells[device, :columns, : part.shape[1]] = part
        # An AMX tile has 16 lines; each holds 4 consecutive rows for each of 16 columns.
        split = cells.view(2, width // 16, 16, depth // 64, 16, 4)
        parts.append(split.permute(0, 1, 3, 4, 2, 5).flatten())
    starts = torch.tensor([0, *depths[:-1]]).cumsum(0)
    return {"cells": torch.cat(parts), "tile_places": starts}


def noisy(program: ArrayProgram) -> bool:
    """Whether conversions draw noise."""
    return bool(program.read_noise.any()) or bool(program.adc_noise)


def constants(program: LayerProgram, shape: ArrayShape, noise_on: bool) -> dict[str, int]:
    """Parameters of the description, and of noise.

    noise_on: `noisy(program)`.
    """
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
        "noisy": noise_on,
        "adc_noise": int(program.adc_noise),
        "error_shift": noise.LSB_SHIFT - shape.adc_shift,
        **cell.kernel_fields(),
    }


def numbers(
    program: LayerProgram, shape: ArrayShape, gain: Tensor, noise_on: bool
) -> dict[str, Tensor]:
    """Loaded numbers in the kernels' types.

    gain: `golden.adc.lane_gain(program, shape)`.
    noise_on: `noisy(program)`.
    """
    offset = noise.UNIT * program.offset[:, None, adc.lane(shape)]
    words = {
        "offset": offset.expand(-1, shape.gates, -1),
        "gain": gain,
        "bias": program.bias,
        "gate_tables": program.gate_tables,
        **program.tables,
    }
    tensors = {name: t.detach().to(torch.int32).contiguous() for name, t in words.items()}
    # A register of up to 32 bits without a sign.
    tensors["read_noise"] = program.read_noise.detach().long().to(torch.uint32).contiguous()
    tensors["tile_rows"] = native.tile_rows(shape)
    tensors["keys"] = _keys(program, shape, noise_on)
    tensors["magnitudes"] = _magnitudes()
    return tensors


def _keys(program: LayerProgram, shape: ArrayShape, noise_on: bool) -> Tensor:
    """Key words of the columns' draws; 0 where there are none."""
    if not noise_on:
        size = (len(shape.row_tiles), 2, shape.gates, shape.units)
        return torch.zeros(size, dtype=torch.uint32)
    keys, columns = adc.keys_and_columns(program, shape)
    first, second = keys % noise.WORD
    keys = torch.stack([(first + columns * noise.COLUMN) % noise.WORD, second], dim=1)
    return keys.to(torch.uint32).contiguous()


@lru_cache(maxsize=1)
def _magnitudes() -> Tensor:
    return torch.tensor(noise.magnitudes(), dtype=torch.uint8)
