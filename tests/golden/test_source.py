"""Hashes of code for cache keys: what leaves them alone, and what does not."""

import shutil
import textwrap
from pathlib import Path

import pytest

from golden import source, syntax
from wordline.flow import cache

PACKAGE = {
    "__init__.py": "",
    "arithmetic.py": '''
        """What numbers are."""

        import numpy as np

        SHIFT = 3
        """Of a sum."""

        def half_up(a):
            """Round."""
            return (a + (1 << SHIFT - 1)) >> SHIFT  # halves go up

        def half_down(a):
            a = np.asarray(a)
            return (a + (1 << SHIFT - 1) - 1) >> SHIFT
        ''',
    "cells.py": """
        from pkg.registry import registry
        from pkg import first, second

        def _own(x):
            return x

        CELLS = registry("cells", {"first": first.step, "second": second.step})
        """,
    "registry.py": "def registry(label, entries):\n    return entries\n",
    "first.py": "from pkg import arithmetic\ndef step(x):\n    return arithmetic.half_up(x)\n",
    "second.py": "def step(x):\n    return -x\n",
    "train.py": """
        from pathlib import Path
        from pkg import arithmetic
        from pkg.cells import CELLS

        TABLE = Path(__file__).with_name("table.toml")
        KERNEL = Path(__file__).with_name("kernel.cpp")
        DRIVER = Path(__file__).with_name("driver")

        def train(x, cell):
            total = arithmetic.half_up(x)
            return CELLS[cell](total)

        def report(x):
            import pkg.second
            return pkg.second.step(x)
        """,
    "table.toml": "a = 1\nb = 2\n",
    "driver/deep/one.c": "int one;\n",
    "kernel.cpp": 'int f() { return 1; } // one\nconst char *s = "// two";\n',
}


class Package:
    """A package in a temporary folder, whose files can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in PACKAGE.items():
            self.write(name, textwrap.dedent(text))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def hash(self, *modules: str, **only: list[str]) -> str:
        syntax.module.cache_clear()
        source.data_hash.cache_clear()
        source._hash.cache_clear()
        syntax.path_of.cache_clear()
        return source.code_hash(*(modules or ("pkg.train",)), only=only)


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(syntax, "OURS", ("pkg",))
    monkeypatch.syspath_prepend(tmp_path)
    yield Package(tmp_path / "pkg")
    syntax.module.cache_clear()
    source._hash.cache_clear()
    syntax.path_of.cache_clear()


def moved(package):
    """A file goes into a subfolder, and whoever imports it says so."""
    (package.folder / "numbers").mkdir()
    package.write("numbers/__init__.py", "")
    shutil.move(package.folder / "arithmetic.py", package.folder / "numbers/arithmetic.py")
    for name in ("first.py", "train.py"):
        package.replace(name, "from pkg import arithmetic", "from pkg.numbers import arithmetic")


def another_entry(package):
    """A further cell, of a function in the same file and of a file of its own."""
    package.write("third.py", "def step(x):\n    return 3 * x\n")
    package.replace("cells.py", "import first, second", "import first, second, third")
    package.replace("cells.py", "def _own", "def _fourth(x):\n    return third.step(x)\n\ndef _own")
    package.replace("cells.py", "second.step}", 'second.step, "third": third.step, "4": _fourth}')


SAME = {
    "a comment": lambda p: p.replace("arithmetic.py", "# halves go up", "# as in section 1"),
    "an import for a type checker": lambda p: p.replace(
        "train.py",
        "from pathlib",
        "if TYPE_CHECKING:\n    from pkg import second\nfrom pathlib",
    ),
    "a module's docstring": lambda p: p.replace("first.py", "from", '"""Own."""\nfrom'),
    "a docstring": lambda p: p.replace("arithmetic.py", "Round.", "Rounds, halves up."),
    "a line break": lambda p: p.replace("train.py", "(x, cell)", "(\n    x, cell\n)"),
    "a moved file": moved,
    "how it is imported": lambda p: [
        p.replace("first.py", "from pkg import arithmetic", "from pkg.arithmetic import half_up"),
        p.replace("first.py", "arithmetic.half_up", "half_up"),
    ],
    "a registry entry": another_entry,
    "a cell that is not used": lambda p: p.replace("second.py", "-x", "-x + 1"),
    "a comment in C++": lambda p: p.replace("kernel.cpp", "// one", "/* the one */"),
    "the order in a table": lambda p: p.write("table.toml", "# why\nb = 2\na = 1\n"),
}

OTHER = {
    "arithmetic": lambda p: p.replace("arithmetic.py", "(a + (1 << SHIFT - 1)) >>", "a >>"),
    "a constant": lambda p: p.replace("arithmetic.py", "SHIFT = 3", "SHIFT = 4"),
    "which function is called": lambda p: p.replace("train.py", ".half_up", ".half_down"),
    "which package is used": lambda p: p.replace("arithmetic.py", "numpy as np", "torch as np"),
    "a cell that is used": lambda p: p.replace("first.py", "(x)\n", "(x + 1)\n"),
    "a file below a folder": lambda p: p.write("driver/deep/more.c", "int more;"),
    "data": lambda p: p.replace("table.toml", "b = 2", "b = 3"),
    "C++": lambda p: p.replace("kernel.cpp", "return 1", "return 2"),
    "a string in C++": lambda p: p.replace("kernel.cpp", "// two", "// 2"),
    "a swap of functions": lambda p: [
        p.replace("arithmetic.py", "half_up", "half"),
        p.replace("arithmetic.py", "half_down", "half_up"),
        p.replace("arithmetic.py", "half(", "half_down("),
    ],
    "the order of arguments": lambda p: p.replace("train.py", "x, cell)", "cell, x)"),
}


@pytest.mark.parametrize("change", SAME)
def test_what_changes_no_result_leaves_the_hash_alone(change, package):
    before = package.hash(cells=["first"])
    SAME[change](package)
    assert package.hash(cells=["first"]) == before


@pytest.mark.parametrize("change", OTHER)
def test_what_may_change_a_result_changes_the_hash(change, package):
    before = package.hash(cells=["first"])
    OTHER[change](package)
    assert package.hash(cells=["first"]) != before


def test_of_a_registry_without_a_choice_all_entries_count(package):
    before = package.hash()
    assert before != package.hash(cells=["first"])
    another_entry(package)
    assert package.hash() != before


def test_two_definitions_that_differ_in_what_they_call_are_told_apart(package):
    """Though the set of definitions, and of the names in them, is the same."""
    imports, body = "from pkg.arithmetic import half_up, half_down", "def {}(x): return {}(x)"

    def write(a, b):
        package.write("twins.py", "\n".join([imports, body.format("a", a), body.format("b", b)]))
        return package.hash("pkg.twins")

    assert write("half_up", "half_down") != write("half_up", "half_up")


def test_a_function_counts_with_what_it_refers_to_alone(package):
    before = package.hash("pkg.train:train", cells=["first"])
    package.replace("train.py", "return pkg.second.step(x)", "return 0")
    assert package.hash("pkg.train:train", cells=["first"]) == before
    package.replace("train.py", "CELLS[cell](total)", "CELLS[cell](total + 1)")
    assert package.hash("pkg.train:train", cells=["first"]) != before


@pytest.mark.parametrize(
    ("module", "only", "says"),
    [
        ("pkg.nowhere", {}, r"There is no file of a module 'pkg.nowhere'\."),
        ("pkg.train:nothing", {}, r"The module 'pkg.train' has no 'nothing'\."),
        ("pkg.train", {"cells": ["gru"]}, r"The registry 'cells' has no entry 'gru'\."),
    ],
)
def test_what_is_not_there_is_an_error(module, only, says, package):
    """A key that stands for no code at all would be the same for ever."""
    with pytest.raises(LookupError, match=says):
        package.hash(module, **only)


def test_the_code_behind_the_keys_is_reached():
    """Of the project as it is: what decides numbers is in, what other cells do is out."""

    def reached(*modules, **uses):
        return set(source._Code(modules, cache.uses(**uses)).modules)

    training = reached("golden.training.run", "golden.datasets", dataset="vowels", cells=["rnn"])
    assert {"golden.adc", "golden.cells.rnn", "golden.fast", "golden.native"} <= training
    assert not {"golden.datasets.cifar", "golden.datasets.text", "hw.fixed"} & training
    emission = reached("gen.rtl.verilog", "gen.rtl.image", "gen.rtl.vectors", cells=["lstm"])
    assert {"hw.lstm", "hw.loadmap", "hw.voter", "golden.network"} <= emission
    assert "hw.rnn" not in emission


def test_every_data_file_of_the_packages_is_named_by_code():
    """Else a change of it would leave all keys alone."""
    named = source.data_files(
        "wordline.cli.commands", "wordline.flow.measure", "sim.batch", "sim.system"
    )
    names = {path.name for path in named}
    for package in ("golden", "hw", "gen", "sim"):
        folder = Path(__file__).parents[2] / package
        for path in folder.rglob("*"):
            if path.suffix in ("", ".py", ".pyc", ".typed"):
                continue
            if path.is_file():
                assert path in named or path.name in names, f"{path} is named by nothing"


@pytest.mark.parametrize("package", ["torch", "amaranth"])
def test_keys_change_with_versions_that_decide_numbers(package, monkeypatch):
    before = cache.training("vowels", "lstm"), cache.emission("lstm")
    real = cache.metadata.version
    monkeypatch.setattr(
        cache.metadata, "version", lambda name: f"{real(name)}{'x' * (name == package)}"
    )
    changed = cache.training("vowels", "lstm") != before[0], cache.emission("lstm") != before[1]
    assert changed == (package == "torch", True)


def test_a_value_that_enters_a_registry_at_run_time_counts(monkeypatch):
    monkeypatch.setattr(source, "_REGISTRIES", [])
    entries = source.registry("of this test", {"here": 1})
    before = source.code_hash("golden.ranges", only={"of this test": ["here"]})
    entries["later"] = {"bits": 4}
    four = source.code_hash("golden.ranges", only={"of this test": ["later"]})
    entries["later"] = {"bits": 5}
    five = source.code_hash("golden.ranges", only={"of this test": ["later"]})
    assert len({before, four, five}) == 3
    assert source.code_hash("golden.ranges", only={"of this test": ["here"]}) == before
