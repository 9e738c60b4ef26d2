"""The cost model over sizes, converters and figures, without synthesis or training.

A point is a design with some fields of its description, or some component figures, set. Counts are
estimated (`gen.cost.model`, `gen.cost.digital`) and take the figures (`values`).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from gen.cost import digital, macros, model, ppa, technology
from gen.cost.components import Figure, Figures, Values, is_amount
from gen.cost.counts import Counted
from golden.description import Description
from golden.errors import WordlineError
from golden.validation import parse_toml, plain

ANALOG = ("ADCs", "front ends", "DACs", "cells")
"""Parts of the arrays with crossbars."""

CASES = {"low": "low", "typical": "typical", "silicon": "high"}
"""Cases of the figures, and which value of analog ones they take. Those of digital logic and of
memories stay typical: measured macros (`gen.cost.macros`), which silicon's stand for, have none."""

OF_LOGIC = (
    *("memory_energy", "memory_area", "digital_overhead", "utilisation"),
    *("node_energy", "node_area"),
)
"""Figures of digital logic and of memories."""

MOST = 1000
"""Points of one sweep at most."""

Axes = Mapping[str, Sequence[Any]]
"""Values by field of a description (`array.lanes`) or by name of a figure (`settle`)."""


def read_axis(text: str) -> tuple[str, list[Any]]:
    """An axis from the text `FIELD=VALUE,VALUE,...`; values are those of TOML.

    Raises WordlineError if the text has another form.
    """
    field, equals, values = text.partition("=")
    try:
        found = parse_toml(f"x = [{values}]")["x"] if equals else []
    except ValueError:
        found = []
    if not found:
        raise WordlineError(
            f"--vary {text!r} is not FIELD=VALUE,VALUE; write, for example, array.lanes=4,16, "
            f"settle=3,8,15, or with words \"adc.kind='sar','ramp'\"."
        )
    return field.strip(), found


def read_axes(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Axes from texts.

    Raises WordlineError as `read_axis`, or for a field that is given twice.
    """
    found: dict[str, list[Any]] = {}
    for text in texts:
        field, values = read_axis(text)
        if field in found:
            raise WordlineError(f"--vary {field} is given twice; give all its values at once.")
        found[field] = values
    return found


def values(figures: Figures, case: str) -> Values:
    """Values of the figures in a case of CASES."""
    return {
        name: figure.typical if name in OF_LOGIC else getattr(figure, CASES[case])
        for name, figure in figures.items()
    }


@dataclass(frozen=True)
class Point:
    """A design and figures of a sweep, with what was set."""

    given: dict[str, Any]
    description: Description
    figures: Figures


def points(description: Description, figures: Figures, axes: Axes) -> Iterator[Point]:
    """All combinations of the axes, the last one fastest.

    Raises WordlineError for an unknown field, an invalid value, or too many points.
    """
    count = 1
    for name, given_ in axes.items():
        if not isinstance(given_, list | tuple | range) or not given_:
            raise WordlineError(f"--vary {name} has {given_!r}; give a list of values.")
        count *= len(given_)
    if count > MOST:
        raise WordlineError(f"--vary asks for {count:,} points; give at most {MOST:,}.")
    known = plain(description)
    for chosen in itertools.product(*axes.values()):
        given = dict(zip(axes, chosen, strict=True))
        sections: dict[str, dict[str, Any]] = {}
        own = dict(figures)
        for name, value in given.items():
            section, _, field = name.partition(".")
            if name in figures:
                own[name] = _set(figures[name], value)
            elif field and isinstance(known.get(section), dict):
                listed = name == "network.hidden" and isinstance(value, int)
                sections.setdefault(section, {})[field] = [value] if listed else value
            else:
                raise WordlineError(
                    f"--vary {name}: neither a figure nor a field of a description; write, for "
                    f"example, array.lanes, network.hidden or settle."
                )
        # All at once: some fields go only with others.
        design = description.replace(**sections) if sections else description
        yield Point(given, design, own)


def _set(figure: Figure, value: Any) -> Figure:
    if not is_amount(value):
        raise WordlineError(f"--vary {figure.name}={value!r} is not a number above 0.")
    return replace(figure, low=value, typical=value, high=value, source="given")


@dataclass(frozen=True)
class Work:
    """What in-memory logic would have to do of a design: bits of inputs and of weights, and the
    number of weights."""

    input_bits: int
    weight_bits: int
    weights: int


def work_of(description: Description) -> Work:
    """The work of a design."""
    shapes = description.arrays.values()
    weights = sum(shape.rows * shape.units * shape.gates for shape in shapes)
    return Work(description.dac.bits, description.device.weight_bits, weights)


@dataclass(frozen=True)
class Side:
    """Energy (pJ per step), area (um2) and time of a step (ns) of a design or of its arrays."""

    energy: float
    area: float
    step_ns: float

    def measures(self, operations: float) -> dict[str, float]:
        """TOPS/W and TOPS/mm2."""
        return {
            "tops_per_watt": operations / self.energy,
            "tops_per_mm2": 1000 * operations / self.step_ns / self.area,
        }


def _whole(cost: ppa.Cost) -> Side:
    return Side(sum(cost.energy.values()), sum(cost.area.values()), cost.step_ns)


def _arrays(counted: Counted, of: Values, cost: ppa.Cost, node: int) -> Side:
    """The arrays alone: converters and cells, or digital arrays with their memories."""
    if counted.arrays:
        energy, area = (sum(parts[name] for name in ANALOG) for parts in (cost.energy, cost.area))
        return Side(energy, area, cost.step_ns)
    mine = {name: pj for name, pj in counted.energy.items() if name.endswith("macro")}
    alone = replace(
        counted,
        energy=mine,
        area={name: counted.area[name] for name in mine},
        memories=[memory for memory in counted.memories if memory.block.endswith("macro")],
    )
    return _whole(ppa.cost(alone, of, node=node))


def _in_memory(cost: ppa.Cost, node: int, work: Work) -> Side:
    """Measured digital arrays (`gen.cost.macros.IN_MEMORY`), scaled to a node as logic, that are
    busy in every cycle: as many as do the same work in the same time."""
    macro = macros.IN_MEMORY
    operations = cost.operations * work.input_bits * work.weight_bits / macro.bits**2
    factors = technology.scale(macro.node, node)
    per_mm2 = macro.tops_per_mm2 / (factors.area * factors.delay)
    return Side(
        energy=operations / macro.tops_per_watt * factors.energy,
        area=1000 * operations / cost.step_ns / per_mm2,
        step_ns=cost.step_ns,
    )


def _holding(busy: Side, node: int, work: Work) -> Side:
    """These arrays, but at least as many as hold all weights at once.

    What they take while they wait is not known, and not counted.
    """
    macro = macros.IN_MEMORY
    area = work.weights * work.weight_bits / macro.capacity_bits * macro.area * 1e6
    area *= technology.scale(macro.node, node).area
    return replace(busy, area=max(busy.area, area))


def _around(cost: ppa.Cost, arrays: Side) -> Side:
    """The accelerator with other arrays."""
    energy, area = (
        sum(value for name, value in parts.items() if name not in ANALOG)
        for parts in (cost.energy, cost.area)
    )
    return Side(arrays.energy + energy, arrays.area + area, arrays.step_ns)


class Estimated(NamedTuple):
    """Counts of a design, its work, and counts of its twin and of weight-stationary arrays; None:
    there is none."""

    own: Counted
    work: Work
    twin: Counted | None = None
    stationary: Counted | None = None


def estimated(description: Description, *, twins: bool = True) -> Estimated:
    """Counts of a design and of its digital counterparts."""
    found = Estimated(model.estimate(description), work_of(description))
    if not twins:
        return found
    twin = digital.estimate(description)
    return found._replace(twin=twin, stationary=digital.stationary(description, twin))


def sides(counts: Estimated, of: Values, *, node: int = ppa.NODE) -> dict[str, Side]:
    """What is compared, for given figures.

    "accelerator", "arrays"; measured digital arrays that are busy in every cycle,
    "in_memory_arrays", and that hold all weights, "holding_arrays"; the accelerator with these,
    "in_memory" and "holding". And where there is a twin "twin", "twin_arrays" and "stationary"
    (arrays alone, `gen.cost.digital.stationary`).
    """
    own, work, other, stationary = counts
    cost = ppa.cost(own, of, node=node)
    found = {"accelerator": _whole(cost), "arrays": _arrays(own, of, cost, node)}
    if own.arrays:
        busy = _in_memory(cost, node, work)
        holding = _holding(busy, node, work)
        found |= {"in_memory_arrays": busy, "in_memory": _around(cost, busy)}
        found |= {"holding_arrays": holding, "holding": _around(cost, holding)}
    if other is not None and stationary is not None:
        twin = ppa.cost(other, of, node=node)
        found |= {"twin": _whole(twin), "twin_arrays": _arrays(other, of, twin, node)}
        found |= {"stationary": _whole(ppa.cost(stationary, of, node=node))}
    return found


def row(point: Point, counts: Estimated, *, node: int = ppa.NODE) -> dict[str, Any]:
    """Measures of a point, by case of the figures, as JSON: those of `sides`."""
    own, shapes = counts.own, point.description.arrays.values()
    macros_ = (shape.macro for shape in shapes)
    largest = max(macros_, key=lambda macro: macro.rows * macro.units * macro.gates)
    found: dict[str, Any] = {
        "given": point.given,
        "rows": max(shape.rows for shape in shapes),
        "columns": max(shape.units * shape.gates for shape in shapes),
        "crossbars": len(own.arrays),
        "largest_crossbar": [largest.rows, largest.units * largest.gates],
        "adcs": sum(array.lanes for array in own.arrays),
        "cycles_per_step": own.cycles,
        "weights": counts.work.weights,
    }
    operations = own.operations / own.steps
    found["ratios"] = {}
    for case in CASES:
        of = sides(counts, values(point.figures, case), node=node)
        found[case] = {
            name: asdict(side)
            | side.measures(operations)
            | {"weights_per_mm2": found["weights"] / side.area * 1e6}
            for name, side in of.items()
        }
        found["ratios"][case] = ratios(of)
    return found


AGAINST = {
    "accelerator / twin": ("accelerator", "twin"),
    "accelerator / in-memory": ("accelerator", "in_memory"),
    "arrays / twin's": ("arrays", "twin_arrays"),
    "arrays / stationary": ("arrays", "stationary"),
    "arrays / in-memory": ("arrays", "in_memory_arrays"),
    "accelerator / in-memory, all weights": ("accelerator", "holding"),
    "arrays / in-memory, all weights": ("arrays", "holding_arrays"),
}
"""Ratios: in words, and their two sides."""


def compared(measure: str) -> list[str]:
    """Ratios of a measure: arrays that hold all weights take no other energy than busy ones."""
    holding = {"holding", "holding_arrays"}
    return [
        name for name, of in AGAINST.items() if measure == "tops_per_mm2" or not holding & {*of}
    ]


def ratios(of: Mapping[str, Side]) -> dict[str, dict[str, float]]:
    """Ratios of AGAINST between `sides`, by measure (`gen.cost.ppa.MEASURES`)."""
    measures = {name: side.measures(1.0) for name, side in of.items()}  # of as many operations
    return {
        name: {m: measures[above][m] / measures[below][m] for m in measures[above]}
        for name, (above, below) in AGAINST.items()
        if {above, below} <= set(measures)
    }


def ratio(row: Mapping[str, Any], name: str, measure: str, case: str) -> float:
    """A ratio of a row."""
    return float(row["ratios"][case][name][measure])
