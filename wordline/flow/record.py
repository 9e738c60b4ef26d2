"""Files that the report reads: outputs and first difference of a run, results of other commands."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from golden import files

if TYPE_CHECKING:
    from torch import Tensor

    from gen.impl import ecp5, synth
    from golden.description import Description
    from golden.program import Program
    from wordline.flow.check import Checked
    from wordline.flow.synthesise import NetlistRun

OUTPUTS, DIFFERENCE = "outputs.npz", "difference.json"
CHECK, SYNTHESIS = "check.json", "synth.json"
"""Results of `wordline check` and `wordline synth`."""

FORMAT = 1
"""Version of these files (docs/formats.md)."""


def outputs(
    folder: Path, program: "Program", result: dict[str, Any], labels: "Tensor | None"
) -> None:
    """Write the outputs of a run and the labels of its sequences into `OUTPUTS`.

    result: Result of the runner.
    labels: Labels of sequences, or of all their steps, one after the other.
    """
    arrays = {name: np.asarray(result[key]) for name, key in _SIDES.items()}
    if labels is not None:
        arrays["labels"] = labels.numpy()
        if labels.is_floating_point():
            arrays |= {
                name: getattr(program, name).numpy() for name in ("score_mean", "score_step")
            }
    with files.atomic(folder / OUTPUTS) as beside, beside.open("wb") as file:
        np.savez(file, format=np.array([FORMAT]), **arrays)  # type: ignore[arg-type]


_SIDES = {"golden": "golden_output", "rtl": "output"}


def difference(folder: Path, result: dict[str, Any]) -> None:
    """Write what the RTL computed around its first difference into `DIFFERENCE`.

    Without a difference the file of an earlier run is deleted.
    """
    path = folder / DIFFERENCE
    if result.get("around") is None:
        path.unlink(missing_ok=True)
    else:
        files.write_text(path, json.dumps({"format": FORMAT} | result["around"]) + "\n")


def synthesis(
    folder: Path,
    description: "Description",
    target: str,
    mapped: "synth.Result",
    run: "NetlistRun | None",
    command: str | None,
) -> None:
    """Write a synthesis for standard cells into `SYNTHESIS`."""
    found: dict[str, Any] = {
        **_head(description, target, mapped.versions, command),
        "period_ns": mapped.period_ns,
        "unconstrained": len(mapped.unconstrained),
        "blocks": [asdict(block) for block in mapped.blocks],
        "memories": {shape.module: count for shape, count in mapped.memories.items()},
        "run": None,
    }
    if run is not None:
        energies = {name: asdict(energy) for name, energy in (run.energies or {}).items()}
        sizes = {name: getattr(run, name) for name in ("sequences", "steps", "values_compared")}
        found["run"] = sizes | {"passed": run.passed, "energies": energies}
    files.write_text(folder / SYNTHESIS, json.dumps(found, indent=1) + "\n")


def placement(
    folder: Path,
    description: "Description",
    device: str,
    placed: "ecp5.Result",
    command: str | None,
) -> None:
    """Write a placed and routed design into `SYNTHESIS`."""
    found = _head(description, f"ecp5 {device}", placed.versions, command) | {
        "mhz": placed.mhz,
        "settle": placed.settle,
        "unconstrained": len(placed.unconstrained),
        "blocks": [asdict(block) for block in placed.blocks],
        "used": {name: list(of) for name, of in placed.used.items()},
    }
    files.write_text(folder / SYNTHESIS, json.dumps(found, indent=1) + "\n")


def _head(
    description: "Description", target: str, versions: dict[str, str], command: str | None
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": description.name,
        "fingerprint": description.fingerprint,
        "target": target,
        "command": command,
        "versions": versions,
    }


def check(
    checked: "Checked", path: Path | str, result: dict[str, Any], command: str | None
) -> None:
    """Write a check into its folder: `CHECK`, the sidecar, and `DIFFERENCE` if there is one.

    path: The path that was given.
    result: Result of the runner, or {}.
    """
    from wordline.flow import cache

    given = checked.given
    files.write_text(checked.folder / "sidecar.json", json.dumps(given.sidecar))
    paths = {
        name: str(file.absolute())
        for name in ("rtl", "crossbars", "image", "vectors", "axi")
        if (file := getattr(given, name)) is not None
    }
    found = {
        "format": FORMAT,
        "name": given.name,
        "fingerprint": given.description.fingerprint,
        "path": str(path),
        "given": paths | {"sidecar": "sidecar.json"},
        "rtl": given.rtl.name,
        "files": {str(Path(file).absolute()): digest for file, digest in checked.files.items()},
        "edited": [str(file) for file in checked.edited],
        "not_compared": [str(file) for file in checked.not_compared],
        "simulator": checked.simulator,
        "passed": checked.passed,
        "complaint": checked.complaint,
        "sequences": checked.sequences,
        "of_sequences": checked.of_sequences,
        "values_compared": checked.values_compared,
        "mismatches": checked.mismatches,
        "first": result.get("first"),
        "compared": checked.compared,
        "axi": checked.axi,
        "axi_passed": checked.axi_passed,
        "warnings": checked.warnings,
        "changes": None
        if checked.changes is None
        else [
            asdict(change) | {"exercised": change.exercised and str(change.exercised)}
            for change in checked.changes
        ],
        "exercised": checked.exercised and str(checked.exercised),
        "waves": checked.waves and str(checked.waves),
        "seconds": checked.seconds,
        "command": command,
        "versions": cache.versions(),
    }
    files.write_text(checked.folder / CHECK, json.dumps(found, indent=1) + "\n")
    difference(checked.folder, result)
