"""Files of networks and sequences, damaged at random: at their bytes, and inside their archives."""

import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import safetensors.torch
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.l, self.f = nn.LSTM(5, 7, batch_first=True), nn.Linear(7, 3)

    def forward(self, x):
        return self.f(self.l(x)[0][:, -1])


def whole(folder: Path) -> dict[str, bytes]:
    """Files that are right, by name."""
    torch.manual_seed(0)
    net, x = Net(), torch.randn(12, 6, 5)
    tensors = net.state_dict()
    torch.save(tensors, folder / "a.pt")
    torch.save(tensors, folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": tensors}, folder / "b.ckpt")
    safetensors.torch.save_file(tensors, folder / "a.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"x": {0: "n", 1: "t"}}
        torch.onnx.export(
            net, (x,), folder / "a.onnx", dynamo=False, input_names=["x"], dynamic_axes=axes
        )
    arrays = {"x": x.numpy(), "lengths": np.arange(12) % 6 + 1, "labels": np.arange(12) % 3}
    np.savez(folder / "a.npz", **arrays)
    np.savez_compressed(folder / "b.npz", **arrays)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def damaged(name: str, content: bytes, draw: random.Random) -> bytes:
    """The file, damaged in one of many ways."""
    ways: list[Callable[[bytes, random.Random], bytes]] = [flipped, cut, moved, filled, numbers]
    inside = {".npz": archived, ".pt": archived, ".ckpt": archived, ".onnx": fields}
    own = inside.get(Path(name).suffix, header)
    for _ in range(draw.choice((1, 1, 2))):
        way = draw.choice([*ways, *[own] * 4])
        try:
            content = way(content, draw)
        except (zipfile.BadZipFile, ValueError, IndexError, EOFError, NotImplementedError):
            content = flipped(content, draw)
        except Exception as error:  # what was damaged once may be no protobuf, no JSON
            if type(error).__name__ not in ("DecodeError", "error", "struct.error"):
                raise
    return content


def flipped(content: bytes, draw: random.Random) -> bytes:
    own = bytearray(content or b"0")
    for _ in range(draw.choice((1, 1, 4, 16))):
        own[draw.randrange(len(own))] ^= 1 << draw.randrange(8)
    return bytes(own)


def cut(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) + 1)
    return content[:at] if draw.random() < 0.7 else content[at:]


def moved(content: bytes, draw: random.Random) -> bytes:
    a, b = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    part = content[a : min(b, a + 200)]
    at = draw.randrange(len(content) + 1)
    return content[:at] + part * draw.choice((1, 3)) + content[at:]


def filled(content: bytes, draw: random.Random) -> bytes:
    at, size = draw.randrange(len(content) + 1), draw.choice((1, 4, 64))
    return content[:at] + bytes([draw.choice((0, 255, 128))]) * size + content[at + size :]


def numbers(content: bytes, draw: random.Random) -> bytes:
    """A number in the text is another one, in as many characters."""
    places = [n for n, byte in enumerate(content) if 48 <= byte < 58]
    own = bytearray(content)
    if places:
        own[draw.choice(places)] = draw.choice(b"0123456789-")
    return bytes(own)


def header(content: bytes, draw: random.Random) -> bytes:
    """Of a .safetensors file: JSON that is right, and says something else."""
    (size,) = struct.unpack("<Q", content[:8])
    fields_ = json.loads(content[8 : 8 + size])
    own = fields_[draw.choice([*fields_])]
    key = draw.choice([*own])
    wrong = [-1, 0, 2**40, 2**63, [], [2**32, 2**32], [0, 10**15], "F64", "I8", "BOOL", "X", None]
    own[key] = draw.choice(wrong)
    text = json.dumps(fields_).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def archived(content: bytes, draw: random.Random) -> bytes:
    """One member of an archive damaged, and packed again with a right checksum."""
    source = zipfile.ZipFile(io.BytesIO(content))
    members = {info.filename: source.read(info) for info in source.infolist()}
    name = draw.choice([*members])
    way = draw.choice((flipped, cut, moved, filled, numbers, array))
    if way is array and name.endswith(".npy"):
        members[name] = array(draw)
    elif way is not array and members[name]:
        members[name] = way(members[name][:2000], draw) + members[name][2000:]
    else:
        del members[name]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", source.infolist()[0].compress_type) as archive:
        for own, data in members.items():
            archive.writestr(own, data)
    return packed.getvalue()


def array(draw: random.Random) -> bytes:
    """A .npy of some shape and type."""
    kind = draw.choice(("f2", "f4", ">f8", "i1", "u8", "c8", "U3", "S2", "?", "M8[s]", "g"))
    shape = [draw.choice((0, 1, 3, 5, 6, 12)) for _ in range(draw.choice((0, 1, 2, 3, 3, 4)))]
    made = io.BytesIO()
    np.save(made, np.full(shape, draw.choice((0, 1, 5)), kind))
    return made.getvalue()


def fields(content: bytes, draw: random.Random) -> bytes:
    """Fields of an ONNX model changed: sizes, types, names, attributes, operators."""
    model = onnx.ModelProto.FromString(content)
    graph = model.graph
    tensor, node = draw.choice(graph.initializer), draw.choice(graph.node)
    what = draw.randrange(11)
    if what == 0:
        at = draw.randrange(len(tensor.dims))
        tensor.dims[at] = draw.choice((-1, 0, 1, 2**20, 2**40, 2**62, 7))
    elif what == 1:
        tensor.data_type = draw.choice([*onnx.TensorProto.DataType.values(), 99])
    elif what == 2:
        tensor.raw_data = cut(tensor.raw_data, draw)
    elif what == 3:
        node.op_type = draw.choice(("LSTM", "RNN", "GRU", "Loop", "If", "Scan", "X", "Expand"))
    elif what == 4 and node.input:
        node.input[draw.randrange(len(node.input))] = draw.choice(("", "x", "none", node.output[0]))
    elif what == 5 and node.attribute:
        own = draw.choice(node.attribute)
        own.type = draw.choice(onnx.AttributeProto.AttributeType.values())
    elif what == 6 and node.attribute:
        own = draw.choice(node.attribute)
        own.i, own.f = draw.choice((-1, 0, 2**40)), draw.choice((float("nan"), 1e38))
    elif what == 7:
        model.opset_import[0].version = draw.choice((0, -1, 1, 7, 99, 2**40))
    elif what == 8:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[draw.randrange(3)].dim_value = draw.choice((0, -1, 1, 10**6, 2**40, 2**62))
    elif what == 9:
        made = onnx.helper.make_tensor("size", 7, [3], [draw.choice((2**20, 2**40, -1))] * 3)
        graph.initializer.append(made)
        kind = draw.choice(("Expand", "Tile", "ConstantOfShape", "Reshape"))
        given = ["size"] if kind == "ConstantOfShape" else [node.input[0], "size"]
        graph.node.insert(0, onnx.helper.make_node(kind, given, ["made"]))
        later = draw.choice(graph.node[1:])
        later.input[draw.randrange(len(later.input))] = "made"
    else:
        graph.ClearField(draw.choice(("name", "output", "input", "initializer", "node")))
    return model.SerializeToString()
