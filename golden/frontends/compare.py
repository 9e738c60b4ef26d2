"""Comparison of a network as it was read with its source, on calibration sequences."""

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
"""Maximum sequences of the comparison."""


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison of a network as it was read with its source.

    sequences: Number of sequences; 0 if nothing was compared.
    steps: Steps of each sequence.
    difference: Largest difference, relative to the largest score.
    why_not: Reason why nothing was compared.
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
"""Functions that a module may apply to its scores last.

Each entry has the function, and two functions for a second comparison where the first is so flat
that its values tell little. These map the scores and the output to comparable values; NaN marks
values that tell nothing.
"""


def compare(
    own: Foreign, model: FloatModel, data: Sequences, description: Description
) -> tuple[Foreign, Comparison]:
    """Compare a network with its source.

    Returns the network with the tail that was found, and the comparison.

    Raises WordlineError if the two differ, or if leaving out the tail would change the output.
    """
    least = int(data.lengths.min())
    steps = own.steps or least
    # With as many sequences as steps, the axes of an output would be ambiguous.
    count = min(CHECKED, len(data.x))
    count -= count == steps and count > 1
    x = data.x[:count, torch.arange(steps) % least].float()
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
        f"{own.source} is not a chain of recurrent and linear layers, read at the last step or at "
        f"every one: on the calibration its output {how}. Give its layers in a chain; of "
        f"what else it computes, an ONNX file keeps scales, shifts and permutations."
    )


def _off(tail: str, scores: Tensor, output: Tensor) -> float:
    """Difference of an output from the scores of every step or of the last one, behind a tail."""
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
    """Check that the output stays the same if the tail is left out.

    Raises WordlineError if it does not.
    """
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
