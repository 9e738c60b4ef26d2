"""Independent runs of a study. Each is done once, anywhere, and its result is kept.

A job is a function of the project, given by its name, with arguments of plain values. So a worker
needs only the project and a shared folder. joblib runs jobs on the cores of this machine, or on a
cluster with one of joblib's backends (`joblib.parallel_config`) around `Runner.run`. The folder
keeps each result under its key, a hash of everything it depends on. An interrupted study resumes
with the missing results.
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
"""Called with the stage, the amount done and the total."""


@dataclass(frozen=True)
class Job:
    """A run that depends only on its function and arguments.

    function: "module:name". It is called with a `Here` and the arguments, and returns a value that
        JSON can hold.
    arguments: Plain values, or other jobs, which are done before and passed as their keys.
        `dataset` names the data set that the run reads.
    """

    function: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Here:
    """Where a job runs, and what it may use besides its arguments.

    folder: Folder of results.
    key: Key of the job.
    data_dir: Folder of data sets.
    device: PyTorch device.
    """

    folder: Path
    key: str
    data_dir: Path
    device: str

    def file(self, key: str | None = None) -> Path:
        """File for results that are not JSON, of the job with this key; None: of this job."""
        return self.folder / f"{key or self.key}.safetensors"


@dataclass(frozen=True)
class Runner:
    """Runs the jobs of a study.

    folder: Folder of results.
    progress: Called with the stage, the amount done and the total.
    data_dir: Folder of data sets.
    device: PyTorch device.
    workers: Number of parallel processes.
    """

    folder: Path
    progress: Progress = lambda *_: None
    data_dir: Path = DATA
    device: str = "cpu"
    workers: int = 1

    def key(self, job: Job) -> str:
        """Hash of everything that a job's result depends on.

        A function counts by its name without its module, and by the code that it reaches, so it may
        move to another file.
        """
        name = job.function.partition(":")[2]
        given = self._given(job)
        data = ""
        if dataset := job.arguments.get("dataset", ""):
            data = datasets.fingerprint(dataset, self.data_dir)
        return cache.digest(name, given, data, _code(job.function, _uses(job)), self.device)[:24]

    def _given(self, job: Job) -> dict[str, Any]:
        """Arguments of a job, with other jobs replaced by their keys."""
        return {n: self.key(a) if isinstance(a, Job) else a for n, a in job.arguments.items()}

    def run(self, stage: str, jobs: Sequence[Job]) -> list[Any]:
        """Results of jobs, in order. Missing ones are computed first.

        Raises WordlineError if a worker is killed.
        """
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
        """A kept result, or None if it or the job's file is missing or damaged."""
        try:
            kept = json.loads((self.folder / f"{key}.json").read_text())
            path = self.folder / f"{key}.safetensors"
            if kept["file_bytes"] != (path.stat().st_size if path.exists() else None):
                return None
            return kept["result"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # damaged: compute it again


def _uses(job: Job) -> cache.Only:
    """Registry entries that a job uses: those that its arguments name, and its cells.

    The cells are those of the job and of the jobs that it starts from; all cells, if none is named.
    """
    dataset, preset = (job.arguments.get(name, "") for name in ("dataset", "preset"))
    return cache.uses(dataset=dataset, preset=preset, cells=_cells(job) or None)


def _cells(job: Job) -> set[str]:
    cells = {job.arguments["cell"]} if "cell" in job.arguments else set()
    if "preset" in job.arguments:
        cells.add(presets.load(job.arguments["preset"]).description.cell.kind)
    return cells.union(*(_cells(a) for a in job.arguments.values() if isinstance(a, Job)))


def _code(function: str, only: cache.Only) -> str:
    """Hash of the code of a job, of the packages that determine numbers, and of golden's kernels.

    The hash is that of the first call in this process.
    """
    packages = [name for name in cache.PACKAGES if name != "wordline"]
    about = (platform.machine(), native.library() is not None)
    return cache.digest(code_hash(function, only=only), cache.versions(packages), about)


def cores() -> int:
    """Number of cores that this process may use."""
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
