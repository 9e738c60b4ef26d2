"""Level tables: the least error there is, levels far enough apart, tables in programs."""

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gen.rtl import image
from golden import crossbar, datasets, levels, presets
from golden.crossbar import nearest_level
from golden.datasets import Sequences
from golden.errors import WordlineError
from golden.float_network import FloatModel, FloatNetwork
from golden.levels import METHODS, Levels, place, spacing
from golden.program import Program
from golden.training import quantised
from golden.training.run import train
from golden.validation import build
from hw.levels import LevelTable
from hw.loadmap import LoadMap
from hw.macro.interface import cell_place, tile_place
from hw.network import Accelerator
from tests.helpers import (
    FEW_ENTRIES,
    covering,
    descriptions,
    examples,
    first_difference,
    random_codes,
    random_program,
    receiver,
    run_chip,
    sender,
    simulate,
    small,
    waits,
)


def error_of(table, codes, counted):
    """Mean squared error of weights in codes that go to the nearest level, by golden's own rule."""
    table = torch.tensor(table, dtype=torch.float64)
    square = (nearest_level(codes.double(), table) - codes) ** 2
    return float((counted * square).sum() / counted.sum())


def weights_of(seed, size=60):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(size, generator=generator, dtype=torch.float64)
    return weights, torch.rand(size, generator=generator, dtype=torch.float64)


@examples(20)
@given(
    seed=st.integers(0, 2**31), method=st.sampled_from(["lloyd-max", "k-means"]),
    count=st.integers(2, 4), symmetric=st.booleans(), separation=st.sampled_from([0.0, 4.0, 8.0]),
)  # fmt: skip
def test_no_table_has_a_smaller_error(seed, method, count, symmetric, separation):
    """Against every table there is, of a device of few codes."""
    most = 6
    weights, importance = weights_of(seed)
    counted = torch.ones_like(weights) if method == "lloyd-max" else importance
    how = Levels(method=method, symmetric=symmetric, separation=separation, noise="pcm")
    found = place(weights, importance, how, count, most)
    apart = spacing(how, torch.arange(-most, most + 1))

    def allowed(table):
        mirrored = tuple(-code for code in reversed(table))
        return (
            most in map(abs, table)
            and (not symmetric or table == mirrored)
            and all(b - a >= apart[a + most, b + most] for a, b in itertools.pairwise(table))
        )

    assert allowed(found.levels)
    codes = weights * most / found.clip
    scale = (found.clip / most) ** 2
    assert found.error == pytest.approx(error_of(found.levels, codes, counted) * scale)
    best = min(
        error_of(table, weights * most / clip, counted) * (clip / most) ** 2
        for size in range(2, count + 1)
        for table in itertools.combinations(range(-most, most + 1), size)
        if allowed(table)
        for clip in levels.CLIPS
    )
    assert found.error == pytest.approx(best)


SQUARES = {"pcm": (25.0, (0.26348, 1.9650, -1.1731)), "reram": (40.0, (0.348, 16.03, -43.853, 45.393, -16.815))}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("method", "symmetric"),
    [
        *zip(METHODS, (False, True, False, True), strict=True),
        *(
            pytest.param(*two, marks=pytest.mark.slow)
            for two in zip(METHODS, (True, False, True, False), strict=True)
        ),
    ],
)
def test_levels_may_be_close(method, symmetric):
    how = Levels(method=method, symmetric=symmetric)
    found = place(*weights_of(7, 4000), how, 16, 255).levels
    apart = [b - a for a, b in itertools.pairwise(found)]
    assert len(found) in (15, 16)
    assert max(apart) - min(apart) <= 1 if method == "uniform" else min(apart) < 25


@pytest.mark.parametrize(
    ("method", "symmetric", "noise", "count"),
    covering(METHODS, [False, True], [("pcm", 2.0), ("reram", 3.0), (0.02, 4.0)], [3, 16]),
)
def test_levels_keep_apart(method, symmetric, noise, count):
    """By the device models' published polynomials, written out again."""
    noise, separation = noise

    def square(code):
        if isinstance(noise, float):
            return noise**2
        most, coefficients = SQUARES[noise]
        return (sum(c * (abs(code) / 255) ** n for n, c in enumerate(coefficients)) / most) ** 2

    weights, importance = weights_of(7, 4000)
    how = Levels(method=method, symmetric=symmetric, separation=separation, noise=noise)
    found = place(weights, importance, how, count, 255).levels
    assert 2 <= len(found) <= count and max(map(abs, found)) == 255
    assert not symmetric or list(found) == [-code for code in reversed(found)]
    for a, b in itertools.pairwise(found):
        mean = (square(a) + square(b)) / 2 + square(0)  # of pairs, one device of which is at 0
        assert b - a >= separation * 255 * mean**0.5


@pytest.mark.parametrize(
    ("count", "outer", "error"),
    [
        (4, 1.510, 0.1175),
        pytest.param(8, 2.152, 0.03454, marks=pytest.mark.slow),
        pytest.param(16, 2.733, 0.009497, marks=pytest.mark.slow),
    ],
)
def test_lloyd_max_of_a_normal_distribution(count, outer, error):
    """J. Max, "Quantizing for minimum distortion" (IRE Transactions IT-6, 1960), table I."""
    weights = torch.special.ndtri((torch.arange(100_000).double() + 0.5) / 100_000)
    how = Levels(method="lloyd-max", symmetric=True)
    found = place(weights, weights, how, count, 4095)
    assert set(found.levels) <= set(levels.candidates(4095).tolist())
    assert found.clip == pytest.approx(outer, abs=0.25)
    assert found.error == pytest.approx(error, rel=0.02)
    assert len(found.levels) == count


def test_equally_spaced_levels_of_a_normal_distribution():
    """J. Max, table II: the best spacing, and its error."""
    weights = torch.special.ndtri((torch.arange(100_000).double() + 0.5) / 100_000)
    for count, step, error in ((4, 0.9957, 0.1188), (8, 0.5860, 0.03744), (16, 0.3352, 0.01154)):
        found = place(weights, weights, Levels(method="uniform"), count, 4095)
        assert found.clip == pytest.approx(step * (count - 1) / 2, abs=0.25)
        assert found.error == pytest.approx(error, rel=0.03)
        assert len(found.levels) == count
    # Where more weights are above 0, so is one level more.
    for sign in (1, -1):
        found = place(weights + sign / 2, weights, Levels(method="uniform"), 8, 252)
        assert found.levels == tuple(sorted(sign * 63 * n for n in range(-3, 5)))
        how = Levels(method="uniform", symmetric=True)
        even = place(weights + sign / 2, weights, how, 8, 252)
        assert even.levels == tuple(36 * n for n in range(-7, 8, 2)) and even.error > found.error
    # Levels without one at 0 are worth less than fewer, of weights that are often 0.
    often = torch.where(torch.arange(100_000) % 4 == 0, weights, 0.0)
    even, found = (
        place(often, weights, Levels(method="uniform", symmetric=symmetric), 4, 255)
        for symmetric in (True, False)
    )
    assert even.levels == (-255, 0, 255)
    assert found.levels == (-255, -128, 0, 128) and found.error < even.error


def test_levels_go_where_weights_are_important():
    weights, _ = weights_of(3, 5000)
    importance = torch.where(weights > 0, 1.0, 0.01)
    for method in ("k-means", "pruning"):
        found = place(weights, importance, Levels(method=method), 8, 255).levels
        assert sum(code > 0 for code in found) >= 6
    even = place(weights, importance, Levels(method="lloyd-max"), 8, 255).levels
    assert sum(code > 0 for code in even) in (3, 4, 5)
    # Where nothing is important, everything is, as much.
    nothing = place(weights, 0 * importance, Levels(method="k-means"), 8, 255)
    assert nothing.levels == even


@pytest.mark.parametrize("symmetric", [False, True])
def test_pruning_leaves_some_of_equally_spaced_points(symmetric):
    weights, importance = weights_of(5, 500)
    for count in (2, 3, 4, 7):
        how = Levels(method="pruning", symmetric=symmetric)
        found = place(weights, importance, how, count, 96)
        points = levels.POINTS * count - (symmetric and levels.POINTS * count % 2 == 0)
        steps = {(96 + code) * (points - 1) / 192 for code in found.levels}
        assert all(abs(step - round(step)) < (points - 1) / 192 for step in steps)
        assert {-96, 96} <= set(found.levels)
        assert len(found.levels) == count or (symmetric and len(found.levels) == count - 1)


def test_levels_that_cannot_be_are_named():
    weights, importance = weights_of(0)
    how = Levels(separation=100.0, noise=0.5)
    with pytest.raises(WordlineError, match=r"separation = 100.0 leaves no room for two levels"):
        place(weights, importance, how, 4, 255)
    with pytest.raises(WordlineError, match=r"levels.separation = 2.0 counts .*noise = 0.0; set"):
        build(Levels, {"separation": 2.0}, "x")
    with pytest.raises(WordlineError, match=r"method = 'k-medoids' is not known; write"):
        build(Levels, {"method": "k-medoids"}, "x")


RECIPE = """
name = "small"
network = {inputs = 12, hidden = [8], classes = 9}
device = {weight_bits = 3, levels = "trained"}
training = {float_epochs = 2, epochs = 1}
"""


def recipe(tmp_path, more):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE + more)
    return presets.load(str(path))


def test_recipes_say_how_levels_are_found(tmp_path):
    found = recipe(tmp_path, 'levels = {method = "pruning", separation = 2.0, noise = "pcm"}')
    assert found.levels == Levels(method="pruning", separation=2.0, noise="pcm")
    again = tmp_path / "again.toml"
    again.write_text(found.to_toml())
    assert presets.load(str(again)) == found
    with pytest.raises(WordlineError, match=r"levels.count = 1 is below 2"):
        recipe(tmp_path, "levels = {count = 1}")
    given = (tmp_path / "recipe.toml").read_text().replace('"trained"', '"uniform"')
    with pytest.raises(WordlineError, match=r"\[levels\] has no effect with device.levels = 'unif"):
        (tmp_path / "given.toml").write_text(given.replace("count = 1", "count = 4"))
        presets.load(str(tmp_path / "given.toml"))
    many = recipe(tmp_path, "levels = {count = 9}")
    data = datasets.load("vowels")
    with pytest.raises(WordlineError, match=r"count = 9 is above the 8 levels that .*weight_bits"):
        train(many.description, many.training, data, levels=many.levels)


def test_each_array_is_trained_with_a_table_of_its_own(tmp_path):
    found = recipe(tmp_path, 'levels = {separation = 1.5, noise = "pcm"}')
    data = datasets.load("vowels")
    given = (found.description, found.training, data)
    program = train(*given, levels=found.levels).program
    tables = [program.layers[0].levels, program.head.levels]
    assert not torch.equal(*tables)
    apart = spacing(found.levels, torch.arange(-255, 256))
    for array, table in zip((program.layers[0], program.head), tables, strict=True):
        codes = array.positive - array.negative
        assert set(codes.unique().tolist()) <= set(table.tolist())
        assert len(codes.unique()) > 4  # the table is used
        for a, b in itertools.pairwise(sorted(set(table.tolist()))):
            assert b - a >= apart[a + 255, b + 255]
    program.save(tmp_path / "p.safetensors")
    loaded = Program.load(tmp_path / "p.safetensors")
    assert torch.equal(loaded.head.levels, tables[1])
    other = train(*given, levels=Levels(method="lloyd-max")).program
    assert not torch.equal(other.layers[0].levels, tables[0])
    falling = dataclasses.replace(program.head, levels=tables[1].flip(0))
    dataclasses.replace(program, head=falling).save(tmp_path / "q.safetensors")
    with pytest.raises(WordlineError, match=r"head.levels holds .* which do not ascend"):
        Program.load(tmp_path / "q.safetensors")


def test_importance_is_known_from_so_many_steps(monkeypatch):
    """Long sequences: fewer of them."""
    model = FloatModel(FloatNetwork(small()), torch.zeros(3), torch.ones(3))
    seen = []
    monkeypatch.setattr(
        quantised, "batch_loss", lambda s, d: (seen.append(len(d)), s.square().mean())[1]
    )
    data = Sequences(torch.randn(50, 20, 3), torch.full((50,), 20), torch.zeros(50).long())
    for most, sequences in ((100, 5), (10, 1), (2000, 50)):
        monkeypatch.setattr(quantised, "IMPORTANCE_STEPS", most)
        seen.clear()
        quantised._importance(model, data)
        assert seen == [1] * sequences


def test_importance_is_the_mean_square_of_single_gradients(monkeypatch):
    """Against one backward pass a sequence, with PyTorch's own gradients."""
    monkeypatch.setattr(quantised, "IMPORTANCE", 5)
    data = datasets.load("vowels").train
    data = Sequences(data.x[::30], data.lengths[::30], data.labels[::30])
    description = presets.PRESETS["vowels"].description.replace(network={"hidden": [3, 2]})
    torch.manual_seed(0)
    reference = FloatNetwork(description)
    model = FloatModel(reference, torch.zeros(12), torch.ones(12))
    found = quantised._importance(model, data)
    wanted = [torch.zeros_like(part) for part in found]
    for n in range(0, 9, 2):
        reference.zero_grad()
        scores = reference(data.x[n : n + 1], data.lengths[n : n + 1])
        torch.nn.functional.cross_entropy(scores, data.labels[n : n + 1]).backward()
        for part, layer in zip(wanted, reference.layers, strict=False):
            part += torch.cat([layer.weight_ih_l0.grad, layer.weight_hh_l0.grad], 1) ** 2 / 5
        wanted[-1] += reference.head.weight.grad**2 / 5
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-12)


# In hardware


def cell_of(shape, n, **more):
    """The n-th cell's place."""
    macro = shape.macro
    lane, select, row = n % macro.lanes, n // macro.lanes % macro.selects, n % macro.rows
    row_tile, column_tile = n // 2 % len(shape.row_tiles), n % shape.column_tiles
    own = tile_place(shape, row_tile=row_tile, column_tile=column_tile)
    return {"lane": lane, "select": select, "row": row, **own, **more}


@examples(20)
@given(descriptions(), st.integers(0, 99), st.booleans())
def test_cells_are_programmed_by_level_or_by_codes(description, seed, stall):
    """Every level there is, then codes, then levels again, of a table written before."""
    shape, device = description.layers[0], description.device
    part = random_program(description, seed).layers[0]
    dut = LevelTable(shape)
    positive, negative = (side.tolist() for side in crossbar.pair(part.levels))
    entries = [p | n << device.conductance_bits for p, n in zip(positive, negative, strict=True)]
    numbers = [*range(len(entries))][:32]
    by_level = [cell_of(shape, n, level=n) for n in numbers]
    codes = part.positive.flatten()[:9].tolist(), part.negative.flatten()[:9].tolist()
    by_code = [
        cell_of(shape, n, positive=p, negative=q)
        for n, (p, q) in enumerate(zip(*codes, strict=True))
    ]
    wanted = [cell_of(shape, n, positive=positive[n], negative=negative[n]) for n in numbers]
    wanted = wanted + by_code + wanted
    out, waits_ = [], waits(seed if stall else None)

    async def host(ctx):
        for address, entry in enumerate(entries):
            ctx.set(dut.levels.address, address)
            ctx.set(dut.levels.data, entry)
            ctx.set(dut.levels.enable, 1)
            await ctx.tick()
        ctx.set(dut.levels.enable, 0)
        for port, cells in (
            (dut.cell_levels, by_level), (dut.cells, by_code), (dut.cell_levels, by_level)
        ):  # fmt: skip
            await sender(port, cells, waits_)(ctx)

    simulate(dut, host, receiver(dut.o, len(wanted), out, waits_))
    names = [*cell_place(shape), "positive", "negative"]
    assert [{name: int(cell[name]) for name in names} for cell in out] == wanted


def written(words, description):
    """Names of the regions that words go to."""
    regions = LoadMap(description).regions.values()
    return {r.name for r in regions for a, _ in words if r.holds(a)}


@pytest.mark.parametrize("stall", [pytest.param(None, marks=pytest.mark.slow), 3])
def test_a_chip_programmed_by_levels_computes_what_golden_does(stall):
    description = small(device={"weight_bits": 3, "levels": "trained"}, cell=FEW_ENTRIES)
    program = random_program(description, 4, on_levels=True)
    words = image.words(program)
    names = written(words, description)
    assert {"layers.0.cell_levels", "head.cell_levels", "head.levels"} <= names
    assert not {"layers.0.cells", "head.cells"} & names
    lengths = [2, 1, 3]
    x = random_codes(description, 4, 3, 3, description.network.inputs)
    run = run_chip(Accelerator(description), words, x, lengths, stall)
    assert first_difference(run, program, x, lengths) == ""
    # A planted fault: an entry of the table that cells have.
    region = LoadMap(description).regions["layers.0.levels"]
    number = int(image.level_numbers(program.layers[0]).flatten()[0])
    wrong = [(a, d ^ (a == region.address(level=number)) << 6) for a, d in words]
    run = run_chip(Accelerator(description), wrong, x, lengths, stall)
    assert first_difference(run, program, x, lengths)


def test_what_a_device_missed_is_written_by_its_codes():
    description = small(device={"weight_bits": 3})
    program = random_program(description, 5, on_levels=True)
    off = program.head.positive.clone()
    off[0, 1, 0] += 1 if off[0, 1, 0] < 255 else -1
    missed = dataclasses.replace(program, head=dataclasses.replace(program.head, positive=off))
    names = written(image.words(missed), description)
    assert {"layers.0.cell_levels", "head.cells"} <= names
    assert "head.cell_levels" not in names
    # On the table, but as two devices that both conduct: a level is one of them at 0.
    both = dataclasses.replace(
        program.head, positive=program.head.positive + 1, negative=program.head.negative + 1
    )
    assert image.level_numbers(both) is None
    assert image.level_numbers(program.head) is not None


@pytest.mark.parametrize(("port", "cycles"), [("cells", 1), ("cell_levels", 2)])
def test_cells_wait_for_nothing(port, cycles):
    """As many cycles as the docstring says, where the macro is ready in each."""
    shape = small().layers[0]
    dut = LevelTable(shape)
    stream, took = getattr(dut, port), []

    async def host(ctx):
        ctx.set(dut.o.ready, 1)
        for n in range(10):
            ctx.set(stream.payload, cell_of(shape, n))
            ctx.set(stream.valid, 1)
            took.append(1)
            while not ctx.get(stream.ready):
                assert not ctx.get(dut.o.valid)
                await ctx.tick()
                took[-1] += 1
            assert ctx.get(dut.o.valid)
            await ctx.tick()

    simulate(dut, host)
    assert took == [cycles] * 10
