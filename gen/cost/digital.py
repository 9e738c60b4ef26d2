"""Digital arrays in the cost model: the twin's, and one whose weights stay at their multipliers.

The logic of `hw.macro.digital.DigitalArray` is counted from its sizes: partial products, adders,
registers. Coefficients for area and energy are fitted to digital twins that were mapped and
simulated at gate level (`python -m wordline.flow.calibrate`, "digital" in model.json). Memories of
weights take the figures of components.toml.
"""

import json
from dataclasses import astuple, dataclass, replace
from functools import cache

from gen.cost import model, twin
from gen.cost.counts import Counted, Memory
from gen.impl import memories
from golden.description import Description
from golden.geometry import ArrayShape
from golden.ranges import ceil_div, index_bits
from hw import timing


@dataclass(frozen=True)
class Logic:
    """Counts of the logic of digital arrays, in bits.

    summed: Partial products of weights and codes, and the adders of each lane's tree and of its
        accumulator.
    gains: Partial products of the multiplication by the gain, and the bits of its rounding.
    chosen: Multiplexers of a group of rows, which all lanes share.
    registers: Flip-flops of the group of rows, of charges and of converted values.
    held: Bits of weight memories that are too small for macros, and made of flip-flops.
    clocked: Nothing of its own; as work, all flip-flops once for each cycle.
    """

    summed: float = 0.0
    gains: float = 0.0
    chosen: float = 0.0
    registers: float = 0.0
    held: float = 0.0
    clocked: float = 0.0

    def __mul__(self, times: float) -> "Logic":
        return Logic(*(times * a for a in astuple(self)))


@dataclass(frozen=True)
class Array:
    """A digital array: its logic, and how often each part of it works in a step.

    at_once: Rows that a lane multiplies in a cycle.
    groups: Cycles of a sample.
    samples: Samples per step.
    cycles: Cycles per step.
    memory: The memory of weights of a lane.
    """

    lanes: int
    at_once: int
    groups: int
    samples: float
    cycles: float
    memory: memories.Shape
    logic: Logic

    def work(self) -> Logic:
        """Counts that work in a step, each as often as it does."""
        busy = self.groups * self.samples
        own = self.logic
        return Logic(
            summed=own.summed * busy,
            gains=own.gains * self.samples,
            chosen=own.chosen * busy,
            registers=own.registers * busy,
            held=own.held * busy,
            clocked=(own.registers + own.held) * self.cycles,
        )


def array(shape: ArrayShape, runs: float = 1.0) -> Array:
    """The digital array in the place of a crossbar.

    runs: How often it works in a step.
    """
    description, macro = shape.description, shape.macro
    at_once = ceil_div(macro.rows, min(macro.rows, timing.settle(macro) - 2))
    groups = ceil_div(macro.rows, at_once)
    weight, code = description.device.conductance_bits + 1, description.dac.drive_width
    charge = macro.charge_max.bit_length() + 1
    lanes = macro.lanes
    memory = memories.Shape(groups << index_bits(macro.selects), at_once * weight, 1)
    logic = Logic(
        summed=float(lanes * (_summed(at_once, weight, code) + charge)),
        gains=float(lanes * (charge + 1) * description.adc.gain_bits),
        chosen=float(at_once * code * (groups - 1)),
        registers=float(at_once * code + 2 * lanes * charge),
        held=0.0 if _is_macro(memory) else float(lanes * memory.bits),
    )
    cycles = float(timing.cycles_per_step(description))
    return Array(lanes, at_once, groups, shape.samples * runs, cycles, memory, logic)


def _is_macro(memory: memories.Shape) -> bool:
    return memory.bits >= memories.LEAST


def _summed(terms: int, weight: int, code: int) -> int:
    """Partial products of so many multipliers, and bits of the tree that adds them up."""
    bits, total = weight + code, terms * weight * code
    while terms > 1:
        bits += 1
        total += terms // 2 * bits
        terms = ceil_div(terms, 2)
    return total


@dataclass(frozen=True)
class Coefficients:
    """Area (um2) of one of each of `Logic`, and energy (pJ) of one that works, at 180 nm."""

    area: Logic
    energy: Logic


@cache
def coefficients() -> Coefficients:
    """The coefficients in model.json."""
    found = json.loads(model.MODEL.read_text(encoding="utf-8"))["digital"]
    return Coefficients(Logic(**found["area"]), Logic(**found["energy"]))


def dot(a: Logic, b: Logic) -> float:
    """Sum of products."""
    return sum(x * y for x, y in zip(astuple(a), astuple(b), strict=True))


def arrays(description: Description, steps: int) -> dict[str, tuple[Array, int]]:
    """Digital arrays of a twin by name, with their number."""
    found = {}
    for name, shape in description.arrays.items():
        found[name] = array(shape, model.runs(description, name, steps)), shape.macros
    return found


def block_name(array: str) -> str:
    """Block of the digital arrays in the place of the crossbars of an array."""
    return f"{array.replace('layers.', 'layer_')}.array.macro.macro"


def estimate(
    description: Description, steps: int = model.STEPS, *, of: Coefficients | None = None
) -> Counted:
    """Estimate, for one step of a design's digital twin, what `gen.cost.counts.count` measures.

    Raises WordlineError if the design has no twin.
    """
    twin.check(description)
    of, own = of or coefficients(), twin.twin_description(description)
    base = model.estimate(own, steps)
    area, energy, held = dict(base.area), dict(base.energy), list(base.memories)
    for name, (one, count) in arrays(own, steps).items():
        block = block_name(name)
        area[block] = count * dot(one.logic, of.area)
        energy[block] = count * dot(one.work(), of.energy)
        if _is_macro(one.memory):
            memory = Memory(block, one.memory, one.groups * one.samples, 0.0)
            held += [memory] * (count * one.lanes)
    return replace(base, area=area, energy=energy, memories=held, arrays=[])


def stationary(
    description: Description,
    counted: Counted,
    steps: int = model.STEPS,
    *,
    of: Coefficients | None = None,
) -> Counted:
    """The arrays alone, with a multiplier for each weight, which is busy in every cycle.

    A vector-matrix product takes one cycle: the recurrence is hidden by as many sequences side by
    side as the loop has cycles. Weights stay at their multipliers and are not read; their bits take
    the area of memory. No logic around the arrays is included: this is the most that logic can do.

    counted: The design's twin, as `estimate` gives it.
    """
    of, own = of or coefficients(), twin.twin_description(description)
    area = energy = 0.0
    held = []
    for name, shape in own.arrays.items():
        columns = shape.units * shape.gates
        weight, code = own.device.conductance_bits + 1, own.dac.drive_width
        logic = Logic(
            summed=float(columns * _summed(shape.rows, weight, code)),
            registers=float(columns * (shape.charge_max.bit_length() + 1)),
        )
        logic = replace(logic, clocked=logic.registers)
        area += dot(logic, of.area)
        runs = model.runs(own, name, steps) * own.dac.planes
        energy += dot(logic, of.energy) * runs
        held.append(Memory(name, memories.Shape(shape.rows, columns * weight, 1), 0.0, 0.0))
    return replace(
        counted,
        cycles=float(own.dac.planes),
        area={"multipliers and adders": area},
        energy={"multipliers and adders": energy},
        memories=held,
        arrays=[],
    )
