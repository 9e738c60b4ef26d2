"""Testbenches of a package: Verilog for Icarus, C++ for Verilator.

They need no Python. They load the image over AXI4-Lite, send sequences and compare the results.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from gen.ip.registers import placed
from golden.description import Description
from hw import timing
from hw.bus.axi import ELEMENT_BITS
from hw.bus.registers import BUS_BITS, RegisterMap

HERE, TEMPLATES = Path(__file__).parent, {"v": "bench.v", "cpp": "bench.cpp"}
SEQUENCES = 8
"""Maximum number of sequences that a testbench sends: the first ones of the golden vectors."""

OUTPUTS = {"class": "label", "scores": "scores", "state": "state"}


def texts(
    description: Description,
    map_: RegisterMap,
    module: str,
    filelist: str,
    vectors: dict[str, np.ndarray],
) -> dict[str, str]:
    """Files of the testbenches, by path in the package.

    module: Top module with AXI.
    filelist: File list of the RTL in the package.
    vectors: Golden vectors (docs/formats.md); the testbenches send the first `SEQUENCES`.
    """
    count = min(SEQUENCES, len(vectors["lengths"]))
    stimulus, x_bits = _stimulus(description, vectors, count)
    expected, y_bits = _expected(description, vectors, count)
    passes = len(vectors["layers.0.h"]) // len(vectors["lengths"])
    steps = int(vectors["lengths"][:count].sum()) * passes
    longest = int(vectors["lengths"][:count].max())
    status = {field.name: low for field, low in placed(_register(map_, "status"))}
    values: dict[str, Any] = {
        "NAME": description.name,
        "MODULE": module.removesuffix("_axi"),
        "TOP": module,
        "LIST": filelist,
        "RESULTS": len(expected),
        # Timeout in cycles from one transfer to the next: twice as long as all of it takes.
        "LIMIT": 2 * timing.cycles_per_step(description) * (steps + 20)
        + 2 * timing.output_cycles(description) * count * passes,
        # Cycles after the last result, in which none may follow: a sequence takes no longer.
        "LINGER": timing.cycles_per_step(description) * (longest * passes + 2),
        "ADDRESS": map_.address_bits,
        "X_BITS": x_bits,
        "Y_BITS": y_bits,
        "STATUS": _register(map_, "status").offset,
        "CONTROL": _register(map_, "control").offset,
        "LOAD_OPEN": status["load_open"],
        "LOADED": status["loaded"],
        "WINDOW": map_.window,
    }
    found = {}
    for kind, file in TEMPLATES.items():
        template = (HERE / file).read_text(encoding="utf-8")
        found[f"tb/{description.name}_tb.{kind}"] = re.sub(
            r"@([A-Z_]+)@", lambda match: str(values[match[1]]), template
        )
    found["tb/stimulus.hex"] = "".join(f"{line}\n" for line in stimulus)
    found["tb/expected.hex"] = "".join(f"{line}\n" for line in expected)
    return found


def _register(map_: RegisterMap, name: str) -> Any:
    return next(register for register in map_.registers if register.name == name)


def _stimulus(
    description: Description, vectors: dict[str, np.ndarray], count: int
) -> tuple[list[str], int]:
    """Stimulus lines `last data`, one per beat of x, and the width of a beat in bits."""
    beat, lines = description.input_beat, []
    for n in range(count):
        steps = vectors["x"][n, : vectors["lengths"][n]]
        for t, step in enumerate(steps):
            last = int(t == len(steps) - 1)
            codes = _padded(step, beat)
            ends = [0] * (len(codes) - 1) + [last]
            lines += [
                f"{end} {_hex(code, ELEMENT_BITS)}" for end, code in zip(ends, codes, strict=True)
            ]
    return lines, beat * ELEMENT_BITS


def _expected(
    description: Description, vectors: dict[str, np.ndarray], count: int
) -> tuple[list[str], int]:
    """Lines `last mask data`, one per beat of results, and the width of a beat in bits.

    The mask is 0 for padding of a beat.
    """
    of, every_step = description.output.of, description.output.every_step
    state = of == "state"
    beat = timing.units_per_beat(description.layers[-1]) if state else 1
    bits = ELEMENT_BITS if state else BUS_BITS
    lines = []
    for n in range(count):
        values = vectors[OUTPUTS[of]][n]
        steps = values[: vectors["lengths"][n]] if every_step else values[None]
        for t, step in enumerate(steps):
            codes = _padded(np.atleast_1d(step), beat)
            masks = _padded(np.full(np.size(step), -1), beat)
            for k, (code, mask) in enumerate(zip(codes, masks, strict=True)):
                last = int(t == len(steps) - 1 and k == len(codes) - 1)
                lines.append(f"{last} {_hex(mask, bits)} {_hex(code, bits)}")
    return lines, beat * bits


def _padded(values: np.ndarray, beat: int) -> np.ndarray:
    """Pad values (n,) with 0 and split them into beats (m, beat)."""
    padding = np.zeros(-len(values) % beat, np.int64)
    return np.concatenate([values.astype(np.int64), padding]).reshape(-1, beat)


def _hex(values: np.ndarray, bits: int) -> str:
    """A beat in hexadecimal, the first value in the lowest bits."""
    digits = bits // 4
    return "".join(f"{int(value) & (1 << bits) - 1:0{digits}x}" for value in values[::-1])
