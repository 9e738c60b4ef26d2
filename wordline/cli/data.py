"""data: data sets for training and test."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golden.errors import WordlineError
from wordline.cli.app import DATA, DataDir, app, interruptible, terminal

if TYPE_CHECKING:
    from rich.table import Table


@app.command("data")
@interruptible
def data_(
    name: Annotated[str, typer.Argument(help="Which set; none: list them.")] = "",
    own: Annotated[
        Path | None, typer.Option("--from", help="Take your own files out of this folder.")
    ] = None,
    data_dir: DataDir = DATA,
) -> None:
    """Download a data set and check its SHA-256, or copy your own files. Without a name: list them.

    `wordline data mnist --from FOLDER` accepts MNIST's IDX files (with .gz or without), CIFAR-10's
    batches, PTB and plain text (docs/data.md), and copies them after checking them.
    `wordline data strokes` traces the digits of MNIST as pen strokes.
    """
    from golden import datasets

    if not name:
        if own is not None:
            raise WordlineError("--from needs the name of a set; `wordline data` lists them.")
        terminal.show(_sets(data_dir))
        return
    known = datasets.find(name)
    folder = known.folder(data_dir)
    if own is not None:
        known.take(own, data_dir)
        whose = "the published files" if known.published(data_dir) else "your own files"
        terminal.say(f"{folder}/: {whose}, {_megabytes(known.size(data_dir))}")
    elif known.present(data_dir):
        known.read(data_dir)  # raises an error if it is damaged
        terminal.say(f"{folder}/ is there already; delete it to fetch it anew.")
    else:
        with terminal.bars() as bar:
            known.fetch(data_dir, bar)
        terminal.say(f"{folder}/: fetched and checked, {_megabytes(known.size(data_dir))}")
    if name in datasets.TASKS:
        with terminal.bars() as bar:
            data = datasets.load(name, data_dir, bar)  # keeps the prepared data
        sizes = f"{len(data.train):,} sequences to train, {len(data.test):,} to test"
        labels = f"{data.classes} {'targets' if data.train.real else 'classes'}"
        terminal.say(f"{name}: {sizes}, {data.channels} values a step, {labels}")


def _sets(data_dir: Path) -> "Table":
    """Table of the data sets."""
    from rich.table import Table

    from golden import datasets
    from golden.datasets import sets

    table = Table("set", "what it is", "source, licence", "size", "here", "as training.dataset")
    for name, known in sets.SETS.items():
        used = ", ".join(task for task, t in datasets.TASKS.items() if t.files is known) or "-"
        here = "present" if known.present(data_dir) else "absent"
        whence = f"{known.package} ({known.package.tool})" if known.package else "your own files"
        size = _megabytes(known.size(data_dir)) if known.size(data_dir) else "-"
        table.add_row(name, known.about, f"{whence}; {known.licence}", size, here, used)
    vowels = "Speaker of two Japanese vowels: 270 sequences to train, 370 to test; 9 classes."
    source = "UCI Machine Learning Repository; CC BY 4.0"
    table.add_row("vowels", vowels, source, "0.2 MB", "in the project", "vowels")
    return table


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e6:.2f} MB"
