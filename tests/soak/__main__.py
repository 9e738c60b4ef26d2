"""Random designs that live long: `make soak`.

Each is a random description, emitted and built, with random programs that follow each other, noise,
stalls, resets and reloads, and crossbars that take a cell in half of all cycles (tests/soak). Every
value of every step is compared.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from golden import files
from golden.errors import WordlineError
from sim import batch, chip
from sim.batch_chip import Chip, read_sidecar
from sim.stimuli import Stimuli, random_description
from tests.soak.macro import with_slow_macro
from tests.soak.session import Session
from wordline.flow import emit

Fields = dict[str, Any]

SEQUENCES, STEPS = 128, 8
"""Of an episode."""


def design(seed: int, steps: int) -> Fields:
    """What became of a random design: the number of steps, and the first difference."""
    torch.set_num_threads(1)
    description = random_description(random.Random(seed))
    program = Stimuli(description, seed).random_program()
    x = Stimuli(description, seed).random_codes(1, 1, description.network.inputs)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        emit.emit_all(program, x, torch.ones(1, dtype=torch.int64), Path(folder))
        emitted = chip.emitted(Path(folder), description.name)
        emitted = with_slow_macro(emitted, Path(folder) / "slow")
        built = batch.build(emitted, Path(folder) / "batch", quick=True)
        ready = time.monotonic()
        own = Chip(built.library, read_sidecar(Path(built.job["sidecar"])))
        session, said = Session(program, seed, sequences=SEQUENCES, steps=STEPS), ""
        try:
            played = session.play(own, least_steps=steps)
        except WordlineError as error:
            return {"seed": seed, "name": summary(description), "said": str(error)}
        finally:
            own.close()
    if played.board.mismatches:
        said = str(played.board.first)
    return {
        **{"seed": seed, "name": summary(description), "said": said, "steps": played.steps},
        **{"values": played.board.values_compared, "mismatches": played.board.mismatches},
        **{"episodes": played.episodes, "cut": played.cut, "resets": played.resets},
        **{"loads": played.loads, "build_seconds": round(ready - began, 1)},
        "seconds": round(time.monotonic() - ready, 1),
    }


def summary(description: Any) -> str:
    """A design in a line."""
    network, adc = description.network, description.adc
    return (
        f"{description.cell.kind} {network.inputs}-{'-'.join(map(str, network.hidden))}-"
        f"{network.classes}, {description.device.weight_bits}/{description.dac.bits}/{adc.bits} "
        f"bits, {description.dac.kind}, {adc.kind}, {description.array.lanes} lanes"
    )


def written(rows: list[Fields], given: argparse.Namespace, began: float) -> Fields:
    """The results so far, which are written."""
    names = ("steps", "values", "mismatches", "episodes", "cut", "resets", "loads")
    results = {
        **{"designs": len(rows), "first_seed": given.first},
        **{"wrong": sum(bool(row["said"]) for row in rows)},
        **{name: sum(row.get(name, 0) for row in rows) for name in names},
        **{"minutes": round((time.monotonic() - began) / 60, 1), "rows": rows},
    }
    files.write_text(given.out, json.dumps(results, indent=1) + "\n")
    return results


def main() -> int:
    """Returns 1 if a value differs."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--designs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=50_000, help="of each design")
    parser.add_argument("--first", type=int, default=1, help="seed of the first design")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=Path("build/soak.json"))
    given = parser.parse_args()
    seeds, console = range(given.first, given.first + given.designs), Console()
    rows: list[Fields] = []
    began = time.monotonic()
    pool = ProcessPoolExecutor(given.workers)
    found = pool.map(design, seeds, [given.steps] * len(seeds))
    try:
        for row in track(found, "designs", len(seeds), console=console):
            rows.append(row)
            if len(rows) % 10 == 0:
                written(rows, given, began)
                if not console.is_terminal:
                    console.print(f"{len(rows)} of {len(seeds)} designs")
            if row["said"]:
                console.print(f"seed {row['seed']}: {row['name']}: {row['said']}")
    except KeyboardInterrupt:
        console.print(f"Stopped after {len(rows)} designs.")
    pool.shutdown(wait=False, cancel_futures=True)
    results = written(rows, given, began)
    console.print(
        f"{len(rows)} designs, seeds from {given.first}: {results['steps']:,} steps, "
        f"{results['values']:,} values, {results['wrong']} designs wrong; {results['resets']:,} "
        f"resets, {results['loads']:,} loads, {results['cut']:,} runs cut short; "
        f"{results['minutes']} minutes",
        highlight=False,
    )
    return 1 if results["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
