"""The image: a program as words for the load bus, and the image files."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from golden import crossbar, files
from golden.description import Description
from golden.errors import WordlineError
from golden.geometry import ArrayShape
from golden.program import ArrayProgram, LayerProgram, Program
from hw import timing
from hw.loadmap import LoadMap
from hw.macro.interface import PARAMETERS, tile_place
from hw.regions import Region

Word = tuple[int, int]
"""Address and data of one write."""

MOST_LINE = 64
"""Maximum size of an image file per address (bytes), comments included."""

LINES = 2**16
"""Number of lines written at once."""


def words(program: Program) -> list[Word]:
    """All writes that load a program, in ascending address order, with the checksum last.

    The load map puts level tables before the cells that are programmed through them.
    """
    return [(address, data) for address, data in _words(program).tolist()]


def _words(program: Program) -> np.ndarray:
    """`words` as an array of integers (words, 2): a large network has millions."""
    description = program.description
    regions = LoadMap(description).regions
    parts: list[np.ndarray] = []
    for n, (layer, shape) in enumerate(zip(program.layers, description.layers, strict=True)):
        parts += _array(layer, shape, regions, f"layers.{n}")
        parts += _layer(layer, shape, regions, f"layers.{n}")
    if program.head is not None:
        parts += _array(program.head, description.head, regions, "head")
        parts.append(_part(regions["head.bias"], {"class": (0,)}, {"bias": program.head.bias}))
    if description.voting.replay_steps:
        votes = {"votes": program.votes, "by_sum": int(program.vote_by == "sum")}
        parts.append(_part(regions["votes"], {}, votes))
    image = np.concatenate(parts)
    image = image[np.argsort(image[:, 0], kind="stable")]
    return np.concatenate([image, [[LoadMap(description).check, checksum(image)]]])


CHECK_BITS = 32
"""Width of the checksum in bits."""


def checksum(image: np.ndarray) -> int:
    """Checksum of words (words, 2) in the order in which they are loaded (docs/contract.md, 13)."""
    signature = 0xFFFFFFFF
    halves = image[:, 0] << 16 & 0xFFFFFFFF | image[:, 0] >> 16
    for word in (image[:, 1] ^ halves).tolist():
        signature = signature << 1 ^ (0x104C11DB7 if signature >> 31 else 0) ^ word
    return signature


def _part(region: Region, places: dict[str, Any], data: dict[str, Any]) -> np.ndarray:
    """Words (words, 2) of a region.

    places: Fields of the addresses.
    data: Fields of the data.

    Fields are integers or arrays that broadcast together. An address field given as (n,) is the
    index along axis n of the data.
    """
    values = {name: np.asarray(value, np.int64) for name, value in data.items()}
    shape = np.broadcast_shapes(*(value.shape for value in values.values()))
    index = np.indices(shape, np.int64, sparse=True) if shape else ()
    fields = {n: index[p[0]] if isinstance(p, tuple) else p for n, p in places.items()}
    columns = (region.address(**fields), region.word(**values))
    return np.stack([np.broadcast_to(c, shape).reshape(-1) for c in columns], axis=1)


def _array(
    part: ArrayProgram, shape: ArrayShape, regions: dict[str, Region], name: str
) -> list[np.ndarray]:
    place = cell_places(shape)
    entries = dict(zip(("positive", "negative"), crossbar.pair(part.levels), strict=True))
    cells = {"positive": part.positive, "negative": part.negative}
    numbers = level_numbers(part)
    return [
        _part(regions[f"{name}.gains"], _of_gains(shape), {"gain": part.gain}),
        *_parameters(part, shape, regions[f"{name}.parameters"]),
        _part(regions[f"{name}.levels"], {"level": (0,)}, entries),
        _part(regions[f"{name}.cells"], place, cells)
        if numbers is None or regions[f"{name}.cell_levels"].base < regions[f"{name}.levels"].base
        else _part(regions[f"{name}.cell_levels"], place, {"level": numbers}),
    ]


def cell_places(shape: ArrayShape) -> dict[str, Any]:
    """Address fields of all cells of an array; they broadcast to (gates, units, rows)."""
    size = (shape.gates, shape.units, shape.rows)
    gate, unit, row = np.indices(size, np.int64, sparse=True)
    select, lane = shape.column(unit, gate)
    row_tile, row = _tile_of(row, [tile.start for tile in shape.row_tiles])
    column_tile, lane = np.divmod(lane, shape.macro.lanes)
    tiles = tile_place(shape, row_tile=row_tile, column_tile=column_tile)
    return {"row": row, "select": select, "lane": lane, **tiles}


def level_numbers(part: ArrayProgram) -> Tensor | None:
    """Level number of each cell, or None if a cell is not on the level table.

    A cell with a programming error or a stuck device is off the table, so the image has its
    conductance codes.
    """
    numbers = torch.searchsorted(part.levels, part.positive - part.negative)
    on = part.levels[numbers.clamp(max=len(part.levels) - 1)]
    positive, negative = crossbar.pair(on)
    if torch.equal(positive, part.positive) and torch.equal(negative, part.negative):
        return numbers
    return None


def _tile_of(row: np.ndarray, starts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Row tile of each row, and the row's number in that tile."""
    tile = np.searchsorted(starts, row, side="right") - 1
    return tile, row - np.array(starts)[tile]


def _of_gains(shape: ArrayShape) -> dict[str, Any]:
    """Address fields of the gains (row tiles, gates)."""
    tiles = tile_place(shape, row_tile=(0,), column_tile=None)
    return {name: axis for name, axis in tiles.items() if axis} | {"gate": (1,)}


def _parameters(part: ArrayProgram, shape: ArrayShape, region: Region) -> list[np.ndarray]:
    """Words with the parameters of each crossbar. They reset the noise to run 0."""
    words = []
    for r in range(len(shape.row_tiles)):
        for c in range(shape.column_tiles):
            number = tile_place(shape, row_tile=r, column_tile=c)
            lanes = slice(c * shape.macro.lanes, (c + 1) * shape.macro.lanes)
            key = part.key[r, c]
            values = {"key_0": key[:1], "key_1": key[1:], "run": [0]}
            values |= {"read_noise": part.read_noise[r : r + 1]}
            values |= {"adc_noise": part.adc_noise.reshape(1)}
            values |= {name: getattr(part, name)[r, lanes] for name in ("offset", "gain_error")}
            for name, of_lanes in values.items():
                place = {"lane": (0,), "parameter": PARAMETERS.index(name), **number}
                words.append(_part(region, place, {"value": of_lanes}))
    return words


def _layer(
    layer: LayerProgram, shape: ArrayShape, regions: dict[str, Region], name: str
) -> list[np.ndarray]:
    gate, unit = np.indices(layer.bias.shape, np.int64, sparse=True)
    word, place = np.divmod(unit, timing.units_per_beat(shape))
    at = {"word": word, "place": place, "gate": gate}
    parts = [_part(regions[f"{name}.bias"], at, {"bias": layer.bias})]
    for table, entries in {"gate_tables": layer.gate_tables, **layer.tables}.items():
        index = np.indices(entries.shape, np.int64, sparse=True)
        # The memory is addressed in two's complement; a table starts with its lowest entry.
        fields = {"index": index[-1] - entries.shape[-1] // 2}
        if len(index) > 1:
            fields["gate"] = index[0]
        parts.append(_part(regions[f"{name}.{table}"], fields, {"entry": entries}))
    return parts


def write(path: Path, program: Program) -> None:
    """Write the image as a Verilog hex file for $readmemh: `@address data` per line."""
    write_words(path, program.description, _words(program))


def write_words(path: Path, description: Description, image: Any) -> None:
    """Write words (words, 2) as a Verilog hex file."""
    load_map, image = LoadMap(description), np.asarray(image)
    with files.atomic(path) as beside, beside.open("wb") as file:
        title = f"// {description.name}: words of the load bus, see the JSON sidecar\n"
        file.write(title.encode())
        for part in np.array_split(image, -(-len(image) // LINES)):
            address, data = (
                _hex(part[:, 0], load_map.address_bits),
                _hex(part[:, 1], CHECK_BITS),
            )
            marks = (np.full((len(part), 1), ord(mark), np.uint8) for mark in "@ \n")
            at, space, end = marks
            file.write(np.concatenate([at, address, space, data, end], axis=1).tobytes())


def write_binary(path: Path, program: Program) -> None:
    """Write the image for the driver: address and data per word, 32 bits each, little-endian."""
    with files.atomic(path) as beside:
        beside.write_bytes(_words(program).astype("<u4").tobytes())


def check_binary(path: Path, image: list[Word]) -> None:
    """Check that a driver's image has the words of an image file.

    Raises WordlineError if it does not.
    """
    if path.read_bytes() != np.asarray(image).reshape(-1, 2).astype("<u4").tobytes():
        raise WordlineError(
            f"{path} has other words than {path.with_suffix('.hex')}, so a driver would load "
            f"another network than the one that is compared; emit the package again."
        )


def _hex(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Numbers (n,) in hexadecimal, as bytes (n, digits)."""
    shifts = np.arange(-(-bits // 4))[::-1] * 4
    return np.frombuffer(b"0123456789abcdef", np.uint8)[numbers[:, None] >> shifts & 15]


def checked(path: Path, words: list[Word], description: Description) -> int | None:
    """The checksum at the end of an image's words; None if there is none.

    Raises WordlineError if it is not that of the words: a chip would refuse the image.
    """
    address, data = words[-1]
    if address != LoadMap(description).check:
        return None
    wanted = checksum(np.array(words[:-1], dtype=np.int64).reshape(-1, 2))
    if data != wanted:
        raise WordlineError(
            f"{path} ends with the checksum {data:08x}, but its words have {wanted:08x}: it was "
            f"edited or damaged, and a chip would refuse it. Run `wordline emit "
            f"{description.name}` again, or write the checksum of its words (docs/contract.md, 13)."
        )
    return data


def last_word(path: Path) -> int | None:
    """Data of the last word of an image file, its checksum; None if the last line is no word."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * MOST_LINE))
        line = file.read().rstrip().rpartition(b"\n")[2]
    match = re.fullmatch(rb"@[0-9a-fA-F]+ ([0-9a-fA-F]+)", line)
    return None if match is None else int(match[1], 16)


def read(path: Path, description: Description) -> list[Word]:
    """Read an image file.

    Raises WordlineError if the file cannot be read, if a line is not `@address data`, or if a word
    does not fit the load bus.
    """
    load_map = LoadMap(description)
    most = MOST_LINE * (2**load_map.address_bits + 1)
    lines = files.read_text(path, most, "run `wordline emit`").splitlines()
    image = []
    for number, line in enumerate(lines, 1):
        if line.startswith("//") or not line.strip():
            continue
        match = re.fullmatch(r"@([0-9a-fA-F]+)\s+([0-9a-fA-F]+)\s*", line)
        if match is None:
            raise WordlineError(f"{path}, line {number}: {line!r} is not `@address data` in hex.")
        address, data = int(match[1], 16), int(match[2], 16)
        bits = CHECK_BITS if address == load_map.check else load_map.data_bits
        if address >> load_map.address_bits or data >> bits:
            raise WordlineError(
                f"{path}, line {number}: {line!r} does not fit {load_map.address_bits} address "
                f"and {bits} data bits; run `wordline emit` again."
            )
        image.append((address, data))
    if not image:
        raise WordlineError(f"{path} holds no words; run `wordline emit` again.")
    return image
