"""Mutants that a whole chip does not show, in the cocotb benches of their blocks (sim/benches)."""

import multiprocessing
import os
import re
import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden import files
from golden.description import Description
from golden.errors import WordlineError
from sim import blocks, chip
from sim.blocks import QuickVerilator
from sim.verilator import LENIENT
from tests.mutation import mutants
from tests.mutation.mutants import Sources
from tests.soak.macro import slow

SECONDS = 300
"""Time after which a bench hangs: far more than it takes."""

BLOCKS = (
    (r"layer_0\.gates", "gates"),
    (r"layer_0\.dac", "dac"),
    (r"layer_0", "layer"),
    (r"head", "head"),
    (r"replay", "replay"),
    (r"voter", "voter"),
)
"""Instances of an accelerator, and their benches. Inside a design the ADCs' is no block alone: it
shares what the row drivers give."""

SEEDS = (0, 1)
"""Of stimuli: cells by codes, and by levels."""


class LenientQuickVerilator(QuickVerilator):
    """Ignores warnings: what Yosys writes has many."""

    WARNINGS = LENIENT


def around(module: str, core: str) -> list[tuple[str, str]]:
    """Modules at or around a module of an accelerator `core` that have a bench, and their benches.

    The smallest first.
    """
    found = ((re.match(rf"{core}\.{instance}(?=\.|$)", module), name) for instance, name in BLOCKS)
    return [(match[0], name) for match, name in found if match is not None]


@dataclass(frozen=True)
class Inside:
    """What is inside a design: its description, accelerator `core`, and crossbar model."""

    sources: Sources
    description: Description
    core: str
    model: Path


def found(group: list[str], design: Inside, workers: int, folder: Path) -> dict[str, str]:
    """The bench that finds a mutant, for each of `group` that one finds.

    Raises WordlineError if a bench is not green without a mutant.
    """
    blocks_: dict[tuple[str, str], list[str]] = {}
    for mutant in group:
        for place in around(mutants.place(mutant)[0], design.core):
            blocks_.setdefault(place, []).append(mutant)
    killed: dict[str, str] = {}
    with ProcessPoolExecutor(workers) as pool:
        order = [block for _, block in BLOCKS]
        for (module, block), own in sorted(blocks_.items(), key=lambda b: order.index(b[0][1])):
            for seed in SEEDS:
                left = [mutant for mutant in own if mutant not in killed]
                parts = [left[n::workers] for n in range(workers)]
                where = [folder / f"{module}-{seed}-{n}" for n in range(workers)]
                fixed = [[each] * workers for each in (design, module, block, seed)]
                for one in pool.map(_found, parts, *fixed, where):
                    killed |= dict.fromkeys(one, f"bench of {block}")
    return killed


def _found(
    group: list[str], design: Inside, module: str, block: str, seed: int, folder: Path
) -> list[str]:
    """The mutants that a bench finds."""
    if not group:
        return []
    bench = Bench(group, design, module=module, block=block, seed=seed, folder=folder)
    how = bench.finds(0)
    if how is not None:
        raise WordlineError(f"The bench of {module} without a mutant is not green: {how}.")
    return [mutant for n, mutant in enumerate(group, 1) if bench.finds(n) is not None]


class Bench:
    """A module of a design with all of `group`, of which none is active, in its block's bench.

    Crossbars in it are often not ready for a cell.
    """

    def __init__(
        self, group: list[str], design: Inside, *, module: str, block: str, seed: int, folder: Path
    ) -> None:
        self.number, self.seed = folder / "number", seed
        self.module = f"sim.benches.bench_{block}"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"wordline_{block}_mut"
        own = mutants.switched(group, design.sources, self.number, folder, module, name)

        own = from_one_bus(own, name)

        def edit(verilog: Path, control: Path) -> None:
            """Put the module in the place of the block, or of the block in its wrapper."""
            text, lines, top = verilog.read_text(), control.read_text(), f"wordline_{block}"
            if f"\\{top}.block " in text:
                wrapper = text[text.index(f"module {top} (") :].partition("endmodule")[0]
                given = wrapper.replace(f"\\{top}.block ", f"{name} ") + "endmodule\n" + own
                lines = lines.replace(f'"{top}.block"', f'"{name}"')
            else:
                given = re.sub(rf"\b{name}\b", top, own)
                lines = lines.replace(f'"{top}.', f'"{module}.')
            files.write_text(verilog, given + "\n" + slow(design.model.read_text()))
            files.write_text(control, lines)

        self.built = blocks.prepare(
            block,
            design.description,
            folder,
            **{"seed": seed, "edit": edit, "runner": LenientQuickVerilator()},
        )

    def finds(self, mutant: int) -> str | None:
        """How the bench fails with a mutant, if it does; 0 is none."""
        self.number.write_text(str(mutant))
        return fails(self.built, self.module, self.seed, None, SECONDS)


def from_one_bus(verilog: str, module: str) -> str:
    """A module whose write ports hold the same address and data, as in a chip.

    There the words that are loaded come over one bus, and Verilog that is made for it may read it
    at any of its ports.
    """
    begin = verilog.index(f"module {module}(")
    end = verilog.index("endmodule", begin)
    own = verilog[begin:end]
    enables = re.findall(r"(?m)^  input (\w+)__enable;", own)
    added = []
    for part, width in (("address", 32), ("data", 32)):
        chosen = "".join(f"{name}__enable ? {name}__{part} : " for name in enables)
        added.append(f"  wire [{width - 1}:0] one_bus__{part} = {chosen}0;\n")
        for name in enables:
            declared = re.search(rf"(?m)^  input (\[\d+:0\] )?{name}__{part};\n", own)
            if declared is None:
                continue
            bits = declared[1] or ""
            head, body = own[: declared.end()], own[declared.end() :]
            body = re.sub(rf"(?<!\.)\b{name}__{part}\b", f"{name}__{part}_here", body)
            own = head + body
            added.append(f"  assign {name}__{part}_here = one_bus__{part};\n")
            assert f"wire {bits}{name}__{part}_here;" in own
    return verilog[:begin] + own + "".join(added) + verilog[end:]


def fails(built: chip.Chip, module: str, seed: int, tests: str | None, seconds: int) -> str | None:
    """How a cocotb bench fails, if it does: in a process of its own, that may be killed."""
    process = multiprocessing.get_context("fork").Process(
        target=_run, args=(built, module, seed, tests)
    )
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return "hangs"
    return "a test fails" if process.exitcode else None


def _run(built: chip.Chip, module: str, seed: int, tests: str | None) -> None:
    os.setsid()  # so that it can be killed with what it starts
    options: dict[str, Any] = built.arguments | {"module": module, "seed": seed}
    passed = chip.run(**options, tests=tests)["passed"]
    os._exit(not passed)
