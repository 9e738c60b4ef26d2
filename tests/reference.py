"""A second golden model: the contract (docs/contract.md) once more, in plain Python integers, one
value at a time. Slow, without torch, and written from the contract alone."""

from typing import Any

from golden.description import ArrayShape
from golden.program import Program


def narrow(a: int, shift: int, low: int, high: int) -> int:
    half = (1 << shift) // 2
    return max(low, min(high, (a + half) // (1 << shift)))


def convert(rows: list[int], cells: list[tuple[int, int]], gain: int, shape: ArrayShape) -> int:
    charge = sum(v * (plus - minus) for v, (plus, minus) in zip(rows, cells, strict=True))
    bits = shape.description.adc.bits
    shift = 4 + max(0, shape.charge_max.bit_length() - (bits - 1))
    return narrow(charge * gain, shift, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def run(program: Program, x: list[list[int]]) -> dict[str, Any]:
    """One sequence (steps, inputs): codes, c, h of every layer and step; scores, label."""
    d = program.description
    steps: list[dict[str, Any]] = []
    vectors = x
    for layer, shape in zip(program.layers, d.layers, strict=True):
        h = [1 if d.dac.bits == 1 else 0] * shape.units
        c = [0] * shape.units
        out = []
        for row in vectors:
            codes = [[_column(layer, g, u, row + h, shape) for u in range(shape.units)]
                     for g in range(4)]  # fmt: skip
            c, h = _cells(layer, codes, c, d)
            out.append({"codes": codes, "c": c, "h": h})
        steps.append({key: [step[key] for step in out] for key in ("codes", "c", "h")})
        vectors = [step["h"] for step in out]
    head = [_column(program.head, 0, n, vectors[-1], d.head) for n in range(d.network.classes)]
    scores = [
        code * 2**d.cell.frac + int(bias)
        for code, bias in zip(head, program.head.bias.tolist(), strict=True)
    ]
    return {"layers": steps, "scores": scores, "label": scores.index(max(scores))}


def _column(part: Any, gate: int, unit: int, rows: list[int], shape: ArrayShape) -> int:
    plus, minus = part.positive[gate, unit].tolist(), part.negative[gate, unit].tolist()
    return convert(rows, list(zip(plus, minus, strict=True)), int(part.gain[gate]), shape)


def _cells(layer: Any, codes: list[list[int]], c: list[int], d: Any) -> tuple[list, list]:
    n, index = d.cell.gate_bits, d.adc.bits + d.cell.frac
    low, high = -(1 << (index - 1)), (1 << (index - 1)) - 1
    new_c, new_h = [], []
    for u, before in enumerate(c):
        a = [narrow((codes[g][u] << d.cell.frac) + int(layer.bias[g, u]), 0, low, high)
             for g in range(4)]  # fmt: skip
        i, f, g, o = (int(layer.gate_tables[k, a[k] - low]) for k in range(4))
        top = 1 << (d.cell.state_bits - 1)
        state = narrow(f * before + i * g, n, -top, top - 1)
        top = 1 << (d.cell.state_index_bits - 1)
        upper = narrow(state, d.cell.state_bits - d.cell.state_index_bits, -top, top - 1)
        product = o * int(layer.tanh_table[upper + top])
        if d.dac.bits == 1:
            h = 1 if product >= 0 else -1
        else:
            most = (1 << (d.dac.bits - 1)) - 1
            h = narrow(product, n + d.cell.hidden_bits - d.dac.bits, -most, most)
        new_c.append(state)
        new_h.append(h)
    return new_c, new_h
