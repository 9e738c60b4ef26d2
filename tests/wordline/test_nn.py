"""`wordline.nn`: modules that compute exactly what the program they give computes."""

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import wordline
from golden import dac, network
from golden.errors import WordlineError
from golden.injection import Injection
from golden.levels import Levels
from tests.helpers import descriptions, small
from wordline.nn import LSTM, RNN, Network

KINDS = {"lstm": LSTM, "rnn": RNN}


def inputs(seed, *size):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def trace_of(program, x, lengths):
    """Golden's integers, of the program alone."""
    codes = dac.encode(x, program.input_mean, program.input_step, program.description.dac)
    return network.run(program, codes, lengths)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_compute_what_their_program_does(kind, layers):
    """Every integer, of every step; shapes as of PyTorch's layers."""
    torch.manual_seed(layers)
    x, lengths = inputs(0, 6, 5, 3), torch.full((6,), 5)
    layer = KINDS[kind](3, 4, layers, batch_first=True, adc={"bits": 5})
    with torch.no_grad():
        for array in layer.layers:
            array.weight *= 5  # so that states are of many codes
    layer.calibrate(x).eval()
    output, state = layer(x)
    program = layer.to_program()
    trace = trace_of(program, x, lengths)
    high, last = program.description.dac.range.high, trace.layers[-1]
    assert torch.equal((output.double() * high).round().long(), last.h.long())
    assert torch.allclose(output.double() * high, last.h.double())  # a scale, nothing else
    h_n = state[0] if kind == "lstm" else state
    assert h_n.shape == (layers, 6, 4)
    for own, of_layer in zip(h_n, trace.layers, strict=True):
        assert torch.equal((own.double() * high).round().long(), of_layer.h[:, -1].long())
    if kind == "lstm":
        bits = program.description.cell.gate_bits
        for own, of_layer in zip(state[1], trace.layers, strict=True):
            assert torch.equal((own.double() * 2**bits).round().long(), of_layer.c[:, -1].long())
    assert len(last.h.unique()) > 5


@pytest.mark.parametrize("steps", ["last", "every"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_computes_the_scores_of_its_program(kind, steps):
    torch.manual_seed(1)
    description = small(cell={"kind": kind}, output={"of": "scores", "steps": steps})
    x, lengths = inputs(0, 6, 5, 3), torch.tensor([5, 2, 3, 1, 5, 4])
    net = Network(description, batch_first=True).calibrate(x, lengths).eval()
    found = net(x, lengths)
    program = net.to_program()
    scores = trace_of(program, x, lengths).scores
    wanted = program.real(scores.double())
    valid = torch.arange(5) < lengths[:, None] if steps == "every" else slice(None)
    assert torch.equal(found[valid], wanted.float()[valid])
    assert len(scores[valid].unique()) > 5
    packed = net(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    if steps == "every":
        packed, found = pad_packed_sequence(packed, batch_first=True)[0][valid], found[valid]
    assert torch.equal(packed, found)


@settings(max_examples=25)
@given(descriptions())
def test_any_hardware_computes_what_its_program_does(description):
    """One layer and two, with and without head, every width, kind of converter and tiling; with
    gradients and, in golden's integers, without."""
    torch.manual_seed(0)
    x, lengths = 3 * inputs(1, 5, 4, description.network.inputs), torch.tensor([4, 1, 3, 4, 2])
    net = Network(description, batch_first=True).calibrate(x, lengths)
    x.requires_grad_()
    found = net(x, lengths)
    found.sum().backward()
    program = net.to_program()
    wanted = program.real(trace_of(program, x.detach(), lengths).scores.double()).float()
    valid = torch.arange(4) < lengths[:, None] if description.output.every_step else slice(None)
    assert torch.equal(found[valid], wanted[valid])
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter_and_the_input(kind):
    torch.manual_seed(0)
    x, lengths = inputs(0, 8, 5, 3), [5, 2, 3, 1, 5, 4, 5, 2]
    description = small(cell={"kind": kind}, network={"hidden": [5, 4]})
    net = Network(description, batch_first=True).calibrate(x, lengths)
    before = net.to_program().tensors()
    x.requires_grad_()
    nn.functional.cross_entropy(net(x, lengths), torch.arange(8) % 4).backward()
    assert len([*net.parameters()]) == 3 * 4
    for name, parameter in net.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert x.grad[0].abs().sum() > 0 and not x.grad[1, 2:].any()  # of padding there is none
    # A program is no part of the module.
    kept = {name: tensor.clone() for name, tensor in before.items()}
    net.calibrate(4 * x.detach() + 1)
    assert not torch.equal(kept["input_mean"], net.input_mean)
    assert all(torch.equal(kept[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("kind", KINDS)
def test_batch_first_and_packed_are_the_same(kind):
    torch.manual_seed(0)
    x, lengths = inputs(0, 4, 6, 3), torch.tensor([3, 6, 1, 4])
    layer = KINDS[kind](3, 4, batch_first=True).calibrate(x).eval()
    whole, _ = layer(x)
    packed, state = layer(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    found, own = pad_packed_sequence(packed, batch_first=True)
    assert torch.equal(own, lengths)
    valid = torch.arange(6) < lengths[:, None]
    assert torch.equal(found[valid], whole[valid])
    h_n = state[0] if kind == "lstm" else state
    assert torch.equal(h_n[0], whole[torch.arange(4), lengths - 1])
    layer.batch_first = False
    assert torch.equal(layer(x.transpose(0, 1))[0].transpose(0, 1), whole)


def task(seed=0):
    """Sequences whose class is the sign of their sum."""
    x = inputs(seed, 64, 4, 2)
    return x, (x.sum((1, 2)) > 0).long()


def test_a_training_loop_learns_and_noise_is_drawn_in_training_alone():
    torch.manual_seed(0)
    x, labels = task()
    description = small(network={"inputs": 2, "hidden": [6], "classes": 2})
    net = Network(description, batch_first=True, noise=20.0, seed=3).calibrate(x)
    optimiser = torch.optim.Adam(net.parameters(), 0.03)
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(net(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    with torch.no_grad():
        noisy, other = net(x), net(x)
        assert not torch.equal(noisy, other)
        net.eval()
        quiet = net(x)
        assert torch.equal(quiet, net(x)) and not torch.equal(quiet, noisy)
        test, truth = task(1)
        assert (net(test).argmax(-1) == truth).double().mean() > 0.8


@pytest.mark.parametrize("noise", [10.0, wordline.Effects(read_sigma=0.2)])
def test_noise_depends_on_the_seed_and_leaves_torch_s_generator_alone(noise):
    x = inputs(0, 8, 4, 3)

    def outputs(seed, draws):
        torch.manual_seed(5)
        layer = LSTM(3, 4, batch_first=True, noise=noise, seed=seed)
        layer.calibrate(x)
        before = torch.random.get_rng_state()
        found = [layer(x)[0] for _ in range(draws)]
        assert torch.equal(torch.random.get_rng_state(), before)
        return found

    first, again, other = outputs(0, 2), outputs(0, 2), outputs(1, 1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], other[0])


def test_a_state_dict_goes_on_where_it_was():
    torch.manual_seed(0)
    x = inputs(0, 8, 4, 3)
    layer = LSTM(3, 4, batch_first=True, noise=10.0).calibrate(x)
    layer(x)
    other = LSTM(3, 4, batch_first=True, noise=10.0)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x)[0], other(x)[0])  # the same draws, too
    own, program = layer.to_program().tensors(), other.to_program().tensors()
    assert all(torch.equal(own[name], program[name]) for name in own)


def test_a_state_dict_of_another_design_is_refused():
    layer = LSTM(3, 4, device={"conductance_bits": 8})
    state = layer.state_dict()
    LSTM(3, 4, name="other", device={"conductance_bits": 8}).load_state_dict(state)
    whole = nn.Sequential(LSTM(3, 4, device={"conductance_bits": 6}))
    with pytest.raises(WordlineError, match="that of another design than LSTM's"):
        whole.load_state_dict({f"0.{name}": tensor for name, tensor in state.items()})
    del state["design"]  # from before there was one
    layer.load_state_dict(state)


def test_weights_come_from_a_float_layer():
    torch.manual_seed(0)
    float_layer, x = nn.LSTM(3, 4, batch_first=True), inputs(0, 32, 6, 3)
    layer = LSTM.from_float(
        float_layer,
        x,
        adc={"bits": 8},
        dac={"bits": 6},
        device={"weight_bits": 8, "conductance_bits": 10},
    ).eval()
    error = layer(x)[0] - float_layer(x)[0]
    assert error.abs().mean() < 0.2 * float_layer(x)[0].abs().mean()
    # It starts where converting ends.
    wanted = wordline.convert(float_layer, layer.description, x).program.tensors()
    found = layer.to_program().tensors()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    # Inputs are those of the float layer, whichever axis the other's come first on.
    steps_first = nn.LSTM(3, 4)
    steps_first.load_state_dict(float_layer.state_dict())
    other = LSTM.from_float(steps_first, x.transpose(0, 1), batch_first=True)
    same = LSTM.from_float(float_layer, x)
    for name, tensor in same.to_program().tensors().items():
        assert torch.equal(other.to_program().tensors()[name], tensor)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int32, torch.uint8])
def test_calibration_in_any_dtype_of_numbers(dtype):
    """Bytes beyond 0 and 1 are numbers, too, such as pixels."""
    x = (255 * torch.rand(40, 6, 3, generator=torch.Generator().manual_seed(0))).to(dtype)
    torch.manual_seed(0)
    float_layer, found = nn.LSTM(3, 4, batch_first=True), []
    for own in (x, x.float()):
        torch.manual_seed(1)
        found.append(LSTM(3, 4, batch_first=True).calibrate(own).to_program().tensors())
        found.append(LSTM.from_float(float_layer, own).to_program().tensors())
    for n in (0, 1):
        assert all(torch.equal(found[n][name], found[n + 2][name]) for name in found[n])


@pytest.mark.slow
def test_what_torch_compiles_around_a_layer_changes_nothing():
    layer, x = LSTM(3, 4, batch_first=True), inputs(0, 6, 5, 3)
    layer.calibrate(x)
    whole = nn.Sequential(nn.Linear(3, 3), Last(layer), nn.Linear(4, 2))
    wanted, found = whole(x), torch.compile(whole, backend="eager")(x)
    assert torch.equal(found, wanted)
    program, lengths = layer.to_program(), torch.full((6,), 5)
    codes = wordline.encode(program, wordline.Sequences(x, lengths, lengths))
    scores = torch.compile(wordline.run, backend="eager")(program, codes, lengths).scores
    assert torch.equal(scores, wordline.run(program, codes, lengths).scores)


class Last(nn.Module):
    """The last step's h."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0][:, -1]


REFUSED = {
    "bidirectional": (lambda: LSTM(3, 4, bidirectional=True), "bidirectional = True"),
    "projection": (lambda: LSTM(3, 4, proj_size=2), "proj_size = 2"),
    "relu": (lambda: RNN(3, 4, nonlinearity="relu"), "nonlinearity = 'relu'"),
    "another function": (
        lambda: RNN.from_float(nn.RNN(3, 4), torch.rand(9, 2, 3), cell={"activation": "relu"}),
        "RNN has cell.activation = 'tanh', the description has 'relu'",
    ),
    "dropout": (lambda: LSTM(3, 4, 2, dropout=0.5), "dropout = 0.5"),
    "another cell": (lambda: LSTM(3, 4, cell={"kind": "rnn"}), "cell.kind = 'rnn' is not that"),
    "sizes twice": (lambda: LSTM(3, 4, network={"inputs": 2}), "network is given by the module"),
    "a state": (lambda: LSTM(3, 4)(torch.zeros(2, 1, 3), (torch.ones(1, 1, 4),) * 2), "hx is not"),
    "no state": (lambda: LSTM(3, 4)(torch.zeros(2, 1, 3), 3), "hx = 3 is not a state"),
    "no tensor": (lambda: LSTM(3, 4)([[1.0]]), "The input is a list"),
    "half a length": (
        lambda: Network(small())(torch.zeros(2, 1, 3), [1.5]),
        r"lengths are torch\.float32; give integers",
    ),
    "complex": (lambda: LSTM(3, 4)(torch.zeros(2, 1, 3) + 1j), "torch.complex64; give real"),
    "a place": (lambda: LSTM(3, 4, device="cpu"), r"call \.to\(DEVICE\) on it"),
    "layers": (lambda: LSTM(3, 4, 1.5), "num_layers = 1.5 is not an integer"),
    "a recipe": (lambda: Network(wordline.load("vowels")), "description = Recipe is no descripti"),
    "no description": (lambda: LSTM(3, 4, hardware="vowels"), "hardware = str is no description"),
    "levels": (lambda: LSTM(3, 4, levels=Levels()), "levels has no effect with device.levels"),
    "a trace": (
        lambda: torch.jit.trace(LSTM(3, 4), torch.zeros(2, 1, 3)),
        "cannot be traced: its kernels are not PyTorch's",
    ),
    "lengths": (lambda: Network(small())(torch.zeros(2, 1, 3), [3]), "1 numbers from 1 to 2"),
    "a shape": (lambda: LSTM(3, 4)(torch.zeros(2, 1, 2)), r"shape \(2, 1, 2\)"),
    "not finite": (lambda: LSTM(3, 4)(torch.full((2, 1, 3), torch.nan)), "not finite"),
    "no noise": (lambda: LSTM(3, 4, noise="much"), "noise = 'much' is not a noise setting"),
    "a switch": (lambda: LSTM(3, 4, noise=True), "noise = True is not a noise setting"),
    "half": (lambda: LSTM(3, 4).half().calibrate(torch.zeros(2, 2, 3)), "is in torch.float16"),
    "quiet effects": (lambda: LSTM(3, 4, noise=wordline.Effects()), "no effect that is on"),
    "too loud": (lambda: LSTM(3, 4, noise=-200.0), "noise.snr_db = -200.0 is below"),
    "floats": (lambda: LSTM(3, 4).float()(torch.zeros(2, 1, 3)), r"call \.double\(\) on it"),
    "another layer": (lambda: LSTM.from_float(nn.RNN(3, 4), inputs(0, 5, 2, 3)), "cannot start"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
@pytest.mark.parametrize("mistake", REFUSED)
def test_what_the_chip_does_not_have_is_refused(mistake):
    make, words = REFUSED[mistake]
    with pytest.raises(WordlineError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_an_injection_elsewhere_is_taken_as_it_is():
    layer = LSTM(3, 4, noise=Injection(snr_db=3.0, placement="every"))
    assert layer.noise.placement == "every"
