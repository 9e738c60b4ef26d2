"""Golden's speed in inference, beside torch.nn.LSTM and a peer."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from golden import fast, native, network
from golden.errors import WordlineError
from golden.products import Products
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
    """The ways in which golden can multiply here, by name. Those with goals are bytes."""
    ways: dict[str, Products] = {"PyTorch": "float32"}
    if native.has_lanes():
        ways |= {"AVX2": "lanes-avx2", "AVX2, pairs": "lanes-avx2-pairs"}
    if native.has_vnni():
        ways |= {"VNNI": "lanes", "VNNI, pairs": "lanes-pairs"}
    if native.has_tiles():
        ways["matrix unit"] = "bytes"
    return ways


def golden(progress: Progress, peers: dict[str, Any] | None = None, *, full: bool = False) -> Found:
    """Inference: golden, with its checks and the head, against torch.nn.LSTM alone; both give h of
    every step.

    peers: what peers/run.py found. aihwkit there and golden here are compared by their ratios to
    torch.nn.LSTM, which was measured beside either.
    full: Also with ADC codes and c kept, and the layer by each way to multiply.
    """
    raw, claims = [], []
    for n, workload in enumerate(common.WORKLOADS):
        progress("golden", n, len(common.WORKLOADS))
        subject = Subject.of(workload.description, workload.batch, workload.steps)
        (layer,) = subject.float_network.layers
        runs: dict[str, Callable[[], Any]] = {ANCHOR: partial(layer, subject.x)}
        programs = {"golden": subject.program(), "golden, read noise": subject.program(READ_NOISE)}
        for name, program in programs.items():
            given = (program, subject.codes, subject.lengths)
            runs[name] = partial(network.run, *given, trace=False)
            if full:
                runs[f"{name}, ADC codes and c kept"] = partial(network.run, *given)
        forced = _ways() if full else {}
        for name, way in forced.items():
            runs[f"golden's layer, {name}"] = partial(
                fast.run,
                *(programs["golden"].layers[0], subject.codes, workload.description.layers[0]),
                torch.arange(workload.batch),
                trace=False,
                products=way,
            )
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
        for name in (name for name in forced if name in GOLDEN_GOALS):
            title = f"golden's layer, {name}, {workload} / {ANCHOR}"
            goal = GOLDEN_GOALS[name][n] * anchor
            claims.append(claim(title, goal, speeds[f"golden's layer, {name}"], anchor, "steps/s"))
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
