"""study, bench: studies of networks on non-ideal hardware, and benchmarks of Wordline."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golden import files
from golden.errors import WordlineError
from wordline.cli.app import BUILD, DATA, BuildDir, DataDir, app, interruptible, terminal
from wordline.cli.report import Open, Report, made

if TYPE_CHECKING:
    from rich.table import Table


@app.command("study")
@interruptible
def study_(
    name: Annotated[str, typer.Argument(help="Which study; none: list them.")] = "",
    list_: Annotated[
        bool, typer.Option("--list", help="List the studies and what each costs.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="The longer version: all of the grid, longer training.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(help="Runs at once; all cores, if not given.", min=1)
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler whose workers run the study."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="PyTorch device; auto: cuda where there is one, else cpu.")
    ] = "auto",
    report: Report = True,
    open_: Open = False,
    data_dir: DataDir = DATA,
    build_dir: BuildDir = BUILD,
) -> None:
    """Run a study of networks on non-ideal hardware. Resumes where it was interrupted.

    Results: results.json, table.md, figures (.svg) and report.html in build/studies/NAME/.
    """
    import torch

    from golden.training.evaluate import check_device
    from wordline import jobs, studies
    from wordline.studies import common

    if list_ or not name:
        terminal.show(_studies(data_dir))
        return
    known = studies.known(name)
    if workers and scheduler:
        raise WordlineError(
            "--workers is for this machine; leave it out, or leave --scheduler out."
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    folder = build_dir / "studies"
    with terminal.bars() as bar:
        # Processes share one GPU: more than a few would only wait for each other.
        workers = workers or (jobs.cores() if device == "cpu" else 2)
        runner = jobs.Runner(folder / "jobs", bar, data_dir, device, workers, scheduler)
        with contextlib.closing(runner):
            count = runner.size()
            takes = studies.duration((known.full if full else known.takes) * 2 / count)
            where = f"{count} workers of {scheduler}" if scheduler else f"{count} cores"
            terminal.say(f"{name}: about {takes} on {where}, less what is already there")
            results = studies.run(name, folder / name, runner, full=full)
    terminal.show(common.claims_table(results), *studies.module(name).tables(results))
    made(folder / name, wanted=report, show=open_)
    if any(
        claim["name"].startswith("RTL") and claim["met"] is False for claim in results["claims"]
    ):
        raise typer.Exit(1)
    seeds = ", ".join(map(str, studies.seeds(results["settings"])))
    written = "results.json (claims, and every figure), table.md, figure.svg"
    terminal.say(f"{folder / name}/: {written}; seeds {seeds}, on {device}")


def _studies(data_dir: Path) -> "Table":
    """Table of the studies with their cost."""
    from rich.table import Table

    from golden import datasets
    from wordline import studies

    table = Table("study", "question", "two cores", "--full", "data")
    for name, known in studies.STUDIES.items():
        code = studies.module(name)
        about = (type(code.STUDY).__doc__ or "").partition("\n")[0]
        needs = {name: datasets.task(name).files for name in studies.reads(code.STUDY)}
        data = ", ".join(
            data if files_ is None or files_.present(data_dir) else f"{data} (absent)"
            for data, files_ in needs.items()
        )
        took = (studies.duration(minutes) for minutes in (known.takes, known.full))
        table.add_row(name, about, *took, data)
    return table


@app.command("bench")
@interruptible
def bench_(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="golden, training, emission, simulation; scaling. Default: all but scaling."
        ),
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option(
            help="What `make peers` measured; else build/bench/peers.json if it is there."
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Measure more, and more often.")] = False,
    build_dir: BuildDir = BUILD,
) -> None:
    """Benchmark golden, training, emission and simulation, each against its reference.

    Runs in one thread; compared runs take turns and the fastest counts. Takes 3 to 6 minutes;
    --full and the part scaling 4 to 10 each.
    Results: results.json, table.md and figures (.svg) in build/bench/.
    """
    from rich import box

    from wordline import bench, studies
    from wordline.bench import report

    wanted = parts or list(bench.PARTS)
    for part in wanted:
        if part not in (*bench.PARTS, bench.SCALING):
            known = ", ".join((*bench.PARTS, bench.SCALING))
            raise WordlineError(f"Unknown benchmark {part!r}; choose {known}.")
    folder = build_dir / "bench"
    if peers is None and (folder / "peers.json").exists():
        peers = folder / "peers.json"
    with terminal.bars() as bar:
        results = bench.run(wanted, folder, peers, bar, full=full)
    files.write_text(folder / "results.json", json.dumps(results, indent=1) + "\n")
    report.figure(results, folder / "figure.svg")
    table = studies.markdown(report.table(results, box=box.MARKDOWN))
    files.write_text(folder / "table.md", table)
    terminal.show(report.table(results))
    written = "results.json (claims, and every figure), table.md, figure.svg"
    terminal.say(f"{folder}/: {written}; seed {results['seed']}")
