"""The page of a report: sections of questions with answers, charts and tables, as one HTML file.

Charts are Vega-Lite specifications, drawn in the browser by Vega. Its code is in the file, which
loads nothing else: a content security policy forbids it.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from golden import files

HERE = Path(__file__).parent / "page"

Cell = str | int | float | None
Fields = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table.

    head: Names of the columns, with units.
    rows: Cells; numbers are formatted by `text`.
    marks: (row, column) of cells that are emphasised.
    shown: Whether the table is open; otherwise a reader opens it.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    marks: frozenset[tuple[int, int]] = frozenset()
    shown: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart.

    spec: Vega-Lite specification of the chart without its data.
    rows: Its data.
    label: What it shows, for a screen reader.
    title: Heading above it, if a question has several charts.
    """

    spec: Fields
    rows: Sequence[Fields]
    label: str
    title: str = ""

    @property
    def whole(self) -> Fields:
        """The specification with data and size."""
        size: Fields = {"autosize": {"type": "fit-x", "contains": "padding"}}
        size |= {} if "vconcat" in self.spec else {"width": "container"}
        data = {"values": list(self.rows)}
        return size | {"description": self.label} | self.spec | {"data": data}


@dataclass(frozen=True)
class Question:
    """A question, and its answer.

    answer: The answer in a sentence or two.
    commands: Commands to copy, with what each does.
    notes: What limits the answer.
    wide: Several charts are one below the other.
    pictures: Alternative text and data address of pictures.
    """

    question: str
    answer: str = ""
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    commands: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    wide: bool = False
    pictures: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Section:
    """Questions about one subject. key: Its anchor."""

    key: str
    title: str
    questions: Sequence[Question]


@dataclass(frozen=True)
class Page:
    """A report.

    verdict: "GREEN", "RED" or "" if nothing was compared.
    headline: The result in one sentence.
    lines: Warnings and what else belongs to the verdict.
    """

    title: str
    verdict: str
    headline: str
    lines: Sequence[str] = ()
    sections: Sequence[Section] = field(default_factory=list)

    def html(self) -> str:
        """The page as one HTML file; the same page gives the same bytes."""
        import jinja2

        loader = jinja2.FileSystemLoader(HERE)
        environment = jinja2.Environment(
            loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters |= {"text": text, "script": _script}
        environment.tests["number"] = lambda cell: isinstance(cell, int | float)
        template = environment.get_template("report.html")
        parts = {
            name: (HERE / name).read_text(encoding="utf-8") for name in ("style.css", "draw.js")
        }
        return template.render(page=self, library=library(), parts=parts)


def text(cell: Cell) -> str:
    """A cell of a table as text: four significant digits of a real number, all of an integer."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}"
    if cell != 0 and not 1e-3 <= abs(cell) < 1e6:
        return f"{cell:.3e}"
    shown = f"{cell:,.4g}" if abs(cell) < 1000 else f"{cell:,.1f}"
    return shown


def _script(value: Any) -> str:
    """JSON inside a script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


@functools.cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script.

    Bundling takes a second or two, so the result is kept in the cache folder.
    """
    import vl_convert

    versions = (metadata.version("vl-convert-python"), vl_convert.get_vegalite_versions()[-1])
    kept = files.cache_dir() / "report" / f"vega-{'-'.join(versions)}.js"
    if kept.is_file():
        return kept.read_text(encoding="utf-8")
    script: str = vl_convert.javascript_bundle(vl_version=versions[-1])  # type: ignore[call-arg]
    script = script.replace("</script", "<\\/script")
    files.write_text(kept, script)
    return script
