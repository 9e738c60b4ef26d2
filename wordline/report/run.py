"""What a folder holds of a run: the record, and the values that its report shows.

A report is made from files alone. A file that is not the one of the run is left out, and the report
says so.
"""

import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gen.rtl import image, unload, vectors
from gen.rtl.unload import Loaded
from golden import files
from golden.description import Description
from golden.errors import WordlineError
from wordline.flow.record import CHECK, DIFFERENCE, OUTPUTS, SYNTHESIS

Fields = dict[str, Any]

HASHED = 1 << 28
"""Largest file whose hash is compared with that of the run, in bytes."""

IMAGE_BYTES = 1 << 22
"""Largest image whose cells are shown, in bytes."""


@dataclass(frozen=True)
class Run:
    """A folder of a design, or of a check.

    summary: Content of summary.json or check.json; None: nothing was compared.
    sidecar: The sidecar of the design; None: the design was not emitted.
    description: The design.
    vectors: Golden vectors; empty without them. Arrays are read when they are used.
    outputs: Arrays of outputs.npz; empty without it.
    difference: What the RTL computed around the first difference; None without one.
    loaded: Numbers of the arrays in the image; empty without it.
    imported, ppa, model: Content of import.json, ppa/ppa.json and ppa/model.json.
    synthesised: Content of synth-TARGET/synth.json by target.
    left_out: What is not shown, and why.
    """

    folder: Path
    summary: Fields | None
    sidecar: Fields | None
    description: Description | None
    vectors: vectors.Vectors
    outputs: dict[str, np.ndarray]
    difference: Fields | None
    loaded: dict[str, Loaded]
    imported: Fields | None = None
    ppa: Fields | None = None
    model: Fields | None = None
    synthesised: dict[str, Fields] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the design."""
        for found in (self.summary, self.imported, self.ppa, self.model):
            if found is not None:
                return str(found["name"])
        return self.folder.name

    @property
    def checked(self) -> bool:
        """Whether this is a check of given RTL."""
        return self.summary is not None and "given" in self.summary

    @property
    def passed(self) -> bool:
        """Whether every compared value is equal and the run finished."""
        assert self.summary is not None
        return bool(self.summary["passed"]) and not self.summary["mismatches"]

    @cached_property
    def votes(self) -> int:
        """Passes over each sequence."""
        return len(self.vectors["layers.0.h"]) // len(self.vectors["lengths"])

    def row(self, sequence: int, pass_: int = 0) -> int:
        """Row of a pass in the vectors."""
        return sequence * self.votes + pass_


def read(folder: Path) -> Run:
    """Read a folder. Raises WordlineError if it has nothing to report, or a damaged file."""
    for file in ("summary.json", CHECK):
        if (folder / file).is_file():
            return _design(folder, _json(folder / file))
    return _design(folder, None)


def _design(folder: Path, summary: Fields | None) -> Run:
    checked = summary is not None and "given" in summary
    left_out: list[str] = []
    sidecar = description = None
    given = summary["given"] if summary is not None and checked else {}
    name = folder.name if summary is None else summary["name"]
    path = folder / given.get("sidecar", f"{name}.json")
    if path.is_file():
        sidecar = _json(path)
        description = Description.from_dict(dict(sidecar["description"]), source=str(path))
    if summary and sidecar and sidecar["fingerprint"] != summary["fingerprint"]:
        left_out.append(f"{path.name} is of another description: the values are not shown.")
        sidecar = description = None
    found = Run(
        *(folder, summary, sidecar, description),
        vectors=_vectors(folder, summary, left_out) if description else {},
        outputs=_outputs(folder),
        difference=_optional(folder / DIFFERENCE),
        loaded=_loaded(folder, summary, description, left_out),
        imported=_optional(folder / "import.json"),
        ppa=_optional(folder / "ppa" / "ppa.json"),
        model=_optional(folder / "ppa" / "model.json"),
        synthesised={
            path.parent.name.removeprefix("synth-"): _json(path)
            for path in sorted(folder.glob(f"synth-*/{SYNTHESIS}"))
        },
        left_out=tuple(left_out),
    )
    parts = (found.imported, found.ppa, found.model)
    if summary is None and not found.synthesised and not any(parts):
        raise WordlineError(
            f"{folder} holds no result to report; give the folder of a run: of sim, import, check, "
            f"synth, ppa or study."
        )
    return found


def _json(path: Path) -> Fields:
    return files.read_json(path, "run the command again")


def _optional(path: Path) -> Fields | None:
    return _json(path) if path.is_file() else None


def _outputs(folder: Path) -> dict[str, np.ndarray]:
    path = folder / OUTPUTS
    if not path.is_file():
        return {}
    with np.load(path) as found:
        return dict(found)


def _file(folder: Path, summary: Fields, ends: tuple[str, ...]) -> tuple[Path, str] | None:
    """Path and hash of the run's file with one of these names."""
    for name, digest in summary["files"].items():
        if Path(name).name in ends:
            return folder / name, digest
    return None


def _same(path: Path, digest: str, left_out: list[str], what: str) -> bool:
    """Whether a file is the one of the run; otherwise say what is left out."""
    if not path.is_file():
        left_out.append(f"{path.name} is not there any more: {what} not shown.")
    elif path.stat().st_size > HASHED:
        left_out.append(f"{path.name} is too large to be hashed: it is taken as that of the run.")
        return True
    elif files.sha256(path) != digest:
        left_out.append(f"{path.name} has changed since the run: {what} not shown.")
    else:
        return True
    return False


def _vectors(folder: Path, summary: Fields | None, left_out: list[str]) -> vectors.Vectors:
    if summary is None:
        return {}
    given = summary.get("given", {}).get("vectors")
    found = (Path(given), summary["files"].get(given, "")) if given else None
    found = found or _file(folder, summary, ("vectors.npz", "vectors-part.npz"))
    if found is None or not _same(found[0], found[1], left_out, "values are"):
        return {}
    try:
        return vectors.mapped(found[0])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        left_out.append(f"{found[0].name} holds no golden vectors: values are not shown.")
        return {}


def _loaded(
    folder: Path, summary: Fields | None, description: Description | None, left_out: list[str]
) -> dict[str, Loaded]:
    if description is None or summary is None:
        return {}
    given = summary.get("given", {}).get("image")
    found = (Path(given), summary["files"].get(given, "")) if given else None
    found = found or _file(folder, summary, ("image.hex",))
    if found is None or not _same(found[0], found[1], left_out, "gains and cells are"):
        return {}
    if found[0].stat().st_size > IMAGE_BYTES:
        left_out.append(f"{found[0].name} is too large to be shown: gains and cells are not shown.")
        return {}
    return unload.arrays(image.read(found[0], description), description)
