"""What a user edited is not overwritten, unless that is asked for."""

import json
import subprocess

import numpy as np
import pytest
import torch

from gen.ip import package
from gen.rtl import vectors, verilog
from gen.rtl.generated import SUMS, Generated
from golden.errors import WordlineError
from tests.helpers import emitted_once, random_codes, random_program, small
from wordline.flow import emit

DESIGN = small()
PROGRAM = random_program(DESIGN, 0)
X = random_codes(DESIGN, 0, 3, 4, DESIGN.network.inputs)


@pytest.fixture(scope="module", autouse=True)
def texts_once():
    """The texts of a design are made once."""
    made = {}

    def once(make):
        def kept(description, *of, **named):
            key = make, description.to_toml(), str(of), str(named)
            if key not in made:
                made[key] = make(description, *of, **named)
            return dict(made[key])

        return kept

    with emitted_once({}), pytest.MonkeyPatch.context() as patch:
        patch.setattr(verilog, "texts", once(verilog.texts))
        patch.setattr(package, "texts", once(package.texts))
        yield


def emit_all(folder, count=3, **how):
    lengths = torch.tensor([4, 2, 1])[:count]
    return emit.emit_all(PROGRAM, X[:count], lengths, folder, **how)


def edit(path):
    """Change the file's last character but one."""
    text = bytearray(path.read_bytes())
    text[-2] ^= 1
    path.write_bytes(text)
    return bytes(text)


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def emitted(tmp_path):
    emit_all(tmp_path)
    return tmp_path


def test_hashes_are_as_sha256sum_reads_them(emitted):
    listed = {line.split("  ")[1] for line in (emitted / SUMS).read_text().splitlines()}
    assert listed == content(emitted).keys() - {SUMS, "emitted.json"}
    assert subprocess.run(["sha256sum", "--quiet", "-c", SUMS], cwd=emitted).returncode == 0
    edit(emitted / "small.v")
    done = subprocess.run(["sha256sum", "--quiet", "-c", SUMS], cwd=emitted, capture_output=True)
    assert done.returncode == 1 and done.stdout == b"small.v: FAILED\n"


@pytest.mark.parametrize("file", ["small.v", "small.json", "description.toml", "image.hex"])
def test_an_edited_file_is_overwritten_by_force_alone(file, emitted):
    whole = (emitted / file).read_bytes()
    mine = edit(emitted / file)
    before = content(emitted)
    with pytest.raises(WordlineError, match=f"{file} was edited since it was emitted"):
        emit_all(emitted)
    assert content(emitted) == before
    kept = emit_all(emitted, keep_edited=True)
    assert kept.edited == (file,) and kept.reused and content(emitted) == before
    part = emit_all(emitted, 1, whole=False, keep_edited=True)
    assert part.edited == (file,) and (emitted / file).read_bytes() == mine
    emit_all(emitted, force=True)
    assert (emitted / file).read_bytes() == whole
    edit(emitted / file)
    (emitted / file).unlink()
    emit_all(emitted)
    assert (emitted / file).read_bytes() == whole


def test_it_says_which_line_was_edited(emitted):
    lines = (emitted / "small.v").read_text().splitlines(keepends=True)
    lines[4] = "// mine\n"
    (emitted / "small.v").write_text("".join(lines))
    with pytest.raises(WordlineError, match=r"\(line 5: '// mine', emitted '"):
        emit_all(emitted)


def test_edited_verilog_does_not_stay_for_another_design(emitted):
    edit(emitted / "small.v")
    other = random_program(DESIGN.replace(array={"settle": 9}), 0)
    with pytest.raises(WordlineError, match=r"small\.v was edited"):
        emit.emit_all(other, X, torch.tensor([4, 2, 1]), emitted, keep_edited=True)


def test_edited_golden_vectors_never_stay(emitted):
    edit(emitted / "vectors.npz")
    with pytest.raises(WordlineError, match=r"vectors\.npz was edited"):
        emit_all(emitted, keep_edited=True)


def test_a_part_does_not_replace_the_whole_vectors(emitted):
    whole = (emitted / "vectors.npz").read_bytes()
    emit_all(emitted, 1, whole=False)
    with np.load(emitted / emit.PART) as part:
        assert len(part["x"]) == 1
    assert (emitted / "vectors.npz").read_bytes() == whole and emit_all(emitted).reused


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path):
    (tmp_path / "small.v").write_text("module mine; endmodule\n")
    with pytest.raises(WordlineError, match=r"small\.v was edited"):
        emit_all(tmp_path)
    assert len(content(tmp_path)) == 1


def test_a_folder_of_version_0_1_is_taken_over_unless_edited(emitted):
    """It has the hashes of the sidecar alone."""
    for file in (SUMS, "emitted.json"):
        (emitted / file).unlink()
    emit_all(emitted)
    for file in (SUMS, "emitted.json"):
        (emitted / file).unlink()
    edit(emitted / "small_crossbar_model.v")
    with pytest.raises(WordlineError, match=r"small_crossbar_model\.v was edited"):
        emit_all(emitted)


def test_an_interruption_leaves_nothing_that_looks_edited(emitted):
    """Whenever it comes: a file is as it was written, or absent."""
    made = Generated(emitted)
    with pytest.raises(KeyboardInterrupt), made.writing("small.v") as beside:
        beside.write_text("half of ")
        raise KeyboardInterrupt
    assert Generated(emitted).edited() == []
    assert emit_all(emitted).reused
    save = made._save

    def saved_and_interrupted():
        save()
        raise KeyboardInterrupt

    made._save = saved_and_interrupted
    with pytest.raises(KeyboardInterrupt):
        made.write_text("small.v", "of another design")
    assert Generated(emitted).edited() == [] and not emit_all(emitted).reused


def add_program(folder, **how):
    golden = vectors.make(PROGRAM, X, torch.tensor([4, 2, 1]))
    vectors.write(folder.with_suffix(".npz"), golden)
    emit.package_program(PROGRAM, {}, folder.with_suffix(".npz"), Generated(folder, **how))


VIEWS = {"blackbox": "stub", "model": "model", "digital": "digital"}


def test_a_second_view_keeps_the_first(tmp_path):
    package.write(DESIGN, "model", tmp_path, period_ns=4.0)
    board = tmp_path / package.board(DESIGN)
    first = content(tmp_path)
    package.write(DESIGN, "blackbox", tmp_path)
    assert board.exists() and first.keys() < content(tmp_path).keys()
    for view in ("model", "blackbox"):
        listed = (tmp_path / f"small_{view}.f").read_text().split()
        assert f"rtl/small_crossbar_{VIEWS[view]}.v" in listed
        assert all((tmp_path / file).is_file() for file in listed)
    assert (tmp_path / "small.f").read_text() == (tmp_path / "small_blackbox.f").read_text()
    core = (tmp_path / "small.core").read_text()
    rtl = json.loads(core.partition("\n")[2])["filesets"]["rtl"]["files"]
    assert rtl == [str(path.relative_to(tmp_path)) for path in package.sources(tmp_path)]
    again = package.write(DESIGN, "model", tmp_path)
    assert not again.edited()
    sdc = tmp_path / "timing/small.sdc"
    assert "-period 4.000" in sdc.read_text()  # nobody gave another
    package.write(DESIGN, "model", tmp_path, period_ns=5.0)
    assert "-period 5.000" in sdc.read_text()


def test_the_package_of_another_design_leaves_nothing_of_the_first(tmp_path):
    other = DESIGN.replace(name="other")
    package.write(other, "blackbox", tmp_path / "other")
    package.write(DESIGN, "model", tmp_path / "both")
    add_program(tmp_path / "both")
    package.write(other, "blackbox", tmp_path / "both")
    assert content(tmp_path / "both") == content(tmp_path / "other")
    folders = [path for path in (tmp_path / "both").rglob("*") if path.is_dir()]
    assert all(any(folder.iterdir()) for folder in folders)


@pytest.mark.parametrize("file", ["rtl/small.v", "driver/wordline.c", "image.hex"])
def test_an_edited_file_of_a_package_stays(file, tmp_path):
    package.write(DESIGN, "model", tmp_path)
    add_program(tmp_path)
    edit(tmp_path / file)
    before = content(tmp_path)
    with pytest.raises(WordlineError, match=f"{file} was edited"):
        package.write(DESIGN, "model", tmp_path)
        add_program(tmp_path)
    assert content(tmp_path) == before
    package.write(DESIGN, "model", tmp_path, force=True)
    add_program(tmp_path, force=True)
    assert not Generated(tmp_path).edited()


@pytest.mark.parametrize("name", ["../kept", "sub/../../kept", "/kept", "sub/kept", "..", "a\nb"])
def test_no_file_outside_the_folder_is_written_or_deleted(name, tmp_path):
    """Names may come from a sidecar that is in the folder, and links may lead out of it."""
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sub").symlink_to(tmp_path)
    name = str(tmp_path / "kept") if name == "/kept" else name
    (tmp_path / "own" / "own.json").write_text(json.dumps({"sha256": {name: "0" * 64}}))
    made = Generated(tmp_path / "own")
    for act in (lambda: made.delete([name]), lambda: made.write_text(name, "x"), made.edited):
        with pytest.raises(WordlineError, match="is not the name of a file in"):
            act()
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_hostile_package_deletes_nothing(tmp_path):
    """`wordline emit --macro` deletes the files of the package before it, by its sidecar."""
    (tmp_path / "kept").write_text("kept")
    hostile = {"fingerprint": "0", "name": "own", "sha256": {"../kept": "0" * 64}}
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "own.json").write_text(json.dumps(hostile))
    with pytest.raises(WordlineError, match="is not the name of a file in"):
        package.write(small(), "blackbox", tmp_path / "package")
    assert (tmp_path / "kept").read_text() == "kept"
