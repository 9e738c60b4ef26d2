import dataclasses
import json
import math
import re
from statistics import NormalDist

import pytest
import torch

from golden import dac as golden_dac
from golden import effects, network, noise, presets, tables
from golden.description import Description
from golden.effects import Effects
from golden.errors import WordlineError
from golden.program import HeadProgram, LayerProgram, Program, ideal_macro, padded

SIGMAS = 5
"""How far a statistic may be from what is expected, in its own standard deviations."""

WIDE = Description.from_dict(
    {
        "name": "wide",
        "network": {"inputs": 200, "hidden": [60], "classes": 10},
        "device": {"conductance_bits": 12},  # fine enough for rounding not to show
    }
)
FULL = 4095

SMALL = {"name": "small", "network": {"inputs": 3, "hidden": [5], "classes": 4}}

POLYNOMIALS = {
    "pcm": (25.0, lambda g: 0.26348 + 1.9650 * g - 1.1731 * g**2),
    "reram": (40.0, lambda g: 0.348 + 16.030 * g - 43.853 * g**2 + 45.393 * g**3 - 16.815 * g**4),
}
"""Full scale and deviation in uS."""


def small(**sections) -> Description:
    return Description.from_dict(SMALL).replace(**sections)


def deviation(kind, g):
    full_scale, polynomial = POLYNOMIALS[kind]
    return polynomial(g) / full_scale


def program(description, code=None, seed=0, dtype=torch.int64) -> Program:
    """Random conductance codes, or the same one everywhere."""
    generator = torch.Generator().manual_seed(seed)
    most = description.device.conductance_max

    def array(shape):
        cells = (shape.gates, shape.units, shape.rows)

        def codes():
            if code is None:
                return torch.randint(0, most + 1, cells, generator=generator)
            return torch.full(cells, code)

        fields = {"positive": codes(), "negative": codes(), **ideal_macro(shape)}
        levels = padded(description.device.level_table, description.device)
        return fields | {"levels": levels, "gain": torch.full((1, shape.gates), 200)}

    step = torch.full((4,), 8.0 / 2 ** description.layers[0].index_bits, dtype=torch.float64)
    layers = tuple(
        LayerProgram(
            **array(shape),
            bias=torch.zeros(shape.gates, shape.units, dtype=torch.int64),
            gate_tables=tables.gate_tables(step, shape).long(),
            tables={name: t.long() for name, t in tables.cell_tables(description).items()},
        )
        for shape in description.layers
    )
    head = HeadProgram(**array(description.head), bias=torch.zeros(description.network.classes))
    channels = torch.ones(description.network.inputs, dtype=torch.float64)
    real = torch.ones(2, description.outputs, dtype=torch.float64)
    return Program(description, layers, head, 0 * channels, channels, *real).to(dtype)


def devices(chip: Program) -> torch.Tensor:
    """Every code of the first layer."""
    return torch.stack([chip.layers[0].positive, chip.layers[0].negative])


def held(code, description=WIDE, **fields):
    """What the first layer's devices hold when all are given one code, of full scale."""
    chip = effects.apply(program(description, code), Effects(**fields))
    return devices(chip).double() / description.device.conductance_max


def expect_normal(x, mean, sigma):
    """Mean, deviation and the share within one deviation."""
    n = x.numel()
    assert abs(x.mean() - mean) < SIGMAS * sigma / n**0.5 + 1e-5
    assert abs(x.std() / sigma - 1) < SIGMAS / (2 * n) ** 0.5 + 1e-4
    p = NormalDist().cdf(1) - NormalDist().cdf(-1)
    inside = ((x - mean).abs() < sigma).double().mean()
    assert abs(inside - p) < SIGMAS * (p * (1 - p) / n) ** 0.5 + 0.005  # codes are discrete


def expect_uncorrelated(x, y):
    both = torch.stack([x.flatten().double(), y.flatten().double()])
    assert abs(torch.corrcoef(both)[0, 1]) < SIGMAS / x.numel() ** 0.5


# Programming


@pytest.mark.parametrize("code", [1200, 2000, 2800, 3200])
@pytest.mark.parametrize("kind", POLYNOMIALS)
def test_programming_noise_has_the_deviation_that_was_measured(kind, code):
    g = code / FULL
    expect_normal(held(code, programming=kind), g, deviation(kind, g))


@pytest.mark.parametrize("kind", POLYNOMIALS)
def test_programming_noise_saturates_at_both_ends(kind):
    for code, outward in ((0, -1), (FULL, 1)):
        g = code / FULL
        sigma = deviation(kind, g)
        x = -outward * (held(code, programming=kind) - g)  # the deviation that is left, inward
        assert x.min() == 0
        expected = sigma / math.sqrt(2 * math.pi)
        spread = sigma * math.sqrt(0.5 - 1 / (2 * math.pi))
        assert abs(x.mean() - expected) < SIGMAS * spread / x.numel() ** 0.5 + 1e-5
        at_the_end = NormalDist().cdf(0.5 / FULL / sigma)  # up to half a code in
        assert abs((x == 0).double().mean() - at_the_end) < SIGMAS * 0.5 / x.numel() ** 0.5


def test_constant_programming_noise_does_not_depend_on_the_target():
    for code in (1000, 2000, 3000):
        x = held(code, programming="constant", programming_sigma=0.03)
        expect_normal(x, code / FULL, 0.03)


def test_devices_are_programmed_independently():
    x = held(2000, programming="pcm")
    expect_uncorrelated(x[0], x[1])
    for axis in (1, 2, 3):
        n = x.shape[axis]
        expect_uncorrelated(x.narrow(axis, 0, n - 1), x.narrow(axis, 1, n - 1))


def test_a_deviation_is_never_negative():
    model = effects.DeviceModel(10.0, (1.0, -4.0), "made up")
    g = torch.tensor([0.0, 0.1, 0.25, 0.5, 1.0], dtype=torch.float64)
    assert model.deviation(g).tolist() == pytest.approx([0.1, 0.06, 0, 0, 0])


def test_every_device_model_has_a_source():
    assert all(re.search(r"20\d\d", model.source) for model in effects.DEVICES.values())


# Drift


@pytest.mark.parametrize("seconds", [100.0, 3600.0, 86_400.0, 1e7])
def test_drift_is_a_power_law_with_an_exponent_for_each_device(seconds):
    x = held(FULL, drift_seconds=seconds, drift_nu=0.06, drift_nu_sigma=0.01).log()
    decades = math.log(seconds / 20)
    sigma = 0.01 * decades
    n = x.numel()
    assert abs(x.median() + 0.06 * decades) < SIGMAS * 1.2533 * sigma / n**0.5 + 2e-4
    assert abs(x.std() / sigma - 1) < SIGMAS / (2 * n) ** 0.5 + 1e-3


def test_no_device_drifts_upwards():
    x = held(2000, drift_seconds=1e6, drift_nu=0.01, drift_nu_sigma=0.02)
    assert x.max() == 2000 / FULL
    p = NormalDist(0.01, 0.02).cdf(0.5 / 2000 / math.log(1e6 / 20))  # what rounds to no change
    share = (x == x.max()).double().mean()
    assert abs(share - p) < SIGMAS * (p * (1 - p) / x.numel()) ** 0.5


def test_drift_begins_at_the_first_reading():
    assert (held(2000, drift_seconds=20.0) == 2000 / FULL).all()
    assert (held(2000, drift_seconds=1.0) == 2000 / FULL).all()
    assert (held(2000, drift_seconds=40.0) < 2000 / FULL).any()


def test_drift_acts_on_what_was_programmed():
    g, factor = 3200 / FULL, (1e6 / 20) ** -0.05
    x = held(3200, programming="reram", drift_seconds=1e6, drift_nu=0.05, drift_nu_sigma=0.0)
    expect_normal(x, g * factor, deviation("reram", g) * factor)


# Stuck devices


def expect_count(hits, p):
    n = hits.numel()
    assert abs(int(hits.sum()) - n * p) <= SIGMAS * (n * p * (1 - p)) ** 0.5


@pytest.mark.parametrize(("on", "off"), [(0.01, 0.0), (0.0, 0.02), (0.001, 0.002), (0.5, 0.5)])
def test_devices_are_stuck_at_their_rates(on, off):
    x = held(1000, stuck_on=on, stuck_off=off)
    expect_count(x == 1, on)
    expect_count(x == 0, off)
    expect_count(x == 1000 / FULL, 1 - on - off)


def test_a_stuck_device_neither_drifts_nor_has_noise():
    x = held(1000, programming="pcm", drift_seconds=1e9, stuck_on=0.2, stuck_off=0.3)
    expect_count(x == 1, 0.2)
    expect_count(x == 0, 0.3)


# The macro's registers


LANES = Description.from_dict(
    {
        "name": "lanes",
        "network": {"inputs": 1, "hidden": [1], "classes": 4096},
        "array": {"lanes": 4096},
    }
)


def lanes(name, **fields):
    """A register of 40,960 lanes."""
    chips = [effects.apply(program(LANES, 0), Effects(**fields), seed=s) for s in range(10)]
    return torch.cat([getattr(chip.head, name)[0] for chip in chips])


def test_offsets_over_lanes():
    expect_normal(lanes("offset", offset_sigma=1.25) / 256, 0, 1.25)
    assert (lanes("gain_error", offset_sigma=1.25) == 0).all()


def test_gain_errors_over_lanes():
    expect_normal(lanes("gain_error", gain_sigma=0.1) / 1024, 0, 0.1)
    assert (lanes("offset", gain_sigma=0.1) == 0).all()


def test_registers_saturate():
    assert lanes("offset", offset_sigma=8.0).aminmax() == (-2048, 2047)
    assert lanes("gain_error", gain_sigma=0.5).aminmax() == (-512, 511)


@pytest.mark.parametrize(("bits", "rows"), [(1, 8), (2, 8), (4, 44), (8, 20)])
def test_read_noise_is_that_of_the_columns_devices(bits, rows):
    """Against a column of noisy devices under equally likely DAC codes."""
    description = small(
        network={"inputs": rows - 5}, dac={"bits": bits}, cell={"hidden_bits": max(3, bits)}
    )
    chip = effects.apply(program(description, 0), Effects(read_sigma=0.03))
    generator = torch.Generator().manual_seed(bits)
    n = 30_000
    low, high = description.dac.range
    v = torch.randint(low, high + 1, (n, rows), generator=generator).double()
    if bits == 1:
        v = torch.where(v > 0, 1.0, -1.0)
    noisy = 0.03 * 255 * torch.randn(2, n, rows, generator=generator, dtype=torch.float64)
    charge = (v * (noisy[0] - noisy[1])).sum(1)
    kurtosis = (charge**4).mean() / (charge**2).mean() ** 2
    bound = SIGMAS * ((kurtosis - 1) / 4 / n).sqrt()
    assert abs(chip.layers[0].read_noise / 16 / charge.std() - 1) < bound + 0.003  # rounding


def test_read_noise_that_does_not_fit_says_what_does():
    chip = program(small(network={"inputs": 1, "hidden": [1]}), 0)
    sigma = 1.0
    for name in ("layers.0", "head"):
        with pytest.raises(WordlineError) as caught:
            effects.apply(chip, Effects(read_sigma=sigma))
        words = (
            rf"effects.read_sigma = {sigma} makes a .* in {name}, .*at most \d+; lower it to (.*)\."
        )
        match = re.fullmatch(words, str(caught.value))
        assert match, caught.value
        sigma = float(match[1])
    noisy = effects.apply(chip, Effects(read_sigma=sigma))
    assert 0.99 < noisy.head.read_noise / 2**chip.description.head.read_noise_bits < 1


def test_adc_noise_is_in_256ths_of_an_lsb():
    for sigma, register in ((0.3, 77), (1.0, 256), (15.0, 3840), (0.5 / 256, 1)):
        chip = effects.apply(program(small(), 0), Effects(adc_sigma=sigma))
        assert {int(a.adc_noise) for a in (*chip.layers, chip.head)} == {register}


def test_keys_are_those_of_the_arrays():
    chip = program(small(network={"hidden": [5, 4]}), 0)
    for fields in ({"read_sigma": 0.01}, {"adc_sigma": 0.1}):
        noisy = effects.apply(chip, Effects(seed=7, **fields))
        keys = [tuple(a.key[0, 0].tolist()) for a in (*noisy.layers, noisy.head)]
        assert keys == [noise.key(7, n) for n in range(3)]
    quiet = effects.apply(chip, Effects(seed=7, programming="pcm", offset_sigma=1.0))
    assert (quiet.head.key == 0).all()


def test_each_crossbar_has_a_key_and_a_noise_of_its_own():
    """Three row tiles, of 3, 2 and 3 rows, and two column tiles."""
    description = small(array={"rows": 3, "columns": 12, "lanes": 2})
    tiled = effects.apply(program(description, 0), Effects(seed=7, read_sigma=0.05))
    layer = tiled.layers[0]
    assert [len(tile) for tile in description.layers[0].row_tiles] == [3, 2, 3]
    assert layer.key.flatten(0, 1).tolist() == [list(noise.key(7, 0, n)) for n in range(6)]
    assert len({tuple(key) for key in layer.key.flatten(0, 1).tolist()}) == 6
    amplitude = layer.read_noise.double()
    assert amplitude[0] == amplitude[2] and abs(amplitude[0] / amplitude[1] - 1.5**0.5) < 0.01


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_read_noise_of_a_plane(bits):
    """Of the bits of equally likely codes, any plane."""
    dac = {"bits": bits, "kind": "bit-serial"}
    description = small(dac=dac, cell={"hidden_bits": 8})
    chip = effects.apply(program(description, 0), Effects(read_sigma=0.3))
    codes = torch.arange(description.dac.range.low, description.dac.range.high + 1)
    for plane in golden_dac.planes(codes, description.dac):
        expected = 0.3 * 255 * (2 * 8 * float(plane.double().square().mean())) ** 0.5
        assert abs(float(chip.layers[0].read_noise) / 16 / expected - 1) < 0.001


# What changes with what


def test_an_effect_does_not_move_the_draws_of_another():
    everything = Effects(
        programming="pcm",
        drift_seconds=1e5,
        stuck_on=0.01,
        stuck_off=0.02,
        read_sigma=0.01,
        adc_sigma=0.3,
        offset_sigma=0.2,
        gain_sigma=0.02,
    )
    start = program(WIDE, 2000)
    full = effects.apply(start, everything)

    def only(*names):
        return effects.apply(start, Effects(**{n: getattr(everything, n) for n in names}))

    on, off = (devices(only(name)) != 2000 for name in ("stuck_on", "stuck_off"))
    assert on.any() and off.any() and not (on & off).any()
    free = ~(on | off)
    moved = devices(only("programming", "drift_seconds"))
    assert torch.equal(devices(full)[free], moved[free])
    assert (devices(full)[on] == FULL).all() and (devices(full)[off] == 0).all()
    # Drift by the same exponents, whatever was programmed; up to rounding.
    programmed, drifted = devices(only("programming")), devices(only("drift_seconds"))
    assert (moved / programmed - drifted / 2000).abs().max() < 1.5 / 1400
    assert torch.equal(full.head.offset, only("offset_sigma").head.offset)
    assert torch.equal(full.head.gain_error, only("gain_sigma").head.gain_error)
    assert torch.equal(full.head.key, only("adc_sigma").head.key)
    expect_uncorrelated(programmed, drifted)
    # Devices that are stuck are as any other in what they would have held.
    for hit in (on, off):
        g = 2000 / FULL
        expect_normal(programmed[hit].double() / FULL, g, deviation("pcm", g))


def test_offsets_and_gain_errors_are_independent():
    both = {"offset_sigma": 1.0, "gain_sigma": 0.1}
    expect_uncorrelated(lanes("offset", **both), lanes("gain_error", **both))


def same(one: Program, other: Program) -> bool:
    pairs = zip(one.tensors().items(), other.tensors().values(), strict=True)
    return all(torch.equal(a, b) and a.dtype == b.dtype for (_, a), b in pairs)


def test_a_seed_is_a_chip():
    start = program(WIDE)
    chip = effects.apply(start, effects.PRESETS["all"])
    assert same(chip, effects.apply(start, effects.PRESETS["all"]))
    other = effects.apply(start, effects.PRESETS["all"], seed=1)
    assert same(other, effects.apply(start, dataclasses.replace(effects.PRESETS["all"], seed=1)))
    assert not torch.equal(chip.head.key, other.head.key)
    assert not torch.equal(chip.head.offset, other.head.offset)
    assert not torch.equal(devices(chip), devices(other))


def test_chips_and_arrays_are_independent():
    description = WIDE.replace(network={"inputs": 40, "hidden": [40, 40]})
    start = program(description, 2000)
    a, b = (effects.apply(start, Effects(programming="pcm"), seed=s) for s in (0, 1))
    expect_uncorrelated(a.layers[0].positive, b.layers[0].positive)
    expect_uncorrelated(a.layers[0].positive, a.layers[1].positive)


def test_a_program_is_left_as_it_was():
    start = program(WIDE)
    copy = program(WIDE)
    effects.apply(start, effects.PRESETS["all"])
    assert same(start, copy)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_with_everything_off_nothing_changes(dtype):
    start = program(WIDE, dtype=dtype)
    assert same(start, effects.apply(start, Effects()))
    assert same(start, effects.apply(start, Effects(seed=3, drift_seconds=20.0, drift_nu=0.5)))
    noisy = effects.apply(start, effects.PRESETS["all"])
    quiet = effects.apply(noisy, Effects())
    assert torch.equal(devices(quiet), devices(noisy))
    assert all((getattr(quiet.head, name) == 0).all() for name in ideal_macro(WIDE.head))


@pytest.mark.parametrize("bits", range(3, 13))
def test_devices_that_are_not_hit_keep_their_code_exactly(bits):
    description = WIDE.replace(device={"conductance_bits": bits})
    start = program(description)
    codes = devices(start)
    assert codes.unique().numel() == 2**bits
    after = devices(effects.apply(start, Effects(stuck_on=1e-9, stuck_off=0.01)))
    assert torch.equal(after[after != 0], codes[after != 0])


def test_integers_and_floats_hold_the_same():
    start = program(WIDE)
    chip = effects.apply(start, effects.PRESETS["all"])
    floats = effects.apply(start.to(torch.float64), effects.PRESETS["all"])
    assert {t.dtype for t in floats.tensors().values()} == {torch.float64}
    assert same(chip.to(torch.float64), floats)


@pytest.mark.parametrize("code", [0, None, FULL])
def test_the_worst_there_is_fits_the_registers(code, tmp_path):
    worst = Effects(
        programming="constant",
        programming_sigma=1.0,
        drift_seconds=1e10,
        drift_nu=1.0,
        drift_nu_sigma=1.0,
        stuck_on=0.1,
        stuck_off=0.1,
        read_sigma=0.5,
        adc_sigma=15.0,
        offset_sigma=8.0,
        gain_sigma=0.5,
    )
    start = program(WIDE, code)
    chip = effects.apply(start, worst)
    chip.save(tmp_path / "worst.safetensors")
    assert same(Program.load(tmp_path / "worst.safetensors"), chip)  # which checks the ranges


# Gradients


def trained(description, **fields):
    """A float program whose first array's codes have gradients; the codes that it holds then."""
    start = program(description, dtype=torch.float64)
    layer = start.layers[0]
    codes = [c.clone().requires_grad_() for c in (layer.positive, layer.negative)]
    layer = dataclasses.replace(layer, positive=codes[0], negative=codes[1])
    start = dataclasses.replace(start, layers=(layer,))
    return codes, effects.apply(start, Effects(**fields))


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        ({}, 1.0),
        ({"programming": "pcm"}, 1.0),
        ({"programming": "reram"}, 1.0),
        ({"drift_seconds": 86_400.0, "drift_nu_sigma": 0.0}, 4320**-0.049),
        ({"programming": "pcm", "stuck_on": 0.1, "stuck_off": 0.1}, 1.0),
    ],
)
def test_gradients_pass_straight_through(fields, factor):
    codes, chip = trained(WIDE, **fields)
    after = devices(chip)
    weight = torch.arange(after.numel()).reshape(after.shape)
    (after * weight).sum().backward()
    gradient = torch.stack([c.grad for c in codes])
    inside = (after > 0) & (after < FULL)
    assert inside.double().mean() > 0.7
    assert torch.allclose(gradient[inside], factor * weight[inside].double(), rtol=1e-12)
    if "stuck_on" in fields:
        stuck = effects._Part("", WIDE.layers[0], Effects(**fields), 0, 0).stuck()
        assert (gradient[stuck[0] | stuck[1]] == 0).all()


def test_a_network_trains_through_its_effects():
    codes, chip = trained(small(), **dataclasses.asdict(effects.PRESETS["all"]))
    x = torch.randint(-7, 8, (6, 4, 3), generator=torch.Generator().manual_seed(0)).double()
    network.run(chip, x, torch.full((6,), 4)).scores.square().sum().backward()
    assert all(c.grad.isfinite().all() and c.grad.any() for c in codes)


# Recipes


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"seed": -1}, r"effects.seed = -1 is below 0"),
        ({"seed": 0.5}, r"effects.seed = 0.5 is not an integer"),
        ({"programming": "flash"}, r"effects.programming = 'flash' is not known; .*'reram'"),
        ({"programming": "constant"}, r"effects.programming_sigma = 0 leaves .* above 0"),
        ({"programming_sigma": 0.1}, r"effects.programming_sigma = 0.1 has no effect .*'none'"),
        (
            {"programming": "pcm", "programming_sigma": 0.1},
            r"effects.programming_sigma = 0.1 has no effect with effects.programming = 'pcm'; set",
        ),
        ({"programming": "constant", "programming_sigma": 1.5}, r"programming_sigma = 1.5 is abo"),
        ({"drift_seconds": -1.0}, r"effects.drift_seconds = -1.0 is below 0"),
        ({"drift_seconds": 2e10}, r"effects.drift_seconds = 20000000000.0 is above"),
        ({"drift_seconds": "day"}, r"effects.drift_seconds = 'day' is not a number"),
        ({"drift_nu": 1.01}, r"effects.drift_nu = 1.01 is above 1"),
        ({"drift_nu_sigma": -0.1}, r"effects.drift_nu_sigma = -0.1 is below 0"),
        ({"stuck_on": 0.6}, r"effects.stuck_on = 0.6 is above 0.5"),
        ({"stuck_off": -0.1}, r"effects.stuck_off = -0.1 is below 0"),
        ({"read_sigma": 1.1}, r"effects.read_sigma = 1.1 is above 1"),
        ({"read_sigma": math.nan}, r"effects.read_sigma = nan is"),
        ({"adc_sigma": 15.1}, r"effects.adc_sigma = 15.1 is above 15"),
        ({"adc_sigma": True}, r"effects.adc_sigma = True is not a number"),
        ({"offset_sigma": 8.1}, r"effects.offset_sigma = 8.1 is above 8"),
        ({"gain_sigma": 0.6}, r"effects.gain_sigma = 0.6 is above 0.5"),
        (
            {"adc_sigma": 0.0019},
            r"effects.adc_sigma = 0.0019 is nothing to the hardware, whose",
        ),
        ({"offset_sigma": 0.001}, r"effects.offset_sigma = 0.001 is nothing .* 0.00390625 or more"),
        ({"gain_sigma": 0.0004}, r"effects.gain_sigma = 0.0004 is nothing to the hardware"),
        (
            {"drift_seconds": 90.0, "drift_nu": 0.0, "drift_nu_sigma": 0.0},
            r"effects.drift_seconds = 90.0 has no effect with effects.drift_nu = 0",
        ),
        ({"stuck": 0.1}, r"effects.stuck is not a field; the fields here are seed, programming"),
        (3, r"effects = 3 is not a table; write .effects."),
    ],
)
def test_mistakes_are_named(fields, words):
    with pytest.raises(WordlineError) as caught:
        effects.read(fields, "chip.toml")
    sentence = str(caught.value)
    assert re.search("^chip.toml: .*" + words, sentence), sentence
    assert "\n" not in sentence and sentence.endswith(".") and not sentence.endswith("..")


def test_presets():
    assert {name: effects.load(name).on for name in effects.PRESETS} == {
        "none": (),
        "pcm": ("programming", "drift", "read"),
        "reram": ("programming", "read"),
        "all": (
            *("programming", "drift", "stuck_on", "stuck_off"),
            *("read", "adc", "offset", "gain"),
        ),
    }
    start = program(small())
    for name in effects.PRESETS:
        assert same(start, effects.apply(start, effects.load(name))) == (name == "none")


def test_the_read_noise_of_pcm_after_a_day():
    """1/f noise as in Nandakumar et al., over pairs with one device at 0."""
    g = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    q = (0.0088 / g**0.65).clamp(max=0.2)
    sigma = g * (86_400 / 20) ** -0.049 * q * math.sqrt(math.log((86_400 + 250e-9) / 500e-9))
    over_pairs = (sigma.square().mean() / 2).sqrt()
    assert effects.PRESETS["pcm"].read_sigma == round(over_pairs.item(), 3)


def test_toml_files(tmp_path):
    path = tmp_path / "chip.toml"
    wanted = Effects(seed=4, programming="pcm", drift_seconds=86_400, adc_sigma=0.5)
    fields = 'seed = 4\nprogramming = "pcm"\ndrift_seconds = 86400\nadc_sigma = 0.5\n'
    path.write_text(fields)
    assert effects.load(str(path)) == wanted
    path.write_text(presets.load("vowels").description.to_toml() + "[effects]\n" + fields)
    assert effects.load(str(path)) == wanted
    path.write_text("")
    assert effects.load(str(path)) == Effects()
    path.write_text("[effects]\nread_sigma = 2\n")
    with pytest.raises(WordlineError, match=r"chip.toml: effects.read_sigma = 2 is above 1"):
        effects.load(str(path))
    path.write_text("effects = 2\n")
    with pytest.raises(WordlineError, match="effects = 2 is not a table"):
        effects.load(str(path))


def test_files_that_are_no_effects(tmp_path):
    with pytest.raises(WordlineError, match=r"effects 'pmc'; choose one of none, pcm, reram, all"):
        effects.load("pmc")
    with pytest.raises(WordlineError, match="cannot be read"):
        effects.load(str(tmp_path / "absent.toml"))
    (tmp_path / "bad.toml").write_text("[effects\n")
    with pytest.raises(WordlineError, match="is not valid TOML"):
        effects.load(str(tmp_path / "bad.toml"))


# Reports


def test_describe_says_what_was_made_of_a_program():
    chosen = Effects(seed=5, stuck_on=0.01, stuck_off=0.02, offset_sigma=0.5, gain_sigma=0.05)
    chosen = dataclasses.replace(chosen, adc_sigma=0.3, read_sigma=0.01)
    before = program(WIDE, 1000)
    for seed in (None, 9):
        after = effects.apply(before, chosen, seed=seed)
        report = effects.describe(before, after, chosen, seed=seed)
        assert report == json.loads(json.dumps(report))
        assert report["on"] == ["stuck_on", "stuck_off", "read", "adc", "offset", "gain"]
        assert report["given"]["seed"] == (5 if seed is None else seed)
        assert report["given"]["stuck_off"] == 0.02 and report["given"]["programming"] == "none"
        assert list(report["arrays"]) == ["layers.0", "head"]
        codes = devices(after)
        on, off = int((codes == FULL).sum()), int((codes == 0).sum())
        change = on * (FULL - 1000) ** 2 + off * 1000**2
        assert report["arrays"]["layers.0"] == {
            "read_noise_charge": [int(after.layers[0].read_noise) / 16],
            "adc_noise_lsb": 77 / 256,
            "offset_lsb": [[int(v) / 256 for v in after.layers[0].offset[0]]],
            "gain_error": [[int(v) / 1024 for v in after.layers[0].gain_error[0]]],
            "stuck_on": on,
            "stuck_off": off,
            "conductance_rms_change": pytest.approx((change / codes.numel()) ** 0.5 / FULL),
        }


def test_describe_takes_a_program_in_training():
    before = program(small(), dtype=torch.float64)
    after = effects.apply(before, Effects(programming="pcm"))
    arrays = effects.describe(before, after, Effects(programming="pcm"))["arrays"]
    assert 0.01 < arrays["layers.0"]["conductance_rms_change"] < 0.05
    assert (arrays["head"]["read_noise_charge"], arrays["head"]["stuck_on"]) == ([0], 0)


def test_a_read_noise_that_rounds_to_nothing_is_named():
    with pytest.raises(WordlineError, match=r"read_sigma = 1e-09 makes .* less than 1/16 of"):
        effects.apply(program(LANES, 0), Effects(read_sigma=1e-9))


def test_a_recipe_s_table_that_there_is_not_is_named(tmp_path):
    path = tmp_path / "chip.toml"
    path.write_text(presets.load("vowels").to_toml().replace("[effects]", "[efects]"))
    with pytest.raises(WordlineError, match=r"chip.toml: efects is not a field; .*effects"):
        presets.load(str(path))
