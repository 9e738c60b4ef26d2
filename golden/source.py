"""A hash of code, for cache keys: it changes with what the code does and with nothing else.

A result that is kept on disk depends on the code that made it. `code_hash` follows the imports of a
module through this project and hashes every definition that it reaches: its syntax tree, without
comments, docstrings, line numbers, import statements and names of modules, so a comment, another
layout of the lines and a file that moved leave the hash alone. Data files that a module names (C++
sources, Verilog, tables in TOML) count with their content.

A table of implementations under names, a registry (`registry`), counts with the entries that the
result used, so a further entry leaves the hash alone, too.
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
"""Bound of the refinement in `_colours`; a dozen is usual."""

Found = tuple[list[str], list[int]]
"""What is left of a dotted name behind definitions, and their numbers."""


_REGISTRIES: list[tuple[str, dict[str, Any], frozenset[str]]] = []
"""Label and entries of each registry, and the keys that it began with."""


def registry(label: str, entries: dict[str, T]) -> dict[str, T]:
    """`entries` as they are; at the top of a module it marks them as a registry for `code_hash`.

    The label is what `code_hash` calls it, wherever the module is. Keys are written as constants.
    """
    assert label
    _REGISTRIES.append((label, entries, frozenset(entries)))
    return entries


def code_hash(*modules: str, only: Mapping[str, Collection[str]] | None = None) -> str:
    """SHA-256 of the code that modules reach by import, as hexadecimal digits.

    modules: names of modules, as in an import statement, or "module:function" for one function with
    all that it refers to. only: the entries that count, by label of a registry; of a registry that
    is not in it, all entries count. The files are read once a process. Raises LookupError for a
    module without a file, or for a function or an entry that is not there. Classes and functions
    that were entered in a registry after it was made, by a file that is not of this project, count
    like its own entries.
    """
    chosen = {label: {*keys} for label, keys in (only or {}).items()}
    entered: set[tuple[str, str]] = set()
    for label, entries, own in _REGISTRIES:
        for key in entries.keys() - own:
            name = getattr(entries[key], "__qualname__", "<none>")
            if name.isidentifier() and key in chosen.get(label, (key,)):
                modules += (f"{entries[key].__module__}:{name}",)
                entered.add((label, key))
    for label, key in entered:
        chosen.get(label, set()).discard(key)
    return _hash(modules, tuple((label, tuple(sorted(keys))) for label, keys in chosen.items()))


@cache
def _hash(modules: tuple[str, ...], only: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    code = _Code(modules, dict(only))
    data = [data_hash(path) for module in code.modules.values() for path in module.data]
    return digest(sorted(data) + sorted(code.colours()))


def data_files(*modules: str) -> set[Path]:
    """The data files that the code behind modules names."""
    return {path for module in _Code(modules, {}).modules.values() for path in module.data}


class _Code:
    """The code behind modules.

    modules: all that are imported on the way, by name. whole: those of which all counts; of a
    package that is imported for a module in it, only what runs at import and what is referred to.
    pieces: the definitions that count, each with its module. numbers: of the pieces of a name;
    owned: of the pieces of a module.
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
        """A hash of each piece that tells apart what it refers to, and what that refers to.

        A reference is written as the hash of its target in the round before, until no round tells
        more pieces apart (colour refinement, as in the test of Weisfeiler and Leman for graphs).
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
        """Which of a module's definitions count."""
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
        """What a dotted name in a module leads to; all of a module where it ends there."""
        first, *rest = reference
        if (module.name, first) in self.numbers:
            return rest, self.numbers[module.name, first]
        if first in module.definitions:  # of an entry that does not count, but used after all
            self.wanted.setdefault(module.name, set()).add(first)
            self.missing = True
        left, found = rest, []
        for imported, inside in module.imports.get(first, ()):
            left, more = self._find_inside(imported, [inside, *rest] if inside else rest)
            found += more
        return left, found

    def _find_inside(self, name: str, path: list[str]) -> Found:
        """The same, from a module on."""
        while path and (longer := f"{name}.{path[0]}") in self.modules:
            name, path = longer, path[1:]
        if name not in self.modules:  # imported in a branch that is not followed
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
    """SHA-256 of a data file; of C++ and Verilog without comments, of TOML by its values."""
    content = path.read_bytes()
    match path.suffix:
        case ".cpp" | ".c" | ".h" | ".v":
            text = COMMENT.sub(lambda match: match[1] or " ", content.decode())
            lines = (" ".join(line.split()) for line in text.splitlines())
            content = "\n".join(filter(None, lines)).encode()
        case ".toml":
            content = json.dumps(tomllib.loads(content.decode()), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()
