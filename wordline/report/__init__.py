"""The report of a run: one HTML file that opens from disk and loads nothing (docs/report.md)."""

from pathlib import Path

from golden import files

REPORT, COMPARISON = "report.html", "comparison.html"


def write(folder: Path) -> Path:
    """Write `REPORT` into the folder of a run, from the files that are there; returns its path.

    Raises WordlineError if the folder holds no result.
    """
    from wordline.report import design, study
    from wordline.report.run import read

    page = study.page(folder) if study.holds(folder) else design.page(read(folder))
    path = folder / REPORT
    files.write_text(path, page.html())
    return path


def compare(first: Path, second: Path, out: Path | None = None) -> Path:
    """Write a comparison of two runs, side by side; returns its path.

    out: The file; None: `COMPARISON` in the second folder.

    Raises WordlineError if a folder holds no result of a design.
    """
    from wordline.report import comparison
    from wordline.report.run import read

    path = second / COMPARISON if out is None else out
    files.write_text(path, comparison.page((read(first), read(second))).html())
    return path
