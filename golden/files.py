"""Atomic writing of files, and reading of a user's files.

A full disk or Ctrl-C never leaves a partial file.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from golden.errors import WordlineError, WordlineNote

MOST_UNPACKED, MOST_RATIO, ALWAYS = 2**34, 200, 2**24
"""Maximum size of an archive's content (bytes), and relative to the archive; up to `ALWAYS` bytes
any ratio is accepted."""

MOST_DATA = 2**30
"""Maximum size of a file of a data set (bytes), unpacked."""

DATA = Path("data")
"""Default folder of data sets."""

_given: list[Path] = []


def cache_dir() -> Path:
    """Folder of a user's cache: compiled kernels and parsed code.

    It can be deleted at any time. Default: `wordline` in $XDG_CACHE_HOME, or in ~/.cache.
    """
    if _given:
        return _given[-1]
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification says to ignore a relative path.
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".cache"
    return base / "wordline"


def set_cache_dir(folder: Path) -> None:
    """Use another cache folder from now on, in this process."""
    _given[:] = [folder.absolute()]


_held: set[Path] = set()


@contextlib.contextmanager
def locked(folder: Path, what: str = "run in this folder") -> Iterator[None]:
    """Hold a folder for this process; others that ask for it wait until it is let go.

    The lock is a file in the cache; without a cache that can be written there is none.

    what: What another process does while it holds it, for the note that this one waits.
    """
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    path = cache_dir() / "locks" / name
    with contextlib.ExitStack() as stack:
        if path not in _held:
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(path.open("w"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    note = f"another {what} is under way; waiting for its end."
                    warnings.warn(WordlineNote(note), stacklevel=4)
                    fcntl.flock(file, fcntl.LOCK_EX)
                _held.add(path)
                stack.callback(_held.discard, path)
        yield


PART = ".part"
"""Ending of a temporary file."""


@contextlib.contextmanager
def atomic(path: Path, *, follow: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it onto `path` if the body succeeds.

    The temporary file is deleted if the body raises.

    follow: For a path that a user named: a link stays, and the file that it names is replaced; a
        device or a pipe is yielded itself. Default: what is there is replaced.
    """
    if follow and path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    path = path.resolve() if follow else path
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the process number alone: containers that share a folder have the same ones.
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PART}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def check_output(path: Path, what: str, marks: Sequence[str]) -> None:
    """Check before the work that a file can be written in the end, and that nothing else is lost.

    what: What is written there, for messages.
    marks: Text that such a file has in its first 2,000 bytes: another file is not overwritten.

    Raises WordlineError.
    """
    if path.is_dir():
        raise WordlineError(f"{path} is a folder; give the name of a file for {what}.")
    if path.is_file():
        with path.open("rb") as file:
            found = file.read(2000)
        if found and not all(mark.encode() in found for mark in marks):
            raise WordlineError(
                f"{path} is there and is not {what}, so it is not overwritten; give another name."
            )
    if path.is_file() or not path.exists():
        check_folder(path.resolve().parent)


def check_folder(folder: Path) -> None:
    """Raise WordlineError if a folder cannot be made or written, before the work."""
    there = next(own for own in (folder, *folder.absolute().parents) if own.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise WordlineError(f"{there} is no folder that can be written; give another one.")


def write_text(path: Path, text: str, *, follow: bool = False) -> None:
    """Write a text file atomically, in UTF-8; see `atomic`."""
    with atomic(path, follow=follow) as beside:
        # A path in the text may not be UTF-8.
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic(path) as beside:
        beside.write_bytes(content)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path, most: int, instead: str) -> str:
    """Read a user's text file in UTF-8.

    most: Maximum size (bytes).
    instead: What to do if it cannot be read, for the message.

    Raises WordlineError if it cannot be read, is too large, or is not UTF-8.
    """
    try:
        return read_bytes(path, most, instead).decode("utf-8-sig")  # with a mark or without
    except UnicodeDecodeError as error:
        raise WordlineError(f"{path} is not UTF-8 (byte {error.start:,}); convert it.") from None


def read_bytes(path: Path, most: int, instead: str) -> bytes:
    """Read a user's file; see `read_text`.

    A device or a pipe, which has no size, is rejected.

    Raises WordlineError if it cannot be read, or is too large.
    """
    try:
        if path.exists() and not path.is_file():
            raise WordlineError(f"{path} is not a regular file; {instead}.")
        with path.open("rb") as file:
            found = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise WordlineError(f"{path} cannot be read ({reason}); {instead}.") from None
    if len(found) > most:
        raise WordlineError(f"{path} is larger than {most:,} bytes; {instead}.")
    return found


def read_data(path: Path) -> bytes:
    """Read a file of a data set. Raises WordlineError if it cannot be read or is too large."""
    return read_bytes(path, MOST_DATA, "copy or download it again")


def check_unpacked(path: Path, size: int, instead: str) -> None:
    """Check the size of an archive's content before it is unpacked (bytes).

    instead: What to do if it is too large, for the message.

    Raises WordlineError if it is too large, or large beside the archive, as a bomb is.
    """
    most = min(MOST_UNPACKED, max(ALWAYS, MOST_RATIO * path.stat().st_size))
    if size > most:
        raise WordlineError(
            f"{path} is {size / 2**20:,.0f} MB when unpacked, above {most / 2**20:,.0f}; {instead}."
        )


def parse_json(text: str) -> Any:
    """Parse JSON.

    Raises ValueError if it is not JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


MOST_JSON = 2**26
"""Maximum size of a JSON file (bytes)."""


def read_json(path: Path, instead: str) -> dict[str, Any]:
    """Read the object in a JSON file.

    instead: What to do if it cannot be read, for the message.

    Raises WordlineError if it cannot be read, or is not a JSON object.
    """
    text = read_text(path, MOST_JSON, instead)
    try:
        found = parse_json(text)
    except ValueError as error:
        raise WordlineError(f"{path} is not JSON ({error}); {instead}.") from None
    if not isinstance(found, dict):
        raise WordlineError(f"{path} holds no JSON object; {instead}.")
    return found


def in_folder(folder: Path, name: str) -> bytes:
    """Read a file in a user's folder.

    Raises WordlineError if it is missing.
    """
    path = folder / name
    if not path.is_file():
        raise WordlineError(f"{folder} has no {name}; put it there.")
    return path.read_bytes()
