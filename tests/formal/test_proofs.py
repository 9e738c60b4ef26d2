"""Specs are proved, refute their mutants, and leave no block out; `make formal` runs them all."""

import importlib
import inspect
import pkgutil

import pytest
from amaranth.lib import wiring

import hw
from tests.formal.engine import PROVED, Found, Outcome, check, refutes
from tests.formal.specs import SPECS

LONG = ("LstmGates.states", "Accelerator.load", "Bridge.commands")

ELSEWHERE = {
    "GatePipeline": "the base of LstmGates and RnnGates",
    "RecurrentLayer": "connects DacSequencer, TiledArray and the gates",
    "TiledArray": "connects RowDrivers, Readout, LevelTable and macros",
    "Head": "connects DacSequencer, TiledArray, Scores, ArgMax and Voter",
    "System": "connects Accelerator, LiteSlave, Control, StreamIn and StreamOut",
    "Top": "gives System the clock and reset of AXI",
    "CoreInstance": "an instance",
    "Board": "connects Receiver, Bridge, Sender and a queue of Amaranth's",
    "CrossbarMacro": "a black box",
    **dict.fromkeys(("Columns", "ColumnsInstance"), "proved equal in tests/hw/test_columns.py"),
    **dict.fromkeys(
        ("BehaviouralCrossbar", "ShortCrossbar", "DeepCrossbar", "RowGroups", "SerialColumns"),
        "the model of the macro, whose streams are always ready: compared with golden",
    ),
    "DigitalArray": "the twin's array, whose streams are always ready: compared with golden",
    "NoiseGenerator": "no stream: compared with golden in tests/hw/test_noise.py",
}
"""Blocks without a spec, and why."""


def sampled(name, things):
    """All of a spec's cases or mutants, of which `make test` tries the first one."""
    for n, thing in enumerate(things):
        slow = n or name in LONG
        yield pytest.param(name, thing, marks=pytest.mark.slow if slow else [])


@pytest.mark.parametrize(
    ("name", "case"), [p for name, spec in SPECS.items() for p in sampled(name, spec.cases)]
)
def test_a_case_is_proved(name, case, tmp_path):
    spec = SPECS[name]
    depths = spec.depths.get(case, {})
    found = check(spec.scene(case), tmp_path, seconds=spec.seconds, depths=depths)
    assert not found.wrong(depths), tmp_path


@pytest.mark.parametrize(
    ("name", "mutant"), [p for name, spec in SPECS.items() for p in sampled(name, spec.mutants)]
)
def test_a_mutant_is_refuted(name, mutant, tmp_path):
    spec = SPECS[name]
    assert refutes(spec.scene(spec.case_of(mutant), mutant), tmp_path)


def test_every_block_has_a_spec_or_a_reason():
    found = set()
    for module in pkgutil.walk_packages(hw.__path__, "hw."):
        for name, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, wiring.Component) and cls.__module__ == module.name:
                found.add(name)
    specified = {spec.block.__name__ for spec in SPECS.values() if inspect.isclass(spec.block)}
    assert found - specified - set(ELSEWHERE) == set()
    assert set(ELSEWHERE) - found == set() and not specified & set(ELSEWHERE)


@pytest.mark.parametrize("others", [0, 1])
def test_what_is_always_false_is_found(others, tmp_path):
    def wrong(scene):
        x = scene.free(1, "x")
        seen = scene.sticky(x)
        scene.claim("never", 0)
        for n in range(others):
            scene.claim(f"always {n}", 1)
            scene.claim(f"once seen, always {n}", ~scene.ago(seen) | seen)
            scene.claim(f"not always {n}", ~scene.ago(seen))
        scene.reach("x", x)

    found = check(wrong, tmp_path)
    statuses = {name: outcome.status for name, outcome in found.claims.items()}
    several = {"always 0": "proved", "once seen, always 0": "proved", "not always 0": "false"}
    assert statuses == {"never": "false"} | (several if others else {})
    assert not found.unreached and len(found.wrong({})) == 1 + others


def test_assumptions_that_contradict_each_other_reach_nothing(tmp_path):
    def nothing(scene):
        x = scene.free(1, "x")
        scene.assume(x, ~x)
        scene.claim("anything", 0)
        scene.reach("something", x)

    found = check(nothing, tmp_path)
    assert found.claims["anything"].status == "proved" and found.unreached == ["something"]
    assert found.wrong({}) == ["not reached: something"]


def test_a_proof_that_is_not_there_is_said():
    """A claim that only held, and was not asked to; and one that held for too few cycles."""
    found = Found({"a": Outcome("held", 5), "b": PROVED, "c": Outcome("held", 7)}, [])
    assert found.wrong({"c": 7}) == ["held (5 cycles): a"]
    assert len(found.wrong({"c": 8})) == 2
