"""Dataclasses that validate themselves, and their TOML files; a mistake is one sentence."""

import contextlib
import dataclasses
import functools
import numbers
import operator
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    TypeVar,
    cast,
    dataclass_transform,
    get_type_hints,
)

import pydantic
from pydantic import ConfigDict, Field, Strict

from golden import files
from golden.errors import WordlineError

T = TypeVar("T")

MOST_TOML = 2**16
"""Maximum size of a TOML file (bytes): the time for a long dotted key grows with its square."""


def _whole(value: Any) -> Any:
    """NumPy's integers as Python's, such as those of `numpy.arange`."""
    own = isinstance(value, int) or not isinstance(value, numbers.Integral)
    return value if own else operator.index(value)


Int = Annotated[int, pydantic.BeforeValidator(_whole), Strict()]
"""An integer, also one of NumPy; strings, floats and bools are rejected."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a frozen, keyword-only dataclass that validates its fields and rejects unknown ones.

    Its constructor raises WordlineError with a sentence about the first mistake.
    """
    config = ConfigDict(extra="forbid")
    made: Any = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=config)(cls)
    validated = made.__init__

    @functools.wraps(validated)
    def construct(self: T, *arguments: Any, **fields: Any) -> None:
        try:
            validated(self, *arguments, **fields)
        except pydantic.ValidationError as error:
            raise WordlineError(f"{_sentence(made, error, made.__name__.lower())}.") from None

    made.__init__ = construct
    return cast(type[T], made)


def replaced(instance: T, **changes: Any) -> T:
    """Copy a dataclass made by `frozen`, with some fields replaced.

    Raises WordlineError if a field is invalid.
    """
    kind = type(instance)
    return build(kind, plain(instance) | changes, kind.__name__.lower())


def plain(instance: object) -> dict[str, Any]:
    """Convert a dataclass made by `frozen`, and those in it, to dicts."""
    return dataclasses.asdict(cast(Any, instance))


def preset_or_toml(name: str, presets: Mapping[str, T], no: str) -> T | dict[str, Any]:
    """Find a preset by name, or read the fields of a .toml file.

    no: Start of the message for an unknown name, for example "Unknown preset".

    Raises WordlineError if `name` is neither.
    """
    if name in presets:
        return presets[name]
    if not name.endswith(".toml"):
        raise WordlineError(f"{no} {name!r}; choose one of {', '.join(presets)}, or a .toml file.")
    return read_toml(Path(name))


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises WordlineError if it is missing or not valid TOML.
    """
    text = files.read_text(path, MOST_TOML, "give the path of a TOML file")
    try:
        return parse_toml(text)
    except ValueError as error:
        raise WordlineError(f"{path} is not valid TOML: {error}.") from None


DEEPEST = 16
"""Maximum depth of tables and arrays of a TOML file."""


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises ValueError if it is not valid TOML.
    """
    with contextlib.suppress(RecursionError):
        found = tomllib.loads(text)
        _check_values(found, DEEPEST)
        return found
    raise ValueError("it is nested too deeply")


def _check_values(value: Any, depth: int) -> None:
    """Raise ValueError for what Python reads and TOML lacks, or for tables nested deeper."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"an integer has {value.bit_length()} bits, above 64")
    if isinstance(value, dict | list):
        if not depth:
            raise ValueError(f"tables and arrays are nested more than {DEEPEST} deep")
        for inner in value.values() if isinstance(value, dict) else value:
            _check_values(inner, depth - 1)


def build(cls: type[T], fields: dict[str, Any], source: str, section: str = "") -> T:
    """Validate plain dicts into a dataclass.

    source: Origin of the fields, the start of the message.
    section: Section of the file that holds the fields, for `section.field` in the message.

    Raises WordlineError with a sentence about the first mistake.
    """
    try:
        return checked(cls, fields, section)
    except ValueError as error:
        raise WordlineError(f"{source}: {error}.") from None


def checked(cls: type[T], fields: Any, section: str = "") -> T:
    """Like `build`, for validators of an enclosing dataclass.

    Raises ValueError with the sentence, without source and period.
    """
    try:
        return pydantic.TypeAdapter(cls).validate_python(fields)
    except pydantic.ValidationError as error:
        raise ValueError(_sentence(cls, error, section)) from None


def _sentence(cls: type, error: pydantic.ValidationError, section: str) -> str:
    """Describe the first mistake of a validation: field, value, allowed values."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    # Pydantic's path also names the branch of a union.
    path = [part for part in path if not part.startswith(("literal[", "tuple["))]
    path = [part for part in path if part not in ("float", "str")]
    cls = _owner(cls, path)
    field = ".".join([section, *path] if section else path)
    value, context = first["input"], first.get("ctx", {})
    match first["type"]:
        case "missing":
            return f"{field} is missing; add it"
        case "unexpected_keyword_argument":
            return f"{field} is not a field; the fields here are {_fields(cls)}"
        case "value_error":
            return f"{context['error']}"
        case "greater_than_equal":
            return f"{field} = {value!r} is below {context['ge']}, the least it can be"
        case "less_than_equal":
            return f"{field} = {value!r} is above {context['le']}, the most it can be"
        case "tuple_type":
            return f"{field} = {value!r} is not a list; write [{value!r}]"
        case "unexpected_positional_argument":
            return f"{section or cls.__name__} takes its fields by name, like {_fields(cls)}"
        case "greater_than":
            return f"{field} = {value!r} is not above {context['gt']}; write more"
        case "dataclass_type":
            return f"{field} = {value!r} is not a table; write [{field}] and its fields"
        case "too_short" | "too_long":
            wanted = context["min_length" if first["type"] == "too_short" else "max_length"]
            most = "at least" if first["type"] == "too_short" else "at most"
            return f"{field} has {context['actual_length']} values; write {most} {wanted}"
        case "float_type" if first["loc"][-1] != "float":
            return f"{field} = {value!r} is not a number; write one"
        case "string_type" if first["loc"][-1] != "str":
            return f"{field} = {value!r} is not text; write it in quotes"
        case "int_type":
            return f"{field} = {value!r} is not an integer; write a whole number"
        case "literal_error":
            return f"{field} = {value!r} is not known; write {context['expected']}"
        case "string_pattern_mismatch":
            return (
                f"{field} = {value!r} must be lower-case letters, digits, '-' or '_', begin with "
                f"a letter and have at most 40 characters"
            )
        case _:
            return f"{field} = {value!r} is wrong: {first['msg']}"


def _owner(cls: type, path: list[str]) -> type:
    """Dataclass that has the last field of a path."""
    for part in path[:-1]:
        kind: Any = get_type_hints(cls).get(part)
        cls = cast(type, kind) if dataclasses.is_dataclass(kind) else cls
    return cls


def _fields(cls: type) -> str:
    """Names of the fields of a dataclass."""
    return ", ".join(field.name for field in dataclasses.fields(cls))
