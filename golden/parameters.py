"""Parameters of a design by section: network, device, array, converters, voting, output.

The classes are frozen, keyword-only dataclasses that validate themselves. docs/contract.md has
units, ranges and defaults.
"""

from typing import Annotated, Literal

from pydantic import Field

from golden.ranges import Range, signed_range, symmetric_range
from golden.validation import Int, frozen

ADC_NOISE_BITS = 12
"""Width of the ADC noise's amplitude (1/256 LSB)."""
OFFSET_BITS = 12
"""Width of a lane's offset (1/256 LSB)."""
GAIN_ERROR_BITS = 10
"""Width of a lane's gain error (1/1024 of the gain)."""

Count = Annotated[Int, Field(ge=1, le=4096)]
SETTLE_MAX = 64
"""Maximum of `array.settle`."""

DEEP_SETTLE = 23
"""Minimum `array.settle` for `array.pipeline = "deep"`."""

Pipeline = Literal["short", "deep"]
"""Pipeline depth of the logic: short for a chip, deep for an FPGA."""


@frozen
class Device:
    """The memory cell: programming resolution, and the levels that a weight uses.

    weight_bits:      Bits of a weight: 2^weight_bits - 1 equally spaced levels around 0. 1 bit has
                      the two levels -max and +max.
    conductance_bits: Bits of a device's conductance code. A cell is a pair of devices.
    levels:           "uniform"; a level table of your own: ascending differential codes g+ - g- of
                      both signs, at most 2^weight_bits entries; or "trained": training finds one
                      table for each array (`golden.levels`).
    """

    weight_bits: Annotated[Int, Field(ge=1, le=8)] = 4
    conductance_bits: Annotated[Int, Field(ge=1, le=12)] = 8
    levels: Literal["uniform", "trained"] | tuple[Int, ...] = "uniform"

    def __post_init__(self) -> None:
        if self.levels == "trained":
            return
        if self.levels == "uniform":
            steps = symmetric_range(self.weight_bits).high
            if steps > self.conductance_max:
                raise ValueError(
                    f"device.weight_bits = {self.weight_bits} needs {steps} conductance steps a "
                    f"side, but device.conductance_bits = {self.conductance_bits} has "
                    f"{self.conductance_max}; raise conductance_bits to {self.weight_bits - 1}"
                )
            return
        table = list(self.levels)
        if table != sorted(set(table)) or len(table) < 2:
            raise ValueError(
                f"device.levels = {table} must be two or more integers in ascending order"
            )
        if len(table) > 2**self.weight_bits:
            raise ValueError(
                f"device.levels has {len(table)} entries, but device.weight_bits = "
                f"{self.weight_bits} allows {2**self.weight_bits}"
            )
        if not table[0] < 0 < table[-1]:
            raise ValueError(
                f"device.levels = {table} needs levels on both sides of 0; a weight has a sign"
            )
        if max(map(abs, table)) > self.conductance_max:
            raise ValueError(
                f"device.levels holds {max(table, key=abs)}, outside "
                f"-{self.conductance_max}..{self.conductance_max} "
                f"(device.conductance_bits = {self.conductance_bits})"
            )

    @property
    def conductance_max(self) -> int:
        """Largest conductance code of a device."""
        return int(2**self.conductance_bits - 1)

    @property
    def level_table(self) -> tuple[int, ...] | None:
        """Differential codes g+ - g- of the levels, ascending; None if training finds them."""
        if self.levels == "trained":
            return None
        if self.levels != "uniform":
            return tuple(self.levels)
        steps = symmetric_range(self.weight_bits).high
        spacing = self.conductance_max // steps
        codes = (-1, 1) if self.weight_bits == 1 else range(-steps, steps + 1)
        return tuple(spacing * code for code in codes)


@frozen
class Array:
    """The crossbar macro and the logic that feeds it.

    rows:           Maximum rows per crossbar. A layer that needs more is cut into row tiles.
    columns:        Maximum columns per crossbar. A layer that needs more is cut into column tiles.
    lanes:          ADCs per crossbar that convert in parallel.
    beat:           Codes per transfer of the input stream.
    settle:         Clock cycles from `sample` to a valid comparator output (docs/macro.md).
    pipeline:       "short", for a chip; "deep", for an FPGA: at most a few additions between
                    registers, which needs `settle` >= 23. Both compute the same numbers.
    units_per_beat: Units that the gate pipeline computes per cycle, a divisor of the lanes. 0: the
                    fewest that do not slow a step down (`hw.timing`).
    """

    rows: Count = 4096
    columns: Count = 4096
    lanes: Count = 4
    beat: Count = 16
    settle: Annotated[Int, Field(ge=3, le=SETTLE_MAX)] = 3
    pipeline: Pipeline = "short"
    units_per_beat: Annotated[Int, Field(ge=0, le=4096)] = 0

    def __post_init__(self) -> None:
        if self.deep and self.settle < DEEP_SETTLE:
            raise ValueError(
                f"array.pipeline = 'deep' needs array.settle >= {DEEP_SETTLE}, but array.settle = "
                f"{self.settle}; raise it to {DEEP_SETTLE}, or write 'short'"
            )

    @property
    def deep(self) -> bool:
        """Whether the pipeline is the deep one."""
        return self.pipeline == "deep"


@frozen
class Dac:
    """The row drivers: signed, symmetric codes. 1 bit has the two codes -1 and +1.

    bits: Bits of a DAC code: -7..7 for 4 bits.
    kind: How a row carries a code. "level": a level, constant while a sample settles.
          "pulse-width": a pulse of |code| cycles. "bit-serial": one bit of the magnitude at a time;
          each bit plane is converted separately.
    """

    bits: Annotated[Int, Field(ge=1, le=8)] = 4
    kind: Literal["level", "pulse-width", "bit-serial"] = "level"

    @property
    def range(self) -> Range:
        """Lowest and highest code: -7..7 for 4 bits."""
        return symmetric_range(self.bits)

    @property
    def width(self) -> int:
        """Width of a code on a wire, in two's complement: 2 for a 1-bit DAC."""
        return int(max(2, self.bits))

    @property
    def planes(self) -> int:
        """Conversions per column and row tile: the bits of a magnitude if bit-serial, else 1."""
        return self.range.high.bit_length() if self.kind == "bit-serial" else 1

    @property
    def drive_high(self) -> int:
        """Largest drive of a row in one sample, in DAC codes: 1 if bit-serial."""
        return 1 if self.kind == "bit-serial" else self.range.high

    @property
    def drive_width(self) -> int:
        """Width of a row's wire: that of a code for "level", else 2 bits for -1, 0 and +1."""
        return self.width if self.kind == "level" else 2

    @property
    def pulse_cycles(self) -> int:
        """Cycles of the longest pulse."""
        return self.range.high if self.kind == "pulse-width" else 1

    @property
    def zero(self) -> int:
        """Code of 0.0, which h has before the first step: 0, or +1 for a 1-bit DAC."""
        return 1 if self.bits == 1 else 0


@frozen
class Adc:
    """The column converters.

    bits:      Bits of a code in two's complement: -8..7 for 4 bits.
    kind:      Conversion algorithm. "sar": successive approximation, one cycle per bit. "flash":
               one comparator per threshold, one cycle. "ramp": one threshold per cycle.
    gain_bits: Bits of the programmable analog gain, an unsigned integer from 1 up.
    """

    bits: Annotated[Int, Field(ge=2, le=10)] = 4
    kind: Literal["sar", "flash", "ramp"] = "sar"
    gain_bits: Annotated[Int, Field(ge=6, le=12)] = 10

    @property
    def range(self) -> Range:
        """Lowest and highest code of a conversion."""
        return signed_range(self.bits)


@frozen
class Voting:
    """The voter: several noisy passes over a sequence give one class.

    replay_steps: Capacity of the replay buffer in steps. 0: no replay buffer and no voter.
    max_votes:    Largest number of passes that the run-time register accepts.
    """

    replay_steps: Annotated[Int, Field(ge=0, le=65_536)] = 0
    max_votes: Annotated[Int, Field(ge=2, le=1024)] = 64


@frozen
class Output:
    """What the output stream carries, and how often.

    of:    "class": index of the highest score. "scores": all scores. "state": h of the last layer
           as DAC codes, for a network without a head.
    steps: "last": after the last step of a sequence. "every": after each step.
    """

    of: Literal["class", "scores", "state"] = "class"
    steps: Literal["last", "every"] = "last"

    @property
    def every_step(self) -> bool:
        """Whether there is an output at every step."""
        return self.steps == "every"


@frozen
class Network:
    """The network: inputs -> recurrent layers -> classes.

    inputs:  Values of x per step.
    hidden:  Units of each recurrent layer, 1 to 8 layers.
    classes: Scores of the dense head: one per class, or one per value of a regression. 0: no head;
             the output is the state.
    """

    inputs: Count
    hidden: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)]
    classes: Annotated[Int, Field(ge=0, le=4096)]
