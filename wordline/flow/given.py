"""Files of a check: a user's RTL, with image, vectors and sidecar of its design."""

import contextlib
import functools
import gc
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.hdl import UnusedElaboratable

from gen.ip import package
from gen.rtl.generated import Generated
from gen.rtl.sidecar import FORMAT
from gen.rtl.sidecar import sidecar as make_sidecar
from golden import files
from golden.description import Description
from golden.errors import WordlineError
from hw.network import Accelerator

VERILOG = (".v", ".sv", ".vg")
"""Endings of files that are checked: Verilog, and netlists."""


@dataclass(frozen=True)
class Given:
    """RTL, and the files that it is compared with.

    folder: A build folder or an IP package.
    rtl: Digital logic.
    crossbars: Model of the crossbar macros.
    axi: Top with AXI; None outside a package.
    replaced: Compared files that stand in the place of the folder's own.
    edited: Compared files, and the sidecar, that differ from what was emitted.
    not_compared: Other files of the folder that differ from what was emitted.
    unknown: Compared files whose hashes are not known, so that edits cannot be found.
    """

    folder: Path
    sidecar: dict[str, Any]
    description: Description
    rtl: Path
    crossbars: Path
    image: Path
    vectors: Path
    axi: Path | None
    replaced: tuple[Path, ...]
    edited: tuple[Path, ...]
    not_compared: tuple[Path, ...]
    unknown: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Name of the design."""
        return self.description.name

    @property
    def files(self) -> list[Path]:
        """All compared files, without the sidecar."""
        more = [] if self.axi is None else [self.axi]
        return [self.rtl, *more, self.crossbars, self.image, self.vectors]


def find(
    path: Path,
    *,
    design: Path | None = None,
    crossbars: Path | None = None,
    vectors: Path | None = None,
) -> Given:
    """Find the files of a check.

    path: A build folder, an IP package, or Verilog with the same ports.
    design: For a Verilog file elsewhere, the folder of its design.
    crossbars: Verilog of the crossbar macros, instead of the folder's model.
    vectors: Golden vectors, instead of the folder's.

    Raises WordlineError if a file is missing or damaged.
    """
    if not path.exists():
        raise WordlineError(f"{path} does not exist; give a build folder, a package or Verilog.")
    folder, sidecar_path = _folder(path, design)
    sidecar = files.read_json(sidecar_path, "run `wordline emit` again")
    if sidecar.get("format") != FORMAT:
        raise WordlineError(
            f"{sidecar_path} is of format {sidecar.get('format', 1)}, and this version of Wordline "
            f"reads {FORMAT}; run `wordline emit` again."
        )
    description = Description.from_dict(sidecar["description"], source=str(sidecar_path))
    _check_sidecar(sidecar, description, sidecar_path)
    name, packaged = description.name, "axi" in sidecar
    rtl_folder = folder / "rtl" if packaged else folder
    own = {
        "rtl": rtl_folder / f"{name}.v",
        "axi": rtl_folder / f"{name}_axi.v",
        "crossbars": rtl_folder / f"{name}_crossbar_model.v",
        "image": folder / "image.hex",
        "vectors": folder / "vectors.npz",
    }
    given = {"crossbars": crossbars, "vectors": vectors}
    if path.is_file():
        _check_kind(path, name)
        named = [which for which in ("axi", "crossbars") if path.name == own[which].name]
        given[next(iter(named), "rtl")] = path
    found = own | {which: file for which, file in given.items() if file is not None}
    if not packaged:
        del found["axi"]
    for which, file in found.items():
        if not file.is_file():
            raise WordlineError(f"{file} is missing; {_way_out(which, packaged)}.")
    generated = Generated(folder)
    changed = {folder / file for file in generated.edited()}
    compared = {sidecar_path, *found.values()}
    replaced = {f for which, f in found.items() if f.resolve() != own[which].resolve()}
    edited = changed & compared | {file for file in replaced if not generated.wrote(file)}
    unknown = []
    for file in compared - replaced - changed:
        name = str(file.relative_to(folder))
        known = generated.hash_of(name)
        if known is None:
            unknown.append(file)
        # The sidecar has hashes of its own: SHA256SUMS may have been made anew after an edit.
        if sidecar["sha256"].get(name, known) not in (None, known or files.sha256(file)):
            edited.add(file)
    return Given(
        folder,
        sidecar,
        description,
        axi=found.pop("axi", None),
        **found,
        replaced=tuple(sorted(replaced)),
        edited=tuple(sorted(edited)),
        not_compared=tuple(sorted(changed - compared)),
        unknown=tuple(sorted(unknown)),
    )


@functools.lru_cache(maxsize=4)
def _wanted(description: Description, packaged: bool) -> dict[str, Any]:
    """Sidecar of a design, as read from its file, without hashes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)  # made for its ports alone
        wanted = make_sidecar(Accelerator(description), {})
        if packaged:
            wanted["axi"] = package.axi(description)
        gc.collect()
    found: dict[str, Any] = json.loads(json.dumps(wanted))
    return found


def _check_sidecar(sidecar: dict[str, Any], description: Description, path: Path) -> None:
    """Check that a sidecar is that of its description.

    Raises WordlineError with the first entry that is not.
    """
    for name, value in _wanted(description, "axi" in sidecar).items():
        if name not in ("versions", "sha256") and sidecar.get(name) != value:
            raise WordlineError(
                f"{path}: {name} is not that of its description; it was edited, or this version "
                f"of Wordline emits the design in another way: run `wordline emit` again."
            )
    if not isinstance(sidecar.get("sha256"), dict):
        raise WordlineError(f"{path}: sha256 is not an object; run `wordline emit` again.")


def _folder(path: Path, design: Path | None) -> tuple[Path, Path]:
    """Folder and sidecar of a design."""
    places = [design] if design else [path] if path.is_dir() else [path.parent, path.parent.parent]
    for folder in places:
        for file in sorted(folder.glob("*.json")):
            with contextlib.suppress(WordlineError):
                if {"module", "probes", "description"} <= files.read_json(file, "").keys():
                    return folder, file
    way = "give the folder of its design with --design" if path.is_file() else "run `wordline emit`"
    raise WordlineError(f"{places[0]} has no sidecar (NAME.json) of a design; {way}.")


def _check_kind(path: Path, name: str) -> None:
    """Raise WordlineError if a file is no Verilog, or another part of a package than logic or the
    crossbars' model."""
    if path.suffix not in VERILOG:
        raise WordlineError(
            f"{path} is no Verilog by its name; give a file that ends in {' or '.join(VERILOG)}, "
            f"or the folder of its design."
        )
    if path.name in (f"{name}_crossbar_{view}.v" for view in ("stub", "digital")):
        raise WordlineError(
            f"{path} is a view of the crossbars; check the folder, with --crossbars {path}."
        )
    if path.name == f"{name}_board.v":
        raise WordlineError(
            f"{path} is the top for a board, which is not compared; check the package's folder."
        )


def _way_out(which: str, packaged: bool) -> str:
    macro = "emit the package with --macro model"
    return {
        "crossbars": f"{macro}, or give the macros' Verilog with --crossbars",
        "image": "emit the design with a trained program",
        "vectors": "emit the design with a trained program, or give some with --vectors",
    }.get(which, macro if packaged else "emit the design again")
