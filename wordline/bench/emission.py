"""Emission, Verilation and simulation of a large network."""

import shutil
import time
from pathlib import Path

from golden.description import Description
from golden.parameters import Network
from wordline.bench.common import Found, Progress, claim, emitted_apart

BIG = Description(name="big", network=Network(inputs=512, hidden=(512, 512), classes=10))
"""Two layers of 512 units: arrays of 1024 rows."""


def emission(folder: Path, progress: Progress) -> Found:
    """Everything emitted for a large network, in a process of its own that is measured whole; then
    its Verilation, and a few steps through it."""
    from sim import batch  # cocotb is slow to import

    progress("emission", 0, 3)
    shutil.rmtree(folder, ignore_errors=True)  # nothing is to be reused
    emitted, memory = emitted_apart(BIG, folder)
    progress("emission", 1, 3)
    began = time.perf_counter()
    built = batch.prepare(folder, BIG.name, quick=False)
    verilated = time.perf_counter() - began
    progress("emission", 2, 3)
    result = batch.simulate(built, workers=1)
    progress("emission", 3, 3)
    kept = ("timesteps", "values_compared", "mismatches", "cycles", "stream_seconds")
    raw = {
        "network": BIG.to_dict()["network"],
        "emission": {"seconds": emitted, "peak_gib": memory},
        "verilation": {"seconds": verilated},
        "simulation": {name: result[name] for name in kept},
    }
    net = "2 x 512"
    return [raw], [
        claim(f"emission, {net}", 60, emitted, None, "s"),
        claim(f"emission, memory, {net}", 2, memory, None, "GiB"),
        claim(f"Verilation and compilation, {net}", 300, verilated, None, "s"),
        claim(f"values that differ, {net}", 0, result["mismatches"], None, "values"),
    ]
