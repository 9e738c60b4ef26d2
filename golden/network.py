"""The whole network on codes: recurrent layers in a chain, and a head on the state."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from golden import head, layer
from golden.errors import WordlineError
from golden.geometry import ArrayShape
from golden.injection import Injection, rounded_noise
from golden.layer import LayerTrace
from golden.program import HeadProgram, Program, check_votes

PASSES = 2048
SCORED = 256
"""Passes that `in_parts` and `scores` compute at once."""


@dataclass(frozen=True)
class Trace:
    """Everything the network computed, for a batch of padded sequences.

    layers: a LayerTrace each; what lies beyond a sequence's length is of no meaning. Its batch is
    one of passes: all passes of the first sequence, then of the next. scores: (passes, classes).
    label: (sequences,). With scores of every step: (passes, steps, classes) and (sequences, steps).
    Of a network without head, scores are its state, (passes, units), and there is no label.
    """

    layers: tuple[LayerTrace, ...]
    scores: Tensor
    label: Tensor | None


def run(
    program: Program,
    x: Tensor,
    lengths: Tensor,
    runs: Tensor | None = None,
    injection: Injection | None = None,
    *,
    every_step: bool | None = None,
    trace: bool = True,
    readable: bool = False,
) -> Trace:
    """Run a batch of sequences, each `program.votes` times.

    x: (batch, steps, inputs) DAC codes of any dtype, padded with anything. lengths: (batch,), each
    >= 1. runs: (batch,) the number of each sequence's first pass, which noise depends on; n * votes
    for sequence n if not given. injection, trace, readable: see `golden.layer.run`; with noise on
    every vector, scores have some too. every_step: score every step, not a sequence's last alone;
    as the description has it, if not given.
    Works on integers (exact) and, for training, on floats that hold the same integers.
    Raises WordlineError where the input does not fit.
    """
    description = program.description
    check(program, x, lengths)
    votes = program.votes
    if runs is None:
        runs = torch.arange(len(x), device=x.device) * votes
    runs = (runs[:, None] + torch.arange(votes, device=x.device)).flatten()
    if votes > 1:
        x, lengths = x.repeat_interleave(votes, 0), lengths.repeat_interleave(votes)
    traces: list[LayerTrace] = []
    for layer_program, shape in zip(program.layers, description.layers, strict=True):
        found = layer.run(layer_program, x, shape, runs, injection, trace=trace, readable=readable)
        traces.append(found)
        x = found.h
    every_step = description.output.every_step if every_step is None else every_step
    state = x if every_step else x[torch.arange(len(x), device=x.device), lengths - 1]
    if program.head is None:
        # As scores are: layers give integers of few bits.
        return Trace(tuple(traces), state.to(program.layers[-1].bias.dtype), None)
    if every_step:
        scores = _score_every_step(program.head, state, description.head, runs)
    else:
        scores = head.scores(program.head, state, description.head, runs)
    if injection is not None and injection.placement == "every":
        normal = torch.randn(scores.shape, device=x.device)
        scores = rounded_noise(scores, normal, injection.power_ratio)
    label = head.vote(scores.unflatten(0, (-1, votes)), program.vote_by)
    return Trace(tuple(traces), scores, label)


def _score_every_step(program: HeadProgram, h: Tensor, shape: ArrayShape, runs: Tensor) -> Tensor:
    """(passes, steps, classes) of (passes, steps, units)."""
    passes, steps, _ = h.shape
    numbers = torch.arange(steps, device=h.device).repeat(passes)
    found = head.scores(
        *(program, h.flatten(0, 1), shape),
        *(runs.repeat_interleave(steps), numbers),
    )
    return found.unflatten(0, (passes, steps))


def in_parts(
    program: Program, x: Tensor, lengths: Tensor, *, trace: bool = True
) -> Iterator[tuple[Tensor, Trace]]:
    """As `run`, a part at a time, so that memory does not grow with the batch or with votes.

    Yields the sequences' numbers and their trace.
    """
    check(program, x, lengths)
    for part in torch.arange(len(x)).split(max(1, PASSES // program.votes)):
        yield part, run(program, x[part], lengths[part], part * program.votes, trace=trace)


def scores(
    program: Program,
    x: Tensor,
    lengths: Tensor,
    injection: Injection | None = None,
) -> Tensor:
    """The scores of every pass alone, (sequences, votes, classes); of every step (sequences, votes,
    steps, classes), 0 beyond a sequence's length; or states; see `run`.

    Sequences of much the same length are computed together, few at once: fast.
    """
    check(program, x, lengths)
    votes, outputs = program.votes, program.description.outputs
    every_step = program.description.output.every_step
    size = (len(x), votes, *((x.shape[1],) if every_step else ()), outputs)
    found = torch.zeros(size, dtype=torch.int64, device=x.device)
    for part in lengths.argsort(stable=True).split(max(1, SCORED // votes)):
        steps, runs = int(lengths[part].max()), part * votes
        codes = x[part, :steps]
        trace = run(program, codes, lengths[part], runs, injection, trace=False)
        some = trace.scores.unflatten(0, (-1, votes))
        if every_step:
            within = torch.arange(steps, device=x.device) < lengths[part, None]
            found[part, :, :steps] = some * within[:, None, :, None]
        else:
            found[part] = some
    return found


def check(program: Program, x: Tensor, lengths: Tensor) -> None:
    """Raise WordlineError where x and lengths are not what `run` takes."""
    inputs = program.description.network.inputs
    if x.dim() != 3 or x.shape[2] != inputs or 0 in x.shape:
        raise WordlineError(
            f"The input has shape {tuple(x.shape)}; give (sequences, steps, {inputs}), none of "
            f"them empty."
        )
    if lengths.shape != x.shape[:1] or lengths.min() < 1 or lengths.max() > x.shape[1]:
        raise WordlineError(
            f"The lengths must be {x.shape[0]} numbers from 1 to {x.shape[1]}, the steps given."
        )
    check_votes(program.description, program.votes, program.vote_by, int(lengths.max()))
    dac = program.description.dac
    least, most = torch.aminmax(x)
    if least >= dac.range.low and most <= dac.range.high and dac.bits > 1:
        return
    steps = torch.arange(x.shape[1], device=x.device)
    wrong = (x < dac.range.low) | (x > dac.range.high) | ((x == 0) & (dac.bits == 1))
    wrong &= (steps < lengths[:, None])[..., None]  # padding may be anything
    if bool(wrong.any()):
        raise WordlineError(
            f"The input holds the code {x[wrong][0].item()}, which a {dac.bits}-bit DAC does not "
            f"have; its codes are {dac.range.low}..{dac.range.high}"
            + (" without 0." if dac.bits == 1 else ".")
        )
