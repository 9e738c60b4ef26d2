"""Signals that end a command: Ctrl-C (SIGINT) and SIGTERM, which batch systems send."""

import contextlib
import signal
import sys
import threading

import psutil


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


def install() -> None:
    """Make SIGTERM end a command as Ctrl-C does, and keep either from getting lost."""
    sys.unraisablehook = _again
    if threading.current_thread() is threading.main_thread():  # elsewhere Python has no signals
        signal.signal(signal.SIGTERM, _terminate)


def status(interrupt: KeyboardInterrupt) -> int:
    """Exit status of a command that was interrupted: 128 and the number of the signal."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


def _terminate(*_: object) -> None:
    """End the tools that this process started, as a terminal's Ctrl-C does, and this process."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.terminate()
    raise Terminated


def _again(lost: "sys.UnraisableHookArgs") -> None:
    """Send a signal again, a moment later, if Python dropped it in a destructor."""
    if isinstance(lost.exc_value, KeyboardInterrupt):
        number = status(lost.exc_value) - 128
        main_thread = threading.main_thread().ident or 0
        threading.Timer(0.05, signal.pthread_kill, (main_thread, number)).start()
    else:
        sys.__unraisablehook__(lost)
