"""Benchmarks: golden, training, emission and co-simulation, each beside its anchor in one run.

`wordline.bench.report` makes the table and the figures.

Everything runs in one thread. What is compared takes turns, and the fastest of several turns
counts, so that whatever else the machine does hits both alike. Inputs and networks are random:
speed does not depend on them.
"""

import contextlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from golden import native
from golden.errors import WordlineError
from wordline.bench import emission, inference, scaling, simulation, training
from wordline.bench.common import SEED, Found, Progress
from wordline.flow import cache
from wordline.flow.train import torch_threads

PARTS = ("golden", "training", "emission", "simulation")
"""What is measured by default."""

SCALING = "scaling"
"""A part that is measured only if it is named: it takes five minutes."""


def run(
    parts: Sequence[str],
    folder: Path,
    peers: Path | None,
    progress: Progress,
    *,
    full: bool = False,
) -> dict[str, Any]:
    """Measure parts: raw figures by part, claims, and what ran.

    peers: A file of peers/run.py.
    full: Measure more, and more often.
    """
    found = None if peers is None else _read(peers)
    ways: dict[str, Callable[[], Found]] = {
        "golden": partial(inference.golden, progress, found, full=full),
        "training": partial(training.training, progress, full=full),
        "emission": partial(emission.emission, folder / "big", progress),
        "simulation": partial(simulation.simulation, folder, progress, full=full),
        SCALING: partial(scaling.scaling, folder / SCALING, progress),
    }
    results: dict[str, Any] = {"claims": []}
    with torch_threads(1):
        for part in parts:
            results[part], claims = ways[part]()
            results["claims"] += claims
        results["threads"] = torch.get_num_threads()
    return results | {
        "peers": found,
        "seed": SEED,
        "kernels": "none" if native.library() is None else "compiled",
        "multiplies": inference.multiplies(),
        "full": full,
        "machine": {"processor": _processor(), "cores": os.cpu_count()},
        "versions": cache.versions(),
    }


def _read(path: Path) -> dict[str, Any]:
    """What peers/run.py wrote; WordlineError if it is not that."""
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise WordlineError(
            f"{path} cannot be read ({error.strerror}); run `make peers`."
        ) from None
    except ValueError:
        found = None
    if not isinstance(found, dict) or "results" not in found:
        raise WordlineError(f"{path} is not what peers/run.py writes; run `make peers`.")
    return found


def _processor() -> str:
    """The CPU's name, as far as it is known."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    return platform.processor() or platform.machine()
