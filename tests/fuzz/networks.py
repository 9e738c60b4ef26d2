"""Fuzz of networks that others trained: ONNX files and state dicts."""

import io
import os
import pickle
import random
import warnings
import zipfile
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper

from golden.datasets import Sequences
from golden.frontends import convert, pytorch
from golden.frontends.chain import Foreign
from golden.presets import PRESETS
from tests.fuzz import files, values
from tests.fuzz.engine import Case, Kind
from tests.fuzz.texts import both_paths


class Hostile:
    """A pickle that runs code: it leaves a file outside the case's folder."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.where}",)


def pickled(draw: random.Random, right: bytes) -> bytes:
    """A pickle that is hostile, or tensors that are larger than their file."""
    what = draw.randrange(6)
    made = io.BytesIO()
    if what == 0:
        return pickle.dumps(Hostile("../ran"), draw.choice((0, 2, 4)))
    names = [f"l.{name}" for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")]
    if what == 1:  # the same, in PyTorch's archive
        with zipfile.ZipFile(io.BytesIO(right)) as source, zipfile.ZipFile(made, "w") as target:
            for own in source.infolist():
                data = source.read(own)
                if own.filename.endswith("data.pkl"):
                    data = pickle.dumps(Hostile("../ran"), 2)
                target.writestr(own, data)
        return made.getvalue()
    if what == 2:  # views without memory of their own
        size = draw.choice((1000, 2**16, 2**20, 2**29))
        big = torch.zeros(1).expand(4 * size, size)
        torch.save(dict.fromkeys(names[:2], big), made)
        return made.getvalue()
    if what == 3:
        kinds = (
            torch.zeros(4, 3).to_sparse(),
            torch.empty(2**20, 2**18, device="meta"),
            torch.sparse_coo_tensor(torch.zeros(2, 1).long(), torch.ones(1), (2**30, 2**30)),
            torch.quantize_per_tensor(torch.zeros(4, 3), 0.1, 0, torch.qint8),
            torch.zeros(4, 3, dtype=torch.complex64),
            torch.zeros(2**10, 2**8).to(torch.float8_e4m3fn),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(dict.fromkeys(names[:2], draw.choice(kinds)), made)
        return made.getvalue()
    if what == 4:  # an archive that grows
        with zipfile.ZipFile(io.BytesIO(right)) as source:
            members = {own.filename: source.read(own) for own in source.infolist()}
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
            for name, data in members.items():
                if name.endswith("data/0"):
                    data = bytes(draw.choice((2**20, 2**27)))
                target.writestr(name, data)
        return made.getvalue()
    old = draw.choice(names)
    odd: Any = {old: values.odd(draw), draw.choice(values.NAMES): torch.zeros(4, 3)}
    torch.save(odd if draw.random() < 0.7 else values.odd(draw), made)
    return made.getvalue()


def bomb(content: bytes, draw: random.Random) -> bytes:
    """A small model whose constants are large, or take long."""
    model = onnx.ModelProto.FromString(content)
    graph = model.graph
    big = draw.choice((2**16, 2**20, 2**31, 2**40))
    what = draw.randrange(8)

    def constant(name: str, data: list[int]) -> str:
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(data)], data))
        return name

    nodes = []
    if what == 0:
        nodes = [helper.make_node("ConstantOfShape", [constant("s", [big, big])], ["m"])]
    elif what == 1:
        nodes = [
            helper.make_node(
                "Expand", [graph.initializer[0].name, constant("s", [big, 1, 1, 1])], ["m"]
            )
        ]
    elif what == 2:  # twice as large with each operator
        constant("m0", [0] * 100)
        nodes = [
            helper.make_node("Concat", [f"m{n}", f"m{n}"], [f"m{n + 1}"], axis=0) for n in range(40)
        ]
    elif what == 3:
        constant("a", [1] * 9000)
        graph.initializer.append(helper.make_tensor("r", TensorProto.INT64, [2], [9000, 1]))
        nodes = [
            helper.make_node("Reshape", ["a", "r"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["c"]),
            helper.make_node("MatMul", ["c", "c"], ["m"]),
        ]
    elif what == 4:
        one = [
            helper.make_tensor(n, TensorProto.INT64, [], [v])
            for n, v in (("p", 0), ("q", big), ("d", 1))
        ]
        graph.initializer.extend(one)
        nodes = [helper.make_node("Range", ["p", "q", "d"], ["m"])]
    elif what == 5:
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["c"], ["co"]),
                helper.make_node("Identity", ["v"], ["vo"]),
            ],
            "body",
            [
                helper.make_tensor_value_info("i", TensorProto.INT64, []),
                helper.make_tensor_value_info("c", TensorProto.BOOL, []),
                helper.make_tensor_value_info("v", TensorProto.INT64, [1]),
            ],
            [
                helper.make_tensor_value_info("co", TensorProto.BOOL, []),
                helper.make_tensor_value_info("vo", TensorProto.INT64, [1]),
            ],
        )
        graph.initializer.append(helper.make_tensor("trip", TensorProto.INT64, [], [2**62]))
        graph.initializer.append(helper.make_tensor("cond", TensorProto.BOOL, [], [True]))
        constant("v0", [1])
        nodes = [helper.make_node("Loop", ["trip", "cond", "v0"], ["m"], body=body)]
    elif what == 6:
        tensor = draw.choice(graph.initializer)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        where = draw.choice(("../secret", "/etc/passwd", "own.onnx", "none", "/dev/zero", "a\x00b"))
        for key, value in (("location", where), ("length", str(big)), ("offset", "0")):
            tensor.external_data.add(key=key, value=value)
    else:
        dims = graph.input[0].type.tensor_type.shape.dim
        for dim in dims:
            if draw.random() < 0.6:
                dim.dim_value = big
    for n, node in enumerate(nodes):
        graph.node.insert(n, node)
    readers = [node for node in graph.node[len(nodes) :] if node.input]
    if nodes and draw.random() < 0.7:  # something reads it
        later = draw.choice(readers)
        later.input[draw.randrange(len(later.input))] = nodes[-1].output[0]
    return model.SerializeToString()


def nested(draw: random.Random) -> bytes:
    """A protobuf of messages in messages."""
    content = b""
    for _ in range(draw.choice((50, 99, 200, 5000))):
        field = draw.choice((b"\x3a", b"\x0a"))
        content = field + _varint(len(content)) + content
    return content


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


class Networks(Kind):
    """Networks from files: ONNX, safetensors, pickles of tensors."""

    name = "network"
    share = 8

    def prepare(self, home: Path) -> None:
        own = files.whole(home)
        self.right = {name: own[name] for name in own if not name.endswith(".npz")}

    def draw(self, draw: random.Random) -> Case:
        name = draw.choice([*self.right])
        content, what = self.right[name], draw.random()
        if name.endswith(".onnx") and what < 0.3:
            content = bomb(content, draw) if what < 0.28 else nested(draw)
        elif name in ("a.pt", "b.ckpt") and what < 0.4:
            content = pickled(draw, self.right["a.pt"])
        else:
            content = files.damaged(name, content, draw)
        return Case({name: content}, draw.randrange(1000))

    def run(self, folder: Path, case: Case) -> None:
        (name,) = case.files
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            own = pytorch.read(folder / name)
            own.digest()
            recipe = PRESETS["vowels"].description.replace(name="own")
            description = own.fit(recipe)
            if (
                case.given % 4 == 0
                and sum(s.rows * s.units for s in description.arrays.values()) < 2000
            ):
                self.converted(own, description, case.given)

    def converted(self, own: Foreign, description: Any, seed: int) -> None:
        """Check that the converted network is the one in the file, on both paths."""
        draw = torch.Generator().manual_seed(seed)
        x = torch.randn(6, 5, own.layers[0].inputs, generator=draw)
        lengths = torch.full((6,), 5)
        data = Sequences(x, lengths, torch.full((6,), -1))
        found = convert.convert(own, description, data)
        both_paths(found.program, seed)
