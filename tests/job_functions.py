"""Functions for the tests of `wordline.jobs`."""

import os
import signal
import time
from pathlib import Path

from golden import datasets
from golden.errors import WordlineError


def add(here, *, a, b=0, calls=None):
    if calls:
        with Path(calls).open("a") as file:
            file.write(f"{a}\n")
    return {"sum": a + b, "device": here.device}


def leave(here, *, text):
    here.file().write_text(text)
    return here.key


def read(here, *, of):
    return here.file(of).read_text()


def fail(here, *, words):
    raise WordlineError(words)


def linger(here, *, a, seconds):
    (here.folder / f"{a}.pid").write_text(str(os.getpid()))
    time.sleep(seconds if a else 0)
    return a


def die(here, *, a, marks=None):
    """Kill this process; with a folder for marks, only if there is none in it."""
    if marks is not None:
        Path(marks).mkdir(exist_ok=True)
        try:
            (Path(marks) / "mark").touch(exist_ok=False)
        except FileExistsError:
            return a
    os.kill(os.getpid(), signal.SIGKILL)


def slowly(here, *, a, of, calls, dataset):
    """What another job left, and a file of a data set."""
    time.sleep(0.2)
    with Path(calls).open("a") as file:
        file.write(f"{a}\n")
    (content, *_) = datasets.find(dataset).read(here.data_dir).values()
    return f"{a} {here.file(of).read_text()} {content.decode()}"
