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
    steps: Steps of the longest sequence.
    difference: Largest difference, relative to how much the scores vary.
    why_not: Reason why nothing was compared.
    every_step: Whether the source gives scores of every step.
    """

    sequences: int
    steps: int
    difference: float
    why_not: str = ""
    every_step: bool = False

    def __str__(self) -> str:
        if not self.sequences:
            return f"not compared: {self.why_not}"
        return (
            f"compared on {self.sequences} sequences of up to {self.steps} steps: largest "
            f"difference {self.difference:.1e} of how much the scores vary"
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

    There are sequences as long as the shortest one, and longer ones than any, which show what
    leaves steps out or takes means over them. A source may refuse the longer ones.

    Returns the network with the tail that was found, and the comparison.

    Raises WordlineError if the two differ, or if leaving out the tail would change the output.
    """
    runs = _runs(own, model, data, description)
    if not runs:
        _check_tail(own, description)
        return own, Comparison(0, 0, 0.0, own.why_not or "there is nothing to run")
    off = {}
    for tail in TAILS:
        found = [min(_off(tail, scores, output) for output in outputs) for scores, outputs in runs]
        if own.steps is not None:  # of another length, such a file may give what has no meaning
            found = found[:1] + [value for value in found[1:] if value < torch.inf]
        off[tail] = max(found)
        if off[tail] <= own.tolerance:
            own = replace(own, tail=(*own.tail, tail) if tail else own.tail)
            _check_tail(own, description)
            (scores, outputs), used = runs[len(found) - 1], len(runs[0][0])
            every = all(output.dim() == 3 for output in outputs)
            return own, Comparison(used, scores.shape[1], off[tail], every_step=every)
    how = f"differs by {min(off.values()):.1e} of how much the scores vary"
    if min(off.values()) == torch.inf:
        how = f"has shape {_shapes(runs[0][1])}"
    raise WordlineError(
        f"{own.source} is not a chain of recurrent and linear layers, read at the last step or at "
        f"every one: on the calibration its output {how}. Give its layers in a chain; of "
        f"what else it computes, an ONNX file keeps scales, shifts and permutations."
    )


Run = tuple[Tensor, Sequence[Tensor]]
"""Scores of every step (sequences, steps, classes), and the outputs of the source."""


def _runs(own: Foreign, model: FloatModel, data: Sequences, description: Description) -> list[Run]:
    """Runs of the shortest length and of a longer one than any; none if the first one fails."""
    found: list[Run] = []
    shortest = own.steps or int(data.lengths.min())
    for steps in (shortest, 2 * max(shortest, int(data.lengths.max())) + 3):
        # With as many sequences as steps, the axes of an output would be ambiguous.
        count = min(CHECKED, len(data.x))
        count -= count == steps and count > 1
        again = torch.arange(steps) % data.lengths[:count, None]
        x = data.x[torch.arange(count)[:, None], again].float()
        outputs = [] if own.run is None else own.run(x)
        if not outputs:
            break
        lengths = torch.full((count,), steps)
        scores = model.scores(Sequences(x, lengths, torch.zeros(count, steps).long()))
        if own.thresholds(description):
            scores = scores[..., 1:] - scores[..., :1]
        found.append((scores, outputs))
    return found


def _off(tail: str, scores: Tensor, output: Tensor) -> float:
    """Difference of an output from the scores of every step or of the last one, behind a tail."""
    through, inner, back = TAILS[tail]
    found = [torch.inf]
    for own in (scores[:, -1], scores):
        if own.shape == output.shape:
            pairs = [(through(own), output), (inner(own), back(output))]
            if all(not bool(b.isnan().all()) for _, b in pairs):
                found.append(max(_difference(a, b) for a, b in pairs))
    return min(found)


FLOOR = 1e-3
"""How much scores vary at least, relative to the largest one: they are float32."""


def _difference(wanted: Tensor, found: Tensor) -> float:
    """Largest difference, relative to how much each score varies over sequences and steps."""
    wanted, found = wanted.double().flatten(0, -2), found.double().flatten(0, -2)
    varies = max(
        float((wanted - wanted.mean(0)).abs().max()), FLOOR * float(wanted.abs().max()), 1e-30
    )
    known = ~found.isnan()
    difference = float((wanted - found)[known].abs().max()) / varies
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
