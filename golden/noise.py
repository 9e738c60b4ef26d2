"""Noise of a conversion: draws that depend only on their place (docs/contract.md, 10).

A 32-bit word is a hash of (key, run, step, column). The generator is counter-based in the manner of
SplitMix (Steele, Lea, Flood, OOPSLA 2014): two 32-bit Weyl sequences under a finaliser with the
shifts and multipliers of Wellons' lowbias32. A look-up converts the bytes of the word into two
nearly normal numbers. There is no state, so a whole batch can be drawn at once, in any order.
`golden.draws` draws on tensors, `hw.macro.noise` in logic.
"""

import hashlib
import math
from functools import lru_cache
from statistics import NormalDist

WORD = 2**32
"""Modulus of all computations."""

RUN = (0x9E3779B1, 0x27D4EB2F)
STEP = (0x85EBCA77, 0x165667B1)
COLUMN = 0xC2B2AE3D
"""Increments of the two Weyl sequences per run, step and column; only the first has columns."""

MIX = (0x7FEB352D, 0x846CA68B)
"""Multipliers of the finaliser."""

UNIT = 64
"""Standard deviation of a draw."""

READ_NOISE_SHIFT = 10
"""An amplitude of 16 is a standard deviation of one unit of charge: 16 * UNIT = 2^10."""

LSB_SHIFT = 14
"""Errors of the ADC are in 2^-14 LSB: amplitude or offset (2^-8 LSB) times UNIT = 2^6."""

GAIN_ERROR_SHIFT = 10
"""Gain errors are in 1/1024 of the gain."""


def key(seed: int, array: int, crossbar: int = 0) -> tuple[int, int]:
    """The two key words of a crossbar.

    seed: Seed of the chip, `Effects.seed`.
    array: Number of the array: layers in order, then the head.
    crossbar: Number of the crossbar in the array: row tile by row tile, column tiles in order.
    """
    own = f":{crossbar}" if crossbar else ""
    digest = hashlib.sha256(f"{seed}:{array}{own}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


@lru_cache(maxsize=1)
def magnitudes() -> tuple[int, ...]:
    """Upper half of a byte's table: 128 equally likely parts of a normal distribution.

    Each part is represented by its root mean square, which preserves the variance. A draw is the
    sum of two bytes' entries, so each entry has the standard deviation UNIT / sqrt(2).
    """
    normal = NormalDist()

    def weight(n: int) -> float:
        """x times the density at x, the lower edge of part n; 0 at both ends."""
        if n in (0, 128):
            return 0.0
        x = normal.inv_cdf(0.5 + n / 256)
        return x * normal.pdf(x)

    def rms(n: int) -> float:
        return math.sqrt(1 + 256 * (weight(n) - weight(n + 1)))

    return tuple(math.floor(UNIT / math.sqrt(2) * rms(n) + 0.5) for n in range(128))


def largest() -> int:
    """Largest magnitude of a draw: that of two bytes' entries."""
    return 2 * magnitudes()[-1]
