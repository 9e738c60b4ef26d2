import pytest
import torch

from golden import dac, datasets, injection, network
from golden import effects as effects_
from golden.datasets import Dataset, Sequences, text
from golden.effects import Effects
from golden.errors import WordlineError
from golden.float_network import FloatModel, FloatNetwork
from golden.presets import PRESETS
from golden.program import ideal_macro
from golden.training import evaluate, optimise, quantised
from golden.training import run as run_training
from golden.training.float import fit_float
from golden.training.optimise import mean_of_passes
from golden.training.quantised import Trainable
from golden.training.settings import Training
from golden.validation import build, replaced
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
    with pytest.raises(WordlineError, match="Unknown data set 'mnist'"):
        datasets.load("mnist")


def test_training_learns_and_repeats_itself(data):
    first = run_training.train(VOWELS, SHORT, data)
    again = run_training.train(VOWELS, SHORT, data)
    other = run_training.train(VOWELS, replaced(SHORT, seed=1), data)
    assert first.golden["accuracy"] > 60  # chance is 11: held-out data, four epochs
    for name, tensor in first.program.tensors().items():
        assert torch.equal(tensor, again.program.tensors()[name]), name
    assert not torch.equal(first.program.layers[0].bias, other.program.layers[0].bias)


def untrained():
    """A float model of the vowels, the same each time, that takes inputs as they are."""
    torch.manual_seed(0)
    return FloatModel(FloatNetwork(VOWELS), torch.zeros(12), torch.ones(12))


def test_the_trained_forward_pass_is_the_exported_program(data):
    """The very scores that the loss saw, from floats with gradients, are the integers' scores."""
    torch.manual_seed(0)
    trainable = Trainable(untrained(), data.train, VOWELS)
    soft = trainable.program()
    x = trainable.encode(data.train.x)
    assert torch.equal(
        x, dac.encode(data.train.x, torch.zeros(12), torch.full((12,), 2.5 / 7), VOWELS.dac)
    )
    seen = network.run(soft, x.double(), data.train.lengths)
    exact = network.run(soft.to(torch.int64), x, data.train.lengths)
    assert torch.equal(seen.scores.detach(), exact.scores.double())
    seen.scores.square().mean().backward()
    for name, parameter in trainable.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name


def characters(words):
    """A text that is its own test set."""
    codes = torch.tensor([sorted(set(words)).index(c) for c in words])
    parts = [Sequences(*text.sequences(codes, steps, len(set(words)))) for steps in (24, 40)]
    return datasets.Dataset("text-char", *parts, len(set(words)))


@pytest.mark.parametrize("steps", [pytest.param("last", marks=pytest.mark.slow), "every"])
def test_training_learns_real_labels(steps):
    """What an input was a step ago, and half of it, of other means; the error by hand."""
    x = torch.randn(400, 8, 1, generator=torch.Generator().manual_seed(0))
    before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
    labels = torch.cat([300 * before, 50 + x / 2], 2)
    lengths = torch.full((400,), 8)
    if steps == "last":
        labels = labels[:, -1]
    sequences = Sequences(x, lengths, labels)
    train, test = (sequences.part(part) for part in torch.arange(400).split((300, 100)))
    data = Dataset("echo", train, test, 2)
    net = {"inputs": 1, "hidden": [16], "classes": 2}
    description = VOWELS.replace(
        network=net, output={"of": "scores", "steps": steps}, dac={"bits": 6}, adc={"bits": 7}
    )
    how = Training(dataset="echo", float_epochs=15, epochs=10, batch=10, learning_rate=0.02)
    result = run_training.train(description, how, data)
    program = result.program
    codes = evaluate.scores(program, test)[:, 0]
    off = [codes[..., n] * program.score_step[n] + program.score_mean[n] for n in range(2)]
    off = [(a - test.labels[..., n]).square().mean().sqrt().item() for n, a in enumerate(off)]
    spread = [test.labels[..., n].std().item() for n in range(2)]
    assert off[0] < 0.35 * spread[0] and off[1] < 0.35 * spread[1]
    mean_square = (off[0] ** 2 + off[1] ** 2) / 2
    assert result.golden["rmse"] == pytest.approx(mean_square**0.5, rel=1e-5)
    assert result.reference["rmse"] < result.golden["rmse"]
    with pytest.raises(WordlineError, match="labels are real numbers; write 'scores'"):
        run_training.train(description.replace(output={"of": "class"}), how, data)
    state = description.replace(network={"classes": 0}, output={"of": "state"})
    with pytest.raises(WordlineError, match=r"16 units do not fit .* 1 channels and 2 targets"):
        run_training.train(state, how, data)


def test_training_learns_labels_at_every_step():
    """A text of one word, in which what comes after an a depends on what was before."""
    data = characters("banana " * 150)
    net = {"inputs": data.channels, "hidden": [16], "classes": data.classes}
    description = VOWELS.replace(network=net, output={"steps": "every"})
    how = Training(dataset="text-char", float_epochs=10, epochs=10, batch=4)
    result = run_training.train(description, how, data)
    assert result.reference["accuracy"] > 90 and result.golden["accuracy"] > 90
    program = result.program
    scores = evaluate.scores(program, data.test)[:, 0]
    bits = result.golden["bits"]
    # By hand: -log2 of the softmax's share of what is right, where a sequence has steps.
    share = (scores * program.score_step).softmax(-1)
    right = share.gather(2, data.test.labels[..., None])[..., 0][data.test.valid]
    assert bits == pytest.approx(-right.log2().mean().item())
    assert bits < 0.5 < evaluate.worth(0 * scores.double(), data.test)["bits"]
    exact = (scores.argmax(-1) == data.test.labels)[data.test.valid].double().mean()
    assert result.golden["accuracy"] == pytest.approx(100 * float(exact))
    # A symbol is at full scale, and nothing else moves.
    codes = dac.encode(data.test.x, program.input_mean, program.input_step, description.dac)
    assert torch.equal(codes, 7 * data.test.x.short())


def test_calibration_on_a_part_is_much_the_same(data, monkeypatch):
    """A part that is spread over all classes: they come one after the other."""
    whole = Trainable(untrained(), data.train, VOWELS)
    monkeypatch.setattr(quantised, "CALIBRATION", 60)
    part = Trainable(untrained(), data.train, VOWELS)
    for a, b in zip(whole.layers, part.layers, strict=True):
        assert not torch.equal(a.log_lsb, b.log_lsb)
        assert (a.log_lsb - b.log_lsb).abs().max() < 0.05


def test_a_channel_that_hardly_moves_is_not_scaled_up(data):
    """As the edge of an image, lit once in a thousand."""
    x = torch.zeros(1000, 4, 2)
    x[..., 0] = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
    x[0, 0, 1] = 1.0
    lengths = torch.full((1000,), 4)
    mean, spread = evaluate.statistics(datasets.Sequences(x, lengths, lengths))
    assert spread[1] == pytest.approx(0.1 * float(spread[0]))
    assert (1 - mean[1]) / spread[1] < 11
    every = data.train.x[data.train.valid].std(0)
    assert torch.equal(evaluate.statistics(data.train)[1], every)  # these all move


def test_weights_only_take_levels(data):
    description = VOWELS.replace(device={"levels": [-200, -30, 0, 20, 255]})
    program = run_training.train(description, replaced(SHORT, epochs=1), data).program
    cells = program.layers[0].positive - program.layers[0].negative
    assert set(cells.unique().tolist()) <= {-200, -30, 0, 20, 255}


def test_noise_has_the_ratio_that_was_asked_for():
    """Of every gate and sample by itself, whatever their scales."""
    torch.manual_seed(5)
    a = torch.randn(4, 2, 40_000).double() * torch.tensor([30.0, 900.0])[:, None]
    a = (a * torch.tensor([1.0, 2.0, 4.0, 8.0])[:, None, None]).round()
    for snr in (-6.0, 0.0, 10.0):
        noise = injection.rounded_noise(a, torch.randn(a.shape), 10 ** (-snr / 10)) - a
        assert torch.equal(noise, noise.round())
        ratio = 10 * torch.log10(a.square().mean(-1) / noise.square().mean(-1))
        # 40,000 numbers tell a variance to 0.7 %, 0.03 dB.
        assert (ratio - snr).abs().max() < 0.15
        assert abs(noise[0, 0] @ noise[1, 0] / noise[0, 0].norm() / noise[1, 0].norm()) < 0.025


def test_the_gradient_flows_through_the_signal_s_power():
    """Larger pre-activations bring larger noise, and training is told."""
    torch.manual_seed(6)
    a = torch.tensor([[[300.0, -500.0]]], dtype=torch.float64, requires_grad=True)
    draw = torch.randn(1, 1, 2)
    noisy = injection.rounded_noise(a, draw, 1.0)
    (gradient,) = torch.autograd.grad(noisy[0, 0, 0], a)
    rms = a.detach().square().mean().sqrt()
    slope = draw[0, 0, 0] * a.detach()[0, 0] / (2 * rms)
    slope[0] += 1
    assert torch.allclose(gradient[0, 0], slope, rtol=1e-6)


def test_batches_of_a_large_set_have_much_the_same_length():
    torch.manual_seed(0)
    lengths = torch.randint(1, 90, (10_000,))
    batches = optimise._batches(lengths, 10)
    assert torch.equal(torch.cat(batches).sort().values, torch.arange(10_000))
    spread = torch.stack([lengths[batch].max() - lengths[batch].min() for batch in batches])
    assert spread.float().mean() < 10 and {len(batch) for batch in batches} == {10}
    means = torch.stack([lengths[batch].float().mean() for batch in batches])
    assert abs(torch.corrcoef(torch.stack([means[1:], means[:-1]]))[0, 1]) < 0.15  # shuffled
    # Small sets, and those of one length, are shuffled and no more.
    for few in (lengths[:600], torch.full((10_000,), 28)):
        torch.manual_seed(1)
        found = torch.cat(optimise._batches(few, 10))
        torch.manual_seed(1)
        assert torch.equal(found, torch.randperm(len(few)))


@pytest.mark.parametrize(
    ("cell", "noise", "passes"),
    [
        ({"kind": "lstm"}, "hardware", 1),
        ({"kind": "rnn", "activation": "relu"}, 3.0, 2),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                ({"kind": "rnn"}, 3.0, 1),
                ({"kind": "lstm"}, 3.0, 1),
                ({"kind": "rnn"}, "hardware", 2),
            )
        ),
    ],
)
def test_training_with_noise(data, cell, noise, passes):
    """It learns, it repeats itself, it is not what training without noise gives, and what comes
    out is for an ideal chip."""
    description = VOWELS.replace(cell=cell)
    settings = replaced(SHORT, noise=noise, passes=passes)
    effects = effects_.PRESETS["all"]
    first = run_training.train(description, settings, data, effects=effects)
    again = run_training.train(description, settings, data, effects=effects)
    quiet = run_training.train(description, SHORT, data, effects=effects)
    assert first.golden["accuracy"] > 40  # chance is 11: held-out data, four epochs
    for name, tensor in first.program.tensors().items():
        assert torch.equal(tensor, again.program.tensors()[name]), name
    layer, ideal = first.program.layers[0], ideal_macro(description.layers[0])
    assert not torch.equal(layer.bias, quiet.program.layers[0].bias)
    assert all(torch.equal(getattr(layer, name), value) for name, value in ideal.items())
    if description.cell.unbounded:
        table = layer.gate_tables[0]
        assert table.min() == 0 and (table.diff() >= 0).all() and table.max() > 100
    cells = layer.positive - layer.negative
    assert set(cells.unique().tolist()) <= set(description.device.level_table)


def test_every_batch_sees_another_chip_and_every_sequence_another_run(data, monkeypatch):
    chips, numbers = [], []
    apply_effects, run = quantised.apply_effects, network.run

    def apply(program, effects, seed):
        chips.append(seed)
        return apply_effects(program, effects, seed=seed)

    def recorded(program, x, lengths, runs=None, *rest, **options):
        numbers.extend([] if runs is None else runs.tolist())
        return run(program, x, lengths, runs, *rest, **options)

    monkeypatch.setattr(quantised, "apply_effects", apply)
    monkeypatch.setattr(quantised.network, "run", recorded)
    settings = replaced(SHORT, float_epochs=1, epochs=2, noise="hardware")
    run_training.train(VOWELS, settings, data, effects=Effects(read_sigma=0.1))
    assert len(set(chips)) == len(chips) == 18
    own = numbers[: 2 * 270]
    assert len(set(own)) == 2 * 270


def test_training_with_the_hardware_s_noise_helps_on_the_hardware(data):
    effects = Effects(read_sigma=0.3)
    settings = replaced(SHORT, epochs=15)
    scores = []
    for noise in ("none", "hardware"):
        trained = run_training.train(VOWELS, replaced(settings, noise=noise), data, effects=effects)
        scores.append(
            evaluate.measured(effects_.apply(trained.program, effects), data.test)["accuracy"]
        )
    assert scores[1] > scores[0] + 5


@pytest.mark.parametrize("effects", [None, Effects()])
def test_hardware_noise_needs_an_effect(data, effects):
    with pytest.raises(WordlineError, match="noise = 'hardware', but no effect is on; give some"):
        run_training.train(VOWELS, replaced(SHORT, noise="hardware"), data, effects=effects)


def test_a_description_that_does_not_fit_the_data_is_named(data):
    with pytest.raises(WordlineError, match=r"network.inputs = 3 .*has 12 channels and 9 classes"):
        run_training.train(small(), SHORT, data)
    with pytest.raises(WordlineError, match="The device 'cuda:77' cannot be used"):
        run_training.train(VOWELS, SHORT, data, device="cuda:77")


@pytest.mark.parametrize("noise", [True, None, [3.0]])
def test_noise_that_is_no_number_is_named(noise):
    with pytest.raises(WordlineError, match=r"^x: noise = .* is wrong: Input should be a valid"):
        build(Training, {"noise": noise}, "x")


def test_a_replaced_field_is_checked():
    with pytest.raises(WordlineError, match=r"^training: seed = 3000000000 is above 2147483648"):
        replaced(SHORT, seed=3_000_000_000)


@pytest.mark.parametrize("hidden", [[12], [12, 7]])
def test_a_network_of_relu_is_scaled_to_the_dac_and_stays_the_same_function(data, hidden):
    description = VOWELS.replace(
        cell={"kind": "rnn", "activation": "relu"}, network={"hidden": hidden}
    )
    torch.manual_seed(0)
    model = fit_float(description, replaced(SHORT, float_epochs=1), data.train)
    with torch.no_grad():
        model.network.layers[0].bias_ih_l0 += 3.0  # far beyond full scale
    scaled = quantised._in_range(model, data.train)
    before, after = (m.scores(data.test) for m in (model, scaled))
    assert torch.allclose(before, after, atol=1e-3 * float(before.abs().max()))
    x = model.standardised(data.train)
    h, reach = x.x, []
    for layer in scaled.network.layers:
        h = layer(h)[0].detach()
        reach.append(float(h[x.valid].square().mean().sqrt()))
    assert reach == [pytest.approx(1 / 2.5, rel=1e-3)] * len(hidden)
    # Without a head, states are the output, and nothing could take the scale back.
    headless = FloatNetwork(description.replace(network={"classes": 0}, output={"of": "state"}))
    states = FloatModel(headless, model.mean, model.spread)
    last = quantised._in_range(states, data.train).network.layers[-1]
    assert torch.equal(last.bias_hh_l0, headless.layers[-1].bias_hh_l0)


def test_the_loss_of_several_passes_is_that_of_their_mean():
    x, labels = torch.arange(6.0).view(3, 1, 2), torch.tensor([0, 1, 0])
    batch = Sequences(x, torch.ones(3, dtype=torch.int64), labels)
    seen = []

    def scores(part):
        seen.append(part)
        return part.x[:, 0] + 10 * len(seen) + torch.arange(len(part))[:, None]

    assert torch.equal(mean_of_passes(batch, 1, scores), x[:, 0] + 10 + torch.arange(3)[:, None])
    found = mean_of_passes(batch, 4, scores)
    assert len(seen) == 2 and torch.equal(seen[1].x, x.repeat(4, 1, 1))
    assert torch.equal(seen[1].labels, labels.repeat(4))
    offsets = torch.arange(12.0).view(4, 3).mean(0)
    assert torch.equal(found, x[:, 0] + 20 + offsets[:, None])


def test_passes_need_noise():
    with pytest.raises(WordlineError, match=r"passes = 2 has no effect with noise = 'none'"):
        build(Training, {"passes": 2}, "x")
    assert build(Training, {"passes": 2, "noise": "hardware"}, "x").passes == 2
