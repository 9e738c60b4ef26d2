"""Energy and area of an accelerator and of its digital twin, from counts at gate level.

Digital logic is synthesised at 180 nm (gen/impl/synth.py) and scaled (gen/cost/technology.py).
Analog parts and memories use published figures (gen/cost/components.toml). Each figure, and so each
result, has a low, a typical and a high value.
"""

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gen.cost import components, technology
from gen.cost.components import Figures, Values
from gen.cost.counts import Array, Counted
from gen.impl import cells
from gen.ip.options import Macro
from hw import timing

NODE = components.NODE
"""Default technology node of the results (nm)."""

ADC_BITS = 4
"""Resolution of the ADCs in the published figures."""

CELLS = cells.CELLS["osu018"]

CELLS_NODE = 180

SIDES: dict[str, Macro] = {"analog": "blackbox", "digital": "digital"}
"""View of the crossbar macros in the design with crossbars and in its digital twin."""


@dataclass(frozen=True)
class Cost:
    """Cost of a design for one choice of figures.

    energy: Energy by part (pJ per step).
    area: Area by part (um2).
    step_ns: Duration of a step (ns).
    """

    energy: dict[str, float]
    area: dict[str, float]
    step_ns: float
    operations: float
    """Operations per step."""

    @property
    def tops_per_watt(self) -> float:
        """10^12 operations per joule."""
        return self.operations / sum(self.energy.values())

    @property
    def tops_per_mm2(self) -> float:
        """10^12 operations per second and mm2."""
        return 1000 * self.operations / self.step_ns / sum(self.area.values())


def cost(
    counted: Counted, values: Values, *, adc_bits: int | None = None, node: int = NODE
) -> Cost:
    """Cost of a design for given values of the figures.

    adc_bits: Resolution of the ADCs; None: that of the design. It changes only energy, area and
        time of the ADCs.
    node: Technology node of the values (nm); it determines the cycle time.
    """
    v = values
    bits = counted.adc_bits if adc_bits is None else adc_bits
    kind = counted.adc_kind
    energy: dict[str, float] = defaultdict(float)
    area: dict[str, float] = defaultdict(float)
    for block, pj in counted.energy.items():
        energy[block] += pj * v["node_energy"] * v["digital_overhead"]
    for block, um2 in counted.area.items():
        area[block] += um2 * v["node_area"] * v["utilisation"]
    for memory in counted.memories:
        accesses = memory.reads + memory.writes
        energy["memories"] += accesses * memory.shape.width * v["memory_energy"]
        area["memories"] += memory.shape.bits * memory.shape.reads * v["memory_area"]
    cycle_ns = counted.period_ns * technology.scale(CELLS_NODE, node).delay
    stretch = 1.0
    if counted.arrays:
        # A column settles while the ADC converts the sample before.
        steps = timing.conversion_steps(kind, bits)
        cycles = counted.period_cycles
        if bits != counted.adc_bits:
            cycles = max(cycles, steps)
        takes = max(cycles * cycle_ns, v["settle"], steps * v["adc_time"])
        stretch = takes / (counted.period_cycles * cycle_ns)
    for array in counted.arrays:
        pj, um2 = _adcs(kind, bits, array, v)
        energy["ADCs"] += pj
        area["ADCs"] += um2
        energy["front ends"] += array.conversions * v["front_end_energy"]
        area["front ends"] += array.lanes * v["front_end_area"]
        energy["DACs"] += array.bits_changed * v["dac_energy"]
        area["DACs"] += array.rows * v["row_area"]
        energy["cells"] += array.reads * v["cell_power"] * v["settle"] * 1e-6  # nW ns
        area["cells"] += array.devices * v["cell_area"]
    return Cost(
        energy={part: pj / counted.steps for part, pj in energy.items()},
        area=dict(area),
        step_ns=counted.cycles / counted.steps * cycle_ns * stretch,
        operations=counted.operations / counted.steps,
    )


def _adcs(kind: str, bits: int, array: Array, v: Values) -> tuple[float, float]:
    """Energy (pJ) and area (um2) of the ADCs of a crossbar.

    A SAR ADC costs the ADC figures. A flash ADC has one comparator per threshold, 2^bits - 1. A
    ramp ADC has one comparator per lane, which decides as often, and one reference per crossbar,
    which costs as much as a SAR ADC.
    """
    of_sar = v["adc_energy"] * v["adc_energy_growth"] ** (bits - ADC_BITS)
    sar_area = v["adc_area"] * v["adc_area_growth"] ** (bits - ADC_BITS)
    if kind == "sar":
        return array.conversions * of_sar, array.lanes * sar_area
    thresholds = 2**bits - 1
    decided = array.conversions * thresholds * v["comparator_energy"]
    if kind == "flash":
        return decided, array.lanes * thresholds * v["comparator_area"]
    references = array.conversions / array.lanes
    return decided + references * of_sar, array.lanes * v["comparator_area"] + sar_area


@dataclass(frozen=True)
class Range:
    """A result with typical figures, and its lowest and highest value."""

    low: float
    typical: float
    high: float


def over_figures(figures: Figures, of: Callable[[Values], float]) -> Range:
    """Range of a result over all combinations of low and high figures.

    The extremes are among them, as the result is monotonic in each figure.
    """
    typical = {name: figure.typical for name, figure in figures.items()}
    centre = of(typical)
    matter = [
        name
        for name, figure in figures.items()
        if any(of(typical | {name: value}) != centre for value in (figure.low, figure.high))
    ]
    results = [centre]
    for ends in itertools.product(*((figures[n].low, figures[n].high) for n in matter)):
        results.append(of(typical | dict(zip(matter, ends, strict=True))))
    return Range(min(results), centre, max(results))


def sensitivity(figures: Figures, of: Callable[[Values], float]) -> dict[str, tuple[float, float]]:
    """Result with one figure at its low and at its high value, by figure, widest range first."""
    typical = {name: figure.typical for name, figure in figures.items()}
    found = {
        name: (of(typical | {name: figure.low}), of(typical | {name: figure.high}))
        for name, figure in figures.items()
    }
    ordered = sorted(found.items(), key=lambda entry: -abs(entry[1][1] - entry[1][0]))
    return {name: ends for name, ends in ordered if ends[0] != ends[1]}


MEASURES = {"tops_per_watt": "TOPS/W", "tops_per_mm2": "TOPS/mm2"}
"""Measures: properties of `Cost`, and their units."""


def report(
    figures: Figures, analog: Counted, digital: Counted | None = None, *, node: int = NODE
) -> dict[str, Any]:
    """Report on a design and, if it was counted, its digital twin, as JSON.

    figures: Figures at 32 nm.
    node: Technology node of the results (nm).
    """
    figures = components.at_node(figures, node)
    typical = {name: figure.typical for name, figure in figures.items()}
    found: dict[str, Any] = {"node_nm": node}
    for side, counted in zip(SIDES, (analog, digital), strict=True):
        if counted is None:
            continue
        mid = cost(counted, typical, node=node)
        found[side] = {
            "operations_per_step": mid.operations,
            "cycles_per_step": counted.cycles / counted.steps,
            "step_ns": mid.step_ns,
            "energy_pj": mid.energy,
            "area_um2": mid.area,
            **{
                f"{what}_range": {
                    part: dataclasses.asdict(
                        over_figures(figures, _part(counted, field, part, node))
                    )
                    for part in getattr(mid, field)
                }
                for what, field in (("energy_pj", "energy"), ("area_um2", "area"))
            },
            **{
                name: dataclasses.asdict(over_figures(figures, _of(counted, name, node)))
                for name in MEASURES
            },
            "synthesised": {"energy_pj": counted.energy, "area_um2": counted.area},
        }
    said, of = ("analog", _of) if digital is None else ("ratio", _ratio(digital))
    for name in MEASURES:
        ratio = of(analog, name, node)
        found.setdefault(said, {})[name] = {
            **dataclasses.asdict(over_figures(figures, ratio)),
            "one_at_a_time": sensitivity(figures, ratio),
        }
    more = cost(analog, typical, adc_bits=analog.adc_bits + 1, node=node)
    now = cost(analog, typical, node=node)
    found["next_adc_bit"] = {name: getattr(more, name) / getattr(now, name) for name in MEASURES}
    return found


def _part(counted: Counted, field: str, part: str, node: int) -> Callable[[Values], float]:
    """Energy or area of a part as a function of the figures. field: "energy" or "area"."""
    return lambda values: float(getattr(cost(counted, values, node=node), field)[part])


Of = Callable[[Counted, str, int], Callable[[Values], float]]
"""Maps counts, a measure and a node to the measure as a function of the figures."""


def _of(counted: Counted, measure: str, node: int) -> Callable[[Values], float]:
    return lambda values: float(getattr(cost(counted, values, node=node), measure))


def _ratio(digital: Counted) -> Of:
    """A measure divided by that of the digital twin."""

    def of(analog: Counted, measure: str, node: int) -> Callable[[Values], float]:
        above, below = (_of(counted, measure, node) for counted in (analog, digital))
        return lambda values: above(values) / below(values)

    return of
