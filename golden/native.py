"""Compile golden's C++ kernels once for this machine, and load them."""

import contextlib
import ctypes
import functools
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from golden import files, source
from golden.errors import WordlineError
from golden.geometry import ArrayShape

FILES = (
    *("memory.h", "kernels.h", "layer_parts.h", "kernels.cpp"),
    *("gradient_products.h", "gradient_products.cpp", "gradients.cpp"),
    *("lanes_vectors.h", "lanes_columns.h", "lanes.cpp", "lanes_avx2.cpp"),
    *("float_kernels.cpp", "array_kernels.cpp", "normal.cpp"),
)
SOURCES = tuple(map(Path(__file__).with_name, FILES))

# A fused multiply-add would round once where PyTorch rounds twice.
FLAGS = (
    *("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
    *("-fopenmp-simd", "-fPIC", "-shared", "-pthread", "-std=c++17", "-w"),
    *(["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []),
)
OWN_FLAGS = {
    "lanes_avx2.cpp": ["-mno-avx512f"] if platform.machine() in ("x86_64", "AMD64") else [],
    "gradient_products.cpp": ["-ffp-contract=fast"],
}
"""Flags of single files besides."""

KINDS = ("f32_i32", "f32_i64", "f64_i64", "i32_i32", "i32_i64")
"""Types of the kernels: that of charges, and that of the values computed from charges."""


TYPES = {"int64_t": ctypes.c_int64, "double": ctypes.c_double}
"""Types of the fields of the kernels' structs, besides pointers."""


def _fields(file: str, struct: str) -> list[tuple[str, Any]]:
    """Fields of a struct of the kernels, by its declaration in C++."""
    text = Path(__file__).with_name(file).read_text()
    body = text.partition(f"struct {struct} {{")[2].partition("\n};")[0]
    found: list[tuple[str, Any]] = []
    for declaration in re.sub("//.*", "", body).split(";")[:-1]:
        kind, names = declaration.split(maxsplit=1)
        if kind == "const":
            kind, names = names.split(maxsplit=1)
        for name in map(str.strip, names.split(",")):
            is_pointer = name.startswith("*")
            found.append((name.strip("*"), ctypes.c_void_p if is_pointer else TYPES[kind]))
    return found


class Layer(ctypes.Structure):
    """Arguments of a kernel; golden/kernels.h explains the fields."""

    _fields_ = _fields("kernels.h", "Layer")


class FloatLayer(ctypes.Structure):
    """Arguments of a float kernel; golden/float_kernels.cpp explains the fields."""

    _fields_ = _fields("float_kernels.cpp", "FloatLayer")


class Cells(ctypes.Structure):
    """Arguments of a kernel on an array's cells; golden/array_kernels.cpp explains the fields."""

    _fields_ = _fields("array_kernels.cpp", "Cells")


POINTERS = [name for name, kind in _fields("kernels.h", "Layer") if kind is ctypes.c_void_p]
"""Fields of `Layer` that are addresses of tensors."""

SIZES = {"layer_size": Layer, "float_layer_size": FloatLayer, "cells_size": Cells}
"""Functions of the kernels that return the size of a struct, as the compiler sees it."""

ONCE = (
    "a layer's gradients can be had once, because they take the place of its values; add the "
    "losses before one backward pass, or run the layer again"
)
"""Error message of a second backward pass."""

Call = TypeVar("Call", bound=Callable[..., Any])


def uncompiled(call: Call) -> Call:
    """A function that `torch.compile` leaves as it is, and that `torch.jit.trace` refuses.

    The kernels take addresses of tensors. Compiled, these may be gone before a kernel runs; a trace
    would keep the numbers of its example. Compiled arithmetic may round otherwise, too.
    """

    disabled: list[Callable[..., Any]] = []

    @functools.wraps(call)
    def outside(*args: Any, **named: Any) -> Any:
        if torch.jit.is_tracing():  # type: ignore[attr-defined]
            raise WordlineError(
                "A quantised network cannot be traced: its kernels are not PyTorch's; save "
                "to_program(), or export the float network."
            )
        # Without the compiler's modules, which take 2 s to load, nothing is compiled.
        if "torch._dynamo" not in sys.modules:
            return call(*args, **named)
        if not disabled:
            disabled.append(torch.compiler.disable(call))
        return disabled[0](*args, **named)

    return cast(Call, outside)


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The kernels, compiled if necessary; None without g++ or if they do not compile."""
    compiler = shutil.which("g++")
    if compiler is None:
        return None
    code = "".join(map(source.data_hash, SOURCES))
    key = hashlib.sha256(f"{code}{FLAGS}{OWN_FLAGS}".encode() + machine(compiler)).hexdigest()[:16]
    name = f"kernels-{key}.so"
    try:
        with contextlib.suppress(OSError):
            return _load(compiler, files.cache_dir() / "kernels" / name)
    except subprocess.CalledProcessError as error:
        print(f"wordline: the kernels did not compile: {error.stderr}", file=sys.stderr)
    return None


@lru_cache
def machine(compiler: str, arch: str = "native") -> bytes:
    """Compiler version, and the flags that -march stands for.

    Machines that share a cache folder may differ in both.
    """
    # -### prints version and expanded flags; --help=target prints nothing with --version.
    query = [compiler, f"-march={arch}", "-###", "-E", "-x", "c++", "/dev/null"]
    return subprocess.run(query, capture_output=True, check=False).stderr


def _load(compiler: str, path: Path) -> ctypes.CDLL:
    """Load the kernels from a file of the cache; without one that loads, compile them first.

    If the cache cannot be written, they are for this process alone.
    """
    with contextlib.suppress(OSError):
        return _declare(ctypes.CDLL(str(path)))
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / path.name
        _compile(compiler, built)
        with contextlib.suppress(OSError):
            with files.atomic(path) as beside:
                shutil.copyfile(built, beside)
            return _declare(ctypes.CDLL(str(path)))
        return _declare(ctypes.CDLL(str(built)))


def _compile(compiler: str, built: Path) -> None:
    code = [source for source in SOURCES if source.suffix == ".cpp"]
    objects = [str(built.with_name(f"{source.stem}.o")) for source in code]
    each = [
        [compiler, *FLAGS, *OWN_FLAGS.get(source.name, []), "-c", str(source), "-o", target]
        for source, target in zip(code, objects, strict=True)
    ]
    with ThreadPoolExecutor() as pool:  # of processes, all at once
        list(pool.map(_run, each))
    _run([compiler, *FLAGS, "-o", str(built), *objects])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _declare(loaded: ctypes.CDLL) -> ctypes.CDLL:
    kernels = [f"{name}_{kind}" for name in ("begin", "step") for kind in KINDS]
    for kernel in (*kernels, "multiply", "run_lanes", "run_lanes_avx2"):
        function = getattr(loaded, kernel)
        function.argtypes, function.restype = (ctypes.POINTER(Layer), ctypes.c_int64), None
    for kind in KINDS:
        if kind.startswith("f"):
            function = getattr(loaded, f"run_back_{kind}")
            function.argtypes = (ctypes.POINTER(Layer), ctypes.c_int64)
            function.restype = ctypes.c_int64
    for name in ("float_step", "float_step_back"):
        function = getattr(loaded, name)
        function.argtypes, function.restype = (ctypes.POINTER(FloatLayer), ctypes.c_int64), None
    for name in ("program_cells", "program_cells_back", "measure_cells", "pack_cells"):
        function = getattr(loaded, name)
        function.argtypes, function.restype = (ctypes.POINTER(Cells),), None
    word = ctypes.c_uint64
    loaded.normal_numbers.argtypes = (word, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
    loaded.philox_words.argtypes = (word, ctypes.c_int64, ctypes.c_void_p)
    loaded.digest.argtypes, loaded.digest.restype = (ctypes.c_void_p, ctypes.c_int64), word
    loaded.normal_numbers.restype = loaded.philox_words.restype = None
    for name in ("tiles", "lanes", "vnni", *SIZES):
        getattr(loaded, name).restype = ctypes.c_int64
    for name, struct in SIZES.items():
        assert getattr(loaded, name)() == ctypes.sizeof(struct), f"{struct} was misread"
    return loaded


def tile_rows(shape: ArrayShape) -> Tensor:
    """First row of each row tile, and the number of rows; not to be written."""
    return _tile_rows(shape.row_tiles)


@lru_cache
@torch.inference_mode(False)
def _tile_rows(tiles: tuple[range, ...]) -> Tensor:
    return torch.tensor([0, *(tile.stop for tile in tiles)])


def digest(tensors: Sequence[Tensor]) -> int:
    """A number of 64 bits that changes with the numbers of tensors; contiguous, on the CPU."""
    given = [t.data_ptr() for t in tensors] + [t.numel() * t.element_size() for t in tensors]
    found: int = library().digest((ctypes.c_int64 * len(given))(*given), len(tensors))  # type: ignore[union-attr]
    return found


def run_on_cells(name: str, tensors: dict[str, Tensor], shape: ArrayShape, **more: int) -> None:
    """Run a kernel on an array's cells.

    tensors: Its arguments by name, contiguous.
    more: Its arguments that are numbers, besides those of the shape.
    """
    tensors = tensors | {"tile_rows": tile_rows(shape)}
    fields: dict[str, Any] = {"gates": shape.gates, "units": shape.units, "rows": shape.rows}
    fields |= {"tiles": len(shape.row_tiles), "boundaries": len(tensors.get("between", ()))}
    fields |= {key: tensor.data_ptr() for key, tensor in tensors.items()}
    getattr(library(), name)(Cells(**fields, **more))


@lru_cache(maxsize=1)
def has_tiles() -> bool:
    """Whether the kernel `multiply` works here: integer products on the CPU's matrix unit."""
    loaded = library()
    return loaded is not None and bool(loaded.tiles())


@lru_cache(maxsize=1)
def has_lanes() -> bool:
    """Whether the kernel `run_lanes` works here: sequences in the lanes of the CPU's vectors."""
    loaded = library()
    return loaded is not None and bool(loaded.lanes())


@lru_cache(maxsize=1)
def has_vnni() -> bool:
    """Whether `run_lanes` multiplies and adds in one instruction (VNNI)."""
    loaded = library()
    return loaded is not None and bool(loaded.vnni())
