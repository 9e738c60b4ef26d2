"""An emission is decoded as docs/formats.md says, by NumPy and the safetensors reader alone."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from gen.rtl import vectors
from golden.description import Description
from golden.errors import WordlineError
from tests.helpers import random_codes, random_program, small
from wordline.flow import emit

LAYERED = small(
    name="tiled",
    network={"inputs": 5, "hidden": [7], "classes": 4},
    array={"rows": 8, "columns": 16, "lanes": 2},
)


@pytest.fixture(scope="module", params=[small(), LAYERED], ids=lambda description: description.name)
def folder(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("formats")
    program = random_program(request.param, 3, on_levels=True)
    x = random_codes(request.param, 0, 3, 4, request.param.network.inputs)
    emit.emit_all(program, x, torch.tensor([4, 2, 1]), place)
    program.save(place / "program.safetensors")
    return place


def signed(value, bits):
    return value - (1 << bits) if value >> (bits - 1) else value


def words_of(sidecar, lines):
    """The words of each region: its address fields and its data fields."""
    found = {name: [] for name in sidecar["load_map"]["regions"]}
    for line in lines:
        if line.startswith("//"):
            continue
        address, data = (int(part, 16) for part in line[1:].split())
        for name, region in sidecar["load_map"]["regions"].items():
            bits = sum(region["fields"].values())
            if region["base"] <= address < region["base"] + (1 << bits):
                found[name].append(
                    (fields(address, region["fields"]), fields(data, region["data"]))
                )
    return found


def fields(value, widths):
    found = {}
    for name, width in widths.items():
        found[name] = value & ((1 << width) - 1)
        value >>= width
    return found


def test_the_image_holds_the_program(folder):
    name = next(p for p in folder.glob("*.v") if "crossbar" not in p.name).stem
    sidecar = json.loads((folder / f"{name}.json").read_text())
    assert sidecar["format"] == 2
    found = words_of(sidecar, (folder / "image.hex").read_text().splitlines())
    with safe_open(folder / "program.safetensors", "np") as file:
        about = json.loads(file.metadata()["wordline"])
        assert about["format"] == "wordline program 4"
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for array, shape in sidecar["arrays"].items():
        check_array(array, shape, sidecar, found, tensors)


def check_array(array, shape, sidecar, found, tensors):
    regions, gates, lanes = sidecar["load_map"]["regions"], shape["gates"], shape["lanes"]
    places = {}
    for gate in range(gates):
        for unit in range(shape["units"]):
            for row_tile, (first, last) in enumerate(shape["row_tiles"]):
                for row in range(first, last):
                    each = lanes // shape["column_tiles"]
                    where = {"select": gates * (unit // lanes) + gate, "lane": unit % each}
                    where |= {"row": row - first, "row_tile": row_tile}
                    where["column_tile"] = unit % lanes // each
                    own = regions[f"{array}.cell_levels"]["fields"]
                    places[tuple(where[field] for field in own)] = gate, unit, row
    levels = tensors[f"{array}.levels"]
    cells = found[f"{array}.cell_levels"]
    assert len(cells) == len(places) == tensors[f"{array}.positive"].size
    for where, data in cells:
        index = places[tuple(where.values())]
        code = levels[data["level"]]
        assert tensors[f"{array}.positive"][index] - tensors[f"{array}.negative"][index] == code
    for where, data in found[f"{array}.gains"]:
        gain = tensors[f"{array}.gain"][where.get("row_tile", 0), where.get("gate", 0)]
        assert data["gain"] == gain
    for where, data in found[f"{array}.levels"]:
        assert data["positive"] - data["negative"] == levels[where["level"]]
    width = regions[f"{array}.bias"]["data"]["bias"]
    for where, data in found[f"{array}.bias"]:
        if array == "head":
            index = (where["class"],)
        else:
            unit = where["word"] * shape["units_per_beat"] + where.get("place", 0)
            index = where["gate"], unit
        assert signed(data["bias"], width) == tensors[f"{array}.bias"][index]
    for table, tensor in (("gate_tables", "gate_tables"), ("tanh_table", "tanh_table")):
        if f"{array}.{table}" not in found:
            continue
        entries = tensors[f"{array}.{tensor}"]
        region = regions[f"{array}.{table}"]
        bits, width = region["fields"]["index"], region["data"]["entry"]
        assert len(found[f"{array}.{table}"]) == entries.size
        for where, data in found[f"{array}.{table}"]:
            place = signed(where["index"], bits) + (1 << (bits - 1))
            entry = entries[where["gate"], place] if "gate" in where else entries[place]
            assert data["entry"] == int(entry) & ((1 << width) - 1)


def test_vectors_are_as_the_page_has_them(folder):
    with np.load(folder / "vectors.npz") as file:
        golden = dict(file)
    assert golden["format"].tolist() == [1] and golden["lengths"].tolist() == [4, 2, 1]
    assert golden["layers.0.codes"].shape[:3] == (3, 4, 4)
    assert (golden["scores"].argmax(1) == golden["label"]).all()  # the lowest of equals
    for name in ("layers.0.c", "layers.0.h", "layers.0.codes", "x"):
        assert not golden[name][1, 2:].any() and golden[name].dtype in (np.int8, np.int16, np.int32)


def test_another_version_is_refused(folder, tmp_path):
    description = Description.from_toml(folder / "description.toml")
    golden = vectors.load(folder / "vectors.npz", description)
    vectors.write(tmp_path / "vectors.npz", golden | {"format": np.array([7])})
    with pytest.raises(WordlineError, match="of format 7, and this version of Wordline reads 1"):
        vectors.load(tmp_path / "vectors.npz", description)
    (tmp_path / "vectors.npz").write_bytes(b"PK damaged")
    with pytest.raises(WordlineError, match=r"is damaged, or no \.npz"):
        vectors.load(tmp_path / "vectors.npz", description)
