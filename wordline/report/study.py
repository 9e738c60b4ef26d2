"""The report of a study."""

from pathlib import Path

from wordline.report.page import Page


def holds(folder: Path) -> bool:
    """Whether a folder is that of a study."""
    return False


def page(folder: Path) -> Page:
    """The report of a study."""
    raise NotImplementedError
