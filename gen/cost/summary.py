"""Energy and area as tables and as a sentence."""

import itertools
import math
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from gen.cost import sweep
from gen.cost.components import CASES
from gen.cost.ppa import MEASURES, SIDES


def shown(value: float) -> str:
    """A number with three significant digits."""
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{digits}f}"


def tables(found: dict[str, Any]) -> list[Table]:
    """A report as tables: parts, results, and sensitivity of the results to the figures."""
    name = found["name"]
    sides = [side for side in SIDES if side in found]
    columns = [found[side][what] for side in sides for what in ("energy_pj", "area_um2")]
    names = dict.fromkeys(name for column in columns for name in column)
    ordered = sorted(names, key=lambda n: -sum(column.get(n, 0) for column in columns[::2]))
    # Part names must not wrap; headings may.
    first = Column("part", no_wrap=True, min_width=max(map(len, names)))
    heads = [f"{side}, {unit}" for side in sides for unit in ("pJ a step", "um2")]
    parts = Table(first, *heads, title=f"{name}, {found['node_nm']} nm, typical figures")
    for part in ordered:
        if sum(column.get(part, 0) for column in columns) > 0:
            parts.add_row(part, *(shown(c[part]) if c.get(part) else "-" for c in columns))
    parts.add_row("all", *(shown(sum(column.values())) for column in columns))
    results = Table("", "low", "typical", "high")
    names_of = {side: side for side in sides}
    if "ratio" in found:
        names_of["ratio"] = "analog / digital"
    for measure, label in MEASURES.items():
        for side, words in names_of.items():
            range_ = found[side][measure]
            results.add_row(f"{words}, {label}", *(shown(range_[case]) for case in CASES))
    *_, last = names_of
    depends = Table(f"{names_of[last]} with one figure alone at", "low", "high")
    for measure, label in MEASURES.items():
        for figure, ends in [*found[last][measure]["one_at_a_time"].items()][:4]:
            depends.add_row(f"{label}: {figure}", *map(shown, ends))
    return [parts, results, depends]


CALLED = {"typical": "typical figures", "silicon": "figures of silicon"}
"""Cases of the figures that are told, in words."""


HEADS = {
    "accelerator / twin": "/ twin",
    "accelerator / in-memory": "/ in-\nmemory",
    "arrays / twin's": "arrays\n/ twin",
    "arrays / stationary": "arrays\n/ stat-\nionary",
    "arrays / in-memory": "arrays\n/ in-\nmemory",
    "accelerator / in-memory, all weights": "/ in-m.,\nall\nweights",
    "arrays / in-memory, all weights": "arrays\n/ in-m.,\nall w.",
}
"""Ratios of `gen.cost.sweep.AGAINST` in a narrow table."""


def estimates(found: dict[str, Any]) -> list[Table]:
    """Estimates as tables, one for each measure and case of the figures.

    Crossbars and ADCs are those of all arrays.
    """
    rows = found["rows"]
    varied = [name for name, values in found["axes"].items() if len(values) > 1]
    known = rows[0]["ratios"]["typical"]
    tables_ = []
    for (measure, label), (case, called) in itertools.product(MEASURES.items(), CALLED.items()):
        ratios = [name for name in sweep.compared(measure) if name in known]
        title = f"{found['name']}, estimated, {found['node_nm']} nm: {label}, {called}"
        first = ["given"] if varied else []
        heads = [*first, "crossbars", "ours", *(HEADS[name] for name in ratios)]
        columns = (Column(head, no_wrap=True) for head in heads)
        table = Table(*columns, title=title, box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
        for row in rows:
            values = [row[case]["accelerator"][measure]]
            values += [sweep.ratio(row, name, measure, case) for name in ratios]
            at = "\n".join(f"{n} {row['given'][n]}" for n in varied)
            rows_, columns = row["largest_crossbar"]
            size = f"{row['crossbars']:,} of up to\n{rows_:,} x {columns:,}\nADCs: {row['adcs']:,}"
            table.add_row(*[at] * len(first), size, *map(shown, values))
        tables_.append(table)
    return tables_


def dominating(found: dict[str, Any], side: str) -> tuple[str, float]:
    """The part of a design with the highest energy, and its share."""
    parts = found[side]["energy_pj"]
    part = max(parts, key=parts.__getitem__)
    return part, parts[part] / sum(parts.values())


def sentence(found: dict[str, Any]) -> str:
    """The result as a sentence."""
    times = " times" if "ratio" in found else ""
    ratio = {name: found["ratio" if times else "analog"][name] for name in MEASURES}
    watt, area = (
        f"{shown(r['typical'])}{times} ({shown(r['low'])} to {shown(r['high'])})"
        for r in ratio.values()
    )
    of = " the digital twin's" if times else ""
    its = " its" if times else ""
    part, share = dominating(found, "analog")
    bit = found["next_adc_bit"]["tops_per_watt"]
    return (
        f"{watt}{of} TOPS/W, {area}{its} TOPS/mm2; {100 * share:.0f} % of the "
        f"energy is that of {part}; with another bit in the ADCs TOPS/W is {shown(bit)} times "
        f"what it is"
    )
