"""The runs of the study of faults: accuracy of chips with a fault, or with bits that flip.

Functions for `wordline.jobs`: of a `Here` and plain values, to plain values. Accuracies are of
held-out test sets, in percent.
"""

from typing import Any

import torch

from golden import datasets, effects, faults, files, head
from golden.effects import Effects
from golden.measures import percent
from golden.program import Program
from golden.training import evaluate
from wordline.flow import emit
from wordline.flow.sequences import encode
from wordline.jobs import Here


def faulty(
    here: Here, *, dataset: str, program: str, kind: str, draws: int, seed: int
) -> dict[str, Any]:
    """Accuracy of chips with one permanent fault of a kind each (`golden.faults.FAULTS`).

    arrays: Which array has the fault. possible: how many there can be, by array.
    """
    test = datasets.load(dataset, here.data_dir).test
    chip, generator = Program.load(here.file(program)), faults.generator(seed, kind)
    accuracy, arrays = [], []
    for _ in range(draws):
        array, one = faults.drawn(chip, kind, generator)
        accuracy.append(evaluate.measured(one, test)["accuracy"])
        arrays.append(array)
    return {"accuracy": accuracy, "arrays": arrays, "possible": faults.possible(chip, kind)}


def stuck(
    here: Here, *, dataset: str, program: str, at: str, share: float, draws: int, seed: int
) -> dict[str, Any]:
    """Accuracy of chips with a share of their devices stuck "on" or "off"."""
    test = datasets.load(dataset, here.data_dir).test
    chip, which = Program.load(here.file(program)), {f"stuck_{at}": share}
    drawn = (
        effects.apply(chip, Effects(**which, seed=seed * draws + n))  # type: ignore[arg-type]
        for n in range(draws)
    )
    return {"accuracy": [evaluate.measured(one, test)["accuracy"] for one in drawn]}


def flipped(
    here: Here, *, dataset: str, program: str, of: str, draws: int, seed: int
) -> dict[str, Any]:
    """Accuracy of runs over the test set in which one bit of each sequence's state flips.

    changed: Sequences of each run whose class is another than without the flip.
    """
    test = datasets.load(dataset, here.data_dir).test
    chip, generator = Program.load(here.file(program)), faults.generator(seed, of)
    codes = encode(chip, test)
    clean = head.label(evaluate.scores(chip, test)[:, 0])
    accuracy, changed = [], []
    for _ in range(draws):
        flips = faults.Flips.draw(chip, of, test.lengths, generator)
        label = head.label(faults.scores_with_flips(chip, codes, test.lengths, flips))
        accuracy.append(percent(label, test.labels))
        changed.append(int((label != clean).sum()))
    return {"accuracy": accuracy, "changed": changed, "sequences": len(clean)}


def verilog(here: Here, *, dataset: str, program: str, kind: str, seed: int) -> dict[str, Any]:
    """The first chip of `faulty` through the Verilog."""
    from sim import batch  # cocotb is slow to import

    test = datasets.load(dataset, here.data_dir).test
    generator = faults.generator(seed, kind)
    chip = faults.apply(Program.load(here.file(program)), kind, generator)
    # One folder for all: a chip is built once, and whoever comes second waits his turn.
    folder = here.folder / "rtl-faults"
    with files.locked(folder):
        emit.emit_all(chip, encode(chip, test), test.lengths, folder)
        result = batch.simulate(batch.prepare(folder, chip.description.name))
    return {
        "rtl": percent(torch.tensor(result["output"]), test.labels),
        "values_compared": result["values_compared"],
        "mismatches": result["mismatches"],
    }
