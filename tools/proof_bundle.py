"""Bundle of a CI run's proof in one file: commit, versions, gates, fixtures, replay digest.

    python -m tools.proof_bundle var/ci

It reads the files that the steps of `.ci/run` left in that folder and writes `proof.json` beside
them. A missing part is written as null and makes the exit code 1: half a proof is no proof.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).resolve().parent.parent
FIXTURES: Final = ("tests/fixtures", "minibot/exchanges/tapes/shipped")
STEPS: Final = ("versions", "pytest", "gates", "demo", "verify", "replay", "independent")


def commit() -> str | None:
    """Return the commit under test, marked if the tree differs from it; None without git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def fixtures() -> dict[str, str]:
    """Return the sha256 of every recording that product and tests carry."""
    return {
        path.relative_to(PROJECT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in FIXTURES
        for path in sorted((PROJECT / folder).rglob("*"))
        if path.is_file()
    }


def digests(text: str | None) -> list[str] | None:
    """Return every sha256 in a step's output, in order; None without output."""
    return re.findall(r"\b[0-9a-f]{64}\b", text or "") or None


def gather(folder: Path) -> dict[str, Any]:
    """Return the bundle from the files in `folder`."""
    texts = {
        step: path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
        for step in STEPS
        for path in [folder / f"{step}.txt"]
    }
    return {
        "schema": "minibot.proof",
        "v": 1,
        "commit": commit(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "lock_sha256": hashlib.sha256((PROJECT / "requirements.lock").read_bytes()).hexdigest(),
        "fixtures": fixtures(),
        "replay_digests": digests(texts["replay"]),
        "steps": texts,
    }


def main(argv: list[str]) -> int:
    """Write the bundle; exit code 1 when a part of the proof is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.proof_bundle",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("var/ci"), metavar="FOLDER")
    folder = parser.parse_args(argv).folder
    bundle = gather(folder)
    (folder / "proof.json").write_text(json.dumps(bundle, indent=1, sort_keys=True) + "\n")
    missing = [name for name, value in {**bundle, **bundle["steps"]}.items() if value is None]
    print(f"{folder / 'proof.json'}: commit {bundle['commit']}, {len(bundle['fixtures'])} fixtures")
    print(f"missing: {', '.join(missing)}" if missing else "complete")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
