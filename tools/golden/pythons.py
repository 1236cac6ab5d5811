"""Pythons available here, each with the packages that a replay needs, below `var/pythons`.

A Python comes from the PATH, from pyenv or, with `--install`, from Debian's packages. Those are
unpacked into their own folder with their own C library; nothing is installed. A replay's packages
come from `requirements.lock`, each file checked against its sha256.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.golden.debian import Missing, unpack_python

PROJECT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = PROJECT / "requirements.lock"
HOME: Final = PROJECT / "var" / "pythons"
MINORS: Final = (11, 12, 13, 14)
"""Of Python 3: those that minibot supports."""

NEEDED: Final = ("jsonschema-rs", "msgspec", "orjson", "portalocker")
"""Packages that `minibot.replay` imports; a test holds this against the imports."""

SETUP_S_MAX: Final = 300.0


@dataclass(frozen=True, slots=True)
class Python:
    """Python with the packages of a replay."""

    path: Path
    version: str

    @property
    def minor(self) -> int:
        """Minor version, such as 11 of 3.11.7."""
        return int(self.version.split(".")[1])


def own() -> Python:
    """Return the Python that runs this code."""
    return Python(Path(sys.executable), ".".join(str(part) for part in sys.version_info[:3]))


def find(minor: int, *, may_install: bool = False) -> Python | str:
    """Find Python 3.`minor` in its own environment, or say why it is not available."""
    try:
        base = base_of(minor)
        if base is None and may_install:
            base = unpack_python(minor, HOME / f"debian-3.{minor}")
        if base is None:
            return f"no python3.{minor} on the PATH, none in pyenv (--install takes Debian's)"
        return Python(_environment(base, minor), _version(base))
    except (Missing, OSError, subprocess.SubprocessError) as error:
        return str(error)


def base_of(minor: int) -> Path | None:
    """Return the interpreter, without the packages of a replay."""
    pyenv = Path.home() / ".pyenv" / "versions"
    places = [shutil.which(f"python3.{minor}"), *sorted(pyenv.glob(f"3.{minor}.*/bin/python3"))]
    places.append(HOME / f"debian-3.{minor}" / "usr" / "bin" / f"python3.{minor}")
    for place in places:
        if place is None or not Path(place).exists():
            continue
        try:
            if _version(Path(place)).startswith(f"3.{minor}."):
                return Path(place)
        except (OSError, subprocess.SubprocessError):
            continue  # A shim of pyenv for a version that is not installed.
    return None


def _version(python: Path) -> str:
    words = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    return _run([str(python), "-c", words]).strip()


def _environment(base: Path, minor: int) -> Path:
    """Return the interpreter of a Python's environment; make it where it does not exist."""
    home = HOME / f"venv-3.{minor}"
    python, stamp = home / "bin" / "python", home / "stamp"
    lock = locked(NEEDED)
    wanted = hashlib.sha256(f"{base}\n{lock}".encode()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    _run([str(base), "-m", "venv", "--without-pip", str(home)])
    file = home / "lock"
    file.write_text(lock, encoding="utf-8")
    words = ["install", "--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
    _run([sys.executable, "-m", "pip", "--python", str(python), *words, "-r", str(file)])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def locked(names: Sequence[str]) -> str:
    """Return the entries of `requirements.lock` for some packages."""
    entries = re.split(r"^(?=\S)", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {entry.partition("==")[0]: entry for entry in entries if "==" in entry}
    return "".join(found[name] for name in names)


def _run(argv: Sequence[str]) -> str:
    done = subprocess.run(
        argv, cwd=PROJECT, capture_output=True, text=True, timeout=SETUP_S_MAX, check=False
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise OSError(f"{' '.join(argv[:3])} ended with {done.returncode}: {words[-1][:300]}")
    return done.stdout
