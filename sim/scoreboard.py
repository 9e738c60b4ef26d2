"""The scoreboard: golden against RTL, value by value, and the first difference in words."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Difference:
    """The earliest value that differs: where it is and what either side has."""

    quantity: str
    place: dict[str, int]
    golden: int
    rtl: int

    def __str__(self) -> str:
        where = ", ".join(f"{axis} {index}" for axis, index in self.place.items())
        return f"{self.quantity} at {where}: golden {self.golden}, RTL {self.rtl}"


@dataclass
class Scoreboard:
    """Counts values compared and mismatches, and keeps the earliest difference.

    Earliest: by sequence, then pass, then step, then in the order of `compare` calls; so compare
    what is computed first, first.
    """

    values_compared: int = 0
    mismatches: int = 0
    first: Difference | None = None
    by_quantity: dict[str, dict[str, int]] = field(default_factory=dict)
    _earliest: tuple[int, ...] | None = None

    def compare(
        self,
        quantity: str,
        axes: tuple[str, ...],
        golden: np.ndarray,
        rtl: np.ndarray,
        valid: np.ndarray | None = None,
        first: int = 0,
    ) -> None:
        """Compare two arrays whose axes are named (`sequence`, `step`, `gate`, ...).

        valid: of the axes up to `step`, where given: which steps count. first: number of the first
        sequence.
        """
        assert golden.shape == rtl.shape, (quantity, golden.shape, rtl.shape)
        assert golden.ndim == len(axes)
        wrong = golden != rtl  # NumPy compares integers of any width by value
        compared = wrong.size
        if valid is not None:
            mask = valid.reshape(*valid.shape, *(1,) * (wrong.ndim - valid.ndim))
            wrong &= mask
            compared = int(valid.sum()) * int(np.prod(wrong.shape[valid.ndim :]))
        mismatches = int(wrong.sum())
        self.values_compared += compared
        self.mismatches += mismatches
        counts = self.by_quantity.setdefault(quantity, {"compared": 0, "mismatches": 0})
        counts["compared"] += compared
        counts["mismatches"] += mismatches
        if not mismatches:
            return
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = dict(zip(axes, index, strict=True))
        if "sequence" in place:
            place["sequence"] += first
        # What has no step (a score) comes after every step of its pass, what has no pass (a
        # class) after every pass of its sequence.
        when = tuple(place.get(axis, 1 << 30) for axis in ("sequence", "pass", "step"))
        if self._earliest is None or when < self._earliest:
            self._earliest = when
            self.first = Difference(quantity, place, int(golden[index]), int(rtl[index]))


Recorded = dict[str, np.ndarray]
"""What a chip showed of a run: `layers.N.codes` (passes, steps, gates, units), `layers.N.c` and
`.h` (passes, steps, units), in the order in which they are computed, and `scores` (passes,
classes)."""


def compare(
    scoreboard: Scoreboard,
    vectors: dict[str, np.ndarray],
    recorded: Recorded,
    labels: np.ndarray,
    first: int = 0,
) -> None:
    """Everything of a run, and its classes, against the vectors; first: number of the first
    sequence in them."""
    sequences, passes = len(vectors["lengths"]), len(vectors["scores"])

    def split(values: np.ndarray) -> np.ndarray:
        return values.reshape(sequences, passes // sequences, *values.shape[1:])

    axes: tuple[str, ...]
    for name, rtl in recorded.items():
        if name == "scores":
            axes, valid = ("sequence", "pass", "class"), None
        else:
            inner = ("gate", "unit") if name.endswith(".codes") else ("unit",)
            axes = ("sequence", "pass", "step", *inner)
            steps = np.arange(rtl.shape[1]) < vectors["lengths"][:, None, None]
            valid = np.broadcast_to(steps, (sequences, passes // sequences, rtl.shape[1]))
        scoreboard.compare(name, axes, split(vectors[name]), split(rtl), valid, first)
    scoreboard.compare("label", ("sequence",), vectors["label"], labels, first=first)


def timesteps(lengths: np.ndarray, passes: int) -> int:
    """Steps of all passes over sequences of these lengths."""
    return int(lengths.sum()) * passes // len(lengths)


def patience(sidecar: dict[str, Any], lengths: np.ndarray, passes: int, stall: float) -> int:
    """Cycles after which a chip that has not given the classes of these sequences hangs."""
    cycles = int(sidecar["cycles_per_step"]) * (timesteps(lengths, passes) + 100)
    cycles += int(sidecar["cycles_per_sequence"]) * passes
    return cycles * (60 if stall else 2)


def result(
    scoreboard: Scoreboard,
    *,
    lengths: np.ndarray,
    passes: int,
    cycles: int,
    labels: np.ndarray,
    golden_labels: np.ndarray,
    seconds: float,
) -> dict[str, Any]:
    """What a run over a chip's vectors says, whichever runner it was."""
    steps = timesteps(lengths, passes)
    return {
        "sequences": len(lengths),
        "passes": passes,
        "timesteps": steps,
        "values_compared": scoreboard.values_compared,
        "mismatches": scoreboard.mismatches,
        "first_difference": str(scoreboard.first) if scoreboard.first else None,
        "by_quantity": scoreboard.by_quantity,
        "cycles": cycles,
        "cycles_per_step": round(cycles / steps, 2),
        "labels": labels.tolist(),
        "golden_labels": golden_labels.tolist(),
        "stream_seconds": round(seconds, 2),
    }
