"""Damaged files of a network or of sequences: one sentence each, no traceback, no hang."""

import random
import resource
import signal
from pathlib import Path

import pytest

from golden import npz
from golden.description import Description
from golden.errors import WordlineError
from golden.frontends import pytorch
from tests.fuzz.files import damaged, whole
from wordline.flow.sequences import read_sequences

DESCRIPTION = Description.from_dict(
    {"name": "own", "network": {"inputs": 5, "hidden": [7], "classes": 3}}
)

LONGEST = 20
"""Seconds that reading a file may take, on a loaded machine."""


@pytest.fixture
def limits():
    """A file that takes long, or 8 GB more than there is now, fails its test."""

    def late(*_):
        raise AssertionError("reading takes too long")

    before = signal.signal(signal.SIGALRM, late)
    memory = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**33, memory[1]))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    resource.setrlimit(resource.RLIMIT_AS, memory)


@pytest.mark.parametrize(
    "seeds", [pytest.param(range(400)), pytest.param(range(400, 20_000), marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_a_sentence(seeds, tmp_path, limits):
    (tmp_path / "whole").mkdir()
    right = whole(tmp_path / "whole")
    read = refused = 0
    failed = []
    for seed in seeds:
        draw = random.Random(seed)
        name = draw.choice([*right])
        path = tmp_path / name
        path.write_bytes(damaged(name, right[name], draw))
        signal.alarm(LONGEST)
        try:
            if path.suffix == ".npz":
                npz.channels(path)
                read_sequences(path, DESCRIPTION)
            else:
                pytorch.read(path)
            read += 1
        except WordlineError as error:
            refused += 1
            assert str(error).count("\n") == 0 and "weights_only" not in str(error), error
            assert "allow_pickle" not in str(error), error
        except Exception as error:
            failed.append(f"seed {seed}, {name}: {type(error).__name__}: {error}")
    assert not failed
    assert refused > 0.3 * len(seeds) and read > 0.02 * len(seeds)
