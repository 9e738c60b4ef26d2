"""Random descriptions, and random programs and codes for a description, for benches and tests.

The caller seeds all random generators, so every run can be reproduced.
"""

import math
import random

import torch
from torch import Tensor

from golden import crossbar, dac, tables
from golden.description import Description
from golden.geometry import ArrayShape
from golden.noise import WORD
from golden.parameters import GAIN_ERROR_BITS, OFFSET_BITS
from golden.program import (
    HeadProgram,
    LayerProgram,
    Program,
    ideal_macro,
    padded,
)
from golden.ranges import Range, ceil_div, signed_range
from hw import timing

HARDWARE = (
    *[("level", "sar", {})] * 3,
    ("level", "flash", {"rows": 5}),
    ("level", "ramp", {"columns": 8}),
    ("level", "sar", {"rows": 3, "columns": 9}),
    ("pulse-width", "sar", {}),
    ("pulse-width", "flash", {"rows": 4}),
    ("bit-serial", "sar", {}),
    ("bit-serial", "ramp", {"rows": 5, "columns": 5}),
)
"""Kinds of DAC and ADC, and crossbar sizes, of random descriptions."""


def random_description(
    draw: random.Random, *, most_rows: int = 12, kind: str | None = None, head: bool = False
) -> Description:
    """A random description, small enough to simulate.

    It has any bit width, odd sizes from 1 on, a voter or none, and any output.

    draw: Source of random choices.
    most_rows: Maximum number of rows of a layer.
    kind: Kind of cell; None: either.
    head: The description must have a head.
    """
    whole, one_of = draw.randint, draw.choice
    replay_steps = one_of((0, 0, 4, 5))
    output = {}
    if not replay_steps:
        output["of"] = one_of(("class", "scores", *(() if head else ("state",))))
        output["steps"] = one_of(("last", "every"))
    weight_bits = whole(1, 8)
    gate_bits = whole(4, 8)
    # A conversion of 2^bits cycles and a table of 2^bits entries are slow to simulate, so only one
    # of them is large.
    dac_kind, adc_kind, tiles = one_of(HARDWARE)
    plain = (dac_kind, tiles) == ("level", {})
    dac_bits = whole(1, 8 if dac_kind == "level" else 4)
    adc_bits = whole(2, 10 if adc_kind == "sar" and plain else 5)
    cell = {
        "kind": kind or one_of(("lstm", "rnn")),
        "frac": whole(0, max(0, 8 - adc_bits) if plain else 1),
        "hidden_bits": whole(max(3, dac_bits), 9),
    }
    if cell["kind"] == "lstm":
        cell |= {"gate_bits": gate_bits, "state_bits": whole(gate_bits + 2, 14)}
        cell["state_index_bits"] = whole(4, 6)
    of = output.get("of", "class")
    fewest = 2 if of == "class" else 1
    description = Description.from_dict(
        {
            "name": "drawn",
            "network": {
                "inputs": whole(1, most_rows // 2),
                "hidden": [whole(1, most_rows // 2) for _ in range(whole(1, 2))],
                "classes": 0 if of == "state" else max(fewest, whole(1, 6)),
            },
            "device": {
                "weight_bits": weight_bits,
                "conductance_bits": whole(max(1, weight_bits - 1), 8),
            },
            "array": {
                **tiles,
                "lanes": whole(1, 7),
                "beat": whole(1, 7),
                "settle": whole(3, 6),
            },
            "dac": {"bits": dac_bits, "kind": dac_kind},
            "adc": {"bits": adc_bits, "kind": adc_kind, "gain_bits": whole(6, 12)},
            "cell": cell,
            "voting": {"replay_steps": replay_steps, "max_votes": whole(2, 5)},
            "output": output,
        }
    )
    lanes = math.gcd(*(shape.lanes for shape in description.layers))
    fits = [n for n in range(1, lanes + 1) if lanes % n == 0]
    keep_up = max(timing.units_per_beat(shape) for shape in description.layers)
    given = one_of((0, *(n for n in fits if n >= keep_up)))
    return description.replace(array={"units_per_beat": given})


class Stimuli:
    """Seeded random codes and programs for a description."""

    def __init__(self, description: Description, seed: int) -> None:
        self.description = description
        self.generator = torch.Generator().manual_seed(seed)

    def integers(self, range_: Range, *size: int) -> Tensor:
        """Uniform integers from the whole range."""
        return torch.randint(range_.low, range_.high + 1, size, generator=self.generator)

    def extremes(self, range_: Range, *size: int) -> Tensor:
        """Integers from the whole range; half of them are its ends."""
        draws = self.integers(range_, *size)
        ends = torch.tensor(range_)[self.integers(Range(0, 1), *size)]
        return torch.where(self.integers(Range(0, 1), *size) == 0, draws, ends)

    def random_codes(self, *size: int) -> Tensor:
        """Uniform DAC codes."""
        codes = self.integers(self.description.dac.range, *size)
        return torch.where(codes == 0, 1, codes) if self.description.dac.bits == 1 else codes

    def encoded(self, *size: int) -> Tensor:
        """DAC codes of real numbers, some of which are outside the DAC's range."""
        high = self.description.dac.range.high
        x = (torch.rand(size, generator=self.generator) - 0.5) * (2 * high + 2)
        one = torch.ones(size[-1])
        return dac.encode(x, one * 0, one, self.description.dac).long()

    def random_program(
        self, *, noisy: bool = False, extreme: bool = False, on_levels: bool = False
    ) -> Program:
        """A random program, with gains that spread the ADC codes.

        noisy: Macros have errors of every kind; else they are ideal.
        extreme: Half of the numbers, table entries included, are at an end of their range, and
            scores are often equal. Otherwise tables are those of the functions.
        on_levels: Cells are on the level table, so an image has their level numbers.
        """
        return _Draw(self, noisy, extreme, on_levels).program()


class _Draw:
    """Draws one program."""

    def __init__(self, stimuli: Stimuli, noisy: bool, extreme: bool, on_levels: bool) -> None:
        self.description, self.generator = stimuli.description, stimuli.generator
        self.integers, self.extremes = stimuli.integers, stimuli.extremes
        self.any = stimuli.extremes if extreme else stimuli.integers
        self.noisy, self.extreme, self.on_levels = noisy, extreme, on_levels

    def program(self) -> Program:
        description = self.description
        layers = tuple(self.layer(shape) for shape in description.layers)
        inputs = torch.zeros(description.network.inputs, dtype=torch.float64)
        outputs = torch.zeros(description.outputs, dtype=torch.float64)
        return Program(
            description,
            layers=layers,
            head=self.head() if description.network.classes else None,
            input_mean=inputs,
            input_step=inputs + 1,
            score_mean=outputs,
            score_step=outputs + 1,
        )

    def layer(self, shape: ArrayShape) -> LayerProgram:
        gate_tables, own = self.tables(shape)
        low, high = shape.index_range
        share = 2 if self.extreme else 4
        array = self.array(shape)
        bias = self.any(Range(low // share, high // share), shape.gates, shape.units)
        return LayerProgram(**array, bias=bias, gate_tables=gate_tables, tables=own)

    def tables(self, shape: ArrayShape) -> tuple[Tensor, dict[str, Tensor]]:
        """Tables of the gates, and the cell's own.

        With `extreme` they have extreme entries, since tables of the functions would rarely
        saturate c.
        """
        cell = self.description.cell
        entries = 2**shape.index_bits
        if self.extreme:
            of_gates = [self.extremes(range_, entries) for range_ in cell.table_ranges]
            own = {
                table.name: self.extremes(table.entries, table.index.size) for table in cell.tables
            }
            return torch.stack(of_gates), own
        step = 0.5 + torch.rand(shape.gates, generator=self.generator).double()
        own = tables.cell_tables(self.description)
        gate_tables = tables.gate_tables(step * (8.0 / entries), shape)
        return gate_tables.long(), {name: table.long() for name, table in own.items()}

    def head(self) -> HeadProgram:
        shape = self.description.head
        array = self.array(shape)
        # Keep offset and bias small, so that no class always wins or never wins.
        array["offset"] = array["offset"] // 16
        bias = self.any(shape.index_range, shape.units) // 8
        if self.extreme:
            # Duplicate classes, so that scores are often equal.
            twice = torch.arange(shape.units) % max(2, ceil_div(shape.units, 2))
            array |= {name: array[name][:, twice] for name in ("positive", "negative")}
            bias = bias[twice]
        return HeadProgram(**array, bias=bias)

    def array(self, shape: ArrayShape) -> dict[str, Tensor]:
        """Fields of an ArrayProgram."""
        cells = (shape.gates, shape.units, shape.rows)
        codes = Range(0, self.description.device.conductance_max)
        positive, negative = self.any(codes, *cells), self.any(codes, *cells)
        levels = self.levels()
        if self.on_levels:
            numbers = self.integers(Range(0, len(levels) - 1), *cells)
            positive, negative = crossbar.pair(levels[numbers])
        # A typical charge is smaller than the bound by sqrt(rows): some codes saturate, most do
        # not.
        spread = (48 if self.extreme else 100) * shape.macro.rows**0.5
        gain = min(2**self.description.adc.gain_bits - 1, int(spread))
        gains = self.integers(Range(max(1, gain // 2), gain), len(shape.row_tiles), shape.gates)
        macro = self.errors(shape, gain) if self.noisy else ideal_macro(shape)
        fields = {"positive": positive, "negative": negative, "levels": levels, "gain": gains}
        return fields | macro

    def levels(self) -> Tensor:
        """Level table of the description.

        It is random if training is to find it, or with `extreme`.
        """
        device = self.description.device
        if device.level_table is not None and not self.extreme:
            return padded(device.level_table, device)
        most = device.conductance_max
        return self.any(Range(-most, most), 2**device.weight_bits).sort().values

    def errors(self, shape: ArrayShape, gain: int) -> dict[str, Tensor]:
        """Errors of a macro, of every kind; read noise of up to one LSB at `gain`."""
        tiles, lanes = len(shape.row_tiles), shape.lanes
        read = min(2**shape.read_noise_bits - 1, ceil_div(16 * 2**shape.adc_shift, gain))
        errors = {
            "key": self.integers(Range(0, WORD - 1), tiles, shape.column_tiles, 2),
            "read_noise": self.integers(Range(read // 2, read), tiles),
            "adc_noise": self.integers(Range(256, 512)),
            "offset": self.any(signed_range(OFFSET_BITS), tiles, lanes),
            "gain_error": self.any(signed_range(GAIN_ERROR_BITS), tiles, lanes),
        }
        if self.extreme:
            # The largest offsets saturate nearly all codes, so every other lane has an offset
            # within an LSB.
            errors["offset"][:, ::2] = self.extremes(Range(-256, 256), tiles, lanes)[:, ::2]
        return errors
