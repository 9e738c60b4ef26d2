"""Functions for the tests of `wordline.jobs`."""

import os
import signal
import time
from pathlib import Path

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


def die(here, *, a):
    os.kill(os.getpid(), signal.SIGKILL)
