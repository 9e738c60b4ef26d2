"""Fuzz of programs and of their images."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gen.rtl import image
from golden.description import Description
from golden.program import Program
from hw.loadmap import LoadMap
from sim.stimuli import Stimuli, random_description
from tests.fuzz import files, values
from tests.fuzz.engine import Case, Kind
from tests.fuzz.texts import SMALL, both_paths, size

TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL", "X")


DAMAGED = (LookupError, ValueError, TypeError, AttributeError, RecursionError, struct.error)
"""What changing a file raises that is no such file any more."""


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a .safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Any, data: bytes) -> bytes:
    """The file of a header and data."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def number(content: bytes, draw: random.Random) -> bytes:
    """A number of a tensor is another one, anywhere in the range of its type."""
    header, data = parts(content)
    name = draw.choice([name for name in header if name != "__metadata__"])
    start, end = header[name]["data_offsets"]
    if start == end:
        return content
    kind = {"I16": "<i2", "I64": "<i8", "F64": "<f8"}[header[name]["dtype"]]
    tensor = np.frombuffer(data[start:end], kind).copy()
    at = draw.randrange(len(tensor))
    if kind == "<f8":
        tensor[at] = draw.choice(values.REALS)
    else:
        most = np.iinfo(tensor.dtype)
        own = int(tensor[at])
        near = (own + 1, own - 1, -own, 0, most.max, most.min, draw.randint(-300, 300))
        tensor[at] = min(max(draw.choice(near), most.min), most.max)
    return joined(header, data[:start] + tensor.tobytes() + data[end:])


def tensors(content: bytes, draw: random.Random) -> bytes:
    """A tensor is missing, has another name, type or shape, or the place of another one."""
    header, data = parts(content)
    names = [name for name in header if name != "__metadata__"]
    name, other = draw.choice(names), draw.choice(names)
    what = draw.randrange(6)
    if what == 0:
        del header[name]
    elif what == 1:
        header[draw.choice((other, *values.NAMES))] = header.pop(name)
    elif what == 2:
        header[name]["dtype"] = draw.choice(TYPES)
    elif what == 3:
        header[name]["shape"] = values.near(header[name]["shape"], draw)
    elif what == 4:
        header[name], header[other] = header[other], header[name]
    else:
        header[name] = values.changed(header[name], draw)
    return joined(header, data)


def about(content: bytes, draw: random.Random) -> bytes:
    """What the file says of itself is changed."""
    header, data = parts(content)
    own = json.loads(header["__metadata__"]["wordline"])
    inside = draw.choice(("description", "about", None))
    if inside and own[inside]:
        own[inside] = values.changed(own[inside], draw)
    else:
        own = values.changed(own, draw)
    text = json.dumps(own)
    if draw.random() < 0.05:
        text = draw.choice(('{"format":' + "[" * 50_000, "[" * 50_000, "1", "9" * 5000, ""))
    header["__metadata__"]["wordline"] = text
    if draw.random() < 0.05:
        header["__metadata__"] = values.odd(draw)
    return joined(header, data)


def drawn_programs() -> list[Program]:
    """Programs of small designs, with and without noise and votes."""
    found = []
    for seed in range(24):
        description = random_description(random.Random(seed))
        stimuli = Stimuli(description, seed)
        noisy = bool(seed % 2)
        found.append(
            stimuli.random_program(noisy=noisy, extreme=seed % 3 == 0, on_levels=not noisy)
        )
    return found


class Programs(Kind):
    """Programs, as .safetensors."""

    name = "program"
    share = 100

    def prepare(self, home: Path) -> None:
        self.right = []
        for n, program in enumerate(drawn_programs()):
            program.save(home / f"{n}.safetensors")
            self.right.append((home / f"{n}.safetensors").read_bytes())

    def draw(self, draw: random.Random) -> Case:
        content = draw.choice(self.right)
        for _ in range(draw.choice((1, 1, 1, 2))):
            ways = (number, number, tensors, about, about, files.header, files.flipped, files.cut)
            way = draw.choice((*ways, files.moved, files.filled, files.numbers))
            try:
                content = way(content, draw)
            except DAMAGED:
                content = files.flipped(content, draw)  # it is no such file any more
        return Case({"program.safetensors": content}, draw.randrange(1000))

    def run(self, folder: Path, case: Case) -> None:
        program = Program.load(folder / "program.safetensors")
        program.save(folder / "again.safetensors")
        again = Program.load(folder / "again.safetensors", program.description)
        own = program.tensors()
        assert all(torch.equal(tensor, own[name]) for name, tensor in again.tensors().items())
        assert (again.votes, again.vote_by) == (program.votes, program.vote_by)
        assert again.about == program.about
        map_ = LoadMap(program.description)
        words = image.words(program)
        assert all(0 <= address < 2**map_.address_bits for address, _ in words)
        assert all(0 <= data < 2**32 for _, data in words)
        image.write(folder / "image.hex", program)
        assert image.read(folder / "image.hex", program.description) == words
        if size(program.description) <= SMALL and program.votes <= 5:
            both_paths(program, case.given)


class Images(Kind):
    """Images, as Verilog hex files."""

    name = "image"
    share = 120

    def prepare(self, home: Path) -> None:
        self.right: list[tuple[Description, bytes]] = []
        for n, program in enumerate(drawn_programs()):
            image.write(home / f"{n}.hex", program)
            content = (home / f"{n}.hex").read_bytes()
            if len(content) < 60_000:
                self.right.append((program.description, content))

    def draw(self, draw: random.Random) -> Case:
        number = draw.randrange(len(self.right))
        content = self.right[number][1]
        for _ in range(draw.choice((1, 1, 2))):
            ways = (files.flipped, files.cut, files.moved, files.filled, files.numbers)
            content = draw.choice((*ways, self.words, self.words, self.words))(content, draw)
        return Case({"image.hex": content}, number)

    def words(self, content: bytes, draw: random.Random) -> bytes:
        """Words that are swapped, missing, twice, or with another digit."""
        lines = content.splitlines(keepends=True)
        if len(lines) < 3:
            return content
        a, b = sorted(draw.sample(range(1, len(lines)), 2))
        what = draw.randrange(6)
        if what == 0:
            lines[a], lines[b] = lines[b], lines[a]
        elif what == 1:
            del lines[a]
        elif what == 2:
            lines.insert(b, lines[a])
        elif what == 3:
            del lines[a:b]
        elif what == 4:
            digits = bytearray(lines[a])
            digits[draw.randrange(1, len(digits))] = draw.choice(b"0123456789abcdefXx_@ -")
            lines[a] = bytes(digits)
        else:
            lines[a] = draw.choice(
                (b"@" + b"f" * 5000 + b" 0\n", b"@0 " + b"9" * 5000, b"@\n", b"@0\n")
            )
        return b"".join(lines)

    def run(self, folder: Path, case: Case) -> None:
        description, right = self.right[case.given]
        words = image.read(folder / "image.hex", description)
        image.write_words(folder / "again.hex", description, words)
        assert image.read(folder / "again.hex", description) == words
        (folder / "right.hex").write_bytes(right)
        wanted = image.read(folder / "right.hex", description)
        check = LoadMap(description).check
        if words != wanted and words and words[-1][0] == check:  # as the registers see it
            inside = np.array(words[:-1], np.int64).reshape(-1, 2)
            last = words[-1][1] == image.checksum(inside)
            assert not last or any(address == check for address, _ in words[:-1])
