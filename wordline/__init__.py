"""Recurrent networks from PyTorch to Verilog for NVM crossbar accelerators, compared bit for bit.

This is the library, for a notebook or a script. The `wordline` command calls the same functions, so
both give the same bytes::

    import wordline

    recipe = wordline.load("vowels")
    trained = wordline.train(recipe)
    result = wordline.simulate(recipe)
    assert result.passed, result.first_difference

Functions take a `progress` callback (stage, done, total) and print nothing. Results are
dataclasses. An invalid argument raises `WordlineError`: one sentence with the field, the value and
what to do. Importing this package loads no PyTorch: each name is loaded when it is first used.
`wordline.nn` has the layers for your own training loop.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen.cost.resources import ArrayNeeds, needs
    from golden.datasets import Dataset, Sequences
    from golden.description import Description
    from golden.effects import Effects
    from golden.errors import WordlineError
    from golden.frontends.convert import Conversion, convert
    from golden.network import run
    from golden.presets import PRESETS, Recipe
    from golden.program import Program
    from golden.training.settings import Training
    from wordline import nn
    from wordline.flow.check import Checked, check
    from wordline.flow.cost import Cost, Estimate, cost, estimate
    from wordline.flow.emit import Emitted, emit
    from wordline.flow.importing import Imported, import_model
    from wordline.flow.recipe import load, on_chip
    from wordline.flow.sequences import dataset, encode
    from wordline.flow.simulate import Simulation, simulate
    from wordline.flow.synthesise import Placement, Synthesis, place, synthesise
    from wordline.flow.train import Progress, SeedRun, Trained, evaluate, train, train_seeds

_WHERE = {
    "gen.cost.resources": ("ArrayNeeds", "needs"),
    "golden.datasets": ("Dataset", "Sequences"),
    "golden.description": ("Description",),
    "golden.effects": ("Effects",),
    "golden.errors": ("WordlineError",),
    "golden.frontends.convert": ("Conversion", "convert"),
    "golden.network": ("run",),
    "golden.presets": ("PRESETS", "Recipe"),
    "golden.program": ("Program",),
    "golden.training.settings": ("Training",),
    "wordline.flow.check": ("Checked", "check"),
    "wordline.flow.cost": ("Cost", "Estimate", "cost", "estimate"),
    "wordline.flow.emit": ("Emitted", "emit"),
    "wordline.flow.importing": ("Imported", "import_model"),
    "wordline.flow.recipe": ("load", "on_chip"),
    "wordline.flow.sequences": ("dataset", "encode"),
    "wordline.flow.simulate": ("Simulation", "simulate"),
    "wordline.flow.synthesise": ("Placement", "Synthesis", "place", "synthesise"),
    "wordline.flow.train": ("Progress", "SeedRun", "Trained", "evaluate", "train", "train_seeds"),
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "PRESETS",
    "ArrayNeeds",
    "Checked",
    "Conversion",
    "Cost",
    "Dataset",
    "Description",
    "Effects",
    "Emitted",
    "Estimate",
    "Imported",
    "Placement",
    "Program",
    "Progress",
    "Recipe",
    "SeedRun",
    "Sequences",
    "Simulation",
    "Synthesis",
    "Trained",
    "Training",
    "WordlineError",
    "check",
    "convert",
    "cost",
    "dataset",
    "emit",
    "encode",
    "estimate",
    "evaluate",
    "import_model",
    "load",
    "needs",
    "nn",
    "on_chip",
    "place",
    "run",
    "simulate",
    "synthesise",
    "train",
    "train_seeds",
]


def __getattr__(name: str) -> Any:
    """Load a name of the library when it is first used."""
    if name == "nn":
        return importlib.import_module("wordline.nn")
    if name in _MODULES:
        value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
        return value
    raise AttributeError(f"module 'wordline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
