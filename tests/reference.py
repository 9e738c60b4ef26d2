"""A second golden model: the contract (docs/contract.md) once more, in plain Python integers, one
value at a time. Slow, without torch, and written from the contract alone."""

import math
from statistics import NormalDist
from typing import Any

from golden.description import ArrayShape
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


def convert(
    part: Any, gate: int, unit: int, rows: list[int], shape: ArrayShape, run: int, step: int
) -> int:
    """The ADC code of one column."""
    plus, minus = part.positive[gate, unit].tolist(), part.negative[gate, unit].tolist()
    charge = sum(v * (p - n) for v, p, n in zip(rows, plus, minus, strict=True))
    read, adc = draws(part.key.tolist(), run, step, shape.gates * unit + gate)
    lane = unit % min(shape.description.array.lanes, shape.units)
    gain = half_up(int(part.gain[gate]) * (1024 + int(part.gain_error[lane])), 10)
    bits = shape.description.adc.bits
    shift = 4 + max(0, shape.charge_max.bit_length() - (bits - 1))
    noisy = charge + half_up(read * int(part.read_noise), 10)
    error = half_up(adc * int(part.adc_noise) + 64 * int(part.offset[lane]), 14 - shift)
    top = 1 << (bits - 1)
    return narrow(noisy * gain + error, shift, -top, top - 1)


def run(program: Program, x: list[list[int]], first: int = 0) -> dict[str, Any]:
    """One sequence (steps, inputs), whose first pass is the `first`-th: passes and label, or labels
    of all steps."""
    passes = [one_pass(program, x, first + k) for k in range(program.votes)]
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
    """The `number`-th pass: codes, h and, of an LSTM, c of every layer and step; scores."""
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
                c, h = lstm(layer, codes, c, d)
                values["c"] = c
            else:
                h = [rnn(layer, codes[0][u], u, d) for u in range(shape.units)]
            out.append(values | {"h": h})
        layers.append({key: [step[key] for step in out] for key in out[0]})
        vectors = layers[-1]["h"]
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


def look_up(layer: Any, gate: int, code: int, unit: int, d: Any) -> int:
    """The gate table's entry for a code."""
    top = 1 << (d.adc.bits + d.cell.frac - 1)
    a = narrow((code << d.cell.frac) + int(layer.bias[gate, unit]), 0, -top, top - 1)
    return int(layer.gate_tables[gate, a + top])


def dac_code(value: int, shift: int, d: Any) -> int:
    """h as a DAC code."""
    if d.dac.bits == 1:
        return 1 if value >= 0 else -1
    most = max(1, (1 << (d.dac.bits - 1)) - 1)
    return narrow(value, shift, -most, most)


def rnn(layer: Any, code: int, unit: int, d: Any) -> int:
    return dac_code(look_up(layer, 0, code, unit, d), d.cell.hidden_bits - max(2, d.dac.bits), d)


def lstm(layer: Any, codes: list[list[int]], c: list[int], d: Any) -> tuple[list, list]:
    n = d.cell.gate_bits
    new_c, new_h = [], []
    for u, before in enumerate(c):
        i, f, g, o = (look_up(layer, k, codes[k][u], u, d) for k in range(4))
        top = 1 << (d.cell.state_bits - 1)
        state = narrow(f * before + i * g, n, -top, top - 1)
        top = 1 << (d.cell.state_index_bits - 1)
        upper = narrow(state, d.cell.state_bits - d.cell.state_index_bits, -top, top - 1)
        product = o * int(layer.tanh_table[upper + top])
        new_c.append(state)
        new_h.append(dac_code(product, n + d.cell.hidden_bits - max(2, d.dac.bits), d))
    return new_c, new_h
