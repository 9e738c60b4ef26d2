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
    """Figures from a TOML file. Raises WordlineError where one is missing, or is not in order."""
    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text)
    except OSError as error:
        raise WordlineError(f"{path} cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WordlineError(f"{path} is not TOML ({error}).") from None
    wanted = found.keys() if path == COMPONENTS else read_figures().keys()
    for name in found:
        if name not in wanted:
            raise WordlineError(f"{path}: [{name}] is no figure; there are {', '.join(wanted)}.")
    figures = {}
    for name in wanted:
        given = found.get(name)
        if not isinstance(given, dict):
            raise WordlineError(f"{path} lacks [{name}]; gen/cost/components.toml has it.")
        figures[name] = _figure(path, name, given)
    return figures


def _figure(path: Path, name: str, given: dict[str, Any]) -> Figure:
    keys = [f.name for f in dataclasses.fields(Figure) if f.name != "name"]
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
