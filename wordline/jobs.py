"""Independent runs of a study: each is done once, anywhere, and kept.

A job is a function of the project by its name and arguments of plain values, so that a worker needs
nothing but the project and a folder that all share. joblib runs jobs on this machine's cores; a
cluster takes over with one of joblib's backends (`joblib.parallel_config`) around `Runner.run`. A
result lies in the folder under its key, a hash of everything it depends on; a study that was
interrupted goes on with what is not there.
"""

import importlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError

from golden import datasets, files, native, presets
from golden.errors import WordlineError
from golden.files import DATA
from golden.source import code_hash
from wordline.flow import cache

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Job:
    """A run that depends on nothing but what stands here.

    function: "module:name"; called with a `Here` and the arguments, it returns what JSON can hold.
    arguments: plain values, or other jobs, which must be done before and are given as their keys.
    `dataset` among them names the data set that the run reads.
    """

    function: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Here:
    """Where a job runs, and what it may use beside its arguments."""

    folder: Path
    key: str
    data_dir: Path
    device: str

    def file(self, key: str | None = None) -> Path:
        """A job's own file, for what is no JSON; by default this one's."""
        return self.folder / f"{key or self.key}.safetensors"


@dataclass(frozen=True)
class Runner:
    """Runs the jobs of a study.

    folder: where results are kept. device: PyTorch's. workers: processes at once.
    """

    folder: Path
    progress: Progress = lambda *_: None
    data_dir: Path = DATA
    device: str = "cpu"
    workers: int = 1

    def key(self, job: Job) -> str:
        """Hash of everything that a job's result depends on.

        The function counts by its name without its module, and by the code that it reaches, so a
        file may move.
        """
        name = job.function.partition(":")[2]
        given = self._given(job)
        data = ""
        if dataset := job.arguments.get("dataset", ""):
            data = datasets.fingerprint(dataset, self.data_dir)
        return cache.digest(name, given, data, _code(job.function, _uses(job)), self.device)[:24]

    def _given(self, job: Job) -> dict[str, Any]:
        """A job's arguments, other jobs as their keys."""
        return {n: self.key(a) if isinstance(a, Job) else a for n, a in job.arguments.items()}

    def run(self, stage: str, jobs: Sequence[Job]) -> list[Any]:
        """The results of jobs, in their order; those that are not there yet are done first."""
        own = [self.key(job) for job in jobs]
        wanted = {key: job for key, job in zip(own, jobs, strict=True) if self.read(key) is None}
        self.progress(stage, len(set(own)) - len(wanted), len(set(own)))
        tasks = []
        for key, job in wanted.items():
            here = Here(self.folder.resolve(), key, self.data_dir.resolve(), self.device)
            tasks.append(joblib.delayed(_work)(job.function, self._given(job), here))
        done = joblib.Parallel(n_jobs=self.workers, batch_size=1, return_as="generator_unordered")
        try:
            for n, _ in enumerate(done(tasks), 1):
                self.progress(stage, len(set(own)) - len(wanted) + n, len(set(own)))
        except TerminatedWorkerError:
            raise WordlineError(
                f"A worker of the stage {stage!r} was killed, most likely for want of memory; give "
                f"fewer --workers than {self.workers} and run it again: it goes on from here."
            ) from None
        return [self.read(key) for key in own]

    def read(self, key: str) -> Any:
        """A result that is there, with the file that the job left, or None."""
        try:
            kept = json.loads((self.folder / f"{key}.json").read_text())
            path = self.folder / f"{key}.safetensors"
            if kept["file_bytes"] != (path.stat().st_size if path.exists() else None):
                return None
            return kept["result"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # what was damaged is done again


def _uses(job: Job) -> cache.Only:
    """The entries of registries that a job uses: those that its arguments name, and the cells of
    the jobs that it starts from; any cell, where none is named."""
    dataset, preset = (job.arguments.get(name, "") for name in ("dataset", "preset"))
    return cache.uses(dataset=dataset, preset=preset, cells=_cells(job) or None)


def _cells(job: Job) -> set[str]:
    cells = {job.arguments["cell"]} if "cell" in job.arguments else set()
    if "preset" in job.arguments:
        cells.add(presets.load(job.arguments["preset"]).description.cell.kind)
    return cells.union(*(_cells(a) for a in job.arguments.values() if isinstance(a, Job)))


def _code(function: str, only: cache.Only) -> str:
    """Hash of the code behind a job, as it was when the first was asked for, of the packages that
    decide numbers, and of how golden's kernels are run."""
    packages = [name for name in cache.PACKAGES if name != "wordline"]
    about = (platform.machine(), native.library() is not None)
    return cache.digest(code_hash(function, only=only), cache.versions(packages), about)


def cores() -> int:
    """How many of this machine's cores may be used."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _work(function: str, arguments: dict[str, Any], here: Here) -> None:
    """Do a job and keep its result; runs in a worker."""
    torch.set_num_threads(1)
    here.folder.mkdir(parents=True, exist_ok=True)
    module, _, name = function.partition(":")
    began = time.monotonic()
    result = getattr(importlib.import_module(module), name)(here, **arguments)
    path = here.file()
    kept = {
        **{"function": function, "arguments": arguments, "result": result},
        "file_bytes": path.stat().st_size if path.exists() else None,
        "seconds": round(time.monotonic() - began, 2),
    }
    files.write_text(here.folder / f"{here.key}.json", json.dumps(kept, indent=1) + "\n")
