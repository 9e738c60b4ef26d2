"""Energy and area of an accelerator, and of its digital twin: what was counted in a simulation of
the netlist, and what each of it costs.

Digital logic is our own synthesis at 180 nm (gen/impl/synth.py), scaled (gen/cost/technology.py);
the analog parts and memories are published figures (gen/cost/components.toml). Each figure has a
low, a typical and a high value, and all results have.
"""

import dataclasses
import itertools
import math
import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.table import Column, Table
from torch import Tensor

from gen.cost import energy, technology
from gen.cost.activity import Activity
from gen.impl import cells, memories, yosys
from gen.ip.options import Macro
from golden import dac, network
from golden.description import Description
from golden.errors import WordlineError
from golden.program import Program

COMPONENTS = Path(__file__).with_name("components.toml")

NODE = 32
"""In nm, of the components' figures and of all results."""

ADC_BITS = 4
"""Of the ADCs whose energy and area are among the figures."""

CELLS = cells.CELLS["osu018"]
CELLS_NODE = 180

CYCLE = technology.scale(CELLS_NODE, NODE).delay
"""What a clock's period at the cells' node is multiplied by."""

SIDES: dict[str, Macro] = {"analog": "blackbox", "digital": "digital"}
"""A design with crossbars, and its twin: the body of the macros."""

CASES = ("low", "typical", "high")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A published figure: what it is of, its values, and where they are from."""

    name: str
    unit: str
    low: float
    typical: float
    high: float
    source: str


Figures = dict[str, Figure]
Values = dict[str, float]


def read_figures(path: Path = COMPONENTS) -> Figures:
    """Figures from a TOML file. Raises WordlineError where one is missing, or is not in order."""
    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text)
    except OSError as error:
        raise WordlineError(f"{path} cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WordlineError(f"{path} is not TOML ({error}).") from None
    wanted = found.keys() if path == COMPONENTS else read_figures().keys()
    for name in found:
        if name not in wanted:
            raise WordlineError(f"{path}: [{name}] is no figure; there are {', '.join(wanted)}.")
    figures = {}
    for name in wanted:
        given = found.get(name)
        if not isinstance(given, dict):
            raise WordlineError(f"{path} lacks [{name}]; gen/cost/components.toml has it.")
        figures[name] = _figure(path, name, given)
    return figures


def _figure(path: Path, name: str, given: dict[str, Any]) -> Figure:
    keys = [f.name for f in dataclasses.fields(Figure) if f.name != "name"]
    if sorted(given) != sorted(keys):
        raise WordlineError(f"{path}: [{name}] has {', '.join(given)}; give {', '.join(keys)}.")
    for key in CASES:
        value = given[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise WordlineError(f"{path}: {name}.{key} = {value!r} is not a number above 0.")
    if not given["low"] <= given["typical"] <= given["high"]:
        values = ", ".join(str(given[key]) for key in CASES)
        raise WordlineError(f"{path}: {name} has {values}; low, typical and high must ascend.")
    return Figure(name=name, **given)


@dataclass(frozen=True)
class Memory:
    """A memory macro, and the words that were read and written in the simulation."""

    block: str
    shape: memories.Shape
    reads: float
    writes: float


@dataclass(frozen=True)
class Array:
    """A crossbar macro: its converters and devices, and what they did in the simulation.

    bits_changed: of the codes on the rows. reads: of devices, each counted as its conductance is of
    the largest one, and as the square of its row's code is of that of the largest code.
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
    """One design in one simulation, of so many steps and operations (a multiplication and an
    addition are two).

    energy: pJ by block, and area: um2 by block, of its standard cells at 180 nm.
    """

    steps: int
    operations: int
    cycles: float
    period_ns: float
    adc_bits: int
    period_cycles: int
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
    """What a simulation of a netlist did. instances: of macros in it, and their modules; where its
    arrays are digital none of them is a crossbar's. cycle: the clock's period, in the activity's
    time."""
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
        period_cycles=max(shape.period for shape in description.arrays.values()),
        energy={name: e.dynamic for name, e in energies.items()},
        area={block.name: block.area for block in mapped.blocks},
        memories=found,
        arrays=arrays,
    )


def operations(description: Description, lengths: Tensor) -> int:
    """Of all arrays, in sequences of such lengths, each once."""
    steps, sequences = int(lengths.sum()), len(lengths)
    total = 0
    for name, shape in description.arrays.items():
        once = name == "head" and not description.output.every_step
        total += 2 * shape.rows * shape.units * shape.gates * (sequences if once else steps)
    return total


def read_devices(program: Program, x: Tensor, lengths: Tensor) -> dict[str, float]:
    """For each array what its devices conduct in all samples, as `Array.reads` has it."""
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
    conductance = (array.positive + array.negative).sum((0, 1)).double()  # of each row
    driven = sum((plane.double() ** 2) @ conductance for plane in dac.planes(rows, description.dac))
    return float(driven.sum()) / unit  # type: ignore[union-attr]


@dataclass(frozen=True)
class Cost:
    """Of a design with one choice of figures. energy: pJ a step, area: um2, both by part; step_ns:
    time of a step."""

    energy: dict[str, float]
    area: dict[str, float]
    step_ns: float
    operations: float
    """A step."""

    @property
    def tops_per_watt(self) -> float:
        """10^12 operations a joule."""
        return self.operations / sum(self.energy.values())

    @property
    def tops_per_mm2(self) -> float:
        """10^12 operations a second and mm2."""
        return 1000 * self.operations / self.step_ns / sum(self.area.values())


def cost(counted: Counted, values: Values, *, adc_bits: int | None = None) -> Cost:
    """What a design costs with these values of the figures. adc_bits: as if its ADCs had so many:
    they alone cost another energy, area and time."""
    v = values
    bits = counted.adc_bits if adc_bits is None else adc_bits
    energy: dict[str, float] = defaultdict(float)
    area: dict[str, float] = defaultdict(float)
    for block, pj in counted.energy.items():
        energy[block] += pj * v["node_energy"] * v["digital_overhead"]
    for block, um2 in counted.area.items():
        area[block] += um2 * v["node_area"] * v["utilisation"]
    for memory in counted.memories:
        accesses = memory.reads + memory.writes
        energy["memories"] += accesses * memory.shape.width * v["memory_energy"]
        area["memories"] += memory.shape.bits * memory.shape.reads * v["memory_area"]
    cycle_ns = counted.period_ns * CYCLE
    stretch = 1.0
    if counted.arrays:
        cycles = counted.period_cycles + bits - counted.adc_bits
        stretch = max(cycles * cycle_ns, v["settle"]) / (counted.period_cycles * cycle_ns)
    for array in counted.arrays:
        one = v["adc_energy"] * v["adc_energy_growth"] ** (bits - ADC_BITS)
        energy["ADCs"] += array.conversions * one
        one = v["adc_area"] * v["adc_area_growth"] ** (bits - ADC_BITS)
        area["ADCs"] += array.lanes * one
        energy["front ends"] += array.conversions * v["front_end_energy"]
        area["front ends"] += array.lanes * v["front_end_area"]
        energy["DACs"] += array.bits_changed * v["dac_energy"]
        area["DACs"] += array.rows * array.row_bits * v["dac_area"]
        energy["cells"] += array.reads * v["cell_power"] * v["settle"] * 1e-6  # nW ns
        area["cells"] += array.devices * v["cell_area"]
    return Cost(
        energy={part: pj / counted.steps for part, pj in energy.items()},
        area=dict(area),
        step_ns=counted.cycles / counted.steps * cycle_ns * stretch,
        operations=counted.operations / counted.steps,
    )


@dataclass(frozen=True)
class Range:
    """A result with typical figures, and the lowest and highest of all choices of figures."""

    low: float
    typical: float
    high: float


def over_figures(figures: Figures, of: Callable[[Values], float]) -> Range:
    """A result over all choices of low and high; it rises, or falls, with each figure alone."""
    typical = {name: figure.typical for name, figure in figures.items()}
    centre = of(typical)
    matter = [
        name
        for name, figure in figures.items()
        if any(of(typical | {name: value}) != centre for value in (figure.low, figure.high))
    ]
    results = [centre]
    for ends in itertools.product(*((figures[n].low, figures[n].high) for n in matter)):
        results.append(of(typical | dict(zip(matter, ends, strict=True))))
    return Range(min(results), centre, max(results))


def sensitivity(figures: Figures, of: Callable[[Values], float]) -> dict[str, tuple[float, float]]:
    """A result with one figure alone at its low and its high value, the widest first."""
    typical = {name: figure.typical for name, figure in figures.items()}
    found = {
        name: (of(typical | {name: figure.low}), of(typical | {name: figure.high}))
        for name, figure in figures.items()
    }
    ordered = sorted(found.items(), key=lambda entry: -abs(entry[1][1] - entry[1][0]))
    return {name: ends for name, ends in ordered if ends[0] != ends[1]}


MEASURES = {"tops_per_watt": "TOPS/W", "tops_per_mm2": "TOPS/mm2"}
"""Properties of a cost, and their units."""


def report(figures: Figures, analog: Counted, digital: Counted) -> dict[str, Any]:
    """All that is said of a design and its digital twin, as JSON."""
    typical = {name: figure.typical for name, figure in figures.items()}
    found: dict[str, Any] = {"node_nm": NODE}
    for side, counted in zip(SIDES, (analog, digital), strict=True):
        mid = cost(counted, typical)
        found[side] = {
            "operations_per_step": mid.operations,
            "cycles_per_step": counted.cycles / counted.steps,
            "step_ns": mid.step_ns,
            "energy_pj": mid.energy,
            "area_um2": mid.area,
            **{
                name: dataclasses.asdict(over_figures(figures, _of(counted, name)))
                for name in MEASURES
            },
            "synthesised": {"energy_pj": counted.energy, "area_um2": counted.area},
        }
    found["ratio"] = {
        name: {
            **dataclasses.asdict(over_figures(figures, _ratio(analog, digital, name))),
            "one_at_a_time": sensitivity(figures, _ratio(analog, digital, name)),
        }
        for name in MEASURES
    }
    more = cost(analog, typical, adc_bits=analog.adc_bits + 1)
    now = cost(analog, typical)
    found["next_adc_bit"] = {name: getattr(more, name) / getattr(now, name) for name in MEASURES}
    return found


def _of(counted: Counted, measure: str) -> Callable[[Values], float]:
    return lambda values: float(getattr(cost(counted, values), measure))


def _ratio(analog: Counted, digital: Counted, measure: str) -> Callable[[Values], float]:
    above, below = _of(analog, measure), _of(digital, measure)
    return lambda values: above(values) / below(values)


def from_dict(found: dict[str, Any]) -> Counted:
    """What `dataclasses.asdict` made of one."""
    kept = [Memory(**m | {"shape": memories.Shape(**m["shape"])}) for m in found["memories"]]
    arrays = [Array(**array) for array in found["arrays"]]
    return Counted(**found | {"memories": kept, "arrays": arrays})


def shown(value: float) -> str:
    """Three digits."""
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{digits}f}"


def tables(found: dict[str, Any]) -> list[Table]:
    """A report as tables: parts, results, and what they depend on."""
    name = found["name"]
    columns = [found[side][what] for side in SIDES for what in ("energy_pj", "area_um2")]
    names = dict.fromkeys(name for column in columns for name in column)
    ordered = sorted(names, key=lambda n: -sum(column.get(n, 0) for column in columns[::2]))
    # Names are what one reads: let headings wrap.
    first = Column("part", no_wrap=True, min_width=max(map(len, names)))
    heads = [f"{side}, {unit}" for side in SIDES for unit in ("pJ a step", "um2")]
    parts = Table(first, *heads, title=f"{name}, {found['node_nm']} nm, typical figures")
    for part in ordered:
        if sum(column.get(part, 0) for column in columns) > 0:
            parts.add_row(part, *(shown(c[part]) if c.get(part) else "-" for c in columns))
    parts.add_row("all", *(shown(sum(column.values())) for column in columns))
    results = Table("", "low", "typical", "high")
    for measure, label in MEASURES.items():
        for side in (*SIDES, "ratio"):
            range_ = found[side][measure]
            title = f"{side}, {label}" if side != "ratio" else f"analog / digital, {label}"
            results.add_row(title, *(shown(range_[case]) for case in CASES))
    depends = Table("analog / digital with one figure alone at", "low", "high")
    for measure, label in MEASURES.items():
        for figure, ends in [*found["ratio"][measure]["one_at_a_time"].items()][:4]:
            depends.add_row(f"{label}: {figure}", *map(shown, ends))
    return [parts, results, depends]


def dominating(found: dict[str, Any], side: str) -> tuple[str, float]:
    """The part of a design that takes the most energy, and its share."""
    parts = found[side]["energy_pj"]
    part = max(parts, key=parts.__getitem__)
    return part, parts[part] / sum(parts.values())


def sentence(found: dict[str, Any]) -> str:
    """What it comes to."""
    ratio = {name: found["ratio"][name] for name in MEASURES}
    watt, area = (
        f"{shown(r['typical'])} times ({shown(r['low'])} to {shown(r['high'])})"
        for r in ratio.values()
    )
    part, share = dominating(found, "analog")
    bit = found["next_adc_bit"]["tops_per_watt"]
    return (
        f"{watt} the digital twin's TOPS/W, {area} its TOPS/mm2; {100 * share:.0f} % of the "
        f"energy is that of {part}; with another bit in the ADCs TOPS/W is {shown(bit)} times "
        f"what it is"
    )
