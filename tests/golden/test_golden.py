"""The golden model against plain Python, against itself in a batch, and in floats."""

import dataclasses
import json
import math

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from golden import crossbar, dac, head, network, tables
from golden.errors import WordlineError, WordlineNote
from golden.injection import Injection
from golden.presets import PRESETS
from golden.program import Program
from tests import reference
from tests.helpers import descriptions, examples, random_codes, random_program, small


def voting(program, draw_votes):
    """A program that votes as `draw_votes` says, if its description can."""
    votes, by = draw_votes
    most = program.description.voting.max_votes if program.description.voting.replay_steps else 1
    return dataclasses.replace(program, votes=min(votes, most), vote_by=by)


VOTES = st.tuples(st.integers(1, 4), st.sampled_from(("majority", "sum")))


@examples(50)
@given(descriptions(), st.integers(0, 999), VOTES, st.booleans(), st.booleans())
def test_golden_is_the_contract(description, seed, votes, noisy, readable):
    program = voting(random_program(description, seed, noisy=noisy), votes)
    lengths = torch.tensor([4, 1, 3])
    runs = torch.tensor([seed, 0, 2**32 - 2])
    x = random_codes(description, seed, 3, 4, description.network.inputs)
    trace = network.run(program, x, lengths, runs, readable=readable)
    for n, length in enumerate(lengths.tolist()):
        expected = reference.run(program, x[n, :length].tolist(), int(runs[n]))
        for k, one in enumerate(expected["passes"], n * program.votes):
            for layer, wanted in zip(trace.layers, one["layers"], strict=True):
                got = layer.quantities()
                assert set(got) == set(wanted)
                for name, values in got.items():
                    assert values[k, :length].tolist() == wanted[name], name
            steps = slice(length) if description.output.every_step else slice(None)
            assert trace.scores[k][steps].tolist() == one["scores"]
        if trace.label is None:
            assert "label" not in expected
        else:
            label = trace.label[n]
            assert (label[:length] if label.dim() else label).tolist() == expected["label"]


@examples(50)
@given(descriptions(), st.integers(0, 999), VOTES, st.booleans())
def test_training_arithmetic_is_the_golden_arithmetic(description, seed, votes, noisy):
    program = voting(random_program(description, seed, noisy=noisy), votes)
    x = random_codes(description, seed, 5, 4, description.network.inputs)
    lengths = torch.tensor([4, 1, 2, 3, 4])
    exact = network.run(program, x, lengths)
    floats = program.to(torch.float64)
    trained = network.run(floats, x.double(), lengths, readable=True)
    assert torch.equal(exact.scores.double(), trained.scores)
    assert exact.label is trained.label or torch.equal(exact.label, trained.label)
    for a, b in zip(exact.layers, trained.layers, strict=True):
        for name, values in a.quantities().items():
            assert torch.equal(values.double(), b.quantities()[name]), name


def test_a_sequence_is_the_same_alone_and_in_a_batch():
    description = PRESETS["vowels-deep"].description
    program = random_program(description, 1)
    x = random_codes(description, 2, 7, 9, description.network.inputs)
    lengths = torch.tensor([9, 1, 2, 3, 8, 9, 5])
    batch = network.run(program, x, lengths)
    for n, length in enumerate(lengths.tolist()):
        alone = network.run(program, x[n : n + 1, :length], lengths[n : n + 1])
        assert torch.equal(alone.scores[0], batch.scores[n])


@examples(20)
@given(descriptions(head=True), st.integers(0, 999), st.booleans())
def test_a_score_of_every_step_is_that_of_the_sequence_up_to_it(description, seed, noisy):
    """With noise, of the step's own number: the head's noise of a whole sequence is of step 0."""
    description = description.replace(output={"steps": "every"}, voting={"replay_steps": 0})
    program = random_program(description, seed, noisy=noisy)
    lengths = torch.tensor([4, 2, 3])
    x = random_codes(description, seed, 3, 4, description.network.inputs)
    every = network.run(program, x, lengths)
    scores = network.scores(program, x, lengths)
    assert scores.shape == (3, 1, 4, description.network.classes)
    for n, length in enumerate(lengths.tolist()):
        assert torch.equal(scores[n, 0, :length], every.scores[n, :length])
        assert not scores[n, :, length:].any()
    for t in range(4):
        h = every.layers[-1].h[:, t]
        wanted = head.scores(program.head, h, description.head, torch.arange(3), t)
        assert torch.equal(every.scores[:, t], wanted)
        assert torch.equal(every.label[:, t], head.label(wanted))
        if not noisy:
            last = network.run(program, x, torch.full((3,), t + 1), every_step=False)
            assert torch.equal(every.scores[:, t], last.scores)
            assert torch.equal(every.label[:, t], last.label)


def test_random_programs_reach_every_adc_code():
    """What the other tests draw is worth testing with: codes spread and saturate."""
    description = small(network={"hidden": [16]})
    x = random_codes(description, 0, 20, 10, 3)
    trace = network.run(random_program(description, 0), x, torch.full((20,), 10))
    assert trace.layers[0].codes.unique().tolist() == list(range(-8, 8))
    assert trace.layers[0].h.unique().numel() > 8
    assert trace.layers[0].c.abs().max() > 256


def test_equal_scores_give_the_lowest_class():
    from golden import head

    assert head.label(torch.tensor([[3, 7, 7, 1], [-5, -5, -5, -5]])).tolist() == [1, 0]


def test_encode_rounds_half_up_and_clips():
    description = small()
    x = torch.tensor([[-9.0, -0.5, 0.5, 1.49, 9.0]])
    ones, zeros = torch.ones(5), torch.zeros(5)
    assert dac.encode(x, zeros, ones, description.dac).tolist() == [[-7, 0, 1, 1, 7]]
    one_bit = small(dac={"bits": 1}).dac
    assert dac.encode(x, zeros, ones, one_bit).tolist() == [[-1, -1, 1, 1, 1]]


def test_nearest_level():
    levels = torch.tensor([-10.0, 0.0, 4.0], dtype=torch.float64)
    codes = torch.tensor([-99.0, -5.1, -5.0, 1.9, 2.0, 99.0], dtype=torch.float64)
    codes.requires_grad_()
    nearest = crossbar.nearest_level(codes, levels)
    assert nearest.tolist() == [-10, -10, 0, 0, 4, 4]
    nearest.sum().backward()
    assert codes.grad.tolist() == [0, 1, 1, 1, 1, 0]


def test_pairs_use_one_device_and_keep_the_gradient():
    codes = torch.tensor([-3.0, 0.0, 2.0], requires_grad=True)
    positive, negative = crossbar.pair(codes)
    assert (positive.tolist(), negative.tolist()) == ([0, 0, 2], [3, 0, 0])
    (positive - negative).sum().backward()
    assert codes.grad.tolist() == [1, 1, 1]


@given(descriptions(kind="lstm"))
def test_tables_are_monotonic_and_in_range(description):
    shape = description.layers[0]
    step = torch.full((4,), 8 / 2**shape.index_bits, dtype=torch.float64)
    gates = tables.gate_tables(step, shape)
    tanh = tables.cell_tables(description)["tanh_table"]
    for table in (*gates, tanh):
        assert bool((table.diff() >= 0).all())
    assert gates[[0, 1, 3]].min() >= 0 and gates.max() <= description.cell.gate_range.high
    assert gates[2].min() >= description.cell.candidate_range.low
    assert tanh[len(tanh) // 2] == 0 and tanh.max() <= description.hidden_unit


REAL = {
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "tanh": math.tanh,
    "relu": lambda a: max(a, 0.0),
}


def entries(function, low, high, step, unit, least, most):
    """A table as docs/contract.md, 6 has it: floor(f(index step) unit + 1/2), saturated."""
    exact = (REAL[function](n * step) * unit for n in range(low, high + 1))
    return [min(max(math.floor(value + 0.5), least), most) for value in exact]


@pytest.mark.parametrize("kind", ["lstm", "rnn", "relu"])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_tables_are_the_contract_s(kind, bits):
    cell = {"kind": "rnn", "activation": "relu"} if kind == "relu" else {"kind": kind}
    description = small(cell=cell, dac={"bits": bits})
    shape, own, step = description.layers[0], description.cell, 0.0625
    found = tables.gate_tables(torch.full((len(own.gates),), step).double(), shape).tolist()
    index = shape.index_range.low, shape.index_range.high, step
    unit, most = (2 ** (bits - 1) - 1) << (own.hidden_bits - bits), 2 ** (own.hidden_bits - 1) - 1
    if kind != "lstm":
        function = "relu" if kind == "relu" else "tanh"
        assert found == [entries(function, *index, unit, -most, most)]
        return
    n = own.gate_bits
    logistic = entries("sigmoid", *index, 2**n, 0, 2**n - 1)
    assert found == [
        logistic,
        logistic,
        entries("tanh", *index, 2**n, 1 - 2**n, 2**n - 1),
        logistic,
    ]
    ends, d = 2 ** (own.state_index_bits - 1), own.state_bits - own.state_index_bits
    wanted = entries("tanh", -ends, ends - 1, 2.0 ** (d - n), unit, -most, most)
    assert tables.cell_tables(description)["tanh_table"].tolist() == wanted


@given(descriptions(kind="rnn"))
def test_the_rnn_s_table_is_tanh(description):
    shape = description.layers[0]
    step = torch.full((1,), 8 / 2**shape.index_bits, dtype=torch.float64)
    (table,) = tables.gate_tables(step, shape)
    assert bool((table.diff() >= 0).all()) and table[len(table) // 2] == 0
    assert table.max() <= description.hidden_unit and table.min() >= -description.hidden_unit


def test_votes():
    from golden import head

    # Two passes for class 1, one for class 2 that outweighs them; then a tie of counts and sums.
    scores = torch.tensor([[[0, 3, 2], [0, 3, 2], [0, 0, 9]], [[5, 0, 0], [0, 0, 5], [1, 2, 1]]])
    assert head.vote(scores, "majority").tolist() == [1, 0]
    assert head.vote(scores, "sum").tolist() == [2, 0]


@pytest.mark.parametrize(
    ("voting_", "votes", "by", "words"),
    [
        ({}, 2, "sum", r"votes = 2 needs a replay buffer, but voting.replay_steps = 0"),
        ({"replay_steps": 4, "max_votes": 5}, 6, "sum", r"votes = 6 is not in 1..5 \(voting.max"),
        ({"replay_steps": 4}, 0, "sum", r"votes = 0 is not in 1..64"),
        ({"replay_steps": 4}, 2, "mean", r"vote_by = 'mean' is not known; write 'majority' or"),
    ],
)
def test_wrong_votes_are_named(voting_, votes, by, words):
    program = random_program(small(voting=voting_), 0)
    with pytest.raises(WordlineError, match=words):
        dataclasses.replace(program, votes=votes, vote_by=by)


def test_a_sequence_that_the_replay_buffer_does_not_hold_is_named():
    program = random_program(small(voting={"replay_steps": 2}), 0)
    x, lengths = torch.zeros(2, 3, 3).long(), torch.tensor([1, 3])
    network.run(program, x, lengths)
    with pytest.raises(WordlineError, match=r"has 3 steps, but the replay buffer holds 2; set"):
        network.run(dataclasses.replace(program, votes=2), x, lengths)


@pytest.mark.parametrize(
    ("x", "lengths", "words"),
    [
        (torch.zeros(2, 3, 4).long(), [3, 3], r"shape \(2, 3, 4\); give \(sequences, steps, 3\)"),
        (torch.zeros(2, 0, 3).long(), [0, 0], "none of them empty"),
        (torch.full((2, 3, 3), 8), [3, 3], "holds the code 8, which a 4-bit DAC does not have"),
        (torch.zeros(2, 3, 3).long(), [3, 4], "lengths must be 2 numbers from 1 to 3"),
        (torch.zeros(2, 3, 3).long(), [0, 3], "lengths must be 2 numbers from 1 to 3"),
        (torch.zeros(2, 3, 3).long(), [3], "lengths must be 2 numbers from 1 to 3"),
    ],
)
def test_wrong_inputs_are_named(x, lengths, words):
    with pytest.raises(WordlineError, match=words):
        network.run(random_program(small(), 0), x, torch.tensor(lengths))


def test_a_program_survives_the_disk(tmp_path):
    program = random_program(small(voting={"replay_steps": 9}), 3, noisy=True)
    program = dataclasses.replace(program, votes=7, vote_by="sum")
    path, again = tmp_path / "p.safetensors", tmp_path / "q.safetensors"
    program.save(path)
    loaded = Program.load(path, program.description)
    assert (loaded.votes, loaded.vote_by) == (7, "sum")
    for name, tensor in program.tensors().items():
        assert torch.equal(loaded.tensors()[name], tensor), name
    loaded.save(again)
    assert path.read_bytes() == again.read_bytes()


def test_a_program_of_the_format_before_has_the_pipeline_it_meant(tmp_path):
    description = small(array={"settle": 40, "pipeline": "deep"})
    path = tmp_path / "p.safetensors"
    random_program(description, 3).save(path)
    with safetensors.safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["wordline"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert about["description"]["array"].pop("pipeline") == "deep"
    safetensors.torch.save_file(tensors, path, {"wordline": json.dumps(about)})
    with pytest.warns(WordlineNote, match=r"p.safetensors \(its description\): array.pipeline is"):
        assert Program.load(path, description).description == description


@pytest.mark.parametrize("about", ["[1]", '{"format": "wordline program 4"}', "{}"])
def test_damaged_metadata_is_named(tmp_path, about):
    path = tmp_path / "p.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, {"wordline": about})
    with pytest.raises(WordlineError, match=r"is not a 'wordline program 4' file; make one with"):
        Program.load(path)


def test_programs_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / "p.safetensors"
    random_program(small(), 3).save(path)
    with pytest.raises(WordlineError, match=r"trained with adc.bits = 4, the description has 5"):
        Program.load(path, small(adc={"bits": 5}))
    with pytest.raises(WordlineError, match=r"absent.* cannot be read"):
        Program.load(tmp_path / "absent")
    (tmp_path / "text").write_text("no tensors in here")
    with pytest.raises(WordlineError, match="is not a trained program"):
        Program.load(tmp_path / "text")
    damaged = random_program(small(), 3)
    damaged.layers[0].positive[0, 0, 0] = 256
    whole = path.with_name("whole.safetensors")
    with pytest.raises(WordlineError, match=r"The program: layers.0.positive holds .*256, outside"):
        damaged.save(whole)
    assert not whole.exists()
    random_program(small(), 3).save(path)
    with safetensors.safe_open(path, framework="pt") as file:
        about, tensors = file.metadata(), {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118
    tensors["layers.0.positive"][0, 0, 0] = 256
    safetensors.torch.save_file(tensors, path, about)
    with pytest.raises(WordlineError, match=r"layers.0.positive holds .*256, outside 0..255"):
        Program.load(path)
    for field, value in (("votes", "2"), ("votes", True), ("about", [])):
        said = json.loads(about["wordline"]) | {field: value}
        tensors["layers.0.positive"][0, 0, 0] = 0
        safetensors.torch.save_file(tensors, path, {"wordline": json.dumps(said)})
        with pytest.raises(WordlineError, match="votes is no integer, or about no object"):
            Program.load(path)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float32])
def test_codes_and_lengths_of_any_dtype(dtype):
    description = small(dac={"bits": 8}, output={"steps": "last"})
    program = random_program(description, 0)
    x = random_codes(description, 0, 4, 4, 3).abs()  # as many sequences as steps
    lengths, noise = torch.tensor([2, 3, 4, 2]), Injection(snr_db=0.0, placement="product")
    wanted = network.run(program, x, lengths)
    own = lengths if dtype.is_floating_point else lengths.to(dtype)
    assert torch.equal(network.run(program, x.to(dtype), own).scores.long(), wanted.scores)
    assert torch.equal(network.scores(program, x.to(dtype), own)[:, 0], wanted.scores)
    found = []
    for codes in (x, x.to(dtype)):
        torch.manual_seed(0)
        found.append(network.run(program, codes, lengths, None, noise).scores.long())
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("layers.0.adc_noise", torch.float16, "is torch.float16, and needs integers"),
        ("layers.0.gain", torch.float64, "is torch.float64, and needs integers"),
        ("input_mean", torch.int64, "is torch.int64, and needs real numbers"),
    ],
)
def test_a_program_of_another_type_is_refused(name, kind, said, tmp_path):
    """Numbers between the codes are no codes."""
    path = tmp_path / "program.safetensors"
    random_program(small(), 0).save(path)
    with safetensors.safe_open(path, framework="pt") as file:
        about, tensors = file.metadata(), {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118
    tensors[name] = tensors[name].to(kind)
    safetensors.torch.save_file(tensors, path, about)
    with pytest.raises(WordlineError, match=said):
        Program.load(path)
