"""The time of a training step, beside that of the float network."""

from collections.abc import Callable
from functools import partial
from typing import Any

from golden.injection import Injection
from wordline.bench import common
from wordline.bench.common import ANCHOR, EVERY, READ_NOISE, SNR, Found, Progress, Subject, claim


def training(progress: Progress, *, full: bool = False) -> Found:
    """A training step, forward and backward with the head and the loss, against the float
    network's.

    full: Also with noise on every vector, and the float network with noise.
    """
    raw, claims = [], []
    for n, workload in enumerate(common.WORKLOADS):
        progress("training", n, len(common.WORKLOADS))
        subject = Subject.of(workload.description, workload.batch, workload.steps)
        ways: dict[str, dict[str, Any]] = {
            "no noise": {},
            f"{SNR:g} dB": {"injection": Injection(snr_db=SNR)},
            "read noise": {"effects_": READ_NOISE},
        }
        if full:
            ways[f"{SNR:g} dB, every"] = {"injection": EVERY}
        runs: dict[str, Callable[[], Any]] = {"float": subject.float_step}
        for name, way in ways.items():
            runs[name] = partial(subject.step, **way)
        if full:
            runs[f"float, {SNR:g} dB"] = partial(subject.float_step, Injection(snr_db=SNR))
            runs[f"float, {SNR:g} dB, every"] = partial(subject.float_step, EVERY)
        took = common.fastest(runs, turns_least=5 if full else 3)
        raw.append({"workload": str(workload), "seconds": took})
        anchor = took["float"]["least"]
        for name in ways:
            title = f"training, {name}, {workload} / {ANCHOR}"
            ours, goal = took[name]["least"], 1.2 if name == "no noise" else 1.5
            claims.append(claim(title, goal * 1e3 * anchor, 1e3 * ours, 1e3 * anchor, "ms"))
    progress("training", len(common.WORKLOADS), len(common.WORKLOADS))
    return raw, claims
