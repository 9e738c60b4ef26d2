"""The layout: which package may import which, no circles between files, files one can read."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ("golden", "hw", "gen", "sim", "wordline")
"""Knowledge goes one way: a package imports itself and those before it."""
LONGEST = 450
"""Lines of a file that says nothing of its length in its docstring."""


def sources(root):
    """Every file of the packages under a folder, by its module's name."""
    found = {}
    for package in ORDER:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path, modules, *, all_=True):
    """(line, module of ours) for each import; without all_: of those that run when the file is
    imported, and not for a type checker alone."""
    tree = ast.parse(path.read_text())
    skipped = set()
    if not all_:
        for node in ast.walk(tree):
            checking = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            if checking or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else node.module for name in whole]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.partition(".")[0] in ORDER)


def against_the_arrow(root):
    """Each import of a package that comes later, as "file:line: module"."""
    modules = sources(root)
    wrong = []
    for module, path in modules.items():
        for line, imported in imports(path, modules):
            package, other = (ORDER.index(name.partition(".")[0]) for name in (module, imported))
            if other > package:
                wrong.append(f"{path.relative_to(root)}:{line}: {imported}")
    return wrong


def circles(root):
    """The files of each circle of imports."""
    modules = sources(root)
    left = {
        module: {m for _, m in imports(path, modules, all_=False) if m in modules and m != module}
        for module, path in modules.items()
    }
    # A package's own file is imported with what is in it, and none of ours imports back.
    while free := [module for module, wanted in left.items() if not wanted & left.keys()]:
        for module in free:
            del left[module]
    return sorted(left)


def test_knowledge_goes_one_way():
    assert against_the_arrow(ROOT) == []


def test_no_file_is_in_a_circle_of_imports():
    assert circles(ROOT) == []


@pytest.fixture
def planted(tmp_path):
    """Two files a package that import what they may."""
    for n, package in enumerate(ORDER):
        folder = tmp_path / package
        folder.mkdir()
        before = "".join(f"from {name} import one\n" for name in ORDER[:n])
        (folder / "one.py").write_text(before)
        (folder / "two.py").write_text(f"from {package}.one import something\n")
    return tmp_path


@pytest.mark.parametrize(
    "line", ["from sim import one", "    import sim.one", "from sim.one import a"]
)
def test_an_import_against_the_arrow_is_found(line, planted):
    assert against_the_arrow(planted) == [] and circles(planted) == []
    (planted / "gen/one.py").write_text(
        f"def f():\n    pass\n{'if True:' * (line[0] == ' ')}\n{line}\n"
    )
    assert against_the_arrow(planted) == ["gen/one.py:4: sim.one"]


def test_a_circle_is_found(planted):
    (planted / "hw/one.py").write_text("from hw.two import other\n")
    assert {"hw.one", "hw.two"} <= set(circles(planted))
    (planted / "hw/one.py").write_text("def f():\n    from hw.two import other\n")
    assert circles(planted) == []


def test_files_are_short_or_say_why_not():
    for path in sources(ROOT).values():
        text = path.read_text()
        if text.count("\n") > LONGEST:
            first = ast.get_docstring(ast.parse(text)) or ""
            assert "lines" in first, f"{path} has over {LONGEST} lines, and its docstring no reason"
