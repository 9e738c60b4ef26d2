"""Files of a check: a user's RTL, with image, vectors and sidecar of its design."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen.rtl.generated import SUMS, Generated
from gen.rtl.sidecar import FORMAT
from golden.description import Description
from golden.errors import WordlineError


@dataclass(frozen=True)
class Given:
    """RTL, and the files that it is compared with.

    folder: A build folder or an IP package.
    rtl: Digital logic.
    crossbars: Model of the crossbar macros.
    axi: Top with AXI; None outside a package.
    edited: Files that differ from what was emitted, or are not in the folder.
    unknown: The folder has no hashes, so edits cannot be found.
    """

    folder: Path
    sidecar: dict[str, Any]
    description: Description
    rtl: Path
    crossbars: Path
    image: Path
    vectors: Path
    axi: Path | None
    edited: tuple[Path, ...]
    unknown: bool

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
    sidecar = json.loads(sidecar_path.read_text(encoding="utf-8"))
    if sidecar.get("format") != FORMAT:
        raise WordlineError(
            f"{sidecar_path} is of format {sidecar.get('format', 1)}, and this version of Wordline "
            f"reads {FORMAT}; run `wordline emit` again."
        )
    description = Description.from_dict(dict(sidecar["description"]), source=str(sidecar_path))
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
        named = [which for which in ("axi", "crossbars") if path.name == own[which].name]
        given[next(iter(named), "rtl")] = path
    files = own | {which: file for which, file in given.items() if file is not None}
    if not packaged:
        del files["axi"]
    for which, file in files.items():
        if not file.is_file():
            raise WordlineError(f"{file} is missing; {_way_out(which, packaged)}.")
    generated = Generated(folder)
    edited = {folder / file for file in generated.edited()}
    edited |= {file for which, file in files.items() if file.resolve() != own[which].resolve()}
    edited &= {sidecar_path, *files.values()}
    return Given(
        folder,
        sidecar,
        description,
        axi=files.pop("axi", None),
        **files,
        edited=tuple(sorted(edited)),
        unknown=not (folder / SUMS).exists(),
    )


def _folder(path: Path, design: Path | None) -> tuple[Path, Path]:
    """Folder and sidecar of a design."""
    places = [design] if design else [path] if path.is_dir() else [path.parent, path.parent.parent]
    for folder in places:
        for file in sorted(folder.glob("*.json")):
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(found, dict) and {"module", "probes", "description"} <= found.keys():
                return folder, file
    way = "give the folder of its design with --design" if path.is_file() else "run `wordline emit`"
    raise WordlineError(f"{places[0]} has no sidecar (NAME.json) of a design; {way}.")


def _way_out(which: str, packaged: bool) -> str:
    macro = "emit the package with --macro model"
    return {
        "crossbars": f"{macro}, or give the macros' Verilog with --crossbars",
        "image": "emit the design with a trained program",
        "vectors": "emit the design with a trained program, or give some with --vectors",
    }.get(which, macro if packaged else "emit the design again")
