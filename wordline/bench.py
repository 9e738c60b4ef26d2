"""Benchmarks: golden, training, emission and co-simulation, each beside its anchor in one run.

wordline/bench_report.py makes the table and the figures.

Everything runs in one thread. What is compared takes turns, and the fastest of several turns
counts, so that whatever else the machine does hits both alike. Inputs and networks are random:
speed does not depend on them.
"""

import contextlib
import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from golden import effects, fast, native, network, presets
from golden.datasets import Sequences
from golden.description import Description
from golden.effects import Effects
from golden.errors import WordlineError
from golden.float_network import FloatModel, FloatNetwork
from golden.injection import Injection
from golden.parameters import Network
from golden.products import Products
from golden.program import Program
from golden.training.quantised import Trainable
from wordline.flow import cache, emit
from wordline.flow.train import torch_threads

Found = tuple[list[dict[str, Any]], list[dict[str, Any]]]
"""Raw figures, and claims."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

ANCHOR = "nn.LSTM float32"
GOLDEN_GOALS = {
    "matrix unit": (0.95, 2.1, 3.3),
    "VNNI": (2.0, 3.0, 4.0),
    "AVX2": (1.5, 2.0, 2.5),
    "PyTorch": (0.5, 0.5, 0.5),
}
"""Golden's speed over that of `ANCHOR` at each of `WORKLOADS`, by what multiplies."""
NOISY_PART = 0.7
"""Part of that which is asked for with read noise."""
SEED = 0
READ_NOISE = Effects(read_sigma=0.1)
SNR = 3.0
EVERY = Injection(snr_db=SNR, placement="every")
"""The noise of the noisy runs: read noise of 10 % of full scale; in training also 3 dB, on
pre-activations or on every vector."""


@dataclass(frozen=True)
class Workload:
    """A batch of sequences for one LSTM layer, at 4 bits for weights, DAC and ADC."""

    inputs: int
    hidden: int
    steps: int
    batch: int

    def __str__(self) -> str:
        return f"I{self.inputs} H{self.hidden} T{self.steps} B{self.batch}"

    def speed(self, seconds: float) -> float:
        """Steps of a sequence per second, where the batch takes so long."""
        return self.steps * self.batch / seconds

    @property
    def description(self) -> Description:
        """The design, with ten classes."""
        net = Network(inputs=self.inputs, hidden=(self.hidden,), classes=10)
        return Description(name="bench", network=net)


WORKLOADS = (Workload(28, 64, 100, 32), Workload(128, 256, 100, 32), Workload(128, 256, 100, 512))


def claim(name: str, goal: float, ours: float, anchor: float | None, unit: str) -> dict[str, Any]:
    """A claim in the shape that every study has; goal, ours and anchor are in `unit`.

    A speed is to be at least its goal, anything else at most.
    """
    met = ours >= goal if unit.endswith("/s") else ours <= goal
    numbers = {"goal": goal, "ours": ours, "anchor": anchor}
    rounded = {key: v if v is None else float(f"{v:.4g}") for key, v in numbers.items()}
    return {"name": name, **rounded, "unit": unit, "met": met}


def fastest(
    runs: dict[str, Callable[[], Any]], seconds: float = 4.0, turns_least: int = 5
) -> dict[str, dict[str, Any]]:
    """Let each run in turn, `turns_least` times or more, for `seconds` in all: the least, the
    median and the number of turns, times in seconds."""
    for run in runs.values():
        run()
    took: dict[str, list[float]] = {name: [] for name in runs}
    end, turns = time.perf_counter() + seconds, 0
    while turns < turns_least or time.perf_counter() < end:
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            took[name].append(time.perf_counter() - began)
        turns += 1
    return {
        name: {"least": min(times), "median": statistics.median(times), "turns": turns}
        for name, times in took.items()
    }


@dataclass(frozen=True)
class Subject:
    """A float LSTM with a head, the quantised network that starts from it, and a batch."""

    float_network: FloatNetwork
    trainable: Trainable
    x: Tensor
    codes: Tensor
    lengths: Tensor
    labels: Tensor

    @classmethod
    def of(cls, description: Description, batch: int, steps: int) -> "Subject":
        """Random weights and inputs."""
        torch.manual_seed(SEED)
        net = description.network
        reference = FloatNetwork(description)
        x = torch.randn(batch, steps, net.inputs)
        lengths = torch.full((batch,), steps)
        labels = torch.randint(net.classes, (batch,))
        model = FloatModel(reference, torch.zeros(net.inputs), torch.ones(net.inputs))
        trainable = Trainable(model, Sequences(x, lengths, labels), description)
        return cls(reference, trainable, x, trainable.encode(x), lengths, labels)

    def program(self, effects_: Effects | None = None) -> Program:
        """The network as it is, in integers."""
        with torch.no_grad():
            program = self.trainable.program().to(torch.int64)
        return program if effects_ is None else effects.apply(program, effects_)

    def float_step(self, injection: Injection | None = None) -> None:
        """Forward and backward of the float network."""
        self.float_network.zero_grad()
        scores = self.float_network(self.x, self.lengths, injection)
        nn.functional.cross_entropy(scores, self.labels).backward()

    def step(self, *, injection: Injection | None = None, effects_: Effects | None = None) -> None:
        """Forward and backward of the quantised network, as golden.training does it."""
        self.trainable.zero_grad()
        program = self.trainable.program()
        if effects_ is not None:
            program = effects.apply(program, effects_)
        scores = network.run(program, self.codes, self.lengths, None, injection).scores
        nn.functional.cross_entropy(scores * program.score_step, self.labels).backward()


def multiplies() -> str:
    """What multiplies in golden's inference here, a key of `GOLDEN_GOALS`."""
    if native.has_tiles():
        return "matrix unit"
    return ("VNNI" if native.has_vnni() else "AVX2") if native.has_lanes() else "PyTorch"


def golden(progress: Progress, peers: dict[str, Any] | None = None, *, full: bool = False) -> Found:
    """Inference: golden, with its checks and the head, against torch.nn.LSTM alone; both give h of
    every step.

    peers: what peers/run.py found. aihwkit there and golden here are compared by their ratios to
    torch.nn.LSTM, which was measured beside either.
    full: Also with ADC codes and c kept, and the layer by each way to multiply.
    """
    raw, claims = [], []
    for n, workload in enumerate(WORKLOADS):
        progress("golden", n, len(WORKLOADS))
        subject = Subject.of(workload.description, workload.batch, workload.steps)
        (layer,) = subject.float_network.layers
        runs: dict[str, Callable[[], Any]] = {ANCHOR: partial(layer, subject.x)}
        programs = {"golden": subject.program(), "golden, read noise": subject.program(READ_NOISE)}
        for name, program in programs.items():
            given = (program, subject.codes, subject.lengths)
            runs[name] = partial(network.run, *given, trace=False)
            if full:
                runs[f"{name}, ADC codes and c kept"] = partial(network.run, *given)
        ways: list[Products] = ["float32", "bytes"] if native.has_tiles() else ["float32"]
        ways += ["lanes", "lanes-pairs"] if native.has_lanes() else []
        ways += ["lanes-avx2", "lanes-avx2-pairs"] if native.has_vnni() else []
        for way in ways if full else ():
            runs[f"golden's layer, products: {way}"] = partial(
                fast.run,
                *(programs["golden"].layers[0], subject.codes, workload.description.layers[0]),
                torch.arange(workload.batch),
                trace=False,
                products=way,
            )
        with torch.no_grad():
            took = fastest(runs)
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
    progress("golden", len(WORKLOADS), len(WORKLOADS))
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


def training(progress: Progress, *, full: bool = False) -> Found:
    """A training step, forward and backward with the head and the loss, against the float
    network's.

    full: Also with noise on every vector, and the float network with noise.
    """
    raw, claims = [], []
    for n, workload in enumerate(WORKLOADS):
        progress("training", n, len(WORKLOADS))
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
        took = fastest(runs, turns_least=5 if full else 3)
        raw.append({"workload": str(workload), "seconds": took})
        anchor = took["float"]["least"]
        for name in ways:
            title = f"training, {name}, {workload} / {ANCHOR}"
            ours, goal = took[name]["least"], 1.2 if name == "no noise" else 1.5
            claims.append(claim(title, goal * 1e3 * anchor, 1e3 * ours, 1e3 * anchor, "ms"))
    progress("training", len(WORKLOADS), len(WORKLOADS))
    return raw, claims


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


def emitted_apart(
    description: Description, folder: Path, sequences: int = 2, steps: int = 4
) -> tuple[float, float]:
    """Emit a network of random weights in a process of its own: seconds, and the most memory that
    it had, in GiB."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.toml").write_text(description.to_toml())
    arguments = f"{str(folder)!r}, {sequences}, {steps}"
    call = f"import {__name__} as bench; bench.emit_here({arguments})"
    began = time.perf_counter()
    said = subprocess.run([sys.executable, "-c", call], check=True, stdout=subprocess.PIPE).stdout
    return time.perf_counter() - began, float(said)


def emit_here(folder: str, sequences: int, steps: int) -> None:
    """What the child of `emitted_apart` does: Verilog, image and vectors of the description in
    `folder`. It prints the most memory that it had, in GiB."""
    torch.set_num_threads(1)
    description = Description.from_toml(Path(folder) / "bench.toml")
    subject = Subject.of(description, sequences, steps)
    emit.emit_all(subject.program(), subject.codes, subject.lengths, Path(folder))
    # Not getrusage: that begins with what the parent had.
    status = Path("/proc/self/status").read_text()
    print(int(status.partition("VmHWM:")[2].split()[0]) / 2**20)


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
        "golden": partial(golden, progress, found, full=full),
        "training": partial(training, progress, full=full),
        "emission": partial(emission, folder / "big", progress),
        "simulation": partial(simulation, folder, progress, full=full),
        SCALING: partial(_scaling, folder / SCALING, progress),
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
        "multiplies": multiplies(),
        "full": full,
        "machine": {"processor": _processor(), "cores": os.cpu_count()},
        "versions": cache.versions(),
    }


def _scaling(folder: Path, progress: Progress) -> Found:
    from wordline import bench_scaling  # it takes functions of this module

    return bench_scaling.scaling(folder, progress)


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
