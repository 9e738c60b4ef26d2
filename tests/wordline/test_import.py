"""Networks from elsewhere: modules, state_dicts, ONNX; what is taken, what is refused, what they
are worth in integers."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from golden import datasets
from golden.datasets import Sequences
from golden.description import Description
from golden.errors import WordlineError
from golden.frontends import pytorch
from golden.frontends.convert import convert
from golden.frontends.module import from_module
from golden.frontends.state_dict import from_state_dict
from golden.levels import Levels
from golden.parameters import Network
from golden.program import Program
from golden.training import evaluate, quantised
from tests.golden.test_data import run
from tests.helpers import covering
from tests.wordline.test_cli import ROOT, built_quickly, here, refused, wordline


class Net(nn.Module):
    """A chain of layers and a linear one; of the last step, or of every one."""

    def __init__(self, kind=nn.LSTM, *, inputs=5, hidden=7, classes=3, every=False, **options):
        super().__init__()
        self.rnn = kind(inputs, hidden, **options)
        self.drop = nn.Dropout(0.5)
        self.linear = nn.Linear(hidden, classes)
        self.every = every

    def forward(self, x):
        h = self.rnn(x)[0]
        last = h if self.every else h[:, -1] if self.rnn.batch_first else h[-1]
        return self.linear(self.drop(last))


def net(*arguments, seed=0, **options):
    torch.manual_seed(seed)
    return Net(*arguments, **options).eval()


def inputs(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def describe(network, **sections):
    return network.fit(
        Description(name="own", network=Network(inputs=1, hidden=(1,), classes=2))
    ).replace(**sections)


def export(module, path, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, dynamo=False)
    return path


VARIANTS = covering((nn.LSTM, nn.RNN), (1, 2), (True, False), (True, False), (False, True))


@pytest.mark.parametrize(("kind", "layers", "bias", "batch_first", "every"), VARIANTS)
def test_a_network_is_the_same_three_ways(kind, layers, bias, batch_first, every, tmp_path):
    """A module, safetensors, ONNX: the same integers; and in float what the module computes."""
    module = net(kind, num_layers=layers, bias=bias, batch_first=batch_first, every=every)
    x = inputs(40, 6, 5)
    given = x if batch_first else x.transpose(0, 1)
    safetensors.torch.save_file(module.state_dict(), tmp_path / "own.safetensors")
    torch.save(module.state_dict(), tmp_path / "own.pt")
    export(module, tmp_path / "own.onnx", given[:4] if batch_first else given[:, :4])
    own = from_module(module)
    description = describe(own)
    assert description.network.hidden == (7,) * layers
    first = convert(module, description, x)
    for name in ("own.safetensors", "own.pt", "own.onnx"):
        again = convert(pytorch.read(tmp_path / name), description, x)
        for tensor_name, tensor in first.program.tensors().items():
            assert torch.equal(tensor, again.program.tensors()[tensor_name]), (name, tensor_name)
    data = Sequences(x, torch.full((40,), 6), torch.zeros(40, 6).long())
    scores = module(given).detach()
    if every and not batch_first:
        scores = scores.transpose(0, 1)
    found = first.model.scores(data)
    assert torch.allclose(found if every else found[:, -1], scores, atol=1e-5)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.RNN])
def test_without_a_linear_layer_the_state_comes_out(kind, tmp_path):
    """Three ways; the states are the module's own, but for 4-bit everything."""
    torch.manual_seed(0)
    module, x = kind(5, 7, batch_first=True), inputs(40, 6, 5)
    safetensors.torch.save_file(module.state_dict(), tmp_path / "own.safetensors")
    export(module, tmp_path / "own.onnx", x[:4])
    description = describe(from_module(module), output={"steps": "every"})
    assert (description.output.of, description.network.classes) == ("state", 0)
    first = convert(module, description, x)
    for name in ("own.safetensors", "own.onnx"):
        again = convert(pytorch.read(tmp_path / name), description, x).program.tensors()
        assert all(torch.equal(t, again[name]) for name, t in first.program.tensors().items())
    data = Sequences(x, torch.full((40,), 6), module(x)[0].detach())
    assert torch.allclose(first.model.scores(data), data.labels, atol=1e-5)
    assert 0 < evaluate.measured(first.program, data)["rmse"] < 0.5 * data.labels.std()
    assert [array.name for array in first.arrays] == ["layers.0"]


def test_layers_of_different_sizes_are_a_chain(tmp_path):
    torch.manual_seed(0)
    parts = {f"lstm{n}": nn.LSTM(i, u) for n, (i, u) in zip((2, 10), ((5, 8), (8, 6)), strict=True)}
    module = nn.ModuleDict(parts | {"z": nn.Linear(6, 3)})
    safetensors.torch.save_file(module.state_dict(), tmp_path / "own.safetensors")
    for own in (from_module(module), pytorch.read(tmp_path / "own.safetensors")):
        assert [layer.units for layer in own.layers] == [8, 6]
        assert torch.equal(own.layers[1].weight_ih, parts["lstm10"].weight_ih_l0)
    convert(module, describe(own), inputs(20, 5, 5))  # cannot be called: not compared


def test_inputs_of_any_scale_are_taken_up_by_the_first_layer():
    """What the network computes of raw inputs is what it computes here, of standardised ones."""
    x = inputs(60, 9, 5) * torch.tensor([1e-3, 1.0, 50.0, 4.0, 0.2]) + torch.tensor(
        [0, 3, -90, 0, 1]
    )
    module = net(batch_first=True)
    with torch.no_grad():
        module.rnn.weight_ih_l0 /= x.std((0, 1))
    found = convert(module, describe(from_module(module)), x)
    data = Sequences(x, torch.full((60,), 9), torch.zeros(60).long())
    wanted = module(x).detach()
    assert torch.allclose(found.model.scores(data), wanted, atol=1e-4)
    exact = evaluate.scores(found.program, data)[:, 0] * found.program.score_step
    error = (exact - wanted).square().mean() / wanted.square().mean()
    assert error < 0.3  # 4-bit everything, untrained weights


PORTABLE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}
"""Trains the same network on every processor, as far as can be asked for. What converting loses
depends on the luck of the training: of eight seeds -0.5 to 12 points at 6 bits of ADC."""


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    """The script of docs/import.md, run: a trained network, and its data."""
    folder = tmp_path_factory.mktemp("speaker")
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/import.md").read_text(), re.DOTALL)
    assert len([line for line in script.splitlines() if line.strip()]) <= 30
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | PORTABLE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(("adc", "points"), [(4, 6), (6, 3)])
def test_converting_loses_little(speaker, adc, points):
    """Held-out sequences; the goal is three points at 6 bits of ADC."""
    own = pytorch.read(speaker / "voice.safetensors")
    data = datasets.load("vowels")
    found = convert(own, describe(own, adc={"bits": adc}), data.train)
    before = evaluate.worth(found.model.scores(data.test), data.test)["accuracy"]
    after = evaluate.measured(found.program, data.test)["accuracy"]
    assert before > 92 and after > before - points


def test_biases_are_corrected(speaker, monkeypatch):
    """Pre-activations on the chip have the float network's mean, and are nearer to it."""
    own = pytorch.read(speaker / "voice.safetensors")
    description = describe(own, device={"weight_bits": 3})
    data = datasets.load("vowels")

    def off(program):
        """Of each unit's mean score."""
        every = dataclasses.replace(data.train, labels=torch.zeros(data.train.x.shape[:2]).long())
        stepwise = description.replace(output={"steps": "every"})
        program = dataclasses.replace(program, description=stepwise)
        real = found.model.scores(every)[data.train.valid]
        exact = (evaluate.scores(program, every)[:, 0] * program.score_step)[data.train.valid]
        return (exact.mean(0) - real.mean(0)).abs().max()

    found = convert(own, description, data.train)
    uncorrected = quantised.Trainable(found.model, data.train, description).program()
    assert off(found.program) < 0.2 * off(uncorrected.to(torch.int64))
    for array in found.arrays:
        assert 0 < array.error < array.signal and array.bias > 0
        assert 0 < array.clipped < 0.2 and 0.1 < array.weight_error < 0.6
    assert [array.name for array in found.arrays] == ["layers.0", "head"]


GIVEN = ("--calibration", "train.npz", "--test", "test.npz")


@pytest.mark.slow
def test_the_command_takes_it_to_verilog(speaker):
    """As docs/import.md has it."""
    done = wordline("import", "voice.safetensors", *GIVEN, folder=speaker)
    assert done.returncode == 0, done.stderr
    done = wordline("sim", "build/voice/voice.toml", "--sequences", 20, folder=speaker)
    assert done.returncode == 0, done.stderr
    summary = json.loads((speaker / "build/voice/summary.json").read_text())
    assert (summary["mismatches"], summary["sequences"]) == (0, 20)


def test_targets_that_are_far_from_0_are_standardised():
    """By real labels; without them a score that the head does not reach is named."""
    module = net(classes=2, batch_first=True)
    with torch.no_grad():
        module.linear.weight *= torch.tensor([[1.0], [200.0]])
        module.linear.bias.copy_(torch.tensor([50.0, -3000.0]))
    x = inputs(300, 6, 5)
    labels = module(x).detach()
    data = Sequences(x, torch.full((300,), 6), labels)
    description = describe(
        from_module(module), output={"of": "scores"}, dac={"bits": 6}, adc={"bits": 7}
    )
    found = convert(module, description, data)
    assert torch.allclose(found.model.scores(data), labels, rtol=1e-4)
    real = found.program.real(evaluate.scores(found.program, data)[:, 0])
    off = (real - labels).square().mean(0).sqrt() / labels.std(0)
    assert off.max() < 0.6  # untrained: states hardly move
    with pytest.raises(WordlineError, match="score 0 has a bias that is large beside how much"):
        convert(module, description, x)


@pytest.mark.parametrize(
    ("design", "sections"),
    [
        ('output = {of = "state"}\nnetwork = {inputs = 1, hidden = [1], classes = 0}', "class"),
        ("voting = {replay_steps = 8}\nnetwork = {inputs = 1, hidden = [1], classes = 2}", "state"),
    ],
)
def test_a_design_of_another_output_gives_what_it_can(design, sections, tmp_path):
    (tmp_path / "own.toml").write_text(f'name = "own"\n{design}\n')
    description = Description.from_toml(tmp_path / "own.toml")
    own = from_module(nn.LSTM(3, 4) if sections == "state" else net())
    fitted = own.fit(description)
    assert (fitted.output.of, fitted.voting.replay_steps) == (sections, 0)
    assert (fitted.network.classes == 0) == (sections == "state")


@pytest.mark.parametrize("every", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_command_takes_a_regressor_to_verilog(every, tmp_path):
    """And a network without a linear layer, of every step: labels are real numbers."""
    torch.manual_seed(0)
    module = nn.LSTM(3, 6, batch_first=True) if every else net(inputs=3, batch_first=True)
    classes, output = (0, '"state", steps = "every"') if every else (3, '"scores"')
    (tmp_path / "own.toml").write_text(
        f'name = "own"\nnetwork = {{inputs = 3, hidden = [6], classes = {classes}}}\n'
        f"output = {{of = {output}}}\ndac = {{bits = 6}}\nadc = {{bits = 8}}\n"
        f"[training]\nepochs = 4\nbatch = 10\n"
    )
    safetensors.torch.save_file(module.state_dict(), tmp_path / "own.safetensors")
    for file, x in (("some", inputs(200, 7, 3)), ("held", inputs(30, 7, 3, seed=1))):
        labels = module(x)[0] if every else module(x)
        np.savez(tmp_path / f"{file}.npz", x=x, labels=labels.detach())
    done = here(
        *("import", "own.safetensors", "--calibration", "some.npz", "--test", "held.npz"),
        *("--design", "own.toml", "--fine-tune"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "build/own/import.json").read_text())["measures"]
    assert found["float"]["rmse"] < 1e-4 < found["fine-tuned"]["rmse"] < 0.6
    assert f"fine-tuned: RMSE {found['fine-tuned']['rmse']:.4f}" in done.stdout
    with built_quickly():
        done = here("sim", "build/own/own.toml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"float rmse │ {found['float']['rmse']:.4f}" in " ".join(done.stdout.split())
    summary = json.loads((tmp_path / "build/own/summary.json").read_text())
    assert summary["mismatches"] == 0 and "rtl_accuracy" not in summary
    assert summary["compared"]["output"]["compared"] == 30 * (7 * 6 if every else 3)
    assert summary["rtl_rmse"] == summary["golden_rmse"] == found["fine-tuned"]["rmse"]
    assert summary["float_rmse"] == found["float"]["rmse"] and summary["dataset"] == "held.npz"
    done = here("emit", "build/own/own.toml", "--macro", "blackbox", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "build/own/package/image.bin").exists()
    done = here("train", "build/own/own.toml", folder=tmp_path)
    assert done.returncode == 2 and "import it again with --fine-tune" in done.stderr
    (tmp_path / "build/own/program.safetensors").unlink()
    done = here("sim", "build/own/own.toml", folder=tmp_path)
    assert done.returncode == 2 and "import the network again" in done.stderr


def test_the_command_converts_and_fine_tunes(speaker):
    """From safetensors; and from ONNX, fine-tuned."""
    done = here("import", "voice.safetensors", *GIVEN, folder=speaker)
    assert done.returncode == 0, done.stderr
    assert "float: 9" in done.stdout and "clipped" in done.stdout
    folder = speaker / "build/voice"
    report = json.loads((folder / "import.json").read_text())
    worth = {stage: values["accuracy"] for stage, values in report["measures"].items()}
    assert worth["converted"] > worth["float"] - 6
    assert set(report["imported"]) == {"model", "calibration", "test"}
    program = Program.load(folder / "program.safetensors")
    more = ("--name", "tuned", "--fine-tune", "--epochs", 8, "--seed", 1)
    done = here("import", "voice.onnx", *GIVEN, *more, folder=speaker)
    assert done.returncode == 0 and "fine-tuned: 9" in done.stdout, done.stderr
    tuned = Program.load(speaker / "build/tuned/program.safetensors")
    report = json.loads((speaker / "build/tuned/import.json").read_text())
    assert report["training"]["seed"] == 1 and report["training"]["epochs"] == 8
    assert report["measures"]["fine-tuned"]["accuracy"] > 90
    assert not torch.equal(tuned.layers[0].positive, program.layers[0].positive)


def test_levels_are_placed_for_it(speaker):
    own = pytorch.read(speaker / "voice.onnx")
    data = datasets.load("vowels").train
    description = describe(own, device={"weight_bits": 3, "levels": "trained"})
    by_importance = convert(own, description, data)
    with pytest.raises(WordlineError, match=r"'k-means' places levels by .* needs labels; give"):
        convert(own, description, data.x)
    without = convert(own, description, data.x, Levels(method="lloyd-max"))
    assert not torch.equal(by_importance.program.head.levels, without.program.head.levels)


class Skips(Net):
    def forward(self, x):
        return super().forward(x) + x[:, -1, :3]


class Mean(Net):
    def forward(self, x):
        return self.linear(self.rnn(x)[0].mean(1))


class Normed(Net):
    def __init__(self, **options):
        super().__init__(**options)
        self.norm = nn.LayerNorm(7)


class Own(Net):
    def __init__(self, **options):
        super().__init__(**options)
        self.scale = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (lambda: Net(nn.GRU), r"Net \(rnn: GRU\) cannot be mapped \(GRU\): train an nn.LSTM"),
        (lambda: Net(bidirectional=True), r"\(bidirectional\): train it forwards"),
        (lambda: nn.LSTM(5, 7, proj_size=3), r"LSTM cannot .* \(projection\).*proj_size = 0"),
        (lambda: Net(nn.RNN, nonlinearity="relu"), r"\(relu\): train it with nonlinearity = 'ta"),
        (lambda: Normed(), r"Normed \(norm: LayerNorm\) cannot be .* of its own, norm.weight"),
        (lambda: Own(), r"Own cannot be mapped: it has parameters of its own, scale"),
        (lambda: nn.Sequential(nn.LSTM(5, 7), nn.ReLU()), r"\(1: ReLU\) cannot .*: it has a ReLU"),
        (lambda: nn.Sequential(nn.LSTM(5, 7), nn.Linear(4, 3)), r"1 takes 4 inputs, but 0 .* 7;"),
        (lambda: nn.Sequential(nn.LSTM(5, 7), nn.RNN(7, 7), nn.Linear(7, 3)), "several kinds"),
        (lambda: nn.Sequential(nn.LSTM(5, 7), nn.LSTM(5, 7), nn.Linear(7, 3)), "1 takes 5 inputs"),
        (lambda: nn.Linear(5, 3), r"Linear has no recurrent layer \(nn.LSTM or nn.RNN\); its ten"),
    ],
)  # fmt: skip
def test_what_cannot_be_mapped_is_refused_by_name(module, words):
    with pytest.raises(WordlineError, match=words):
        from_module(module())


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("_l1", r"has weight_ih_l2, but not weight_ih_l1: a layer is missing"),
        ("bias_hh_l0", r"weight_ih_l0\) has bias_ih, but no bias_hh"),
        ("bias_ih_l2", r"weight_ih_l2\) has bias_hh, but no bias_ih"),
    ],
)
def test_a_part_of_a_network_is_refused(lost, words):
    tensors = nn.LSTM(3, 4, num_layers=3, batch_first=True).state_dict()
    from_state_dict(tensors)
    kept = {name: tensor for name, tensor in tensors.items() if lost not in name}
    with pytest.raises(WordlineError, match=words):
        from_state_dict(kept)


class Doubled(nn.LSTM):
    """Returns what an LSTM does, twice as large."""

    def __init__(self, **options):
        super().__init__(5, 7, **options)

    def forward(self, x):
        h, state = super().forward(x)
        return 2 * h, state


@pytest.mark.parametrize("kind", [Skips, Mean, Doubled])
def test_a_module_that_does_more_than_a_chain_is_refused(kind):
    torch.manual_seed(0)
    module = kind(batch_first=True)
    own = from_module(module)
    with pytest.raises(
        WordlineError, match=r"is not a chain .* calibration, .* its output differs"
    ):
        convert(module, describe(own), inputs(30, 6, 5))
    assert module.training  # it is left as it was


class Permuted(Net):
    def forward(self, x):
        return self.linear(self.rnn(x.permute(1, 0, 2))[0][-1])


class WithLengths(Net):
    """Called with lengths; gives a dictionary."""

    def forward(self, x, lengths):
        h = self.rnn(x)[0][torch.arange(len(x)), lengths - 1]
        return {"hidden": h, "logits": self.linear(h)}


class Swapped(nn.Module):
    """Its parts are called in another order than they are made in, one of them never."""

    def __init__(self, **_):
        super().__init__()
        self.head, self.spare = nn.Linear(6, 3), nn.Linear(6, 3)
        self.second, self.first = (nn.LSTM(n, 6, batch_first=True) for n in (4, 5))
        self.between, self.front = nn.Linear(6, 4), nn.Linear(5, 5)

    def forward(self, x):
        h = self.second(self.between(self.first(self.front(x))[0]))[0]
        return self.head(h[:, -1]), h


class Twice(nn.Module):
    def __init__(self, **_):
        super().__init__()
        self.rnn, self.linear = nn.LSTM(5, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.linear(self.rnn(self.rnn(x)[0])[0])


@pytest.mark.parametrize(
    ("kind", "chain"),
    [
        (Permuted, ("rnn", "linear")),
        (WithLengths, ("rnn", "linear")),
        (Swapped, ("front", "first", "between", "second", "head")),
        (Twice, ("rnn", "rnn", "linear")),
    ],
)
def test_a_module_is_read_in_the_order_of_its_call(kind, chain):
    torch.manual_seed(0)
    module = kind(**{"batch_first": True} if kind is WithLengths else {}).eval()
    own, x = from_module(module), inputs(20, 6, 5)
    conversion = convert(module, describe(own), x)
    assert own.chain == conversion.chain == chain
    assert conversion.compared.sequences == 8 and conversion.compared.difference < 1e-5
    data = Sequences(x, torch.full((20,), 6), torch.zeros(20).long())
    found = module(x, data.lengths)["logits"] if kind is WithLengths else module(x)
    found = found[0] if isinstance(found, tuple) else found
    found = found[:, -1] if found.dim() == 3 else found
    assert (conversion.model.scores(data) - found).abs().max() < 1e-5


def test_what_cannot_be_called_is_said_to_be_not_compared():
    class Strange(Net):
        def forward(self, x, other, more):
            return self.linear(self.rnn(x)[0])

    module = Strange(batch_first=True)
    compared = convert(module, describe(from_module(module)), inputs(20, 6, 5)).compared
    assert str(compared) == "not compared: Strange cannot be called with x, or x and lengths"


def test_descriptions_and_calibrations_that_do_not_fit_are_named():
    module = net(batch_first=True)
    description = describe(from_module(module))
    wide = description.replace(network={"hidden": [8]})
    with pytest.raises(WordlineError, match=r"network.hidden = \[7\], the description has \[8\]"):
        convert(module, wide, inputs(9, 6, 5))
    rnn = description.replace(cell={"kind": "rnn"})
    with pytest.raises(WordlineError, match=r"cell.kind = 'lstm', the description has 'rnn'"):
        convert(module, rnn, inputs(9, 6, 5))
    for x in (inputs(9, 6, 4), inputs(9, 5), inputs(0, 6, 5)):
        with pytest.raises(WordlineError, match=r"calibration has shape .*, steps, 5\), none of"):
            convert(module, description, x)
    with pytest.raises(WordlineError, match="calibration holds a number that is not finite"):
        convert(module, description, inputs(9, 6, 5) / 0)
    with torch.no_grad():
        module.linear.bias[0] = torch.nan
    with pytest.raises(WordlineError, match=r"linear.bias holds a number that is not finite"):
        convert(module, description, inputs(9, 6, 5))


# ONNX, by hand


def graph(path, *, operator="LSTM", extra=(), more=(), given=(), gates=4, **attributes):
    """A model of one recurrent operator and a MatMul with an Add; extra: its further inputs; more:
    nodes at the end; given: further initialisers."""
    generator = np.random.default_rng(0)
    shapes = {"W": (1, gates * 7, 5), "R": (1, gates * 7, 7), "B": (1, 2 * gates * 7)}
    shapes |= {"weight": (7, 3), "bias": (3,)}
    tensors = {n: generator.normal(size=s).astype(np.float32) for n, s in shapes.items()}
    names = ["x", "W", "R", "B", "", *extra]
    nodes = [
        helper.make_node(operator, names, ["y", "h"], name="cell", hidden_size=7, **attributes),
        helper.make_node("Squeeze", ["h"], ["last"]),
        helper.make_node("MatMul", ["last", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["scores"]),
        *more,
    ]
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "own",
        [value("x", TensorProto.FLOAT, [6, 4, 5]), value("state", TensorProto.FLOAT, [1, 4, 7])],
        [value(nodes[-1].output[0], TensorProto.FLOAT, ["a", "b"])],
        [numpy_helper.from_array(t, n) for n, t in (tensors | dict(given)).items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]), path)
    return tensors


def test_onnx_orders_gates_in_another_way(tmp_path):
    """i, o, f, c; by the formulas of ONNX's own reference, run on the file."""
    from onnx.reference import ReferenceEvaluator

    tensors = graph(tmp_path / "own.onnx")
    own = pytorch.read(tmp_path / "own.onnx")
    assert torch.equal(own.head[0], torch.from_numpy(tensors["weight"].T))
    x = inputs(6, 4, 5)
    (wanted,) = ReferenceEvaluator(str(tmp_path / "own.onnx")).run(
        None, {"x": x.numpy(), "state": np.zeros((1, 4, 7), np.float32)}
    )
    data = Sequences(x.transpose(0, 1), torch.full((4,), 6), torch.zeros(4).long())
    found = convert(own, describe(own), data).model.scores(data)
    assert np.allclose(found.numpy(), wanted, atol=1e-5)


ZERO = ("zero", np.zeros((1, 4, 7), np.float32))
ONE = ("one", np.ones((1, 4, 7), np.float32))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"operator": "GRU", "gates": 3}, r"cannot be mapped \(GRU\): train an nn.LSTM"),
        ({"direction": "reverse"}, r"cell has direction = reverse\): train it forwards alone"),
        ({"activations": ["Sigmoid", "Relu", "Tanh"]}, r"operator LSTM cell: it has activations"),
        ({"clip": 3.0}, r"it has clip; train it without"),
        ({"extra": ("state",)}, r"initial_h comes of the input state, .* export the netw"),
        ({"extra": ("one",), "given": (ONE,)}, r"initial_h is not 0"),
        ({"extra": ("zero", "one"), "given": (ZERO, ONE)}, r"initial_c is not 0"),
        ({"extra": ("", "", "P"), "given": (("P", np.ones((1, 21), np.float32)),)}, "peepholes"),
        ({"more": (helper.make_node("Relu", ["scores"], ["r"], name="act"),)}, "operator Relu act"),
        ({"given": (("R", np.full((1, 28, 7), np.nan, np.float32)),)}, "its input R holds what is"),
    ],
)  # fmt: skip
def test_onnx_that_cannot_be_mapped_is_refused_by_name(options, words, tmp_path):
    graph(tmp_path / "own.onnx", **options)
    with pytest.raises(WordlineError, match=words):
        pytorch.read(tmp_path / "own.onnx")


def test_onnx_with_states_of_zero_and_a_softmax_is_taken(tmp_path):
    more = (helper.make_node("Softmax", ["scores"], ["p"]),)
    graph(tmp_path / "own.onnx", extra=("zero", "zero"), given=(ZERO,), more=more)
    assert pytorch.read(tmp_path / "own.onnx").kind == "lstm"


# Files and the command


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.bin", b"", r"is not a .onnx, .safetensors, .pt, .pth, .ckpt file; save it as one"),
        ("a.onnx", b"nothing", r"is not an ONNX model \(.*\); export it again"),
        ("a.safetensors", b"nothing", r"is not a safetensors file"),
        (
            "a.pt",
            b"nothing",
            r"is damaged, or was not written by torch.save; give .* torch.save\(model.state_dict",
        ),
        ("b.onnx", None, r"b.onnx cannot be read \(No such file or directory\)"),
    ],
)
def test_files_that_are_no_model_are_named(name, content, words, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WordlineError, match=words):
        pytorch.read(tmp_path / name)


def test_a_damaged_file_is_refused(tmp_path):
    """PyTorch reads numbers whose sum is wrong without a word."""
    path = tmp_path / "own.pt"
    torch.save(net().state_dict(), path)
    pytorch.read(path)
    content = bytearray(path.read_bytes())
    weights = net().state_dict()["linear.weight"].numpy().tobytes()
    content[content.index(weights)] ^= 1
    path.write_bytes(content)
    with pytest.raises(WordlineError, match=r"is damaged \(a checksum is wrong\)"):
        pytorch.read(path)


def test_a_state_dict_does_not_say_its_activation(tmp_path):
    """What is assumed is said. An import that was killed before is no design in its place."""
    torch.save(net(nn.RNN, nonlinearity="relu").state_dict(), tmp_path / "own.pt")
    np.savez(tmp_path / "x.npz", x=inputs(4, 6, 5).numpy())
    (tmp_path / "build/own").mkdir(parents=True)
    (tmp_path / "build/own/.own.toml.1-0.part").write_text("")
    done = here("import", "own.pt", "--calibration", "x.npz", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "does not say which activation its RNN has; that of the design is taken: tanh" in said
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "build/own").glob("*.*")}
    assert len(modes) == 1
    said = refused("import", "own.pt", "--calibration", "x.npz", "--device", "cpu", folder=tmp_path)
    assert said == "--device has no effect without --fine-tune; leave it out."


def test_a_pickled_module_is_not_run(tmp_path):
    torch.save(net(), tmp_path / "own.pt")
    with pytest.raises(WordlineError, match=r"holds Python objects .* give a file of tensors"):
        pytorch.read(tmp_path / "own.pt")


@pytest.mark.parametrize(
    ("arrays", "options", "words"),
    [
        ({"codes": np.zeros((4, 6, 5), int)}, (), "has `codes`; give real inputs, `x`"),
        ({"x": np.zeros((4, 6, 4))}, (), r"has shape \(4, 6, 4\); give \(sequences, steps, 5\)"),
        (
            {"x": np.ones((4, 6, 5)), "lengths": [7] * 4},
            (),
            "`lengths` are from 7 to 7; give 1 to 6",
        ),
        ({"x": np.ones((4, 6, 5))}, ("--fine-tune",), "has no `labels`; give one of 0..2 a sequ"),
        (
            {"x": np.ones((4, 6, 5)), "labels": [3] * 4},
            ("--fine-tune",),
            "has labels 3..3; give",
        ),
        ({"x": np.ones((4, 6, 5)), "labels": np.ones(4)}, (), "`labels` are float64, but what"),
        ({"x": np.ones((4, 6, 5)), "labels": ["a"] * 4}, (), "`labels` are <U1; give integers or"),
        (
            {"x": np.ones((4, 6, 5)), "labels": np.ones((4, 3), int)},
            ("--design", "scores.toml"),
            r"4 numbers, one a sequence, or, of shape \(4, 3\), real numbers",
        ),
        ({"x": np.ones((1, 1, 5))}, (), "has one step in all, of which no range can be found"),
        (
            {"x": np.ones((4, 6, 5)), "labels": np.ones((4, 2))},
            ("--design", "scores.toml"),
            r"`labels` of shape \(.*\) must be of shape \(4, 3\)",
        ),
        (
            {"x": np.ones((4, 6, 5)), "labels": np.full((4, 3), np.nan)},
            ("--design", "scores.toml"),
            "`labels` hold a number that is not finite",
        ),
    ],
)
def test_calibrations_that_cannot_be_used_are_named(arrays, options, words, tmp_path):
    safetensors.torch.save_file(net().state_dict(), tmp_path / "own.safetensors")
    np.savez(tmp_path / "x.npz", **arrays)
    (tmp_path / "scores.toml").write_text(
        'name = "own"\noutput = {of = "scores"}\n'
        "network = {inputs = 5, hidden = [7], classes = 3}\n"
    )
    options = [tmp_path / o if str(o).endswith(".toml") else o for o in options]
    given = ("--calibration", tmp_path / "x.npz", "--build-dir", tmp_path / "build")
    result = run("import", tmp_path / "own.safetensors", *given, *options)
    assert isinstance(result.exception, WordlineError), result.output
    assert re.search(words, str(result.exception))
    assert not (tmp_path / "build").exists()
