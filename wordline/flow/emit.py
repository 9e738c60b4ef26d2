"""Files of a design in a folder: Verilog, sidecar, image, golden vectors, and the package."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor

from gen.ip import package
from gen.ip.options import MACROS, PERIOD_NS, Macro
from gen.rtl import image, vectors, verilog
from golden import files
from golden.description import Description
from golden.errors import WordlineError
from golden.files import DATA
from golden.presets import Recipe
from golden.program import Program
from wordline.flow import cache, sequences
from wordline.flow.recipe import on_chip
from wordline.flow.train import torch_threads


@dataclass(frozen=True)
class Emitted:
    """Emitted files. folder: where they are. seconds: what it took, 0 if they were there already.
    reused: whether they were."""

    folder: Path
    seconds: float
    reused: bool


def emit(
    recipe: Recipe,
    build_dir: Path = Path("build"),
    *,
    program: Path | None = None,
    design_only: bool = False,
    out: Path | None = None,
    macro: str | None = None,
    period_ns: float = PERIOD_NS,
    votes: int = 1,
    vote_by: str = "majority",
    data_dir: Path = DATA,
    threads: int = 1,
) -> Emitted:
    """Write a recipe's design into a folder: Verilog, macro stub and sidecar and, of a trained
    program, its image and golden vectors of the test set.

    program: else the one in build_dir/NAME. design_only: without a program. out: the folder, else
    build_dir/NAME. macro: write an IP package too, into the folder's `package`, with this view of
    the crossbars (`gen.ip.options.MACROS`). period_ns: of the package's clock. Raises WordlineError
    for an unknown view, or where there is no program of this design.
    """
    if macro is not None and macro not in MACROS:
        raise WordlineError(
            f"There is no view {macro!r} of the crossbars; give {' or '.join(MACROS)}."
        )
    description = recipe.description
    folder = out or build_dir / description.name
    loaded = None
    if design_only:
        emit_design(description, folder)
        emitted = Emitted(folder, 0.0, False)
    else:
        trained = program or build_dir / description.name / "program.safetensors"
        loaded = on_chip(Program.load(trained, description), recipe, votes, vote_by)
        data = sequences.test_set(recipe, data_dir)
        with torch_threads(threads):
            emitted = emit_all(loaded, sequences.encode(loaded, data), data.lengths, folder)
    if macro is not None:
        emit_package(description, macro, folder / "package", program=loaded, period_ns=period_ns)
    return emitted


def emit_all(program: Program, x: Tensor, lengths: Tensor, folder: Path) -> Emitted:
    """All files of a design, a program and DAC codes x (sequences, steps, inputs) of sequences of
    these lengths. Files that a key says are the same are left alone."""
    stamp = folder / "emitted.sha256"
    tensors = {name: cache.tensor_digest(tensor) for name, tensor in program.tensors().items()}
    key = cache.digest(
        *(program.description.to_toml(), tensors, program.votes, program.vote_by),
        *(cache.tensor_digest(x), cache.tensor_digest(lengths)),
        cache.emission(program.description.cell.kind),
    )
    ends = (".json", ".v", ".vlt", "_crossbar_model.v", "_crossbar_stub.v")
    wanted = [program.description.name + end for end in ends] + ["image.hex", "vectors.npz"]
    if all((folder / file).exists() for file in wanted) and _read(stamp) == key:
        return Emitted(folder, 0.0, True)
    started = time.monotonic()
    made = vectors.make(program, x, lengths)  # before anything is written: it may refuse
    stamp.unlink(missing_ok=True)
    _emit(program.description, folder)
    image.write(folder / "image.hex", program)
    vectors.write(folder / "vectors.npz", made)
    files.write_text(stamp, key)
    return Emitted(folder, time.monotonic() - started, False)


def emit_design(description: Description, folder: Path) -> None:
    """The design alone; what lies in `folder` of an earlier program is emitted anew next time."""
    (folder / "emitted.sha256").unlink(missing_ok=True)
    _emit(description, folder)


def _emit(description: Description, folder: Path) -> None:
    """Emit a design, unless `folder` holds it as it was emitted."""
    stamp = folder / "design.sha256"
    key = cache.digest(description.to_toml(), cache.emission(description.cell.kind))
    if _read(stamp) == key and _whole(folder / f"{description.name}.json"):
        return
    stamp.unlink(missing_ok=True)
    verilog.emit(description, folder)
    files.write_text(stamp, key)


def _whole(sidecar: Path) -> bool:
    """Whether the files that a sidecar names lie beside it, as they were written."""
    try:
        hashes = json.loads(sidecar.read_text())["sha256"]
        return all(
            hashlib.sha256((sidecar.parent / file).read_bytes()).hexdigest() == wanted
            for file, wanted in hashes.items()
        )
    except (OSError, ValueError, KeyError):
        return False


def emit_package(
    description: Description,
    macro: str,
    folder: Path,
    *,
    program: Program | None = None,
    period_ns: float = PERIOD_NS,
) -> Path:
    """The IP package of a design in `folder`, for an ASIC or FPGA flow (docs/integration.md).

    macro: the view of the crossbars, one of `gen.ip.options.MACROS`. program: its image goes into
    the package. period_ns: of the clock. Returns the folder.
    """
    package.write(description, cast(Macro, macro), folder, period_ns=period_ns)
    if program is not None:
        write_images(program, folder)
    return folder


def write_images(program: Program, folder: Path) -> None:
    """The image of a program in a package, as text and as bytes."""
    for file, write in zip(package.IMAGES, (image.write, image.write_binary), strict=True):
        write(folder / file, program)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
