"""A folder of generated files, some of which a user may have edited.

SHA256SUMS in the folder has the hash of each file as it was written; `sha256sum -c SHA256SUMS`
says which have changed. A file that differs from its hash, or has none, is a user's: it is
overwritten or deleted only where that was asked for. KEYS has, of some files, the hash of all that
they were made from.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from golden import files
from golden.errors import WordlineError

SUMS, KEYS = "SHA256SUMS", "emitted.json"


class Generated:
    """The generated files of a folder. force: overwrite what was edited."""

    def __init__(self, folder: Path, *, force: bool = False) -> None:
        self.folder, self.force = folder, force
        self._foreign_is_ours = False
        self._hashes = self._read()
        self._keys: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._keys = dict(json.loads((folder / KEYS).read_text(encoding="utf-8")))

    def fresh(self, name: str, key: str) -> bool:
        """Whether a file is there that was written with this key; it may be edited."""
        return self._keys.get(name) == key and (self.folder / name).is_file()

    def edited(self, names: Iterable[str] | None = None) -> list[str]:
        """Files that differ from what was written; names: of these, else of all that are listed."""
        wanted = self._hashes if names is None else names
        return sorted(name for name in wanted if self._differs(name))

    def check(
        self, names: Iterable[str], texts: Callable[[], Mapping[str, str]] = lambda: {}
    ) -> None:
        """Raise WordlineError if one of these files was edited. texts: gives what is to be written;
        a file that holds it already is no obstacle, and the first line that differs is named."""
        changed = [] if self.force else self.edited(names)
        emitted = texts() if changed else {}
        changed = [name for name in changed if self._text(name) != emitted.get(name)]
        if changed:
            first = changed[0]
            more = f", and {len(changed) - 1} more," if len(changed) > 1 else ""
            line = _first_difference(emitted[first], self._text(first)) if first in emitted else ""
            raise WordlineError(
                f"{self.folder / first}{more} was edited since it was emitted{line}; rename it to "
                f"keep it, delete it or give --force to emit it again, or simulate it as it is "
                f"with `wordline check {self.folder}`."
            )

    def write_text(self, name: str, text: str, key: str = "") -> None:
        """Write a text file, whole or not at all."""
        with self.writing(name, key) as beside:
            beside.write_text(text, encoding="utf-8")

    @contextlib.contextmanager
    def writing(self, name: str, key: str = "") -> Iterator[Path]:
        """Give a path to write a file's content to; it gets its name if the body succeeds."""
        path = self.folder / name
        with files.atomic(path) as beside:
            yield beside
            # The old file goes first: an interruption must not leave one that looks edited.
            path.unlink(missing_ok=True)
            self._hashes[name] = files.sha256(beside)
            self._keys = self._keys | {name: key} if key else self._without_key(name)
            self._save()

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, and folders that this leaves empty; an edited one only by force."""
        names = [*names]
        self.check(names)
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
            self._hashes.pop(name, None)
            self._keys = self._without_key(name)
            for parent in (self.folder / name).parents:
                if parent == self.folder or not parent.is_dir() or any(parent.iterdir()):
                    break
                parent.rmdir()
        self._save()

    def _read(self) -> dict[str, str]:
        sums = self.folder / SUMS
        if sums.is_file():
            lines = (line.split("  ", 1) for line in sums.read_text(encoding="utf-8").splitlines())
            return {entry[1]: entry[0] for entry in lines if len(entry) == 2}
        # Before 0.2.0 the sidecar alone had hashes, and what it does not list was written with it.
        for path in sorted(self.folder.glob("*.json")):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                hashes = dict(json.loads(path.read_text(encoding="utf-8"))["sha256"])
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
        path = self.folder / name
        if not path.is_file():
            return False
        if name not in self._hashes:
            return not self._foreign_is_ours
        return files.sha256(path) != self._hashes[name]

    def _text(self, name: str) -> str:
        return (self.folder / name).read_bytes().decode("utf-8", "replace")


def _first_difference(emitted: str, found: str) -> str:
    pairs = zip(emitted.splitlines(), found.splitlines(), strict=False)
    for number, (ours, theirs) in enumerate(pairs, 1):
        if ours != theirs:
            return f" (line {number}: {theirs.strip()!r}, emitted {ours.strip()!r})"
    return " (its length)"
