"""Makes results.json, the claims of docs/verification.md, from the records of the runs beside it.

`.venv/bin/python docs/verification/results.py` writes it, and prints the table of the page.
"""

import json
from pathlib import Path
from typing import Any

from golden import files
from wordline.studies.common import claim

HERE = Path(__file__).parent

Fields = dict[str, Any]


def read(name: str) -> Fields:
    """The record of a run."""
    found: Fields = json.loads((HERE / f"{name}.json").read_text())
    return found


def claims() -> list[tuple[str, Fields]]:
    """Each claim, and the command that measures it."""
    formal, soak, reach, fuzz = (read(name) for name in ("formal", "soak", "coverage", "fuzz"))
    refuted = 100 * formal["refuted"] / formal["mutants"]
    found = [
        ("formal", claim("properties that are false", formal["false"], "", goal=0, least=False)),
        ("formal", claim("properties proved for all times", formal["proved"], "", goal=None)),
        ("formal", claim("properties proved to a stated depth", formal["held"], "", goal=None)),
        ("formal", claim("faults in blocks that their specs refute", refuted, "%", goal=100)),
    ]
    for design, least in zip(read("mutation")["designs"], (1000, 300), strict=True):
        name = f"mutants of {design['design']}"
        killed = f"{name}: killed, of those not proved equal"
        found += [
            ("mutate", claim(name, design["mutants"], "", goal=least)),
            ("mutate", claim(killed, design["rate"], "%", goal=97)),
        ]
    *verilog, python = reach["rows"]
    reached, reachable = (sum(row[n] for row in verilog) for n in ("reached", "reachable"))
    bins = 100 * (reach["bins"] - len(reach["missed"])) / reach["bins"]
    found += [
        (
            "coverage",
            claim(
                "lines and branches of the Verilog, of those that can be reached",
                *(100 * reached / reachable, "%"),
                goal=98,
            ),
        ),
        ("coverage", claim("lines and branches of hw/", python["percent"], "%", goal=98)),
        ("coverage", claim("functional bins", bins, "%", goal=100)),
        ("soak", claim("steps of random designs", soak["steps"], "", goal=10**7)),
        ("soak", claim("random designs", soak["designs"], "", goal=200)),
        ("soak", claim("values that differ", soak["mismatches"], "", goal=0, least=False)),
        ("fuzz", claim("cases in process", fuzz["cases"], "", goal=50_000)),
        ("fuzz", claim("cases of the command", fuzz["commands"], "", goal=200)),
        ("fuzz", claim("tracebacks, hangs, crashes", fuzz["failures"], "", goal=0, least=False)),
        ("fuzz", claim("memory of a case", fuzz["peak_mb"], "MB", goal=1024, least=False)),
    ]
    return found


def table() -> str:
    """The claims as a table of Markdown."""
    lines = ["| claim | goal | measured | | command |", "|---|---|---|---|---|"]
    for command, row in claims():
        unit = f" {row['unit']}".rstrip()
        goal = ""
        if row["goal"] is not None:
            goal = f"{'>=' if row['at_least'] else '<='} {row['goal']:,}{unit}"
        met = {None: "", True: "met", False: "**MISSED**"}[row["met"]]
        measured = f"{row['ours']:,}".removesuffix(".0") + unit
        lines.append(f"| {row['name']} | {goal} | {measured} | {met} | `make {command}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    rows = [row for _, row in claims()]
    files.write_text(HERE / "results.json", json.dumps({"claims": rows}, indent=1) + "\n")
    print(table())
