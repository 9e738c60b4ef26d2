"""A folder of generated files, some of which the user may have edited.

SHA256SUMS holds the hash of each file as it was written; check with `sha256sum -c SHA256SUMS`. A
file whose hash differs, or that is not listed, belongs to the user: it is overwritten or deleted
only with `force`. emitted.json (`KEYS`) holds the cache keys of some files: a hash of everything a
file was made from.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from golden import files
from golden.errors import WordlineError

SUMS, KEYS = "SHA256SUMS", "emitted.json"

MOST_NAME = 200
"""Maximum characters of a file's name, with its folders."""


class Generated:
    """Generated files of a folder.

    force: Overwrite and delete edited files.
    """

    def __init__(self, folder: Path, *, force: bool = False) -> None:
        self.folder, self.force = folder, force
        self._foreign_is_ours = False
        self._hashes = self._read()
        self._keys: dict[str, str] = {}
        with contextlib.suppress(WordlineError):  # without keys, all is emitted again
            self._keys = files.read_json(folder / KEYS, "")

    def fresh(self, name: str, key: str) -> bool:
        """Whether a file exists that was written with this cache key. It may have been edited."""
        return self._keys.get(name) == key and self._path(name).is_file()

    def edited(self, names: Iterable[str] | None = None) -> list[str]:
        """Files that differ from what was written.

        names: Files to check; None: all listed files.
        """
        wanted = self._hashes if names is None else names
        return sorted(name for name in wanted if self._differs(name))

    def hash_of(self, name: str) -> str | None:
        """SHA-256 of a file of this folder as it was written; None if that is not known."""
        return self._hashes.get(name)

    def wrote(self, path: Path) -> bool:
        """Whether a file anywhere is as one of the listed files was written."""
        return files.sha256(path) in self._hashes.values()

    def check(
        self, names: Iterable[str], texts: Callable[[], Mapping[str, str]] = lambda: {}
    ) -> None:
        """Raise WordlineError if a file was edited.

        names: Files to check.
        texts: Returns the texts to be written. A file that already has its text is accepted; for
            any other the error names the first line that differs.
        """
        changed = [] if self.force else self.edited(names)
        emitted = texts() if changed else {}
        changed = [name for name in changed if self._text(name) != emitted.get(name)]
        if changed:
            first = changed[0]
            more = f", and {len(changed) - 1} more," if len(changed) > 1 else ""
            line = _first_difference(emitted[first], self._text(first)) if first in emitted else ""
            raise WordlineError(
                f"{self.folder / first}{more} was edited since it was emitted{line}; rename it to "
                f"keep it, delete it, or give --force to emit it again. `wordline check "
                f"{self.folder}` says whether edited Verilog, images and vectors agree."
            )

    def write_text(self, name: str, text: str, key: str = "") -> None:
        """Write a text file, whole or not at all."""
        with self.writing(name, key) as beside:
            beside.write_text(text, encoding="utf-8")

    @contextlib.contextmanager
    def writing(self, name: str, key: str = "") -> Iterator[Path]:
        """Give a temporary path to write to; it is renamed to `name` if the block succeeds."""
        path = self._path(name)
        with files.atomic(path) as beside:
            yield beside
            # Remove the old file first: after an interruption it would look edited.
            path.unlink(missing_ok=True)
            self._hashes[name] = files.sha256(beside)
            self._keys = self._keys | {name: key} if key else self._without_key(name)
            self._save()

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, and folders that become empty. Edited files are deleted only with `force`.

        Raises WordlineError if a file was edited.
        """
        names = [*names]
        self.check(names)
        for name in names:
            self._path(name).unlink(missing_ok=True)
            self._hashes.pop(name, None)
            self._keys = self._without_key(name)
            for parent in (self.folder / name).parents:
                if parent == self.folder or not parent.is_dir() or any(parent.iterdir()):
                    break
                parent.rmdir()
        self._save()

    def _path(self, name: str) -> Path:
        """Path of a file of this folder.

        Raises WordlineError for a name or a link that leads out of the folder: names may come from
        a file that is in it.
        """
        path = self.folder / name
        inside = name.isprintable() and len(name) <= MOST_NAME and path.name not in ("", "..")
        if not inside or (
            self.folder.resolve() not in path.parent.resolve().parents
            and (self.folder.resolve() != path.parent.resolve())
        ):
            raise WordlineError(
                f"{name!r} is not the name of a file in {self.folder}; delete {SUMS} and the "
                f"sidecar there, or the link that leads out of it, or give another folder."
            )
        return path

    def _read(self) -> dict[str, str]:
        sums = self.folder / SUMS
        if sums.exists():
            text = files.read_text(sums, files.MOST_JSON, "delete it, and emit the design again")
            lines = (line.split("  ", 1) for line in text.splitlines())
            return {entry[1]: entry[0] for entry in lines if len(entry) == 2}
        # Before 0.2.0 only the sidecar had hashes. Files that it does not list were generated too.
        for path in sorted(self.folder.glob("*.json")):
            with contextlib.suppress(WordlineError):
                hashes = files.read_json(path, "").get("sha256")
                if isinstance(hashes, dict):
                    self._foreign_is_ours = True
                    return hashes
        return {}

    def _save(self) -> None:
        lines = (f"{value}  {name}\n" for name, value in sorted(self._hashes.items()))
        files.write_text(self.folder / SUMS, "".join(lines))
        if self._keys:
            text = json.dumps(self._keys, indent=1, sort_keys=True) + "\n"
            files.write_text(self.folder / KEYS, text)

    def _without_key(self, name: str) -> dict[str, str]:
        return {other: key for other, key in self._keys.items() if other != name}

    def _differs(self, name: str) -> bool:
        path = self._path(name)
        if not path.is_file():
            return False
        if name not in self._hashes:
            return not self._foreign_is_ours
        return files.sha256(path) != self._hashes[name]

    def _text(self, name: str) -> str:
        return self._path(name).read_bytes().decode("utf-8", "replace")


def _first_difference(emitted: str, found: str) -> str:
    pairs = zip(emitted.splitlines(), found.splitlines(), strict=False)
    for number, (ours, theirs) in enumerate(pairs, 1):
        if ours != theirs:
            return f" (line {number}: {theirs.strip()!r}, emitted {ours.strip()!r})"
    return " (its length)"
