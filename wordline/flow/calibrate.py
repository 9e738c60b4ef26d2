"""Calibrate the cost model against gate-level counts: `python -m wordline.flow.calibrate`.

Trains, maps, simulates and counts each design of `DESIGNS`, as `wordline ppa` and `wordline synth`
do. Fits the coefficients of gen/cost/model.py, writes them to gen/cost/model.json, and prints the
errors for these designs and for those of `TRIED`, which the fit does not use. Takes about three
minutes per design; counts are kept in build/calibrate. Needs the tools of `wordline ppa`, and
SciPy.
"""

import dataclasses
import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gen.cost import model, ppa
from gen.cost.components import read_figures
from gen.cost.counts import Counted
from gen.cost.energy import CLOCK_NET
from gen.cost.model import Model
from gen.cost.structure import FIELDS, structure
from gen.impl import memories, yosys
from golden import files, presets
from golden.description import Description
from golden.files import DATA
from golden.presets import Recipe
from hw import timing
from wordline.flow import measure, synthesise, train

BUILD = Path("build/calibrate")

SEQUENCES = 2
"""Number of test sequences that run through each netlist."""

EPOCHS = 10
"""Epochs of float training and of quantised training.

Activity of random weights is not typical, but a fully trained network is not needed.
"""

SMALL = {"network": {"hidden": [16]}}

DESIGNS: dict[str, dict[str, Any]] = {
    "small": {"network": {"hidden": [8]}, "array": {"lanes": 2}},
    "mid": SMALL,
    "adc5": SMALL | {"adc": {"bits": 5}},
    "bits3": SMALL | {"device": {"weight_bits": 3}, "dac": {"bits": 3}, "adc": {"bits": 3}},
    "flash": {"network": {"hidden": [24]}, "adc": {"kind": "flash"}, "array": {"lanes": 8}},
    "ramp": SMALL | {"adc": {"kind": "ramp"}},
    "pulse": SMALL | {"dac": {"kind": "pulse-width"}},
    "serial": SMALL | {"dac": {"kind": "bit-serial"}},
    "rnn": SMALL | {"cell": {"kind": "rnn"}},
    "two": {"network": {"hidden": [12, 8]}, "array": {"lanes": 2}},
    "deep": SMALL | {"array": {"pipeline": "deep", "settle": 23}},
    "votes": SMALL | {"voting": {"replay_steps": 32}},
    "wide": SMALL
    | {
        "dac": {"bits": 8},
        "adc": {"bits": 8},
        "cell": {"gate_bits": 10, "state_bits": 14, "state_index_bits": 10, "hidden_bits": 10},
    },
    "tiles": {"network": {"hidden": [40]}, "array": {"rows": 32, "columns": 64}},
    "lanes": {"network": {"hidden": [32]}, "array": {"lanes": 16}},
}
"""Changes to the preset vowels. None of the results is a preset."""

FLAT = ("small", "bits3", "rnn", "tiles")
"""Designs that are also mapped with memories as flip-flops."""

TRIED = ("vowels", "vowels-rnn", "vowels-deep")
"""Presets that are also counted, but not used in the fit."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A design and its measurements.

    counted: Counts at gate level.
    flat: Cell area by block, with all memories as flip-flops (um2); None: not mapped.
    """

    name: str
    description: Description
    counted: Counted
    flat: dict[str, float] | None


def recipe(name: str) -> Recipe:
    """Recipe of one of the designs."""
    if name in TRIED:
        return presets.load(name)
    vowels = presets.load("vowels")
    return dataclasses.replace(
        vowels,
        description=vowels.description.replace(name=f"calibrate-{name}", **DESIGNS[name]),
        training=dataclasses.replace(vowels.training, float_epochs=EPOCHS, epochs=EPOCHS),
    )


def row(name: str) -> Row:
    """Train, map, simulate and count a design."""
    own = recipe(name)
    description = own.description
    folder = BUILD / description.name
    train.train(own, BUILD)
    counted = measure.measure(
        *synthesise.netlist_inputs(own, BUILD, SEQUENCES, DATA),
        *(folder / "analog", "analog"),
    )
    flat = _flat(description, folder / "flat") if name in (*FLAT, *TRIED) else None
    return Row(name, description, counted, flat)


def _flat(description: Description, folder: Path) -> dict[str, float]:
    """Cell area by block (um2); the result is kept."""
    kept = folder / "areas.json"
    if not kept.exists():
        mapped = yosys.map_cells(description, ppa.CELLS, folder)
        files.write_text(kept, json.dumps({b.name: b.area for b in mapped.blocks}))
    found: dict[str, float] = json.loads(kept.read_text())
    return found


def fit(rows: list[Row]) -> Model:
    """Fit the coefficients; none is negative."""
    names = [field.name for field in FIELDS]
    areas: list[tuple[list[float], float]] = []
    for one in rows:
        for blocks, bits in ((one.counted.area, memories.LEAST), (one.flat or {}, None)):
            own = structure(one.description, memory_bits=bits).blocks
            areas += [
                ([getattr(own[block], name) for name in names], um2)
                for block, um2 in blocks.items()
                if block in own
            ]
    area = dict(zip(names, _least(areas, 500.0), strict=True))
    partial = Model(area, {}, {}, {})
    taken: dict[str, list[tuple[list[float], float]]] = defaultdict(list)
    changed: dict[str, list[float]] = defaultdict(list)
    reads: dict[str, list[float]] = defaultdict(list)
    for one in rows:
        design, steps = one.description, one.counted.steps
        cycles = timing.cycles_per_step(design)
        inside = structure(design).blocks
        for block, pj in one.counted.energy.items():
            if block in inside:
                groups = inside[block].gated * cycles
                work = model.busy_cycles(design, block, steps // SEQUENCES)
                busy = model.logic_area(inside[block], partial) * work
                for role in (model.role(design, block), "other"):
                    taken[role].append(([groups, busy], pj / steps))
        groups = sum(counts.gated for counts in inside.values()) * cycles
        taken[CLOCK_NET].append(([groups, 0.0], one.counted.energy[CLOCK_NET] / steps))
        for array in one.counted.arrays:
            if array.block.startswith("layer_"):
                changed[design.dac.kind].append(
                    array.bits_changed / steps / array.rows / array.row_bits
                )
                reads[design.dac.kind].append(array.reads / steps / array.devices)
    energy = {}
    for role, found in sorted(taken.items()):
        idle, busy = _least(found, 1.0)
        energy[role] = idle, busy
    return Model(area, energy, _means(changed), _means(reads))


def _least(rows: list[tuple[list[float], float]], floor: float) -> list[float]:
    """Non-negative least squares. Errors are divided by the root of the target plus `floor`."""
    import numpy as np
    from scipy.optimize import nnls

    right = np.array([y for _, y in rows])
    weight = 1 / np.sqrt(right + floor)
    features = np.array([x for x, _ in rows], dtype=float)
    found, _ = nnls(features * weight[:, None], right * weight)
    return [float(f"{value:.4g}") for value in found]


def _means(values: dict[str, list[float]]) -> dict[str, float]:
    return {key: float(f"{sum(found) / len(found):.4g}") for key, found in values.items()}


def compared(one: Row, of: Model) -> dict[str, tuple[float, float]]:
    """Estimates and measurements of a design, with typical figures, as pairs by measure.

    Measures are area (um2) and energy per step (pJ) of the cells, the same of the whole accelerator
    at 32 nm, TOPS/W, TOPS/mm2, and the cell area with memories as flip-flops, if that was mapped.
    """
    design, steps = one.description, one.counted.steps
    typical = {name: figure.typical for name, figure in read_figures().items()}
    ours = model.estimate(design, steps // SEQUENCES, of=of)
    found, right = (ppa.cost(counted, typical) for counted in (ours, one.counted))
    result = {
        "cells, um2": (sum(ours.area.values()), sum(one.counted.area.values())),
        "cells, pJ": (sum(ours.energy.values()), sum(one.counted.energy.values()) / steps),
        "um2": (sum(found.area.values()), sum(right.area.values())),
        "pJ": (sum(found.energy.values()), sum(right.energy.values())),
        "TOPS/W": (found.tops_per_watt, right.tops_per_watt),
        "TOPS/mm2": (found.tops_per_mm2, right.tops_per_mm2),
    }
    if one.flat is not None:
        result["flat cells, um2"] = model.cells_area(design, of=of), sum(one.flat.values())
    return {
        name: (float(f"{ours_:.5g}"), float(f"{counted:.5g}"))
        for name, (ours_, counted) in result.items()
    }


def main() -> None:
    """Count, fit, write the model and print its errors."""
    rows = {}
    for name in (*DESIGNS, *TRIED):
        rows[name] = row(name)
        print(f"{name}: counted", flush=True)
    found = fit([rows[name] for name in DESIGNS])
    sides = {name: compared(one, found) for name, one in rows.items()}
    about = asdict(found) | {
        "sequences": SEQUENCES,
        "fitted": {name: sides[name] for name in DESIGNS},
        "tried": {name: sides[name] for name in TRIED},
    }
    files.write_text(model.MODEL, json.dumps(about, indent=1) + "\n")
    for name, values in sides.items():
        ratios = (f"{what} {ours / right:.3f}" for what, (ours, right) in values.items())
        print(f"{name:12} model over counted: " + ", ".join(ratios))


if __name__ == "__main__":
    main()
