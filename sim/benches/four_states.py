"""Checks of a design that starts with X in every register and memory (sim/icarus.py)."""

from typing import Any

import cocotb
from cocotb.handle import ArrayObject, HierarchyObject, LogicObject, PackedObject
from cocotb.triggers import RisingEdge

from sim.benches.streams import cycle

HANDSHAKES = ("valid", "ready", "enable")
"""Endings of the names of signals that say when others count."""

WRITTEN_BY_RUNS = ("state", "storage", "kept", "counts", "sums")
"""Memories that no load writes: a sequence writes each word before it reads it."""

LEVELS_READ = "codes_read_data"
"""Register of the level tables, which an image without level numbers does not use."""


class FourStates:
    """What must be known of a design, and when.

    From the reset on, in each cycle: its outputs, and every handshake inside. After a load: every
    word of each loaded memory. After sequences: everything, but words of memories that those did
    not need, and LEVELS_READ.
    """

    def __init__(
        self, block: Any, ports: dict[str, Any], clk: Any, reset: Any, *, active: int = 1
    ) -> None:
        """Check outputs and handshakes until the simulation ends.

        ports: Ports of `block`, as in the sidecar.
        active: Value of `reset` that resets.
        """
        self.signals, self.words = _inside(block)
        handshakes = {n: s for n, s in self.signals.items() if n.endswith(HANDSHAKES)}
        assert handshakes and self.words
        cocotb.start_soon(known(clk, reset, active, handshakes | outputs(block, ports)))

    def loaded(self) -> None:
        """Check that every loaded memory is known."""
        self._expect(self.words)

    def over(self) -> None:
        """Check that everything is known, after sequences."""
        self._expect(self.signals | self.words)

    def _expect(self, found: dict[str, Any]) -> None:
        names = [
            name
            for name, signal in found.items()
            if not signal.value.is_resolvable
            and _memory(name) not in (*WRITTEN_BY_RUNS, LEVELS_READ)
        ]
        assert not names, f"X in {', '.join(names)} in cycle {cycle()}"


def outputs(block: Any, ports: dict[str, Any]) -> dict[str, Any]:
    """Outputs of a block by name, but for payloads, which count, and are read, only while valid.

    ports: As in the sidecar.
    """
    return {
        name: getattr(block, name)
        for name, port in ports.items()
        if port["direction"] == "output" and not name.endswith("__payload")
    }


async def known(clk: Any, reset: Any, active: int, found: dict[str, Any]) -> None:
    """Check, until the simulation ends, that no bit is X or Z in a cycle without reset."""
    while True:
        await RisingEdge(clk)
        if reset.value != active:
            names = [name for name, signal in found.items() if not signal.value.is_resolvable]
            assert not names, f"X on {', '.join(names)} in cycle {cycle()}"


def _memory(word: str) -> str:
    """Name of the memory of a word, without its path."""
    return word.rpartition(".")[2].partition("[")[0]


def _inside(block: Any, path: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Nets and registers, and words of memories, of a block and of those in it, by their paths."""
    signals: dict[str, Any] = {}
    words: dict[str, Any] = {}
    for handle in block:
        name = f"{path}{handle._name}"
        if isinstance(handle, ArrayObject):
            words |= {f"{name}[{n}]": handle[n] for n in handle.range}
        elif isinstance(handle, LogicObject | PackedObject):
            signals[name] = handle
        elif isinstance(handle, HierarchyObject):
            own, more = _inside(handle, f"{name}.")
            signals, words = signals | own, words | more
    return signals, words
