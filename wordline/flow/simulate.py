"""The main flow: train, emit, build with Verilator, simulate, compare every value with golden."""

import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from golden import datasets, effects, files, head
from golden.errors import WordlineError
from golden.files import DATA
from golden.measures import measures, percent
from golden.presets import Recipe
from golden.program import Program, check_votes
from hw import timing
from wordline.flow import cache, emit, record, sequences
from wordline.flow import train as training
from wordline.flow.recipe import alone, on_chip
from wordline.flow.stage import stage
from wordline.flow.train import Progress, torch_threads

FORMAT = 1
"""Version of summary.json (docs/formats.md)."""

RUNNERS = ("batch", "cocotb")
""""batch" runs on all cores without Python between two cycles; "cocotb" can write waveforms."""


@dataclass(frozen=True)
class Simulation:
    """Result of simulating a design's Verilog, compared with golden.

    folder: Folder of summary.json and the emitted files.
    summary: Content of summary.json.
    waves: VCD file; None if none was written.
    """

    folder: Path
    summary: dict[str, Any]
    waves: Path | None

    @property
    def passed(self) -> bool:
        """Whether every value is equal and the run finished."""
        return bool(self.summary["passed"]) and not self.summary["mismatches"]

    @property
    def values_compared(self) -> int:
        """Number of values compared."""
        return int(self.summary["values_compared"])

    @property
    def mismatches(self) -> int:
        """Number of values that differ."""
        return int(self.summary["mismatches"])

    @property
    def edited(self) -> list[str]:
        """Files that were edited since they were emitted, and were simulated as they are."""
        return list(self.summary["edited"])

    @property
    def not_compared(self) -> list[str]:
        """Files of the package in this folder that differ from the compared files."""
        return list(self.summary["not_compared"])

    @property
    def first_difference(self) -> str | None:
        """The first difference as text; None if there is none."""
        found = self.summary["first_difference"]
        return None if found is None else str(found)


@alone
def simulate(
    recipe: Recipe,
    build_dir: Path = Path("build"),
    *,
    program: Path | None = None,
    inputs: Path | None = None,
    first: int | None = None,
    stall: float = 0.0,
    runner: str | None = None,
    waves: str | None = None,
    votes: int = 1,
    vote_by: str = "majority",
    device: str = "cpu",
    data_dir: Path = DATA,
    threads: int = 1,
    force: bool = False,
    command: str | None = None,
    progress: Progress = lambda *_: None,
) -> Simulation:
    """Run a recipe's network through its Verilog and compare every value with golden.

    Results of earlier runs are reused if nothing has changed. The summary is written to
    build_dir/NAME/summary.json.

    - `program`: A trained program; None: train one, or load it from the folder.
    - `inputs`: .npz file of sequences, instead of the test set.
    - `first`: Number of sequences; None: all.
    - `stall`: Probability of a stall at each transfer, 0 to 0.95.
    - `runner`: "batch" or "cocotb"; None: "cocotb" for `waves`, else "batch".
    - `waves`: Write a VCD file of these steps: "all", or a range such as "5:8", counted from 0 over
      all sequences and passes in the order of the chip. Needs the runner "cocotb".
    - `votes`, `vote_by`: Passes over each sequence, and how they vote.
    - `threads`: Number of PyTorch threads.
    - `force`: Overwrite edited files. Otherwise edited Verilog and an edited image are simulated as
      they are, and listed in the result.
    - `command`: The command that runs this, for the record.

    Raises WordlineError for an invalid argument, for edited golden vectors, or if a tool is
    missing.
    """
    from sim import batch, chip, verilator  # importing cocotb is slow
    from sim import waves as vcd

    if first is not None and first < 1:
        raise WordlineError(f"first = {first} is below 1; leave it out for all sequences.")
    if not 0 <= stall <= 0.95:
        raise WordlineError(f"stall = {stall} is no probability from 0 to 0.95; give one.")
    build_dir, data_dir = Path(build_dir), Path(data_dir)
    if runner not in (None, *RUNNERS):
        raise WordlineError(f"Unknown runner {runner!r}; choose {', '.join(RUNNERS)}.")
    if waves and runner == "batch":
        raise WordlineError("Waves need the cocotb runner; leave the runner out, or the waves.")
    span = vcd.parse_steps(waves) if waves else None
    runner = runner or ("cocotb" if waves else "batch")
    verilator.find()  # before any slow step
    description = recipe.description
    data = sequences.test_set(recipe, data_dir) if inputs is None else None
    longest = (int(data.lengths.max()),) if data is not None else ()
    check_votes(description, votes, vote_by, *longest)
    folder = build_dir / description.name
    files.check_folder(folder)
    seconds = _Seconds()
    if program is None:
        trained = training.train(
            *(recipe, build_dir),
            device=device,
            data_dir=data_dir,
            threads=threads,
            progress=progress,
        )
        ideal, seconds.of["train"] = trained.program, trained.seconds
    else:
        ideal, seconds.of["train"] = Program.load(program, description), 0.0
    loaded = on_chip(ideal, recipe, votes, vote_by)

    labels: Tensor | None
    if data is not None:
        codes, lengths = sequences.encode(loaded, data), data.lengths
        labels = data.labels if sequences.has_labels(data) else None
    else:
        assert inputs is not None
        codes, lengths, labels = sequences.read_input(Path(inputs), loaded)
    if first is not None:
        codes, lengths = codes[:first], lengths[:first]
        labels = None if labels is None else labels[:first]
    if labels is not None:
        labels = datasets.Sequences(codes, lengths, labels).labelled(labels)
    if span is not None:
        vcd.check_step(span[1], int(lengths.sum()) * votes)
    progress("emit", 0, 1)
    with torch_threads(threads):
        whole = data is not None and first is None
        emitted = emit.emit_all(
            *(loaded, codes, lengths, folder), whole=whole, keep_edited=True, force=force
        )
        seconds.of["emit"] = emitted.seconds
    values = emit.VECTORS if whole else emit.PART
    progress("emit", 1, 1)
    with stage("build", seconds.of, progress):
        run: Callable[..., dict[str, Any]]
        if runner == "batch":
            prepared = batch.prepare(folder, description.name, vectors=values)
            run = functools.partial(batch.simulate, prepared)
        else:
            built = chip.prepare(folder, description.name, waves=bool(waves), vectors=values)
            run = functools.partial(chip.simulate, built, waves=bool(waves))
    with stage("simulate", seconds.of):
        result = run(
            seed=recipe.training.seed,
            stall=stall,
            progress=lambda done, total: progress("simulate", done, total),
        )
        progress("simulate", result["sequences"], result["sequences"])
    result |= {"runner": runner, "files": _compared(folder, description.name, values)}
    result |= {"stall": stall, "command": command}
    result["edited"] = [*emitted.edited]
    result["not_compared"] = _not_compared(folder, result["files"])
    errs = effects.describe(ideal, loaded, recipe.effects)
    seed = recipe.training.seed
    summary = summarise(loaded, errs, result, labels, seconds.all(), seed)
    record.outputs(folder, loaded, result, labels)
    record.difference(folder, result)
    files.write_text(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    written = folder / "verilator-waves" / "dump.vcd" if waves else None
    if written is not None:
        progress("waves", 0, 1)
        sidecar = json.loads((folder / f"{description.name}.json").read_text())
        begin = vcd.cut(written, sidecar, *span) if span else 0
        vcd.save_views(written, sidecar["module"], begin)
        progress("waves", 1, 1)
    return Simulation(folder, summary, written)


def _compared(folder: Path, name: str, values: str) -> dict[str, str]:
    """SHA-256 of each compared file."""
    names = (f"{name}.v", f"{name}_crossbar_model.v", emit.IMAGE, values)
    return {file: files.sha256(folder / file) for file in names}


def _not_compared(folder: Path, compared: dict[str, str]) -> list[str]:
    """Files of the package in this folder that differ from the compared files."""
    rtl = folder / "package" / "rtl"
    there = {rtl / file: wanted for file, wanted in compared.items() if (rtl / file).is_file()}
    return [str(path) for path, wanted in there.items() if files.sha256(path) != wanted]


class _Seconds:
    """Wall time by stage, and in total."""

    def __init__(self) -> None:
        self.of: dict[str, float] = {}
        self.began = time.monotonic()

    def all(self) -> dict[str, float]:
        """Time by stage, and the total."""
        return self.of | {"total": time.monotonic() - self.began}


def _measures(program: Program, output: np.ndarray, labels: Tensor | None) -> dict[str, float]:
    """Measures of a chip's outputs; empty without labels."""
    if labels is None:
        return {}
    found, description = torch.from_numpy(np.asarray(output)), program.description
    if description.output.of == "class":
        values = {"accuracy": percent(found, labels)}
    else:
        label = None if labels.is_floating_point() else head.label(found)
        every_step = description.output.every_step
        values = measures(program.real(found), labels, label, every_step=every_step)
    return {name: round(value, 4) for name, value in values.items()}


def summarise(
    program: Program,
    effects: dict[str, Any],
    result: dict[str, Any],
    labels: Tensor | None,
    seconds: dict[str, float],
    seed: int,
) -> dict[str, Any]:
    """Content of summary.json.

    effects: Result of `golden.effects.describe`.
    result: Result of the runner.
    labels: Labels of sequences, or of all their steps, one after the other.
    seconds: Time by stage (s).

    Measures (`golden.measures`) of the float network and of an ideal chip in one pass are on the
    recipe's test set; those of golden and the RTL are on these sequences.
    """
    about, description = program.about, program.description
    found = {
        "float": training.of_stage(about, "float"),
        "ideal": training.of_stage(about, "golden"),
        "golden": _measures(program, result["golden_output"], labels),
        "rtl": _measures(program, result["output"], labels),
    }
    names = list(found["rtl"] or found["float"])
    return {
        "format": FORMAT,
        "name": description.name,
        "fingerprint": description.fingerprint,
        "dataset": about.get("dataset"),
        **{f"{stage}_{name}": found[stage].get(name) for name in names for stage in found},
        "votes": program.votes,
        "vote_by": program.vote_by if program.votes > 1 else None,
        "effects": effects,
        "runner": result["runner"],
        "files": result["files"],
        "edited": result["edited"],
        "not_compared": result["not_compared"],
        "passed": result["passed"],
        **{key: result[key] for key in ("sequences", "passes", "timesteps")},
        **{key: result[key] for key in ("values_compared", "mismatches")},
        "first_difference": result["first_difference"],
        "first": result["first"],
        "compared": result["by_quantity"],
        "cycles": result["cycles"],
        "cycles_per_step": result["cycles_per_step"],
        "adc_cycles_per_step": max(timing.conversion_cycles(shape) for shape in description.layers),
        "seconds": {stage: round(value, 2) for stage, value in seconds.items()},
        "seed": seed,
        "stall": result["stall"],
        "command": result["command"],
        "training": about.get("training"),
        "versions": cache.versions(),
    }
