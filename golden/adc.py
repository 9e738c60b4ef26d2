"""The ADC: programmable gain, rounding, saturation (docs/contract.md, 4)."""

from torch import Tensor

from golden.description import ArrayShape
from golden.fixed import narrow


def convert(charge: Tensor, gain: Tensor, shape: ArrayShape) -> Tensor:
    """Codes of column charges: saturate(half_up((q * gain) >> shift)).

    charge: (batch, gates, units). gain: (gates,) codes, one LSB is 2^shift / gain of charge.
    """
    return narrow(charge * gain[:, None], shape.adc_shift, shape.description.adc.range)
