"""A second golden model: the contract (docs/contract.md) once more, in plain Python integers, one
value at a time. Slow, without torch, and written from the contract alone."""

import math
from statistics import NormalDist
from typing import Any

from golden.geometry import ArrayShape
from golden.program import Program

WORD = 1 << 32


def half_up(a: int, shift: int) -> int:
    """Rounded right shift; a left shift where `shift` is negative."""
    return (a + (1 << shift) // 2) >> shift if shift > 0 else a << -shift


def narrow(a: int, shift: int, low: int, high: int) -> int:
    return max(low, min(high, half_up(a, shift)))


def magnitude(part: int) -> int:
    """Entry of one of 128 equally likely parts of the positive half of a normal distribution."""

    def weight(edge: int) -> float:
        x = NormalDist().inv_cdf(0.5 + edge / 256) if edge < 128 else 0
        return x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    mean_square = 1 + 256 * (weight(part) - weight(part + 1))
    return math.floor(64 / math.sqrt(2) * math.sqrt(mean_square) + 0.5)


MAGNITUDES = [magnitude(part) for part in range(128)]


def draws(key: list[int], run: int, step: int, column: int) -> tuple[int, int]:
    """Read and ADC draws of one conversion."""
    a = key[0] + run * 0x9E3779B1 + step * 0x85EBCA77 + column * 0xC2B2AE3D
    b = key[1] + run * 0x27D4EB2F + step * 0x165667B1
    h = a % WORD
    h ^= h >> 16
    h = (h * 0x7FEB352D + b) % WORD
    h ^= h >> 15
    h = h * 0x846CA68B % WORD
    h ^= h >> 16
    entries = []
    for byte in h.to_bytes(4, "little"):
        entries.append(-MAGNITUDES[byte - 128] if byte >= 128 else MAGNITUDES[byte])
    return entries[0] + entries[1], entries[2] + entries[3]


def row_tiles(shape: ArrayShape) -> list[tuple[int, int]]:
    """First row and first row after, of each row tile."""
    most = shape.description.array.rows
    fewest = -(-shape.rows // most)
    split = [part for part in (shape.inputs, shape.rows - shape.inputs) if part]
    if fewest == 1 or sum(-(-part // most) for part in split) > fewest:
        split = [shape.rows]
    tiles, start = [], 0
    for part in split:
        count = -(-part // most)
        tiles += [(start + part * n // count, start + part * (n + 1) // count)
                  for n in range(count)]  # fmt: skip
        start += part
    return tiles


def column_place(unit: int, shape: ArrayShape) -> tuple[int, int, int]:
    """Lane of a unit; its column tile, and its number there."""
    most = shape.description.array.columns // shape.gates
    tiles = -(-shape.units // most)
    while True:
        each = min(shape.description.array.lanes, -(-shape.units // tiles))
        units = [u for u in range(shape.units) if u % (tiles * each) < each]  # of the first
        if len(units) <= most:
            break
        tiles += 1
    lane = unit % (tiles * each)
    return lane, lane // each, unit // (tiles * each) * each + lane % each


def convert(
    part: Any, gate: int, unit: int, rows: list[int], shape: ArrayShape, run: int, step: int
) -> int:
    """The code of one column: of all row tiles and planes."""
    d, total = shape.description, 0
    planes = max(1, d.dac.bits - 1) if d.dac.kind == "bit-serial" else 1
    for plane in range(planes):
        weight = 1 << (planes - 1 - plane)
        on_rows = rows
        if planes > 1:
            on_rows = [(abs(v) // weight % 2) * (1 if v >= 0 else -1) for v in rows]
        for tile in range(len(row_tiles(shape))):
            number = step * planes + plane
            total += weight * one_conversion(part, gate, unit, on_rows, shape, tile, run, number)
    return total


def one_conversion(
    part: Any,
    gate: int,
    unit: int,
    rows: list[int],
    shape: ArrayShape,
    tile: int,
    run: int,
    step: int,
) -> int:
    """What one conversion of a column gives."""
    d, tiles = shape.description, row_tiles(shape)
    first, after = tiles[tile]
    plus, minus = part.positive[gate, unit].tolist(), part.negative[gate, unit].tolist()
    charge = sum(rows[r] * (plus[r] - minus[r]) for r in range(first, after))
    lane, column_tile, number = column_place(unit, shape)
    key = part.key[tile, column_tile].tolist()
    read, adc = draws(key, run, step, shape.gates * number + gate)
    gain = half_up(int(part.gain[tile, gate]) * (1024 + int(part.gain_error[tile, lane])), 10)
    bits = d.adc.bits
    largest = max(1, (1 << (d.dac.bits - 1)) - 1) if d.dac.kind != "bit-serial" else 1
    most = max(b - a for a, b in tiles) * largest * ((1 << d.device.conductance_bits) - 1)
    shift = 4 + max(0, most.bit_length() - (bits - 1))
    noisy = charge + half_up(read * int(part.read_noise[tile]), 10)
    error = half_up(adc * int(part.adc_noise) + 64 * int(part.offset[tile, lane]), 14 - shift)
    top = 1 << (bits - 1)
    return narrow(noisy * gain + error, shift, -top, top - 1)


def index_top(shape: ArrayShape) -> int:
    """Half the entries of a gate's table: room for the lowest code there can be."""
    d = shape.description
    planes = max(1, d.dac.bits - 1) if d.dac.kind == "bit-serial" else 1
    lowest = len(row_tiles(shape)) * ((1 << planes) - 1) << (d.adc.bits - 1)
    bits = 1
    while 1 << (bits - 1) < lowest:
        bits += 1
    return 1 << (bits + d.cell.frac - 1)


def run(program: Program, x: list[list[int]], first: int = 0) -> dict[str, Any]:
    """One sequence (steps, inputs), whose first pass is the `first`-th: passes and label, or labels
    of all steps; without head there is none."""
    passes = [one_pass(program, x, first + k) for k in range(program.votes)]
    if program.head is None:
        return {"passes": passes}
    if program.description.output.steps == "every":
        return {"passes": passes, "label": [row.index(max(row)) for row in passes[0]["scores"]]}
    scores = [one["scores"] for one in passes]
    if program.vote_by == "sum":
        totals = [sum(of_class) for of_class in zip(*scores, strict=True)]
    else:
        labels = [row.index(max(row)) for row in scores]
        totals = [labels.count(n) for n in range(program.description.network.classes)]
    return {"passes": passes, "label": totals.index(max(totals))}


def one_pass(program: Program, x: list[list[int]], number: int) -> dict[str, Any]:
    """The `number`-th pass: codes, h and, of an LSTM, c of every layer and step; scores or, without
    head, h in their place."""
    d = program.description
    layers: list[dict[str, Any]] = []
    vectors = x
    for layer, shape in zip(program.layers, d.layers, strict=True):
        h = [1 if d.dac.bits == 1 else 0] * shape.units
        c = [0] * shape.units
        out = []
        for t, row in enumerate(vectors):
            codes = [[convert(layer, g, u, row + h, shape, number, t) for u in range(shape.units)]
                     for g in range(shape.gates)]  # fmt: skip
            values: dict[str, Any] = {"codes": codes}
            if d.cell.kind == "lstm":
                c, h = lstm(layer, codes, c, shape)
                values["c"] = c
            else:
                h = [rnn(layer, codes[0][u], u, shape) for u in range(shape.units)]
            out.append(values | {"h": h})
        layers.append({key: [step[key] for step in out] for key in out[0]})
        vectors = layers[-1]["h"]
    if program.head is None:
        return {"layers": layers, "scores": vectors if d.output.steps == "every" else vectors[-1]}
    scores = [score(program, row, number, t) for t, row in enumerate(vectors)]
    if d.output.steps == "last":
        return {"layers": layers, "scores": score(program, vectors[-1], number, 0)}
    return {"layers": layers, "scores": scores}


def score(program: Program, rows: list[int], number: int, step: int) -> list[int]:
    """The head's scores."""
    d = program.description
    head = [convert(program.head, 0, n, rows, d.head, number, step)
            for n in range(d.network.classes)]  # fmt: skip
    bias = program.head.bias.tolist()
    return [code * 2**d.cell.frac + b for code, b in zip(head, bias, strict=True)]


def look_up(layer: Any, gate: int, code: int, unit: int, shape: ArrayShape) -> int:
    """The gate table's entry for a code."""
    top = index_top(shape)
    a = narrow(
        (code << shape.description.cell.frac) + int(layer.bias[gate, unit]), 0, -top, top - 1
    )
    return int(layer.gate_tables[gate, a + top])


def dac_code(value: int, shift: int, d: Any) -> int:
    """h as a DAC code."""
    if d.dac.bits == 1:
        return 1 if value >= 0 else -1
    most = max(1, (1 << (d.dac.bits - 1)) - 1)
    return narrow(value, shift, -most, most)


def rnn(layer: Any, code: int, unit: int, shape: ArrayShape) -> int:
    d = shape.description
    return dac_code(
        look_up(layer, 0, code, unit, shape), d.cell.hidden_bits - max(2, d.dac.bits), d
    )


def lstm(layer: Any, codes: list[list[int]], c: list[int], shape: ArrayShape) -> tuple[list, list]:
    d = shape.description
    n = d.cell.gate_bits
    new_c, new_h = [], []
    for u, before in enumerate(c):
        i, f, g, o = (look_up(layer, k, codes[k][u], u, shape) for k in range(4))
        top = 1 << (d.cell.state_bits - 1)
        state = narrow(f * before + i * g, n, -top, top - 1)
        top = 1 << (d.cell.state_index_bits - 1)
        upper = narrow(state, d.cell.state_bits - d.cell.state_index_bits, -top, top - 1)
        product = o * int(layer.tables["tanh_table"][upper + top])
        new_c.append(state)
        new_h.append(dac_code(product, n + d.cell.hidden_bits - max(2, d.dac.bits), d))
    return new_c, new_h
