"""The report of a run: one HTML file that opens from disk and loads nothing (docs/report.md)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from golden import files
from golden.errors import WordlineError

REPORT, COMPARISON = "report.html", "comparison.html"

MARKS = ("<!DOCTYPE html>", ": comparison of two runs")
"""Text near the beginning of a comparison."""


def write(folder: Path) -> Path:
    """Write `REPORT` into the folder of a run, from the files that are there; returns its path.

    Raises WordlineError if the folder holds no result.
    """
    from wordline.report import design, study
    from wordline.report.run import read

    path = folder / REPORT
    with _understood(folder):
        page = study.page(folder) if study.holds(folder) else design.page(read(folder))
        text = page.html()
    files.write_text(path, text)
    return path


def compare(first: Path, second: Path, out: Path | None = None) -> Path:
    """Write a comparison of two runs, side by side; returns its path.

    out: The file; None: `COMPARISON` in the second folder.

    Raises WordlineError if a folder holds no result of a design, or if `out` is another file.
    """
    from wordline.report import comparison
    from wordline.report.run import read

    if out is not None:
        files.check_output(out, "a comparison", MARKS)
    path = second / COMPARISON if out is None else out
    runs = []
    for folder in (first, second):
        with _understood(folder):
            runs.append(read(folder))
    with _understood(f"{first} and {second}"):
        text = comparison.page((runs[0], runs[1])).html()
    files.write_text(path, text, follow=True)
    return path


@contextlib.contextmanager
def _understood(where: Path | str) -> Iterator[None]:
    """Raise WordlineError for a record that lacks a field, or has another one than expected."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise WordlineError(
            f"{where}: a record was edited, or is of another version of Wordline ({why}); run the "
            f"command again that wrote it."
        ) from error
