"""Test one block of a design: emit it, build it, run its bench sim/benches/bench_<block>.py.

The benches need only NumPy, like that of the chip: this module computes all golden vectors.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In
from torch import Tensor

from gen.rtl import control, image, sidecar
from gen.verilog.components import to_verilog
from golden.description import Description
from golden.errors import WordlineError
from golden.geometry import ArrayShape
from golden.program import (
    Program,
)
from golden.ranges import ceil_div
from hw import timing
from hw.adc import Readout
from hw.array import crossbar_model
from hw.dac import DacSequencer
from hw.head import Head
from hw.layer import GATES, RecurrentLayer
from hw.loadmap import LoadMap
from hw.macro import columns
from hw.macro.interface import PARAMETERS
from hw.replay import Replay
from hw.voter import Voter
from sim import chip
from sim.benches import streams
from sim.block_vectors import (
    SEQUENCES,
    BlockStimuli,
    adc_vectors,
    crossbar_vectors,
    dac_vectors,
    first_layer,
    gates_vectors,
    head_vectors,
    layer_vectors,
    most_votes,
    replay_vectors,
    voter_vectors,
)
from sim.verilator import QUICK, LeanVerilator


class QuickVerilator(LeanVerilator):
    """Builds in the least time: a block's bench is shorter than an optimised build."""

    OPTIONS = ("-O1", "--no-timing")
    CFLAGS = "-O0"
    MAKE = QUICK


Edit = Callable[[Path, Path], None]
"""Changes emitted Verilog, and the control file of Verilator that goes with it."""


@dataclass(frozen=True)
class Block:
    """How to test one block.

    make: Makes the block.
    vectors: Inputs and expected outputs, mostly (sequences, steps, ...).
    timing: Latency and throughput that the block's docstring promises, in cycles.
    array: Array that the block belongs to. Its regions of the load map load the block's ports of
        the same names.
    cells: Stream that loads each region of cells.
    trace: Instance inside that has the signal `trace`, and its component.
    source: Additional Verilog that the block needs.
    """

    make: Callable[[Description], Any]
    vectors: Callable[["BlockStimuli"], dict[str, Tensor]]
    timing: Callable[[Any], dict[str, int]] = lambda block: {}
    array: str = "layers.0"
    cells: dict[str, str] = field(default_factory=dict)
    trace: Callable[[Any], tuple[str, Any]] | None = None
    source: Path | None = None


class Untraced(wiring.Component):
    """Wraps a block as `block`, without its observation ports.

    A top with a port `trace` does not compile: Verilator's class of the top has a member of that
    name.
    """

    def __init__(self, block: wiring.Component) -> None:
        self.block = block
        members = block.signature.members
        super().__init__({k: v for k, v in members.items() if k not in ("trace", "trace_valid")})

    def elaborate(self, platform: object) -> Module:
        """Connect all ports."""
        m = Module()
        m.submodules.block = self.block
        for name in self.signature.members:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(self.block, name))
        return m


def simulate(
    block: str,
    description: Description,
    folder: Path,
    *,
    seed: int = 0,
    sequences: int = SEQUENCES,
) -> dict[str, Any]:
    """Emit, build and run a block of the description's first layer, or its head, in `folder`.

    Returns `passed`, `values_compared`, `build_seconds` and `sim_seconds`. The bench's output is in
    sim.log. Arguments and errors are those of `prepare`.
    """
    started = time.monotonic()
    prepared = prepare(block, description, folder, seed=seed, sequences=sequences)
    built = time.monotonic()
    result = chip.run(**prepared.arguments, module=f"sim.benches.bench_{block}", seed=seed)
    return result | {
        "build_seconds": round(built - started, 2),
        "sim_seconds": round(time.monotonic() - built, 2),
    }


def prepare(
    block: str,
    description: Description,
    folder: Path,
    *,
    seed: int = 0,
    sequences: int = SEQUENCES,
    edit: Edit | None = None,
    runner: chip.AnyVerilator | None = None,
) -> chip.Chip:
    """Emit and build a block of the description's first layer, or its head, in `folder`.

    With an odd seed, cells are programmed by level numbers if the block can do that, else by
    conductance codes.

    seed: Seed of stimuli and stalls.
    sequences: Number of sequences.
    edit: What changes the emitted files before they are built.
    runner: How to build.

    Raises WordlineError for an unknown block, or for one that cannot be built.
    """
    if block not in BLOCKS:
        raise WordlineError(f"Unknown block {block!r}; choose one of {', '.join(BLOCKS)}.")
    kind, top = BLOCKS[block], f"wordline_{block}"
    component = kind.make(description)
    folder.mkdir(parents=True, exist_ok=True)
    source, control = folder / f"{top}.v", folder / f"{top}.vlt"
    inside, traced = kind.trace(component) if kind.trace else (None, None)
    more = kind.source.read_text() if kind.source else ""
    source.write_text(to_verilog(component, top) + more)
    control.write_text(_control_file(component, top, inside))
    if edit is not None:
        edit(source, control)

    stimuli = BlockStimuli(
        description, seed, sequences, on_levels="cell_levels" in kind.cells and seed % 2 == 1
    )
    vectors = {name: t.numpy() for name, t in kind.vectors(stimuli).items()}
    vectors["lengths"] = stimuli.lengths.numpy()
    np.savez(folder / "vectors.npz", **vectors)  # type: ignore[arg-type]
    writes, cells = _load(kind, stimuli.program, component)
    other_writes, other_cells = _load(kind, stimuli.other, component)
    region = LoadMap(description).regions[f"{kind.array}.parameters"]
    place = dict.fromkeys(dict(region.fields), 0) | {"parameter": PARAMETERS.index("run")}
    run = region.address(**place) - region.base
    job = {
        "vectors": str((folder / "vectors.npz").absolute()),
        "fields": {
            name: _fields(name, port.shape())
            for name, port in _ports(component).items()
            if isinstance(port, data.View)
        },
        "trace": sidecar.fields(traced.trace.shape()) if traced is not None else None,
        "trace_inside": inside,
        "sizes": _sizes(description.arrays[kind.array]),
        "timing": kind.timing(component),
        "writes": writes,
        "cells": cells,
        "other_writes": other_writes,
        "other_cells": other_cells,
        "run_address": run,
        "settings": [name for name in ("votes", "by_sum") if name in component.signature.members],
        "most_votes": most_votes(description),
        "replay_steps": description.voting.replay_steps,
    }
    built = chip.build([control, source], top, folder, runner=runner or QuickVerilator())
    return chip.Chip(built, top, folder, job)


def _fields(name: str, layout: data.Layout) -> dict[str, Any]:
    """Layout of a port; a bare array is its only field, `name`."""
    if isinstance(layout, data.ArrayLayout):
        layout = data.StructLayout({name: layout})
    return sidecar.fields(layout)


def _ports(component: wiring.Component) -> dict[str, Any]:
    return {"__".join(map(str, path)): p for path, _, p in component.signature.flatten(component)}


def _control_file(component: wiring.Component, top: str, inside: str | None) -> str:
    """Verilator control file: ports and the trace are public, style warnings are waived."""
    lines = ["`verilator_config"]
    lines += [f'lint_off -rule {rule} -file "*{top}.v"' for rule in control.WAIVED]
    inputs = {
        "__".join(map(str, path_))
        for path_, member, _ in component.signature.flatten(component)
        if member.flow == In
    }
    for port in ("clk", "rst", *_ports(component)):
        access = "public_flat_rw" if port in inputs | {"clk", "rst"} else "public_flat_rd"
        lines.append(f'{access} -module "{top}" -var "{port}"')
    if inside:
        lines += [
            f'public_flat_rd -module "{top}.{inside}" -var "{name}"'
            for name in ("trace", "trace_valid")
        ]
    return "\n".join(lines) + "\n"


def _load(
    kind: Block, program: Program, component: Any
) -> tuple[dict[str, list[list[int]]], dict[str, list[int]]]:
    """Writes of a program to each of a block's write ports, and to its streams for cells."""
    words = image.words(program)
    writes: dict[str, list[list[int]]] = {}
    cells: dict[str, list[int]] = {}
    for region in LoadMap(program.description).regions.values():
        array, _, name = region.name.rpartition(".")
        if array != kind.array:
            continue
        here = [[at - region.base, word] for at, word in words if region.holds(at)]
        if name in kind.cells:
            port = kind.cells[name]
            fields = sidecar.fields(getattr(component, port).payload.shape())
            cells[port] = [
                streams.pack(fields, **_split(region.fields, offset), **_split(region.data, word))
                for offset, word in here
            ]
        elif name in component.signature.members:
            writes[name] = here
    return writes, cells


def _split(fields: tuple[tuple[str, int], ...], word: int) -> dict[str, int]:
    values = {}
    for name, width in fields:
        values[name] = word & ((1 << width) - 1)
        word >>= width
    return values


def _sizes(shape: ArrayShape) -> dict[str, Any]:
    description = shape.description
    return {
        "rows": shape.rows,
        "units": shape.units,
        "gates": shape.gates,
        "lanes": shape.lanes,
        "blocks": shape.blocks,
        "selects": shape.selects,
        "period": timing.period(shape),
        "conversion_cycles": timing.conversion_cycles(shape),
        "settle": timing.settle(shape),
        "samples": shape.samples,
        "planes": description.dac.planes,
        "row_tiles": [[tile.start, tile.stop] for tile in shape.row_tiles],
        "flash": description.adc.kind == "flash",
        "bits": description.adc.bits,
        "adc_shift": shape.adc_shift,
        "gain_bits": description.adc.gain_bits,
        "units_per_beat": timing.units_per_beat(shape),
        "words": ceil_div(shape.units, timing.units_per_beat(shape)),
    }


def _make_dac(description: Description) -> DacSequencer:
    shape = first_layer(description)
    return DacSequencer(
        inputs=description.network.inputs,
        beat=description.input_beat,
        units=shape.units,
        units_per_beat=timing.units_per_beat(shape),
        description=description,
    )


def _make_head(description: Description) -> Head:
    return Head(description.head, beat=timing.units_per_beat(description.layers[-1]))


def _head_timing(block: Head) -> dict[str, int]:
    """Timing of the head, derived from its blocks' docstrings.

    latency: Cycles from the last h to the class or the last score. A conversion takes its period
        or, if longer, the cycles in which its scores leave.
    cycles: Cycles between two outputs.
    """
    shape = block.shape
    tail = shape.units - (shape.blocks - 1) * shape.lanes
    # All planes of all selects but the last, then those of the last.
    each, planes = timing.period(shape), shape.description.dac.planes
    conversions = (shape.selects - 1) * max(planes * each, shape.lanes) + (planes - 1) * each
    scores = block.scores.latency + (tail - 1)
    latency = block.dac.latency + conversions + block.array.readout.latency + scores
    return {
        "latency": latency + (block.decision.latency if block.decision else 0),
        "cycles": timing.output_cycles(shape.description),
    }


def _make_replay(description: Description) -> Replay:
    beat = description.input_beat
    beats = ceil_div(description.network.inputs, beat)
    return Replay(beats=beats, beat=beat, description=description)


BLOCKS = {
    "dac": Block(
        make=_make_dac,
        vectors=dac_vectors,
        timing=lambda block: {
            "latency": block.latency,
            "feedback_latency": timing.feedback_latency(block.description),
            "beats": block.beats,
        },
    ),
    "adc": Block(
        make=lambda description: Readout(first_layer(description)),
        vectors=adc_vectors,
        timing=lambda block: {"latency": block.latency},
    ),
    "crossbar": Block(
        make=lambda description: crossbar_model(first_layer(description), columns.ColumnsInstance),
        vectors=crossbar_vectors,
        source=columns.SOURCE,
        cells={"cells": "program"},
    ),
    "gates": Block(
        make=lambda description: Untraced(GATES[description.cell.kind](first_layer(description))),
        vectors=gates_vectors,
        timing=lambda top: {"latency": top.block.latency},
        trace=lambda top: ("block", top.block),
    ),
    "layer": Block(
        make=lambda description: RecurrentLayer(
            first_layer(description), beat=description.input_beat
        ),
        vectors=layer_vectors,
        timing=lambda block: {
            "cycles_per_step": timing.step_cycles(block.shape.description, 0),
            "beats": block.dac.beats,
        },
        cells={name: name for name in ("cells", "cell_levels")},
        trace=lambda block: ("gates", block.gates),
    ),
    "head": Block(
        make=_make_head,
        vectors=head_vectors,
        timing=_head_timing,
        array="head",
        cells={name: name for name in ("cells", "cell_levels")},
        trace=lambda block: ("scores", block.scores),
    ),
    "replay": Block(
        make=_make_replay,
        vectors=replay_vectors,
        timing=lambda block: {"beats": block.beats},
    ),
    "voter": Block(
        make=Voter,
        vectors=voter_vectors,
        timing=lambda block: {"latency": block.latency},
    ),
}
