"""Runs cases of the fuzz, each in a limit of time and memory, and says what came of it.

Cases run in a worker process: one that hangs, dies or takes too much memory is a result, and the
next one runs in a new worker.
"""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from golden.errors import WordlineError

LONGEST = 20.0
"""Seconds that a case may take, on a loaded machine."""

GRACE = 10.0
"""Seconds after that until a worker that hears no signal is ended."""

GREEDY = 2**30
"""Memory that a case may take beyond what its worker has (bytes). Inputs have some kB."""

ADDRESSES = 2**33
"""Address space of a worker beyond what it has at the start (bytes): more is refused to it."""

LONGEST_SENTENCE = 2000

ACCEPTED, REJECTED = "accepted", "rejected"
TRACEBACK, WRONG, UNCLEAR = "traceback", "wrong", "unclear"
HANG, MEMORY, CRASH, ESCAPE = "hang", "memory", "crash", "escape"
FAILURES = (TRACEBACK, WRONG, UNCLEAR, HANG, MEMORY, CRASH, ESCAPE)
"""Outcomes that are faults of ours.

traceback: an exception other than WordlineError. wrong: accepted, but it does not mean what it
says. unclear: rejected, but not with one sentence. escape: a file was written outside the folder.
"""


@dataclass(frozen=True)
class Case:
    """An input: files by name, and further values. A `Path` as content is a symbolic link."""

    files: dict[str, bytes | Path] = field(default_factory=dict)
    given: Any = None


class Kind:
    """Inputs of one kind, and what reads them.

    name: Name on the command line.
    share: Cases of this kind among all of a run, relative to the other kinds. 0: only if it is
        asked for.
    longest: Seconds that a case may take.
    processes: Cases are processes of their own, whose memory counts.
    """

    name: str
    share = 1
    longest = LONGEST
    processes = False

    def prepare(self, home: Path) -> None:
        """Make the files that are right, in a folder of this kind."""

    def draw(self, draw: random.Random) -> Case:
        """An input."""
        raise NotImplementedError

    def run(self, folder: Path, case: Case) -> None:
        """Read the input, whose files are in a folder.

        Raises WordlineError if it is rejected, AssertionError if it is accepted wrongly.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    said: The sentence or the traceback.
    peak: Largest memory of the worker up to then, beyond what it had at the start (bytes).
    """

    kind: str
    number: str
    what: str
    said: str
    seconds: float
    peak: int

    @property
    def failed(self) -> bool:
        """Whether it is a fault."""
        return self.what in FAILURES

    def __str__(self) -> str:
        return f"{self.kind} {self.number}: {self.what} ({self.seconds:.1f} s): {self.said}"


class _LateError(BaseException):
    """A case took too long; no `except Exception` of the code takes it for an error of a file."""


def drawn(kind: Kind, seed: int, number: int) -> Case:
    """Case `number` of a seed: always the same."""
    return kind.draw(random.Random(f"{kind.name} {seed} {number}"))


def place(case: Case, folder: Path) -> None:
    """Write the files of a case."""
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        else:
            path.write_bytes(content)


Numbered = tuple[str, Callable[[], Case]]
"""A case's number, and what makes it."""


def run(kind: Kind, cases: Iterable[Numbered], folder: Path) -> Iterator[Outcome]:
    """Run cases in workers, one after the other.

    folder: A folder of our own; it is emptied.
    """
    waiting, folder = iter(cases), folder.absolute()
    left: list[Numbered] = []
    while True:
        left = left or [own for _, own in zip(range(200), waiting, strict=False)]
        if not left:
            return
        done = yield from _batch(kind, left, folder)
        left = left[done:]


def _batch(kind: Kind, cases: Sequence[Numbered], folder: Path) -> Iterator[Outcome]:
    """Run cases in one worker until one fails. Returns the number of cases that were run."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    worker = context.Process(target=_work, args=(kind, cases, folder, there), daemon=False)
    worker.start()
    there.close()
    done, began = 0, time.monotonic()
    peak = 0
    try:
        while done < len(cases):
            late = not here.poll(kind.longest + GRACE)
            taken = time.monotonic() - began
            if late:
                yield Outcome(kind.name, cases[done][0], HANG, "killed", taken, peak)
                return done + 1
            try:
                outcome: Outcome = here.recv()
            except EOFError:
                worker.join()
                said = f"the process ended with status {worker.exitcode}"
                yield Outcome(kind.name, cases[done][0], CRASH, said, taken, peak)
                return done + 1
            done, began, peak = done + 1, time.monotonic(), outcome.peak
            yield outcome
            if outcome.failed:  # what it left behind, as its memory, is not the next one's
                return done
        return done
    finally:
        worker.kill()
        worker.join()
        here.close()


def _work(kind: Kind, cases: Sequence[Numbered], folder: Path, pipe: Any) -> None:
    """Run cases, and send what came of each."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ADDRESSES
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A worker begins with the largest memory of its parent, not with what it has.
    Path("/proc/self/clear_refs").write_text("5")
    start = _largest()
    signal.signal(signal.SIGALRM, _late)
    parent = os.getppid()
    for number, make in cases:
        if os.getppid() != parent:  # nobody waits for it
            return
        shutil.rmtree(folder, ignore_errors=True)
        inside = folder / "case"
        inside.mkdir(parents=True)
        case = make()
        place(case, inside)
        os.chdir(inside)  # where relative paths begin
        began = time.monotonic()
        what, said = _outcome(kind, inside, case)
        seconds = time.monotonic() - began
        peak = _largest() - start
        if kind.processes:
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        if what in (ACCEPTED, REJECTED):
            strange = sorted({path.name for path in folder.iterdir()} - {"case"})
            if peak > GREEDY:
                what, said = MEMORY, f"{peak / 2**30:.1f} GB, {what}: {said}"
            elif strange:
                what, said = ESCAPE, f"wrote {', '.join(strange)} outside its folder"
        pipe.send(Outcome(kind.name, number, what, said, seconds, peak))
    pipe.close()


def _largest() -> int:
    """Largest resident memory of this process (bytes)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmHWM")


def _late(*_: object) -> None:
    raise _LateError


def _outcome(kind: Kind, folder: Path, case: Case) -> tuple[str, str]:
    signal.setitimer(signal.ITIMER_REAL, kind.longest)
    try:
        kind.run(folder, case)
        return ACCEPTED, ""
    except WordlineError as error:
        return judged(str(error))
    except _LateError:
        return HANG, traceback.format_exc(limit=-6)
    except AssertionError:
        return WRONG, traceback.format_exc(limit=-4)
    except MemoryError:
        return MEMORY, traceback.format_exc(limit=-6)
    except BaseException as error:
        what = MEMORY if no_memory(str(error)) else TRACEBACK
        return what, traceback.format_exc(limit=-8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def no_memory(said: str) -> bool:
    """Whether an error says that there is no memory."""
    return any(own in said for own in ("MemoryError", "allocate", "bad_alloc", "out of memory"))


def judged(sentence: str) -> tuple[str, str]:
    """The outcome of a rejection: it must be one sentence that can be printed."""
    if no_memory(sentence):
        return MEMORY, sentence
    why = []
    if not sentence.isprintable():
        why.append("has characters that cannot be printed")
    if len(sentence) > LONGEST_SENTENCE:
        why.append(f"has {len(sentence)} characters")
    if not sentence.rstrip("`").endswith((".", ")")) or len(sentence) < 10:
        why.append("is not a sentence")
    if "Traceback" in sentence:
        why.append("is a traceback")
    if why:
        return UNCLEAR, f"{', '.join(why)}: {sentence[:500]!r}"
    return REJECTED, sentence
