"""Published figures of components (components.toml): a low, a typical and a high value of each."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen.cost import technology
from golden.errors import WordlineError
from golden.validation import read_toml

COMPONENTS = Path(__file__).with_name("components.toml")

NODE = 32
"""Technology node of the figures (nm)."""

DIGITAL = ("memory_energy", "memory_area")
ANALOG = (
    *("adc_energy", "adc_area", "comparator_energy", "comparator_area", "front_end_energy"),
    *("front_end_area", "dac_energy", "row_area", "cell_area"),
)
"""Figures that depend on the node, of digital and of analog components."""

CASES = ("low", "typical", "high")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A published figure: name, unit, values, source."""

    name: str
    unit: str
    low: float
    typical: float
    high: float
    source: str


Figures = dict[str, Figure]

Values = dict[str, float]


def read_figures(path: Path = COMPONENTS) -> Figures:
    """Read figures from a TOML file.

    Figures and fields that the file does not have are those of components.toml.

    Raises WordlineError if the file cannot be read, or for an unknown figure, field or unit, or a
    value out of order.
    """
    found = read_toml(path)
    ours = {} if path == COMPONENTS else read_figures()
    figures = dict(ours)
    for name, given in found.items():
        if ours and name not in ours:
            raise WordlineError(f"{path}: unknown figure [{name}]; choose of {', '.join(ours)}.")
        if not isinstance(given, dict):
            raise WordlineError(f"{path}: {name} = {given!r} is not a table; write [{name}].")
        figures[name] = _figure(path, name, given, ours.get(name))
    return figures


def at_node(figures: Figures, node: int) -> Figures:
    """Scale figures of 32 nm to another node (nm).

    Memories and standard cells scale as in Stillmaker and Baas (gen/cost/technology.py). How analog
    components scale is not known. So one end of their range scales as logic, the low one at smaller
    nodes and the high one at larger nodes. The other end stays, and the typical value scales by the
    square root of the factor.

    Raises WordlineError for a node outside the range of that paper.
    """
    if node == NODE:
        return figures
    try:
        step, whole = technology.scale(NODE, node), technology.scale(180, node)
    except ValueError as error:
        raise WordlineError(f"--node: {error}.") from None

    def scaled(name: str, low: float, typical: float, high: float) -> Figure:
        own = figures[name]
        return dataclasses.replace(
            own,
            low=own.low * low,
            typical=own.typical * typical,
            high=own.high * high,
            source=f"{own.source}; at {node} nm",
        )

    found = dict(figures)
    for name in (*DIGITAL, *ANALOG):
        factor = step.energy if name.endswith("energy") else step.area
        if name in DIGITAL:
            found[name] = scaled(name, factor, factor, factor)
        else:
            found[name] = scaled(name, min(1.0, factor), factor**0.5, max(1.0, factor))
    volts = technology.NODES[180][0] / technology.nominal(node)
    square = (node / 180) ** 2
    of_cells = {
        "node_energy": (whole.energy, node / 180 / volts**2),
        "node_area": (whole.area, square),
    }
    for name, (typical, general) in of_cells.items():
        found[name] = dataclasses.replace(
            figures[name],
            low=min(typical, general),
            typical=typical,
            high=max(typical, general),
            source=f"as at {NODE} nm, at {node} nm",
        )
    return found


MOST = 1e12
"""Largest value of a figure."""


def is_amount(value: Any) -> bool:
    """Whether a value is a number above 0, and not beyond any figure."""
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 < value <= MOST


def template() -> str:
    """All figures as a TOML file to edit: delete those that do not change."""
    return COMPONENTS.read_text(encoding="utf-8")


def _figure(path: Path, name: str, given: dict[str, Any], ours: Figure | None) -> Figure:
    keys = [f.name for f in dataclasses.fields(Figure) if f.name != "name"]
    unknown = [key for key in given if key not in keys]
    if unknown:
        raise WordlineError(
            f"{path}: [{name}] has {', '.join(unknown)}; its fields are {', '.join(keys)}."
        )
    if "unit" in given and ours is not None and given["unit"] != ours.unit:
        raise WordlineError(
            f"{path}: {name}.unit = {given['unit']!r}, but it is taken in {ours.unit!r}; convert "
            f"the values."
        )
    if ours is not None:
        given = dataclasses.asdict(ours) | given
        del given["name"]
    if sorted(given) != sorted(keys):
        raise WordlineError(f"{path}: [{name}] has {', '.join(given)}; give {', '.join(keys)}.")
    for key in CASES:
        value = given[key]
        if not is_amount(value):
            raise WordlineError(f"{path}: {name}.{key} = {value!r} is not a number above 0.")
    if not given["low"] <= given["typical"] <= given["high"]:
        values = ", ".join(str(given[key]) for key in CASES)
        raise WordlineError(f"{path}: {name} has {values}; low, typical and high must ascend.")
    return Figure(name=name, **given)
