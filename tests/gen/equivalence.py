"""A proof that the Verilog of a component is its netlist: Yosys reads both, and proves every
register and every output equal (equiv_simple, equiv_induct; else a SAT proof of the whole).

The one is what our emission writes; the other is Amaranth's own netlist, which Yosys reads itself.
Nets are paired by name, so those of the netlist are first called as the Verilog calls them.
"""

import re
import subprocess
import sys

from gen.verilog import components, names, rtlil, simplify

PROVE = """
import sys
from pyosys import libyosys as ys
ys.run_pass("script prove.ys", ys.Design())
"""

FLAT = "hierarchy -check -top top\nproc\nflatten\n"
READY = "memory_collect\nmemory_map\nopt_clean\n"

# Net by net, in seconds for a block of a chip. It takes nets of one name as equal on the way to
# the next, so it cannot prove what depends on how two nets go together.
NET_BY_NET = (
    "equiv_make gold gate equiv\nhierarchy -top equiv\nopt_clean\nequiv_struct\n"
    "equiv_simple -undef\nequiv_induct -undef\nequiv_status -assert\n"
)
# All at once, for small modules that the first way leaves open: registers of one name are inputs
# and outputs, the outputs are compared for every value of both.
WHOLE = (
    "expose -shared -evert-dff gold gate\n"
    "miter -equiv -flatten -ignore_gold_x gold gate miter\nhierarchy -top miter\n"
    "sat -verify -prove trigger 0 -tempinduct -set-init-undef -set-def-inputs -enable_undef"
    " -maxsteps 12 -timeout 60 miter\n"
)


def netlist(component):
    """Amaranth's netlist of a component, and how the Verilog calls its wires, module by module."""
    text, interfaces, boxes = components.netlist(component, "top")
    modules = rtlil.read(text)
    found = simplify.simplified(modules, interfaces, boxes)
    own = {}
    for module in reversed(modules):
        own[module.name] = names.names_of(found, module, own)
    return text, own


def renamed(text, own):
    """Commands that call the wires of a flat netlist as the Verilog does; in two steps, for two
    that change places."""
    pairs = {}
    wires = set()
    for module in rtlil.read(text):
        path = module.name.removeprefix("top").removeprefix(".")
        for wire in module.wires:
            old = _flat(path, wire)
            wires.add(old)
            new = _flat(path, own[module.name].get(wire, wire))
            if new != old:
                pairs[old] = new
    taken = sorted({*pairs.values()} & (wires - pairs.keys()))
    commands = ["cd top"]
    commands += [f"rename {name} was_{n}" for n, name in enumerate(taken)]
    commands += [f"rename {old} own_{n}" for n, old in enumerate(pairs)]
    commands += [f"rename own_{n} {new}" for n, new in enumerate(pairs.values())]
    return "\n".join([*commands, "cd"])


def _flat(path, wire):
    """The name of a wire of a module once that is flattened."""
    private = re.fullmatch(r"\$\d+", wire)
    if not path:
        return wire if private else f"\\{wire}"
    return f"$flatten\\{path}.{wire}" if private else f"\\{path}.{wire}"


def unproven(component, folder, verilog=None):
    """What Yosys says where it cannot prove the Verilog of a component equal to its netlist; else
    nothing. verilog: other than what is emitted."""
    text, own = netlist(component)
    (folder / "gold.il").write_text(text)
    (folder / "gate.v").write_text(verilog or components.to_verilog(component, "top"))
    both = (
        f"read_rtlil gold.il\n{FLAT}{renamed(text, own)}\n{READY}rename top gold\n"
        f"design -stash gold\nread_verilog gate.v\n{FLAT}{READY}rename top gate\n"
        "design -stash gate\ndesign -copy-from gold -as gold gold\n"
        "design -copy-from gate -as gate gate\n"
    )
    said = _yosys(folder, both + NET_BY_NET)
    if "Equivalence successfully proven!" in said:
        return ""
    whole = _yosys(folder, both + WHOLE)
    if "proven: SUCCESS!" in whole:
        return ""
    return "\n".join([*said.splitlines()[-15:], *whole.splitlines()[-1:]])


def _yosys(folder, script):
    """What Yosys prints on a script."""
    (folder / "prove.ys").write_text(script)
    command = [sys.executable, "-c", PROVE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    (folder / "prove.log").write_text(done.stdout + done.stderr)
    return done.stdout + done.stderr
