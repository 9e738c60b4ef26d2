"""The examples run, in an empty folder, and are short."""

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
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path):
    assert len(path.read_text().splitlines()) <= 40
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert SAYS[path.stem] in done.stdout and not done.stderr


def test_there_are_examples_of_everything_that_is_said():
    assert {path.stem for path in EXAMPLES} == set(SAYS)
