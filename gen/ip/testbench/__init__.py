"""Testbenches of a package: Verilog for Icarus, C++ for Verilator.

They need no Python: they load the image over AXI4-Lite, send sequences and compare results.
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
"""Sequences that a testbench sends, at most: the first ones of the vectors."""

OUTPUTS = {"class": "label", "scores": "scores", "state": "state"}


def texts(
    description: Description,
    map_: RegisterMap,
    module: str,
    filelist: str,
    vectors: dict[str, np.ndarray],
) -> dict[str, str]:
    """Files of the testbenches, by their paths in a package.

    module: the top, with AXI. filelist: of the RTL, in the package. vectors: golden vectors
    (docs/formats.md), the first sequences of which are sent.
    """
    count = min(SEQUENCES, len(vectors["lengths"]))
    stimulus, x_bits = _stimulus(description, vectors, count)
    expected, y_bits = _expected(description, vectors, count)
    passes = len(vectors["layers.0.h"]) // len(vectors["lengths"])
    steps = int(vectors["lengths"][:count].sum()) * passes
    status = {field.name: low for field, low in placed(_register(map_, "status"))}
    values: dict[str, Any] = {
        "NAME": description.name,
        "MODULE": module.removesuffix("_axi"),
        "TOP": module,
        "LIST": filelist,
        "RESULTS": len(expected),
        # Twice what the sequences take, and what the last results need.
        "LIMIT": 2 * timing.cycles_per_step(description) * (steps + 20)
        + 2 * timing.output_cycles(description) * count * passes,
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
    """Lines `last data` of the beats of x, and the bits of a beat."""
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
    """Lines `last mask data` of the beats of results, and the bits of a beat. The mask has 0 for
    what pads a beat."""
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
    """Values (n,) as beats (m, beat), padded with 0."""
    padding = np.zeros(-len(values) % beat, np.int64)
    return np.concatenate([values.astype(np.int64), padding]).reshape(-1, beat)


def _hex(values: np.ndarray, bits: int) -> str:
    """A beat in hexadecimal, the first value in the lowest bits."""
    digits = bits // 4
    return "".join(f"{int(value) & (1 << bits) - 1:0{digits}x}" for value in values[::-1])
