"""Build and run a package's testbench in Icarus or Verilator."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gen.impl import tools
from golden.errors import DesignError
from sim import chip
from sim.verilator import BenchVerilator, plain


@dataclass(frozen=True)
class Said:
    """Result of a testbench: whether it passed, and its last line."""

    passed: bool
    said: str


def verilator(sources: Sequence[Path], top: str, bench: Path, work: Path) -> Said:
    """Run the C++ testbench on the module `top`.

    work: Folder with image.hex and the folder tb.

    Raises DesignError if Verilator rejects the sources.
    """
    runner = BenchVerilator(bench)
    chip.build(sources, top, work / "verilator", runner=runner)
    return _run([str((work / "verilator" / runner.PROGRAM).absolute())], work)


def icarus(sources: Sequence[Path], top: str, bench: Path, work: Path) -> Said:
    """Run the Verilog testbench in Icarus, like `verilator`. Control files are ignored.

    Raises DesignError if Icarus rejects the sources, and WordlineError if it is missing.
    """
    tools.check_icarus()
    name = top.removesuffix("_axi") + "_tb"
    given = [path.absolute() for path in (*sources, bench) if path.suffix != ".vlt"]
    with tempfile.TemporaryDirectory(prefix="wordline-") as beside:
        verilog = [str(plain(path, Path(beside), shutil.copy)) for path in given]
        command = ["iverilog", "-g2012", "-o", "out", "-s", name, *verilog]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if done.returncode:
        chip.check_ended("iverilog", done.returncode)
        said = (done.stderr.splitlines() or ["it crashed"])[0]
        raise DesignError(f"Icarus could not build {top}: {said}.")
    return _run(["vvp", "-n", "out"], work)


def _run(command: list[str], work: Path) -> Said:
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    chip.check_ended(Path(command[0]).name, done.returncode)
    lines = re.findall(r"(?:PASSED|FAILED): .*", done.stdout + done.stderr)
    said = lines[-1] if lines else f"it ended without a verdict (status {done.returncode})"
    return Said(done.returncode == 0 and said.startswith("PASSED"), said)
