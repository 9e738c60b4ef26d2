"""Golden vectors in a file, and the stamp that says which they are."""

import time

import numpy as np
import pytest
import torch

from gen.rtl import vectors
from golden import network
from tests.helpers import random_codes, random_program, small
from wordline.flow import cache
from wordline.flow import emit as flow_emit


@pytest.mark.parametrize(
    ("most", "kind"), [(127, "int8"), (128, "int16"), (32_767, "int16"), (32_768, "int32")]
)
def test_as_few_bits_as_hold_every_value(most, kind):
    for values in (torch.tensor([0, most]), torch.tensor([-most, 5])):
        found = vectors._compact(values)
        assert found.dtype == kind and np.array_equal(found, values.numpy())


def test_parts_of_other_types_become_one(monkeypatch):
    """A sequence with large values after one without: nothing wraps."""
    monkeypatch.setattr("golden.network.PASSES", 1)
    program = random_program(small(), 0)
    x = torch.cat([torch.zeros(1, 9, 3), torch.full((1, 9, 3), 7)]).long()
    lengths = torch.tensor([9, 9])
    found = vectors.make(program, x, lengths)
    for name, values in network.run(program, x, lengths).layers[0].quantities().items():
        assert np.array_equal(found[f"layers.0.{name}"], values.numpy()), name


@pytest.mark.parametrize("of", ["class", "scores", "state"])
def test_beyond_a_sequence_there_is_nothing(of):
    network = {"classes": 0} if of == "state" else {}
    description = small(output={"of": of, "steps": "every"}, network=network)
    program = random_program(description, 0)
    x, lengths = random_codes(description, 0, 3, 6, 3), torch.tensor([6, 1, 3])
    found = vectors.make(program, x, lengths)
    beyond = np.arange(6)[None] >= lengths.numpy()[:, None]
    for name, values in found.items():
        if name not in ("lengths", "format"):
            assert not values[beyond].any(), name
            assert name == "label" or values[~beyond].any(), name  # class 0 is a class


def test_the_file_is_the_same_bytes_each_time(tmp_path):
    """Whenever it is written: no time of day is in it."""
    program = random_program(small(), 0)
    made = vectors.make(program, torch.ones(2, 3, 3).long(), torch.tensor([3, 2]))
    written = []
    for n in range(2):
        vectors.write(tmp_path / f"{n}.npz", made)
        written.append((tmp_path / f"{n}.npz").read_bytes())
        time.sleep(2.1 * (1 - n))  # an archive counts time in steps of two seconds
    assert written[0] == written[1]
    with np.load(tmp_path / "0.npz") as file:
        assert all(np.array_equal(file[name], array) for name, array in made.items())


def test_emission_is_reused_for_the_same_inputs_alone(tmp_path, monkeypatch):
    """And the design for all inputs, where it lies there as it was emitted."""
    program = random_program(small(), 0)
    x, lengths = torch.zeros(2, 4, 3).long(), torch.tensor([4, 4])
    other = x.clone()
    other[1, 3, 2] = 1
    runs = (
        (x, lengths),
        (x, lengths),
        (other, lengths),
        (other, lengths - 1),
        (x[:, :3], lengths - 1),
    )
    designs, texts = [], flow_emit.verilog.texts
    monkeypatch.setattr(flow_emit.verilog, "texts", lambda *of: (designs.append(1), texts(*of))[1])
    reused = [flow_emit.emit_all(program, *inputs, tmp_path).reused for inputs in runs]
    assert reused == [False, True, False, False, False] and len(designs) == 1
    path = tmp_path / "small_crossbar_model.v"
    whole = path.read_bytes()
    path.unlink()
    flow_emit.emit_design(program.description, tmp_path)
    assert len(designs) == 2 and path.read_bytes() == whole
    flow_emit.emit_design(program.description, tmp_path)
    assert len(designs) == 2
    monkeypatch.setattr(cache, "emission", lambda _: "other code")
    flow_emit.emit_design(program.description, tmp_path)
    assert len(designs) == 3
    assert (
        cache.tensor_digest(x)
        != cache.tensor_digest(x.int())
        != cache.tensor_digest(x.view(4, 2, 3).int())
    )
