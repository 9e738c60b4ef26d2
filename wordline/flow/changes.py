"""Lines of given Verilog that differ from emitted Verilog, and whether they matter."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gen.impl import equivalence
from gen.rtl import verilog
from golden import files
from golden.description import Description
from sim.coverage import Coverage, Exercised


@dataclass(frozen=True)
class Change:
    """Lines of given Verilog that differ from emitted Verilog.

    line: Number of the first line, from 1.
    module: Module without the top's name; "" for the top.
    text: The first line in the given Verilog.
    emitted: The first line in the emitted Verilog.
    proved: The module is proved equal to the emitted one.
    exercised: Coverage of the line; None if it was not measured.
    """

    line: int
    module: str
    text: str
    emitted: str
    proved: bool = False
    exercised: Exercised | None = None


def reference(description: Description, folder: Path, key: str) -> dict[str, str]:
    """Verilog of the design as this version emits it, kept in `folder` under a key."""
    kept = {file: folder / f"{key[:16]}-{file}" for file in _names(description)}
    if not all(path.is_file() for path in kept.values()):
        folder.mkdir(parents=True, exist_ok=True)
        _, texts = verilog.verilog_files(description)
        for file, path in kept.items():
            files.write_text(path, texts[file])
    return {file: path.read_text(encoding="utf-8") for file, path in kept.items()}


def _names(description: Description) -> list[str]:
    ends = ("", "_crossbar_model", "_crossbar_stub")
    return [f"{description.name}{end}.v" for end in ends]


def changes(given: str, emitted: str, top: str) -> list[Change]:
    """Changes from emitted to given Verilog."""
    ours, theirs = emitted.splitlines(), given.splitlines()
    inside, module = [], ""
    for line in theirs:
        if name := re.match(r"module\s+(\\\S+|\w+)", line):
            module = name[1].removeprefix("\\").removeprefix(top).removeprefix(".")
        inside.append(module)
    found = []
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    for kind, first, last, begin, end in matcher.get_opcodes():
        if kind == "equal":
            continue
        for n in range(max(1, end - begin)):
            at = min(begin + n, len(theirs) - 1)
            text = theirs[at].strip() if begin + n < end else ""
            before = ours[first + n].strip() if first + n < last else ""
            found.append(Change(at + 1, inside[at] if inside else "", text, before))
    return found


def prove(
    found: list[Change],
    given: str,
    emitted: str,
    top: str,
    boxes: str,
    folder: Path,
    progress: Callable[[int, int], None],
) -> list[Change]:
    """Mark the changes whose module Yosys proves equal to the emitted one.

    boxes: Verilog of black boxes that the design instantiates.
    """
    there, here = equivalence.modules(emitted), equivalence.modules(given)
    names = sorted({change.module for change in found})
    equal = {}
    for n, name in enumerate(names):
        progress(n, len(names))
        whole = ".".join(part for part in (top, name) if part)
        equal[name] = (
            there.keys() == here.keys()
            and whole in here
            and equivalence.proved(emitted, given, whole, boxes, folder)
        )
    progress(len(names), len(names))
    return [replace(change, proved=equal[change.module]) for change in found]


NETS = (
    r"(?:assign\s+|^\s*)(\w+)(?:\[[^=]*\])?\s*<?=(?!=)",
    r"\b(?:wire|reg|input|output)\b.*?(\w+)\s*(?:=[^;]*)?[;,]?$",
)
"""Patterns of the net that a line assigns or declares."""


def exercised(found: list[Change], coverage: Coverage, top: str) -> list[Change]:
    """Add the coverage of its line to each change that is not proved equal."""

    def of(change: Change) -> Exercised:
        module = ".".join(part for part in (top, change.module) if part)
        nets = {match[1] for pattern in NETS for match in re.finditer(pattern, change.text)}
        return coverage.of_line(change.line, module, frozenset(nets))

    return [change if change.proved else replace(change, exercised=of(change)) for change in found]
