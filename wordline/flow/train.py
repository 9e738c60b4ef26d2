"""Training of a recipe: the program it gives is kept, and used again if nothing has changed."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from golden import datasets
from golden.datasets import Sequences
from golden.errors import WordlineError
from golden.files import DATA
from golden.presets import Recipe
from golden.program import Program
from golden.training import run as run_training
from golden.training.evaluate import measured
from golden.validation import plain, replaced
from wordline.flow import cache
from wordline.flow.sequences import own_sequences

Progress = Callable[[str, int, int], None]
"""Called with a stage, what is done of it, and how much there is."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained program.

    seconds: what training took, 0 if the program was there already. reused: whether it was. folder:
    where program.safetensors is.
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
        """The same of the quantised network, on an ideal chip."""
        return of_stage(self.program.about, "golden")


@dataclasses.dataclass(frozen=True)
class SeedRun:
    """Measures of one seed on the test set: of the float network and of the quantised one."""

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
    """Train so many seeds, from the recipe's on; nothing is kept but what they measure."""
    check_trainable(recipe)
    data = datasets.load(recipe.training.dataset, data_dir)
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


def train(
    recipe: Recipe,
    build_dir: Path = Path("build"),
    *,
    device: str = "cpu",
    data_dir: Path = DATA,
    threads: int = 1,
    progress: Progress = lambda *_: None,
) -> Trained:
    """The trained program of a recipe, from build_dir/NAME if it is there and nothing changed.

    What is trained is the program of an ideal chip; the recipe's effects enter where
    `training.noise` is "hardware". threads: PyTorch's, while it trains; another number may round
    sums in another order and give another program. The program of a recipe with sequences of its
    own (`wordline import`) is never trained here; WordlineError where it is not in the folder.
    """
    folder = build_dir / recipe.description.name
    path = folder / "program.safetensors"
    if own_sequences(recipe) is not None:
        return Trained(imported_program(recipe, path), 0.0, True, folder)
    # Effects matter to training where it is told to use them.
    used = plain(recipe.effects) if recipe.training.noise == "hardware" else None
    levels = plain(recipe.levels) if recipe.description.device.levels == "trained" else None
    fingerprint = datasets.fingerprint(recipe.training.dataset, data_dir)
    key = cache.digest(
        *(recipe.description.to_toml(), plain(recipe.training), used, levels, fingerprint),
        *(cache.training(recipe.training.dataset, recipe.description.cell.kind), device, threads),
    )
    if path.exists():
        try:
            program = Program.load(path, recipe.description)
            if program.about.get("key") == key:
                return Trained(program, 0.0, True, folder)
        except WordlineError:
            pass  # of another description, or damaged: train again
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
    """Raise WordlineError where a recipe has no training set."""
    if own_sequences(recipe) is not None:
        raise WordlineError(
            f"{recipe.description.name} was imported and has no training set; to train it on, "
            f"import it again with --fine-tune."
        )


def imported_program(recipe: Recipe, path: Path) -> Program:
    """The program of an imported network; WordlineError where it is not at the path."""
    if not path.exists():
        raise WordlineError(
            f"{path} is not there, and {recipe.description.name} has no training set to make it "
            f"from; import the network again, or give the folder of its folder with --build-dir."
        )
    return Program.load(path, recipe.description)


def evaluate(program: Program, data: Sequences, *, threads: int = 1) -> dict[str, float]:
    """Measures of a program on labelled sequences (`golden.measures`), by name; with the program's
    noise and votes, where it has some."""
    with torch_threads(threads):
        return measured(program, data)


def of_stage(about: dict[str, Any], stage: str) -> dict[str, float]:
    """What training measured of "float" or "golden", by name, out of what a program says of
    itself."""
    start = f"{stage}_"
    return {key.removeprefix(start): v for key, v in about.items() if key.startswith(start)}


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads of PyTorch in a block. One is the fastest for the sizes here, and the same
    order of sums on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
