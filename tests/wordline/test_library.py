"""The library: what a notebook or a script calls, and that the command calls the same."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import wordline
from tests.helpers import random_program, small
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


def short():
    """A recipe that is trained in a second."""
    recipe = wordline.load("vowels")
    return dataclasses.replace(
        recipe,
        description=recipe.description.replace(name="short", network={"hidden": [2]}),
        training=dataclasses.replace(recipe.training, float_epochs=1, epochs=1),
    )


def test_training_leaves_the_caller_s_state(tmp_path):
    """Threads, the generator and the gradient mode; whether it trains or finds a program."""
    before, seen, drawn = torch.get_num_threads(), [], []
    for _ in range(2):
        torch.manual_seed(1)
        with torch.no_grad():
            trained = wordline.train(
                short(),
                str(tmp_path),
                threads=2,
                progress=lambda *told: seen.append((*told, torch.get_num_threads())),
            )
        drawn.append(torch.rand(1))
    assert trained.reused and torch.equal(*drawn)
    assert torch.get_num_threads() == before
    assert {threads for *_, threads in seen} == {2}
    stages = [stage for stage, *_ in seen]
    assert stages[0] == "train, float" and stages[-1] == "train, quantised"


def test_a_program_of_your_own_is_not_trained_over(tmp_path):
    recipe, path = short(), tmp_path / "short/program.safetensors"
    trained = wordline.train(recipe, tmp_path)
    own = dataclasses.replace(trained.program, about={})
    own.save(path)
    before = path.read_bytes()
    with pytest.raises(
        wordline.WordlineError, match=r"would be lost\. To use it, give it as `prog"
    ):
        wordline.train(recipe, tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"mine"])
def test_a_program_that_cannot_be_read_is_not_trained_over(content, tmp_path):
    """It may be another version's, after hours of training."""
    recipe, path = short(), tmp_path / "short/program.safetensors"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(wordline.WordlineError, match=r"would be lost: .* Delete or rename it"):
        wordline.train(recipe, tmp_path)
    assert path.read_bytes() == content


def test_a_chip_is_programmed_once():
    program = random_program(small(), 0)
    recipe = dataclasses.replace(loud(), description=small())
    chip = wordline.on_chip(program, recipe)
    with pytest.raises(
        wordline.WordlineError, match="on a chip already, of seed 0; give the ideal"
    ):
        wordline.on_chip(chip, recipe)
    quiet = dataclasses.replace(recipe, effects=wordline.Effects())
    again = wordline.on_chip(chip, quiet).tensors()
    assert all(torch.equal(tensor, again[name]) for name, tensor in chip.tensors().items())


def loud():
    """A recipe with read noise."""
    recipe = wordline.load("vowels")
    return dataclasses.replace(recipe, effects=wordline.Effects(read_sigma=0.02))


def labelled(**changes):
    """Sequences for `small()`, some of it replaced."""
    fields = {
        "x": torch.zeros(4, 5, 3),
        "lengths": torch.full((4,), 5),
        "labels": torch.arange(4) % 3,
    }
    return wordline.Sequences(**(fields | changes))


UNFIT = {
    "channels": (
        labelled(x=torch.zeros(4, 5, 1)),
        r"x has shape \(4, 5, 1\); give \(sequences, steps, 3",
    ),
    "not finite": (
        labelled(x=torch.full((4, 5, 3), torch.nan)),
        "x holds a number that is not finite",
    ),
    "complex": (labelled(x=torch.zeros(4, 5, 3) + 1j), r"x is torch\.complex64; give real"),
    "lengths": (labelled(lengths=torch.full((4,), 6)), "must be 4 numbers from 1 to 5"),
    "half lengths": (labelled(lengths=torch.full((4,), 2.5)), r"lengths are torch\.float32"),
    "no labels": (
        labelled(labels=torch.full((4,), -1)),
        r"labels are -1\.\.-1; give 0\.\.3 a sequ",
    ),
    "a further class": (labelled(labels=torch.full((4,), 4)), r"labels are 4\.\.4; give 0\.\.3"),
    "one label": (labelled(labels=torch.zeros(1).long()), r"labels have shape \(1,\); give \(4,\)"),
    "real labels": (labelled(labels=torch.zeros(4, 3)), "but what comes out is a class"),
    "a data set": (torch.zeros(4, 5, 3), "The sequences are a Tensor; give Sequences"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_sequences_that_do_not_fit_are_refused(what):
    data, sentence = UNFIT[what]
    program = random_program(small(), 0)
    with pytest.raises(wordline.WordlineError, match=sentence):
        wordline.evaluate(program, data)
    if "label" not in sentence and "class" not in sentence:
        with pytest.raises(wordline.WordlineError, match=sentence):
            wordline.encode(program, data)
    assert 0 <= wordline.evaluate(program, labelled())["accuracy"] <= 100


class Wrapped(nn.Module):
    """A network that cannot be called with x."""

    def __init__(self, *between):
        super().__init__()
        self.lstm, self.inside = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 5)
        self.between = nn.Sequential(*between)
        self.head, self.at_the_end = nn.Linear(5, 3), nn.Softmax(-1)

    def forward(self, batch):
        inside = self.between(self.inside(self.lstm(batch.x)[0][:, -1]))
        return self.at_the_end(self.head(inside))


def test_a_nonlinearity_between_layers_is_refused_though_nothing_is_compared():
    design, x = wordline.load("vowels").description, torch.randn(40, 6, 3)
    design = design.replace(network={"inputs": 3, "hidden": [4], "classes": 3})
    module = Wrapped(nn.Dropout())
    module.train()
    module.between.eval()
    found = wordline.convert(module, design, x.double())
    assert found.chain == ("lstm", "inside", "head") and "cannot be called" in str(found.compared)
    assert module.training and not module.between[0].training  # each as it was
    with pytest.raises(
        wordline.WordlineError, match=r"nonlinearity \(between.0: Sigmoid\) in front"
    ):
        wordline.convert(Wrapped(nn.Sigmoid()), design, x)
    pruned = Wrapped()
    whole = wordline.convert(pruned, design, x).program.tensors()
    prune.identity(pruned.lstm, "weight_hh_l0")
    again = wordline.convert(pruned, design, x).program.tensors()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def test_as_many_sequences_as_steps_are_no_other_layout():
    module, x = nn.LSTM(3, 4, batch_first=True), torch.randn(5, 5, 3)
    own = {"network": {"hidden": [4], "classes": 0}, "output": {"of": "state", "steps": "every"}}
    compared = wordline.convert(module, small().replace(**own), x).compared
    assert (compared.sequences, compared.steps) == (4, 13) and not compared.why_not


def test_integers_of_numpy_are_integers():
    design = small().replace(adc={"bits": np.int64(5)})
    assert type(design.adc.bits) is int and design == small().replace(adc={"bits": 5})
    with pytest.raises(wordline.WordlineError, match="is not an integer"):
        small().replace(adc={"bits": np.float64(5)})


def test_codes_are_integers():
    program, lengths = random_program(small(), 0), torch.full((2,), 4)
    for value in (0.5, torch.nan):
        with pytest.raises(wordline.WordlineError, match=r"wordline\.encode makes codes of real"):
            wordline.run(program, torch.full((2, 4, 3), value), lengths)


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
            lambda folder: wordline.simulate(wordline.load("vowels"), folder, first=0),
            "first = 0 is",
        ),
        (
            lambda folder: wordline.simulate(wordline.load("vowels"), folder, stall=2),
            "stall = 2 is",
        ),
        (
            lambda folder: wordline.simulate("vowels", folder),
            r"recipe = 'vowels' .* wordline\.load",
        ),
        (lambda folder: wordline.train_seeds(wordline.load("vowels"), 0), "seeds = 0 is below 1"),
        (
            lambda folder: wordline.emit(wordline.load("vowels"), folder, period_ns=-3.0),
            "period_ns = -3.0 is not from",
        ),
        (
            lambda folder: wordline.emit(wordline.load("vowels"), folder, period_ns=3.0),
            "no effect without a package",
        ),
        (
            lambda folder: wordline.emit(loud(), folder, macro="digital"),
            "Digital arrays have no errors of macros, but the effects read are on",
        ),
        (
            lambda folder: wordline.import_model(folder / "x", folder / "y", epochs=2),
            "epochs = 2 has no effect without fine-tuning",
        ),
        (lambda folder: wordline.convert("x", None, None), "str is no network; give a torch.nn"),
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
