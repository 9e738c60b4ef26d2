"""The whole accelerator in Amaranth's simulator: random descriptions, stalls, cycles."""

import dataclasses
import itertools
from itertools import pairwise

import hypothesis
import pytest
import torch
from amaranth.hdl import Cat
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.rtl import image, verilog
from golden import network
from golden.errors import WordlineError
from hw import timing
from hw.loadmap import LoadMap
from hw.macro.columns_deep import rows_at_once
from hw.network import Accelerator
from tests.conftest import RANDOM_DESCRIPTION_SEEDS
from tests.helpers import (
    FEW_ENTRIES,
    covering,
    descriptions,
    examples,
    first_difference,
    load_payloads,
    random_codes,
    random_program,
    receiver,
    recorder,
    run_chip,
    sampled,
    sender,
    simulate,
    small,
    thorough,
    transfers,
    vector_payloads,
    waits,
)


def check(description, lengths, seed, stall_seed=None, votes=1, by="majority"):
    """A program with errors of every kind, exact."""
    program = random_program(description, seed, noisy=True)
    program = dataclasses.replace(program, votes=votes, vote_by=by)
    x = random_codes(description, seed, len(lengths), max(lengths), description.network.inputs)
    chip = Accelerator(description)
    run = run_chip(chip, image.words(program), x, lengths, stall_seed)
    assert first_difference(run, program, x, lengths) == ""
    return chip, run


@pytest.mark.parametrize(
    "seed",
    [
        RANDOM_DESCRIPTION_SEEDS[0],
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in RANDOM_DESCRIPTION_SEEDS[1:]),
    ],
)
def test_fifty_random_descriptions(seed):
    """Ten for each seed, in `make test` some of them: simulated with and without stalls, exact; and
    those of the first seed emitted, in `make test` one."""
    emitted: list = []

    @hypothesis.seed(seed)
    @settings(examples(10), derandomize=False, database=None)
    @given(
        description=descriptions(),
        lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
        stall=st.none() | st.integers(0, 99),
        votes=st.integers(1, 3),
        by=st.sampled_from(("majority", "sum")),
    )
    def ten(description, lengths, stall, votes, by):
        voting = description.voting
        votes = min(votes, voting.max_votes) if voting.replay_steps else 1
        # To emit takes as long as to simulate.
        if seed == RANDOM_DESCRIPTION_SEEDS[0] and (thorough() or not emitted):
            emitted.append(description)
            _, texts = verilog.verilog_files(description)
            assert all("endmodule" in text for text in texts.values())
        check(description, lengths, 1, stall, votes, by)

    ten()


@pytest.mark.parametrize(
    ("size", "bits", "settle", "kind"),
    [
        *covering([(1, 1), (5, 2), (6, 3), (4, 4)], [3, 4, 7], [3, 6], ["lstm", "rnn"]),
        *sampled(
            [((16, 16), *rest) for rest in itertools.product([3, 4, 7], [3, 6], ["lstm", "rnn"])]
        ),
    ],
)
def test_cycles_per_step(size, bits, settle, kind, pipeline="short", units_per_beat=0):
    """With x there and h taken, a step costs exactly what `cycles_per_step` says."""
    hidden, lanes = size
    description = small(
        network={"inputs": 2, "hidden": [hidden]},
        array={
            **{"lanes": lanes, "settle": settle, "pipeline": pipeline},
            "units_per_beat": units_per_beat,
        },
        adc={"bits": bits},
        cell={"kind": kind, "frac": 0} | ({"state_index_bits": 4} if kind == "lstm" else {}),
    )
    chip, run = check(description, [5], seed=0)
    words = -(-hidden // timing.units_per_beat(chip.layers[0].shape))
    steps = [cycle for cycle, _ in run.layers[0]][::words]
    assert {b - a for a, b in pairwise(steps)} == {chip.cycles_per_step}


@pytest.mark.parametrize("pipeline", ["short", "deep"])
@pytest.mark.parametrize("kind", ["lstm", "rnn"])
def test_cycles_per_step_of_a_slow_macro(kind, pipeline):
    test_cycles_per_step((5, 2), 3, 23, kind, pipeline)


@pytest.mark.parametrize("units", [1, 2, 4])
def test_units_per_beat_can_be_given(units):
    test_cycles_per_step((6, 4), 4, 3, "lstm", units_per_beat=units)


def test_units_per_beat_are_chosen_without_a_cliff():
    """Where no number brings a step near to the ADCs' time, one that comes near to the best."""
    design = small(
        network={"inputs": 12, "hidden": [64]},
        array={"lanes": 8, "rows": 128, "columns": 64},
        dac={"kind": "pulse-width"},
        adc={"kind": "flash", "bits": 5},
    )
    (shape,) = design.layers
    assert (timing.conversion_cycles(shape), shape.lanes) == (72, 32)
    assert timing.loop_cycles(shape, 1) == 112 and timing.loop_cycles(shape, 32) == 81
    assert timing.cycles_per_step(design) == 84


def test_units_per_beat_that_do_not_fit_are_named():
    with pytest.raises(WordlineError, match="does not divide the 4 lanes of layer 0; give one of"):
        small(network={"hidden": [4]}, array={"lanes": 4, "units_per_beat": 3})
    slow = {"lanes": 16, "settle": 3, "units_per_beat": 1}
    description = small(network={"hidden": [16]}, array=slow, adc={"bits": 2})
    with pytest.raises(WordlineError, match="too few to keep up with the ADCs, which convert 16"):
        timing.cycles_per_step(description)


def test_the_next_sequence_does_not_wait_for_h():
    chip, run = check(small(cell=FEW_ENTRIES), [1, 1, 1, 1, 1, 1], seed=0)
    cycles = [cycle for cycle, _ in run.layers[0]][:: chip.layers[0].shape.units]
    conversion = timing.conversion_cycles(chip.layers[0].shape)
    assert all(b - a <= conversion + 4 for a, b in pairwise(cycles))


def test_vowels_costs_little_more_than_its_adcs():
    from golden.presets import PRESETS

    description = PRESETS["vowels"].description
    conversion = timing.conversion_cycles(description.layers[0])
    assert (conversion, Accelerator(description).cycles_per_step) == (128, 140)
    assert Accelerator(description).cycles_per_step <= 1.1 * conversion


@pytest.mark.parametrize(
    ("hidden", "steps"),
    sampled(
        [([5], "last"), ([5], "every"), ([3, 6], "last"), ([3, 6], "every")],
        ([5], "last"),
        ([3, 6], "every"),
    ),
)
def test_states_leave(hidden, steps):
    """In several beats, the last one padded where units are odd; of the last step, or of each."""
    description = small(
        network={"hidden": hidden, "classes": 0},
        array={"lanes": 4},
        adc={"kind": "flash"},
        cell={"kind": "rnn"},
        output={"of": "state", "steps": steps},
    )
    chip, _ = check(description, [1, 3, 2, 1], 1, stall_seed=3)
    assert (chip.layers[-1].words, timing.units_per_beat(chip.layers[-1].shape)) == (3, 2)


def test_two_layers_with_stalls():
    description = small(network={"hidden": [6, 5]}, array={"lanes": 2}, cell=FEW_ENTRIES)
    check(description, [4, 1, 2, 3], 3, stall_seed=5)


@pytest.mark.slow
def test_many_lanes_use_several_units_a_cycle():
    description = small(network={"inputs": 2, "hidden": [26]}, array={"lanes": 26})
    description = description.replace(adc={"bits": 3})
    assert timing.units_per_beat(description.layers[0]) == 13
    check(description, [3, 1], 2)


@pytest.mark.parametrize(
    ("kind", "by", "stall"), covering(["lstm", "rnn"], ["majority", "sum"], [None, 7])
)
def test_votes(kind, by, stall):
    """As many passes as the voter can count, sequences that just fit the replay buffer."""
    description = small(
        network={"inputs": 5},
        array={"beat": 2},
        cell={"kind": "rnn", "frac": 1} if kind == "rnn" else FEW_ENTRIES,
        voting={"replay_steps": 3, "max_votes": 5},
    )
    check(description, [3, 1, 2], 4, stall, votes=5, by=by)


@pytest.mark.parametrize(
    ("settle", "pipeline"),
    sampled(
        [(3, "short"), (8, "short"), (40, "short"), (23, "deep"), (25, "deep")],
        (3, "short"),
        (40, "short"),
        (25, "deep"),
    ),
)
def test_noise_with_more_time_to_settle(settle, pipeline):
    description = small(
        array={"settle": settle, "pipeline": pipeline, "lanes": 3}, cell=FEW_ENTRIES
    )
    check(description, [2, 1], 6)


@pytest.mark.parametrize("kind", sampled(["bit-serial", "pulse-width"], "pulse-width"))
def test_a_model_with_the_deep_pipeline(kind):
    """Groups of two rows a cycle, of which the last is half filled; lanes hashed one by one."""
    description = small(
        network={"inputs": 9, "hidden": [8]},
        array={"settle": 24, "pipeline": "deep", "lanes": 4},
        dac={"bits": 3, "kind": kind},
        cell=FEW_ENTRIES,
    )
    assert [rows_at_once(shape) for shape in description.arrays.values()] == [2, 1]
    check(description, [2, 1], 6)


def test_other_votes_in_mid_run():
    """K is written while sequences are under way: it is taken up between two of them, and runs go
    on being counted."""
    description = small(voting={"replay_steps": 4, "max_votes": 4}, cell=FEW_ENTRIES)
    program = random_program(description, 3, noisy=True)
    x, lengths = random_codes(description, 3, 4, 4, 3), [4, 2, 3, 1]
    beats = vector_payloads(x, lengths, 3)
    votes = LoadMap(description).regions["votes"]
    chip = Accelerator(description)
    out: list = []
    traces: list = []

    async def host(ctx):
        words = dict(image.words(dataclasses.replace(program, votes=2)))
        await sender(chip.load, load_payloads([*words.items()]))(ctx)
        await sender(chip.i, beats[: 4 + 2])(ctx)
        word = (votes.address(), votes.word(votes=3, by_sum=0))
        await sender(chip.load, load_payloads([word]))(ctx)
        await sender(chip.i, beats[4 + 2 :])(ctx)

    trace = chip.layers[0].gates
    watcher = recorder(trace.trace_valid, trace.trace, traces)
    simulate(chip, host, receiver(chip.o, 4, out), watchers=[watcher])
    h = [[int(record.h[0]) for _, record in traces][n::5] for n in range(5)]
    expected: list = []
    for part, k, runs in ((slice(0, 2), 2, [0, 2]), (slice(2, 4), 3, [4, 7])):
        own = dataclasses.replace(program, votes=k)
        steps = torch.tensor(lengths[part])
        golden = network.run(own, x[part], steps, torch.tensor(runs))
        expected += golden.label.tolist()
        for passed, length in zip(golden.layers[0].h, steps.repeat_interleave(k), strict=True):
            for unit in range(5):
                wanted = passed[:length, unit].tolist()
                assert [h[unit].pop(0) for _ in wanted] == wanted
    assert [int(payload.label) for payload in out] == expected
    assert not any(h)


@pytest.mark.parametrize(
    ("written", "taken"),
    sampled([(0, 1), (3, 3), (5, 5), (6, 5), (7, 5)], (0, 1), (7, 5)),
)
def test_a_number_of_votes_that_there_is_not_is_the_nearest(written, taken):
    description = small(voting={"replay_steps": 4, "max_votes": 5}, cell=FEW_ENTRIES)
    program = dataclasses.replace(random_program(description, 3, noisy=True), votes=taken)
    votes = LoadMap(description).regions["votes"]
    words = dict(image.words(program)) | {votes.address(): written}
    x, lengths = random_codes(description, 3, 3, 4, 3), [4, 2, 3]
    run = run_chip(Accelerator(description), [*words.items()], x, lengths)
    assert first_difference(run, program, x, lengths) == ""


@pytest.mark.parametrize("count", sampled([8, 14, 15, 16, 17, 18, 40], 8, 16, 40))
def test_a_full_chip_is_not_loaded(count):
    """Short sequences and a sink that takes no class: whatever is in there, and this chip could
    hold more than it counts, a load waits for all of them."""
    description = small(
        network={"inputs": 1, "hidden": [1], "classes": 2},
        cell={"kind": "rnn", "frac": 0},
        adc={"bits": 3},
    )
    program = random_program(description, 1)
    chip = Accelerator(description)
    words = image.words(program)
    out: list = []
    beats = vector_payloads(random_codes(description, 1, count, 1, 1), [1] * count, 1)

    async def host(ctx):
        await sender(chip.load, load_payloads(words))(ctx)
        await sender(chip.i, beats)(ctx)

    async def load(ctx):
        ctx.set(chip.o.ready, 0)
        await ctx.tick().repeat(len(words) + 600)
        ctx.set(chip.load.payload, load_payloads(words[:1])[0])
        ctx.set(chip.load.valid, 1)
        for _ in range(200):
            await ctx.tick()
            assert not ctx.get(chip.load.ready)
        ctx.set(chip.load.valid, 0)
        await receiver(chip.o, count, out)(ctx)

    simulate(chip, host, load)
    assert len(out) == count


@pytest.mark.parametrize(
    ("of", "steps"),
    sampled(
        [*itertools.product(("class", "scores", "state"), ("last", "every"))],
        ("class", "last"),
        ("scores", "every"),
        ("state", "last"),
    ),
)
def test_a_load_waits_for_the_last_of_what_comes_out(of, steps):
    """Of two sequences: until the very last transfer is taken no load begins, then one does."""
    network = {"classes": 0, "hidden": [5]} if of == "state" else {}
    description = small(output={"of": of, "steps": steps}, network=network, cell=FEW_ENTRIES)
    words = image.words(random_program(description, 1))
    chip, lengths = Accelerator(description), [3, 2]
    count = transfers(chip, lengths)
    beats = vector_payloads(random_codes(description, 1, 2, 3, 3), lengths, 3)

    async def host(ctx):
        await sender(chip.load, load_payloads(words))(ctx)
        await sender(chip.i, beats)(ctx)
        ctx.set(chip.load.payload, load_payloads(words[:1])[0])
        ctx.set(chip.load.valid, 1)

    async def taker(ctx):
        await ctx.tick().until(chip.o.valid)
        for _ in range(count):
            # Long enough for what is taken to be counted.
            for _ in range(8):
                await ctx.tick()
                assert not ctx.get(chip.load.ready)
            ctx.set(chip.o.ready, 1)
            await ctx.tick().until(chip.o.valid)
            ctx.set(chip.o.ready, 0)
        await ctx.tick().until(chip.load.ready)

    simulate(chip, host, taker)


@pytest.mark.parametrize("stall", [None, 5])
def test_a_load_ends_when_it_is_written(stall):
    """Transactions behind one another, each with another memory's word as its last, and sequences
    on offer all the while: a transfer is written once and in order, and nothing begins before the
    last one of a transaction is."""
    description = small(
        network={"inputs": 1, "hidden": [1], "classes": 2},
        cell=FEW_ENTRIES | {"frac": 0},
        adc={"bits": 3},
        voting={"replay_steps": 2},
    )
    chip, program = Accelerator(description), random_program(description, 1)
    regions, votes = dict(chip.load_map.regions), chip.load_map.regions["votes"]
    del regions["votes"]  # which has no port

    def as_written(transfer):
        for name, region in regions.items():
            if region.holds(int(transfer.address)):
                offset, word = (1 << region.bits) - 1, (1 << region.data_bits) - 1
                return name, int(transfer.address) & offset, int(transfer.data) & word
        return None

    words = image.words(program)
    of_each = {
        name: next((word for word in words if region.holds(word[0])), (region.base, 0))
        for name, region in regions.items()
    }
    level = of_each["head.cell_levels"]
    ends = [*of_each.values(), (votes.address(), 1), (chip.load_map.nowhere, 0)]
    transactions = [[*words, level]]
    for end in ends:
        transactions += [[end, level], [level, end]]
    lengths = [1, 2] * (len(transactions) // 2)
    x = random_codes(description, 1, len(lengths), 2, description.network.inputs)
    events: list = []

    async def watch(ctx):
        signals = [
            *(chip.load.valid & chip.load.ready, chip.load.payload),
            chip.i.valid & chip.i.ready,
        ]
        for name, region in regions.items():
            block, _, port_name = name.rpartition(".")
            port = getattr(chip.blocks[block], port_name)
            if port_name in ("cells", "cell_levels"):
                at, what = (
                    Cat(port.payload[field] for field, _ in fields)
                    for fields in (region.fields, region.data)
                )
                signals += [port.valid & port.ready, at, what]
            else:
                signals += [port.enable, port.address, port.data]
        async for _, _, is_taken, transfer, is_beat, *now in ctx.tick().sample(*signals):
            events.extend([("taken", transfer)] * is_taken + [("beat", None)] * is_beat)
            for name, enable, at, what in zip(regions, *(now[n::3] for n in range(3)), strict=True):
                events.extend([("written", (name, at, what))] * enable)

    async def host(ctx):
        for transaction in transactions:
            await sender(chip.load, load_payloads(transaction), waits(stall))(ctx)

    async def sequences(ctx):
        await ctx.tick().until(chip.load.ready)
        await sender(chip.i, vector_payloads(x, lengths, chip.input_beat))(ctx)

    simulate(chip, host, sequences, receiver(chip.o, len(lengths), []), watchers=[watch])
    pending, last = [], 1
    for event, what in events:
        if event == "written":
            assert what == pending.pop(0)
        elif event == "beat":
            assert last and not pending
        else:
            assert not (last and pending)
            last = what.last
            pending += [write for write in [as_written(what)] if write]
    assert not pending
