"""A network as it was read, beside what it was read from, on calibration sequences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from golden.datasets import Sequences
from golden.description import Description
from golden.errors import WordlineError
from golden.float_network import FloatModel
from golden.frontends.chain import Foreign

CHECKED = 8
"""Sequences on which what was read is compared with what it was read from."""


@dataclass(frozen=True)
class Comparison:
    """The network as it was read, beside what it was read from, on calibration sequences.

    sequences, steps: how many; 0 where nothing was compared, for the reason in `why_not`.
    difference: the largest, relative to the largest score.
    """

    sequences: int
    steps: int
    difference: float
    why_not: str = ""

    def __str__(self) -> str:
        if not self.sequences:
            return f"not compared: {self.why_not}"
        return (
            f"compared on {self.sequences} sequences of {self.steps} steps: largest difference "
            f"{self.difference:.1e} of the largest score"
        )


Function = Callable[[Tensor], Tensor]

TAILS: dict[str, tuple[Function, Function, Function]] = {
    "": (lambda scores: scores, lambda scores: scores, lambda output: output),
    "LogSoftmax": (
        lambda scores: scores.log_softmax(-1),
        lambda scores: scores.log_softmax(-1),
        lambda output: output,
    ),
    "Softmax": (
        lambda scores: scores.softmax(-1),
        lambda scores: scores.log_softmax(-1),
        lambda output: torch.where(output > 1e-30, output, torch.nan).log(),
    ),
    "Sigmoid": (
        torch.sigmoid,
        lambda scores: scores,
        lambda output: torch.where((output > 1e-30) & (output < 0.999), output, torch.nan).logit(),
    ),
}
"""What a module's scores may go through last: the function; and, for where it is so flat that its
values tell little, what is compared beside it, of the scores and of the output (not a number where
it tells nothing)."""


def compare(
    own: Foreign, model: FloatModel, data: Sequences, description: Description
) -> tuple[Foreign, Comparison]:
    """The network, with the tail that was found, and how it compares with what it was read from.

    Raises WordlineError where the two differ, or where the tail changes what leaves.
    """
    least = int(data.lengths.min())
    steps = own.steps or least
    # As many sequences as steps would not tell the axes of an output apart.
    x = data.x[: CHECKED - (steps == CHECKED), torch.arange(steps) % least].float()
    outputs = [] if own.run is None else own.run(x)
    if not outputs:
        _check_tail(own, description)
        return own, Comparison(0, 0, 0.0, own.why_not or "there is nothing to run")
    lengths = torch.full((len(x),), steps)
    scores = model.scores(Sequences(x, lengths, torch.zeros(len(x), steps).long()))
    if own.thresholds(description):
        scores = scores[..., 1:] - scores[..., :1]
    off = {}
    for tail in TAILS:
        off[tail] = min((_off(tail, scores, output) for output in outputs), default=torch.inf)
        if off[tail] <= own.tolerance:
            own = replace(own, tail=(*own.tail, tail) if tail else own.tail)
            _check_tail(own, description)
            return own, Comparison(len(x), steps, off[tail])
    how = f"differs by {min(off.values()):.1e} of the largest score"
    if min(off.values()) == torch.inf:
        how = f"has shape {_shapes(outputs)}"
    raise WordlineError(
        f"{own.source} is no chain of recurrent and linear layers, read at the last step or at "
        f"every one: on the calibration its output {how}. Give its layers in a chain; what "
        f"else it computes is not mapped."
    )


def _off(tail: str, scores: Tensor, output: Tensor) -> float:
    """How far an output is from the scores of every step, or of the last, behind a tail."""
    through, inner, back = TAILS[tail]
    found = [torch.inf]
    for own in (scores[:, -1], scores):
        if own.shape == output.shape:
            pairs = [(through(own), output), (inner(own), back(output))]
            known = [(a, b, ~b.isnan()) for a, b in pairs]
            if all(bool(mask.any()) for *_, mask in known):
                found.append(max(_difference(a[mask], b[mask]) for a, b, mask in known))
    return min(found)


def _difference(wanted: Tensor, found: Tensor) -> float:
    largest = max(float(wanted.abs().max()), 1e-30)
    difference = float((wanted.double() - found.double()).abs().max()) / largest
    return difference if difference == difference else torch.inf


def _check_tail(own: Foreign, description: Description) -> None:
    """Raise WordlineError where leaving out what scores go through last changes what leaves."""
    names, of = ", ".join(own.tail), description.output.of
    if own.tail and of != "class":
        raise WordlineError(
            f"{own.source} ends with {names}, which the accelerator does not compute, but with "
            f"output.of = {of!r} its values would leave; write 'class', or take {names} off."
        )
    if own.thresholds(description) and {*own.tail} - {"Sigmoid"}:
        raise WordlineError(
            f"{own.source} gives one score and takes {names} of it, which is the same for every "
            f"sequence; take it off, and see whether the network has the classes that it should."
        )


def _shapes(outputs: Sequence[Tensor]) -> str:
    return " or ".join(dict.fromkeys(str(tuple(output.shape)) for output in outputs))
