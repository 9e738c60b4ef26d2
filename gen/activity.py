"""How often each bit of a simulation changes, out of a VCD file: what power depends on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

DECLARED = re.compile(r"\$var \w+ (\d+) (\S+) (\S+)")


@dataclass(frozen=True)
class Activity:
    """cycles: those that were counted. changes, high: of each bit how often it changed in them, and
    in how many it was 1, by the signal's path below the top module; of a memory, by that of each
    word, `path[word]`."""

    cycles: int
    changes: dict[str, list[int]]
    high: dict[str, list[int]]

    def of(self, path: str, bit: int) -> tuple[float, float] | None:
        """Changes a cycle, and the part of the time at 1; None where there is no such bit."""
        if bit >= len(self.changes.get(path, ())):
            return None
        return self.changes[path][bit] / self.cycles, self.high[path][bit] / self.cycles


def read(path: Path, top: str, clock: str, during: str) -> Activity:
    """Count changes while signal `during` is 1; a cycle is a rising edge of `clock`, both by their
    paths below the module `top`."""
    with path.open(encoding="ascii") as file:
        names, widths = _declarations(file, top)
        by_name = {name: code for code, paths in names.items() for name in paths}
        tick, gate = by_name[clock], by_name[during]
        values, since = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        counts, ones = ({code: [0] * widths[code] for code in names} for _ in range(2))
        cycles, counting = 0, False

        def stood(code: str) -> None:
            """The bits were as they are for the cycles since they last changed."""
            passed, bits = cycles - since[code], values[code]
            since[code] = cycles
            while passed and bits:
                bit = bits.bit_length() - 1
                ones[code][bit] += passed
                bits ^= 1 << bit

        for code, value in _changes(file):
            if code not in values:
                continue
            stood(code)
            changed, values[code] = values[code] ^ value, value
            if code == gate:
                counting = value == 1
            if not counting:
                continue
            if code == tick:
                cycles += value
            of_bits = counts[code]
            while changed:
                bit = changed.bit_length() - 1
                of_bits[bit] += 1
                changed ^= 1 << bit
        for code in names:
            stood(code)
    changes, high = (
        {name: found[code] for code, paths in names.items() for name in paths}
        for found in (counts, ones)
    )
    return Activity(cycles, changes, high)


def _declarations(file: TextIO, top: str) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Signals of the module `top` and all in it: their paths and their width, by their code."""
    names: dict[str, list[str]] = {}
    widths: dict[str, int] = {}
    scopes: list[str] = []
    for line in file:
        line = line.strip()
        if line.startswith("$scope"):
            scopes.append(line.split()[2])
        elif line.startswith("$upscope"):
            scopes.pop()
        elif line.startswith("$enddefinitions"):
            break
        elif (found := DECLARED.match(line)) and top in scopes:
            width, code, name = found.groups()
            inside = scopes[scopes.index(top) + 1 :]
            names.setdefault(code, []).append(".".join([*inside, name]))
            widths[code] = int(width)
    return names, widths


def _changes(file: TextIO) -> Iterator[tuple[str, int]]:
    """Code and new value; what is unknown is 0."""
    for line in file:
        kind = line[0]
        if kind in "01xz":
            yield line[1:].strip(), int(kind == "1")
        elif kind == "b":
            value, code = line[1:].split()
            yield code, int(re.sub("[xz]", "0", value), 2)
