"""The wheel, installed outside of the checkout: it has every file that it needs."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from golden import files

ROOT = Path(__file__).parents[2]
PACKAGES = ("golden", "hw", "gen", "sim", "wordline")
TINY = """
name = "tiny"
network = {inputs = 12, hidden = [3], classes = 9}
array = {lanes = 1}
adc = {bits = 2}
cell = {frac = 1, gate_bits = 4, state_bits = 6, state_index_bits = 4}
training = {float_epochs = 1, epochs = 1}
"""


COMMANDS = """
import sys
import golden, wordline.cli.app as app
from wordline.__main__ import main
print(golden.__file__, app.__file__)
for line in (
    "-q sim tiny.toml --sequences 5",
    "emit tiny.toml --design-only --macro model --out emitted",
    "import own.safetensors --calibration typical.npz",
):
    sys.argv = ["wordline", *line.split()]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
"""In one process, which imports PyTorch once."""


def wanted():
    """The files of the packages in the checkout, by their paths, but for what Python makes."""
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the wheel and the source distribution, built from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    for file in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        if (ROOT / file).exists():
            shutil.copy(ROOT / file, source)
    code = (
        "from setuptools import build_meta as build; import sys; folder = sys.argv[1]; "
        "build.build_sdist(folder); build.build_wheel(folder)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=source, check=True, capture_output=True
    )
    return folder


def test_wheel_and_sdist_have_every_file(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == wanted()
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert wanted() <= names


def test_the_installed_wheel_works_in_an_empty_folder(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    site, folder, cache = (tmp_path / name for name in ("site", "empty", "cache"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    folder.mkdir()
    made = files.cache_dir() / "verilator"  # its run time takes long to compile, and is not ours
    if made.exists():
        shutil.copytree(made, cache / "wordline/verilator")
    for path in site.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)  # nothing is to be written there
    before = {path for path in site.rglob("*")}
    environment = os.environ | {
        **{"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(cache)},
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    (folder / "tiny.toml").write_text(TINY)
    torch.manual_seed(0)
    layer, head = torch.nn.LSTM(2, 3), torch.nn.Linear(3, 4)
    state = {f"lstm.{name}": value for name, value in layer.state_dict().items()}
    state |= {f"fc.{name}": value for name, value in head.state_dict().items()}
    save_file(state, folder / "own.safetensors")
    x = np.random.default_rng(0).standard_normal((6, 5, 2), dtype=np.float32)
    np.savez(folder / "typical.npz", x=x)
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(str(site)) == 2 and "GREEN" in done.stdout
    assert (folder / "emitted/package/driver/wordline.c").stat().st_size > 1000
    assert (folder / "build/own/program.safetensors").exists()
    assert {path for path in site.rglob("*")} == before
    assert list((cache / "wordline/kernels").glob("*.so"))
