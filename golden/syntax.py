"""Parsed Python files for `golden.source`: definitions, imports, registries and data files."""

import ast
import contextlib
import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from golden import files

OURS = ("golden", "hw", "gen", "sim", "wordline")
"""Packages whose imports are followed.

Others count by name alone; a caller adds their versions to its key.
"""

Target = tuple[str, str]
"""A module, and the name of a definition in it; "" for the whole module."""


@dataclass(frozen=True)
class Definition:
    """A piece of syntax.

    template: Hash of its tree, with a blank in the place of each reference to our code.
    references: Dotted names of these references, in order, as written in the module.
    """

    template: str
    references: tuple[tuple[str, ...], ...]


@dataclass
class Module:
    """Content of a file.

    name: Name of the module.
    definitions: Pieces by name, several if a name is defined more than once. "" has the code that
        runs at import.
    imports: Targets of each imported name: a module, and a name in it or "".
    registries: Entries of each registry, by label.
    data: Data files that the module names.
    """

    name: str
    definitions: dict[str, list[Definition]] = field(default_factory=dict)
    imports: dict[str, list[Target]] = field(default_factory=dict)
    registries: dict[str, dict[str, Definition]] = field(default_factory=dict)
    data: list[Path] = field(default_factory=list)

    def live(
        self,
        only: Mapping[str, Collection[str]],
        wanted: Collection[str] = (),
        *,
        all_: bool = True,
    ) -> dict[str, list[Definition]]:
        """Definitions that count, by name, and registry entries, by label of the registry.

        Entries that do not count are left out, and so are definitions that only they refer to.

        only: Entries that count, by label of their registry.
        wanted: Definitions that other modules refer to.
        all_: Whether all definitions count. Else only `wanted`, import-time code and entries do,
            with all that they refer to.
        """
        entries: dict[str, list[Definition]] = {}
        dead: list[Definition] = []
        for label, own in self.registries.items():
            for key, entry in own.items():
                counts = label not in only or key in only[label]
                (entries.setdefault(f"registry {label}", []) if counts else dead).append(entry)
        alive = dict(self.definitions)
        own_references = {name: self._referred([own]) for name, own in alive.items()}

        def referred(names: Iterable[str]) -> set[str]:
            return set().union(*(own_references[name] for name in names))

        of_entries = self._referred(entries.values())
        if not all_:
            names = {*wanted, ""} | of_entries
            while more := referred(names & alive.keys()) - names:
                names |= more
            alive = {name: own for name, own in alive.items() if name in names}
        while True:
            suspects = self._referred([dead]) & alive.keys() - set(wanted)
            used = referred(alive.keys() - suspects) | of_entries
            # A used definition may refer to other suspects.
            while more := referred(suspects & used) & suspects - used:
                used |= more
            if not (gone := suspects - used):
                return alive | entries
            for name in gone:
                dead += alive.pop(name)

    @staticmethod
    def _referred(pieces: Iterable[list[Definition]]) -> set[str]:
        return {r[0] for own in pieces for piece in own for r in piece.references}

    def imported(
        self,
        only: Mapping[str, Collection[str]],
        wanted: Collection[str] = (),
        *,
        all_: bool = True,
    ) -> Iterator[Target]:
        """Yield the imports of the module, except those that only excluded definitions refer to."""
        live = self._referred(self.live(only, wanted, all_=all_).values())
        entries = self._referred([*own.values()] for own in self.registries.values())
        every = self._referred(self.definitions.values()) | entries
        for name, targets in self.imports.items():
            if name in live or name not in every:
                yield from targets


def ours(name: str) -> bool:
    """Whether a module belongs to this project."""
    return name.partition(".")[0] in OURS


@cache
def path_of(name: str) -> Path | None:
    """File of a module, found without importing it; None if there is none."""
    top, *inside = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return Path(spec.origin) if spec and spec.origin and not inside else None
    path = Path(next(iter(spec.submodule_search_locations))).joinpath(*inside)
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.exists():
            return candidate
    return None


@cache
def module(name: str) -> Module:
    """Parse a module, once per process; the result is cached on disk for later runs.

    Raises LookupError if the module has no file.
    """
    path = path_of(name)
    if path is None:
        raise LookupError(f"There is no file of a module {name!r}.")
    content = path.read_bytes()
    beside = sorted(
        entry.name for entry in path.parent.iterdir() if entry.suffix not in (".py", ".pyc")
    )
    below = sorted(
        str(file.relative_to(path.parent))
        for name_ in beside
        if (folder := path.parent / name_).is_dir() and not [*folder.glob("*.py")]
        for file in folder.rglob("*")
        if file.suffix != ".pyc"
    )
    key = hashlib.sha256(
        Path(__file__).read_bytes() + content + repr((name, beside, below)).encode()
    )
    kept = files.cache_dir() / "code" / f"{key.hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return _from_json(json.loads(kept.read_text()), path.parent)
    module = _parse(name, content, path.parent, set(beside))
    with contextlib.suppress(OSError):
        files.write_text(kept, _to_json(module, path.parent))
    return module


def _to_json(module: Module, folder: Path) -> str:
    fields = dataclasses.asdict(module)
    fields["data"] = [str(path.relative_to(folder)) for path in module.data]
    return json.dumps(fields)


def _from_json(fields: dict[str, Any], folder: Path) -> Module:
    def piece(fields: dict[str, Any]) -> Definition:
        return Definition(fields["template"], tuple(map(tuple, fields["references"])))

    return Module(
        name=fields["name"],
        definitions={n: [*map(piece, own)] for n, own in fields["definitions"].items()},
        imports={n: [(m, i) for m, i in targets] for n, targets in fields["imports"].items()},
        registries={
            label: {key: piece(entry) for key, entry in entries.items()}
            for label, entries in fields["registries"].items()
        },
        data=[folder / name for name in fields["data"]],
    )


def _parse(name: str, content: bytes, folder: Path, beside: Collection[str]) -> Module:
    module = Module(name)
    tree = ast.parse(content)
    for statement in tree.body:
        for node in ast.walk(statement) if not _type_checking(statement) else ():
            _import(node, module)
    names = {name for name, targets in module.imports.items() if any(ours(t) for t, _ in targets)}
    names |= {own for statement in tree.body for own in _defined(statement)}
    reader = _Reader(names, module, folder, beside)
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        if _bare_string(statement) or _type_checking(statement):
            continue
        if (found := _registry(statement)) is not None:
            label, entries = found
            module.registries[label] = {key: reader.read(node) for key, node in entries.items()}
            for own in _defined(statement):
                module.definitions.setdefault(own, []).append(Definition(f"registry {label}", ()))
            continue
        for own in _defined(statement) or [""]:
            module.definitions.setdefault(own, []).append(reader.read(statement))
    return module


def _import(node: ast.AST, module: Module) -> None:
    """Record the names that an import statement binds."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            target = alias.name if alias.asname else name
            module.imports.setdefault(name, []).append((target, ""))
    elif isinstance(node, ast.ImportFrom):
        if node.level or node.module is None or any(alias.name == "*" for alias in node.names):
            raise LookupError(f"{module.name} imports by a star or relatively: write it out.")
        for alias in node.names:
            name = alias.asname or alias.name
            module.imports.setdefault(name, []).append((node.module, alias.name))


def _defined(statement: ast.stmt) -> list[str]:
    """Names that a statement at the top of a module defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            nodes = [node for target in targets for node in ast.walk(target)]
            return [node.id for node in nodes if isinstance(node, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.AugAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _type_checking(statement: ast.stmt) -> bool:
    """Whether a statement is only for type checkers."""
    return (
        isinstance(statement, ast.If)
        and isinstance(statement.test, ast.Name)
        and statement.test.id == "TYPE_CHECKING"
    )


def _registry(statement: ast.stmt) -> tuple[str, dict[str, ast.expr]] | None:
    """Label and entries of a registry, if the statement makes one."""
    value = getattr(statement, "value", None)
    match value:
        case ast.Call(
            func=ast.Name(id="registry") | ast.Attribute(attr="registry"),
            args=[ast.Constant(value=str(label)), ast.Dict(keys=keys, values=values)],
        ):
            entries = {}
            for key, node in zip(keys, values, strict=True):
                if not isinstance(key, ast.Constant):
                    raise LookupError(f"A key of the registry {label!r} is not a constant.")
                entries[str(key.value)] = node
            return label, entries
    return None


class _Reader:
    """Converts syntax to definitions.

    names: Names of the module that refer to our definitions or imports. Other names count as
        written, or by their import if they are imported.
    beside: Names of the files in the module's folder that are not code.
    """

    def __init__(
        self, names: Collection[str], module: Module, folder: Path, beside: Collection[str]
    ) -> None:
        self.names, self.module, self.folder, self.beside = names, module, folder, beside

    def read(self, node: ast.AST) -> Definition:
        """Definition of a statement or an expression."""
        self.text: list[str] = []
        self.references: list[tuple[str, ...]] = []
        self._node(node, frozenset())
        return Definition(digest(self.text), tuple(self.references))

    def _node(self, node: ast.AST, local: frozenset[str]) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom) or _bare_string(node):
            return
        if (chain := _chain(node)) and chain[0] not in local:
            self._name(chain)
            return
        if isinstance(node, ast.Constant):
            self._constant(node)
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            local |= _bound(node)
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            nodes = [n for g in node.generators for n in ast.walk(g.target)]
            local |= {n.id for n in nodes if isinstance(n, ast.Name)}
        self.text.append(f"({type(node).__name__}")
        for name, value in ast.iter_fields(node):
            if name in ("ctx", "type_comment", "kind", "type_ignores"):
                continue
            self.text.append(f" {name}=")
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, ast.AST):
                    self._node(item, local)
                else:
                    self.text.append(f"{item!r},")
        self.text.append(")")

    def _name(self, chain: list[str]) -> None:
        """Add a dotted name that is not local: a blank for our code, else the full import."""
        if chain[0] in self.names:
            self.references.append(tuple(chain))
            self.text.append("(ours)")
            return
        whole = [".".join(filter(None, target)) for target in self.module.imports.get(chain[0], ())]
        self.text.append(f"({'|'.join(sorted(whole)) or chain[0]}.{'.'.join(chain[1:])})")

    def _constant(self, node: ast.Constant) -> None:
        self.text.append(f"({type(node.value).__name__} {node.value!r})")
        if isinstance(node.value, str) and node.value in self.beside:
            path = self.folder / node.value
            if path.is_file():
                self.module.data.append(path)
            elif not list(path.glob("*.py")):
                self.module.data += sorted(p for p in path.rglob("*") if p.is_file())


def _bare_string(node: ast.AST) -> bool:
    """Whether a node is a docstring, of a definition or below an assignment."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _chain(node: ast.AST) -> list[str]:
    """Parts of a dotted name; empty if the node is not one."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [*reversed([*parts, node.id])] if isinstance(node, ast.Name) else []


def _bound(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> frozenset[str]:
    """Names that are local to a function: arguments and assigned names."""
    body = function.body if isinstance(function.body, list) else [function.body]
    nodes = [node for part in body for node in ast.walk(part)]
    bound = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    bound |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return frozenset(bound)


def digest(parts: Sequence[str]) -> str:
    """SHA-256 of texts, in hexadecimal."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
