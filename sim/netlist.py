"""Simulate a gate-level netlist in Icarus, compare its results, and count its activity."""

import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cocotb_tools.runner import Icarus
from torch import Tensor

from gen.cost import activity, energy
from gen.cost.activity import Activity
from gen.impl import cells, yosys
from gen.impl.library import Library
from gen.ip import package
from golden import files
from golden.description import Description
from golden.program import Program
from sim import chip, icarus
from sim.benches import streams
from sim.chip import Progress
from sim.system import UNDISTURBED, prepare

RECORD, RECORDER, POWER_ON = "nets.vcd", "wordline_recorder", "wordline_power_on"


def simulate_netlist(
    program: Program,
    x: Tensor,
    lengths: Tensor,
    folder: Path,
    netlist: Sequence[Path],
    *,
    registers: Sequence[str] = (),
    macros: bool = True,
    hasty: bool = False,
    delays: Library | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Load a program into its netlist behind AXI and run DAC codes x through it, in Icarus.

    All nets start as X, and no output may be X after the first reset. The reset itself starts with
    random values in the flip-flops: mapping can turn a reset into logic that cancels out, like
    `a & ~a`. That works on a chip, where a flip-flop has some value, but not with X. Registers that
    the reset does not reach are X after it.

    Returns and raises what `simulate` in sim/system.py does. The changes of the nets and of the
    macros' ports, from the first beat of x to the last result, are in `folder`/RECORD
    (gen/cost/activity.py).

    netlist: Verilog of the netlist and of its cells, the netlist first.
    registers: Nets driven by flip-flops (`gen.impl.yosys.registers`).
    macros: Whether the netlist has crossbar macros. Their behavioural model is simulated.
    hasty: Load without the driver, as fast as the bus accepts words.
    delays: Library of the cells: each has a delay of UNIT_NS (`with_unit_delays`). None: no delays.
    seed: Seed of the initial values and of stimuli.
    """
    description = program.description
    job = prepare(program, x, lengths, folder)
    job |= {"cut": [0] * len(lengths), "hasty": hasty}
    job |= {"four_states": "outputs", "reset": RESET}
    top, work = package.axi_module(description), folder / "icarus"
    recorder = folder / "recorder.v"
    instances = yosys.macro_instances(netlist[0])
    text = _recorder(top, instances, folder / RECORD, len(lengths)) + _power_on(
        top, registers, seed
    )
    files.write_text(recorder, text)
    model = folder / f"rtl/{description.name}_crossbar_model.v"
    runner, netlist = RecordingIcarus(), list(netlist)
    if delays is not None:
        netlist = with_unit_delays(netlist, delays, folder)
    sources = [*netlist, *([model] if macros else []), recorder]
    icarus.build(runner, sources, top, work, options=["-s", RECORDER, "-s", POWER_ON])
    return chip.run(
        runner,
        module="sim.benches.bench_system",
        top=top,
        folder=work,
        job=job,
        seed=seed,
        tests=UNDISTURBED,
        progress=progress,
    )


UNIT_NS = 0.05
"""Delay of a cell (ns): a path of 100 cells settles in half a clock period."""


def with_unit_delays(sources: Sequence[Path], library: Library, folder: Path) -> list[Path]:
    """The sources of `simulate_netlist`, with a delay of UNIT_NS from each cell to its outputs.

    Cells that drive clock pins have none: a clock tree, which a netlist does not have yet, makes
    all clocks arrive at once.

    folder: Where the new files go.
    """
    text = sources[0].read_text()
    found = [
        (match[1], match.end(1), dict(yosys.CONNECTED.findall(match[3])))
        for match in yosys.INSTANCE.finditer(text)
    ]
    pins: dict[str, dict[str, str]] = {}
    clocks = set()
    for kind, _, connected in found:
        pins[kind] = pins.get(kind, {}) | connected
        clocks |= {net.strip() for pin, net in connected.items() if pin in library.clocks}
    timed = sorted(pins.keys() & library.outputs.keys())
    for kind, end, connected in reversed(found):
        outputs = {connected.get(pin, "").strip() for pin in library.outputs.get(kind, ())}
        if outputs & clocks:
            text = text[:end] + UNTIMED + text[end:]
    made = [_delayed(kind, [*pins[kind]], library.outputs[kind]) for kind in timed]
    paths = [folder / f"delayed_{path.name}" for path in sources]
    files.write_text(paths[0], text + "".join(made))
    for path, new in zip(sources[1:], paths[1:], strict=True):
        cell = rf"\bmodule\s+({'|'.join(timed)})\b"
        named = re.sub(cell, rf"module \g<1>{UNTIMED}", path.read_text())
        files.write_text(new, named)
    return paths


UNTIMED = "_without_delay"
"""End of the names of cells without a delay."""


def _delayed(kind: str, pins: Sequence[str], outputs: Sequence[str]) -> str:
    """Verilog of a cell with a delay."""
    lines = [f"module {kind}({', '.join(pins)});"]
    connections = []
    for pin in pins:
        if pin in outputs:
            lines += [f"  output {pin};", f"  wire {pin}_now;"]
            lines.append(f"  assign #{UNIT_NS} {pin} = {pin}_now;")
        else:
            lines.append(f"  input {pin};")
        connections.append(f".{pin}({pin}{'_now' * (pin in outputs)})")
    lines += [f"  {kind}{UNTIMED} cell_({', '.join(connections)});", "endmodule", ""]
    return "\n".join(lines)


def counted(
    description: Description, cells: cells.Cells, folder: Path, library: Path | None
) -> tuple[dict[str, energy.Energy], Activity]:
    """Energy by block and activity of the netlist in `folder`, from its simulation.

    Deletes the record of the simulation in `folder`/simulation, which is large.
    """
    record = folder / "simulation" / RECORD
    nets = activity.read(record, package.axi_module(description))
    record.unlink()
    return energy.energies(description, cells, folder, nets, library=library), nets


CYCLE = 1000 * streams.PERIOD_NS
"""Clock period (ps)."""


class RecordingIcarus(Icarus):
    """cocotb's Icarus runner without the option that disables VCD files."""

    def _test_command(self) -> list[list[str]]:
        return [
            [part for part in command if part != "-none"] for command in super()._test_command()
        ]


def _power_on(top: str, registers: Sequence[str], seed: int) -> str:
    """Verilog module beside the top that starts its first reset with known values.

    Registers that are X get random values, and their values after reset are noted. Then all
    registers get the opposite of those values. Registers that end up different are not reached by
    the reset and become X again.
    """
    draw = random.Random(seed)
    nets = [
        f"{top}.{name}" if re.fullmatch(PLAIN, name) else f"{top}.\\{name} " for name in registers
    ]
    width = max(1, len(nets))

    def each(statement: str) -> str:
        return "".join(
            f"    {statement.format(net=net, n=n, bit=draw.getrandbits(1))}\n"
            for n, net in enumerate(nets)
        )

    release = f"    @(posedge {top}.aclk) #0.1;\n{each('release {net};')}"
    unknown = each("if ({net} === 1'bx) force {net} = 1'b{bit};")
    return f"""\
module {POWER_ON};
  reg [{width - 1}:0] once, again;
  initial begin
    wait ({top}.aresetn === 1'b0);
    @(negedge {top}.aclk);
{unknown}{release}    @(negedge {top}.aclk);
{unknown}{release}    @(negedge {top}.aclk);
{each("once[{n}] = {net};")}{each("force {net} = ~once[{n}];")}{release}    @(posedge {top}.aclk);
    @(posedge {top}.aclk);
    @(negedge {top}.aclk);
{each("again[{n}] = {net};")}{each("if (once[{n}] !== again[{n}]) force {net} = 1'bx;")}{release}\
    if ({top}.aresetn !== 1'b0) $fatal(1, "the first reset is too short");
  end
endmodule
"""


RESET = 10
"""Cycles of reset, enough for the steps of the power-on module."""

PLAIN = r"[A-Za-z_]\w*(\[\d+\])?"
"""Pattern of a net, or a bit of one, that Verilog need not escape."""


def _recorder(top: str, instances: Iterable[str], record: Path, packets: int) -> str:
    """Verilog module beside the top that records its nets until `packets` results are out."""
    scopes = ", ".join([top, *(f"{top}.\\{name} " for name in instances)])
    return f"""\
module {RECORDER};
  integer packets = 0;
  initial begin
    wait ({top}.s_axis_tvalid === 1'b1);
    $dumpfile("{record.absolute()}");
    $dumpvars(1, {scopes});
  end
  always @(posedge {top}.aclk)
    if ({top}.m_axis_tvalid && {top}.m_axis_tready && {top}.m_axis_tlast) begin
      packets = packets + 1;
      if (packets == {packets}) $dumpoff;
    end
endmodule
"""
