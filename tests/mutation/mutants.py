"""Mutants of emitted Verilog: many in one build, each switched on by its number.

Yosys' `mutate` puts faults into cells: a bit that is inverted, stuck, or mixed with another one
(Wolf, "MCY", https://yosyshq.readthedocs.io/projects/mcy). Each fault is active only while the
register `mutant_number` has its number, which is read from a file as a model is made.
"""

import re
from pathlib import Path

from gen.impl.equivalence import proved
from gen.impl.tools import run_yosys
from golden import files
from tests.formal.engine import TO_AIGER, abc

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

BEGIN = """
read_verilog -lib {boxes}
read_verilog -sv {verilog}
hierarchy -top {top}
proc
setattr -set keep 1 w:trace w:trace_valid
opt_clean
"""


FROM_POWER_UP = """
read_json boxed.json
expose -shared -evert gold gate
opt_clean
miter -equiv -flatten gold gate spec
hierarchy -top spec
"""

SECONDS = 20
"""Time of a proof from power-up."""


def listed(verilog: Path, boxes: Path, top: str, count: int, seed: int, folder: Path) -> list[str]:
    """`count` mutants, as commands of Yosys, spread over all modules by their size.

    What memories are before they are loaded is left out, which is never read, and cells that
    nothing depends on.
    """
    begin = BEGIN.format(boxes=boxes.absolute(), verilog=verilog.absolute(), top=top)
    run_yosys(
        f"{begin}mutate -list {count} -seed {seed} -o mutants.txt t:* t:$meminit* %d\n",
        folder,
        "list",
    )
    lines = (folder / "mutants.txt").read_text().splitlines()
    return [line for line in lines if line.startswith("mutate -mode")]


def place(mutant: str) -> tuple[str, str]:
    """The module of a mutant, and the rest of what it is."""
    plain = re.sub(r" -src \S+", "", mutant)
    found = re.match(r"mutate (-mode \S+) -module (\S+) (.*)", plain)
    assert found is not None, mutant
    return found[2], f"{found[1]} {found[3]}"


def source(lines: list[str], mutant: str) -> str:
    """The line of Verilog that a mutant is in, or nothing if Yosys does not say."""
    (number,) = re.findall(r"\.v:(\d+)", mutant)[-1:] or ("",)
    return lines[int(number) - 1].strip() if number else ""


def switched(
    mutants: list[str], verilog: Path, boxes: Path, top: str, number: Path, folder: Path
) -> str:
    """Verilog with all of `mutants`, numbered from 1; `number` is the file with the active one."""
    begin = BEGIN.format(boxes=boxes.absolute(), verilog=verilog.absolute(), top=top)
    ctrl = f"-ctrl mutant_number {BITS}"
    commands = [m.replace("mutate ", f"mutate {ctrl} {n} ", 1) for n, m in enumerate(mutants, 1)]
    end = "write_verilog -noattr switched.v\n"
    run_yosys(begin + "\n".join(commands) + "\n" + end, folder, "switch")
    text = (folder / "switched.v").read_text()
    # Yosys leads the number through all modules; the top gets it from the file.
    text = re.sub(rf"(module {top}\([^;]*?), mutant_number\);", r"\1);", text, count=1)
    declared = rf"  input \[{BITS - 1}:0\] mutant_number;\n  wire \[{BITS - 1}:0\] mutant_number;\n"
    begin = text.index(f"module {top}(")
    own = re.sub(declared, lambda _: READ.format(path=number.absolute()), text[begin:], count=1)
    return text[:begin] + own


def is_equal(mutant: str, verilog: Path, boxes: Path, top: str, folder: Path) -> bool:
    """Whether a mutant's module is proved to do what it did, whatever comes in.

    First by SAT from any state, then from power-up, by PDR; what memories give may be anything.
    """
    begin = BEGIN.format(boxes=boxes.absolute(), verilog=verilog.absolute(), top=top)
    for name, commands in (("before", ""), ("after", mutant + "\n")):
        if name == "after" or not (folder / "before.v").exists():  # the same for all mutants
            run_yosys(f"{begin}{commands}write_verilog -noattr {name}.v\n", folder, name)
    before, after = ((folder / f"{name}.v").read_text() for name in ("before", "after"))
    files.write_text(folder / "mutant.txt", mutant)
    if proved(before, after, place(mutant)[0], boxes.read_text(), folder / "proof"):
        return True
    if not (folder / "proof/boxed.json").exists():
        return False  # another memory
    run_yosys(FROM_POWER_UP + TO_AIGER, folder / "proof", "power-up")
    said = abc(f"read_aiger spec.aig; scorr; pdr -T {SECONDS}", folder / "proof")
    return "Property proved" in said
