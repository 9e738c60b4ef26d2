"""Faults that would give exactly the codes of the RTL: they are tried on golden's arithmetic."""

import numpy as np

from golden.description import Description
from golden.geometry import ArrayShape
from wordline.flow.place import Place
from wordline.report.around import Around, Wrong
from wordline.report.run import Run

PRODUCTS = 1 << 29
"""Most multiplications that are spent on trying codes of rows."""

NAMED = 3
"""Most rows that are named."""


def rows(run: Run, near: Around, place: Place) -> str:
    """Codes on the rows that would give the RTL's ADC codes of this step, in words, or "".

    One row with another code, or two rows that follow each other swapped.
    """
    assert run.description is not None and place.step is not None
    shape = run.description.arrays[place.layer]
    on_rows = _on_rows(run, place, shape)
    at = place.step - near.step
    name = f"{place.layer}.codes"
    golden, wanted = (np.asarray(side[name][at], np.int64) for side in (near.golden, near.rtl))
    codes = shape.description.dac.range
    tried = _others(on_rows, codes.low, codes.high)
    if len(tried) * shape.rows * shape.gates * shape.units > PRODUCTS:
        return ""
    made = _codes(run, place.layer, np.concatenate([on_rows[None], tried]), shape)
    if (
        made is None or (made[0] != golden).any()
    ):  # not what golden computed: noise, errors of lanes
        return ""
    explain = [n for n, codes_ in enumerate(made[1:]) if (codes_ == wanted).all()]
    if not explain:
        return (
            "No other code on one row, and no two neighbouring rows swapped, would give the RTL's "
            "codes."
        )
    said = [_told(on_rows, tried[n], run.description, place) for n in explain[:NAMED]]
    more = f", or {len(explain) - NAMED} others" if len(explain) > NAMED else ""
    return (
        f"All {wanted.size} codes of the RTL, right and wrong, are what golden computes with "
        f"{', or '.join(said)}{more}. So what is on the rows is suspected: the row drivers, or "
        f"what brings x and h to them."
    )


def _on_rows(run: Run, place: Place, shape: ArrayShape) -> np.ndarray:
    """DAC codes on the rows in golden: the layer's input, then its h of the step before."""
    number, step = int(place.layer.rpartition(".")[2]), place.step
    assert step is not None
    row = run.row(place.sequence, place.pass_ or 0)
    if number:
        inputs = run.vectors[f"layers.{number - 1}.h"][row, step]
    else:
        inputs = run.vectors["x"][place.sequence, step]
    own = run.vectors[f"{place.layer}.h"][row, step - 1] if step else np.zeros(shape.units)
    return np.concatenate([np.asarray(inputs), np.asarray(own)]).astype(np.int64)


def _others(on_rows: np.ndarray, low: int, high: int) -> np.ndarray:
    """On the rows: one other code, or two neighbours swapped, (cases, rows)."""
    n, codes = len(on_rows), np.arange(low, high + 1)
    single = np.repeat(on_rows[None], n * len(codes), 0)
    single[np.arange(len(single)), np.repeat(np.arange(n), len(codes))] = np.tile(codes, n)
    swapped = np.repeat(on_rows[None], n - 1, 0)
    first = np.arange(n - 1)
    swapped[first, first], swapped[first, first + 1] = on_rows[1:], on_rows[:-1]
    tried = np.concatenate([single, swapped])
    found: np.ndarray = tried[(tried != on_rows).any(1)]
    return found


def _codes(run: Run, layer: str, on_rows: np.ndarray, shape: ArrayShape) -> np.ndarray | None:
    """ADC codes of an ideal macro, (cases, gates, units); None without the cells."""
    import torch

    from golden import adc
    from golden.program import ArrayProgram, ideal_macro

    loaded = run.loaded.get(layer)
    if loaded is None:
        return None
    held = {
        name: torch.as_tensor(getattr(loaded, name))
        for name in ("positive", "negative", "levels", "gain")
    }
    array = ArrayProgram(**held, **ideal_macro(shape))
    made = adc.codes(torch.as_tensor(on_rows), array, shape, torch.zeros(len(on_rows)).long(), 0)
    found: np.ndarray = made.numpy()
    return found


def _told(on_rows: np.ndarray, tried: np.ndarray, description: Description, place: Place) -> str:
    """What is on the rows instead, in words."""
    shape = description.arrays[place.layer]
    own = shape.rows - shape.units
    said = []
    for row in np.flatnonzero(tried != on_rows).tolist():
        what = f"h of unit {row - own}" if row >= own else f"input {row}"
        said.append(f"{tried[row]} in the place of {on_rows[row]} on row {row} ({what})")
    return " and ".join(said)


def bit(near: Around, place: Place, found: Wrong) -> str:
    """A bit that all of the RTL's ADC codes of a lane have alike, and golden's have not, or ""."""
    shape = found.shape
    assert shape is not None
    if shape.adds_up:
        return ""
    (lane,) = found.lanes
    name = f"{place.layer}.codes"
    gate, unit = np.indices((shape.gates, shape.units))
    own = np.asarray(shape.column(unit, gate)[1]) == lane
    golden, rtl = (np.asarray(side[name], np.int64)[:, own] for side in (near.golden, near.rtl))
    bits = shape.description.adc.bits
    said = []
    for n in range(bits):
        of_golden, of_rtl = (side >> n & 1 for side in (golden, rtl))
        value = int(of_rtl.flat[0])
        if (of_rtl == value).all() and (of_golden != value).any():
            said.append(
                f"bit {n} is {value} in all {rtl.size} codes of the RTL in this lane that are "
                f"kept, and in {int((of_golden == value).sum())} of golden's"
            )
    return f"In two's complement {'; '.join(said)}." if said else ""


def after_the_first_step(near: Around, place: Place) -> str:
    """Whether a first step, in which c before is 0, was right: f * c is then suspected."""
    if near.step or not place.step:
        return ""
    return (
        "Step 0 is right in all units, and there c before is 0: that points at gate f or at f*c "
        "rather than at i*g."
    )
