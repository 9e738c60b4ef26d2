"""Mutants of an emitted design: `make mutate`. Which faults would its tests miss?

A mutant is killed at the first value that differs from golden, by a hang, or by a value too many or
too few: in the first sequences of the design's test set, there with stalls, with random programs,
reloads and resets (tests/soak/session.py), then in the whole test set. What survives is proved
equal (no input can make an output or a probe differ), is killed in the cocotb bench of its block,
or is a fault that nothing finds.
"""

import argparse
import json
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from golden import files
from golden.errors import WordlineError
from tests.mutation import benches, chip, mutants, system
from tests.mutation.aig import Faults

Fields = dict[str, Any]
AnyDesign = chip.Design | system.Design

SECONDS = 8
"""Time of a proof."""

SEEN = {True: "can be seen", None: "not known"}
"""What is known of a mutant that is not proved equal."""


def examine(design: AnyDesign, group: list[str], folder: Path, again: bool) -> list[Fields]:
    """What became of each mutant of a group, which is kept for a run that goes on later.

    again: What survived, or crashed, in a run that is kept is tried again.
    """
    kept = folder / "found.json"
    rows: list[Fields] = json.loads(kept.read_text()) if kept.exists() else []
    whole = [row["mutant"] for row in rows] == group
    if not whole:
        rows = [{"mutant": mutant, **described(mutant)} for mutant in group]
    wanted = [n for n, row in enumerate(rows, 1) if row.get("by") in (None, "survives", "crash")]
    if whole and not (again and wanted):
        return rows
    built = design.build(group, folder)
    by, how = built.outcome(0)
    if by != "survives":
        raise WordlineError(f"The design without a mutant is not green: {by}, {how}.")
    graph = mutants.faults(group, design.sources, folder / "graph", design.sources.top)
    for n in wanted:
        # Half of what is equal is so without a proof: the fault is in what nothing depends on.
        equal = graph.is_seen(n, folder / "graph", seconds=0) is False
        by, how = ("equal", "") if equal else built.outcome(n)
        rows[n - 1] |= {"by": by, "how": how}
    left = [n for n, row in enumerate(rows, 1) if row["by"] == "survives"]
    for n, seen in looked_for(design, group, left, graph, folder / "graph").items():
        rows[n - 1] |= {"by": "equal"} if seen is False else {"how": SEEN[seen]}
    files.write_text(kept, json.dumps(rows, indent=1))
    return rows


def described(mutant: str) -> Fields:
    """What a mutant is."""
    module, what = mutants.place(mutant)
    return {"module": module, "what": what, "source": mutants.source(mutant)}


def looked_for(
    design: AnyDesign, group: list[str], wanted: list[int], whole: Faults, folder: Path
) -> dict[int, bool | None]:
    """Whether mutants, given by their numbers, can be seen: in the whole design, or in a module.

    Nothing outside a module that does the same can differ.
    """
    top = design.sources.top
    graphs = {top: whole}
    found: dict[int, bool | None] = {}
    for n in wanted:
        own = mutants.place(group[n - 1])[0]
        for module in dict.fromkeys((top, own)):
            if module not in graphs:
                where = folder / str(len(graphs))
                graphs[module] = mutants.faults(group, design.sources, where, module)
            seen = graphs[module].is_seen(n, folder, seconds=SECONDS)
            if module == top or seen is False:
                found[n] = seen
            if found[n] is not None:
                break
    return found


def run(design: AnyDesign, given: argparse.Namespace, console: Console) -> list[Fields]:
    """What became of each mutant: groups of them in processes."""
    wanted = mutants.listed(design.sources, given.count, given.seed, given.out)
    groups = [wanted[n : n + given.group] for n in range(0, len(wanted), given.group)]
    folders = [given.out / f"group-{n}" for n in range(len(groups))]
    with ProcessPoolExecutor(given.workers) as pool:
        again = [given.again] * len(groups)
        found = pool.map(examine, [design] * len(groups), groups, folders, again)
        rows: list[Fields] = []
        for own in track(found, f"groups of {given.group} mutants", len(groups), console=console):
            rows += own
            if not console.is_terminal:
                console.print(f"{len(rows)} of {len(wanted)} mutants")
        return rows


def kind(row: Fields) -> str:
    """killed, equal or survives."""
    return row["by"] if row["by"] in ("equal", "survives") else "killed"


def table(rows: list[Fields]) -> Table:
    """A row a module."""
    made = Table("module", "mutants", "killed", "equal", "survive")
    for module in sorted({row["module"] for row in rows}):
        own = Counter(kind(row) for row in rows if row["module"] == module)
        counts = (str(own[k]) for k in ("killed", "equal", "survives"))
        made.add_row(module, str(own.total()), *counts)
    return made


def main() -> int:
    """Returns 1 if fewer than `--least` percent of the mutants that are not equal are killed."""
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument(
        "design",
        help="folder of an emitted design with its vectors; or axi: an RNN with votes behind AXI",
    )
    parser.add_argument("--out", type=Path, default=Path("build/mutation"))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--group", type=int, default=100, help="mutants of one build")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument(
        "--again", action="store_true", help="try again what survived in the kept run in --out"
    )
    parser.add_argument("--least", type=float, default=97)
    given = parser.parse_args()
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
    given.out = given.out.absolute()
    given.out.mkdir(parents=True, exist_ok=True)
    console, began = Console(), time.monotonic()
    design: AnyDesign
    if given.design == "axi":
        design = system.Design(given.out, given.seed)
    else:
        design = chip.Design(Path(given.design), given.out, given.seed)
    rows = run(design, given, console)
    left = [row["mutant"] for row in rows if row["by"] == "survives"]
    console.print(f"{len(left)} survive, and go through the benches of their blocks")
    found = benches.found(left, design.inside, given.workers, given.out / "benches")
    for row in rows:
        if row["mutant"] in found:
            row |= {"by": found[row["mutant"]], "how": "a test fails"}
    counts = Counter(kind(row) for row in rows)
    rate = 100 * counts["killed"] / max(1, len(rows) - counts["equal"])
    results = {
        **{"design": design.name, "seed": given.seed, "mutants": len(rows), **counts},
        **{"rate": round(rate, 2), "minutes": round((time.monotonic() - began) / 60, 1)},
        **{"by": Counter(row["by"] for row in rows), "how": Counter(row["how"] for row in rows)},
        "survivors": [row for row in rows if row["by"] == "survives"],
    }
    files.write_text(given.out / f"{design.name}.json", json.dumps(results, indent=1) + "\n")
    console.print(table(rows))
    for row in results["survivors"]:
        console.print(f"survives: {row['module']}: {row['what']}\n    {row['source']}")
    console.print(
        f"{len(rows)} mutants of {design.name}, seed {given.seed}: {counts['killed']} killed, "
        f"{counts['equal']} proved equal, {counts['survives']} survive: {rate:.1f} %; "
        f"{results['minutes']} minutes",
        highlight=False,
    )
    return 0 if rate >= given.least else 1


if __name__ == "__main__":
    sys.exit(main())
