"""External tools: find them and run them."""

import shutil
import subprocess
import sys
from importlib import util
from pathlib import Path

from golden import files
from golden.errors import WordlineError


def run_yosys(
    script: str,
    folder: Path,
    name: str = "yosys",
    *,
    timeout: float | None = None,
    kept: bool = True,
) -> None:
    """Run a Yosys script in `folder`. Its output goes to NAME.log.

    timeout: Time limit (s).
    kept: Whether the folder is kept; if not, a message does not send the user to its log.

    Raises WordlineError with Yosys' error message, or if it exceeds the time limit.
    """
    check_yosys()
    files.write_text(folder / f"{name}.script", script)
    run = f"from pyosys import libyosys as ys; ys.run_pass('script {name}.script', ys.Design())"
    command = [sys.executable, "-c", run]
    run_tool("Yosys", command, folder, folder / f"{name}.log", timeout=timeout, kept=kept)


def has_yosys() -> bool:
    """Whether Yosys is installed."""
    return util.find_spec("pyosys") is not None


def check_icarus() -> None:
    """Raise WordlineError if Icarus is missing."""
    if shutil.which("iverilog") is None:
        raise WordlineError(
            "Icarus Verilog is not installed here; Debian's package iverilog has it."
        )


def check_yosys() -> None:
    """Raise WordlineError if Yosys is missing."""
    if not has_yosys():
        raise WordlineError("Yosys is not installed here; pip install 'wordline[synth]' does it.")


def run_tool(
    tool: str,
    command: list[str],
    folder: Path,
    log: Path,
    *,
    timeout: float | None = None,
    kept: bool = True,
) -> None:
    """Run a command in `folder`. Its output goes to `log`.

    tool: Name of the tool for messages.
    timeout, kept: See `run_yosys`.

    Raises WordlineError with the first error message, or if it exceeds the time limit.
    """
    more = f"; {log} says more" if kept else ""
    try:
        with log.open("w") as out:
            done = subprocess.run(
                command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, timeout=timeout
            )
    except subprocess.TimeoutExpired:
        raise WordlineError(f"{tool} took longer than {timeout} s{more}.") from None
    if done.returncode:
        said = [line for line in log.read_text().splitlines() if line.startswith("ERROR")]
        first = (said or ["it crashed"])[0].rstrip(".")
        raise WordlineError(f"{tool} stopped: {first}{more}.")


def find_sta() -> str:
    """Path of OpenSTA. Raises WordlineError if it is missing."""
    found = shutil.which("sta")
    if found is None:
        raise WordlineError(
            "OpenSTA is not installed here; Debian's package opensta has it, as the command `sta`."
        )
    return found


def run_sta(script: list[str], sta: str, folder: Path, name: str) -> str:
    """Run a script in OpenSTA and return its output. Raises WordlineError if it fails."""
    files.write_text(folder / f"{name}.tcl", "\n".join([*script, 'puts "== end"', "exit"]) + "\n")
    command = [sta, "-no_splash", "-exit", f"{name}.tcl"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    files.write_text(folder / f"{name}.log", said)
    if "== end" not in said or "Error" in said:
        errors = [line for line in said.splitlines() if line.startswith("Error")]
        why = f": {errors[0].removeprefix('Error: ').rstrip('.')}" if errors else ""
        raise WordlineError(f"OpenSTA stopped{why}; {folder / f'{name}.log'} says more.")
    return said


def icarus_version() -> str:
    """First line of what Icarus says of its version. Raises WordlineError if it is missing."""
    check_icarus()
    done = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def sta_version(sta: str) -> str:
    """Version of OpenSTA."""
    done = subprocess.run([sta, "-version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()
