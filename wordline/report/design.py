"""The report of a design: every section that its folder has files for."""

from collections.abc import Callable
from pathlib import Path

from wordline.flow.place import Place
from wordline.report import (
    accuracy,
    cells,
    codes,
    cost,
    effects,
    imported,
    origin,
    timeline,
    values,
    verdict,
)
from wordline.report.page import Page, Section
from wordline.report.run import Run

SECTIONS: tuple[Callable[[Run], Section | None], ...] = (
    accuracy.section,
    values.section,
    codes.section,
    effects.section,
    timeline.section,
    cells.section,
    cost.section,
    imported.section,
    origin.section,
)
"""Sections after the verdict, in order."""


def page(run: Run) -> Page:
    """The report of a folder."""
    first = place(run)
    said, headline = verdict.headline(run)
    found = [verdict.section(run, first), *(section(run) for section in SECTIONS)]
    what = f"check of {run.summary['rtl']}" if run.checked and run.summary else "report"
    title = f"{run.name}: {what}"
    sections = [section for section in found if section is not None and section.questions]
    return Page(title, said, headline, verdict.lines(run, first), sections)


def place(run: Run) -> Place | None:
    """Place of the first difference; None without one, or if the design is not there."""
    from wordline.flow.place import located

    summary = run.summary
    if summary is None or summary.get("first") is None or run.sidecar is None:
        return None
    assert run.description is not None
    rtl = Path(summary["given"]["rtl"]) if run.checked else run.folder / f"{run.name}.v"
    if not rtl.is_file():
        return None
    return located(run.sidecar, run.description, rtl, summary["first"])
