"""Fuzz of the folders that commands write and read back: a design, a package, an import."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gen.ip import package
from gen.rtl import image, naming, vectors
from gen.rtl.generated import Generated
from golden.program import Program
from sim.stimuli import Stimuli
from tests.fuzz import files, values
from tests.fuzz.engine import Case, Kind
from tests.fuzz.texts import twice
from tests.fuzz.values import NAMES
from tests.helpers import FEW_ENTRIES, small
from wordline.flow import emit, importing
from wordline.flow.given import find

OUTSIDE = ("../kept", "../../kept", "/etc/hostname", "out/kept", "rtl/../../kept", "kept/", ".")


class Folders(Kind):
    """A folder of emitted files, with one or two of them changed."""

    name = "folder"
    share = 4

    def prepare(self, home: Path) -> None:
        description = small(name="own", cell=FEW_ENTRIES)
        self.program: Program = Stimuli(description, 1).random_program()
        x = Stimuli(description, 2).random_codes(4, 3, description.network.inputs)
        lengths = torch.tensor([3, 1, 2, 3])
        emit.emit_all(self.program, x, lengths, home / "own")
        made = package.write(description, "model", home / "own" / "package")
        emit.package_program(self.program, {}, home / "own" / "vectors.npz", made)
        (home / "own" / "import.json").write_text('{"network": "a", "toml": "b"}\n')
        (home / "own" / "own.toml").write_text(description.to_toml())
        (home / "own" / "summary.json").write_text(json.dumps({"format": 1, "passed": True}))
        large = (".v", ".c", ".h", ".md", ".cpp", ".rdl", ".svg", ".core", ".lib", ".sdc", ".vlt")
        self.right = {
            str(path.relative_to(home / "own")): (
                b"// empty\n" if path.suffix in large else path.read_bytes()
            )
            for path in sorted((home / "own").rglob("*"))
            if path.is_file() and not {"driver", "timing", "board", "tb"} & {*path.parts}
        }

    def draw(self, draw: random.Random) -> Case:
        own: dict[str, bytes | Path] = dict(self.right)
        data = [name for name in own if not name.endswith((".v", ".c", ".h", ".md", ".cpp"))]
        data += [name for name in own if name.endswith((".json", "SHA256SUMS", ".npz"))] * 3
        for _ in range(draw.choice((1, 1, 1, 2))):
            name = draw.choice(data)
            content = own.get(name, b"x")
            what = draw.random()
            if isinstance(content, Path):
                continue
            if what < 0.05:
                own.pop(name, None)
            elif what < 0.1:
                own.pop(name, None)
                own[name] = draw.choice((Path("../kept"), Path("/dev/zero"), Path("own.toml")))
            elif name.endswith(".json") and what < 0.8:
                own[name] = self.json(content, draw)
            elif name.endswith("SHA256SUMS") and what < 0.8:
                line = f"{'0' * 64}  {draw.choice((*OUTSIDE, *NAMES))}\n".encode()
                own[name] = draw.choice((content + line, line, line * 999, twice(content, draw)))
            elif name.endswith(".npz"):
                own[name] = files.damaged("a.npz", content, draw)
            else:
                ways = (files.flipped, files.cut, files.moved, files.filled, twice)
                own[name] = draw.choice(ways)(content, draw)
        if draw.random() < 0.1:
            own["own2.json"] = self.json(self.right["own.json"], draw)
        if draw.random() < 0.2:
            own.pop("SHA256SUMS" if draw.random() < 0.5 else "package/SHA256SUMS", None)
        which = draw.choice(("design", "package", "import"))
        return Case(own, which if draw.random() < 0.97 else "write")

    @staticmethod
    def json(content: bytes, draw: random.Random) -> bytes:
        """JSON with another value, or with names of files outside."""
        try:
            found: Any = json.loads(content)
            if not isinstance(found, dict) or not found:
                raise ValueError
        except ValueError:
            return files.flipped(content, draw)
        what = draw.random()
        if what < 0.05:
            return draw.choice((b"[" * 100_000, b'{"sha256":' * 5000, b"9" * 9000, b"", b"null"))
        if what < 0.25 and isinstance(found.get("sha256"), dict):
            found["sha256"] |= {draw.choice(OUTSIDE): "0" * 64}
            found["fingerprint"] = draw.choice((found.get("fingerprint"), "0"))
        elif what < 0.3:
            found["name"] = draw.choice(NAMES)
        else:
            for _ in range(draw.choice((1, 1, 3))):
                found = values.changed(found, draw) if found else {}
        return json.dumps(found).encode()

    def run(self, folder: Path, case: Case) -> None:
        kept = folder / "out" / "kept"
        for path in (folder.parent / "kept", folder / "kept", kept):
            path.parent.mkdir(exist_ok=True)
            path.write_text("kept")
        try:
            self.read(folder, case.given)
        finally:
            for path in (folder.parent / "kept", folder / "kept", kept):
                assert path.read_text() == "kept"
            (folder.parent / "kept").unlink()

    def read(self, folder: Path, which: str) -> None:
        description = self.program.description
        if which == "import":
            importing._check_folder(folder, "a")
        elif which == "write":
            package.write(description, "model", folder / "package")
            Generated(folder / "package").check(["own.json"])
            emit.emit_design(description, folder)
        else:
            given = find(folder if which == "design" else folder / "package")
            words = image.read(given.image, given.description)
            golden = vectors.load(given.vectors, given.description)
            module = naming.module_name(given.description)
            assert given.sidecar["module"] == module and given.sidecar["name"] == given.name
            assert {"ports", "probes", "arrays", "load_map"} <= given.sidecar.keys()
            assert words and len(golden["x"]) == len(golden["lengths"])
            count, steps, _ = golden["x"].shape
            assert golden["x"].shape[2] == given.description.network.inputs
            assert golden["lengths"].min() >= 1 and golden["lengths"].max() <= steps
            votes = len(golden["layers.0.h"]) // count
            for n, shape in enumerate(given.description.layers):
                assert golden[f"layers.{n}.h"].shape == (votes * count, steps, shape.units)
            assert all(np.issubdtype(array.dtype, np.integer) for array in golden.values())
            vectors.one(golden, count - 1), vectors.first(golden, 1)
