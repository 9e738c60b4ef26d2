"""The replay buffer alone: every sequence as often as there are votes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from golden.ranges import ceil_div
from hw.replay import Replay
from tests.helpers import (
    examples,
    random_codes,
    receiver,
    recorder,
    sender,
    simulate,
    small,
    vector_payloads,
    waits,
)


def run(inputs, beat, steps, lengths, votes, seed=None):
    """What comes out, what is to come out, and the cycles of transfers."""
    description = small(network={"inputs": inputs}, voting={"replay_steps": steps, "max_votes": 9})
    dut = Replay(beats=ceil_div(inputs, beat), beat=beat, description=description)
    x = random_codes(description, 3, len(lengths), max(lengths), inputs)
    sent = vector_payloads(x, lengths, beat)
    expected = [
        payload
        for n, length in enumerate(lengths)
        for k in range(votes)
        for payload in vector_payloads(x[n : n + 1], [min(length, steps) if k else length], beat)
    ]
    out: list = []
    moved: list = []

    async def host(ctx):
        ctx.set(dut.votes, votes)
        await sender(dut.i, sent, waits(seed))(ctx)

    simulate(
        dut,
        host,
        receiver(dut.o, len(expected), out, waits(seed)) if seed else eager(dut.o, expected, out),
        watchers=[recorder(dut.o.valid & dut.o.ready, dut.o.payload.last, moved)],
    )
    got = [{"codes": [int(c) for c in p.codes], "last": int(p.last)} for p in out]
    return got, expected, [cycle for cycle, _ in moved]


def eager(stream, expected, into):
    """A testbench that is always ready."""

    async def process(ctx):
        ctx.set(stream.ready, 1)
        while len(into) < len(expected):
            _, _, valid, payload = await ctx.tick().sample(stream.valid, stream.payload)
            if valid:
                into.append(payload)

    return process


@examples(40)
@given(
    inputs=st.integers(1, 5),
    beat=st.integers(1, 5),
    steps=st.integers(1, 4),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    votes=st.integers(1, 4),
    seed=st.none() | st.integers(1, 99),
)
def test_every_sequence_is_repeated(inputs, beat, steps, lengths, votes, seed):
    """One that is too long, too: its first steps are."""
    got, expected, _ = run(inputs, min(beat, inputs), steps, lengths, votes, seed)
    assert got == expected


def test_passes_follow_one_another_without_a_gap():
    _, expected, cycles = run(4, 2, 3, [3, 1], 3)
    assert len(cycles) == len(expected) == 3 * 2 * 4
    # Within the passes of a sequence a beat a cycle, but for a sender that pauses in the first.
    gaps = [b - a for a, b in pairwise(cycles)]
    assert gaps[5:17] == [1] * 12 and gaps[19:] == [1] * 4
