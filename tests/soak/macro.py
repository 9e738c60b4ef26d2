"""Crossbars that take time to write a cell: the crossbar model takes one in every cycle."""

import dataclasses
import re
from pathlib import Path

from golden import files
from sim import chip

HEADER = re.compile(r"(?ms)^module (wordline_\w+_crossbar_\w+) \((.*?)\n\);")

WAITS = """
// Takes a cell in about half of all cycles, by a shift register of 16 bits.
module {name} ({ports}
);
  reg [15:0] draw = 16'hace1;
  wire open = draw[0];
  wire ready;
  assign program__ready = open & ready;
  always @(posedge clk) draw <= {{draw[14:0], draw[15] ^ draw[13] ^ draw[12] ^ draw[10]}};
  {name}_at_once at_once ({connected});
endmodule
"""

AT_ONCE = {"program__valid": "program__valid & open", "program__ready": "ready"}


def slow(verilog: str) -> str:
    """A crossbar model, each of whose crossbars is often not ready for a cell."""

    def wrapped(match: re.Match[str]) -> str:
        name, ports = match.groups()
        names = re.findall(r"(\w+),?(?:\n|$)", ports)
        connected = ", ".join(f".{port}({AT_ONCE.get(port, port)})" for port in names)
        outer = WAITS.format(name=name, ports=ports, connected=connected)
        return f"{outer}\nmodule {name}_at_once ({ports}\n);"

    text, crossbars = HEADER.subn(wrapped, verilog)
    assert crossbars, "no crossbar in it"
    return text


def with_slow_macro(emitted: chip.Emitted, folder: Path) -> chip.Emitted:
    """An emitted design, with a slow crossbar model that is written into `folder`."""
    sources = list(emitted.sources)
    (n,) = (n for n, path in enumerate(sources) if path.name.endswith("_crossbar_model.v"))
    slower = folder / sources[n].name
    files.write_text(slower, slow(sources[n].read_text()))
    sources[n] = slower
    return dataclasses.replace(emitted, sources=sources)
