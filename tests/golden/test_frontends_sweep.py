"""Networks and graphs at random: however a network comes in, it is the same, or it is refused."""

import contextlib
import itertools
import random

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx.reference import ReferenceEvaluator

from golden import presets
from golden.datasets import Sequences
from golden.errors import WordlineError
from golden.frontends import onnx as frontend
from golden.frontends import pytorch
from golden.frontends.compare import compare
from golden.frontends.convert import as_model, convert
from golden.frontends.module import from_module
from tests.golden.graph_edits import edited
from tests.golden.random_networks import BY_HAND, LEGACY, NEWER, Drawn, by_hand, export
from tests.golden.test_onnx import scores

VOTELESS = presets.PRESETS["vowels"].description.replace(voting={"replay_steps": 0})

MANY = [pytest.param(range(12)), pytest.param(range(12, 2000), marks=pytest.mark.slow)]


@pytest.mark.parametrize("seeds", MANY)
def test_a_network_is_the_same_however_it_comes_in(seeds, tmp_path):
    """A module, a state_dict under any names, ONNX of any exporter: the same integers; float is
    what a runtime makes of the file."""
    for seed in seeds:
        drawn = Drawn.draw(seed)
        network, x = drawn.module(), drawn.x(24, 6)
        own = from_module(network)
        steps = "every" if drawn.every else "last"
        description = own.fit(VOTELESS.replace(output={"steps": steps}))
        first = convert(network, description, x)
        assert first.compared.difference < 1e-5 and first.compared.sequences
        wanted = first.program.tensors()
        for foreign in (*state_dicts(network, tmp_path), *files(network, tmp_path, seed)):
            found = convert(foreign, description, x).program.tensors()
            assert all(torch.equal(wanted[name], found[name]) for name in wanted), (drawn, foreign)
        data = Sequences(x, torch.full((24,), 6), torch.zeros(24, 6).long())
        real = first.model.scores(data)
        real = real if drawn.every else real[:, -1]
        assert torch.allclose(real, runs(tmp_path / "own.onnx", x, drawn), atol=1e-5), drawn


def state_dicts(network, folder):
    """Both kinds of files, in the order that they are said to have if they need it."""
    tensors, order = network.named()
    torch.save(tensors, folder / "own.pt")
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    safetensors.torch.save_file(copies, folder / "own.safetensors")
    for name in ("own.pt", "own.safetensors"):
        try:
            yield pytorch.read(folder / name, None, network.drawn.inputs)
        except WordlineError as error:
            assert "--order" in str(error)
            yield pytorch.read(folder / name, order)


def files(network, folder, seed):
    """ONNX files; the last, by hand, stays."""
    draw, path = random.Random(seed), folder / "own.onnx"
    if seed % 4 == 0:
        yield pytorch.read(export(network, path, draw.choice(LEGACY)))
    if seed % 20 == 19 and network.drawn.kind == "lstm":
        pytest.importorskip("onnxscript")  # the newer exporter needs it
        yield pytorch.read(export(network, path, draw.choice(NEWER), newer=True))
    yield pytorch.read(by_hand(network, path, draw.choice(BY_HAND)))


def runs(path, x, drawn):
    """What a runtime makes of a file with steps first."""
    try:
        import onnxruntime

        run = onnxruntime.InferenceSession(path.read_bytes()).run
    except ImportError:
        run = ReferenceEvaluator(onnx.load(path)).run
    found = torch.from_numpy(run(None, {"x": x.transpose(0, 1).numpy()})[0])
    return found.transpose(0, 1) if drawn.every else found


# Edits

TAILS = {
    "Softmax": lambda scores: scores.softmax(-1),
    "LogSoftmax": lambda scores: scores.log_softmax(-1),
    "Sigmoid": torch.sigmoid,
    "ArgMax": lambda scores: scores.argmax(-1),
}


@pytest.mark.parametrize(
    "seeds", [pytest.param(range(200)), pytest.param(range(200, 5000), marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of evaluators
def test_no_edited_graph_is_taken_for_another_function(seeds, tmp_path):
    """What is taken computes what the file does, by onnx's evaluator; all else is refused."""
    taken = refused = 0
    for seed in seeds:
        drawn = Drawn.draw(seed // 5)
        path = by_hand(drawn.module(), tmp_path / "own.onnx", 17)
        content, done = edited(path.read_bytes(), seed)
        path.write_bytes(content)
        try:
            own = taken_as(path)
        except WordlineError:
            refused += 1
            continue
        taken += 1
        for sequences, steps in ((3, own.steps or 5), (4, own.steps or 7)):
            x = drawn.x(sequences, steps)
            if own.layers[0].inputs == x.shape[2]:  # else it is of another layout now
                expect_function(path, own, x, (seed, done))
    assert taken > 0.2 * len(seeds) and refused > 0.2 * len(seeds)


def taken_as(path):
    """The network that is read, once it is compared with the file, as an import does it."""
    own = frontend.read(path)
    of = "class" if own.head else "state"
    description = own.fit(VOTELESS.replace(output={"of": of, "steps": "last"}))
    x = torch.randn(12, own.steps or 6, own.layers[0].inputs, generator=torch.Generator())
    data = Sequences(x, torch.full((12,), x.shape[1]), torch.full((12,), -1))
    return compare(own, as_model(own, description, data), data, description)[0]


def expect_function(path, own, x, what):
    """A file is what was read of it, in some layout of its input and output; or cannot be run."""
    outputs = []
    for axes in itertools.permutations(range(3)):
        with contextlib.suppress(Exception):
            run = ReferenceEvaluator(live(onnx.load(path))).run
            outputs += run(None, {"x": x.permute(axes).numpy()})
    wanted = scores(own, x)
    for tail in own.tail:
        wanted = TAILS[tail](wanted)
    ways = [
        way.permute(axes).squeeze().double()
        for way in (wanted[:, -1], wanted)
        for axes in itertools.permutations(range(way.dim()))
    ]
    found = [torch.from_numpy(np.asarray(output)).squeeze().double() for output in outputs]
    pairs = [(a, b) for a in found for b in ways if a.shape == b.shape]
    same = any(torch.allclose(a, b, atol=1e-5, rtol=1e-5) for a, b in pairs)
    assert same or not outputs, (what, own.chain)


def live(model):
    """The model with those operators alone that its outputs need."""
    needed, kept = {value.name for value in model.graph.output}, []
    for node in reversed(model.graph.node):
        if needed & {*node.output}:
            kept.insert(0, node)
            needed |= {*node.input}
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model
