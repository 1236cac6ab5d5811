"""Count the files that an addition of each kind has touched, by its example commit.

    python3 tools/with_env.py -m tools.additions

A commit that is the example of a kind of addition (docs/ADDING.md) says so in a line of its
message: `Addition: indicator`. The newest of each kind counts. Generated files are counted apart.
Exit code 1 where a kind touched more files than it may.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

PROJECT: Final = Path(__file__).resolve().parent.parent
# The most files that each kind of addition may touch (issue "Room to grow", acceptance).
FILES_MAX: Final = {
    "venue": 6,
    "role": 8,
    "event type": 6,
    "risk check": 5,
    "indicator": 5,
    "config key": 3,
    "verb": 3,
}
GENERATED: Final = (
    "docs/reference/",
    "docs/rows.tsv",
    "docs/FAULTS.md",
    "docs/DATA_CONTRACTS.md",
    "docs/SPEC.md",
    "tests/fixtures/contracts/",
    "contracts/",
    "config/config.v1.schema.json",
    "config/contracts.v1.json",
)
TRAILER: Final = "Addition: "
# Kinds of which nothing is wanted now, and why.
WITHOUT: Final = {"role": "no role is wanted beside the six"}


class Example(NamedTuple):
    """An example commit: its name, its subject, and the files that it touched."""

    commit: str
    subject: str
    files: tuple[str, ...]

    @property
    def by_hand(self) -> list[str]:
        """Files of the commit that somebody wrote by hand."""
        return [name for name in self.files if not name.startswith(GENERATED)]


def git(project: Path, *words: str) -> str:
    """Return git's answer about a project.

    Raises:
        OSError, subprocess.CalledProcessError: git is missing, or the folder is no repository.
    """
    argv = ["git", "-C", str(project), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def examples(project: Path) -> dict[str, Example]:
    """Return the newest example commit of each kind."""
    found: dict[str, Example] = {}
    log = git(project, "log", "--format=%h%x00%s%x00%b%x01", f"--grep=^{TRAILER}")
    for entry in filter(None, (text.strip() for text in log.split("\x01"))):
        commit, subject, body = entry.split("\x00")
        kinds = [
            line.removeprefix(TRAILER).strip()
            for line in body.splitlines()
            if line.startswith(TRAILER)
        ]
        files = git(project, "show", "--format=", "--name-only", commit).split()
        for kind in kinds:
            found.setdefault(kind, Example(commit, subject, tuple(files)))
    return found


def main() -> int:
    """Print one line for each kind; return 1 where a kind touched more files than it may."""
    found, is_over = examples(PROJECT), False
    for kind, most in FILES_MAX.items():
        example = found.get(kind)
        if example is None:
            why = WITHOUT.get(kind, "not written yet")
            print(f"{kind:<11} at most {most}: no example commit: {why}")
            continue
        count = len(example.by_hand)
        is_over = is_over or count > most
        generated = len(example.files) - count
        print(
            f"{kind:<11} at most {most}: {count} files, {generated} generated;"
            f" {example.commit} {example.subject}"
        )
    for kind in sorted(found.keys() - FILES_MAX.keys()):
        print(f"{kind:<11} is not a kind of addition: {found[kind].commit}")
    return 1 if is_over else 0


if __name__ == "__main__":
    sys.exit(main())
