"""Calibrate the cost model against gate-level counts: `python -m wordline.flow.calibrate`.

Trains, maps, simulates and counts each design of `DESIGNS`, as `wordline ppa` and `wordline synth`
do. Fits the coefficients of gen/cost/model.py, writes them to gen/cost/model.json, and prints the
errors for these designs and for those of `TRIED`, which the fit does not use. Does the same for the
digital arrays of gen/cost/digital.py. Takes three to ten minutes per design and side; counts are
kept in build/calibrate. Needs the tools of `wordline ppa`, and SciPy.
"""

import dataclasses
import json
from collections import defaultdict
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from gen.cost import digital, model, ppa, twin
from gen.cost.components import Values, read_figures
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

TWINS = ("small", "mid", "bits3", "adc5", "rnn", "two")
"""Designs whose digital twins are counted too."""

TRIED = ("vowels", "vowels-rnn", "vowels-deep")
"""Presets that are also counted, but not used in the fit."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A design and its measurements.

    counted: Counts at gate level.
    digital: Those of the digital twin; None: not counted.
    flat: Cell area by block, with all memories as flip-flops (um2); None: not mapped.
    """

    name: str
    description: Description
    counted: Counted
    digital: Counted | None
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
    inputs = synthesise.netlist_inputs(own, BUILD, SEQUENCES, DATA)
    counted = measure.measure(*inputs, folder / "analog", "analog")
    twins = name in (*TWINS, *TRIED)
    other = measure.measure(*inputs, folder / "digital", "digital") if twins else None
    flat = _flat(description, folder / "flat") if name in (*FLAT, *TRIED) else None
    return Row(name, description, counted, other, flat)


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
                times = steps * model.on_rows(design.arrays[array.block.replace("_", "s.")])
                changed[design.dac.kind].append(
                    array.bits_changed / times / array.rows / array.row_bits
                )
                planes = steps * design.dac.planes
                reads[design.dac.kind].append(array.reads / planes / array.devices)
    energy = {}
    for role, found in sorted(taken.items()):
        idle, busy = _least(found, 1.0)
        energy[role] = idle, busy
    return Model(area, energy, _means(changed), _means(reads))


def fit_digital(rows: list[Row]) -> digital.Coefficients:
    """Fit the coefficients of digital arrays; none is negative."""
    area: list[tuple[list[float], float]] = []
    energy: list[tuple[list[float], float]] = []
    for one in rows:
        if one.digital is None:
            continue
        steps = one.digital.steps
        for name, (logic, work) in _digital(one.description, steps).items():
            area.append(([*astuple(logic)], _of_macros(one.digital.area, name)))
            energy.append(([*astuple(work)], _of_macros(one.digital.energy, name) / steps))
    return digital.Coefficients(
        digital.Logic(*_least(area, 500.0)), digital.Logic(*_least(energy, 1.0))
    )


def _digital(
    description: Description, steps: int
) -> dict[str, tuple[digital.Logic, digital.Logic]]:
    """Logic of the digital arrays of a twin by array, and how much of it works in a step."""
    arrays = digital.arrays(twin.twin_description(description), steps // SEQUENCES)
    return {name: (one.logic * count, one.work() * count) for name, (one, count) in arrays.items()}


def _of_macros(by_block: dict[str, float], array: str) -> float:
    """Sum over the macros of an array."""
    start = digital.block_name(array).removesuffix(".macro")
    return sum(value for block, value in by_block.items() if block.startswith(start))


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


def compared(one: Row, of: Model, digital_: digital.Coefficients) -> dict[str, float]:
    """Estimates over measurements of a design, by measure.

    Measures are area (um2) and energy per step (pJ) of the cells; the same of the whole accelerator
    at 32 nm with typical figures, TOPS/W and TOPS/mm2, of the design and of its twin; and the cell
    area with memories as flip-flops, if that was mapped.
    """
    design, steps = one.description, one.counted.steps
    typical = {name: figure.typical for name, figure in read_figures().items()}
    ours = model.estimate(design, steps // SEQUENCES, of=of)
    result = {
        "cells, um2": sum(ours.area.values()) / sum(one.counted.area.values()),
        "cells, pJ": sum(ours.energy.values()) / sum(one.counted.energy.values()) * steps,
    }
    pairs = {"": (ours, one.counted)}
    if one.digital is not None:
        pairs["twin, "] = digital.estimate(design, steps // SEQUENCES, of=digital_), one.digital
    for name, pair in pairs.items():
        result |= {name + what: ratio for what, ratio in costs(*pair, typical).items()}
    if one.flat is not None:
        result["flat cells, um2"] = model.cells_area(design, of=of) / sum(one.flat.values())
    return result


def costs(estimated: Counted, counted: Counted, values: Values) -> dict[str, float]:
    """Estimated measures over counted ones, for given figures."""
    ours, right = (ppa.cost(of, values) for of in (estimated, counted))
    return {
        "um2": sum(ours.area.values()) / sum(right.area.values()),
        "pJ": sum(ours.energy.values()) / sum(right.energy.values()),
        "TOPS/W": ours.tops_per_watt / right.tops_per_watt,
        "TOPS/mm2": ours.tops_per_mm2 / right.tops_per_mm2,
    }


def main() -> None:
    """Count, fit, write the model and print its errors; keep the counts of `TRIED`."""
    rows = {}
    for name in (*DESIGNS, *TRIED):
        rows[name] = row(name)
        print(f"{name}: counted", flush=True)
    fitted = [rows[name] for name in DESIGNS]
    found, arrays = fit(fitted), fit_digital(fitted)
    about = asdict(found) | {"digital": asdict(arrays), "sequences": SEQUENCES}
    files.write_text(model.MODEL, json.dumps(about, indent=1) + "\n")
    tried: dict[str, Any] = {}
    for name in TRIED:
        one = rows[name]
        assert one.digital is not None and one.flat is not None
        tried[name] = {"analog": asdict(one.counted), "digital": asdict(one.digital)}
        tried[name]["flat_um2"] = sum(one.flat.values())
    files.write_text(BUILD / "tried.json", json.dumps(tried) + "\n")
    for name, one in rows.items():
        ratios = (f"{what} {ratio:.3f}" for what, ratio in compared(one, found, arrays).items())
        print(f"{name:12} model over counted: " + ", ".join(ratios))
    print(f"{BUILD / 'tried.json'}: counts of {', '.join(TRIED)}, for tests/gen/tried.json")


if __name__ == "__main__":
    main()
