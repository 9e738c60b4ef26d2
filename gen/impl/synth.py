"""Synthesis onto standard cells: mapping with Yosys, timing with OpenSTA."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from gen.impl.cells import Cells
from gen.impl.memories import Shape
from gen.impl.sta import Timing, shortest, time_netlist
from gen.impl.tools import find_sta, sta_version
from gen.impl.yosys import Block, map_cells
from gen.ip import package
from gen.ip.options import PERIOD_NS
from golden import files
from golden.description import Description


@dataclass(frozen=True)
class Result:
    """Result of a synthesis.

    blocks: Cells and area by block.
    period_ns: Shortest clock period without a violated path (ns).
    unconstrained: Endpoints without a constraint, except constants.
    worst: Report of the critical path by OpenSTA.
    memories: Number of memory black boxes by shape.
    versions: Versions of the tools.
    """

    blocks: list[Block]
    period_ns: float
    unconstrained: list[str]
    worst: str
    memories: dict[Shape, int]
    versions: dict[str, str]

    @property
    def area(self) -> float:
        """Area of all standard cells (um2)."""
        return sum(block.area for block in self.blocks)


def synthesise(
    description: Description,
    cells: Cells,
    folder: Path,
    *,
    period_ns: float = PERIOD_NS,
    library: Path | None = None,
    memory_bits: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Result:
    """Map a design onto standard cells, with its crossbar macros as black boxes, and time it.

    Writes into `folder`: package/, netlist.v (flat), memories.v, memories_stub.v, area.json,
    timing.rpt, map.log, finish.log.

    memory_bits: Make memories of at least this many bits black boxes, for a memory compiler. Paths
        to and from them are not timed. None: all memories are flip-flops.

    Raises WordlineError if a tool or the cells are missing or fail, or if the design has a latch or
    a combinational loop, which is a bug in hw/.
    """
    liberty, top = cells.liberty(library), package.axi_module(description)
    sta = find_sta()
    mapped = map_cells(
        *(description, cells, folder),
        memory_bits=memory_bits,
        period_ns=period_ns,
        library=library,
        progress=progress,
    )
    blocks, source = mapped.blocks, folder / "package"
    progress("time")
    sidecar = json.loads((source / f"{description.name}.json").read_text())

    def time(period_ns: float) -> Timing:
        texts = package.timing(description, sidecar["axi"]["ports"], period_ns)
        latch = mapped.library.latch
        gate = "" if latch is None else latch.cell
        return time_netlist(texts, top, sta, liberty, folder, gate)

    period, timed = shortest(time, period_ns)
    result = Result(
        blocks=blocks,
        period_ns=period,
        unconstrained=[end for end in timed.unconstrained if end not in mapped.constants],
        worst=timed.worst,
        memories=mapped.memories,
        versions={"pyosys": metadata.version("pyosys"), "opensta": sta_version(sta)},
    )
    files.write_text(folder / "timing.rpt", timed.worst)
    return result
