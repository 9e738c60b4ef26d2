"""Draws of the conversion noise (`golden.noise`) on tensors, for a whole batch at once."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from golden.noise import COLUMN, MIX, RUN, STEP, WORD, magnitudes


class Draws(NamedTuple):
    """Two independent, nearly normal numbers per conversion: mean 0, standard deviation UNIT."""

    read: Tensor
    adc: Tensor


def draw(keys: Tensor, runs: Tensor, step: Tensor | int, columns: Tensor) -> Draws:
    """Draw the noise of one step.

    keys: Key words of each column, shape (2, ...).
    runs: Run numbers, shape (batch,).
    step: Step number, or one per run, shape (batch,).
    columns: Column numbers, shape (...).

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
def _pairs() -> Tensor:
    """Sum of the entries of two bytes, for every pair of bytes; bit 7 of a byte is its sign."""
    upper = torch.tensor(magnitudes())
    entries = torch.cat([upper, -upper])
    return (entries[None, :] + entries[:, None]).flatten()


def _signed(word: int) -> int:
    """Reinterpret a 32-bit word as int32."""
    return word - WORD if word >= WORD // 2 else word


def _int32(values: Tensor) -> Tensor:
    """Reduce values modulo 2^32 to int32."""
    return ((values + WORD // 2) % WORD - WORD // 2).int()


def _shifted(h: Tensor, shift: int) -> Tensor:
    """Shift words right logically."""
    return (h >> shift) & ((1 << (32 - shift)) - 1)
