"""A trained network from elsewhere, quantised for a design and kept as a program."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from golden import files, presets
from golden.datasets import Sequences
from golden.errors import WordlineError
from golden.frontends import convert, pytorch
from golden.frontends.convert import Conversion
from golden.presets import Recipe
from golden.program import Program
from golden.training import evaluate, quantised
from golden.validation import plain, replaced
from wordline.flow import cache, npz
from wordline.flow.sequences import labelled, read_sequences
from wordline.flow.train import Progress, torch_threads

SEQUENCES = "sequences.npz"
"""The file of the sequences that an imported network is simulated on: those of `test`, else the
calibration's, without labels."""


@dataclasses.dataclass(frozen=True)
class Imported:
    """A network from elsewhere as a program, before and after fine-tuning (None: there was none),
    and what each stage is worth on held-out sequences (`golden.measures`), where there are some."""

    recipe: Recipe
    conversion: Conversion
    tuned: Program | None
    measures: dict[str, dict[str, float]]
    folder: Path

    @property
    def program(self) -> Program:
        """The last one."""
        return self.tuned or self.conversion.program


def import_model(
    model: Path,
    calibration: Path,
    *,
    design: str | None = None,
    name: str | None = None,
    fine_tune: bool = False,
    epochs: int | None = None,
    test: Path | None = None,
    order: Sequence[str] | None = None,
    force: bool = False,
    seed: int | None = None,
    device: str = "cpu",
    threads: int = 1,
    build_dir: Path = Path("build"),
    progress: Progress = lambda *_: None,
) -> Imported:
    """Quantise a model's file for a design, by calibration sequences; train on if `fine_tune`.

    Writes NAME.toml, program.safetensors, import.json and `SEQUENCES` into build_dir/NAME. The
    recipe in NAME.toml can be simulated, emitted, synthesised and costed as a trained one.

    model: ONNX, or a state_dict (docs/import.md). calibration, test: .npz files of sequences.
    order: names of a state_dict's parts, from the input on, where their sizes do not tell it.
    design: a preset or a TOML file, whose network, cell and name are replaced; else vowels' with no
    effects. name: of the new design; else the file's. epochs, seed: of fine-tuning, in the place of
    the design's. force: replace what is in the folder of another model, or was edited. Raises
    WordlineError for a model that cannot be taken, or a mistake in a file.
    """
    recipe = presets.load(design) if design else Recipe(presets.PRESETS["vowels"].description)
    name = name or _name(model)
    recipe = dataclasses.replace(recipe, description=recipe.description.replace(name=name))
    changes = {k: v for k, v in (("seed", seed), ("epochs", epochs)) if v is not None}
    recipe = dataclasses.replace(recipe, training=replaced(recipe.training, **changes))
    with torch_threads(threads):
        return _import(
            *(model, recipe, calibration, build_dir / name),
            fine_tune=fine_tune,
            test=test,
            order=order,
            force=force,
            device=device,
            progress=progress,
        )


def _name(model: Path) -> str:
    """A design's name of a file's: epoch-10 of Epoch 10.pt."""
    own = re.sub(r"[^a-z0-9_-]+", "-", model.stem.lower())
    return own.lstrip("-_0123456789")[:40].rstrip("-_") or "model"


def _import(
    model: Path,
    recipe: Recipe,
    calibration: Path,
    folder: Path,
    *,
    fine_tune: bool,
    test: Path | None,
    order: Sequence[str] | None,
    force: bool,
    device: str,
    progress: Progress,
) -> Imported:
    own = pytorch.read(model, order, npz.channels(calibration))
    digest = own.digest()
    if not force:
        _check_folder(folder, digest)
    recipe = dataclasses.replace(recipe, description=own.fit(recipe.description))
    description = recipe.description
    data = read_sequences(calibration, description)
    held = None
    if test is not None:
        held = labelled(read_sequences(test, description), test, description)
    if fine_tune:
        labelled(data, calibration, description)
    conversion = convert.convert(own, description, data, recipe.levels)
    tuned = None
    if fine_tune:
        torch.manual_seed(recipe.training.seed)
        tuned = quantised.fit_quantised(
            *(conversion.model, description, recipe.training, data),
            lambda what, done, total, _: progress(f"train, {what}", done, total),
            *(device, recipe.effects, recipe.levels),
        )
    found: dict[str, dict[str, float]] = {}
    if held is not None:
        found["float"] = evaluate.worth(conversion.model.scores(held), held)
        found["converted"] = evaluate.measured(conversion.program, held)
        if tuned is not None:
            found["fine-tuned"] = evaluate.measured(tuned, held)
    for values in found.values():
        values |= {name: round(value, 4) for name, value in values.items()}
    shown = data if held is None else held
    recipe = _with_sequences(recipe, SEQUENCES)
    imported = Imported(
        _with_sequences(recipe, str(folder / SEQUENCES)), conversion, tuned, found, folder
    )
    given = {"model": model, "calibration": calibration} | ({"test": test} if test else {})
    toml = recipe.to_toml()
    about = {
        "imported": {k: hashlib.sha256(p.read_bytes()).hexdigest() for k, p in given.items()},
        "fine_tuned": fine_tune,
        "dataset": (test or calibration).name,
        "training": plain(recipe.training) if fine_tune else None,
        "versions": cache.versions(),
    }
    report = about | {
        "name": description.name,
        "network": digest,
        "toml": hashlib.sha256(toml.encode()).hexdigest(),
        "measures": imported.measures,
        "chain": conversion.chain,
        "compared": dataclasses.asdict(conversion.compared),
        "notes": conversion.notes,
        "arrays": [dataclasses.asdict(array) for array in conversion.arrays],
    }
    worth = {"float": "float", "golden": "fine-tuned" if fine_tune else "converted"}
    about |= {
        f"{name}_{measure}": value
        for name, stage in worth.items()
        for measure, value in found.get(stage, {}).items()
    }
    _write_sequences(folder / SEQUENCES, shown, held is not None)
    files.write_text(folder / f"{description.name}.toml", toml)
    files.write_text(folder / "import.json", json.dumps(report, indent=1) + "\n")
    dataclasses.replace(imported.program, about=about).save(folder / "program.safetensors")
    return imported


def _with_sequences(recipe: Recipe, path: str) -> Recipe:
    return dataclasses.replace(recipe, training=replaced(recipe.training, dataset=path))


def _write_sequences(path: Path, data: Sequences, labels: bool) -> None:
    """The sequences that a chip of this network is simulated on. Labels are those of held-out
    sequences alone: others would measure on what the network was trained or calibrated on."""
    arrays = {"x": data.x.numpy(), "lengths": data.lengths.numpy()}
    arrays |= {"labels": data.labels.numpy()} if labels else {}
    with files.atomic(path) as beside, beside.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _check_folder(folder: Path, digest: str) -> None:
    """Raise WordlineError where writing there would lose another network, or what was edited."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    instead = "give the design another name with --name, or replace it with --force"
    toml = folder / f"{folder.name}.toml"
    try:
        before = json.loads((folder / "import.json").read_text())
        network, written = before.get("network"), before.get("toml")
        same = not toml.exists() or hashlib.sha256(toml.read_bytes()).hexdigest() == written
    except (OSError, ValueError, AttributeError):
        raise WordlineError(f"{folder} holds another design; {instead}.") from None
    if network != digest:
        raise WordlineError(f"{folder} holds another network that was imported; {instead}.")
    if not same:
        raise WordlineError(f"{toml} was changed since it was written; {instead}.")
