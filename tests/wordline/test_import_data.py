"""What a user gives with a network, calibrations, labels, names; and what is said of it."""

import io
import json
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from typer.testing import CliRunner

from golden import files, npz, presets
from golden.datasets import Sequences
from golden.errors import WordlineError
from golden.frontends.convert import convert
from golden.frontends.module import from_module
from golden.training import evaluate
from wordline.cli.commands import app
from wordline.flow.importing import import_model
from wordline.flow.sequences import read_sequences

VOWELS = presets.PRESETS["vowels"].description


class Net(nn.Module):
    def __init__(self, scores=3, tail=None, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.l, self.f = nn.LSTM(5, 7, batch_first=True), nn.Linear(7, scores)
        self.tail = tail
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(3)

    def forward(self, x):
        scores = self.f(self.l(x)[0][:, -1])
        return scores if self.tail is None else self.tail(scores)


def inputs(sequences=60, steps=6):
    return torch.randn(sequences, steps, 5, generator=torch.Generator().manual_seed(1))


def design(module, of="class"):
    output = {"of": of}
    return from_module(module).fit(VOWELS.replace(output=output, voting={"replay_steps": 0}))


# Channels


def test_small_channels_live():
    """A channel of 1/1024 of the others' deviation decides as much as it did in float: the
    program that was made of it is the one of inputs of equal deviations."""
    net, x = Net().eval(), inputs()
    scale = torch.tensor([1, 2**-10, 1, 2**10, 1])
    scaled = Net().eval()
    with torch.no_grad():
        scaled.l.weight_ih_l0.div_(scale)
    plain = convert(net, design(net), x).program
    same = convert(scaled, design(scaled), x * scale).program
    for name, tensor in plain.tensors().items():
        if name not in ("input_mean", "input_step"):
            assert torch.equal(tensor, same.tensors()[name]), name


def test_constant_channels_are_named_and_kept_as_they_are():
    net, x = Net().eval(), inputs()
    x[..., 2], x[..., 3] = 4.1, 0.0
    found = convert(net, design(net), x)
    assert [note.split(";")[0] for note in found.notes[:-1]] == [
        "channel 2 is constant in the calibration (4.1)",
        "channel 3 is constant in the calibration (0)",
    ]
    data = Sequences(x, torch.full((60,), 6), torch.zeros(60).long())
    assert (found.model.scores(data) - net(x)).abs().max() < 1e-5
    other = x.clone()
    other[..., 2] = 7.0  # in the program it is what it was
    moved = Sequences(other, data.lengths, data.labels)
    assert torch.equal(evaluate.scores(found.program, moved), evaluate.scores(found.program, data))


@pytest.mark.parametrize("x", [torch.zeros(20, 6, 5), torch.ones(20, 6, 5)])
def test_a_calibration_that_does_not_vary_is_refused(x):
    net = Net()
    with pytest.raises(WordlineError, match=r"same values at every step .* of which no range"):
        convert(net, design(net), x)


def test_what_is_beyond_a_sequence_does_not_matter(tmp_path):
    net, x = Net(), inputs()
    lengths = torch.arange(60) % 3 + 2
    beyond = torch.arange(6)[None] >= lengths[:, None]
    filled = {name: x.masked_fill(beyond[..., None], value) for name, value in FILLS.items()}
    programs = []
    for own in filled.values():
        data = Sequences(own, lengths, torch.full((60,), -1))
        programs.append(convert(net, design(net), data).program.tensors())
        np.savez(tmp_path / "x.npz", x=own, lengths=lengths)
        read = read_sequences(tmp_path / "x.npz", design(net))
        assert torch.equal(read.x, filled["zeros"])
    for other in programs[1:]:
        assert all(torch.equal(tensor, other[name]) for name, tensor in programs[0].items())


FILLS = {"zeros": 0.0, "no numbers": torch.nan, "the largest": 1e30}


def test_bytes_above_1_are_numbers(tmp_path):
    """Bytes of 0 and 1 are symbols; those of an image, as PyTorch has them, are not."""
    pixels = np.random.default_rng(0).integers(0, 255, (9, 6, 5), np.uint8)
    for x, kind in ((pixels, torch.float32), (pixels & 1, torch.uint8)):
        np.savez(tmp_path / "x.npz", x=x)
        assert read_sequences(tmp_path / "x.npz", design(Net())).x.dtype == kind


# Outputs


def test_one_score_is_a_threshold():
    net, x = Net(1).eval(), inputs()
    found = convert(net, design(net), x)
    assert found.program.description.network.classes == 2
    assert "class 1 where it is above 0" in found.notes[0]
    data = Sequences(x, torch.full((60,), 6), torch.zeros(60).long())
    assert torch.equal(found.model.scores(data).argmax(-1), (net(x)[:, 0] > 0).long())
    assert 0 < (net(x) > 0).sum() < 60
    scores = convert(net, design(net, "scores"), x).program.description
    assert scores.network.classes == 1


@pytest.mark.parametrize(
    ("module", "of", "words"),
    [
        (Net(tail=nn.Softmax(-1)), "class", None),
        (Net(tail=nn.LogSoftmax(-1)), "class", None),
        (Net(tail=torch.sigmoid), "class", None),
        (Net(1, tail=torch.sigmoid), "class", None),
        (Net(tail=nn.Softmax(-1)), "scores", "ends with Softmax, .* would leave; write 'class'"),
        (Net(1, tail=nn.Softmax(-1)), "class", "one score and takes Softmax of it, which is the s"),
        (Net(tail=torch.relu), "class", "not a chain of recurrent and linear layers"),
        (
            Net(tail=lambda scores: (scores * 2).softmax(-1)),
            "class",
            "not a chain of recurrent and",
        ),
    ],
)
def test_what_scores_go_through_last_is_seen(module, of, words):
    if words:
        with pytest.raises(WordlineError, match=words):
            convert(module, design(module, of), inputs())
    else:
        found = convert(module, design(module, of), inputs())
        assert any("behind the scores is left out" in note for note in found.notes)
        assert found.compared.sequences and found.compared.difference < 1e-5


# Names and folders


def model(path, seed=0):
    safetensors.torch.save_file(Net(seed=seed).state_dict(), path)
    return path


def test_checkpoints_that_differ_by_a_number_have_two_folders(tmp_path):
    np.savez(tmp_path / "x.npz", x=inputs())
    names = {"epoch10": "epoch10", "epoch20": "epoch20", "2026 My Net": "my-net", "7": "model"}
    for stem, name in names.items():
        path = model(tmp_path / f"{stem}.safetensors")
        found = import_model(path, tmp_path / "x.npz", build_dir=tmp_path / "two words")
        assert found.folder.name == name and (found.folder / f"{name}.toml").exists()


def test_nothing_of_another_network_is_overwritten_unasked(tmp_path):
    np.savez(tmp_path / "x.npz", x=inputs())
    path, build = tmp_path / "own.safetensors", tmp_path / "build"

    def again(**options):
        return import_model(path, tmp_path / "x.npz", build_dir=build, **options)

    model(path)
    first = again().program
    again()  # the same once more
    before = (build / "own/program.safetensors").read_bytes()
    model(path, seed=1)
    with pytest.raises(WordlineError, match=r"holds another network .* --name, or .* --force"):
        again()
    assert (build / "own/program.safetensors").read_bytes() == before
    other = again(force=True).program
    assert not torch.equal(other.layers[0].bias, first.layers[0].bias)
    (build / "own/own.toml").write_text("# mine\n" + (build / "own/own.toml").read_text())
    with pytest.raises(WordlineError, match=r"own.toml was changed since it was written"):
        again()
    (build / "own/import.json").unlink()
    with pytest.raises(WordlineError, match="own holds another design; give the design another"):
        again()


def test_the_command_says_what_it_read(tmp_path):
    x = inputs()
    x[..., 3] = 2.0
    np.savez(tmp_path / "x.npz", x=x)
    path = model(tmp_path / "own.safetensors")
    arguments = ["import", path, "--calibration", tmp_path / "x.npz", "--build-dir", tmp_path]
    result = CliRunner().invoke(app, [str(word) for word in arguments])
    said = " ".join(result.output.split())
    assert "read: l -> f" in said and "not compared: a state_dict has no graph" in said
    assert "note: channel 3 is constant in the calibration (2)" in said
    kept = json.loads((tmp_path / "own/import.json").read_text())
    assert kept["chain"] == ["l", "f"] and kept["notes"][0].startswith("channel 3 is constant")
    assert kept["compared"]["sequences"] == 0


# Files


def test_a_file_that_says_more_than_it_has_takes_no_memory(tmp_path, monkeypatch):
    """A header that says terabytes, in a file of some bytes: NumPy is not asked to read it."""
    asked = []
    monkeypatch.setattr(npz.npy, "read_array", lambda *_, **__: asked.append(True))
    made = io.BytesIO()
    np.save(made, np.zeros((4, 6, 5)))
    content = made.getvalue().replace(b"(4, 6, 5), }       ", b"(4444444444, 6, 5)}")
    assert content != made.getvalue()
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(WordlineError, match=r"is damaged, or no .npz; save it with numpy.savez"):
        npz.read(tmp_path / "x.npz")
    assert not asked


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((400, 6, 5)))
    monkeypatch.setattr(files, "ALWAYS", 50_000)
    monkeypatch.setattr(files, "MOST_RATIO", 1)
    with pytest.raises(WordlineError, match=r"MB when unpacked, above .* give fewer sequences"):
        npz.read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": [[1, 2], [3]]}, "rows of different lengths: pad them, and give `lengths`"),
        ({"X": np.ones(3)}, r"must hold either `x` \(real\) or `codes`; it holds \['X'\]"),
        ({"x": np.ones((4, 6, 5), complex)}, "the input is complex128; give real numbers"),
        ({"x": np.full((4, 6, 5), "a")}, "the input is <U1; give real numbers"),
        ({"x": np.full((4, 6, 5), 1e300)}, "holds a number that is not finite"),
        ({"codes": np.full((4, 6, 5), 2**63, np.uint64)}, "`codes` holds 9223372036854775808"),
        ({"x": np.ones((4, 6, 5)), "lengths": [1.5] * 4}, "`lengths` are float64; give integers"),
        ({"x": np.ones((4, 6, 5)), "lengths": [np.inf] * 4}, "`lengths` are float64; give int"),
        ({"x": np.ones((4, 6, 5)), "length": [2] * 4}, "`length` is not known; give `x` or"),
        ({"x": np.ones((4, 6, 5)), "lengths": [0] * 4}, "`lengths` are from 0 to 0; give 1 to 6"),
        ({"x": np.ones((4, 6, 5)), "labels": np.eye(4)[:, :3]}, "what comes out is a class; give"),
    ],
)
def test_arrays_that_do_not_fit_are_named(arrays, words, tmp_path):
    own = {name: np.array(value, object if name == "x" and isinstance(value, list) else None)
           for name, value in arrays.items()}  # fmt: skip
    np.savez(tmp_path / "x.npz", **own)
    with pytest.raises(WordlineError, match=words):
        read_sequences(tmp_path / "x.npz", design(Net()))
