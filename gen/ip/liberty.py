"""Liberty file of a crossbar macro: its timing constraints within the clock period.

The numbers are a budget until the macro is characterised. docs/macro.md gives the timing in cycles.
"""

from collections.abc import Iterator

from amaranth.hdl import Value
from amaranth.lib.wiring import In

from golden.geometry import ArrayShape
from hw.macro.interface import macro_signature

SETUP, HOLD, CLOCK_TO_OUTPUT, COMPARE = 0.2, 0.0, 0.2, 0.4
"""Fractions of the clock period: setup, hold, clock to output, and `trial` to `above`."""

DELAYS = ("cell_rise", "cell_fall")

CAPACITANCE_PF = 0.05
"""Capacitance of an input pin."""


def macro(module: str, shape: ArrayShape, period_ns: float) -> str:
    """Liberty text of a macro for a clock period."""
    signature = macro_signature(shape)
    ports = {
        "__".join(map(str, path)): (member.flow == In, len(Value.cast(port)))
        for path, member, port in signature.flatten(signature.create())
    }
    ports |= {"rst": (True, 1)}
    widths = sorted({width for _, width in ports.values() if width > 1})
    lines = [f"library ({module}) {{", *_indented(_header(widths))]
    lines += [f"  cell ({module}) {{", "    interface_timing : true;", "    area : 0;"]
    lines += [
        f"    pin (clk) {{ direction : input; clock : true; capacitance : {CAPACITANCE_PF}; }}"
    ]
    for name, (is_input, width) in ports.items():
        kind = f"pin ({name})" if width == 1 else f"bus ({name})"
        lines.append(f"    {kind} {{")
        if width > 1:
            lines.append(f"      bus_type : bits_{width};")
        if is_input:
            body = _input(period_ns)
        elif name == "above" and "trial" in ports:
            body = _compared(width, ports["trial"][1], period_ns)
        else:
            body = _output(period_ns)
        lines += [f"      {line}" for line in body]
        lines.append("    }")
    lines += ["  }", "}"]
    return "\n".join(lines) + "\n"


def _header(widths: list[int]) -> Iterator[str]:
    yield "delay_model : table_lookup;"
    yield 'time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA";'
    yield 'capacitive_load_unit (1, pf); leakage_power_unit : "1nW";'
    yield 'pulling_resistance_unit : "1kohm";'
    for end in ("input", "output"):
        for edge in ("rise", "fall"):
            yield f"{end}_threshold_pct_{edge} : 50;"
    for edge in ("rise", "fall"):
        yield f"slew_lower_threshold_pct_{edge} : 20; slew_upper_threshold_pct_{edge} : 80;"
    for width in widths:
        yield f"type (bits_{width}) {{"
        yield "  base_type : array; data_type : bit;"
        yield f"  bit_width : {width}; bit_from : {width - 1}; bit_to : 0; downto : true;"
        yield "}"


def _input(period_ns: float) -> list[str]:
    lines = [f"direction : input; capacitance : {CAPACITANCE_PF};"]
    for kind, share in (("setup", SETUP), ("hold", HOLD)):
        lines += _timing(
            "clk", f"{kind}_rising", ("rise_constraint", "fall_constraint"), share * period_ns
        )
    return lines


def _output(period_ns: float) -> list[str]:
    return ["direction : output;", *_launched(period_ns)]


def _launched(period_ns: float) -> list[str]:
    return _timing("clk", "rising_edge", DELAYS, CLOCK_TO_OUTPUT * period_ns, slew=True)


def _compared(lanes: int, bits: int, period_ns: float) -> list[str]:
    """`above`: the bit of each lane depends on the bits of `trial` of that lane."""
    lines, each = ["direction : output;"], bits // lanes
    for lane in range(lanes):
        own = range(lane * each, (lane + 1) * each)
        related = " ".join(f"trial[{n}]" if bits > 1 else "trial" for n in own)
        body = [
            *_launched(period_ns),
            *_timing(related, "combinational", DELAYS, COMPARE * period_ns, slew=True),
        ]
        if lanes == 1:
            lines += body
        else:
            lines += [f"pin (above[{lane}]) {{", *(f"  {line}" for line in body), "}"]
    return lines


def _timing(
    related: str, kind: str, tables: tuple[str, ...], ns: float, *, slew: bool = False
) -> list[str]:
    lines = ["timing () {", f'  related_pin : "{related}"; timing_type : {kind};']
    if kind == "combinational":
        lines.append("  timing_sense : non_unate;")
    lines += [f'  {table} (scalar) {{ values ("{ns:.4f}"); }}' for table in tables]
    if slew:
        lines += [
            f'  {edge}_transition (scalar) {{ values ("0.0500"); }}' for edge in ("rise", "fall")
        ]
    return [*lines, "}"]


def _indented(lines: Iterator[str]) -> list[str]:
    return [f"  {line}" for line in lines]
