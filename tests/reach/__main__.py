"""What the tests reach: `make coverage`.

- Lines, branches and toggles of the emitted Verilog: Verilator's, of a chip (its test set, and
  random programs) and of an RNN with votes behind AXI (the bench of the bus).
- Lines and branches of the Python of hw/: coverage.py's, in tests/hw and tests/sim/test_system.py.
- Bins: each saturation of each narrowing at both ends, as a branch of the Verilog; each kind of
  episode of the random programs; what can happen on AXI.

A branch that is not reached needs a reason in `UNREACHABLE`.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from golden import files
from golden.program import Program
from sim import batch, chip, coverage, system
from sim.batch_chip import Chip, read_sidecar
from sim.benches import bins
from sim.coverage import Point
from sim.stimuli import Stimuli
from tests.mutation.benches import LenientQuickVerilator
from tests.mutation.chip import name_of
from tests.mutation.system import DESCRIPTION, Design
from tests.soak.session import STALLS, Session, episodes
from wordline.flow import emit

Fields = dict[str, Any]

NARROWING = re.compile(
    r"assign (\w+) = \(~(\w+)\[\d+\] & \|\2\[[\d:]+\]\) \? \S+ : \(\2\[\d+\] & ~\(&\2"
)
"""An assignment that saturates: to the highest value, then to the lowest."""

UNREACHABLE = (
    (r"if \(at_start\) begin end", "a branch that does nothing"),
    (
        r"u_\d+ = .*u_rounded",
        "rounded up to the index of tanh(c), the lowest c is the lowest index",
    ),
    (r"gain = !gate|gate <= \(gate == 1'b0\)|gate <= complete", "an array with one gate"),
    (r"default: ;", "a state that does not exist"),
    (r"else if \(x_count\)", "x has two beats, and this is the second"),
    (r"number == following", "the entry after another one is never the same"),
    (r"kept_write_address ==|kept_read_address \? kept", "a step is kept before it is read"),
    (r"2'b11: if \(load__valid_and_load__ready\)", "the end of a load is taken at once"),
    (r"if \(!x_count\)|beat <= beat_is_0", "x is one beat"),
    (r"if \(begins\) begin", "begins is 1: no bit-serial DAC"),
    (r"onwards <=|gate <= ends_column", "one tile of columns, or one gate"),
)
"""Lines of Verilog with a branch that no input reaches, and why."""

LEAST = 98.0
"""Percent of lines and branches."""


class CoverageSystem(LenientQuickVerilator):
    """Measures coverage of a design in a cocotb bench."""

    OPTIONS = (*LenientQuickVerilator.OPTIONS, "--coverage-line", "--coverage-toggle")


def of_chip(folder: Path, work: Path, seed: int) -> tuple[list[Path], set[str]]:
    """Coverage records of a chip's test set and of random programs, and kinds of episodes."""
    work.mkdir(parents=True, exist_ok=True)
    built = batch.build(chip.emitted(folder, name_of(folder)), work / "chip", coverage=True)
    records = [work / "test set.dat", work / "random programs.dat"]
    assert batch.simulate(built, coverage=records[0])["passed"]
    program = Program.load(folder / "program.safetensors")
    session = Session(program, seed, sequences=16, steps=6)
    model = Chip(built.library, read_sidecar(Path(built.job["sidecar"])))
    played = session.play(model, most=EPISODES)
    assert not played.board.mismatches, played.board.first
    model.write_coverage(records[1])
    model.close()
    return records, kinds(seed)


def emitted_votes(folder: Path, seed: int) -> Path:
    """The RNN with votes without AXI, in a folder of its own."""
    stimuli = Stimuli(DESCRIPTION, seed)
    program = stimuli.random_program(on_levels=True)
    x = stimuli.random_codes(8, 4, DESCRIPTION.network.inputs)
    emit.emit_all(program, x, torch.full((8,), 4), folder)
    program.save(folder / "program.safetensors")
    return folder


EPISODES = 120


def kinds(seed: int) -> set[str]:
    """Kinds of episodes that were run."""
    found = set()
    for _, episode in zip(range(EPISODES), episodes(4, seed), strict=False):
        load = "a load" if episode.reload else "no load"
        found.add(f"{'a reset' if episode.reset else 'no reset'}, {load}")
        found.add(f"stalls {episode.stall}, {episode.stall_output}, {episode.pause}")
        found |= {"cut in a sequence"} if episode.cut < 1 else set()
        found |= {"cut in a load"} if episode.cut_load < 1 else set()
        found |= {"words in another order"} if episode.reload and episode.shuffled else set()
        found |= {"long sequences"} if episode.long else set()
    return found


def of_axi(work: Path, seed: int) -> tuple[list[Path], set[str]]:
    """Coverage record of the bench of the bus, and what it met."""
    design = Design(work, seed)
    verilog = [*design.rest, *design.sources.verilog]
    built = chip.build(verilog, design.top, work / "bus", runner=CoverageSystem())
    job = design.job | {"bins": str(work / "bins.json")}
    passed = chip.run(
        built, module=system.BENCHES, top=design.top, folder=work / "bus", job=job, seed=seed
    )
    assert passed["passed"], f"see {work / 'bus/sim.log'}"
    return [work / "bus/coverage.dat"], set(json.loads((work / "bins.json").read_text()))


def all_kinds() -> list[str]:
    """All kinds of episodes."""
    return [
        *(
            f"{reset}, {load}"
            for reset in ("a reset", "no reset")
            for load in ("a load", "no load")
        ),
        *(f"stalls {chance}, {out}, {pause}" for chance, out, pause in STALLS),
        *("cut in a sequence", "cut in a load", "words in another order", "long sequences"),
    ]


def points(records: Iterable[Path], file: str) -> list[Point]:
    """Points of a Verilog file, each with its largest count of all records."""
    found: dict[tuple[Any, ...], Point] = {}
    for record in records:
        for point in coverage.read(record, file).points:
            key = (point.module, point.net, point.branch, point.place, point.lines)
            before = found.get(key)
            found[key] = point if before is None or point.count > before.count else before
    return [*found.values()]


def statements(path: Path) -> dict[int, str]:
    """By the number of each line, the assignment that it is in, or the line itself."""
    lines, found = path.read_text().splitlines(), {}
    first = 0
    for n in range(len(lines)):
        inside = lines[first].lstrip().startswith("assign") and n > first
        if not (inside and ";" not in "".join(lines[first:n])):
            first = n
        for number in range(first, n + 1):
            found[number + 1] = " ".join(part.strip() for part in lines[first : n + 1])
    return found


def verilog(records: list[Path], path: Path) -> tuple[Fields, dict[str, bool], list[str]]:
    """Coverage of a Verilog file; its saturations, and whether each is reached; unexplained."""
    found, texts = points(records, path.name), statements(path)
    branches = [point for point in found if not point.net]
    reached = sum(point.count > 0 for point in branches)
    toggles = [point.count > 0 for point in found if point.net]
    missed = [(point, texts[point.place[0]]) for point in branches if not point.count]
    because = [reason(text) for _, text in missed]
    ends: dict[str, bool] = {}
    for point in sorted(branches, key=lambda point: point.place):
        if point.branch != "cond_then" or not (match := NARROWING.search(texts[point.place[0]])):
            continue
        name = f"{point.module}.{match[1]}"
        end = f"{name}: lowest" if f"{name}: highest" in ends else f"{name}: highest"
        if point.count or reason(texts[point.place[0]]) is None or end.endswith("highest"):
            ends[end] = point.count > 0
    reachable = reached + because.count(None)
    row = {
        **{"file": path.name, "lines and branches": len(branches), "reachable": reachable},
        **{"reached": reached, "percent": percent(reached, reachable)},
        **{"toggles": len(toggles), "toggled": sum(toggles)},
        "toggled_percent": percent(sum(toggles), len(toggles)),
    }
    unexplained = [
        f"{path.name}:{point.place[0]}: {point.module}: {text}"
        for (point, text), why in zip(missed, because, strict=True)
        if why is None
    ]
    return row, ends, unexplained


def reason(text: str) -> str | None:
    """Why no input reaches a branch of a statement."""
    return next((why for pattern, why in UNREACHABLE if re.search(pattern, text)), None)


def percent(part: int, whole: int) -> float:
    """Rounded down, so that 100 means all."""
    return int(1000 * part / max(1, whole)) / 10


def python(work: Path) -> Fields:
    """Lines and branches of hw/ that run in its tests."""
    run = [sys.executable, "-m", "coverage"]
    data = f"--data-file={work / 'hw.coverage'}"
    tests = ["tests/hw", "tests/sim/test_system.py", "-m", "not slow", "-q", "-n", "0"]
    options = ["--branch", "--source=hw", data, "-m", "pytest", *tests]
    subprocess.run([*run, "run", *options, "--hypothesis-profile", "quick"], check=True)
    report = work / "hw.json"
    subprocess.run([*run, "json", "-q", data, "-o", str(report)], check=True)
    found = json.loads(report.read_text())
    total = found["totals"]
    whole = total["num_statements"] + total["num_branches"]
    reached = total["covered_lines"] + total["covered_branches"]
    missed = {
        name: own["missing_lines"] + own["missing_branches"]
        for name, own in found["files"].items()
        if own["missing_lines"] or own["missing_branches"]
    }
    row: Fields = {"file": "hw/*.py", "lines and branches": whole, "reachable": whole}
    row |= {"reached": reached}
    return row | {"percent": percent(reached, whole), "missed": missed}


def main() -> int:
    """Returns 1 if too little is reached, or something without a reason is not."""
    parser = argparse.ArgumentParser(prog="make coverage", description=__doc__)
    parser.add_argument("folder", type=Path, help="an emitted design, with its vectors")
    parser.add_argument("--out", type=Path, default=Path("build/coverage"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-python", action="store_true", help="leave out the tests of hw/")
    given = parser.parse_args()
    out, console, began = given.out.absolute(), Console(), time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    chips, kinds_met = of_chip(given.folder, out / "chip", given.seed)
    votes, _ = of_chip(emitted_votes(out / "votes", given.seed), out / "votes-chip", given.seed)
    buses, bins_met = of_axi(out, given.seed)
    rows: list[Fields] = []
    ends: dict[str, bool] = {}
    unexplained: list[str] = []
    core = sorted(given.folder.glob("*.v"))
    core = [path for path in core if not path.name.endswith("_stub.v")]
    for records, paths in (
        (chips, core),
        (buses + votes, sorted((out / "package/rtl").glob("*.v"))),
    ):
        for path in paths:
            row, own, left = verilog(records, path)
            rows.append(row)
            ends |= own
            unexplained += left
    if not given.no_python:
        rows.append(python(out))
    wanted = {
        **ends,
        **{name: name in kinds_met for name in all_kinds()},
        **{name: name in bins_met for name in bins.wanted()},
    }
    table = Table("file", "lines and branches", "reachable", "reached", "%", "toggled, %")
    for row in rows:
        names = ("file", "lines and branches", "reachable", "reached", "percent")
        table.add_row(*(str(row[name]) for name in names), str(row.get("toggled_percent", "")))
    console.print(table)
    missed = [name for name, met in wanted.items() if not met]
    for line in [*unexplained, *(f"bin not hit: {name}" for name in missed)]:
        console.print(line, highlight=False)
    results = {
        **{"seed": given.seed, "rows": rows, "bins": len(wanted), "missed": missed},
        **{"unexplained": unexplained, "minutes": round((time.monotonic() - began) / 60, 1)},
    }
    files.write_text(out / "coverage.json", json.dumps(results, indent=1) + "\n")
    names = ("lines and branches", "reachable", "reached")
    every, total, hit = (sum(row[name] for row in rows) for name in names)
    console.print(
        f"{hit:,} of {total:,} lines and branches ({percent(hit, total)} %), "
        f"{every - total} more cannot be reached, "
        f"{len(wanted) - len(missed)} of {len(wanted)} bins; {results['minutes']} minutes",
        highlight=False,
    )
    low = [row["file"] for row in rows if row["percent"] < LEAST]
    return 1 if low or missed or unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
