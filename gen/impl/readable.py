"""Measure how readable Verilog is: `python -m gen.impl.readable FILE...`.

Counts lines, unnamed nets (`$74`, `_add`), nets distinguished only by a number (`held$54`,
`held__2`), and repeated operators (those that Yosys's opt_merge removes).
"""

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gen.impl.tools import run_yosys

NET = re.compile(
    r"^\s*(?:\(\*.*?\*\)\s*)?(?:(?:input|output|inout)\s+)?(?:(?:wire|reg)\s+)?(?:\[[^\]]*\]\s*)?"
    r"(\\\S+|\w+)\s*(?:=[^;]*)?[;,]?$"
)
DECLARES = re.compile(r"^\s*(?:\(\*.*?\*\)\s*)?(?:input|output|inout|wire|reg)\b")


@dataclass(frozen=True)
class Readable:
    """Counts for one file."""

    lines: int
    nets: int
    nameless: int
    numbered: int
    operators: int
    repeated: int

    @property
    def unnamed_share(self) -> float:
        """Share of nets that are unnamed or distinguished only by a number."""
        return (self.nameless + self.numbered) / max(1, self.nets)

    @property
    def repeated_share(self) -> float:
        """Share of operators that repeat another one."""
        return self.repeated / max(1, self.operators)

    def __str__(self) -> str:
        return (
            f"{self.lines} lines; {self.nets} nets, {100 * self.unnamed_share:.1f} % without a "
            f"name of their own ({self.nameless} nameless, {self.numbered} numbered); "
            f"{self.operators} operators, {100 * self.repeated_share:.1f} % repeated"
        )


def count(text: str) -> Readable:
    """Count Verilog; modules that it instantiates may be absent."""
    names = [
        found[1].removeprefix("\\")
        for line in text.splitlines()
        if DECLARES.match(line) and (found := NET.match(line))
    ]
    nameless = [name for name in names if re.match(r"[$_]", name)]
    numbered = [n for n in names if n not in nameless and re.search(r"\$\d+(\$|$)|__\d+(_|$)", n)]
    before, after = (_operators(text, then) for then in ("", "opt_merge -share_all\n"))
    return Readable(
        text.count("\n"), len(names), len(nameless), len(numbered), before, before - after
    )


def _operators(text: str, then: str) -> int:
    """Operators after some passes of Yosys."""
    with tempfile.TemporaryDirectory(prefix="wordline-") as name:
        folder = Path(name)
        (folder / "own.v").write_text(text, encoding="utf-8")
        script = f"read_verilog own.v\nproc\nopt_clean\n{then}tee -o count.txt "
        run_yosys(script + "select -count t:$* t:$*dff* %d t:$mem* %d\n", folder, "count")
        return int((folder / "count.txt").read_text(encoding="utf-8").split()[0])


if __name__ == "__main__":
    for file in sys.argv[1:]:
        print(f"{file}: {count(Path(file).read_text(encoding='utf-8'))}")
