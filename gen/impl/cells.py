"""Libraries of standard cells.

The cells are those of Oklahoma State University (J. E. Stine et al., "FreePDK: An Open-Source
Variation-Aware Design Kit", MSE 2007, and its predecessors for MOSIS' processes), as Debian's
qflow-tech packages have them. They have no memory macros: tables and state become flip-flops.
"""

from dataclasses import dataclass
from pathlib import Path

from gen.impl.tools import check_icarus, check_yosys, find_sta
from golden.errors import WordlineError


@dataclass(frozen=True)
class Cells:
    """A library of standard cells, where Debian puts it or in a folder that a user gives."""

    name: str

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

    def lef(self, folder: Path | None = None) -> Path | None:
        """Its layout, for the areas that its timing does not have."""
        return self._file("lef", folder)

    def _file(self, kind: str, folder: Path | None) -> Path:
        path = (folder or self.folder) / f"{self.name}_stdcells.{kind}"
        if not path.is_file():
            raise WordlineError(
                f"{path} is not there; install Debian's qflow-tech-{self.name}, or give the folder "
                f"that has it with --cells."
            )
        return path.absolute()


@dataclass(frozen=True)
class OwnCells(Cells):
    """A library of a user's own, by its files."""

    own_liberty: Path
    own_verilog: Path | None = None
    own_lef: Path | None = None

    def liberty(self, folder: Path | None = None) -> Path:
        """Its timing and power. WordlineError where it is not there."""
        return _there(self.own_liberty, "a Liberty file", "--liberty")

    def verilog(self, folder: Path | None = None) -> Path:
        """What its cells do, for a simulator. WordlineError where it is not given."""
        if self.own_verilog is None:
            raise WordlineError(
                "A netlist is simulated with the Verilog of its cells; give it with "
                "--cells-verilog, or leave --sequences out."
            )
        return _there(self.own_verilog, "the cells' Verilog", "--cells-verilog")

    def lef(self, folder: Path | None = None) -> Path | None:
        """Its layout, if it is given."""
        return None if self.own_lef is None else _there(self.own_lef, "a LEF file", "--lef")


def _there(path: Path, what: str, option: str) -> Path:
    if not path.is_file():
        raise WordlineError(f"{path} does not exist; give {what} with {option}.")
    return path.absolute()


def check_mapping(cells: Cells, library: Path | None = None) -> None:
    """WordlineError where something is missing that maps and times gates."""
    cells.liberty(library)
    cells.lef(library)
    check_yosys()
    find_sta()


def check_gates(cells: Cells, library: Path | None = None) -> None:
    """WordlineError where something is missing that maps, times or simulates gates."""
    check_mapping(cells, library)
    cells.verilog(library)
    check_icarus()


CELLS = {
    cells.name: cells
    for cells in (
        Cells("osu018"),
        Cells("osu035"),
    )
}
