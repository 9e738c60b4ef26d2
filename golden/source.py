"""Hash of code for cache keys: it ignores comments, docstrings, layout and moves of files.

A cached result depends on the code that made it. `code_hash` follows a module's imports through
this project and hashes every definition that it reaches: the syntax tree without comments,
docstrings, line numbers, import statements and names of modules. Data files that a module names
(C++ sources, Verilog, TOML tables) count with their content.

A registry (`registry`) is a table of implementations by name. Only the entries that the result used
count, so a new entry does not change the hash.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from golden import syntax
from golden.syntax import Definition, Module, Target, digest

T = TypeVar("T")

ROUNDS = 64
"""Maximum rounds of the refinement in `_Code.colours`; a dozen is usual."""

Found = tuple[list[str], list[int]]
"""Rest of a dotted name after it reached definitions, and the numbers of these definitions."""


_REGISTRIES: list[tuple[str, dict[str, Any], frozenset[str]]] = []
"""Label and entries of each registry, and the keys that it started with."""


def registry(label: str, entries: dict[str, T]) -> dict[str, T]:
    """Mark `entries` as a registry for `code_hash`, and return them unchanged.

    Call it at the top of a module.

    label: Name of the registry in `code_hash`, whichever module it is in.
    entries: Their keys must be literals.
    """
    assert label
    _REGISTRIES.append((label, entries, frozenset(entries)))
    return entries


def code_hash(*modules: str, only: Mapping[str, Collection[str]] | None = None) -> str:
    """SHA-256 of the code that modules reach by import, in hexadecimal.

    Files are read once per process. If code outside this project enters a class or function in a
    registry later, that entry counts like the registry's own; any other entry counts by its `repr`.

    modules: Names as in an import statement, or "module:function" for one function and all that it
        refers to.
    only: Entries that count, by label of their registry. Of a registry that is not listed, all
        count.

    Raises LookupError for a module without a file, or for a missing function or entry.
    """
    chosen = {label: {*keys} for label, keys in (only or {}).items()}
    entered: set[tuple[str, str]] = set()
    values: set[str] = set()
    for label, entries, own in _REGISTRIES:
        for key in entries.keys() - own:
            name = getattr(entries[key], "__qualname__", "<none>")
            if key not in chosen.get(label, (key,)):
                continue
            entered.add((label, key))
            if name.isidentifier():
                modules += (f"{entries[key].__module__}:{name}",)
            else:
                values.add(f"{label} {key} {entries[key]!r}")
    for label, key in entered:
        chosen.get(label, set()).discard(key)
    code = _hash(modules, tuple((label, tuple(sorted(keys))) for label, keys in chosen.items()))
    return digest([code, *sorted(values)]) if values else code


@cache
def _hash(modules: tuple[str, ...], only: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    code = _Code(modules, dict(only))
    data = [data_hash(path) for module in code.modules.values() for path in module.data]
    return digest(sorted(data) + sorted(code.colours()))


def data_files(*modules: str) -> set[Path]:
    """Data files that the code reached by modules names."""
    return {path for module in _Code(modules, {}).modules.values() for path in module.data}


class _Code:
    """The code that modules reach.

    modules: All imported modules, by name.
    whole: Modules of which every definition counts. Of a package that is only imported for one of
        its modules, only the code that runs at import and the definitions that are referred to
        count.
    pieces: Definitions that count, each with its module.
    numbers: Numbers of the pieces of a definition, by module and name.
    owned: Numbers of the pieces of a module.
    """

    def __init__(self, entries: Sequence[str], only: Mapping[str, Collection[str]]) -> None:
        self.only = only
        self.wanted: dict[str, set[str]] = {}
        self.whole = {entry for entry in entries if ":" not in entry}
        for entry in entries:
            where, _, name = _split(entry)
            if name and name not in syntax.module(where).definitions:
                raise LookupError(f"The module {where!r} has no {name!r}.")
            self.wanted.setdefault(where, set()).update([name] if name else [])
        missing = True
        while missing:
            self.modules = self._follow(entries)
            self.pieces: list[tuple[Definition, Module]] = []
            self.numbers: dict[Target, list[int]] = {}
            self.owned: dict[str, list[int]] = {}
            for name, module in self.modules.items():
                for own, pieces in module.live(only, **self._which(name)).items():
                    start = len(self.pieces)
                    self.pieces += [(piece, module) for piece in pieces]
                    self.numbers[name, own] = list(range(start, len(self.pieces)))
                    self.owned.setdefault(name, []).extend(self.numbers[name, own])
            self.missing = False
            self.targets = [
                [self._find(module, reference) for reference in piece.references]
                for piece, module in self.pieces
            ]
            missing = self.missing
        for label, chosen in only.items():
            known = [m.registries[label] for m in self.modules.values() if label in m.registries]
            if known and (unknown := set(chosen) - {key for own in known for key in own}):
                raise LookupError(f"The registry {label!r} has no entry {min(unknown)!r}.")

    def colours(self) -> list[str]:
        """Hash of each piece, including the pieces that it refers to, directly or not.

        In each round a reference is written as its target's hash of the previous round, until the
        number of different hashes stops growing (colour refinement, as in the Weisfeiler-Leman test
        for graphs).
        """
        colours = [""] * len(self.pieces)
        told = 0
        for _ in range(ROUNDS):
            colours = [
                digest([piece.template, *(_written(found, colours) for found in own)])
                for (piece, _), own in zip(self.pieces, self.targets, strict=True)
            ]
            if len(set(colours)) == told:
                break
            told = len(set(colours))
        return colours

    def _which(self, name: str) -> dict[str, Any]:
        """Arguments of `Module.live` and `Module.imported` that select a module's definitions."""
        return {"wanted": self.wanted.get(name, ()), "all_": name in self.whole}

    def _follow(self, entries: Sequence[str]) -> dict[str, Module]:
        modules: dict[str, Module] = {}
        waiting = [module for module, _, _ in map(_split, entries)]
        while waiting:
            name = waiting.pop()
            if name in modules:
                continue
            module = modules[name] = syntax.module(name)
            waiting += [parent for parent in [name.rpartition(".")[0]] if parent]
            for imported, inside in module.imported(self.only, **self._which(name)):
                if syntax.ours(imported):
                    submodule = f"{imported}.{inside}"
                    is_module = inside and syntax.path_of(submodule) is not None
                    waiting.append(submodule if is_module else imported)
                    if waiting[-1] not in self.whole:
                        self.whole.add(waiting[-1])
                        modules.pop(waiting[-1], None)
        return modules

    def _find(self, module: Module, reference: Sequence[str]) -> Found:
        """Resolve a dotted name in a module; the whole module if the name ends there."""
        first, *rest = reference
        if (module.name, first) in self.numbers:
            return rest, self.numbers[module.name, first]
        if first in module.definitions:  # an excluded entry that is used after all
            self.wanted.setdefault(module.name, set()).add(first)
            self.missing = True
        left, found = rest, []
        for imported, inside in module.imports.get(first, ()):
            left, more = self._find_inside(imported, [inside, *rest] if inside else rest)
            found += more
        return left, found

    def _find_inside(self, name: str, path: list[str]) -> Found:
        """Resolve the rest of a dotted name, starting at a module."""
        while path and (longer := f"{name}.{path[0]}") in self.modules:
            name, path = longer, path[1:]
        if name not in self.modules:  # its import was not followed
            return path, []
        module = self.modules[name]
        if path and (path[0] in module.definitions or path[0] in module.imports):
            return self._find(module, path)
        return path, self.owned.get(name, [])


def _split(entry: str) -> tuple[str, str, str]:
    return entry.partition(":")


def _written(found: Found, colours: Sequence[str]) -> str:
    rest, numbers = found
    return ".".join([*rest, *sorted(colours[n] for n in numbers)])


COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\])*")', re.DOTALL)


@cache
def data_hash(path: Path) -> str:
    """SHA-256 of a data file: C++ and Verilog without comments, TOML by its values."""
    content = path.read_bytes()
    match path.suffix:
        case ".cpp" | ".c" | ".h" | ".v":
            text = COMMENT.sub(lambda match: match[1] or " ", content.decode())
            lines = (" ".join(line.split()) for line in text.splitlines())
            content = "\n".join(filter(None, lines)).encode()
        case ".toml":
            content = json.dumps(tomllib.loads(content.decode()), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()
