"""Emission: the same bytes twice, clean lint, and taken up by tools that are not ours."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import torch

from gen.rtl import control, image, naming, vectors
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
    network={"inputs": 5, "hidden": [3, 7], "classes": 2},
    array={"lanes": 3, "beat": 2},
    dac={"bits": 1},
    adc={"bits": 3},
    device={"weight_bits": 1},
    voting={"replay_steps": 1, "max_votes": 3},
)
RNN = small(name="rnn", cell={"kind": "rnn"}, voting={"replay_steps": 5}, array={"settle": 6})
SLOW = [PRESETS["vowels"].description, PRESETS["vowels-deep"].description, small()]
"""Left to `make test-all`."""


def emit_everything(description, folder):
    program = random_program(description, 0)
    x = random_codes(description, 0, 3, 4, description.network.inputs)
    flow_emit.emit_all(program, x, torch.tensor([4, 2, 1]), folder)
    program.save(folder / "program.safetensors")


def test_arrays_share_a_macro_only_if_they_are_alike():
    """The model counts columns by gates, so a head of a layer's size is another macro."""
    alike = small(network={"inputs": 4, "hidden": [4, 8], "classes": 16}, array={"lanes": 4})
    layer, _, head = alike.arrays.values()
    assert (layer.rows, layer.selects, layer.lanes) == (head.rows, head.selects, head.lanes)
    assert naming.macro_name(layer) != naming.macro_name(head)
    same = small(network={"inputs": 5, "hidden": [5, 5]})
    first, second, _ = same.arrays.values()
    assert naming.macro_name(first) == naming.macro_name(second)


@pytest.fixture(
    scope="module",
    params=[ODD, RNN, *(pytest.param(design, marks=pytest.mark.slow) for design in SLOW)],
    ids=lambda design: design.name,
)
def emitted(request, tmp_path_factory):
    """A description, and the folder of what was emitted of it."""
    folder = tmp_path_factory.mktemp(request.param.name)
    emit_everything(request.param, folder)
    return request.param, folder


@pytest.mark.parametrize(
    "emitted",
    [RNN, *(pytest.param(design, marks=pytest.mark.slow) for design in (ODD, *SLOW))],
    indirect=True,
    ids=lambda design: design.name,
)
def test_two_emissions_are_the_same_bytes(emitted, tmp_path):
    description, folder = emitted
    emit_everything(description, tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == sorted(path.name for path in folder.iterdir())
    for file in files:
        assert (tmp_path / file).read_bytes() == (folder / file).read_bytes()


def sources(emitted, body):
    description, folder = emitted
    return [folder / f"{description.name}{end}.v" for end in ("", f"_crossbar_{body}")]


@pytest.mark.parametrize("body", ["model", "stub"])
def test_verilator_finds_nothing_to_warn_of(body, emitted):
    description, folder = emitted
    control = folder / f"{description.name}.vlt"
    verilator_finds_nothing(control, sources(emitted, body), naming.module_name(description))


def test_waivers_stand_in_the_control_file_alone(emitted):
    description, folder = emitted
    for path in folder.glob("*.v"):
        assert "lint_off" not in path.read_text()
    text = (folder / f"{description.name}.vlt").read_text()
    waived = {line.split()[2] for line in text.splitlines() if line.startswith("lint_off")}
    assert waived <= {*control.WAIVED_IN_MODEL, *control.WAIVED_IN_STUB}


@pytest.mark.parametrize("body", ["model", "stub"])
def test_yosys_takes_it_up(body, emitted):
    yosys_finds_nothing(sources(emitted, body), naming.module_name(emitted[0]))


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
def test_icarus_takes_it_up(emitted, tmp_path):
    icarus_finds_nothing(sources(emitted, "model"), naming.module_name(emitted[0]), tmp_path)


def test_stub_and_model_have_the_same_ports(emitted):
    ports = []
    for body in ("model", "stub"):
        found: dict[str, set] = {}
        for line in map(str.strip, sources(emitted, body)[1].read_text().splitlines()):
            if line.startswith("module wordline"):
                module = found.setdefault(line.split("(")[0], set())
            elif line.startswith("module"):
                module = set()
            elif line.startswith(("input", "output")):
                module.add(line.rstrip(",").replace("output reg", "output").partition(" = ")[0])
        ports.append({m: p for m, p in found.items() if "." not in m})
    assert ports[0] == ports[1]


def test_the_sidecar_tells_what_was_emitted(emitted):
    description, folder = emitted
    sidecar = json.loads((folder / f"{description.name}.json").read_text())
    assert Description.from_dict(sidecar["description"]) == description
    assert sidecar["fingerprint"] == description.fingerprint
    for file, digest in sidecar["sha256"].items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
    text = (folder / f"{description.name}.v").read_text()
    for port in sidecar["ports"]:
        assert re.search(rf"^  (input|output)( reg)? .*\b{port}( = .*)?,?$", text, re.M)


def test_nothing_of_this_machine_is_in_the_files(emitted, tmp_path):
    for path in emitted[1].iterdir():
        if path.suffix not in (".npz", ".safetensors"):
            assert str(tmp_path.parent.parent) not in path.read_text()
            assert "site-packages" not in path.read_text()


def test_every_word_of_an_image_has_an_address_of_its_own(emitted):
    description, folder = emitted
    words = image.words(random_program(description, 0))
    addresses = [address for address, _ in words]
    load_map = LoadMap(description)
    for region in load_map.regions.values():
        assert region.base % (1 << region.bits) == 0
    tables = [r for name, r in load_map.regions.items() if name.endswith(".levels")]
    entries = [a for a in addresses if any(table.holds(a) for table in tables)]
    assert len(entries) == len(tables) * 2**description.device.weight_bits
    assert addresses == sorted(set(addresses)) and addresses[-1] == load_map.check
    cells = sum(2 * s.rows * s.units * s.gates for s in (*description.layers, description.head)) / 2
    assert len(words) > cells
    assert image.read(folder / "image.hex", description) == words


def test_the_checksum_depends_on_every_word_and_their_order():
    assert image.checksum(np.array([[3, 5]])) == 0xFFFFFFFE ^ 0x04C11DB7 ^ 5 ^ 3 << 16
    words = np.array(image.words(random_program(small(), 0))[:-1])
    whole = image.checksum(words)
    for n in range(0, len(words) - 1, 7):
        swapped, changed = words.copy(), words.copy()
        swapped[[n, n + 1]] = words[[n + 1, n]]
        changed[n, 1] ^= 1
        for damaged in (swapped, changed, np.delete(words, n, 0)):
            assert image.checksum(damaged) != whole


@pytest.mark.parametrize("weight_bits", [1, 4, 8])
def test_a_level_table_is_loaded_before_the_cells_programmed_through_it(weight_bits):
    description = small(network={"classes": 3}, device={"weight_bits": weight_bits})
    program = random_program(description, 0, on_levels=True)
    regions = LoadMap(description).regions
    addresses = [address for address, _ in image.words(program)]
    for name in description.arrays:
        numbers = regions[f"{name}.cell_levels"]
        programmed = [address for address in addresses if numbers.holds(address)]
        table = [address for address in addresses if regions[f"{name}.levels"].holds(address)]
        assert not programmed or max(table) < min(programmed)
        codes = [address for address in addresses if regions[f"{name}.cells"].holds(address)]
        assert bool(codes) != bool(programmed)
        # Fewer cells than levels have their codes written, for which order does not matter.
        assert bool(codes) == (numbers.bits < weight_bits)


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
            *("x", "lengths", "scores", "label", "format"),
            *(f"layers.{n}.{name}" for n in (0, 1) for name in ("codes", "c", "h")),
        }
        assert file["layers.1.codes"].shape == (2, 3, 4, 7)
        assert not file["layers.0.h"][1, 1:].any()
