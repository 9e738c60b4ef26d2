"""What every cell begins with: from ADC codes to a table's index (docs/contract.md, 5)."""

from collections.abc import Callable

from torch import Tensor

from golden.description import Description
from golden.fixed import narrow

Disturb = Callable[[Tensor], Tensor]
"""Adds noise to pre-activations (batch, gates, units) that are not saturated yet; for training."""


def pre_activation(
    codes: Tensor, bias: Tensor, description: Description, disturb: Disturb | None = None
) -> Tensor:
    """saturate((code << frac) + bias) to the table index; codes: (batch, gates, units)."""
    a = codes * 2**description.cell.frac + bias
    if disturb is not None:
        a = disturb(a)
    return narrow(a, 0, description.index_range)
