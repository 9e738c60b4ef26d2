"""Networks that are nearly a chain: what few sequences, or short ones, would not show."""

import copy

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from golden import head
from golden.datasets import Sequences
from golden.errors import WordlineError
from golden.frontends import pytorch
from golden.frontends.convert import convert
from golden.frontends.module import from_module
from golden.frontends.state_dict import from_state_dict
from golden.training import evaluate
from tests.golden.test_onnx import AXES, NODE, Net, exported, way, weights
from tests.wordline.test_import import Mean, describe, inputs, net
from tests.wordline.test_import import Net as ImportNet


def sequences(*lengths, channels=5):
    """Random sequences of these lengths."""
    x = inputs(len(lengths), max(lengths), channels)
    return Sequences(x, torch.tensor(lengths), torch.full((len(lengths),), -1))


MIXED = (6, 12, 12, 12, 9, 12, 12, 12, 7, 12)


@pytest.mark.parametrize(
    ("weight", "bias"),
    [
        (1, (1.0, 0.0, 0.0)),
        (1, (30.0, 29.0, 0.0)),
        (1, (100.0, 99.0, 98.0)),  # but for an offset, biases as others have
        (0.01, (0.3, 0.1, 0.0)),
    ],
)
def test_classes_are_kept_though_biases_are_large(weight, bias):
    module = net(batch_first=True)
    with torch.no_grad():
        module.linear.weight.mul_(weight)
        module.linear.bias.copy_(torch.tensor(bias))
    x = inputs(64, 12, 5)
    found = convert(module, describe(from_module(module)), x)
    data = Sequences(x, torch.full((64,), 12), torch.zeros(64).long())
    assert (module(x).argmax(-1) == 0).all()
    assert (head.vote(evaluate.scores(found.program, data), "majority") == 0).all()
    assert found.notes[-1] == "100.0 % of 64 calibration sequences keep the float network's class"


@pytest.mark.parametrize("low", [-3.0, -100.0, -1e4])
def test_a_class_that_never_wins_costs_the_others_nothing(low):
    torch.manual_seed(0)
    module = net(batch_first=True, hidden=16, classes=6)
    x, shares = inputs(150, 12, 5), []
    for bias in (0.0, low):
        with torch.no_grad():
            module.linear.weight.mul_(1 if bias else 3)
            module.linear.bias.zero_()[2] = bias if bias else -3.0
        found = convert(module, describe(from_module(module)), x)
        shares.append(float(found.notes[-1].partition(" %")[0]))
    assert shares[1] > shares[0] - 8


def test_a_network_in_which_rounding_grows_is_taken():
    torch.manual_seed(0)
    module = net(nn.RNN, batch_first=True, hidden=64)
    with torch.no_grad():
        module.rnn.weight_hh_l0.copy_(torch.randn(64, 64) * 1.8 / 8)
    data = sequences(20, 100, 150, 200)
    assert convert(module, describe(from_module(module)), data).compared.sequences == 4
    whole = module.forward
    for wrong in (lambda x: -whole(x.flip(0)), lambda x: whole(x[:, :1])):
        module.forward = wrong
        with pytest.raises(WordlineError, match="is not a chain"):
            convert(module, describe(from_module(module)), data)


class Once(ImportNet):
    """Takes 12 steps, and otherwise raises an exception of its own."""

    def forward(self, x):
        if x.shape[1] > 12:
            raise Exception("too long")
        return super().forward(x)


class Twelve(ImportNet):
    """Leaves out what comes after 12 steps."""

    def forward(self, x):
        return super().forward(x[:, :12])


@pytest.mark.parametrize("kind", [Once, Twelve])
def test_what_a_source_does_beyond_the_longest_sequence_is_told(kind):
    module = kind(batch_first=True)
    found = convert(module, describe(from_module(module)), sequences(*MIXED))
    assert (found.compared.steps, found.compared.limit) == (12, 12)
    assert "gives other scores, or none, for sequences of more than 12 steps" in found.notes[0]


class Half(ImportNet):
    def __init__(self, **options):
        super().__init__(**options)
        self.half()


@pytest.mark.parametrize("low", [0, -1e4])
def test_a_class_that_never_wins_hides_no_other(low):
    torch.manual_seed(0)
    module = Mean(batch_first=True).half()
    with torch.no_grad():
        module.linear.bias[2] += low
    with pytest.raises(WordlineError, match="is not a chain"):
        convert(module, describe(from_module(module)), sequences(*MIXED))


def test_inputs_that_float16_does_not_hold_are_told():
    module, data = Half(batch_first=True), sequences(*MIXED)
    data.x.add_(7e4)
    with pytest.raises(WordlineError, match="computes in float16, which does not hold all inputs"):
        convert(module, describe(from_module(module)), data)


def test_modules_in_few_bits_are_compared_as_such():
    torch.manual_seed(0)
    module = Half(batch_first=True)
    with torch.no_grad():
        module.linear.bias.add_(3)
    assert convert(module, describe(from_module(module)), sequences(*MIXED)).compared.sequences


def test_each_score_of_a_regressor_is_compared_by_itself():
    class Mixed(ImportNet):
        def forward(self, x):
            every = self.linear(self.rnn(x)[0])
            return torch.cat([every[:, -1, :1], every.mean(1)[:, 1:]], 1)

    torch.manual_seed(0)
    module = Mixed(batch_first=True, classes=2)
    with torch.no_grad():
        module.linear.weight[0] *= 3000
    description = describe(from_module(module), output={"of": "scores"})
    with pytest.raises(WordlineError, match=r"is not a chain"):
        convert(module, description, sequences(*MIXED))


def test_scores_that_are_no_numbers_are_not_passed_over():
    class Nan(ImportNet):
        def forward(self, x):
            return super().forward(x) + torch.tensor([0, torch.nan, torch.nan])

    module = Nan(batch_first=True)
    with pytest.raises(WordlineError, match=r"is not a chain .* or is no number"):
        convert(module, describe(from_module(module)), sequences(*MIXED))


@pytest.mark.parametrize("tail", [lambda p: p, lambda p: p.argmax(-1)])
def test_two_of_many_classes_are_not_exchanged(tail, tmp_path):
    order = [*range(1000)]
    order[0], order[700] = 700, 0

    class Many(Net):
        def __init__(self):
            super().__init__()
            self.f = nn.Linear(7, 1000)

        def forward(self, x):
            return tail(super().forward(x).softmax(-1)[:, order])

    exported(Many, tmp_path / "own.onnx")
    with pytest.raises(WordlineError, match="behind the scores changes the class"):
        pytorch.read(tmp_path / "own.onnx")


ODD_TAILS = {
    "classes in another order": way(lambda self, x: Net.forward(self, x).softmax(-1)[:, [1, 0, 2]]),
    "over the sequences": way(lambda self, x: self.g(Net.forward(self, x)).softmax(0)),
    "one score, twice": way(lambda self, x: Net.forward(self, x)[:, :1].sigmoid().sigmoid()),
    "one score, rounded": way(lambda self, x: Net.forward(self, x)[:, :1].sigmoid().long().float()),
}


@pytest.mark.parametrize("name", ODD_TAILS)
@pytest.mark.parametrize("fixed", [True, False])
def test_a_tail_that_changes_the_class_is_refused(name, fixed, tmp_path):
    axes = {} if fixed else {"x": {0: "n", 1: "t"}}
    exported(ODD_TAILS[name], tmp_path / "own.onnx", dynamic_axes=axes)
    with pytest.raises(WordlineError, match="behind the scores changes the class"):
        pytorch.read(tmp_path / "own.onnx")


class First(ImportNet):
    def forward(self, x):
        return super().forward(x[:, :8])


class Last(ImportNet):
    def forward(self, x):
        return super().forward(x[:, -8:])


@pytest.mark.parametrize("kind", [First, Last])
@pytest.mark.parametrize("form", ["ONNX", "module"])
def test_steps_that_are_left_out_of_long_sequences_show(kind, form, tmp_path):
    """The shortest sequence has all of its steps."""
    torch.manual_seed(0)
    module = kind(batch_first=True)
    if form == "ONNX":
        exported(lambda: module, tmp_path / "own.onnx")
    own = pytorch.read(tmp_path / "own.onnx") if form == "ONNX" else from_module(module)
    with pytest.raises(WordlineError, match=r"is not a chain .* differs by"):
        convert(own, describe(own), sequences(*MIXED))


def test_one_sequence_of_one_step_does_not_hide_a_mean():
    torch.manual_seed(0)
    module = Mean(batch_first=True)
    own = from_module(module)
    with pytest.raises(WordlineError, match=r"is not a chain .* differs by"):
        convert(own, describe(own), sequences(1, *MIXED))


def test_a_large_offset_of_the_scores_hides_nothing():
    torch.manual_seed(0)
    modules = Mean(batch_first=True), net(batch_first=True)
    for module in modules:
        with torch.no_grad():
            module.linear.bias.add_(500)
    own = from_module(modules[0])
    description = describe(own, output={"of": "scores"})
    data = sequences(*MIXED)
    data = Sequences(data.x, data.lengths, modules[1](data.x).detach())
    with pytest.raises(WordlineError, match=r"is not a chain .* differs by"):
        convert(own, description, data)
    assert convert(modules[1], description, data).compared.difference < 1e-3


LENGTHS = NODE("LSTM", ["x", "W", "R", "B", "used"], ["Y", "Yh", "Yc"], hidden_size=7)
HEAD = {"k": np.eye(7, 3, dtype=np.float32), "b": np.arange(3, dtype=np.float32)}


def saved(path, nodes, tensors, opset=17, more=(), kind=TensorProto.FLOAT):
    """A file of nodes, from x (steps, sequences, 5) to y (sequences, classes)."""
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "own",
        [value("x", kind, ["t", "n", 5]), *more],
        [value("y", kind, ["a", "b"])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(made, opset_imports=imports, ir_version=8), path)
    return path


LENGTHS_BY = {
    "as they are": [NODE("Cast", ["lengths"], ["used"], to=TensorProto.INT32)],
    "at least 1": [NODE("Max", ["lengths", "least"], ["used"])],
    "at most 8": [NODE("Min", ["lengths", "eight"], ["used"])],
    "one less": [NODE("Sub", ["lengths", "least"], ["used"])],
    "all of the longest": [
        NODE("ReduceMax", ["lengths"], ["most"], keepdims=1),
        NODE("Shape", ["lengths"], ["size"]),
        NODE("Expand", ["most", "size"], ["used"]),
    ],
    "of another axis": [NODE("Squeeze", ["lengths", "one"], ["used"])],
}


@pytest.mark.parametrize("how", LENGTHS_BY)
def test_lengths_are_taken_as_they_are(how, tmp_path):
    axes = ["n", 1] if how == "of another axis" else ["n"]
    given = helper.make_tensor_value_info("lengths", TensorProto.INT32, axes)
    taken = how in ("as they are", "at least 1", "of another axis")
    nodes = [
        *LENGTHS_BY[how],
        LENGTHS,
        NODE("Squeeze", ["Yh", "zero"], ["h"]),
        NODE("Gemm", ["h", "k", "b"], ["y"]),
    ]
    bounds = {"eight": np.array([8], np.int32), "least": np.array([1], np.int32)}
    path = saved(tmp_path / "own.onnx", nodes, weights() | AXES | HEAD | bounds, more=[given])
    if taken:
        own = pytorch.read(path)
        assert convert(own, describe(own), sequences(*MIXED)).compared.sequences
        return
    with pytest.raises(WordlineError, match="its sequence_lens are computed"):
        pytorch.read(path)


@pytest.mark.parametrize("most", [None, 8])
def test_lengths_of_the_shape_are_those_of_the_input(most, tmp_path):
    """Not at most 8, which five steps do not show."""
    nodes = [
        NODE("Shape", ["x"], ["shape"]),
        NODE("Gather", ["shape", "first"], ["t"], axis=0),
        NODE("Gather", ["shape", "second"], ["n"], axis=0),
        NODE(*(("Min", ["t", "eight"]) if most else ("Identity", ["t"])), ["least"]),
        NODE("Expand", ["least", "n"], ["wide"]),
        NODE("Cast", ["wide"], ["used"], to=TensorProto.INT32),
        LENGTHS,
        NODE("Squeeze", ["Yh", "zero"], ["h"]),
        NODE("Gemm", ["h", "k", "b"], ["y"]),
    ]
    more = {"first": np.array([0]), "second": np.array([1]), "eight": np.array([8])}
    path = saved(tmp_path / "own.onnx", nodes, weights() | AXES | HEAD | more)
    if most:
        with pytest.raises(WordlineError, match="computed from the shape of its input"):
            pytorch.read(path)
        return
    own = pytorch.read(path)
    found = convert(own, describe(own), sequences(*MIXED))
    assert found.compared.steps == 27 and not any("steps" in note for note in found.notes)


@pytest.mark.parametrize("operator", ["Clip", "Softmax"])
def test_constants_are_folded_as_the_file_s_version_defines(operator, tmp_path):
    """Before version 13, Softmax was over all axes from its own on, which onnx does not compute."""
    options = {"axis": 0} if operator == "Softmax" else {"min": -0.5, "max": 0.5}
    nodes = [
        NODE(operator, ["raw"], ["k"], **options),
        NODE("LSTM", ["x", "W", "R", "B"], ["Y", "Yh"], hidden_size=7),
        NODE("Squeeze", ["Yh"], ["h"], axes=[0]),
        NODE("Gemm", ["h", "k", "b"], ["y"]),
    ]
    raw = {"raw": np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)}
    tensors = weights() | raw | {"b": HEAD["b"]}
    path = saved(tmp_path / "own.onnx", nodes, tensors, opset=10)
    if operator == "Softmax":
        with pytest.raises(WordlineError, match="cannot be mapped"):
            pytorch.read(path)
        return
    own = pytorch.read(path)
    assert np.array_equal(own.head[0].numpy(), raw["raw"].clip(-0.5, 0.5).T)
    found = convert(own, describe(own), sequences(*MIXED))
    assert found.compared.sequences and found.compared.difference < 1e-4


@pytest.mark.parametrize("kind", [np.float64, np.float16])
def test_files_in_other_types_are_compared_too(kind, tmp_path):
    nodes = [
        NODE("LSTM", ["x", "W", "R", "B"], ["Y", "Yh"], hidden_size=7),
        NODE("Squeeze", ["Yh", "zero"], ["h"]),
        NODE("Gemm", ["h", "k", "b"], ["y"]),
    ]
    tensors = {name: array.astype(kind) for name, array in (weights() | HEAD).items()} | AXES
    type_ = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    own = pytorch.read(saved(tmp_path / "own.onnx", nodes, tensors, kind=type_))
    assert convert(own, describe(own), sequences(*MIXED)).compared.sequences == 8


def test_a_step_in_the_middle_is_not_the_last_of_a_guessed_length(tmp_path):
    """7 is the number of units in Reshape, and not that of the steps."""
    constants = {"six": np.array(6), "flat": np.array([-1, 7])}
    nodes = [
        NODE("LSTM", ["x", "W", "R", "B"], ["Y", "Yh"], hidden_size=7),
        NODE("Gather", ["Y", "six"], ["step"], axis=0),
        NODE("Reshape", ["step", "flat"], ["h"]),
        NODE("Gemm", ["h", "k", "b"], ["y"]),
    ]
    own = pytorch.read(saved(tmp_path / "own.onnx", nodes, weights() | HEAD | constants))
    with pytest.raises(WordlineError, match=r"is not a chain .* differs by"):
        convert(own, describe(own), sequences(*MIXED))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.LSTM(5, 5, batch_first=True)
        self.l2, self.f = self.l1, nn.Linear(5, 3)


def test_layers_that_share_weights_are_read_twice(tmp_path):
    module = Tied()
    safetensors.torch.save_model(module, tmp_path / "own.safetensors")
    assert pytorch.read(tmp_path / "own.safetensors").chain == ("l1", "l2", "f")
    assert from_state_dict(module.state_dict()).chain == ("l1", "l2", "f")


def test_numbers_in_names_against_the_order_of_the_file_are_ambiguous():
    own = nn.Module()
    own.rnn2, own.rnn1, own.f = nn.LSTM(5, 5), nn.LSTM(5, 5), nn.Linear(5, 3)
    for made in (True, False):
        if made:
            with pytest.raises(WordlineError, match="does not say in which order"):
                from_state_dict(own.state_dict(), made=made)
        else:
            assert from_state_dict(own.state_dict(), made=made).chain == ("rnn1", "rnn2", "f")


def test_keys_that_are_no_names_are_refused():
    tensors = nn.LSTM(5, 7).state_dict()
    for key in (0, ("a", "b"), b"weight"):
        with pytest.raises(WordlineError, match=r"has the key .*, no name; save model.state_dict"):
            from_state_dict(tensors | {key: torch.zeros(1)})


def test_numbers_that_float32_does_not_hold_are_named():
    module = net(batch_first=True)
    tensors = copy.deepcopy(module.state_dict())
    tensors["linear.bias"] = torch.full((3,), 1e39, dtype=torch.float64)
    with pytest.raises(WordlineError, match=r"linear.bias holds a number that float32 cannot"):
        from_state_dict(tensors)
    tensors = copy.deepcopy(module.state_dict())
    tensors["rnn.weight_ih_l0"][0, 0] = 3e38
    own = from_state_dict(tensors)
    with pytest.raises(WordlineError, match=r"layers.0.weight_ih_l0, .* too large for float32"):
        convert(own, describe(own), sequences(*MIXED))
    data, own = sequences(*MIXED), from_module(module)
    data.x[:, :, 1] *= 3e37
    with pytest.raises(WordlineError, match=r"channel 1 has a standard deviation of .* too large"):
        convert(own, describe(own), data)


def test_scores_of_every_step_that_the_design_does_not_read_are_told():
    module = net(batch_first=True, every=True)
    found = convert(module, describe(from_module(module)), inputs(30, 6, 5))
    assert "Net gives scores of every step; the design reads the last one" in found.notes[0]
