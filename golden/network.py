"""The whole network on codes: recurrent layers in a chain, the head on the last state."""

from dataclasses import dataclass

import torch
from torch import Tensor

from golden import head, layer
from golden.errors import WordlineError
from golden.gates import Disturb
from golden.layer import LayerTrace
from golden.program import Program


@dataclass(frozen=True)
class Trace:
    """Everything the network computed, for a batch of padded sequences.

    layers: a LayerTrace each; what lies beyond a sequence's length is of no meaning. Its batch is
    one of passes: all passes of the first sequence, then of the next. scores: (passes, classes).
    label: (sequences,).
    """

    layers: tuple[LayerTrace, ...]
    scores: Tensor
    label: Tensor


def run(
    program: Program,
    x: Tensor,
    lengths: Tensor,
    sequences: Tensor | None = None,
    disturb: Disturb | None = None,
) -> Trace:
    """Run a batch of sequences, each `program.votes` times.

    x: (batch, steps, inputs) DAC codes, padded with anything. lengths: (batch,), each >= 1.
    sequences: (batch,) their numbers, which noise depends on: pass k of sequence n is run
    n * votes + k; 0, 1, 2, ... if not given. disturb: see `golden.gates`; for training.
    Works on integers (exact) and, for training, on floats that hold the same integers.
    Raises WordlineError where the input does not fit.
    """
    description = program.description
    check(program, x, lengths)
    votes = program.votes
    if sequences is None:
        sequences = torch.arange(len(x), device=x.device)
    runs = (sequences[:, None] * votes + torch.arange(votes, device=x.device)).flatten()
    x, lengths = x.repeat_interleave(votes, 0), lengths.repeat_interleave(votes)
    traces: list[LayerTrace] = []
    for layer_program, shape in zip(program.layers, description.layers, strict=True):
        traces.append(layer.run(layer_program, x, shape, runs, disturb))
        x = traces[-1].h
    last = x[torch.arange(len(x), device=x.device), lengths - 1]
    scores = head.scores(program.head, last, description.head, runs)
    label = head.vote(scores.unflatten(0, (-1, votes)), program.vote_by)
    return Trace(tuple(traces), scores, label)


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
    room = program.description.voting.replay_steps
    if program.votes > 1 and lengths.max() > room:
        raise WordlineError(
            f"A sequence has {int(lengths.max())} steps, but the replay buffer holds {room}; set "
            f"voting.replay_steps to {int(lengths.max())}, or vote once."
        )
    dac = program.description.dac
    steps = torch.arange(x.shape[1], device=x.device)
    wrong = (x < dac.range.low) | (x > dac.range.high) | ((x == 0) & (dac.bits == 1))
    wrong &= (steps < lengths[:, None])[..., None]  # padding may be anything
    if bool(wrong.any()):
        raise WordlineError(
            f"The input holds the code {x[wrong][0].item()}, which a {dac.bits}-bit DAC does not "
            f"have; its codes are {dac.range.low}..{dac.range.high}"
            + (" without 0." if dac.bits == 1 else ".")
        )
