"""How fast other tools run the same quantised LSTM: aihwkit, Brevitas, hls4ml, torch.nn.LSTM.

Standalone, for a virtual environment of its own (requirements.txt beside this file). Each peer runs
in a process of its own, on one thread, and torch.nn.LSTM (float32) takes turns with every path
there, on the same input: the ratio to it is what carries over to other machines. README.md says
what each path does.
"""

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

THREADS = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    )
}
PACKAGES = ("torch", "aihwkit", "brevitas", "hls4ml", "numpy")
CODES = 2**4 - 2  # steps between the ends of a signed 4-bit range, as aihwkit counts them
OUT_NOISE = 0.06  # aihwkit's default, in units of a full input times a full weight
WEIGHT_NOISE = 0.0175  # aihwkit's weight read noise in its PCM presets
SHORTEST = 10  # steps of a sequence, where all of them would take too long

Run = Callable[[Any], object]  # one batch, for an input of (steps, batch, inputs)


@dataclass(frozen=True)
class Workload:
    """An LSTM layer and a batch of sequences for it."""

    inputs: int
    hidden: int
    steps: int
    batch: int

    def __str__(self) -> str:
        return f"I{self.inputs} H{self.hidden} T{self.steps} B{self.batch}"


WORKLOADS = (Workload(28, 64, 100, 32), Workload(128, 256, 100, 32), Workload(128, 256, 100, 512))


@dataclass(frozen=True)
class Case:
    """One way to run a workload with a peer."""

    path: str
    build: Callable[[Workload], Run]
    training: bool = False
    noise: bool = False
    converters: bool = True  # a 4-bit DAC and a 4-bit ADC are part of it
    by_steps: bool = True  # a shorter run has fewer steps, otherwise fewer sequences

    @property
    def mode(self) -> str:
        """Inference or training."""
        return "training" if self.training else "inference"


def training_step(module: Any, optimiser: Any) -> Run:
    """Forward, backward and update of a module that gives (output, state)."""

    def run(x: Any) -> None:
        optimiser.zero_grad()
        module(x)[0].square().mean().backward()
        optimiser.step()

    return run


def torch_run(module: Any, training: bool) -> Run:
    """What a torch module does with a batch, ready to be timed."""
    import torch

    if training:
        return training_step(module.train(), torch.optim.SGD(module.parameters(), lr=0.01))
    run: Run = torch.no_grad()(module.eval())
    return run


def float_lstm(workload: Workload, training: bool) -> Run:
    """The anchor: torch.nn.LSTM in float32."""
    import torch

    return torch_run(torch.nn.LSTM(workload.inputs, workload.hidden), training)


def torch_cases() -> Iterator[Case]:
    """The anchor against itself: how far the ratios can be trusted."""
    for training in (False, True):
        yield Case(
            "nn.LSTM, float32",
            partial(float_lstm, training=training),
            training=training,
            converters=False,
        )


def analog_config(
    cls: Any,
    noise: bool,
    *,
    managed: bool = False,
    weight_noise: bool = False,
    largest: int = 0,
    perfect: bool = False,
) -> Any:
    """4-bit DAC and ADC with fixed ranges, and noise or none.

    managed: aihwkit's defaults, which scale every input vector to the DAC and repeat a product that
        clipped at the ADC, instead of fixed ranges.
    largest: the most rows and columns of a tile; 0: any number.
    perfect: no converters.
    """
    from aihwkit.simulator.parameters.enums import (
        BoundManagementType,
        NoiseManagementType,
        WeightModifierType,
        WeightNoiseType,
    )

    config = cls()
    forward = config.forward
    forward.is_perfect = perfect
    forward.inp_res = forward.out_res = 1 / CODES
    forward.out_noise = OUT_NOISE if noise else 0.0
    if weight_noise:
        forward.w_noise_type = WeightNoiseType.ADDITIVE_CONSTANT
        forward.w_noise = WEIGHT_NOISE
    if not managed:
        forward.noise_management = NoiseManagementType.NONE
        forward.bound_management = BoundManagementType.NONE
    config.mapping.max_input_size = config.mapping.max_output_size = largest
    config.mapping.weight_scaling_omega = 1.0
    config.modifier.type = WeightModifierType.DISCRETIZE  # in training alone
    config.modifier.res = 1 / CODES
    config.drift_compensation = None
    return config


def program(module: Any) -> Any:
    """Puts every weight of an analog module on its 4-bit grid, once."""
    from aihwkit.nn import AnalogLinear

    for layer in module.modules():
        if isinstance(layer, AnalogLinear):
            weight, bias = layer.get_weights()
            step = weight.abs().max() / (CODES // 2)
            layer.set_weights((weight / step).round() * step, bias)
    return module


def inputs_at_once(workload: Workload, config: Any) -> Any:
    """An LSTM by hand on two AnalogLinear: all inputs of a sequence are one product."""
    import torch
    from aihwkit.nn import AnalogLinear

    class InputsAtOnce(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ih = AnalogLinear(workload.inputs, 4 * workload.hidden, True, config)
            self.hh = AnalogLinear(workload.hidden, 4 * workload.hidden, True, config)

        def forward(self, x: Any) -> tuple[Any, None]:
            steps, batch, _ = x.shape
            driven = self.ih(x.reshape(steps * batch, -1)).view(steps, batch, -1)
            h = c = torch.zeros(batch, workload.hidden)
            outputs = []
            for part in driven:
                i, f, g, o = (part + self.hh(h)).chunk(4, 1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                outputs.append(h)
            return torch.stack(outputs), None

    return InputsAtOnce()


def aihwkit_cases() -> Iterator[Case]:
    """AnalogRNN on the tiles of C++ (RPUCuda) and of torch, in the forms a user would try."""
    from aihwkit.nn import AnalogLSTMCell, AnalogLSTMCellCombinedWeight, AnalogRNN
    from aihwkit.optim import AnalogSGD
    from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig

    cpp, native = ("C++ tile", InferenceRPUConfig), ("torch tile", TorchInferenceRPUConfig)
    two, one = ("x and h apart", AnalogLSTMCell), ("x and h together", AnalogLSTMCellCombinedWeight)
    by_hand = ("all x first", None)

    def case(
        tile: tuple[str, Any],
        cell: tuple[str, Any],
        noise: bool = False,
        training: bool = False,
        note: str = "",
        **options: Any,
    ) -> Case:
        def build(workload: Workload) -> Run:
            config = analog_config(tile[1], noise, **options)
            sizes = workload.inputs, workload.hidden
            if cell[1] is None:
                module = inputs_at_once(workload, config)
            else:
                module = AnalogRNN(cell[1], *sizes, bias=True, rpu_config=config)
            program(module)
            if not training:
                return torch_run(module, training)
            optimiser = AnalogSGD(module.parameters(), lr=0.01)
            optimiser.regroup_param_groups(module)
            return training_step(module.train(), optimiser)

        path = ", ".join(part for part in (tile[0], cell[0], note) if part)
        return Case(path, build, training, noise, converters=not options.get("perfect", False))

    for noise in (False, True):
        for tile in (cpp, native):
            for cell in (two, one, by_hand):
                yield case(tile, cell, noise)
        yield case(native, one, noise, note="scaled inputs", managed=True)
        yield case(native, one, noise, note="tiles of 512", largest=512)
    yield case(cpp, one, True, note="weight noise too", weight_noise=True)
    yield case(native, one, note="no converters", perfect=True)
    for noise in (False, True):
        for tile in (cpp, native):
            for cell in (two, one):
                yield case(tile, cell, noise, training=True)


def brevitas_cases() -> Iterator[Case]:
    """QuantLSTM with 4-bit weights, x, h and gate sums; the rest in 8 bits or in float."""
    from brevitas import config
    from brevitas.nn import QuantLSTM

    bits = {"weight_bit_width": 4, "io_bit_width": 4, "gate_acc_bit_width": 4}
    wide = dict.fromkeys(("sigmoid_bit_width", "tanh_bit_width", "cell_state_bit_width"), 8)
    free = dict.fromkeys(("sigmoid_quant", "tanh_quant", "cell_state_quant", "bias_quant"))
    forms = (
        ("all quantised", {**bits, **wide}, True),
        ("gate sums quantised", {**bits, **free}, True),
        ("x, h, weights quantised", {**bits, **free, "gate_acc_quant": None}, False),
    )
    suffix = ", BREVITAS_JIT=1" if config.JIT_ENABLED else ""

    for name, options, converters in forms:
        for training in (False, True):

            def build(workload: Workload, options: Any = options, training: bool = training) -> Run:
                module = QuantLSTM(workload.inputs, workload.hidden, **options)
                if not training:  # the scales of activations come from a batch in training
                    import torch

                    module(torch.rand(2, workload.batch, workload.inputs) * 2 - 1)
                return torch_run(module, training)

            yield Case(
                f"QuantLSTM, {name}{suffix}", build, training=training, converters=converters
            )


def hls4ml_cases() -> Iterator[Case]:
    """The C++ emulation (Vitis backend, ap_fixed) of an LSTM with 4-bit weights."""
    import hls4ml
    import numpy as np
    import torch

    class Last(torch.nn.Module):
        def __init__(self, workload: Workload) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(workload.inputs, workload.hidden, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.lstm(x)[0]

    def build(workload: Workload) -> Run:
        module = Last(workload).eval()
        shape = workload.steps, workload.inputs
        config = hls4ml.utils.config_from_pytorch_model(
            module,
            shape,
            granularity="name",
            default_precision="ap_fixed<16,6>",
            backend="Vitis",
            channels_last_conversion="off",
        )
        whole = 1 - round(math.log2(workload.hidden) / 2)  # PyTorch starts within 1 / sqrt(hidden)
        for name in ("weight", "recurrent_weight"):
            config["LayerName"]["lstm"]["Precision"][name] = f"ap_fixed<4,{whole},AP_RND,AP_SAT>"
        folder = tempfile.TemporaryDirectory()  # goes with run, which reads the weights from it
        model = hls4ml.converters.convert_from_pytorch_model(
            module,
            hls_config=config,
            output_dir=folder.name,
            backend="Vitis",
            io_type="io_parallel",
        )
        model.compile()

        def run(x: Any, folder: Any = folder) -> object:
            return model.predict(np.ascontiguousarray(x.transpose(0, 1).numpy()))

        return run

    yield Case("C++ emulation, 4-bit weights", build, converters=False, by_steps=False)


# What runs in a process of its own: the peer, what its environment adds, its cases.
PROCESSES: dict[str, tuple[str, dict[str, str], Callable[[], Iterator[Case]]]] = {
    "torch": ("torch", {}, torch_cases),
    "aihwkit": ("aihwkit", {}, aihwkit_cases),
    "brevitas": ("brevitas", {}, brevitas_cases),
    "brevitas-jit": ("brevitas", {"BREVITAS_JIT": "1"}, brevitas_cases),
    "hls4ml": ("hls4ml", {}, hls4ml_cases),
}


def clock(run: Run, x: Any) -> tuple[float, float]:
    """Seconds of one call: of the processor, and on the wall.

    On an idle machine the two are the same; on a busy one only the first says what the call costs.
    """
    wall, own = time.perf_counter(), time.process_time()
    run(x)
    return time.process_time() - own, time.perf_counter() - wall


def measure(case: Case, workload: Workload, seed: int, seconds: float) -> dict[str, Any]:
    """The least time of a case, and that of the anchor on the same input, taken in turns.

    Where three batches would take longer than `seconds`, both get fewer steps (or the case alone
    fewer sequences, which the anchor would be slower with).
    """
    import torch

    torch.manual_seed(seed)
    x = torch.rand(workload.steps, workload.batch, workload.inputs) * 2 - 1
    run, anchor = case.build(workload), float_lstm(workload, case.training)

    def part(count: int) -> Any:
        return x[:count] if case.by_steps else x[:, :count]

    whole = workload.steps if case.by_steps else workload.batch
    least = SHORTEST if case.by_steps else 1
    run(part(least))  # what is made on the first call
    each = clock(run, part(least))[1] / least
    count = min(whole, max(least, int(seconds / (3 * each))))
    own_x = part(count)
    anchor_x = own_x if case.by_steps else x
    anchor(anchor_x)
    times: list[tuple[float, float, float]] = []
    end = time.perf_counter() + seconds
    while len(times) < 2 or (time.perf_counter() < end and len(times) < 200):
        times.append((clock(anchor, anchor_x)[0], *clock(run, own_x)))
    scale = whole / count
    floats, own, wall = (min(column) * scale for column in zip(*times, strict=True))
    if not case.by_steps:
        floats /= scale
    return {
        "seconds_per_batch": own,
        "steps_per_second": workload.steps * workload.batch / own,
        "ratio_to_float_lstm": own / floats,
        "float_lstm_seconds_per_batch": floats,
        "wall_seconds_per_batch": wall,
        "measured_part": count / whole,
        "repeats": len(times),
    }


def child(name: str, seed: int, seconds: float, out: Path) -> None:
    """One process: every case of a peer on every workload."""
    peer, _, make_cases = PROCESSES[name]
    results, failed = [], []
    try:
        import torch

        torch.set_num_threads(1)
        cases = list(make_cases())
    except ImportError as error:
        out.write_text(json.dumps({"absent": str(error)}))
        return
    for case in cases:
        for workload in WORKLOADS:
            result = {
                "peer": peer,
                "path": case.path,
                "workload": asdict(workload),
                "mode": case.mode,
                "noise": case.noise,
                "converters": case.converters,
            }
            try:
                # hls4ml reports on standard output
                with contextlib.redirect_stdout(sys.stderr):
                    result |= measure(case, workload, seed, seconds)
            except Exception as error:  # a path that a peer cannot take is a result too
                failed.append({**result, "error": f"{type(error).__name__}: {error}"})
                print(f"{peer}, {case.path}, {workload}: {error}", file=sys.stderr)
                continue
            results.append(result)
            print(row(result), flush=True)
    out.write_text(json.dumps({"results": results, "failed": failed}))


def row(result: dict[str, Any]) -> str:
    """A line of the table."""
    return (
        f"{result['peer']:9}{result['path']:55}{Workload(**result['workload'])!s:21}"
        f"{result['mode']:10}{'noise' if result['noise'] else '-':6}"
        f"{'yes' if result['converters'] else '-':4}{result['seconds_per_batch']:10.4f}"
        f"{result['steps_per_second']:12,.0f}{result['ratio_to_float_lstm']:9.2f}"
    )


def header() -> str:
    """The first line of the table."""
    return (
        f"{'peer':9}{'path':55}{'workload':21}{'mode':10}{'noise':6}{'4/4':4}"
        f"{'s/batch':>10}{'steps/s':>12}{'x float':>9}"
    )


def best(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each peer, workload, mode and noise, the fastest path that has converters."""
    fastest: dict[str, dict[str, Any]] = {}
    for result in results:
        if result["converters"]:
            key = repr([result[name] for name in ("peer", "workload", "mode", "noise")])
            if key not in fastest or (
                result["ratio_to_float_lstm"] < fastest[key]["ratio_to_float_lstm"]
            ):
                fastest[key] = result
    return list(fastest.values())


def versions() -> dict[str, str]:
    """What is installed, of what matters."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def collect(only: str | None, seed: int, seconds: float) -> dict[str, Any]:
    """Runs every process and puts together what they found."""
    report: dict[str, Any] = {
        "versions": versions(),
        "seed": seed,
        "threads": 1,
        "seconds_per_path": seconds,
        "absent": {},
        "failed": [],
        "results": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, (peer, extra, _) in PROCESSES.items():
            if only not in (None, peer):
                continue
            part = Path(folder) / f"{name}.json"
            command = [sys.executable, __file__, "--child", name, "--out", str(part)]
            command += ["--seed", str(seed), "--seconds", str(seconds)]
            # one thread, no GPU
            environment = {**os.environ, **THREADS, **extra, "CUDA_VISIBLE_DEVICES": ""}
            code = subprocess.run(command, env=environment, check=False).returncode
            found = {"absent": f"its process ended with {code}"}
            if part.exists():
                found = json.loads(part.read_text())
            if "absent" in found:
                report["absent"][name] = found["absent"]
            else:
                report["results"] += found["results"]
                report["failed"] += found["failed"]
    report["best"] = best(report["results"])
    return report


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--only", choices=sorted({peer for peer, _, _ in PROCESSES.values()}))
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each path")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", choices=sorted(PROCESSES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.seed, arguments.seconds, arguments.out)
        return 0

    print(f"seed {arguments.seed}, one thread, {versions()}\n\n{header()}", flush=True)
    report = collect(arguments.only, arguments.seed, arguments.seconds)
    print(f"\nFastest with 4-bit DAC and ADC:\n{header()}")
    for result in report["best"]:
        print(row(result))
    for name, reason in report["absent"].items():
        print(f"absent: {name}: {reason}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    beside = arguments.out.with_name(arguments.out.name + ".part")
    beside.write_text(json.dumps(report, indent=1) + "\n")
    beside.replace(arguments.out)
    return 0 if report["results"] else 1


if __name__ == "__main__":
    sys.exit(main())
