"""Reports: every number is one of the run, faults are named, pages are whole and of the same bytes.

Folders are made without a simulator: golden with a planted fault takes the place of the RTL.
"""

import dataclasses
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from hypothesis import given
from safetensors.torch import save_file

from gen.cost import counts, ppa
from gen.cost.components import read_figures
from gen.rtl import image, unload, vectors
from golden import adc
from golden import effects as effects_
from golden.errors import WordlineError
from hw import timing
from tests.helpers import (
    descriptions,
    emitted_once,
    examples,
    random_program,
    sampled,
    small,
)
from tests.wordline.reports import (
    DESIGN,
    Page,
    arrays,
    golden_program,
    leaves,
    number,
    numbers,
    run_folder,
)
from tests.wordline.test_cli import ROOT, complaint, here, refused
from wordline import report
from wordline.flow import simulate
from wordline.report import accuracy, timeline
from wordline.report.run import read

GATES = ("i", "f", "g", "o")
ALL = dataclasses.replace(effects_.PRESETS["all"], stuck_on=0.02, stuck_off=0.02)
MOST_BYTES = 3_000_000


@pytest.fixture(scope="module", autouse=True)
def once():
    with emitted_once({}):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder, summary and page of a run with every effect, all values equal."""
    folder = tmp_path_factory.mktemp("report") / "tiny"
    summary = run_folder(folder, golden_program(), effects=ALL)
    return folder, summary, Page(report.write(folder))


@pytest.fixture(scope="module")
def chip():
    """The program that the chip of `run` holds."""
    return effects_.apply(golden_program(), ALL)


def _article(page, question):
    """Address of the article with this in its question."""
    (found,) = (
        a for a, text in page.answers.items() if question in text.strip().partition("\n")[0]
    )
    return found


def valid(folder, name):
    """Golden values of a quantity, without padding, (steps of all passes, ...)."""
    found = arrays(folder / "vectors.npz")
    return np.concatenate([v[:n] for v, n in zip(found[name], found["lengths"], strict=True)])


def classes(folder):
    """True classes and those of the RTL."""
    found = arrays(folder / "outputs.npz")
    return found["labels"].tolist(), found["rtl"].tolist()


def test_the_verdict_comes_first(run):
    _, summary, page = run
    said = " ".join(page.answers["header"].split())
    assert said.index("GREEN") < said.index(f"All {summary['values_compared']:,} values")
    head, rows = page.table("Values by quantity")
    assert head[2:] == ["values compared", "values that differ"]
    found = {row[0]: (number(row[2]), number(row[3])) for row in rows}
    sums = {"all": (summary["values_compared"], 0)}
    assert found == sums | {n: tuple(c.values()) for n, c in summary["compared"].items()}


def test_accuracy_has_an_interval(run):
    folder, summary, page = run
    labels, rtl = classes(folder)
    right = sum(a == b for a, b in zip(labels, rtl, strict=True))
    assert summary["rtl_accuracy"] == pytest.approx(100 * right / len(labels), abs=1e-4)
    rows = {row["stage"]: row for row in page.data("Accuracy of each stage with its 95 % interval")}
    assert set(rows) == {"golden", "RTL"}  # a random program has no float network
    low, high = accuracy.wilson(right, len(labels))
    assert (rows["RTL"]["accuracy"], rows["RTL"]["low"]) == (summary["rtl_accuracy"], low)
    assert f"right in {right} of {len(labels)} sequences" in page.said("How accurate is it")
    assert rows["golden"]["high"] == high


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11), (1, 29, 0.61, 17.18)],
)
def test_the_interval_is_wilson_s(right, of, low, high):
    assert accuracy.wilson(right, of) == pytest.approx((low, high), abs=0.005)


def test_confusion_and_the_worst_sequences(run):
    folder, _, page = run
    labels, rtl = classes(folder)
    for row in page.data("Times that each true class was taken as each class"):
        pairs = list(zip(labels, rtl, strict=True))
        assert row["times"] == pairs.count((row["truth"], row["found"]))
    scores = arrays(folder / "vectors.npz")["scores"].astype(int)
    margin = [
        int(s[label] - max(np.delete(s, label))) for s, label in zip(scores, labels, strict=True)
    ]
    shown = page.data("Margin of the true class over all sequences")
    assert [row["margin"] for row in shown] == margin
    assert [row["is"] == "right" for row in shown] == [
        a == b for a, b in zip(labels, rtl, strict=True)
    ]
    _, rows = page.table("The worst sequences")
    order = sorted(range(len(labels)), key=lambda n: (labels[n] == rtl[n], margin[n]))
    assert [int(row[0]) for row in rows] == order[: len(rows)]
    assert [number(row[3]) for row in rows] == [margin[n] for n in order[: len(rows)]]


@pytest.mark.parametrize("layer", [0, 1])
def test_values_are_those_of_the_vectors(run, layer):
    folder, _, page = run
    found = arrays(folder / "vectors.npz")
    label = f"Gates, c and h of layers.{layer}, golden and RTL, by step"
    shown = page.data(label)
    units = DESIGN.network.hidden[layer]
    assert {(row["u"], row["q"]) for row in shown} == {
        (u, q) for u in range(units) for q in (*(f"code {g}" for g in GATES), "c", "h")
    }
    for row in shown:
        length = int(found["lengths"][row["s"]])
        kind, _, gate = row["q"].partition(" ")
        whole = found[f"layers.{layer}.{'codes' if gate else kind}"][row["s"], :length]
        golden = whole[:, GATES.index(gate), row["u"]] if gate else whole[:, row["u"]]
        assert row["golden"] == row["RTL"] == golden.tolist()


@pytest.mark.parametrize("layer", [0, 1])
def test_codes_are_counted_and_clipping_is_explained(run, chip, layer):
    folder, _, page = run
    name, shape = f"layers.{layer}", DESIGN.layers[layer]
    codes = valid(folder, f"{name}.codes").astype(int)
    low, high = -8, 7
    for g, gate in enumerate(GATES):
        shown = page.data(f"Histogram of the ADC codes of gate {gate} of {name}")
        counts = {row["code"]: row["count"] for row in shown}
        assert counts == {c: int((codes[:, g] == c).sum()) for c in range(low, high + 1)}
        ends = [row["code"] for row in shown if row["at"] == "end of the range"]
        assert ends == [low, high]
    for row in page.data(f"Share of clipped codes of {name} by gate and unit"):
        of = codes[:, GATES.index(row["gate"]), row["unit"]]
        share = 100 * np.mean((of == low) | (of == high))
        assert row["clipped"] == pytest.approx(share, abs=5e-4)
    address = next(a for a, text in page.answers.items() if f"ADCs of {name} use" in text)
    _, rows = page.table("Gains, and the charge from which a conversion clips", address)
    for row, gain in zip(rows, chip.layers[layer].gain[0].tolist(), strict=True):
        charge = 2**shape.adc_shift / gain
        wanted = [gain, gain / 16, charge, 7.5 * charge, 750 * charge / shape.charge_max]
        assert [number(cell) for cell in row[2:]] == pytest.approx(wanted, rel=1e-3)


def test_effects_have_their_strength_in_lsb(run, chip):
    folder, summary, page = run
    for name, told in summary["effects"]["arrays"].items():
        shown = page.data(f"Strength of each effect in {name}")
        found = {row["effect"]: row["lsb"] for row in shown}
        shape, part = DESIGN.arrays[name], chip.arrays[name]
        lsb = 2**shape.adc_shift / part.gain[0].double().numpy()
        gates = GATES if name != "head" else ("score",)
        for g, gate in enumerate(gates):
            noise = float(part.read_noise[0]) / 16
            assert found[f"read noise, gate {gate}"] == pytest.approx(noise / lsb[g])
        offset = (part.offset.double() / 256).square().mean().sqrt().item()
        gain = (part.gain_error.double() / 1024).square().mean().sqrt().item()
        assert found["ADC offset"] == pytest.approx(offset)
        assert found["gain error"] == pytest.approx(8 * gain)
        assert found["ADC noise"] == told["adc_noise_lsb"] == pytest.approx(0.3, abs=1 / 256)
        h = valid(folder, "layers.1.h" if name == "head" else f"{name}.h").astype(float)
        rows = [h]
        if name != "head":
            rows.append(valid(folder, "layers.0.h" if name == "layers.1" else "x").astype(float))
        squares = sum((r**2).mean(0).sum() for r in rows) / shape.rows
        charge = told["conductance_rms_change"] * 255 * math.sqrt(2 * shape.rows * squares)
        head, rows = page.table(
            "Strengths by effect and gate", _article(page, f"are they in {name}")
        )
        own = {row[0]: number(row[3]) for row in rows}
        assert own["ADC offset"] == pytest.approx(offset, rel=1e-3)
        assert own["gain error"] == pytest.approx(gain, rel=1e-3)
        assert own["read noise"] == pytest.approx(float(part.read_noise[0]) / 16, rel=1e-3)
        in_lsb = [number(row[head.index("strength (LSB)")]) for row in rows]
        assert in_lsb == pytest.approx([row["lsb"] for row in shown], rel=1e-3)
        one = found[f"programming, drift, stuck, gate {gates[0]}"]
        assert one == pytest.approx(charge / lsb[0])


@pytest.mark.parametrize("name", ["layers.0", "layers.1", "head"])
def test_cells_are_those_of_the_chip(run, chip, name):
    _, _, page = run
    part = chip.arrays[name]
    whole = (part.positive - part.negative).permute(2, 1, 0).flatten(1)
    shown = page.data(f"Map of the differential conductance codes of {name}")
    assert [row["g"] for row in shown] == whole.tolist()
    levels = part.levels.tolist()
    for row in page.data(f"Cells of {name} by differential conductance code"):
        assert row["at"] == "between levels" or row["code"] in levels
    (side,) = {  # width of a bar
        int(match[1]) if (match := re.search(r"Bars are (\d+) codes wide", text)) else 1
        for text in page.answers.values()
        if f"levels do the cells of {name}" in text
    }
    counted = sum(
        r["cells"] for r in page.data(f"Cells of {name} by differential conductance code")
    )
    assert counted == whole.numel() and side >= 1
    on, off = effects_.stuck(DESIGN, ALL)[name]
    said = page.said(f"What do the cells of {name} hold?")
    assert f"Stuck at full scale: {int(on.sum())} devices; stuck at 0: {int(off.sum())}." in said


def test_levels_are_counted(run, chip):
    _, _, page = run
    for name, part in chip.arrays.items():
        address = next(a for a, t in page.answers.items() if f"levels do the cells of {name}" in t)
        whole = (part.positive - part.negative).flatten()
        _, rows = page.table("Cells by level", address)
        for _, level, cells in rows:
            assert number(cells) == int((whole == number(level)).sum())


@examples(40)
@given(descriptions())
def test_the_time_line_ends_where_the_next_step_begins(description):
    for n, shape in enumerate(description.layers):
        found = timeline.spans(description, n)
        assert max(span["end"] for span in found) == timing.step_cycles(description, n)
        converted = [s for s in found if s["what"] == "ADCs convert"]
        last = max(span["end"] for span in converted)
        first_h = timing.readout_latency(shape) + (shape.samples - 1) * timing.period(shape)
        assert last + shape.adds_up == first_h
        gates = [s for s in found if s["what"] == "gates, c and h"]
        assert len(gates) == shape.blocks and gates[-1]["begin"] == first_h


def test_the_time_line_and_what_bounds_it(run):
    _, _, page = run
    for n, shape in enumerate(DESIGN.layers):
        shown = page.data(f"Time-line of one step of layers.{n}")
        assert shown == timeline.spans(DESIGN, n)
        said = page.said(f"What does a step of layers.{n} wait for?")
        assert timing.step_bound(DESIGN, n) in said and "Bound by: ADCs" in said
        assert sum(s["what"] == "samples settle" for s in shown) == shape.samples


def test_no_chart_is_untested(run):
    """Each chart above has a test of its numbers; a further one needs one, too."""
    _, summary, page = run
    tested = (
        "Accuracy of each stage with its 95 % interval",
        "Times that each true class was taken as each class",
        "Margin of the true class over all sequences",
        "Gates, c and h of layers.N, golden and RTL, by step",
        "Histogram of the ADC codes of gate G of layers.N",
        "Share of clipped codes of layers.N by gate and unit",
        "Strength of each effect in A",
        "Time-line of one step of layers.N",
        "Map of the differential conductance codes of A",
        "Cells of A by differential conductance code",
        "Time by stage",
    )
    for chart in page.charts.values():
        label = re.sub(r"gate \w of", "gate G of", chart["description"])
        label = re.sub(
            r"(?<=in |of )(layers\.\d|head)$|(?<=of )(layers\.\d|head)(?= by diff)", "A", label
        )
        label = re.sub(r"layers\.\d", "layers.N", label)
        assert (
            label.replace("step of A", "step of layers.N").replace("G of A", "G of layers.N")
            in tested
        )
    assert {r["stage"]: r["seconds"] for r in page.data("Time by stage")} == {
        stage: value for stage, value in summary["seconds"].items() if stage != "total"
    }


def known(folder, summary, page):
    """All numbers that a page may tell: of the record, the design, its charts and its tables."""
    found = [*leaves(summary), *leaves(DESIGN.to_dict())]
    for chart in page.charts.values():
        found += leaves(chart["data"]["values"])
    for head, rows in page.tables.values():
        found += leaves(rows) if "value" in head or len(rows) else []
    found += leaves(json.loads((folder / "tiny.json").read_text())["arrays"])
    for shape in DESIGN.arrays.values():
        columns = shape.units * shape.gates
        found += [columns, shape.rows * columns, shape.macros]
    return np.array(sorted(set(found)))


def test_every_number_in_the_text_is_in_the_record_or_behind_a_chart(run):
    folder, summary, page = run
    values = known(folder, summary, page)
    for article, text in page.answers.items():
        for value, off in numbers(text.replace(str(folder), "")):
            near = np.abs(values - value).min()
            rounded = max(off, 6e-4 * abs(value)) + 1e-9  # tables have four digits
            assert near <= rounded or value in (0.0, 95.0), (article, value, text)


def test_every_number_in_a_table_is_in_the_record_or_in_a_chart(run, chip):
    _, summary, page = run
    found = [*leaves(summary), *leaves(DESIGN.to_dict())]
    for chart in page.charts.values():
        found += leaves(chart["data"]["values"])
    for tensor in chip.tensors().values():
        found += tensor.double().flatten().tolist()
    facts = [f for n in range(2) for f in (timing.readout_latency, timing.gate_latency)]
    found += [float(f(shape)) for f in facts for shape in DESIGN.layers]
    found += [
        b - a
        for c in page.charts.values()
        for r in c["data"]["values"]
        if "begin" in r
        for a, b in [(r["begin"], r["end"])]
    ]
    values = np.array(sorted(set(found)))
    own = (  # computed in their own tests
        *("Gains, and the charge from which a conversion clips", "By row", "Codes by gate"),
        *("Columns that clip most", "Cells by level", "Versions", "Hashes of the files"),
        *("Clipping by gate", "Seeds and settings", "Strengths by effect and gate"),
    )
    for (article, caption), (_, rows) in page.tables.items():
        if caption in own:
            continue
        for row in rows:
            for cell in row:
                value = number(cell)
                if isinstance(value, float):
                    near = np.abs(values - value).min()
                    assert near <= 6e-4 * max(1, abs(value)), (article, caption, cell)


def test_tables_of_columns_and_rows(run, chip):
    folder, _, page = run
    for layer in range(2):
        name = f"layers.{layer}"
        codes = valid(folder, f"{name}.codes").astype(int)
        share = 100 * ((codes == -8) | (codes == 7)).mean(0)
        address = next(a for a, t in page.answers.items() if f"columns of {name} clip" in t)
        _, rows = page.table("Columns that clip most", address)
        assert number(rows[0][2]) == pytest.approx(share.max(), rel=1e-3)
        for gate, unit, at, bias, select, lane in rows:
            g, u = GATES.index(gate), int(unit)
            assert number(at) == pytest.approx(share[g, u], rel=1e-3, abs=1e-3)
            assert number(bias) == int(chip.layers[layer].bias[g, u])
            assert (int(select), int(lane)) == DESIGN.layers[layer].column(u, g)
        address = next(a for a, t in page.answers.items() if f"the cells of {name} hold" in t)
        whole = (chip.layers[layer].positive - chip.layers[layer].negative).numpy()
        _, rows = page.table("By row", address)
        for n, low, mean, high, zero in rows:
            of = whole[:, :, int(n)]
            wanted = (of.min(), of.mean(), of.max(), (of == 0).sum())
            assert [number(c) for c in (low, mean, high, zero)] == pytest.approx(wanted, rel=1e-3)
        address = next(a for a, t in page.answers.items() if f"ADCs of {name} use" in t)
        _, rows = page.table("Codes by gate", address)
        for row in page.table("Clipping by gate", address)[1]:
            of = codes[:, GATES.index(row[0])]
            ends = [100 * np.mean(of == end) for end in (-8, 7)]
            assert [number(c) for c in row[1:]] == pytest.approx([*ends, sum(ends)], rel=1e-3)
        for gate, code, count, percent in rows:
            of = codes[:, GATES.index(gate)]
            assert number(count) == (of == int(code)).sum()
            assert number(percent) == pytest.approx(
                100 * np.mean(of == int(code)), rel=1e-3, abs=1e-3
            )


def test_what_ran(run):
    folder, summary, page = run
    _, rows = page.table("Hashes of the files")
    assert dict(rows) == summary["files"]
    _, rows = page.table("Versions")
    assert {row[1]: row[2] for row in rows} == summary["versions"]
    said = page.said("How is it repeated?")
    assert "wordline sim tiny" in said and f"wordline report {folder}" in said


def test_a_page_stands_alone(run):
    folder, _, page = run
    path = folder / "report.html"
    assert path.stat().st_size < MOST_BYTES
    assert all(a.startswith(("#", "data:")) for a in page.addresses)
    assert "default-src 'none'" in page.text
    assert not re.search(
        r"@import|url\(|<link|<iframe|<img(?! alt)", page.text.partition("<script>")[0]
    )


def test_the_same_folder_gives_the_same_bytes(run):
    folder, _, page = run
    report.write(folder)
    assert (folder / "report.html").read_text() == page.text


def test_every_question_is_asked_and_every_chart_is_told(run):
    """Charts are below questions, have titles of axes and hover, and a table behind them."""
    _, _, page = run
    for address, chart in page.charts.items():
        article = address.partition("-chart-")[0]
        assert page.answers[article].strip().partition("\n")[0].endswith("?")
        assert any(where == article for where, _ in page.tables), address
        text = json.dumps(chart)
        assert chart["description"] and '"tooltip"' in text and '"title"' in text


# Faults: the RTL is golden with another number.


def changed(field, place, change, layer=0):
    """The program, with one number of a layer, or of the head (None), changed."""
    program = golden_program()
    part = program.head if layer is None else program.layers[layer]
    tables = dict(getattr(part, "tables", {}))
    tensor = (tables[field] if field in tables else getattr(part, field)).clone()
    tensor[place] = change(int(tensor[place]))
    if field in tables:
        part = dataclasses.replace(part, tables=tables | {field: tensor})
    else:
        part = dataclasses.replace(part, **{field: tensor})
    if layer is None:
        return dataclasses.replace(program, head=part)
    layers = [part if n == layer else own for n, own in enumerate(program.layers)]
    return dataclasses.replace(program, layers=tuple(layers))


FAULTS = {
    "cell": (
        changed("positive", (2, 3, 1), lambda g: 255 - g),
        ("the crossbar array of layers.0, one column", "gate g, unit 3"),
    ),
    "gain": (
        changed("gain", (0, 1), lambda g: 2 * g, layer=1),
        ("the crossbar array of layers.1, gate f", "its gain"),
    ),
    "head": (
        changed("bias", (2,), lambda b: b + 5, layer=None),
        ("the head", "a cell or the bias of class 2"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault, tmp_path):
    rtl, wanted = FAULTS[fault]
    summary = run_folder(tmp_path / "tiny", golden_program(), rtl)
    page = Page(report.write(tmp_path / "tiny"))
    first = summary["first"]
    assert "RED" in page.answers["header"] and str(first["rtl"]) in page.answers["header"]
    said = page.said("What is the likely cause?")
    assert f"Block: {wanted[0]}" in said
    assert wanted[1] in said + page.answers["header"]
    where = page.said("Where is the first difference?")
    assert f"golden {first['golden']}, RTL {first['rtl']}" in where
    check_surroundings(tmp_path / "tiny", page, first, rtl)
    steps = arrays(tmp_path / "tiny/vectors.npz")["lengths"]
    sequence = first["place"]["sequence"]
    step = int(steps[:sequence].sum()) + first["place"].get("step", int(steps[sequence]) - 1)
    assert re.search(rf"wordline sim tiny --waves (\d+:)?{step}\b", page.said("in a waveform"))


def check_surroundings(folder, page, first, rtl):
    """The table around the first difference has golden and RTL, and marks what differs."""
    place = first["place"]
    if "step" not in place:
        return
    golden = arrays(folder / "vectors.npz")
    lengths = torch.tensor(golden["lengths"])
    given = vectors.make(rtl, torch.tensor(golden["x"]).long(), lengths)
    layer = first["quantity"].rpartition(".")[0]
    head, rows = page.table("Golden above RTL; values that differ are marked")
    marks = page.text.count('class="n mark"')
    wanted = 0
    for name, side, *cells in rows:
        kind, _, gate = name.partition(" ")
        source = golden if side == "golden" else given
        of = source[f"{layer}.{'codes' if gate else kind}"][place["sequence"]]
        of = of[:, GATES.index(gate)] if gate else of
        other = (given if side == "golden" else golden)[f"{layer}.{'codes' if gate else kind}"]
        other = other[place["sequence"]]
        other = other[:, GATES.index(gate)] if gate else other
        for title, cell in zip(head[2:], cells, strict=True):
            step = int(title.removeprefix("step "))
            assert number(cell) == of[step, place["unit"]]
            wanted += int(of[step, place["unit"]] != other[step, place["unit"]])
    assert marks == wanted > 0


@pytest.mark.parametrize(
    ("quantity", "units", "said"),
    [
        ("layers.1.c", slice(1, None, 2), "the gate pipeline of layers.1, place 1 of a beat"),
        ("layers.1.c", slice(0, None), "the gate pipeline of layers.1."),
        ("layers.0.h", slice(2, 3), "the gate pipeline of layers.0"),
        ("scores", slice(0, None), "the head."),
    ],
)
def test_a_fault_of_the_logic_is_named(quantity, units, said, tmp_path):
    """Values that no program gives: of one copy of the logic, or of all."""

    def spoil(given):
        given[quantity] = given[quantity].astype(int)
        given[quantity][..., units] += 1

    run_folder(tmp_path, golden_program(), spoil=spoil)
    found = Page(report.write(tmp_path)).said("What is the likely cause?")
    assert f"Block: {said}" in found


def conversions(rows, number=0):
    """ADC codes of a layer for codes on its rows (cases, rows)."""
    part, runs = golden_program().layers[number], torch.zeros(len(rows)).long()
    return adc.codes(torch.as_tensor(rows), part, DESIGN.layers[number], runs, 0).numpy()


@pytest.mark.parametrize("fault", ["one row", "two rows", "no row"])
def test_rows_that_carry_other_codes_are_named(fault, tmp_path):
    """Rows that would give the RTL's codes: their h did not get there, or two were swapped."""
    step = 2
    told = []

    def spoil(given):
        codes, h = given["layers.0.codes"].astype(int), given["layers.0.h"]
        for sequence in np.flatnonzero(given["lengths"] > step):
            own = h[sequence, step - 1]
            n = next((n for n in range(4) if own[n] != own[n + 1] and own[n]), None)
            if n is None:
                continue
            rows = np.concatenate([given["x"][sequence, step], own]).astype(int)
            right, at = rows.copy(), 3 + n
            if fault == "two rows":
                rows[at], rows[at + 1] = rows[at + 1], rows[at]
            else:
                rows[at] = 0
            made = conversions(rows[None])[0]
            if fault == "no row":  # one more wrong code in each gate
                made = np.where(made > 0, made - 1, made + 1)
            if np.ptp((made != conversions(right[None])[0]).sum(1)) or fault == "no row":
                codes[sequence, step] = made
                told.append((sequence, n, right[at], right[at + 1]))
                break
        given["layers.0.codes"] = codes

    run_folder(tmp_path, golden_program(), spoil=spoil)
    said = Page(report.write(tmp_path)).said("What is the likely cause?")
    _, n, one, other = told[0]
    if fault == "no row":
        assert "No other code on one row" in said and "how h gets to the rows" in said
        assert "Block: the crossbar array of layers.0." in said
        return
    assert "Block: the rows of layers.0." in said
    put = other if fault == "two rows" else 0
    assert f"{put} in the place of {one} on row {3 + n} (h of unit {n})" in said


def test_a_bit_of_a_converter_is_named(tmp_path):
    shape = DESIGN.layers[0]
    gate, unit = np.indices((shape.gates, shape.units))
    own = np.asarray(shape.column(unit, gate)[1]) == 1

    def spoil(given):
        codes = given["layers.0.codes"].astype(int)
        codes[..., own] &= ~2
        given["layers.0.codes"] = codes

    run_folder(tmp_path, golden_program(), spoil=spoil)
    said = Page(report.write(tmp_path)).said("What is the likely cause?")
    assert "Block: the crossbar array of layers.0, one lane." in said
    assert "All are in lane 1. In two's complement bit 1 is 0 in all" in said


def test_a_right_first_step_points_at_f(tmp_path):
    def spoil(given):
        c = given["layers.0.c"].astype(int)
        c[:, 1:] += 3
        given["layers.0.c"] = c

    run_folder(tmp_path, golden_program(), spoil=spoil)
    said = Page(report.write(tmp_path)).said("What is the likely cause?")
    assert "Step 0 is right in all units" in said and "f*c rather than at i*g" in said


def test_a_table_entry_is_named(tmp_path):
    """The entry of a table that the wrong units read, and no right one."""
    golden = golden_program()
    folder = tmp_path / "tiny"
    run_folder(folder, golden)
    shape = DESIGN.layers[0]
    found = arrays(folder / "vectors.npz")
    a = np.clip(
        (found["layers.0.codes"][0, 0, 2].astype(int) << 4) + golden.layers[0].bias[2].numpy(),
        *(shape.index_range.low, shape.index_range.high),
    )
    unit = next(u for u in range(5) if (a == a[u]).sum() == 1)
    entry = int(a[unit]) - shape.index_range.low
    rtl = changed("gate_tables", (2, entry), lambda v: -v if v else 100)
    summary = run_folder(folder, golden, rtl)
    assert summary["first"]["quantity"] == "layers.0.c"
    said = Page(report.write(folder)).said("What is the likely cause?")
    assert "Block: the gate pipeline of layers.0" in said
    assert f"entry a = {a[unit]} of the table of gate g" in said


def test_edited_words_of_an_image_are_listed(tmp_path):
    folder = tmp_path / "tiny"
    summary = run_folder(folder, golden_program(), FAULTS["gain"][0])
    image.write(folder / "image.hex", FAULTS["gain"][0])
    summary["edited"], summary["files"] = (
        ["image.hex"],
        simulate._compared(folder, "tiny", "vectors.npz"),
    )
    (folder / "summary.json").write_text(json.dumps(summary))
    page = Page(report.write(folder))
    gain = int(golden_program().layers[1].gain[0, 1])
    (row,) = page.table("Words of image.hex that differ from the program in the folder: 1")[1]
    assert row[1:] == ["layers.1.gains", "gate f", f"{gain:,}", f"{2 * gain:,}"]


def test_a_wrong_class_alone(tmp_path):
    """All values inside are equal; what comes out is not."""
    folder = tmp_path / "tiny"
    summary = run_folder(folder, golden_program())
    first = {
        "quantity": "label",
        "place": {"sequence": 2},
        "golden": 1,
        "rtl": 0,
        "since": 0,
        "cycle": None,
    }
    summary |= {"first": first, "mismatches": 1, "passed": False}
    (folder / "summary.json").write_text(json.dumps(summary))
    said = Page(report.write(folder)).said("What is the likely cause?")
    assert "Block: the output" in said


# Files that are missing, of another run, or damaged.


def test_files_of_another_run_are_left_out(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "tiny")
    with (folder / "image.hex").open("a") as file:
        file.write("\n")
    (folder / "vectors.npz").unlink()
    page = Page(report.write(folder))
    said = page.answers["header"]
    assert "image.hex has changed since the run" in said
    assert "vectors.npz is not there any more" in said
    assert not any("Histogram" in c["description"] for c in page.charts.values())


@pytest.mark.parametrize("text", [None, "", "[]"])
def test_a_folder_without_a_run_is_refused(text, tmp_path):
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    said = complaint(here("report", str(tmp_path), folder=tmp_path))
    assert str(tmp_path) in said


def test_a_record_that_lacks_a_field_is_named(run, tmp_path):
    summary = json.loads((run[0] / "summary.json").read_text())
    for name in ("name", "passed", "files", "compared"):
        kept = {key: value for key, value in summary.items() if key != name}
        (tmp_path / "summary.json").write_text(json.dumps(kept))
        said = refused("report", tmp_path, folder=tmp_path)
        assert f"of another version of Wordline (KeyError: '{name}" in said
    (tmp_path / "mine.html").write_text("<!DOCTYPE html>\nmine")
    given = ("report", run[0], run[0], "--out", tmp_path / "mine.html")
    assert "is not a comparison, so it is not overwritten" in refused(*given, folder=tmp_path)


def test_a_failure_of_the_report_changes_no_verdict(monkeypatch, capsys, tmp_path):
    from wordline.cli.report import made

    def fails(folder):
        raise ValueError("no\npaper")

    monkeypatch.setattr(report, "write", fails)
    made(tmp_path, wanted=True, show=True)
    said = capsys.readouterr().err
    assert (
        said
        == "wordline: The report could not be made (ValueError: no paper); the result stands.\n"
    )
    made(tmp_path, wanted=False, show=False)
    assert capsys.readouterr() == ("", "")


def test_the_command_opens_it(run, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    done = here("report", str(run[0]), "--open", folder=run[0])
    assert done.returncode == 0, done.stderr
    assert opened == [(run[0] / "report.html").as_uri()]


# What it reads.


@examples(20)
@given(descriptions())
def test_an_image_is_read_back(description):
    for on_levels in (False, True):
        program = random_program(description, 5, on_levels=on_levels)
        loaded = unload.arrays(image.words(program), description)
        for name, part in program.arrays.items():
            for field in ("positive", "negative", "gain", "bias", "levels"):
                own = getattr(part, field).numpy()
                found = getattr(loaded[name], field)
                assert np.array_equal(found.reshape(own.shape), own), (name, field, on_levels)


def test_vectors_are_mapped(run):
    path = run[0] / "vectors.npz"
    whole, mapped = vectors.load(path, golden_program().description), vectors.mapped(path)
    assert whole.keys() == mapped.keys()
    assert all(np.array_equal(whole[name], mapped[name]) for name in whole)


@pytest.mark.parametrize("name", sampled(["steps", "scores", "state", "votes"]))
def test_other_outputs_and_votes(name, tmp_path):
    """A report of a regressor, of classes with every step, of a state, and of votes."""
    steps = small(name="tiny", output={"of": "class", "steps": "every"})
    scores = small(name="tiny", output={"of": "scores"})
    state = small(name="tiny", network={"classes": 0}, output={"of": "state"}, cell={"kind": "rnn"})
    voted = small(name="tiny", voting={"replay_steps": 8})
    n = sum(1 + k % 7 for k in range(24))
    cases = {
        "steps": (steps, {}, torch.arange(n) % 4),
        "scores": (scores, {}, torch.randn(24, 4).double()),
        "state": (state, {}, None),
        "votes": (voted, {"votes": 3}, "own"),
    }
    description, votes, labels = cases[name]
    program = dataclasses.replace(random_program(description, 3), **votes)
    run_folder(tmp_path, program, labels=labels)
    page = Page(report.write(tmp_path))
    assert "GREEN" in page.answers["header"]
    assert ("accuracy-1" in page.answers) == (labels is not None)
    assert read(tmp_path).votes == votes.get("votes", 1)


def test_two_runs_side_by_side(run, tmp_path):
    folder, summary, _ = run
    other = tmp_path / "other"
    ideal = run_folder(other, golden_program())
    path = report.compare(folder, other)
    page = Page(path)
    assert path == other / "comparison.html"
    said = page.answers["header"]
    assert f"A is {folder}" in said and f"B is {other}" in said
    _, rows = page.table("Description, settings, files and versions")
    fields = {row[0]: row[1:3] for row in rows}
    assert fields["effects.adc_sigma"] == ["0.3", "0"]
    data = {
        row["run"]: row["accuracy"]
        for row in page.data("Accuracy of each run with its 95 % interval")
    }
    assert data["A"] == pytest.approx(summary["rtl_accuracy"], abs=1e-4)
    assert data["B"] == pytest.approx(ideal["rtl_accuracy"], abs=1e-4)
    for where, name in ((folder, "A"), (other, "B")):
        codes = valid(where, "layers.0.codes").astype(int)
        shown = page.data("Codes of layers.0 at an end of the range, by gate and run")
        for row in (r for r in shown if r["run"] == name):
            of = codes[:, GATES.index(row["gate"])]
            assert row["clipped"] == pytest.approx(100 * np.mean((of == -8) | (of == 7)))
    labels, rtl = classes(folder)
    _, second = classes(other)
    gained = sum(b == t != a for t, a, b in zip(labels, rtl, second, strict=True))
    assert labels != classes(other)[0] or f"B alone is right {gained}" in page.said("more accurate")


# In a browser.

CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("kind", sampled(["green", "red"], "red"))
def test_a_browser_draws_every_chart(kind, run, tmp_path):
    """No request, nothing in the console; each chart is drawn, with words for screen readers."""
    path = run[0] / "report.html"
    if kind == "red":
        run_folder(tmp_path / "tiny", golden_program(), FAULTS["cell"][0])
        path = report.write(tmp_path / "tiny")
    net = tmp_path / "net.json"
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--enable-logging=stderr", "--v=0", f"--log-net-log={net}"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"),
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    charts = len(Page(path).charts)
    assert len(re.findall('class="chart [^"]* drawn"', done.stdout)) == charts > 20
    assert 'class="ready"' in done.stdout
    assert done.stdout.count('aria-roledescription="visualization"') >= charts
    assert "CONSOLE" not in done.stderr, done.stderr
    assert not re.findall(r"https?://(?!www\.w3\.org)[\w.]+", "".join(_requests(net)))


def _requests(net):
    """Addresses that the page itself asked for: files, and data in it."""
    events = json.loads(net.read_text())["events"]
    found = [e["params"].get("url", "") for e in events if "params" in e]
    initiators = [e["params"] for e in events if "params" in e and "initiator" in e["params"]]
    return [p.get("url", "") for p in initiators if "file" in str(p["initiator"])] + [
        url for url in found if url.startswith("file:")
    ]


def test_a_study_has_its_claims(tmp_path):
    shutil.copytree(ROOT / "docs/studies/efficiency", tmp_path / "efficiency")
    results = json.loads((tmp_path / "efficiency/results.json").read_text())
    page = Page(report.write(tmp_path / "efficiency"))
    goals = [c for c in results["claims"] if c["met"] is not None]
    said = " ".join(page.answers["header"].split())
    assert f"{sum(c['met'] for c in goals)} of {len(goals)} goals are met" in said
    head, rows = page.table("Claims")
    assert [row[0] for row in rows] == [c["name"] for c in results["claims"]]
    for row, claim in zip(rows, results["claims"], strict=True):
        assert number(row[head.index("ours")]) == pytest.approx(claim["ours"], rel=1e-3)
    for chart in page.charts.values():
        for row in chart["data"]["values"]:
            (claim,) = (c for c in results["claims"] if c["name"] == row["claim"])
            key = {"ours": "ours", "paper": "anchor", "goal": "goal"}[row["side"]]
            assert row["value"] == claim[key]
    (tmp_path / "efficiency/results.json").write_text(json.dumps(results | {"format": 0}))
    with pytest.raises(WordlineError, match="format 0"):
        report.write(tmp_path / "efficiency")


def test_costs_have_their_ranges(tmp_path):
    """Energy by part and area by block are those of ppa.json and synth.json."""
    tried = json.loads((ROOT / "tests/gen/tried.json").read_text())["vowels"]
    sides = [counts.from_dict(tried[side]) for side in ("analog", "digital")]
    figures = read_figures()
    found = {
        **{"name": "vowels", "fingerprint": "0", "command": None, "versions": {"python": "3"}},
        **{"worth": {"analog": {"accuracy": 97.5}}, **ppa.report(figures, *sides)},
    }
    blocks = [
        {"name": name, "cells": 3, "flip_flops": 1, "area": um2}
        for name, um2 in tried["analog"]["area"].items()
    ]
    mapped = {
        **{"target": "osu018", "fingerprint": "0", "command": "wordline synth vowels"},
        **{"period_ns": 8.0, "unconstrained": 0, "memories": {}, "versions": {"sta": "2"}},
        **{"blocks": blocks, "run": None},
    }
    for path, content in {"ppa/ppa.json": found, "synth-osu018/synth.json": mapped}.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(json.dumps(content))
    page = Page(report.write(tmp_path))
    assert page.answers["header"].count("Nothing in this folder was compared") == 1
    for side, of in zip(("analog", "digital"), sides, strict=True):
        typical = {name: figure.typical for name, figure in figures.items()}
        energy = ppa.cost(of, typical).energy
        shown = {row["part"]: row for row in page.data(f"Energy by part, {side}")}
        assert shown.keys() == {part for part, pj in energy.items() if pj}
        for part, row in shown.items():
            assert row["typical"] == pytest.approx(energy[part])
            assert row["low"] <= row["typical"] <= row["high"]
        low = ppa.cost(of, {name: figure.low for name, figure in figures.items()}).energy
        assert all(row["low"] == pytest.approx(low[part]) for part, row in shown.items())
    ratio = found["ratio"]["tops_per_watt"]
    assert f"{ratio['typical']:.3g} times its digital twin's" in page.said("How efficient is it?")
    first = page.data("TOPS/W with one figure at its ends")[0]
    assert [first["low"], first["high"]] == list(ratio["one_at_a_time"][first["figure"]])
    area = {row["block"]: row["area"] for row in page.data("Area by block on osu018")}
    assert area == tried["analog"]["area"]
    assert f"{sum(area.values()):,.0f} um2" in page.said("Where does the area go on osu018?")


def test_an_import_says_what_was_compared(tmp_path):
    torch.manual_seed(0)
    layer, head = torch.nn.LSTM(2, 3), torch.nn.Linear(3, 4)
    state = {f"lstm.{name}": value for name, value in layer.state_dict().items()}
    state |= {f"fc.{name}": value for name, value in head.state_dict().items()}
    save_file(state, tmp_path / "own.safetensors")
    x = np.random.default_rng(0).standard_normal((6, 5, 2), dtype=np.float32)
    np.savez(tmp_path / "some.npz", x=x, labels=np.arange(6) % 4)
    done = here(
        *("import", "own.safetensors", "--calibration", "some.npz", "--test", "some.npz"),
        folder=tmp_path,
    )
    assert done.returncode == 0 and "report: build/own/report.html" in done.stdout, done.stderr
    page = Page(tmp_path / "build/own/report.html")
    found = json.loads((tmp_path / "build/own/import.json").read_text())
    said = page.said("What was read, and how does it compare")
    assert f"Not compared: {found['compared']['why_not']}" in said
    assert [row[1] for row in page.table("The chain as it was read")[1]] == found["chain"]
    ratios = {row["array"]: row["ratio"] for row in page.data("Signal to error of each array")}
    for array in found["arrays"]:
        ratio = 20 * math.log10(array["signal"] / array["error"])
        assert ratios[array["name"]] == pytest.approx(ratio)
    measured = {row["stage"]: row["accuracy"] for row in page.data("accuracy of each stage")}
    assert measured == {stage: of["accuracy"] for stage, of in found["measures"].items()}
    assert "wordline import own.safetensors" in page.said("How is it repeated?")
