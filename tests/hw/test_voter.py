"""The voter alone, against golden.head.vote, and its cycles."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from golden import head
from hw.voter import Voter
from tests.helpers import examples, receiver, recorder, sender, simulate, small, waits


def run(description, scores, by_sum, seed=None):
    """Classes of scores (sequences, votes, classes); cycles of the last score of each pass, and in
    which a class was first on offer."""
    dut = Voter(description)
    sequences, votes, classes = scores.shape
    payloads = [
        {"score": score, "last": int(n == classes - 1)}
        for one in scores.flatten(0, 1).tolist()
        for n, score in enumerate(one)
    ]
    out: list = []
    taken: list = []
    offered: list = []

    async def host(ctx):
        ctx.set(dut.votes, votes)
        ctx.set(dut.by_sum, by_sum)
        await sender(dut.i, payloads, waits(seed))(ctx)

    simulate(
        dut,
        host,
        receiver(dut.o, sequences, out, waits(seed)),
        watchers=[
            recorder(dut.i.valid & dut.i.ready, dut.i.payload.last, taken),
            recorder(dut.o.valid, dut.o.payload.label, offered),
        ],
    )
    return [int(payload.label) for payload in out], taken, offered


@examples(40)
@given(
    classes=st.integers(2, 6),
    votes=st.integers(1, 5),
    by_sum=st.booleans(),
    spread=st.sampled_from((1, 3, 200)),  # little spread: many ties
    seed=st.integers(0, 99),
    stall=st.booleans(),
)
def test_the_voter_is_golden(classes, votes, by_sum, spread, seed, stall):
    description = small(
        network={"classes": classes}, voting={"replay_steps": 1, "max_votes": max(2, votes)}
    )
    high = min(spread, 2 ** (description.score_bits - 1) - 1)
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(-high - 1, high + 1, (4, votes, classes), generator=generator)
    labels, _, _ = run(description, scores, int(by_sum), seed if stall else None)
    assert labels == head.vote(scores, "sum" if by_sum else "majority").tolist()


def test_sums_do_not_overflow():
    """The largest scores of both signs, as often as they can be added."""
    description = small(network={"classes": 2}, voting={"replay_steps": 1, "max_votes": 7})
    most = 2 ** (description.score_bits - 1) - 1
    scores = torch.tensor([[[most, -most - 1]] * 7, [[-most - 1, -most]] * 7])
    assert run(description, scores, 1)[0] == [0, 1]


def test_latency_and_pause():
    description = small(network={"classes": 5}, voting={"replay_steps": 1})
    dut = Voter(description)
    scores = torch.randint(-9, 9, (3, 2, 5), generator=torch.Generator().manual_seed(0))
    _, taken, offered = run(description, scores, 0)
    cycles = [cycle for cycle, _ in taken]
    last = [cycle for cycle, is_last in taken if is_last]
    assert [cycle for cycle, _ in offered] == [cycle + dut.latency for cycle in last[1::2]]
    # Within a pass a score a cycle; two cycles after a pass, `latency` after a sequence's last.
    gaps = [b - a - 1 for a, b in pairwise(cycles)]
    assert gaps[:4] == [0] * 4 and gaps[4] == 2 and gaps[9] == dut.latency
