"""And-inverter graphs in which a fault is switched on by an input: is a fault ever seen?

A literal is twice its variable, plus one if it is inverted; 0 is false, 1 is true (Biere, "The
AIGER And-Inverter Graph format", 2007).
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.formal.engine import abc


@dataclass(frozen=True)
class Graph:
    """A design as `write_aiger -ascii` gives it.

    inputs: Their literals.
    latches: Literal and next value of each register, which is 0 at power-up.
    outputs: Their literals.
    gates: (output, input, input) of each AND, inputs first.
    """

    inputs: list[int]
    latches: list[tuple[int, int]]
    outputs: list[int]
    gates: list[tuple[int, int, int]]

    @classmethod
    def read(cls, path: Path) -> "Graph":
        """Read a file of format aag."""
        lines = path.read_text().splitlines()
        _, inputs, latches, outputs, gates = map(int, lines[0].split()[1:6])
        rows = [[int(word) for word in line.split()] for line in lines[1:] if line[:1].isdigit()]
        after = [0, inputs, inputs + latches, inputs + latches + outputs]
        return cls(
            [row[0] for row in rows[: after[1]]],
            [(row[0], row[1]) for row in rows[after[1] : after[2]]],
            [row[0] for row in rows[after[2] : after[3]]],
            [(row[0], row[1], row[2]) for row in rows[after[3] : after[3] + gates]],
        )


class Faults:
    """A graph with faults: which of them can be seen at an output?

    number: Places among the inputs of the bits of the number of the fault, lowest first; 0 is no
        fault.
    reset, low: The place of the reset among the inputs, if there is one, and whether it is active
        when 0. It is active in the first cycle, in which nothing is compared.
    enables: By the place of an output, those of the outputs of which one must be 1 for it to mean
        something.
    reads: Of each read port of a memory, the places of its address among the outputs and of its
        data among the inputs: for another address, a fault may read anything.
    seen: Places of the outputs that are compared.
    """

    def __init__(
        self,
        graph: Graph,
        number: list[int],
        reset: int | None,
        low: bool,
        enables: dict[int, list[int]],
        reads: list[tuple[list[int], list[int]]],
        seen: list[int],
    ) -> None:
        self.graph, self.enables, self.seen = graph, enables, seen
        self.made: dict[tuple[int, int], int] = {}  # ANDs by their inputs
        self.nodes: list[tuple[int, int]] = [(0, 0)]  # by variable; (0, 0): no AND
        self.reads = [
            ([graph.outputs[place] for place in address], [graph.inputs[place] for place in data])
            for address, data in reads
        ]
        self.any = {literal: self._leaf() for _, data in self.reads for literal in data}
        self.number = [graph.inputs[place] for place in number]
        self.leaves = {literal: self._leaf() for literal in graph.inputs}
        self.leaves |= {literal: self._leaf() for literal, _ in graph.latches}
        self.started = self._leaf()  # a register: 0, then 1
        if reset is not None:
            given = self.leaves[graph.inputs[reset]]
            active = self._both(given ^ (not low), self.started) ^ 1
            self.leaves[graph.inputs[reset]] = active ^ low
        self.good = self._values(0, {})

    def _leaf(self) -> int:
        self.nodes.append((0, 0))
        return 2 * len(self.nodes) - 2

    def _both(self, a: int, b: int) -> int:
        """The AND of two literals, made once."""
        if a > b:
            a, b = b, a
        if a == 0 or a ^ b == 1:
            return 0
        if a in (1, b):
            return b
        if (a, b) not in self.made:
            self.made[a, b] = self._leaf()
            self.nodes[-1] = (a, b)
        return self.made[a, b]

    def _values(self, fault: int, own: dict[int, int]) -> dict[int, int]:
        """What each literal is with a fault, and with other leaves for some registers."""
        value = {0: 0, 1: 1}
        constants = {literal: fault >> n & 1 for n, literal in enumerate(self.number)}
        for literal, leaf in (self.leaves | own | constants).items():
            value[literal], value[literal ^ 1] = leaf, leaf ^ 1
        for made, a, b in self.graph.gates:
            both = self._both(value[a], value[b])
            value[made], value[made ^ 1] = both, both ^ 1
        return value

    def is_seen(self, fault: int, folder: Path, *, seconds: int) -> bool | None:
        """Whether an output can differ from that without the fault; None: not known in time.

        seconds: Time for a proof; 0: only what needs none.

        Registers without a difference at their inputs are the same in both; the others start at 0
        in both. Then ABC decides by PDR.
        """
        own: dict[int, int] = {}
        read: dict[int, int] = {}
        while True:
            bad = self._values(fault, own | read)
            new = {
                literal: self._leaf()
                for literal, after in self.graph.latches
                if literal not in own and bad[after] != self.good[after]
            }
            now = self._read(bad)
            if not new and now == read:
                break
            own, read = own | new, now
        differs = self._both(self.started, self._differs(bad))
        if differs == 0:
            return False
        if not seconds:
            return None
        after = {self.leaves[now]: self.good[then] for now, then in self.graph.latches}
        after[self.started] = 1
        after |= {leaf: bad[dict(self.graph.latches)[now]] for now, leaf in own.items()}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "seen.aig").write_bytes(self._written(differs, after))
        return _decided(folder, seconds)

    def _equal(self, a: int, b: int) -> int:
        return self._both(self._both(a, b ^ 1) ^ 1, self._both(a ^ 1, b) ^ 1)

    def _read(self, bad: dict[int, int]) -> dict[int, int]:
        """What a fault reads at ports whose address may differ."""
        found = {}
        for address, data in self.reads:
            same = 1
            for literal in address:
                same = self._both(same, self._equal(self.good[literal], bad[literal]))
            for literal in data if same != 1 else ():
                shared = self._both(same, self.leaves[literal])
                found[literal] = (
                    self._both(shared ^ 1, self._both(same ^ 1, self.any[literal]) ^ 1) ^ 1
                )
        return found

    def _differs(self, bad: dict[int, int]) -> int:
        """Whether an output that means something differs."""
        outputs, differs = self.graph.outputs, 0
        for place in self.seen:
            equal = self._equal(self.good[outputs[place]], bad[outputs[place]])
            enabled = 0 if place in self.enables else 1
            for enable in self.enables.get(place, ()):
                enabled = self._both(enabled ^ 1, self.good[outputs[enable]] ^ 1) ^ 1
            differs = self._both(differs ^ 1, self._both(equal ^ 1, enabled) ^ 1) ^ 1
        return differs

    def _written(self, output: int, after: dict[int, int]) -> bytes:
        """What an output depends on, in AIGER's binary format. after: Next values of registers."""
        needed: set[int] = set()
        waiting = [output >> 1]
        while waiting:
            variable = waiting.pop()
            if variable in needed or not variable:
                continue
            needed.add(variable)
            a, b = self.nodes[variable]
            waiting += [a >> 1, b >> 1]
            if 2 * variable in after:
                waiting.append(after[2 * variable] >> 1)
        gates = sorted(v for v in needed if self.nodes[v] != (0, 0))
        latches = sorted(v for v in needed if 2 * v in after)
        inputs = sorted(needed - {*gates} - {*latches})
        place = {v: n for n, v in enumerate([0, *inputs, *latches, *gates])}

        def literal(old: int) -> int:
            return 2 * place[old >> 1] + (old & 1)

        sizes = (len(place) - 1, len(inputs), len(latches), 1, len(gates))
        text = f"aig {' '.join(map(str, sizes))}\n"
        text += "".join(f"{literal(after[2 * v])}\n" for v in latches) + f"{literal(output)}\n"
        code = bytearray(text.encode())
        for v in gates:
            low, high = sorted(map(literal, self.nodes[v]))
            for delta in (2 * place[v] - high, high - low):
                while delta > 127:
                    code.append(delta & 127 | 128)
                    delta >>= 7
                code.append(delta)
        return bytes(code)


def _decided(folder: Path, seconds: int) -> bool | None:
    commands = f"read_aiger seen.aig; scorr; pdr -a -T {seconds}"
    try:
        said = abc(commands, folder, seconds=3 * seconds)
    except subprocess.TimeoutExpired:
        return None
    counts = r"All = 1\. Proved = (\d)\. Disproved = (\d)\. Undecided = \d"
    ((proved, disproved),) = re.findall(counts, said)
    return True if disproved == "1" else False if proved == "1" else None
