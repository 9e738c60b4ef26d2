"""Program: all numbers that are loaded into a design.

The same dataclasses hold integers (int64: as emitted and run) or, in training, float64 tensors with
gradients. A program is saved as one .safetensors file that includes its description.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from golden import files
from golden.description import Description
from golden.errors import WordlineError
from golden.geometry import ArrayShape
from golden.parameters import ADC_NOISE_BITS, GAIN_ERROR_BITS, OFFSET_BITS, Device
from golden.ranges import Range, signed_range

FORMAT = "wordline program 4"

REAL = ("input_mean", "input_step", "score_mean", "score_step")
"""Fields of a program that are real numbers."""


@dataclass(frozen=True)
class ArrayProgram:
    """Numbers loaded into an array, and the parameters of its macros.

    positive, negative: Conductance codes, shape (gates, units, rows). The rows are the inputs, then
        h.
    levels: Level table, see `padded`, shape (2^weight_bits,). Cells need not be on it.
    gain: Gains, shape (row tiles, gates).
    key: Key words of the noise (`golden.noise.key`), shape (row tiles, column tiles, 2).
    read_noise: Standard deviation of a column's charge (1/16 unit of charge), shape (row tiles,).
    adc_noise: Standard deviation of the ADC noise (1/256 LSB), a scalar.
    offset: Offset of each lane (1/256 LSB), shape (row tiles, lanes).
    gain_error: Relative gain error of each lane (1/1024), shape (row tiles, lanes).
    """

    positive: Tensor
    negative: Tensor
    levels: Tensor
    gain: Tensor
    key: Tensor
    read_noise: Tensor
    adc_noise: Tensor
    offset: Tensor
    gain_error: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, including the cell's tables."""
        fields = dict(vars(self))
        return fields | fields.pop("tables", {})

    def to(self, dtype: torch.dtype) -> Self:
        """Copy with another dtype, detached from gradients."""
        return self.of({name: t.detach().to(dtype) for name, t in self.tensors().items()})

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Build from tensors by name: the inverse of `tensors`."""
        own = {field.name for field in dataclasses.fields(cls)}
        fields: dict[str, Any] = {name: t for name, t in tensors.items() if name in own}
        if "tables" in own:
            fields["tables"] = {name: t for name, t in tensors.items() if name not in own}
        return cls(**fields)


@dataclass(frozen=True)
class LayerProgram(ArrayProgram):
    """Numbers loaded into a recurrent layer, with gates in the order of `cell.gates`.

    bias: Biases in index steps, shape (gates, units).
    gate_tables: Tables of the gates, shape (gates, 2^index_bits).
    tables: The cell's further tables (`Cell.tables`) by name, shape (entries,) each: "tanh_table"
        for an LSTM.
    """

    bias: Tensor
    gate_tables: Tensor
    tables: dict[str, Tensor] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class HeadProgram(ArrayProgram):
    """Numbers loaded into the head, which has one gate.

    bias: Biases in index steps, shape (classes,).
    """

    bias: Tensor


def padded(levels: Sequence[int], device: Device) -> Tensor:
    """Level table in the format of a program: int64, 2^weight_bits ascending differential codes.

    A shorter table repeats its highest level.
    """
    count = 2**device.weight_bits
    return torch.tensor([*levels, *[levels[-1]] * (count - len(levels))])


def ideal_macro(shape: ArrayShape, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Macro parameters of an ideal macro, as fields of an array's program: all 0."""
    tiles = len(shape.row_tiles)
    sizes = {"key": (tiles, shape.column_tiles, 2), "read_noise": (tiles,), "adc_noise": ()}
    sizes |= {"offset": (tiles, shape.lanes), "gain_error": (tiles, shape.lanes)}
    return {
        name: torch.zeros(size, dtype=torch.int64, device=device) for name, size in sizes.items()
    }


VoteBy = Literal["majority", "sum"]


@dataclass(frozen=True)
class Program:
    """A trained network in integers, with the encoding of its inputs.

    description: The design.
    layers: Programs of the recurrent layers.
    head: Program of the head; None if there is none.
    input_mean, input_step: Input encoding, see `golden.dac.encode`, float64, shape (inputs,).
    score_mean, score_step: Real value of a score or of a state's code, see `real`, float64, shape
        (outputs,), or (1,) in training.
    votes: Passes over each sequence.
    vote_by: The class of a sequence is that of most passes ("majority") or has the highest sum of
        scores ("sum").
    about: Origin, for reports: seed, data set, versions.
    """

    description: Description
    layers: tuple[LayerProgram, ...]
    head: HeadProgram | None
    input_mean: Tensor
    input_step: Tensor
    score_mean: Tensor
    score_step: Tensor
    votes: int = 1
    vote_by: VoteBy = "majority"
    about: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_votes(self.description, self.votes, self.vote_by)

    def real(self, scores: Tensor) -> Tensor:
        """Real values of scores (..., outputs): logits, values of a regression, or h."""
        return scores * self.score_step + self.score_mean

    def to(self, dtype: torch.dtype) -> "Program":
        """Copy with another dtype, detached from gradients."""
        return dataclasses.replace(
            self,
            layers=tuple(layer.to(dtype) for layer in self.layers),
            head=None if self.head is None else self.head.to(dtype),
            score_mean=self.score_mean.detach().expand(self.description.outputs).contiguous(),
            score_step=self.score_step.detach().expand(self.description.outputs).contiguous(),
        )

    @property
    def arrays(self) -> dict[str, ArrayProgram]:
        """Programs of all arrays by name, in the order of `Description.arrays`."""
        parts: tuple[ArrayProgram, ...] = self.layers
        parts += () if self.head is None else (self.head,)
        return dict(zip(self.description.arrays, parts, strict=True))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name: `layers.0.bias`, `head.gain`, `input_mean`, ..."""
        named = {
            f"{name}.{field}": tensor
            for name, part in self.arrays.items()
            for field, tensor in part.tensors().items()
        }
        return named | {name: getattr(self, name) for name in REAL}

    def save(self, path: Path | str) -> None:
        """Write one .safetensors file atomically; the same program gives the same bytes.

        Raises WordlineError if a number is out of range, or if the file cannot be written.
        """
        about = {
            "format": FORMAT,
            "description": self.description.to_dict(),
            "votes": self.votes,
            "vote_by": self.vote_by,
            "about": self.about,
        }
        tensors = {name: t.contiguous() for name, t in self.tensors().items()}
        for name, (shape, range_) in _expected(self.description).items():
            _check("The program", name, tensors.get(name), shape, range_)
            if range_ is not None:
                small = range_.high < 2**15  # true for most codes
                tensors[name] = tensors[name].to(torch.int16 if small else torch.int64)
        # One metadata key, because safetensors does not keep the order of several.
        metadata = {"wordline": json.dumps(about, sort_keys=True)}
        try:
            files.write_bytes(Path(path), safetensors.torch.save(tensors, metadata))
        except OSError as error:
            raise WordlineError(f"{path} cannot be written ({error.strerror}).") from None

    @classmethod
    def load(cls, path: Path | str, description: Description | None = None) -> Self:
        """Read a program.

        description: If given, the program must have been made for it.

        Raises WordlineError if the file is not a program, if a number is out of range, or if the
        description differs.
        """
        about, tensors = _read(path)
        if type(about["votes"]) is not int or not isinstance(about["about"], dict):
            raise WordlineError(f"{path}: votes is no integer, or about no object; train it again.")
        own = Description.from_dict(about["description"], source=f"{path} (its description)")
        if description is not None and own != description:
            raise WordlineError(f"{path} does not fit: {_difference(own, description)}.")
        expected = _expected(own)
        for name, (shape, range_) in expected.items():
            _check(path, name, tensors.get(name), shape, range_)
        _check_signs(path, own, tensors)
        integers = {
            name: tensors[name].double() if range_ is None else tensors[name].long()
            for name, (_, range_) in expected.items()
        }

        def part(prefix: str) -> dict[str, Tensor]:
            names = [name for name in expected if name.startswith(prefix)]
            return {name.removeprefix(prefix): integers[name] for name in names}

        return cls(
            description=own,
            layers=tuple(LayerProgram.of(part(f"layers.{n}.")) for n in range(len(own.layers))),
            head=HeadProgram.of(part("head.")) if own.network.classes else None,
            **{name: integers[name] for name in REAL},
            votes=about["votes"],
            vote_by=about["vote_by"],
            about=about["about"],
        )


def _read(path: Path | str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = files.parse_json((file.metadata() or {}).get("wordline", "{}"))
            whole = {"description", "votes", "vote_by", "about"}
            if isinstance(about, dict) and about.get("format") == FORMAT and whole <= set(about):
                return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        reason = error.strerror or "not a file"
        raise WordlineError(f"{path} cannot be read ({reason}); run `wordline train`.") from None
    except (safetensors.SafetensorError, ValueError) as error:
        raise WordlineError(
            f"{path} is not a trained program ({error}); run `wordline train`."
        ) from None
    raise WordlineError(f"{path} is not a '{FORMAT}' file; make one with `wordline train`.")


def check_votes(description: Description, votes: int, vote_by: str, steps: int = 1) -> None:
    """Check that a design can make `votes` passes over sequences of at most `steps` steps.

    Raises WordlineError if it cannot.
    """
    room = description.voting.replay_steps
    if votes != 1 and not room:
        raise WordlineError(
            f"votes = {votes} needs a replay buffer, but voting.replay_steps = 0; set it to the "
            f"longest sequence's steps, or vote once."
        )
    if not 1 <= votes <= description.voting.max_votes:
        raise WordlineError(
            f"votes = {votes} is not in 1..{description.voting.max_votes} (voting.max_votes)."
        )
    if vote_by not in get_args(VoteBy):
        raise WordlineError(f"vote_by = {vote_by!r} is not known; write 'majority' or 'sum'.")
    if votes > 1 and steps > room:
        raise WordlineError(
            f"A sequence has {steps} steps, but the replay buffer holds {room}; set "
            f"voting.replay_steps to {steps}, or vote once."
        )


INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
REALS = (torch.float32, torch.float64)
"""Types of the tensors of a file."""

Expected = dict[str, tuple[tuple[int, ...], Range | None]]


def _expected(description: Description) -> Expected:
    """Shape and range of every tensor; the range is None for real numbers."""
    cell = description.cell
    expected: Expected = {}
    for n, shape in enumerate(description.layers):
        names = _expected_array(shape, (shape.gates, shape.units))
        names["gate_tables"] = (
            (shape.gates, 2**shape.index_bits),
            Range(min(r.low for r in cell.table_ranges), max(r.high for r in cell.table_ranges)),
        )
        for table in cell.tables:
            names[table.name] = ((table.index.size,), table.entries)
        expected |= {f"layers.{n}.{name}": value for name, value in names.items()}
    if description.network.classes:
        names = _expected_array(description.head, (description.head.units,))
        expected |= {f"head.{name}": value for name, value in names.items()}
    inputs, outputs = (description.network.inputs,), (description.outputs,)
    expected |= {"input_mean": (inputs, None), "input_step": (inputs, None)}
    expected |= {"score_mean": (outputs, None), "score_step": (outputs, None)}
    return expected


def _expected_array(shape: ArrayShape, bias: tuple[int, ...]) -> Expected:
    description = shape.description
    cells = (shape.gates, shape.units, shape.rows)
    codes = Range(0, description.device.conductance_max)
    tiles = len(shape.row_tiles)
    return {
        "positive": (cells, codes),
        "negative": (cells, codes),
        "levels": ((2**description.device.weight_bits,), Range(-codes.high, codes.high)),
        "gain": ((tiles, shape.gates), Range(1, 2**description.adc.gain_bits - 1)),
        "key": ((tiles, shape.column_tiles, 2), Range(0, 2**32 - 1)),
        "read_noise": ((tiles,), Range(0, 2**shape.read_noise_bits - 1)),
        "adc_noise": ((), Range(0, 2**ADC_NOISE_BITS - 1)),
        "offset": ((tiles, shape.lanes), signed_range(OFFSET_BITS)),
        "gain_error": ((tiles, shape.lanes), signed_range(GAIN_ERROR_BITS)),
        "bias": (bias, signed_range(shape.index_bits)),
    }


def _check(
    path: Path | str, name: str, tensor: Tensor | None, shape: tuple[int, ...], range_: Range | None
) -> None:
    if tensor is None:
        raise WordlineError(f"{path} lacks the tensor {name}; train it again.")
    if tuple(tensor.shape) != shape:
        raise WordlineError(
            f"{path}: {name} has shape {tuple(tensor.shape)}, but its description needs {shape}."
        )
    kinds = INTEGERS if range_ is not None else REALS
    if tensor.dtype not in kinds:
        said = "real numbers" if range_ is None else "integers"
        raise WordlineError(f"{path}: {name} is {tensor.dtype}, and needs {said}; train it again.")
    if range_ is None:
        if not bool(torch.isfinite(tensor).all()):
            raise WordlineError(f"{path}: {name} holds a number that is not finite.")
    elif int(tensor.min()) < range_.low or int(tensor.max()) > range_.high:
        raise WordlineError(
            f"{path}: {name} holds {int(tensor.min())}..{int(tensor.max())}, outside "
            f"{range_.low}..{range_.high}."
        )


def _check_signs(path: Path | str, description: Description, tensors: dict[str, Tensor]) -> None:
    """Check what the ranges of tensors miss.

    Levels must ascend, each gate's table must not go below its own range, and steps must be
    positive.
    """
    for name, tensor in tensors.items():
        if name.endswith(".levels") and bool((tensor.diff() < 0).any()):
            raise WordlineError(f"{path}: {name} holds {tensor.tolist()}, which do not ascend.")
    for n in range(len(description.layers)):
        name = f"layers.{n}.gate_tables"
        cell = description.cell
        for gate, range_, table in zip(cell.gates, cell.table_ranges, tensors[name], strict=True):
            if int(table.min()) < range_.low:
                raise WordlineError(
                    f"{path}: {name} holds {int(table.min())} for gate {gate}, below {range_.low}."
                )
    for name in ("input_step", "score_step"):
        if float(tensors[name].min()) <= 0:
            raise WordlineError(f"{path}: {name} holds a number that is not above 0.")


def _difference(own: Description, wanted: Description) -> str:
    """Describe the first field in which two descriptions differ."""

    def flat(description: Description) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for section, value in description.to_dict().items():
            inner = value if isinstance(value, dict) else {"": value}
            fields |= {f"{section}.{key}".rstrip("."): v for key, v in inner.items()}
        return fields

    wanted_fields = flat(wanted)
    return next(
        f"it was trained with {field} = {value!r}, the description has {wanted_fields[field]!r}"
        for field, value in flat(own).items()
        if value != wanted_fields[field]
    )
