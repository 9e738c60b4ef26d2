"""What ran: commands to repeat it, seeds, versions, hashes, time."""

import shlex
from pathlib import Path
from typing import Any

from wordline.report import charts
from wordline.report.page import Cell, Question, Section, Table
from wordline.report.run import Run

Fields = dict[str, Any]


def section(run: Run) -> Section:
    """How the results were made."""
    parts: dict[str, Fields] = {}
    if run.imported is not None:
        parts["import"] = run.imported
    if run.summary is not None:
        parts["check" if run.checked else "sim"] = run.summary
    parts |= {f"synth {target}": found for target, found in run.synthesised.items()}
    parts |= {"ppa": run.ppa} if run.ppa is not None else {}
    parts |= {"ppa --model": run.model} if run.model is not None else {}
    asked = [_commands(run, parts), _versions(parts)]
    if run.summary is not None:
        asked += [_files(run, run.summary), _seconds(run.summary)]
    return Section("origin", "What ran", asked)


def _commands(run: Run, parts: dict[str, Fields]) -> Question:
    commands = [
        (f"The results of {name}", found["command"])
        for name, found in parts.items()
        if found.get("command")
    ]
    commands.append(
        ("This page, from the files", f"wordline report {shlex.quote(str(run.folder))}")
    )
    rows: list[list[Cell]] = []
    for name, found in parts.items():
        rows += [
            [name, key, found[key] if isinstance(found[key], str) else str(found[key])]
            for key in (
                "dataset",
                "seed",
                "stall",
                "runner",
                "simulator",
                "votes",
                "fingerprint",
                "network",
            )
            if found.get(key) is not None
        ]
        settings = found.get("training") or {}
        rows += [[name, f"training.{key}", str(value)] for key, value in settings.items()]
    tables = [Table(("of", "what", "value"), rows, "Seeds and settings")] if rows else []
    return Question("How is it repeated?", commands=commands, tables=tables)


def _versions(parts: dict[str, Fields]) -> Question:
    rows: list[list[Cell]] = []
    seen: dict[str, set[str]] = {}
    for name, found in parts.items():
        for package, version in found.get("versions", {}).items():
            rows.append([name, package, version])
            seen.setdefault(package, set()).add(version)
    mixed = sorted(package for package, versions in seen.items() if len(versions) > 1)
    said = ", ".join(f"{name} {' and '.join(sorted(of))}" for name, of in seen.items()) + "."
    if mixed:
        said += f" Parts of this page were made with different versions of {', '.join(mixed)}."
    return Question(
        "Which versions made it?",
        said,
        tables=[Table(("of", "package", "version"), rows, "Versions")],
    )


def _files(run: Run, summary: Fields) -> Question:
    rows: list[list[Cell]] = [[name, digest] for name, digest in summary["files"].items()]
    if run.imported is not None:
        rows += [[f"imported: {k}", digest] for k, digest in run.imported["imported"].items()]
    return Question(
        "Which files were used?",
        f"{', '.join(Path(str(row[0])).name for row in rows)}.",
        tables=[Table(("file", "SHA-256"), rows, "Hashes of the files")],
    )


def _seconds(summary: Fields) -> Question:
    data = [
        {"stage": name, "seconds": value}
        for name, value in summary["seconds"].items()
        if name != "total"
    ]
    rows: list[list[Cell]] = [[name, value] for name, value in summary["seconds"].items()]
    total = summary["seconds"].get("total", sum(row["seconds"] for row in data))
    longest = max(data, key=lambda row: row["seconds"], default={"stage": "none"})
    return Question(
        "Where did the time go?",
        f"{total:.1f} s" + (f", most of it in {longest['stage']}." if len(data) > 1 else "."),
        [charts.bars(data, "stage", "seconds", "time (s)", label="Time by stage")],
        [Table(("stage", "time (s)"), rows)],
    )
