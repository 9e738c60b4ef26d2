"""Files beside summary.json that the report reads: outputs of a run, and its first difference."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from golden import files

if TYPE_CHECKING:
    from torch import Tensor

    from golden.program import Program

OUTPUTS, DIFFERENCE = "outputs.npz", "difference.json"
CHECK, SYNTHESIS = "check.json", "synth.json"
"""Results of `wordline check` and `wordline synth`."""

FORMAT = 1
"""Version of both files (docs/formats.md)."""


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
    if result["around"] is None:
        path.unlink(missing_ok=True)
    else:
        files.write_text(path, json.dumps({"format": FORMAT} | result["around"]) + "\n")
