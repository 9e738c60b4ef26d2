"""Equivalence check of two versions of a Verilog module with Yosys.

Registers of the same name, memories and instances of other modules become ports, which get the same
values in both versions. Every output, and every input of a register, memory or instance, is then
compared for all values (SAT). So a module is proved on its own, in seconds, and a design by proving
its modules.
"""

import json
import re
from pathlib import Path
from typing import Any

from gen.impl.tools import check_yosys, run_yosys
from golden import files
from golden.errors import WordlineError
from golden.source import COMMENT

TIMEOUT = 20
"""Time limit of a SAT proof (s)."""

BY_READER = re.compile(r"`(ifn?def|elsif)\b|translate_off|full_case|parallel_case", re.IGNORECASE)
"""What a simulator may read otherwise than Yosys, which defines SYNTHESIS and YOSYS."""


def modules(verilog: str) -> dict[str, str]:
    """Text of each module by name, in the order of the file."""
    found = {}
    for part in _parts(verilog):
        text = part[: part.index("endmodule") + len("endmodule\n")] if "endmodule" in part else part
        name = re.match(r"module\s+(\\\S+|\w+)", text)
        if name is not None:
            found[name[1].removeprefix("\\")] = text
    return found


def _parts(verilog: str) -> list[str]:
    """The text from each line with `module` at its start to the next one, without comments."""
    return re.split(r"(?m)^(?=module )", COMMENT.sub(lambda match: match[1] or " ", verilog))[1:]


def proved(before: str, after: str, module: str, boxes: str, folder: Path) -> bool:
    """Prove a module equal in two Verilog files. Writes the log of the proof into `folder`.

    Returns False if it differs, if the proof takes too long, or if what it says depends on the tool
    that reads it. Other modules in the files are black boxes.

    before, after: Text of the two files.
    module: Name of the module.
    boxes: Verilog of black boxes that the files instantiate.

    Raises WordlineError if Yosys is missing.
    """
    check_yosys()
    folder.mkdir(parents=True, exist_ok=True)
    own, edited = modules(before), modules(after)
    if BY_READER.search(after) or len(edited) < len(_parts(after)):
        return False  # also if two modules have one name
    sides = {"gold": own[module], "gate": edited[module]}
    texts = [f"(* blackbox *)\n{text}" for name, text in own.items() if name != module]
    texts += [_called(text, side) for side, text in sides.items()]
    files.write_text(folder / "both.v", "".join(texts) + boxes)
    script = [
        "read_verilog both.v",
        "proc",
        "memory_collect",
        "opt_clean",
        "write_json both.json",
        "",
    ]
    if not _said_yes(script, folder):
        return False
    found = json.loads((folder / "both.json").read_text())
    if not _boxed(found["modules"]):
        return False
    files.write_text(folder / "boxed.json", json.dumps(found))
    script = [
        "read_json boxed.json",
        "expose -shared -evert -evert-dff gold gate",
        "opt_clean",
        "select -assert-none gold/t:$*dff* gate/t:$*dff*",
    ]
    if not any(_said_yes([*script, *steps, ""], folder) for steps in (NET_BY_NET, WHOLE)):
        return False
    # The proof covers the values of registers, not their initial values.
    return _initial(found["modules"]["gold"]) == _initial(found["modules"]["gate"])


NET_BY_NET = (
    "equiv_make gold gate equiv",
    "hierarchy -top equiv",
    "equiv_struct",
    "equiv_simple -undef",
    "equiv_status -assert",
)
"""Proof steps that use nets of the same name as cut points.

They are fast, but prove only what is equal net by net.
"""

WHOLE = (
    "miter -equiv -flatten -ignore_gold_x gold gate miter",
    "hierarchy -top miter",
    f"sat -verify -prove trigger 0 -set-def-inputs -enable_undef -timeout {TIMEOUT} miter",
)


def _said_yes(script: list[str], folder: Path) -> bool:
    try:
        run_yosys("\n".join(script), folder, "proof", timeout=3 * TIMEOUT)
    except WordlineError:
        return False
    return True


def _boxed(found: dict[str, Any]) -> bool:
    """Turn memories into black boxes. Returns whether both versions have the same memories."""
    gold, boxes = boxed_memories(found["gold"])
    gate, more = boxed_memories(found["gate"])
    found |= boxes | more
    return gold == gate


def boxed_memories(
    module: dict[str, Any], *, least: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turn the memories of a module, as Yosys' JSON has it, into instances of black boxes.

    least: Size of the smallest memory that becomes one, in bits.

    Returns the kind and the parameters of each memory, and the black boxes.
    """
    memories, boxes = {}, {}
    for name, cell in [*module["cells"].items()]:
        if not cell["type"].startswith("$mem"):
            continue
        width, words = (int(cell["parameters"][name], 2) for name in ("WIDTH", "SIZE"))
        if width * words < least:
            continue
        memory = cell["parameters"]["MEMID"].removeprefix("\\")
        memories[memory] = cell["type"], cell["parameters"]
        ports, used = {}, 2  # 0 and 1 are constants
        for port, direction in cell["port_directions"].items():
            bits = [*range(used, used + len(cell["connections"][port]))]
            ports[port] = {"direction": direction, "bits": bits}
            used += len(bits)
        boxes[f"memory${memory}"] = {
            **{"attributes": {"blackbox": "1"}, "ports": ports, "cells": {}},
            "netnames": {
                port: {"hide_name": 0, "bits": entry["bits"], "attributes": {}}
                for port, entry in ports.items()
            },
        }
        del module["cells"][name]
        module["cells"][f"memory${memory}"] = {
            "hide_name": 0,
            "type": f"memory${memory}",
            "parameters": {},
            "attributes": {},
            "port_directions": cell["port_directions"],
            "connections": cell["connections"],
        }
    return memories, boxes


def _called(module: str, name: str) -> str:
    """Text of a module under another name."""
    return re.sub(r"\Amodule\s+(\\\S+|\w+)", f"module {name}", module)


def _initial(module: dict[str, Any]) -> dict[str, str]:
    """Initial values of a module's nets."""
    nets = module["netnames"].items()
    return {n: net["attributes"]["init"] for n, net in nets if "init" in net["attributes"]}
