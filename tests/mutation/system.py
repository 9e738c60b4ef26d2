"""An RNN with votes behind AXI, and how its mutants are run: with the testbench of its package,
then with the bench of the bus."""

import dataclasses
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

from gen.ip import package
from gen.rtl import image, vectors
from golden import files
from golden.program import Program
from sim import batch, chip, system
from sim.stimuli import Stimuli
from sim.verilator import BenchVerilator
from tests.helpers import small
from tests.mutation import benches, mutants
from tests.mutation.chip import apart, fails, plays
from tests.soak.macro import with_slow_macro
from tests.soak.session import PROGRAMS, Session
from wordline.flow import emit

DESCRIPTION = small(
    name="votes",
    cell={"kind": "rnn"},
    array={"lanes": 2, "beat": 2},
    voting={"replay_steps": 4, "max_votes": 4},
)

SEQUENCES, STEPS = 8, 4

TESTBENCH, PROGRAMS_TOO, BUS = "testbench of the package", "random programs", "bench of the bus"
"""What may find a mutant."""

SECONDS, BENCH_SECONDS = 5, 150
"""Time after which a testbench hangs, and a bench: far more than they take."""


class Design:
    """The design, in a package of its own."""

    name = DESCRIPTION.name

    def __init__(self, out: Path, seed: int) -> None:
        self.folder, self.top = out / "package", package.axi_module(DESCRIPTION)
        program = Stimuli(DESCRIPTION, seed).random_program(on_levels=True)
        program = dataclasses.replace(program, votes=3, vote_by="sum")
        x, cut = system.cut_short(DESCRIPTION, *_inputs(seed))
        lengths = _inputs(seed)[1]
        self.job = system.prepare(program, x, lengths, self.folder) | {"cut": cut}
        emit.emit_all(program, x, lengths, out / "core")
        self.core = chip.emitted(out / "core", self.name)
        self.session = Session(program, seed, sequences=16, steps=6)
        self.folders = [self.folder]
        _write_bench(program, x, lengths, self.folder)
        for n, options in enumerate(PROGRAMS):
            own = Stimuli(DESCRIPTION, seed + n).random_program(**options)
            own = dataclasses.replace(own, votes=1 + n, vote_by=("sum", "majority")[n % 2])
            _write_bench(own, *_inputs(seed + n), out / f"program-{n}")
            self.folders.append(out / f"program-{n}")
        *own_files, _ = sources = package.sources(self.folder)
        boxes = out / "boxes.v"
        stub = package.texts(DESCRIPTION, ["blackbox"])[f"rtl/{self.name}_crossbar_stub.v"]
        files.write_text(boxes, stub)
        self.sources = mutants.Sources(tuple(own_files), boxes, self.top)
        control = [self.folder / f"{self.name}.vlt", system.presets(DESCRIPTION, self.folder)]
        self.inside = benches.Inside(self.sources, DESCRIPTION, self.core.top, sources[-1])
        self.rest = [*control, sources[-1]]

    def build(self, group: list[str], folder: Path) -> "Group":
        """Models with all mutants of a group, of which none is active."""
        folder.mkdir(parents=True, exist_ok=True)
        number = folder / "number"
        switched = folder / "switched" / f"{self.name}.v"
        files.write_text(switched, mutants.switched(group, self.sources, number, folder))
        verilog = [*self.rest, switched]
        bench = BenchVerilator(self.folder / f"tb/{self.name}_tb.cpp")
        chip.build(verilog, self.top, folder / "tb", runner=bench)
        cocotb = chip.build(
            verilog, self.top, folder / "bus", runner=benches.LenientQuickVerilator()
        )
        built = chip.Chip(cocotb, self.top, folder / "bus", self.job)
        core = folder / "core" / f"{self.name}.v"
        files.write_text(core, mutants.switched(group, self.sources, number, folder, self.core.top))
        (own,) = (path for path in self.core.sources if path.name == core.name)
        sources = [core if path == own else path for path in self.core.sources]
        emitted = dataclasses.replace(self.core, sources=sources)
        emitted = with_slow_macro(emitted, folder / "core/slow")
        inside = batch.build(emitted, folder / "core/batch", quick=True, lenient=True)
        tb = folder / "tb" / bench.PROGRAM
        return Group(tb, built, self.folders, number, inside, self.session)


def _inputs(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    stimuli = Stimuli(DESCRIPTION, seed + 1000)
    lengths = torch.randint(1, STEPS + 1, (SEQUENCES,), generator=stimuli.generator)
    return stimuli.random_codes(SEQUENCES, STEPS, DESCRIPTION.network.inputs), lengths


def _write_bench(program: Program, x: torch.Tensor, lengths: torch.Tensor, folder: Path) -> None:
    """Write the image, and what the package's testbench sends and expects."""
    (folder / "tb").mkdir(parents=True, exist_ok=True)
    image.write(folder / "image.hex", program)
    texts = package.program_texts(DESCRIPTION, vectors.make(program, x, lengths))
    for path, text in texts.items():
        files.write_text(folder / path, text)


@dataclass(frozen=True)
class Group:
    """The models of a group of mutants, and what they are to run."""

    bench: Path
    built: chip.Chip
    folders: list[Path]
    number: Path
    inside: batch.Batch
    session: Session

    def outcome(self, mutant: int) -> tuple[str, str]:
        """What finds a mutant, and how; or "survives"."""
        self.number.write_text(str(mutant))
        for n, folder in enumerate(self.folders):
            name = PROGRAMS_TOO if n else TESTBENCH
            try:
                subprocess.run(
                    [self.bench], cwd=folder, check=True, capture_output=True, timeout=SECONDS
                )
            except subprocess.TimeoutExpired:
                return name, "hangs"
            except subprocess.CalledProcessError as error:
                lines = error.stderr.decode().splitlines() or ["it crashed"]
                return name, "a value differs" if "differ" in lines[-1] else lines[-1]
        found = self.of_core() if not mutant else apart(self.of_core)
        if found[0] != "survives":
            return found
        for tests in (system.UNDISTURBED, None):
            how = benches.fails(self.built, system.BENCHES, 1, tests, BENCH_SECONDS)
            if how is not None:
                return BUS, how
        return "survives", ""

    def of_core(self) -> tuple[str, str]:
        """How random programs without AXI find a mutant."""
        how = fails(lambda: plays(self.inside, self.session))
        return ("survives", "") if how is None else (PROGRAMS_TOO, how)
