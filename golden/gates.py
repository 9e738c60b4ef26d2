"""What every cell begins with: from ADC codes to a table's index (docs/contract.md, 5)."""

from torch import Tensor

from golden.description import Description
from golden.fixed import Range, narrow, quantise


def pre_activation(
    codes: Tensor,
    bias: Tensor,
    description: Description,
    normal: Tensor | None = None,
    power_ratio: float = 0.0,
) -> Tensor:
    """saturate((code << frac) + bias) to the table index; codes: (batch, gates, units).

    normal: standard normal numbers of that shape, for noise before the saturation.
    """
    a = codes * 2**description.cell.frac + bias
    if normal is not None:
        a = add_noise(a, normal, power_ratio)
    return narrow(a, 0, description.index_range)


def add_noise(a: Tensor, normal: Tensor, power_ratio: float) -> Tensor:
    """Pre-activations with noise in proportion to their own power, rounded to index steps.

    a: (batch, gates, units) integers. normal: standard normal numbers of that shape. power_ratio:
    power of the noise over that of the signal, the mean square over the units of a gate, of each
    sample by itself. Gradients flow through the signal too: were it taken as constant, weights
    would grow to outrun a noise that follows them. After Qin and Vucinic, arXiv 1807.06555
    (z_g = W_g x + U_g h + b_g + n_g); how the signal is measured is ours.
    """
    real = a.double()
    power = real.square().sum(-1, keepdim=True) / a.shape[-1] * power_ratio
    # The slope of a square root at 0 is infinite; no index step is as small as this.
    noisy = quantise(real + normal.double() * (power + 1e-6).sqrt(), Range(-(2**40), 2**40))
    return noisy.to(a.dtype)
