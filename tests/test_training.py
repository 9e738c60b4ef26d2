import pytest
import torch

from golden import dac, datasets, network, training
from golden.description import replaced
from golden.errors import WordlineError
from golden.presets import PRESETS
from golden.training import Trainable, Training
from tests.helpers import small

SHORT = Training(float_epochs=12, epochs=4, batch=30)
VOWELS = PRESETS["vowels"].description.replace(network={"hidden": [8]})


@pytest.fixture(scope="module")
def data():
    return datasets.load("vowels")


def test_the_data_set_is_whole(data):
    assert (len(data.train), len(data.test), data.channels, data.classes) == (270, 370, 12, 9)
    assert (int(data.train.lengths.min()), int(data.test.lengths.max())) == (7, 29)
    assert int(data.test.lengths.sum()) == 5687


def test_an_unknown_data_set_is_named():
    with pytest.raises(WordlineError, match="There is no data set 'mnist'"):
        datasets.load("mnist")


def test_training_learns_and_repeats_itself(data):
    first = training.train(VOWELS, SHORT, data)
    again = training.train(VOWELS, SHORT, data)
    other = training.train(VOWELS, replaced(SHORT, seed=1), data)
    assert first.golden_accuracy > 60  # chance is 11: held-out data, four epochs
    for name, tensor in first.program.tensors().items():
        assert torch.equal(tensor, again.program.tensors()[name]), name
    assert not torch.equal(first.program.layers[0].bias, other.program.layers[0].bias)


def test_the_trained_forward_pass_is_the_exported_program(data):
    """The very scores that the loss saw, from floats with gradients, are the integers' scores."""
    torch.manual_seed(0)
    reference = training.FloatNetwork(VOWELS)
    step = torch.full((12,), 2.5 / 7)
    trainable = Trainable(reference, data.train, step, VOWELS)
    encoding = {"input_mean": torch.zeros(12), "input_step": step}
    soft = trainable.program(**encoding)
    x = dac.encode(data.train.x, torch.zeros(12), step, VOWELS.dac)
    seen = network.run(soft, x.double(), data.train.lengths)
    exact = network.run(soft.to(torch.int64), x, data.train.lengths)
    assert torch.equal(seen.scores.detach(), exact.scores.double())
    seen.scores.square().mean().backward()
    for name, parameter in trainable.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name


def test_weights_only_take_levels(data):
    description = VOWELS.replace(device={"levels": [-200, -30, 0, 20, 255]})
    program = training.train(description, replaced(SHORT, epochs=1), data).program
    cells = program.layers[0].positive - program.layers[0].negative
    assert set(cells.unique().tolist()) <= {-200, -30, 0, 20, 255}


def test_a_description_that_does_not_fit_the_data_is_named(data):
    with pytest.raises(WordlineError, match=r"network.inputs = 3 .*has 12 channels and 9 classes"):
        training.train(small(), SHORT, data)
    with pytest.raises(WordlineError, match="The device 'cuda:77' cannot be used"):
        training.train(VOWELS, SHORT, data, device="cuda:77")
