"""Noise of a conversion: numbers that depend on their place alone (docs/contract.md, 10).

A word of 32 bits is a hash of (key, run, step, column): a counter-based generator in the manner of
SplitMix (Steele, Lea, Flood, OOPSLA 2014), two 32-bit Weyl sequences under a finaliser whose
shifts and multipliers are those of Wellons' lowbias32. A look-up turns its bytes into two nearly
normal numbers. Nothing has a state, so a whole batch is drawn at once, in any order. `golden.draws`
draws them on tensors; `hw.macro.noise` in logic.
"""

import hashlib
import math
from functools import lru_cache
from statistics import NormalDist

WORD = 2**32
"""Everything is computed modulo this."""

RUN = (0x9E3779B1, 0x27D4EB2F)
STEP = (0x85EBCA77, 0x165667B1)
COLUMN = 0xC2B2AE3D
"""What a run, a step and a column add to the two Weyl sequences (only the first has columns)."""

MIX = (0x7FEB352D, 0x846CA68B)
"""Multipliers of the finaliser."""

UNIT = 64
"""Standard deviation of a draw."""

READ_NOISE_SHIFT = 10
"""A read-noise amplitude of 16 is a standard deviation of one unit of charge: 16 * UNIT = 2^10."""

LSB_SHIFT = 14
"""Errors of the ADC are in 2^-14 LSB: amplitude times draw, and 1/256 LSB of offset times UNIT."""

GAIN_ERROR_SHIFT = 10
"""Gain errors are in 1/1024."""


def key(seed: int, array: int, crossbar: int = 0) -> tuple[int, int]:
    """The two key words of a crossbar of an array (layers in order, then the head) for a seed of
    the network; crossbar: row tile by row tile, column tiles in order."""
    own = f":{crossbar}" if crossbar else ""
    digest = hashlib.sha256(f"{seed}:{array}{own}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


@lru_cache(maxsize=1)
def magnitudes() -> tuple[int, ...]:
    """Upper half of the table of a byte: 128 equally likely parts of a normal distribution.

    A part is represented by its root mean square, which keeps the variance. Two bytes make a
    draw, so each has deviation UNIT / sqrt(2).
    """
    normal = NormalDist()

    def weight(n: int) -> float:
        """x times the density at the lower edge of part n; 0 at either end."""
        if n in (0, 128):
            return 0.0
        x = normal.inv_cdf(0.5 + n / 256)
        return x * normal.pdf(x)

    def rms(n: int) -> float:
        return math.sqrt(1 + 256 * (weight(n) - weight(n + 1)))

    return tuple(math.floor(UNIT / math.sqrt(2) * rms(n) + 0.5) for n in range(128))


def largest() -> int:
    """Bound of a draw's size: two bytes' entries."""
    return 2 * magnitudes()[-1]
