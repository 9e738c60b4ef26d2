import dataclasses
import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from golden import adc, network, noise, tables
from golden import draws as golden_draws
from golden.description import Description
from golden.program import HeadProgram, LayerProgram, Program, ideal_macro, padded

SIGMAS = 5
"""How far a statistic may be from what is expected, in its own standard deviations."""

WORD = 2**32
RUN0, RUN1 = 0x9E3779B1, 0x27D4EB2F
STEP0, STEP1 = 0x85EBCA77, 0x165667B1
COLUMN = 0xC2B2AE3D
MIX0, MIX1 = 0x7FEB352D, 0x846CA68B


def word(key, run, step, column):
    """The generator as the contract has it, in whole numbers."""
    a = (key[0] + run * RUN0 + step * STEP0 + column * COLUMN) % WORD
    b = (key[1] + run * RUN1 + step * STEP1) % WORD
    h = a ^ a >> 16
    h = (h * MIX0 + b) % WORD
    h ^= h >> 15
    h = h * MIX1 % WORD
    return h ^ h >> 16


def entry(byte):
    """T: bit 7 is the sign."""
    magnitude = noise.magnitudes()[byte & 127]
    return magnitude if byte < 128 else -magnitude


def draws(key, run, step, column):
    """(read, adc) of one conversion."""
    h = word(key, run, step, column)
    return (
        entry(h & 255) + entry(h >> 8 & 255),
        entry(h >> 16 & 255) + entry(h >> 24),
    )


RUNS, STEPS, COLUMNS = 2048, 8, 128
SHAPE = (RUNS, STEPS, COLUMNS)
N = RUNS * STEPS * COLUMNS  # 2,097,152 conversions


def field(key, first_run=0):
    """Both draws over (runs, steps, columns), float64."""
    words, columns = torch.tensor(key), torch.arange(COLUMNS)
    runs = torch.arange(first_run, first_run + RUNS)
    steps = [golden_draws.draw(words, runs, t, columns) for t in range(STEPS)]
    return {
        name: torch.stack([getattr(s, name) for s in steps], 1).double() for name in ("read", "adc")
    }


KEY = noise.key(2026, 0)


@pytest.fixture(scope="module")
def drawn():
    return field(KEY)


def words_of_field():
    """The words of `field(KEY)`, by arrays that wrap at 32 bits."""
    run, step, column = np.meshgrid(*(np.arange(n, dtype=np.uint32) for n in SHAPE), indexing="ij")
    u = np.uint32
    a = u(KEY[0]) + run * u(RUN0) + step * u(STEP0) + column * u(COLUMN)
    h = (a ^ a >> u(16)) * u(MIX0) + (u(KEY[1]) + run * u(RUN1) + step * u(STEP1))
    h = (h ^ h >> u(15)) * u(MIX1)
    return h ^ h >> u(16)


# The generator


BIG = (0, 1, 2, 1000, 2**31 - 1, 2**31, WORD - 1, WORD, 2**40 + 3)


@pytest.mark.parametrize(
    "key", [(0, 0), (1, 0), (0, 1), KEY, (2**31, 2**31 - 1), (WORD - 1, WORD - 1)]
)
def test_draws_are_those_of_the_contract(key):
    columns = torch.tensor([[0, 1, 2, 3], [127, 128, 4095, 16383]])
    for step in (0, 1, 7, 65535):
        got = golden_draws.draw(torch.tensor(key), torch.tensor(BIG), step, columns)
        for n, run in enumerate(BIG):
            wanted = [draws(key, run, step, c) for c in columns.flatten().tolist()]
            both = torch.stack([got.read[n].flatten(), got.adc[n].flatten()], 1)
            assert both.tolist() == [list(pair) for pair in wanted]


def test_every_word_of_a_field(drawn):
    h = words_of_field()
    table = np.array([entry(byte) for byte in range(256)])
    assert (table[h & 255] + table[h >> 8 & 255] == drawn["read"].numpy()).all()
    assert (table[h >> 16 & 255] + table[h >> 24] == drawn["adc"].numpy()).all()


def test_keys_are_fixed():
    assert noise.key(0, 0) == (0x8A3672AC, 0xC1186A58)  # SHA-256 of "0:0"
    keys = {noise.key(seed, array) for seed in range(100) for array in range(9)}
    assert len({word for key in keys for word in key}) == 2 * 900


def test_a_draw_depends_on_its_place_alone():
    runs = torch.tensor([5, 900, 2**31, 17])
    columns = torch.arange(6).reshape(2, 3)
    words = torch.tensor(KEY)
    whole = golden_draws.draw(words, runs, 3, columns)
    assert whole.read.shape == whole.adc.shape == (4, 2, 3)
    for n in range(4):
        alone = golden_draws.draw(words, runs[n : n + 1], 3, columns)
        assert torch.equal(alone.read[0], whole.read[n])
        assert torch.equal(alone.adc[0], whole.adc[n])
    cell = golden_draws.draw(words, runs, 3, columns[1, 2])
    assert torch.equal(cell.read, whole.read[:, 1, 2])


# The distribution


def test_magnitudes_are_root_mean_squares_of_equal_parts():
    """Against a sum over the normal density."""
    edges = [NormalDist().inv_cdf(0.5 + n / 256) for n in range(128)] + [12.0]
    for n, magnitude in enumerate(noise.magnitudes()):
        low, high = edges[n], edges[n + 1]
        x = low + (torch.arange(20_000, dtype=torch.float64) + 0.5) * (high - low) / 20_000
        density = (-x * x / 2).exp() / math.sqrt(2 * math.pi) * (high - low) / 20_000
        rms = math.sqrt(256 * float((x * x * density).sum()))
        assert magnitude == math.floor(rms * 64 / math.sqrt(2) + 0.5)


def exact():
    """All 65,536 equally likely sums of two entries."""
    table = torch.tensor([entry(byte) for byte in range(256)], dtype=torch.float64)
    return (table[:, None] + table).flatten()


def kurtosis(x):
    """Excess over a normal distribution's; the mean is 0."""
    return float((x**4).mean() / (x**2).mean() ** 2 - 3)


def test_the_exact_distribution_is_nearly_normal():
    x = exact()
    assert x.mean() == 0
    assert abs(x.square().mean() / noise.UNIT**2 - 1) < 0.001
    assert -0.015 < kurtosis(x) < -0.012
    assert x.abs().max() / noise.UNIT == pytest.approx(4.2, abs=0.05)
    # Tails are lighter than a normal distribution's, the more the farther out.
    for t, least, most in ((1, 0.98, 1), (2, 0.98, 1), (3, 0.92, 0.94), (3.5, 0.77, 0.8)):
        ratio = float((x.abs() > t * 64).double().mean()) / (2 - 2 * NormalDist().cdf(t))
        assert least < ratio < most


@pytest.mark.parametrize("name", ["read", "adc"])
def test_draws_have_the_exact_distribution(drawn, name):
    x, wanted = drawn[name], exact()
    sigma = float(wanted.square().mean().sqrt())
    assert abs(x.mean()) < SIGMAS * sigma / N**0.5
    spread = (kurtosis(wanted) + 2) ** 0.5  # of a square, in variances
    assert abs(x.square().mean() / sigma**2 - 1) < SIGMAS * spread / N**0.5
    assert abs(kurtosis(x) - kurtosis(wanted)) < SIGMAS * (24 / N) ** 0.5
    for t in (1, 2, 3, 3.5, 4):
        p = float((wanted.abs() > t * 64).double().mean())
        hits = int((x.abs() > t * 64).sum())
        assert abs(hits - N * p) < SIGMAS * (N * p * (1 - p)) ** 0.5
    assert abs(int((x > 0).sum()) - int((x < 0).sum())) < SIGMAS * N**0.5


def expect_flat(counts):
    """A chi-square sum near its expectation, the degrees of freedom; neither bad nor too good."""
    expected = counts.sum() / counts.size
    chi = float(((counts - expected) ** 2).sum() / expected)
    freedom = counts.size - 1
    assert abs(chi - freedom) < SIGMAS * (2 * freedom) ** 0.5


def test_words_are_spread_evenly():
    h = words_of_field().flatten()
    for half in (h & 0xFFFF, h >> 16):
        expect_flat(np.bincount(half, minlength=65536))
    expect_flat(np.bincount(h >> 8 & 0xFFFF, minlength=65536))
    for bit in range(32):
        ones = int((h >> np.uint32(bit) & np.uint32(1)).sum())
        assert abs(ones - N / 2) < SIGMAS * N**0.5 / 2


# Independence


def expect_uncorrelated(x, y, where):
    """Of the draws themselves, and of how large they are."""
    x, y = x.flatten(), y.flatten()
    for one, other in ((x, y), (x.abs(), y.abs())):
        one, other = one - one.mean(), other - other.mean()
        r = float(one @ other / (one.norm() * other.norm()))
        assert abs(r) < SIGMAS / len(x) ** 0.5, f"{where}: {r}"


STRAIGHT = [tuple(lag * (axis == n) for n in range(3)) for axis in range(3) for lag in range(1, 9)]
DIAGONAL = [(1, 1, 0), (1, -1, 0), (1, 0, 1), (1, 0, -1), (0, 1, 1), (0, 1, -1), (1, 1, 1)]
LAGS = [lag for lag in STRAIGHT if lag[1] < STEPS] + DIAGONAL


def shifted(x, lag):
    """x and itself `lag` (runs, steps, columns) further on, where both exist."""
    here = tuple(slice(max(0, -n), size - max(0, n)) for n, size in zip(lag, SHAPE, strict=True))
    there = tuple(slice(max(0, n), size - max(0, -n)) for n, size in zip(lag, SHAPE, strict=True))
    return x[here], x[there]


@pytest.mark.parametrize("lag", LAGS, ids=str)
def test_neighbours_are_independent(drawn, lag):
    for name, other in (("read", "read"), ("adc", "adc"), ("read", "adc")):
        here, _ = shifted(drawn[name], lag)
        _, there = shifted(drawn[other], lag)
        expect_uncorrelated(here, there, f"{name}, {other}")


def test_the_two_draws_are_independent(drawn):
    expect_uncorrelated(drawn["read"], drawn["adc"], "same place")


@pytest.mark.parametrize("key", [(2026, 1), (2026, 2), (2027, 0), (2027, 1)])
def test_arrays_and_seeds_are_independent(drawn, key):
    other = field(noise.key(*key))
    for name in ("read", "adc"):
        expect_uncorrelated(drawn[name], other[name], name)


# In a network


def program(read_noise=0, adc_noise=0, seed=0, **sections) -> Program:
    """Two small layers and a head of random codes, with keys and amplitudes."""
    description = Description.from_dict(
        {"name": "small", "network": {"inputs": 3, "hidden": [5, 4], "classes": 4}}
    ).replace(**sections)
    generator = torch.Generator().manual_seed(seed)

    def array(n, shape):
        cells = (shape.gates, shape.units, shape.rows)
        macro = {"key": torch.tensor(noise.key(seed, n)).view(1, 1, 2)}
        macro |= {"read_noise": torch.tensor([read_noise]), "adc_noise": torch.tensor(adc_noise)}
        return {
            **ideal_macro(shape),
            **macro,
            "positive": torch.randint(0, 256, cells, generator=generator),
            "negative": torch.randint(0, 256, cells, generator=generator),
            "levels": padded(description.device.level_table, description.device),
            "gain": torch.full((1, shape.gates), 250),
        }

    step = torch.full((4,), 8.0 / 2 ** description.layers[0].index_bits, dtype=torch.float64)
    layers = tuple(
        LayerProgram(
            **array(n, shape),
            bias=torch.randint(-30, 30, (shape.gates, shape.units), generator=generator),
            gate_tables=tables.gate_tables(step, shape).long(),
            tables={name: t.long() for name, t in tables.cell_tables(description).items()},
        )
        for n, shape in enumerate(description.layers)
    )
    classes = description.network.classes
    bias = torch.randint(-30, 30, (classes,), generator=generator)
    head = HeadProgram(**array(len(layers), description.head), bias=bias)
    channels = torch.ones(description.network.inputs, dtype=torch.float64)
    real = torch.ones(2, description.outputs, dtype=torch.float64)
    return Program(description, layers, head, 0 * channels, channels, *real)


def sequences(count, steps=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-7, 8, (count, steps, 3), generator=generator)
    return x, torch.randint(1, steps + 1, (count,), generator=generator)


def expect_rows(trace, whole, rows, lengths):
    """Everything of `trace` is that of the named sequences in `whole`, up to their lengths."""
    assert torch.equal(trace.scores, whole.scores[rows])
    assert torch.equal(trace.label, whole.label[rows])
    for layer, wanted in zip(trace.layers, whole.layers, strict=True):
        for name, values in layer.quantities().items():
            for n, row in enumerate(rows.tolist()):
                length = int(lengths[row])
                assert torch.equal(values[n, :length], wanted.quantities()[name][row, :length])


def test_a_sequence_is_the_same_alone_and_in_any_batch():
    noisy = program(read_noise=3000, adc_noise=128)
    x, lengths = sequences(12)
    whole = network.run(noisy, x, lengths)
    orders = (
        torch.randperm(12, generator=torch.Generator().manual_seed(1)),
        torch.tensor([7, 2, 11]),
        *torch.arange(12).split(1),
    )
    for rows in orders:
        expect_rows(network.run(noisy, x[rows], lengths[rows], rows), whole, rows, lengths)
    # It is the noise that the numbers choose.
    moved = network.run(noisy, x, lengths, torch.arange(12) + 1)
    assert not torch.equal(moved.scores, whole.scores)


def test_the_same_sequence_has_other_noise_at_each_number_and_step():
    noisy = program(read_noise=3000)
    x, lengths = torch.zeros(50, 6, 3, dtype=torch.int64), torch.full((50,), 6)
    codes = network.run(noisy, x, lengths).layers[0].codes
    assert len(codes[:, 0].flatten(1).unique(dim=0)) == 50
    assert len(codes[0].flatten(1).unique(dim=0)) == 6


def test_the_numbers_of_runs_may_be_huge():
    noisy = program(read_noise=3000, adc_noise=128)
    x, lengths = sequences(3)
    last = torch.tensor([WORD - 1, WORD - 3, 5])
    again = network.run(noisy, x, lengths, last + 7 * WORD)
    assert torch.equal(network.run(noisy, x, lengths, last).scores, again.scores)


def test_floats_have_the_noise_of_integers():
    noisy = program(read_noise=3000, adc_noise=128)
    x, lengths = sequences(12)
    floats = network.run(noisy.to(torch.float64), x.double(), lengths)
    assert torch.equal(floats.scores, network.run(noisy, x, lengths).scores.double())


def test_columns_are_numbered_by_unit_then_gate():
    noisy = program(adc_noise=1)
    layer, shape = noisy.layers[0], noisy.description.layers[0]
    got = adc.draw(layer, shape, torch.tensor([3, 9]), 5)
    assert got.read.shape == got.adc.shape == (2, 1, 4, 5)
    for n, run in enumerate((3, 9)):
        for unit in range(5):
            for gate in range(4):
                wanted = draws(layer.key[0, 0].tolist(), run, 5, 4 * unit + gate)
                assert (int(got.read[n, 0, gate, unit]), int(got.adc[n, 0, gate, unit])) == wanted


def test_passes_of_a_vote_have_noise_of_their_own():
    voting = {"replay_steps": 6, "max_votes": 8}
    noisy = program(read_noise=3000, adc_noise=128, voting=voting)
    x, lengths = sequences(4)
    votes = network.run(dataclasses.replace(noisy, votes=5), x, lengths)
    for n in range(4):
        for k in range(5):
            one = network.run(noisy, x[n : n + 1], lengths[n : n + 1], torch.tensor([5 * n + k]))
            assert torch.equal(one.scores[0], votes.scores[5 * n + k])


def test_no_amplitude_is_no_noise():
    quiet = program()
    assert quiet.head.key.any()
    x, lengths = sequences(12)
    bare = {"key": torch.zeros(1, 1, 2, dtype=torch.int64)}
    ideal = dataclasses.replace(
        quiet,
        layers=tuple(dataclasses.replace(layer, **bare) for layer in quiet.layers),
        head=dataclasses.replace(quiet.head, **bare),
    )
    for numbers in (None, torch.arange(12) + 99):
        trace = network.run(quiet, x, lengths, numbers)
        expect_rows(trace, network.run(ideal, x, lengths), torch.arange(12), lengths)
    # And where draws are made for the other noise.
    shape = quiet.description.head
    charge = torch.arange(-6000, 6000).reshape(-1, 1, 1, 4)
    big = torch.full_like(charge, 250)
    code = adc.convert(charge, quiet.head, shape, golden_draws.Draws(big, -big))
    assert torch.equal(code, adc.convert(charge, quiet.head, shape))


# Amplitudes


FINE = {"device": {"conductance_bits": 4}, "dac": {"bits": 1}, "adc": {"bits": 10}}
"""Charge is so small that with gain 16 an ADC code is one unit of charge."""


def converted(**registers):
    """Codes of a charge of 3 over many conversions, of the head of a FINE program."""
    noisy = program(**FINE)
    head = dataclasses.replace(noisy.head, gain=torch.tensor([[16]]))
    head = dataclasses.replace(
        head, **{n: torch.full_like(getattr(head, n), v) for n, v in registers.items()}
    )
    shape = noisy.description.head
    assert shape.adc_shift == 4
    runs = torch.arange(100_000)
    charge = torch.full((len(runs), 1, 1, shape.units), 3)
    return adc.convert(charge, head, shape, adc.draw(head, shape, runs, 0)).double()


@pytest.mark.parametrize("name", ["read_noise", "adc_noise"])
@pytest.mark.parametrize("amplitude", [1, 3, 20])
def test_an_amplitude_is_a_deviation(name, amplitude):
    """A read noise of 16 is one unit of charge, an ADC noise of 256 one LSB; here both are one."""
    x = converted(**{name: amplitude * {"read_noise": 16, "adc_noise": 256}[name]})
    wanted = exact() * amplitude / 64
    if name == "adc_noise":
        wanted = (wanted * 16 + 0.5).floor() / 16  # first rounded on the scale of charge times gain
    wanted = (wanted + 0.5).floor()
    sigma = float(wanted.std())
    n = x.numel()
    assert abs(x.mean() - 3 - wanted.mean()) < SIGMAS * sigma / n**0.5
    assert abs(x.std() / sigma - 1) < SIGMAS / (2 * n) ** 0.5
    assert abs(x.std() / math.hypot(amplitude, 12**-0.5) - 1) < 0.01


def test_amplitudes_add_as_independent_noise():
    x = converted(read_noise=16 * 6, adc_noise=256 * 8)
    assert abs(x.std() / 10 - 1) < SIGMAS / (2 * x.numel()) ** 0.5 + 0.002


def test_the_largest_amplitude_is_exact():
    """Against whole numbers, with draws of either sign, where 64 bits have room."""
    noisy = program()
    shape = noisy.description.head
    head = dataclasses.replace(
        noisy.head,
        read_noise=torch.tensor([2**shape.read_noise_bits - 1]),
        adc_noise=torch.tensor(4095),
    )
    runs = torch.arange(200)
    drawn = adc.draw(head, shape, runs, 0)
    codes = adc.convert(torch.full((200, 1, 1, 4), 77), head, shape, drawn)
    shift = shape.adc_shift
    for run in range(200):
        for column in range(4):
            read, own = draws(tuple(head.key[0, 0].tolist()), run, 0, column)
            charge = 77 + (read * int(head.read_noise) + 512 >> 10)
            error = 4095 * own
            error = error << shift - 14 if shift >= 14 else error + (1 << 13 - shift) >> 14 - shift
            code = charge * 250 + error + (1 << shift - 1) >> shift
            assert int(codes[run, 0, 0, column]) == min(7, max(-8, code))
