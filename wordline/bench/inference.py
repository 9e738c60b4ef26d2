"""Golden's speed in inference, beside torch.nn.LSTM and a peer."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from golden import fast, native, network
from golden.errors import WordlineError
from golden.products import Products
from golden.program import Program
from wordline.bench import common
from wordline.bench.common import ANCHOR, READ_NOISE, Found, Progress, Subject, Workload, claim

GOLDEN_GOALS = {
    "matrix unit": (0.95, 2.1, 3.3),
    "VNNI": (2.0, 3.0, 4.0),
    "AVX2": (1.5, 2.0, 2.5),
    "PyTorch": (0.5, 0.5, 0.5),
}
"""Golden's speed over that of `ANCHOR` at each of `common.WORKLOADS`, by what multiplies."""
NOISY_PART = 0.7
"""Part of that which is asked for with read noise."""


def multiplies() -> str:
    """What multiplies in golden's inference here, a key of `GOLDEN_GOALS`."""
    if native.has_tiles():
        return "matrix unit"
    return ("VNNI" if native.has_vnni() else "AVX2") if native.has_lanes() else "PyTorch"


def _ways() -> dict[str, Products]:
    """The ways in which golden can multiply here, by name, but those of `AVX2_ALONE`."""
    ways: dict[str, Products] = {"PyTorch": "float32"}
    if native.has_vnni():
        ways |= {"VNNI": "lanes", "VNNI, pairs": "lanes-pairs"}
    if native.has_tiles():
        ways["matrix unit"] = "bytes"
    return ways


AVX2_ALONE: dict[str, Products] = {"AVX2": "lanes-avx2", "AVX2, pairs": "lanes-avx2-pairs"}
"""Ways to multiply on a CPU with AVX2 and no more. They are measured beside a float LSTM that is
kept to AVX2 too, as it would be there."""

AVX2_ANCHOR = "nn.LSTM kept to AVX2"
"""What claims call that float LSTM."""

KEPT_TO_AVX2 = {
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}
"""Environment variables of PyTorch and its libraries. They are read when a process starts."""


def _with_avx2_alone(workload: Workload) -> dict[str, Any]:
    """What `avx2_here` measures, in a process that is kept to AVX2."""
    call = (
        f"from {__name__} import avx2_here; avx2_here({json.dumps(dataclasses.asdict(workload))})"
    )
    said = subprocess.run(
        [sys.executable, "-c", call],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, **KEPT_TO_AVX2},
    ).stdout
    found: dict[str, Any] = json.loads(said)
    return found


def avx2_here(fields: dict[str, int]) -> None:
    """What the child of `_with_avx2_alone` does: it prints the times of a workload."""
    torch.set_num_threads(1)
    workload = Workload(**fields)
    subject = Subject.of(workload.description, workload.batch, workload.steps)
    program = subject.program()
    with torch.no_grad():
        took = common.fastest({ANCHOR: _float(subject), **_layer(subject, program, AVX2_ALONE)})
    print(json.dumps(took))


def _float(subject: Subject) -> Callable[[], Any]:
    """Run the float layer."""
    (layer,) = subject.float_network.layers
    return partial(layer, subject.x)


def _layer(
    subject: Subject, program: Program, ways: Mapping[str, Products]
) -> dict[str, Callable[[], Any]]:
    """Run golden's layer alone, by each of the ways."""
    part, shape = program.layers[0], program.description.layers[0]
    given = (part, subject.codes, shape, torch.arange(len(subject.codes)))
    return {
        f"golden's layer, {name}": partial(fast.run, *given, trace=False, products=way)
        for name, way in ways.items()
    }


def golden(progress: Progress, peers: dict[str, Any] | None = None, *, full: bool = False) -> Found:
    """Inference: golden, with its checks and the head, against torch.nn.LSTM alone; both give h of
    every step.

    peers: what peers/run.py found. aihwkit there and golden here are compared by their ratios to
    torch.nn.LSTM, which was measured beside either.
    full: Also with ADC codes and c kept, and the layer alone by each way to multiply.
    """
    raw, claims = [], []
    for n, workload in enumerate(common.WORKLOADS):
        progress("golden", n, len(common.WORKLOADS))
        subject = Subject.of(workload.description, workload.batch, workload.steps)
        runs = {ANCHOR: _float(subject)}
        programs = {"golden": subject.program(), "golden, read noise": subject.program(READ_NOISE)}
        for name, program in programs.items():
            given = (program, subject.codes, subject.lengths)
            runs[name] = partial(network.run, *given, trace=False)
            if full:
                runs[f"{name}, ADC codes and c kept"] = partial(network.run, *given)
        if full:
            runs |= _layer(subject, programs["golden"], _ways())
        with torch.no_grad():
            took = common.fastest(runs)
        speeds = {name: workload.speed(times["least"]) for name, times in took.items()}
        raw.append({"workload": str(workload), "seconds": took, "steps_per_second": speeds})
        anchor = speeds[ANCHOR]
        for name, part in zip(programs, (1.0, NOISY_PART), strict=True):
            title = f"{name}, {workload} / {ANCHOR}"
            goal = part * GOLDEN_GOALS[multiplies()][n] * anchor
            claims.append(claim(title, goal, speeds[name], anchor, "steps/s"))
            if peers is not None:
                peer = anchor / _best(peers, workload, noise="noise" in name)
                title = f"{name}, {workload} / aihwkit"
                claims.append(claim(title, 4 * peer, speeds[name], peer, "steps/s"))
        if full:
            alone = _with_avx2_alone(workload) if native.has_lanes() else {}
            raw[-1]["seconds_avx2_alone"] = alone
            claims += [
                claim(
                    f"golden's layer, {name}, {workload} / {anchored}",
                    goals[n] * workload.speed(times[ANCHOR]["least"]),
                    workload.speed(times[f"golden's layer, {name}"]["least"]),
                    workload.speed(times[ANCHOR]["least"]),
                    "steps/s",
                )
                for name, goals in GOLDEN_GOALS.items()
                for times, anchored in ((took, ANCHOR), (alone, AVX2_ANCHOR))
                if f"golden's layer, {name}" in times
            ]
    progress("golden", len(common.WORKLOADS), len(common.WORKLOADS))
    return raw, claims


def _best(peers: dict[str, Any], workload: Workload, *, noise: bool) -> float:
    """Time of aihwkit's fastest inference with converters, in those of torch.nn.LSTM beside it."""
    wanted = ("aihwkit", "inference", noise, True, dataclasses.asdict(workload))
    named = ("peer", "mode", "noise", "converters", "workload")
    found = [
        result["ratio_to_float_lstm"]
        for result in peers["results"]
        if wanted == tuple(result[key] for key in named)
    ]
    if not found:
        raise WordlineError(f"The peers' results lack aihwkit for {workload}; run `make peers`.")
    return float(min(found))
