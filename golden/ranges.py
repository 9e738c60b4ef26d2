"""Ranges of codes, and the integer helpers that widths are made of (docs/contract.md, 1).

Without PyTorch: hw/ takes them too.
"""

from typing import NamedTuple


class Range(NamedTuple):
    """Inclusive range of a code."""

    low: int
    high: int

    @property
    def size(self) -> int:
        """How many codes there are."""
        return self.high - self.low + 1

    @property
    def bits(self) -> int:
        """Bits that hold it: of two's complement, or unsigned where nothing is negative."""
        if self.low >= 0:
            return self.high.bit_length()
        return max(self.high.bit_length(), (-self.low - 1).bit_length()) + 1


def signed_range(bits: int) -> Range:
    """Two's complement: -8..7 for 4 bits."""
    return Range(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def symmetric_range(bits: int) -> Range:
    """Signed and symmetric: -7..7 for 4 bits; -1..1 for 2 bits and for 1 bit, which lacks 0."""
    high = max(1, 2 ** (bits - 1) - 1)
    return Range(-high, high)


def ceil_div(a: int, b: int) -> int:
    """Quotient of integers, rounded up."""
    return -(-a // b)


def index_bits(count: int) -> int:
    """Bits of an index below `count`; at least 1."""
    return max(1, (count - 1).bit_length())
