"""Recipes with changes by the caller."""

import pytest

from golden.errors import WordlineError
from wordline.flow import recipe


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
