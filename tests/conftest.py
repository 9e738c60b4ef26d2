"""Settings for all tests: one torch thread, and Hypothesis that repeats itself."""

import gc
import os
import signal

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
gc.set_threshold(50_000, 20, 20)  # netlists are large, and live: searches in them find nothing
os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start: those of two wait actively

# A job in the background of a shell ignores Ctrl-C, and so does what it starts; some tests press
# it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

RANDOM_DESCRIPTION_SEEDS = range(2026, 2031)


LONGEST = (
    *("cli", "benches", "chip", "system", "network"),
    *("batch", "wheel", "examples", "library", "synth", "ppa", "import", "levels"),
)
"""Files that take long, which begin first: a file's tests, which share what they build, are run by
one process."""


def pytest_collection_modifyitems(items):
    order = {f"test_{name}": n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))  # stable


def pytest_terminal_summary(terminalreporter):
    """Every random draw has a printed seed."""
    seeds = f"{RANDOM_DESCRIPTION_SEEDS[0]} to {RANDOM_DESCRIPTION_SEEDS[-1]}"
    terminalreporter.write_line(f"Hypothesis seeds {seeds} for random descriptions; else fixed")


settings.register_profile(
    "thorough",
    max_examples=100,  # of a test that does not say how many; see `helpers.examples`
    deadline=None,  # tests do not time
    derandomize=True,  # the same examples on every machine
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("quick", settings.get_profile("thorough"), max_examples=24)
settings.load_profile("thorough")  # but for what --hypothesis-profile says, as in `make test`
