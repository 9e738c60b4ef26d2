"""An emitted design, and how its mutants are run: with the batch runner."""

import dataclasses
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gen.rtl import vectors
from golden import files
from golden.errors import WordlineError
from golden.program import Program
from sim import batch, chip
from sim.batch_chip import Chip, read_sidecar
from tests.mutation import mutants
from tests.mutation.benches import Inside
from tests.soak.macro import with_slow_macro
from tests.soak.session import Session

FEW = 8
"""Sequences of a test set that come first."""

SEQUENCES, STEPS, EPISODES = 16, 6, 30
"""Of random programs: sequences of an episode, their steps, and the number of episodes."""

SECONDS = 300
"""Time after which a mutant hangs: 50 times what all runs take."""

STALL, PAUSE = 0.1, 400
"""Of the test set with stalls."""

TEST_SET, STALLS, SESSION = "test set", "test set, stalls", "random programs"
"""What may find a mutant."""


class Design:
    """An emitted design with its golden vectors, in `folder`."""

    def __init__(self, folder: Path, out: Path, seed: int) -> None:
        self.name = name_of(folder)
        self.emitted = chip.emitted(folder, self.name)
        self.sources = mutants.Sources(
            (folder / f"{self.name}.v",), folder / f"{self.name}_crossbar_stub.v", self.emitted.top
        )
        program = Program.load(folder / "program.safetensors")
        golden = vectors.load(folder / "vectors.npz", program.description)
        vectors.write(out / "few.npz", vectors.first(golden, FEW))
        self.few, self.seed = out / "few.npz", seed
        model = folder / f"{self.name}_crossbar_model.v"
        self.inside = Inside(self.sources, program.description, self.emitted.top, model)
        self.session = Session(program, seed, sequences=SEQUENCES, steps=STEPS)

    def build(self, group: list[str], folder: Path) -> "Group":
        """A model with all mutants of a group, of which none is active."""
        folder.mkdir(parents=True, exist_ok=True)
        number = folder / "number"
        (verilog,) = self.sources.verilog
        switched = folder / verilog.name
        files.write_text(switched, mutants.switched(group, self.sources, number, folder))
        sources = [switched if path == verilog else path for path in self.emitted.sources]
        emitted = with_slow_macro(
            dataclasses.replace(self.emitted, sources=sources), folder / "slow"
        )
        built = batch.build(emitted, folder / "batch", quick=True, lenient=True)
        return Group(built, self.few, self.session, self.seed, number)


@dataclasses.dataclass(frozen=True)
class Group:
    """The model of a group of mutants, and what it is to run."""

    built: batch.Batch
    few: Path
    session: Session
    seed: int
    number: Path

    def outcome(self, mutant: int) -> tuple[str, str]:
        """What finds a mutant, and how; or "survives"."""
        self.number.write_text(str(mutant))
        return self.found() if not mutant else apart(self.found)

    def found(self) -> tuple[str, str]:
        """What finds the mutant that is active."""
        few = dataclasses.replace(self.built, job=self.built.job | {"vectors": str(self.few)})
        stalls = {"stall": STALL, "pause": PAUSE, "seed": self.seed}
        for name, passes in (
            (TEST_SET, lambda: _passes(few)),
            (STALLS, lambda: _passes(few, **stalls)),
            (SESSION, lambda: plays(self.built, self.session)),
            (TEST_SET, lambda: _passes(self.built)),
        ):
            how = fails(passes)
            if how is not None:
                return name, how
        return "survives", ""


def _passes(built: batch.Batch, **options: Any) -> bool:
    """Whether golden vectors pass."""
    return bool(batch.simulate(built, workers=1, **options)["passed"])


def fails(passes: Callable[[], bool]) -> str | None:
    """How a run fails, if it does."""
    try:
        return None if passes() else "a value differs"
    except WordlineError as error:
        return "hangs" if "hangs" in str(error) else "values too many or few, or busy"


def name_of(folder: Path) -> str:
    """Name of the design that is emitted in a folder."""
    (sidecar,) = (path for path in folder.glob("*.json") if path.with_suffix(".v").exists())
    return sidecar.stem


def apart(found: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    """What finds a mutant, in a process of its own: a model may crash."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=lambda: theirs.send(found()))
    process.start()
    theirs.close()
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        return "time", "hangs"
    return ours.recv() if process.exitcode == 0 else ("crash", f"status {process.exitcode}")


def plays(built: batch.Batch, session: Session) -> bool:
    """Whether random programs pass."""
    chip_ = Chip(built.library, read_sidecar(Path(built.job["sidecar"])))
    try:
        return not session.play(chip_, most=EPISODES, keep=True).board.mismatches
    finally:
        chip_.close()
