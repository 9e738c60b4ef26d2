"""Commands in the documentation: each is valid; those that take minutes at most run as written."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import typer.main

from sim import verilator
from wordline.cli.commands import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted(DOCS.rglob("*.md")) if "made" not in page.parts),
]
FENCE = r"^ *```(?:\{code-block\} python\n:caption: (\S+)|(\w*))\n(.*?)^ *```$"
USAGE = typer.BadParameter.__bases__[0]
"""All errors of a command line."""
TOOLS = ("wordline", "iverilog", "verilator", "python")
"""What begins a command that is run. Others set up or show something."""


def blocks(page):
    """Files and commands of a page in their order: (file, text) or (None, command).

    A command stands behind `$` in a block `console`, or alone in an indented block.
    """
    text = page.read_text()
    at = 0
    for fence in re.finditer(FENCE, text, re.DOTALL | re.MULTILINE):
        yield from indented(text[at : fence.start()])
        at = fence.end()
        file, kind, body = fence.groups()
        if file is not None:
            yield file, body.lstrip("\n")
        elif kind == "console":
            lines = body.splitlines()
            yield from ((None, line[2:]) for line in lines if line.startswith("$ "))
        elif kind == "python":
            yield "script.py", body
    yield from indented(text[at:])


def indented(text):
    """Commands of blocks that are indented by four spaces."""
    text = text.replace("\\\n", " ")
    for line in re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE):
        command = line.removeprefix(".venv/bin/").partition("  #")[0]
        if command.startswith(tuple(f"{tool} " for tool in TOOLS)):
            yield None, command.rstrip()


def in_prose():
    """Commands between backquotes, but for the name of a format. What is required may lack."""
    for page in PAGES:
        for found in re.findall(r"`(wordline \w[^`]+)`", page.read_text()):
            if not found.startswith("wordline program "):
                yield page, found.replace("\n", " ")


def in_blocks():
    for page in PAGES:
        for file, text in blocks(page):
            if file is None and text.startswith("wordline "):
                yield page, text


def refused(command):
    """Why the command line does not parse, or None. Files need not exist."""
    group = typer.main.get_command(app)
    name, *words = shlex.split(command, comments=True)[1:]
    if name == "--help":
        return None
    if name not in group.commands:
        return f"no command {name}"
    try:
        group.commands[name].make_context(name, words)
    except USAGE as error:
        return error.format_message()
    return None


def test_commands_of_all_pages_are_valid():
    complete = [*in_blocks()]
    found = [*complete, *in_prose()]
    assert len(found) > 50
    for page, command in found:
        why = refused(command.replace("VIEW", "model"))
        lacks = (page, command) not in complete and re.search(
            "^Missing |requires an argument", str(why)
        )
        assert why is None or lacks, f"{page.relative_to(ROOT)}: {command}: {why}"


@pytest.mark.parametrize(
    "command",
    ["wordline fitt vowels", "wordline fit vowels --row 3", "wordline sim vowels --votes many"],
)
def test_a_wrong_command_would_be_found(command):
    assert refused(command)


SKIPPED = {
    "wordline data (mnist|strokes|har)( --from FOLDER)?": "fetches files from the network",
    "wordline sim mnist-rows": "trains for a quarter of an hour",
    "wordline synth vowels --liberty fab.lib --lef fab.lef": "the next one takes the same files",
    "wordline synth vowels --target (osu018|ecp5)": "run by tests/gen/test_synth.py and howto/fpga",
    "wordline import MODEL .*": "the pattern of the commands below it",
    "wordline sim NAME .*": "its file comes from the user",
}
"""Commands that are not run here, by pattern, and why."""

BEFORE = {
    "check": (
        *("wordline train vowels", "wordline emit vowels --macro model"),
        "cp build/vowels/vowels.v mine.v",
    ),
    "efficiency": ("wordline train vowels",),
    "howto/own_cells": ("wordline train vowels",),
    "integration": ("wordline train vowels",),
}
"""What a page takes as done, by page."""


def fab(folder):
    """Files of a fab, as a page names them: the cells of OSU."""
    cells = Path("/usr/share/qflow/tech/osu018")
    for file in ("lib", "lef", "v"):
        shutil.copy(cells / f"osu018_stdcells.{file}", folder / f"fab.{file}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        "quickstart",
        "tutorial",
        "import",
        "verilog",
        "check",
        "data",
        "integration",
        "efficiency",
        "howto/noise",
        "howto/fpga",
        "howto/own_cells",
    ],
)
def test_commands_of_a_page_run_as_written(page, tmp_path):
    """In an empty folder, but for getting and setting up the project itself."""
    tools = tmp_path / "tools"
    tools.mkdir()
    environment = os.environ | {
        "PATH": f"{tools}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    if shutil.which("verilator") is None:
        found = verilator.find()  # that of the Python environment
        variables = [f"{name}='{value}'" for name, value in found.environment.items()]
        variables.append(f"MAKEFLAGS='{' '.join(found.make)}'")
        script = tools / "verilator"
        script.write_text(f'#!/bin/sh\n{" ".join(variables)} exec "{found.executable}" "$@"\n')
        script.chmod(0o755)
    if page in ("integration", "howto/own_cells"):
        fab(tmp_path)
    done = 0
    before = [(None, line) for line in BEFORE.get(page, ())]
    for file, text in [*before, *blocks(DOCS / f"{page}.md")]:
        if file is not None:
            (tmp_path / file).write_text(text)
            if file != "script.py":
                continue
            text = "python script.py"
        if text.startswith(("git clone", "make ", "source ")):
            continue
        if any(re.fullmatch(pattern, text) for pattern in SKIPPED):
            continue
        package = "vowels.f" in text
        run = subprocess.run(
            *(text,),
            shell=True,
            cwd=tmp_path / "build/vowels/package" if package else tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, (text, run.stdout[-2000:], run.stderr[-2000:])
        done += 1
    assert done >= 1


def test_each_skipped_command_is_on_a_page():
    texts = [text for page in PAGES for file, text in blocks(page) if file is None]
    for pattern in SKIPPED:
        assert any(re.fullmatch(pattern, text) for text in texts), pattern
