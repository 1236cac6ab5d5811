"""Names and words: docstrings that name their thing, commit subjects, one module for one name."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tests.docs.product_sources import parsed
from tools.house import in_old_idiom

# Docstrings in the old idiom that are left, by part of the tree. Rewriting lowers a number, and
# whoever merges takes the lower one; nothing raises it.
OLD_IDIOM_LEFT = {"minibot": 0, "tests": 0, "tools": 0}
# First lines that are titles of committed schemas, whose bytes are pinned by manifests.
TITLES = "minibot.events.model:"

# The last commit before the rule, and the rule.
FIRST_COMMIT = "463c865"
SUBJECT_MAX = 72

# Names that two rooms share by design: the two files of each role, and the start of a package.
SHARED_NAMES = {"__init__", "__main__", "core", "role"}
# Names of modules that stand in more than one place without such a reason. It only falls.
REPEATED_MODULES_MAX = 42


@pytest.mark.slow
@pytest.mark.parametrize("part", OLD_IDIOM_LEFT)
def test_docstring_names_its_thing_at_once(part: str, project: Path) -> None:
    """A first line begins with a noun or a verb, not with "What", "Whether" or "How"."""
    trees = parsed(project, part)

    found = [line for line in in_old_idiom(trees) if not line.startswith(TITLES)]

    assert len(trees) > 50
    assert len(found) <= OLD_IDIOM_LEFT[part], "\n".join(found)


@pytest.mark.process
def test_subject_of_a_commit_fits_its_line(project: Path) -> None:
    """Commits since the rule have subjects that every list of commits shows whole."""
    argv = ["git", "log", "--format=%h %s", f"{FIRST_COMMIT}..HEAD"]
    said = subprocess.run(argv, cwd=project, capture_output=True, text=True, check=False)
    if said.returncode != 0:
        pytest.skip("needs git and the history of a clone")

    subjects = [line.partition(" ") for line in said.stdout.splitlines()]

    assert [(commit, text) for commit, _, text in subjects if len(text) > SUBJECT_MAX] == []


def test_module_has_a_name_of_its_own(project: Path) -> None:
    """A name says which module is meant; verbs, examples and venues bear names of their own."""
    homes: dict[str, set[str]] = defaultdict(set)
    for path in (project / "minibot").rglob("*.py"):
        place = path.parent.relative_to(project / "minibot").as_posix()
        room, _, inner = place.partition("/")
        if path.stem in SHARED_NAMES or room == "cli" or inner == "examples":
            continue
        is_venue = room == "exchanges" and (path.parent / "messages.py").is_file()
        homes[path.stem].add("exchanges/VENUE" if is_venue and inner else place)

    repeated = {name: sorted(places) for name, places in homes.items() if len(places) > 1}

    assert len(repeated) <= REPEATED_MODULES_MAX, repeated
