"""What the numbers are: a bit-exact model of recurrent networks on noisy crossbars."""

from typing import Any


def convert(module: Any, description: Any, calibration: Any, levels: Any = None) -> Any:
    """`golden.frontends.convert.convert`: a trained float network as a program, without
    training."""
    from golden.frontends import (
        convert,  # which needs PyTorch; hw takes widths alone from this package
    )

    return convert.convert(module, description, calibration, levels)
