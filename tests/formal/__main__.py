"""All proofs: `make formal`. Writes results.json and prints what was proved, and how far."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from golden import files
from tests.formal.engine import check, refutes
from tests.formal.specs import SPECS

Fields = dict[str, Any]


def prove(name: str, case: str, folder: Path) -> Fields:
    """What became of the claims of a case. Its folder is removed if all is as it should be."""
    spec, begun = SPECS[name], time.monotonic()
    depths = spec.depths.get(case, {})
    found = check(spec.scene(case), folder, seconds=spec.seconds, depths=depths)
    wrong = found.wrong(depths)
    if not wrong:
        shutil.rmtree(folder)
    return {
        **{"spec": name, "case": case, "about": (spec.build.__doc__ or "").splitlines()[0]},
        "proved": [said for said, o in found.claims.items() if o.status == "proved"],
        "held": {said: o.cycles for said, o in found.claims.items() if o.status == "held"},
        **{"wrong": wrong, "seconds": round(time.monotonic() - begun, 1)},
    }


def refute(name: str, mutant: str, folder: Path) -> Fields:
    """The claim that a mutant makes false, or None."""
    spec = SPECS[name]
    by = refutes(spec.scene(spec.case_of(mutant), mutant), folder)
    shutil.rmtree(folder)
    return {"spec": name, "mutant": mutant, "by": by}


def run(out: Path, workers: int, only: str, console: Console) -> Fields:
    """Prove every case, refute every mutant."""
    specs = {name: spec for name, spec in SPECS.items() if only in name}
    proofs, mutants = [], []
    with tempfile.TemporaryDirectory(dir=out) as made, ProcessPoolExecutor(workers) as pool:
        folder, began = Path(made), time.monotonic()
        jobs = [(prove, name, case) for name, spec in specs.items() for case in spec.cases]
        jobs += [(refute, name, mutant) for name, spec in specs.items() for mutant in spec.mutants]
        jobs.sort(key=lambda job: "Lstm" not in job[1])  # the longest first
        running = [
            pool.submit(job, name, what, folder / str(n))
            for n, (job, name, what) in enumerate(jobs)
        ]
        for n, done in enumerate(as_completed(running), 1):
            found = done.result()
            (proofs if "case" in found else mutants).append(found)
            what = found.get("case") or found["mutant"]
            console.print(f"{n} of {len(jobs)}: {found['spec']}: {what}", highlight=False)
            if found.get("wrong"):
                kept = out / f"{found['spec']} {found['case']}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(folder / str(running.index(done)), kept)
    order = list(specs)
    proofs.sort(key=lambda p: (order.index(p["spec"]), p["case"]))
    mutants.sort(key=lambda m: (order.index(m["spec"]), m["mutant"]))
    return {
        "properties": sum(len(p["proved"]) + len(p["held"]) for p in proofs),
        "proved": sum(len(p["proved"]) for p in proofs),
        "held": sum(len(p["held"]) for p in proofs),
        "false": sum(len(p["wrong"]) for p in proofs),
        "mutants": len(mutants),
        "refuted": sum(m["by"] is not None for m in mutants),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "proofs": proofs,
        "refutations": mutants,
    }


def table(results: Fields) -> Table:
    """A row a case."""
    made = Table("spec", "case", "proved", "held for so many cycles", "mutants refuted", "s")
    for n, proof in enumerate(results["proofs"]):
        own = [m for m in results["refutations"] if m["spec"] == proof["spec"]]
        first = n == 0 or results["proofs"][n - 1]["spec"] != proof["spec"]
        refuted = f"{sum(m['by'] is not None for m in own)} of {len(own)}" if first else ""
        held = "\n".join(f"{said}: {cycles}" for said, cycles in proof["held"].items())
        wrong = "".join(f"\nWRONG: {said}" for said in proof["wrong"])
        name = proof["spec"] if first else ""
        made.add_row(
            *(name, proof["case"], str(len(proof["proved"])), held + wrong, refuted),
            f"{proof['seconds']:g}",
        )
    return made


def main() -> int:
    """Returns 1 if a claim is false, or a mutant is not refuted."""
    parser = argparse.ArgumentParser(prog="make formal", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/formal"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="specs whose name contains this")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    console = Console()
    results = run(given.out, given.workers, given.only, console)
    files.write_text(given.out / "results.json", json.dumps(results, indent=1) + "\n")
    console.print(table(results))
    missed = [m for m in results["refutations"] if m["by"] is None]
    for mutant in missed:
        console.print(f"NOT REFUTED: {mutant['spec']}: {mutant['mutant']}")
    console.print(
        f"{results['properties']} properties: {results['proved']} proved for all times, "
        f"{results['held']} to a stated depth, {results['false']} false; "
        f"{results['refuted']} of {results['mutants']} mutants refuted; "
        f"{results['minutes']} minutes; {given.out / 'results.json'}",
        highlight=False,
    )
    return 1 if results["false"] or missed else 0


if __name__ == "__main__":
    sys.exit(main())
