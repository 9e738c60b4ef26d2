"""Load a recipe from a preset or a TOML file, with changes by the caller."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from golden import effects, files, presets
from golden.errors import WordlineError
from golden.presets import Recipe
from golden.program import Program
from golden.training.settings import Training
from golden.validation import build, plain, replaced


def load(
    name: str | Path,
    *,
    seed: int | None = None,
    noise: str | float | None = None,
    placement: str | None = None,
    passes: int | None = None,
    effects_: str | None = None,
) -> Recipe:
    """Load the recipe of a preset, or of the TOML file at a path, and replace some of its values.

    - `seed`: Seed of training and of the effects.
    - `noise`: "none", "hardware", or a signal-to-noise ratio (dB).
    - `placement`: Where noise of a ratio is added.
    - `passes`: Noisy passes of a sequence whose mean scores the loss is of.
    - `effects_`: A preset of effects, or the path of a TOML file.

    Raises WordlineError for an unknown name or an invalid value.
    """
    recipe = presets.load(str(name))
    settings = plain(recipe.training)
    if noise is not None:
        settings |= {"noise": noise, "placement": "pre-activations"}
        settings |= {"passes": 1} if noise == "none" else {}
        if isinstance(noise, str):
            with contextlib.suppress(ValueError):
                settings["noise"] = float(noise.lower().removesuffix("db"))
    if placement is not None:
        settings["placement"] = placement
    if passes is not None:
        settings["passes"] = passes
    own = recipe.effects if effects_ is None else effects.load(effects_)
    if seed is not None:
        settings["seed"] = seed
        own = replaced(own, seed=seed)
    return dataclasses.replace(recipe, training=build(Training, settings, "training"), effects=own)


def on_chip(program: Program, recipe: Recipe, votes: int = 1, vote_by: str = "majority") -> Program:
    """The program on a real chip: with the recipe's effects, and `votes` passes per sequence.

    Raises WordlineError if the program is on a chip already and the recipe has effects: devices are
    programmed once, and drift from then on.
    """
    check(recipe)
    program = dataclasses.replace(program, votes=votes, vote_by=vote_by)  # type: ignore[arg-type]
    before = program.about.get("effects")
    if not before:
        on = {"effects": plain(recipe.effects)} if recipe.effects.on else {}
        return dataclasses.replace(effects.apply(program, recipe.effects), about=program.about | on)
    if recipe.effects.on:
        raise WordlineError(
            f"The program is on a chip already, of seed {before.get('seed')}; give the ideal one, "
            f"as wordline.train returns it."
        )
    return program


Call = TypeVar("Call", bound=Callable[..., Any])


def alone(call: Call) -> Call:
    """Let one process at a time run a function of a recipe and a build folder in that folder."""

    @functools.wraps(call)
    def holding(recipe: Recipe, build_dir: Path = Path("build"), **options: Any) -> Any:
        check(recipe)
        folder = Path(build_dir) / recipe.description.name
        with files.locked(folder):
            return call(recipe, build_dir, **options)

    return cast(Call, holding)


def check(recipe: Recipe) -> None:
    """Check that a recipe is one.

    Raises WordlineError if it is not.
    """
    if not isinstance(recipe, Recipe):
        raise WordlineError(
            f"recipe = {recipe!r} is no recipe; give wordline.load(NAME), of a preset or a .toml."
        )
