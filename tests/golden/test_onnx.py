"""ONNX graphs: followed edge by edge; what is no chain of layers is refused, by name."""

import sys
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from golden.errors import WordlineError
from golden.frontends import onnx as frontend


class Net(nn.Module):
    """The plainest chain; the others differ from it in their way through it."""

    def __init__(self, layers=1, kind=nn.LSTM):
        super().__init__()
        self.l = kind(5, 7, layers, batch_first=True)
        self.f, self.g = nn.Linear(7, 3), nn.Linear(3, 2)
        self.table = nn.Embedding(20, 5)

    def forward(self, x):
        return self.f(self.l(x)[0][:, -1])


def way(forward, **options):
    """A network with another forward()."""
    return lambda: type("Net", (Net,), {"forward": forward})(**options)


def zeros(self, x):
    h = torch.zeros(self.l.num_layers, x.size(0), 7)
    return self.f(self.l(x, (h, torch.zeros_like(h)))[0][:, -1, :])


def packed(self, x):
    lengths = torch.full((x.shape[0],), 6)
    own = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    whole = nn.utils.rnn.pad_packed_sequence(self.l(own)[0], batch_first=True)[0]
    return self.f(whole[:, -1])


TAKEN = {
    "the last step": Net,
    "an RNN": lambda: Net(kind=nn.RNN),
    "h_n": way(lambda self, x: self.f(self.l(x)[1][0].squeeze(0))),
    "h_n of two layers": way(lambda self, x: self.f(self.l(x)[1][0][-1]), layers=2),
    "h_n viewed": way(lambda self, x: self.f(self.l(x)[1][0].view(2, -1, 7)[-1]), layers=2),
    "every step": way(lambda self, x: self.f(self.l(x)[0])),
    "the state alone": way(lambda self, x: self.l(x)[0]),
    "zero states": way(zeros, layers=2),
    "flat steps": way(
        lambda self, x: self.f(self.l(x)[0].reshape(-1, 7)).view(x.size(0), -1, 3)[:, -1]
    ),
    "two linear layers": way(lambda self, x: self.g(Net.forward(self, x))),
    "scaled input": way(lambda self, x: Net.forward(self, (x - 0.5) / 3)),
    "scaled scores": way(lambda self, x: 2 * Net.forward(self, x) + 1),
    "channels in another order": way(lambda self, x: Net.forward(self, x[..., [4, 2, 3, 1, 0]])),
    "packed": way(packed),
}
"""Chains, however they are written; the true network's scores come out."""

TAILS = {
    "softmax": way(lambda self, x: Net.forward(self, x).softmax(-1)),
    "log softmax": way(lambda self, x: functional.log_softmax(Net.forward(self, x), -1)),
    "sigmoid": way(lambda self, x: torch.sigmoid(Net.forward(self, x))),
    "argmax": way(lambda self, x: Net.forward(self, x).argmax(-1)),
}
"""What is done with the scores and leaves the class alone."""

REFUSED = {
    "time flipped": (way(lambda self, x: Net.forward(self, x.flip(1))), "left out, added, mixed"),
    "half the steps": (way(lambda self, x: Net.forward(self, x[:, ::2])), "left out, added"),
    "steps added": (
        way(lambda self, x: Net.forward(self, functional.pad(x, (0, 0, 2, 0)))),
        "left out",
    ),
    "steps twice": (way(lambda self, x: Net.forward(self, torch.cat([x, x], 1))), "left out"),
    "a step in the middle": (
        way(lambda self, x: self.f(self.l(x)[0][:, 2])),
        r"between Y of /l/LSTM and the scores \(.*Gather.*\): steps or",
    ),
    "softmax inside": (
        way(lambda self, x: self.f(self.l(x)[0][:, -1].softmax(-1))),
        "operator Softmax .* train the network without Softmax",
    ),
    "tanh inside": (way(lambda self, x: self.f(self.l(x)[0][:, -1].tanh())), "operator Tanh"),
    "the mean": (way(lambda self, x: self.f(self.l(x)[0].mean(1))), "not pooled .* last step"),
    "the largest": (way(lambda self, x: self.f(self.l(x)[0].max(1)[0])), "not pooled"),
    "c_n": (way(lambda self, x: self.f(self.l(x)[1][1][0])), "reads Y_c .* read h in its place"),
    "h_n of the first layer": (
        way(lambda self, x: self.f(self.l(x)[1][0][0]), layers=2),
        r"the state of an inner layer; the accelerator gives the last layer's, h_n\[-1\]",
    ),
    "x beside": (
        way(lambda self, x: self.f(self.l(x)[0][:, -1] + x[:, -1, :1])),
        "reads Y of /l/LSTM and the input x; .* a chain",
    ),
    "two heads": (
        way(lambda self, x: (Net.forward(self, x), self.g(Net.forward(self, x)))),
        "several outputs .* the scores alone",
    ),
    "a table": (
        way(lambda self, x: Net.forward(self, self.table((x[..., 0] * 3).long().abs()))),
        r"rows of a table up \(an Embedding\); export the network from behind it",
    ),
}


def exported(make, path, **options):
    """A network, its file, and some input."""
    torch.manual_seed(0)
    network = make().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    x = torch.randn(4, 6, 5)
    options = {"dynamic_axes": {"x": {0: "n", 1: "t"}}} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), path, input_names=["x"], dynamo=False, **options)
    with torch.no_grad():
        return network(x), x


def scores(own, x):
    """What was read, computed by PyTorch in float64, of every step."""
    h, kind = x.double(), {"lstm": nn.LSTM, "rnn": nn.RNN}[own.kind]
    for layer in own.layers:
        part = kind(layer.inputs, layer.units, batch_first=True).double()
        values = {"weight_ih": layer.weight_ih, "weight_hh": layer.weight_hh}
        values |= {"bias_ih": layer.bias, "bias_hh": 0 * layer.bias}
        with torch.no_grad():
            for name, value in values.items():
                getattr(part, f"{name}_l0").copy_(value)
            h = part(h)[0]
    if own.head is None:
        return h
    weight, bias = (part.double() for part in own.head)
    return h @ weight.T + bias


def expect_same(own, x, wanted):
    found = scores(own, x)
    found = found if wanted.dim() == 3 else found[:, -1]
    assert found.shape == wanted.shape and (found - wanted).abs().max() < 1e-5
    (ran,) = own.run(x)
    assert ran.shape == found.shape and (found - ran).abs().max() < 1e-5


@pytest.mark.parametrize("name", TAKEN)
def test_a_chain_is_taken(name, tmp_path):
    wanted, x = exported(TAKEN[name], tmp_path / "own.onnx")
    expect_same(frontend.read(tmp_path / "own.onnx"), x, wanted)


def test_onnx_s_evaluator_runs_it_where_there_is_no_other(tmp_path, monkeypatch):
    wanted, x = exported(Net, tmp_path / "own.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    own = frontend.read(tmp_path / "own.onnx")
    expect_same(own, x, wanted)


@pytest.mark.parametrize("name", TAILS)
def test_the_class_is_that_of_the_scores(name, tmp_path):
    wanted, x = exported(TAILS[name], tmp_path / "own.onnx")
    own = frontend.read(tmp_path / "own.onnx")
    found = scores(own, x)[:, -1]
    assert torch.equal(found.argmax(-1), wanted if wanted.dim() == 1 else wanted.argmax(-1))
    (ran,) = own.run(x)  # up to the scores
    assert (found - ran).abs().max() < 1e-5


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_chain_is_refused(name, tmp_path):
    make, words = REFUSED[name]
    exported(make, tmp_path / "own.onnx")
    with pytest.raises(WordlineError, match=words):
        frontend.read(tmp_path / "own.onnx")


def test_a_file_of_fixed_sizes_is_taken(tmp_path):
    wanted, x = exported(Net, tmp_path / "own.onnx", dynamic_axes={})
    own = frontend.read(tmp_path / "own.onnx")
    expect_same(own, x, wanted)
    assert own.run(x[:, :5]) == []  # the file takes no other number of steps


def by_hand(path, nodes, tensors, axes=2):
    """A file of nodes, from x (steps, sequences, 5) to y."""
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "own",
        [value("x", TensorProto.FLOAT, ["t", "n", 5])],
        [value("y", TensorProto.FLOAT, ["a", "b", "c"][:axes])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]), path)


def weights(seed=0, units=7, inputs=5, prefix=""):
    draw = np.random.default_rng(seed)
    shapes = {"W": (1, 4 * units, inputs), "R": (1, 4 * units, units), "B": (1, 8 * units)}
    return {prefix + name: draw.normal(size=s).astype(np.float32) for name, s in shapes.items()}


NODE = helper.make_node
LSTM = NODE("LSTM", ["x", "W", "R", "B"], ["Y", "Yh", "Yc"], hidden_size=7)
AXES = {"zero": np.array([0], np.int64), "one": np.array([1], np.int64)}
HEAD = {"k": np.eye(7, 3, dtype=np.float32), "b": np.arange(3, dtype=np.float32)}


def test_what_is_not_on_the_way_to_the_scores_does_not_matter(tmp_path):
    nodes = [
        LSTM,
        NODE("Relu", ["Y"], ["unused"]),
        NODE("ReduceMean", ["unused"], ["mean"]),
        NODE("Squeeze", ["Yh", "zero"], ["h"]),
        NODE("Gemm", ["h", "k", "b"], ["y"]),
    ]
    by_hand(tmp_path / "own.onnx", nodes, weights() | AXES | HEAD)
    own = frontend.read(tmp_path / "own.onnx")
    assert torch.equal(own.head[0], torch.eye(3, 7)) and len(own.layers) == 1
    assert own.chain == ("LSTM", "Gemm")


@pytest.mark.parametrize("output", ["Yh", "Yc", "Y"])
def test_an_output_is_read_for_what_it_is(output, tmp_path):
    nodes = [LSTM, NODE("Squeeze", [output, "one" if output == "Y" else "zero"], ["y"])]
    by_hand(tmp_path / "own.onnx", nodes, weights() | AXES, axes=3 if output == "Y" else 2)
    if output == "Yc":
        with pytest.raises(WordlineError, match="the state of the cells, which does not leave"):
            frontend.read(tmp_path / "own.onnx")
    else:
        own = frontend.read(tmp_path / "own.onnx")
        (ran,) = own.run(torch.randn(3, 4, 5))
        assert own.head is None and ran.shape == ((3, 4, 7) if output == "Y" else (3, 7))


def test_parallel_branches_are_refused(tmp_path):
    other = NODE("LSTM", ["x", "oW", "oR", "oB"], ["oY", "oYh"], hidden_size=7, name="other")
    nodes = [LSTM, other, NODE("Add", ["Yh", "oYh"], ["sum"])]
    nodes.append(NODE("Squeeze", ["sum", "zero"], ["y"]))
    by_hand(tmp_path / "own.onnx", nodes, weights() | weights(1, prefix="o") | AXES)
    with pytest.raises(WordlineError, match=r"reads .* and .*; the accelerator computes a chain"):
        frontend.read(tmp_path / "own.onnx")


def test_an_evaluator_that_fails_is_a_sentence(tmp_path, monkeypatch):
    """Reading is refused, running is left out; neither is a traceback."""
    path = tmp_path / "own.onnx"
    exported(Net, path)
    own = frontend.read(path)

    def fails(*_):
        raise RuntimeError("no such operator\nmore")

    monkeypatch.setattr(frontend._Runner, "__call__", fails)
    assert own.run(torch.zeros(2, 6, 5)) == []
    monkeypatch.setattr(frontend, "Graph", fails)
    with pytest.raises(
        WordlineError, match=r"evaluated \(RuntimeError: no such operator\); export"
    ):
        frontend.read(path)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("fixed", [False, True])
def test_axes_of_1_are_not_mistaken(batch, fixed, tmp_path):
    """One channel, one sequence: steps are what the layer takes for steps."""
    torch.manual_seed(0)
    network = nn.Sequential()
    network.l, x = nn.LSTM(1, 3, batch_first=True), torch.randn(batch, 6, 1)
    network.forward = lambda x: network.l(x)[0][:, -1]
    axes = {} if fixed else {"x": {0: "n", 1: "t"}}
    export = {"input_names": ["x"], "dynamic_axes": axes, "dynamo": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), tmp_path / "own.onnx", **export)
    with torch.no_grad():
        expect_same(frontend.read(tmp_path / "own.onnx"), x, network(x))
