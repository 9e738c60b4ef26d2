"""Import of a trained network: quantise it for a design and save it as a program."""

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from golden import files, npz, presets
from golden.datasets import Sequences
from golden.errors import WordlineError
from golden.frontends import convert, pytorch
from golden.frontends.convert import Conversion
from golden.presets import Recipe
from golden.program import Program
from golden.training import evaluate, quantised
from golden.validation import plain, replaced
from wordline.flow import cache
from wordline.flow.sequences import labelled, read_sequences
from wordline.flow.train import Progress, torch_threads

SEQUENCES = "sequences.npz"
"""File of the sequences on which an imported network is simulated.

They are those of `test`, or else those of `calibration` without labels.
"""


@dataclasses.dataclass(frozen=True)
class Imported:
    """An imported network.

    recipe: Recipe of the network and its sequences.
    conversion: Quantised network before fine-tuning.
    tuned: Program after fine-tuning; None: not fine-tuned.
    measures: Measures (`golden.measures`) on held-out sequences by stage: "float", "converted",
        "fine-tuned". Empty without held-out sequences.
    folder: Folder of the files.
    """

    recipe: Recipe
    conversion: Conversion
    tuned: Program | None
    measures: dict[str, dict[str, float]]
    folder: Path

    @property
    def program(self) -> Program:
        """The final program."""
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
    command: str | None = None,
    progress: Progress = lambda *_: None,
) -> Imported:
    """Quantise a model's file for a design with calibration sequences; fine-tune it on request.

    Writes NAME.toml, program.safetensors, import.json and sequences.npz into build_dir/NAME. The
    recipe in NAME.toml can be simulated, emitted, synthesised and costed like a trained one.

    - `model`: ONNX, or a state_dict (docs/import.md).
    - `calibration`: .npz file of typical sequences, with labels for fine-tuning.
    - `design`: A preset or a TOML file, whose network, cell and name are replaced; None: the preset
      vowels without effects.
    - `name`: Name of the design; None: the file's.
    - `fine_tune`: Train the quantised network.
    - `epochs`, `seed`: Of fine-tuning; None: those of the design.
    - `test`: .npz file of held-out sequences with labels, to measure on.
    - `order`: Names of a state_dict's parts from the input on, if their sizes do not determine it.
    - `force`: Replace another network, or an edited TOML file, in the folder.
    - `command`: The command that runs this, for the record.

    Raises WordlineError for a model that cannot be mapped, or an invalid file.
    """
    if epochs is not None and not fine_tune:
        raise WordlineError(f"epochs = {epochs} has no effect without fine-tuning; leave it out.")
    if isinstance(order, str):
        raise WordlineError(f"order = {order!r} is text; give a list of names, [{order!r}].")
    model, calibration, build_dir = Path(model), Path(calibration), Path(build_dir)
    recipe = presets.load(str(design)) if design else Recipe(presets.PRESETS["vowels"].description)
    name = name or _name(model)
    recipe = dataclasses.replace(recipe, description=recipe.description.replace(name=name))
    changes = {k: v for k, v in (("seed", seed), ("epochs", epochs)) if v is not None}
    recipe = dataclasses.replace(recipe, training=replaced(recipe.training, **changes))
    folder = build_dir / name
    files.check_folder(folder)
    with torch_threads(threads), files.locked(folder):
        return _import(
            *(model, recipe, calibration, folder),
            fine_tune=fine_tune,
            test=test,
            order=order,
            force=force,
            device=device,
            command=command,
            progress=progress,
        )


def _name(model: Path) -> str:
    """Name of a design from the name of a file: epoch-10 for Epoch 10.pt."""
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
    command: str | None,
    progress: Progress,
) -> Imported:
    if fine_tune:
        evaluate.check_device(device)
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
        "command": command,
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
    program = dataclasses.replace(imported.program, about=about)
    with contextlib.ExitStack() as all_or_none:

        def beside(file: str) -> Path:
            return all_or_none.enter_context(files.atomic(folder / file))

        _write_sequences(beside(SEQUENCES), shown, held is not None)
        beside(f"{description.name}.toml").write_text(toml, encoding="utf-8")
        beside("import.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        program.save(folder / "program.safetensors")
    return imported


def _with_sequences(recipe: Recipe, path: str) -> Recipe:
    return dataclasses.replace(recipe, training=replaced(recipe.training, dataset=path))


def _write_sequences(path: Path, data: Sequences, labels: bool) -> None:
    """Write the sequences on which a chip of this network is simulated.

    labels: Write labels. Only held-out sequences get them: the network was calibrated or trained on
        the others.
    """
    arrays = {"x": data.x.numpy(), "lengths": data.lengths.numpy()}
    arrays |= {"labels": data.labels.numpy()} if labels else {}
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _check_folder(folder: Path, digest: str) -> None:
    """Raise WordlineError if writing would replace another network or an edited file."""
    if not folder.is_dir() or all(path.suffix == files.PART for path in folder.iterdir()):
        return  # nothing, or what was left of an import that was killed
    instead = "give the design another name with --name, or replace it with --force"
    toml = folder / f"{folder.name}.toml"
    try:
        before = files.read_json(folder / "import.json", instead)
        network, written = before.get("network"), before.get("toml")
        same = not toml.exists() or hashlib.sha256(toml.read_bytes()).hexdigest() == written
    except (OSError, WordlineError):
        raise WordlineError(f"{folder} holds another design; {instead}.") from None
    if network != digest:
        raise WordlineError(f"{folder} holds another network that was imported; {instead}.")
    if not same:
        raise WordlineError(f"{toml} was changed since it was written; {instead}.")
