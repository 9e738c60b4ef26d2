"""The job layer: each run once, kept, told apart by what it depends on, on several processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from golden import datasets, source
from golden.errors import WordlineError
from wordline import jobs
from wordline.jobs import Job, Runner

ROOT = Path(__file__).parents[2]
ADD, LEAVE, READ, FAIL, LINGER, DIE = (
    f"tests.job_functions:{name}" for name in ("add", "leave", "read", "fail", "linger", "die")
)


def lines(path):
    return path.read_text().split() if path.exists() else []


def test_a_job_is_done_once_and_kept(tmp_path):
    said, calls = [], tmp_path / "calls"
    runner = Runner(tmp_path / "jobs", lambda *told: said.append(told))
    wanted = [Job(ADD, {"a": a, "calls": str(calls)}) for a in (1, 2, 1)]
    assert [r["sum"] for r in runner.run("add", wanted)] == [1, 2, 1]
    assert sorted(lines(calls)) == ["1", "2"]  # the same job twice is one
    assert said == [("add", 0, 2), ("add", 1, 2), ("add", 2, 2)]
    more = [*wanted, Job(ADD, {"a": 3, "calls": str(calls)})]
    assert [r["sum"] for r in runner.run("add", more)] == [1, 2, 1, 3]
    assert sorted(lines(calls)) == ["1", "2", "3"]


@pytest.mark.parametrize("damage", ["", "{", "[1]", "{}"])
def test_a_damaged_result_is_computed_again(damage, tmp_path):
    runner, job = Runner(tmp_path), Job(ADD, {"a": 4})
    runner.run("add", [job])
    (tmp_path / f"{runner.key(job)}.json").write_text(damage)
    assert runner.run("add", [job])[0]["sum"] == 4


def test_what_a_result_depends_on_tells_jobs_apart(tmp_path, monkeypatch):
    runner = Runner(tmp_path)
    keys = {
        runner.key(Job(ADD, {"a": 1})),
        runner.key(Job(ADD, {"a": 1, "b": 0})),
        runner.key(Job(ADD, {"a": 2})),
        runner.key(Job(LEAVE, {"a": 1})),
        Runner(tmp_path, device="cuda").key(Job(ADD, {"a": 1})),
        runner.key(Job(ADD, {"a": Job(ADD, {"a": 1})})),
        runner.key(Job(ADD, {"a": Job(ADD, {"a": 2})})),
        runner.key(Job(ADD, {"a": 1, "dataset": "vowels"})),
    }
    assert len(keys) == 8
    assert runner.key(Job(ADD, {"b": 0, "a": 1})) in keys  # whatever the order


@pytest.mark.parametrize(
    ("where", "what", "other"),
    [
        (jobs, "code_hash", "other code"),
        (jobs.cache, "versions", {"torch": "another"}),
        (jobs.native, "library", None),
    ],
)
def test_other_code_is_another_job(where, what, other, tmp_path, monkeypatch):
    job = Job(ADD, {"a": 1})
    before = Runner(tmp_path).key(job)
    monkeypatch.setattr(where, what, lambda *_, **__: other)
    assert Runner(tmp_path).key(job) != before


def test_a_job_that_moves_to_another_file_keeps_its_key(tmp_path, monkeypatch):
    text = (ROOT / "tests/job_functions.py").read_text()
    (tmp_path / "moved_functions.py").write_text(f'"""Elsewhere."""\n{text}')
    monkeypatch.syspath_prepend(tmp_path)
    before = Runner(tmp_path).key(Job(ADD, {"a": 1}))
    assert Runner(tmp_path).key(Job("moved_functions:add", {"a": 1})) == before
    assert Runner(tmp_path).key(Job("moved_functions:leave", {"a": 1})) != before


def test_a_training_does_not_depend_on_what_simulates(tmp_path):
    """Nor on cells that it does not use; a job on the chip depends on both."""
    train = Job(
        "wordline.studies.chip_runs:train_preset",
        {"dataset": "vowels", "preset": "vowels", "seed": 0},
    )
    reached = syntax_of(train)
    assert {"golden.training.run", "golden.cells.lstm"} <= reached
    assert not {name for name in reached if name.startswith(("hw", "sim"))}
    chip = Job("wordline.studies.chip_runs:chip", {"dataset": "vowels", "program": train})
    assert {"sim.batch", "hw.lstm", "gen.rtl.verilog", "golden.cells.lstm"} <= syntax_of(chip)
    assert "hw.rnn" not in syntax_of(chip)


def syntax_of(job):
    return set(source._Code([job.function], jobs._uses(job)).modules)


def test_jobs_leave_files_for_others(tmp_path):
    runner = Runner(tmp_path / "jobs")
    first = Job(LEAVE, {"text": "weights"})
    assert runner.run("leave", [first]) == [runner.key(first)]
    assert runner.run("read", [Job(READ, {"of": first})]) == ["weights"]
    (tmp_path / "jobs" / f"{runner.key(first)}.safetensors").unlink()
    assert runner.read(runner.key(first)) is None  # with its file, the result is gone
    runner.run("leave", [first])
    assert runner.run("read", [Job(READ, {"of": first})]) == ["weights"]
    runner_file = tmp_path / "jobs" / f"{runner.key(first)}.safetensors"
    runner_file.write_text("wei")  # cut short
    assert runner.read(runner.key(first)) is None


def test_data_that_is_absent_is_named(tmp_path):
    runner = Runner(tmp_path, data_dir=tmp_path / "none")
    with pytest.raises(WordlineError, match=r"The data set mnist is not in .*none"):
        runner.run("add", [Job(ADD, {"a": 1, "dataset": "mnist-rows"})])


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_failure_is_told_and_the_rest_is_kept(workers, tmp_path):
    runner = Runner(tmp_path, workers=workers)
    good = [Job(ADD, {"a": a}) for a in range(3)]
    with pytest.raises(WordlineError, match=r"^no such thing$"):
        runner.run("all", [*good, Job(FAIL, {"words": "no such thing"})])
    kept = [runner.read(runner.key(job)) is not None for job in good]
    assert all(kept) if workers == 1 else any(kept)  # two do not take turns
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_workers_are_processes_of_their_own(tmp_path):
    """They end with the runner, also while one of them is not there."""
    runner = Runner(tmp_path, workers=2)
    wanted = [Job(LINGER, {"a": a, "seconds": 0.5}) for a in (1, 2, 3)]
    assert runner.run("linger", wanted) == [1, 2, 3]
    pids = {path.read_text() for path in tmp_path.glob("*.pid")}
    assert str(os.getpid()) not in pids

    gone, stays = runner._cluster[0].local.workers.values()
    gone.close_gracefully()
    pid = stays.pid
    os.kill(gone.pid, signal.SIGKILL)
    until(lambda: gone.pid is None)
    runner.close()
    until(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.slow
def test_a_worker_that_is_killed_is_a_sentence(tmp_path):
    runner = Runner(tmp_path, workers=2)
    with pytest.raises(WordlineError, match=r"of the stage 'die' lost its worker 3 .*--workers"):
        runner.run("die", [Job(DIE, {"a": a}) for a in (1, 2)])
    assert not runner._cluster


def test_a_lost_worker_costs_nothing(tmp_path):
    """The job that it was doing is done by another one."""
    wanted = [Job(DIE, {"a": a, "marks": str(tmp_path / "marks")}) for a in range(4)]
    runner = Runner(tmp_path / "jobs", workers=2)
    with contextlib.closing(runner):
        assert runner.run("die", wanted) == [0, 1, 2, 3]
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_a_scheduler_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE", 1)
    runner = Runner(tmp_path, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(WordlineError, match=r"scheduler tcp://127.0.0.1:9 does not answer .*dask"):
        runner.run("add", [Job(ADD, {"a": 1})])


COUNT = 64
CLIENT = f"""
from pathlib import Path
import sys
from wordline.jobs import Job, Runner
folder, address, calls = sys.argv[1:]
first = Job({LEAVE!r}, {{"text": "weights"}})
runner = Runner(Path(folder), scheduler=address)
runner.run("leave", [first])
wanted = [
    Job("tests.job_functions:slowly", {{"a": a, "of": first, "calls": calls, "dataset": "har"}})
    for a in range({COUNT})
]
print(runner.run("slowly", wanted))
runner.close()
"""


def until(done, *, seconds=90):
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.mark.slow
def test_a_cluster_started_apart(tmp_path):
    """Two workers that share no folder with the client; one is killed, then the client, which then
    goes on."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = []

    def start(*command, name):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        own = environment | {"XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}
        with (folder / "log").open("a") as log:
            processes.append(subprocess.Popen(command, cwd=folder, env=own, stdout=log, stderr=log))
        return processes[-1]

    data = tmp_path / "client/data"
    data.mkdir(parents=True)
    har = datasets.find("har")
    har.store({name: b"data" for name in har.files}, data)
    dask, calls, results = (sys.executable, "-m", "dask"), tmp_path / "calls", tmp_path / "results"
    address_file, log = tmp_path / "scheduler.json", tmp_path / "client/log"
    try:
        start(
            *(*dask, "scheduler", "--host", "127.0.0.1", "--port", "0"),
            *("--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(address_file)),
            name="scheduler",
        )
        until(address_file.exists)
        address = json.loads(address_file.read_text())["address"]
        first, _ = (
            start(*dask, "worker", address, "--nthreads", "1", "--no-nanny", name=f"worker-{n}")
            for n in (1, 2)
        )
        client = (sys.executable, "-c", CLIENT, str(results), address, str(calls))
        running = start(*client, name="client")
        until(lambda: len(lines(calls)) > 8)
        first.kill()
        until(lambda: len(lines(calls)) > 20)
        running.kill()
        running.wait()
        kept = {json.loads(path.read_text())["result"] for path in results.glob("*.json")}
        before = len(lines(calls))
        assert 8 < len(kept) < COUNT
        assert start(*client, name="client").wait(120) == 0
        assert log.read_text().strip().endswith(str([f"{a} weights data" for a in range(COUNT)]))
        # What was kept is not done again, whatever was killed.
        again = lines(calls)[before:]
        assert again and not {f"{a} weights data" for a in again} & kept
        assert COUNT <= len(lines(calls)) <= COUNT + 6
        assert set(lines(calls)) == {str(a) for a in range(COUNT)}
    finally:
        for process in processes:
            process.kill()


def test_ctrl_c_leaves_what_is_done_and_nobody_behind(tmp_path):
    """Pressed while two workers are busy and one job is done."""
    code = (
        "from pathlib import Path; from wordline.jobs import Job, Runner\n"
        f"wanted = [Job({LINGER!r}, {{'a': a, 'seconds': 60}}) for a in (0, 1, 2)]\n"
        f"Runner(Path({str(tmp_path)!r}), workers=2).run('linger', wanted)"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    end = time.monotonic() + 60
    while not all((tmp_path / f"{a}.pid").exists() for a in (0, 1, 2)):
        assert started.poll() is None and time.monotonic() < end, started.stderr.read()
        time.sleep(0.1)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    _, complaint = started.communicate(timeout=60)
    assert started.returncode != 0 and "KeyboardInterrupt" in complaint
    pids = {int((tmp_path / f"{a}.pid").read_text()) for a in (1, 2)}
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end, "a worker was left behind"
        time.sleep(0.1)
    assert len(list(tmp_path.glob("*.json"))) == 1
