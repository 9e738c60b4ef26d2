"""Specs are proved, refute their mutants, and leave no block out; `make formal` runs them all."""

import importlib
import inspect
import pkgutil

import pytest
from amaranth.lib import wiring

import hw
from tests.formal.engine import check, refutes
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
    for said, outcome in check(
        spec.scene(case), tmp_path, seconds=spec.seconds, depths=depths
    ).items():
        if said.startswith("reach"):
            assert outcome.status == "false", f"{said} is not reached"
        elif said.removeprefix("claim ") in depths:
            assert (
                outcome.status == "held" and outcome.cycles == depths[said.removeprefix("claim ")]
            )
        else:
            assert outcome.status == "proved", f"{said}: {outcome}; {tmp_path}"


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

    found = {said.rstrip(" 01"): o.status for said, o in check(wrong, tmp_path).items()}
    assert found.pop("claim never") == found.pop("reach x") == "false"
    if others:
        assert found.pop("claim always") == found.pop("claim once seen, always") == "proved"
        assert found.pop("claim not always") == "false"
    assert not found


def test_assumptions_that_contradict_each_other_reach_nothing(tmp_path):

    def nothing(scene):
        x = scene.free(1, "x")
        scene.assume(x, ~x)
        scene.claim("anything", 0)
        scene.reach("something", x)

    found = check(nothing, tmp_path)
    assert found["claim anything"].status == found["reach something"].status == "proved"
