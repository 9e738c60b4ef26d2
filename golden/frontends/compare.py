"""Comparison of a network as it was read with its source, on calibration sequences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from golden.datasets import Sequences
from golden.description import Description
from golden.errors import WordlineError
from golden.float_network import FloatModel
from golden.frontends.chain import COARSE, Foreign

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
    limit: Steps beyond which the source computes something else, or nothing; 0: none was found.
    """

    sequences: int
    steps: int
    difference: float
    why_not: str = ""
    every_step: bool = False
    limit: int = 0

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

    There are sequences of a few steps, as long as the shortest one, as the longest one, and longer
    ones, which show what leaves steps out or takes means over them. Only of these longer ones the
    source may compute something else, or nothing. Lengths at which rounding decides are left out.

    Returns the network with the tail that was found, and the comparison.

    Raises WordlineError if the two differ, or if leaving out the tail would change the output.
    """
    runs = _runs(own, model, data, description)
    if not runs:
        _check_tail(own, description)
        return own, Comparison(0, 0, 0.0, own.why_not or "there is nothing to run")
    needed = own.steps or int(data.lengths.max())

    def must(n: int, values: Sequence[float]) -> bool:
        """Whether a run must fit. A file that is read for one number of steps, and computes
        something else at another one, may have another step of its own."""
        return runs[n].steps <= needed or (own.steps is not None and values[n] < torch.inf)

    off: dict[str, list[float]] = {}
    for tail in TAILS:
        off[tail] = [run.off(tail, own, description) for run in runs]
        fits = [value <= run.tolerance for value, run in zip(off[tail], runs, strict=True)]
        if all(fit or not must(n, off[tail]) for n, fit in enumerate(fits)):
            good = [n for n, fit in enumerate(fits) if fit]
            own = replace(own, tail=(*own.tail, tail) if tail else own.tail)
            _check_tail(own, description)
            return own, Comparison(
                len(runs[0].scores),
                runs[good[-1]].steps,
                max(off[tail][n] for n in good),
                every_step=all(output.dim() == 3 for output in runs[0].outputs),
                limit=0 if all(fits) else needed,
            )

    def worst_of(values: Sequence[float]) -> int:
        return max((n for n in range(len(runs)) if must(n, values)), key=values.__getitem__)

    best = min(off.values(), key=lambda values: values[worst_of(values)])
    worst = worst_of(best)
    how = f"its output differs by {best[worst]:.1e} of how much the scores vary"
    if not runs[worst].outputs:
        how = "it cannot be run"
    elif best[worst] == torch.inf:
        how = f"its output has shape {_shapes(runs[worst].outputs)}, or is no number"
    raise WordlineError(
        f"{own.source} is not a chain of recurrent and linear layers, read at the last step or at "
        f"every one: on the calibration, at {runs[worst].steps} steps, {how}. Give its layers in a "
        f"chain; of what else it computes, an ONNX file keeps scales, shifts and permutations."
    )


FLOOR = 1e-3
"""How much scores vary at least, relative to the largest one: they are float32."""

ROUNDING, TELLING = 10, 0.1
"""Accepted difference, in that of the network with inputs that are rounded otherwise; and the
largest one of a run that tells anything: others are left out."""

FEW_STEPS = 8
"""Steps of the shortest run: rounding has not grown yet in any network."""

LONG = 1000
"""Steps from which on the longer sequences are only a little longer, and few."""


@dataclass(frozen=True)
class _Run:
    """A run of sequences of one length.

    scores: Scores of every step (sequences, steps, classes) of the network as it was read.
    outputs: Outputs of the source.
    tolerance: Accepted difference.
    """

    scores: Tensor
    outputs: Sequence[Tensor]
    tolerance: float

    @property
    def steps(self) -> int:
        return self.scores.shape[1]

    def off(self, tail: str, own: Foreign, description: Description) -> float:
        """Difference of the outputs from the scores of every step or of the last one, behind a
        tail, relative to how much scores vary over sequences and steps."""
        through, inner, back = TAILS[tail]
        # What float16 computes is rounded relative to the largest score.
        floor = 1.0 if own.computes in COARSE else FLOOR
        of = description.output.of
        found = [torch.inf]
        for output in self.outputs:
            for scores in (self.scores[:, -1], self.scores):
                if scores.shape != output.shape or bool(output.isnan().any()):
                    continue
                sides = [
                    (function(scores), found_, _variation(function(self.scores), floor, of))
                    for function, found_ in ((through, output), (inner, back(output)))
                ]
                if all(not bool(b.isnan().all()) for _, b, _ in sides):
                    found.append(max(_difference(*side) for side in sides))
        return min(found)


def _variation(scores: Tensor, floor: float, of: str) -> Tensor:
    """How much scores (..., classes) vary: all of them for a class, else each by itself.

    It is at least in proportion to each score, and for states to the largest one.
    """
    flat = scores.double().flatten(0, -2)
    varies, least = (flat - flat.mean(0)).abs().amax(0), floor * flat.abs().amax(0)
    varies = varies.max() if of == "class" else varies
    least = least.max() if of == "state" else least
    return torch.maximum(varies, least).clamp(min=1e-30)


def _difference(wanted: Tensor, found: Tensor, varies: Tensor) -> float:
    """Largest difference where `found` is a number."""
    relative = ((wanted.double() - found.double()) / varies).abs()[~found.isnan()]
    return float(relative.max()) if len(relative) and not relative.isnan().any() else torch.inf


def _runs(own: Foreign, model: FloatModel, data: Sequences, description: Description) -> list[_Run]:
    """Runs of a few steps, of the shortest length, of the longest one, and of a longer one than
    any; none if the first one fails.

    Raises WordlineError if the type in which the source computes does not hold the inputs.
    """
    shortest, longest = int(data.lengths.min()), int(data.lengths.max())
    few = min(FEW_STEPS, shortest)
    lengths = [own.steps] if own.steps else [*dict.fromkeys((few, shortest, longest))]
    coarse = own.computes in COARSE
    if not coarse:  # else long sequences take long, and differ
        lengths.append(2 * lengths[-1] + 3 if lengths[-1] <= LONG else lengths[-1] + 3)
    found: list[_Run] = []
    for steps in lengths:
        count = min(CHECKED if steps <= LONG else 2, len(data.x))
        # With as many sequences as steps, the axes of an output would be ambiguous.
        count -= count == steps and count > 1
        again = torch.arange(steps) % data.lengths[:count, None]
        x = data.x[torch.arange(count)[:, None], again].float()
        if coarse:
            x = x.to(own.computes).float()
            if not bool(x.isfinite().all()):
                kind = str(own.computes).removeprefix("torch.")
                raise WordlineError(
                    f"{own.source} computes in {kind}, which does not hold all inputs of the "
                    f"calibration; give the network in float32."
                )
        outputs = [] if own.run is None else own.run(x)
        if not outputs and not found:
            return []

        one = own.thresholds(description)
        wanted = _every_score(model, x, one)
        # Of a chaotic network, rounding grows with the steps.
        other = _every_score(model, x * (1 + 2.0**-23), one)
        apart = ROUNDING * _difference(
            other, wanted, _variation(wanted, FLOOR, description.output.of)
        )
        if apart <= TELLING or not found:
            found.append(_Run(wanted, outputs, max(own.tolerance, min(TELLING, apart))))
    return found


def _every_score(model: FloatModel, x: Tensor, one: bool) -> Tensor:
    """Scores of every step; one: a single one, which is compared with 0."""
    size = x.shape[:2]
    every = torch.zeros(size, dtype=torch.int64)
    scores = model.scores(Sequences(x, torch.full(size[:1], size[1]), every))
    return scores[..., 1:] - scores[..., :1] if one else scores


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
