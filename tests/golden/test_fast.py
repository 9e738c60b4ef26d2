"""The fast path of a layer against the readable one: the same integers, the same gradients."""

import dataclasses
import errno
import shutil
import subprocess
import sys
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from golden import fast, fast_head, files, head, kernel_inputs, layer, native, network, source
from golden import products as products_
from golden.errors import WordlineError
from golden.injection import Injection, Placement
from golden.products import LANES, choose
from golden.program import ideal_macro
from tests.helpers import descriptions, examples, random_codes, random_program, small

GRADIENTS = ("positive", "negative", "gain", "bias", "gate_tables")

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def both(program, x, lengths, runs=None, injection=None):
    """The network on either path, with the same random numbers."""
    traces = []
    for readable in (False, True):
        torch.manual_seed(7)
        traces.append(network.run(program, x, lengths, runs, injection, readable=readable))
    return traces


def expect_equal(quick, plain):
    for a, b in zip(quick.layers, plain.layers, strict=True):
        for name, values in a.quantities().items():
            assert torch.equal(values.long(), b.quantities()[name].long()), name
    assert torch.equal(quick.scores, plain.scores)
    assert quick.label is plain.label or torch.equal(quick.label, plain.label)


def kinds(program, learns=True):
    """The types in which each layer runs."""
    shapes = program.description.layers
    return [
        choose(part, shape, None, learns)
        for part, shape in zip(program.layers, shapes, strict=True)
    ]


PLACEMENTS = get_args(Placement)
INJECTIONS = (
    None,
    *(Injection(snr_db=snr, placement=p) for snr in (20.0, 0.0, -10.0) for p in PLACEMENTS),
)


@examples(60)
@given(
    descriptions(), st.integers(0, 999), st.booleans(), st.sampled_from(INJECTIONS), st.booleans()
)
def test_the_fast_path_is_the_readable_one(description, seed, noisy, injection, in_floats):
    program = random_program(description, seed, noisy=noisy)
    x = random_codes(description, seed, 5, 4, description.network.inputs)
    runs = torch.tensor([seed, 0, 2**32 - 2, 5, 2**31])
    with pytest.MonkeyPatch.context() as patch:
        if in_floats:
            patch.setattr(native, "has_lanes", lambda: False)
        expect_equal(*both(program, x, torch.tensor([4, 1, 2, 3, 4]), runs, injection))


LOUD = {"gate_bits": 11, "state_bits": 18}
"""Fits 32 bits without noise, and not with noise on every vector."""
WIDE = {"gate_bits": 12, "state_bits": 20, "state_index_bits": 12}


@pytest.mark.parametrize(
    ("sections", "types"),
    [
        ({"network": {"inputs": 40, "hidden": [37, 16]}}, [("float32", "i32"), ("float32", "i32")]),
        ({"network": {"inputs": 3, "hidden": [37]}, "cell": WIDE}, [("float32", "i64")]),
        ({"network": {"inputs": 3, "hidden": [37]}, "cell": LOUD}, [("float32", "i32")]),
        ({"network": {"inputs": 60, "hidden": [37]}, "dac": {"bits": 8}}, [("float32", "i64")]),
        (
            {
                "network": {"inputs": 60, "hidden": [37]},
                "dac": {"bits": 8},
                "device": {"weight_bits": 8, "conductance_bits": 12},
                "adc": {"bits": 10, "gain_bits": 12},
            },
            [("float64", "i64")],
        ),
    ],
)
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("injection", [None, INJECTIONS[4], *INJECTIONS[-2:]])
def test_every_type_that_a_layer_may_run_in(sections, types, noisy, injection):
    """Sizes beyond one vector, with a remainder; numbers at the ends of their ranges."""
    description = small(**sections)
    program = random_program(description, 3, noisy=noisy)
    assert kinds(program) == types
    if sections.get("cell") is LOUD and injection and injection.placement == "every":
        loud = injection.draw(1, 1, description.cell, 37)
        found = choose(program.layers[0], description.layers[0], None, True, loud)
        assert found == ("float32", "i64")
    x = random_codes(description, 4, 41, 11, description.network.inputs)
    top = description.dac.range.high
    x[0], x[1] = top, -top
    layers = list(program.layers)
    most = description.device.conductance_max
    # One sequence's charge is as large as any can be.
    layers[0].positive[:, 0], layers[0].negative[:, 0] = most, 0
    layers[0].positive[:, 1], layers[0].negative[:, 1] = 0, most
    program = dataclasses.replace(program, layers=tuple(layers))
    quick, plain = both(program, x, torch.full((41,), 11), injection=injection)
    expect_equal(quick, plain)
    part, shape, runs = program.layers[0], description.layers[0], torch.arange(41)
    torch.manual_seed(7)
    x = injection.on_codes(x, description.dac) if injection else x  # as the network does
    injected = injection and injection.draw(41, 11, description.cell, shape.units)
    arguments = (part, x, shape, runs, injected)
    products = ["float32"] if types[0][0] == "float32" else []
    products += ["float64", *(["bytes"] if tiles(description) else [])]
    loud = injected and choose(part, shape, "float32", False, injected)[1] == "i64"
    products += LANES if lanes(program) and not loud else []
    for way in products:
        for trace in (True, False):
            ran = fast.run(*arguments, products=way, trace=trace)
            assert torch.equal(ran.h.long(), plain.layers[0].h)
            assert (ran.codes is None) == (ran.c is None) == (not trace)
            if trace:
                assert torch.equal(ran.codes.long(), plain.layers[0].codes)
                assert torch.equal(ran.c.long(), plain.layers[0].c)


def tiles(description):
    """Whether bytes can hold the cells, and the CPU can multiply them."""
    return native.has_tiles() and description.device.conductance_bits <= 8


def lanes(program):
    """Whether the first layer's numbers fit the lanes of vectors, and the CPU has them."""
    (shape, *_) = program.description.layers
    in_words = choose(program.layers[0], shape, "float32", False)[1] == "i32"
    return native.has_lanes() and in_words and kernel_inputs.fit_lanes(shape)


@pytest.mark.parametrize("kind", ["lstm", "rnn"])
@pytest.mark.parametrize("batch", [1, 15, 16, 17, 40])
@pytest.mark.parametrize(
    "sections",
    [
        {"network": {"inputs": 3, "hidden": [5]}},
        {"network": {"inputs": 8, "hidden": [16]}, "dac": {"bits": 1}},
        {
            "network": {"inputs": 17, "hidden": [66]},
            "dac": {"bits": 8},
            "adc": {"bits": 6, "gain_bits": 6},
        },
        {"network": {"inputs": 9, "hidden": [7]}, "array": {"rows": 5}},
        {"network": {"inputs": 9, "hidden": [7]}, "dac": {"bits": 4, "kind": "bit-serial"}},
    ],
)
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("way", LANES)
def test_sequences_in_lanes_are_exact(kind, batch, sections, noisy, way):
    """Sizes around whole vectors and blocks, several threads, numbers at the ends of ranges."""
    description = small(cell={"kind": kind}, **sections)
    program = random_program(description, batch, noisy=noisy)
    if not native.has_lanes():
        pytest.skip("the CPU has no AVX2")
    if "avx2" in way and not native.has_vnni():
        pytest.skip("the CPU has no VNNI: its path is that of AVX2")
    assert lanes(program)
    part, shape = program.layers[0], description.layers[0]
    x = random_codes(description, batch, batch, 3, shape.inputs)
    x[0], x[-1] = description.dac.range.high, description.dac.range.low
    most = description.device.conductance_max
    if not way.endswith("pairs"):  # cells on equally spaced levels, which fit bytes
        step = most // 7
        levels = (part.positive - part.negative) % 15 - 7
        part.positive.copy_(step * levels.clamp(min=0))
        part.negative.copy_(step * (-levels).clamp(min=0))
        most = 7 * step
        assert kernel_inputs.byte_parameters(part, shape)["cell_unit"] == step
    part.positive[:, 0], part.negative[:, 0] = most, 0
    part.positive[:, -1], part.negative[:, -1] = 0, most
    runs = torch.arange(batch) + 2**31
    wanted = layer.run(part, x, shape, runs, readable=True)
    torch.set_num_threads(3)
    try:
        ran = fast.run(part, x, shape, runs, products=way)
        quick = fast.run(part, x, shape, runs, products=way, trace=False)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(ran.codes.long(), wanted.codes)
    assert torch.equal(ran.h.long(), wanted.h) and torch.equal(quick.h, ran.h)
    if kind == "lstm":
        assert torch.equal(ran.c.long(), wanted.c)
    for placement in PLACEMENTS:
        injection = Injection(snr_db=-3.0, placement=placement)
        torch.manual_seed(batch)
        injected = injection.draw(batch, 3, description.cell, shape.units)
        torch.manual_seed(batch)
        wanted = layer.run(part, x, shape, runs, injection, readable=True)
        ran = fast.run(part, x, shape, runs, injected, products=way)
        for name, values in wanted.quantities().items():
            assert torch.equal(getattr(ran, name).long(), values), name


@pytest.mark.parametrize("batch", [1, 31, 32, 33, 70])
@pytest.mark.parametrize(("inputs", "units"), [(3, 5), (32, 32), (33, 32), (64, 64), (1, 130)])
@pytest.mark.parametrize("bits", [1, 8])
def test_products_of_bytes_are_exact(batch, inputs, units, bits):
    """Sizes around whole blocks of the matrix unit, codes and cells at the ends of their ranges."""
    description = small(network={"inputs": inputs, "hidden": [units]}, dac={"bits": bits})
    if not tiles(description):
        pytest.skip("the CPU has no matrix unit for bytes")
    part, shape = random_program(description, batch).layers[0], description.layers[0]
    x = random_codes(description, batch, batch, 3, inputs)
    x[0] = description.dac.range.high
    x[-1] = description.dac.range.low
    part.positive[:, 0], part.negative[:, 0] = 255, 0
    part.positive[:, -1], part.negative[:, -1] = 0, 255
    runs = torch.arange(batch)
    wanted = layer.run(part, x, shape, runs, readable=True)
    ran = fast.run(part, x, shape, runs, products="bytes")
    assert torch.equal(ran.codes.long(), wanted.codes)
    assert torch.equal(ran.h.long(), wanted.h)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch", [fast.BLOCK, fast.BLOCK + 1, 3 * fast.BLOCK - 5])
def test_blocks_of_sequences_have_their_own_noise(batch, threads):
    """On the matrix unit: read noise by a block's runs, injected noise, with a trace or not."""
    description = small(network={"inputs": 7, "hidden": [20]})
    if not tiles(description):
        pytest.skip("the CPU has no matrix unit for bytes")
    part, shape = random_program(description, batch, noisy=True).layers[0], description.layers[0]
    x, runs = random_codes(description, batch, batch, 3, 7), torch.arange(batch) + 5
    injection = Injection(snr_db=3.0)
    torch.manual_seed(batch)
    injected = injection.draw(batch, 3, description.cell, shape.units)
    torch.set_num_threads(threads)
    try:
        for noise in (None, injected):
            torch.manual_seed(batch)
            given = None if noise is None else injection
            wanted = layer.run(part, x, shape, runs, given, readable=True)
            ran = fast.run(part, x, shape, runs, noise, products="bytes")
            for name, values in wanted.quantities().items():
                assert torch.equal(getattr(ran, name).long(), values), name
            brief = fast.run(part, x, shape, runs, noise, trace=False, products="bytes")
            assert torch.equal(brief.h.long(), wanted.h)
    finally:
        torch.set_num_threads(1)


def on_levels(description, step):
    """A program whose cells are multiples of a number."""
    program = random_program(description, 0)
    for part in program.layers:
        part.positive.mul_(step).remainder_(7 * step + 1).div_(step, rounding_mode="floor").mul_(
            step
        )
        part.negative.zero_()
        part.positive[0, 0, 0] = 7 * step
    return program


def test_which_cells_are_put_in_bytes():
    fine = on_levels(small(dac={"bits": 8}), 36)
    for program, parameters in (
        (random_program(small(), 0), {}),
        (on_levels(small(), 36), {"cell_unit": 36, "row_offset": 7, "in_words": 167}),
        (fine, {"cell_unit": 36, "row_offset": 127, "in_words": 9}),
    ):
        (shape,) = program.description.layers
        assert kernel_inputs.byte_parameters(program.layers[0], shape) == parameters
    program = on_levels(small(), 36)
    program.layers[0].positive[0, 0, 0] = 35
    assert kernel_inputs.byte_parameters(program.layers[0], program.description.layers[0]) == {}


def test_which_products_are_chosen(monkeypatch):
    """Bytes where there are tiles and cells fit; float32 to learn, and where there are none."""
    program = random_program(small(), 0)
    wide = random_program(small(device={"conductance_bits": 9}), 0)
    monkeypatch.setattr(native, "has_tiles", lambda: True)
    monkeypatch.setattr(native, "has_lanes", lambda: True)
    assert kinds(program, learns=False) == [("bytes", "i32")]
    assert kinds(wide, learns=False) == [("lanes", "i32")]
    assert kinds(on_levels(small(), 36), learns=False) == [("lanes", "i32")]
    monkeypatch.setattr(products_, "FEW", 10)
    assert kinds(on_levels(small(), 36), learns=False) == [("bytes", "i32")]
    assert kinds(program, learns=True) == [("float32", "i32")]
    monkeypatch.setattr(native, "has_tiles", lambda: False)
    assert kinds(program, learns=False) == [("lanes", "i32")]
    long = random_program(small(cell={"state_bits": 17}), 0)
    assert kinds(long, learns=False) == [("float32", "i32")]
    shape = program.description.layers[0]
    for placement in PLACEMENTS:
        injection = Injection(snr_db=3.0, placement=placement)
        injected = injection.draw(1, 1, program.description.cell, 5)
        found = choose(program.layers[0], shape, None, False, injected)
        assert found == ("lanes", "i32")
    monkeypatch.setattr(native, "has_lanes", lambda: False)
    assert kinds(program, learns=False) == [("float32", "i32")]


def test_another_run_takes_the_numbers_of_the_last_one_unless_they_were_changed():
    program = random_program(small(), 0)
    (part,), (shape,) = program.layers, program.description.layers
    x, runs = random_codes(program.description, 0, 3, 4, 3), torch.arange(3)
    # PyTorch does not count what NumPy writes.
    of_numpy = (part.negative.numpy(), part.bias.numpy())
    for change in (None, part.positive, part.bias, part.gate_tables, *of_numpy):
        if change is not None:
            change[..., 0] += 1
        wanted = layer.run(part, x, shape, runs, readable=True)
        ways = (None, "float32", "lanes-pairs" if native.has_lanes() else "float64")
        for products in ways * 2:
            ran = fast.run(part, x, shape, runs, products=products)
            assert torch.equal(ran.h.long(), wanted.h)


@examples(40)
@given(descriptions(), st.integers(0, 999))
def test_the_fast_head_is_the_readable_one(description, seed):
    """With errors of the lanes; not where conversions draw noise; again after a change."""
    program = random_program(description, seed, noisy=True).head
    if program is None:
        return
    shape, runs = description.head, torch.arange(9)
    h = random_codes(description, seed, 9, 1, shape.rows)[:, 0]
    assert (fast_head.scores(program, h, shape) is None) == kernel_inputs.noisy(program)
    still = {"read_noise": torch.zeros_like(program.read_noise), "adc_noise": torch.tensor(0)}
    program = dataclasses.replace(program, **still)
    for change in (None, "positive", "bias", "gain"):
        if change:
            getattr(program, change)[..., 0] += 1
        for _ in range(2):
            found = fast_head.scores(program, h, shape)
            assert torch.equal(found, head.scores(program, h, shape, runs))
    assert fast_head.scores(program, h.double(), shape) is None


@examples(30)
@given(descriptions(), st.integers(0, 999))
def test_the_fast_head_trains_as_the_readable_one(description, seed):
    """The same scores, and gradients that differ by rounding alone; not with errors of lanes."""
    program = random_program(description, seed, noisy=True).head
    if program is None:
        return
    shape, runs = description.head, torch.arange(9)
    h = random_codes(description, seed, 9, 1, shape.rows)[:, 0].float().requires_grad_()
    names = ("positive", "negative", "gain", "bias")
    real = {name: getattr(program, name).double().requires_grad_() for name in names}
    noisy = dataclasses.replace(program, **real)
    assert fast_head.trained(noisy, h, shape) is None or not kernel_inputs.noisy(program)
    program = dataclasses.replace(noisy, **ideal_macro(shape))
    found = fast_head.trained(program, h, shape)
    if description.dac.planes > 1:
        assert found is None
        return
    wanted, inputs = head.scores(program, h, shape, runs), [h, *real.values()]
    assert torch.equal(found, wanted)
    along = torch.randn(wanted.shape).double()
    grads = [torch.autograd.grad((own * along).sum(), inputs) for own in (found, wanted)]
    for a, b in zip(*grads, strict=True):
        assert a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("gain", [1, 1023])
@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"network": {"inputs": 60}, "dac": {"bits": 8}},
        {  # the register of read noise has 32 bits
            "network": {"inputs": 1100},
            "dac": {"bits": 8},
            "device": {"conductance_bits": 12},
            "adc": {"gain_bits": 12},
        },
    ],
)
def test_the_largest_noise_there_is(gain, sections):
    description = small(**sections).replace(network={"hidden": [9]})
    program = random_program(description, 5, noisy=True)
    part, shape = program.layers[0], description.layers[0]
    loud = dataclasses.replace(
        part,
        gain=torch.full_like(part.gain, gain),
        read_noise=torch.full_like(part.read_noise, 2**shape.read_noise_bits - 1),
        adc_noise=torch.tensor(2**12 - 1),
        offset=torch.full_like(part.offset, -(2**11)),
        gain_error=torch.full_like(part.gain_error, 511),
    )
    program = dataclasses.replace(program, layers=(loud,))
    x = random_codes(description, 6, 20, 5, description.network.inputs)
    expect_equal(*both(program, x, torch.full((20,), 5)))


def test_a_default_dtype_changes_nothing():
    program = random_program(small(), 0)
    (part,), (shape,) = program.layers, program.description.layers
    x, runs = random_codes(program.description, 0, 3, 4, 3), torch.arange(3)
    found = []
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            for readable in (False, True):
                torch.manual_seed(3)
                noise = Injection(snr_db=0.0, placement="every")
                ran = layer.run(part, x, shape, runs, noise, readable=readable)
                found.append(ran.codes.long())
        finally:
            torch.set_default_dtype(before)
    assert all(torch.equal(codes, found[0]) for codes in found)


def test_what_does_not_fit_a_layer_never_reaches_the_kernels():
    program = random_program(small(), 0)
    (part,), (shape,) = program.layers, program.description.layers
    x, runs = random_codes(program.description, 0, 3, 4, 3), torch.arange(3)
    for own, numbers in ((x[:, :0], runs), (x[:, :, :2], runs), (x, runs[:1])):
        with pytest.raises(ValueError, match="do not fit the layer"):
            fast.run(part, own, shape, numbers)
    with pytest.raises(WordlineError, match=r"runs has shape \(1,\); give 3 run numbers"):
        network.run(program, x, torch.full((3,), 4), runs[:1])
    wild = torch.where(torch.arange(4)[:, None] < 2, x, torch.randint(-(2**40), 2**40, x.shape))
    two = torch.full((3,), 2)
    for readable in (False, True):
        scores = network.run(program, wild, two, readable=readable).scores
        assert torch.equal(scores, network.run(program, x[:, :2], two).scores)


def test_a_coarse_precision_set_by_the_newer_interface_is_not_trusted():
    code = (
        "import torch; torch.backends.fp32_precision = 'tf32'; from golden import fast; "
        "from tests.helpers import small; d = small(); "
        "print(fast.usable(torch.zeros(1), d.layers[0]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_numbers_that_the_kernels_do_not_train_have_gradients_too():
    program = random_program(small(), 0).to(torch.float64)
    (part,), (shape,) = program.layers, program.description.layers
    table = part.tables["tanh_table"].requires_grad_()
    x, runs = random_codes(program.description, 0, 3, 4, 3).double(), torch.arange(3)
    layer.run(part, x, shape, runs).h.sum().backward()
    assert table.grad.abs().sum() > 0


def test_autocast_around_a_backward_pass_changes_no_gradient():
    found = []
    for enabled in (False, True):
        program = random_program(small(), 0).to(torch.float64)
        (part,), (shape,) = program.layers, program.description.layers
        part.positive.requires_grad_()
        x, runs = random_codes(program.description, 0, 3, 4, 3).double(), torch.arange(3)
        h = layer.run(part, x, shape, runs).h
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            h.sum().backward()
        found.append(part.positive.grad)
    assert torch.equal(*found) and bool(found[0].any())


def test_without_a_trace_the_classes_are_the_same():
    description = small(network={"hidden": [9, 6]}, voting={"replay_steps": 5})
    program = dataclasses.replace(random_program(description, 2, noisy=True), votes=3)
    x = random_codes(description, 3, 12, 5, 3)
    lengths = torch.randint(1, 6, (12,), generator=torch.Generator().manual_seed(0))
    whole, bare = network.run(program, x, lengths), network.run(program, x, lengths, trace=False)
    assert torch.equal(whole.scores, bare.scores) and torch.equal(whole.label, bare.label)
    assert [*whole.layers[0].quantities()] == ["codes", "c", "h"]
    assert [*bare.layers[0].quantities()] == ["h"]


def test_lanes_that_err_without_noise():
    description = small(network={"hidden": [9]})
    program = random_program(description, 8, noisy=True)
    silent = dataclasses.replace(
        program.layers[0], read_noise=torch.tensor([0]), adc_noise=torch.tensor(0)
    )
    assert silent.offset.any() and silent.gain_error.any()
    program = dataclasses.replace(program, layers=(silent,))
    x = random_codes(description, 9, 20, 5, 3)
    expect_equal(*both(program, x, torch.full((20,), 5)))


def at_the_ends(description, seed):
    """A program whose state saturates at both ends, and whose tables hold any numbers there are,
    so that every narrowing has values on either side of its limits and on them."""
    program = random_program(description, seed)
    generator = torch.Generator().manual_seed(seed)

    def draw(range_, *size):
        return torch.randint(range_.low, range_.high + 1, size, generator=generator)

    cell, layers = description.cell, []
    for part in program.layers:
        entries = part.gate_tables.shape[1]
        tables = torch.stack([draw(range_, entries) for range_ in cell.table_ranges])
        if cell.kind == "lstm":
            tables[:2] = cell.gate_range.high - tables[:2] // 16  # i and f near 1
            tables[2, entries // 2 :] = cell.candidate_range.high
            tables[2, : entries // 2] = cell.candidate_range.low
            tanh = draw(cell.hidden_range, len(part.tables["tanh_table"]))
            part = dataclasses.replace(part, tables={"tanh_table": tanh})
        layers.append(dataclasses.replace(part, gate_tables=tables))
    return dataclasses.replace(program, layers=tuple(layers))


ENDS = [
    {"network": {"inputs": 5, "hidden": [40]}, "dac": {"bits": bits}, "cell": cell}
    for bits in (1, 2, 4)
    for cell in ({"state_bits": 10, "state_index_bits": 8}, {"kind": "rnn"})
]


@pytest.mark.parametrize("sections", ENDS)
def test_numbers_at_the_ends_of_their_ranges(sections):
    description = small(**sections)
    program = at_the_ends(description, 1)
    x = random_codes(description, 2, 20, 15, 5)
    quick, plain = both(program, x, torch.full((20,), 15))
    expect_equal(quick, plain)
    if (c := plain.layers[0].c) is not None:
        assert {int(c.min()), int(c.max())} == set(description.cell.state_range)


@pytest.mark.parametrize("sections", ENDS)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_at_the_ends_of_ranges(sections, seed):
    description = small(**sections)
    part, shape = at_the_ends(description, seed).layers[0], description.layers[0]
    x = random_codes(description, seed, 20, 15, 5)
    wanted = gradients(part, x, shape, None, "readable", seed)
    for name, value in gradients(part, x, shape, None, "float64", seed).items():
        assert (value - wanted[name]).abs().max() <= 1e-11 * wanted[name].abs().max(), name


def leaves(part):
    """A layer's program in float64 with gradients, and the tensors that have them."""
    copy = part.to(torch.float64)
    return copy, [getattr(copy, name).requires_grad_() for name in GRADIENTS]


def gradients(part, x, shape, injection, way, seed):
    """h's gradients, contracted with random numbers, to x and to what a layer learns."""
    part, parameters = leaves(part)
    x = x.double().requires_grad_()
    runs = torch.arange(len(x)) + seed
    torch.manual_seed(seed)
    if way == "readable":
        h = layer.run(part, x, shape, runs, injection, readable=True).h
    else:
        injected = injection and injection.draw(*x.shape[:2], shape.description.cell, shape.units)
        h = fast.run(part, x, shape, runs, injected, products=way).h
    weights = torch.randn(h.shape, generator=torch.Generator().manual_seed(seed))
    found = torch.autograd.grad(h, [x, *parameters], weights.to(h.dtype))
    return dict(zip(("x", *GRADIENTS), found, strict=True))


@examples(60)
@given(
    descriptions(),
    st.integers(0, 999),
    st.booleans(),
    st.sampled_from(INJECTIONS),
    st.integers(1, 5),
)
def test_gradients_are_the_readable_path_s(description, seed, noisy, injection, steps):
    """In float64 to its rounding; in float32, which training runs in, to that one's."""
    part, shape = random_program(description, seed, noisy=noisy).layers[0], description.layers[0]
    x = random_codes(description, seed, 3, steps, description.network.inputs)
    wanted = gradients(part, x, shape, injection, "readable", seed)
    precise = gradients(part, x, shape, injection, "float64", seed)
    with pytest.MonkeyPatch.context() as patch:
        if seed % 4 == 0:  # as on a CPU without AVX2: not in lanes
            patch.setattr(native, "has_lanes", lambda: False)
        quick = gradients(part, x, shape, injection, "float32", seed)
    for name, value in wanted.items():
        scale = value.abs().max()
        assert precise[name].dtype == quick[name].dtype == torch.float64
        assert (precise[name] - value).abs().max() <= 1e-11 * scale, name
        assert (quick[name] - value).abs().max() <= 1e-4 * scale, name


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("kind", ["lstm", "rnn"])
def test_gradients_through_noise_before_the_product(bits, kind):
    """Cut off where a code saturates, and with a 1-bit DAC beyond 1; in long sequences."""
    sections = {"dac": {"bits": bits}, "network": {"hidden": [19]}, "cell": {"kind": kind}}
    description = small(**sections)
    part, shape = random_program(description, bits).layers[0], description.layers[0]
    x = random_codes(description, bits, 8, 9, description.network.inputs)
    for snr in (-6.0, 6.0):
        injection = Injection(snr_db=snr, placement="product")
        wanted = gradients(part, x, shape, injection, "readable", 0)
        found = gradients(part, x, shape, injection, "float64", 0)
        for name, value in wanted.items():
            assert (found[name] - value).abs().max() <= 1e-11 * value.abs().max(), name


@pytest.mark.parametrize("batch", [1, 8, 19, 70])
@pytest.mark.parametrize(
    ("sections", "injection"),
    [
        ({}, None),
        ({"array": {"rows": 7}, "dac": {"bits": 3, "kind": "bit-serial"}}, None),
        *(({}, Injection(snr_db=6.0, placement=placement)) for placement in PLACEMENTS),
        ({"dac": {"bits": 1}}, Injection(snr_db=6.0, placement="product")),
        *(
            ({"cell": {"kind": "rnn"}}, Injection(snr_db=6.0, placement=placement))
            for placement in PLACEMENTS
        ),
    ],
)
def test_gradients_of_blocks_are_the_same_on_any_threads(sections, injection, batch):
    """Blocks are 8 sequences: one, some and a part, and on more threads than there are blocks."""
    description = small(network={"inputs": 5, "hidden": [37]}, **sections)
    part, shape = random_program(description, 1).layers[0], description.layers[0]
    x = random_codes(description, batch, batch, 4, 5)
    wanted = gradients(part, x, shape, injection, "readable", 0)
    found = []
    for threads in (1, 2, 12):
        torch.set_num_threads(threads)
        try:
            found.append(gradients(part, x, shape, injection, "float64", 0))
        finally:
            torch.set_num_threads(1)
    for name, value in wanted.items():
        one, *others = (of_threads[name] for of_threads in found)
        assert (one - value).abs().max() <= 1e-11 * value.abs().max(), name
        # Products of inputs and cells are PyTorch's, which threads may split.
        if name not in ("x", "positive", "negative"):
            assert all(torch.equal(one, other) for other in others), name


def test_gradients_of_many_sequences_of_a_large_layer():
    """More than an L2 cache holds, in blocks of 32 sequences; cells in another order in memory."""
    description = small(network={"inputs": 5, "hidden": [300]})
    part, shape = random_program(description, 1).layers[0], description.layers[0]
    turned = {
        name: getattr(part, name).permute(2, 0, 1).contiguous().permute(1, 2, 0)
        for name in ("positive", "negative")
    }
    part = dataclasses.replace(part, **turned)
    assert not part.positive.is_contiguous()
    x = random_codes(description, 0, 40, 3, 5)
    wanted = gradients(part, x, shape, None, "readable", 0)
    for name, value in gradients(part, x, shape, None, "float32", 0).items():
        assert (value - wanted[name]).abs().max() <= 1e-4 * wanted[name].abs().max(), name


def test_tables_with_very_many_entries_have_gradients():
    description = small(adc={"bits": 8}, cell={"frac": 6})
    part, shape = random_program(description, 1).layers[0], description.layers[0]
    assert 2**shape.index_bits > 4096
    x = random_codes(description, 0, 20, 3, 3)
    wanted = gradients(part, x, shape, None, "readable", 0)
    for name, value in gradients(part, x, shape, None, "float64", 0).items():
        assert (value - wanted[name]).abs().max() <= 1e-11 * wanted[name].abs().max(), name


def test_gradients_are_worth_comparing():
    """What the test above draws reaches every gradient, and is cut off by saturation here and
    there."""
    description = small(network={"hidden": [16]})
    part, shape = random_program(description, 0).layers[0], description.layers[0]
    x = random_codes(description, 0, 8, 12, 3)
    found = gradients(part, x, shape, INJECTIONS[1], "float32", 0)
    assert all(bool(value.abs().sum() > 0) for value in found.values())
    codes = fast.run(part, x, shape, torch.arange(8)).codes
    assert set(codes.unique().tolist()) == set(range(-8, 8))


def test_a_layer_s_gradients_can_be_had_once():
    """They are computed where the charges were: a second time would be of something else."""
    description = small()
    part, parameters = leaves(random_program(description, 0).layers[0])
    x = random_codes(description, 0, 2, 3, 3).double()
    h = fast.run(part, x, description.layers[0], torch.arange(2)).h
    h.sum().backward(retain_graph=True)
    assert all(parameter.grad is not None for parameter in parameters)
    with pytest.raises(RuntimeError, match="gradients can be had once"):
        h.sum().backward()


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """native as if nothing had been compiled, with its source where the test says; what is compiled
    is so in the least time."""
    copies = tuple(tmp_path / path.name for path in native.SOURCES)
    for copy, path in zip(copies, native.SOURCES, strict=True):
        copy.write_text(path.read_text())
    monkeypatch.setattr(native, "SOURCES", copies)
    monkeypatch.setattr(native, "FLAGS", ("-O0", *native.FLAGS[1:]))
    monkeypatch.setattr(files, "_given", [tmp_path / "cache"])
    source.data_hash.cache_clear()
    native.library.cache_clear()
    yield next(path for path in copies if path.suffix == ".cpp")
    native.library.cache_clear()


def test_without_a_compiler_the_readable_path_runs(fresh, monkeypatch):
    description = small()
    program = random_program(description, 0)
    x, lengths = random_codes(description, 0, 4, 3, 3), torch.full((4,), 3)
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    assert native.library() is None and not fast.usable(x, description.layers[0])
    slow = network.run(program, x, lengths)
    assert slow.layers[0].codes.dtype == torch.int64  # the readable path's
    native.library.cache_clear()
    monkeypatch.undo()
    expect_equal(network.run(program, x, lengths), slow)


def test_kernels_that_do_not_compile_are_said_so(fresh, capsys):
    fresh.write_text("nonsense")
    assert native.library() is None
    assert "the kernels did not compile" in capsys.readouterr().err
    assert not list(files.cache_dir().glob("kernels/*"))


def test_kernels_are_compiled_once(fresh, monkeypatch):
    assert native.library() is not None
    (built,) = (files.cache_dir() / "kernels").glob("kernels-*.so")
    compiled = subprocess.run
    commands = []

    def run(command, **options):
        commands.append(command)
        return compiled(command, **options)

    monkeypatch.setattr(native.subprocess, "run", run)
    native.library.cache_clear()
    native.machine.cache_clear()  # as another process would ask again
    assert native.library() is not None
    assert [("-o" in command) for command in commands] == [False]  # only asked what `native` is
    for code, count in (("// a comment", 1), ("int another;", 2)):
        fresh.write_text(f"{fresh.read_text()}{code}\n")
        source.data_hash.cache_clear()
        native.library.cache_clear()
        assert native.library() is not None
        assert len(list((files.cache_dir() / "kernels").iterdir())) == count
    assert built.exists()


def test_a_folder_that_cannot_be_written_is_no_hindrance(fresh, monkeypatch, tmp_path):
    files.cache_dir().write_text("a file in the folder's place")
    monkeypatch.setattr(native.tempfile, "tempdir", str(tmp_path))
    assert native.library() is not None
    description = small()
    program = random_program(description, 0)
    x, lengths = random_codes(description, 0, 4, 3, 3), torch.full((4,), 3)
    expect_equal(*both(program, x, lengths))
    names = {path.name for path in native.SOURCES}
    assert {path.name for path in tmp_path.iterdir()} == names | {"cache"}


def test_a_full_disk_and_a_damaged_file_of_the_cache_are_no_hindrance(fresh, monkeypatch, capsys):
    names = []

    def full(built, _):
        names.append(built.name)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(native.shutil, "copyfile", full)
        assert native.library() is not None
    kernels = files.cache_dir() / "kernels"
    assert not list(kernels.iterdir())
    (kernels / names[0]).write_bytes(b"no library")
    native.library.cache_clear()
    assert native.library() is not None
    assert (kernels / names[0]).stat().st_size > 1000 and not capsys.readouterr().err


def test_a_struct_of_another_size_is_not_taken(fresh, monkeypatch):
    monkeypatch.setitem(native.SIZES, "cells_size", native.Layer)
    with pytest.raises(AssertionError, match=r"Layer.* was misread"):
        native.library()


def test_a_coarser_float32_is_not_trusted(monkeypatch):
    """Where products may be rounded to bfloat16, integers are not safe in them."""
    x, shape = torch.zeros(1, 1, 1), small().layers[0]
    assert fast.usable(x, shape)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert not fast.usable(x, shape)
    finally:
        torch.set_float32_matmul_precision(before)
