"""Icarus Verilog, a four-state simulator: build, and run a design from an unknown state."""

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cocotb_tools.runner import Icarus

from golden import files
from golden.errors import DesignError, WordlineError
from sim import chip
from sim.chip import Progress
from sim.verilator import plain

TIMESCALE = ("1ns", "1ps")

REGISTER = r"^( *(?:output )?reg (?:\[\d+:0\] )?[^\s\[=]+) = \d+'[bh][0-9a-f]+([;,]?)$"
"""Pattern of an emitted declaration of a register with its initial value."""

MEMORY = r"^ *initial for \(.*\n.*;\n"
"""Pattern of the emitted initial contents of a memory that is loaded or written."""


def unknown_at_first(verilog: str) -> str:
    """Emitted Verilog without the initial values of registers and of memories that are written.

    They are X then, as on a chip, until a reset, a load or a computation sets them. What cannot be
    written keeps its contents; the cells of the crossbar model do, too.
    """
    verilog = re.sub(REGISTER, r"\1\2", verilog, flags=re.M)
    return re.sub(MEMORY, "", verilog, flags=re.M)


def build(
    runner: Icarus,
    sources: Sequence[Path],
    top: str,
    work: Path,
    *,
    options: Sequence[str] = (),
    four_states: bool = False,
) -> None:
    """Compile Verilog in the folder `work`. Verilator's control files are left out.

    four_states: Registers and memories start as X (`unknown_at_first`).

    Raises DesignError if Icarus rejects the sources, and WordlineError if it crashes. Its output
    is in build.log.
    """
    work.mkdir(parents=True, exist_ok=True)
    sources = [path.absolute() for path in sources if path.suffix != ".vlt"]
    if four_states:
        texts = {path: unknown_at_first(path.read_text()) for path in sources}
        sources = [work.absolute() / f"unknown_{path.name}" for path in sources]
        for path, text in zip(sources, texts.values(), strict=True):
            files.write_text(path, text)
    log = work / "build.log"
    log.unlink(missing_ok=True)
    try:
        # What it compiles to names the sources, and not every path can stand there.
        with tempfile.TemporaryDirectory(prefix="wordline-") as beside:
            runner.build(
                sources=[plain(path, Path(beside), shutil.copy) for path in sources],
                hdl_toplevel=top,
                build_args=options,
                build_dir=work.absolute(),
                always=True,
                timescale=TIMESCALE,
                log_file=log.absolute(),
            )
    except (SystemExit, RuntimeError) as error:
        said = log.read_text(errors="replace").splitlines() if log.exists() else []
        first = next((line for line in said if "error" in line), None)
        fault = first is not None and not any(map(chip.MACHINE.search, said))
        raise (DesignError if fault else WordlineError)(
            f"Icarus could not build {top}: {first or 'it crashed'}; {log} says more."
        ) from error


def simulate(
    sources: Sequence[Path],
    top: str,
    work: Path,
    job: dict[str, Any],
    *,
    four_states: bool = False,
    stall: float = 0.0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run a job's golden vectors through a design's own ports, and compare every value.

    four_states: Registers and memories start as X; the bench checks that outputs, handshakes,
        loaded memories and, in the end, everything are known.

    Returns and raises what `sim.chip.simulate` and `build` do.
    """
    runner = Icarus()
    build(runner, sources, top, work, four_states=four_states)
    built = chip.Chip(runner, top, work, job | ({"four_states": "all"} if four_states else {}))
    return chip.simulate(built, stall=stall, progress=progress)
