"""Mutants are what they are said to be: a fault is found, what is equal is proved so."""

import re

import torch

from golden.errors import WordlineError
from sim.stimuli import Stimuli
from tests.helpers import small
from tests.mutation import benches, chip, mutants
from tests.mutation.__main__ import examine, kind
from tests.mutation.aig import Faults, Graph
from wordline.flow import emit

NUMBER, A = 2, 4  # literals of inputs: the number of the fault, with one bit, and a signal
KEPT, NEVER = 6, 8  # of registers: A one cycle late, and one that stays 0


def seen(gates, output, folder, enables=None, reads=()):
    """Whether the fault in some gates is seen at an output."""
    latches = [(KEPT, A), (NEVER, NEVER)]
    outputs = [output, KEPT, *(address for address, _ in reads)]
    graph = Graph([NUMBER, A, *(data for _, data in reads)], latches, outputs, gates)
    ports = [([2 + n], [2 + n]) for n in range(len(reads))]
    faults = Faults(graph, [0], None, False, enables or {}, ports, [0, 1])
    return faults.is_seen(1, folder, seconds=5)


def test_faults_in_a_graph(tmp_path):
    assert seen([(10, KEPT, NUMBER ^ 1)], 10, tmp_path)  # stuck at 0
    assert seen([(10, KEPT ^ 1, NUMBER)], 10, tmp_path)  # 1 while it is to be 0
    # What is 0 anyhow, by its form or because no input makes it 1, may be taken away.
    of_nothing = [(10, KEPT, KEPT ^ 1), (12, 10, NUMBER), (14, A, 12 ^ 1)]
    assert seen(of_nothing, 14, tmp_path) is False
    of_never = [(12, NEVER, NUMBER), (14, A, 12 ^ 1)]
    assert seen(of_never, 14, tmp_path) is False
    # It differs only while another output is 0, and then means nothing.
    while_not = [(10, KEPT ^ 1, NUMBER), (12, A, 10 ^ 1)]
    assert seen(while_not, 12, tmp_path)
    assert seen(while_not, 12, tmp_path, {0: [1]}) is False
    # A fault in a register comes out a cycle later.
    graph = Graph([NUMBER, A], [(KEPT, 10)], [KEPT], [(10, A, NUMBER ^ 1)])
    assert Faults(graph, [0], None, False, {}, [], [0]).is_seen(1, tmp_path, seconds=5)
    # A memory is read at another address while A is 0: seen, but for when the data is not used.
    data = 16
    address = [(10, A ^ 1, NUMBER), (12, KEPT, 10 ^ 1)]
    assert seen(address, data, tmp_path, reads=[(12, data)])
    used = [*address, (18, data, A)]
    assert seen(used, 18, tmp_path, reads=[(12, data)]) is False


def test_mutants_of_a_design(tmp_path):
    description = small(
        name="mutated",
        network={"inputs": 2, "hidden": [2], "classes": 2},
        cell={"kind": "rnn", "frac": 1},
        adc={"bits": 2},
    )
    stimuli = Stimuli(description, 1)
    program = stimuli.random_program(on_levels=True)
    folder, out = tmp_path / "design", tmp_path / "out"
    out.mkdir()
    emit.emit_all(program, stimuli.random_codes(8, 3, 2), torch.arange(8) % 3 + 1, folder)
    program.save(folder / "program.safetensors")
    design = chip.Design(folder, out, 1)
    group = mutants.listed(design.sources, 9, 1, out)
    assert len(group) == 9 and not any(mutants.LEFT_OUT.search(mutant) for mutant in group)
    rows = examine(design, group, out / "group", False)
    assert [row["mutant"] for row in rows] == group
    found = [kind(row) for row in rows]
    assert found.count("killed") >= 6, rows
    assert examine(design, group, out / "group", False) == rows  # kept
    try:
        examine(
            design, [group[0].replace(mutants.place(group[0])[0], "nothing")], out / "other", False
        )
    except WordlineError as error:
        assert "Yosys" in str(error)
    else:
        raise AssertionError("a module that does not exist")


def test_benches_of_blocks(tmp_path):
    places = benches.around("wordline_x.layer_0.array.readout", "wordline_x")
    assert places == [("wordline_x.layer_0", "layer")]
    assert benches.around("wordline_x.layer_0.gates", "wordline_x")[0][1] == "gates"
    assert benches.around("wordline_x", "wordline_x") == []
    description = small(network={"hidden": [5], "classes": 2}, cell={"kind": "rnn", "frac": 1})
    stimuli = Stimuli(description, 1)
    emit.emit_all(
        stimuli.random_program(), stimuli.random_codes(1, 1, 3), torch.ones(1).long(), tmp_path
    )
    name = description.name
    model, boxes = (tmp_path / f"{name}_crossbar_{kind}.v" for kind in ("model", "stub"))
    sources = mutants.Sources((tmp_path / f"{name}.v",), boxes, f"wordline_{name}")
    design = benches.Inside(sources, description, sources.top, model)
    group = mutants.listed(sources, 200, 1, tmp_path / "list")
    # A bit of a register is inverted, in all cycles.
    wrong = next(m for m in group if re.search("-mode inv .*layer_0.gates .* -port Q", m))
    assert benches.found([wrong], design, 1, tmp_path) == {wrong: "bench of gates"}
