"""The library: what a notebook or a script calls, and that the command calls the same."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import wordline
from tests.wordline.test_cli import here as command
from tests.wordline.test_wheel import TINY

TEXTS = ("tiny.v", "tiny_crossbar_model.v", "tiny_crossbar_stub.v", "tiny.vlt", "tiny.json")


def python(code, folder, *options):
    done = subprocess.run(
        [sys.executable, *options, "-c", code], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LIBRARY = """
import wordline
recipe = wordline.load("tiny.toml")
trained = wordline.train(recipe, threads=1)
emitted = wordline.emit(recipe)
"""


def test_library_and_command_give_the_same_bytes(tmp_path):
    """Though torch has other threads, and another Yosys is asked for in the environment."""
    folders = {name: tmp_path / name for name in ("library", "command")}
    for folder in folders.values():
        folder.mkdir()
        (folder / "tiny.toml").write_text(TINY)
    said = python(f"import torch; torch.set_num_threads(2)\n{LIBRARY}", folders["library"])
    assert said == ""  # nothing is printed
    for verb in ("train", "emit"):
        assert command(verb, "tiny.toml", folder=folders["command"]).returncode == 0
    paths = [Path("build/tiny") / name for name in (*TEXTS, "image.hex", "program.safetensors")]
    for path in paths:
        library, other = ((folder / path).read_bytes() for folder in folders.values())
        assert library == other, path


def test_import_sets_nothing_and_loads_nothing_slow(tmp_path):
    code = """
import os, sys
before = dict(os.environ)
import wordline
wordline.load, wordline.WordlineError
slow = {"torch", "cocotb", "matplotlib", "onnx", "amaranth"} & sys.modules.keys()
assert dict(os.environ) == before
print(sorted(slow))
"""
    assert not {"cocotb", "onnx"} & {*ast.literal_eval(python(code, tmp_path))}
    first = code.replace("wordline.load, wordline.WordlineError", "")
    assert python(first, tmp_path).strip() == "[]"


def test_help_loads_nothing_slow(tmp_path):
    code = """
import sys
from wordline.cli import commands
slow = {"torch", "cocotb", "matplotlib", "onnx", "amaranth", "pydantic"}
print(sorted(slow & sys.modules.keys()))
"""
    assert python(code, tmp_path).strip() == "[]"


def test_every_function_is_in_the_docs():
    text = (Path(__file__).parents[2] / "docs/library.md").read_text()
    told = set(re.findall(r"`(\w+)\([^`]*\)`", text.partition("## Functions")[2]))
    functions = {name for name in wordline.__all__ if inspect.isfunction(getattr(wordline, name))}
    assert functions == told & set(wordline.__all__) == told - {"from_float"}


def test_every_name_is_there():
    for name in wordline.__all__:
        assert getattr(wordline, name) is not None, name
    assert set(dir(wordline)) == set(wordline.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        wordline.nothing  # noqa: B018


def test_threads_are_put_back(tmp_path):
    recipe = wordline.load("vowels")
    recipe = dataclasses.replace(
        recipe,
        description=recipe.description.replace(network={"hidden": [2]}),
        training=dataclasses.replace(recipe.training, float_epochs=1, epochs=1),
    )
    before, seen = torch.get_num_threads(), []
    wordline.train(
        recipe,
        tmp_path,
        threads=2,
        progress=lambda *told: seen.append((*told, torch.get_num_threads())),
    )
    assert torch.get_num_threads() == before
    assert {threads for *_, threads in seen} == {2}
    stages = [stage for stage, *_ in seen]
    assert stages[0] == "train, float" and stages[-1] == "train, quantised"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda folder: wordline.load("vowel"), "Unknown preset 'vowel'; choose one of vowels"),
        (lambda folder: wordline.Effects(read_sigma=-1), r"effects\.read_sigma = -1 is below 0"),
        (lambda folder: wordline.Training(epoch=3), r"training\.epoch is not a field; .* epochs"),
        (
            lambda folder: wordline.load("vowels").description.replace(network={"hidden": 8}),
            r"network\.hidden = 8 is not a list; write \[8\]",
        ),
        (lambda folder: wordline.load("vowels", noise="loud"), "noise = 'loud' is neither"),
        (
            lambda folder: wordline.load("vowels").description.replace(network={"classes": 1}),
            r"output\.of = 'class' with network\.classes = 1 is always class 0; write 2, or 'scor",
        ),
        (
            lambda folder: wordline.evaluate(wordline.Training(), None),
            r"give its attribute \.program",
        ),
        (
            lambda folder: wordline.emit(wordline.load("vowels"), folder, macro="best"),
            "view 'best' of the crossbars; choose blackbox or model or digital",
        ),
        (
            lambda folder: wordline.emit(wordline.load("vowels"), folder),
            "program.safetensors cannot be read",
        ),
        (
            lambda folder: wordline.simulate(wordline.load("vowels"), folder, runner="x"),
            "Unknown runner 'x'; choose batch, cocotb",
        ),
        (
            lambda folder: wordline.synthesise(wordline.load("vowels"), folder, target="ice40"),
            "target 'ice40'; choose osu018",
        ),
        (
            lambda folder: wordline.place(wordline.load("vowels"), folder, device="12k"),
            "device '12k'; choose 25k or 45k or 85k",
        ),
    ],
)
def test_mistakes_are_one_sentence(call, sentence, tmp_path):
    with pytest.raises(wordline.WordlineError, match=sentence) as caught:
        call(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
