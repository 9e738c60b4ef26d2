"""Every kind of input, by its name on the command line."""

from pathlib import Path

from tests.fuzz import commands, data, folders, networks, programs, texts, traffic
from tests.fuzz.engine import Kind

KINDS: dict[str, type[Kind]] = {
    kind.name: kind
    for kind in (
        texts.Descriptions,
        texts.Settings,
        programs.Programs,
        programs.Images,
        networks.Networks,
        data.Data,
        data.Sets,
        folders.Folders,
        traffic.Axi,
        traffic.Serial,
        commands.Commands,
    )
}


def made(name: str, home: Path) -> Kind:
    """A kind with the files that it starts from, in a folder of its own."""
    kind = KINDS[name]()
    folder = home / name
    folder.mkdir(parents=True, exist_ok=True)
    kind.prepare(folder)
    return kind
