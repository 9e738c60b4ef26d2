"""The parameters of a design, section by section: device, array, converters, network, output.

Frozen, keyword-only dataclasses that validate themselves; units, ranges and defaults are in
docs/contract.md.
"""

from typing import Annotated, Literal

from pydantic import Field

from golden.ranges import Range, signed_range, symmetric_range
from golden.validation import Int, frozen

ADC_NOISE_BITS = 12
"""Bits of the ADC noise's amplitude, in 1/256 LSB."""
OFFSET_BITS = 12
"""Bits of a lane's offset, in 1/256 LSB."""
GAIN_ERROR_BITS = 10
"""Bits of a lane's gain error, in 1/1024."""

Count = Annotated[Int, Field(ge=1, le=4096)]
SETTLE_MAX = 64
"""The most that `array.settle` may be."""

DEEP_SETTLE = 23
"""The least `array.settle` with which `array.pipeline` may be "deep"."""

Pipeline = Literal["short", "deep"]
"""How deep the logic is pipelined: as a chip needs it, or as an FPGA does."""


@frozen
class Device:
    """The memory cell: how finely its conductance is written and which levels a weight uses.

    weight_bits:      bits of a weight; 2^weight_bits - 1 equally spaced levels around 0, or, for
                      1 bit, the two levels -max and +max.
    conductance_bits: bits of a device's conductance code; a cell is a pair of such devices.
    levels:           "uniform"; or the level table itself, ascending differential conductance
                      codes g+ - g- of both signs, at most 2^weight_bits of them; or "trained":
                      each array has a table of its own, found in training (`golden.levels`).
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
        """Largest conductance code of one device."""
        return int(2**self.conductance_bits - 1)

    @property
    def level_table(self) -> tuple[int, ...] | None:
        """The differential codes g+ - g- a weight may take, ascending; None where training is to
        find them."""
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
    """The crossbar macro and what feeds it.

    rows, columns: of a crossbar, at most; a layer that needs more is cut into tiles.
    lanes:  ADCs of a crossbar that work at the same time.
    beat:   codes carried by one transfer of the input stream.
    settle: clock cycles from `sample` to a valid comparator (docs/macro.md).
    pipeline: "short", for a chip, whatever `settle` is; "deep", for an FPGA: no more than a few
            additions between registers, which needs `settle` >= DEEP_SETTLE. The numbers that are
            computed are the same.
    units_per_beat: units that the gates of a layer compute in one cycle, a divisor of its lanes; 0:
            the fewest that do not slow a step down (`hw.timing`).
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
    """The row drivers: signed symmetric codes, `bits` wide; 1 bit means the two codes -1 and +1.

    kind: how a code is on a row. "level": as a level, for as long as a sample settles.
          "pulse-width": as a pulse of so many cycles. "bit-serial": the bits of its magnitude one
          after the other, each plane of them converted for itself.
    """

    bits: Annotated[Int, Field(ge=1, le=8)] = 4
    kind: Literal["level", "pulse-width", "bit-serial"] = "level"

    @property
    def range(self) -> Range:
        """Lowest and highest code: -7..7 for 4 bits."""
        return symmetric_range(self.bits)

    @property
    def width(self) -> int:
        """Bits of a wire that carries a code: two's complement, so 2 for a 1-bit DAC."""
        return int(max(2, self.bits))

    @property
    def planes(self) -> int:
        """Conversions for each code of a column: the bits of a magnitude where they are converted
        one after the other, else 1."""
        return self.range.high.bit_length() if self.kind == "bit-serial" else 1

    @property
    def drive_high(self) -> int:
        """Largest number on a row while a sample is taken."""
        return 1 if self.kind == "bit-serial" else self.range.high

    @property
    def drive_width(self) -> int:
        """Bits of a wire that carries such a number."""
        return self.width if self.kind == "level" else 2

    @property
    def pulse_cycles(self) -> int:
        """Cycles of the longest pulse."""
        return self.range.high if self.kind == "pulse-width" else 1

    @property
    def zero(self) -> int:
        """The code of 0.0, which h has before the first step: 0, or +1 for a 1-bit DAC."""
        return 1 if self.bits == 1 else 0


@frozen
class Adc:
    """The column converters.

    bits:      bits of a code, two's complement: -8..7 for 4 bits.
    kind:      how the readout converts: "sar", by successive approximation, a cycle a bit; "flash",
               by a comparator for each code at once; "ramp", against all codes one after the other.
    gain_bits: bits of the programmable analog gain, an unsigned integer from 1 up.
    """

    bits: Annotated[Int, Field(ge=2, le=10)] = 4
    kind: Literal["sar", "flash", "ramp"] = "sar"
    gain_bits: Annotated[Int, Field(ge=6, le=12)] = 10

    @property
    def range(self) -> Range:
        """Lowest and highest code."""
        return signed_range(self.bits)


@frozen
class Voting:
    """The voter: several noisy passes over a sequence, and one class from all of them.

    replay_steps: steps the replay buffer holds; 0: no replay buffer, no voter.
    max_votes:    the most passes the run-time register may ask for.
    """

    replay_steps: Annotated[Int, Field(ge=0, le=65_536)] = 0
    max_votes: Annotated[Int, Field(ge=2, le=1024)] = 64


@frozen
class Output:
    """What leaves the accelerator, and when.

    of:    "class": the number of the highest score; "scores": every score; "state": h of the last
           layer, as DAC codes, of a network without a head.
    steps: "last": of the last step of a sequence; "every": of each of its steps.
    """

    of: Literal["class", "scores", "state"] = "class"
    steps: Literal["last", "every"] = "last"

    @property
    def every_step(self) -> bool:
        """Whether something leaves at each step."""
        return self.steps == "every"


@frozen
class Network:
    """The network: inputs -> recurrent layers (their units) -> classes.

    classes: scores of the dense head, one a class, or one a number that a regressor gives; 0: there
    is no head, and what leaves is the state.
    """

    inputs: Count
    hidden: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)]
    classes: Annotated[Int, Field(ge=0, le=4096)]
