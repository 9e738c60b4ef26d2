"""The batch runner: simulates a Verilated chip in this process, without Python between two cycles.

sim/batch.cpp drives the clock and the streams, and records outputs and probes. This module
distributes chunks of sequences over threads, each with its own chip, and compares each chunk with
the golden vectors when it is done. The result is the same as that of sim/benches/bench_network.py
for the same emitted files.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import queue
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gen.rtl.vectors import WHOLE
from sim import chip
from sim.batch_chip import PAUSE, Chip, Chunk, next_run, read_sidecar
from sim.batch_header import header, layouts
from sim.benches import scoreboard
from sim.benches.scoreboard import Output, Scoreboard
from sim.chip import Progress
from sim.verilator import BatchVerilator, CoverageVerilator

CHUNK = 64
"""Maximum number of sequences per chunk. A chip runs a chunk from reset."""

CHUNK_VALUES = 1 << 24
"""Maximum number of values per chunk; it limits the number of long sequences."""

SHORT = 10**11
"""Limit of a short run (cycles times bytes of Verilog): 1 to 2 s; optimising takes 4 to 25 s."""


@dataclass(frozen=True)
class Batch:
    """A built library for an emitted folder. job: Paths of sidecar, image and golden vectors."""

    library: Path
    job: dict[str, Any]


def prepare(
    folder: Path, name: str, *, quick: bool | None = None, vectors: str = "vectors.npz"
) -> Batch:
    """Build the files emitted into `folder`, unless they are built already.

    quick: Build in the least time instead of for speed. None: do so if the run of all vectors is
        short and there is no build for speed.
    vectors: File name of the golden vectors.

    Raises WordlineError if Verilator is unusable or rejects the files.
    """
    return build(chip.emitted(folder, name, vectors), folder / "batch", quick=quick)


def build(
    emitted: chip.Emitted,
    work: Path,
    *,
    quick: bool | None = None,
    lenient: bool = False,
    coverage: bool = False,
) -> Batch:
    """Build given files in the folder `work`, like `prepare`.

    lenient: Warnings do not stop the build.
    coverage: Measure coverage, which makes the model slow.
    """
    sidecar = json.loads(Path(emitted.job["sidecar"]).read_text())
    text = header(sidecar)
    if coverage:
        chip.build(emitted.sources, emitted.top, work, runner=CoverageVerilator(text))
        return _loadable(work, emitted.job)
    runner = BatchVerilator(text)
    if quick is None:
        quick = not chip.is_built(emitted.sources, work, runner) and _short(emitted, sidecar)
    if quick:
        runner = BatchVerilator(text, quick=True, lenient=lenient)
    chip.build(emitted.sources, emitted.top, work, runner=runner)
    return _loadable(work, emitted.job)


def _loadable(work: Path, job: dict[str, Any]) -> Batch:
    """The library built in `work`."""
    key = (work / chip.STAMP).read_text()
    # The loader identifies a loaded library by its name, so a new one needs a new name.
    library = work / f"chip-{key[:16]}.so"
    if not library.exists():
        for old in work.glob("chip-*.so"):
            old.unlink()
        library.hardlink_to(work / BatchVerilator.LIBRARY)
    return Batch(library, job)


def _short(emitted: chip.Emitted, sidecar: dict[str, Any]) -> bool:
    """Whether running all vectors takes less time than compiling for speed."""
    path = Path(emitted.job["vectors"])
    with _Vectors(path) as vectors, np.load(path) as arrays:
        votes = vectors.length("layers.0.h") // vectors.length("x")
        steps = int(arrays["lengths"].sum()) * votes
    size = sum(source.stat().st_size for source in emitted.sources)
    return steps * int(sidecar["cycles_per_step"]) * size < SHORT


def simulate(
    batch: Batch,
    *,
    seed: int = 0,
    stall: float = 0.0,
    pause: int = PAUSE,
    workers: int | None = None,
    chunk: int | None = None,
    coverage: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run all golden vectors through a chip and compare every value.

    seed: Seed of stalls and padding.
    stall: Probability of a stall at each transfer.
    pause: Longest stall (cycles).
    workers: Number of threads; None: one per core.
    chunk: Sequences from one reset to the next; None: see `CHUNK`. It affects only the cycles.
    coverage: File for the coverage record. It needs a build for coverage and implies one worker.

    Raises DesignError if the chip hangs, gives more or fewer values than expected, or if its
    Verilog ends the simulation or does not settle.
    """
    run = _Run(batch, seed=seed, stall=stall, pause=pause, chunk=chunk, coverage=coverage)
    workers = 1 if coverage else workers
    return run.all(workers or len(os.sched_getaffinity(0)), progress)


class _Run:
    """One run of a batch over its vectors."""

    def __init__(
        self,
        batch: Batch,
        *,
        seed: int,
        stall: float,
        pause: int,
        chunk: int | None,
        coverage: Path | None = None,
    ) -> None:
        self.coverage = coverage
        self.sidecar = read_sidecar(Path(batch.job["sidecar"]))
        self.image = scoreboard.image(Path(batch.job["image"]))
        self.vectors = Path(batch.job["vectors"])
        self.library = batch.library
        self.seed, self.stall, self.pause, self.chunk = seed, stall, pause, chunk
        self.scoreboard = Scoreboard()
        self.lock = threading.Lock()
        self.stop = np.zeros(1, np.int32)
        self.idle: queue.SimpleQueue[Chip] = queue.SimpleQueue()  # loaded chips
        self.cycles = 0
        self.values: dict[int, np.ndarray] = {}  # by the first sequence of the chunk

    def all(self, workers: int, progress: Progress | None) -> dict[str, Any]:
        """Run everything on `workers` threads and return the result."""
        clock = time.monotonic()
        with _Vectors(self.vectors) as vectors:
            total, passes = vectors.length("x"), vectors.length("layers.0.h")
            size = self.chunk or self._chunk_size(vectors, passes // total)
            lengths, golden = [], []
            chunks: list[Chunk] = []
            with self._pool(workers) as pool:
                waiting: set[concurrent.futures.Future[None]] = set()
                for first in range(0, total, size):
                    rows = vectors.take(min(size, total - first), passes // total)
                    output = Output.of_vectors(self.sidecar, rows)
                    lengths.append(rows["lengths"])
                    golden.append(output.flat(rows[output.of]))
                    chunk = Chunk(first, rows, output)
                    chunks.append(chunk)
                    waiting.add(pool.submit(self._compute, chunk))
                    # Queue one chunk more than can run: waiting chunks take memory.
                    while len(waiting) > (workers if first + size < total else 0):
                        done, waiting = concurrent.futures.wait(
                            waiting, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED
                        )
                        for future in done:
                            future.result()
                        if progress:
                            progress(sum(chunk.done for chunk in chunks), total)
        values = np.concatenate([self.values[first] for first in sorted(self.values)])
        return scoreboard.result(
            self.scoreboard,
            lengths=np.concatenate(lengths),
            passes=passes,
            cycles=self.cycles,
            output=values,
            golden_output=np.concatenate(golden),
            seconds=time.monotonic() - clock,
        ) | {"passed": self.scoreboard.mismatches == 0}

    @contextlib.contextmanager
    def _pool(self, workers: int) -> Iterator[concurrent.futures.ThreadPoolExecutor]:
        """Thread pool; an exception in the block stops the simulations too."""
        pool = concurrent.futures.ThreadPoolExecutor(workers)
        try:
            yield pool
        except BaseException:
            self.stop[0] = 1
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            while not self.idle.empty():
                chip_ = self.idle.get()
                if self.coverage is not None:
                    chip_.write_coverage(self.coverage)
                chip_.close()

    def _chunk_size(self, vectors: "_Vectors", votes: int) -> int:
        """Sequences per chunk: the same on every machine, as it determines the number of cycles."""
        values = sum(vectors.row(name) * (1 if name == "x" else votes) for name in vectors.arrays)
        return max(1, min(CHUNK, CHUNK_VALUES // values))

    def _compute(self, chunk: Chunk) -> None:
        """Run a chunk on a free chip, and compare."""
        if self.stop[0]:
            return
        # Reset keeps what was loaded, except for the number of the next run.
        try:
            chip_, words = self.idle.get_nowait(), []
        except queue.Empty:
            chip_, words = Chip(self.library, self.sidecar, self.stop), self.image
        words = words + next_run(self.sidecar, self.image, chunk.first * chunk.votes)
        try:
            given = chip_.run(words, chunk, stall=self.stall, pause=self.pause, seed=self.seed)
        except BaseException:
            chip_.close()
            raise
        self.idle.put(chip_)
        if given is None:
            return
        with self.lock:
            self.cycles += given.cycles
            self.values[chunk.first] = chunk.output.flat(given.values)
            chunk.compare(self.scoreboard, given)
            self._say_when(chunk, given.times)

    def _say_when(self, chunk: Chunk, times: dict[str, np.ndarray]) -> None:
        """Add the cycle to the first difference, if it is in this chunk."""
        first = self.scoreboard.first
        if first is None or first.since is not None:
            return
        probe = "head" if first.quantity == "scores" else first.quantity.rpartition(".")[0]
        cycle = None
        if probe in times:
            place = first.place
            row = (place["sequence"] - chunk.first) * chunk.votes + place["pass"]
            units = next(iter(layouts(self.sidecar)[probe].values()))["dimensions"][-1]
            beat = place.get("unit", place.get("class", 0)) // units
            cycle = int(times[probe][row, place.get("step", 0), beat])
        self.scoreboard.first = dataclasses.replace(first, since=chunk.first, cycle=cycle)


class _Vectors:
    """An .npz of arrays, read row by row from the start. Only the requested rows are in memory."""

    def __init__(self, path: Path) -> None:
        self.files = contextlib.ExitStack()
        archive = self.files.enter_context(zipfile.ZipFile(path))
        self.arrays: dict[str, tuple[Any, tuple[int, ...], np.dtype[Any]]] = {}
        for entry in archive.namelist():
            if entry.removesuffix(".npy") in WHOLE:
                continue
            file = self.files.enter_context(archive.open(entry))
            assert np.lib.format.read_magic(file) == (1, 0), entry
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            assert not fortran, f"{entry} is not in C order"
            self.arrays[entry.removesuffix(".npy")] = (file, shape, dtype)

    def __enter__(self) -> "_Vectors":
        return self

    def __exit__(self, *_: object) -> None:
        self.files.close()

    def length(self, name: str) -> int:
        """Number of rows of an array."""
        return self.arrays[name][1][0]

    def row(self, name: str) -> int:
        """Number of values per row of an array."""
        return int(np.prod(self.arrays[name][1][1:]))

    def take(self, sequences: int, votes: int) -> dict[str, np.ndarray]:
        """The next rows of each array: those of `sequences` sequences."""
        rows = {}
        for name, (file, shape, dtype) in self.arrays.items():
            count = sequences * (1 if name in ("x", "lengths", "label") else votes)
            size = (count, *shape[1:])
            data = file.read(int(np.prod(size)) * dtype.itemsize)
            rows[name] = np.frombuffer(data, dtype).reshape(size)
        return rows
