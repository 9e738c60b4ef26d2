"""Libraries of standard cells.

The cells are those of Oklahoma State University (J. E. Stine et al., "FreePDK: An Open-Source
Variation-Aware Design Kit", MSE 2007, and its predecessors for MOSIS' processes), as Debian's
qflow-tech packages have them. They have no memory macros: tables and state become flip-flops.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from gen.impl.tools import check_yosys, find_sta
from golden.errors import WordlineError

CLOCKS = {"CLK", "clk"}
"""Clock pins, of cells and of macros, which are a clock tree's."""


@dataclass(frozen=True)
class Cells:
    """A library of standard cells."""

    name: str
    drive: str
    """The cell that drives an input from outside."""

    @property
    def folder(self) -> Path:
        """Where Debian puts it."""
        return Path("/usr/share/qflow/tech") / self.name

    def liberty(self, folder: Path | None = None) -> Path:
        """Its timing and power. WordlineError where it is not there."""
        return self._file("lib", folder)

    def verilog(self, folder: Path | None = None) -> Path:
        """What its cells do, for a simulator. WordlineError where it is not there."""
        return self._file("v", folder)

    def areas(self, folder: Path | None = None) -> dict[str, float]:
        """um2 of each cell; of its latch by its layout, since its timing has that as 0."""
        text = self.liberty(folder).read_text(encoding="utf-8")
        listed = re.findall(r"^ *cell *\((\w+)\) *\{.*?area *: *([0-9.]+)", text, re.M | re.S)
        layout = self._file("lef", folder).read_text(encoding="utf-8")
        size = re.search(r"MACRO LATCH\s.*?SIZE\s+([0-9.]+)\s+BY\s+([0-9.]+)", layout, re.S)
        latch = {"LATCH": float(size[1]) * float(size[2])} if size else {}
        return {name: float(area) for name, area in listed} | latch

    def _file(self, kind: str, folder: Path | None) -> Path:
        path = (folder or self.folder) / f"{self.name}_stdcells.{kind}"
        if not path.is_file():
            raise WordlineError(
                f"{path} is not there; install Debian's qflow-tech-{self.name}, or give the folder "
                f"that has it with --cells."
            )
        return path.absolute()


def check_gates(cells: Cells, library: Path | None = None) -> None:
    """WordlineError where something is missing that maps, times or simulates gates."""
    cells.liberty(library)
    cells.verilog(library)
    check_yosys()
    find_sta()
    if shutil.which("iverilog") is None:
        raise WordlineError(
            "Icarus, which simulates gates, is not installed here; Debian's package iverilog has "
            "it."
        )


CELLS = {
    cells.name: cells
    for cells in (
        Cells("osu018", drive="BUFX4"),
        Cells("osu035", drive="BUFX4"),
    )
}
