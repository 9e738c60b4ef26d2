"""Deep Noise Injection: noise in proportion to the signal, added to the vectors of each step.

After Qin and Vucinic, arXiv 1807.06555 (z_g = W_g x + U_g h + b_g + n_g, with gradients through it)
and 1811.10649. The measure of the signal and the choice of vectors for "every" are ours.

A vector has one number per unit of a layer, for one step of one sample: the pre-activations of a
gate, the activations of a gate, c, h, or x; or the scores of the head. Its noise is normal and
drawn anew each time. The noise's variance is the vector's mean square times 10^(-snr_db / 10).
Gradients also flow through the mean square. If it were a constant for the gradient, weights would
grow to outrun noise that grows with them.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, Strict
from torch import Tensor

from golden.cells.cell import Cell
from golden.fixed import bipolar, narrow, quantise
from golden.normal import normal_numbers
from golden.parameters import Dac
from golden.ranges import Range
from golden.validation import frozen

Placement = Literal["pre-activations", "product", "every"]
Power = Literal["layer", "unit"]

TINY = 1e-12
STEP_TINY = 1e-6
"""Added to a noise variance, because the slope of a square root at 0 is infinite.

TINY is for real vectors, STEP_TINY for vectors of integers. There it is noise of 0.001 LSB, far
below an integer step.
"""


@frozen
class Injection:
    """Noise with a given signal-to-noise ratio, and its placement.

    snr_db: Signal-to-noise ratio of each vector (dB).
    placement: "pre-activations": noise only on the gates' pre-activations. "product": noise on what
        goes into each product and on what comes out of it, so on x and h before the arrays of the
        layers, on h before that of the head, on the pre-activations and on the scores; what digital
        logic computes, the gates' activations, c and h itself, has none. (US patent 11,403,529,
        claim 13, adds noise to the inputs of a hidden layer's product.) "every": noise on each
        vector that a step computes, so on the pre-activations, the gates' activations, c, h (the
        activation of an RNN is its h) and the scores. `golden.convnet` defines it for a
        convolutional network.
    power: What the ratio is relative to. "layer": the mean square over a vector's units, so all of
        them have noise of one strength, and a vector whose units are mostly 0 has little. "unit":
        the mean square of each unit by itself, over the batch; sequences that have ended count too.
    """

    snr_db: Annotated[float, Strict(), Field(ge=-20, le=60)]
    placement: Placement = "pre-activations"
    power: Power = "layer"

    @property
    def power_ratio(self) -> float:
        """Power of the noise relative to that of the signal."""
        return float(10 ** (-self.snr_db / 10))

    @property
    def growth(self) -> int:
        """Bound of the growth of a vector by this noise, see `growth`."""
        return growth(self.power_ratio)

    def vectors(self, cell: Cell) -> int:
        """Number of vectors per step of a layer that get noise, besides x."""
        more = {"pre-activations": 0, "product": 1, "every": cell.noisy_vectors}
        return len(cell.gates) + more[self.placement]

    def inside(self, cell: Cell) -> int:
        """Number of these that a cell's step makes noisy; a further one is h before the product."""
        return self.vectors(cell) - (self.placement == "product")

    def draw(
        self, batch: int, steps: int, cell: Cell, units: int, device: torch.device | str = "cpu"
    ) -> "Injected":
        """Draw the noise of all steps of a layer; see `golden.normal`."""
        normal = normal_numbers((batch, steps, self.vectors(cell), units), device)
        return Injected(normal, self.power_ratio, self.inside(cell), self.power)

    def on_scores(self, scores: Tensor) -> Tensor:
        """Add the noise to real scores (..., classes), unless only pre-activations have it."""
        if self.placement == "pre-activations":
            return scores
        normal = normal_numbers(scores.shape, scores.device)
        return add_noise(scores, normal, self.power_ratio, self.power)

    def on_inputs(self, v: Tensor) -> Tensor:
        """Add the noise to real inputs of a product (..., rows), if its placement is "product"."""
        if self.placement != "product":
            return v
        return add_noise(v, normal_numbers(v.shape, v.device), self.power_ratio, self.power)

    def on_codes(self, codes: Tensor, dac: Dac) -> Tensor:
        """Like `on_inputs`, for DAC codes in any dtype; the result is codes of this DAC."""
        if self.placement != "product":
            return codes
        normal = normal_numbers(codes.shape, codes.device)
        return noisy_codes(codes, normal, self.power_ratio, dac, self.power)

    def on_integer_scores(self, scores: Tensor) -> Tensor:
        """Like `on_scores`, for integers in any dtype; the result is rounded to integers."""
        if self.placement == "pre-activations":
            return scores
        normal = normal_numbers(scores.shape, scores.device)
        return rounded_noise(scores, normal, self.power_ratio, self.power)


@dataclass(frozen=True)
class Injected:
    """Noise that `Injection.draw` drew.

    normal: Standard normal numbers, float32, shape (batch, steps, vectors, units). The vectors are
        the pre-activations, then the gates' activations, c and h, or h before the next product.
    power_ratio: Power of the noise relative to that of the signal.
    inside: Number of the vectors that are a cell's; a further one is h before the next product.
    power: As in `Injection`.
    """

    normal: Tensor
    power_ratio: float
    inside: int
    power: Power = "layer"

    @property
    def growth(self) -> int:
        """Bound of the growth of a vector by this noise, see `growth`."""
        return growth(self.power_ratio)

    @property
    def feeds(self) -> bool:
        """Whether h has noise of its own before the next product."""
        return self.inside < self.normal.shape[2]

    def at(self, step: int) -> "StepNoise":
        """Noise of one step within the cell."""
        return StepNoise(self.normal[:, step, : self.inside], self.power_ratio, self.power)

    def fed_back(self, h: Tensor, step: int) -> Tensor:
        """Real h of a step (batch, units) as it goes into the next step's product."""
        if not self.feeds:
            return h
        return add_noise(h, self.normal[:, step, self.inside], self.power_ratio, self.power)

    def fed_back_codes(self, h: Tensor, step: int, dac: Dac) -> Tensor:
        """Like `fed_back`, for DAC codes."""
        if not self.feeds:
            return h
        normal = self.normal[:, step, self.inside]
        return noisy_codes(h, normal, self.power_ratio, dac, self.power)


class StepNoise(NamedTuple):
    """Noise of one step: `normal` (batch, vectors, units), and the rest as in `Injected`."""

    normal: Tensor
    power_ratio: float
    power: Power = "layer"

    def add(self, v: Tensor, first: int) -> Tensor:
        """Add noise to real vectors (batch, some, units).

        first: Number of the first of these vectors among those of a step. Vectors without noise are
            returned unchanged.
        """
        if first >= self.normal.shape[1]:
            return v
        normal = self.normal[:, first : first + v.shape[1]]
        return add_noise(v, normal, self.power_ratio, self.power)

    def add_rounded(self, v: Tensor, first: int) -> Tensor:
        """Like `add`, for vectors of integers in any dtype; the result is rounded to integers."""
        if first >= self.normal.shape[1]:
            return v
        normal = self.normal[:, first : first + v.shape[1]]
        return rounded_noise(v, normal, self.power_ratio, self.power)


def growth(power_ratio: float) -> int:
    """Bound of the factor by which noise can raise the largest magnitude of a vector.

    Normal numbers of `golden.normal`, and PyTorch's, are below 7 in magnitude.
    """
    return math.ceil(1 + 7 * math.sqrt(power_ratio))


def add_noise(
    v: Tensor, normal: Tensor, power_ratio: float, power: Power = "layer", tiny: float = TINY
) -> Tensor:
    """Add noise to real vectors (batch, ..., units).

    normal: Standard normal numbers of the same shape.
    power_ratio: Power of the noise relative to that of the signal.
    power: What the power of the signal is the mean over: "layer": the units; "unit": the batch.
    tiny: Added to the variance of the noise.
    """
    over = -1 if power == "layer" else 0
    square = v.square().sum(over, keepdim=True) / v.shape[over] * power_ratio
    return v + normal.to(v.dtype) * (square + tiny).sqrt()


def rounded_noise(v: Tensor, normal: Tensor, power_ratio: float, power: Power = "layer") -> Tensor:
    """Like `add_noise`, for vectors of integers in any dtype; the result is rounded to integers."""
    noisy = add_noise(v.double(), normal, power_ratio, power, STEP_TINY)
    return quantise(noisy, Range(-(2**40), 2**40)).to(v.dtype)


def noisy_codes(
    codes: Tensor, normal: Tensor, power_ratio: float, dac: Dac, power: Power = "layer"
) -> Tensor:
    """DAC codes with noise, rounded and saturated to the DAC's range.

    With a 1-bit DAC they are the signs, of numbers that are not rounded: that would favour +1.
    """
    if dac.bits == 1:
        noisy = add_noise(codes.double(), normal, power_ratio, power, STEP_TINY)
        return bipolar(noisy, 0).to(codes.dtype)
    return narrow(rounded_noise(codes, normal, power_ratio, power), 0, dac.range)
