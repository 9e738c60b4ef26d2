"""Synthesis onto standard cells: mapped with Yosys, timed with OpenSTA."""

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
    """A synthesis. period_ns: the shortest with which every path is in time. unconstrained: paths
    that no clock judges. worst: the path that decides, as OpenSTA reports it. memories: black boxes
    by their shape, and how many there are."""

    blocks: list[Block]
    period_ns: float
    unconstrained: list[str]
    worst: str
    memories: dict[Shape, int]
    versions: dict[str, str]

    @property
    def area(self) -> float:
        """um2 of all standard cells."""
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
    """Map a design onto standard cells, its crossbar macros black boxes, and time it.

    memory_bits: memories of at least so many bits are black boxes, for a memory compiler; paths
    into and out of them are not timed.

    Leaves in `folder`: package/, netlist.v (flat), memories.v, memories_stub.v, area.json,
    timing.rpt, map.log, finish.log.
    Raises WordlineError where a tool or the cells are missing or refuse, or where the design has a
    latch or a combinational loop, which is a mistake in hw/.
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
