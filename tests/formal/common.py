"""What several specs need: small designs, counters of transfers, the nearest number."""

from typing import Any

from amaranth.hdl import Mux, Signal, Value

from tests.formal.engine import Scene

NARROW = {"dac": {"bits": 2}, "adc": {"bits": 2}, "cell": {"kind": "rnn", "frac": 1}}
"""Sections of a design with few bits."""

SMALLEST = NARROW | {
    "network": {"inputs": 1, "hidden": [1], "classes": 2},
    "array": {"lanes": 1},
}
"""Sections of a whole design, as small as it can be."""

DEEP = {"pipeline": "deep", "settle": 23}
"""The deep pipeline, with the least time to settle that it can have."""


def counter(s: Scene, moves: Value, count: int, name: str) -> Signal:
    """The number of a transfer, from 0 to count - 1 and again."""
    number = Signal(range(max(2, count)), name=name)
    with s.m.If(moves):
        s.m.d.sync += number.eq(Mux(number == count - 1, 0, number + 1))
    return number


def taken(stream: Any) -> Value:
    """A transfer."""
    return stream.valid & stream.ready


def clamp(value: Value, low: int, high: int) -> Value:
    """The nearest number from low to high."""
    return Mux(value < low, low, Mux(value > high, high, value))
