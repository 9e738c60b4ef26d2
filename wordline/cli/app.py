"""The `wordline` command: parts that its subcommands share. Slow imports happen on use.

A subcommand parses options, calls a function of `wordline.flow` and prints the result.
"""

import contextlib
import functools
import itertools
import re
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golden import files
from golden.errors import WordlineError, WordlineNote
from wordline import interrupts

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""LSTMs and RNNs from PyTorch to Verilog for NVM crossbars, compared bit for bit.

    NAME is a preset (`wordline presets`) or the path of a TOML file. Results go to build/NAME/,
    data sets to data/. `wordline sim NAME` runs the whole flow: train, emit, build with Verilator,
    run the test set, compare every value with the golden model.

    Exit status: 0 all values equal, 1 RTL and golden differ, 2 invalid input, 130 interrupted
    (143: by SIGTERM).
    """,
)

Name = Annotated[str, typer.Argument(help="A preset, or the path of a TOML file.")]
BuildDir = Annotated[Path, typer.Option(help="Folder of build folders.")]
DataDir = Annotated[Path, typer.Option(help="Folder of data sets (`wordline data`).")]
Seed = Annotated[
    int | None,
    typer.Option(help="Seed of training and of the chip, instead of the recipe's.", min=0),
]
Device = Annotated[str, typer.Option(help="PyTorch device for training: cpu, cuda, ...")]
Noise = Annotated[
    str | None,
    typer.Option(
        help="Train with noise: a signal-to-noise ratio (dB), 'hardware' (the effects) or 'none'."
    ),
]
Placement = Annotated[
    str | None,
    typer.Option(help="Where noise of a ratio is added: pre-activations, product, or every."),
]
Passes = Annotated[
    int | None,
    typer.Option(help="Train on the mean scores of this many noisy passes.", min=1, max=64),
]
EffectsName = Annotated[
    str | None,
    typer.Option(
        "--effects", help="Non-idealities of the hardware: none, pcm, reram, all, or a TOML file."
    ),
]
Votes = Annotated[int, typer.Option(help="Passes over each sequence, which vote on its class.")]
VoteBy = Annotated[str, typer.Option(help="How passes vote: majority, or sum (of scores).")]
Period = Annotated[float | None, typer.Option(help="Target clock period (ns).", min=0.1, max=1e6)]
Cells = Annotated[
    Path | None,
    typer.Option(help="Folder of the cells' .lib, .lef and .v files; default: Debian's."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Overwrite files that were edited since they were emitted.")
]
BUILD, DATA = Path("build"), files.DATA

Progress = Callable[[str, int, int], None]

PAUSE = 10.0
"""Seconds from one line of progress to the next, where there is no terminal."""


class Terminal:
    """Where a command prints. quiet: Print only the last message, and errors."""

    quiet = False

    @functools.cached_property
    def console(self) -> "Console":
        """Standard output."""
        from rich.console import Console

        return Console()

    @staticmethod
    def command() -> str:
        """The command line of this process, to be copied."""
        return shlex.join(["wordline", *sys.argv[1:]])

    def show(self, *tables: "RenderableType") -> None:
        """Print tables."""
        if not self.quiet:
            for table in tables:
                self.console.print(table)

    def say(self, sentence: str, **style: Any) -> None:
        """Print text without markup: a path may have brackets."""
        self.console.print(sentence, markup=False, highlight=False, **style)

    @contextlib.contextmanager
    def bars(self) -> Iterator[Progress]:
        """Show progress: call it with the stage, what is done, the total.

        A terminal has a bar per stage; a file or a log has lines.
        """
        if not self.console.is_terminal:
            yield self._lines()
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, disable=self.quiet) as progress:
            tasks: dict[str, Any] = {}

            def update(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = progress.add_task(stage, total=total)
                progress.update(tasks[stage], completed=done)

            yield update

    def _lines(self) -> Progress:
        """Print a line at the end of each stage, and every `PAUSE` seconds."""
        begun: dict[str, float] = {}
        ended = set[str]()
        last = time.monotonic()

        def update(stage: str, done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if done < total and stage in ended:  # it begins again
                ended.remove(stage)
                begun[stage] = now
            since = now - begun.setdefault(stage, now)
            if self.quiet or stage in ended or (done < total and now - last < PAUSE):
                return
            last = now
            if done >= total:
                ended.add(stage)
            self.say(f"{stage} {done}/{total}, {since:.0f} s")

        return update


terminal = Terminal()


def main() -> None:
    """Run the command. An error of the user prints one sentence; the exit status is 2."""
    try:
        with _notes():
            _check_empty(sys.argv[1:])
            app()
    except WordlineError as error:
        sys.exit(complain(str(error), 2))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(complain(f"{where}{error.strerror or error}; nothing was half-written.", 2))


def _check_empty(arguments: list[str]) -> None:
    """Raise WordlineError for an empty argument, which as a path would be the current folder."""
    for before, argument in itertools.pairwise(["wordline", *arguments]):
        if argument == "" or re.fullmatch("--[a-z-]+=", argument):
            raise WordlineError(
                f"A value is empty, after {argument or before}; give one, or leave the option out."
            )


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Print each note of the library once, as a line on stderr. Other warnings are not affected."""
    said: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def line(message: Warning | str, category: type[Warning], *args: Any, **more: Any) -> None:
            if not issubclass(category, WordlineNote):
                show(message, category, *args, **more)
            elif str(message) not in said:
                said.add(str(message))
                complain(str(message), 0, style="yellow")

        warnings.showwarning = line
        warnings.simplefilter("always", WordlineNote)
        yield


def complain(sentence: str, status: int, style: str = "red") -> int:
    """Print an error, or a note, on standard error, and return the exit status."""
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True)
    console.print(f"wordline: {sentence}", markup=False, highlight=False, style=style)
    return status


def refuse(context: typer.Context, options: Sequence[str], why: str) -> None:
    """Raise WordlineError for an option that is given but has no effect here.

    why: Rest of a sentence that begins with the option.
    """
    for option in options:
        source = context.get_parameter_source(option)
        if source is not None and source.name != "DEFAULT":
            raise WordlineError(f"--{option.strip('_').replace('_', '-')} {why}; leave it out.")


def interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """Make Ctrl-C end a command with a message and exit status 130, SIGTERM with 143."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        if kwargs.get("open_") and not kwargs.get("report", True):
            raise WordlineError("--open has no report to open after --no-report; leave one out.")
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            said = "Interrupted; finished stages are kept, run it again to go on."
            raise typer.Exit(complain(said, interrupts.status(interrupt))) from None

    return run


def _version(wanted: bool) -> None:
    if wanted:
        print(f"wordline {metadata.version('wordline')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print only the result and errors.")
    ] = False,
    cache_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of compiled kernels; default: wordline in $XDG_CACHE_HOME."),
    ] = None,
) -> None:
    """Options of all commands."""
    terminal.quiet = quiet
    if cache_dir is not None:
        files.set_cache_dir(cache_dir)
