"""Measured macros, against which the component figures are checked.

A macro is an array with its converters, without the digital logic around it. The cells, converters
and rows of a published one are counted from its size, and take the figures of components.toml. With
the high figures, those of silicon, the result is within a factor of 2 of the measured one
(`tests/gen/test_sweep.py`). Timing is the published one.

The high areas of an ADC and of a row were solved from the densities of these macros, so that TOPS
per mm2 is a fit: a check of sums, not a prediction. TOPS per watt is independent of it.
"""

from dataclasses import dataclass

from gen.cost import ppa
from gen.cost.components import Figures, Values, at_node
from gen.cost.counts import Array, Counted
from golden.ranges import symmetric_range

CHANGED = 0.5
"""Bits of a row's code that change from one vector to the next: those of equally likely codes."""


@dataclass(frozen=True)
class Macro:
    """A measured macro of resistive or capacitive cells, in differential pairs.

    node: Technology node (nm).
    adcs: Columns that are converted at once.
    ns: Time of one conversion of all ADCs (ns).
    tops_per_watt: None: not published at these bits.
    settle: Time in which a column settles (ns); None: not published apart.
    """

    name: str
    node: int
    rows: int
    columns: int
    adcs: int
    ns: float
    input_bits: int
    weight_bits: int
    tops_per_watt: float | None
    tops_per_mm2: float
    source: str
    settle: float | None = None


MACROS = (
    Macro(
        *("A-SSCC 2025", 28, 512, 512, 512, 30.0, 4, 2, 89.7, 17.0),
        source="A-SSCC 2025: 8 ns to settle and 22 ns of a SAR conversion; public transcription",
        settle=8.0,
    ),
    Macro(
        *("ESSERC 2024", 28, 512, 512, 64, 23.1, 4, 4, None, 5.1),
        source="ESSERC 2024: 81.1 TOPS/mm2 of 1-bit operands, divided by 16; node taken as 28 nm "
        "(ours); public transcription",
    ),
)


@dataclass(frozen=True)
class DigitalMacro:
    """A measured macro that computes in memory with logic.

    bits: Bits of inputs and of weights.
    capacity_bits: Bits of weights that it holds.
    area: mm2.
    """

    name: str
    node: int
    bits: int
    tops_per_watt: float
    tops_per_mm2: float
    capacity_bits: int
    area: float
    source: str


IN_MEMORY = DigitalMacro(
    *("digital in-memory", 22, 4, 89.0, 16.3, 2**16, 0.202),
    source="Chih et al., ISSCC 2021: 64 Kb of SRAM, adder trees, 4-bit inputs and weights",
)
"""The digital macro that published figures of crossbars are beside."""


def likely(input_bits: int, weight_bits: int) -> tuple[float, float]:
    """Bits of the rows that change in a step, and reads of a device (`gen.cost.counts.Array`), with
    equally likely codes and levels."""
    return CHANGED, _square(input_bits) * _conductance(weight_bits)


def counted(macro: Macro) -> Counted:
    """What one conversion of all ADCs takes, with equally likely codes and levels.

    Rows change once for all columns that share an ADC.
    """
    share = macro.columns / macro.adcs
    changed, reads = likely(macro.input_bits, macro.weight_bits)
    devices = 2 * macro.rows * macro.adcs
    return Counted(
        steps=1,
        operations=2 * macro.rows * macro.adcs,
        cycles=1.0,
        period_ns=macro.ns,
        adc_bits=ppa.ADC_BITS,
        period_cycles=1,
        adc_kind="sar",
        energy={},
        area={},
        memories=[],
        arrays=[
            Array(
                block="macro",
                lanes=macro.adcs,
                rows=macro.rows,
                row_bits=macro.input_bits,
                devices=2 * macro.rows * macro.columns,
                conversions=macro.adcs,
                bits_changed=changed * macro.rows * macro.input_bits / share,
                reads=devices * reads,
            )
        ],
    )


def _square(bits: int) -> float:
    """Mean square of equally likely codes, relative to the largest."""
    codes = symmetric_range(bits)
    values = range(codes.low, codes.high + 1)
    return sum(code**2 for code in values) / len(values) / codes.high**2


def _conductance(bits: int) -> float:
    """Mean conductance of the devices of a pair for equally likely levels, relative to the
    largest."""
    levels = symmetric_range(bits)
    values = range(levels.low, levels.high + 1)
    return sum(abs(level) for level in values) / len(values) / levels.high / 2


def predicted(macro: Macro, values: Values) -> dict[str, float]:
    """Measures of a macro for given figures at its node.

    Its time is the published one, whatever the figures say of time.
    """
    own = {} if macro.settle is None else {"settle": macro.settle}
    cost = ppa.cost(counted(macro), values | own)
    return {
        "tops_per_watt": cost.tops_per_watt,
        "tops_per_mm2": 1000 * cost.operations / macro.ns / sum(cost.area.values()),
    }


def compared(figures: Figures) -> list[dict[str, object]]:
    """Each macro as published and as predicted with low, typical and high figures of 32 nm."""
    found: list[dict[str, object]] = []
    for macro in MACROS:
        own = at_node(figures, macro.node)
        cases = {
            case: predicted(macro, {name: getattr(f, case) for name, f in own.items()})
            for case in ("low", "typical", "high")
        }
        measured = {"tops_per_watt": macro.tops_per_watt, "tops_per_mm2": macro.tops_per_mm2}
        found.append({"name": macro.name, "measured": measured, "predicted": cases})
    return found
