"""Recipes: a description and how to train it, by name or from a TOML file."""

from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from golden.description import Description, Network, build, plain, read_toml
from golden.errors import WordlineError
from golden.training import Training


@dataclass(frozen=True)
class Recipe:
    """What a TOML file holds: the description's tables, and [training]."""

    description: Description
    training: Training = field(default_factory=Training)

    def to_toml(self) -> str:
        """The recipe as TOML, every field written out."""
        fields = self.description.to_dict() | {"training": plain(self.training)}
        return tomli_w.dumps(fields)


_VOWELS = Description(name="vowels", network=Network(inputs=12, hidden=(32,), classes=9))

PRESETS = {
    recipe.description.name: recipe
    for recipe in (
        Recipe(_VOWELS),
        Recipe(_VOWELS.replace(name="vowels-deep", network={"hidden": [24, 16]})),
        Recipe(_VOWELS.replace(name="vowels-fast", array={"lanes": 8})),
    )
}
"""vowels: the main job. vowels-deep: two layers. vowels-fast: twice the ADCs."""


def load(name: str) -> Recipe:
    """A preset's name, or the path of a TOML file.

    Raises WordlineError if it is neither, or if the file holds a mistake.
    """
    if name in PRESETS:
        return PRESETS[name]
    if not name.endswith(".toml"):
        raise WordlineError(
            f"There is no preset {name!r}; give one of {', '.join(PRESETS)}, or a .toml file."
        )
    fields = read_toml(Path(name))
    training = build(Training, fields.pop("training", {}), f"{name}: training")
    return Recipe(Description.from_dict(fields, source=name), training)
