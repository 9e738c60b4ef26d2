"""Waveforms of a simulated chip: sampled values, cutting to steps, view files for viewers.

The viewers are GTKWave and Surfer. Steps count from 0 over all sequences and passes, in the order
in which the chip computes them. The reader expects Verilator's VCD files, which have one change per
line.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vcd.gtkw import GTKWSave

from golden import files
from golden.errors import WordlineError
from golden.ranges import ceil_div


@dataclass(frozen=True)
class Net:
    """A net of a VCD file.

    path: Name with all its scopes.
    code: Identifier in the file.
    width: Width in bits.
    """

    path: str
    code: str
    width: int

    @property
    def name(self) -> str:
        """Name of the net in its module."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Sampled:
    """Values just before each rising clock edge; None if any bit is unknown.

    times: Time of each edge.
    values: Values of each net, by the requested name.
    """

    times: list[int]
    values: dict[str, list[int | None]]


DECLARED = re.compile(
    r"\s*\$(scope \w+|var \w+ (?P<width>\d+) (?P<code>\S+)|upscope)\s*(?P<name>\S*)"
)


def nets(vcd: Path) -> list[Net]:
    """All nets of a VCD file, in the order of the file."""
    found: list[Net] = []
    scopes: list[str] = []
    with vcd.open() as lines:
        for line in lines:
            declared = DECLARED.match(line)
            if line.startswith("$enddefinitions"):
                break
            if declared is None:
                continue
            if declared["width"]:
                path = ".".join([*scopes, declared["name"]])
                found.append(Net(path, declared["code"], int(declared["width"])))
            elif declared[1] == "upscope":
                scopes.pop()
            else:
                scopes.append(declared["name"])
    return found


def sample(vcd: Path, module: str, names: Iterable[str]) -> Sampled:
    """Sample nets at the rising clock edges.

    names: Names below the module, such as "layer_0.gates.a_f_0".

    Raises WordlineError if a net is not in the file.
    """
    by_name = {_below(net.path, module): net for net in nets(vcd)}
    wanted = [*names]
    for name in (*wanted, "clk"):
        if name not in by_name:
            raise WordlineError(f"{vcd} has no net {name!r} below {module}.")
    codes = {by_name[name].code for name in wanted}
    clock = by_name["clk"].code
    now: dict[str, int | None] = dict.fromkeys(codes)
    times: list[int] = []
    values: dict[str, list[int | None]] = {code: [] for code in codes}
    pending: dict[str, int | None] = {}
    time, high = 0, False
    with vcd.open() as lines:
        for line in lines:
            if line[0] == "#":
                now |= pending
                pending = {}
                time = int(line[1:])
                continue
            code, bits = _change(line)
            if code == clock:
                rises, high = bits == "1" and not high, bits == "1"
                if rises:  # the values before the edge: changes at this time are later
                    times.append(time)
                    for own in codes:
                        values[own].append(now[own])
            if code in codes:
                pending[code] = int(bits, 2) if set(bits) <= {"0", "1"} else None
    return Sampled(times, {name: values[by_name[name].code] for name in wanted})


def _change(line: str) -> tuple[str, str]:
    """Code of the net that a line changes, and its new bits."""
    if line[0] in "bB":
        bits, _, code = line[1:].partition(" ")
        return code.strip(), bits
    return line[1:].strip(), line[0]


def _below(path: str, module: str) -> str:
    """Path below a module; the whole path if it is not inside."""
    _, found, tail = f".{path}".partition(f".{module}.")
    return tail if found else path


def steps(vcd: Path, sidecar: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Start and end time of each step.

    A step starts with its first beat of x, or when the previous step ends in the first layer. It
    ends with the last beat of h of the last layer.
    """
    return _steps(_sampled_steps(vcd, sidecar), sidecar)


def _recurrent(sidecar: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [array for name, array in sidecar["arrays"].items() if name != "head"]


def _traced(layer: int) -> str:
    return f"layer_{layer}.gates.trace_valid"


def _sampled_steps(vcd: Path, sidecar: Mapping[str, Any]) -> Sampled:
    """Sample the nets that mark the steps."""
    last = len(_recurrent(sidecar)) - 1
    names = ["i__valid", "i__ready", *{_traced(0), _traced(last)}]
    return sample(vcd, sidecar["module"], names)


def _steps(found: Sampled, sidecar: Mapping[str, Any]) -> list[tuple[int, int]]:
    def times(*names: str) -> list[int]:
        """Times of the edges at which all of these nets are 1."""
        rows = zip(found.times, *(found.values[name] for name in names), strict=True)
        return [time for time, *bits in rows if all(bits)]

    def ends(layer: int) -> list[int]:
        shape = layers[layer]
        words = ceil_div(shape["units"], shape["units_per_beat"])
        return times(_traced(layer))[words - 1 :: words]

    layers = _recurrent(sidecar)
    begins = [*times("i__valid", "i__ready")[:1], *ends(0)[:-1]]
    return [*zip(begins, ends(len(layers) - 1), strict=False)]


def parse_steps(text: str) -> tuple[int, int] | None:
    """First and last step of "5:8" or "5"; None for "all".

    Raises WordlineError for any other text.
    """
    if text == "all":
        return None
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise WordlineError(
            f"Waves of {text!r}: not a range of steps; give all, one step (5) or a range (5:8)."
        )
    return int(match[1]), int(match[2] or match[1])


def check_step(last: int, steps: int) -> None:
    """Raise WordlineError if a chip that computes so many steps has no step `last`."""
    if last >= steps:
        raise WordlineError(
            f"There is no step {last}: the chip computes {steps}; give 0:{steps - 1}."
        )


def cut(vcd: Path, sidecar: Mapping[str, Any], first: int, last: int) -> int:
    """Cut a VCD file to the steps first to last, and the cycles until their results are out.

    Returns the new start time. Raises WordlineError if the chip computed no such step.
    """
    sampled = _sampled_steps(vcd, sidecar)
    edges, found = sampled.times, _steps(sampled, sidecar)
    check_step(last, len(found))
    begin, end = found[first][0], found[last][1]
    after = edges.index(end) + sidecar["cycles_per_output"] + AFTER
    end = edges[min(after, len(edges) - 1)]
    with vcd.open() as source, files.atomic(vcd) as beside, beside.open("w") as target:
        _cut(source, target, begin, end)
    return begin


AFTER = 20
"""Number of cycles kept after the last output."""


def _cut(source: IO[str], target: IO[str], begin: int, end: int) -> None:
    """Copy a VCD file between two times, with all values at the start."""
    values: dict[str, str] = {}
    time: int | None = None
    started = False
    for line in source:
        if line[0] == "#":
            time = int(line[1:])
            if time > end:
                break
            if time >= begin and not started:
                started = True
                target.write(f"#{time}\n$dumpvars\n{''.join(values.values())}$end\n")
            elif started:
                target.write(line)
        elif time is None:
            target.write(line)  # a declaration
        elif started:
            target.write(line)
        elif line.strip():
            values[_change(line)[0]] = line


SHOWN: Sequence[tuple[str, str, str]] = (
    ("Input: x as DAC codes", r"", r"i__(valid|ready|payload_codes|payload_last)"),
    ("{}: rows", r"(layer_\d+|head)\.dac", r"o__(valid|ready|payload_first)|go|[xh]_full|h"),
    (
        "{}: conversions",
        r"(layer_\d+|head)\.array\.readout",
        r"sample|select|timer|bit_|ramp|trial|above",
    ),
    ("{}: ADC codes", r"(layer_\d+|head)\.array\.readout", r"o__(valid|ready|payload_codes)"),
    ("{}: pre-activations", r"(layer_\d+)\.gates", r"advance|s1_valid|(code|a)_[a-z]_0"),
    ("{}: gates of the first unit of a beat", r"(layer_\d+)\.gates", r"s2_valid|[ifgo]_0"),
    ("{}: state", r"(layer_\d+)\.gates", r"(c|c_next|u|tanh|p|h)_0|s3_word|trace_valid"),
    ("Head: scores", r"(head)\.scores", r"o__(valid|ready|payload_last)|score|class_number"),
    ("Head: decision", r"(head)\.decision", r"fsm_state|passed|best|label"),
    ("Output", r"", r"o__(valid|ready|payload(_label|_score|_codes|_last|_end)?)|busy"),
)
"""Contents of the view files: group title, pattern of the scope, pattern of the names in it."""

SIGNED = re.compile(r"(code|a|g|c|c_next|u|tanh|p|h)(_[a-z])?_\d+|best|score")


def shown(vcd: Path, module: str) -> list[tuple[str, list[Net]]]:
    """Groups of `SHOWN` with the nets in a VCD file."""
    below = [(net, *_split(_below(net.path, module))) for net in nets(vcd)]
    blocks = sorted({s.partition(".")[0] for _, s, _ in below if "." in s}, key=_data_flow)
    found: list[tuple[int, str, list[Net]]] = []
    for n, (group, scope, names) in enumerate(SHOWN):
        for block in blocks if scope else [""]:
            own = [
                net
                for net, where, name in below
                if re.fullmatch(scope, where)
                and (not scope or where.partition(".")[0] == block)
                and re.fullmatch(names, name)
            ]
            if own:
                at = 1 + blocks.index(block) if scope else 0 if n == 0 else len(blocks) + 1
                found.append((at, group.format(block.replace("_", " ").capitalize()), own))
    found.sort(key=lambda entry: entry[0])
    return [(title, own) for _, title, own in found]


def _data_flow(block: str) -> tuple[bool, int, str]:
    """Sort key of a block: the layers, then the head."""
    number = block.rpartition("_")[2]
    return block == "head", int(number) if number.isdigit() else 0, block


def _split(path: str) -> tuple[str, str]:
    scope, _, name = path.rpartition(".")
    return scope, name


def save_views(vcd: Path, module: str, begin: int = 0) -> list[Path]:
    """Write view files for GTKWave and Surfer beside a VCD file, and return their paths.

    Open them with `gtkwave X.vcd X.gtkw` and `surfer --command-file X.sucl X.vcd`.

    begin: Time at the left edge of the view.
    """
    gtkwave, surfer = vcd.with_suffix(".gtkw"), vcd.with_suffix(".sucl")
    groups = shown(vcd, module)
    with files.atomic(gtkwave) as beside, beside.open("w") as stream:
        save = GTKWSave(stream)
        save.dumpfile(vcd.name, abspath=False)
        save.timestart(begin)
        for title, own in groups:
            with save.group(title):
                for net in own:
                    bits = f"[{net.width - 1}:0]" if net.width > 1 else ""
                    signed = SIGNED.fullmatch(net.name) is not None
                    base = "signed" if signed else "dec" if 1 < net.width <= 16 else "hex"
                    save.trace(net.path + bits, alias=net.name, datafmt=base)
    commands = []
    for title, own in groups:
        commands += [f"divider_add {title}", *(f"variable_add {net.path}" for net in own)]
    files.write_text(surfer, "\n".join([*commands, "zoom_fit", ""]))
    return [gtkwave, surfer]
