"""Fuzz of text that users write: descriptions, effects, figures, axes of a sweep."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import tomli_w
import torch

from gen.cost import components, resources, sweep
from golden import effects, network, presets
from golden.description import Description
from golden.levels import Levels
from golden.presets import PRESETS, Recipe
from golden.program import Program
from golden.training.settings import Training
from hw import timing
from hw.bus.registers import RegisterMap
from sim.stimuli import Stimuli, random_description
from tests.fuzz import files, values
from tests.fuzz.engine import Case, Kind

SMALL = 20_000
"""Numbers of a program that is computed on both paths."""


def both_paths(program: Program, seed: int) -> None:
    """Check that the fast path and the readable one compute the same."""
    stimuli = Stimuli(program.description, seed)
    steps = 2 if program.votes == 1 else min(2, program.description.voting.replay_steps)
    x = stimuli.random_codes(2, steps, program.description.network.inputs)
    lengths = torch.tensor([steps, 1])
    quick = network.run(program, x, lengths)
    plain = network.run(program, x, lengths, readable=True)
    for a, b in zip(quick.layers, plain.layers, strict=True):
        for name, found in a.quantities().items():
            assert torch.equal(found.long(), b.quantities()[name].long()), name
    assert torch.equal(quick.scores, plain.scores)
    assert quick.label is plain.label or torch.equal(quick.label, plain.label)


def size(description: Description) -> int:
    """Numbers of a program."""
    total = 0
    for shape in description.arrays.values():
        total += 2 * shape.gates * shape.units * shape.rows + shape.gates * 2**shape.index_bits
    return total


def means(description: Description, seed: int) -> None:
    """Check that an accepted description means what it says, and can be made."""
    again = Description.from_dict(description.to_dict())
    assert again == description and again.fingerprint == description.fingerprint
    for needs, shape in zip(resources.needs(description), description.arrays.values(), strict=True):
        rows, columns = needs.size
        assert 1 <= rows <= description.array.rows and columns >= shape.macro.units * shape.gates
        assert shape.gates <= shape.macro.units * shape.gates <= description.array.columns
        assert needs.used == shape.gates * shape.units * shape.rows <= needs.cells
        assert needs.cycles >= 1 and timing.conversion_cycles(shape) >= 1
        assert sum(map(len, shape.row_tiles)) == shape.rows
    map_ = RegisterMap(description)
    assert map_.load.address_bits <= 32 and map_.window_words >= map_.load_end
    if size(description) <= SMALL:
        both_paths(Stimuli(description, seed).random_program(noisy=bool(seed % 2)), seed)


def deep(draw: random.Random) -> str:
    """TOML or JSON that is nested or long."""
    count = draw.choice((100, 2000, 100_000))
    return draw.choice(
        (
            f"x = {'[' * count}",
            f"x = {'[' * count}{']' * count}",
            "x = " + "{a=" * count + "1" + "}" * count,
            f"[{'a.' * count}b]\nx = 1",
            f"{'a.' * count}b = 1",
            f"x = {'9' * count}",
            f"x = 1e{'9' * count}",
            f'name = "{"x" * count}"',
            "".join(f"[a{n}]\n" for n in range(count // 10)),
        )
    )


class Descriptions(Kind):
    """Recipes as TOML."""

    name = "toml"
    share = 500

    def prepare(self, home: Path) -> None:
        self.recipes = [self.whole(recipe) for recipe in PRESETS.values()]
        for seed in range(40):
            drawn = random_description(random.Random(seed))
            self.recipes.append(self.whole(Recipe(drawn)))

    @staticmethod
    def whole(recipe: Recipe) -> dict[str, Any]:
        """Fields of a recipe, with all sections."""
        import tomllib

        return tomllib.loads(recipe.to_toml())

    def draw(self, draw: random.Random) -> Case:
        recipe = draw.choice(self.recipes)
        what = draw.random()
        if what > 0.9:
            recipe = huge(recipe, draw)
        if what < 0.03:
            return self.case(deep(draw).encode(), draw)
        for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
            if draw.random() < 0.6:  # a field of the design
                section = draw.choice([k for k, v in recipe.items() if isinstance(v, dict)])
                recipe = (
                    recipe | {section: values.changed(recipe[section], draw)}
                    if (recipe[section])
                    else recipe
                )
            else:
                recipe = values.changed(recipe, draw)
            if not recipe:
                break
        try:
            text = tomli_w.dumps(recipe).encode()
        except (TypeError, ValueError, AttributeError):
            text = json.dumps(recipe).encode()
        if what < 0.25:
            way = draw.choice((files.flipped, files.cut, files.moved, files.filled, twice))
            text = way(text, draw)
        return self.case(text, draw)

    def case(self, text: bytes, draw: random.Random) -> Case:
        return Case({"own.toml": text}, draw.randrange(1000))

    def run(self, folder: Path, case: Case) -> None:
        path = folder / "own.toml"
        recipe = presets.load(str(path))
        (folder / "again.toml").write_text(recipe.to_toml(), encoding="utf-8")
        again = presets.load(str(folder / "again.toml"))
        assert again.description == recipe.description and again.effects == recipe.effects
        assert again.levels == recipe.levels or recipe.description.device.levels != "trained"
        if not recipe.training.dataset.endswith(".npz"):
            assert again.training == recipe.training
        means(recipe.description, case.given)


HUGE = {
    "network": {"inputs": 4096, "hidden": [4096] * 8, "classes": 4096},
    "array": {"rows": 1, "columns": 4, "lanes": 4096, "beat": 4096, "settle": 64},
    "dac": {"bits": 8, "kind": "bit-serial"},
    "adc": {"bits": 10, "kind": "flash", "gain_bits": 12},
    "cell": {"frac": 8, "hidden_bits": 12, "state_bits": 20, "state_index_bits": 12},
    "voting": {"replay_steps": 65_536, "max_votes": 1024},
    "device": {"weight_bits": 8, "conductance_bits": 12},
}


def huge(recipe: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A recipe with several fields at the end of their ranges."""
    own = {k: dict(v) if isinstance(v, dict) else v for k, v in recipe.items()}
    share = draw.choice((0.2, 0.5, 0.9))
    for section, fields in HUGE.items():
        for name, value in fields.items():
            if draw.random() < share and (section, own["cell"]["kind"]) != ("cell", "rnn"):
                own[section][name] = value[: draw.randint(1, 8)] if name == "hidden" else value
    return own


def twice(content: bytes, draw: random.Random) -> bytes:
    """A line of text twice."""
    lines = content.splitlines(keepends=True) or [b"x = 1\n"]
    at = draw.randrange(len(lines))
    return b"".join([*lines[:at], lines[at], lines[at], *lines[at + 1 :]])


FIELDS = ("array.lanes", "settle", "adc.bits", "cell.kind", "adc_energy", "x", "network")
AXIS = ("1,2", "4", "[1]", "1..9", "", "'x'", "0x10", "nan", "1e9", "[[[" * 999, "1]\ny = [2")


class Settings(Kind):
    """Effects, figures of components and axes of a sweep."""

    name = "settings"
    share = 180

    def prepare(self, home: Path) -> None:
        import tomllib

        self.effects = dataclasses.asdict(effects.PRESETS["all"])
        self.figures = tomllib.loads(components.template())
        self.others = [dataclasses.asdict(Levels()), dataclasses.asdict(Training())]

    def draw(self, draw: random.Random) -> Case:
        which = draw.choice(("effects", "figures", "axes"))
        if which == "axes":
            text = draw.choice(FIELDS) + draw.choice(("=", "", "==", ".")) + draw.choice(AXIS)
            if draw.random() < 0.3:
                text = files.flipped(text.encode(), draw).decode("latin-1")
            return Case({}, (which, [text] * draw.choice((1, 1, 2, 300))))
        fields_ = self.effects if which == "effects" else self.figures
        for _ in range(draw.choice((1, 1, 2))):
            fields_ = values.changed(fields_, draw) if fields_ else {}
        try:
            text_ = tomli_w.dumps({"effects": fields_} if draw.random() < 0.2 else fields_).encode()
        except (TypeError, ValueError, AttributeError):
            text_ = deep(draw).encode()
        if draw.random() < 0.2:
            text_ = draw.choice((files.flipped, files.cut, twice))(text_, draw)
        return Case({"own.toml": text_}, (which, ""))

    def run(self, folder: Path, case: Case) -> None:
        which, text = case.given
        path = folder / "own.toml"
        if which == "axes":
            sweep.read_axes(text)
        elif which == "effects":
            found = effects.load(str(path))
            assert effects.read(dataclasses.asdict(found), "again") == found
        else:
            figures = components.read_figures(path)
            for figure in figures.values():
                assert 0 < figure.low <= figure.typical <= figure.high < 1e13
