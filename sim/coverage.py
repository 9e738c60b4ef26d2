"""Line, branch and toggle coverage of a simulation, read from Verilator's coverage file."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Point:
    """One coverage point.

    lines: Lines of the Verilog file.
    module: Name of the module.
    net: Name of the net of a toggle point; "" for other points.
    branch: Which branch it is, as Verilator calls it; "" for a toggle point.
    place: Line and column.
    count: How often it was covered.
    """

    lines: frozenset[int]
    module: str
    net: str
    branch: str
    place: tuple[int, int]
    count: int


@dataclass(frozen=True)
class Exercised:
    """Number of covered points, and number of all points."""

    exercised: int
    points: int

    def __str__(self) -> str:
        return f"{self.exercised:,} of {self.points:,}"


@dataclass(frozen=True)
class Coverage:
    """The coverage points of one Verilog file."""

    points: tuple[Point, ...]

    def of(self, wanted: Callable[[Point], bool] = lambda _: True) -> Exercised:
        """Coverage of the points that `wanted` selects."""
        found = [point.count > 0 for point in self.points if wanted(point)]
        return Exercised(sum(found), len(found))

    def of_line(self, line: int, module: str, nets: frozenset[str]) -> Exercised:
        """Coverage of a line of a module: its line and branch points, and the toggles of `nets`."""
        return self.of(
            lambda point: (
                (not point.net and line in point.lines)
                or (point.module == module and point.net in nets)
            )
        )


RECORD = re.compile(r"^C '(?P<keys>.*)' (?P<count>\d+)$")


def read(path: Path, verilog: str) -> Coverage:
    """Read a coverage file. The counts of all instances of a module are added.

    verilog: Name of the Verilog file whose points are wanted.
    """
    found: dict[tuple[str, ...], tuple[Point, int]] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            record = RECORD.match(line)
            if record is None:
                continue
            entries = (part.split("\x02", 1) for part in record["keys"].split("\x01")[1:])
            keys = {entry[0]: entry[1] for entry in entries if len(entry) == 2}
            if Path(keys.get("f", "")).name != verilog:
                continue
            module = keys["page"].partition("/")[2]
            net, branch = "", keys.get("o", "")
            if keys["t"] == "toggle":
                branch = ""
                net = re.split(r"[\[:.]", keys["o"].replace("___05F", "__"))[0]
            own = tuple(keys.get(key, "") for key in ("l", "n", "t", "o", "page"))
            place = int(keys["l"]), int(keys["n"])
            point = Point(_lines(keys), module, net, branch, place, 0)
            before = found.get(own, (point, 0))[1]
            found[own] = point, before + int(record["count"])
    return Coverage(tuple(replace(point, count=count) for point, count in found.values()))


def _lines(keys: dict[str, str]) -> frozenset[int]:
    """Lines of a point, from a text like `5` or `5,7-9`."""
    lines: set[int] = set()
    for part in keys.get("S", keys["l"]).split(","):
        first, _, last = part.partition("-")
        lines |= {*range(int(first), int(last or first) + 1)}
    return frozenset(lines)
