"""`wordline check`: RTL that is given, right, wrong and edited."""

import dataclasses
import json
import os
import re
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import wordline
from gen.impl import equivalence, tools
from gen.ip import package
from gen.rtl import vectors
from golden import files
from golden.errors import DesignError, WordlineError
from golden.program import REAL
from sim import batch, chip, verilator, waves
from tests.helpers import FEW_ENTRIES, random_codes, random_program, small
from tests.wordline.test_cli import complaint, here, refused
from wordline.flow import check, emit

DESIGN = small(
    name="checked",
    network={"inputs": 3, "hidden": [4], "classes": 3},
    array={"units_per_beat": 1},
    cell=FEW_ENTRIES,
    voting={"replay_steps": 5},
)
PROGRAM = dataclasses.replace(random_program(DESIGN, 0, on_levels=True), votes=2)
LENGTHS = torch.tensor([3, 1, 5, 2, 4] * 14)
"""More sequences than the batch runner runs from one reset on."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A build folder with a package."""
    folder = tmp_path_factory.mktemp("made") / "checked"
    x = random_codes(DESIGN, 0, len(LENGTHS), 5, 3)
    emit.emit_all(PROGRAM, x, LENGTHS, folder)
    packaged = package.write(DESIGN, "model", folder / "package")
    emit.package_program(PROGRAM, {}, folder / "vectors.npz", packaged)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it; at one place, so that what is built is built once."""
    copy = made.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(made, copy)
    return copy


def edit(path, pattern, text, count=1):
    """Replace the first match of a pattern; returns the line's number."""
    before = path.read_text()
    match = re.search(pattern, before)
    assert match, pattern
    path.write_text(re.sub(pattern, text, before, count=count))
    return before[: match.start()].count("\n") + 1


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_emitted_passes_and_nothing_is_written_beside_it(folder):
    before = content(folder)
    found = wordline.check(folder)
    assert found.passed and not found.edited and found.changes == []
    steps = int(LENGTHS.sum()) * 2
    assert found.values_compared == steps * (4 * 4 + 4 + 4) + len(LENGTHS) * (2 * 3 + 1)
    assert found.sequences == found.of_sequences == len(LENGTHS)
    assert set(found.files) == {str(path) for path in found.given.files}
    assert content(folder) == before


def test_a_package_tells_what_codes_and_scores_are_worth(folder):
    told = json.loads((folder / "package/program.json").read_text())
    for name in REAL:
        assert told[name] == getattr(PROGRAM, name).tolist() and told[name]


def test_edits_are_found_where_hashes_are_missing_or_made_anew(folder):
    """A line that a merge lost, all lines, and sums that were made again after the edit."""
    rtl, sums = folder / "checked.v", folder / "SHA256SUMS"
    listed = sums.read_text()
    edit(rtl, r"(assign score = )", r"\1 0 + ")
    kept = [line for line in listed.splitlines() if not line.endswith("  checked.v")]
    for text in ("\n".join(kept) + "\n", "", listed):
        sums.write_text(text)
        found = check.find(folder)
        assert rtl in found.edited, text[:40]
        assert (rtl in found.unknown) == ("  checked.v\n" not in text)
    # As `sha256sum` would make them.
    again = [f"{files.sha256(rtl)}  checked.v", *kept]
    sums.write_text("\n".join(again) + "\n")
    assert rtl in check.find(folder).edited
    found = wordline.check(folder)
    assert found.passed and len(found.changes) == 1 and found.changes[0].proved


def test_an_image_whose_checksum_is_wrong_is_not_compared(folder):
    digit = r"(?m)^(@\S+ .*)([0-9a-f])$"
    edit(folder / "image.hex", digit, lambda m: f"{m[1]}{int(m[2], 16) ^ 1:x}")
    with pytest.raises(WordlineError, match=r"ends with the checksum \w{8}, but its words have"):
        wordline.check(folder)


def test_verilog_may_have_letters_of_another_encoding(folder):
    rtl = folder / "checked.v"
    rtl.write_bytes(rtl.read_bytes().replace(b"\n", b"\n// 10 \xb5s\n", 1))
    assert wordline.check(folder).passed


FAULTS = {
    "codes": (r"(assign codes = )\{block_o", r"\1 16 ^ {block_o", "layer_0.gates", "code_f_0"),
    "c": (r"(assign c_next_0 = )", r"\1 1 + ", "layer_0.gates", "c_next_0"),
    "h": (r"(assign h_0 = )", r"\1 ~", "layer_0.gates", "h_0"),
    "scores": (r"(assign score = )", r"\1 1 + ", "head.scores", "score"),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[pytest.mark.slow] * (k != "codes")) for k in FAULTS]
)
def test_a_fault_is_placed(kind, folder):
    pattern, text, module, net = FAULTS[kind]
    line = edit(folder / "checked.v", pattern, text)
    found = wordline.check(folder)
    assert not found.passed and found.mismatches
    assert [path.name for path in found.edited] == ["checked.v"]
    first = found.first
    assert (first.module, first.net) == (module, net), first
    assert first.quantity.endswith(kind) and first.sequence == 0 and first.cycle > 0
    assert first.gate == ("f" if kind == "codes" else None)
    assert [(change.line, change.module) for change in found.changes] == [(line, module)]
    assert not found.changes[0].proved
    assert str(first).startswith(f"{first.quantity} at sequence 0, ")


@pytest.mark.slow
def test_the_cycle_is_that_of_the_value_in_the_waves(folder):
    edit(folder / "checked.v", *FAULTS["c"][:2])
    found = wordline.check(folder, waves=True)
    assert found.waves.with_suffix(".gtkw").exists()
    top, place = found.given.sidecar["module"], found.first
    names = [f"{place.module}.{place.net}", "layer_0.gates.trace_valid"]
    sampled = waves.sample(found.waves, top, names)
    assert place.rtl % 4096 in [value for value in sampled.values[names[0]] if value is not None]


def test_a_fault_in_a_later_run_has_its_cycle_there(folder):
    """The batch runner begins anew with sequence 64."""
    with vectors.np.load(folder / "vectors.npz") as file:
        golden = dict(file)
    golden["layers.0.c"][2 * 66 + 1, 0, 2] += 1
    vectors.write(folder / "vectors.npz", golden)
    found = wordline.check(folder)
    first = found.first
    assert (first.sequence, first.pass_, first.step, first.unit) == (66, 1, 0, 2)
    assert first.since == 64 and "after loading from sequence 64 on" in str(first)
    assert found.mismatches == 1
    assert [path.name for path in found.edited] == ["vectors.npz"]


def test_vectors_of_another_image_are_refused(folder):
    """As `wordline sim --sequences --effects` leaves them: the image is new, they are not."""
    other = dataclasses.replace(PROGRAM, votes=1)
    x = random_codes(DESIGN, 0, 3, 5, 3)
    emit.emit_all(other, x, torch.tensor([5, 1, 2]), folder, whole=False)
    before = content(folder)
    with pytest.raises(WordlineError) as caught:
        wordline.check(folder)
    marks = re.findall(r"checksum ([0-9a-f]{8})\)", str(caught.value))
    assert len(set(marks)) == 2 and marks[1] == (folder / "image.hex").read_text().split()[-1]
    assert f"`wordline emit {DESIGN.name}`" in str(caught.value)
    assert content(folder) == before
    assert wordline.check(folder, vectors_file=folder / emit.PART).passed
    # The package has an image and vectors of its own.
    with vectors.np.load(folder / "package" / "vectors.npz") as file:
        assert file["image"] == int((folder / "package" / "image.hex").read_text().split()[-1], 16)
    golden = vectors.load(folder / "vectors.npz", DESIGN)
    del golden["image"]  # of a version before
    vectors.write(folder / "vectors.npz", golden)
    assert not wordline.check(folder).passed


EQUAL = {
    "exchanged operands": (r"assign (\w+) = (\w+) & (\w+);", r"assign \1 = \3 & \2;"),
    "a comment": (r"module ", "// mine\nmodule "),
}


def test_without_yosys_nothing_is_called_equal(folder, monkeypatch):
    monkeypatch.setattr(tools, "has_yosys", lambda: False)
    edit(folder / "checked.v", *EQUAL["a comment"])
    (change,) = wordline.check(folder, first=3).changes
    assert not change.proved and change.exercised is not None


@pytest.mark.parametrize("how", EQUAL)
def test_an_edit_that_changes_nothing_is_proved_equal(how, folder):
    edit(folder / "checked.v", *EQUAL[how])
    found = wordline.check(folder, first=3)
    assert found.passed and found.exercised is None
    assert found.changes and all(change.proved for change in found.changes)
    assert (found.sequences, found.of_sequences) == (3, len(LENGTHS))


def test_an_edit_that_the_vectors_do_not_show_is_not_called_equal(folder):
    """What a counter begins with, which reset puts right."""
    line = edit(folder / "checked.v", r"(reg \[1:0\] h_count = 2'h)0", r"\g<1>1")
    found = wordline.check(folder, first=3)
    assert found.passed and [change.line for change in found.changes] == [line]
    (change,) = found.changes
    assert not change.proved and change.module == "layer_0.dac"
    assert 0 < change.exercised.exercised <= change.exercised.points
    assert 0 < found.exercised.exercised < found.exercised.points


@pytest.mark.parametrize(
    ("pattern", "text", "words"),
    [
        (
            r"assign code_f_0",
            r"asign code_f_0",
            r"could not build wordline_checked: checked\.v:\d+",
        ),
        (r"(assign o__valid = )fsm_state", r"\1 0 & fsm_state", "the chip hangs"),
    ],
)
def test_what_does_not_run_is_red(pattern, text, words, folder):
    line = edit(folder / "checked.v", pattern, text)
    found = wordline.check(folder, first=3)
    assert not found.passed and re.search(words, found.complaint)
    assert [change.line for change in found.changes] == [line]


def test_a_package_is_checked_through_axi_too(folder):
    packaged = folder / "package"
    found = wordline.check(packaged)
    assert found.passed and found.axi == "PASSED: 8 results equal" and found.values_compared
    edit(packaged / "rtl/checked_axi.v", r"(assign m_axis_tdata = )", r"\1 1 ^ ")
    assert wordline.check(packaged, through="streams").passed
    found = wordline.check(packaged)
    assert not found.passed and found.axi == "FAILED: 8 of 8 results differ"
    assert [path.name for path in found.edited] == ["checked_axi.v"]
    mine = folder / "checked_axi.v"  # another top, of the same name
    mine.write_text((packaged / "rtl/checked_axi.v").read_text())
    found = wordline.check(mine, design=packaged, through="axi")
    assert not found.passed and mine in found.edited


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
def test_icarus_says_the_same(folder):
    found = wordline.check(folder / "package", simulator="icarus")
    assert found.passed and found.sequences == 2 and found.axi == "PASSED: 2 results equal"
    edit(folder / "package/rtl/checked.v", r"(assign c_next_0 = )", r"\1 1 + ")
    found = wordline.check(folder / "package", simulator="icarus", through="streams")
    assert not found.passed and found.first.quantity == "layers.0.c"


def test_verilog_elsewhere_is_compared_with_its_design(folder, tmp_path):
    mine = tmp_path / "mine.v"
    mine.write_text((folder / "checked.v").read_text())
    (folder / "checked.v").unlink()
    with pytest.raises(WordlineError, match="give the folder of its design with --design"):
        wordline.check(mine)
    with pytest.raises(WordlineError, match=r"checked\.v is missing; emit the design again"):
        wordline.check(folder)
    found = wordline.check(mine, design=folder, first=2)
    assert found.passed and found.given.replaced == (mine,) and not found.edited
    assert found.changes == []
    mine.write_text(mine.read_text() + "\n")
    assert wordline.check(mine, design=folder, first=2).edited == (mine,)
    with pytest.raises(WordlineError, match="is not a package"):
        wordline.check(mine, design=folder, through="axi")


@pytest.mark.parametrize("task", ["$finish", "$stop", "$fatal"])
def test_verilog_that_ends_the_simulation_is_red(task, folder):
    """And does not end this process."""
    edit(
        folder / "checked.v",
        r"(?m)^endmodule",
        f"always @(posedge clk) if (i__valid) {task};\nendmodule",
    )
    found = wordline.check(folder, first=2)
    assert not found.passed
    assert found.complaint.endswith("ended the simulation, with $finish, $stop or $fatal.")


def test_verilog_that_does_not_settle_is_red(folder):
    """And does not end this process."""
    loop = "wire turns = i__valid & ~turns;\nalways @(posedge clk) if (turns) $display(turns);\n"
    for file in ("checked.v", "package/rtl/checked.v"):
        edit(folder / file, r"(?m)^endmodule", f"{loop}endmodule")
    found = wordline.check(folder, first=2)
    assert not found.passed
    assert "the simulation cannot go on: " in found.complaint
    assert "did not converge" in found.complaint
    through_axi = wordline.check(folder / "package", through="axi")
    assert through_axi.axi_passed is False
    assert through_axi.axi.startswith("FAILED: ") and "did not converge" in through_axi.axi


def test_a_verdict_stands_though_more_is_asked(folder, monkeypatch):
    """The waves of a difference, which need a build of their own."""
    edit(folder / "checked.v", *FAULTS["h"][:2])

    def fails(self, place):
        raise WordlineError("no room")

    monkeypatch.setattr(check._Check, "_waves", fails)
    found = wordline.check(folder, first=2, waves=True)
    assert found.first.quantity == "layers.0.h"
    assert found.warnings == ["there are no waves: no room"]


def test_values_without_a_probe_are_not_passed_over(folder):
    path = folder / "checked.json"
    edited = json.loads(path.read_text())
    del edited["probes"]["layers.0"]
    path.write_text(json.dumps(edited))
    job = {"sidecar": str(path), "image": str(folder / "image.hex")}
    job["vectors"] = str(folder / "vectors.npz")
    sources = [folder / "checked.vlt", folder / "checked.v", folder / "checked_crossbar_model.v"]
    built = batch.build(chip.Emitted(sources, "wordline_checked", job), folder / "batch")
    with pytest.raises(WordlineError, match=r"no probe of layers\.0\.c, layers\.0\.codes, layers"):
        batch.simulate(built)


def test_what_is_not_compared_is_said(folder, tmp_path):
    packaged = folder / "package"
    (packaged / "driver/wordline.c").write_text("edited")
    done = here("check", packaged, "--sequences", 1, "--through", "streams", folder=tmp_path)
    said = " ".join(done.stdout.split())
    assert done.returncode == 0 and "NOT COMPARED, and edited: driver/wordline.c" in said
    assert "EDITED: " not in said
    binary = packaged / "image.bin"
    binary.write_bytes(binary.read_bytes()[:-1] + b"x")
    with pytest.raises(WordlineError, match=r"image\.bin has other words than .*image\.hex, so a"):
        wordline.check(packaged)
    stub = packaged / "rtl/checked_crossbar_stub.v"
    stub.write_text("")
    with pytest.raises(WordlineError, match="is a view of the crossbars; check the folder, with"):
        wordline.check(stub)
    with pytest.raises(WordlineError, match="the top for a board, which is not compared"):
        wordline.check(packaged / "board/checked_board.v")


def test_the_command_says_it_all_and_writes_junit(folder, tmp_path):
    edit(folder / "checked.v", *FAULTS["c"][:2])
    done = here("check", folder, "--junit", "report.xml", folder=tmp_path)
    said = " ".join(done.stdout.split())
    assert done.returncode == 1 and "RED: " in said and "first layers.0.c at sequence 0" in said
    assert "EDITED: " in said and "assign c_next_0 = 1 + " in said
    suite = ElementTree.parse(tmp_path / "report.xml").getroot()
    failures = [case.get("name") for case in suite if case.find("failure") is not None]
    assert int(suite.get("failures")) == len(failures) > 1
    assert any(name.startswith("layers.0.c: ") for name in failures)
    assert here("check", tmp_path / "absent", folder=tmp_path).returncode == 2


def test_a_result_replaces_nothing_else(folder, tmp_path, monkeypatch):
    """Told before the build; a link stays a link, and an earlier result is replaced."""
    monkeypatch.setattr(batch, "build", None)  # nothing is built
    before = content(folder)
    notes = tmp_path / "notes.xml"
    notes.write_text("<notes/>")
    for path, words in (
        (folder / "checked.v", "is there and is not a result as JUnit XML"),
        (notes, "is not overwritten; give another name"),
        (tmp_path, "is a folder; give the name of a file"),
        (notes / "new" / "a.xml", r"notes.xml is no folder that can be written"),
        ("", "A value is empty, after --junit"),
    ):
        assert re.search(words, refused("check", folder, "--junit", path, folder=tmp_path)), path
    assert content(folder) == before and notes.read_text() == "<notes/>"
    monkeypatch.undo()
    link, target = tmp_path / "link.xml", tmp_path / "target.xml"
    target.write_text('<testsuite name="wordline check checked" />')
    link.symlink_to(target)
    edit(folder / "checked.v", "module", "modul")
    done = here("check", folder, "--junit", link, folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert link.is_symlink() and "could not build" in target.read_text()


@pytest.mark.parametrize("simulator", check.SIMULATORS)
def test_paths_that_tools_could_misread(simulator, folder, tmp_path):
    """make splits paths at spaces, shells and make expand $, Verilator and Icarus quote them."""
    if simulator == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed")
    name = os.fsdecode(b"a $(id) \"b':#% \xff")
    odd = tmp_path / name
    shutil.copytree(folder, odd)
    cache = tmp_path / f"cache {name[:-1]}"  # cocotb, in a test, needs UTF-8
    given = ("--cache-dir", cache, "check", odd, "--sequences", 1)
    junit = ("--junit", tmp_path / "found.xml")
    done = here(*given, "--simulator", simulator, *junit, folder=tmp_path)
    assert done.returncode == 0 and "could not be made" not in done.stderr, done.stderr
    assert "tests=" in (tmp_path / "found.xml").read_text()


def test_a_failure_of_the_machine_is_not_one_of_the_verilog(folder, monkeypatch, tmp_path):
    find = verilator.find
    no_compiler = {"make": ("CXX=false", "LINK=false")}
    monkeypatch.setattr(verilator, "find", lambda: dataclasses.replace(find(), **no_compiler))
    done = here("--cache-dir", tmp_path / "cache", "check", folder, folder=tmp_path)
    assert "the Verilog is not at fault" in complaint(done)


def test_a_missing_port_or_probe_is_a_fault_of_the_verilog(folder):
    """The bench's C++ names them."""
    edit(
        folder / "checked.v",
        r"(?s)wire \[\d+:0\] trace;.*",
        lambda m: m[0].replace("trace", "other"),
    )
    found = wordline.check(folder)
    assert not found.passed and "a port or a probe of its sidecar is missing" in found.complaint


def test_a_difference_is_kept_though_axi_cannot_be_built(folder, monkeypatch):
    edit(folder / "package/rtl/checked.v", *FAULTS["codes"][:2])

    def full(*_):
        raise WordlineError("no room")

    monkeypatch.setattr("sim.bench.verilator", full)
    found = wordline.check(folder / "package")
    assert not found.passed and found.first is not None
    assert found.warnings[-1] == "the top with AXI was not compared: no room"


@pytest.mark.parametrize(
    ("line", "machine"),
    [
        ("%Error: a.v:3:1: syntax error, unexpected endmodule", False),
        ("%Error: Verilator threw signal 9.", True),
        ("%Error: Cannot write Vtop.h", True),
        ("batch.cpp:3:1: error: 'class Vtop' has no member named 'x'", False),
        ("batch.cpp:3:1: fatal error: error writing to x: No space left on device", True),
        ("", True),
    ],
)
def test_whose_fault_a_build_is(line, machine, tmp_path):
    log = tmp_path / "build.log"
    log.write_text(f"{line}\n%Error: Command Failed\n" if line else "")
    assert isinstance(chip._refused("top", log), DesignError) != machine


def test_vectors_in_another_layout_are_compared_and_unknown_arrays_are_not(folder, tmp_path):
    own = vectors.load(folder / "vectors.npz", DESIGN)
    other = tmp_path / "other.npz"
    np.savez_compressed(
        other, **{name: np.asfortranarray(array.astype(">i8")) for name, array in own.items()}
    )
    found = wordline.check(folder, vectors_file=other)
    assert found.passed and found.values_compared > 1000
    np.savez(other, extra=np.zeros(3), **own)
    with pytest.raises(WordlineError, match=r"arrays that no golden vectors .*\(extra\), and"):
        wordline.check(folder, vectors_file=other)


def test_what_is_no_verilog_is_not_built(folder):
    for name in ("image.hex", "checked.json"):
        with pytest.raises(WordlineError, match=r"is no Verilog by its name; give a file that end"):
            wordline.check(folder / name)


VERILOG = """\
module half (
  input clk,
  input [3:0] a,
  output [3:0] y
);
  reg [3:0] kept = 4'h0;
  assign y = kept + a;
  always @(posedge clk) if (a != 4'h0) kept <= a;
endmodule
"""


@pytest.mark.parametrize(
    ("old", "new", "equal"),
    [
        ("kept + a", "a + kept", True),
        ("if (a != 4'h0)", "if (|a)", True),
        ("kept + a", "kept - a", False),
        ("if (a != 4'h0)", "if (a != 4'h1)", False),
        ("4'h0;", "4'h1;", False),  # what the register begins with
        ("posedge", "negedge", False),
        ("reg [3:0] kept", "reg [2:0] kept", False),
        # Yosys would read what simulators do not.
        ("kept + a;", "kept\n`ifdef SYNTHESIS\n+ a;\n`else\n- a;\n`endif", False),
        ("kept + a;", "kept + a\n`ifndef YOSYS\n+ 4'h1\n`endif\n;", False),
        (
            "kept + a;",
            "kept + a\n// synopsys translate_off\n+ 4'h1\n// synopsys translate_on\n;",
            False,
        ),
    ],
)
def test_a_proof_takes_registers_clocks_and_first_values_into_account(old, new, equal, tmp_path):
    assert old in VERILOG
    after = VERILOG.replace(old, new, 1)
    assert equivalence.proved(VERILOG, after, "half", "", tmp_path) == equal


def test_a_proof_is_of_the_module_that_simulators_read(tmp_path):
    wrong, more = VERILOG.replace("kept + a", "kept - a"), "// kept as it was\n"
    for after in (
        f"{wrong}/*\n{VERILOG}*/\n",
        f"`ifndef YOSYS\n{wrong}`else\n{VERILOG}`endif\n",
        wrong + VERILOG,
        f"`define PLUS -\n{VERILOG.replace('kept + a', 'kept `PLUS a')}",
    ):
        assert not equivalence.proved(VERILOG, after, "half", "", tmp_path), after
    assert equivalence.proved(VERILOG, more + VERILOG, "half", "", tmp_path)


@pytest.mark.slow
def test_every_module_of_a_design_is_proved_equal_to_itself(made, tmp_path):
    text = (made / "checked.v").read_text()
    boxes = (made / "checked_crossbar_stub.v").read_text()
    names = [*equivalence.modules(text)]
    assert len(names) > 10
    assert all(equivalence.proved(text, text, name, boxes, tmp_path) for name in names)


def test_a_sidecar_of_another_kind_is_no_design(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"module": "x"}))
    with pytest.raises(WordlineError, match="has no sidecar"):
        wordline.check(tmp_path)
