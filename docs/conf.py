"""The documentation site: `make docs` writes it to build/docs."""

import contextlib
import dataclasses
import inspect
import json
import re
import typing
from pathlib import Path
from typing import Any

import annotated_types
import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from gen.ip import registers
from golden import effects, levels, parameters
from golden.cells import CELLS
from golden.presets import PRESETS
from golden.training import settings
from hw.bus.registers import RegisterMap
from wordline.cli import commands  # noqa: F401  # registers the subcommands
from wordline.cli.app import app as command

project = "Wordline"
author = "the Wordline authors"
copyright = "the Wordline authors; Apache-2.0"
version = release = "0.2.0"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["figures", "**/table.md"]
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # a test executes the notebook; its outputs are kept in it
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of others, and names of this project in prose

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
add_module_names = False

html_theme = "furo"
html_title = "Wordline"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["site.css"]
html_copy_source = False
copybutton_prompt_text = r"\\$ |>>> "
copybutton_prompt_is_regexp = True
linkcheck_ignore = [r"http://localhost.*"]

HERE = Path(__file__).parent
MADE = HERE / "made"
"""Pages that are drawn from the code, anew each time."""

SECTIONS: dict[str, tuple[str, type]] = {
    "network": ("", parameters.Network),
    "device": ("", parameters.Device),
    "array": ("", parameters.Array),
    "dac": ("", parameters.Dac),
    "adc": ("", parameters.Adc),
    **{f"cell{' ' * n}": (f', `kind = "{kind}"`', CELLS[kind]) for n, kind in enumerate(CELLS)},
    "voting": ("", parameters.Voting),
    "output": ("", parameters.Output),
    "training": ("", settings.Training),
    "effects": ("", effects.Effects),
    "levels": ("", levels.Levels),
}
"""Tables of a TOML file, and their classes."""


def parameter_page() -> str:
    """Every parameter with its range and default, from the classes that check them."""
    lines = [
        "# Parameters",
        "",
        "Tables of a description or recipe in TOML; equations: the [contract](../contract.md).",
        "A value outside its range is refused with the field, the value and the range.",
        "`wordline describe vowels --toml > mine.toml` writes a whole file. The least is",
        *("", "```toml", 'name = "mine"', "", "[network]", "inputs = 12", "hidden = [32]"),
        *("classes = 9", "```"),
    ]
    for table, (suffix, kind) in SECTIONS.items():
        lines += ["", f"## `[{table.strip()}]`{suffix}", ""]
        said = _said_of_fields(kind)
        lines += ["| Field | Default | Range | Meaning |", "|---|---|---|---|"]
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            if not field.init:
                continue
            allowed = _range(hints[field.name])
            meaning = said.get(field.name, "").replace("|", "\\|")
            lines.append(f"| `{field.name}` | {_default(field)} | {allowed} | {meaning} |")
        lines += _presets() if kind is effects.Effects else []
    return "\n".join([*lines, ""])


def _presets() -> list[str]:
    """What each preset of effects sets."""
    lines = ["", "| Preset | Sets |", "|---|---|"]
    for name, preset in effects.PRESETS.items():
        plain = effects.Effects()
        fields = {f.name: getattr(preset, f.name) for f in dataclasses.fields(preset)}
        own = {key: value for key, value in fields.items() if value != getattr(plain, key)}
        said = ", ".join(f"`{key} = {json.dumps(value)}`" for key, value in own.items())
        lines.append(f"| {name} | {said or 'nothing: an ideal chip'} |")
    return lines


def register_page() -> str:
    """The register map of the preset `vowels`."""
    map_ = RegisterMap(PRESETS["vowels"].description)
    said = "The map of another design is `registers/registers.md` of its IP package."
    title, text = registers.markdown(map_).split("\n", 1)
    return f"{title}\n\n{said}\n{text}"


def _said_of_fields(kind: type) -> dict[str, str]:
    """What a class's docstring says of each field: `name: text`, with lines that go on indented."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        names = [f.name for f in dataclasses.fields(base)] if dataclasses.is_dataclass(base) else []
        current: list[str] = []
        for line in inspect.cleandoc(base.__doc__ or "").splitlines():
            match = re.match(r"((?:\w+, )*\w+):\s+(.*)", line)
            if match and all(name in names for name in match[1].split(", ")):
                current = match[1].split(", ")
                found |= dict.fromkeys(current, match[2].strip())
            elif line.startswith(" ") and current:
                for name in current:
                    found[name] += " " + line.strip()
            else:
                current = []
    return found


def _default(field: Any) -> str:
    if field.default is dataclasses.MISSING:
        if field.default_factory is dataclasses.MISSING:
            return "required"
        value = field.default_factory()
    else:
        value = field.default
    if value is None:
        return "not set"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _range(hint: Any) -> str:
    """The values that a type allows, in words."""
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(
            f'`"{v}"`' if isinstance(v, str) else f"`{v}`" for v in typing.get_args(hint)
        )
    if typing.get_origin(hint) is tuple:
        return f"a list, {_range(typing.get_args(hint)[0])}".removesuffix(", ")
    low = high = above = None
    for note in _notes(hint):
        low = getattr(note, "ge", low) if isinstance(note, annotated_types.Ge) else low
        above = note.gt if isinstance(note, annotated_types.Gt) else above
        high = note.le if isinstance(note, annotated_types.Le) else high
    if low is not None and high is not None:
        return f"{low} to {high}"
    if above is not None and high is not None:
        return f"above {above}, to {high}"
    if low is not None:
        return f"from {low}"
    if typing.get_origin(hint) is typing.Annotated:
        return _range(typing.get_args(hint)[0])
    options = [_range(of) for of in typing.get_args(hint) if of is not type(None)]
    return " or ".join(option for option in options if option)


def _notes(hint: Any) -> list[Any]:
    """What Annotated says of a type, the pydantic fields in it unfolded."""
    found: list[Any] = []
    if typing.get_origin(hint) is typing.Annotated:
        inner, *notes = typing.get_args(hint)
        found += _notes(inner)
        for note in notes:
            found += getattr(note, "metadata", [note])
    return found


def command_page() -> str:
    """Every command with its arguments and options, as Typer writes it."""
    app = get_command(command)
    text = get_docs_for_click(
        obj=app, ctx=typer.Context(app, info_name="wordline"), name="wordline", title="Commands"
    )
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


def fields_as_list(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings are plain text: lines `name: text` of fields or arguments become a list, and a
    final underscore stays."""
    fields = [f.name for f in dataclasses.fields(obj)] if dataclasses.is_dataclass(obj) else []
    if callable(obj):
        with contextlib.suppress(ValueError, TypeError):
            fields += inspect.signature(obj).parameters
    found, inside = [], False
    for line in lines:
        match = re.match(r"((?:\w+, )*\w+):\s+(.*)", line)
        if match and all(field in fields for field in match[1].split(", ")):
            found += [] if inside else [""]
            found.append(f":{match[1]}: {match[2]}")
            inside = True
        elif inside and line.startswith(" "):
            found.append(f"    {line.strip()}")
        else:
            found += ["", line] if inside and line.strip() else [line]
            inside = False
    lines[:] = [re.sub(r"(?<![`\w])(\w+)_(?=[\s,.;:])", r"``\1_``", line) for line in found]


def links_of_the_repository(app: Any, name: str, source: list[str]) -> None:
    """A link to a file outside docs/ is its path here; the site has no such file."""
    folder = (HERE / name).parent

    def plain(match: re.Match[str]) -> str:
        target = (folder / match[2]).resolve()
        if match[2].startswith("http") or target.is_relative_to(HERE) or not target.exists():
            return match[0]
        path = target.relative_to(HERE.parent)
        made = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
        if str(path) in made:
            up = "../" * (len(Path(name).parts) - 1)
            return f"[{match[1]}]({up}{made[str(path)]})"
        return match[1] if match[1].startswith("`") else f"{match[1]} (`{path}`)"

    source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(?:#[^)]*)?\)", plain, source[0])


def setup(app: Any) -> None:
    """Hooks."""
    app.connect("autodoc-process-docstring", fields_as_list)
    app.connect("source-read", links_of_the_repository)


MADE.mkdir(exist_ok=True)
for name, text in (
    ("parameters", parameter_page()),
    ("commands", command_page()),
    ("registers", register_page()),
):
    path = MADE / f"{name}.md"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
