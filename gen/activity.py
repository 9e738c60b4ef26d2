"""How often each net of a netlist changes in a simulation: read from its VCD file."""

import re
from collections import Counter
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
        changes: Counter[str] = Counter()
        since: dict[str, int] = {}
        high: Counter[str] = Counter()
        wide = {code: "0" * len(names) for code, names in nets.items() if len(names) > 1}
        now = start = 0
        begun = False

        def put(net: str, is_one: bool) -> None:
            """A net has a value; it may be what it was."""
            if is_one and net not in since:
                since[net] = now
            elif not is_one and net in since:
                high[net] += now - since.pop(net)
            else:
                return
            changes[net] += begun

        for line in file:
            kind = line[0]
            if kind == "#":
                now = int(line[1:])
                begun = begun or now > start
            elif kind in "01xzXZ":
                code = line[1:].strip()
                if code in nets:
                    put(nets[code][0], kind == "1")
            elif kind in "bB":
                value, code = line[1:].split()
                if code in wide:
                    names = nets[code]
                    value = value.rjust(len(names), "0" if value[0] in "01" else value[0])
                    for name, bit, before in zip(names, value, wide[code], strict=True):
                        if bit != before:
                            put(name, bit == "1")
                    wide[code] = value
            elif line.startswith("$dumpvars"):
                start, begun = now, False
            elif line.startswith("$dumpoff"):
                break
        for net in [*since]:
            high[net] += now - since.pop(net)
    return Activity(
        {name: changes[counted] for name, counted in aliases.items()},
        {name: high[counted] for name, counted in aliases.items()},
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
