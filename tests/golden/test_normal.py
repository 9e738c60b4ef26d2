"""Normal numbers: the words they are made from, their distribution, the same on any threads."""

import math
import shutil
from statistics import NormalDist

import pytest
import torch

from golden import native
from golden.normal import normal_numbers, philox_words

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def philox(seed, counter):
    """Four words of a counter, written from the paper's definition."""
    words, keys = [counter % 2**32, counter >> 32, 0, 0], [seed % 2**32, seed >> 32]
    for _ in range(10):
        p, q = words[0] * 0xD2511F53, words[2] * 0xCD9E8D57
        words = [q >> 32 ^ words[1] ^ keys[0], q % 2**32, p >> 32 ^ words[3] ^ keys[1], p % 2**32]
        keys = [(keys[0] + 0x9E3779B9) % 2**32, (keys[1] + 0xBB67AE85) % 2**32]
    return words


def test_words_are_those_of_philox():
    # Known answer of the authors' library (Random123) for counter 0 and key 0.
    known = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox(0, 0) == known == philox_words(0, 4).tolist()
    for seed in (1, 2**32, 2**63 - 1, 0x0123456789ABCDEF):
        wanted = [word for counter in range(70) for word in philox(seed, counter)]
        assert philox_words(seed, 280).tolist() == wanted
        assert philox_words(seed, 277).tolist() == wanted[:277]


def test_numbers_are_those_of_box_and_muller():
    torch.manual_seed(3)
    found = normal_numbers((3, 5, 41))
    torch.manual_seed(3)
    seed = int(torch.randint(2**63 - 1, ()))
    # 64 counters make 256 numbers: of their first two words 64 and 64, then of the others.
    words = philox_words(seed, 4 * 256).view(4, 64, 4).long().transpose(1, 2)
    radius = (-2 * ((words[:, ::2] >> 8) + 0.5).mul(2**-24).double().log()).sqrt()
    angle = (words[:, 1::2] >> 8).double() * (2 * math.pi * 2**-24)
    wanted = torch.stack([radius * angle.sin(), radius * angle.cos()], dim=2).flatten()
    assert torch.allclose(found.flatten().double(), wanted[: 3 * 5 * 41], rtol=0, atol=2e-6)


def test_numbers_are_normal_and_the_same_on_any_threads():
    count, drawn = 2**20 + 3, []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        drawn.append(normal_numbers((count,)))
    torch.set_num_threads(1)
    assert torch.equal(*drawn)
    numbers = drawn[0].double()
    assert abs(numbers.mean()) < 4 / math.sqrt(count)
    for edge in (-3.0, -1.0, -0.1, 0.0, 0.5, 2.0, 3.5):
        wanted = NormalDist().cdf(edge)
        spread = math.sqrt(wanted * (1 - wanted) / count)
        assert float((numbers < edge).double().mean()) == pytest.approx(wanted, abs=4 * spread)
    for apart in (1, 2, 64, 128, 256):  # words of a counter, neighbours, blocks
        assert abs((numbers[apart:] * numbers[:-apart]).mean()) < 4 / math.sqrt(count)
    assert not torch.equal(normal_numbers((9,)), normal_numbers((9,)))


def test_without_a_compiler_pytorch_draws(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    torch.manual_seed(1)
    found = normal_numbers((2, 3))
    torch.manual_seed(1)
    assert torch.equal(found, torch.randn(2, 3))
