"""Emission: the same bytes twice, clean lint, and taken up by tools that are not ours."""

import json
import shutil

import numpy as np
import pytest
import torch

from gen.rtl import image, vectors, verilog
from golden.description import Description
from golden.errors import WordlineError
from golden.presets import PRESETS
from hw.loadmap import LoadMap
from tests.helpers import (
    icarus_finds_nothing,
    random_codes,
    random_program,
    small,
    verilator_finds_nothing,
    yosys_finds_nothing,
)
from wordline.flow import emit as flow_emit

ODD = small(
    name="odd",
    network={"inputs": 5, "hidden": [3, 7], "classes": 1},
    array={"lanes": 3, "beat": 2},
    dac={"bits": 1},
    adc={"bits": 3},
    device={"weight_bits": 1},
    voting={"replay_steps": 1, "max_votes": 2},
)
RNN = small(name="rnn", cell={"kind": "rnn"}, voting={"replay_steps": 5}, array={"settle": 6})
DESIGNS = [PRESETS["vowels"].description, PRESETS["vowels-deep"].description, small(), ODD, RNN]


def emit_everything(description, folder):
    program = random_program(description, 0)
    x = random_codes(description, 0, 3, 4, description.network.inputs)
    flow_emit.emit_all(program, x, torch.tensor([4, 2, 1]), folder)
    program.save(folder / "program.safetensors")


@pytest.fixture(scope="module")
def emitted(tmp_path_factory):
    folders = {}
    for description in DESIGNS:
        folders[description.name] = folder = tmp_path_factory.mktemp(description.name)
        emit_everything(description, folder)
    return folders


@pytest.mark.parametrize("description", DESIGNS, ids=lambda d: d.name)
def test_two_emissions_are_the_same_bytes(description, emitted, tmp_path):
    emit_everything(description, tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == sorted(path.name for path in emitted[description.name].iterdir())
    for file in files:
        assert (tmp_path / file).read_bytes() == (emitted[description.name] / file).read_bytes()


def test_arrays_share_a_macro_only_if_they_are_alike():
    """The model counts columns by gates, so a head of a layer's size is another macro."""
    alike = small(network={"inputs": 4, "hidden": [4, 8], "classes": 16}, array={"lanes": 4})
    layer, _, head = alike.arrays.values()
    assert (layer.rows, layer.selects, layer.lanes) == (head.rows, head.selects, head.lanes)
    assert verilog.macro_name(layer) != verilog.macro_name(head)
    same = small(network={"inputs": 5, "hidden": [5, 5]})
    first, second, _ = same.arrays.values()
    assert verilog.macro_name(first) == verilog.macro_name(second)


def sources(emitted, description, body):
    folder, name = emitted[description.name], description.name
    return [folder / f"{name}.v", folder / f"{name}_crossbar_{body}.v"]


@pytest.mark.parametrize("body", ["model", "stub"])
@pytest.mark.parametrize("description", DESIGNS, ids=lambda d: d.name)
def test_verilator_finds_nothing_to_warn_of(description, body, emitted):
    control = emitted[description.name] / f"{description.name}.vlt"
    files = sources(emitted, description, body)
    verilator_finds_nothing(control, files, verilog.module_name(description))


def test_waivers_stand_in_the_control_file_alone(emitted):
    for name, folder in emitted.items():
        for path in folder.glob("*.v"):
            assert "lint_off" not in path.read_text()
        waived = {line.split()[2] for line in (folder / f"{name}.vlt").read_text().splitlines()
                  if line.startswith("lint_off")}  # fmt: skip
        assert waived <= {*verilog.WAIVED, *verilog.WAIVED_IN_STUB}


@pytest.mark.parametrize("body", ["model", "stub"])
@pytest.mark.parametrize("description", DESIGNS, ids=lambda d: d.name)
def test_yosys_takes_it_up(description, body, emitted):
    yosys_finds_nothing(sources(emitted, description, body), verilog.module_name(description))


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize("description", DESIGNS, ids=lambda d: d.name)
def test_icarus_takes_it_up(description, emitted, tmp_path):
    files = sources(emitted, description, "model")
    icarus_finds_nothing(files, verilog.module_name(description), tmp_path)


def test_stub_and_model_have_the_same_ports(emitted):
    for name, folder in emitted.items():
        ports = []
        for body in ("model", "stub"):
            text = (folder / f"{name}_crossbar_{body}.v").read_text()
            lines = [line.strip() for line in text.splitlines()]
            found: dict[str, set] = {}
            for line in lines:
                if line.startswith("module wordline"):
                    module = found.setdefault(line.split("(")[0], set())
                elif line.startswith("module"):
                    module = set()
                elif line.startswith(("input", "output")):
                    module.add(line)
            ports.append({m: p for m, p in found.items() if "." not in m})
        assert ports[0] == ports[1]


def test_the_sidecar_tells_what_was_emitted(emitted):
    for description in DESIGNS:
        folder = emitted[description.name]
        sidecar = json.loads((folder / f"{description.name}.json").read_text())
        assert Description.from_dict(sidecar["description"]) == description
        assert sidecar["fingerprint"] == description.fingerprint
        for file, digest in sidecar["sha256"].items():
            import hashlib

            assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
        text = (folder / f"{description.name}.v").read_text()
        for port in sidecar["ports"]:
            assert f" {port};" in text


def test_nothing_of_this_machine_is_in_the_files(emitted, tmp_path):
    for folder in emitted.values():
        for path in folder.iterdir():
            if path.suffix not in (".npz", ".safetensors"):
                assert str(tmp_path.parent.parent) not in path.read_text()
                assert "site-packages" not in path.read_text()


@pytest.mark.parametrize("description", DESIGNS, ids=lambda d: d.name)
def test_every_word_of_an_image_has_an_address_of_its_own(description, emitted):
    words = image.words(random_program(description, 0))
    addresses = [address for address, _ in words]
    load_map = LoadMap(description)
    for region in load_map.regions.values():
        assert region.base % (1 << region.bits) == 0
    tables = [r for name, r in load_map.regions.items() if name.endswith(".levels")]
    first = [a for a in addresses if any(table.holds(a) for table in tables)]
    assert len(first) == len(tables) * 2**description.device.weight_bits
    assert addresses == sorted(first) + sorted(set(addresses) - set(first))
    cells = sum(2 * s.rows * s.units * s.gates for s in (*description.layers, description.head)) / 2
    assert len(words) > cells
    assert image.read(emitted[description.name] / "image.hex", description) == words


def test_damaged_images_are_named(tmp_path):
    path = tmp_path / "image.hex"
    for text, words in (("@12 xyz\n", "is not `@address data`"), ("@ffffff 0\n", "does not fit")):
        path.write_text(text)
        with pytest.raises(WordlineError, match=words):
            image.read(path, small())
    with pytest.raises(WordlineError, match="cannot be read"):
        image.read(tmp_path / "absent.hex", small())


def test_vectors_need_numpy_alone_and_hold_everything(tmp_path):
    program = random_program(ODD, 0)
    lengths = torch.tensor([3, 1])
    x = random_codes(ODD, 0, 2, 3, 5)
    vectors.write(tmp_path / "v.npz", vectors.make(program, x, lengths))
    with np.load(tmp_path / "v.npz") as file:
        assert set(file.files) == {
            *("x", "lengths", "scores", "label"),
            *(f"layers.{n}.{name}" for n in (0, 1) for name in ("codes", "c", "h")),
        }
        assert file["layers.1.codes"].shape == (2, 3, 4, 7)
        assert not file["layers.0.h"][1, 1:].any()
