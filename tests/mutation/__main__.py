"""Mutants of an emitted design: `make mutate`. Which faults would a run of its test set miss?

A mutant is killed at the first value that differs from golden, by a hang, or by a value too many or
too few eight sequences, then in the whole test set, then with stalls. What survives is
equal, which is proved of its module, or a fault that nothing here finds.
"""

import argparse
import dataclasses
import json
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from golden import files
from golden.errors import WordlineError
from sim import batch, chip
from tests.mutation import mutants

Fields = dict[str, Any]
FEW = 8
STALL = 0.1


def few(vectors: Path, to: Path) -> Path:
    """The vectors of the first sequences."""
    with np.load(vectors) as arrays:
        total, passes = len(arrays["x"]), len(arrays["layers.0.h"])
        rows = {
            name: FEW * (passes // total if len(a) == passes else 1)
            for name, a in arrays.items()
            if a.ndim
        }
        kept = {name: a[: rows[name]] if a.ndim else a for name, a in arrays.items()}
    np.savez(to, **kept)
    return to


class Design:
    """An emitted design, and how its mutants are run."""

    def __init__(self, folder: Path, out: Path) -> None:
        (sidecar,) = (p for p in folder.glob("*.json") if (folder / f"{p.stem}.v").exists())
        self.name, self.out = sidecar.stem, out
        self.emitted = chip.emitted(folder, self.name)
        self.verilog, self.boxes = (
            folder / f"{self.name}.v",
            folder / f"{self.name}_crossbar_stub.v",
        )
        self.number = out / "number"
        self.few = few(folder / "vectors.npz", out / "few.npz")

    def build(self, group: list[str], folder: Path) -> batch.Batch:
        """A model with all mutants of a group, of which none is active."""
        folder.mkdir(parents=True, exist_ok=True)
        text = mutants.switched(
            group, self.verilog, self.boxes, self.emitted.top, self.number, folder
        )
        switched = folder / self.verilog.name
        files.write_text(switched, text)
        sources = [switched if path == self.verilog else path for path in self.emitted.sources]
        emitted = dataclasses.replace(self.emitted, sources=sources)
        return batch.build(emitted, folder / "batch", quick=True, lenient=True)

    def outcome(self, built: batch.Batch, number: int) -> str:
        """What finds a mutant, or "survives"."""
        self.number.write_text(str(number))
        small = dataclasses.replace(built, job=built.job | {"vectors": str(self.few)})
        for name, run, options in (
            ("few", small, {}),
            ("all", built, {}),
            ("stalls", small, {"stall": STALL, "seed": 1}),
        ):
            try:
                if not batch.simulate(run, workers=1, **options)["passed"]:
                    return f"{name}: a value differs"
            except WordlineError as error:
                return f"{name}: {'hangs' if 'hangs' in str(error) else 'values too many or few'}"
        return "survives"


def run(design: Design, count: int, seed: int, size: int, console: Console) -> list[Fields]:
    """What became of each mutant."""
    out = design.out
    given = (design.verilog, design.boxes, design.emitted.top)
    wanted = mutants.listed(*given, count, seed, out)
    lines = design.verilog.read_text().splitlines()
    shutil.rmtree(out / "equal", ignore_errors=True)
    found: list[Fields] = []
    for first in range(0, len(wanted), size):
        group = wanted[first : first + size]
        built = design.build(group, out / f"group-{first}")
        if design.outcome(built, 0) != "survives":
            raise WordlineError("the design without a mutant is not green")
        told = f"mutants {first + 1} to {first + len(group)} of {len(wanted)}"
        for n, mutant in enumerate(track(group, told, console=console), 1):
            module, what = mutants.place(mutant)
            row = {"module": module, "what": what, "source": mutants.source(lines, mutant)}
            row["outcome"] = design.outcome(built, n)
            if row["outcome"] == "survives" and mutants.is_equal(mutant, *given, out / "equal"):
                row["outcome"] = "equal"
            found.append(row)
    return found


def table(rows: list[Fields]) -> Table:
    """A row a module."""
    made = Table("module", "mutants", "killed", "equal", "survive")
    for module in sorted({row["module"] for row in rows}):
        own = Counter(kind(row) for row in rows if row["module"] == module)
        made.add_row(
            module, str(own.total()), *(str(own[k]) for k in ("killed", "equal", "survives"))
        )
    return made


def kind(row: Fields) -> str:
    """killed, equal or survives."""
    return row["outcome"] if row["outcome"] in ("equal", "survives") else "killed"


def main() -> int:
    """Returns 1 if fewer than `--least` percent of the mutants that are not equal are killed."""
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("folder", type=Path, help="an emitted design, with its vectors")
    parser.add_argument("--out", type=Path, default=Path("build/mutation"))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--group", type=int, default=100, help="mutants of one build")
    parser.add_argument("--least", type=float, default=97)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    console, began = Console(), time.monotonic()
    design = Design(given.folder, given.out.absolute())
    rows = run(design, given.count, given.seed, given.group, console)
    counts = Counter(kind(row) for row in rows)
    rate = 100 * counts["killed"] / max(1, len(rows) - counts["equal"])
    results = {
        **{"design": design.name, "seed": given.seed, "mutants": len(rows), **counts},
        **{"rate": round(rate, 2), "minutes": round((time.monotonic() - began) / 60, 1)},
        **{"ways": Counter(row["outcome"] for row in rows), "rows": rows},
    }
    files.write_text(given.out / f"{design.name}.json", json.dumps(results, indent=1) + "\n")
    console.print(table(rows))
    for row in rows:
        if row["outcome"] == "survives":
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
