"""Standard normal numbers, many at once: those of golden/normal.cpp where there are kernels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from golden import native


def normal_numbers(size: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers, float32, of a seed that PyTorch's generator draws.

    On a CPU they depend on the seed alone, not on the processor or on PyTorch's threads. On another
    device, or without a compiler, all numbers come from PyTorch's generator.
    """
    library = native.library() if torch.device(device).type == "cpu" else None
    if library is None:
        return torch.randn(tuple(size), device=device, dtype=torch.float32)
    seed, found = int(torch.randint(2**63 - 1, ())), torch.empty(tuple(size), dtype=torch.float32)
    # A thread is worth its start from some hundred thousand numbers.
    threads = min(torch.get_num_threads(), 1 + found.numel() // 2**18)
    library.normal_numbers(seed, found.numel(), found.data_ptr(), threads)
    return found


def philox_words(seed: int, count: int) -> Tensor:
    """The first words of a seed from which numbers are made, uint32, shape (count,), for tests.

    Raises RuntimeError without kernels.
    """
    library, words = native.library(), torch.empty(count, dtype=torch.uint32)
    if library is None:
        raise RuntimeError("golden/normal.cpp needs g++")
    library.philox_words(seed, count, words.data_ptr())
    return words
