"""A study in small: what it keeps, what it says, what it draws."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from gen import study
from gen.study import NoiseStudy, Points

SMALL = NoiseStudy(
    seeds=(0,), trainings=("none",), read=(0.0, 0.4), votes=(1, 3), rtl_read=(), rtl_votes=()
)


def test_points_are_computed_once_and_kept(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"value": len(calls)}

    path = tmp_path / "points.json"
    for _ in range(2):
        points = Points(path)
        assert points.get({"a": 1}, compute) == {"value": 1}
    assert points.get({"a": 2}, compute) == {"value": 2}
    for damage in ('{"a":', "[]", ""):
        path.write_text(damage)
        Points(path).get({"a": 1}, compute)
        assert len(json.loads(path.read_text())) == 1


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    seen = []
    found = SMALL.run(folder, lambda *progress: seen.append(progress))
    assert ("golden", 3, 3) in seen and ("train", 1, 1) in seen
    assert SMALL.run(folder, lambda *_: None) == found  # from what it kept
    return found


def test_noise_costs_accuracy_and_votes_give_some_back(results):
    assert results == json.loads(json.dumps(results))
    by_place = {(p["read_sigma"], p["votes"]): p for p in results["curve"]}
    assert set(by_place) == {(0.0, 1), (0.4, 1), (SMALL.vote_sigma, 3)}
    assert by_place[0.0, 1]["sum"]["mean"] > 95 > 70 > by_place[0.4, 1]["sum"]["mean"]
    assert by_place[0.0, 1]["sum"] == by_place[0.0, 1]["majority"]
    assert results["read_noise_lsb"]["0.4"] > 3


def test_claims_can_be_missed():
    point = {"rtl": 90.0, "golden": 90.0, "mismatches": 0}
    met = study._claims([point])
    assert [claim["met"] for claim in met] == [True, True]
    assert {"name", "goal", "ours", "anchor", "unit", "met"} == set(met[0])
    missed = study._claims([point | {"rtl": 80.0, "mismatches": 7}])
    assert [(claim["ours"], claim["met"]) for claim in missed] == [(1, False), (7, False)]


def test_the_table_and_the_figure(results, tmp_path):
    rtl = {"training": "none", "seed": 0, "read_sigma": 0.4, "votes": 1, "by": "majority"}
    shown = study.table(results | {"rtl": [rtl | {"rtl": 51.5, "golden": 51.5, "mismatches": 0}]})
    assert shown.row_count == 3
    assert "51.50" in list(shown.columns[6].cells)
    for name in ("a.svg", "b.svg"):
        study.figure(results, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    text = " ".join(ElementTree.parse(tmp_path / "a.svg").getroot().itertext())
    assert "read noise of a device" in text and "votes K" in text
