"""The report of a run: one HTML file that opens from disk and loads nothing (docs/report.md)."""

from pathlib import Path

from golden import files

REPORT = "report.html"


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
