"""First stage of every cell: from ADC codes to table indices (docs/contract.md, 5)."""

from torch import Tensor

from golden.fixed import narrow
from golden.geometry import ArrayShape
from golden.injection import StepNoise


def pre_activation(
    codes: Tensor, bias: Tensor, shape: ArrayShape, noise: StepNoise | None = None
) -> Tensor:
    """Table indices of ADC codes: (code << frac) + bias, saturated.

    codes: Shape (batch, gates, units).
    noise: Injected before the saturation.
    """
    a = codes * 2**shape.description.cell.frac + bias
    if noise is not None:
        a = noise.add_rounded(a, 0)
    return narrow(a, 0, shape.index_range)
