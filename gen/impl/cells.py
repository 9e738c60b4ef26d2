"""Standard-cell libraries.

The built-in ones are by Oklahoma State University (J. E. Stine et al., "FreePDK: An Open-Source
Variation-Aware Design Kit", MSE 2007, and its predecessors for MOSIS processes), as packaged in
Debian's qflow-tech. They have no memory macros: tables and state become flip-flops.
"""

from dataclasses import dataclass
from pathlib import Path

from gen.impl.tools import check_icarus, check_yosys, find_sta
from golden.errors import WordlineError


@dataclass(frozen=True)
class Cells:
    """A standard-cell library, where Debian installs it or in a folder that the user gives."""

    name: str

    @property
    def folder(self) -> Path:
        """Folder where Debian installs the library."""
        return Path("/usr/share/qflow/tech") / self.name

    def liberty(self, folder: Path | None = None) -> Path:
        """Path of the Liberty file. Raises WordlineError if it does not exist."""
        return self._file("lib", folder)

    def verilog(self, folder: Path | None = None) -> Path:
        """Path of the cells' Verilog for a simulator. Raises WordlineError if it does not exist."""
        return self._file("v", folder)

    def lef(self, folder: Path | None = None) -> Path | None:
        """Path of the LEF file, for areas that the Liberty file lacks; None if there is none."""
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
    """A user's own library, given by its files."""

    own_liberty: Path
    own_verilog: Path | None = None
    own_lef: Path | None = None

    def liberty(self, folder: Path | None = None) -> Path:
        """Path of the Liberty file. Raises WordlineError if it does not exist."""
        return _there(self.own_liberty, "a Liberty file", "--liberty")

    def verilog(self, folder: Path | None = None) -> Path:
        """Path of the cells' Verilog. Raises WordlineError if it is not given or does not exist."""
        if self.own_verilog is None:
            raise WordlineError(
                "A netlist is simulated with the Verilog of its cells; give it with "
                "--cells-verilog, or leave --sequences out."
            )
        return _there(self.own_verilog, "the cells' Verilog", "--cells-verilog")

    def lef(self, folder: Path | None = None) -> Path | None:
        """Path of the LEF file, or None. Raises WordlineError if it is given and does not exist."""
        return None if self.own_lef is None else _there(self.own_lef, "a LEF file", "--lef")


def _there(path: Path, what: str, option: str) -> Path:
    if not path.is_file():
        raise WordlineError(f"{path} does not exist; give {what} with {option}.")
    if any(character.isspace() for character in str(path.absolute())):
        raise WordlineError(
            f"{str(path.absolute())!r} has a space, at which OpenSTA and ABC end a name; give "
            f"{what} by a link without one."
        )
    return path.absolute()


def check_mapping(cells: Cells, library: Path | None = None) -> None:
    """Raise WordlineError if a file or tool for mapping and timing is missing."""
    cells.liberty(library)
    cells.lef(library)
    check_yosys()
    find_sta()


def check_gates(cells: Cells, library: Path | None = None) -> None:
    """Raise WordlineError if a file or tool for mapping, timing and simulation is missing."""
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
