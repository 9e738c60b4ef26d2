"""Ranges of codes, and integer helpers for widths (docs/contract.md, 1).

This module does not import PyTorch, so that hw/ can use it.
"""

from functools import lru_cache
from typing import NamedTuple


class Range(NamedTuple):
    """Inclusive range of a code."""

    low: int
    high: int

    @property
    def size(self) -> int:
        """Number of codes."""
        return self.high - self.low + 1

    @property
    def bits(self) -> int:
        """Width of a code: unsigned if no code is negative, else two's complement."""
        if self.low >= 0:
            return self.high.bit_length()
        return max(self.high.bit_length(), (-self.low - 1).bit_length()) + 1


@lru_cache
def signed_range(bits: int) -> Range:
    """Range of two's complement: -8..7 for 4 bits."""
    return Range(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@lru_cache
def symmetric_range(bits: int) -> Range:
    """Symmetric signed range: -7..7 for 4 bits, -1..1 for 2 bits.

    For 1 bit it is -1..1 too; there the code 0 does not exist.
    """
    high = max(1, 2 ** (bits - 1) - 1)
    return Range(-high, high)


def ceil_div(a: int, b: int) -> int:
    """Quotient of integers, rounded up."""
    return -(-a // b)


def index_bits(count: int) -> int:
    """Width of an index below `count`, at least 1 bit."""
    return max(1, (count - 1).bit_length())
