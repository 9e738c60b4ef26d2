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
classes), or (passes, steps, classes)."""


@dataclass(frozen=True)
class Output:
    """What comes out of a chip for sequences of these lengths; steps: the padded length."""

    of: str
    every_step: bool
    classes: int
    lengths: np.ndarray
    steps: int

    @classmethod
    def of_vectors(cls, sidecar: dict[str, Any], vectors: dict[str, np.ndarray]) -> "Output":
        """As the description has it."""
        description = sidecar["description"]
        of, steps = (description["output"][name] for name in ("of", "steps"))
        classes, x = description["network"]["classes"], vectors["x"]
        return cls(of, steps == "every", classes, vectors["lengths"], x.shape[1])

    @property
    def transfers(self) -> int:
        """How many there are."""
        count = int(self.lengths.sum()) if self.every_step else len(self.lengths)
        return count * (self.classes if self.of == "scores" else 1)

    def labels(self, values: np.ndarray) -> np.ndarray:
        """Classes, (sequences,) or (sequences, steps) padded with 0, from what came out."""
        if self.of == "scores":
            values = values.reshape(-1, self.classes).argmax(1)  # the first of equals
        if not self.every_step:
            return values
        padded = np.zeros((len(self.lengths), self.steps), values.dtype)
        padded[self.valid] = values
        return padded

    def flat(self, labels: np.ndarray) -> np.ndarray:
        """Classes without padding, one after the other."""
        return labels[self.valid] if self.every_step else labels

    @property
    def valid(self) -> np.ndarray:
        """(sequences, steps): whether a step is within its sequence."""
        return within(self.lengths, self.steps)


def output_field(fields: dict[str, Any]) -> dict[str, Any]:
    """The field of the output's payload that holds what comes out."""
    return fields.get("score") or fields["label"]


def within(lengths: np.ndarray, steps: int) -> np.ndarray:
    """(sequences, steps): whether a step is within its sequence."""
    valid: np.ndarray = np.arange(steps)[None] < lengths[:, None]
    return valid


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
    every_step = vectors["label"].ndim == 2
    for name, rtl in recorded.items():
        if name == "scores":
            axes, stepwise = ("class",), every_step
        else:
            axes, stepwise = ("gate", "unit") if name.endswith(".codes") else ("unit",), True
        axes = ("sequence", "pass", *(("step",) if stepwise else ()), *axes)
        valid = None
        if stepwise:
            steps = within(vectors["lengths"], rtl.shape[1])[:, None]
            valid = np.broadcast_to(steps, (sequences, passes // sequences, rtl.shape[1]))
        scoreboard.compare(name, axes, split(vectors[name]), split(rtl), valid, first)
    axes, valid = ("sequence",), None
    if every_step:
        axes, valid = ("sequence", "step"), within(vectors["lengths"], labels.shape[1])
    scoreboard.compare("label", axes, vectors["label"], labels, valid, first)


def timesteps(lengths: np.ndarray, passes: int) -> int:
    """Steps of all passes over sequences of these lengths."""
    return int(lengths.sum()) * passes // len(lengths)


def patience(sidecar: dict[str, Any], lengths: np.ndarray, passes: int, stall: float) -> int:
    """Cycles after which a chip that has not given the classes of these sequences hangs."""
    cycles = int(sidecar["cycles_per_step"]) * (timesteps(lengths, passes) + 100)
    cycles += int(sidecar["cycles_per_output"]) * passes
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
    """What a run over a chip's vectors says, whichever runner it was. labels: of sequences, or of
    all their steps, one after the other."""
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
