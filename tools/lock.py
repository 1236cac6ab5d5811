"""Write the lock files from `pyproject.toml`: every version, every file's hash, no address.

    python3 tools/lock.py            resolve again, keeping the versions that still fit
    python3 tools/lock.py --upgrade  take the newest of everything
    python3 tools/lock.py --check    exit 1 if the lock no longer answers pyproject.toml

Needs the network and installs its resolver (`uv`) into a temporary environment: nothing of it
enters the product. `requirements.lock` holds what running needs, `requirements-dev.lock` what the
checks need besides; both serve Linux, macOS and Windows and every Python that the project allows.
`requirements-wine.txt` holds both for the Windows Python that Wine runs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = PROJECT / "requirements.lock"
DEV: Final = PROJECT / "requirements-dev.lock"
# What LightGBM's Python package asks for; its native library, which alone is used, needs neither.
NOT_NEEDED: Final = ("scipy", "narwhals")
# What cosmic-ray asks for beside its operators, which alone are used; yattag has no wheel.
NOT_MUTATING: Final = (
    *("anybadge", "decorator", "exit-codes", "gitdb", "gitpython", "smmap", "toml", "yattag"),
)
# Wine lacks a function that numpy 2 calls; a real Windows takes the lock above.
WINE: Final = PROJECT / "requirements-wine.txt"
WINE_CONSTRAINT: Final = "numpy<2\n"
RESOLVER: Final = "uv==0.13.8"
PYTHON_LOWEST: Final = "3.11"
WINE_HEADER: Final = """\
# What minibot needs under the Windows Python that Wine runs (docs/STATE.md); Python 3.11 alone.
# Written by `python3 tools/lock.py` from pyproject.toml; a real Windows uses requirements.lock.
"""
HEADER: Final = """\
# What running minibot needs, each file named by its sha256.
# Written by `python3 tools/lock.py` from pyproject.toml; installed by tools/with_env.py.
"""
DEV_HEADER: Final = """\
# What the checks, tests and tools of minibot need beside requirements.lock.
# Written by `python3 tools/lock.py` from pyproject.toml; installed by tools/with_env.py.
"""


def resolve(uv: Path, lock: Path, options: list[str], upgrade: bool) -> str:
    """Return the text of a lock for `pyproject.toml`, preferring the versions in `lock`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / lock.name
        if lock.exists() and not upgrade:
            out.write_text(lock.read_text(encoding="utf-8"), encoding="utf-8")
        command = [
            str(uv), "pip", "compile", "--quiet", "--python-version", PYTHON_LOWEST,
            "--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url",
            "--no-emit-find-links", *options,
            *(["--upgrade"] if upgrade else []),
            "--output-file", str(out), "pyproject.toml",
        ]  # fmt: skip
        subprocess.run(command, cwd=PROJECT, check=True)
        return out.read_text(encoding="utf-8")


def resolve_all(upgrade: bool) -> dict[Path, str]:
    """Return the text of each lock file."""
    with tempfile.TemporaryDirectory() as folder:
        uv = install_resolver(Path(folder) / "resolver")
        constraint = Path(folder) / "wine.txt"
        constraint.write_text(WINE_CONSTRAINT, encoding="utf-8")
        everywhere = ["--universal", "--fork-strategy", "fewest"]
        running = resolve(
            uv, LOCK, [*everywhere, "--extra", "feather", *_without(NOT_NEEDED)], upgrade
        )
        chosen = Path(folder) / LOCK.name
        chosen.write_text(running, encoding="utf-8")
        shared = [*NOT_NEEDED, *NOT_MUTATING, *re.findall(r"^([\w.-]+)==", running, re.MULTILINE)]
        dev = [*everywhere, "--extra", "dev", "--constraint", str(chosen), *_without(shared)]
        wine = ["--python-platform", "windows", "--extra", "dev", "--constraint", str(constraint)]
        # Its builder asks pip for what each package needs, and nothing is mutated there.
        wine += _without(("cosmic-ray", *NOT_MUTATING))
        return {
            LOCK: HEADER + running,
            DEV: DEV_HEADER + resolve(uv, DEV, dev, upgrade),
            WINE: WINE_HEADER + resolve(uv, WINE, wine, upgrade),
        }


def _without(packages: Iterable[str]) -> list[str]:
    """Return the resolver's options that leave packages out of a lock."""
    return [word for name in packages for word in ("--no-emit-package", name)]


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
    stale = 0
    for path, text in resolve_all(args.upgrade).items():
        same = path.exists() and path.read_text(encoding="utf-8") == text
        stale += not same
        if not args.check:
            path.write_text(text, encoding="utf-8")
        what = "answers pyproject.toml" if same else "is stale" if args.check else "written"
        print(f"{path.name} {what}: {text.count('==')} packages, {text.count('sha256:')} files")
    return 1 if args.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
