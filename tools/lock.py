"""Write `requirements.lock` from `pyproject.toml`: every version, every file's hash, no address.

    python3 tools/lock.py            resolve again, keeping the versions that still fit
    python3 tools/lock.py --upgrade  take the newest of everything
    python3 tools/lock.py --check    exit 1 if the lock no longer answers pyproject.toml

Needs the network and installs its resolver (`uv`) into a temporary environment: nothing of it
enters the product. One lock serves Linux, macOS and Windows and every Python the project allows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = PROJECT / "requirements.lock"
RESOLVER: Final = "uv==0.13.8"
PYTHON_LOWEST: Final = "3.11"
HEADER: Final = """\
# Everything minibot installs: runtime and checks, each file named by its sha256.
# Written by `python3 tools/lock.py` from pyproject.toml; installed by tools/with_env.py.
"""


def resolve(uv: Path, seed: str, upgrade: bool) -> str:
    """Return the text of a lock for `pyproject.toml`, preferring the versions in `seed`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "requirements.lock"
        if seed and not upgrade:
            out.write_text(seed, encoding="utf-8")
        command = [
            str(uv), "pip", "compile", "--quiet", "--universal", "--fork-strategy", "fewest",
            "--python-version", PYTHON_LOWEST, "--generate-hashes", "--no-annotate",
            "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--extra", "dev",
            *(["--upgrade"] if upgrade else []),
            "--output-file", str(out), "pyproject.toml",
        ]  # fmt: skip
        subprocess.run(command, cwd=PROJECT, check=True)
        return HEADER + out.read_text(encoding="utf-8")


def install_resolver(folder: Path) -> Path:
    """Return the path of the resolver's program in a new environment below `folder`."""
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([str(scripts / "python"), "-m", "pip", "install", "-q", RESOLVER], check=True)
    return scripts / "uv"


def main(argv: list[str] | None = None) -> int:
    """Write or check the lock; exit code 0, or 1 when `--check` finds it stale."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upgrade", action="store_true", help="take the newest of everything")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args(argv)
    seed = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    with tempfile.TemporaryDirectory() as folder:
        text = resolve(install_resolver(Path(folder) / "resolver"), seed, args.upgrade)
    if args.check:
        print("requirements.lock answers pyproject.toml" if text == seed else "lock is stale")
        return 0 if text == seed else 1
    LOCK.write_text(text, encoding="utf-8")
    print(f"wrote {LOCK.name}: {text.count('==')} packages, {text.count('sha256:')} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
