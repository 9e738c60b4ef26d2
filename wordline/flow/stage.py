"""Stages of a command: their time, and that they begin and end."""

import contextlib
import time
from collections.abc import Iterator

from wordline.flow.train import Progress


@contextlib.contextmanager
def stage(
    name: str, seconds: dict[str, float], progress: Progress = lambda *_: None
) -> Iterator[None]:
    """Report a stage, and add its time (s) to `seconds`, even if it fails."""
    progress(name, 0, 1)
    began = time.monotonic()
    try:
        yield
    finally:
        seconds[name] = round(time.monotonic() - began, 2)
        progress(name, 1, 1)
