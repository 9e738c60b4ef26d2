"""Switching activity of the nets of a netlist, read from the VCD file of a simulation."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True)
class Activity:
    """Switching activity of nets.

    changes: Number of changes of each bit. The name of a bit is `x` or `x[3]`, with the instance in
        front if it is below the top: `table/read_en`.
    high: Time for which each bit was 1, in time units of the file.
    duration: Recorded time, in the same units.
    """

    changes: dict[str, int]
    high: dict[str, int]
    duration: int


def read(vcd: Path, top: str) -> Activity:
    """Read the activity of the nets of `top` and of the recorded instances in it.

    Reading stops at the end of the file or at $dumpoff. The first value of a net is not a change.
    An unknown bit counts as 0.
    """
    with vcd.open(encoding="ascii") as file:
        nets, aliases = _declared(file, top)
        # Bits are counted by code, or by code and number: names are long.
        bits = {
            code: [code] if len(names) == 1 else [f"{code} {n}" for n in range(len(names))]
            for code, names in nets.items()
        }
        changes = dict.fromkeys((bit for own in bits.values() for bit in own), 0)
        high = changes.copy()
        since: dict[str, int] = {}  # bits that are 1
        now = start = 0
        begun = False

        def put(bit: str, is_one: bool) -> None:
            """Set the value of a bit; it may be unchanged."""
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
                if kind == "1":  # `put`, inlined for speed
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
    """Nets by their code in the VCD file, as bits from the highest on; and aliases of bits.

    An alias maps to the bit that is counted.
    """
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
