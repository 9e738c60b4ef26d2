"""The image: a program as words on the load bus, and its file."""

import re
from pathlib import Path

from torch import Tensor

from golden import files
from golden.description import ArrayShape, Description
from golden.errors import WordlineError
from golden.program import ArrayProgram, LayerProgram, LstmProgram, Program
from hw.crossbar import PARAMETERS
from hw.loadmap import LoadMap, Region

Word = tuple[int, int]
"""Address and data of one write."""


def words(program: Program) -> list[Word]:
    """Every write that loads a program, in ascending address order."""
    description = program.description
    regions = LoadMap(description).regions
    image: list[Word] = []
    for n, (layer, shape) in enumerate(zip(program.layers, description.layers, strict=True)):
        image += _array(layer, shape, regions, f"layers.{n}")
        image += _layer(layer, shape, regions, f"layers.{n}")
    image += _array(program.head, description.head, regions, "head")
    bias = regions["head.bias"]
    image += [
        (bias.address(**{"class": n}), bias.word(bias=value))
        for n, value in enumerate(program.head.bias.tolist())
    ]
    if description.voting.replay_steps:
        votes = regions["votes"]
        by_sum = int(program.vote_by == "sum")
        image.append((votes.address(), votes.word(votes=program.votes, by_sum=by_sum)))
    return sorted(image)


def _array(
    part: ArrayProgram, shape: ArrayShape, regions: dict[str, Region], name: str
) -> list[Word]:
    cells, gains = regions[f"{name}.cells"], regions[f"{name}.gains"]
    image = [
        (gains.address(gate=gate), gains.word(gain=gain))
        for gate, gain in enumerate(part.gain.tolist())
    ]
    image += _parameters(part, regions[f"{name}.parameters"])
    positive, negative = part.positive.tolist(), part.negative.tolist()
    for gate in range(shape.gates):
        for unit in range(shape.units):
            select, lane = shape.column(unit, gate)
            image += [
                (
                    cells.address(row=row, select=select, lane=lane),
                    cells.word(
                        positive=positive[gate][unit][row], negative=negative[gate][unit][row]
                    ),
                )
                for row in range(shape.rows)
            ]
    return image


def _parameters(part: ArrayProgram, region: Region) -> list[Word]:
    """The parameters of a macro; noise begins again with run 0."""
    key = part.key.tolist()
    values = {"key_0": key[:1], "key_1": key[1:], "run": [0]}
    values |= {name: [int(getattr(part, name))] for name in ("read_noise", "adc_noise")}
    values |= {name: getattr(part, name).tolist() for name in ("offset", "gain_error")}
    return [
        (region.address(lane=lane, parameter=PARAMETERS.index(name)), region.word(value=value))
        for name, of_lanes in values.items()
        for lane, value in enumerate(of_lanes)
    ]


def _layer(
    layer: LayerProgram, shape: ArrayShape, regions: dict[str, Region], name: str
) -> list[Word]:
    bias, tables = regions[f"{name}.bias"], regions[f"{name}.gate_tables"]
    image = []
    for gate, values in enumerate(layer.bias.tolist()):
        for unit, value in enumerate(values):
            word, place = divmod(unit, shape.units_per_beat)
            address = bias.address(word=word, place=place, gate=gate)
            image.append((address, bias.word(bias=value)))
    for gate, entries in enumerate(layer.gate_tables):
        image += [
            (tables.address(index=index, gate=gate), tables.word(entry=entry))
            for index, entry in _entries(entries)
        ]
    if isinstance(layer, LstmProgram):
        tanh = regions[f"{name}.tanh_table"]
        image += [
            (tanh.address(index=index), tanh.word(entry=entry))
            for index, entry in _entries(layer.tanh_table)
        ]
    return image


def _entries(table: Tensor) -> list[tuple[int, int]]:
    """Index (two's complement, as it addresses the memory) and entry; `table` has the lowest
    index first."""
    low = -(len(table) // 2)
    return [(low + n, entry) for n, entry in enumerate(table.tolist())]


def write(path: Path, program: Program) -> None:
    """Write the image as a Verilog hex file for $readmemh: `@address data` a line."""
    load_map = LoadMap(program.description)
    digits = -(-load_map.data_bits // 4)
    lines = [f"// {program.description.name}: words of the load bus, see the JSON sidecar"]
    lines += [f"@{address:x} {data:0{digits}x}" for address, data in words(program)]
    files.write_text(path, "\n".join(lines) + "\n")


def read(path: Path, description: Description) -> list[Word]:
    """Read such a file; WordlineError if a line is not `@address data` or does not fit the bus."""
    load_map = LoadMap(description)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise WordlineError(
            f"{path} cannot be read ({error.strerror}); run `wordline emit`."
        ) from None
    image = []
    for number, line in enumerate(lines, 1):
        if line.startswith("//") or not line.strip():
            continue
        match = re.fullmatch(r"@([0-9a-fA-F]+)\s+([0-9a-fA-F]+)\s*", line)
        if match is None:
            raise WordlineError(f"{path}, line {number}: {line!r} is not `@address data` in hex.")
        address, data = int(match[1], 16), int(match[2], 16)
        if address >> load_map.address_bits or data >> load_map.data_bits:
            raise WordlineError(
                f"{path}, line {number}: {line!r} does not fit {load_map.address_bits} address "
                f"and {load_map.data_bits} data bits; run `wordline emit` again."
            )
        image.append((address, data))
    return image
