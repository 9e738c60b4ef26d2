"""The report of a study: its claims beside the papers', its figures and tables."""

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golden import files
from golden.errors import WordlineError
from wordline.report import charts
from wordline.report.charts import field
from wordline.report.page import Cell, Chart, Page, Question, Section, Table

if TYPE_CHECKING:
    import rich.table

Fields = dict[str, Any]

RESULTS = "results.json"

MISSED = 4
"""Most missed goals that are named in the answer."""

DECADES = 30
"""Largest ratio of values on a linear axis."""


def holds(folder: Path) -> bool:
    """Whether a folder is that of a study."""
    return (folder / RESULTS).is_file()


def page(folder: Path) -> Page:
    """The report of a study. Raises WordlineError if its results cannot be read."""
    from wordline import studies

    path = folder / RESULTS
    results = files.read_json(path, "run `wordline study` again")
    name = results.get("study")
    if not isinstance(name, str):
        raise WordlineError(f"{path} holds no results of a study; run `wordline study` again.")
    if results.get("format") != studies.FORMAT:
        raise WordlineError(
            f"{path} is of format {results.get('format')}, and this version of Wordline reads "
            f"{studies.FORMAT}; run `wordline study {name}` again."
        )
    studies.known(name)
    code = studies.module(name)
    question = (type(code.STUDY).__doc__ or "").partition("\n")[0].rstrip(".")
    with_goal = [claim for claim in results["claims"] if claim["met"] is not None]
    met = sum(claim["met"] for claim in with_goal)
    rtl = [claim for claim in with_goal if claim["name"].startswith("RTL")]
    verdict = ""
    if rtl:
        verdict = "GREEN" if all(claim["met"] for claim in rtl) else "RED"
    headline = f"{met} of {len(with_goal)} goals are met."
    if rtl:
        headline += " The colour is that of the comparison of RTL with golden."
    tables = [table_of(table) for table in code.tables(results)]
    found = Section(
        "results",
        "Results",
        [
            Question(
                f"{question}?" if not question.endswith("?") else question,
                pictures=[_picture(path) for path in sorted(folder.glob("*.svg"))],
                tables=tables,
            )
        ],
    )
    sections = [_claims(results)] if results["claims"] else []
    return Page(
        f"study {name}", verdict, headline, (), [*sections, found, _origin(folder, results)]
    )


def table_of(table: "rich.table.Table") -> Table:
    """A table of the terminal as one of the page."""
    from rich.text import Text

    def plain(cell: Any) -> str:
        return Text.from_markup(cell).plain if isinstance(cell, str) else str(cell)

    head = [plain(column.header) for column in table.columns]
    cells = [[plain(cell) for cell in column.cells] for column in table.columns]
    title = plain(table.title) if table.title else "The results as a table"
    return Table(head, [list(row) for row in zip(*cells, strict=True)], title, shown=True)


def _picture(path: Path) -> tuple[str, str]:
    """Words for a figure, and the figure as a data address."""
    source = base64.b64encode(path.read_bytes()).decode()
    return f"Figure {path.stem}; the tables hold its numbers", f"data:image/svg+xml;base64,{source}"


def _claims(results: Fields) -> Section:
    claims = results["claims"]
    by_unit: dict[str, list[Fields]] = {}
    for claim in claims:
        by_unit.setdefault(claim["unit"], []).append(claim)
    missed = [claim["name"] for claim in claims if claim["met"] is False]
    said = f"Missed: {'; '.join(missed)}." if missed else "Every goal is met."
    if len(missed) > MISSED:
        said = f"{len(missed)} goals are missed; the table names them."
    rows: list[list[Cell]] = [
        [
            claim["name"],
            claim["unit"],
            claim["ours"],
            claim.get("spread"),
            claim["anchor"],
            None if claim["anchor"] is None else claim["ours"] - claim["anchor"],
            None
            if claim["goal"] is None
            else f"{'at least' if claim['at_least'] else 'at most'} {claim['goal']:g}",
            {True: "met", False: "MISSED", None: None}[claim["met"]],
        ]
        for claim in claims
    ]
    head = (
        "claim",
        "unit",
        "ours",
        "spread over seeds",
        "paper",
        "ours - paper",
        "goal",
        "verdict",
    )
    return Section(
        "claims",
        "Claims",
        [
            Question(
                "What is claimed, and how far is it from the papers?",
                said,
                [_chart(unit, found) for unit, found in by_unit.items()],
                [Table(head, rows, "Claims", shown=True)],
                wide=True,
            )
        ],
    )


def _chart(unit: str, claims: list[Fields]) -> Chart:
    data = []
    for claim in claims:
        sides = (("ours", claim["ours"]), ("paper", claim["anchor"]), ("goal", claim["goal"]))
        data += [
            {"claim": claim["name"], "side": side, "value": value}
            for side, value in sides
            if value is not None
        ]
    names = list(dict.fromkeys(row["claim"] for row in data))
    values = [row["value"] for row in data]
    log = min(values) > 0 and max(values) / min(values) > DECADES
    x = field("value", "quantitative", unit, scale={"type": "log"} if log else {"zero": False})
    y = field("claim", "nominal", sort=names, axis={"title": None, "labelLimit": 300, "grid": True})
    sides_ = ("ours", "paper", "goal")
    side = field(
        "side",
        "nominal",
        "",
        sort=list(sides_),
        scale=charts.scale(sides_, "golden", "rtl", "sixth"),
    )
    shape = field(
        "side",
        "nominal",
        "",
        sort=list(sides_),
        scale={"domain": list(sides_), "range": ["circle", "square", "triangle-right"]},
    )
    encoding = {"x": x, "y": y, "color": side, "shape": shape, "tooltip": charts.hover(y, side, x)}
    spec = {"mark": {"type": "point", "size": 70}, "height": 24 * len(names), "encoding": encoding}
    return Chart(spec, data, f"Claims in {unit}: ours, the paper's and the goal", unit)


def _origin(folder: Path, results: Fields) -> Section:
    settings: list[list[Cell]] = [
        [name, value if isinstance(value, str | int | float) else json.dumps(value)]
        for name, value in results["settings"].items()
    ]
    versions: list[list[Cell]] = [[name, value] for name, value in results["versions"].items()]
    full = " --full" if results["full"] else ""
    return Section(
        "origin",
        "What ran",
        [
            Question(
                "How is it repeated?",
                f"On {results['device']}, with the settings below.",
                commands=[
                    (
                        "The study; finished runs are kept",
                        f"wordline study {results['study']}{full}",
                    ),
                    ("This page, from the files", f"wordline report {folder}"),
                ],
                tables=[
                    Table(("setting", "value"), settings, "Settings and seeds"),
                    Table(("package", "version"), versions, "Versions"),
                ],
            )
        ],
    )
