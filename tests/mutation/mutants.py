"""Mutants of emitted Verilog: many in one design, each switched on by its number.

Yosys' `mutate` puts faults into cells: a bit that is inverted, stuck, or mixed with another one
(Wolf, "MCY", https://yosyshq.readthedocs.io/projects/mcy). Each fault is active only while
`mutant_number` has its number: a register that is read from a file as a model is made, or an input
of the graph in which its effect is looked for.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen.impl.equivalence import boxed_memories
from gen.impl.tools import run_yosys
from golden import files
from golden.errors import WordlineError
from tests.mutation.aig import Faults, Graph

BITS = 16

READ = """
reg [15:0] mutant_number;
integer mutant_file, mutant_read;
initial begin
  mutant_file = $fopen("{path}", "r");
  mutant_read = $fscanf(mutant_file, "%d", mutant_number);
  $fclose(mutant_file);
end
"""

TO_GRAPH = """
read_json boxed.json
hierarchy -top {top}
expose w:*trace w:*trace_valid
expose -evert t:memory$* {boxes}
opt_clean
opt -full
memory_map
opt -full
techmap
opt -fast
formalff -clk2ff
setundef -undriven -zero
simplemap
dffunmap
aigmap
opt_clean
write_aiger -ascii -zinit -vmap graph.map graph.aag
"""

LEFT_OUT = re.compile(
    r"-port \w*CLK\b|-port a?clk\b|-wire a?clk\b|-port Q .*-wire \w+_(high|low)\b"
)
"""Clocks, which a simulator orders by what they are made of; registers that a bench presets."""

RESETS = {"rst": False, "aresetn": True}
"""Names of resets: whether they are active when 0."""

SMALL = 1100
"""Memories of fewer bits are made of registers, and may so be proved to hold the same."""

INSIDE = (
    (r"(.*trace)", r"\1_valid"),
    (r"(.*)\.parameters__(?:address|data)", r"\1.parameters__enable"),
    (r"(.*)\.WR_(?:ADDR|DATA)", r"\1.WR_EN"),
)
"""Names of probes, of ports of crossbars and memories, and of what must be 1 for them to count."""

ENABLES = (
    *INSIDE,
    (r"(.*)__payload", r"\1__valid"),
    (r"(.*)_t(?:data|last)", r"\1_tvalid"),
    (r"s_axil_(.)(?:data|resp)", r"s_axil_\1valid"),
)
"""The same, and streams of the top: what is around a module inside may read them at any time."""


@dataclass(frozen=True)
class Sources:
    """Verilog to put faults into: `verilog` has the module `top`, `boxes` what it instantiates."""

    verilog: tuple[Path, ...]
    boxes: Path
    top: str

    @property
    def read(self) -> str:
        """Commands of Yosys that read it."""
        verilog = " ".join(str(path.absolute()) for path in self.verilog)
        return (
            f"read_verilog -lib {self.boxes.absolute()}\nread_verilog -sv {verilog}\n"
            f"hierarchy -top {self.top}\nproc\n"
            "setattr -set keep 1 w:trace w:trace_valid\nopt_clean\n"
        )


def listed(sources: Sources, count: int, seed: int, folder: Path) -> list[str]:
    """`count` mutants, as commands of Yosys, spread over all modules by their size.

    What memories are before they are loaded is left out, which is never read, cells that nothing
    depends on, and `LEFT_OUT`.
    """
    more = count + count // 10 + 10
    wanted = f"mutate -list {more} -seed {seed} -o mutants.txt t:* t:$meminit* %d\n"
    run_yosys(sources.read + wanted, folder, "list")
    lines = (folder / "mutants.txt").read_text().splitlines()
    return [m for m in lines if m.startswith("mutate -mode") and not LEFT_OUT.search(m)][:count]


def place(mutant: str) -> tuple[str, str]:
    """The module of a mutant, and the rest of what it is."""
    plain = re.sub(r" -src \S+", "", mutant)
    found = re.match(r"mutate (-mode \S+) -module (\S+) (.*)", plain)
    assert found is not None, mutant
    return found[2], f"{found[1]} {found[3]}"


def source(mutant: str) -> str:
    """The line of Verilog that a mutant is in, or nothing if Yosys does not say."""
    for path, number in re.findall(r"-src (\S+?\.v):(\d+)", mutant)[-1:]:
        return Path(path).read_text().splitlines()[int(number) - 1].strip()
    return ""


def _with_number(mutants: list[str]) -> str:
    """Commands that put all mutants in, numbered from 1."""
    ctrl = f"-ctrl mutant_number {BITS}"
    return "".join(
        f"{m.replace('mutate ', f'mutate {ctrl} {n} ', 1)}\n" for n, m in enumerate(mutants, 1)
    )


def switched(
    mutants: list[str],
    sources: Sources,
    number: Path,
    folder: Path,
    top: str = "",
    name: str = "",
) -> str:
    """Verilog with all of `mutants`; `number` is the file with the number of the active one.

    top: A module inside that is simulated by itself; "": the top.
    name: Its new name; "": its own.
    """
    top = top or sources.top
    rename = f"rename {top} {name}\n" if name else ""
    write = f"hierarchy -top {top}\n{rename}write_verilog -noattr switched.v\n"
    top = name or top
    run_yosys(sources.read + _with_number(mutants) + write, folder, "switch")
    text = (folder / "switched.v").read_text()
    text = text.replace("// synopsys parallel_case", "")  # Verilator would check it
    # Yosys leads the number through all modules; the top gets it from the file.
    text = re.sub(rf"(module {top}\([^;]*?), mutant_number\);", r"\1);", text, count=1)
    declared = rf"  input \[{BITS - 1}:0\] mutant_number;\n  wire \[{BITS - 1}:0\] mutant_number;\n"
    begin = text.index(f"module {top}(")
    own = re.sub(declared, lambda _: READ.format(path=number.absolute()), text[begin:], count=1)
    assert own != text[begin:], f"{top} has no mutant_number"
    return text[:begin] + own


def faults(mutants: list[str], sources: Sources, folder: Path, module: str) -> Faults:
    """A module, or the top, with all of `mutants`, in which to look for the effect of each.

    What crossbars give may be anything, the same in both; so may what large memories give for the
    same address. What is seen is what crossbars are given, writes to memories, outputs and probes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    flat = "flatten\nopt_clean\nmemory_collect\nopt_clean\nwrite_json flat.json\n"
    top = f"hierarchy -top {module}\n"
    run_yosys(sources.read + _with_number(mutants) + top + flat, folder, "flat")
    found: dict[str, Any] = json.loads((folder / "flat.json").read_text())
    kinds, boxes = boxed_memories(found["modules"][module], least=SMALL)
    assert all(int(sizes["RD_CLK_ENABLE"], 2) == 0 for _, sizes in kinds.values())
    memories = {
        f"memory${name}": (int(sizes["WIDTH"], 2), int(sizes["ABITS"], 2))
        for name, (_, sizes) in kinds.items()
    }
    found["modules"] |= boxes
    files.write_text(folder / "boxed.json", json.dumps(found))
    black = re.findall(r"(?m)^module (\w+)", sources.boxes.read_text())
    given = {"top": module, "boxes": " ".join(f"t:{name}" for name in black)}
    _to_graph(TO_GRAPH.format(**given), folder)
    inputs, outputs = (_named(folder / "graph.map", kind) for kind in ("input", "output"))
    number = [place for place, (name, _) in inputs.items() if name == "mutant_number"]
    resets = [place for place, (name, _) in inputs.items() if name in RESETS]
    reset = resets[0] if resets else None
    low = bool(resets) and RESETS[inputs[resets[0]][0]]
    graph = Graph.read(folder / "graph.aag")
    reads = _reads(inputs, outputs, memories)
    for places, _ in reads:
        for place in places:
            del outputs[place]
    enables = _enables(outputs, memories, ENABLES if module == sources.top else INSIDE)
    return Faults(graph, number, reset, low, enables, reads, [*outputs])


def _to_graph(script: str, folder: Path) -> None:
    """Run `TO_GRAPH`.

    A register that is found to be constant may keep the initial value of its net, which Yosys then
    refuses, as that of the constant; it is taken away.
    """
    for _ in range(10):
        try:
            return run_yosys(script, folder, "graph")
        except WordlineError as error:
            found = re.search(r"init values for signal 1'[01] \(\\(\S+) =", str(error))
            if found is None:
                raise
            unset = f"setattr -unset init w:{found[1]}\ndffunmap\n"
            script = script.replace("dffunmap\n", unset, 1)
    return run_yosys(script, folder, "graph")


def _reads(
    inputs: dict[int, tuple[str, int]],
    outputs: dict[int, tuple[str, int]],
    memories: dict[str, tuple[int, int]],
) -> list[tuple[list[int], list[int]]]:
    """Of each read port: places of the address among the outputs, and of the data among inputs."""
    ports: dict[tuple[str, int], tuple[list[int], list[int]]] = {}
    for side, (named, part) in enumerate(((outputs, "RD_ADDR"), (inputs, "RD_DATA"))):
        for place, (name, bit) in named.items():
            memory = name.removesuffix(f".{part}")
            if memory in memories and name != memory:
                width, address_bits = memories[memory]
                port = bit // (width if side else address_bits)
                ports.setdefault((memory, port), ([], []))[side].append(place)
    return [*ports.values()]


def _named(map_: Path, kind: str) -> dict[int, tuple[str, int]]:
    """Port and bit of each input or output, in the order of ports and bits."""
    found = re.findall(rf"(?m)^{kind} (\d+) (\d+) (\S+)$", map_.read_text())
    in_order = sorted((name, int(bit), int(place)) for place, bit, name in found)
    return {place: (name, bit) for name, bit, place in in_order}


def _enables(
    outputs: dict[int, tuple[str, int]],
    memories: dict[str, tuple[int, int]],
    patterns: tuple[tuple[str, str], ...],
) -> dict[int, list[int]]:
    """Outputs without which the value of an output means nothing."""
    by_name: dict[str, dict[int, int]] = {}
    for place, (name, bit) in outputs.items():
        by_name.setdefault(name, {})[bit] = place
    found = {}
    for place, (name, bit) in outputs.items():
        for pattern, enable in patterns:
            match = re.fullmatch(pattern, name)
            if match is None or match.expand(enable) not in by_name:
                continue
            bits = by_name[match.expand(enable)]
            own = [*bits.values()]
            if name.endswith((".WR_DATA", ".WR_ADDR")):  # one enable for each bit of the data
                width, address_bits = memories[match[1]]
                first = bit if name.endswith("DATA") else bit // address_bits * width
                last = bit if name.endswith("DATA") else first + width - 1
                own = [p for b, p in bits.items() if first <= b <= last]
            found[place] = own
    return found
