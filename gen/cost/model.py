"""Estimate of area and energy of a design from its description, without synthesis or simulation.

gen/cost/structure.py counts the parts of the design. The area of a counted bit and its energy per
cycle are fitted to designs that were mapped and simulated at gate level (model.json, written by
`python -m wordline.flow.calibrate`). docs/efficiency.md has the errors of the model.
"""

import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from gen.cost import counts, ppa
from gen.cost.components import Figures, Values
from gen.cost.counts import Counted
from gen.cost.energy import CLOCK_NET
from gen.cost.structure import Counts, Structure, structure
from gen.ip.options import PERIOD_NS
from golden.description import Description
from golden.errors import WordlineError
from golden.geometry import ArrayShape
from hw import timing

MODEL = Path(__file__).with_name("model.json")

STEPS = 16
"""Steps of a sequence, for a design with one output per sequence: its head works in one of them."""

MEMORY_BITS = ("held", "picked")
"""`Counts` of memory made of flip-flops: they have area, but no energy except for their enables."""


@dataclass(frozen=True)
class Model:
    """Coefficients of the model.

    area: Area of one of each of `Counts`, in 180 nm OSU cells (um2).
    energy: By role of a block: idle energy per group of registers and cycle (pJ), and busy energy
        per um2 of logic and busy cycle (pJ).
    changed: Bit changes on the rows each time that codes are put on them (`on_rows`), as a
        fraction of their bits; by kind of DAC.
    reads: Reads per plane and device, weighted as `gen.cost.counts.Array.reads`; by kind of DAC.
    """

    area: dict[str, float]
    energy: dict[str, tuple[float, float]]
    changed: dict[str, float]
    reads: dict[str, float]


@cache
def model() -> Model:
    """The model in model.json."""
    found = json.loads(MODEL.read_text(encoding="utf-8"))
    energy = {role: (idle, busy) for role, (idle, busy) in found["energy"].items()}
    return Model(found["area"], energy, found["changed"], found["reads"])


def area(counted: Counts, of: Model) -> float:
    """Area of a block (um2)."""
    return sum(of.area[name] * number for name, number in asdict(counted).items())


def logic_area(counted: Counts, of: Model) -> float:
    """Area of a block without its memory (um2)."""
    return area(replace(counted, **dict.fromkeys(MEMORY_BITS, 0)), of)


def role(description: Description, block: str) -> str:
    """Role of a block, independent of its layer: `gates.lstm`, `readout.queue`, `axi.control`."""
    inside = block.split(".")
    if inside[0] == "axi" or len(inside) == 1:
        return block if not inside[0].startswith("layer_") else "layer"
    found = ".".join(part for part in inside[1:] if part != "array")
    return f"gates.{description.cell.kind}" if found == "gates" else found


def runs(description: Description, array: str, steps: int) -> float:
    """How often an array works in a step: the head in one of a sequence, if that has one output.

    steps: Steps of a sequence.
    """
    once = array == "head" and not description.output.every_step
    return 1 / steps if once else 1.0


def busy_cycles(description: Description, block: str, steps: int = STEPS) -> float:
    """Busy cycles of a block per step.

    steps: Steps of a sequence.
    """
    first, *inside = block.split(".")
    cycles = timing.cycles_per_step(description)
    if first == "replay":
        return float(timing.input_beats(description, 0))
    if not (inside and (first == "head" or first.startswith("layer_"))):
        return float(cycles)
    number = len(description.layers) if first == "head" else int(first.removeprefix("layer_"))
    head = first == "head"
    shape = description.head if head else description.layers[number]
    run = runs(description, first, steps)
    beats = 0 if head else timing.beats(shape)
    if inside[-1] in ("readout", "queue"):
        return timing.conversion_cycles(shape) * run
    if inside[-1] == "gates":
        return float(beats)
    if inside[-1] == "dac":
        return float(timing.input_beats(description, number) + beats + 1)
    if inside[-1] in ("scores", "decision"):
        return shape.units * run
    return 0.0


def energies(
    description: Description, counted: Structure, of: Model, steps: int = STEPS
) -> dict[str, float]:
    """Energy by block (pJ per step)."""
    cycles = timing.cycles_per_step(description)
    found = {}
    for block, own in counted.blocks.items():
        idle, busy = of.energy.get(role(description, block), of.energy["other"])
        work = busy_cycles(description, block, steps)
        found[block] = idle * own.gated * cycles + busy * logic_area(own, of) * work
    groups = sum(own.gated for own in counted.blocks.values())
    found[CLOCK_NET] = of.energy[CLOCK_NET][0] * groups * cycles
    return found


def estimate(description: Description, steps: int = STEPS, *, of: Model | None = None) -> Counted:
    """Estimate, for one step, what `gen.cost.counts.count` measures.

    steps: Steps of a sequence.
    of: Model; None: the one in model.json.

    Raises WordlineError if the model has no DAC of the description's kind.
    """
    of, kind = of or model(), description.dac.kind
    if kind not in of.changed:
        raise WordlineError(
            f"The cost model has no DAC of kind {kind!r}; choose one of {', '.join(of.changed)}, "
            f"or calibrate the model with a design that has it (wordline/flow/calibrate.py)."
        )
    counted = structure(description)
    operations = counts.operations_of(description, 1, 1 / steps)
    return Counted(
        steps=1,
        operations=round(operations),
        cycles=float(timing.cycles_per_step(description)),
        period_ns=PERIOD_NS,
        adc_bits=description.adc.bits,
        period_cycles=max(timing.period(shape) for shape in description.arrays.values()),
        adc_kind=description.adc.kind,
        energy=energies(description, counted, of, steps),
        area={block: area(own, of) for block, own in counted.blocks.items()},
        memories=[_memory(description, block, shape, steps) for block, shape in counted.memories],
        arrays=[
            array
            for name, shape in description.arrays.items()
            for array in _arrays(description, name, shape, of, steps)
        ],
    )


def _memory(description: Description, memory: str, shape: Any, steps: int) -> counts.Memory:
    """A memory that is read in each busy cycle of its block; the memory of c is also written."""
    block, _, name = memory.rpartition(".")
    work = busy_cycles(description, block, steps)
    return counts.Memory(memory, shape, work * shape.reads, work if name == "state" else 0.0)


def _arrays(
    description: Description, name: str, shape: ArrayShape, of: Model, steps: int
) -> list[counts.Array]:
    """The crossbars of an array."""
    macro, dac = shape.macro, description.dac
    run = runs(description, name, steps)
    devices = 2 * macro.rows * macro.units * macro.gates
    bits = macro.rows * dac.drive_width
    one = counts.Array(
        block=name,
        lanes=macro.lanes,
        rows=macro.rows,
        row_bits=dac.drive_width,
        devices=devices,
        conversions=shape.samples * macro.lanes * run,
        bits_changed=bits * of.changed[dac.kind] * on_rows(shape) * run,
        reads=devices * of.reads[dac.kind] * dac.planes * run,
    )
    return [one] * shape.macros


def on_rows(shape: ArrayShape) -> int:
    """How often a step puts its codes on the rows: levels stay, pulses and single bits come again
    with each sample."""
    return 1 if shape.description.dac.kind == "level" else shape.samples


def cells_area(description: Description, *, of: Model | None = None) -> float:
    """Area of 180 nm cells with all memories as flip-flops (um2), as in `wordline synth`."""
    whole = sum(structure(description, memory_bits=None).blocks.values(), Counts())
    return area(whole, of or model())


MEASURES = {
    "area in mm2": lambda cost: sum(cost.area.values()) / 1e6,
    "energy in pJ a step": lambda cost: sum(cost.energy.values()),
    "TOPS/W": lambda cost: cost.tops_per_watt,
    "TOPS/mm2": lambda cost: cost.tops_per_mm2,
}


def ranges(counted: Counted, figures: Figures) -> dict[str, ppa.Range]:
    """Ranges of the measures: all figures typical, all low, or all high.

    Each measure is monotonic in every figure. Below the bits that an ADC's figures are for, a
    larger growth makes it cheaper.
    """
    few = counted.adc_bits < ppa.ADC_BITS
    other = {"low": "high", "typical": "typical", "high": "low"}

    def end(name: str, case: str) -> float:
        value: float = getattr(figures[name], other[case] if few and "growth" in name else case)
        return value

    cases: dict[str, Values] = {
        case: {name: end(name, case) for name in figures} for case in ("low", "typical", "high")
    }
    costs = {case: ppa.cost(counted, values) for case, values in cases.items()}
    found = {}
    for name, of in MEASURES.items():
        values = {case: of(cost) for case, cost in costs.items()}
        found[name] = ppa.Range(min(values.values()), values["typical"], max(values.values()))
    return found
