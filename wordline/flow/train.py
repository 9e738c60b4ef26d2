"""Training of a recipe. The program is kept and reused if nothing has changed."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from golden import datasets, files
from golden.datasets import Sequences
from golden.errors import WordlineError
from golden.files import DATA
from golden.presets import Recipe
from golden.program import Program
from golden.training import run as run_training
from golden.training.evaluate import check_labels, check_sequences, measured
from golden.validation import plain, replaced
from wordline.flow import cache
from wordline.flow.recipe import alone, check
from wordline.flow.sequences import own_sequences

Progress = Callable[[str, int, int], None]
"""Called with the stage, the amount done and the total."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained program.

    program: The program.
    seconds: Time of training (s); 0 if it was reused.
    reused: The program was kept from an earlier training.
    folder: Folder of program.safetensors.
    """

    program: Program
    seconds: float
    reused: bool
    folder: Path

    @property
    def reference(self) -> dict[str, float]:
        """Measures of the float network on the test set (`golden.measures`), by name."""
        return of_stage(self.program.about, "float")

    @property
    def golden(self) -> dict[str, float]:
        """Measures of the quantised network on an ideal chip, on the test set, by name."""
        return of_stage(self.program.about, "golden")


@dataclasses.dataclass(frozen=True)
class SeedRun:
    """Measures of one seed on the test set.

    seed: The seed.
    reference: Measures of the float network, by name.
    golden: Measures of the quantised network, by name.
    """

    seed: int
    reference: dict[str, float]
    golden: dict[str, float]


def train_seeds(
    recipe: Recipe,
    seeds: int,
    *,
    device: str = "cpu",
    data_dir: Path = DATA,
    threads: int = 1,
    progress: Progress = lambda *_: None,
) -> list[SeedRun]:
    """Train several seeds, counted from the recipe's seed; only their measures are kept."""
    check_trainable(recipe)
    if seeds < 1:
        raise WordlineError(f"seeds = {seeds} is below 1; train one or more.")
    data = datasets.load(recipe.training.dataset, Path(data_dir))
    runs = []
    with torch_threads(threads):
        for seed in range(recipe.training.seed, recipe.training.seed + seeds):
            result = run_training.train(
                *(recipe.description, replaced(recipe.training, seed=seed), data),
                device=device,
                effects=recipe.effects,
                levels=recipe.levels,
            )
            runs.append(SeedRun(seed, result.reference, result.golden))
            progress("seeds", len(runs), seeds)
    return runs


@alone
def train(
    recipe: Recipe,
    build_dir: Path = Path("build"),
    *,
    device: str = "cpu",
    data_dir: Path = DATA,
    threads: int = 1,
    progress: Progress = lambda *_: None,
) -> Trained:
    """Train a recipe, or load its program from build_dir/NAME if nothing has changed.

    The program is that of an ideal chip. The recipe's effects enter training only if
    `training.noise` is "hardware". A recipe with its own sequences (`wordline import`) is never
    trained here: its program is loaded.

    - `threads`: Number of PyTorch threads. Another number may change the order of sums and so give
      another program.

    Raises WordlineError if the data set, or the program of an imported network, is missing, or if
    the folder holds a program that was not trained by a recipe.
    """
    folder, data_dir = Path(build_dir) / recipe.description.name, Path(data_dir)
    path = folder / "program.safetensors"
    if own_sequences(recipe) is not None:
        return Trained(imported_program(recipe, path), 0.0, True, folder)
    # Effects matter only if training uses them.
    used = plain(recipe.effects) if recipe.training.noise == "hardware" else None
    levels = plain(recipe.levels) if recipe.description.device.levels == "trained" else None
    fingerprint = datasets.fingerprint(recipe.training.dataset, data_dir)
    key = cache.digest(
        *(recipe.description.to_toml(), plain(recipe.training), used, levels, fingerprint),
        *(cache.training(recipe.training.dataset, recipe.description.cell.kind), device, threads),
    )
    if path.exists():
        try:
            there = Program.load(path)
        except WordlineError as error:
            raise WordlineError(
                f"{path} cannot be read, and would be lost: {error} Delete or rename it to train "
                f"again, or give the recipe another name."
            ) from None
        if "key" not in there.about:
            raise WordlineError(
                f"{path} holds a program that was not trained by a recipe; it would be lost. "
                f"To use it, give it as `program`; to train, give the recipe another name."
            )
        if there.about["key"] == key and there.description == recipe.description:
            return Trained(there, 0.0, True, folder)
    files.check_folder(folder)
    started = time.monotonic()
    data = datasets.load(recipe.training.dataset, data_dir)
    with torch_threads(threads):
        result = run_training.train(
            *(recipe.description, recipe.training, data),
            lambda what, done, total, _: progress(f"train, {what}", done, total),
            *(device, recipe.effects, recipe.levels),
        )
    about = {
        "dataset": data.name,
        "training": plain(recipe.training),
        **{f"float_{name}": round(value, 4) for name, value in result.reference.items()},
        **{f"golden_{name}": round(value, 4) for name, value in result.golden.items()},
        "versions": cache.versions(),
        "key": key,
    }
    program = dataclasses.replace(result.program, about=about)
    program.save(path)
    return Trained(program, time.monotonic() - started, False, folder)


def check_trainable(recipe: Recipe) -> None:
    """Raise WordlineError if a recipe has no training set."""
    check(recipe)
    if own_sequences(recipe) is not None:
        raise WordlineError(
            f"{recipe.description.name} was imported and has no training set; to train it on, "
            f"import it again with --fine-tune."
        )


def imported_program(recipe: Recipe, path: Path) -> Program:
    """The program of an imported network. Raises WordlineError if it is missing."""
    if not path.exists():
        raise WordlineError(
            f"{path} is not there, and {recipe.description.name} has no training set to make it "
            f"from; import the network again, or give the folder of its folder with --build-dir."
        )
    return Program.load(path, recipe.description)


def evaluate(program: Program, data: Sequences, *, threads: int = 1) -> dict[str, float]:
    """Measures of a program on labelled sequences (`golden.measures`), by name.

    They include the program's noise and votes, if it has any. Raises WordlineError for sequences
    or labels that do not fit the program.
    """
    if not isinstance(program, Program):
        raise WordlineError(
            f"program = {type(program).__name__} is no program; give its attribute .program."
        )
    check_sequences(program.description, data)
    check_labels(program.description, data)
    with torch_threads(threads):
        return measured(program, data.numbers())


def of_stage(about: dict[str, Any], stage: str) -> dict[str, float]:
    """Measures of the stage "float" or "golden", by name, from the `about` of a program."""
    start = f"{stage}_"
    return {key.removeprefix(start): v for key, v in about.items() if key.startswith(start)}


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Set the number of PyTorch threads in a block.

    One thread is the fastest for the sizes here, and sums have the same order on every machine.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
