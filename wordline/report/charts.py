"""Vega-Lite specifications of the kinds of charts that a report has."""

from collections.abc import Sequence
from typing import Any

from wordline.report.page import Chart

Fields = dict[str, Any]

COLOURS = ("golden", "rtl", "third", "fourth", "fifth", "sixth")
"""Colours of the page (style.css), by their order in a legend."""


FAINTEST = 0.12
"""Opacity of the smallest magnitude above 0, so that it is seen."""


def colour(name: str) -> str:
    """A colour of the page, which follows the reader's theme."""
    return f"var(--{name})"


def scale(domain: Sequence[str], *colours: str) -> Fields:
    """Colours of categories."""
    names = colours or COLOURS
    return {
        "domain": list(domain),
        "range": [colour(names[n % len(names)]) for n in range(len(domain))],
    }


def field(name: str, kind: str, title: str | None = None, **more: Any) -> Fields:
    """An encoding: a field of the data, its kind ("quantitative", ...) and its title with a unit.

    title: None: the name; "": none.
    """
    return {"field": name, "type": kind, "title": name if title is None else title or None} | more


def hover(*fields: Fields) -> list[Fields]:
    """Encodings as what is shown for the mark under the pointer."""
    kept = ("field", "aggregate", "bin", "type", "title", "format")
    found = [{k: v for k, v in f.items() if k in kept} for f in fields]
    return [f | {"title": f["title"] or f["field"]} for f in found]


def rows(data: Sequence[Fields], name: str) -> int:
    """Number of rows of a chart: different values of a field."""
    return len({row[name] for row in data})


def bars(
    data: Sequence[Fields],
    name: str,
    value: str,
    unit: str,
    *,
    label: str,
    title: str = "",
    sort: Any = None,
    format: str = ",.4~g",
) -> Chart:
    """Horizontal bars, one a row."""
    x = field(value, "quantitative", unit, format=format)
    y = field(name, "nominal", sort=sort, axis={"title": None, "labelLimit": 240})
    spec = {
        "mark": {"type": "bar"},
        "height": 22 * rows(data, name),
        "encoding": {"x": x, "y": y, "tooltip": hover(y | {"title": name}, x)},
    }
    return Chart(spec, data, label, title)


def heat(
    data: Sequence[Fields],
    x: Fields,
    y: Fields,
    value: Fields,
    *,
    label: str,
    title: str = "",
    step: int = 12,
    colour_: str = "golden",
    sign: str | None = None,
    tooltip: Sequence[Fields] = (),
    transform: Sequence[Fields] = (),
    limit: float | None = None,
) -> Chart:
    """Cells whose opacity is the root of a magnitude. sign: Field of the sign, as colour.

    limit: Magnitude of full opacity; None: the largest.
    """
    domain = {"domain": [0, limit]} if limit is not None else {"zero": True}
    # Opacity, and not a scale of colours: it suits a light and a dark page.
    encoding: Fields = {
        "x": x,
        "y": y,
        "fillOpacity": {
            **value,
            "scale": {"type": "sqrt", "range": [FAINTEST, 1], **domain},
            "condition": {"test": f"datum.{value['field']} == 0", "value": 0},
        },
        "tooltip": hover(*(tooltip or (x, y, value))),
    }
    if sign is not None:
        encoding["fill"] = field(sign, "nominal", "sign", scale=scale(("positive", "negative")))
    mark = {"type": "rect", "fill": colour(colour_), "stroke": "var(--grid)", "strokeWidth": 0.3}
    height = step * rows(data, str(y["field"]))
    spec: Fields = {"mark": mark, "height": height, "encoding": encoding}
    if transform:
        spec["transform"] = list(transform)
    return Chart(spec, data, label, title)
