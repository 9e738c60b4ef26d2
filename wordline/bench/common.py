"""What the parts of the benchmark share: workloads, turns, claims, and a network emitted apart."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from golden import effects, network
from golden.datasets import Sequences
from golden.description import Description
from golden.effects import Effects
from golden.float_network import FloatModel, FloatNetwork
from golden.injection import Injection
from golden.parameters import Network
from golden.program import Program
from golden.training.quantised import Trainable
from wordline.flow import emit

Found = tuple[list[dict[str, Any]], list[dict[str, Any]]]
"""Raw figures, and claims."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

ANCHOR = "nn.LSTM float32"
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


def emitted_apart(
    description: Description, folder: Path, sequences: int = 2, steps: int = 4
) -> tuple[float, float]:
    """Emit a network of random weights in a process of its own: seconds, and the most memory that
    it had, in GiB."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.toml").write_text(description.to_toml())
    arguments = f"{str(folder)!r}, {sequences}, {steps}"
    call = f"import {__name__} as common; common.emit_here({arguments})"
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
