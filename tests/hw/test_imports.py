"""The logic, and its emission, need no PyTorch: parameters and constants of golden are plain."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "modules",
    [
        "golden.description, golden.noise, golden.source",
        "hw.network, hw.bus.system, gen.rtl.verilog",
    ],
)
def test_no_torch_is_imported(modules):
    code = f"import {modules}, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
