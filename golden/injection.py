"""Deep Noise Injection: noise in proportion to the signal on the vectors that a step computes.

After Qin and Vucinic, arXiv 1807.06555 (z_g = W_g x + U_g h + b_g + n_g, trained through) and
1811.10649. How the signal is measured, and which vectors are meant by "every", is ours. A vector is
what one step of one sample computes for all units of a layer at once: a gate's pre-activations, a
gate's activations, c, h; the scores of the head. Its noise is normal, fresh each time, of its own
mean square times 10^(-snr_db / 10). Gradients flow through the mean square too: were it taken as
constant, weights would grow to outrun a noise that follows them.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, Strict
from torch import Tensor

from golden.cells.cell import Cell
from golden.fixed import quantise
from golden.ranges import Range
from golden.validation import frozen

Placement = Literal["pre-activations", "every"]

TINY = 1e-12
STEP_TINY = 1e-6
"""Added to a mean square, for the slope of a square root at 0 is infinite; to that of integers, of
which no step is as small as this."""


@frozen
class Injection:
    """Noise of a signal-to-noise ratio, and where.

    snr_db:    10 log10 of the signal's power over that of the noise, of each vector.
    placement: "pre-activations" of the gates alone, or "every" vector: the gates' pre-activations,
               their activations, c and h (an RNN's activation is its h), and the scores. What it
               is in a convolutional network, `golden.convnet` says.
    """

    snr_db: Annotated[float, Strict(), Field(ge=-20, le=60)]
    placement: Placement = "pre-activations"

    @property
    def power_ratio(self) -> float:
        """Power of the noise over that of the signal."""
        return float(10 ** (-self.snr_db / 10))

    @property
    def growth(self) -> int:
        """`growth` of this noise."""
        return growth(self.power_ratio)

    def vectors(self, cell: Cell) -> int:
        """How many vectors of a step of a layer have noise."""
        every = self.placement == "every"
        return len(cell.gates) + (cell.noisy_vectors if every else 0)

    def draw(
        self, batch: int, steps: int, cell: Cell, units: int, device: torch.device | str = "cpu"
    ) -> "Injected":
        """Noise for all steps of a layer, drawn from PyTorch's generator."""
        size = (batch, steps, self.vectors(cell), units)
        return Injected(torch.randn(size, device=device), self.power_ratio)

    def on_scores(self, scores: Tensor) -> Tensor:
        """Scores of the head, (batch, classes), with this noise; real numbers."""
        if self.placement == "pre-activations":
            return scores
        normal = torch.randn(scores.shape, device=scores.device)
        return add_noise(scores, normal, self.power_ratio)


@dataclass(frozen=True)
class Injected:
    """What `Injection.draw` drew.

    normal: (batch, steps, vectors, units) float32 standard normal numbers, the vectors in the order
    of `Injection.placement`. power_ratio: of the noise to the signal.
    """

    normal: Tensor
    power_ratio: float

    @property
    def growth(self) -> int:
        """`growth` of these numbers."""
        return growth(self.power_ratio)

    def at(self, step: int) -> "StepNoise":
        """The noise of one step."""
        return StepNoise(self.normal[:, step], self.power_ratio)


class StepNoise(NamedTuple):
    """Noise of one step: normal (batch, vectors, units), and power_ratio, as `Injected` has it."""

    normal: Tensor
    power_ratio: float

    def add(self, v: Tensor, first: int) -> Tensor:
        """Vectors (batch, some, units) with noise, the first of which has the number `first`; as
        they are where these have none."""
        if first >= self.normal.shape[1]:
            return v
        return add_noise(v, self.normal[:, first : first + v.shape[1]], self.power_ratio)

    def add_rounded(self, v: Tensor, first: int) -> Tensor:
        """As `add`, of vectors that hold integers, of any dtype, and stay so."""
        if first >= self.normal.shape[1]:
            return v
        return rounded_noise(v, self.normal[:, first : first + v.shape[1]], self.power_ratio)


def growth(power_ratio: float) -> int:
    """Bound of how many times larger than its largest number a vector gets: PyTorch's normal
    numbers are below 7."""
    return math.ceil(1 + 7 * math.sqrt(power_ratio))


def add_noise(v: Tensor, normal: Tensor, power_ratio: float, tiny: float = TINY) -> Tensor:
    """Real vectors (..., units) with noise; normal: standard normal numbers of that shape.
    power_ratio: power of the noise over the mean square of a vector."""
    power = v.square().sum(-1, keepdim=True) / v.shape[-1] * power_ratio
    return v + normal.to(v.dtype) * (power + tiny).sqrt()


def rounded_noise(v: Tensor, normal: Tensor, power_ratio: float) -> Tensor:
    """As `add_noise`, of vectors that hold integers and stay so, of any dtype."""
    noisy = add_noise(v.double(), normal, power_ratio, STEP_TINY)
    return quantise(noisy, Range(-(2**40), 2**40)).to(v.dtype)
