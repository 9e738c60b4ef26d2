"""One Verilated chip of the batch runner: runs sequences from a reset, or after other ones."""

import ctypes
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from golden.errors import DesignError, WordlineError
from sim.batch_header import layouts
from sim.benches import scoreboard
from sim.benches.scoreboard import Output, Recorded, Scoreboard

DONE, HUNG, STOPPED, TOO_MANY, TOO_FEW, NOT_BUSY, STILL_BUSY, ENDED, FAILED = range(9)

PAUSE = 40
"""Longest stall at a transfer (cycles)."""

Words = list[tuple[int, int]]
"""Addresses and data of the load bus."""


class _Probe(ctypes.Structure):
    _fields_ = (
        *(("units", ctypes.c_int64), ("steps", ctypes.c_int64), ("whole", ctypes.c_int32)),
        *(("cycles", ctypes.c_void_p), ("beats", ctypes.c_int64)),
        ("fields", ctypes.c_void_p * 8),
    )


class _Job(ctypes.Structure):
    """Job of sim/batch.cpp, with the same layout."""

    _fields_ = (
        *(("reset", ctypes.c_int64), ("addresses", ctypes.c_void_p)),
        *(("data", ctypes.c_void_p), ("words", ctypes.c_int64)),
        *(("x", ctypes.c_void_p), ("lengths", ctypes.c_void_p), ("sequences", ctypes.c_int64)),
        *((name, ctypes.c_int64) for name in ("steps", "inputs", "votes")),
        *(("stall", ctypes.c_double), ("accept", ctypes.c_double)),
        *(("pause", ctypes.c_int64), ("seed", ctypes.c_uint64)),
        *((name, ctypes.c_int64) for name in ("load_limit", "limit", "linger")),
        *((name, ctypes.c_void_p) for name in ("stop", "output")),
        *(("outputs", ctypes.c_int64), ("every", ctypes.c_int64)),
        *((name, ctypes.c_void_p) for name in ("probes", "given", "cycles", "culprit")),
        *(("message", ctypes.c_void_p), ("message_size", ctypes.c_int64)),
    )


@dataclass(frozen=True)
class Chunk:
    """Consecutive sequences from number `first` on, with their golden vectors."""

    first: int
    vectors: dict[str, np.ndarray]
    output: Output
    given: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    """(1,): number of output transfers so far."""

    @property
    def sequences(self) -> int:
        """Number of sequences."""
        return len(self.vectors["lengths"])

    @property
    def votes(self) -> int:
        """Passes over each sequence."""
        return scoreboard.count_passes(self.vectors) // self.sequences

    @property
    def where(self) -> str:
        """Its sequences, in words."""
        return f"Sequences {self.first} to {self.first + self.sequences - 1}"

    @property
    def done(self) -> int:
        """Number of finished sequences, estimated from the output transfers."""
        return int(self.given[0]) * self.sequences // self.output.transfers

    def compare(self, board: Scoreboard, streamed: "Streamed") -> None:
        """Compare what a chip gave with the golden vectors."""
        steps, every_step = int(self.vectors["lengths"].max()), self.output.every_step
        shorter = {
            name: rows[:, :steps]
            if name.startswith("layers.") or (every_step and name in scoreboard.OUTPUTS)
            else rows
            for name, rows in self.vectors.items()
        }
        values = streamed.values[:, :steps] if every_step else streamed.values
        scoreboard.compare(board, shorter, streamed.recorded, self.output, values, self.first)


@dataclass(frozen=True)
class Streamed:
    """What a chip gave for a chunk.

    recorded: Values of the probes.
    values: Values of the output.
    cycles: Cycles from the end of loading to the last output.
    times: Cycle of each beat of each probe, (passes, steps, beats).
    """

    recorded: Recorded
    values: np.ndarray
    cycles: int
    times: dict[str, np.ndarray]


class Chip:
    """A model in the library that `batch.build` makes."""

    def __init__(
        self, library: Path, sidecar: dict[str, Any], stop: np.ndarray | None = None
    ) -> None:
        self.library, self.sidecar = _load(library), sidecar
        self.stop = np.zeros(1, np.int32) if stop is None else stop
        self.handle = self.library.chip_new()
        if self.handle is None:
            raise WordlineError(f"{library} makes no model; delete its folder, and try again.")

    def close(self) -> None:
        """Delete the model."""
        self.library.chip_delete(self.handle)

    def write_coverage(self, path: Path) -> None:
        """Write the coverage record of a model that has been built for it."""
        if not self.library.chip_coverage(self.handle, os.fsencode(path)):
            raise WordlineError(f"{path} cannot be written.")

    def run(
        self,
        words: Words,
        chunk: Chunk,
        *,
        stall: float = 0.0,
        stall_output: float | None = None,
        pause: int = PAUSE,
        seed: int = 0,
        reset: bool = True,
        cut: int | None = None,
        cut_load: int | None = None,
    ) -> Streamed | None:
        """Load words and stream the sequences of a chunk.

        stall: Probability of a stall at each transfer.
        stall_output: The same at the output alone; None: as elsewhere.
        pause: Longest stall (cycles).
        seed: Seed of stalls and padding.
        reset: Reset the chip first, which keeps what is loaded. Otherwise all results of the
            sequences before must have been taken.
        cut, cut_load: Stop after this number of cycles of streaming, or of loading, with sequences
            or words under way; then a reset must follow.

        Returns None if the run was stopped or cut.

        Raises DesignError if the chip hangs, gives more or fewer values than expected, if its
        output `busy` is wrong, or if its Verilog ends the simulation or does not settle.
        """
        golden, sequences, votes = chunk.vectors, chunk.sequences, chunk.votes
        passes, steps = sequences * votes, int(golden["lengths"].max())
        load = np.array(words, np.uint64).reshape(-1, 2).T.copy()
        x = np.ascontiguousarray(golden["x"][:, :steps], np.int32)
        lengths = np.ascontiguousarray(golden["lengths"], np.int32)
        output = np.zeros((chunk.output.transfers, chunk.output.beat), np.int32)
        chunk.given[0] = 0
        recorded: Recorded = {}
        probes = (_Probe * len(self.sidecar["probes"]))()
        times: dict[str, np.ndarray] = {}
        for probe, (name, fields) in zip(probes, layouts(self.sidecar).items(), strict=True):
            head = name == "head"
            once = head and not chunk.output.every_step
            probe.units = self.sidecar["arrays"][name]["units"]
            probe.steps, probe.whole = (1, 1) if once else (steps, 0)
            places = next(iter(fields.values()))["dimensions"][-1]
            probe.beats = -(-probe.units // places)
            times[name] = np.zeros((passes, probe.steps, probe.beats), np.int64)
            probe.cycles = times[name].ctypes.data
            for n, (quantity, layout) in enumerate(fields.items()):
                *gates, _ = layout["dimensions"]
                size = (passes, *([] if once else [steps]), *gates, probe.units)
                array = np.zeros(size, np.int32)
                recorded["scores" if head else f"{name}.{quantity}"] = array
                probe.fields[n] = array.ctypes.data
        numbers = np.zeros(2, np.int64)  # cycles, culprit
        message = ctypes.create_string_buffer(500)
        accept = stall if stall_output is None else stall_output
        patience = scoreboard.patience(self.sidecar, golden["lengths"], passes, stall + accept)
        patience += len(output) * pause if accept else 0
        limit = patience if cut is None else cut
        load_limit = 1000 + len(words) * (20 + pause if stall else 8)
        load_limit = load_limit if cut_load is None else cut_load
        job = _Job(
            **{"reset": reset, "words": len(words)},
            **{"addresses": load[0].ctypes.data, "data": load[1].ctypes.data},
            **{"x": x.ctypes.data, "lengths": lengths.ctypes.data, "sequences": sequences},
            **{"steps": steps, "inputs": x.shape[2], "votes": votes},
            **{"stall": stall, "accept": accept, "pause": pause},
            **{"seed": seed << 32 | chunk.first & 0xFFFFFFFF},
            **{"load_limit": load_limit, "limit": limit},
            **{"linger": self.sidecar["cycles_per_step"], "stop": self.stop.ctypes.data},
            **{"output": output.ctypes.data, "outputs": len(output)},
            **{"every": chunk.output.every_step},
            **{"probes": ctypes.addressof(probes)},
            **{"given": chunk.given.ctypes.data, "cycles": numbers[0:].ctypes.data},
            **{"culprit": numbers[1:].ctypes.data},
            **{"message": ctypes.addressof(message), "message_size": len(message)},
        )
        status = self.library.chip_run(self.handle, ctypes.byref(job))
        is_cut = cut is not None or cut_load is not None
        if status == STOPPED or (status == HUNG and is_cut):
            return None
        if status == FAILED:
            said = message.value.decode(errors="replace")
            raise DesignError(f"{chunk.where}: the simulation cannot go on: {said}")
        if status != DONE:
            raise DesignError(self._complaint(status, chunk, patience, int(numbers[1])))
        return Streamed(recorded, chunk.output.values(output), int(numbers[0]), times)

    def _complaint(self, status: int, chunk: Chunk, patience: int, culprit: int) -> str:
        where = chunk.where
        of = scoreboard.OUTPUTS[chunk.output.of][1]
        if status == HUNG:
            came, wanted = int(chunk.given[0]), chunk.output.transfers
            return (
                f"{where}: the chip hangs; {came} of {wanted} {of} came out in {patience:,} cycles."
            )
        if status == ENDED:
            return f"{where}: the Verilog ended the simulation, with $finish, $stop or $fatal."
        if status in (NOT_BUSY, STILL_BUSY):
            when = "low while a sequence is in flight" if status == NOT_BUSY else "high to the end"
            return f"{where}: busy is {when}."
        what = of if culprit < 0 else f"values of {[*self.sidecar['probes']][culprit]}"
        side = "more" if status == TOO_MANY else "fewer"
        return f"{where}: {side} {what} came out than belong to what went in."


def read_sidecar(path: Path) -> dict[str, Any]:
    """The sidecar of an emitted design."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def next_run(sidecar: dict[str, Any], image: Words, run: int) -> Words:
    """Words to load after the image: they advance the number of each array's next run by `run`."""
    loaded, words = dict(image), []
    for name, region in sidecar["load_map"]["regions"].items():
        if name.endswith(".parameters"):
            (_, lane_bits), (_, number_bits), *tiles = region["fields"].items()
            number = sidecar["load_map"]["parameters"].index("run")
            low = lane_bits + number_bits
            for tile in range(1 << sum(bits for _, bits in tiles)):
                address = region["base"] + (tile << low) + (number << lane_bits)
                if address in loaded:
                    words.append((address, (loaded[address] + run) % (1 << 32)))
    return words


def _load(path: Path) -> Any:
    library = ctypes.CDLL(str(path.absolute()))
    library.chip_new.restype = ctypes.c_void_p
    library.chip_delete.argtypes = (ctypes.c_void_p,)
    library.chip_coverage.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    library.chip_coverage.restype = ctypes.c_int32
    library.chip_run.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    return library
