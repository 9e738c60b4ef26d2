"""The benchmark: that it measures what it says and judges it rightly. Nothing here times."""

import json

import pytest
import torch
from rich.console import Console

from golden import native, presets
from golden.description import Description
from golden.errors import WordlineError
from golden.injection import Injection
from golden.parameters import Network
from wordline import bench
from wordline.bench import common, emission, inference, report, scaling, simulation
from wordline.bench.common import Workload
from wordline.cli import studies as commands

TINY = Workload(3, 4, 2, 5)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Small workloads, each run as often as it takes to see it run."""
    monkeypatch.setattr(common, "WORKLOADS", (TINY,))
    whole = common.fastest
    monkeypatch.setattr(
        common, "fastest", lambda runs, **more: whole(runs, **more | {"seconds": 0.0})
    )


FOUND = {"claims": [common.claim("golden / float", 500.0, 250.0, 1000.0, "steps/s")], "seed": 0}


def ignore(*_):
    pass


def result(ratio, **changes):
    """What peers/run.py says of a path."""
    workload = {"inputs": 3, "hidden": 4, "steps": 2, "batch": 5}
    fields = {"peer": "aihwkit", "mode": "inference", "noise": False, "converters": True}
    return fields | {"workload": workload, "ratio_to_float_lstm": ratio} | changes


def test_a_claim_knows_whether_more_is_better():
    def met(goal, ours, unit):
        return common.claim("x", goal, ours, None, unit)["met"]

    assert met(5, 6, "steps/s") and not met(5, 4, "steps/s")
    for unit in ("s", "ms", "GiB", "values"):
        assert met(5, 4, unit) and not met(5, 6, unit)
    assert met(0, 0, "values") and not met(0, 1, "values")


def test_a_network_is_emitted_in_a_process_of_its_own(tmp_path):
    """By a command that no refactoring tool sees."""
    description = TINY.description
    seconds, memory = common.emitted_apart(description, tmp_path)
    assert seconds > 0.1 and 0.05 < memory < 2
    assert (tmp_path / f"{description.name}.v").exists()


def test_what_is_compared_takes_turns():
    turns = []
    runs = {name: lambda name=name: turns.append(name) for name in "abc"}
    found = common.fastest(runs)
    assert turns == list("abc") * 6  # the first turn is not timed
    assert all(
        times["turns"] == 5 and times["least"] <= times["median"] for times in found.values()
    )


def test_golden_and_training_beside_their_anchors(tmp_path):
    torch.set_num_threads(2)
    try:
        results = bench.run(["golden", "training"], tmp_path, None, ignore, full=True)
        assert (results["threads"], torch.get_num_threads()) == (1, 2)
    finally:
        torch.set_num_threads(1)
    names = [claim["name"] for claim in results["claims"]]
    forced = [name for name in names if name.startswith("golden's layer")]
    have = {"matrix unit": native.has_tiles(), "VNNI": native.has_vnni()}
    have |= {"AVX2": native.has_lanes(), "PyTorch": True}
    ways = [way for way, there in have.items() if there]
    assert forced == [
        f"golden's layer, {way}, I3 H4 T2 B5 / nn.LSTM "
        + ("kept to AVX2" if way == "AVX2" else "float32")
        for way in ways
    ]
    of_layer = next(claim for claim in results["claims"] if claim["name"] == forced[-1])
    assert of_layer["goal"] == pytest.approx(0.5 * of_layer["anchor"], rel=1e-3)
    assert [name for name in names if name not in forced] == [
        "golden, I3 H4 T2 B5 / nn.LSTM float32",
        "golden, read noise, I3 H4 T2 B5 / nn.LSTM float32",
        "training, no noise, I3 H4 T2 B5 / nn.LSTM float32",
        "training, 3 dB, I3 H4 T2 B5 / nn.LSTM float32",
        "training, read noise, I3 H4 T2 B5 / nn.LSTM float32",
        "training, 3 dB, every, I3 H4 T2 B5 / nn.LSTM float32",
    ]
    (golden,), (training,) = results["golden"], results["training"]
    for name, times in golden["seconds"].items():
        speed = golden["steps_per_second"][name]
        assert speed == pytest.approx(TINY.steps * TINY.batch / times["least"])
    quiet = results["claims"][0]
    assert quiet["anchor"] == pytest.approx(golden["steps_per_second"][common.ANCHOR], rel=1e-3)
    goal = inference.GOLDEN_GOALS[results["multiplies"]][0]
    assert quiet["goal"] == pytest.approx(goal * quiet["anchor"], rel=1e-3)
    assert results["claims"][1]["goal"] == pytest.approx(0.7 * quiet["goal"], rel=1e-3)
    noisy = results["claims"][4 + len(forced)]
    assert noisy["anchor"] == pytest.approx(1e3 * training["seconds"]["float"]["least"], rel=1e-3)
    assert noisy["goal"] == pytest.approx(1.5 * noisy["anchor"], rel=1e-3)
    json.dumps(results)
    assert {"versions", "seed", "threads", "machine"} <= set(results)


def test_read_noise_is_on_where_it_is_said_to_be():
    subject = common.Subject.of(TINY.description, TINY.batch, TINY.steps)
    quiet, noisy = subject.program(), subject.program(common.READ_NOISE)
    assert not any(part.read_noise.any() for part in (*quiet.layers, quiet.head))
    assert all(part.read_noise.any() for part in (*noisy.layers, noisy.head))
    subject.step(injection=Injection(snr_db=3.0))
    assert all(bool(p.grad.abs().sum() > 0) for p in subject.trainable.parameters())


def test_peers_are_compared_by_what_they_are_to_the_float_lstm(tmp_path):
    """The best path that does the same work: converters, the same noise, the same workload."""
    peers = [
        result(6.0),
        result(5.0),
        result(2.0, converters=False),
        result(3.0, mode="training"),
        result(1.0, peer="torch"),
        result(1.5, workload={"inputs": 4, "hidden": 4, "steps": 2, "batch": 5}),
        result(8.0, noise=True),
    ]
    path = tmp_path / "peers.json"
    path.write_text(json.dumps({"results": peers}))
    claims = bench.run(["golden"], tmp_path, path, ignore)["claims"]
    of_peers = [claim for claim in claims if claim["name"].endswith("/ aihwkit")]
    anchors = [claim["anchor"] for claim in claims if claim["name"].endswith("float32")]
    for claim, anchor, ratio in zip(of_peers, anchors, (5.0, 8.0), strict=True):
        assert claim["anchor"] == pytest.approx(anchor / ratio, rel=1e-3)
        assert claim["goal"] == pytest.approx(4 * anchor / ratio, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read .No such file or directory.; run `make peers`"),
        ("{", "is not what peers/run.py writes; run `make peers`"),
        ('{"results": []}', "lack aihwkit for I3 H4 T2 B5; run `make peers`"),
    ],
)
def test_peers_that_are_missing_are_named(tmp_path, text, sentence):
    path = tmp_path / "peers.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(WordlineError, match=sentence):
        bench.run(["golden"], tmp_path, path, ignore)


def test_an_unknown_part_is_named(tmp_path):
    with pytest.raises(WordlineError, match="benchmark 'x'; choose golden, training"):
        commands.bench_(["golden", "x"], None, False, tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_command_writes_results_and_a_table(tmp_path, capsys):
    commands.bench_(["training"], None, False, tmp_path)
    results = json.loads((tmp_path / "bench" / "results.json").read_text())
    assert len(results["claims"]) == 3
    assert (tmp_path / "bench" / "figure.svg").stat().st_size > 1000
    assert "claims, and every figure" in capsys.readouterr().out


def test_peers_that_were_measured_are_taken_by_themselves(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(bench, "run", lambda *arguments, full: given.append(arguments[2]) or FOUND)
    commands.bench_(["golden"], None, False, tmp_path)
    (tmp_path / "bench" / "peers.json").write_text("{}")
    commands.bench_(["golden"], None, False, tmp_path)
    commands.bench_(["golden"], tmp_path / "mine.json", False, tmp_path)
    assert given == [None, tmp_path / "bench" / "peers.json", tmp_path / "mine.json"]


def test_the_table_says_what_was_missed():
    name = "training, 3 dB, B512 / nn.LSTM float32"
    results = {
        "claims": [
            common.claim("golden, read noise, small / float", 500.0, 250.0, 1000.0, "steps/s"),
            common.claim("emission, big", 60, 30.0, None, "s"),
            common.claim(name, 12.0, 10.0, 10.0, "ms"),
        ]
    }
    console = Console(width=80, record=True)
    console.print(report.table(results))
    lines = console.export_text().splitlines()
    _, missed, met, long = (line for line in lines if line.startswith("│"))
    assert [cell.strip() for cell in long.strip("│").split("│")] == [
        "training, 3 dB",
        "B512",
        "1.00 x nn.LSTM",
        "<= 1.2 x",
        "met",
    ]
    assert "0.25" in missed and ">= 0.5" in missed and "MISSED" in missed
    assert "<= 60" in met and "MISSED" not in met


@pytest.mark.slow
def test_emission_is_measured_in_a_process_of_its_own(monkeypatch, tmp_path):
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "emitted.json").write_text("{}")
    raw, claims = emission.emission(folder, ignore)
    assert [claim["unit"] for claim in claims] == ["s", "GiB", "s", "values"]
    assert raw[0]["emission"]["seconds"] > 1 and raw[0]["verilation"]["seconds"] > 1
    assert 0.1 < raw[0]["emission"]["peak_gib"] < 24
    assert raw[0]["simulation"]["values_compared"] > 0 and claims[3]["ours"] == 0


@pytest.mark.slow
def test_the_runners_are_compared_on_the_same_chip(monkeypatch, tmp_path):
    net = Network(inputs=3, hidden=(4,), classes=3)
    recipe = presets.Recipe(Description(name="tiny", network=net))
    monkeypatch.setattr(presets, "load", lambda name: recipe)
    monkeypatch.setattr(simulation, "CHIPS", {"tiny": (6, 5)})
    raw, claims = simulation.simulation(tmp_path, ignore)
    assert {runner: len(found) for runner, found in raw[0]["steps_per_second"].items()} == {
        "cocotb, stock": 2,
        "cocotb, lean": 2,
        "batch": 6,
    }
    assert [round(claim["goal"] / claim["anchor"]) for claim in claims] == [40, 5]


def test_exponents_are_those_of_a_power_law():
    """Of networks of one layer."""
    rows = [
        {"layers": layers, "units": units, **dict.fromkeys(scaling.MEASURED, 3 * units**1.5)}
        for layers, units in ((1, 64), (1, 128), (1, 512), (4, 64))
    ]
    rows[-1] |= dict.fromkeys(scaling.MEASURED, 1e9)
    assert scaling.exponents(rows) == dict.fromkeys(scaling.MEASURED, 1.5)


@pytest.mark.slow
def test_a_size_is_measured(tmp_path):
    design = scaling.description(1, 6)
    row = scaling.measure(tmp_path, design)
    assert (row["layers"], row["units"], row["cells"], row["crossbars"]) == (1, 6, 4 * 6 * 12, 1)
    assert all(row[name] > 0 for name in scaling.MEASURED if name != "loading_seconds")
    steps = scaling.SEQUENCES * scaling.STEPS
    assert row["values_compared"] >= steps * 6 * 6
