"""Noise of a conversion: numbers that depend on their place alone (docs/contract.md, 10).

A word of 32 bits is a hash of (key, run, step, column): a counter-based generator in the manner of
SplitMix (Steele, Lea, Flood, OOPSLA 2014), two 32-bit Weyl sequences under a finaliser whose
shifts and multipliers are those of Wellons' lowbias32. A look-up turns its bytes into two nearly
normal numbers. Nothing has a state, so a whole batch is drawn at once, in any order.
"""

import hashlib
import math
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

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


class Draws(NamedTuple):
    """Two independent, nearly normal numbers for each conversion: mean 0, deviation UNIT."""

    read: Tensor
    adc: Tensor


def key(seed: int, array: int, crossbar: int = 0) -> tuple[int, int]:
    """The two key words of a crossbar of an array (layers in order, then the head) for a seed of
    the network; crossbar: row tile by row tile, column tiles in order."""
    own = f":{crossbar}" if crossbar else ""
    digest = hashlib.sha256(f"{seed}:{array}{own}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def draw(keys: Tensor, runs: Tensor, step: Tensor | int, columns: Tensor) -> Draws:
    """Draws of one step, or of one for each run.

    keys: (2, ...) key words of each column. runs: (batch,) run numbers. step: its number, or
    (batch,) numbers. columns: (...) numbers of columns.
    Returns int64 draws of shape (batch, ...).
    """
    first, second = keys
    per_run = (-1, *(1,) * columns.dim())
    runs = runs.long().view(per_run)
    step = step if isinstance(step, int) else step.long().view(per_run)
    a = _int32(first + runs * RUN[0] + step * STEP[0] + columns * COLUMN)
    b = _int32(second + runs * RUN[1] + step * STEP[1])
    h = a ^ _shifted(a, 16)
    h = h * _signed(MIX[0]) + b
    h = h ^ _shifted(h, 15)
    h = h * _signed(MIX[1])
    h = h ^ _shifted(h, 16)
    pairs = _pairs().to(h.device)
    return Draws(read=pairs[(h & 0xFFFF).long()], adc=pairs[_shifted(h, 16).long()])


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


@lru_cache(maxsize=1)
def _pairs() -> Tensor:
    """The sum of two bytes' entries, for every pair of bytes; bit 7 of a byte is its sign."""
    upper = torch.tensor(magnitudes())
    entries = torch.cat([upper, -upper])
    return (entries[None, :] + entries[:, None]).flatten()


def _signed(word: int) -> int:
    """A word as the int32 that has the same bits."""
    return word - WORD if word >= WORD // 2 else word


def _int32(values: Tensor) -> Tensor:
    """Values modulo 2^32 as int32."""
    return ((values + WORD // 2) % WORD - WORD // 2).int()


def _shifted(h: Tensor, shift: int) -> Tensor:
    """Words shifted right; no sign comes in."""
    return (h >> shift) & ((1 << (32 - shift)) - 1)
