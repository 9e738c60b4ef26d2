"""What may cause the first difference: what was still equal, and what the wrong values share."""

import dataclasses
from pathlib import Path

import numpy as np

from gen.rtl import image
from golden.geometry import ArrayShape
from hw.loadmap import LoadMap
from wordline.flow.place import Place
from wordline.report import suspects
from wordline.report.around import Around, Wrong, wrong
from wordline.report.page import Cell, Question, Table
from wordline.report.run import Run


def question(run: Run, near: Around | None, place: Place) -> Question:
    """The likely cause, from the order in which values are computed."""
    kind = place.quantity.rpartition(".")[2]
    blocks = {
        "codes": _codes,
        "c": _cell,
        "h": _output,
        "scores": _scores,
        "label": _label,
        "output": _label,
    }
    block, said = blocks[kind](run, near, place)
    edited = (run.summary or {}).get("edited", ())
    notes = []
    if edited:
        notes.append(f"Edited since they were emitted: {', '.join(map(str, edited))}. Begin there.")
    tables = _words(run) if any(Path(file).name == "image.hex" for file in edited) else []
    return Question(
        "What is the likely cause?", f"Block: {block}. {said}", tables=tables, notes=notes
    )


WORDS = 100
"""Most edited words of an image in the table."""


def _words(run: Run) -> list[Table]:
    """Words of an edited image that differ from those of the program in the folder."""
    from golden import effects
    from golden.program import Program

    path, summary = run.folder / "program.safetensors", run.summary
    if run.checked or run.description is None or summary is None or not path.is_file():
        return []
    program = Program.load(path, run.description)
    given = effects.Effects(**summary["effects"]["given"])
    votes = {"votes": summary["votes"], "vote_by": summary["vote_by"] or "majority"}
    program = effects.apply(dataclasses.replace(program, **votes), given)
    emitted = dict(image.words(program))
    own = dict(image.read(run.folder / "image.hex", run.description))
    load_map = LoadMap(run.description)
    rows: list[list[Cell]] = []
    for address in sorted(emitted.keys() | own.keys()):
        before, now = emitted.get(address), own.get(address)
        if before != now and address != load_map.check:
            place = _where(load_map, address, run.description.cell.gates)
            rows.append([f"{address:x}", *place, before, now])
    head = ("address (hex)", "region", "fields", "emitted", "in the edited image")
    caption = f"Words of image.hex that differ from the program in the folder: {len(rows):,}"
    return [Table(head, rows[:WORDS], caption, shown=True)] if rows else []


def _where(load_map: LoadMap, address: int, gates: tuple[str, ...]) -> tuple[str, str]:
    """Region and fields of an address."""
    for region in load_map.regions.values():
        if region.holds(address):
            low, fields = 0, []
            for name, width in region.fields:
                value = address >> low & (1 << width) - 1
                if name == "index" and value >> width - 1:
                    value -= 1 << width
                layer = region.name.startswith("layers.")
                fields.append(f"{name} {gates[value] if layer and name == 'gate' else value}")
                low += width
            return region.name, ", ".join(fields)
    return "", ""


Said = tuple[str, str]
"""A block, and what speaks for it."""


def _found(run: Run, near: Around | None, place: Place) -> Wrong | None:
    if near is None or run.description is None or place.quantity not in near.rtl:
        return None
    return wrong(near, place, run.description)


def _codes(run: Run, near: Around | None, place: Place) -> Said:
    before = "All of x and of the h of the step before are equal"
    array = f"the crossbar array of {place.layer}"
    found = _found(run, near, place)
    if found is None or near is None:
        return array, f"{before}; its rows, cells, gains, noise parameters or conversion are wrong."
    shape = found.shape
    assert shape is not None
    count, of = len(found.places), len(found.cells)
    said = f"{before}, and {count} of {of} codes of this step are wrong."
    if count == 1:
        gate, unit = found.places[0]
        select, lane = (int(n) for n in shape.column(unit, gate))
        more = (
            f"It is one column: a cell of column (select {select}, lane {lane}), or the place that "
            f"its code is stored in."
        )
        return f"{array}, one column", f"{said} {more}"
    if len(found.lanes) == 1 and shape.lanes > 1:
        bit = suspects.bit(near, place, found)
        more = bit or "Its offset, its gain error or its converter."
        return f"{array}, one lane", f"{said} All are in lane {found.lanes[0]}. {more}"
    if len(found.gates) == 1 and shape.gates > 1:
        assert run.description is not None
        gate_name = run.description.cell.gates[found.gates[0]]
        more = f"All are of gate {gate_name}: its gain, or its selects."
        return f"{array}, gate {gate_name}", f"{said} {more}"
    if len(found.units) == 1:
        more = f"All are of unit {found.units[0]}: its columns, or its place in a beat."
        return f"{array}, one unit", f"{said} {more}"
    rows = suspects.rows(run, near, place)
    if rows.startswith("All "):
        return f"the rows of {place.layer}", f"{said} {rows}"
    more = (
        "They are in several gates, units and lanes: what is on the rows, a row of cells, the "
        "level table, the shift of the ADC, or the time at which samples are taken."
    )
    if place.step and not near.step:
        more += " Step 0, with h = 0 on the rows, is right: that points at how h gets to the rows."
    return array, f"{said} {more} {rows}".rstrip()


def _cell(run: Run, near: Around | None, place: Place) -> Said:
    gates = f"the gate pipeline of {place.layer}"
    said = "All ADC codes of this step and c of the step before are equal."
    more = entry(run, near, place)
    rest = "its bias, its gate tables or the sum f*c + i*g are wrong."
    if more:
        return gates, f"{said} {more}"
    found = _found(run, near, place)
    if found is not None and len(found.units) == 1:
        return (
            gates,
            f"{said} Only unit {found.units[0]} is wrong: its biases, or an entry only it reads.",
        )
    if found is not None and found.shape is not None:
        at, size = found.beat_places
        if len(at) == 1 and size > 1:
            rest = f"all wrong units are at place {at[0]} of a beat: the copy of the logic for it."
            first = suspects.after_the_first_step(near, place) if near is not None else ""
            return f"{gates}, place {at[0]} of a beat", f"{said} And {rest} {first}".rstrip()
    first = suspects.after_the_first_step(near, place) if near is not None else ""
    return gates, f"{said} So {rest} {first}".rstrip()


def entry(run: Run, near: Around | None, place: Place) -> str:
    """Table entries that every wrong unit reads, and no right one, in words, or ""."""
    found = _found(run, near, place)
    if found is None or near is None or run.description is None or place.step is None:
        return ""
    shape, loaded = found.shape, run.loaded.get(place.layer)
    codes = near.golden.get(f"{place.layer}.codes")
    if shape is None or loaded is None or codes is None:
        return ""
    cell, at = run.description.cell, place.step - near.step
    said = []
    if place.quantity.endswith(".h") and f"{place.layer}.c" in near.golden:
        # c is equal, so the tables behind it come before those of the gates.
        c = near.golden[f"{place.layer}.c"].astype(np.int64)
        for table in cell.tables:
            drop = ((cell.state_range or table.index).size // table.index.size).bit_length() - 1
            upper = (c + (1 << drop >> 1)) >> drop
            read = np.clip(upper, table.index.low, table.index.high)
            said += [f"entry {n} of {table.name}" for n in only(read, near, place, found, at)]
    if not said:
        for g, gate in enumerate(cell.gates):
            a = pre_activation(codes[:, g], loaded.bias[g], shape, int(cell.frac))
            said += [
                f"entry a = {n} of the table of gate {gate}"
                for n in only(a, near, place, found, at)
            ]
    if not said:
        return ""
    which = "Every wrong unit reads" if len(found.units) > 1 else "The wrong unit reads"
    return (
        f"{which} {' and '.join(said)}, which no right unit has read in the steps that are kept: "
        f"look at {'this entry' if len(said) == 1 else 'these entries'} first, then at the bias."
    )


def only(read: np.ndarray, near: Around, place: Place, found: Wrong, at: int) -> list[int]:
    """The entry that all wrong units of a step read and no right one, as [entry], or [].

    read: Entries of a table that golden reads, (steps, units).
    at: The step among those of `near`.
    """
    equal = np.ones(read.shape, bool)
    for name, rtl in near.rtl.items():
        if name.startswith(f"{place.layer}."):
            off = near.golden[name] != rtl
            equal &= ~(off.any(1) if off.ndim == 3 else off)
    right = np.logical_and.accumulate(equal, 0)  # a unit is right up to its first difference
    of_wrong = set(read[at, found.units].tolist())
    return [] if len(of_wrong) != 1 or of_wrong & set(read[right].tolist()) else [*of_wrong]


def pre_activation(codes: np.ndarray, bias: np.ndarray, shape: ArrayShape, frac: int) -> np.ndarray:
    """Table indices a of ADC codes (..., units) without noise (docs/contract.md, 5)."""
    range_ = shape.index_range
    found: np.ndarray = np.clip((codes.astype(np.int64) << frac) + bias, range_.low, range_.high)
    return found


def _output(run: Run, near: Around | None, place: Place) -> Said:
    gates = f"the gate pipeline of {place.layer}"
    assert run.description is not None or near is None
    has_c = near is not None and f"{place.layer}.c" in near.rtl
    if not has_c:
        more = (
            entry(run, near, place) or "So its bias, its gate table or the rounding to h is wrong."
        )
        return gates, f"All ADC codes of this step are equal. {more}"
    more = entry(run, near, place)
    rest = "So the tanh table of c, gate o, their product or its rounding to a DAC code is wrong."
    return gates, f"All ADC codes and c of this step are equal. {more or rest}"


def _scores(run: Run, near: Around | None, place: Place) -> Said:
    found = _found(run, near, place)
    said = "h of the last layer is equal, so the head makes the difference"
    if found is not None:
        count = len(found.places)
        which = f"{count} of {len(found.cells)} scores are wrong"
        if count == 1:
            return "the head", f"{said}: {which}; a cell or the bias of class {found.units[0]}."
        return "the head", f"{said}: {which}; its cells, gain, bias or conversion."
    return "the head", f"{said}: its cells, gain, bias or conversion."


def _label(run: Run, near: Around | None, place: Place) -> Said:
    votes = (run.summary or {}).get("votes", 1)
    if near is not None and "scores" in near.rtl:
        block = "the voter, or the arg max" if votes > 1 else "the arg max behind the head"
        return block, "All scores up to here are equal."
    return (
        "the output",
        "All values inside are equal: what leaves the chip is not what it computed.",
    )
