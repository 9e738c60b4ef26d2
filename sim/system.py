"""A design behind AXI: write its package, build it, and run sim/bench_system.py on it."""

import subprocess
from pathlib import Path
from typing import Any

from torch import Tensor

from gen import image, package, vectors
from golden.description import Description
from golden.program import Program
from hw.axi import StreamIn
from sim import blocks, chip

DRIVER_BUS = Path(__file__).with_name("driver_bus.c")


def simulate(
    program: Program, x: Tensor, lengths: Tensor, folder: Path, *, seed: int = 0
) -> dict[str, Any]:
    """Build the package of a program's design in `folder`, load it and run DAC codes x (sequences,
    steps, inputs) through it; the last beats of some sequences are replaced by 0, to be cut off.

    Returns `passed` and `values_compared`; the bench's words are in sim.log. Raises WordlineError
    where the design cannot be built.
    """
    description = program.description
    package.write(description, "model", folder)
    image.write(folder / "image.hex", program)
    x, cut = _cut(description, x, lengths)
    vectors.write(folder / "vectors.npz", vectors.make(program, x, lengths))
    sidecar = folder / f"{description.name}.json"
    named = {"sidecar": sidecar, "image": folder / "image.hex", "vectors": folder / "vectors.npz"}
    files = {name: str(path.absolute()) for name, path in named.items()}
    job = files | {
        "driver": str(compile_driver(folder).absolute()),
        "beat": StreamIn(description).beat,
        "cut": cut,
        "dac_range": [*description.dac.range],
    }
    sources = [folder / f"{description.name}.vlt", *package.sources(folder)]
    top = package.axi_module(description)
    work = folder / "verilator"
    built = chip.build(sources, top, work, runner=blocks.QuickVerilator())
    return chip.run(built, module="sim.bench_system", top=top, folder=work, job=job, seed=seed)


def _cut(description: Description, x: Tensor, lengths: Tensor) -> tuple[Tensor, list[int]]:
    """Of every other sequence the last beats of its last step at 0, and how many those are."""
    block, x, cut = StreamIn(description), x.clone(), [0] * len(lengths)
    for n in range(0, len(lengths), 2):
        cut[n] = 1 + n // 2 % (block.beats - 1) if block.beats > 1 else 0
        x[n, lengths[n] - 1, (block.beats - cut[n]) * block.beat :] = 0
    return x, cut


def compile_driver(folder: Path) -> Path:
    """The package's driver as a shared library, on a bus of functions."""
    library = folder / "driver.so"
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    includes = [f"-I{folder / name}" for name in ("driver", "registers")]
    command = ["gcc", *flags, *includes, "-o", str(library), str(DRIVER_BUS)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return library
