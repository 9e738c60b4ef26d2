"""check: run golden vectors through given RTL."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golden import files
from wordline.cli.app import app, interruptible, refuse, terminal
from wordline.cli.report import Open, Report, made

if TYPE_CHECKING:
    from wordline.flow.changes import Change
    from wordline.flow.check import Checked


@app.command()
@interruptible
def check(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(help="A build folder, an IP package, or Verilog with the same ports.")
    ],
    design: Annotated[
        Path | None,
        typer.Option(help="For Verilog elsewhere: the folder of its design."),
    ] = None,
    crossbars: Annotated[
        Path | None, typer.Option(help="Verilog of the crossbar macros, instead of their model.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Golden vectors, instead of the folder's vectors.npz.")
    ] = None,
    sequences: Annotated[
        int | None,
        typer.Option(help="Number of sequences to simulate; default: all (Icarus: 2).", min=1),
    ] = None,
    simulator: Annotated[str, typer.Option(help="verilator or icarus.")] = "verilator",
    through: Annotated[
        str | None,
        typer.Option(
            help="streams: the accelerator's ports, every value. axi: the top with AXI, results of "
            "8 sequences. both: the default for a package."
        ),
    ] = None,
    waves: Annotated[
        bool, typer.Option("--waves", help="Write the waves of the first difference.")
    ] = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Measure how much of the RTL the vectors exercise.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the result as JUnit XML.")] = None,
    report: Report = True,
    open_: Open = False,
) -> None:
    """Check RTL as it is: simulate golden vectors, name the first difference.

    Emits nothing and writes nothing beside the RTL; the report is in the cache folder. Lines that
    differ from what Wordline emits are listed; a change without a difference is proved equal
    (Yosys) or reported with how much of it the vectors exercise.
    """
    from wordline.flow import check as flow
    from wordline.flow import junit as xml

    if through == "axi":
        refuse(context, ("waves", "coverage"), "is for --through streams or both")
    if junit is not None:
        files.check_output(junit, "a result as JUnit XML", xml.MARKS)
    with terminal.bars() as bar:
        found = flow.check(
            path,
            design=design,
            crossbars=crossbars,
            vectors_file=vectors,
            first=sequences,
            simulator=simulator,
            through=through,
            waves=waves,
            measure=coverage,
            command=terminal.command(),
            progress=bar,
        )
    _say(found)
    if junit is not None:
        xml.write(junit, found)
    made(found.folder, wanted=report, show=open_)
    if not found.passed:
        raise typer.Exit(1)


MOST_CHANGES = 10
"""Maximum number of changes that are listed."""


def _say(found: "Checked") -> None:
    """Print the verdict and its details."""
    for line in lines(found):
        style = {"RED": "bold red", "GREEN": "bold green"}.get(line.partition(":")[0])
        terminal.say(line, style=style)


def lines(found: "Checked") -> list[str]:
    """The verdict and its details, as lines."""
    files = ", ".join(path.name for path in found.given.files)
    said = [f"compared: {files} in {found.given.folder}/ ({found.simulator})"]
    said += [
        f"GIVEN: {path} in the place of the folder's own"
        for path in found.given.replaced
        if path not in found.edited
    ]
    said += [f"EDITED: {path} differs from what was emitted" for path in found.edited]
    if found.not_compared:
        names = ", ".join(str(path.relative_to(found.given.folder)) for path in found.not_compared)
        said.append(f"NOT COMPARED, and edited: {names}")
    if found.given.unknown:
        names = ", ".join(path.name for path in found.given.unknown)
        said.append(
            f"UNKNOWN: SHA256SUMS of {found.given.folder} lacks {names}; "
            f"it is not known whether they were edited"
        )
    of = "all" if found.sequences == found.of_sequences else f"of {found.of_sequences:,}"
    sequences = f"{found.sequences:,} sequences ({of})"
    if found.complaint is not None:
        said.append(f"RED: {found.complaint}")
    elif found.first is not None:
        said.append(
            f"RED: {found.mismatches:,} of {found.values_compared:,} values differ in {sequences}; "
            f"first {found.first}"
        )
    elif found.axi_passed is False:
        said.append(f"RED: through AXI: {found.axi}")
    else:
        ways = []
        if found.compared:
            ways.append(f"{found.values_compared:,} values equal in {sequences}")
        if found.axi is not None:
            ways.append(f"through AXI {found.axi.removeprefix('PASSED: ')}")
        said.append(f"GREEN: {', '.join(ways)}")
    said += [f"warning: {warning}" for warning in found.warnings[:MOST_CHANGES]]
    if found.changes is None:
        said.append("changes: not known; this version of Wordline emits the design in another way")
    changes = found.changes or []
    said += [_change(change, found) for change in changes[:MOST_CHANGES]]
    if len(changes) > MOST_CHANGES:
        said.append(f"and {len(changes) - MOST_CHANGES} more changed lines")
    if found.exercised is not None:
        said.append(f"exercised: {found.exercised} points of {found.given.rtl.name}")
    if found.waves is not None:
        said += [
            f"waves: {found.waves}",
            f"  gtkwave {found.waves} {found.waves.with_suffix('.gtkw')}",
        ]
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in found.seconds.items())
    return [*said, seconds]


def _change(change: "Change", found: "Checked") -> str:
    """A changed line, and what is known about it."""
    where = f"{found.given.rtl.name}:{change.line} in {change.module or 'the top'}"
    text = f"changed: {where}: {change.text!r}, emitted {change.emitted!r}"
    if change.proved:
        return f"{text}: proved equal"
    if change.exercised is None:
        return text
    measured = f"the vectors exercise {change.exercised} points of this line"
    if not change.exercised.points:
        measured = "this line has no points that can be exercised"
    return f"{text}: NOT PROVED EQUAL, and no value differs; {measured}"
