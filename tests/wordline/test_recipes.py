"""Recipes with changes by the caller."""

import io

import pytest
from rich.console import Console

from golden.errors import WordlineError
from wordline.cli.train import _over, _seeds_table
from wordline.flow import recipe
from wordline.flow.train import SeedRun


def test_noise_placement_and_passes_of_training():
    found = recipe.load("vowels", noise="6dB", placement="product", passes=4).training
    assert (found.noise, found.placement, found.passes) == (6.0, "product", 4)
    found = recipe.load("vowels", noise="none").training
    assert (found.noise, found.placement, found.passes) == ("none", "pre-activations", 1)


def test_passes_without_noise_are_refused():
    with pytest.raises(WordlineError, match="passes = 4 has no effect with noise = 'none'"):
        recipe.load("vowels", passes=4)


def test_a_recipe_s_own_passes_stay_with_other_noise_and_go_without(tmp_path):
    path = tmp_path / "own.toml"
    own = recipe.load("vowels").description.to_toml()
    path.write_text(f'{own}\n[training]\nnoise = 3.0\nplacement = "every"\npasses = 2\n')
    assert recipe.load(str(path)).training.passes == 2
    found = recipe.load(str(path), noise=0.0).training
    assert (found.noise, found.placement, found.passes) == (0.0, "pre-activations", 2)
    assert recipe.load(str(path), noise="none").training.passes == 1


def test_seeds_are_told_in_all_measures():
    runs = [
        SeedRun(seed, {"accuracy": 50.0 + seed, "bits": 2.0}, {"accuracy": 49.0, "bits": 2.5})
        for seed in (0, 2)
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(_seeds_table(runs))
    said = console.export_text()
    assert "52.00 %, 2.000 bits a label" in said and "49.00 %, 2.500 bits a label" in said
    assert _over(run.reference for run in runs) == "accuracy 51 ± 1.4, bits 2 ± 0"
