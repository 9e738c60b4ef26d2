"""DAC: encoding of real inputs, and the drive of a crossbar's rows (docs/contract.md, 2).

Codes are signed and symmetric, -7..7 for 4 bits. A 1-bit DAC has the two codes -1 and +1.
"""

from typing import Any

import torch
from torch import Tensor

from golden.description import Description
from golden.fixed import bipolar, narrow, quantise
from golden.parameters import Dac


def encode(x: Tensor, mean: Tensor, step: Tensor, dac: Dac) -> Tensor:
    """Codes of real inputs, saturate(floor((x - mean) / step + 1/2)): int16, same shape as x.

    For a 1-bit DAC the code is +1 if x >= mean, else -1.

    x: Real inputs, shape (..., inputs).
    mean, step: Shape (inputs,), in the unit of x. `step` is one DAC LSB.
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


def planes(codes: Tensor, dac: Dac) -> Tensor:
    """Values on the rows in each conversion, shape (planes, ...) for codes (...).

    For a bit-serial DAC these are the bits of the magnitudes with the sign of the code, highest
    plane first. For other DACs they are the codes.

    Gradient of each plane with respect to the code: 1 / largest code. Weighted by 2^plane, these
    gradients add up to 1.
    """
    if dac.kind != "bit-serial":
        return codes[None]
    if codes.is_floating_point():
        result: Tensor = _Planes.apply(codes, dac)
        return result
    shifts = torch.arange(dac.planes, device=codes.device).flip(0).view(-1, *(1,) * codes.dim())
    return codes.sign() * (codes.abs() >> shifts & 1)


class _Planes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, codes: Tensor, dac: Dac) -> Tensor:
        ctx.high = dac.range.high
        return planes(codes.long(), dac).to(codes.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].sum(0) / ctx.high, None
