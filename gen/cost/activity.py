"""How often each net of a netlist changes in a simulation: read from its VCD file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True)
class Activity:
    """What nets did. changes: of each bit of each net by its name, `x` or `x[3]`, after its
    instance's and a slash where that is another than the top: `table/read_en`. high: for how long
    it was 1, in units of the file's time, of `duration` in all."""

    changes: dict[str, int]
    high: dict[str, int]
    duration: int


def read(vcd: Path, top: str) -> Activity:
    """Of the nets of `top`, and of what is recorded of the instances in it, until the file ends or
    is told to pause. The first value of a net is no change, and what is unknown is 0."""
    with vcd.open(encoding="ascii") as file:
        nets, aliases = _declared(file, top)
        # A bit is counted by its code, or by that and its number: names are long.
        bits = {
            code: [code] if len(names) == 1 else [f"{code} {n}" for n in range(len(names))]
            for code, names in nets.items()
        }
        changes = dict.fromkeys((bit for own in bits.values() for bit in own), 0)
        high = changes.copy()
        since: dict[str, int] = {}  # of bits that are 1
        now = start = 0
        begun = False

        def put(bit: str, is_one: bool) -> None:
            """A bit has a value; it may be what it was."""
            if is_one:
                if bit not in since:
                    since[bit] = now
                    changes[bit] += begun
            elif bit in since:
                high[bit] += now - since.pop(bit)
                changes[bit] += begun

        for line in file:
            kind = line[0]
            if kind in "01xzXZ":  # nearly all lines
                code = line[1:-1]
                if code not in changes:
                    continue
                if kind == "1":  # as `put` does
                    if code not in since:
                        since[code] = now
                        changes[code] += begun
                elif code in since:
                    high[code] += now - since.pop(code)
                    changes[code] += begun
            elif kind == "#":
                now = int(line[1:])
                begun = begun or now > start
            elif kind in "bB":
                value, code = line[1:].split()
                if code in bits:
                    value = value.rjust(len(bits[code]), "0" if value[0] in "01" else value[0])
                    for bit, character in zip(bits[code], value, strict=True):
                        put(bit, character == "1")
            elif line.startswith("$dumpvars"):
                start, begun = now, False
            elif line.startswith("$dumpoff"):
                break
        for bit, rose in since.items():
            high[bit] += now - rose
    counted = {
        name: bit
        for code, names in nets.items()
        for name, bit in zip(names, bits[code], strict=True)
    }
    return Activity(
        {name: changes[counted[first]] for name, first in aliases.items()},
        {name: high[counted[first]] for name, first in aliases.items()},
        now - start,
    )


DECLARED = re.compile(r"\$var \w+ (\d+) (\S+) (\S+)( \[\S+\])? \$end")


def _declared(file: TextIO, top: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The nets, each bit from the highest on, by the code that a VCD file has for
    them; and further names of a bit, with the one that is counted."""
    nets: dict[str, list[str]] = {}
    aliases: dict[str, str] = {}
    inside: list[str] = []
    for line in file:
        line = line.strip()
        if line.startswith("$scope"):
            inside.append(line.split()[2])
        elif line.startswith("$upscope"):
            inside.pop()
        elif line.startswith("$enddefinitions"):
            break
        elif top in inside and (found := DECLARED.fullmatch(line)):
            width, code, name = int(found[1]), found[2], found[3].removeprefix("\\")
            within = inside[inside.index(top) + 1 :]
            name = "/".join([*(scope.removeprefix("\\") for scope in within), name])
            bits = [name] if width == 1 else [f"{name}[{n}]" for n in reversed(range(width))]
            aliases |= dict(zip(bits, nets.setdefault(code, bits), strict=True))
    return nets, aliases
