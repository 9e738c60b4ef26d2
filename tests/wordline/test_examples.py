"""The examples run, in an empty folder, and are short."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
SAYS = {
    "convert_a_model": "converted: ",
    "how_many_bits": "4 bits: ",
    "ip_package": "package/rtl/fpga_axi.v",
    "own_training_loop": "%",
    "read_noise": "sigma 0.10: ",
    "simulate": "values are equal",
    "votes": "8 votes: ",
}

ALL = """
import contextlib, io, json, os, runpy, sys, traceback
said = {}
for path in sys.argv[1:]:
    os.mkdir(folder := os.path.basename(path))
    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(path, run_name="__main__")
        except BaseException:
            traceback.print_exc()
    os.chdir("..")
    said[os.path.basename(path)] = out.getvalue(), err.getvalue()
print(json.dumps(said))
"""
"""One process for all: PyTorch takes longer to import than some of them run."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What each example printed, and its errors; what the process said at its end is an error."""
    done = subprocess.run(
        [sys.executable, "-c", ALL, *map(str, EXAMPLES)],
        cwd=tmp_path_factory.mktemp("examples"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, ran):
    assert len(path.read_text().splitlines()) <= 40
    out, err = ran[path.name]
    assert not err, err
    assert SAYS[path.stem] in out


def test_there_are_examples_of_everything_that_is_said():
    assert {path.stem for path in EXAMPLES} == set(SAYS)
