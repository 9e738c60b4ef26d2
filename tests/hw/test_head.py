import torch
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from hypothesis import given
from hypothesis import strategies as st

from golden import head
from hw.head import ArgMax, Head, Scores
from tests.helpers import (
    array_loader,
    descriptions,
    examples,
    random_codes,
    random_program,
    receiver,
    recorder,
    sender,
    simulate,
    small,
    vector_payloads,
    waits,
)


def bias_writer(port, bias):
    async def process(ctx):
        for number, value in enumerate(bias):
            ctx.set(port.address, number)
            ctx.set(port.data, value & ((1 << len(port.data)) - 1))
            ctx.set(port.enable, 1)
            await ctx.tick()
        ctx.set(port.enable, 0)

    return process


class Decision(Elaboratable):
    """Scores, and the class of the highest."""

    def __init__(self, shape):
        self.scores, self.arg_max = Scores(shape), ArgMax(shape.description)

    def elaborate(self, platform):
        m = Module()
        m.submodules.scores, m.submodules.arg_max = self.scores, self.arg_max
        wiring.connect(m, self.scores.o, self.arg_max.i)
        return m


@examples(30)
@given(
    classes=st.integers(2, 9),
    lanes=st.integers(1, 5),
    seed=st.integers(0, 99),
    stall=st.booleans(),
    tie=st.booleans(),
)
def test_arg_max(classes, lanes, seed, stall, tie):
    description = small(network={"classes": classes}, array={"lanes": lanes})
    shape = description.head
    dut = Decision(shape)
    generator = torch.Generator().manual_seed(seed)
    steps = 5
    codes = torch.randint(-8, 8, (steps, classes), generator=generator)
    bias = torch.randint(-128, 128, (classes,), generator=generator) * (not tie)
    payloads = []
    for step in codes.tolist():
        for block in range(shape.blocks):
            part = step[block * shape.lanes : (block + 1) * shape.lanes]
            part = part + [7] * (shape.lanes - len(part))  # padding must not win
            payloads.append({"codes": part, "first": 1, "last": 1})
    out: list = []
    scores: list = []

    async def host(ctx):
        await bias_writer(dut.scores.bias, bias.tolist())(ctx)
        await sender(dut.scores.i, payloads, waits(seed if stall else None))(ctx)

    simulate(
        dut,
        host,
        receiver(dut.arg_max.o, steps, out, waits(seed if stall else None)),
        watchers=[recorder(dut.scores.trace_valid, dut.scores.trace, scores)],
    )
    wanted = codes * 16 + bias
    assert [int(trace.score) for _, trace in scores] == wanted.flatten().tolist()
    assert [int(payload.label) for payload in out] == head.label(wanted).tolist()
    assert head.label(wanted).tolist() == [row.index(max(row)) for row in wanted.tolist()]


@examples(15)
@given(descriptions(head=True), st.integers(0, 99), st.booleans())
def test_head_scores_the_last_step_or_every_one(description, seed, stall):
    """Of either classes or scores come out; the last of a sequence is marked where every step has
    some."""
    description = description.replace(voting={"replay_steps": 0})
    shape = description.head
    part = random_program(description, seed).head
    dut = Head(shape, beat=2)
    lengths = [1, 3, 2, 1]
    h = random_codes(description, seed, 4, 3, shape.rows)
    out: list = []

    async def host(ctx):
        await array_loader(dut, part, shape)(ctx)
        await bias_writer(dut.bias, part.bias.tolist())(ctx)
        await sender(dut.i, vector_payloads(h, lengths, 2), waits(seed if stall else None))(ctx)

    places = [(n, t) for n, length in enumerate(lengths) for t in range(length)]
    every, scores = description.output.every_step, description.output.of == "scores"
    if not every:
        places = [(n, t) for n, t in places if t == lengths[n] - 1]
    used = torch.stack([h[place] for place in places])
    runs, steps = torch.tensor(places).T
    wanted = head.scores(part, used, shape, runs, steps if every else 0)
    classes = shape.units if scores else 1
    count = len(places) * classes
    simulate(dut, host, receiver(dut.o, count, out, waits(seed if stall else None)))
    name = "score" if scores else "label"
    values = wanted if scores else head.label(wanted)
    assert [int(payload[name]) for payload in out] == values.flatten().tolist()
    if scores:
        lasts = [int(payload.last) for payload in out]
        assert lasts == [int(n % classes == classes - 1) for n in range(count)]
    if every:
        ends = [int(t == lengths[n] - 1) for n, t in places for _ in range(classes)]
        assert [int(payload.end) for payload in out] == ends
