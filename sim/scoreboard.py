"""The scoreboard: golden against RTL, value by value, and the first difference in words."""

from dataclasses import dataclass, field

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
    ) -> None:
        """Compare two arrays whose axes are named (`sequence`, `step`, `gate`, ...).

        valid: of the axes up to `step`, where given: which steps count.
        """
        assert golden.shape == rtl.shape, (quantity, golden.shape, rtl.shape)
        assert golden.ndim == len(axes)
        wrong = golden.astype(np.int64) != rtl.astype(np.int64)
        compared = wrong.size
        if valid is not None:
            mask = valid.reshape(*valid.shape, *(1,) * (wrong.ndim - valid.ndim))
            wrong &= mask
            compared = int(valid.sum()) * int(np.prod(wrong.shape[valid.ndim :]))
        mismatches = int(wrong.sum())
        self.values_compared += compared
        self.mismatches += mismatches
        self.by_quantity[quantity] = {"compared": compared, "mismatches": mismatches}
        if not mismatches:
            return
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = dict(zip(axes, index, strict=True))
        # What has no step (a score) comes after every step of its pass, what has no pass (a
        # class) after every pass of its sequence.
        when = tuple(place.get(axis, 1 << 30) for axis in ("sequence", "pass", "step"))
        if self._earliest is None or when < self._earliest:
            self._earliest = when
            self.first = Difference(quantity, place, int(golden[index]), int(rtl[index]))
