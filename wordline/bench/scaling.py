"""How emission, build, simulation and golden grow with the number of units."""

import math
import shutil
import statistics
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from golden import network
from golden.description import Description
from golden.parameters import Array, Network
from wordline.bench import common
from wordline.bench.common import Found, Progress, Subject

if TYPE_CHECKING:
    from sim import batch

SIZES = ((1, 64), (1, 128), (1, 256), (1, 512))
"""Layers and units a layer; a layer has as many inputs."""

CROSSBAR = 128
"""Rows and columns of a crossbar; larger arrays are cut into tiles."""

SEQUENCES, STEPS = 9, 16
"""What is simulated of each size. Cells are loaded before the first sequence."""

BATCH = 32
"""Sequences that golden runs at once."""

MEASURED = (
    *("emission_seconds", "emission_gib", "build_seconds"),
    *("simulation_seconds_per_step", "loading_seconds", "golden_seconds_per_step"),
)
"""Quantities of a size that have an exponent."""


def description(layers: int, units: int) -> Description:
    """A design of one of `SIZES`."""
    net = Network(inputs=units, hidden=(units,) * layers, classes=10)
    return Description(
        name=f"h{layers}x{units}", network=net, array=Array(rows=CROSSBAR, columns=CROSSBAR)
    )


def scaling(folder: Path, progress: Progress) -> Found:
    """Measure each size, and fit exponents to those of one layer."""
    rows = []
    for n, (layers, units) in enumerate(SIZES):
        progress("scaling", n, len(SIZES))
        rows.append(measure(folder / f"{layers}x{units}", description(layers, units)))
    progress("scaling", len(SIZES), len(SIZES))
    return [{"sizes": rows, "exponents": exponents(rows)}], []


def measure(folder: Path, design: Description) -> dict[str, Any]:
    """Emit, build and simulate a network of random weights, and run golden on a larger batch."""
    from sim import batch  # cocotb is slow to import

    shutil.rmtree(folder, ignore_errors=True)  # nothing is to be reused
    seconds, memory = common.emitted_apart(design, folder, SEQUENCES, STEPS)
    began = time.perf_counter()
    built = batch.prepare(folder, design.name, quick=False)
    verilated = time.perf_counter() - began
    result, first, others = _simulate(built)
    subject = Subject.of(design, BATCH, STEPS)
    run = partial(network.run, subject.program(), subject.codes, subject.lengths, trace=False)
    with torch.no_grad():
        took = common.fastest({"golden": run}, seconds=1.0, turns_least=3)["golden"]["least"]
    net = design.network
    cells = sum(shape.gates * shape.units * shape.rows for shape in design.layers)
    return {
        "layers": len(net.hidden),
        "units": net.hidden[0],
        "cells": cells,
        "crossbars": sum(len(s.row_tiles) * s.column_tiles for s in design.layers),
        "cycles_per_step": result["cycles_per_step"],
        "values_compared": result["values_compared"],
        "emission_seconds": seconds,
        "emission_gib": memory,
        "build_seconds": verilated,
        "simulation_seconds_per_step": statistics.median(others) / STEPS,
        "loading_seconds": first - statistics.median(others),
        "golden_seconds_per_step": took / (BATCH * STEPS),
    }


def _simulate(built: "batch.Batch") -> tuple[dict[str, Any], float, list[float]]:
    """Run a chip sequence by sequence; RuntimeError if it is not golden.

    Returns the cycles and steps, the seconds of the first sequence, with loading, and those of each
    other.
    """
    from gen.rtl import vectors
    from sim import batch_chip
    from sim.benches import scoreboard
    from sim.benches.scoreboard import Output, Scoreboard

    sidecar, image, golden = (Path(built.job[name]) for name in ("sidecar", "image", "vectors"))
    chip = batch_chip.Chip(built.library, batch_chip.read_sidecar(sidecar))
    description = Description.from_dict(chip.sidecar["description"], source=str(sidecar))
    words, every, board = scoreboard.image(image), vectors.load(golden, description), Scoreboard()
    took, cycles = [], 0
    for n in range(len(every["lengths"])):
        one = vectors.one(every, n)
        chunk = batch_chip.Chunk(n, one, Output.of_vectors(chip.sidecar, one))
        began = time.perf_counter()
        given = chip.run(words if n == 0 else [], chunk)
        took.append(time.perf_counter() - began)
        assert given is not None
        chunk.compare(board, given)
        cycles += given.cycles
    chip.close()
    if board.mismatches:
        raise RuntimeError(f"{built.library}: {board.first}")
    result = {
        "cycles_per_step": round(cycles / int(every["lengths"].sum()), 3),
        "values_compared": board.values_compared,
    }
    return result, took[0], took[1:]


def exponents(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Exponents k of quantity ~ units^k: least squares in logarithms, networks of one layer."""
    single = [row for row in rows if row["layers"] == 1]
    units = [math.log(row["units"]) for row in single]
    found = {}
    for name in MEASURED:
        slope, _ = np.polyfit(units, [math.log(row[name]) for row in single], 1)
        found[name] = round(float(slope), 2)
    return found
