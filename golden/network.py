"""Whole network on codes: a chain of recurrent layers, and a head on the state."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from golden import fast_head, head, layer, native
from golden.errors import WordlineError
from golden.geometry import ArrayShape
from golden.injection import Injection
from golden.layer import LayerTrace
from golden.program import HeadProgram, Program, check_votes

PASSES = 2048
SCORED = 256
"""Maximum passes that are computed at once: PASSES by `in_parts`, SCORED by `scores`."""


@dataclass(frozen=True)
class Trace:
    """All values that the network computed for a batch of padded sequences.

    The batch of the layers and of the scores is one of passes: all passes of the first sequence,
    then of the next. If every step is scored, scores and labels have a further axis: (passes,
    steps, classes) and (sequences, steps). Values of padding steps are meaningless.

    layers: One `LayerTrace` per layer.
    scores: Scores, shape (passes, classes); without a head the state, shape (passes, units).
    label: Classes, shape (sequences,); None without a head.
    """

    layers: tuple[LayerTrace, ...]
    scores: Tensor
    label: Tensor | None


@native.uncompiled
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

    The computation is exact on integers. For training, it also takes floats that hold the same
    integers.

    program: The network.

    x: DAC codes of any dtype, shape (batch, steps, inputs); padding may have any value.

    lengths: Length of each sequence in steps, at least 1, shape (batch,).

    runs: Run number of each sequence's first pass, shape (batch,), for the noise. Default: n *
    votes for sequence n.

    injection: Further noise, which no hardware has, by `golden.normal`, at its placement.

    every_step: Whether to score every step instead of the last one. Default: as in the description.

    trace: Whether to keep ADC codes and c.

    readable: Whether to use the readable path even if the fast one could run; both compute the same
    numbers.

    Raises WordlineError if the input does not fit the network.
    """
    description = program.description
    check(program, x, lengths)
    x, lengths = _wide(x), lengths.long()
    votes = program.votes
    if runs is None:
        runs = torch.arange(len(x), device=x.device) * votes
    if runs.shape != x.shape[:1]:
        raise WordlineError(
            f"runs has shape {tuple(runs.shape)}; give {len(x)} run numbers, one a sequence."
        )
    runs = (runs[:, None] + torch.arange(votes, device=x.device)).flatten()
    if votes > 1:
        x, lengths = x.repeat_interleave(votes, 0), lengths.repeat_interleave(votes)
    traces: list[LayerTrace] = []
    for layer_program, shape in zip(program.layers, description.layers, strict=True):
        if injection is not None:
            x = injection.on_codes(x, description.dac)
        found = layer.run(layer_program, x, shape, runs, injection, trace=trace, readable=readable)
        traces.append(found)
        x = found.h
    if injection is not None and program.head is not None:
        x = injection.on_codes(x, description.dac)
    every_step = description.output.every_step if every_step is None else every_step
    state = x if every_step else x[torch.arange(len(x), device=x.device), lengths - 1]
    if program.head is None:
        # The same dtype as scores; layers return h in a narrow one.
        return Trace(tuple(traces), state.to(program.layers[-1].bias.dtype), None)
    scores = _scores(program.head, state, description.head, runs, readable)
    if injection is not None:
        scores = injection.on_integer_scores(scores)
    label = head.vote(scores.unflatten(0, (-1, votes)), program.vote_by)
    return Trace(tuple(traces), scores, label)


def _scores(
    program: HeadProgram, h: Tensor, shape: ArrayShape, runs: Tensor, readable: bool
) -> Tensor:
    """Scores (passes, classes) of h (passes, units); or with an axis of steps after the passes."""
    size = h.shape[:-1]
    steps: Tensor | int = 0  # the score of a whole sequence has this one
    if h.dim() == 3:
        steps = torch.arange(size[1], device=h.device).repeat(size[0])
        h, runs = h.flatten(0, 1), runs.repeat_interleave(size[1])
    way = fast_head.trained if program.bias.is_floating_point() else fast_head.scores
    found = None if readable else way(program, h, shape)
    if found is None:
        found = head.scores(program, h, shape, runs, steps)
    return found.unflatten(0, size)


def in_parts(
    program: Program, x: Tensor, lengths: Tensor, *, trace: bool = True
) -> Iterator[tuple[Tensor, Trace]]:
    """Like `run`, in parts: memory does not grow with the batch or with votes.

    Yields the numbers of some sequences and their trace.
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
    """Scores of every pass, int64, shape (sequences, votes, classes).

    If every step is scored, the shape is (sequences, votes, steps, classes), with 0 in padding
    steps. A network without a head returns its states; see `run`.

    For speed, sequences of similar length are computed together, few at a time.
    """
    check(program, x, lengths)
    x, lengths = _wide(x), lengths.long()
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


def _wide(x: Tensor) -> Tensor:
    """Codes in a type that holds sums and negative numbers, too."""
    return x.to(torch.int16) if x.dtype in (torch.int8, torch.uint8) else x


def check(program: Program, x: Tensor, lengths: Tensor) -> None:
    """Check that x and lengths fit the network.

    Raises WordlineError if they do not.
    """
    inputs = program.description.network.inputs
    if x.dim() != 3 or x.shape[2] != inputs or 0 in x.shape:
        raise WordlineError(
            f"The input has shape {tuple(x.shape)}; give (sequences, steps, {inputs}), none of "
            f"them empty."
        )
    if lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise WordlineError(f"The lengths are {lengths.dtype}; give integers.")
    if lengths.shape != x.shape[:1] or lengths.min() < 1 or lengths.max() > x.shape[1]:
        raise WordlineError(
            f"The lengths must be {x.shape[0]} numbers from 1 to {x.shape[1]}, the steps given."
        )
    check_votes(program.description, program.votes, program.vote_by, int(lengths.max()))
    dac, x = program.description.dac, _wide(x)
    least, most = torch.aminmax(x)
    integers = not x.is_floating_point() or bool((x == x.floor()).all())
    if least >= dac.range.low and most <= dac.range.high and dac.bits > 1 and integers:
        return
    steps = torch.arange(x.shape[1], device=x.device)
    wrong = ~((x >= dac.range.low) & (x <= dac.range.high)) | ((x == 0) & (dac.bits == 1))
    if not integers:
        wrong |= x != x.floor()
    wrong &= (steps < lengths[:, None])[..., None]  # padding may have any value
    if bool(wrong.any()):
        raise WordlineError(
            f"The input holds the code {x[wrong][0].item()}, which a {dac.bits}-bit DAC does not "
            f"have; its codes are {dac.range.low}..{dac.range.high}"
            + (" without 0." if dac.bits == 1 else ".")
            + ("" if integers else " wordline.encode makes codes of real inputs.")
        )
