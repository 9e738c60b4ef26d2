"""Published figures of what parts cost (components.toml): a low, a typical and a high value."""

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden.errors import WordlineError

COMPONENTS = Path(__file__).with_name("components.toml")

CASES = ("low", "typical", "high")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A published figure: what it is of, its values, and where they are from."""

    name: str
    unit: str
    low: float
    typical: float
    high: float
    source: str


Figures = dict[str, Figure]

Values = dict[str, float]


def read_figures(path: Path = COMPONENTS) -> Figures:
    """Figures from a TOML file; those that it does not have are as in components.toml, and so are
    fields of a figure. Raises WordlineError where one is not in order."""
    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text)
    except OSError as error:
        raise WordlineError(f"{path} cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WordlineError(f"{path} is not TOML ({error}).") from None
    ours = {} if path == COMPONENTS else read_figures()
    figures = dict(ours)
    for name, given in found.items():
        if ours and name not in ours:
            raise WordlineError(f"{path}: [{name}] is no figure; there are {', '.join(ours)}.")
        if not isinstance(given, dict):
            raise WordlineError(f"{path}: {name} = {given!r} is no table; write [{name}].")
        figures[name] = _figure(path, name, given, ours.get(name))
    return figures


def template() -> str:
    """All figures as a TOML file to begin with: delete what stays as it is."""
    return COMPONENTS.read_text(encoding="utf-8")


def _figure(path: Path, name: str, given: dict[str, Any], ours: Figure | None) -> Figure:
    keys = [f.name for f in dataclasses.fields(Figure) if f.name != "name"]
    unknown = [key for key in given if key not in keys]
    if unknown:
        raise WordlineError(
            f"{path}: [{name}] has {', '.join(unknown)}; its fields are {', '.join(keys)}."
        )
    if "unit" in given and ours is not None and given["unit"] != ours.unit:
        raise WordlineError(
            f"{path}: {name}.unit = {given['unit']!r}, but it is taken in {ours.unit!r}; convert "
            f"the values."
        )
    if ours is not None:
        given = dataclasses.asdict(ours) | given
        del given["name"]
    if sorted(given) != sorted(keys):
        raise WordlineError(f"{path}: [{name}] has {', '.join(given)}; give {', '.join(keys)}.")
    for key in CASES:
        value = given[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise WordlineError(f"{path}: {name}.{key} = {value!r} is not a number above 0.")
    if not given["low"] <= given["typical"] <= given["high"]:
        values = ", ".join(str(given[key]) for key in CASES)
        raise WordlineError(f"{path}: {name} has {values}; low, typical and high must ascend.")
    return Figure(name=name, **given)
