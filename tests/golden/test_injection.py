"""Injected noise: how strong, on which vectors, in floats and in integers; its gradients."""

import math
import shutil
from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from golden import adc, convnet, fast, float_layer, layer, network
from golden import injection as injection_
from golden.cells.lstm import LstmCell
from golden.cells.rnn import RnnCell
from golden.convnet import ConvNet
from golden.datasets import Sequences
from golden.errors import WordlineError
from golden.float_layer import _readable
from golden.float_network import FloatModel, FloatNetwork
from golden.injection import (
    Injected,
    Injection,
    Placement,
    StepNoise,
    add_noise,
    noisy_codes,
    rounded_noise,
)
from golden.parameters import Dac
from golden.training.float import ramp
from golden.training.settings import Training
from golden.validation import build
from tests.helpers import examples, random_codes, random_program, small

PLACEMENTS = get_args(Placement)
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def test_vectors_have_the_ratio_each_by_itself():
    torch.manual_seed(3)
    v = torch.randn(3, 4, 50_000) * torch.tensor([1e-3, 1.0, 50.0])[:, None, None]
    for snr in (-6.0, 0.0, 10.0):
        injection = Injection(snr_db=snr)
        noise = add_noise(v, torch.randn(v.shape), injection.power_ratio) - v
        ratio = 10 * torch.log10(v.square().mean(-1) / noise.square().mean(-1))
        assert (ratio - snr).abs().max() < 0.15  # 50,000 numbers tell 0.03 dB


def test_units_that_are_always_0_raise_the_noise_budget():
    """The loophole of a ratio over a layer: 15 idle units for each one that works leave it 12 dB
    more than the nominal 0. Relative to each unit's own power, it has 0 dB."""
    torch.manual_seed(0)
    v = torch.zeros(20_000, 16)
    v[:, 0] = 3 * torch.randn(20_000)
    for power, wanted in (("layer", 10 * math.log10(16)), ("unit", 0.0)):
        noisy = Injection(snr_db=0.0, placement="product", power=power).on_inputs(v)
        noise = (noisy - v)[:, 0]
        ratio = 10 * torch.log10(v[:, 0].square().mean() / noise.square().mean())
        assert abs(float(ratio) - wanted) < 0.2
        if power == "unit":
            assert (noisy - v)[:, 1:].abs().max() < 1e-5


def test_a_state_that_is_read_at_0_db_in_each_step_is_lost_after_log2_of_the_votes():
    """Where each unit copies itself, k readings at 0 dB leave a signal with 2^k - 1 times its power
    of noise; N units and K votes that agree divide that by N K."""
    torch.manual_seed(0)
    units, votes, steps = 64, 32, 6
    signal = torch.randn(500, 1, 1)
    held = signal.expand(500, votes, units)
    for k in range(1, steps + 1):
        held = add_noise(held, torch.randn(held.shape), 1.0)
        # Of an average unit, as the power of a vector varies by itself.
        noise = (held - signal).square().mean(), (held - signal).mean((1, 2)).square().mean()
        assert float(noise[0]) == pytest.approx(2**k - 1, rel=0.15 * k)
        assert float(noise[1]) == pytest.approx((2**k - 1) / (units * votes), rel=0.3)


def test_a_bit_that_is_read_at_0_db_in_each_step_lasts_where_units_take_their_mean():
    """One product in each step renews it from all units; copies lose it after log2(units) steps."""
    torch.manual_seed(0)
    bit = torch.randint(0, 2, (500, 1)) * 2.0 - 1

    def noisy(v):
        return add_noise(v, torch.randn(v.shape), 1.0)

    copied = renewed = bit.expand(500, 256)
    for _ in range(37):  # the steps of strokes of a digit
        copied = noisy(copied)
        copied = copied / copied.square().mean(1, keepdim=True).sqrt()
        pre_activation = noisy(2 * renewed.mean(1, keepdim=True).expand(500, 256))
        renewed = noisy(torch.tanh(pre_activation))
    lost, kept = (float((v.mean(1) * bit[:, 0] < 0).float().mean()) for v in (copied, renewed))
    assert kept == 0 and 0.4 < lost < 0.6  # as good as a guess


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_each_unit_s_own_power_in_floats_and_in_integers(placement, monkeypatch):
    """The same numbers drawn, and another strength for each unit."""
    description = small(network={"hidden": [9]})
    program, runs = random_program(description, 1), torch.arange(40)
    x = random_codes(description, 1, 40, 2, 3)
    found = {}
    for power in ("layer", "unit"):
        torch.manual_seed(0)
        noise = Injection(snr_db=0.0, placement=placement, power=power)
        found[power] = network.run(program, x, torch.full((40,), 2), runs, noise).layers[0]
    assert not torch.equal(found["layer"].h, found["unit"].h)
    v = torch.randint(-9, 9, (40, 3, 5)) * torch.tensor([0, 1, 5, 20, 90])
    normal = torch.ones(v.shape)
    noisy = rounded_noise(v, normal, 1.0, "unit")
    rms = v.double().square().mean(0, keepdim=True).sqrt()
    assert torch.equal(noisy, (v + rms + 0.5).floor().long())


def test_what_is_drawn_has_a_place_for_every_vector():
    for cell, gates, many in ((LstmCell(), 4, 10), (RnnCell(), 1, 2)):
        for placement, vectors, inside in (
            ("pre-activations", gates, gates),
            ("product", gates + 1, gates),
            ("every", many, many),
        ):
            injection = Injection(snr_db=3.0, placement=placement)
            assert injection.vectors(cell) == vectors
            drawn = injection.draw(5, 6, cell, 7)
            assert drawn.normal.shape == (5, 6, vectors, 7)
            assert drawn.power_ratio == pytest.approx(0.501, abs=1e-3)
            assert drawn.at(2).normal.shape == (5, inside, 7)
            h = torch.ones(5, 7)
            assert torch.equal(drawn.fed_back(h, 2), h) == (placement != "product")
    torch.manual_seed(0)
    injected = Injection(snr_db=-6.0).draw(1, 1, RnnCell(), 4_000_000)
    v = torch.full((1, 1, 4_000_000), 1000)
    noisy = injected.at(0).add_rounded(v, 0)
    assert 10_000 < noisy.abs().max() < 1000 * injected.growth  # the fast path reckons with it


@pytest.mark.parametrize("vector", range(10))
def test_an_lstm_s_vectors_are_disturbed_where_they_are_computed(vector):
    """Noise on one vector alone, against the cell's equations by hand."""
    torch.manual_seed(vector)
    batch, steps, units = 3, 2, 5
    z = torch.randn(steps, batch, 4 * units)
    recurrent = torch.randn(4 * units, units)
    normal = torch.zeros(batch, steps, 10, units)
    normal[:, :, vector] = torch.randn(batch, steps, units)
    found, _ = _readable(z, recurrent, LstmCell(), Injected(normal, 0.5, 10))

    def noisy(v, number, t):
        scale = (0.5 * v.square().mean(-1, keepdim=True)).sqrt()
        return v + normal[:, t, number] * scale

    h = c = torch.zeros(batch, units)
    for t in range(steps):
        parts = (z[t] + h @ recurrent.T).split(units, 1)
        i, f, g, o = (noisy(part, n, t) for n, part in enumerate(parts))
        parts = (i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid())
        i, f, g, o = (noisy(part, 4 + n, t) for n, part in enumerate(parts))
        c = noisy(f * c + i * g, 8, t)
        h = noisy(o * c.tanh(), 9, t)
        assert torch.allclose(found[t], h, atol=1e-4), t


@pytest.mark.parametrize("kind", ["lstm", "rnn"])
@pytest.mark.parametrize("vector", range(10))
def test_integers_are_disturbed_at_the_same_places(kind, vector, monkeypatch):
    """Noise on one vector alone changes the trace from there on and nothing before; the readable
    path, which the fast one equals."""
    description = small(cell={"kind": kind}, network={"hidden": [9]})
    vectors = Injection(snr_db=0.0, placement="every").vectors(description.cell)
    if vector >= vectors:
        return  # an RNN has no such vector
    program = random_program(description, 1)
    x = random_codes(description, 1, 40, 2, description.network.inputs)
    normal = torch.zeros(40, 2, vectors, 9)
    normal[:, 1, vector] = torch.randn(40, 9, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(Injection, "draw", lambda self, *size: Injected(normal, 1.0, vectors))
    shape, part = description.layers[0], program.layers[0]
    runs = torch.arange(40)
    quiet = layer.run(part, x, shape, runs, readable=True)
    loud = layer.run(part, x, shape, runs, Injection(snr_db=0.0, placement="every"), readable=True)
    assert torch.equal(quiet.codes, loud.codes)  # noise comes after the ADC
    assert torch.equal(quiet.h[:, 0], loud.h[:, 0])
    assert not torch.equal(quiet.h[:, 1], loud.h[:, 1])
    if kind == "lstm":
        # c is kept as it was before its own noise.
        assert torch.equal(quiet.c[:, 1], loud.c[:, 1]) == (vector in (3, 7, 8, 9))


def test_noise_at_the_product_is_on_what_goes_in_and_on_what_comes_out(monkeypatch):
    """Against the equations by hand: x and h before the product, pre-activations, head's h, scores;
    c and h itself stay clean."""
    torch.manual_seed(0)
    description = small(cell={"kind": "rnn"}, network={"hidden": [5]})
    net, injection = FloatNetwork(description), Injection(snr_db=3.0, placement="product")
    drawn = []

    def numbers(size, device):
        drawn.append(torch.rand(size))
        return drawn[-1]

    monkeypatch.setattr(injection_, "normal_numbers", numbers)
    x, lengths = torch.rand(4, 2, 3), torch.full((4,), 2)
    found = net(x, lengths, injection)
    inside, on_x, on_h, on_scores = drawn
    assert [n.shape for n in drawn] == [(4, 2, 2, 5), (4, 2, 3), (4, 5), (4, description.outputs)]

    def noisy(v, normal):
        return v + normal * (v.square().mean(-1, keepdim=True) * injection.power_ratio).sqrt()

    layer_, h = net.layers[0], torch.zeros(4, 5)
    for t in range(2):
        fed = noisy(h, inside[:, t - 1, 1]) if t else h
        z = noisy(x[:, t], on_x[:, t]) @ layer_.weight_ih_l0.T + fed @ layer_.weight_hh_l0.T
        h = noisy(z + layer_.bias_ih_l0 + layer_.bias_hh_l0, inside[:, t, 0]).tanh()
    assert torch.allclose(found, noisy(net.head(noisy(h, on_h)), on_scores), atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "rnn"])
def test_codes_before_a_product_are_disturbed_and_stay_codes(kind):
    description = small(cell={"kind": kind}, network={"hidden": [9]})
    program, injection = random_program(description, 1), Injection(snr_db=0.0, placement="product")
    x = random_codes(description, 1, 40, 2, 3)
    shape, part, runs = description.layers[0], program.layers[0], torch.arange(40)
    torch.manual_seed(0)
    on_h = torch.randn(40, 2, part.gain.shape[1] + 1, 9)
    on_h[:, :, :-1] = 0
    quiet = layer.run(part, x, shape, runs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Injection, "draw", lambda self, *size: Injected(on_h, 1.0, on_h.shape[2] - 1))
        loud = layer.run(part, x, shape, runs, injection)
    # h of the first step is clean; the second step's product has it with noise.
    assert torch.equal(quiet.h[:, 0], loud.h[:, 0])
    fed = noisy_codes(quiet.h[:, 0], on_h[:, 0, -1], 1.0, description.dac)
    codes = adc.codes(torch.cat([x[:, 1], fed], 1).long(), part, shape, runs, 1)
    assert torch.equal(loud.codes[:, 1], codes)
    assert not torch.equal(quiet.codes[:, 1], codes)
    assert fed.abs().max() == description.dac.range.high
    # Of either sign as often as not, where noise is as strong as the signal.
    ones = torch.ones(4000, 20, dtype=torch.int64)
    for sign in (1, -1):
        flipped = injection.on_codes(sign * ones, Dac(bits=1)) != sign * ones
        assert flipped.double().mean() == pytest.approx(0.159, abs=0.006)
    for bits in (1, 4):
        codes = injection.on_codes(torch.ones(3, 50, dtype=torch.int64), Dac(bits=bits))
        assert set(codes.flatten().tolist()) <= set(range(-7, 8)) - ({0} if bits == 1 else set())
        assert len(codes.unique()) > 1 and codes.abs().max() <= Dac(bits=bits).range.high


def test_integers_stay_integers_and_the_state_in_its_range():
    description = small(network={"hidden": [9]})
    v = torch.randint(-2000, 2000, (6, 1, 9))
    torch.manual_seed(0)
    noise = StepNoise(torch.randn(6, 10, 9) * 50, 4.0)
    noisy = noise.add_rounded(v, 8)
    assert noisy.dtype == v.dtype and noisy.abs().max() > 20_000
    assert torch.equal(noise.add_rounded(v, 10), v)  # beyond what has noise
    program = random_program(description, 2)
    top = description.cell.state_range.high
    index, c = torch.zeros(6, 4, 9, dtype=torch.int64), torch.full((6, 9), top)
    after = description.cell.step(index, c, program.layers[0], description.layers[0], noise)
    assert after.c.max() == top and after.c.min() == description.cell.state_range.low
    x = random_codes(description, 2, 50, 4, description.network.inputs)
    injection = Injection(snr_db=-20.0, placement="every")
    torch.manual_seed(0)
    trace = network.run(program, x, torch.full((50,), 4), None, injection, readable=True)
    assert trace.layers[0].h.abs().max() <= description.dac.range.high


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_scores_have_noise_where_every_vector_has(placement, monkeypatch):
    description = small()
    program = random_program(description, 0)
    x, lengths = random_codes(description, 0, 200, 1, 3), torch.ones(200, dtype=torch.int64)
    plain = network.run(program, x, lengths).scores
    torch.manual_seed(0)
    # None in the layers.
    draw = Injection.draw

    def zero(self, *size):
        drawn = draw(self, *size)
        return replace(drawn, normal=torch.zeros_like(drawn.normal))

    monkeypatch.setattr(Injection, "draw", zero)
    monkeypatch.setattr(Injection, "on_codes", lambda self, codes, dac: codes)
    loud = Injection(snr_db=0.0, placement=placement)
    noisy = network.run(program, x, lengths, None, loud).scores
    assert torch.equal(plain, noisy) == (placement == "pre-activations")
    real = torch.tensor([[3.0, -4.0]])
    injection = Injection(snr_db=0.0, placement=placement)
    assert torch.equal(injection.on_scores(real), real) == (placement == "pre-activations")


def test_mean_squares_that_are_not_exact_go_the_readable_way():
    wide = {"gate_bits": 12, "hidden_bits": 12, "state_bits": 16}
    for units, snr, placement, exact in (
        (4, 20.0, "every", True),
        (2048, -20.0, "every", False),
        (2048, -20.0, "product", True),
        (2048, -20.0, "pre-activations", True),
    ):
        description = small(network={"inputs": 1, "hidden": [units]}, cell=wide)
        injection = Injection(snr_db=snr, placement=placement)
        assert fast.measurable(description.layers[0], injection) == exact
    assert fast.measurable(description.layers[0], None)


def passes(x, parameters, cell, injection, readable, seed):
    """h and gradients to all that a layer has, with the same random numbers."""
    own = [p.clone().requires_grad_() for p in (x, *parameters)]
    torch.manual_seed(seed)
    h = float_layer.run(*own, cell, injection, readable=readable)
    weights = torch.randn(h.shape, generator=torch.Generator().manual_seed(seed))
    return [h.detach(), *torch.autograd.grad(h, own, weights)]


@needs_compiler
@examples(60)
@given(
    st.sampled_from((RnnCell(), RnnCell(activation="relu"), LstmCell())),
    st.sampled_from((20.0, 0.0, -6.0)),
    st.sampled_from(PLACEMENTS),
    st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 4), st.integers(1, 37)),
    st.integers(0, 999),
)
def test_the_compiled_float_layer_is_the_readable_one(cell, snr, placement, sizes, seed):
    """But for rounding, forward and backward."""
    batch, steps, inputs, units = sizes
    gates = len(cell.gates)
    torch.manual_seed(seed)
    sizes = ((batch, steps, inputs), (gates * units, inputs), (gates * units, units))
    x, *parameters = (torch.randn(size) * 0.7 for size in (*sizes, (gates * units,)))
    injection = Injection(snr_db=snr, placement=placement)
    given_ = (x, parameters, cell, injection)
    for a, b in zip(passes(*given_, False, seed), passes(*given_, True, seed), strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 2e-4 * max(1e-3, float(b.abs().max()))


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize(
    "cell", [{"kind": "lstm"}, {"kind": "rnn"}, {"kind": "rnn", "activation": "relu"}]
)
@pytest.mark.parametrize("placement", ["product", "every"])
def test_a_layer_with_hardly_any_noise_is_pytorch_s(cell, placement, readable):
    torch.manual_seed(0)
    description = small(cell=cell, network={"hidden": [20]})
    reference = FloatNetwork(description).layers[0]
    x = torch.randn(4, 9, 3)
    bias = reference.bias_ih_l0 + reference.bias_hh_l0
    weights = (reference.weight_ih_l0, reference.weight_hh_l0, bias)
    quiet = Injection(snr_db=60.0, placement=placement)
    with torch.no_grad():
        h = float_layer.run(x, *weights, description.cell, quiet, readable=readable)
        wanted = reference(x)[0]
    assert 1e-6 < (h - wanted).abs().max() < 0.02


@needs_compiler
def test_a_float_layer_s_gradients_can_be_had_once():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, requires_grad=True)
    weights = (torch.randn(8, 2), torch.randn(8, 2), torch.randn(8))
    h = float_layer.run(x, *weights, LstmCell(), Injection(snr_db=3.0))
    h.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="gradients can be had once"):
        h.sum().backward()


def test_a_float_model_comes_back_from_its_file(tmp_path):
    torch.manual_seed(0)
    description = small(network={"hidden": [6, 5]})
    model = FloatModel(FloatNetwork(description), torch.tensor([1.0, 2, 3]), torch.ones(3) * 2)
    model.save(tmp_path / "model.safetensors")
    again = FloatModel.load(tmp_path / "model.safetensors", description)
    lengths = torch.tensor([5, 1, 2, 4, 3, 5, 5, 1, 2])
    data = Sequences(torch.randn(9, 5, 3), lengths, torch.zeros(9))
    scores = model.scores(data)
    assert torch.equal(scores, again.scores(data))
    # Whatever the order in which sequences were computed.
    x, end = (data.x[3:4, :4] - model.mean) / 2, torch.tensor([4])
    assert torch.allclose(scores[3], model.network(x, end)[0], atol=1e-6)
    torch.manual_seed(1)
    noisy = model.scores(data, Injection(snr_db=0.0))
    assert not torch.equal(noisy, scores)
    assert not torch.equal(noisy, model.scores(data, Injection(snr_db=0.0)))  # fresh each time


def test_training_begins_with_less_noise():
    wanted = Injection(snr_db=-6.0, placement="every")
    found = [ramp(wanted, done) for done in (0.0, 0.25, 0.5, 1.0)]
    assert [noise.snr_db for noise in found] == [10.0, 2.0, -6.0, -6.0]
    assert all(noise.placement == "every" for noise in found)
    assert ramp(Injection(snr_db=20.0), 0.0).snr_db == 20.0


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_convolutional_network_s_products_are_noisy(placement, monkeypatch):
    network_ = ConvNet(4)
    seen = []
    monkeypatch.setattr(
        convnet._Noise, "apply", lambda v, normal, *_: (seen.append(tuple(v.shape)), v)[1]
    )
    x = torch.rand(3, 1, 28, 28)
    plain = network_(x)
    assert not seen
    assert torch.equal(network_(x, Injection(snr_db=0.0, placement=placement)), plain)
    products = [3 * 14 * 14, 4 * 14 * 14, 6 * 7 * 7, 10]
    activations = [3 * 14 * 14, 4 * 7 * 7, 6 * 7 * 7]
    inputs = [] if placement == "pre-activations" else activations
    inputs = [28 * 28, *inputs] if placement == "product" else inputs
    expected = sorted(products + inputs)
    assert sorted(size for _, size in seen) == expected
    seen.clear()
    network_(x, Injection(snr_db=0.0, placement=placement), noisy_head=False)
    assert sorted([size for _, size in seen] + [10]) == expected


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_the_noise_of_a_convolutional_network_and_its_gradient(dtype, error):
    """They are those of `add_noise`, as exact as the dtype."""
    torch.manual_seed(0)
    v, normal, grad = (torch.randn(4, 60, dtype=dtype) for _ in range(3))
    v[1] *= 100
    v[2] = 0
    given = [v.clone().requires_grad_(), v.float().requires_grad_()]
    ours = convnet._Noise.apply(given[0], normal, 0.5)
    wanted = add_noise(given[1], normal.float(), 0.5)
    ours.backward(grad)
    wanted.backward(grad.float())
    assert ours.dtype == given[0].grad.dtype == dtype
    scale = wanted.abs().amax(1, keepdim=True)
    assert ((ours - wanted).abs() <= error * scale + 1e-9).all()
    slopes = given[1].grad
    assert ((given[0].grad - slopes).abs() <= error * slopes.abs().amax(1, keepdim=True)).all()
    assert not torch.equal(slopes[:2], grad[:2].float())  # gradients flow through the power


def test_a_placement_or_a_ratio_that_is_none_is_named():
    with pytest.raises(WordlineError, match=r"^x: placement = 'all' is not known; write"):
        build(Injection, {"snr_db": 0.0, "placement": "all"}, "x")
    with pytest.raises(WordlineError, match=r"^x: snr_db = 90.0 is above 60"):
        build(Injection, {"snr_db": 90.0}, "x")
    with pytest.raises(WordlineError, match=r"^x: placement = 'here' is not known; write"):
        build(Training, {"placement": "here"}, "x")
    with pytest.raises(
        WordlineError, match=r"placement = 'every' has no effect with noise = 'none'"
    ):
        build(Training, {"placement": "every"}, "x")
    noise = build(Training, {"placement": "every", "noise": 3.0}, "x").injection
    assert noise == Injection(snr_db=3.0, placement="every")
    assert build(Training, {"noise": "hardware"}, "x").injection is None
