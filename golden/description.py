"""Description of a design: the network and its arrays.

`Description` is a tree of frozen, keyword-only dataclasses that validate themselves. Its sections
are in golden/parameters.py and golden/cells/. Every width and size in Wordline is a property of
them, or of the geometry of the arrays (golden/geometry.py). golden, hw, gen and sim read these
properties and compute no widths themselves. docs/contract.md explains the numbers.
"""

import hashlib
import warnings
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import tomli_w
from pydantic import Field

from golden import cells
from golden.errors import WordlineError, WordlineNote
from golden.geometry import ArrayShape
from golden.parameters import (
    DEEP_SETTLE,
    SETTLE_MAX,
    Adc,
    Array,
    Dac,
    Device,
    Network,
    Output,
    Voting,
)
from golden.ranges import index_bits
from golden.validation import build, frozen, plain, read_toml

MOST_INDEX_BITS = 22
"""Maximum width of a gate table's index: a table has that many entries, as a power of 2."""

MOST_NUMBERS = 2**28
"""Maximum number of cells and table entries of a design: twice the largest layer."""


@frozen
class Description:
    """All parameters of a design: the same description always gives the same Verilog.

    `from_toml`, `from_dict` and `replace` raise WordlineError with the invalid field.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    network: Network
    device: Device = Field(default_factory=Device)
    array: Array = Field(default_factory=Array)
    dac: Dac = Field(default_factory=Dac)
    adc: Adc = Field(default_factory=Adc)
    cell: cells.AnyCell = Field(default_factory=cells.default)
    voting: Voting = Field(default_factory=Voting)
    output: Output = Field(default_factory=Output)

    def __post_init__(self) -> None:
        if (self.output.of == "state") != (self.network.classes == 0):
            raise ValueError(
                f"output.of = {self.output.of!r} does not fit network.classes = "
                f"{self.network.classes}: a state leaves where there is no head, and a head has "
                f"one class or more; write 'state' and 0, or 'class' or 'scores' and how many"
            )
        if self.output.of == "class" and self.network.classes == 1:
            raise ValueError(
                "output.of = 'class' with network.classes = 1 is always class 0; write 2, or "
                "'scores' for the score itself"
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
        given = self.array.units_per_beat
        for number, shape in enumerate(self.layers if given else ()):
            if shape.lanes % given:
                fits = [n for n in range(1, shape.lanes + 1) if shape.lanes % n == 0]
                raise ValueError(
                    f"array.units_per_beat = {given} does not divide the {shape.lanes} lanes of "
                    f"layer {number}; give one of {', '.join(map(str, fits))}, or 0 to have it "
                    f"chosen"
                )
        if self.cell.unbounded and self.dac.bits == 1:
            raise ValueError(
                "cell.activation = 'relu' needs two values of h that are not negative, but "
                "dac.bits = 1 has one; raise dac.bits to 2, or write 'tanh'"
            )
        if self.cell.hidden_bits < self.dac.width:
            raise ValueError(
                f"cell.hidden_bits = {self.cell.hidden_bits} is below the DAC's width; raise it "
                f"to {self.dac.width} or lower dac.bits = {self.dac.bits}"
            )
        self._check_size()

    def _check_size(self) -> None:
        """Raise ValueError for a design that is too large for a computer's memory.

        A few fields can ask for terabytes.
        """
        numbers = 0
        for name, shape in self.arrays.items():
            cells, table = shape.gates * shape.units * shape.rows, 2**shape.index_bits
            if shape.index_bits > MOST_INDEX_BITS:
                raise ValueError(
                    f"{name} adds up {len(shape.row_tiles) * (2**self.dac.planes - 1)} codes of "
                    f"adc.bits = {self.adc.bits}, so with cell.frac = {self.cell.frac} a gate "
                    f"table has 2^{shape.index_bits} entries, above 2^{MOST_INDEX_BITS}; raise "
                    f"array.rows = {self.array.rows}, or lower adc.bits or cell.frac"
                )
            numbers += cells + shape.gates * table * (name != "head")
        if numbers > MOST_NUMBERS:
            raise ValueError(
                f"network.hidden = {list(self.network.hidden)} gives {numbers:,} cells and table "
                f"entries, above {MOST_NUMBERS:,}; give fewer or smaller layers"
            )

    @property
    def score_bits(self) -> int:
        """Width of a score of the head, an unsaturated (code << frac) + bias."""
        return self.head.index_bits + 1

    @property
    def votes_bits(self) -> int:
        """Width of a number of passes, 0 to `max_votes`."""
        return int(self.voting.max_votes.bit_length())

    @property
    def sum_bits(self) -> int:
        """Width of the sum of a class's scores over `max_votes` passes."""
        return self.score_bits + index_bits(self.voting.max_votes)

    @property
    def hidden_shift(self) -> int:
        """Shift from o * tanh(c), or from an RNN's tanh, to the DAC code of h."""
        return int(self.cell.product_shift + self.cell.hidden_bits - self.dac.width)

    @property
    def hidden_unit(self) -> int:
        """Code of 1.0 in the tanh table: full scale of the DAC."""
        return int(self.dac.range.high << (self.cell.hidden_bits - self.dac.width))

    @cached_property
    def layers(self) -> tuple[ArrayShape, ...]:
        """Arrays of the recurrent layers. The rows carry the inputs, then the layer's own h."""
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
        """Array of the dense head; the network must have one."""
        assert self.network.classes
        rows = self.network.hidden[-1]
        return ArrayShape(
            description=self, rows=rows, inputs=rows, units=self.network.classes, gates=1
        )

    @cached_property
    def arrays(self) -> dict[str, ArrayShape]:
        """All arrays by name: `layers.0`, ..., `head`."""
        named = {f"layers.{n}": shape for n, shape in enumerate(self.layers)}
        return named | ({"head": self.head} if self.network.classes else {})

    @property
    def input_beat(self) -> int:
        """Codes per beat of the network's input."""
        return min(self.array.beat, self.network.inputs)

    @property
    def outputs(self) -> int:
        """Number of scores of the head, or of units of the state if there is no head."""
        return self.network.classes or self.network.hidden[-1]

    @property
    def class_bits(self) -> int:
        """Width of a class label."""
        return index_bits(self.network.classes)

    def to_dict(self) -> dict[str, Any]:
        """The description as dicts, lists, strings and integers, as in TOML and JSON files.

        `array.units_per_beat` and `cell.activation` are left out at their defaults, because they
        came later: designs keep their fingerprints.
        """
        fields = plain(self)
        if not self.array.units_per_beat:
            del fields["array"]["units_per_beat"]
        if fields["cell"].get("activation") == "tanh":
            del fields["cell"]["activation"]
        fields["network"]["hidden"] = list(self.network.hidden)
        if not isinstance(self.device.levels, str):
            fields["device"]["levels"] = list(self.device.levels)
        return fields

    def to_toml(self) -> str:
        """The description as TOML."""
        return tomli_w.dumps(self.to_dict())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the TOML, which identifies the design in every file made from it."""
        return hashlib.sha256(self.to_toml().encode()).hexdigest()

    @classmethod
    def from_dict(cls, fields: dict[str, Any], *, source: str = "description") -> Self:
        """Build a description from plain dicts.

        source: Origin of the fields, for messages.

        Warns (WordlineNote) if the fields predate `array.pipeline`.

        Raises WordlineError if a field is invalid.
        """
        if not isinstance(fields, dict):
            raise WordlineError(f"{source}: {fields!r} is not a table of fields.")
        return build(cls, _with_pipeline(fields, source), source)

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a TOML file.

        Raises WordlineError if the file cannot be read or a field is invalid.
        """
        return cls.from_dict(read_toml(path), source=str(path))

    def replace(self, **sections: Any) -> "Description":
        """Copy with some fields replaced: `d.replace(adc={"bits": 6}, name="wide")`.

        Raises WordlineError if a field is invalid.
        """
        fields = self.to_dict()
        for section, value in sections.items():
            old = fields.get(section)
            # Another kind of cell has other fields, so it starts from its own defaults.
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
    """Add `array.pipeline` to fields that predate it.

    A long `array.settle` meant the deep pipeline then. This is reported as a warning
    (WordlineNote).
    """
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
