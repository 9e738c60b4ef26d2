"""What a run is about: a preset or a TOML file, with what the caller has in its place."""

import contextlib
import dataclasses

from golden import effects, presets
from golden.presets import Recipe
from golden.program import Program
from golden.training.settings import Training
from golden.validation import build, plain, replaced


def load(
    name: str,
    *,
    seed: int | None = None,
    noise: str | float | None = None,
    placement: str | None = None,
    effects_: str | None = None,
) -> Recipe:
    """The recipe of a preset, or of the TOML file at a path, with what is given in its place.

    seed: of training, and of the effects' chip. noise: "none", "hardware", or a signal-to-noise
    ratio in dB. placement: where such noise is added. effects_: a preset of effects, or the path of
    a TOML file. Raises WordlineError for a name or a value that is not known.
    """
    recipe = presets.load(name)
    settings = plain(recipe.training)
    if noise is not None:
        settings |= {"noise": noise, "placement": "pre-activations"}
        if isinstance(noise, str):
            with contextlib.suppress(ValueError):
                settings["noise"] = float(noise.lower().removesuffix("db"))
    if placement is not None:
        settings["placement"] = placement
    own = recipe.effects if effects_ is None else effects.load(effects_)
    if seed is not None:
        settings["seed"] = seed
        own = replaced(own, seed=seed)
    return dataclasses.replace(recipe, training=build(Training, settings, "training"), effects=own)


def on_chip(program: Program, recipe: Recipe, votes: int = 1, vote_by: str = "majority") -> Program:
    """A program as the chip holds it: with the recipe's effects, and so many votes."""
    program = dataclasses.replace(program, votes=votes, vote_by=vote_by)  # type: ignore[arg-type]
    return effects.apply(program, recipe.effects)
