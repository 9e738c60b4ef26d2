"""Activity of a network at gate level, counted from a netlist and its simulation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gen.cost import energy
from gen.cost.activity import Activity
from gen.impl import memories, yosys
from golden import dac, network
from golden.description import Description
from golden.program import Program
from hw import timing


@dataclass(frozen=True)
class Memory:
    """A memory macro, with the number of words read and written in the simulation."""

    block: str
    shape: memories.Shape
    reads: float
    writes: float


@dataclass(frozen=True)
class Array:
    """A crossbar macro: converters, devices, and their activity in the simulation.

    conversions: Number of ADC conversions.
    bits_changed: Number of bit changes of the codes on the rows.
    reads: Number of device reads. Each is weighted by the device's conductance relative to the
        largest one, and by the square of its row's code relative to that of the largest code.
    """

    block: str
    lanes: int
    rows: int
    row_bits: int
    devices: int
    conversions: float
    bits_changed: float
    reads: float = 0.0


@dataclass(frozen=True)
class Counted:
    """Counts of one design in one simulation.

    steps: Number of time steps, over all passes.
    operations: A multiplication and an addition are two.
    period_ns: Clock period of the synthesis (ns).
    period_cycles: Cycles between two samples of a lane.
    energy: Dynamic energy of the standard cells at 180 nm, by block (pJ).
    area: Area of the standard cells at 180 nm, by block (um2).
    """

    steps: int
    operations: int
    cycles: float
    period_ns: float
    adc_bits: int
    period_cycles: int
    adc_kind: str
    energy: dict[str, float]
    area: dict[str, float]
    memories: list[Memory]
    arrays: list[Array] = field(default_factory=list)


def count(
    program: Program,
    x: Tensor,
    lengths: Tensor,
    mapped: yosys.Mapped,
    energies: Mapping[str, energy.Energy],
    activity: Activity,
    instances: Mapping[str, str],
    *,
    period_ns: float,
    cycle: float,
) -> Counted:
    """Count the activity of a netlist in a simulation.

    energies: Energy by block.
    activity: Switching activity of the simulation.
    instances: Module of each macro in the netlist. With digital arrays there are no crossbar
        macros.
    period_ns: Clock period of the synthesis (ns).
    cycle: Clock period in the time units of `activity`.
    """
    description = program.description
    on = {name: high / cycle for name, high in activity.high.items()}
    reads = read_devices(program, x, lengths)
    arrays, found = [], []
    for instance, module in sorted(instances.items()):
        block = yosys.block_name(instance)
        shape = memories.of_module(module)
        if shape is not None:
            ports = [
                f"{instance}/read_en{f'[{n}]' * (shape.reads > 1)}" for n in range(shape.reads)
            ]
            read = sum(on[port] for port in ports)
            written = max(on[f"{instance}/write_en[{n}]"] for n in range(shape.width))
            found.append(Memory(block, shape, read, written))
            continue
        name = block.partition(".array")[0].replace("layer_", "layers.")
        macro = description.arrays[name].macro
        rows = f"{instance}/rows["
        changed = sum(n for net, n in activity.changes.items() if net.startswith(rows))
        arrays.append(
            Array(
                block=block,
                lanes=macro.lanes,
                rows=macro.rows,
                row_bits=description.dac.drive_width,
                devices=2 * macro.rows * macro.units * macro.gates,
                conversions=on[f"{instance}/sample"] * macro.lanes,
                bits_changed=changed,
                reads=reads[name] / description.arrays[name].macros,
            )
        )
    return Counted(
        steps=int(lengths.sum()) * program.votes,
        operations=operations(description, lengths) * program.votes,
        cycles=activity.changes["aclk"] / 2,
        period_ns=period_ns,
        adc_bits=description.adc.bits,
        adc_kind=description.adc.kind,
        period_cycles=max(timing.period(shape) for shape in description.arrays.values()),
        energy={name: e.dynamic for name, e in energies.items()},
        area={block.name: block.area for block in mapped.blocks},
        memories=found,
        arrays=arrays,
    )


def operations(description: Description, lengths: Tensor) -> int:
    """Number of operations of all arrays for sequences of these lengths, in one pass."""
    return round(operations_of(description, int(lengths.sum()), len(lengths)))


def operations_of(description: Description, steps: float, sequences: float) -> float:
    """Number of operations of all arrays for numbers of steps and sequences."""
    total = 0.0
    for name, shape in description.arrays.items():
        once = name == "head" and not description.output.every_step
        total += 2 * shape.rows * shape.units * shape.gates * (sequences if once else steps)
    return total


def read_devices(program: Program, x: Tensor, lengths: Tensor) -> dict[str, float]:
    """Weighted device reads of each array over all samples, see `Array.reads`."""
    description = program.description
    most, high = description.device.conductance_max, description.dac.drive_high
    trace = network.run(program, x, lengths)
    votes = program.votes
    x, lengths = x.repeat_interleave(votes, 0), lengths.repeat_interleave(votes)
    valid = torch.arange(x.shape[1]) < lengths[:, None]
    found, inputs = {}, x.long()
    for n, layer in enumerate(program.layers):
        h = trace.layers[n].h.long()
        before = torch.full_like(h[:, :1], description.dac.zero)
        rows = torch.cat([inputs, torch.cat([before, h[:, :-1]], 1)], 2)[valid]
        found[f"layers.{n}"] = _conducted(layer, rows, description, most * high**2)
        inputs = h
    if program.head is not None:
        last = torch.arange(x.shape[1]) == lengths[:, None] - 1
        rows = inputs[valid if description.output.every_step else last]
        found["head"] = _conducted(program.head, rows, description, most * high**2)
    return found


def _conducted(array: Any, rows: Tensor, description: Description, unit: int) -> float:
    conductance = (array.positive + array.negative).sum((0, 1)).double()  # by row
    driven = sum((plane.double() ** 2) @ conductance for plane in dac.planes(rows, description.dac))
    return float(driven.sum()) / unit  # type: ignore[union-attr]


def from_dict(found: dict[str, Any]) -> Counted:
    """Restore `Counted` from the result of `dataclasses.asdict`."""
    kept = [Memory(**m | {"shape": memories.Shape(**m["shape"])}) for m in found["memories"]]
    arrays = [Array(**array) for array in found["arrays"]]
    return Counted(**found | {"memories": kept, "arrays": arrays})
