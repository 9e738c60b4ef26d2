"""Values around the first difference, and which of them differ."""

from dataclasses import dataclass

import numpy as np

from golden.description import Description
from golden.geometry import ArrayShape
from hw import timing
from wordline.flow.place import Place
from wordline.report.run import Run


@dataclass(frozen=True)
class Around:
    """Values around the first difference, in one pass.

    step: The first step that is kept.
    golden, rtl: Values (steps, ...) by quantity; scores of the whole pass if they have no steps.
    """

    step: int
    golden: dict[str, np.ndarray]
    rtl: dict[str, np.ndarray]

    def steps(self, name: str) -> bool:
        """Whether a quantity has values for each step."""
        return name != "scores" or self.rtl[name].ndim == 2


def around(run: Run) -> Around | None:
    """Values around the first difference; None if the files lack them."""
    found = run.difference
    if found is None or not run.vectors:
        return None
    row, begin = run.row(found["sequence"], found["pass"]), found["step"]
    rtl = {name: np.asarray(values) for name, values in found["values"].items()}
    golden = {}
    for name, values in rtl.items():
        whole = np.asarray(run.vectors[name][row])
        stepwise = whole.ndim > 1
        golden[name] = whole[begin : begin + len(values)] if stepwise else whole
    return Around(begin, golden, rtl)


@dataclass(frozen=True)
class Wrong:
    """Values of a quantity at the step of the first difference.

    cells: ((gate, unit), golden, RTL) of all values; quantities without gates have gate 0.
    shape: Array that makes them; None for scores and outputs.
    """

    cells: list[tuple[tuple[int, int], int, int]]
    shape: ArrayShape | None

    @property
    def places(self) -> list[tuple[int, int]]:
        """(gate, unit) of those that differ."""
        return [at for at, golden, rtl in self.cells if golden != rtl]

    @property
    def gates(self) -> list[int]:
        """Gates of those that differ."""
        return sorted({gate for gate, _ in self.places})

    @property
    def units(self) -> list[int]:
        """Units of those that differ."""
        return sorted({unit for _, unit in self.places})

    @property
    def lanes(self) -> list[int]:
        """Lanes of those that differ."""
        assert self.shape is not None
        return sorted({int(self.shape.column(unit, gate)[1]) for gate, unit in self.places})

    @property
    def beat_places(self) -> tuple[list[int], int]:
        """Places in a beat of those that differ, and the number of places."""
        assert self.shape is not None
        size = timing.units_per_beat(self.shape)
        return sorted({unit % size for unit in self.units}), size

    def said(self, gates: tuple[str, ...]) -> str:
        """What they have in common, in words."""
        common = []
        if len(gates) > 1:
            common.append(
                f"gate{'s' * (len(self.gates) > 1)} {', '.join(gates[g] for g in self.gates)}"
            )
        common.append(f"unit{'s' * (len(self.units) > 1)} {_ranges(self.units)}")
        if self.shape is not None:
            common.append(
                f"lane{'s' * (len(self.lanes) > 1)} {_ranges(self.lanes)} of {self.shape.lanes}"
            )
            at, size = self.beat_places
            if size > 1:
                common.append(f"place{'s' * (len(at) > 1)} {_ranges(at)} of {size} in a beat")
        return f"They are in {', '.join(common)}."


def wrong(near: Around, place: Place, description: Description) -> Wrong:
    """Which values of the place's quantity differ at its step."""
    golden, rtl = near.golden[place.quantity], near.rtl[place.quantity]
    if near.steps(place.quantity):
        assert place.step is not None
        golden, rtl = golden[place.step - near.step], rtl[place.step - near.step]
    golden, rtl = (np.atleast_2d(values) for values in (golden, rtl))
    cells = [
        ((gate, unit), int(golden[gate, unit]), int(rtl[gate, unit]))
        for gate, unit in np.ndindex(golden.shape)
    ]
    return Wrong(cells, description.arrays.get(place.layer))


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers, with runs as ranges: 0-3, 7."""
    parts: list[list[int]] = []
    for n in numbers:
        if parts and n == parts[-1][-1] + 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts)
