"""Fuzz of data: sequences as .npz, and the files of data sets."""

import gzip
import io
import pickle
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from golden import datasets
from golden.description import Description
from golden.errors import WordlineError
from sim.stimuli import Stimuli
from tests.fuzz import files
from tests.fuzz.engine import Case, Kind
from tests.fuzz.networks import Hostile
from wordline.flow.sequences import read_input, read_sequences

DESCRIPTION = Description.from_dict(
    {"name": "own", "network": {"inputs": 5, "hidden": [7], "classes": 3}}
)


def claimed(draw: random.Random) -> bytes:
    """An array of any size by its header, or in an archive that grows."""
    shape = draw.choice(
        ("(2**40,)", "(1099511627776, 6, 5)", "(-1, 6, 5)", "(6, 5", "[]", "(1,)*99")
    )
    kind = draw.choice(("<f4", "<f8", "|O", "<U9999999", "|V99", "<M8[s]", "f4,f4"))
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    text = draw.choice(
        (text, text * 99, "__import__('os').system('touch x')", "[" * 9000, "9" * 9000)
    )
    header = text.encode() + b"\n"
    what = draw.randrange(4)
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", min(len(header), 65_535)) + header
    if what == 0:
        member += bytes(draw.choice((0, 480, 2**25)))
    elif what == 1:
        made = io.BytesIO()
        np.save(made, np.array([Hostile("../ran")], object), allow_pickle=True)
        member = made.getvalue()
    elif what == 2:
        made = io.BytesIO()
        np.save(made, np.zeros((2 ** draw.choice((4, 20)), 8, 5), draw.choice(("f4", "f8", "u1"))))
        member = made.getvalue()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in draw.choice(
            (("x.npy",), ("x.npy", "x.npy"), ("../x.npy", "x.npy"), ("/x.npy",))
        ):
            archive.writestr(name, member)
    return packed.getvalue()


class Data(Kind):
    """Sequences as .npz."""

    name = "npz"
    share = 50

    def prepare(self, home: Path) -> None:
        own = files.whole(home)
        self.right = {name: own[name] for name in own if name.endswith(".npz")}
        draw = np.random.default_rng(0)
        codes = {"codes": draw.integers(-7, 8, (12, 6, 5)), "lengths": np.arange(12) % 6 + 1}
        for name, arrays in (("c.npz", codes), ("d.npz", codes | {"labels": np.arange(12) % 3})):
            made = io.BytesIO()
            np.savez(made, **arrays)
            self.right[name] = made.getvalue()
        self.program = Stimuli(DESCRIPTION, 0).random_program()

    def draw(self, draw: random.Random) -> Case:
        name = draw.choice([*self.right])
        if draw.random() < 0.1:
            return Case({name: claimed(draw)})
        return Case({name: files.damaged(name, self.right[name], draw)})

    def run(self, folder: Path, case: Case) -> None:
        (name,) = case.files
        path = folder / name
        codes, lengths, labels = read_input(path, self.program)
        low, high = DESCRIPTION.dac.range
        valid = torch.arange(codes.shape[1]) < lengths[:, None]
        inside = codes[valid]
        assert int(inside.min()) >= low and int(inside.max()) <= high
        assert int(lengths.min()) >= 1 and int(lengths.max()) <= codes.shape[1]
        assert labels is None or (int(labels.min()) >= 0 and int(labels.max()) < 3)
        arrays: dict[str, Any] = {"codes": codes.numpy(), "lengths": lengths.numpy()}
        np.savez(folder / "again.npz", **arrays)
        again = read_input(folder / "again.npz", self.program)
        assert torch.equal(again[0][valid], inside) and torch.equal(again[1], lengths)
        with np.load(path) as file:
            named = "codes" in file
        if named:
            return
        data = read_sequences(path, DESCRIPTION)
        assert bool(torch.isfinite(data.x.float()).all()) and data.x.shape == codes.shape


def pickled(draw: random.Random) -> bytes:
    """A batch of CIFAR-10's Python version that is odd or hostile."""
    count = draw.choice((0, 1, 3))
    batch: dict[Any, Any] = {
        b"data": np.zeros((count, 3072), draw.choice(("u1", "u1", "i8", "f4"))),
        b"labels": [draw.choice((0, 9, 10, 255, 256, -1))] * count,
    }
    what = draw.randrange(5)
    if what == 0:
        return pickle.dumps(Hostile("../ran"), draw.choice((0, 2, 4)))
    if what == 1:
        batch[b"data"] = draw.choice((Hostile("../ran"), [], 7, b"x" * 3072, "x"))
    if what == 2:
        batch[b"labels"] = draw.choice((7, [[1]], ["x"], {}, None, [2**70]))
    content = pickle.dumps(batch, draw.choice((0, 1, 2)))
    if what == 3:
        content = content.replace(struct.pack("<i", 3072)[:2], struct.pack("<i", 2**30)[2:], 1)
    return content


class Sets(Kind):
    """Files of data sets that a user gives with `wordline data --from`."""

    name = "dataset"
    share = 20

    def prepare(self, home: Path) -> None:
        image = struct.pack(">IIII", 0x803, 2, 28, 28) + bytes(2 * 784)
        label = struct.pack(">II", 0x801, 2) + b"\x01\x02"
        self.mnist = {
            f"{part}-{what}-idx{axes}-ubyte": content
            for part in ("train", "t10k")
            for what, axes, content in (("images", 3, image), ("labels", 1, label))
        }
        record = bytes([3]) + bytes(3072)
        self.cifar = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
        self.record = record
        self.text = "".join(f"Ge1:{n} In the beginning, {n}.\n" for n in range(1, 80)).encode()

    def draw(self, draw: random.Random) -> Case:
        which = draw.choice(("mnist", "cifar10", "text", "ptb", "kjv"))
        own: dict[str, bytes | Path] = {}
        ways = (files.flipped, files.cut, files.moved, files.filled, files.numbers)
        if which == "mnist":
            own = dict(self.mnist)
            name = draw.choice([*own])
            content = draw.choice((*ways, self.sized))(self.mnist[name], draw)
            what = draw.random()
            if what < 0.3:
                del own[name]
                packed = gzip.compress(content)
                own[f"{name}.gz"] = files.flipped(packed, draw) if what < 0.1 else packed
            elif what < 0.4:
                del own[name]
                own[f"{name}.gz"] = gzip.compress(content + bytes(draw.choice((9, 2**27))), 1)
            elif what < 0.95:
                own[name] = content
        elif which == "cifar10":
            own = {f"{name}.bin": self.record for name in self.cifar}
            name = draw.choice([*own])
            if draw.random() < 0.6:
                del own[name]
                own[name.removesuffix(".bin")] = pickled(draw)
            else:
                own[name] = draw.choice(ways)(self.record, draw)
        else:
            names = [f"ptb.{part}.txt" for part in ("train", "valid", "test")]
            for name in names if which == "ptb" or draw.random() < 0.3 else ["a.txt"]:
                own[name] = draw.choice((*ways, self.same, self.same))(self.text, draw)
        if draw.random() < 0.03 and own:
            own[draw.choice([*own])] = draw.choice((Path("/dev/zero"), Path("none"), Path("/")))
        return Case(own, which)

    @staticmethod
    def same(content: bytes, draw: random.Random) -> bytes:
        return content

    @staticmethod
    def sized(content: bytes, draw: random.Random) -> bytes:
        at = draw.choice((4, 8, 12))
        size = draw.choice((0, 1, 2**31, 2**32 - 1))
        kind = draw.choice((8, 9, 11, 14, 7))
        content = content[:2] + bytes([kind, draw.choice((0, 1, 3, 255))]) + content[4:]
        return content[:at] + struct.pack(">I", size) + content[at + 4 :]

    def run(self, folder: Path, case: Case) -> None:
        target = folder / "data"
        found = datasets.find(case.given)
        found.take(folder, target)
        try:
            data = datasets.load(DATASETS[case.given], target)
        except WordlineError:
            return
        assert len(data.train.x) and len(data.test.x)


DATASETS = {
    "mnist": "mnist-rows",
    "cifar10": "cifar10-rows",
    "text": "text-char",
    "ptb": "ptb-char",
    "kjv": "kjv-char",
}
