"""Independent runs of a study. Each is done once, anywhere, and its result is kept.

A job is a function of the project, given by its name, with arguments of plain values. Dask runs
jobs on the cores of this machine, or on the workers of a scheduler that runs elsewhere. These need
the project, but no folder that they share: data sets and the files of other jobs are sent to them,
and their results come back. The folder keeps each result under its key, a hash of everything it
depends on. An interrupted study resumes with the missing results. A job whose worker is lost is run
again.
"""

import contextlib
import importlib
import json
import logging
import os
import platform
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from golden import datasets, files, native, presets
from golden.errors import WordlineError
from golden.files import DATA
from golden.source import code_hash
from wordline.flow import cache

if TYPE_CHECKING:
    from distributed import Future

Progress = Callable[[str, int, int], None]
"""Called with the stage, the amount done and the total."""

TRIES = 3
"""How often a job is run if its worker is lost each time."""

PATIENCE = 60
"""Seconds within which a scheduler and its first worker must answer."""


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
    workers: Number of parallel processes. One job at a time is run in this process.
    scheduler: Address of a Dask scheduler, whose workers run the jobs in the place of this machine.
    """

    folder: Path
    progress: Progress = lambda *_: None
    data_dir: Path = DATA
    device: str = "cpu"
    workers: int = 1
    scheduler: str | None = None
    _cluster: list["_Cluster"] = field(default_factory=list, compare=False, repr=False)

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

        Raises WordlineError if a job loses its worker `TRIES` times, or if the scheduler does not
        answer.
        """
        own = [self.key(job) for job in jobs]
        wanted = {key: job for key, job in zip(own, jobs, strict=True) if self.read(key) is None}
        self.progress(stage, len(set(own)) - len(wanted), len(set(own)))
        for n, _ in enumerate(self._done(stage, wanted), 1):
            self.progress(stage, len(set(own)) - len(wanted) + n, len(set(own)))
        return [self.read(key) for key in own]

    def size(self) -> int:
        """Number of workers; connects to the scheduler, if there is one."""
        if self.scheduler is None:
            return self.workers
        return sum(self._open().client.nthreads().values())

    def _open(self) -> "_Cluster":
        if not self._cluster:
            self._cluster.append(_Cluster(self.workers, self.scheduler))
        return self._cluster[0]

    def _done(self, stage: str, wanted: dict[str, Job]) -> Iterator[None]:
        """Do jobs, by their keys; yields after each."""
        if self.workers == 1 and self.scheduler is None:
            for key, job in wanted.items():
                here = Here(self.folder.resolve(), key, self.data_dir.resolve(), self.device)
                _work(job.function, self._given(job), here)
                yield
        elif wanted:
            try:
                yield from self._open().run(self, stage, wanted)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End the processes of this machine's cluster, and what they are doing."""
        while self._cluster:
            self._cluster.pop().close()

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
    cell = job.arguments.get("cell")  # a kind, or the fields of a description
    cells = {cell["kind"] if isinstance(cell, dict) else cell} if cell else set()
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


class _Cluster:
    """Workers of this machine, or those of a scheduler that runs elsewhere."""

    def __init__(self, workers: int, scheduler: str | None) -> None:
        import dask
        from distributed import Client, LocalCluster

        self.workers, self.scheduler = workers, scheduler
        self.sent: dict[str, Future] = {}
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        dask.config.set({"distributed.scheduler.allowed-failures": TRIES - 1})
        self.local = None
        if scheduler is None:
            self.local = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                memory_limit=0,  # jobs decide what they take
                silence_logs=logging.CRITICAL,
            )
            self.client = Client(self.local)
            self.client.run(files.set_cache_dir, files.cache_dir())
            self.client.run(_leave_ctrl_c_to_the_client)
            return
        try:
            self.client = Client(scheduler, timeout=PATIENCE)
            self.client.wait_for_workers(1, timeout=PATIENCE)
        except (OSError, TimeoutError, ValueError) as error:
            what = "has no workers" if hasattr(self, "client") else "does not answer"
            raise WordlineError(
                f"The scheduler {scheduler} {what} ({error}); start it with `dask scheduler` and "
                f"workers with `dask worker {scheduler}`, or leave --scheduler out."
            ) from None

    def run(self, runner: Runner, stage: str, wanted: dict[str, Job]) -> Iterator[None]:
        """Do jobs, by their keys; yields after each."""
        from distributed import CancelledError, KilledWorker, as_completed

        task = self._beside if self.local else self._apart
        futures = {task(runner, key, job): key for key, job in wanted.items()}
        try:
            for future in as_completed(futures):
                if (found := future.result()) is not None:
                    _keep(Here(runner.folder, futures[future], runner.data_dir, ""), *found)
                future.release()  # else it is done again if its worker is lost later
                yield
        except KilledWorker:
            fewer = f"give fewer --workers than {self.workers}" if self.local else "use larger ones"
            raise WordlineError(
                f"A job of the stage {stage!r} lost its worker {TRIES} times, most likely for want "
                f"of memory; {fewer} and run it again: it goes on from here."
            ) from None
        except (CancelledError, OSError) as error:
            raise WordlineError(
                f"The connection to the scheduler was lost in the stage {stage!r} ({error}); run "
                f"it again: it goes on from here."
            ) from None

    def _beside(self, runner: Runner, key: str, job: Job) -> "Future":
        """On a worker of this machine, which keeps the result itself."""
        here = Here(runner.folder.resolve(), key, runner.data_dir.resolve(), runner.device)
        given = runner._given(job)
        return self.client.submit(_work, job.function, given, here, key=f"wordline-{key}")

    def _apart(self, runner: Runner, key: str, job: Job) -> "Future":
        """On a worker that shares no folder with this machine: what it needs is sent along."""
        started_from = [runner.key(a) for a in job.arguments.values() if isinstance(a, Job)]
        needs = {
            name: self._send(name, runner.folder / f"{name}.safetensors") for name in started_from
        }
        name = job.arguments.get("dataset", "")
        set_ = datasets.task(name).files if name else None
        if set_ is not None and set_.name not in self.sent:
            self.sent[set_.name] = self.client.scatter(set_.read(runner.data_dir), hash=False)
        only = _uses(job)
        return self.client.submit(
            *(_work_apart, job.function, runner._given(job), key, runner.device),
            *(only, _code(job.function, only), needs),
            *((set_.name, self.sent[set_.name]) if set_ is not None else ("", None)),
            key=f"wordline-{key}",
        )

    def _send(self, key: str, path: Path) -> "Future":
        """A job's file in the workers' memory; sent once."""
        if key not in self.sent:
            content = path.read_bytes() if path.exists() else None
            self.sent[key] = self.client.scatter(content, hash=False)
        return self.sent[key]

    def close(self) -> None:
        """Close the connection, and end this machine's workers, whatever they do."""
        for nanny in self.local.workers.values() if self.local else ():
            nanny.close_gracefully()  # it does not start another worker
            if (pid := nanny.pid) is not None:  # None: its process has just ended
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(Exception):
            self.client.close(timeout=1)
        if self.local is not None:
            with contextlib.suppress(Exception):
                self.local.close(timeout=1)


def _leave_ctrl_c_to_the_client() -> None:
    """A terminal interrupts all processes; that of the command ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(function: str, arguments: dict[str, Any], here: Here) -> None:
    """Do a job and keep its result in the folder of results."""
    _keep(here, _result(function, arguments, here), None)


def _work_apart(
    function: str,
    arguments: dict[str, Any],
    key: str,
    device: str,
    only: cache.Only,
    code: str,
    needs: dict[str, bytes | None],
    name: str,
    data: dict[str, bytes] | None,
) -> tuple[dict[str, Any], bytes | None]:
    """Do a job in a folder of this worker. Returns its result and its file.

    only, code: What `_code` was given, and its result, in the client.
    needs: Files of other jobs, by key.
    name, data: A data set and its files.

    Raises WordlineError if the worker's project or packages are not those of the client.
    """
    from distributed import get_worker

    if _code(function, only) != code:
        raise WordlineError(
            f"The worker on {socket.gethostname()} has another Wordline, other versions of "
            f"packages or no g++, so its results may differ; install there what is installed here."
        )
    folder = Path(get_worker().local_directory) / "wordline"
    here = Here(folder, key, folder / "data", device)
    for needed, content in needs.items():
        if content is not None and not here.file(needed).exists():
            files.write_bytes(here.file(needed), content)
    if data is not None and not datasets.find(name).present(here.data_dir):
        datasets.find(name).store(data, here.data_dir)
    kept = _result(function, arguments, here)
    path = here.file()
    return kept, path.read_bytes() if path.exists() else None


def _result(function: str, arguments: dict[str, Any], here: Here) -> dict[str, Any]:
    """Call the function of a job; what is kept of it, besides its file."""
    torch.set_num_threads(1)
    here.folder.mkdir(parents=True, exist_ok=True)
    module, _, name = function.partition(":")
    began = time.monotonic()
    result = getattr(importlib.import_module(module), name)(here, **arguments)
    path = here.file()
    return {
        **{"function": function, "arguments": arguments, "result": result},
        "file_bytes": path.stat().st_size if path.exists() else None,
        "seconds": round(time.monotonic() - began, 2),
    }


def _keep(here: Here, kept: dict[str, Any], content: bytes | None) -> None:
    """Write the result of a job to its folder, after its file, if that was sent."""
    if content is not None:
        files.write_bytes(here.file(), content)
    files.write_text(here.folder / f"{here.key}.json", json.dumps(kept, indent=1) + "\n")
