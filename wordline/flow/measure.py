"""Gate-level measurement of a design or its digital twin: map, simulate a test set, count."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from torch import Tensor

from gen.cost import counts, ppa, twin
from gen.impl import memories, tools, yosys
from gen.ip.options import PERIOD_NS
from golden import files
from golden.errors import WordlineError
from golden.program import Program
from sim import netlist
from sim.chip import Progress
from wordline.flow import cache


def measure(
    program: Program,
    x: Tensor,
    lengths: Tensor,
    folder: Path,
    side: str,
    *,
    library: Path | None = None,
    stage: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
) -> counts.Counted:
    """Map a program's design, simulate its netlist, compare with golden, and count its activity.

    Memories become macros. Counts are kept in `folder` and reused if nothing they depend on has
    changed.

    x, lengths: DAC codes and lengths of the sequences.
    side: "analog", or "digital" for the digital twin.
    library: Folder of the cells' files; None: where Debian installs them.
    stage: Called with the name of each stage.

    Raises WordlineError if a tool or the cells are missing, or if the netlist and golden differ.
    """
    program = twin.twin(program) if side == "digital" else program
    description, cells = program.description, ppa.CELLS
    of_cells = (cells.liberty(library), cells.verilog(library), cells.lef(library))
    key = cache.digest(
        *(description.to_toml(), side, [path and files.sha256(path) for path in of_cells]),
        (tools.sta_version(tools.find_sta()), tools.icarus_version()),
        {name: cache.tensor_digest(tensor) for name, tensor in program.tensors().items()},
        *(cache.tensor_digest(x), cache.tensor_digest(lengths)),
        cache.netlist(description.cell.kind),
        sorted(field.name for field in fields(counts.Counted)),
    )
    kept = folder / "counted.json"
    if kept.exists():
        found = json.loads(kept.read_text())
        if found["key"] == key:
            return counts.from_dict(found["counted"])
    mapped = yosys.map_cells(
        description,
        cells,
        folder,
        macro=ppa.SIDES[side],
        memory_bits=memories.LEAST,
        library=library,
        progress=stage,
    )
    stage("simulate")
    mapped_to = folder / "netlist.v"
    done = netlist.simulate_netlist(
        *(program, x, lengths, folder / "simulation"),
        [mapped_to, folder / "memories.v", cells.verilog(library)],
        registers=yosys.registers(mapped_to, mapped.library),
        macros=side == "analog",
        hasty=True,
        progress=progress,
    )
    if not done["passed"]:
        raise WordlineError(
            f"The netlist of {description.name} does not do what golden does; "
            f"{folder / 'simulation' / 'icarus' / 'sim.log'} says where."
        )
    stage("count")
    counted = counts.count(
        *(program, x, lengths, mapped),
        *netlist.counted(description, cells, folder, library),
        yosys.macro_instances(mapped_to),
        period_ns=PERIOD_NS,
        cycle=netlist.CYCLE,
    )
    files.write_text(kept, json.dumps({"key": key, "counted": asdict(counted)}, indent=1))
    return counted
