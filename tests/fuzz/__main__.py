"""The fuzz: `python -m tests.fuzz --cases 50000 --seconds 1800 --seed 1`."""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from golden import files
from tests.fuzz import engine, kinds
from tests.fuzz.engine import Case, Kind, Numbered, Outcome

CORPUS = Path(__file__).with_name("corpus")
"""Inputs that once failed: a folder for each, in the folder of its kind."""

SLICE = 5
"""Cases of a kind before it is the next one's turn, times its share."""


def kept(kind: Kind) -> Iterator[Numbered]:
    """Inputs that once failed."""
    for folder in sorted((CORPUS / kind.name).glob("*")):
        yield folder.name, lambda folder=folder: read(folder)  # type: ignore[misc]


def read(folder: Path) -> Case:
    """The input in a folder of the corpus."""
    given = folder / "given.json"
    found = {
        str(path.relative_to(folder)): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if (path.is_file() or path.is_symlink()) and path != given
    }
    return Case(found, json.loads(given.read_text()) if given.exists() else None)


def write(folder: Path, case: Case) -> None:
    """Write an input as a folder of the corpus."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    engine.place(case, folder)
    if case.given is not None:
        (folder / "given.json").write_text(json.dumps(case.given))


def cases(kind: Kind, seed: int, first: int, count: int) -> Iterator[Numbered]:
    """Cases of a seed, counted from `first`."""
    for number in range(first, first + count):
        yield f"{seed}/{number}", lambda number=number: engine.drawn(kind, seed, number)  # type: ignore[misc]


def turns(
    own: list[Kind], seed: int, first: int, count: int, seconds: float, home: Path
) -> Iterator[Outcome]:
    """Run `count` cases of all kinds in turn, each in proportion to its share."""
    began = time.monotonic()
    share = {kind.name: kind.share or 1 for kind in own}
    wanted = {name: -(-count * part // sum(share.values())) for name, part in share.items()}
    at = dict.fromkeys(wanted, 0)
    while any(at[name] < wanted[name] for name in wanted):
        for kind in own:
            part = min(SLICE * share[kind.name], wanted[kind.name] - at[kind.name])
            if part <= 0:
                continue
            numbered = cases(kind, seed, first + at[kind.name], part)
            at[kind.name] += part
            for outcome in engine.run(kind, numbered, home / "run"):
                yield outcome
                if time.monotonic() - began > seconds:
                    return
            print(f"{time.monotonic() - began:.0f} s: {kind.name} {at[kind.name]}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=50_000, help="Cases of all kinds.")
    parser.add_argument("--seconds", type=float, default=3600, help="Longest time (s).")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="Default: the time.")
    parser.add_argument("--first", type=int, default=0, help="Number of the first case.")
    parser.add_argument("--kind", action="append", choices=[*kinds.KINDS], help="Default: all.")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="Folder of the run.")
    parser.add_argument("--show", action="store_true", help="Print each outcome.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen = given.kind or [name for name, kind in kinds.KINDS.items() if kind.share]
    print(f"seed {given.seed}, {given.cases} cases: {', '.join(chosen)}", flush=True)
    began = time.monotonic()
    own = [kinds.made(name, given.out / "right") for name in chosen]
    counts: dict[str, Counter[str]] = {name: Counter() for name in chosen}
    peak, longest, failures = 0, 0.0, 0
    by_name = {kind.name: kind for kind in own}
    all_ = itertools.chain(
        *(engine.run(kind, kept(kind), given.out / "run") for kind in own),
        turns(own, given.seed, given.first, given.cases, given.seconds, given.out),
    )
    for outcome in all_:
        counts[outcome.kind][outcome.what] += 1
        peak, longest = max(peak, outcome.peak), max(longest, outcome.seconds)
        if given.show:
            print(outcome, flush=True)
        if outcome.failed:
            failures += 1
            print(outcome, flush=True)
            with contextlib.suppress(ValueError):
                seed, number = map(int, outcome.number.split("/"))
                where = given.out / "failed" / outcome.kind / f"{seed}-{number}"
                write(where, engine.drawn(by_name[outcome.kind], seed, number))
    for name, own_counts in counts.items():
        said = ", ".join(f"{count} {what}" for what, count in sorted(own_counts.items()))
        print(f"{name}: {sum(own_counts.values())} cases: {said or 'none'}")
    whole = sum(sum(own_counts.values()) for own_counts in counts.values())
    record = {"seed": given.seed, "cases": whole, "failures": failures, "kinds": counts}
    record |= {"peak_mb": round(peak / 2**20), "longest_seconds": round(longest, 1)}
    files.write_text(given.out / "fuzz.json", json.dumps(record, indent=1) + "\n")
    minutes = (time.monotonic() - began) / 60
    print(
        f"seed {given.seed}: {whole} cases, {failures} failures, {minutes:.1f} minutes, largest "
        f"memory of a case {peak / 2**20:.0f} MB, longest {longest:.1f} s"
    )
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
