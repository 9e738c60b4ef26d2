"""Recipes: a description and how to train it, by name or from a TOML file."""

from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from golden import effects
from golden.cells.lstm import LstmCell
from golden.description import Description
from golden.effects import Effects
from golden.errors import WordlineError
from golden.levels import Levels
from golden.parameters import Adc, Array, Dac, Network, Output
from golden.source import registry
from golden.training.settings import Training
from golden.validation import build, plain, preset_or_toml, replaced


@dataclass(frozen=True)
class Recipe:
    """Content of a TOML file: the description's tables, [training], [effects] and [levels].

    description: The design.
    training: How the network is trained.
    effects: Non-idealities of the chip.
    levels: How level tables are found, if `device.levels` is "trained".
    """

    description: Description
    training: Training = field(default_factory=Training)
    effects: Effects = field(default_factory=Effects)
    levels: Levels = field(default_factory=Levels)

    def to_toml(self) -> str:
        """The recipe as TOML, with every field."""
        fields = self.description.to_dict() | {"training": plain(self.training)}
        fields |= {"effects": plain(self.effects)}
        if self.description.device.levels == "trained":
            fields["levels"] = {k: v for k, v in plain(self.levels).items() if v is not None}
        return tomli_w.dumps(fields)


_VOWELS = Description(name="vowels", network=Network(inputs=12, hidden=(32,), classes=9))
_MNIST_ROWS = Description(
    name="mnist-rows",
    network=Network(inputs=28, hidden=(128,), classes=10),
    array=Array(lanes=8),
)
_KJV_CHAR = Description(
    name="kjv-char",
    network=Network(inputs=63, hidden=(128,), classes=63),
    array=Array(lanes=8),
    output=Output(steps="every"),
)
_CHARACTERS = Training(dataset="kjv-char", float_epochs=3, epochs=3, batch=32, learning_rate=0.005)

PRESETS = registry(
    "presets",
    {
        "vowels": Recipe(_VOWELS),
        "vowels-deep": Recipe(_VOWELS.replace(name="vowels-deep", network={"hidden": [24, 16]})),
        "vowels-fast": Recipe(_VOWELS.replace(name="vowels-fast", array={"lanes": 8})),
        "vowels-rnn": Recipe(_VOWELS.replace(name="vowels-rnn", cell={"kind": "rnn"})),
        "vowels-levels": Recipe(
            _VOWELS.replace(name="vowels-levels", device={"weight_bits": 3, "levels": "trained"}),
            levels=Levels(separation=2.0, noise="pcm"),
        ),
        "vowels-vote": Recipe(_VOWELS.replace(name="vowels-vote", voting={"replay_steps": 32})),
        "vowels-rnn-vote": Recipe(
            _VOWELS.replace(
                name="vowels-rnn-vote", cell={"kind": "rnn"}, voting={"replay_steps": 32}
            )
        ),
        "mnist-rows": Recipe(
            _MNIST_ROWS,
            Training(
                dataset="mnist-rows", float_epochs=15, epochs=10, batch=64, learning_rate=0.003
            ),
        ),
        "strokes": Recipe(
            Description(name="strokes", network=Network(inputs=3, hidden=(64,), classes=10)),
            Training(dataset="strokes", float_epochs=12, epochs=10, batch=64, learning_rate=0.004),
        ),
        "har": Recipe(
            Description(name="har", network=Network(inputs=6, hidden=(64,), classes=7)),
            Training(dataset="har", float_epochs=24, epochs=24, batch=64, learning_rate=0.002),
        ),
        "load-forecast": Recipe(
            Description(
                name="load-forecast",
                network=Network(inputs=1, hidden=(32,), classes=1),
                dac=Dac(bits=8, kind="pulse-width"),
                adc=Adc(bits=8),
                cell=LstmCell(gate_bits=10, state_bits=14, state_index_bits=10, hidden_bits=10),
                output=Output(of="scores", steps="every"),
            ),
            Training(
                dataset="load-forecast",
                float_epochs=50,
                epochs=100,
                batch=32,
                learning_rate=0.01,
            ),
        ),
        "kjv-char": Recipe(_KJV_CHAR, _CHARACTERS),
        "kjv-char-deep": Recipe(
            _KJV_CHAR.replace(
                name="kjv-char-deep",
                network={"hidden": [256, 256]},
                array={"rows": 128, "columns": 128, "lanes": 1},
            ),
            _CHARACTERS,
        ),
    },
)
"""Recipes by name.

vowels: The default design.
vowels-deep: Two layers.
vowels-fast: Twice the ADCs.
vowels-rnn: The vanilla cell.
vowels-levels: Eight levels per weight, placed by training.
vowels-vote, vowels-rnn-vote: With a replay buffer and a voter; no sequence is longer than 29 steps.
mnist-rows: Digits, one row of pixels per step; needs `wordline data mnist`.
strokes: Digits, one pen movement per step; needs `wordline data strokes`.
har: Exercises of held-out subjects with a smartwatch; needs `wordline data har`.
load-forecast: Electricity demand of the next half hour, with 4-bit cells and 8-bit converters;
    needs `wordline data taylor`.
kjv-char: The next character of the Bible; needs `wordline data kjv`.
kjv-char-deep: The same with two layers, each in many crossbars of 128 rows and columns.
"""


def load(name: str) -> Recipe:
    """Load a preset, or a recipe from a TOML file.

    Raises WordlineError if `name` is neither, or if the file has a mistake.
    """
    fields = preset_or_toml(name, PRESETS, "Unknown preset")
    if isinstance(fields, Recipe):
        return fields
    known = [*Description.__dataclass_fields__, "training", "effects", "levels"]
    for key in fields:
        if key not in known:
            raise WordlineError(
                f"{name}: {key} is not a field; the fields here are {', '.join(known)}."
            )
    training = build(Training, fields.pop("training", {}), f"{name}: training")
    if training.dataset.endswith(".npz"):
        training = replaced(training, dataset=str(Path(name).parent / training.dataset))
    own = effects.read(fields.pop("effects", {}), name)
    given = fields.pop("levels", {})
    levels = build(Levels, given, name, "levels")
    description = Description.from_dict(fields, source=name)
    if given and description.device.levels != "trained":
        raise WordlineError(
            f"{name}: [levels] has no effect with device.levels = {description.device.levels!r}; "
            f"write 'trained' there, or leave [levels] out."
        )
    return Recipe(description, training, own, levels)
