"""Build an emitted chip with Verilator and run the cocotb bench on it."""

import contextlib
import hashlib
import json
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocotb_tools.runner import Runner, get_results

from golden import files
from golden.errors import DesignError, WordlineError
from sim.verilator import LeanVerilator, StockVerilator, plain_name

AnyVerilator = LeanVerilator | StockVerilator

STAMP = "built.sha256"
"""File in a build folder with the hash of everything the build depends on."""

OWN = "bench_*.py block.py system.py streams.py"
"""Bench files in which cocotb rewrites assertions, so that they show the compared values.

By default cocotb would recompile everything that is imported, PyTorch included, which takes longer
than most benches.
"""

Progress = Callable[[int, int], None]
"""Called with the number of finished sequences and the total."""


def build(
    sources: Sequence[Path],
    top: str,
    folder: Path,
    *,
    waves: bool = False,
    runner: AnyVerilator | None = None,
) -> AnyVerilator:
    """Verilate and compile, unless `folder` has a build of the same sources.

    runner: How to build; None: LeanVerilator.

    Raises DesignError if Verilator rejects the sources, and WordlineError if it is unusable or the
    machine fails. Its output is in build.log.
    """
    runner = runner or LeanVerilator()
    how, stamp, log = _how(runner, waves), folder / STAMP, folder / "build.log"
    key = _key(sources, how)
    folder.mkdir(parents=True, exist_ok=True)
    if not _stamped(folder, key):
        stamp.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        _forget_other_ways(folder, how)
        try:
            runner.build(
                sources=[path.absolute() for path in sources],
                hdl_toplevel=top,
                build_dir=folder.absolute(),
                always=True,
                waves=waves,
                log_file=log.absolute(),
            )
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise _refused(top, log) from error
        files.write_text(stamp, key)
    else:
        runner.build_dir = folder.absolute()
    return runner


MACHINE = re.compile(
    r"can(?:no|.?)t (?:write|open|read|stat|flush)|no space left|i/o error|out of memory|bad_alloc"
    r"|threw signal (?:9|15)|killed|internal compiler error|cannot execute",
    re.I,
)
"""Pattern of errors of tools that say nothing about the design."""

ENDED = (signal.SIGKILL, signal.SIGTERM, signal.SIGXFSZ)
"""Signals that end a tool whatever the design is."""


def _refused(top: str, log: Path) -> WordlineError:
    """Why Verilator did not build a design, in one sentence with its first error."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    of_machine = any(MACHINE.search(line) for line in lines)
    for line in lines:
        # The bench names ports and probes; g++ does not find those that the Verilog lacks.
        of_compiler = re.search(r": error: (.*has no member named.*)", line)
        if line.startswith("%Error") and (found := line.partition(": ")[2]):
            where, _, what = found.partition(": ")
            path, colon, numbers = where.partition(":")
            said = f"{Path(path).name}{colon}{numbers}: {what}" if colon and what else found
        elif of_compiler:
            said = f"a port or a probe of its sidecar is missing ({of_compiler[1]})"
        else:
            continue
        kind = WordlineError if of_machine else DesignError
        return kind(f"Verilator could not build {top}: {said.rstrip('.')}; {log} says more.")
    return WordlineError(
        f"The C++ that Verilator made of {top} could not be compiled; the Verilog is not at fault: "
        f"the disk may be full, or g++ may have failed; {log} says why."
    )


def check_ended(tool: str, code: int) -> None:
    """Raise WordlineError if the machine, and not the design, ended a tool.

    code: Its exit status; that of a signal is negative, or 128 and the signal.
    """
    number = -code if code < 0 else code - 128
    if number in ENDED:
        raise WordlineError(
            f"{tool} was ended by {signal.Signals(number).name}; the Verilog is not at fault: "
            f"memory or disk may be full; try again."
        )


def warnings(log: Path, file: str) -> list[str]:
    """Verilator's warnings about a file in a build log, each as `file:line: text`."""
    found = []
    with contextlib.suppress(OSError):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            match = re.match(r"%Warning-(\w+): (\S+?):(\d+):\d+: (.*)", line)
            if match and Path(match[2]).name == plain_name(file):
                found.append(f"{file}:{match[3]}: {match[4]} ({match[1]})")
    return found


def is_built(
    sources: Sequence[Path], folder: Path, runner: AnyVerilator, *, waves: bool = False
) -> bool:
    """Whether `build` has built these sources in this way."""
    return _stamped(folder, _key(sources, _how(runner, waves)))


def _stamped(folder: Path, key: str) -> bool:
    stamp = folder / STAMP
    return stamp.exists() and stamp.read_text() == key


def _how(runner: AnyVerilator, waves: bool) -> str:
    return f"{runner.how} {waves}"


def _key(sources: Sequence[Path], how: str) -> str:
    key = hashlib.sha256(how.encode())
    for source in sources:
        key.update(source.read_bytes())
    return key.hexdigest()


def _forget_other_ways(folder: Path, how: str) -> None:
    """Delete objects compiled with other options: make compares only file dates."""
    made, now = folder / "how.sha256", hashlib.sha256(how.encode()).hexdigest()
    if not made.exists() or made.read_text() != now:
        for kind in ("*.o", "*.a", "*.so", "*.gch"):
            for path in folder.glob(kind):
                path.unlink()
        files.write_text(made, now)


def run(
    runner: Runner,
    *,
    module: str,
    top: str,
    folder: Path,
    job: dict[str, Any],
    seed: int,
    waves: bool = False,
    tests: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run a bench module on the model built in `folder`.

    The plusarg `job` names a JSON file with `job` and the added paths `result` and `progress`.
    Returns the content of `result`, if the bench wrote it, and `passed`: whether all tests passed.
    The simulator's output is in sim.log.

    tests: Regular expression that selects tests of the module; None: all.
    progress: Called with the number of finished sequences and the total.
    """
    result, beacon, log = folder / "result.json", folder / "progress", folder / "sim.log"
    results_xml = folder / "results.xml"
    for path in (result, beacon, results_xml):
        path.unlink(missing_ok=True)
    job = job | {"result": str(result.absolute()), "progress": str(beacon.absolute()), "seed": seed}
    files.write_text(folder / "job.json", json.dumps(job, indent=1))
    with _watching(beacon, progress), _ending():
        runner.test(
            test_module=module,
            hdl_toplevel=top,
            hdl_toplevel_lang="verilog",
            build_dir=folder.absolute(),
            test_dir=folder.absolute(),
            plusargs=[f"+job={(folder / 'job.json').absolute()}"],
            seed=seed,
            waves=waves,
            test_filter=tests,
            extra_env={"COCOTB_REWRITE_ASSERTION_FILES": OWN},
            log_file=log.absolute(),
            results_xml=str(results_xml.absolute()),
        )
    ran, failed = 0, 0
    with contextlib.suppress(RuntimeError, OSError):
        # A path that is not UTF-8 is in the file as a character that XML does not have.
        found = results_xml.read_text(encoding="utf-8")
        results_xml.write_text(re.sub(r"&#\d+;", "?", found), encoding="utf-8")
        ran, failed = get_results(results_xml)
    left = json.loads(result.read_text()) if result.exists() else {}
    return left | {"passed": ran > 0 and failed == 0}


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """Let a simulator end with an error: without results it crashed, or the design ended it."""
    try:
        yield
    except SystemExit as error:
        check_ended("The simulator", error.code if isinstance(error.code, int) else 1)
    except RuntimeError as error:  # "Command failed with return code: N"
        code = re.search(r"-?\d+$", str(error))
        check_ended("The simulator", int(code[0]) if code else 1)


@contextlib.contextmanager
def _watching(beacon: Path, progress: Progress | None) -> Iterator[None]:
    """Pass progress that the bench writes into `beacon` to the callback."""
    if progress is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            with contextlib.suppress(OSError, ValueError):
                done, total = beacon.read_text().split()
                progress(int(done), int(total))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True)
class Chip:
    """An emitted folder with its built model: `run(**chip.arguments, module=...)`."""

    runner: Runner
    top: str
    folder: Path
    job: dict[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `run` for this chip."""
        return vars(self)


@dataclass(frozen=True)
class Emitted:
    """Emitted files for a simulation. job: Paths of sidecar, image and golden vectors."""

    sources: list[Path]
    top: str
    job: dict[str, Any]


def emitted(folder: Path, name: str, vectors: str = "vectors.npz") -> Emitted:
    """The files emitted into `folder`. vectors: File name of the golden vectors."""
    sidecar = folder / f"{name}.json"
    top = json.loads(sidecar.read_text())["module"]
    sources = [folder / f"{name}.vlt", folder / f"{name}.v", folder / f"{name}_crossbar_model.v"]
    named = {"sidecar": sidecar, "image": folder / "image.hex", "vectors": folder / vectors}
    return Emitted(sources, top, {key: str(path.absolute()) for key, path in named.items()})


def prepare(
    folder: Path,
    name: str,
    *,
    waves: bool = False,
    stock: bool = False,
    vectors: str = "vectors.npz",
) -> Chip:
    """Build the files emitted into `folder` for the cocotb bench.

    waves: Build with waveforms.
    stock: Build with cocotb's own runner, to compare speeds.
    vectors: File name of the golden vectors.

    Raises WordlineError if Verilator is unusable or rejects the files.
    """
    found = emitted(folder, name, vectors)
    work = folder / ("stock" if stock else "verilator-waves" if waves else "verilator")
    sources, runner = found.sources, StockVerilator() if stock else LeanVerilator()
    built = build(sources, found.top, work, waves=waves, runner=runner)
    return Chip(built, found.top, work, found.job | {"stall": 0.0})


def simulate(
    chip: Chip,
    *,
    seed: int = 0,
    stall: float = 0.0,
    waves: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run all golden vectors through a chip and return the bench's result.

    seed: Seed of stalls.
    stall: Probability of a stall at each transfer.
    waves: Write waveforms.

    Raises DesignError if the simulation ends without a result because it hangs or crashes.
    """
    result = run(
        **chip.arguments | {"job": chip.job | {"stall": stall}},
        module="sim.benches.bench_network",
        seed=seed,
        waves=waves,
        progress=progress,
    )
    if "output" not in result:
        raise DesignError(
            f"The simulation ended without a result; {chip.folder / 'sim.log'} says why."
        )
    return result
