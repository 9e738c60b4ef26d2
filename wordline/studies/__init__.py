"""Studies: questions about networks on noisy crossbars, answered by golden and by the Verilog.

A study is a module here with STUDY and FULL, its settings and those of the longer version; `tables`
and `figures`, of what `run` returned. Its runs are jobs (`wordline.jobs`), kept in one folder for
all studies: what two of them need is done once.
"""

import dataclasses
import importlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from gen.cost import ppa
from gen.impl import cells
from golden import datasets, files
from golden.errors import WordlineError
from wordline.flow import cache
from wordline.jobs import Runner
from wordline.studies.common import claims_table


@dataclass(frozen=True)
class Known:
    """What is known of a study before it is run.

    takes, full: minutes that it and its longer version take on two cores. attacks: whether it needs
    the package of attacks. rtl: whether it simulates Verilog. gates: whether it maps designs onto
    standard cells.
    """

    takes: float
    full: float
    attacks: bool = False
    rtl: bool = False
    gates: bool = False

    def check(self) -> None:
        """WordlineError where the package of attacks, or what simulates or maps, is absent."""
        if self.attacks and "none" in cache.versions()["adversarial-robustness-toolbox"]:
            raise WordlineError(
                "The study defence needs adversarial-robustness-toolbox; install wordline[attacks]."
            )
        if self.rtl:
            from sim import verilator  # cocotb is slow to import

            verilator.find()
        if self.gates:
            cells.check_gates(ppa.CELLS)


STUDIES = {
    "noise": Known(3, 3, rtl=True),
    "dni": Known(240, 1500, rtl=True),
    "images": Known(70, 150),
    "tolerance": Known(45, 220),
    "levels": Known(80, 480),
    "votes": Known(8, 180, rtl=True),
    "defence": Known(60, 600, attacks=True),
    "efficiency": Known(15, 480, gates=True),
    "faults": Known(10, 80, rtl=True),
}


def duration(minutes: float) -> str:
    """A time in words, in minutes up to two hours."""
    if minutes < 1.5:
        return "1 minute"
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"


def known(name: str) -> Known:
    """A study by its name; WordlineError if there is none."""
    if name not in STUDIES:
        raise WordlineError(f"Unknown study {name!r}; choose {', '.join(STUDIES)}.")
    return STUDIES[name]


def module(name: str) -> ModuleType:
    """The code of a study."""
    return importlib.import_module(f"wordline.studies.{name}")


def reads(settings: Any) -> tuple[str, ...]:
    """The data sets that settings of a study read."""
    return tuple(_told(settings, "dataset", "datasets"))


def seeds(settings: dict[str, Any]) -> tuple[int, ...]:
    """The seeds in settings of a study, which some have for each task."""
    return tuple(sorted(_told(settings, "seeds")))


def _told(settings: Any, *names: str) -> dict[Any, None]:
    """What fields of these names say, anywhere in settings, once each."""
    if dataclasses.is_dataclass(settings):
        named = {name: getattr(settings, name) for name in names if hasattr(settings, name)}
        own = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
        parts = [_told(own | named, *names)]
    elif isinstance(settings, list | tuple):
        parts = [_told(part, *names) for part in settings]
    elif isinstance(settings, dict):
        parts = [
            dict.fromkeys(value if isinstance(value, list | tuple) else [value])
            if key in names
            else _told(value, *names)
            for key, value in settings.items()
        ]
    else:
        parts = []
    return {value: None for part in parts for value in part}


FORMAT = 1
"""Version of results.json (docs/formats.md)."""


def run(name: str, folder: Path, runner: Runner, *, full: bool = False) -> dict[str, Any]:
    """Run a study and write results.json, table.md and its figures into `folder`."""
    code = module(name)
    settings = code.FULL if full else code.STUDY
    known(name).check()
    for data in reads(settings):
        datasets.fingerprint(data, runner.data_dir)  # before anything that takes long
    results = {"format": FORMAT, "study": name, "full": full} | settings.run(runner)
    results |= {"device": runner.device, "versions": cache.versions()}
    results = json.loads(json.dumps(results))  # as it is read again
    shown = [claims_table(results, box=MARKDOWN), *code.tables(results, box=MARKDOWN)]
    files.write_text(folder / "results.json", json.dumps(results, indent=1) + "\n")
    files.write_text(folder / "table.md", "\n".join(map(markdown, shown)))
    code.figures(results, folder)
    return results


def markdown(table: Table) -> str:
    """A table in Markdown, below its title if it has one."""
    text = io.StringIO()
    title, table.title = table.title, None
    Console(width=400, file=text).print(table)
    return (f"**{title}**\n\n" if title else "") + text.getvalue().strip() + "\n"
