"""The DAC: what real numbers become on the rows (docs/contract.md, 2).

Codes are signed and symmetric, -7..7 for 4 bits; a 1-bit DAC has the two codes -1 and +1.
"""

import torch
from torch import Tensor

from golden.description import Dac, Description
from golden.fixed import bipolar, narrow, quantise


def encode(x: Tensor, mean: Tensor, step: Tensor, dac: Dac) -> Tensor:
    """Codes of real inputs: saturate(floor((x - mean) / step + 1/2)), int16, shape of x.

    x: (..., inputs) real. mean, step: (inputs,), in x's unit; step is one DAC LSB.
    """
    scaled = (x.double() - mean.double()) / step.double()
    if dac.bits == 1:
        return bipolar(scaled, 0).to(torch.int16)
    return quantise(scaled, dac.range).to(torch.int16)


def feed_back(product: Tensor, description: Description) -> Tensor:
    """DAC codes of h from the exact product o * tanh(c), any shape."""
    if description.dac.bits == 1:
        return bipolar(product, description.hidden_shift)
    return narrow(product, description.hidden_shift, description.dac.range)
