"""Draws step.svg, one step of a small layer out of its simulation: `python docs/figures/step.py`.

It needs the package wavedrom, which nothing else needs (`pip install wavedrom`). step.json is the
figure as WaveJSON (wavedrom.com).
"""

import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import torch  # noqa: E402

from sim import chip, waves  # noqa: E402
from tests.helpers import random_codes, random_program, small  # noqa: E402
from wordline.flow import emit  # noqa: E402

SEED, STEP = 2, 1
DESIGN = small(name="step", network={"inputs": 3, "hidden": [4], "classes": 3}, array={"lanes": 4})

SHOWN = (
    ("rows", "", "layer_0.dac.o__valid", False),
    ("sample", "", "layer_0.array.readout.sample", False),
    ("select", "layer_0.array.readout.sample", "layer_0.array.readout.select", False),
    ("bit on trial", "layer_0.array.readout.bit_", "layer_0.array.readout.bit_", False),
    ("codes valid", "", "layer_0.array.o__valid", False),
    ("s1_valid", "", "layer_0.gates.s1_valid", False),
    ("code_f_0", "layer_0.gates.s1_valid", "layer_0.gates.code_f_0", True),
    ("a_f_0", "layer_0.gates.s1_valid", "layer_0.gates.a_f_0", True),
    ("i_0", "layer_0.gates.s2_valid", "layer_0.gates.i_0", False),
    ("f_0", "layer_0.gates.s2_valid", "layer_0.gates.f_0", False),
    ("g_0", "layer_0.gates.s2_valid", "layer_0.gates.g_0", True),
    ("o_0", "layer_0.gates.s2_valid", "layer_0.gates.o_0", False),
    ("c_next_0", "layer_0.gates.s3_valid", "layer_0.gates.c_next_0", True),
    ("h_0", "layer_0.gates.o__valid", "layer_0.gates.h_0", True),
    ("h valid", "", "layer_0.gates.o__valid", False),
)
"""Label, the net that says when there is a value, the net, and whether it is signed."""


def wavejson() -> str:
    """The figure, as WaveJSON: the cycles of one step."""
    program = random_program(DESIGN, SEED)
    x, lengths = random_codes(DESIGN, SEED, 1, 3, 3), torch.tensor([3])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        emit.emit_all(program, x, lengths, folder)
        built = chip.prepare(folder, DESIGN.name, waves=True)
        result = chip.simulate(built, waves=True)
        assert result["mismatches"] == 0, result
        sidecar = json.loads((folder / f"{DESIGN.name}.json").read_text())
        dump = folder / "verilator-waves" / "dump.vcd"
        names = {name for _, when, net, _ in SHOWN for name in (when, net) if name}
        found = waves.sample(dump, sidecar["module"], names)
        widths = {
            net.path.partition(f"{sidecar['module']}.")[2]: net.width for net in waves.nets(dump)
        }
        begin, end = waves.steps(dump, sidecar)[STEP]
    first, last = found.times.index(begin), found.times.index(end) + 2
    lanes: list[dict[str, object]] = [{"name": "clk", "wave": "p" + "." * (last - first - 1)}]
    for label, when, net, signed in SHOWN:
        values = found.values[net][first:last]
        if not when:
            lanes.append({"name": label, "wave": _levels(values)})
            continue
        valid = [bool(v) for v in found.values[when][first:last]]
        sign = 1 << (widths[net] - 1) if signed else 0
        shown = [
            None if v is None or not on else (v ^ sign) - sign
            for v, on in zip(values, valid, strict=True)
        ]
        lanes.append({"name": label, **_numbers(shown)})
    figure = {
        "signal": lanes,
        "head": {"text": "one step of a layer: 4 units, 4 lanes, 4 gates", "tick": 0},
        "config": {"hscale": 1},
    }
    return json.dumps(figure, indent=1) + "\n"


def _levels(values: list[int | None]) -> str:
    wave, before = "", None
    for value in values:
        wave += "." if value == before and wave else str(value)
        before = value
    return wave


def _numbers(values: list[int | None]) -> dict[str, object]:
    wave, data, before = "", [], "start"
    for value in values:
        if value == before:
            wave += "."
        elif value is None:
            wave += "x"
        else:
            wave += "="
            data.append(str(value))
        before = value
    return {"wave": wave, "data": data}


if __name__ == "__main__":
    import wavedrom

    text = wavejson()
    (HERE / "step.json").write_text(text)
    wavedrom.render(text).saveas(str(HERE / "step.svg"))
