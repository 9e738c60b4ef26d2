"""Fuzz of the command `wordline`: arguments, and the files that they name.

Each case is a process: one in ten from its start, the others forked from one that has imported all.
"""

import os
import random
import resource
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from golden.errors import WordlineError
from tests.fuzz import data, files, networks, programs, texts, values
from tests.fuzz.engine import Case, Kind
from wordline.__main__ import main
from wordline.cli import commands as command_line

LIMIT = 2**34
"""Address space of a command (bytes)."""

CODES = (0, 1, 2)
"""Exit statuses of a command: equal, different, invalid input."""

assert command_line.main  # imported here, so that the processes have it

COMMANDS = (
    *("check", "data", "presets", "describe", "fit", "train", "import", "emit", "sim", "study"),
    *("bench", "synth", "ppa", "--version", "--help", "none"),
)

OPTIONS = (
    *("--seed", "--rows", "--effects", "--votes", "--program", "--input", "--design", "--name"),
    *("--calibration", "--noise", "--period", "--sequences", "--cells", "--node", "--vary"),
    *("--runner", "--waves", "--stall", "--macro", "--data-dir", "--cache-dir", "--none", "-q"),
)


class Commands(Kind):
    """The command with any arguments."""

    name = "command"
    share = 0
    longest = 180.0
    processes = True

    def prepare(self, home: Path) -> None:
        self.toml, self.program = texts.Descriptions(), programs.Programs()
        self.network, self.data, self.sets = networks.Networks(), data.Data(), data.Sets()
        for kind in (self.toml, self.program, self.network, self.data, self.sets):
            own = home / kind.name
            own.mkdir(exist_ok=True)
            kind.prepare(own)

    def draw(self, draw: random.Random) -> Case:
        what = draw.random()
        if what < 0.15:
            case = self.toml.draw(draw)
            return Case(case.files, ["describe", "own.toml", "--toml"])
        if what < 0.22:
            case = self.network.draw(draw)
            return Case(case.files, ["fit", *case.files])
        if what < 0.34:
            whole = {**self.network.right, **self.data.right}
            model = draw.choice([name for name in self.network.right])
            own: dict[str, bytes | Path] = {model: whole[model], "a.npz": whole["a.npz"]}
            name = draw.choice([*own])
            own[name] = files.damaged(name, whole[name], draw)
            more = draw.choice(((), ("--name", draw.choice(values.NAMES)), ("--fine-tune",)))
            return self.case(own, ["import", model, "--calibration", "a.npz", *more])
        if what < 0.42:
            case = self.program.draw(draw)
            return Case(
                case.files, ["emit", "vowels", "--program", "program.safetensors", "--out", "out"]
            )
        if what < 0.48:
            case = self.sets.draw(draw)
            return Case(case.files, ["data", case.given, "--from", ".", "--data-dir", "data"])
        if what < 0.54:
            equals = draw.choice(("=", "", "=="))
            axis = draw.choice(texts.FIELDS) + equals + draw.choice(texts.AXIS)
            return self.case({}, ["ppa", "vowels", "--model", "--vary", axis])
        words = [draw.choice(COMMANDS)]
        for _ in range(draw.randint(0, 4)):
            odd = (*values.NAMES, *map(str, values.NUMBERS), "vowels", "1e9", "nan", "own.toml")
            words.append(draw.choice((*OPTIONS, draw.choice(odd))))
        case = self.toml.draw(draw)
        if {"train", "sim", "study", "bench"} & {*words}:  # only what is refused at once
            words += ["--none"]
        return self.case(case.files, words)

    @staticmethod
    def case(own: dict[str, bytes | Path], words: list[str]) -> Case:
        """A case whose words a process can be given."""
        words = [word.replace("\0", "") for word in words]
        return Case(own, [word.encode("utf-8", "replace").decode() for word in words])

    def run(self, folder: Path, case: Case) -> None:
        whole = len("".join(case.given)) % 10 == 0  # the same each time
        status, out, said = (started if whole else forked)(folder, case.given)
        if "Traceback (most recent call last)" in out + said:
            raise RuntimeError(f"{case.given}: {said[-1500:]}")
        if status not in CODES:
            raise RuntimeError(f"{case.given}: status {status}: {said[-500:]}")
        if status == 2:
            last = said.splitlines()[-1] if said else ""
            usage = last.startswith(("╰", "Try ", "Error")) or "Usage" in said
            raise WordlineError("The usage is wrong." if usage else last.removeprefix("wordline: "))


ENVIRONMENT = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def started(folder: Path, words: list[str]) -> tuple[int, str, str]:
    """Run the command from its start. Returns its exit status and what it said."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "wordline", *words],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": root},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        preexec_fn=_limited,
    )
    return done.returncode, done.stdout, done.stderr.strip()


def forked(folder: Path, words: list[str]) -> tuple[int, str, str]:
    """The same in a process that has imported everything, which takes most of the time."""
    child = os.fork()
    if not child:
        _command(folder, words)
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    out, said = ((folder / f".{name}").read_text(errors="replace") for name in ("out", "err"))
    return os.waitstatus_to_exitcode(status), out, said.strip()


def _command(folder: Path, words: list[str]) -> NoReturn:
    """Be the command, and end."""
    status: object = 1
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _limited()
        os.chdir(folder)
        os.environ |= ENVIRONMENT
        for number, name in enumerate(("/dev/null", ".out", ".err")):
            how = os.O_RDWR | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(name, how), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))
        sys.argv = ["wordline", *words]
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status if isinstance(status, int) else 0 if status is None else 1)


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
