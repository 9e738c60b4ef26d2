"""What the numbers are: a bit-exact model of recurrent networks on noisy crossbars."""

from typing import Any


def convert(module: Any, description: Any, calibration: Any, levels: Any = None) -> Any:
    """`golden.conversion.convert`: a trained float network as a program, without training."""
    from golden import conversion  # which needs PyTorch; hw takes widths alone from this package

    return conversion.convert(module, description, calibration, levels)
