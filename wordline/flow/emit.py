"""Emit the files of a design: Verilog, sidecar, image, golden vectors, and the IP package."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gen.ip import package
from gen.ip.options import MACROS
from gen.rtl import image, vectors, verilog
from gen.rtl.generated import Generated
from golden import effects
from golden.description import Description
from golden.errors import WordlineError
from golden.files import DATA
from golden.presets import Recipe
from golden.program import REAL, Program
from hw.macro import digital
from wordline.flow import cache, sequences
from wordline.flow.recipe import alone, on_chip
from wordline.flow.train import torch_threads


@dataclass(frozen=True)
class Emitted:
    """Emitted files.

    folder: Folder of the files.
    seconds: Time it took (s); 0 if all files were up to date, and for `design_only`.
    reused: All files were up to date.
    edited: Files that were edited since, and were kept.
    """

    folder: Path
    seconds: float
    reused: bool
    edited: tuple[str, ...] = ()


SEQUENCES = 400
"""Maximum number of sequences with golden vectors in a package: the first ones of the test set."""

IMAGE, VECTORS, PART = "image.hex", "vectors.npz", "vectors-part.npz"
"""A program; golden vectors of the whole test set; golden vectors of other sequences."""


@alone
def emit(
    recipe: Recipe,
    build_dir: Path = Path("build"),
    *,
    program: Path | None = None,
    design_only: bool = False,
    out: Path | None = None,
    macro: str | None = None,
    period_ns: float | None = None,
    votes: int = 1,
    vote_by: str = "majority",
    data_dir: Path = DATA,
    threads: int = 1,
    force: bool = False,
) -> Emitted:
    """Write a design into a folder: Verilog, sidecar, and image and golden vectors of a program.

    The golden vectors are those of the test set.

    - `program`: A trained program; None: the one in build_dir/NAME.
    - `design_only`: Write no image and no vectors; needs no program.
    - `out`: Output folder; None: build_dir/NAME.
    - `macro`: Also write an IP package into the folder's `package`, with this view of the crossbars
      (`gen.ip.options.MACROS`).
    - `period_ns`: Clock period of the package's constraints (ns); None: that of the package in the
      folder, else 10.
    - `votes`, `vote_by`: Passes over each sequence, and how they vote.
    - `force`: Overwrite files that were edited since they were emitted.

    Raises WordlineError for an unknown view, a missing program, or an edited file.
    """
    build_dir, data_dir = Path(build_dir), Path(data_dir)
    if period_ns is not None and not 0.1 <= period_ns <= 1e6:
        raise WordlineError(f"period_ns = {period_ns} is not from 0.1 to 1e6; give a clock period.")
    if period_ns is not None and macro is None:
        raise WordlineError(
            f"period_ns = {period_ns} has no effect without a package; give `macro` as well."
        )
    if design_only and program is not None:
        raise WordlineError(f"program = {program} has no effect on a design alone; leave it out.")
    if macro is not None and macro not in MACROS:
        raise WordlineError(
            f"Unknown view {macro!r} of the crossbars; choose {' or '.join(MACROS)}."
        )
    description = recipe.description
    if macro == "digital":
        digital.check(description)
        _check_digital(recipe, design_only=design_only)
    folder = Path(out) if out else build_dir / description.name
    if design_only:
        emit_design(description, folder, force=force)
        emitted = Emitted(folder, 0.0, False)
    else:
        trained = program or build_dir / description.name / "program.safetensors"
        ideal = Program.load(trained, description)
        loaded = on_chip(ideal, recipe, votes, vote_by)
        data = sequences.test_set(recipe, data_dir)
        with torch_threads(threads):
            codes = sequences.encode(loaded, data)
            emitted = emit_all(loaded, codes, data.lengths, folder, force=force)
    if macro is not None:
        target = folder / "package"
        if not design_only:  # before anything is written
            Generated(target, force=force).check(package.PROGRAM)
        made = package.write(*(description, macro, target), period_ns=period_ns, force=force)
        if not design_only:
            about = effects.describe(ideal, loaded, recipe.effects)
            package_program(loaded, about, folder / VECTORS, made)
    return emitted


MACRO_EFFECTS = ("read", "adc", "offset", "gain")
"""Effects of the macros: their parameters have them, not the cells."""


def _check_digital(recipe: Recipe, *, design_only: bool) -> None:
    """Raise WordlineError if a recipe has effects that digital arrays lack."""
    lacks = [name for name in recipe.effects.on if name in MACRO_EFFECTS]
    if lacks and not design_only:
        raise WordlineError(
            f"Digital arrays have no errors of macros, but the effects {', '.join(lacks)} are on, "
            f"so the package's own testbench would fail; emit it with --effects none, or choose "
            f"the view model."
        )


def emit_all(
    program: Program,
    x: Tensor,
    lengths: Tensor,
    folder: Path,
    *,
    whole: bool = True,
    keep_edited: bool = False,
    force: bool = False,
) -> Emitted:
    """Write all files of a design and a program, with golden vectors of DAC codes x.

    Files whose cache key is unchanged are kept.

    x: (sequences, steps, inputs).
    lengths: Steps of each sequence.
    whole: x is the whole test set. Otherwise its vectors are written to `PART`, and those of the
        test set stay.
    keep_edited: Keep an edited file of the same design, and list it in the result.
    force: Overwrite edited files.

    Raises WordlineError if it would overwrite an edited file.
    """
    made, began = Generated(folder, force=force), time.monotonic()
    description, vectors_file = program.description, VECTORS if whole else PART
    code = cache.emission(description.cell.kind)
    tensors = {name: cache.tensor_digest(tensor) for name, tensor in program.tensors().items()}
    of = (description.to_toml(), tensors, program.votes, program.vote_by)
    codes = (cache.tensor_digest(x), cache.tensor_digest(lengths))
    keys = {
        **_design_keys(description),
        IMAGE: cache.digest(*of, code),
        vectors_file: cache.digest(*of, *codes, code),
    }
    may_stay = [*verilog.names(description), IMAGE] if keep_edited else []
    stale, edited = _stale(made, description, keys, may_stay)
    if not stale:
        return Emitted(folder, 0.0, True, edited)
    values = None
    if vectors_file in stale:  # first: it may refuse x
        values = vectors.make(program, x, lengths)
    _write_design(made, description, stale)
    if IMAGE in stale:
        with made.writing(IMAGE, keys[IMAGE]) as beside:
            image.write(beside, program)
    if values is not None:
        values |= _made_for(image.last_word(folder / IMAGE))
        with made.writing(vectors_file, keys[vectors_file]) as beside:
            vectors.write(beside, values)
    return Emitted(folder, time.monotonic() - began, False, edited)


def _made_for(checksum: int | None) -> vectors.Vectors:
    """What golden vectors say of the image that they were made for."""
    return {} if checksum is None else {"image": np.array([checksum], np.uint32)}


def emit_design(description: Description, folder: Path, *, force: bool = False) -> None:
    """Write the design alone. Raises WordlineError if it would overwrite an edited file."""
    made = Generated(folder, force=force)
    stale, _ = _stale(made, description, _design_keys(description), [])
    _write_design(made, description, stale)


def _design_keys(description: Description) -> dict[str, str]:
    key = cache.digest(description.to_toml(), cache.emission(description.cell.kind))
    return dict.fromkeys(verilog.names(description), key)


def _stale(
    made: Generated, description: Description, keys: dict[str, str], may_stay: Sequence[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Files to write, with their cache keys, and edited files that stay.

    Raises WordlineError if a file was edited and may not stay.
    """
    current = {name for name, key in keys.items() if made.fresh(name, key)}
    edited = {*made.edited(keys)}
    kept = edited & current & {*may_stay}
    made.check(edited - kept, lambda: verilog.texts(description))
    stale = {name: key for name, key in keys.items() if name not in current - (edited - kept)}
    return stale, tuple(sorted(kept))


def _write_design(made: Generated, description: Description, stale: Mapping[str, str]) -> None:
    """Write the stale files of a design; none of them was edited."""
    names = [name for name in verilog.names(description) if name in stale]
    if names:
        texts = verilog.texts(description)
        for name in names:
            made.write_text(name, texts[name], stale[name])


def package_program(
    program: Program, effects_: dict[str, Any], vectors_file: Path, made: Generated
) -> None:
    """Add a program to a package: image, golden vectors, testbenches, program.json.

    effects_: Result of `golden.effects.describe`.
    vectors_file: Golden vectors of the program; the package gets the first `SEQUENCES`.
    made: The package.

    Raises WordlineError if it would overwrite an edited file.
    """
    golden = vectors.first(vectors.load(vectors_file, program.description), SEQUENCES)
    texts = package.program_texts(program.description, golden)
    checksum = image.words(program)[-1][1]
    about = {
        "name": program.description.name,
        "fingerprint": program.description.fingerprint,
        "checksum": f"{checksum:08x}",
        "votes": program.votes,
        "vote_by": program.vote_by if program.votes > 1 else None,
        "effects": effects_,
        "sequences": len(golden["lengths"]),
        **{name: getattr(program, name).tolist() for name in REAL},
        **{key: value for key, value in program.about.items() if key != "key"},
    }
    texts["program.json"] = json.dumps(about, indent=1) + "\n"
    made.check([*texts, *package.IMAGES, VECTORS], lambda: texts)
    for path, text in texts.items():
        made.write_text(path, text)
    write_images(program, made)
    with made.writing(VECTORS) as beside:
        vectors.write(beside, golden | _made_for(checksum))


def write_images(program: Program, made: Generated) -> None:
    """Write the image of a program into a package, as text and as binary."""
    made.check(package.IMAGES)
    for file, write in zip(package.IMAGES, (image.write, image.write_binary), strict=True):
        with made.writing(file) as beside:
            write(beside, program)
