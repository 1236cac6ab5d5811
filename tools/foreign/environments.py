"""Environments of the foreign clients: made on demand from their lock files.

They lie in `build/foreign` (ignored by git), never in the product's own environment. A lock names
every file by its sha256 and no address; the machine's package index serves them.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Final

from tools.lock import PYTHON_LOWEST, install_resolver

PROJECT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
HOME: Final = PROJECT / "build" / "foreign"
NAMES: Final = ("clients", "connector", "freqtrade", "nautilus")
INSTALL_S_MAX: Final = 900
HEADER: Final = """\
# Foreign clients for tests alone, each file named by its sha256; nothing of it enters the product.
# Written by `python -m tools.foreign --lock`.
"""


class NotInstalled(Exception):
    """Failure to make an environment; the message says why."""


def interpreter(name: str) -> Path:
    """Return the path of an environment's interpreter, which need not exist."""
    folder = "Scripts" if sys.platform == "win32" else "bin"
    return HOME / name / "venv" / folder / ("python.exe" if sys.platform == "win32" else "python")


def environment(name: str) -> Path:
    """Return the interpreter of an environment; make it unless it matches the lock.

    Raises:
        NotInstalled: The package index cannot be reached, or lacks a file of the lock.
    """
    python, stamp = interpreter(name), HOME / name / "stamp"
    lock = HERE / f"{name}.lock"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest() + sys.version
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted and python.exists():
        return python
    shutil.rmtree(HOME / name, ignore_errors=True)
    venv.create(HOME / name / "venv", with_pip=True)
    words = ["-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", str(lock)]
    try:
        done = subprocess.run(
            [str(python), *words], capture_output=True, text=True, check=False,
            timeout=INSTALL_S_MAX,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"{name}: not installed within {INSTALL_S_MAX} s") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotInstalled(f"{name}: {said[-1] if said else 'pip failed'}")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def write_locks(upgrade: bool) -> None:
    """Resolve every `.in` file; without `upgrade`, keep versions that still fit."""
    with tempfile.TemporaryDirectory() as folder:
        uv = install_resolver(Path(folder) / "resolver")
        for name in NAMES:
            lock, out = HERE / f"{name}.lock", Path(folder) / f"{name}.lock"
            if lock.exists() and not upgrade:
                out.write_bytes(lock.read_bytes())
            words = [
                str(uv), "pip", "compile", "--quiet", "--python-version", PYTHON_LOWEST,
                "--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url",
                "--no-emit-find-links", "--universal", *(["--upgrade"] if upgrade else []),
                "--output-file", str(out), str(HERE / f"{name}.in"),
            ]  # fmt: skip
            subprocess.run(words, check=True)
            text = HEADER + out.read_text(encoding="utf-8")
            lock.write_text(text, encoding="utf-8")
            print(f"{lock.name}: {text.count('==')} packages, {text.count('sha256:')} files")
