"""Studies in small: what they keep, what they say, what they draw."""

import dataclasses
import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from rich.console import Console
from typer.testing import CliRunner

from gen.cost import sweep, technology
from golden import dac, datasets, effects, network
from golden.convnet import ConvNet
from golden.datasets import Sequences
from golden.datasets.sets import SETS
from golden.errors import WordlineError
from golden.levels import METHODS
from golden.presets import PRESETS, Recipe
from golden.program import Program
from tests.gen.test_ppa import ANALOG, DIGITAL
from tests.gen.test_synth import needs_tools
from tests.golden.test_data import idx_bytes, mnist_files, put
from tests.helpers import random_program, small
from tests.wordline.test_cli import here, refused
from wordline import studies
from wordline.cli import commands
from wordline.cli.app import terminal
from wordline.jobs import Here, Runner
from wordline.studies import (
    attack_runs,
    chip_runs,
    common,
    defence,
    dni,
    efficiency,
    efficiency_report,
    efficiency_sizes,
    faults,
    image_runs,
    images,
    levels,
    noise,
    runs,
    tolerance,
    votes,
)

ROOT = Path(__file__).parents[2]


def words(table):
    """A table as text, wide enough for all of it."""
    console = Console(width=400, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(table)
    return console.export_text()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One folder of jobs for all studies here, as users have it."""
    return tmp_path_factory.mktemp("studies")


def study(monkeypatch, folder, name, settings, **options):
    """A study with other settings: twice, the second time from what it kept."""
    monkeypatch.setattr(studies.module(name), "STUDY", settings)
    said = []
    runner = Runner(folder / "jobs", lambda *told: said.append(told), **options)
    results = studies.run(name, folder / name, runner)
    assert said
    made = {path.name: path.read_bytes() for path in (folder / name).iterdir()}
    drawn = [name for name in made if name.startswith("figure") and name.endswith(".svg")]
    assert set(made) == {"results.json", "table.md", "figure.svg", *drawn}
    before = sorted((folder / "jobs").glob("*.json"))
    assert studies.run(name, folder / name, runner) == results
    assert sorted((folder / "jobs").glob("*.json")) == before
    assert made == {path.name: path.read_bytes() for path in (folder / name).iterdir()}
    assert json.loads(made["results.json"]) == results
    for row in results["claims"]:
        assert {"name", "goal", "ours", "anchor", "unit", "met"} <= set(row)
    drawing = " ".join(" ".join(ElementTree.fromstring(made[n]).itertext()) for n in drawn)
    assert any(word in drawing for word in ("accuracy", "gain", "energy of an operation"))
    return results, made["table.md"].decode(), drawing


# Vowels, which are in the project

PLACED = {"pre-activations": (0.0,), "product": (0.0,), "every": (0.0,)}
FEW = dataclasses.replace(dni.VOWELS[0], clean=12, noisy=6, quantised=3, trained=PLACED)
RELU = {"cell": "rnn", "activation": "relu", "passes": 2, "clean": 4, "noisy": 3, "quantised": 2}


@pytest.mark.slow
def test_dni_in_small(monkeypatch, shared):
    settings = dni.DniStudy(
        (FEW, dataclasses.replace(FEW, cell="rnn", clean=2, noisy=1, quantised=0)),
        (dataclasses.replace(FEW, **RELU, trained={"every": (0.0,)}),),
        seeds=(0,),
        tested=(None, 0.0),
        votes=4,
        plain_votes=2,
        unit_votes=2,
        chip="vowels",
        rtl=(None, 0.0),
    )
    results, table, drawing = study(monkeypatch, shared, "dni", settings)
    places = [
        (row["cell"], row["bits"], row["placement"], row["trained_db"]) for row in results["rows"]
    ]
    assert len(places) == len(set(places)) == 9 + 6 + 9
    place = {"cell": "lstm", "bits": "float", "placement": "pre-activations"}
    plain, noisy = (dni.find(results["rows"], trained_db=t, **place) for t in (None, 0.0))
    assert dni.at(plain, None)["one"]["mean"] > 80  # chance is 11: held-out data
    assert dni.at(noisy, 0.0)["one"]["mean"] > dni.at(plain, 0.0)["one"]["mean"]
    assert dni.at(noisy, 0.0)["votes"] == 4 and "votes" not in dni.at(noisy, None)
    # Noise relative to each unit's own power is other noise, of the same networks.
    assert dni.at(noisy, 0.0, "unit")["one"] != dni.at(noisy, 0.0)["one"]
    assert all(test["power"] == "layer" for test in plain["tests"])
    memory = [(row["cell"], row["bits"], row["trained_db"]) for row in results["memory"]]
    assert memory == [
        ("rnn, relu", bits, trained) for bits in ("float", "4/4/4") for trained in (None, 0.0)
    ]
    assert "moves a step" in table and "log2(32 x 4)" in drawing
    # The hardware's own noise, in golden and in the Verilog; no macro has noise on every vector.
    chip = {(row["cell"], row["placement"], row["tested_db"]): row for row in results["chip"]}
    assert set(chip) == {
        *(("lstm", place, snr) for place in ("pre-activations", "product") for snr in (None, 0.0)),
        *(("lstm", "every", None), ("rnn, relu", "every", None)),
    }
    for row in chip.values():
        assert row["verilog"]["mismatches"] == 0 and row["verilog"]["values_compared"] > 1000
        assert round(row["verilog"]["rtl"], 4) == row["golden"]["seeds"][0]
    loud, quiet = (chip["lstm", "product", snr]["golden"]["mean"] for snr in (0.0, None))
    assert loud < quiet
    longer = dni.find(results["rows"], trained_db="longer", **place)
    assert dni.at(longer, None) != dni.at(plain, None) and "none, as long" in table
    # Without noise, the placement of a plain network's noise means nothing.
    other = dni.find(results["rows"], trained_db=None, **place | {"placement": "every"})
    assert dni.at(other, None) == dni.at(plain, None)
    assert dni.at(other, 0.0)["one"]["mean"] < dni.at(plain, 0.0)["one"]["mean"] - 20
    assert "tested: 0 dB" in table and "signal-to-noise ratio of the test" in drawing
    # What is asked for is asked of strokes; the Verilog and ReLU are told of any data.
    assert {claim["name"][:3] for claim in results["claims"]} == {"vow", "RTL"}


def test_what_dni_claims_of_strokes():
    value = {"mean": 93.0, "spread": 0.5, "seeds": [93.0]}
    plain = {"tested_db": 0.0, "power": "layer", "one": value | {"mean": 70.0}}
    voted = {"tested_db": 0.0, "power": "layer", "one": value, "votes": 4, "majority": value}
    voted["sum"] = value | {"mean": 95.0}
    unit = voted | {"power": "unit", "sum": value | {"mean": 90.0}}
    place = {"dataset": "strokes", "cell": "lstm", "bits": "float"}
    place["placement"] = "pre-activations"
    rows = [place | {"trained_db": None, "tests": [plain]}]
    rows.append(place | {"trained_db": 0.0, "tests": [voted, unit]})
    found = dni.STUDY._claims(rows)
    assert [(c["ours"], c["goal"], c["met"]) for c in found] == [
        (70.0, None, None),
        (93.0, None, None),
        (95.0, 94.0, True),
        (93.0, None, None),
        (90.0, None, None),
    ]
    assert found[3]["name"].endswith("injected, 0 dB of each unit")
    voted["sum"] = value
    assert not dni.STUDY._claims(rows)[-1]["met"]


def text(folder):
    """A folder of data with a short text of five characters."""
    words = {"train": "banana band " * 120, "valid": "b", "test": "banana band " * 10}
    files = {f"{part}.txt": text.encode() for part, text in words.items()}
    SETS["text"].take(put(folder / "mine", files), folder / "data")
    return folder / "data"


@pytest.mark.slow
def test_tolerance_in_small(monkeypatch, shared, tmp_path):
    task = dataclasses.replace(tolerance.VOWELS, float_epochs=12, epochs=4, bits=(2, 4))
    of_text = tolerance.Text("text-char", 8, 6, 3, 2, 0.01, 0.005, 6, {"rows": 12, "columns": 16})
    settings = tolerance.ToleranceStudy(
        (task,), (of_text,), seeds=(0, 1), adc_lsb=(0.0, 4.0), weight=(0.0, 0.4), chips=2
    )
    results, table, drawing = study(
        monkeypatch, shared, "tolerance", settings, data_dir=text(tmp_path)
    )
    (row,), (words,) = results["rows"], results["texts"]
    assert row["float"] != row["float_longer"] and words["float"] != words["float_longer"]
    assert 0 < words["quantised"]["mean"] < np.log2(6)
    assert list(words["wide"]) == ["weights", "ADC", "DAC"] and "DAC: 6 bits" in table
    assert len({value["mean"] for value in (words["quantised"], *words["wide"].values())}) == 4
    # x and h apart, and columns 4 x 8 in two, of crossbars of 12 x 16; and the head.
    assert words["estimated"]["crossbars"] == 5
    assert words["estimated"]["largest_crossbar"] == [8, 16]
    lost = words["float_longer"]["mean"] - words["quantised"]["mean"]
    named = {c["name"]: c for c in results["claims"] if c["name"].startswith("text-char")}
    assert len(named) == 3 and "5 of 12 x 16" in table
    assert named["text-char, crossbars of 12 x 16: 4/4/4 bits, above float"]["ours"] == (
        pytest.approx(lost, abs=1e-3)
    )
    base = [points[1] for points in row["bits"].values()]
    assert base[0] == base[1] == base[2] and base[0]["bits"] == 4
    assert row["bits"]["ADC"][0]["mean"] < base[0]["mean"]  # 2 bits are few
    for name in ("adc", "weight"):
        clean, noisy = row[name]
        assert clean["mean"] == pytest.approx(base[0]["mean"]) and noisy["mean"] < clean["mean"] - 5
        assert 0 < row[f"{name}_one_point"] < noisy["sigma"]
        assert len(row[f"{name}_one_point_seeds"]["seeds"]) == 2
    assert "% of w_max" in table and "noise of a conversion (ADC LSB)" in drawing


@pytest.mark.slow
def test_levels_in_small(monkeypatch, shared, tmp_path):
    """One task by accuracy and one by bits, in which less is better."""
    vowels = dataclasses.replace(levels.VOWELS, float_epochs=12, epochs=3, seeds=(0, 1))
    of_text = levels.Task("text-char", 8, 12, 4, 2, 0.01, (0, 1), levels.BITS, converters=6)
    settings = levels.LevelsStudy((vowels, of_text), counts=(3, 16), noise=("pcm",), drawn=(3,))
    results, table, drawing = study(
        monkeypatch, shared, "levels", settings, data_dir=text(tmp_path)
    )
    for row in results["rows"]:
        assert len(row["points"]) == 2 * 4 * 2 and row["float"] != row["float_longer"]
        for method in METHODS:
            ideal, noisy = (levels.find(row, 16, method, noise) for noise in ("none", "pcm"))
            assert ideal["seeds"] != noisy["seeds"]
        assert len({tuple(placed["positions"]) for placed in row["placed"]}) == 4
        assert all(len(placed["positions"]) == 3 for placed in row["placed"])
        edges = np.diff(row["histogram"]["edges"])
        assert (edges * row["histogram"]["share"]).sum() == pytest.approx(1, abs=1e-3)
    accuracy, bits = results["rows"]
    assert levels.find(accuracy, 16, "k-means")["mean"] > 80  # chance is 11
    assert 0 < levels.find(bits, 16, "k-means")["mean"] < 2 < np.log2(6)
    assert len(results["claims"]) == 2 + 2 + 1
    assert "lost to 16 levels" in table and "bits a character, test set" in drawing
    assert "weight (standard deviations)" in drawing


def test_too_few_sequences_to_hold_some_out():
    few = datasets.load("vowels").train.part(torch.arange(9))
    with pytest.raises(WordlineError, match="9 sequences to train, of which one in 10"):
        runs.parts(few, 10)
    train, held = runs.parts(datasets.load("vowels").train, 10)
    assert (len(train), len(held)) == (243, 27) and runs.parts(few, 0) == (few, None)


def test_what_levels_claims():
    def row(measure, reference, values):
        points = [
            {"levels": n, "method": method, "noise": "none", "mean": v, "spread": 0, "seeds": [v]}
            | {"held": v}
            for n, found in values.items()
            for method, v in zip(METHODS, found, strict=True)
        ]
        reference = {"mean": reference, "seeds": [reference]}
        return {"dataset": measure, "measure": measure, "float_longer": reference, "points": points}

    rows = [
        row("accuracy", 98.0, {4: (95, 96, 94, 93), 16: (97.9, 97.0, 97.8, 97.5)}),
        row("bits", 2.0, {4: (2.3, 2.4, 2.2, 2.5), 16: (2.1, 2.04, 2.05, 2.06)}),
    ]
    found = levels._claims(rows)
    assert [(c["ours"], c["met"]) for c in found] == [
        (pytest.approx(-0.2), True),  # accuracy: k-means, three tenths may be lost
        (pytest.approx(-0.04), False),  # bits: Lloyd-Max, three hundredths may
        (1.0, None),
        (pytest.approx(0.1), None),
        (2, True),
    ]
    assert "16 levels (k-means)" in found[0]["name"] and "lloyd-max" in found[1]["name"]
    rows[1]["points"][2] |= {"mean": 2.35, "seeds": [2.35]}
    assert levels._claims(rows)[-1]["met"] is False
    # The way is chosen where nothing is trained or tested: that another is better in the test does
    # not count.
    rows[0]["points"][5] |= {"held": 99.0}
    chosen = levels._claims(rows)[0]
    assert "16 levels (lloyd-max)" in chosen["name"] and chosen["ours"] == pytest.approx(-1)


@pytest.mark.parametrize(
    ("means", "lost"),
    [((95, 94.5, 93.5), 0.15), ((95, 94, 90), 0.1), ((95, 95, 94.5), None), ((95, 85, 94), 0.01)],
)
def test_where_a_point_is_lost(means, lost):
    points = [
        {"sigma": 0.1 * n, "mean": mean, "seeds": [99, mean, 1]} for n, mean in enumerate(means)
    ]
    for seed in (None, 1):
        found = tolerance.one_point_lost(points, seed)
        assert found is None if lost is None else found == pytest.approx(lost)
    assert tolerance.one_point_lost(points, 0) is None


def test_votes_in_small(monkeypatch, shared):
    task = dataclasses.replace(votes.VOWELS, hidden=8, float_epochs=12, epochs=2, rtl=())
    settings = votes.VotesStudy((task,), seeds=(0, 1), votes=(1, 2, 4, 8))
    results, table, drawing = study(monkeypatch, shared, "votes", settings)
    for row in results["rows"]:
        first, last = row["points"][0], row["points"][-1]
        assert first["votes"] == 1 and first["majority"] == first["sum"]
        assert last["votes"] == 8 and last["sum"]["mean"] > first["sum"]["mean"]
    assert len(results["rows"]) == 4 and results["claims"] == []  # nothing was compared
    assert "hardware" in table and "votes K" in drawing


@pytest.mark.slow
def test_the_verilog_is_on_the_curve(monkeypatch, shared):
    """A point of either study of votes, whole: build, simulate, compare."""
    task = dataclasses.replace(votes.VOWELS, hidden=6, float_epochs=2, epochs=1, rtl=(2,))
    settings = votes.VotesStudy((task,), seeds=(0,), votes=(1, 2))
    results, _, _ = study(monkeypatch, shared, "votes", settings)
    assert len(results["rtl"]) == 4
    for point in results["rtl"]:
        assert round(point["rtl"], 4) == point["golden"]
        assert point["mismatches"] == 0 and point["values_compared"] > 100_000
    compared = sum(point["values_compared"] for point in results["rtl"])
    met = [(claim["ours"], claim["met"]) for claim in results["claims"]]
    assert met == [(0, True), (0, True), (compared, True)]


@pytest.mark.slow
def test_noise_in_small(monkeypatch, shared):
    settings = noise.NoiseStudy(
        seeds=(0,), trainings=("none",), read=(0.0, 0.4), votes=(1, 3), rtl_read=(), rtl_votes=()
    )
    results, _, drawing = study(monkeypatch, shared, "noise", settings)
    by_place = {(p["read_sigma"], p["votes"]): p for p in results["curve"]}
    assert set(by_place) == {(0.0, 1), (0.4, 1), (settings.vote_sigma, 3)}
    assert by_place[0.0, 1]["sum"]["mean"] > 95 > 70 > by_place[0.4, 1]["sum"]["mean"]
    assert by_place[0.0, 1]["sum"] == by_place[0.0, 1]["majority"]
    assert results["read_noise_lsb"]["none"]["0.4"] > 3
    rtl = {"training": "none", "seed": 0, "read_sigma": 0.4, "votes": 1, "by": "majority"}
    shown = noise.tables(results | {"rtl": [rtl | {"rtl": 51.5}]})[0]
    assert "51.50" in list(shown.columns[6].cells)
    assert "read noise of a device" in drawing and "votes K" in drawing


@pytest.mark.slow
def test_faults_in_small(monkeypatch, shared):
    settings = faults.FaultsStudy(
        **{"designs": ("vowels",), "seeds": (0,), "kinds": ("lane", "table"), "rtl": ("lane",)},
        **{"draws": 4, "shares": (0.001, 0.2), "chips": 3, "flips": 2},
    )
    results, table, drawing = study(monkeypatch, shared, "faults", settings)
    lane, entry = results["faults"]
    assert lane["lost"] > 5 > entry["lost"] and lane["chips"] == entry["chips"] == 4
    assert lane["interval"][0] < lane["lost"] < lane["interval"][1] < lane["worst"] + 100
    few, many = (row for row in results["stuck"] if row["at"] == "on")
    assert many["lost"] > 20 > few["lost"]
    assert [row["of"] for row in results["flips"]] == ["c", "h"]
    assert all(row["sequences"] == 2 * 370 for row in results["flips"])
    (point,) = results["rtl"]
    assert point["mismatches"] == 0 and point["values_compared"] > 1_000_000
    assert round(point["rtl"], 4) == point["golden"]
    assert "lane stuck at a code" in table and "accuracy lost" in drawing


def test_a_fault_s_verilog_is_equal_only_if_no_value_differs():
    results = json.loads((ROOT / "docs/studies/faults/results.json").read_text())
    results["rtl"][1]["mismatches"] = 1234
    said = "".join(map(words, faults.tables(results)))
    assert said.count("Verilog equal") == len(results["rtl"]) - 1
    assert "Verilog: 1,234 values differ" in said


def test_intervals_of_faults():
    """As in Brown, Cai and DasGupta (2001), and by hand."""
    assert faults.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 1.959964 / 3**0.5))
    assert faults.interval([4.0]) == (4.0, 0.0)
    assert faults.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert faults.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert faults.wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_the_command_tells_of_a_study(monkeypatch, tmp_path):
    """And ends with 1 where the Verilog differs."""
    row = {"dataset": "vowels", "noise": "hardware", "training": "plain"}
    point = {"votes": 1, "majority": common.over_seeds([90.0]), "sum": common.over_seeds([91.0])}
    found = {"rows": [row | {"points": [point]}], "rtl": [], "settings": {"seeds": [0, 1]}}
    asked = []

    def run(name, folder, runner, *, full):
        asked.append((name, folder, runner.folder, runner.workers, runner.device, full))
        return found | {"claims": claims}

    monkeypatch.setattr(studies, "run", run)
    monkeypatch.setattr(terminal, "console", Console(width=400))
    arguments = ["study", "votes", "--full", "--workers", "3", "--build-dir", str(tmp_path)]
    arguments += ["--device", "cpu"]
    for mismatches, status in ((0, 0), (4, 1)):
        point_ = {"rtl": 90.0, "golden": 90.0, "mismatches": mismatches, "values_compared": 9}
        claims = common.rtl_claims([point_])
        done = CliRunner().invoke(commands.app, arguments)
        assert done.exit_code == status, done.output
        assert "90.00 ± 0.00" in done.output and "RTL values that differ" in done.output
        said = " ".join(done.output.split())  # however it was wrapped
        assert ("seeds 0, 1, on cpu" in said) == (status == 0)
    folder = tmp_path / "studies"
    assert asked[0] == ("votes", folder / "votes", folder / "jobs", 3, "cpu", True)


# What runs compute


def test_a_curve_of_votes():
    """Three passes of two sequences, by hand; the lowest-numbered of equals."""
    score = torch.tensor([[[3, 1], [0, 5], [2, 1]], [[0, 1], [2, 0], [0, 9]]])
    found = runs.curve(score, torch.tensor([0, 1]))
    assert found["votes"] == [1, 2]
    assert found["one"] == pytest.approx(100 * 4 / 6)
    assert found["majority"] == [100.0, 50.0]  # a tie goes to class 0
    assert found["sum"] == [100.0, 0.0]
    assert runs.curve(score.double() / 7, torch.tensor([0, 1])) == found


@pytest.mark.parametrize("sigma", [0.05, 0.2])
def test_noise_of_weights(sigma):
    # The largest weight is less than full scale.
    levels = {"levels": [-150, -40, 0, 60, 150]}
    description = small(network={"inputs": 60, "hidden": [40]}, device=levels)
    ideal = random_program(description, 0)
    noisy = runs.weights_with_noise(ideal, sigma, torch.Generator().manual_seed(0))
    top = max(description.device.level_table)
    for a, b in zip((*ideal.layers, ideal.head), (*noisy.layers, noisy.head), strict=True):
        before, after = a.positive - a.negative, b.positive - b.negative
        assert not (b.positive * b.negative).any()  # one device of a pair is at 0
        assert after.abs().max() <= description.device.conductance_max
        inside = before.abs() < (1 - 4 * sigma) * top
        if inside.sum() > 2000:
            change = (after - before)[inside].double()
            assert change.std() == pytest.approx(sigma * top, rel=0.05)
            assert abs(change.mean()) < 0.1 * sigma * top
    again = runs.weights_with_noise(ideal, sigma, torch.Generator().manual_seed(0))
    assert torch.equal(noisy.layers[0].positive, again.layers[0].positive)


@pytest.mark.parametrize("snr_db", [6.0, 0.0])
def test_hardware_noise_of_a_ratio(snr_db):
    """ADC noise as strong, over the valid steps, as the clean pre-activations ask for."""
    description = small(network={"inputs": 9, "hidden": [12]}, adc={"bits": 6})
    ideal = random_program(description, 1)
    lengths = torch.tensor([5, 2, 4] * 20)
    data = Sequences(torch.randn(60, 5, 9), lengths, torch.zeros(60))
    data.x[~data.valid] = 1e6  # padding does not count
    noisy = runs.at_snr(ideal, data, snr_db, seed=4)
    codes = datasets_codes(ideal, data)
    clean = network.run(ideal, codes, lengths).layers[0].codes[data.valid].double()
    power = (clean + ideal.layers[0].bias / 2**description.cell.frac).square().mean()
    sigma = noisy.layers[0].adc_noise.item() / 256
    ratio = 10 * torch.log10(power / sigma**2)
    assert ratio == pytest.approx(snr_db, abs=0.05)
    assert noisy.head.adc_noise == 0 and noisy.layers[0].key.any()
    other = runs.at_snr(ideal, data, snr_db, seed=5)
    assert not torch.equal(noisy.layers[0].key, other.layers[0].key)
    assert isinstance(effects.apply(noisy, effects.Effects()), Program)


def test_hardware_noise_at_the_product():
    """Noise on every row, drawn here, makes as much on the columns as the macro's read noise."""
    description = small(network={"inputs": 9, "hidden": [12]})
    ideal = random_program(description, 1)
    data = Sequences(torch.randn(60, 5, 9), torch.tensor([5, 2, 4] * 20), torch.zeros(60))
    noisy = runs.at_snr(ideal, data, 3.0, seed=4, placement="product")
    codes = datasets_codes(ideal, data)
    trace = network.run(ideal, codes, data.lengths)
    h = trace.layers[0].h.double()
    before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], 1)
    generator = torch.Generator().manual_seed(0)
    last = h[torch.arange(60), data.lengths - 1]
    for array, program, inputs in (
        (noisy.layers[0], ideal.layers[0], [codes[data.valid].double(), before[data.valid]]),
        (noisy.head, ideal.head, [last]),
    ):
        columns = (program.positive - program.negative).double().flatten(0, 1)
        drawn = []
        for _ in range(200):
            rows = [
                torch.randn(v.shape, generator=generator, dtype=torch.float64)
                * (v.square().mean(1, keepdim=True) * 10**-0.3).sqrt()
                for v in inputs
            ]
            drawn.append((torch.cat(rows, 1) @ columns.T).square().mean())
        wanted = torch.stack(drawn).mean().sqrt()
        assert array.read_noise.item() / 16 == pytest.approx(float(wanted), rel=0.02)
        assert array.adc_noise > 0 and array.key.any()


def datasets_codes(program, data):
    return dac.encode(data.x, program.input_mean, program.input_step, program.description.dac)


# Images, of sets that are made here


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A data folder with sets like MNIST that are easily learned: a bar at one of ten places."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name in ("mnist", "fashion-mnist"):
        files = {}
        for part, count in (("train", 2600), ("t10k", 200)):
            labels = (np.arange(count) % 10).astype(np.uint8)
            x = random.integers(0, 60, (count, 28, 28), np.uint8)
            for image, label in zip(x, labels, strict=True):
                image[4 + 2 * label : 7 + 2 * label, 4:24] = 220
            files[f"{part}-images-idx3-ubyte"] = idx_bytes(x)
            files[f"{part}-labels-idx1-ubyte"] = idx_bytes(labels)
        SETS[name].take(put(folder / f"mine-{name}", files), folder / "data")
    return folder / "data"


@pytest.mark.slow
def test_images_in_small(monkeypatch, shared, pictures):
    settings = images.ImagesStudy(
        width=4, seeds=(0, 1), clean=3, noisy=(4,), parts=2, batch=16, votes=4,
        plain_votes=2, learning_rate=0.01, tested=(None, 0.0, -6.0), datasets=("mnist-rows",),
        more=({},),
    )  # fmt: skip
    results, table, drawing = study(monkeypatch, shared, "images", settings, data_dir=pictures)
    place = {(r["placement"], r["injected"]): r["tests"] for r in results["rows"]}
    assert len(place) == 4
    plain, noisy = place["pre-activations", False], place["pre-activations", True]
    assert plain[0]["one"]["mean"] > 40  # chance is 10
    assert noisy[1]["one"]["mean"] > plain[1]["one"]["mean"]
    assert noisy[1]["votes"] == 4 and plain[1]["votes"] == 2
    named = {claim["name"]: claim for claim in results["claims"]}
    voted = named["MNIST, noise on every, 0 dB: injected, 4 votes, sum"]
    assert (voted["anchor"], voted["goal"]) == (99.5, 98.8)
    assert named["MNIST, noise on every, 0 dB: plain training"]["met"] is None
    assert "MNIST" in table and "paper 21.1" in drawing


def test_a_training_of_images_goes_on_where_its_part_ended(monkeypatch, tmp_path):
    """The optimiser too; the kept network is the mean of the last ones."""
    x, labels = torch.rand(40, 1, 28, 28), torch.arange(40) % 10
    parts = dict.fromkeys(("train", "held", "test"), (x, labels))
    monkeypatch.setattr(image_runs, "images", lambda here, dataset: parts)
    steps, sizes = [], []
    forward = ConvNet.forward

    def seen(self, batch, noise=None, **options):
        steps.append(noise and noise.snr_db)
        sizes.append(len(batch))
        return forward(self, batch, noise, **options)

    monkeypatch.setattr(ConvNet, "forward", seen)
    fit = {"epochs": 2, "batch": 20, "learning_rate": 0.01, "of": 4, "passes": 3, "shift": 2}
    fit |= {"least_db": 4.0, "average": 0.5}
    given = {"dataset": "x", "width": 4, "seed": 0, "snr_db": 0.0}
    image_runs.train(Here(tmp_path, "first", tmp_path, "cpu"), fit=fit, **given)
    # Eight batches in all, two parts: 10 dB, falling, but at most 4, to 0 in the middle.
    assert steps[:4] == [4.0, 4.0, 4.0, 2.5] and sizes[:4] == [60] * 4
    del steps[:]
    fit["done"] = 2
    second = Here(tmp_path, "second", tmp_path, "cpu")
    image_runs.train(second, fit=fit, start="first", **given)
    assert steps[:4] == [0.0] * 4
    first, last = (safetensors.torch.load_file(second.file(key)) for key in ("first", "second"))
    assert first["adam:0:step"] == 4 and last["adam:0:step"] == 8
    assert not torch.equal(last["first.weight"], last["now:first.weight"])
    network_ = image_runs.trained(second, "second", 4)
    assert torch.equal(network_.first.weight, last["first.weight"])
    # What a teacher says is fitted as well as the labels.
    alone, taught = (
        image_runs.train(
            Here(tmp_path, name, tmp_path, "cpu"), fit=fit | {"done": 0}, teachers=teachers, **given
        )
        for name, teachers in (("alone", []), ("taught", ["second"]))
    )
    files = (safetensors.torch.load_file(second.file(key)) for key in ("alone", "taught"))
    one, other = (file["now:head.weight"] for file in files)
    assert alone and taught and not torch.equal(one, other)


def test_half_of_the_images_are_mirrored(monkeypatch, tmp_path):
    x = torch.rand(1, 1, 28, 28).expand(200, -1, -1, -1)
    parts = dict.fromkeys(("train", "held", "test"), (x, torch.arange(200) % 10))
    monkeypatch.setattr(image_runs, "images", lambda here, dataset: parts)
    seen, forward = [], ConvNet.forward

    def looked_at(self, batch, noise=None, **options):
        seen.append((batch, torch.is_autocast_enabled("cpu")))
        return forward(self, batch, noise, **options)

    monkeypatch.setattr(ConvNet, "forward", looked_at)
    fit = {"epochs": 1, "batch": 200, "learning_rate": 0.01, "mirror": True, "bfloat16": True}
    given = {"dataset": "x", "width": 4, "seed": 0, "fit": fit}
    image_runs.train(Here(tmp_path, "key", tmp_path, "cpu"), **given)
    (batch, autocast), (test, without) = seen[0], seen[-1]
    mirrored = [torch.equal(image, x[0].flip(2)) for image in batch]
    assert all(m or torch.equal(image, x[0]) for m, image in zip(mirrored, batch, strict=True))
    assert 70 < sum(mirrored) < 130
    assert autocast and not without and torch.equal(test, x[: len(test)])


def test_images_are_moved_by_whole_pixels():
    torch.manual_seed(0)
    x = torch.zeros(60, 1, 28, 28)
    x[:, 0, 10, 12] = 1.0
    moved = image_runs._moved(x, 2)
    assert moved.shape == x.shape and torch.equal(moved.sum((1, 2, 3)), torch.ones(60))
    _, _, down, right = moved.nonzero().T
    assert set(down.tolist()) == {8, 9, 10, 11, 12} and set(right.tolist()) == set(range(10, 15))
    assert len({*zip(down.tolist(), right.tolist(), strict=True)}) > 10  # each by itself
    assert image_runs._moved(x, 0) is x


@pytest.mark.slow
def test_defence_in_small(monkeypatch, shared, pictures):
    pytest.importorskip("art")
    settings = defence.DefenceStudy(
        width=4, seeds=(0, 1), plain=1, epochs=1, batch=100, learning_rate=0.01,
        tested=(10.0, 30.0), votes=2, white=50, expectation=2,
    )  # fmt: skip
    monkeypatch.setitem(defence.ATTACKS, "PGD", defence.ATTACKS["PGD"] | {"steps": 2})
    results, table, drawing = study(monkeypatch, shared, "defence", settings, data_dir=pictures)
    assert [(row["source"], row["attack"]) for row in results["rows"]] == [
        (source, attack) for source in ("plain", "adversarial") for attack in ("FGSM", "PGD")
    ]
    for row in results["rows"]:
        for target in defence.TARGETS:
            held = {p["snr_db"]: p["mean"] for p in row["held"][target]}
            assert set(held) == {None, 10.0, 30.0}
            best = row["chosen"][target]
            assert held[best] == max(held[10.0], held[30.0])  # not by the test images
        both, test = row["compared"]["both"], row["test"]
        pairs = zip(test["with"]["noisy"]["seeds"], test["without"]["quiet"]["seeds"], strict=True)
        assert both["seeds"] == pytest.approx([a - b for a, b in pairs], abs=1e-3)
        assert both["interval"][0] <= both["mean"] <= both["interval"][1]
    assert [(row["target"], row["snr_db"] is None) for row in results["white"]] == [
        *(("without", True), ("without", False), ("with", True), ("with", False))
    ]
    assert "paper: +0.5" in drawing and "PGD" in table and "McNemar" in table


def test_networks_are_compared_on_the_same_images():
    """Counts by hand: 3 images are right in the first alone, 1 in the second alone."""
    first, second = "1110110000", "0000111000"
    found = defence.paired([(first, second)] * 2)
    assert found["mean"] == 20.0 and found["seeds"] == [20.0, 20.0]
    # McNemar: of 4 images that differ, 3 or more one way, either way.
    assert found["each"] == [pytest.approx(2 * (4 + 1) / 16)] * 2
    # The second seed has the same answers: it says nothing new of the images.
    one = [1, 0, 0, 0, 1, 1, -1, 0, 0, 0]
    from scipy.stats import ttest_1samp  # slow to import, in every process that collects tests

    wanted = ttest_1samp(np.array(one) * 100.0, 0)
    assert found["p"] == pytest.approx(wanted.pvalue)
    low, high = wanted.confidence_interval()
    assert found["interval"] == pytest.approx([low, high], abs=1e-3)
    assert found["trained"] == [20.0, 20.0]
    same = defence.paired([("10", "10"), ("01", "01")])
    assert same["mean"] == 0 and same["p"] == 1.0 and same["interval"] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seeds": (0,)}, "give two seeds"),
        ({"attacks": ("FGSM",)}, "that of PGD: give that attack too"),
        ({"votes": 12}, "votes = 12 is no power of 2"),
    ],
)
def test_settings_of_a_defence_that_could_not_be_told(changes, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(defence.STUDY, **changes)


def test_a_gain_counts_where_it_is_not_chance():
    row = {"attack": "PGD", "source": "plain", "chosen": {"with": 20.0}}
    sure = {"mean": 1.0, "spread": 0.1, "seeds": [0.9, 1.1], "p": 1e-5}
    sure |= {"interval": [0.5, 1.5], "trained": [0.1, 1.9]}
    for found, met in (
        (sure, True),
        (sure | {"p": 0.02}, False),
        (sure | {"seeds": [2.1, -0.1]}, False),
        (sure | {"mean": 0.4}, False),
    ):
        made = defence._claim(row | {"compared": {"both": found}})
        assert made["met"] is met and made["p"] == found["p"]


def test_attacks_stay_within_their_bound_and_do_harm(shared, pictures):
    pytest.importorskip("art")
    here = Here(shared, "none", pictures, "cpu")
    parts = image_runs.images(here, "mnist-rows")
    assert [len(parts[p][1]) for p in ("train", "held", "test")] == [600, 2000, 200]
    x, labels = parts["test"]
    torch.manual_seed(0)
    net = ConvNet(4)
    clean = torch.nn.functional.cross_entropy(net(x), labels).item()
    for how in defence.ATTACKS.values():
        made = attack_runs.Attack(net, seed=0, **how | {"eps": 0.1, "step": 0.05})
        bad = made(x, labels)
        assert bad.shape == x.shape and bad.min() >= 0 and bad.max() <= 1
        assert 0.05 < (bad - x).abs().max() <= 0.1 + 1e-6
        assert (made(x, labels, 0.5) - x).abs().max() <= 0.05 + 1e-6  # half of the bound
        assert (made(x, labels) - x).abs().max() > 0.05
        harm = torch.nn.functional.cross_entropy(net(bad), labels).item()
        assert harm > clean + 1e-3


# What all share


def test_claims():
    met = common.claim("a", 94.2, "%", goal=94, anchor=89.6, spread=0.1)
    assert met["met"] and met["at_least"]
    missed = common.claim("b", 3, "values", goal=0, least=False)
    assert missed["met"] is False
    shown = words(common.claims_table({"claims": [met, missed]}))
    assert "94.20 ± 0.10 %" in shown and "+4.60" in shown and ">= 94" in shown
    assert "<= 0" in shown and "MISSED" in shown
    value = common.over_seeds([1.0, 3.0])
    assert (value["mean"], value["spread"]) == (2.0, pytest.approx(2**0.5))
    assert common.over_seeds([1.0])["spread"] == 0.0


def test_claims_of_the_verilog_can_be_missed():
    point = {"rtl": 90.0, "golden": 90.0, "mismatches": 0, "values_compared": 5}
    assert [claim["met"] for claim in common.rtl_claims([point])] == [True, True, True]
    wrong = [point | {"rtl": 80.0, "mismatches": 7, "values_compared": 0}]
    found = [(claim["ours"], claim["met"]) for claim in common.rtl_claims(wrong)]
    assert found == [(1, False), (7, False), (0, False)]
    assert common.rtl_claims([]) == []


def test_every_study_is_known_and_can_be_told(monkeypatch, tmp_path):
    for name, known in studies.STUDIES.items():
        code = studies.module(name)
        assert known.takes and known.full and code.STUDY.__doc__.strip()
        for settings in (code.STUDY, code.FULL):
            assert set() < set(studies.reads(settings)) <= set(datasets.TASKS)
            assert studies.seeds(dataclasses.asdict(settings))[0] == 0
    assert "strokes" in studies.reads(votes.FULL)
    assert studies.seeds(dataclasses.asdict(levels.STUDY)) == tuple(range(8))
    assert studies.reads(tolerance.STUDY) == ("vowels", "mnist-rows", "kjv-char")
    monkeypatch.setattr(terminal, "console", Console(width=250))
    listed = here("study", "--list", folder=tmp_path)
    assert listed.returncode == 0
    assert all(name in listed.stdout for name in studies.STUDIES)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "Unknown study 'nothing'; choose noise, dni"),
        (["dni"], "The data set mnist is not in data/; `wordline data mnist` fetches it."),
        (["images"], "The data set mnist is not in data/"),
        (["noise", "--device", "cuda:9"], "The device 'cuda:9' cannot be used"),
    ],
)
def test_mistakes_are_sentences(arguments, sentence, tmp_path):
    assert sentence in refused("study", *arguments, folder=tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_a_study_without_the_attacks_says_what_to_install(monkeypatch):
    found = studies.cache.versions() | {"adversarial-robustness-toolbox": "none"}
    monkeypatch.setattr(studies.cache, "versions", lambda: found)
    with pytest.raises(WordlineError, match=r"defence needs adversarial-.*wordline.attacks"):
        studies.known("defence").check()
    studies.known("images").check()


def test_training_of_images_leaves_scores_without_noise(monkeypatch, pictures, tmp_path):
    seen, forward = [], ConvNet.forward

    def watched(self, x, injection=None, *, noisy_head=True):
        seen.append((injection is not None, noisy_head))
        return forward(self, x, injection, noisy_head=noisy_head)

    monkeypatch.setattr(ConvNet, "forward", watched)
    fit = {"epochs": 1, "batch": 100, "learning_rate": 0.01}
    given = {"dataset": "mnist-rows", "width": 4, "fit": fit, "seed": 0, "snr_db": 0.0}
    image_runs.train(Here(tmp_path, "key", pictures, "cpu"), **given)
    assert {head for noisy, head in seen if noisy} == {False}


def test_scores_that_training_fits():
    wanted = image_runs.wanted_scores(torch.tensor([3, 0]))
    assert wanted[0, 3] == 1 and wanted[1, 0] == 1
    assert torch.allclose(wanted.sum(1), torch.zeros(2), atol=1e-6)
    assert torch.allclose(wanted[0, :3], torch.full((3,), -1 / 9))


def test_few_images_are_too_few(tmp_path):
    SETS["mnist"].take(put(tmp_path / "mine", mnist_files()[0]), tmp_path)
    with pytest.raises(WordlineError, match=r"mnist-rows has 12 images to train, of which 2,000"):
        image_runs.images(Here(tmp_path, "", tmp_path, "cpu"), "mnist-rows")


# Gates, and what has been published

PARTS = {"layer_0.gates": 60.0, "head.scores": 20.0, "axi.control": 10.0, "clock net": 10.0}


class Counted:
    """A runner whose jobs were done."""

    def run(self, stage, jobs):
        sides = {"analog": ANALOG, "digital": DIGITAL}
        if stage == "train":
            return [{"float": 90.0, "clean": 90.0} for _ in jobs]
        if stage == "estimate sizes":
            return [chip_runs.estimated(None, **job.arguments) for job in jobs]
        found = []
        for job in jobs:
            counted = dataclasses.replace(sides[job.arguments["side"]], energy=PARTS, area=PARTS)
            if job.arguments["side"] == "digital":
                energy = PARTS | {"layer_0.array.macro.macro": 1000.0}
                counted = dataclasses.replace(counted, energy=energy)
            found.append({"counted": dataclasses.asdict(counted), "worth": {"accuracy": 90.0}})
        return found


SMALL_SIZES = (efficiency_sizes.Size(4, 4, (2,)), efficiency_sizes.Size(12, 8, (2, 8)))


def test_what_efficiency_says(tmp_path):
    settings = dataclasses.replace(efficiency.STUDY, sizes=SMALL_SIZES)
    results = json.loads(json.dumps(settings.run(Counted())))
    claims = {row["name"]: row for row in results["claims"]}
    # Four rows: highest over sizes, asked for with typical figures, told with those of silicon.
    rows = results["sizes"]["rows"]
    assert [(row["rows"], row["columns"], row["adcs"]) for row in rows] == [
        *((8, 16, 2), (20, 32, 2), (20, 32, 8))
    ]
    for number in "1234":
        mine = [claim for name, claim in claims.items() if name.startswith(f"{number}. ")]
        assert {claim["name"].rpartition(", ")[2] for claim in mine} == {"typical", "silicon"}
    ratios = [sweep.ratio(r, "accelerator / twin", "tops_per_mm2", "typical") for r in rows]
    best = next(
        claim
        for name, claim in claims.items()
        if name.startswith("3. TOPS/mm2, accelerator / twin") and name.endswith("typical")
    )
    assert best["ours"] == round(max(ratios), 4) and best["goal"] == 40
    found = next(
        row
        for row in results["sizes"]["best"]
        if (row["ratio"], row["measure"]) == ("arrays / twin's", "tops_per_watt")
    )
    assert found["reached"]["typical"] == {"rows": 8, "columns": 16, "adcs": 2}
    assert len(found["decides"]) == 3
    assert claims["A-SSCC 2025: TOPS/W from the figures of silicon, factor from measured"]["met"]
    for preset in ("vowels",):
        watt = claims[f"{preset}: TOPS/W, over the digital twin's"]
        area = claims[f"{preset}: TOPS/mm2, over the digital twin's"]
        assert (watt["anchor"], area["anchor"]) == (2.4, 40)
        for row in (watt, area):
            lowest, highest = (claims[f"{row['name']}, {end}"] for end in ("lowest", "highest"))
            assert lowest["ours"] < row["ours"] < highest["ours"]
        assert claims[f"{preset}: steps in gates, equal to golden"]["ours"] == ANALOG.steps
        chipmunk = claims[f"{preset}: TOPS/W, over Chipmunk's"]["ours"]
        ours = results["rows"][0]["analog"]["tops_per_watt"]["typical"]
        assert chipmunk == pytest.approx(
            ours / 3.08 / 4 * technology.scale(65, 32).energy, abs=1e-4
        )
        assert f"{preset}: TOPS/mm2, over EdgeDRNN's" not in claims  # its area is not known
        assert 0 < claims[f"{preset}: TOPS/W lost to another ADC bit"]["ours"] < 100
    said = "".join(map(words, efficiency.tables(results)))
    assert "multipliers and adders" in said and "dac_energy" in said and "HERMES" in said
    assert "no size" in said and "20 x 32, 8 ADCs" in said and "A-SSCC 2025" in said
    efficiency.figures(results, tmp_path)
    drawn = sorted(tmp_path.glob("figure*.svg"))
    drawing = " ".join(" ".join(ElementTree.parse(path).getroot().itertext()) for path in drawn)
    assert "ISAAC" in drawing and "scores and class" in drawing and "vowels" in drawing


def test_published_accelerators_at_the_same_bits_and_node():
    anchors = {anchor.name: anchor for anchor in efficiency.ANCHORS}
    isaac = anchors["ISAAC"].normalised()
    assert isaac == pytest.approx({"tops_per_watt": 16 * 0.63, "tops_per_mm2": 16 * 0.48})
    to = technology.scale(14, 32)  # a conductance counts as four bits
    assert anchors["HERMES"].normalised() == pytest.approx(
        {"tops_per_watt": 2 * 10.5 / to.energy, "tops_per_mm2": 2 * 1.59 / to.area / to.delay}
    )
    assert {name for name, anchor in anchors.items() if anchor.digital} == {
        *("digital in-memory", "Chipmunk", "TPUv1", "T4", "EdgeDRNN")
    }


def test_every_part_of_a_design_has_a_kind():
    parts = {
        **{"cells": 1.0, "ADCs": 1.0, "memories": 1.0, "clock net": 1.0},
        **{"layer_0.gates": 1.0, "layer_1": 2.0, "layer_0.dac": 1.0, "head.dac": 2.0},
        **{"layer_0.array.readout.queue": 1.0, "head.array.level_table": 2.0},
        **{"head.array.macro.macro": 1.0, "layer_0.array.macro": 2.0},
        **{"head": 1.0, "head.decision": 2.0, "switch": 1.0, "axi": 2.0, "axi.control": 3.0},
    }
    assert efficiency_report.by_kind(parts) == {
        **{"cells": 1, "ADCs": 1, "arrays": 3, "memories": 1, "gates": 3, "dac": 3, "readout": 3},
        **{"bus": 6, "clock net": 1, "scores": 3},
    }


@pytest.mark.slow
@needs_tools
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus is not installed")
def test_efficiency_in_small(monkeypatch, shared):
    recipe = PRESETS["vowels"]
    net = {"hidden": [4], "inputs": 12, "classes": 9}
    tiny = Recipe(
        recipe.description.replace(network=net, cell={"gate_bits": 4, "state_index_bits": 4}),
        dataclasses.replace(recipe.training, float_epochs=2, epochs=1),
    )
    monkeypatch.setitem(PRESETS, "tiny", tiny)
    settings = efficiency.EfficiencyStudy((efficiency.Task("tiny", 1),), sizes=SMALL_SIZES[:1])
    results, table, drawing = study(monkeypatch, shared, "efficiency", settings)
    (row,) = results["rows"]
    assert row["steps"] > 1 and row["analog"]["energy_pj"]["ADCs"] > 0
    assert 1 < row["ratio"]["tops_per_watt"]["typical"] < 20
    assert "tiny" in table and "tiny" in drawing
    with pytest.raises(WordlineError, match="Icarus Verilog is not installed here"):
        monkeypatch.setattr(shutil, "which", lambda name: name if name == "sta" else None)
        studies.known("efficiency").check()
