"""The stages of the main job in build/<name>/: train, emit, simulate, summarise.

A stage is skipped where its key, a hash of everything it depends on, is the one of the files
that lie there.
"""

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen.rtl import image, vectors, verilog
from golden import dac, datasets, files, head, network, training
from golden.datasets import Sequences
from golden.datasets.sets import DATA
from golden.description import Description, plain
from golden.errors import WordlineError
from golden.frontends import convert as golden_conversion
from golden.frontends import pytorch
from golden.frontends.convert import Conversion
from golden.measures import measures, percent
from golden.presets import Recipe
from golden.program import Program
from golden.training import Progress
from wordline.flow import cache


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage gave and how long it took; 0 seconds if it was reused."""

    program: Program
    seconds: float
    reused: bool


def train(
    recipe: Recipe,
    folder: Path,
    *,
    device: str = "cpu",
    data_dir: Path = DATA,
    progress: Progress | None = None,
) -> Stage:
    """The trained program of a recipe, from `folder` if it is there and nothing changed."""
    path = folder / "program.safetensors"
    # Effects matter to training where it is told to use them.
    used = plain(recipe.effects) if recipe.training.noise == "hardware" else None
    levels = plain(recipe.levels) if recipe.description.device.levels == "trained" else None
    fingerprint = datasets.fingerprint(recipe.training.dataset, data_dir)
    key = cache.digest(
        *(recipe.description.to_toml(), plain(recipe.training), used, levels, fingerprint),
        *(cache.training(recipe.training.dataset, recipe.description.cell.kind), device),
    )
    if path.exists():
        try:
            program = Program.load(path, recipe.description)
            if program.about.get("key") == key:
                return Stage(program, 0.0, True)
        except WordlineError:
            pass  # of another description, or damaged: train again
    started = time.monotonic()
    data = datasets.load(recipe.training.dataset, data_dir)
    result = training.train(
        *(recipe.description, recipe.training, data, progress, device),
        *(recipe.effects, recipe.levels),
    )
    about = {
        "dataset": data.name,
        "training": plain(recipe.training),
        **{f"float_{name}": round(value, 4) for name, value in result.reference.items()},
        **{f"golden_{name}": round(value, 4) for name, value in result.golden.items()},
        "versions": cache.versions(),
        "key": key,
    }
    program = dataclasses.replace(result.program, about=about)
    program.save(path)
    return Stage(program, time.monotonic() - started, False)


@dataclasses.dataclass(frozen=True)
class Imported:
    """A network from elsewhere as a program, before and after fine-tuning (None: there was none),
    and what each stage is worth on held-out sequences (`golden.measures`), where there are some."""

    recipe: Recipe
    conversion: Conversion
    tuned: Program | None
    measures: dict[str, dict[str, float]]

    @property
    def program(self) -> Program:
        """The last one."""
        return self.tuned or self.conversion.program


def import_(
    model: Path,
    recipe: Recipe,
    calibration: Path,
    folder: Path,
    *,
    fine_tune: bool = False,
    test: Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Imported:
    """Quantise a model's file for a recipe's design, by calibration sequences; train on if
    `fine_tune`. Writes NAME.toml, program.safetensors and import.json into `folder`."""
    own = pytorch.read(model)
    recipe = dataclasses.replace(recipe, description=own.fit(recipe.description))
    description = recipe.description
    data = read_sequences(calibration, description)
    held = None
    if test is not None:
        held = _labelled(read_sequences(test, description), test, description)
    if fine_tune:
        _labelled(data, calibration, description)
    conversion = golden_conversion.convert(own, description, data, recipe.levels)
    tuned = None
    if fine_tune:
        torch.manual_seed(recipe.training.seed)
        tuned = training.fit_quantised(
            *(conversion.model, description, recipe.training, data),
            *(progress or (lambda *_: None), device, recipe.effects, recipe.levels),
        )
    found: dict[str, dict[str, float]] = {}
    if held is not None:
        found["float"] = training.worth(conversion.model.scores(held), held)
        found["converted"] = training.measured(conversion.program, held)
        if tuned is not None:
            found["fine-tuned"] = training.measured(tuned, held)
    for values in found.values():
        values |= {name: round(value, 4) for name, value in values.items()}
    imported = Imported(recipe, conversion, tuned, found)
    given = {"model": model, "calibration": calibration} | ({"test": test} if test else {})
    about = {
        "imported": {k: hashlib.sha256(p.read_bytes()).hexdigest() for k, p in given.items()},
        "fine_tuned": fine_tune,
        "training": plain(recipe.training) if fine_tune else None,
        "versions": cache.versions(),
    }
    report = about | {
        "name": description.name,
        "measures": imported.measures,
        "arrays": [dataclasses.asdict(array) for array in conversion.arrays],
    }
    files.write_text(folder / f"{description.name}.toml", recipe.to_toml())
    files.write_text(folder / "import.json", json.dumps(report, indent=1) + "\n")
    dataclasses.replace(imported.program, about=about).save(folder / "program.safetensors")
    return imported


def _labelled(data: Sequences, path: Path, description: Description) -> Sequences:
    """The sequences, once each is found to have a class of the network, or real labels."""
    classes = description.network.classes
    labels = data.labelled(data.labels)
    low, high = int(labels.min()), int(labels.max())
    if not data.real and (low < 0 or high >= classes):
        has = "no `labels`" if high < 0 else f"labels {low}..{high}"
        what = "step" if data.every_step else "sequence"
        wanted = f"{description.outputs} real ones" if not classes else f"one of 0..{classes - 1}"
        raise WordlineError(f"{path} has {has}; give {wanted} a {what}.")
    return data


def emit_all(program: Program, x: Tensor, lengths: Tensor, folder: Path) -> tuple[float, bool]:
    """Everything emitted for a program and input codes; seconds, and whether it was reused."""
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
        return 0.0, True
    started = time.monotonic()
    made = vectors.make(program, x, lengths)  # before anything is written: it may refuse
    stamp.unlink(missing_ok=True)
    _emit(program.description, folder)
    image.write(folder / "image.hex", program)
    vectors.write(folder / "vectors.npz", made)
    files.write_text(stamp, key)
    return time.monotonic() - started, False


def emit_design(description: Description, folder: Path) -> None:
    """The design alone; what lies in `folder` of an earlier program is emitted anew next time."""
    (folder / "emitted.sha256").unlink(missing_ok=True)
    _emit(description, folder)


def _emit(description: Description, folder: Path) -> None:
    """Emit a design, unless `folder` holds it as it was emitted."""
    stamp = folder / "design.sha256"
    key = digest(description.to_toml(), sources())
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


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_set(recipe: Recipe, data_dir: Path) -> Sequences:
    """The test set of a recipe; WordlineError where its labels are of other steps than the
    output."""
    data = datasets.load(recipe.training.dataset, data_dir)
    training.check_data(recipe.description, data)
    return data.test


def encode(program: Program, data: Sequences) -> Tensor:
    """DAC codes of a program's real inputs; padding is 0, or the code of 0."""
    codes = dac.encode(data.x, program.input_mean, program.input_step, program.description.dac)
    return torch.where(data.valid[..., None], codes, program.description.dac.zero)


def read_input(path: Path, program: Program) -> tuple[Tensor, Tensor, Tensor | None]:
    """A user's sequences from an .npz file: codes, lengths, and labels if it has them.

    x: real, or codes: DAC codes; (sequences, steps, inputs). lengths, labels: (sequences,),
    optional; labels are (sequences, steps) where the output is of every step, and have one more
    axis where they are real: what each score, or each value of a state, is to be. Raises
    WordlineError where it is not so.
    """
    kind, data = _read_npz(path, program.description)
    codes = encode(program, data) if kind == "x" else data.x.long()
    network.check(program, codes, data.lengths)
    if not data.labels.numel():
        return codes, data.lengths, None
    return codes, data.lengths, _labelled(data, path, program.description).labels


def read_sequences(path: Path, description: Description) -> Sequences:
    """As `read_input`, of real inputs: Sequences, with labels of -1 where there are none; symbols,
    if x is uint8. Raises WordlineError where it is not so."""
    kind, data = _read_npz(path, description)
    if kind != "x":
        raise WordlineError(
            f"{path} has `codes`; give real inputs, `x`: their range is to be found."
        )
    x = data.x if data.x.dtype == torch.uint8 else data.x.float()
    every_step = description.output.every_step
    size = x.shape[:2] if every_step else x.shape[:1]
    labels = data.labels if data.labels.numel() else torch.full(size, -1)
    lengths = data.lengths
    if int(lengths.min()) < 1 or int(lengths.max()) > x.shape[1]:
        raise WordlineError(f"{path}: `lengths` must be from 1 to {x.shape[1]}, the steps of `x`.")
    return Sequences(x, lengths, labels)


def _read_npz(path: Path, description: Description) -> tuple[str, Sequences]:
    """Which of `x` and `codes` a file has, and what is in it; no labels: an empty tensor."""
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise WordlineError(f"{path} cannot be read ({error.strerror or 'not an .npz'}).") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise WordlineError(f"{path} is not an .npz of plain arrays ({error}).") from None
    if ("x" in arrays) == ("codes" in arrays):
        raise WordlineError(f"{path} must hold either `x` (real) or `codes`; it holds {[*arrays]}.")
    inputs, every_step = description.network.inputs, description.output.every_step
    kind = "x" if "x" in arrays else "codes"
    raw = arrays[kind]
    if raw.ndim != 3 or raw.shape[2] != inputs or 0 in raw.shape:
        raise WordlineError(
            f"{path}: the input has shape {raw.shape}; give (sequences, steps, {inputs}), none of "
            f"them empty."
        )
    if not np.isfinite(raw).all():
        raise WordlineError(f"{path}: the input holds a number that is not finite.")
    if kind == "codes" and not np.issubdtype(raw.dtype, np.integer):
        raise WordlineError(f"{path}: `codes` are {raw.dtype}; give integers, or call them `x`.")
    labels = arrays.get("labels", np.empty(0, np.int64))
    real = labels.dtype in (np.float16, np.float32, np.float64)
    if not real and labels.dtype.kind not in "iub":
        raise WordlineError(f"{path}: `labels` are {labels.dtype}; give integers or real numbers.")
    if real and description.output.of == "class":
        raise WordlineError(
            f"{path}: `labels` are {labels.dtype}, but what comes out is a class; give integers, "
            f"or write output.of = 'scores' for a regressor."
        )
    sizes = {"lengths": raw.shape[:1]}
    sizes["labels"] = (*raw.shape[: 1 + every_step], *([description.outputs] if real else []))
    for name, size in sizes.items():
        if name in arrays and arrays[name].shape != size:
            one = f"{size[0]} numbers, one a sequence" if len(size) == 1 else f"of shape {size}"
            other = (*raw.shape[: 1 + every_step], description.outputs)
            if name == "labels" and arrays[name].shape == other:
                one += f", or, of shape {other}, real numbers"
            raise WordlineError(f"{path}: `{name}` must be {one}.")
    if real and not np.isfinite(labels).all():
        raise WordlineError(f"{path}: `labels` hold a number that is not finite.")
    lengths = torch.from_numpy(arrays.get("lengths", np.full(len(raw), raw.shape[1]))).long()
    truth = torch.from_numpy(labels)
    truth = truth.float() if real else truth.long()
    return kind, Sequences(torch.from_numpy(raw), lengths, truth)


def of_stage(about: dict[str, Any], stage: str) -> dict[str, float]:
    """What training measured of "float" or "golden", by name."""
    start = f"{stage}_"
    return {key.removeprefix(start): v for key, v in about.items() if key.startswith(start)}


def _measures(program: Program, output: np.ndarray, labels: Tensor | None) -> dict[str, float]:
    """What came out of a chip is worth, with labels."""
    if labels is None:
        return {}
    found, description = torch.from_numpy(np.asarray(output)), program.description
    if description.output.of == "class":
        values = {"accuracy": percent(found, labels)}
    else:
        label = None if labels.is_floating_point() else head.label(found)
        every_step = description.output.every_step
        values = measures(program.real(found), labels, label, every_step=every_step)
    return {name: round(value, 4) for name, value in values.items()}


def summarise(
    program: Program,
    effects: dict[str, Any],
    result: dict[str, Any],
    labels: Tensor | None,
    seconds: dict[str, float],
    seed: int,
) -> dict[str, Any]:
    """The main job's summary.json; effects: what `golden.effects.describe` says. labels: of
    sequences, or of all their steps, one after the other.

    Measures (`golden.measures`) are of the float network and of an ideal chip in one pass, both on
    the recipe's test set, and of golden and the RTL on these sequences.
    """
    about, description = program.about, program.description
    found = {
        "float": of_stage(about, "float"),
        "ideal": of_stage(about, "golden"),
        "golden": _measures(program, result["golden_output"], labels),
        "rtl": _measures(program, result["output"], labels),
    }
    names = list(found["rtl"] or found["float"])
    return {
        "name": description.name,
        "fingerprint": description.fingerprint,
        "dataset": about.get("dataset"),
        **{f"{stage}_{name}": found[stage].get(name) for name in names for stage in found},
        "votes": program.votes,
        "vote_by": program.vote_by if program.votes > 1 else None,
        "effects": effects,
        "runner": result["runner"],
        **{key: result[key] for key in ("sequences", "passes", "timesteps")},
        **{key: result[key] for key in ("values_compared", "mismatches")},
        "first_difference": result["first_difference"],
        "compared": result["by_quantity"],
        "cycles": result["cycles"],
        "cycles_per_step": result["cycles_per_step"],
        "adc_cycles_per_step": max(shape.conversion_cycles for shape in description.layers),
        "seconds": {stage: round(value, 2) for stage, value in seconds.items()},
        "seed": seed,
        "training": about.get("training"),
        "versions": cache.versions(),
    }
