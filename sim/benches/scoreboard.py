"""Scoreboard: compares golden with RTL value by value, and keeps the first difference."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from golden.errors import WordlineError


@dataclass(frozen=True)
class Difference:
    """The earliest value that differs: its place, and both values.

    since: First sequence of the run.
    cycle: Cycle in which the value leaves its block, counted from the end of loading in that run;
        None if it is not known.
    """

    quantity: str
    place: dict[str, int]
    golden: int
    rtl: int
    since: int | None = None
    cycle: int | None = None

    def __str__(self) -> str:
        where = ", ".join(f"{axis} {index}" for axis, index in self.place.items())
        return f"{self.quantity} at {where}: golden {self.golden}, RTL {self.rtl}"


@dataclass
class Scoreboard:
    """Counts compared values and mismatches, and keeps the earliest difference.

    Differences are ordered by sequence, then pass, then step, then `compare` call. So compare
    quantities in the order in which they are computed.
    """

    values_compared: int = 0
    mismatches: int = 0
    first: Difference | None = None
    by_quantity: dict[str, dict[str, int]] = field(default_factory=dict)
    around: dict[str, Any] | None = None
    """What the RTL computed around the first difference (`surroundings`), if `compare` kept it."""
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
        """Compare two arrays.

        axes: Names of the axes: `sequence`, `step`, `gate`, ...
        valid: Which steps count, with the axes up to `step`; None: all.
        first: Number of the first sequence.
        """
        assert golden.shape == rtl.shape, (quantity, golden.shape, rtl.shape)
        assert golden.ndim == len(axes)
        wrong = golden != rtl  # integers of different types compare by value
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
        # A value without a step (a score) comes after all steps of its pass, a value without a pass
        # (an output) after all passes of its sequence.
        when = tuple(place.get(axis, 1 << 30) for axis in ("sequence", "pass", "step"))
        if self._earliest is None or when < self._earliest:
            self._earliest = when
            self.first = Difference(quantity, place, int(golden[index]), int(rtl[index]))


Recorded = dict[str, np.ndarray]
"""Record of a chip's probes, in the order of computation.

    layers.N.codes            (passes, steps, gates, units)
    layers.N.c, layers.N.h    (passes, steps, units)
    scores                    (passes, classes) or (passes, steps, classes); with a head
"""


OUTPUTS = {
    "label": ((), "classes"),
    "scores": (("class",), "scores"),
    "state": (("unit",), "beats of the state"),
}
"""Outputs by their name in the vectors: last axes, and a name for transfers."""


@dataclass(frozen=True)
class Output:
    """Format of a chip's outputs for given sequences.

    of: Name in the vectors: label, scores or state.
    every_step: Whether every step has an output.
    places: (), or the number of scores or state values per output.
    beat: Number of them per transfer.
    lengths: Lengths of the sequences.
    steps: Padded length.
    """

    of: str
    every_step: bool
    places: tuple[int, ...]
    beat: int
    lengths: np.ndarray
    steps: int

    @classmethod
    def of_vectors(cls, sidecar: dict[str, Any], vectors: dict[str, np.ndarray]) -> "Output":
        """Format of the outputs according to the description in the sidecar."""
        output, network = (sidecar["description"][part] for part in ("output", "network"))
        of = {"class": "label"}.get(output["of"], output["of"])
        sizes = {"label": (), "scores": (network["classes"],), "state": (network["hidden"][-1],)}
        (beat,) = output_field(sidecar)[1]["dimensions"] or [1]
        every_step, steps = output["steps"] == "every", vectors["x"].shape[1]
        return cls(of, every_step, sizes[of], beat, vectors["lengths"], steps)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of the outputs."""
        return ("sequence", *(("step",) if self.every_step else ()), *OUTPUTS[self.of][0])

    @property
    def words(self) -> int:
        """Transfers per output."""
        return -(-int(np.prod(self.places)) // self.beat)

    @property
    def transfers(self) -> int:
        """Number of transfers."""
        count = int(self.lengths.sum()) if self.every_step else len(self.lengths)
        return count * self.words

    def values(self, transfers: np.ndarray) -> np.ndarray:
        """Outputs (sequences, [steps,] places), padded with 0, from transfers (transfers, beat)."""
        values = transfers.reshape(-1, self.words * self.beat)[:, : int(np.prod(self.places))]
        values = values.reshape(len(values), *self.places)
        if not self.every_step:
            return values
        padded = np.zeros((len(self.lengths), self.steps, *self.places), values.dtype)
        padded[self.valid] = values
        return padded

    def flat(self, values: np.ndarray) -> np.ndarray:
        """Outputs without padding, one after the other."""
        return values[self.valid] if self.every_step else values

    @property
    def valid(self) -> np.ndarray:
        """(sequences, steps): whether a step is within its sequence."""
        return within(self.lengths, self.steps)


def compare_packets(
    sidecar: dict[str, Any], vectors: dict[str, np.ndarray], packets: list[bytes]
) -> Scoreboard:
    """Compare the packets that come out behind AXI, one per sequence, with the vectors."""
    output = Output.of_vectors(sidecar, vectors)
    kind = np.dtype("i1" if output.of == "state" else "<i4")
    values = [np.frombuffer(packet, kind) for packet in packets]
    flat = np.concatenate(values).astype(np.int64)
    board = Scoreboard()
    steps = vectors["lengths"] if output.every_step else np.ones(len(packets), int)
    each = [len(v) for v in values]
    assert each == (steps * (len(flat) // steps.sum())).tolist(), "packets of the wrong length"
    golden = vectors[output.of]
    valid = output.valid if output.every_step else None
    found = output.values(flat.reshape(-1, output.beat))
    board.compare(output.of, output.axes, golden, found, valid)
    return board


def image(path: Path) -> list[tuple[int, int]]:
    """Addresses and data of an image file."""
    lines = (line[1:].split() for line in path.read_text().splitlines() if line.startswith("@"))
    return [(int(address, 16), int(data, 16)) for address, data in lines]


def output_field(sidecar: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and layout of the field of the output's payload that has the value."""
    fields: dict[str, dict[str, Any]] = sidecar["ports"]["o__payload"]["fields"]
    return next((name, fields[name]) for name in ("label", "score", "codes") if name in fields)


def within(lengths: np.ndarray, steps: int) -> np.ndarray:
    """(sequences, steps): whether a step is within its sequence."""
    valid: np.ndarray = np.arange(steps)[None] < lengths[:, None]
    return valid


def compare(
    scoreboard: Scoreboard,
    vectors: dict[str, np.ndarray],
    recorded: Recorded,
    output: Output,
    values: np.ndarray,
    first: int = 0,
) -> None:
    """Compare the record and the outputs of a run with the golden vectors.

    values: Outputs of the run.
    first: Number of the first sequence.
    """
    sequences, passes = len(vectors["lengths"]), count_passes(vectors)
    before = scoreboard.first

    def split(values: np.ndarray) -> np.ndarray:
        return values.reshape(sequences, passes // sequences, *values.shape[1:])

    unseen = {n for n in vectors if n.startswith("layers.") or n == "scores"} - recorded.keys()
    if unseen:
        raise WordlineError(
            f"The sidecar has no probe of {', '.join(sorted(unseen))}, which the golden vectors "
            f"have, so it would not be compared; emit the design again."
        )
    axes: tuple[str, ...]
    for name, rtl in recorded.items():
        if name == "scores":
            axes, stepwise = ("class",), output.every_step
        else:
            axes, stepwise = ("gate", "unit") if name.endswith(".codes") else ("unit",), True
        axes = ("sequence", "pass", *(("step",) if stepwise else ()), *axes)
        valid = None
        if stepwise:
            steps = within(vectors["lengths"], rtl.shape[1])[:, None]
            valid = np.broadcast_to(steps, (sequences, passes // sequences, rtl.shape[1]))
        scoreboard.compare(name, axes, split(vectors[name]), split(rtl), valid, first)
    valid = within(vectors["lengths"], values.shape[1]) if output.every_step else None
    name = "label" if output.of == "label" else "output"
    scoreboard.compare(name, output.axes, vectors[output.of], values, valid, first)
    if scoreboard.first is not None and scoreboard.first is not before:
        lengths, votes = vectors["lengths"], passes // sequences
        scoreboard.around = surroundings(scoreboard.first, recorded, lengths, votes, first)


NEAR = 16
"""Steps before and after the first difference whose values are kept."""


def surroundings(
    difference: Difference, recorded: Recorded, lengths: np.ndarray, votes: int, first: int
) -> dict[str, Any]:
    """What the RTL computed in the pass of a difference, `NEAR` steps before and after it, as JSON.

        sequence, pass, step   the pass, and the first step of what is kept
        values                 by name of `Recorded`: values (steps, ...); scores of the pass alone
                               if they do not come with every step

    A difference without a pass (a class) keeps the first pass; one without a step the last steps.

    lengths: Lengths of these sequences.
    votes: Passes over each sequence.
    first: Number of the first sequence.
    """
    place = difference.place
    sequence, pass_ = place["sequence"], place.get("pass", 0)
    row, length = (sequence - first) * votes + pass_, int(lengths[sequence - first])
    step = place.get("step", length - 1)
    begin, end = max(0, step - NEAR), min(length, step + NEAR + 1)
    values = {}
    for name, rows in recorded.items():
        stepwise = name != "scores" or rows.ndim == 3
        values[name] = (rows[row, begin:end] if stepwise else rows[row]).tolist()
    return {"sequence": sequence, "pass": pass_, "step": begin, "values": values}


def count_passes(vectors: dict[str, np.ndarray]) -> int:
    """Number of passes over all sequences."""
    return len(vectors["layers.0.h"])


def timesteps(lengths: np.ndarray, passes: int) -> int:
    """Number of steps of all passes over sequences of these lengths."""
    return int(lengths.sum()) * passes // len(lengths)


def patience(sidecar: dict[str, Any], lengths: np.ndarray, passes: int, stall: float) -> int:
    """Timeout in cycles for all outputs of these sequences."""
    cycles = int(sidecar["cycles_per_step"]) * (timesteps(lengths, passes) + 100)
    cycles += int(sidecar["cycles_per_output"]) * passes
    return cycles * (60 if stall else 2)


def result(
    scoreboard: Scoreboard,
    *,
    lengths: np.ndarray,
    passes: int,
    cycles: int,
    output: np.ndarray,
    golden_output: np.ndarray,
    seconds: float,
) -> dict[str, Any]:
    """Result of a run over a chip's vectors, the same for all runners.

    output, golden_output: Outputs of sequences, or of all their steps, one after the other.
    """
    steps = timesteps(lengths, passes)
    return {
        "sequences": len(lengths),
        "passes": passes,
        "timesteps": steps,
        "values_compared": scoreboard.values_compared,
        "mismatches": scoreboard.mismatches,
        "first_difference": str(scoreboard.first) if scoreboard.first else None,
        "first": asdict(scoreboard.first) if scoreboard.first else None,
        "around": scoreboard.around,
        "by_quantity": scoreboard.by_quantity,
        "cycles": cycles,
        "cycles_per_step": round(cycles / steps, 2),
        "output": output.tolist(),
        "golden_output": golden_output.tolist(),
        "stream_seconds": round(seconds, 6),
    }
