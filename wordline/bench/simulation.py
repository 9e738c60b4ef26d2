"""The batch runner, beside cocotb."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from golden import presets
from wordline.bench.common import Found, Progress, Subject, claim
from wordline.flow import emit

CHIPS = {"vowels": (300, 16), "mnist-rows": (120, 28)}
"""Presets that are simulated, with how many sequences of how many steps."""


def simulation(folder: Path, progress: Progress, *, full: bool = False) -> Found:
    """The batch runner against cocotb, stock and lean, on the same emitted chips.

    full: Three turns instead of two.
    """
    from sim import batch, chip

    raw, claims = [], []
    for n, (name, size) in enumerate(CHIPS.items()):
        progress("simulation", 2 * n, 2 * len(CHIPS))
        subject = Subject.of(presets.load(name).description, *size)
        place = folder / name
        emit.emit_all(subject.program(), subject.codes, subject.lengths, place)
        stock, lean = chip.prepare(place, name, stock=True), chip.prepare(place, name)
        built = batch.prepare(place, name, quick=False)
        progress("simulation", 2 * n + 1, 2 * len(CHIPS))
        runs: dict[str, tuple[int, Callable[[], dict[str, Any]]]] = {
            "cocotb, stock": (1, partial(chip.simulate, stock)),
            "cocotb, lean": (1, partial(chip.simulate, lean)),
            "batch": (3, partial(batch.simulate, built, workers=1)),
        }
        speeds: dict[str, list[float]] = {runner: [] for runner in runs}
        cycles = {}
        for _ in range(3 if full else 2):
            for runner, (times, run_) in runs.items():
                for result in (run_() for _ in range(times)):
                    if result["mismatches"] or not result["passed"]:
                        raise RuntimeError(f"{name}, {runner}: {result['first_difference']}")
                    speeds[runner].append(result["timesteps"] / result["stream_seconds"])
                    cycles[runner] = result["cycles_per_step"]
        best = {runner: max(found) for runner, found in speeds.items()}
        raw.append({"design": name, "cycles_per_step": cycles, "steps_per_second": speeds})
        for anchor, factor in (("cocotb, stock", 40), ("cocotb, lean", 5)):
            title = f"batch runner, one thread, {name} / {anchor}"
            ours = (factor * best[anchor], best["batch"], best[anchor])
            claims.append(claim(title, *ours, "steps/s"))
    progress("simulation", 2 * len(CHIPS), 2 * len(CHIPS))
    return raw, claims
