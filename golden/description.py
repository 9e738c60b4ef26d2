"""A network on arrays, described once.

`Description` is a tree of frozen, keyword-only dataclasses that validate themselves; every width
and size in Wordline is a property of this module. golden, hw, gen and sim read it; none of them
computes a width of its own. The numbers are explained in docs/contract.md.
"""

import dataclasses
import hashlib
import tomllib
import warnings
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast, dataclass_transform, get_type_hints

import pydantic
import tomli_w
from pydantic import ConfigDict, Discriminator, Field, Strict, Tag

from golden.errors import WordlineError, WordlineNote
from golden.fixed import Range, ceil_div, index_bits, signed_range, symmetric_range

T = TypeVar("T")

ADC_NOISE_BITS = 12
"""Bits of the ADC noise's amplitude, in 1/256 LSB."""
OFFSET_BITS = 12
"""Bits of a lane's offset, in 1/256 LSB."""
GAIN_ERROR_BITS = 10
"""Bits of a lane's gain error, in 1/1024."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def frozen(cls: type[T]) -> type[T]:
    """A frozen, keyword-only dataclass that validates its fields and rejects unknown ones."""
    config = ConfigDict(extra="forbid")
    return cast(
        type[T],
        pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=config)(cls),
    )


def replaced(instance: T, **changes: Any) -> T:
    """A copy of a dataclass made by `frozen`, with fields replaced; WordlineError for a mistake."""
    kind = type(instance)
    return build(kind, plain(instance) | changes, kind.__name__.lower())


def plain(instance: object) -> dict[str, Any]:
    """A dataclass made by `frozen`, and those in it, as dicts."""
    return dataclasses.asdict(cast(Any, instance))


Int = Annotated[int, Strict()]
Count = Annotated[Int, Field(ge=1, le=4096)]
Frac = Annotated[Int, Field(ge=0, le=8)]
SETTLE_MAX = 64
"""The most that `array.settle` may be."""

DEEP_SETTLE = 23
"""The least `array.settle` with which `array.pipeline` may be "deep"."""

Pipeline = Literal["short", "deep"]
"""How deep the logic is pipelined: as a chip needs it, or as an FPGA does."""

HiddenBits = Annotated[Int, Field(ge=3, le=12)]


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
    """

    rows: Count = 4096
    columns: Count = 4096
    lanes: Count = 4
    beat: Count = 16
    settle: Annotated[Int, Field(ge=3, le=SETTLE_MAX)] = 3
    pipeline: Pipeline = "short"

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

    @property
    def feedback_latency(self) -> int:
        """Cycles from the last beat of h to the next step on the rows."""
        return 2 if self.deep else 1


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

    @property
    def conversion_cycles(self) -> int:
        """Clock cycles from a settled sample to its code."""
        return {"sar": self.bits, "flash": 1, "ramp": 2**self.bits - 1}[self.kind]


@frozen
class LstmCell:
    """The LSTM cell and its number formats.

    frac:             fraction bits of a pre-activation below the ADC's LSB: the bias resolution.
    gate_bits:        bits of i, f and o, and fraction bits of g and c (n in the contract).
    state_bits:       bits of c, two's complement.
    state_index_bits: bits of c that index the table of tanh(c).
    hidden_bits:      bits of that table's entries, two's complement.
    """

    kind: Literal["lstm"] = "lstm"
    frac: Frac = 4
    gate_bits: Annotated[Int, Field(ge=4, le=12)] = 8
    state_bits: Annotated[Int, Field(ge=6, le=20)] = 12
    state_index_bits: Annotated[Int, Field(ge=4, le=12)] = 8
    hidden_bits: HiddenBits = 8

    def __post_init__(self) -> None:
        if self.state_bits < self.gate_bits + 2:
            raise ValueError(
                f"cell.state_bits = {self.state_bits} cannot hold c beyond +-1 with "
                f"cell.gate_bits = {self.gate_bits}; raise state_bits to {self.gate_bits + 2}"
            )
        if self.state_index_bits > self.state_bits:
            raise ValueError(
                f"cell.state_index_bits = {self.state_index_bits} is above "
                f"cell.state_bits = {self.state_bits}; lower it to {self.state_bits}"
            )

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the gates, in PyTorch's order."""
        return ("i", "f", "g", "o")

    def gate_latency(self, pipeline: Pipeline) -> int:
        """Cycles from a block of codes to h. The deep pipeline has registers in front of each
        table, the products, the sums in c and in h and the rounding to h, and behind them."""
        return 15 if pipeline == "deep" else 7

    @property
    def gate_range(self) -> Range:
        """i, f and o: unsigned, LSB 2^-gate_bits."""
        return Range(0, 2**self.gate_bits - 1)

    @property
    def candidate_range(self) -> Range:
        """g: signed, in the LSB of c, 2^-gate_bits."""
        return symmetric_range(self.gate_bits + 1)

    @property
    def table_ranges(self) -> tuple[Range, ...]:
        """Entries of each gate's table."""
        return tuple(self.candidate_range if g == "g" else self.gate_range for g in self.gates)

    @property
    def table_bits(self) -> int:
        """Bits of a gate table's entry: either of the two ranges fits."""
        return int(self.gate_bits + 1)

    @property
    def product_shift(self) -> int:
        """Fraction bits that o adds to the table of tanh in o * tanh(c)."""
        return int(self.gate_bits)

    @property
    def state_range(self) -> Range:
        """c: signed, LSB 2^-gate_bits."""
        return signed_range(self.state_bits)

    @property
    def state_index_range(self) -> Range:
        """Index of the tanh(c) table: c without its lowest bits."""
        return signed_range(self.state_index_bits)

    @property
    def state_index_shift(self) -> int:
        """Bits dropped from c to index the tanh(c) table."""
        return int(self.state_bits - self.state_index_bits)

    @property
    def hidden_range(self) -> Range:
        """Entries of the tanh(c) table."""
        return symmetric_range(self.hidden_bits)


@frozen
class RnnCell:
    """The vanilla (Elman) cell, h = tanh(W x + U h + b), and its number formats.

    frac:        fraction bits of a pre-activation below the ADC's LSB: the bias resolution.
    hidden_bits: bits of the tanh table's entries, two's complement.
    """

    kind: Literal["rnn"] = "rnn"
    frac: Frac = 4
    hidden_bits: HiddenBits = 8

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the gates: there is only the pre-activation of h."""
        return ("h",)

    def gate_latency(self, pipeline: Pipeline) -> int:
        """Cycles from a block of codes to h. The deep pipeline has registers in front of the gate's
        table and behind it, and behind the rounding to h."""
        return 6 if pipeline == "deep" else 3

    @property
    def hidden_range(self) -> Range:
        """Entries of the tanh table."""
        return symmetric_range(self.hidden_bits)

    @property
    def table_ranges(self) -> tuple[Range, ...]:
        """Entries of each gate's table."""
        return (self.hidden_range,)

    @property
    def table_bits(self) -> int:
        """Bits of a gate table's entry."""
        return int(self.hidden_bits)

    @property
    def product_shift(self) -> int:
        """Fraction bits beyond those of the table of tanh: h is its entry itself."""
        return 0


def _kind(cell: object) -> str:
    """The cell's kind; an LSTM where nothing is said."""
    return str(cell.get("kind", "lstm") if isinstance(cell, dict) else getattr(cell, "kind", ""))


Cell = Annotated[
    Annotated[LstmCell, Tag("lstm")] | Annotated[RnnCell, Tag("rnn")], Discriminator(_kind)
]


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayShape:
    """The array of a layer or the head: `units` neurons of `gates` columns over `rows` rows, of
    which the first `inputs` are x and the rest h.

    It is one crossbar or, where that would be too large, several, all of the same size: row tiles,
    each of which has some of the rows of every column, and column tiles, each of which has some of
    the units. Column (unit, gate) is converted by lane `unit % lanes` at select `gates * (unit //
    lanes) + gate`: a lane converts the gates of one unit one after the other, so they arrive
    together. The lanes of a column tile are neighbours.
    """

    description: "Description"
    rows: int
    inputs: int
    units: int
    gates: int

    @cached_property
    def row_tiles(self) -> tuple[range, ...]:
        """The rows of each row tile: as few tiles as there can be and, where as few do, none with
        rows of x and of h; as even as can be."""
        most = self.description.array.rows
        parts = [part for part in (self.inputs, self.rows - self.inputs) if part]
        fewest = ceil_div(self.rows, most)
        if sum(ceil_div(part, most) for part in parts) > fewest:
            parts = [self.rows]
        tiles: list[range] = []
        for part in parts if fewest > 1 else [self.rows]:
            start, count = tiles[-1].stop if tiles else 0, ceil_div(part, most)
            edges = [start + part * n // count for n in range(count + 1)]
            tiles += [range(a, b) for a, b in pairwise(edges)]
        return tuple(tiles)

    @property
    def row_slices(self) -> tuple[slice, ...]:
        """The same, to index with."""
        return tuple(slice(tile.start, tile.stop) for tile in self.row_tiles)

    @cached_property
    def column_tiles(self) -> int:
        """How many column tiles there are: the fewest with room for their units."""
        most = self.description.array.columns // self.gates
        tiles = ceil_div(self.units, most)
        while self._units_of_first(tiles) > most:
            tiles += 1
        return tiles

    def _units_of_first(self, tiles: int) -> int:
        """Units of the first of so many column tiles, which has the most."""
        lanes = self._lanes_of_each(tiles)
        whole, rest = divmod(self.units, tiles * lanes)
        return whole * lanes + min(lanes, rest)

    def _lanes_of_each(self, tiles: int) -> int:
        """Lanes of each of so many column tiles: no more than it has units."""
        return min(self.description.array.lanes, ceil_div(self.units, tiles))

    @cached_property
    def macro(self) -> "ArrayShape":
        """One of the crossbars: an array that is not cut any further."""
        rows = max(len(tile) for tile in self.row_tiles)
        units = self._units_of_first(self.column_tiles)
        return dataclasses.replace(self, rows=rows, inputs=rows, units=units)

    @property
    def macros(self) -> int:
        """How many crossbars there are."""
        return len(self.row_tiles) * self.column_tiles

    @cached_property
    def lanes(self) -> int:
        """Lanes of all column tiles."""
        return self.column_tiles * self._lanes_of_each(self.column_tiles)

    @property
    def blocks(self) -> int:
        """Groups of `lanes` units."""
        return ceil_div(self.units, self.lanes)

    @property
    def selects(self) -> int:
        """Positions of the column multiplexer: conversions a lane makes for one step."""
        return self.gates * self.blocks

    @property
    def settle(self) -> int:
        """Cycles from a sample to a valid comparator: a pulse, and what comes after it."""
        return self.description.array.settle + self.description.dac.pulse_cycles - 1

    @property
    def period(self) -> int:
        """Cycles between two samples of a lane."""
        return max(self.description.adc.conversion_cycles, self.settle)

    @property
    def deep(self) -> bool:
        """Whether the array and what is around it have the deep pipeline."""
        return self.description.array.deep

    @property
    def gate_latency(self) -> int:
        """Cycles from a block of codes to h, through the gates."""
        return int(self.description.cell.gate_latency(self.description.array.pipeline))

    @property
    def samples(self) -> int:
        """Samples of a lane for one step: one of each plane for each select."""
        return self.selects * self.description.dac.planes

    @property
    def conversion_cycles(self) -> int:
        """Cycles the ADCs need for one step: what a step should cost."""
        return self.samples * self.period

    @property
    def charge_max(self) -> int:
        """Bound of |column charge| of a crossbar, whatever conductances are programmed."""
        device, dac = self.description.device, self.description.dac
        return self.macro.rows * dac.drive_high * device.conductance_max

    @property
    def adc_shift(self) -> int:
        """Shift of the ADC: at gain 16 the largest charge there can be just reaches full scale."""
        return 4 + max(0, self.charge_max.bit_length() - (self.description.adc.bits - 1))

    @property
    def code_range(self) -> Range:
        """A column's code: the sum over its row tiles and planes, a plane's times 2^plane."""
        one, planes = self.description.adc.range, self.description.dac.planes
        most = len(self.row_tiles) * (2**planes - 1)
        return Range(most * one.low, most * one.high)

    @property
    def code_bits(self) -> int:
        """Bits of a column's code."""
        return (-self.code_range.low - 1).bit_length() + 1

    @property
    def index_bits(self) -> int:
        """Bits of a gate table's index."""
        return int(self.code_bits + self.description.cell.frac)

    @property
    def index_range(self) -> Range:
        """Index of the gate tables: a pre-activation."""
        return signed_range(self.index_bits)

    @property
    def adds_up(self) -> bool:
        """Whether a code is the sum of several conversions, of row tiles or planes."""
        return len(self.row_tiles) > 1 or self.description.dac.planes > 1

    @property
    def readout_latency(self) -> int:
        """Cycles from a column's last sample to its code."""
        return int(self.settle + self.description.adc.conversion_cycles + self.adds_up)

    @cached_property
    def units_per_beat(self) -> int:
        """Units the gate pipeline handles in one cycle: the fewest, dividing `lanes`, that keep up
        with the ADCs and with which a step takes at most a tenth longer than the ADCs need; where
        none are enough for that, the fewest that keep up."""
        needed = ceil_div(self.lanes, self.conversion_cycles // self.blocks)
        fits = [n for n in range(needed, self.lanes + 1) if self.lanes % n == 0]
        near = [n for n in fits if 10 * self.loop_cycles(n) <= 11 * self.conversion_cycles]
        return (near or fits)[0]

    def loop_cycles(self, units_per_beat: int) -> int:
        """Cycles from a recurrent layer's step to the next one, through h: all samples, the last
        one's conversion, the gates, what is left of the last block, the rows."""
        tail = self.units - (self.blocks - 1) * self.lanes
        left = ceil_div(tail, units_per_beat) - 1
        back = self.gate_latency + self.description.array.feedback_latency
        return (self.samples - 1) * self.period + self.readout_latency + left + back

    @property
    def read_noise_bits(self) -> int:
        """Bits of the read noise's amplitude, in 1/16 of a unit of charge."""
        return int(min(32, self.charge_max.bit_length() + 2))

    def column(self, unit: Any, gate: Any) -> tuple[Any, Any]:
        """(select, lane) at which a unit's gate is converted; of integers or of arrays."""
        return self.gates * (unit // self.lanes) + gate, unit % self.lanes

    def place(self, unit: Any) -> tuple[Any, Any]:
        """(column tile, number of the unit in it); of integers or of arrays."""
        lanes = self.lanes // self.column_tiles
        tile, lane = unit % self.lanes // lanes, unit % lanes
        return tile, unit // self.lanes * lanes + lane


@frozen
class Description:
    """Everything that fixes a design: emit the same description, get the same Verilog.

    Raises WordlineError (from `from_toml`, `from_dict`, `replace`) naming the offending field.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    network: Network
    device: Device = Field(default_factory=Device)
    array: Array = Field(default_factory=Array)
    dac: Dac = Field(default_factory=Dac)
    adc: Adc = Field(default_factory=Adc)
    cell: Cell = Field(default_factory=LstmCell)
    voting: Voting = Field(default_factory=Voting)
    output: Output = Field(default_factory=Output)

    def __post_init__(self) -> None:
        if (self.output.of == "state") != (self.network.classes == 0):
            raise ValueError(
                f"output.of = {self.output.of!r} does not fit network.classes = "
                f"{self.network.classes}: a state leaves where there is no head, and a head has "
                f"one class or more; write 'state' and 0, or 'class' or 'scores' and how many"
            )
        if self.voting.replay_steps and self.output != Output():
            raise ValueError(
                f"voting.replay_steps = {self.voting.replay_steps} is for votes on the class of a "
                f"sequence, but output.of = {self.output.of!r} and output.steps = "
                f"{self.output.steps!r}; set it to 0, or write 'class' and 'last'"
            )
        if self.array.columns < len(self.cell.gates):
            raise ValueError(
                f"array.columns = {self.array.columns} has no room for the {len(self.cell.gates)} "
                f"gates of a unit; raise it to {len(self.cell.gates)} or more"
            )
        if self.cell.hidden_bits < self.dac.width:
            raise ValueError(
                f"cell.hidden_bits = {self.cell.hidden_bits} is below the DAC's width; raise it "
                f"to {self.dac.width} or lower dac.bits = {self.dac.bits}"
            )

    @property
    def score_bits(self) -> int:
        """Bits of a head's score, an unsaturated (code << frac) + bias."""
        return self.head.index_bits + 1

    @property
    def votes_bits(self) -> int:
        """Bits of a number of passes, 0 to `max_votes`."""
        return int(self.voting.max_votes.bit_length())

    @property
    def sum_bits(self) -> int:
        """Bits of the sum of a class's scores over `max_votes` passes."""
        return self.score_bits + index_bits(self.voting.max_votes)

    @property
    def hidden_shift(self) -> int:
        """Shift from o * tanh(c), or from an RNN's tanh, to the DAC code of h."""
        return int(self.cell.product_shift + self.cell.hidden_bits - self.dac.width)

    @property
    def hidden_unit(self) -> int:
        """The tanh table's code of 1.0: the DAC's full scale."""
        return int(self.dac.range.high << (self.cell.hidden_bits - self.dac.width))

    @cached_property
    def layers(self) -> tuple[ArrayShape, ...]:
        """The arrays of the recurrent layers; rows are the inputs, then the layer's own h."""
        fan_in = (self.network.inputs, *self.network.hidden[:-1])
        return tuple(
            ArrayShape(
                description=self,
                rows=inputs + units,
                inputs=inputs,
                units=units,
                gates=len(self.cell.gates),
            )
            for inputs, units in zip(fan_in, self.network.hidden, strict=True)
        )

    @cached_property
    def head(self) -> ArrayShape:
        """The array of the dense head, of a network that has one."""
        assert self.network.classes
        rows = self.network.hidden[-1]
        return ArrayShape(
            description=self, rows=rows, inputs=rows, units=self.network.classes, gates=1
        )

    @cached_property
    def arrays(self) -> dict[str, ArrayShape]:
        """Every array by name: layers.0, ..., head."""
        named = {f"layers.{n}": shape for n, shape in enumerate(self.layers)}
        return named | ({"head": self.head} if self.network.classes else {})

    @property
    def input_beat(self) -> int:
        """Codes in a beat of the network's input."""
        return min(self.array.beat, self.network.inputs)

    @property
    def outputs(self) -> int:
        """Scores of the head, or values of the state that leaves in their place."""
        return self.network.classes or self.network.hidden[-1]

    @property
    def class_bits(self) -> int:
        """Bits of a class label."""
        return index_bits(self.network.classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and integers: what the TOML and JSON files hold."""
        fields = plain(self)
        fields["network"]["hidden"] = list(self.network.hidden)
        if not isinstance(self.device.levels, str):
            fields["device"]["levels"] = list(self.device.levels)
        return fields

    def to_toml(self) -> str:
        """The description as TOML, every field written out."""
        return tomli_w.dumps(self.to_dict())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the TOML: names the design in every file made from it."""
        return hashlib.sha256(self.to_toml().encode()).hexdigest()

    @classmethod
    def from_dict(cls, fields: dict[str, Any], *, source: str = "description") -> Self:
        """Build from plain dicts; `source` names them in the error, and in the note (a warning
        of the category WordlineNote) where they are of the format before `array.pipeline`."""
        return build(cls, _with_pipeline(fields, source), source)

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a TOML file."""
        return cls.from_dict(read_toml(path), source=str(path))

    def replace(self, **sections: Any) -> "Description":
        """A copy in which fields are replaced: `d.replace(adc={"bits": 6}, name="wide")`."""
        fields = self.to_dict()
        for section, value in sections.items():
            old = fields.get(section)
            # Another kind of cell has other fields: it begins with its own defaults.
            if (
                isinstance(value, dict)
                and isinstance(old, dict)
                and (section != "cell" or value.get("kind", old["kind"]) == old["kind"])
            ):
                fields[section] = {**old, **value}
            else:
                fields[section] = value
        return self.from_dict(fields)


def _with_pipeline(fields: dict[str, Any], source: str) -> dict[str, Any]:
    """The fields of a description; where they are of the format before `array.pipeline`, in which
    a long `array.settle` meant the deep one, with it and with a note."""
    array = fields.get("array")
    if not isinstance(array, dict) or "pipeline" in array:
        return fields
    settle = array.get("settle")
    if not isinstance(settle, int) or not DEEP_SETTLE <= settle <= SETTLE_MAX:
        return fields
    note = (
        f"{source}: array.pipeline is missing; it is read as 'deep', which array.settle = {settle} "
        f"meant before there was that field. Set it to 'deep' or to 'short'."
    )
    warnings.warn(note, WordlineNote, stacklevel=3)
    return fields | {"array": array | {"pipeline": "deep"}}


def preset_or_toml(name: str, presets: Mapping[str, T], no: str) -> T | dict[str, Any]:
    """A preset by its name, or the fields of a .toml file; else a WordlineError that begins with
    `no` ("There is no preset")."""
    if name in presets:
        return presets[name]
    if not name.endswith(".toml"):
        raise WordlineError(f"{no} {name!r}; give one of {', '.join(presets)}, or a .toml file.")
    return read_toml(Path(name))


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; WordlineError if it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WordlineError(
            f"{path} cannot be read ({error.strerror}); give the path of a TOML description."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WordlineError(f"{path} is not valid TOML: {error}.") from None


def build(cls: type[T], fields: dict[str, Any], source: str, section: str = "") -> T:
    """Validate plain dicts into a dataclass; WordlineError with the first mistake as a sentence,
    which names the field as `section.field` where these are a section of a file."""
    try:
        return pydantic.TypeAdapter(cls).validate_python(fields)
    except pydantic.ValidationError as error:
        raise WordlineError(f"{source}: {_sentence(cls, error, section)}") from None


def _sentence(cls: type, error: pydantic.ValidationError, section: str) -> str:
    """The first mistake of a validation: the field, its value, what is allowed."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    # The branch of a union is no field.
    path = [part for part in path if not part.startswith(("literal[", "tuple["))]
    path = [part for part in path if part not in ("float", "str")]
    if path[:1] == ["cell"] and len(path) > 1:  # then comes the kind, which is not a field
        cls, path = (LstmCell if path[1] == "lstm" else RnnCell), path[2:]
        field = ".".join(["cell", *path])
    else:
        field = ".".join([section, *path] if section else path)
    value, context = first["input"], first.get("ctx", {})
    match first["type"]:
        case "missing":
            return f"{field} is missing; add it."
        case "unexpected_keyword_argument":
            return f"{field} is not a field; the fields here are {_fields_at(cls, path[:-1])}."
        case "value_error":
            return f"{context['error']}."
        case "greater_than_equal":
            return f"{field} = {value!r} is below {context['ge']}, the least it can be."
        case "less_than_equal":
            return f"{field} = {value!r} is above {context['le']}, the most it can be."
        case "int_type":
            return f"{field} = {value!r} is not an integer; write a whole number."
        case "union_tag_invalid":
            kind, known = context["tag"], context["expected_tags"].replace(", ", " or ")
            return f"{field}.kind = {kind!r} is not known; write {known}."
        case "literal_error":
            return f"{field} = {value!r} is not known; write {context['expected']}."
        case "string_pattern_mismatch":
            return (
                f"{field} = {value!r} must be lower-case letters, digits, '-' or '_', begin with "
                f"a letter and have at most 40 characters."
            )
        case _:
            return f"{field} = {value!r} is wrong: {first['msg']}."


def _fields_at(cls: type, path: list[str]) -> str:
    """Names of the fields of the dataclass that `path` leads to."""
    for part in path:
        cls = get_type_hints(cls)[part]
    return ", ".join(field.name for field in dataclasses.fields(cls))
