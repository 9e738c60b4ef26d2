"""report: make the report of a run again, or compare two runs."""

from pathlib import Path
from typing import Annotated

import typer

from golden.errors import WordlineError
from wordline.cli.app import app, complain, interruptible, terminal

Open = Annotated[bool, typer.Option("--open", help="Open the report in a browser.")]
Report = Annotated[
    bool, typer.Option("--report/--no-report", help="Write report.html, or leave it out.")
]


def made(folder: Path, *, wanted: bool, show: bool) -> None:
    """Write the report of a run, and say where it is. A failure is told, and changes nothing."""
    if not wanted:
        return
    try:
        from wordline import report

        path = report.write(folder)
    except Exception as error:  # the verdict stands, whatever is wrong with its report
        complain(f"The report could not be made ({_said(error)}); the result stands.", 0, "yellow")
        return
    terminal.say(f"report: {path}")
    if show:
        opened(path)


def _said(error: Exception) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".:")


def opened(path: Path) -> None:
    """Open a file in a browser."""
    import webbrowser

    if not webbrowser.open(path.absolute().as_uri()):
        complain(f"No browser could be opened; open {path} yourself.", 0, "yellow")


@app.command("report")
@interruptible
def report_(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    other: Annotated[
        Path | None, typer.Argument(help="Folder of another run, to compare with.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File of the comparison; default: comparison.html in the other folder."),
    ] = None,
    open_: Open = False,
) -> None:
    """Make the report of a run again from its folder, or compare two runs side by side.

    One folder: writes report.html, without running anything. Two folders, such as those before
    and after an edit: writes what differs in settings, results, accuracy, codes, cycles and cost.
    """
    from wordline import report

    if other is None and out is not None:
        raise WordlineError("--out is for a comparison; give another folder too, or leave it out.")
    path = report.write(folder) if other is None else report.compare(folder, other, out)
    terminal.say(f"report: {path}")
    if open_:
        opened(path)
